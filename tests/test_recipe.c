/* test_recipe.c - recipes: presets, files of the same shape, and what is refused of them. */
#include <string.h>
#include "base/json.h"
#include "quant/quant.h"
#include "tests/test.h"
#include "tests/tiny_model.h"

static char root[256], out[300];
static qn_env env;

static int message_has(const char *words) {
  char message[QN_ERROR_BYTES];
  qn_error_copy(&env.error, message, sizeof message);
  if (strstr(message, words)) return 1;
  printf("  message: %s\n", message);
  return 0;
}
static int write_text(const char *text) { return tiny_text(root, "r.json", text); }

/* Whether a recipe written out is this text. */
static int writes(const qn_recipe *r, const char *text) {
  qn_buffer text_of = {0};
  const int same = qn_recipe_format(r, &env, &text_of) == QUERN_OK && !strcmp((const char *)text_of.data, text);
  if (!same) printf("  %s\n  %s\n", text_of.data ? (const char *)text_of.data : "", text);
  qn_buffer_free(&env, &text_of);
  return same;
}

/* What a file may say comes back from what is written into models. */
static void keeps_recipes(void) {
  static const char *const texts[] = {
      "{\"name\":\"x\",\"weights\":{\"bits\":2,\"group\":64,\"minimum\":false,\"scales\":\"integer\"},"
      "\"activations\":{\"bits\":8,\"group\":128,\"symmetric\":false},\"embeddings\":{\"bits\":2,\"group\":32},"
      "\"smooth\":false,\"split\":3}",
      "{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":32,\"minimum\":true,\"scales\":\"integer\"},"
      "\"activations\":{\"bits\":8,\"outliers\":128},\"embeddings\":{\"bits\":8},\"smooth\":true,\"split\":0}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"outliers\":0},"
      "\"embeddings\":{\"bits\":8},\"smooth\":true,\"split\":0}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"group\":0,\"symmetric\":true},"
      "\"embeddings\":{\"bits\":8},\"smooth\":true,\"split\":16}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true,\"symmetric\":true,"
      "\"estimator\":\"percentile\",\"percentile\":99.9},\"embeddings\":{\"bits\":4,\"group\":32},\"smooth\":false,"
      "\"split\":2,\"sites\":{\"layers.*.ffn.sum\":{\"bits\":16,\"estimator\":\"mse\"},"
      "\"layers.1.*\":{\"symmetric\":false,\"estimator\":\"percentile\",\"percentile\":99},"
      "\"embed.sum\":{\"bits\":32},\"layers.0.attn.sum\":{\"group\":32,\"low\":-1.5,\"high\":2},"
      "\"layers.0.attn.q\":{\"scale\":0.1,\"zero\":-3}}}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true,\"symmetric\":false,"
      "\"estimator\":\"minmax\"},\"embeddings\":{\"bits\":8},\"smooth\":false,\"split\":0,\"order\":\"range\","
      "\"sites\":{\"*.ffn.sum\":{\"groups\":6,\"widths\":\"uneven\",\"scales\":\"powers\"},"
      "\"*.ffn.up.in\":{\"groups\":2,\"widths\":\"equal\",\"scales\":\"float\"}}}",
      "{\"name\":\"x\",\"weights\":{\"bits\":4},\"activations\":{\"bits\":6,\"static\":true,\"symmetric\":false,"
      "\"estimator\":\"minmax\"},\"embeddings\":{\"bits\":6},\"smooth\":false,\"split\":0,\"placement\":\"inputs\","
      "\"migrate\":\"attention\",\"clip\":\"tokenwise\"}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":4,\"static\":true,\"symmetric\":false,"
      "\"estimator\":\"mse\"},\"embeddings\":{\"bits\":8},\"smooth\":false,\"split\":0,\"max_loss\":0.005}",
      "{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":128,\"minimum\":true,\"scales\":\"float\"},"
      "\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":4,\"group\":16},\"smooth\":false,\"split\":0,"
      "\"rounding\":\"calibrated\"}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},"
      "\"head\":{\"bits\":4,\"group\":64,\"minimum\":false},\"smooth\":false,\"split\":0}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},"
      "\"head\":{\"bits\":8},\"smooth\":false,\"split\":0}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},"
      "\"head\":{\"bits\":4,\"group\":32,\"minimum\":true,\"scales\":\"integer\"},\"smooth\":false,\"split\":0}",
      "{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":0,\"minimum\":true,\"scales\":\"float\",\"clip\":0.75},"
      "\"activations\":{\"bits\":6},\"embeddings\":{\"bits\":8},\"smooth\":true,\"split\":0,\"rounding\":"
      "\"calibrated\","
      "\"transform\":\"duquant\",\"rotate\":true,\"permute\":false,\"rotate2\":\"hadamard\",\"block\":32,\"steps\":9,"
      "\"restart\":0,\"outlier\":\"row\",\"alpha\":0.25,\"merge\":true}",
      "{\"name\":\"x\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":6,\"group\":64,\"symmetric\":true,\"clip\":"
      "\"searched\"},"
      "\"embeddings\":{\"bits\":8},\"smooth\":true,\"split\":0,\"transform\":\"duquant\",\"rotate\":true,"
      "\"permute\":true,\"rotate2\":true,\"block\":128,\"steps\":64,\"restart\":2,\"outlier\":\"column\","
      "\"alpha\":0.625}",
      "{\"name\":\"x\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":4,\"clip\":0.5},\"embeddings\":{\"bits\":8},"
      "\"smooth\":false,\"split\":0,\"transform\":\"none\",\"alpha\":0.625}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},"
      "\"smooth\":true,\"split\":0,\"transform\":\"hadamard\",\"rotate\":false,\"permute\":false,"
      "\"rotate2\":\"hadamard\",\"block\":256,\"steps\":64,\"restart\":2,\"outlier\":\"column\",\"alpha\":0.5}",
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},"
      "\"smooth\":true,\"split\":0,\"transform\":\"auto\",\"rotate\":true,\"permute\":true,"
      "\"rotate2\":true,\"block\":64,\"steps\":64,\"restart\":2,\"outlier\":\"column\",\"alpha\":0.5,\"budget\":5}"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    qn_recipe r;
    CHECK(write_text(texts[i]));
    CHECK_EQ(qn_recipe_load(&r, &env, out), QUERN_OK);
    CHECK(writes(&r, texts[i]));
    qn_recipe_free(&env, &r);
  }
}

#define STATIC "\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{\"bits\":8}"
#define DYNAMIC "\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}"
#define SITES(rules) "{\"name\":\"x\"," STATIC ",\"sites\":{" rules "}}"
#define TRANSFORM(members)                                                                                             \
  "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":4},\"embeddings\":{\"bits\":8}," members "}"
static void reads_recipes(void) {
  qn_recipe r;
  qn_json j;
  for (uint32_t i = 0; qn_recipe_preset_name(i); i++) {
    const char *name = qn_recipe_preset_name(i), *json = qn_recipe_preset_json(name);
    CHECK_EQ(qn_recipe_load(&r, &env, name), QUERN_OK);
    CHECK(!strcmp(r.name, name) && r.id != 0);
    CHECK(writes(&r, json));
    CHECK_EQ(qn_json_parse(&j, &env, name, json, strlen(json)), QUERN_OK);
    qn_json_free(&env, &j);
    CHECK(write_text(json));
    qn_recipe again;
    CHECK_EQ(qn_recipe_load(&again, &env, out), QUERN_OK);
    CHECK(writes(&again, json));
    qn_recipe_free(&env, &again);
    const char *decoder = qn_recipe_preset_decoder_json(name);
    CHECK_EQ(qn_recipe_of_decoder(&r, &env), QUERN_OK);
    CHECK(!strcmp(r.name, name) && writes(&r, decoder ? decoder : json));
    if (r.id == QN_RECIPE_INT8) { /* and what a file says that was made by it */
      qn_buffer said = {0};
      r.activation_outliers = QN_OUTLIER_GROUP;
      CHECK_EQ(qn_recipe_format(&r, &env, &said), QUERN_OK);
      CHECK(said.data && write_text((const char *)said.data));
      CHECK_EQ(qn_recipe_load(&again, &env, out), QUERN_OK);
      qn_recipe_free(&env, &again);
      qn_buffer_free(&env, &said);
    }
    qn_recipe_free(&env, &r);
  }
  CHECK(qn_recipe_preset_json("none") == NULL && qn_recipe_preset_decoder_json("none") == NULL);
  static const struct {
    const char *text;
    quern_status status;
    const char *words;
  } bad[] = {
      {"", QUERN_E_SOURCE, ""},
      {TRANSFORM("\"transform\":\"dct\""), QUERN_E_UNSUPPORTED, "transform is \"none\""},
      {TRANSFORM("\"block\":64"), QUERN_E_UNSUPPORTED, "block belongs to a \"transform\""},
      {TRANSFORM("\"transform\":\"duquant\",\"block\":96"), QUERN_E_UNSUPPORTED, "block is 16, 32"},
      {TRANSFORM("\"transform\":\"duquant\",\"block\":512"), QUERN_E_SOURCE, "block is a number from 16 to 256"},
      {TRANSFORM("\"transform\":\"duquant\",\"rotate2\":\"dense\""), QUERN_E_UNSUPPORTED, "rotate2 is true"},
      {TRANSFORM("\"transform\":\"duquant\",\"steps\":0"), QUERN_E_SOURCE, "steps is a number"},
      {TRANSFORM("\"transform\":\"duquant\",\"outlier\":\"token\""), QUERN_E_UNSUPPORTED, "outlier is \"column\""},
      {TRANSFORM("\"transform\":\"duquant\",\"alpha\":0.6"), QUERN_E_UNSUPPORTED, "alpha is a number of eighths"},
      {TRANSFORM("\"transform\":\"duquant\",\"split\":4"), QUERN_E_UNSUPPORTED, "split and transform"},
      {TRANSFORM("\"transform\":\"none\",\"merge\":true"), QUERN_E_UNSUPPORTED, "merge is for rotations"},
      {TRANSFORM("\"transform\":\"duquant\",\"merge\":1"), QUERN_E_SOURCE, "merge is true or false"},
      {TRANSFORM("\"transform\":\"duquant\",\"budget\":4"), QUERN_E_UNSUPPORTED,
       "budget belongs to transform \"auto\""},
      {TRANSFORM("\"transform\":\"auto\",\"budget\":65"), QUERN_E_SOURCE, "budget is a number from 1 to 64"},
      {TRANSFORM("\"transform\":\"auto\",\"rotate\":false,\"permute\":false,\"rotate2\":false"), QUERN_E_UNSUPPORTED,
       "begins with a rotation"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":6,\"group\":64},\"embeddings\":{\"bits\":8},"
       "\"transform\":\"duquant\"}",
       QUERN_E_UNSUPPORTED, "need \"symmetric\": true"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":6,\"symmetric\":true},\"embeddings\":{"
       "\"bits\":"
       "8},\"transform\":\"duquant\"}",
       QUERN_E_UNSUPPORTED, "give activations a group"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":6,\"group\":32},\"activations\":{\"bits\":6,\"group\":64,\"symmetric\":"
       "true},\"embeddings\":{\"bits\":8},\"transform\":\"duquant\"}",
       QUERN_E_UNSUPPORTED, "must be weights.group, 32"},
      {TRANSFORM("\"transform\":\"none\",\"rotate\":true"), QUERN_E_UNSUPPORTED, "has no rotation"},
      {TRANSFORM("\"transform\":\"duquant\",\"rotate\":false,\"rotate2\":false"), QUERN_E_UNSUPPORTED,
       "permute without a rotation"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":32,\"clip\":0.8},\"activations\":{\"bits\":4},\"embeddings\":"
       "{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "weights.clip is for 4 bits"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":0,\"minimum\":true,\"clip\":\"wide\"},\"activations\":"
       "{\"bits\":4},\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "weights.clip is a number"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":4,\"clip\":\"learned\"},\"embeddings\":{"
       "\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "activations.clip is above 0"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":4,\"clip\":\"searched\"},\"embeddings\":{"
       "\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "activations.clip \"searched\" belongs to a \"transform\""},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":4,\"clip\":\"searched\"},\"embeddings\":{"
       "\"bits\":8},"
       "\"transform\":\"none\"}",
       QUERN_E_UNSUPPORTED, "searched for behind a transform"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":4,\"clip\":2},\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "activations.clip is above 0"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{\"bits\":"
       "8},"
       "\"transform\":\"duquant\"}",
       QUERN_E_UNSUPPORTED, "that are not static"},
      {"[]", QUERN_E_SOURCE, "JSON object"},
      {"{\"name\":\"x\"}", QUERN_E_SOURCE, "weights"},
      {"{\"name\":\"a b\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}",
       QUERN_E_SOURCE, "name"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":3},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "weights of 3"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":48},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}"
       "}",
       QUERN_E_UNSUPPORTED, "weights.group is 32"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":2,\"group\":64}"
       "}",
       QUERN_E_UNSUPPORTED, "embeddings.group"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":2,\"minimum\":"
       "true}}",
       QUERN_E_UNSUPPORTED, "embeddings.minimum"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4},\"activations\":{\"bits\":32},\"embeddings\":{\"bits\":32}}",
       QUERN_E_UNSUPPORTED, "weights of 4"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":32},\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "all 32 can"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":\"8\"},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}",
       QUERN_E_SOURCE, ": weights.bits is a number"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"symmetric\":\"yes\"},\"embeddings\":"
       "{\"bits\":8}}",
       QUERN_E_SOURCE, ": activations.symmetric is true or false"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},\"split\":"
       "\"many\"}",
       QUERN_E_SOURCE, ": split is a number"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{\"bits\":"
       "8},\"smooth\":false,\"split\":0,\"sites\":{\"pool.in\":{\"symmetric\":1}}}",
       QUERN_E_SOURCE, ": pool.in.symmetric is true or false"},
      {"{\"name\":\"x\",\"weights\":{\"bit\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, ": weights.bit is no member"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4.5},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}",
       QUERN_E_SOURCE, ": weights.bits must be there, a whole number"},
      {"{\"name\":\"x\",\"weights\":4,\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}", QUERN_E_SOURCE,
       ": weights is an object"},
      {"{\"name\":\"x\",\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}", QUERN_E_SOURCE,
       ": weights must be there"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8,\"bits\":4},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}",
       QUERN_E_SOURCE, ": weights.bits is given twice"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8,\"group\":48},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}"
       "}",
       QUERN_E_UNSUPPORTED, "weights.group is 32"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8,\"minimum\":true},\"activations\":{\"bits\":8},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "weights.minimum"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"outliers\":48},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "activations.outliers"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4,\"scales\":\"half\"},\"activations\":{\"bits\":8},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "weights.scales"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":2,\"scales\":\"integer\",\"minimum\":true},\"activations\":{\"bits\":8},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "integer scales"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4,\"scales\":\"integer\",\"group\":0},\"activations\":{\"bits\":8},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "integer scales"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"group\":96},\"embeddings\":{\"bits\":8}"
       "}",
       QUERN_E_UNSUPPORTED, "activations.group is 32"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4},\"activations\":{\"bits\":8,\"group\":64},\"embeddings\":{\"bits\":8}"
       "}",
       QUERN_E_UNSUPPORTED, "must be weights.group, 32"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":32},\"activations\":{\"bits\":32,\"symmetric\":true},"
       "\"embeddings\":{\"bits\":32}}",
       QUERN_E_UNSUPPORTED, "activations.symmetric"},
      {"{\"name\":\"x\",\"rotate\":true,\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":"
       "8}}",
       QUERN_E_UNSUPPORTED, "rotate"},
      {"{\"name\":\"x\",\"smooth\":true,\"weights\":{\"bits\":32},\"activations\":{\"bits\":32},"
       "\"embeddings\":{\"bits\":32}}",
       QUERN_E_UNSUPPORTED, "smooth"},
      {"{\"name\":\"x\",\"smooth\":false,\"split\":4,\"weights\":{\"bits\":32},\"activations\":{\"bits\":32},"
       "\"embeddings\":{\"bits\":32}}",
       QUERN_E_UNSUPPORTED, "split"},
      {"{\"name\":\"x\",\"split\":257,\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}"
       "}",
       QUERN_E_SOURCE, "split must be 0 to 256"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},\"sites\":{}"
       "}",
       QUERN_E_UNSUPPORTED, "sites belong to"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":32},\"activations\":{\"bits\":8,\"static\":true},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "need weights with one scale"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":5},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "weights of 5"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":5},\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "weights of 6"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":6,\"group\":32},\"activations\":{\"bits\":6,\"static\":true},"
       "\"embeddings\":{\"bits\":6}}",
       QUERN_E_UNSUPPORTED, "one scale an output channel"},
      {"{\"name\":\"x\"," STATIC ",\"placement\":\"some\"}", QUERN_E_UNSUPPORTED,
       "placement is one of \"all\", \"inputs\""},
      {"{\"name\":\"x\"," STATIC ",\"migrate\":1}", QUERN_E_UNSUPPORTED, "migrate is one of \"none\", \"attention\""},
      {"{\"name\":\"x\"," STATIC ",\"clip\":\"mse\"}", QUERN_E_UNSUPPORTED, "clip is one of \"minmax\", \"tokenwise\""},
      {"{\"name\":\"x\"," DYNAMIC ",\"rounding\":\"calibrated\"}", QUERN_E_UNSUPPORTED, "weights of 6, 4 or 2 bits"},
      {"{\"name\":\"x\"," DYNAMIC ",\"rounding\":\"best\"}", QUERN_E_UNSUPPORTED,
       "rounding is one of \"nearest\", \"calibrated\", \"either\""},
      {"{\"name\":\"x\"," DYNAMIC ",\"rounding\":true}", QUERN_E_UNSUPPORTED, "rounding is one of"},
      {"{\"name\":\"x\"," STATIC ",\"rounding\":\"calibrated\"}", QUERN_E_UNSUPPORTED, "not static"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":32},\"activations\":{\"bits\":32},\"embeddings\":{\"bits\":32},"
       "\"rounding\":\"calibrated\"}",
       QUERN_E_UNSUPPORTED, "weights of 6, 4 or 2 bits"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":2}}", QUERN_E_UNSUPPORTED, "head.bits is 8 or 4"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":32}}", QUERN_E_UNSUPPORTED, "head.bits is 8 or 4"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":4,\"group\":48}}", QUERN_E_UNSUPPORTED, "head.group is 32"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":8,\"group\":16}}", QUERN_E_UNSUPPORTED, "head.group is 32"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":8,\"scales\":\"integer\"}}", QUERN_E_UNSUPPORTED,
       "head.scales does not go with"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":6,\"scales\":\"integer\"}}", QUERN_E_UNSUPPORTED,
       "head.scales does not go with"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":4,\"scales\":\"whole\"}}", QUERN_E_UNSUPPORTED,
       "head.scales is \"float\" or \"integer\""},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":{\"bits\":4,\"group\":0,\"scales\":\"integer\"}}", QUERN_E_UNSUPPORTED,
       "need a head.group"},
      {"{\"name\":\"x\"," DYNAMIC ",\"head\":8}", QUERN_E_SOURCE, "head is an object: {\"bits\": 8}"},
      {"{\"name\":\"x\"," DYNAMIC ",\"placement\":\"inputs\"}", QUERN_E_UNSUPPORTED, "placement belongs to"},
      {"{\"name\":\"x\"," DYNAMIC ",\"clip\":\"fine\"}", QUERN_E_UNSUPPORTED, "clip belongs to"},
      {"{\"name\":\"x\"," DYNAMIC ",\"migrate\":\"all\"}", QUERN_E_UNSUPPORTED, "migrate belongs to"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":32},\"activations\":{\"bits\":32},\"embeddings\":{\"bits\":32},"
       "\"migrate\":\"auto\"}",
       QUERN_E_UNSUPPORTED, "a float recipe may say"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true,\"group\":32},"
       "\"embeddings\":"
       "{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "activations.group"},
      {"{\"name\":\"x\",\"smooth\":true," STATIC "}", QUERN_E_UNSUPPORTED, "smooth has no meaning"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true,\"estimator\":\"best\"},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_UNSUPPORTED, "activations.estimator"},
      {"{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true,\"percentile\":101},"
       "\"embeddings\":{\"bits\":8}}",
       QUERN_E_SOURCE, "percentile is above 50"},
      {"{\"name\":\"x\"," STATIC ",\"sites\":[]}", QUERN_E_SOURCE, "sites: an object"},
      {SITES("\"layers.*.ffn.sum\":16"), QUERN_E_SOURCE, "{\"bits\": 16} is expected"},
      {SITES("\"layers.*.ffn.sum\":{\"bits\":5}"), QUERN_E_UNSUPPORTED, "layers.*.ffn.sum: bits is 4, 6, 8 or 16"},
      {SITES("\"layers.*.ffn.sum\":{\"bit\":8}"), QUERN_E_UNSUPPORTED, "\"bit\" is no member of a site"},
      {SITES("\"layers.*.ffn.sum\":{\"group\":48}"), QUERN_E_UNSUPPORTED, "multiple of 32"},
      {SITES("\"layers.*.ffn.sum\":{\"low\":1,\"high\":2}"), QUERN_E_SOURCE, "low <= 0 <= high"},
      {SITES("\"layers.*.ffn.sum\":{\"scale\":0}"), QUERN_E_SOURCE, "scale is not between"},
      {SITES("\"Layers\":{\"bits\":8}"), QUERN_E_SOURCE, "no name of a site"},
      {SITES("\"layers.*.ffn.sum\":{\"bits\":8,\"groups\":6,\"bits\":16}"), QUERN_E_SOURCE, "bits is given twice"},
      {"{\"name\":\"x\"," STATIC ",\"name\":\"y\"}", QUERN_E_SOURCE, "name is given twice"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK(write_text(bad[i].text));
    CHECK_EQ(qn_recipe_load(&r, &env, out), bad[i].status);
    CHECK(message_has(bad[i].words));
    qn_recipe_free(&env, &r);
  }
  CHECK_EQ(qn_recipe_load(&r, &env, "int3"), QUERN_E_UNSUPPORTED);
  CHECK(message_has(
      "presets: float, int8, int8-g32, int4, int4-g128, tiny, w8a8-static, mixed, mixed-gelu, peg, peg-pow2, "
      "peg-uneven, auto, duquant4, duquant6, duquant4-lwc, os8, os6, os4"));
  CHECK_EQ(qn_recipe_load(&r, &env, "/nonexistent/r.json"), QUERN_E_IO);
  CHECK_EQ(qn_recipe_load(&r, &env, "nonexistent.json"), QUERN_E_IO);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(root, sizeof root)) return 1;
  snprintf(out, sizeof out, "%s/r.json", root);
  RUN(keeps_recipes);
  RUN(reads_recipes);
  tiny_dir_remove(root);
  return TEST_END();
}
