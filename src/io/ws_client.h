/* A WebSocket over TLS 1.3 to the hub on the caller's libuv loop: libwebsockets opens it, frames are our own
 * (io/ws_frame.h). One connection an object.
 * Every callback comes on the loop's thread, never from inside ws_client_connect. */
#ifndef WARREN_IO_WS_CLIENT_H
#define WARREN_IO_WS_CLIENT_H

#include "base/buf.h"
#include "base/addr.h"
#include "wire/invite.h"

struct uv_loop_s;
struct sockaddr_storage;
struct ws_client;

#define WS_CLIENT_MESSAGE_MAX 65536 /* bytes of a message that comes, all fragments together */
#define WS_CLIENT_RECORD      16376
#define WS_CLIENT_TIMEOUT_S   10 /* from ws_client_connect to up */

struct ws_client_ops {
    void (*up)(void *arg, const uint8_t binding[32]);
    void (*text)(void *arg, struct bytes text);
    void (*binary)(void *arg, uint8_t *p, size_t n); /* may be changed in place */
    /* Closed by the other side or never opened; why is a sentence ("connection refused at HOST:443",
     * "certificate does not match the invite's"). At most once per connect, and not after ws_client_close. */
    void (*down)(void *arg, const char *why);
    /* The socket takes a message now: append it to out and return true, or false for nothing. Messages of up
     * to WS_CLIENT_RECORD bytes cost least: with their header they fill one TLS record. */
    bool (*take)(void *arg, struct buf *out, bool *binary);
};

/* NULL when libwebsockets or its libuv part cannot be set up. */
struct ws_client *ws_client_new(struct uv_loop_s *loop, const struct ws_client_ops *ops, void *arg);
/* Not from a callback of the loop: it turns the loop until libwebsockets has let go of it. No callback
 * follows. */
void ws_client_free(struct ws_client *w);
/* path: "/api/v1/ws". Resolves, connects (IPv6 and IPv4), TLS with the address's pin or the system's
 * authorities, upgrades; 10 s at most. A connection that stands is closed first. 0, -ENOMEM or -EIO. */
int ws_client_connect(struct ws_client *w, const struct hub_address *hub, const char *path);
/* Asks for a `take` as soon as the socket has room; without a connection nothing happens. */
void ws_client_want_write(struct ws_client *w);
void ws_client_close(struct ws_client *w);
/* The addresses that the hub's name resolved to for the connection that is open or was tried last, the one in
 * use first. Number written. */
#define WS_CLIENT_ADDRESSES_MAX 8
size_t ws_client_addresses(const struct ws_client *w, struct net_addr *out, size_t cap);
/* The address of this machine that the open connection uses. False: no open connection. */
bool ws_client_local_address(const struct ws_client *w, struct sockaddr_storage *out);

#endif
