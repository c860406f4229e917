/* addon.c - Quern for Node, by Node-API alone. It runs embedders; the command makes model files.
 * open(path) gives a model with embed(texts), which returns a Float32Array [texts, width], width and close(). Calls run
 * on the thread that makes them; a worker thread opens its own model. Built by the compiler alone
 * (packaging/README.md). */
#include <node_api.h>
#include <quern.h>
#include <stdlib.h>
#include <string.h>

typedef struct embedder {
  quern_context *c;
  quern_model *m;
  quern_session *s;
  uint32_t width;
} embedder;

static void embedder_close(embedder *e) {
  quern_session_free(e->s);
  quern_model_free(e->m);
  quern_context_free(e->c);
  memset(e, 0, sizeof *e);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  embedder_close(data);
  free(data);
}

/* Throws the message of the object that failed, its status's name as the code. */
static napi_value fail(napi_env env, const embedder *e, quern_status status) {
  char why[512] = "";
  if (e && e->s)
    quern_session_error(e->s, why, sizeof why);
  else if (e && e->c)
    quern_context_error(e->c, why, sizeof why);
  napi_throw_error(env, quern_status_name(status), why[0] ? why : quern_status_name(status));
  return NULL;
}

/* A string as UTF-8 that the caller frees; NULL, with an exception pending, when it is none. */
static char *string_of(napi_env env, napi_value value, size_t *n) {
  char *text;
  if (napi_get_value_string_utf8(env, value, NULL, 0, n) != napi_ok) {
    napi_throw_type_error(env, NULL, "a string is needed");
    return NULL;
  }
  text = malloc(*n + 1);
  if (!text)
    fail(env, NULL, QUERN_E_MEMORY);
  else
    napi_get_value_string_utf8(env, value, text, *n + 1, n);
  return text;
}

static embedder *self_of(napi_env env, napi_callback_info info, size_t *argc, napi_value *argv) {
  napi_value self;
  void *data = NULL;
  napi_get_cb_info(env, info, argc, argv, &self, NULL);
  if (napi_unwrap(env, self, &data) != napi_ok || !((embedder *)data)->s) {
    napi_throw_error(env, NULL, "the model is closed");
    return NULL;
  }
  return data;
}

static napi_value embed(napi_env env, napi_callback_info info) {
  napi_value argv[1], item, buffer, array = NULL;
  size_t argc = 1, used = 0, cap = 0, len;
  uint32_t n = 0;
  void *out = NULL;
  char *utf8 = NULL, *text;
  int64_t *offsets = NULL;
  embedder *e = self_of(env, info, &argc, argv);
  if (!e) return NULL;
  if (argc < 1 || napi_get_array_length(env, argv[0], &n) != napi_ok) {
    napi_throw_type_error(env, NULL, "embed takes an array of strings");
    return NULL;
  }
  offsets = calloc((size_t)n + 1, sizeof *offsets);
  if (!offsets) return fail(env, NULL, QUERN_E_MEMORY);
  for (uint32_t i = 0; i < n; i++) {
    napi_get_element(env, argv[0], i, &item);
    text = string_of(env, item, &len);
    if (!text) goto cleanup;
    if (used + len > cap || !utf8) {
      char *more = realloc(utf8, cap = (used + len) * 2 + 64);
      if (!more) {
        free(text);
        fail(env, NULL, QUERN_E_MEMORY);
        goto cleanup;
      }
      utf8 = more;
    }
    memcpy(utf8 + used, text, len);
    free(text);
    offsets[i + 1] = (int64_t)(used += len);
  }
  if (napi_create_arraybuffer(env, (size_t)n * e->width * sizeof(float), &out, &buffer) != napi_ok) goto cleanup;
  if (n) {
    quern_status status = quern_embed_batch(e->s, utf8, offsets, n, out, (size_t)n * e->width, NULL);
    if (status) {
      fail(env, e, status);
      goto cleanup;
    }
  }
  napi_create_typedarray(env, napi_float32_array, (size_t)n * e->width, buffer, 0, &array);
cleanup:
  free(utf8);
  free(offsets);
  return array;
}

static napi_value close_model(napi_env env, napi_callback_info info) {
  napi_value self;
  void *data = NULL;
  napi_get_cb_info(env, info, NULL, NULL, &self, NULL);
  if (napi_unwrap(env, self, &data) == napi_ok) embedder_close(data);
  return NULL;
}

static napi_value open_model(napi_env env, napi_callback_info info) {
  napi_value argv[1], object, width;
  quern_model_info about = {.size = sizeof about};
  const napi_property_descriptor methods[] = {{"embed", NULL, embed, NULL, NULL, NULL, napi_default, NULL},
                                              {"close", NULL, close_model, NULL, NULL, NULL, napi_default, NULL}};
  size_t argc = 1, n;
  quern_status status;
  embedder *e;
  char *path;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  path = string_of(env, argv[0], &n);
  if (!path) return NULL;
  e = calloc(1, sizeof *e);
  if (!e) {
    free(path);
    return fail(env, NULL, QUERN_E_MEMORY);
  }
  status = quern_context_create(&e->c, NULL);
  if (!status) status = quern_model_open(&e->m, e->c, path, NULL);
  if (!status) status = quern_model_get_info(e->m, &about);
  if (!status) status = quern_session_create(&e->s, e->m, NULL);
  free(path);
  if (status) {
    fail(env, e, status);
    finalize(env, e, NULL);
    return NULL;
  }
  e->width = about.embedding_width;
  napi_create_object(env, &object);
  if (napi_wrap(env, object, e, finalize, NULL, NULL) != napi_ok) {
    finalize(env, e, NULL);
    return NULL;
  }
  napi_define_properties(env, object, sizeof methods / sizeof methods[0], methods);
  napi_create_uint32(env, e->width, &width);
  napi_set_named_property(env, object, "width", width);
  return object;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "open", NAPI_AUTO_LENGTH, open_model, NULL, &function);
  napi_set_named_property(env, exports, "open", function);
  return exports;
}
