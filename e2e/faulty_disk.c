// A disk that fails: loaded into the server (LD_PRELOAD), it lets chosen writes to the database's files fail half-way.
//
// FAULTY_DISK names a file of four numbers of 32 bits, which the test writes while the server runs: the first call that
// fails and the one from which on none fails any more, counted from when the error was set; the error (errno), 0 for a
// disk that is well; and how many calls were seen since.
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
#include <unistd.h>

struct control {
    _Atomic uint32_t from, until, error, seen;
};

static struct control *control;

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("FAULTY_DISK");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(fd);
}

static int fails(int fd) {
    if (!control || !control->error) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, "updraft.db")) return 0;
    uint32_t call = ++control->seen;
    if (call < control->from || call >= control->until) return 0;
    errno = control->error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// Half of it is written.
#define WRITES(name, offset_t)                                                       \
    ssize_t name(int fd, const void *bytes, size_t count, offset_t at) {             \
        if (!fails(fd)) return REAL(name)(fd, bytes, count, at);                     \
        int error = errno;                                                           \
        (void)!REAL(name)(fd, bytes, count / 2, at);                                 \
        errno = error;                                                               \
        return -1;                                                                   \
    }
WRITES(pwrite, off_t)
WRITES(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t count) {
    return fails(fd) ? -1 : REAL(write)(fd, bytes, count);
}

int fsync(int fd) { return fails(fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(fd) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { return fails(fd) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return fails(fd) ? -1 : REAL(ftruncate64)(fd, size); }
