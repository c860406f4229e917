/* verb_inspect.c - `quern inspect`: what a model file holds. Reads no weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

typedef struct values {
  int tensors, sites;
} values;

/* What both forms of the output show, in order. */
typedef struct number {
  const char *key;
  uint64_t value;
} number;

static int json_metadata(qn_cli_model *m, qn_cli_json *j) {
  const char *key;
  int code = CLI_DONE;
  qn_cli_json_open(j, "metadata", '{');
  for (uint32_t i = 0; !code && (key = quern_model_meta_key(m->model, i)) != NULL; i++) {
    char *text;
    code = qn_cli_model_meta(m, key, &text);
    if (!code && text) qn_cli_json_text(j, key, text);
    free(text);
  }
  qn_cli_json_close(j, '}');
  return code;
}

static void json_tensor(qn_cli_json *j, const quern_tensor_info *t) {
  qn_cli_json_open(j, NULL, '{');
  qn_cli_json_text(j, "name", t->name);
  qn_cli_json_text(j, "dtype", t->dtype);
  qn_cli_json_text(j, "layout", t->layout);
  qn_cli_json_open(j, "shape", '[');
  for (uint32_t d = 0; d < t->rank && d < 4; d++) qn_cli_json_int(j, NULL, t->dim[d]);
  qn_cli_json_close(j, ']');
  if (t->group) qn_cli_json_int(j, "group", t->group);
  qn_cli_json_int(j, "bytes", t->bytes);
  qn_cli_json_int(j, "offset", t->offset);
  qn_cli_json_close(j, '}');
}

static void text_tensor(qn_cli_out *o, const quern_tensor_info *t) {
  char shape[96] = "";
  for (uint32_t d = 0; d < t->rank && d < 4; d++) {
    size_t used = strlen(shape);
    snprintf(shape + used, sizeof shape - used, "%s%llu", d ? " x " : "", (unsigned long long)t->dim[d]);
  }
  qn_cli_out_format(o, "  %-36s %-5s %-7s %-16s %12llu bytes", t->name, t->dtype, t->layout, shape,
                    (unsigned long long)t->bytes);
  if (t->group) qn_cli_out_format(o, "  groups of %u", (unsigned)t->group);
  qn_cli_out_text(o, "\n");
}

static int put_tensors(qn_cli_model *m, qn_cli_json *j) {
  if (j) qn_cli_json_open(j, "tensors", '[');
  for (uint32_t i = 0; i < m->info.tensors; i++) {
    quern_tensor_info t = {.size = sizeof t};
    quern_status s = quern_model_get_tensor(m->model, i, &t);
    if (s != QUERN_OK) return qn_cli_fail_status(m->c, s, m->path, NULL);
    if (j) {
      json_tensor(j, &t);
    } else {
      text_tensor(m->c->out, &t);
    }
  }
  if (j) qn_cli_json_close(j, ']');
  return CLI_DONE;
}

static void json_values(qn_cli_json *j, const char *name, const float *x, uint32_t n) {
  qn_cli_json_open(j, name, '[');
  for (uint32_t i = 0; i < n; i++) qn_cli_json_double(j, NULL, (double)x[i]);
  qn_cli_json_close(j, ']');
}

static int put_sites(qn_cli_model *m, qn_cli_json *j) {
  if (j) qn_cli_json_open(j, "sites", '[');
  for (uint32_t i = 0; i < m->info.sites; i++) {
    quern_site_info site = {.size = sizeof site};
    quern_status s = quern_model_get_site(m->model, i, &site);
    if (s != QUERN_OK) return qn_cli_fail_status(m->c, s, m->path, NULL);
    if (j) {
      qn_cli_json_open(j, NULL, '{');
      qn_cli_json_text(j, "name", site.name);
      qn_cli_json_int(j, "bits", site.bits);
      qn_cli_json_text(j, "granularity", site.granularity);
      qn_cli_json_int(j, "groups", site.groups);
      qn_cli_json_int(j, "group", site.group);
      qn_cli_json_bool(j, "symmetric", site.symmetric != 0);
      if (site.scale) json_values(j, "scale", site.scale, site.groups);
      if (site.zero) json_values(j, "zero", site.zero, site.groups);
      qn_cli_json_close(j, '}');
    } else {
      qn_cli_out_format(m->c->out, "  %-36s %2u bits  %-10s groups %u%s", site.name, (unsigned)site.bits,
                        site.granularity, (unsigned)site.groups, site.symmetric ? "" : "  with zero point");
      if (site.scale) qn_cli_out_format(m->c->out, "  scale %g", (double)site.scale[0]);
      if (site.zero) qn_cli_out_format(m->c->out, "  zero %g", (double)site.zero[0]);
      qn_cli_out_text(m->c->out, "\n");
    }
  }
  if (j) qn_cli_json_close(j, ']');
  return CLI_DONE;
}

/* What layers are made of. */
static void put_blocks(const qn_cli_model *m, qn_cli_json *j) {
  const quern_model_info *info = &m->info;
  qn_cli_out *o = m->c->out;
  if (j) {
    qn_cli_json_int(j, "head_dim", info->head_dim);
    qn_cli_json_int(j, "rotary", info->rotary);
    qn_cli_json_int(j, "window", info->window);
    qn_cli_json_int(j, "global_every", info->global_every);
    qn_cli_json_bool(j, "causal", info->causal != 0);
    qn_cli_json_bool(j, "gated", info->gated != 0);
    qn_cli_json_bool(j, "tied", info->tied != 0);
    qn_cli_json_text(j, "norm", info->norm);
    qn_cli_json_text(j, "placement", info->placement);
    qn_cli_json_text(j, "activation", info->activation);
    return;
  }
  qn_cli_out_format(o, "  %-16s %s, of %u channels a head", "attention", info->causal ? "causal" : "both ways",
                    (unsigned)info->head_dim);
  if (info->rotary) qn_cli_out_format(o, ", %u of them rotary", (unsigned)info->rotary);
  if (info->window) qn_cli_out_format(o, ", a window of %u", (unsigned)info->window);
  if (info->global_every) qn_cli_out_format(o, ", everything in every %uth layer", (unsigned)info->global_every);
  qn_cli_out_format(o, "\n  %-16s %s norm, placed %s\n", "norms", info->norm, info->placement);
  qn_cli_out_format(o, "  %-16s %s%s\n", "feed-forward", info->activation, info->gated ? ", gated" : "");
}

static int show(qn_cli_model *m) {
  const values *v = m->c->values;
  const quern_model_info *info = &m->info;
  const number numbers[] = {
      {"bytes", info->bytes},
      {"params", info->params},
      {"layers", info->layers},
      {"width", info->width},
      {"heads", info->heads},
      {"kv_heads", info->kv_heads},
      {"ffn_width", info->ffn_width},
      {"vocab", info->vocab},
      {"max_tokens", info->max_tokens},
      {"sentence_tokens", info->sentence_tokens},
      {"embedding_width", info->embedding_width},
      {"labels", info->labels},
      {"tensor_count", info->tensors},
      {"site_count", info->sites},
  };
  /* Shown first and by short names; all metadata follows. */
  const char *const texts[][2] = {
      {"architecture", "general.architecture"},
      {"recipe", "general.recipe"},
      {"tokenizer", "tokenizer.kind"},
  };
  qn_cli_json json = {.out = m->c->out}, *j = m->c->common.json ? &json : NULL;
  qn_cli_out *o = m->c->out;
  int code = CLI_DONE;
  if (j) {
    qn_cli_json_open(j, NULL, '{');
    qn_cli_json_text(j, "model", m->path);
  } else {
    qn_cli_out_text(o, m->path);
    qn_cli_out_text(o, "\n");
  }
  for (size_t i = 0; i < sizeof texts / sizeof texts[0] && !code; i++) {
    char *text;
    code = qn_cli_model_meta(m, texts[i][1], &text);
    if (!code && j) qn_cli_json_text(j, texts[i][0], text ? text : "");
    if (!code && !j && text) qn_cli_out_format(o, "  %-16s %s\n", texts[i][0], text);
    free(text);
  }
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    if (j) {
      qn_cli_json_int(j, numbers[i].key, numbers[i].value);
    } else {
      qn_cli_out_format(o, "  %-16s %llu\n", numbers[i].key, (unsigned long long)numbers[i].value);
    }
  }
  put_blocks(m, j);
  const char *head = info->decoder      ? "tokens"
                     : info->regression ? "regression"
                     : info->span       ? "span"
                     : info->labels     ? "classification"
                                        : "none";
  if (j) {
    qn_cli_json_text(j, "head", head);
    qn_cli_json_bool(j, "regression", info->regression != 0);
  } else {
    qn_cli_out_format(o, "  %-16s %s%s\n", "head", head, info->tied ? ", tied to the embeddings" : "");
  }
  if (!code && j) code = json_metadata(m, j);
  const char *key;
  if (!code && !j) qn_cli_out_text(o, "metadata\n");
  for (uint32_t i = 0; !code && !j && (key = quern_model_meta_key(m->model, i)) != NULL; i++) {
    char *text;
    code = qn_cli_model_meta(m, key, &text);
    if (!code && text) {
      qn_cli_out_format(o, "  %-28s ", key);
      qn_cli_out_shown(o, text, strlen(text));
      qn_cli_out_text(o, "\n");
    }
    free(text);
  }
  if (!code && v->tensors) {
    if (!j) qn_cli_out_text(o, "tensors\n");
    code = put_tensors(m, j);
  }
  if (!code && v->sites) {
    if (!j) qn_cli_out_text(o, "sites\n");
    code = put_sites(m, j);
  }
  if (j) {
    qn_cli_json_close(j, '}');
    qn_cli_json_end(j);
  }
  return code;
}

static int run(qn_cli_state *c) {
  qn_cli_model m;
  int code = qn_cli_model_open(&m, c, c->argument[0], 0);
  if (!code) code = show(&m);
  qn_cli_model_close(&m);
  return code;
}

static const qn_cli_option options[] = {
    {"tensors", 0, CLI_FLAG, NULL, "every tensor: dtype, shape, bytes", offsetof(values, tensors), 0, 0},
    {"sites", 0, CLI_FLAG, NULL, "every place where an activation is quantized: bits, groups", offsetof(values, sites),
     0, 0},
};

const qn_cli_verb qn_cli_verb_inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .summary = "Shows what a model file holds: architecture, sizes, recipe, tokenizer.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 1,
    .max_arguments = 1,
    .values_bytes = sizeof(values),
    .run = run,
};
