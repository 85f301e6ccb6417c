#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The directory part of path into out ("." where there is none). */
static int directory_of(char out[PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= PATH_MAX)
        return -ENAMETOOLONG;
    if (!slash)
        return snprintf(out, PATH_MAX, "."), 0;
    memcpy(out, path, n);
    out[n] = 0;
    if (!n)
        snprintf(out, PATH_MAX, "/");
    return 0;
}

static int write_all(int fd, struct bytes content)
{
    while (content.n) {
        ssize_t n = write(fd, content.p, content.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        content.p += n;
        content.n -= (size_t)n;
    }
    return 0;
}

static int sync_directory(const char *path)
{
    char dir[PATH_MAX];
    int rc = directory_of(dir, path);
    if (rc)
        return rc;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fsync(fd) ? -errno : 0;
    close(fd);
    return rc;
}

int file_write_atomic(const char *path, struct bytes content, unsigned mode)
{
    char tmp[PATH_MAX];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.XXXXXX", path) >= sizeof tmp)
        return -ENAMETOOLONG;
    int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fchmod(fd, (mode_t)mode) ? -errno : write_all(fd, content);
    if (!rc && fsync(fd))
        rc = -errno;
    if (close(fd) && !rc)
        rc = -errno;
    if (!rc && rename(tmp, path))
        rc = -errno;
    if (rc) {
        unlink(tmp);
        return rc;
    }
    /* The new content stands already; only its survival of a power cut is in doubt, and the caller is told.
     */
    return sync_directory(path);
}

static int append_at(int fd, uint64_t at, struct bytes content)
{
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < at)
        return -EIO;
    if ((uint64_t)st.st_size > at && ftruncate(fd, (off_t)at))
        return -errno;
    if (lseek(fd, (off_t)at, SEEK_SET) < 0)
        return -errno;
    int rc = write_all(fd, content);
    return !rc && fsync(fd) ? -errno : rc;
}

int file_append(const char *path, uint64_t at, struct bytes content)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int rc = append_at(fd, at, content);
    if (close(fd) && !rc)
        rc = -errno;
    return rc;
}

ssize_t file_read_at(const char *path, uint64_t at, uint8_t *p, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t have = 0;
    ssize_t got = 1;
    while (have < n && got > 0) {
        got = pread(fd, p + have, n - have, (off_t)(at + have));
        if (got > 0)
            have += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int rc = got < 0 ? -errno : 0;
    close(fd);
    return rc ? rc : (ssize_t)have;
}

static int read_into(int fd, size_t max, struct buf *out)
{
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if ((uint64_t)st.st_size > max)
        return -EFBIG;
    size_t before = out->n;
    for (;;) {
        /* One byte more than allowed tells a file that grew meanwhile. */
        size_t want = max - (out->n - before) + 1;
        uint8_t chunk[4096];
        ssize_t n = read(fd, chunk, want < sizeof chunk ? want : sizeof chunk);
        int rc = 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = -errno;
        else if ((size_t)n + (out->n - before) > max)
            rc = -EFBIG;
        else if (n > 0)
            rc = buf_add(out, bytes_of(chunk, (size_t)n));
        explicit_bzero(chunk, sizeof chunk);
        if (rc) {
            out->n = before;
            return rc;
        }
        if (n == 0)
            return 0;
    }
}

int file_read(const char *path, size_t max, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = read_into(fd, max, out);
    close(fd);
    return rc;
}

static int make_parents(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        int rc = mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
        *p = '/';
        if (rc)
            return rc;
    }
    return 0;
}

int dir_make_private(const char *path)
{
    char copy[PATH_MAX];
    if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy)
        return -ENAMETOOLONG;
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = 0;
    if (!n)
        return -ENOENT;
    int rc = make_parents(copy);
    if (rc)
        return rc;
    if (mkdir(copy, 0700) && errno != EEXIST)
        return -errno;
    int fd = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    rc = fstat(fd, &st) ? -errno : 0;
    close(fd);
    if (!rc && (st.st_uid != geteuid() || (st.st_mode & 022)))
        rc = -EPERM;
    return rc;
}

static long read_holder(int fd)
{
    char text[24] = {0};
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    return pid > 0 ? pid : 0;
}

int file_lock(const char *path, long *holder)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int rc = -errno;
        if (rc == -EWOULDBLOCK)
            *holder = read_holder(fd);
        close(fd);
        return rc;
    }
    /* The number is for the message of the next one only: the lock itself is what counts. */
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n) {
        int rc = errno ? -errno : -EIO;
        close(fd);
        return rc;
    }
    return fd;
}
