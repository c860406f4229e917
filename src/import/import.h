/* import.h - a source model: a Hugging Face directory or a GGUF file described as a qn_arch, its tensors as float32 on demand. Files
 * are mapped, never read whole; nothing is trusted. */
#ifndef QN_IMPORT_H
#define QN_IMPORT_H
#include "base/env.h"
#include "base/json.h"
#include "model/arch.h"

typedef struct qn_source qn_source;

/* path: a GGUF file, or a directory: config.json, model.safetensors or model.safetensors.index.json with shards (which must lie in dir: no paths),
   tokenizer.json or vocab.txt, and, where present, tokenizer_config.json, modules.json, 1_Pooling/config.json,
   2_Dense/{config.json,model.safetensors}, a 3_Dense alike, sentence_bert_config.json. limit: 0 or the most bytes of any one file. A directory without modules.json and without a
   head pools the mean and does not normalize. */
quern_status qn_source_open(qn_source **out, qn_env *env, const char *path, uint64_t limit);
void qn_source_close(qn_source *s);
const qn_arch *qn_source_arch(const qn_source *s); /* recipe field is 0 */
uint64_t qn_source_weight_bytes(const qn_source *s);
/* Checks that a tensor, by its name in arch.h, is there as a float tensor of this shape; *bytes: its size in the
   source, 0 where the family has no such tensor (a bias that is always zero). A missing tensor, a wrong shape or dtype
   is QUERN_E_SOURCE naming the tensor and what was expected. */
quern_status qn_source_find(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, uint64_t *bytes);
/* The same, then converts it from f32, f16 or bf16 into dst: [dim...] as there. NaN or infinity is QUERN_E_NONFINITE.
   present: where the family has no such tensor it is set to 0 and dst left alone; NULL: then that is an error too. */
quern_status qn_source_read(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, float *dst,
                            int *present);
/* The same of rows first ... first + rows - 1 of dim[0] alone (of elements, where rank is 1). */
quern_status qn_source_read_rows(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim,
                                 uint64_t first, uint64_t rows, float *dst, int *present);
/* Label names of the head, labels of them, or NULL where the config has none. */
const char *qn_source_label(const qn_source *s, uint32_t i);
/* The file's name, the directory's last component for a sentence encoder, else config's _name_or_path where it has one; never a path
   of this machine. */
const char *qn_source_name(const qn_source *s);
/* Builds the TOKENIZER section; an empty buffer where the source has no tokenizer, or one that this version does not build (logged as a
   warning). */
quern_status qn_source_tokenizer(const qn_source *s, qn_buffer *section);

#define QN_SPEECH_ENDS 16u
/* What texts of a decoder end with, and how its conversations are written. */
typedef struct qn_speech {
  int32_t ends[QN_SPEECH_ENDS]; /* [end_count] tokens of the vocabulary, each once */
  uint32_t end_count;
  const char *chat; /* a name of text/chat.h; NULL: the source has no template */
} qn_speech;
quern_status qn_source_speech(const qn_source *s, qn_speech *out);
#endif
