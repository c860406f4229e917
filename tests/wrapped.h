/* wrapped.h - the system's functions as a test's binary has them: counted, and one chosen call of one of them fails. The
 * linker puts them in the place of those that the objects name (-Wl,--wrap, see the Makefile), so that a sanitizer's own
 * stay as they are. Tests only; the counters may be raised from any thread. */
#ifndef QN_WRAPPED_H
#define QN_WRAPPED_H
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum wrapped_function {
  WRAPPED_OPEN,
  WRAPPED_READ,
  WRAPPED_FSTAT,
  WRAPPED_STAT,
  WRAPPED_MMAP,
  WRAPPED_PWRITE,
  WRAPPED_WRITE,
  WRAPPED_FSYNC,
  WRAPPED_CLOSE,
  WRAPPED_RENAME,
  WRAPPED_MKDIR,
  WRAPPED_THREAD,
  WRAPPED_MEMORY, /* malloc and its kin */
  WRAPPED_FUNCTIONS
} wrapped_function;

static const char *const wrapped_name[] = {"open",  "read",  "fstat",  "stat",  "mmap",           "pwrite", "write",
                                           "fsync", "close", "rename", "mkdir", "pthread_create", "malloc"};

typedef struct wrapped_state {
  atomic_long calls[WRAPPED_FUNCTIONS];
  atomic_long maps; /* mapped, not unmapped */
  wrapped_function failing;
  long fail_at; /* this call of it fails, the first is 1; 0: none does */
  int error;    /* with this errno; 0: it does only a part of its work (pwrite, write, read) */
} wrapped_state;

static wrapped_state wrapped_own, *wrapped = &wrapped_own;

static int wrapped_fails(wrapped_function f) {
  const long call = atomic_fetch_add(&wrapped->calls[f], 1) + 1;
  if (f != wrapped->failing || call != wrapped->fail_at) return 0;
  errno = wrapped->error;
  return 1;
}

#define WRAPPED_DECLARE(type, name, ...)                                                                               \
  type __real_##name(__VA_ARGS__);                                                                                     \
  type __wrap_##name(__VA_ARGS__)

WRAPPED_DECLARE(int, open, const char *path, int flags, ...);
WRAPPED_DECLARE(ssize_t, read, int fd, void *p, size_t n);
WRAPPED_DECLARE(int, fstat, int fd, struct stat *st);
WRAPPED_DECLARE(int, stat, const char *path, struct stat *st);
WRAPPED_DECLARE(void *, mmap, void *at, size_t n, int prot, int flags, int fd, off_t offset);
WRAPPED_DECLARE(int, munmap, void *at, size_t n);
WRAPPED_DECLARE(ssize_t, pwrite, int fd, const void *p, size_t n, off_t offset);
WRAPPED_DECLARE(ssize_t, write, int fd, const void *p, size_t n);
WRAPPED_DECLARE(int, fsync, int fd);
WRAPPED_DECLARE(int, close, int fd);
WRAPPED_DECLARE(int, rename, const char *from, const char *to);
WRAPPED_DECLARE(int, mkdir, const char *path, mode_t mode);
WRAPPED_DECLARE(int, pthread_create, pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);

int __wrap_open(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const unsigned mode = flags & O_CREAT ? va_arg(list, unsigned) : 0;
  va_end(list);
  return wrapped_fails(WRAPPED_OPEN) ? -1 : __real_open(path, flags, mode);
}
ssize_t __wrap_read(int fd, void *p, size_t n) {
  if (wrapped_fails(WRAPPED_READ)) return wrapped->error ? -1 : __real_read(fd, p, n > 1 ? n / 2 : n);
  return __real_read(fd, p, n);
}
int __wrap_fstat(int fd, struct stat *st) { return wrapped_fails(WRAPPED_FSTAT) ? -1 : __real_fstat(fd, st); }
int __wrap_stat(const char *path, struct stat *st) { return wrapped_fails(WRAPPED_STAT) ? -1 : __real_stat(path, st); }
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
  if (wrapped_fails(WRAPPED_MMAP)) return MAP_FAILED;
  void *p = __real_mmap(at, n, prot, flags, fd, offset);
  atomic_fetch_add(&wrapped->maps, p != MAP_FAILED);
  return p;
}
int __wrap_munmap(void *at, size_t n) {
  atomic_fetch_sub(&wrapped->maps, 1);
  return __real_munmap(at, n);
}
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t offset) {
  if (wrapped_fails(WRAPPED_PWRITE)) return wrapped->error ? -1 : __real_pwrite(fd, p, n > 1 ? n / 2 : n, offset);
  return __real_pwrite(fd, p, n, offset);
}
ssize_t __wrap_write(int fd, const void *p, size_t n) {
  if (wrapped_fails(WRAPPED_WRITE)) return wrapped->error ? -1 : __real_write(fd, p, n > 1 ? n / 2 : n);
  return __real_write(fd, p, n);
}
int __wrap_fsync(int fd) { return wrapped_fails(WRAPPED_FSYNC) ? -1 : __real_fsync(fd); }
int __wrap_close(int fd) { /* what fails is closed all the same, as the system has it */
  const int failed = wrapped_fails(WRAPPED_CLOSE), rc = __real_close(fd);
  if (failed) errno = wrapped->error;
  return failed ? -1 : rc;
}
int __wrap_rename(const char *from, const char *to) {
  return wrapped_fails(WRAPPED_RENAME) ? -1 : __real_rename(from, to);
}
int __wrap_mkdir(const char *path, mode_t mode) { return wrapped_fails(WRAPPED_MKDIR) ? -1 : __real_mkdir(path, mode); }
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg) {
  return wrapped_fails(WRAPPED_THREAD) ? wrapped->error : __real_pthread_create(t, a, fn, arg);
}
#endif
