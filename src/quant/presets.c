/* presets.c - the preset recipes as JSON (docs/RECIPES.md), for encoders and for decoders. Stateless; any thread. */
#include <string.h>

#include "quant/quant.h"

#define EIGHT "{\"bits\":8}"
#define FOUR(group)                                                                                                    \
  "\"weights\":{\"bits\":4,\"group\":" group ",\"minimum\":false,\"scales\":\"float\"},\"activations\":" EIGHT ","
#define TABLE "\"embeddings\":" EIGHT ",\"smooth\":"
#define REST_OF_INT8 TABLE "true,\"split\":16"
#define EITHER ",\"rounding\":\"either\""
#define SEARCH(alpha) ",\"block\":128,\"steps\":64,\"restart\":2,\"outlier\":\"column\",\"alpha\":" alpha "}"
#define SEARCHED(kind, codes, tables, second, more, search)                                                            \
  codes "," tables "true,\"split\":0" more ",\"transform\":\"" kind                                                    \
        "\",\"rotate\":true,\"permute\":true,\"rotate2\":" second search
#define DUQUANT(codes, tables, second, more, alpha) SEARCHED("duquant", codes, tables, second, more, SEARCH(alpha))
#define W4A4(clip)                                                                                                     \
  "\"weights\":{\"bits\":4,\"group\":0,\"minimum\":true,\"scales\":\"float\"" clip                                     \
  "},\"activations\":{\"bits\":4,\"clip\":\"searched\"}"
#define W6A6 "\"weights\":{\"bits\":6,\"group\":64},\"activations\":{\"bits\":6,\"group\":64,\"symmetric\":true}"
#define LEARNED ",\"clip\":\"learned\""
#define STATIC                                                                                                         \
  "\"weights\":" EIGHT ",\"activations\":{\"bits\":8,\"static\":true,\"symmetric\":false,\"estimator\":\"minmax\"},"   \
  "\"embeddings\":" EIGHT ",\"smooth\":false,\"split\":0"
#define SIXTEEN(site) "\"layers.*." site "\":{\"bits\":16}"
#define MIXED SIXTEEN("ffn.up.in") "," SIXTEEN("ffn.down.out") "," SIXTEEN("ffn.sum")
#define SIX(site, form) "\"layers.*." site "\":{\"groups\":6" form "}"
#define THREE(site, form) "\"layers.*." site "\":{\"groups\":3" form "}"
/* Around the feed-forward block: its input, and the places behind it, which no product takes. */
#define GROUPED(input, behind) SIX("ffn.up.in", input) "," SIX("ffn.down.out", behind) "," SIX("ffn.sum", behind)
#define POWERS ",\"scales\":\"powers\""
#define UNEVEN ",\"widths\":\"uneven\""
#define BY_RANGE ",\"order\":\"range\",\"sites\":{"
#define SUPPRESSED(bits, embeddings)                                                                                   \
  "\"weights\":{\"bits\":" bits "},\"activations\":{\"bits\":" bits                                                    \
  ",\"static\":true,\"symmetric\":false,\"estimator\":\"minmax\"},\"embeddings\":{\"bits\":" embeddings                \
  "},\"smooth\":false,\"split\":0,\"unfold\":32,\"placement\":\"inputs\",\"migrate\":\"auto\",\"clip\":\"fine\"}"
/* What serves decoders: inputs spread by a Hadamard matrix in the place of smoothing, the head in groups (docs/ACCURACY.md, Decoders). */
#define HEAD(group) "\"embeddings\":" EIGHT ",\"head\":{\"bits\":8,\"group\":" group "},\"smooth\":"
#define SPREAD(weights, head, more)                                                                                    \
  "\"weights\":{" weights "},\"activations\":" EIGHT "," HEAD(                                                         \
      head) "false,\"split\":0" more                                                                                   \
            ",\"transform\":\"hadamard\",\"rotate\":false,\"permute\":false,\"rotate2\":\"hadamard\"" SEARCH("0.625")
#define STEPS(group) "\"bits\":4,\"group\":" group ",\"minimum\":true,\"scales\":\"integer\""
#define FLOAT                                                                                                          \
  "{\"name\":\"float\",\"weights\":{\"bits\":32},\"activations\":{\"bits\":32},\"embeddings\":{\"bits\":32},"          \
  "\"smooth\":false,\"split\":0}"
typedef struct preset {
  const char *name, *json;
} preset;
static const preset presets[] = {
    {"float", FLOAT},
    {"int8", "{\"name\":\"int8\",\"weights\":" EIGHT ",\"activations\":" EIGHT "," REST_OF_INT8 "}"},
    {"int8-g32",
     "{\"name\":\"int8-g32\",\"weights\":{\"bits\":8,\"group\":32},\"activations\":{\"bits\":8,\"group\":32,"
     "\"symmetric\":true}," REST_OF_INT8 "}"},
    {"int4", "{\"name\":\"int4\"," FOUR("32") REST_OF_INT8 EITHER "}"},
    {"int4-g128", "{\"name\":\"int4-g128\"," FOUR("128") REST_OF_INT8 EITHER "}"},
    {"tiny",
     "{\"name\":\"tiny\"," FOUR(
         "0") "\"embeddings\":{\"bits\":2,\"group\":32},\"smooth\":false,\"split\":0,\"rounding\":\"calibrated\"}"},
    {"w8a8-static", "{\"name\":\"w8a8-static\"," STATIC "}"},
    {"mixed", "{\"name\":\"mixed\"," STATIC ",\"sites\":{" MIXED "}}"},
    {"mixed-gelu", "{\"name\":\"mixed-gelu\"," STATIC ",\"sites\":{" MIXED "," SIXTEEN("ffn.down.in") "}}"},
    {"peg", "{\"name\":\"peg\"," STATIC BY_RANGE GROUPED("", "") "}}"},
    {"peg-pow2", "{\"name\":\"peg-pow2\"," STATIC BY_RANGE GROUPED(POWERS, UNEVEN POWERS) "}}"},
    {"peg-uneven",
     "{\"name\":\"peg-uneven\"," STATIC BY_RANGE GROUPED(UNEVEN, UNEVEN) "," SIX("attn.out.out", UNEVEN) "," SIX(
         "attn.sum", UNEVEN) "," THREE("ffn.down.in", UNEVEN) ",\"embed.sum\":{\"groups\":6" UNEVEN "}}}"},
    {"auto", "{\"name\":\"auto\"," STATIC ",\"max_loss\":0.02}"},
    {"duquant4", "{\"name\":\"duquant4\"," DUQUANT(W4A4(""), TABLE, "\"hadamard\"", EITHER, "0.625")},
    {"duquant6", "{\"name\":\"duquant6\"," DUQUANT(W6A6, TABLE, "\"hadamard\"", EITHER, "0.625")},
    {"duquant4-lwc", "{\"name\":\"duquant4-lwc\"," DUQUANT(W4A4(LEARNED), TABLE, "true", "", "0.5")},
    {"os8", "{\"name\":\"os8\"," SUPPRESSED("8", "8")},
    {"os6", "{\"name\":\"os6\"," SUPPRESSED("6", "6")},
    {"os4", "{\"name\":\"os4\"," SUPPRESSED("4", "4,\"group\":32")},
};
/* What these are of decoders. */
static const preset of_decoders[] = {
    {"float", FLOAT},
    {"int8", "{\"name\":\"int8\"," SPREAD("\"bits\":8", "64", "")},
    {"int8-g32", "{\"name\":\"int8-g32\"," SPREAD("\"bits\":8,\"group\":32", "32", "")},
    {"int4", "{\"name\":\"int4\"," SPREAD(STEPS("32"), "64", EITHER)},
    {"int4-g128", "{\"name\":\"int4-g128\"," SPREAD(STEPS("128"), "64", EITHER)},
    {"duquant4", "{\"name\":\"duquant4\"," SEARCHED("auto", W4A4(""), HEAD("64"), "\"hadamard\"", EITHER,
                                                    SEARCH("0.625,\"budget\":4"))},
    {"duquant6", "{\"name\":\"duquant6\"," DUQUANT(W6A6, HEAD("64"), "\"hadamard\"", EITHER, "0.625")},
    {"duquant4-lwc", "{\"name\":\"duquant4-lwc\"," DUQUANT(W4A4(LEARNED), HEAD("64"), "true", "", "0.5")},
};
enum { PRESETS = sizeof presets / sizeof presets[0], OF_DECODERS = sizeof of_decoders / sizeof of_decoders[0] };

const char *qn_recipe_preset_name(uint32_t i) { return i < PRESETS ? presets[i].name : NULL; }

static const char *find(const preset *p, uint32_t count, const char *name) {
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp(p[i].name, name)) return p[i].json;
  return NULL;
}
const char *qn_recipe_preset_json(const char *name) { return find(presets, PRESETS, name); }
const char *qn_recipe_preset_decoder_json(const char *name) { return find(of_decoders, OF_DECODERS, name); }
