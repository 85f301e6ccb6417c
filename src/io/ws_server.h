/* The server edge: HTTPS requests and WebSockets on one TLS port, libwebsockets on the caller's libuv loop.
 * Connections are numbers. Every callback comes on the loop's thread.
 *
 * Strangers are bounded before they cost anything: the socket is accepted by us, and connections in all and
 * per address (IPv6: per /64) are counted before TLS begins, and a socket has ten seconds to become a
 * WebSocket or to be answered. A request is answered from its headers, its body is never read, and its
 * connection is closed. No permessage-deflate, no HTTP/2. */
#ifndef WARREN_IO_WS_SERVER_H
#define WARREN_IO_WS_SERVER_H

#include "base/buf.h"
#include "wire/hs.h"

struct uv_loop_s;
struct ws_server;

#define WS_SERVER_PATH       "/api/v1/ws"
#define WS_SERVER_TEXT_MAX   65536 /* bytes of a text message, all fragments together */
#define WS_SERVER_BINARY_MAX 65536
/* Bytes after which a connection that has more to write, or more to be read, lets the others have a turn
 * (reading: one TLS record). */
#define WS_SERVER_TURN      65536
#define WS_SERVER_TIMEOUT_S 10 /* from the first packet to an open WebSocket, or to a whole answer */

/* Bodies are refused by method: the owner answers GET. */
struct ws_server_request {
    const char *method, *path; /* the path with its query */
    const char *bearer;        /* of an Authorization header, or NULL */
    struct net_addr remote;
};

struct ws_server_response {
    int status;
    const char *content_type;
    struct buf body;
};

struct ws_server_ops {
    /* A WebSocket was opened. Not 0: it is closed with 1013. binding: tls_binding of its connection. */
    int (*open)(void *arg, uint64_t conn, const struct net_addr *remote, const uint8_t binding[32]);
    void (*text)(void *arg, uint64_t conn, struct bytes text);
    void (*binary)(void *arg, uint64_t conn, struct bytes message);
    void (*alive)(void *arg, uint64_t conn);  /* a WebSocket ping or pong */
    void (*closed)(void *arg, uint64_t conn); /* once for each open that returned 0 */
    /* The socket takes a message now: append it to out and return true, or false for nothing. Messages of up
     * to 16380 bytes cost least: with their header they fill one TLS record. */
    bool (*take)(void *arg, uint64_t conn, struct buf *out, bool *binary);
    void (*http)(void *arg, const struct ws_server_request *rq, struct ws_server_response *rs);
};

struct ws_server_config {
    struct uv_loop_s *loop;
    const char *listen; /* "HOST:PORT", "[::]:443" (both families), ":8443" (the same) */
    struct bytes mldsa_cert, mldsa_key, ecdsa_cert, ecdsa_key; /* PEM (crypto/tls.h); copied into TLS */
    uint32_t connections;                                      /* sockets in all */
    uint32_t connections_per_ip;
};

/* NULL and *why: one line for a person (port in use, no permission, bad certificate ...), valid until the
 * next call. */
struct ws_server *ws_server_new(const struct ws_server_config *c, const struct ws_server_ops *ops, void *arg,
                                const char **why);
uint16_t ws_server_port(const struct ws_server *s);
/* Asks for one or more `take` calls as soon as the socket has room. Unknown numbers are ignored. */
void ws_server_want_write(struct ws_server *s, uint64_t conn);
/* Closes with a WebSocket code once what was taken is sent. */
void ws_server_close(struct ws_server *s, uint64_t conn, uint16_t code, const char *reason);

struct ws_server_stats {
    uint64_t sockets, accepted, refused_total, refused_ip, tls_failed, requests, upgrades, too_large;
};
void ws_server_stats(const struct ws_server *s, struct ws_server_stats *st);

/* Stops listening. */
void ws_server_stop(struct ws_server *s);
/* Closes everything (every open connection is reported closed) and turns the loop until libwebsockets has let
 * go of it. */
void ws_server_free(struct ws_server *s);

/* Takes "HOST:PORT" apart: host without brackets, "" for a bare port. 0 or -EINVAL. */
int ws_server_listen_split(const char *listen, char *host, size_t cap, uint16_t *port);

#endif
