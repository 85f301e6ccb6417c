/* A WebSocket over TLS 1.3 to the hub: libwebsockets on the caller's libuv loop. One connection an object. Every callback comes on the
 * loop's thread, never from inside ws_client_connect. */
#ifndef WARREN_IO_WS_CLIENT_H
#define WARREN_IO_WS_CLIENT_H

#include "base/buf.h"
#include "wire/invite.h"

struct uv_loop_s;
struct ws_client;

struct ws_client_ops {
    void (*up)(void *arg, const uint8_t binding[32]);
    void (*text)(void *arg, struct bytes text);
    void (*binary)(void *arg, uint8_t *p, size_t n); /* may be changed in place */
    /* Closed or never opened; why is a sentence ("connection refused", "certificate does not match the invite's"). Once per connect. */
    void (*down)(void *arg, const char *why);
    /* The socket takes a message now: append it to out and return true, or false for nothing. */
    bool (*take)(void *arg, struct buf *out, bool *binary);
};

struct ws_client *ws_client_new(struct uv_loop_s *loop, const struct ws_client_ops *ops, void *arg);
void ws_client_free(struct ws_client *w);
/* path: "/api/v1/ws". Resolves, connects (IPv6 and IPv4), TLS with the address's pin or the system's authorities, upgrades; 10 s at most. */
int ws_client_connect(struct ws_client *w, const struct hub_address *hub, const char *path);
void ws_client_want_write(struct ws_client *w);
void ws_client_close(struct ws_client *w);

#endif
