/* insn.c - a plugin of QEMU (TCG plugin API 1): counts the AArch64 instructions that a program executes, by function, and among
 * them dot products and matrix multiplications. Counts are the same in every run. The few declarations of the API that it
 * needs stand here, since distributions install emulators without the header. Single-threaded programs only.
 *
 *   qemu-aarch64 -plugin ./libinsn.so -d plugin PROGRAM     prints lines "count FUNCTION ALL DOT MATRIX" on standard error */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct block;
struct insn;
extern size_t qemu_plugin_tb_n_insns(const struct block *b);
extern struct insn *qemu_plugin_tb_get_insn(const struct block *b, size_t i);
extern const char *qemu_plugin_insn_symbol(const struct insn *i);
extern const void *qemu_plugin_insn_data(const struct insn *i);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*fn)(plugin_id id, struct block *b));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *b, int op, void *counter, uint64_t add);
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*fn)(plugin_id id, void *user), void *user);
extern void qemu_plugin_outs(const char *text);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version;
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

enum { ALL, DOT, MATRIX, CLASSES };
typedef struct function {
  char *name;
  uint64_t count[CLASSES];
  struct function *next;
} function;
static function *functions;

static function *function_of(const char *name) {
  for (function *f = functions; f; f = f->next)
    if (!strcmp(f->name, name)) return f;
  function *f = calloc(1, sizeof *f);
  if (f) f->name = strdup(name);
  if (!f || !f->name) abort();
  f->next = functions;
  functions = f;
  return f;
}

/* Masks leave out registers, the size of the vector, signedness and lanes. */
static int class_of(uint32_t word) {
  if ((word & 0x9fe0fc00u) == 0x0e809400u || (word & 0x9fc0f400u) == 0x0f80e000u) return DOT;    /* sdot, udot */
  if ((word & 0xbfe0fc00u) == 0x0e809c00u || (word & 0xbf40f400u) == 0x0f00f000u) return DOT;    /* usdot, sudot */
  if ((word & 0xdfe0fc00u) == 0x4e80a400u || (word & 0xffe0fc00u) == 0x4e80ac00u) return MATRIX; /* s, u, usmmla */
  return ALL;
}

/* A block never crosses a function that is called. */
static void on_translate(plugin_id id, struct block *b) {
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(b);
  if (!n) return;
  const char *name = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(b, 0));
  function *f = function_of(name ? name : "?");
  uint64_t count[CLASSES] = {n, 0, 0};
  for (size_t i = 0; i < n; i++) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(b, i)), sizeof word);
    const int c = class_of(word);
    if (c != ALL) count[c]++;
  }
  for (int c = 0; c < CLASSES; c++)
    if (count[c]) qemu_plugin_register_vcpu_tb_exec_inline(b, 0, &f->count[c], count[c]);
}

static void on_end(plugin_id id, void *user) {
  (void)id, (void)user;
  char line[512];
  for (const function *f = functions; f; f = f->next) {
    snprintf(line, sizeof line, "count %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", f->name, f->count[ALL], f->count[DOT],
             f->count[MATRIX]);
    qemu_plugin_outs(line);
  }
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_atexit_cb(id, on_end, NULL);
  return 0;
}
