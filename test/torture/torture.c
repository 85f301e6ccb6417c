#include "torture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"

#define K_MAX 200000
#define SEED  20260401

static struct {
    const char *name;
    unsigned classes;
    enum torture_mode mode;
    uint64_t k;    /* the call that fails; 0: none */
    uint64_t seen; /* calls so far */
    uint64_t seed;
    int on;
    bool paused;
    bool hit, healed;
} now;

void torture_on(void)
{
    now.on++;
}

void torture_off(void)
{
    now.on--;
}

void torture_pause(void)
{
    now.paused = true;
}

void torture_resume(void)
{
    now.paused = false;
}

bool torture_hit(void)
{
    return now.hit;
}

enum torture_mode torture_mode(void)
{
    return now.mode;
}

uint64_t torture_k(void)
{
    return now.k;
}

void torture_heal(void)
{
    now.healed = true;
}

bool torture_fails(enum torture_class c)
{
    if (now.on <= 0 || now.paused || now.healed || now.k == 0 || !(now.classes & c))
        return false;
    now.seen++;
    bool fails = now.mode == TORTURE_ONCE ? now.seen == now.k : now.seen >= now.k;
    now.hit = now.hit || fails;
    return fails;
}

/* ---- the loop ---- */

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 10) : otherwise;
}

static void run_once(uint64_t k, void (*story)(void))
{
    now.k = k;
    now.seen = 0;
    now.on = 0;
    now.hit = now.healed = now.paused = false;
    story();
}

static void run_mode(enum torture_mode mode, unsigned stride, void (*story)(void))
{
    struct rng_seeded state;
    struct rng rng = rng_seeded(&state, now.seed + mode);
    uint64_t runs = 0, only = number_of("WARREN_K", 0), k = only > 0 ? only : 1;
    now.mode = mode;
    do {
        run_once(k, story);
        runs++;
        k += stride > 1 ? 1 + rng_below(&rng, 2 * stride - 1) : 1;
    } while (now.hit && k < K_MAX && only == 0);
    assert_true(k < K_MAX);
    printf("# %s: %s fails, %llu runs up to call %llu, seed %llu\n", now.name,
           mode == TORTURE_ONCE ? "one" : "everything from one on", (unsigned long long)runs,
           (unsigned long long)now.k, (unsigned long long)now.seed);
    fflush(stdout);
    /* A story in which nothing was hit proves nothing: either it calls nothing, or the linker did not wrap.
     */
    assert_true(runs > 1 || only > 0);
    now.k = 0;
}

void torture(const char *name, unsigned classes, unsigned stride, void (*story)(void))
{
    now.name = name;
    now.classes = classes;
    now.seed = number_of("WARREN_SEED", SEED);
    run_mode(TORTURE_ONCE, stride, story);
    run_mode(TORTURE_FROM, stride, story);
    now.name = NULL;
}

int torture_report(void **state)
{
    if (now.name)
        printf("# %s failed at call %llu, %s, seed %llu\n", now.name, (unsigned long long)now.k,
               now.mode == TORTURE_ONCE ? "that one alone" : "and all after it",
               (unsigned long long)now.seed);
    now.name = NULL;
    now.k = 0;
    now.on = 0;
    return 0;
}

/* ---- what the linker sends here ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_open(const char *path, int flags, ...);
int __real_open64(const char *path, int flags, ...);
int __real_mkostemp(char *path, int flags);
int __real_mkostemp64(char *path, int flags);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);
int __real_fchmod(int fd, mode_t mode);
int __real_close(int fd);
int __real_rename(const char *from, const char *to);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_mkostemp(char *path, int flags);
int __wrap_mkostemp64(char *path, int flags);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_fsync(int fd);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_close(int fd);
int __wrap_rename(const char *from, const char *to);

static bool no_memory(void)
{
    if (!torture_fails(TORTURE_MEMORY))
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return no_memory() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return no_memory() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return no_memory() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return no_memory() ? NULL : __real_strndup(s, n);
}

static bool bad_file(int why)
{
    if (!torture_fails(TORTURE_FILE))
        return false;
    errno = why;
    return true;
}

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return bad_file(EMFILE) ? -1 : __real_open(path, flags, mode);
}

/* What large file support makes of them. */
int __wrap_open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return bad_file(EMFILE) ? -1 : __real_open64(path, flags, mode);
}

int __wrap_mkostemp(char *path, int flags)
{
    return bad_file(ENOSPC) ? -1 : __real_mkostemp(path, flags);
}

int __wrap_mkostemp64(char *path, int flags)
{
    return bad_file(ENOSPC) ? -1 : __real_mkostemp64(path, flags);
}

/* A disk that fills up takes a part first. */
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    if (!bad_file(ENOSPC))
        return __real_write(fd, p, n);
    if (n < 2 || now.k % 2 == 0)
        return -1;
    return __real_write(fd, p, n / 2);
}

int __wrap_fsync(int fd)
{
    return bad_file(EIO) ? -1 : __real_fsync(fd);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    return bad_file(EPERM) ? -1 : __real_fchmod(fd, mode);
}

/* As Linux does it: the descriptor is gone even where close reports that a late write failed. */
int __wrap_close(int fd)
{
    if (!bad_file(EIO))
        return __real_close(fd);
    __real_close(fd);
    errno = EIO;
    return -1;
}

int __wrap_rename(const char *from, const char *to)
{
    return bad_file(EIO) ? -1 : __real_rename(from, to);
}
