/* One stream, shared by the files that make it: peer_stream.c (table, listener, limits), stream_dial.c (from
 * a dial to a connection, and who is the client), stream_wire.c (TLS, WebSocket, bytes). */
#ifndef WARREN_IO_PEER_STREAM_INT_H
#define WARREN_IO_PEER_STREAM_INT_H

#include <uv.h>
#include <wslay/wslay.h>

#include "base/buf.h"
#include "base/ratelimit.h"
#include "base/rng.h"
#include "crypto/tls_engine.h"
#include "io/dial.h"
#include "io/peer_stream.h"
#include "io/stream_queue.h"
#include "io/ws_upgrade.h"

#define STREAM_READ  65536
#define STREAM_PLAIN 16384 /* a TLS record */
#define STREAM_HOST  256
#define STREAM_HEAD  (WS_UPGRADE_MAX + STREAM_PLAIN)
#define STREAM_WHY   400

enum stream_stage {
    STAGE_DIAL,    /* no connection yet */
    STAGE_ROLE,    /* connected, and whether the other side begins is not known yet */
    STAGE_TLS,     /* its handshake */
    STAGE_UPGRADE, /* HTTP */
    STAGE_OPEN,
    STAGE_DEAD /* closed by us or gone; only its handles still close */
};

/* What the first bytes may be, where both ends dialled (doc/protocol/direct-tls.md). */
enum stream_sniff {
    SNIFF_NOTHING, /* they go to TLS */
    SNIFF_SKIP,    /* we are the client: a hello of the other side, who was tired of waiting, is not for us */
    SNIFF_YIELD    /* we were tired of waiting: a hello makes us the server after all */
};

/* One TCP connection, or an attempt at one. Lives until libuv has closed it, longer than its stream if need
 * be. */
struct stream_attempt {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct peer_streams *all;
    struct peer_stream *stream; /* NULL: given up */
};

struct peer_stream {
    struct peer_streams *all;
    struct peer_stream *next;
    uint32_t number;
    enum peer_stream_kind kind;
    enum stream_stage stage;
    enum stream_sniff sniff;
    bool accepted, punch, client, dirty, ponged;
    struct net_addr remote;
    char host[STREAM_HOST];
    uint8_t wanted[MLDSA_PUBLIC_LEN];
    struct dial *dial;
    struct stream_attempt *attempt;
    uv_timer_t deadline, step;
    unsigned handles;
    uint64_t began, heard; /* uv_now */
    struct tls_engine *tls;
    char key[WS_UPGRADE_KEY_LEN + 1];
    struct buf head; /* first bytes, then those of the upgrade */
    size_t skip;     /* bytes of the other's hello that are still to come */
    wslay_event_context_ptr ws;
    struct bytes in; /* plaintext that wslay has not taken */
    struct stream_queue queue;
    const char *broken; /* what the other side did that ends it; NULL: nothing */
    char why[STREAM_WHY];
};

struct peer_streams {
    uv_loop_t *loop;
    const struct tls_node *node;
    struct peer_streams_ops ops;
    void *arg;
    struct rng rng;
    struct peer_stream *list;
    size_t count;
    uv_tcp_t *listener;
    uint16_t port;
    uint32_t next_number;
    uv_tcp_t spare; /* takes a connection, to close it, where memory is short */
    bool sparing, stalled;
    struct ratelimit accepts;
    uv_prepare_t prepare;
    uv_check_t check;
    bool dirty, freed;
    unsigned handles; /* of ours and of everything that closes */
    struct peer_streams_stats stats;
    struct buf plain, cipher; /* on their way out */
    uint8_t rx[STREAM_READ], text[STREAM_PLAIN], message[PEER_STREAM_MESSAGE_MAX];
};

/* ---- peer_stream.c */
/* Ends a stream; no callback. What it holds is freed when its handles are closed, so a caller further up may
 * still look at its stage. */
void stream_end(struct peer_stream *s);
/* Ends it and tells the owner, from the loop only. */
void stream_down(struct peer_stream *s, const char *why);
/* Its datagrams (or TLS's own bytes) are sent at the end of this turn of the loop. */
void stream_touch(struct peer_stream *s);
/* A handle in the loop; NULL without memory. */
struct stream_attempt *stream_attempt_new(struct peer_stream *s, int family);
void stream_attempt_drop(struct peer_stream *s);
void stream_open(struct peer_stream *s);
/* From now on it has PEER_STREAM_OPEN_S to be open. */
void stream_hurry(struct peer_stream *s);

/* ---- stream_dial.c */
int stream_dial_start(struct peer_stream *s, const struct peer_dial *d);
/* The first bytes of a connection that both ends may have dialled: eats those that are not for TLS. False:
 * the stream is dead, or more is needed first. */
bool stream_sniff(struct peer_stream *s, struct bytes *in);

/* ---- stream_wire.c */
/* The connection stands: reads from now on. */
void stream_wire_start(struct peer_stream *s);
/* TLS as client or server; false: the stream is dead. */
bool stream_tls_start(struct peer_stream *s, bool client);
void stream_received(struct peer_stream *s, struct bytes in);
void stream_flush(struct peer_stream *s);
void stream_ping(struct peer_stream *s);
void stream_good_bye(struct peer_stream *s);

#endif
