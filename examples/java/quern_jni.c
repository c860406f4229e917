/* quern_jni.c - the native half of Quern.java. A handle is an embedder's address; Quern.java sees to it that one call at a
 * time uses it, and none after close. */
#include <jni.h>
#include <quern.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct embedder {
  quern_context *c;
  quern_model *m;
  quern_session *s;
  uint32_t width;
} embedder;

static embedder *of(jlong handle) { return (embedder *)(intptr_t)handle; }

static void embedder_free(embedder *e) {
  quern_session_free(e->s);
  quern_model_free(e->m);
  quern_context_free(e->c);
  free(e);
}

/* Throws a QuernException with the status and the message of the object that failed. */
static void fail(JNIEnv *env, const embedder *e, quern_status status) {
  char why[512] = "";
  jclass type = (*env)->FindClass(env, "Quern$QuernException");
  jmethodID make = type ? (*env)->GetMethodID(env, type, "<init>", "(ILjava/lang/String;)V") : NULL;
  if (e && e->s)
    quern_session_error(e->s, why, sizeof why);
  else if (e && e->c)
    quern_context_error(e->c, why, sizeof why);
  jstring text = make ? (*env)->NewStringUTF(env, why[0] ? why : quern_status_name(status)) : NULL;
  jobject thrown = text ? (*env)->NewObject(env, type, make, (jint)status, text) : NULL;
  if (thrown) (*env)->Throw(env, thrown);
}

JNIEXPORT jlong JNICALL Java_Quern_open(JNIEnv *env, jclass type, jbyteArray path) {
  quern_model_info info = {.size = sizeof info};
  embedder *e = calloc(1, sizeof *e);
  quern_status status = e ? QUERN_OK : QUERN_E_MEMORY;
  jbyte *name = (*env)->GetByteArrayElements(env, path, NULL); /* ends with a NUL */
  (void)type;
  if (!name) status = QUERN_E_MEMORY;
  if (!status) status = quern_context_create(&e->c, NULL);
  if (!status) status = quern_model_open(&e->m, e->c, (const char *)name, NULL);
  if (!status) status = quern_model_get_info(e->m, &info);
  if (!status) status = quern_session_create(&e->s, e->m, NULL);
  if (name) (*env)->ReleaseByteArrayElements(env, path, name, JNI_ABORT);
  if (status) {
    fail(env, e, status);
    if (e) embedder_free(e);
    return 0;
  }
  e->width = info.embedding_width;
  return (jlong)(intptr_t)e;
}

JNIEXPORT jint JNICALL Java_Quern_width(JNIEnv *env, jclass type, jlong handle) {
  (void)env, (void)type;
  return (jint)of(handle)->width;
}

JNIEXPORT void JNICALL Java_Quern_embed(JNIEnv *env, jclass type, jlong handle, jbyteArray utf8, jlongArray offsets,
                                        jfloatArray out) {
  embedder *e = of(handle);
  jbyte *text = (*env)->GetByteArrayElements(env, utf8, NULL);
  jlong *at = (*env)->GetLongArrayElements(env, offsets, NULL);
  jfloat *x = (*env)->GetFloatArrayElements(env, out, NULL);
  quern_status status = QUERN_E_MEMORY;
  (void)type;
  if (text && at && x) {
    status = quern_embed_batch(e->s, (const char *)text, (const int64_t *)at,
                               (size_t)(*env)->GetArrayLength(env, offsets) - 1, x,
                               (size_t)(*env)->GetArrayLength(env, out), NULL);
  }
  if (text) (*env)->ReleaseByteArrayElements(env, utf8, text, JNI_ABORT);
  if (at) (*env)->ReleaseLongArrayElements(env, offsets, at, JNI_ABORT);
  if (x) (*env)->ReleaseFloatArrayElements(env, out, x, status ? JNI_ABORT : 0);
  if (status) fail(env, e, status);
}

JNIEXPORT void JNICALL Java_Quern_close(JNIEnv *env, jclass type, jlong handle) {
  (void)env, (void)type;
  embedder_free(of(handle));
}
