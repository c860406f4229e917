/* source.h - what a source model is made of, whatever it comes from: shared by source.c, which the rest of the library asks, and by what
 * reads directories (hf.c) and GGUF files (gguf_source.c). Thread rule: read-only once open; errors go to the env it was opened with. */
#ifndef QN_SOURCE_H
#define QN_SOURCE_H
#include "import/import.h"

#define QN_SOURCE_RANK 4u

/* A tensor of the source, found by name. */
typedef struct qn_source_tensor {
  const void *entry; /* the reader's */
  const char *name;
  uint32_t rank; /* may be above QN_SOURCE_RANK */
  uint64_t dim[QN_SOURCE_RANK];
  uint64_t bytes;
} qn_source_tensor;

/* One way to keep a model. */
typedef struct qn_source_kind {
  const char *config;          /* what says the shapes: "config.json" */
  void (*close)(qn_source *s); /* with the source itself */
  uint64_t (*weight_bytes)(const qn_source *s);
  const char *(*label)(const qn_source *s, uint32_t i);
  quern_status (*tokenizer)(const qn_source *s, qn_buffer *section);
  quern_status (*speech)(const qn_source *s, qn_speech *out); /* into zeros */
  /* Where a tensor of model/arch.h is; 0: models of the family have none. */
  int (*origin)(const qn_source *s, const char *name, qn_origin *out);
  /* The tensor by the source's name; QUERN_OK and entry NULL: it is missing. One whose values cannot be read is refused. name: ours. */
  quern_status (*find)(const qn_source *s, const char *name, const qn_origin *o, qn_source_tensor *out);
  /* Rows first ... first + rows - 1 of its first dimension, of which there are so many, as float32. NaN and infinity are refused. */
  quern_status (*read)(const qn_source *s, const qn_source_tensor *t, uint64_t first, uint64_t rows, float *dst);
} qn_source_kind;

/* The head of either's struct. */
struct qn_source {
  qn_env *env;
  const qn_source_kind *kind;
  const qn_family *family;
  qn_arch arch;
  float frequency[2][QN_MAX_HEAD_DIM / 2]; /* [arch.rotary / 2] of all layers but local ones, of local ones */
  char name[256];
};

/* Both set family, arch, which has been checked, frequencies and the name. path exists. *out is theirs until they succeed. */
quern_status qn_source_open_directory(qn_source **out, qn_env *env, const char *dir, uint64_t limit);
quern_status qn_source_open_gguf(qn_source **out, qn_env *env, const char *path, uint64_t limit);
/* The frequencies, for a checked arch. factors: [rotary / 2] that the first are divided by, or NULL. */
void qn_source_take_rotation(qn_source *s, const qn_rotation rotation[2], const float *factors);
/* One more end, if it is a token of `vocab` that is not there yet and there is room. */
void qn_speech_add(qn_speech *speech, int64_t id, uint32_t vocab);
/* The path's last component. */
void qn_source_take_name(qn_source *s, const char *path);
#endif
