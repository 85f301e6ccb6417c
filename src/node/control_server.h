/* The daemon's control socket: a UNIX stream socket on which the command line asks, one JSON object a line,
 * and gets one or more lines of answer (doc/protocol/control.md). Part of the edge.
 *
 * Only root, the user whose daemon it is and the user who started it by sudo are served: the socket's mode
 * keeps others away, and the kernel's word about the peer (SO_PEERCRED) is checked for each connection. A
 * client has one request at a time: further lines wait. */
#ifndef WARREN_NODE_CONTROL_SERVER_H
#define WARREN_NODE_CONTROL_SERVER_H

#include <sys/types.h>

#include "base/bytes.h"

#define CONTROL_CLIENTS_MAX 32
#define CONTROL_QUEUE_MAX   (4 * 1024 * 1024) /* bytes of answers that a slow client may leave unread */
#define CONTROL_WHY_CAP     512

struct uv_loop_s;
struct control_server;

struct control_ops {
    void (*request)(void *arg, uint32_t id, struct bytes json);
    void (*gone)(void *arg, uint32_t id); /* the asker of a request that has no final answer yet went away */
};

struct control_config {
    struct uv_loop_s *loop;
    const char *path;
    uid_t owner;   /* the daemon's user */
    uid_t starter; /* who called sudo, or the same as owner */
};

/* Makes the socket's directory where it is missing, removes a socket that nobody serves any more, binds with
 * mode 0600 (owned by starter) and listens. NULL: why[] holds a line for a person. */
struct control_server *control_server_new(const struct control_config *c, const struct control_ops *ops,
                                          void *arg, char why[CONTROL_WHY_CAP]);
/* One line of answer; final: the request is done. A number that is gone is ignored. */
void control_server_reply(struct control_server *s, uint32_t id, struct bytes json, bool final);
/* Removes the socket and closes all connections; the memory goes when the loop has turned. No callback
 * follows. */
void control_server_free(struct control_server *s);
/* Who called sudo, from its environment; the effective user where nobody did or where we are not root. */
uid_t control_starter(void);

#endif
