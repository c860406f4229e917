/* test_cli_recipe.c - the command's recipes of decoders: what is printed of presets makes what their names make; nothing that a model is
 * made from is written over; reports. */
#include "quern.h"
#include "tiny_bpe.h"
#include "tiny_decoder.h"

#include "cli_run.h" /* last: its `dir` would be shadowed */

/* What --decoder prints of a preset makes the file that its name makes. */
static void test_printed_recipe(void) {
  static const char *const names[] = {"int8", "int4", "duquant4"};
  char command[256];
  CHECK_EQ(quern("quantize --print-recipe int4"), 0);
  CHECK(has("int4 of a decoder is another: --decoder prints it") && has("\"float\""));
  CHECK_EQ(quern("quantize --print-recipe mixed"), 0);
  CHECK(!has("--decoder"));
  CHECK_EQ(quern("quantize --print-recipe mixed --decoder"), 2);
  CHECK(has("recipe mixed is for encoders alone"));
  CHECK_EQ(quern("quantize --print-recipe float --decoder --quiet >@/own.json && cp @/own.json @/kept.json"), 0);
  CHECK_EQ(quern("quantize @/m -o @/own.json --recipe @/own.json"), 2);
  CHECK(has("own.json is what the model is made from: name another file to write"));
  CHECK_EQ(quern("quantize @/m -o @/own.qrn --recipe @/own.json && cmp @/own.json @/kept.json"), 0);
  CHECK_EQ(quern("quantize @/m -o @/x.qrn --decoder"), 2);
  CHECK(has("belongs to --print-recipe"));
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    snprintf(command, sizeof command, "quantize @/m -o @/named.qrn --recipe %s", names[i]);
    CHECK_EQ(quern(command), 0);
    CHECK(has("weights of an operator off by at most "));
    snprintf(command, sizeof command, "quantize --print-recipe %s --decoder --quiet >@/own.json", names[i]);
    CHECK_EQ(quern(command), 0);
    CHECK_EQ(quern("quantize @/m -o @/own.qrn --recipe @/own.json"), 0);
    CHECK_EQ(quern("verify @/own.qrn && cmp @/own.qrn @/named.qrn"), 0);
  }
}

/* A decoder's report on texts that take more than a page of the cache each. */
static void test_report(void) {
  char lines[2000] = "";
  for (size_t i = 0, n = 0; i < 5; i++)
    for (size_t j = 0; j < 30; j++)
      n += (size_t)snprintf(lines + n, sizeof lines - n, "%s%s", j % 3 ? "on the " : "a cat ", j == 29 ? "\n" : "");
  CHECK_EQ(tiny_text(dir, "calibration", lines), 1);
  CHECK_EQ(quern("quantize @/m -o @/reported.qrn --recipe duquant4 --calibrate @/calibration --report @/report"), 0);
  CHECK_EQ(quern("verify @/reported.qrn && grep -q '\"transforms\"' @/report/report.json && grep -q '</html>' "
                 "@/report/report.html"),
           0);
  CHECK_EQ(quern("quantize @/m -o @/reported.qrn --recipe int8 --calibrate @/calibration --report @/report"), 0);
}

int main(void) {
  if (!cli_run_begin()) return 1;
  char path[400];
  tiny_decoder o = tiny_decoder_of("llama");
  o.positions = 192;
  snprintf(path, sizeof path, "%s/m", dir);
  CHECK(tiny_bpe_decoder(path, o));
  RUN(test_printed_recipe);
  RUN(test_report);
  tiny_dir_remove(dir);
  return TEST_END();
}
