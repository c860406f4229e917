/* hf.h - a Hugging Face directory at work, shared by hf.c and hf_modules.c. */
#ifndef QN_HF_H
#define QN_HF_H
#include "import/safetensors.h"
#include "import/source.h"

#define QN_HF_PATH 4096u
#define QN_HF_DENSE 2u /* modules of this kind at most */

typedef struct qn_hf {
  qn_source base;
  qn_safetensors weights;
  struct {
    qn_safetensors weights;
    int bias;
  } dense[QN_HF_DENSE]; /* of the modules after pooling, where there are some */
  qn_json config;
  const char **labels; /* [arch.labels], into config; NULL: the config has none */
  uint64_t limit;
  char dir[QN_HF_PATH];
} qn_hf;

/* Parses dir/name. Absent: *found = 0. */
quern_status qn_hf_load_json(const qn_hf *s, const char *name, qn_json *out, int *found);
/* What happens to the hidden states: sentence-transformers' modules, or the head, or the default. Sets only values that keep the arch
   valid. */
quern_status qn_hf_read_outputs(qn_hf *s);
#endif
