/* file.c - files in as read-only maps, files out under a temporary name that is renamed when complete.
 * Invariants: an output's temporary file exists from open until commit or abort, and never afterwards; after the first
 * failure an output only remembers it. Thread rule: a map is read-only; an output belongs to one thread at a time. */
#include "base/file.h"
#include "base/checked.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BUFFER ((size_t)64 * 1024)
#define FILE_TRIES 1000 /* temporary names: a leftover of a killed process with the same id may be in the way */

/* ---- maps -------------------------------------------------------------------------------------------------------- */

static int file_open(const char *path, int flags, mode_t mode) {
  int fd;
  do fd = open(path, flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

static quern_status file_map(qn_map *out, qn_env *env, int fd, const char *name, uint64_t limit) {
  struct stat st;
  *out = (qn_map){NULL, 0, 0};
  if (fstat(fd, &st)) return qn_fail(&env->error, QUERN_E_IO, "%s: %s", name, qn_errno_text(errno));
  if (!S_ISREG(st.st_mode))
    return qn_fail(&env->error, QUERN_E_IO, "%s: %s", name,
                   S_ISDIR(st.st_mode) ? "is a directory, not a file" : "not a regular file; copy it to one first");
  uint64_t bytes = (uint64_t)st.st_size;
  if (limit && bytes > limit)
    return qn_fail(&env->error, QUERN_E_LIMIT, "%s: %llu bytes exceed the limit of %llu", name,
                   (unsigned long long)bytes, (unsigned long long)limit);
  if (bytes > (uint64_t)PTRDIFF_MAX)
    return qn_fail(&env->error, QUERN_E_IO, "%s: too large for this machine's address space", name);
  if (!bytes) return QUERN_OK;
  void *p = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p == MAP_FAILED) return qn_fail(&env->error, QUERN_E_IO, "%s: map: %s", name, qn_errno_text(errno));
  *out = (qn_map){p, (size_t)bytes, 1};
  return QUERN_OK;
}

quern_status qn_map_open(qn_map *out, qn_env *env, const char *path, uint64_t limit) {
  *out = (qn_map){NULL, 0, 0};
  /* Non-blocking, so that a FIFO is refused instead of waited for. */
  int fd = file_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  if (fd < 0) return qn_fail(&env->error, QUERN_E_IO, "%s: %s", path, qn_errno_text(errno));
  quern_status status = file_map(out, env, fd, path, limit);
  close(fd);
  return status;
}

quern_status qn_map_open_fd(qn_map *out, qn_env *env, int fd, uint64_t limit) {
  char name[32];
  qn_format(name, sizeof name, "file descriptor %d", fd);
  return file_map(out, env, fd, name, limit);
}

void qn_map_close(qn_map *m) {
  if (m->mapped) munmap((void *)m->data, m->bytes);
  *m = (qn_map){NULL, 0, 0};
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

/* What the system will not tell may be there. */
static int path_unknown(void) { return errno != ENOENT && errno != ENOTDIR; }

int qn_path_is_directory(const char *path, int unknown) {
  struct stat st;
  return stat(path, &st) ? path_unknown() && unknown : S_ISDIR(st.st_mode);
}

int qn_path_exists(const char *path) {
  struct stat st;
  return !stat(path, &st) || path_unknown();
}

quern_status qn_path_join(qn_env *env, char *buf, size_t cap, const char *dir, const char *name) {
  size_t n = strlen(dir);
  const char *slash = n && dir[n - 1] == '/' ? "" : "/";
  if (qn_format(buf, cap, "%s%s%s", dir, slash, name) >= cap)
    return qn_fail(&env->error, QUERN_E_ARGUMENT, "%s/%s: the path is too long", dir, name);
  return QUERN_OK;
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

struct qn_output {
  qn_env *env;
  int fd;       /* -1: discarding */
  int broken;   /* errno of the first failure, 0: none */
  size_t fill;  /* of the buffer */
  uint64_t end; /* bytes written, the buffered ones included */
  size_t path_bytes, temp_bytes, block_bytes;
  char *path, *temp; /* behind the buffer */
  uint8_t buffer[FILE_BUFFER];
};

static quern_status file_broken(qn_output *o, int err) {
  o->broken = err;
  return qn_fail(&o->env->error, QUERN_E_IO, "%s: write: %s", o->path, qn_errno_text(err));
}

/* All bytes at an offset, whatever the system takes at a time. */
static quern_status file_write_at(qn_output *o, const uint8_t *p, size_t bytes, uint64_t offset) {
  while (bytes) {
    ssize_t n = pwrite(o->fd, p, bytes, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return file_broken(o, n ? errno : ENOSPC);
    p += n, bytes -= (size_t)n, offset += (uint64_t)n;
  }
  return QUERN_OK;
}

static quern_status file_flush(qn_output *o) {
  size_t n = o->fill;
  o->fill = 0;
  return o->fd < 0 ? QUERN_OK : file_write_at(o, o->buffer, n, o->end - n);
}

#define TEMP_MORE 48u /* ".tmp.", two integers, NUL */
/* Creates the temporary file beside the path, so that the rename cannot cross file systems. */
static quern_status file_create_temp(qn_env *env, const char *path, char *temp, size_t temp_bytes, int *fd) {
  for (int i = 0; i < FILE_TRIES; i++) {
    qn_format(temp, temp_bytes, "%s.tmp.%ld.%d", path, (long)getpid(), i);
    *fd = file_open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
    if (*fd >= 0) return QUERN_OK;
    if (errno != EEXIST) break;
  }
  return qn_fail(&env->error, QUERN_E_IO, "%s: cannot create it: %s", path,
                 errno == ENOENT ? "its folder does not exist" : qn_errno_text(errno));
}

int qn_path_same(const char *a, const char *b) {
  struct stat one, other;
  if (stat(a, &one) || stat(b, &other) || !S_ISREG(one.st_mode)) return 0;
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* A device must not be replaced by a file. */
static quern_status check_target(qn_env *env, const char *path) {
  struct stat st;
  if (stat(path, &st) || S_ISREG(st.st_mode)) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_IO, "%s: %s; name a file", path,
                 S_ISDIR(st.st_mode) ? "is a directory" : "not a regular file");
}

quern_status qn_output_check(qn_env *env, const char *path) {
  char temp[4096];
  int fd;
  QN_TRY(check_target(env, path));
  if (strlen(path) + TEMP_MORE > sizeof temp) return QUERN_OK; /* left to opening */
  QN_TRY(file_create_temp(env, path, temp, sizeof temp, &fd));
  close(fd);
  unlink(temp);
  return QUERN_OK;
}

quern_status qn_output_open(qn_output **out, qn_env *env, const char *path, int discard) {
  *out = NULL;
  if (!discard) QN_TRY(check_target(env, path));
  size_t path_bytes = discard && !path ? 1 : strlen(path) + 1;
  size_t temp_bytes = path_bytes + TEMP_MORE;
  size_t block = sizeof(qn_output) + path_bytes + temp_bytes;
  void *memory;
  QN_TRY(qn_alloc(env, &memory, block, "an output file's buffer"));
  qn_output *o = memory;
  memset(o, 0, offsetof(qn_output, buffer));
  o->env = env;
  o->fd = -1;
  o->path = (char *)(o + 1);
  o->temp = o->path + path_bytes;
  o->path_bytes = path_bytes;
  o->temp_bytes = temp_bytes;
  o->block_bytes = block;
  if (path_bytes > 1)
    memcpy(o->path, path, path_bytes);
  else
    o->path[0] = 0;
  quern_status status = discard ? QUERN_OK : file_create_temp(env, o->path, o->temp, temp_bytes, &o->fd);
  if (status != QUERN_OK) {
    qn_free(env, o, block);
    return status;
  }
  *out = o;
  return QUERN_OK;
}

quern_status qn_output_write(qn_output *o, const void *p, size_t bytes) {
  const uint8_t *from = p;
  if (o->broken) return file_broken(o, o->broken);
  if (bytes > (uint64_t)INT64_MAX - o->end) return file_broken(o, EFBIG);
  while (bytes) {
    size_t n = qn_min_size(bytes, FILE_BUFFER - o->fill);
    if (!o->fill && bytes >= FILE_BUFFER) { /* large pieces go past the buffer */
      if (o->fd >= 0) QN_TRY(file_write_at(o, from, bytes, o->end));
      o->end += bytes;
      return QUERN_OK;
    }
    memcpy(o->buffer + o->fill, from, n);
    o->fill += n, o->end += n;
    from += n, bytes -= n;
    if (o->fill == FILE_BUFFER) QN_TRY(file_flush(o));
  }
  return QUERN_OK;
}

quern_status qn_output_rewrite(qn_output *o, uint64_t offset, const void *p, size_t bytes) {
  if (o->broken) return file_broken(o, o->broken);
  if (!qn_in_range(offset, bytes, o->end))
    return qn_fail(&o->env->error, QUERN_E_ARGUMENT, "%s: rewriting bytes that were not written", o->path);
  QN_TRY(file_flush(o));
  return o->fd < 0 ? QUERN_OK : file_write_at(o, p, bytes, offset);
}

/* The rename itself becomes durable with its directory. Some file systems cannot; the file is whole either way. */
static void file_sync_directory(qn_output *o) {
  char *slash = strrchr(o->temp, '/');
  const char *dir = ".";
  if (slash) {
    slash[slash == o->temp ? 1 : 0] = 0;
    dir = o->temp;
  }
  int fd = file_open(dir, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

quern_status qn_output_commit(qn_output *o) {
  quern_status status;
  int rc;
  if (o->broken) {
    status = file_broken(o, o->broken);
    goto cleanup;
  }
  QN_TRY_CLEANUP(file_flush(o));
  if (o->fd < 0) goto cleanup;
  do rc = fsync(o->fd);
  while (rc && errno == EINTR);
  if (rc && errno != EINVAL && errno != ENOSYS) { /* these two: the file system has no fsync */
    status = file_broken(o, errno);
    goto cleanup;
  }
  rc = close(o->fd); /* EINTR: closed all the same */
  o->fd = -1;
  if ((rc && errno != EINTR) || rename(o->temp, o->path)) {
    status = file_broken(o, errno);
    unlink(o->temp);
    goto cleanup;
  }
  file_sync_directory(o);
cleanup:
  qn_output_abort(o);
  return status;
}

void qn_output_abort(qn_output *o) {
  if (!o) return;
  if (o->fd >= 0) {
    close(o->fd);
    unlink(o->temp);
  }
  qn_free(o->env, o, o->block_bytes);
}
