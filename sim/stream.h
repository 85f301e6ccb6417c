/* A reliable, ordered stream of messages between two hosts: stands for a WebSocket over TLS over TCP. It is
 * made of segments that travel over the same links and boxes as everything else: a lost one holds back what
 * follows until it is sent again, after max(200 ms, RTT), doubled each time; the window is bounded and
 * slow-starts, so a slow line pushes back; a reboot of either end answers with a reset; a silent hole is only
 * found out by time. Opening costs the round trips of TCP, TLS and the upgrade, with messages as long as
 * those of TLS 1.3 with ML-KEM-1024 and an ML-DSA-87 certificate.
 *
 * Two ends that connect to each other from the ports at which they are connected to meet in one stream (TCP's
 * simultaneous open, RFC 9293 section 3.5): so two NAT boxes are passed that let nobody in. */
#ifndef WARREN_SIM_STREAM_H
#define WARREN_SIM_STREAM_H

#include "base/buf.h"
#include "sim/net.h"

#define STREAM_SEGMENT     1200
#define STREAM_SEND_MAX    (128 * 1024) /* waiting or on the way: then it takes no more */
#define STREAM_MESSAGE_MAX (128 * 1024)
#define STREAM_RTO_MIN     (200 * MSEC)
#define STREAM_OPEN_MAX    (10 * SEC)  /* from connect to up */
#define STREAM_GIVE_UP     (120 * SEC) /* sent and never acknowledged */

struct stream;

struct stream_ops {
    /* Open: both ends have the same binding; the client learns the server's fingerprint (at the server:
     * zeros, but where both ends connected, each learns the other's). */
    void (*up)(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32]);
    void (*message)(void *arg, struct stream *s, bool binary, uint8_t *p, size_t n);
    void (*writable)(
        void *arg, struct stream *s); /* there is room again; once after stream_want_write or a failed send */
    void (*down)(void *arg, struct stream *s,
                 const char *why); /* once; the stream is then dead, still to be freed */
};

struct stream_listener {
    uint16_t port;
    uint8_t fingerprint[32];
    const struct stream_ops *ops;                 /* of accepted streams */
    void *(*accept)(void *arg, struct stream *s); /* gives the ops' arg; NULL refuses */
    void *arg;
};

/* One listener a port; copied. 0 or -EADDRINUSE. */
int stream_listen(struct host *h, const struct stream_listener *l);
void stream_unlisten(struct host *h, uint16_t port);
/* Never calls back from inside. */
struct stream *stream_connect(struct host *h, const struct net_addr *to, const struct stream_ops *ops,
                              void *arg);
/* From a port of our own choice, that of a listener: its fingerprint is ours where the other side does the
 * same. NULL: such a stream exists. */
struct stream *stream_connect_from(struct host *h, uint16_t port, const struct net_addr *to,
                                   const struct stream_ops *ops, void *arg);
/* false: not up or full; writable comes later. */
bool stream_send(struct stream *s, bool binary, struct bytes message);
bool stream_writable(const struct stream *s);
void stream_want_write(struct stream *s);
/* Stops reading: the window closes and the sender gets to feel it. */
void stream_pause(struct stream *s, bool paused);
/* No more callbacks; what was accepted still goes out, then the peer hears "closed". The pointer is dead at
 * once. */
void stream_close(struct stream *s);
/* The same with a reset: what waits is lost. */
void stream_abort(struct stream *s);
/* Every stream and listener of this host vanishes: the kernel tells the peers (reset), or, with quiet, nobody
 * does. */
void stream_host_reset(struct host *h, bool quiet);
const struct net_addr *stream_remote(const struct stream *s);
usec_t stream_rtt(const struct stream *s);

#endif
