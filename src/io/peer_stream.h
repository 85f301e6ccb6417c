/* Streams between nodes, and to TURN servers: TCP on the caller's libuv loop; in it TLS 1.3 with the nodes'
 * own keys (crypto/tls_engine.h), in that WebSocket messages (RFC 6455). doc/protocol/direct-tls.md.
 *
 * One object holds a listener and any number of dials, all known by numbers: dialled ones by the caller's,
 * below PEER_STREAM_ACCEPTED, those that come by ours, from it up. Every callback comes from the loop, never
 * from inside one of the functions below; a callback may call all of them but peer_streams_free.
 *
 * Strangers are bounded before they cost anything: so many streams in all, half-open ones, from one address,
 * and accepted per second; what is above that is closed at once and counted. */
#ifndef WARREN_IO_PEER_STREAM_H
#define WARREN_IO_PEER_STREAM_H

#include "base/addr.h"
#include "base/bytes.h"

struct uv_loop_s;
struct tls_node;
struct peer_streams;

#define PEER_STREAM_ACCEPTED      0x80000000u
#define PEER_STREAM_MESSAGE_MAX   65536
#define PEER_STREAM_DATAGRAM_MAX  65534 /* with its length it is one message */
#define PEER_STREAM_PACK          16000 /* datagrams that wait share a message up to this: one TLS record */
#define PEER_STREAMS_MAX          64    /* dialled and accepted together */
#define PEER_STREAM_COMERS        48    /* of them, accepted: dials always have room */
#define PEER_STREAM_HALF_OPEN     16    /* accepted and not up yet */
#define PEER_STREAM_PER_ADDRESS   8     /* accepted from one address (IPv6: one /64) */
#define PEER_STREAM_ACCEPTS_PER_S 32    /* each costs a signature */
#define PEER_STREAM_OPEN_S        10    /* from the first packet to up, either way */
#define PEER_STREAM_PUNCH_S       5     /* of it, for two ends' SYNs to cross */
#define PEER_STREAM_PUNCH_MS      300   /* from a failed attempt to the next, give or take a half */
#define PEER_STREAM_ROLE_MS       300   /* whoever is to be the server waits for the client's hello */
#define PEER_STREAM_PING_S        20    /* without a word: a WebSocket ping */
#define PEER_STREAM_SILENT_S      60    /* without a word: it is given up */
#define PEER_STREAM_UNSENT_MAX                                                                               \
    (256u * 1024) /* bytes that the kernel has not taken: more control frames than that, and it is closed */

enum peer_stream_kind {
    PEER_STREAM_PEER, /* a node: messages */
    PEER_STREAM_TCP,  /* bytes as they are */
    PEER_STREAM_TLS   /* bytes in TLS that the system's authorities vouch for */
};

struct peer_streams_ops {
    /* One that was dialled is open (PEER: the other side has proved the key that was asked for), or one came.
     */
    void (*up)(void *arg, uint32_t stream, const struct net_addr *remote);
    /* PEER: a whole message, datagrams each with its 16-bit length before it, not judged; else bytes as they
     * came. May be changed in place. */
    void (*message)(void *arg, uint32_t stream, uint8_t *p, size_t n);
    /* Closed by the other side, failed, or never opened. The number is free again. Not for those that came
     * and were never up, and not after peer_stream_close. */
    void (*down)(void *arg, uint32_t stream, const char *why);
};

/* node must outlive it. The process ignores SIGPIPE. NULL without memory. */
struct peer_streams *peer_streams_new(struct uv_loop_s *loop, const struct tls_node *node,
                                      const struct peer_streams_ops *ops, void *arg);
/* Closes everything without a callback; the memory goes when the loop has turned. NULL is fine. */
void peer_streams_free(struct peer_streams *s);

/* Listens on all addresses, IPv6 and IPv4, at port, or at another where that one cannot be had (0: any). 0
 * and *got, or a negative errno. Once more: the old listener is closed, its streams stay. */
int peer_streams_listen(struct peer_streams *s, uint16_t port, uint16_t *got);

struct peer_dial {
    uint32_t stream;
    enum peer_stream_kind kind;
    struct net_addr to; /* family 0: host is resolved */
    const char *host;   /* TCP, TLS: what is resolved where `to` says nothing, and what the certificate must
                           name; or NULL */
    uint16_t port;      /* for host */
    const uint8_t *key; /* PEER: ML-DSA-87 public key that the other side must hold; copied */
    bool punch; /* PEER: from the listener's port, again and again, while the other side does the same */
};
/* 0, then up or down comes; -EEXIST: the number is in use; -ENOBUFS: PEER_STREAMS_MAX; -EINVAL, -ENOMEM. */
int peer_stream_dial(struct peer_streams *s, const struct peer_dial *d);
/* One datagram (or piece of bytes), sent with what else waits; keep: not to be dropped when the stream
 * stalls. 0; -ENOENT: no such stream, or not up; -EMSGSIZE; -ENOBUFS, -ENOMEM: dropped. */
int peer_stream_send(struct peer_streams *s, uint32_t stream, struct bytes datagram, bool keep);
/* Sends what waits as far as the kernel takes it, says good-bye and closes. Unknown numbers are ignored. */
void peer_stream_close(struct peer_streams *s, uint32_t stream);

struct peer_streams_stats {
    uint64_t accepted, refused, /* at once, by a limit */
        failed,                 /* dialled or accepted, and never up */
        opened, dropped;        /* datagrams that stalled streams lost */
};
void peer_streams_stats(const struct peer_streams *s, struct peer_streams_stats *st);

#endif
