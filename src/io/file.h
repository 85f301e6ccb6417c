/* Files of the state directory: private, whole or not at all. */
#ifndef WARREN_IO_FILE_H
#define WARREN_IO_FILE_H

#include <sys/types.h>

#include "base/buf.h"

/* Temporary name in the same directory, fsync, rename, fsync of the directory; mode as given (0600 for all
 * that is ours). On failure the old content stands. 0 or a negative errno. */
int file_write_atomic(const char *path, struct bytes content, unsigned mode);
/* Appends the whole file to out. -EFBIG past max, -ENOENT ... */
int file_read(const char *path, size_t max, struct buf *out);
/* Adds content behind the first `at` bytes of a file that is there, and syncs; what stands behind them is cut
 * off. On failure the file has its first `at` bytes, and perhaps more. 0, -EIO where it has fewer, or a
 * negative errno. */
int file_append(const char *path, uint64_t at, struct bytes content);
/* Up to n bytes from `at` on, fewer only where the file ends: their number, or a negative errno. */
ssize_t file_read_at(const char *path, uint64_t at, uint8_t *p, size_t n);
/* Makes the directory and its parents, the last one with mode 0700 and owned by us; refuses one that others
 * may write. */
int dir_make_private(const char *path);
/* An exclusive lock that lives as long as the process: a descriptor, or -EWOULDBLOCK with *holder its pid (0
 * unknown). */
int file_lock(const char *path, long *holder);

#endif
