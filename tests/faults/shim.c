/* Faults under a real process: preloaded into the web workers, steered through a page of memory they share.
 *
 * FAULTS_CONTROL names that page (tests/faults/shim.py writes it, see FIELDS there), FAULTS_DATABASE the SQLite file.
 * Only the database, its -wal and its -journal are touched; every other file is left alone. With FAULTS_TRACE each
 * change of them is recorded too, one file a process, so that a power cut can be played afterwards.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FIELDS = 16, MILLION = 1000000 };
enum kind { WRITE = 1, TRUNCATE, SYNC_BEGIN, SYNC_END, UNLINK };

struct control {
  _Atomic int64_t clock_offset_us;
  _Atomic int64_t sync_errno, sync_ppm, sync_delay_us;
  _Atomic int64_t write_errno, write_ppm, short_ppm;
  _Atomic int64_t read_errno, read_ppm;
  _Atomic int64_t tracing;
  _Atomic int64_t sequence;
  _Atomic int64_t draws;
  _Atomic int64_t fired;
  _Atomic int64_t synced;
};

struct record { uint32_t magic; uint32_t kind; int32_t file; int32_t padding; int64_t sequence, offset, length; };

static struct control *control;
static const char *database, *trace_folder;
static const char *const suffixes[] = {"", "-wal", "-journal"};
static int trace_fd = -1;
static pid_t trace_owner;

static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_pread)(int, void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void) {
  real_clock = dlsym(RTLD_NEXT, "clock_gettime");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_pread = dlsym(RTLD_NEXT, "pread64");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  database = getenv("FAULTS_DATABASE");
  trace_folder = getenv("FAULTS_TRACE");
  const char *path = getenv("FAULTS_CONTROL");
  int fd = path && database ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *page = mmap(NULL, FIELDS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) control = page;
}

static int file_named(const char *path) {
  size_t length = strlen(database);
  if (strncmp(path, database, length)) return -1;
  for (int i = 0; i < 3; i++)
    if (!strcmp(path + length, suffixes[i])) return i;
  return -1;
}

/* Which of the files a descriptor is, or -1. */
static int file_of(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return -1;
  path[n] = 0;
  return file_named(path);
}

/* True in about `ppm` of a million calls. */
static int strikes(int64_t ppm) {
  if (ppm <= 0) return 0;
  uint64_t x = (uint64_t)atomic_fetch_add(&control->draws, 1) * 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  if ((int64_t)((x ^ (x >> 31)) % MILLION) >= ppm) return 0;
  atomic_fetch_add(&control->fired, 1);
  return 1;
}

static void trace(enum kind kind, int file, int64_t offset, int64_t length, const void *data) {
  if (!control->tracing || !trace_folder) return;
  if (trace_fd < 0 || trace_owner != getpid()) {
    char name[4096];
    trace_owner = getpid();
    snprintf(name, sizeof name, "%s/%d.trace", trace_folder, (int)trace_owner);
    trace_fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (trace_fd < 0) abort();
  }
  struct record head = {0xFA017u, kind, file, 0, atomic_fetch_add(&control->sequence, 1), offset, length};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, data ? (size_t)length : 0}};
  if (writev(trace_fd, parts, 2) < 0) abort();
}

int clock_gettime(clockid_t which, struct timespec *out) {
  int result = real_clock(which, out);
  if (!result && control && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) && control->clock_offset_us) {
    int64_t us = (int64_t)out->tv_sec * MILLION + out->tv_nsec / 1000 + control->clock_offset_us;
    out->tv_nsec = us % MILLION * 1000 + out->tv_nsec % 1000;
    out->tv_sec = us / MILLION;
  }
  return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec now;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

static int synchronize(int fd, int (*really)(int)) {
  int file = control ? file_of(fd) : -1;
  if (file < 0) return really(fd);
  if (control->sync_delay_us > 0) usleep((useconds_t)control->sync_delay_us);
  if (strikes(control->sync_ppm)) {
    errno = (int)control->sync_errno;
    return -1;
  }
  trace(SYNC_BEGIN, file, 0, 0, NULL);
  int result = really(fd);
  if (!result) {
    trace(SYNC_END, file, 0, 0, NULL);
    atomic_fetch_add(&control->synced, 1);
  }
  return result;
}

int fdatasync(int fd) { return synchronize(fd, real_fdatasync); }
int fsync(int fd) { return synchronize(fd, real_fsync); }

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
  int file = control ? file_of(fd) : -1;
  if (file >= 0) {
    if (strikes(control->write_ppm)) {
      errno = (int)control->write_errno;
      return -1;
    }
    if (length > 1 && strikes(control->short_ppm)) length /= 2;
    trace(WRITE, file, offset, (int64_t)length, data);
  }
  return real_pwrite(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

ssize_t pread64(int fd, void *data, size_t length, off64_t offset) {
  if (control && control->read_ppm > 0 && file_of(fd) >= 0 && strikes(control->read_ppm)) {
    errno = (int)control->read_errno;
    return -1;
  }
  return real_pread(fd, data, length, offset);
}

int ftruncate64(int fd, off64_t length) {
  int file = control ? file_of(fd) : -1;
  if (file >= 0) trace(TRUNCATE, file, length, 0, NULL);
  return real_ftruncate(fd, length);
}

int unlink(const char *path) {
  int file = control ? file_named(path) : -1;
  if (file >= 0) trace(UNLINK, file, 0, 0, NULL);
  return real_unlink(path);
}
