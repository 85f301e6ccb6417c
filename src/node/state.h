/* The state directory of a node: its identity, its parties, the hub it belongs to, a lock against a second
 * daemon. Part of the edge. Everything in it is written by file_write_atomic with mode 0600; the files of
 * parties grow by file_append.
 *
 *   lock            held by the daemon that runs
 *   identity        the two seeds of the signing key, see state_identity
 *   hub, party-HEX  what the engine saves (NODE_SAVE, NODE_APPEND)
 *   control.sock    the control socket, unless it is put somewhere else */
#ifndef WARREN_NODE_STATE_H
#define WARREN_NODE_STATE_H

#include <limits.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/rng.h"
#include "crypto/sign.h"

#define STATE_WHY_CAP  (PATH_MAX + 256)
#define STATE_FILE_MAX (64u * 1024 * 1024)

struct state {
    char dir[PATH_MAX];
    int lock;
};

/* Where the state of this user is when nothing is said: $WARREN_STATE; for root /var/lib/warren;
 * $XDG_STATE_HOME/warren or
 * ~/.local/state/warren for others. 0, -ENOENT without a home directory, -ENAMETOOLONG. */
int state_default_dir(char *out, size_t cap);
/* The control socket that belongs to a state directory and the --socket option (both may be NULL): the socket
 * named; DIR/control.sock for a directory named, also by $WARREN_STATE; for root without either
 * /run/warren/control.sock, so that a daemon started by sudo can serve the user who started it; else
 * control.sock in the default directory. 0 or a negative errno. */
int state_socket_path(char *out, size_t cap, const char *dir, const char *socket);
#define STATE_SYSTEM_SOCKET "/run/warren/control.sock"

/* Makes the directory (0700) where it is not there and takes the lock. dir NULL: the default one. On failure
 * why[] holds a line for a person: "another daemon (pid N) uses DIR", ... */
int state_open(struct state *s, const char *dir, char why[STATE_WHY_CAP]);
void state_close(struct state *s);

/* The node's key: read, or made with rng and written on first use. A file that others may read, that belongs
 * to somebody else or that is damaged is refused. 88 bytes: "warrenid", version u8 1, 7 zero bytes, ML-DSA-87
 * seed, Ed25519 seed, and the first 8 bytes of the SHA-256 over all before. */
#define STATE_IDENTITY_LEN 88
int state_identity(const struct state *s, const struct rng *rng, struct sign_seed *seed,
                   char why[STATE_WHY_CAP]);

/* Names: letters, digits and '-', at most 79. 0 or a negative errno. */
int state_save(const struct state *s, const char *name, struct bytes data);
int state_append(const struct state *s, const char *name, uint64_t at, struct bytes data); /* file_append */
ssize_t state_read_at(const struct state *s, const char *name, uint64_t at, uint8_t *p,
                      size_t n); /* file_read_at */
int state_delete(const struct state *s, const char *name);
int state_read(const struct state *s, const char *name, struct buf *out);
/* Calls each with the name of every file that begins with prefix, in the order of the names; stops at its
 * first non-zero result and returns it. At most 64 files. */
int state_each(const struct state *s, const char *prefix, int (*each)(void *arg, const char *name),
               void *arg);

#endif
