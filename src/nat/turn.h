/* A TURN client (RFC 8656, long-term credentials of RFC 8489): one allocation on one server, over UDP or over
 * a stream (TCP, TLS) that the owner has. A pure core. doc/protocol/turn.md.
 *
 * Order: turn_new, turn_start; then, whenever something came or turn_wake is due: turn_input or turn_tick,
 * turn_event until false, turn_output until false. TURN_EVENT_ALLOCATED brings the relayed address: a
 * candidate. turn_send wraps what goes to a peer, TURN_EVENT_DATA is what came from one. turn_release, output
 * drained, turn_free.
 *
 * Permissions and channels are made and renewed by themselves: the first datagram to a peer asks for the
 * permission and goes right behind it as a Send indication; a peer that answers, or gets TURN_BIND_AFTER
 * datagrams, gets a channel, whose frames cost 4 bytes. What is not used for TURN_IDLE is no longer renewed.
 */
#ifndef WARREN_NAT_TURN_H
#define WARREN_NAT_TURN_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"
#include "wire/stun.h"

/* Limits. Longer realms and nonces are refused. Permissions (by address) and peers (by address and port) are
 * remembered up to TURN_PEERS_MAX each. Refusals that do not fit among the waiting events are counted and
 * forgotten. */
#define TURN_USERNAME_MAX 256
#define TURN_PASSWORD_MAX 256
#define TURN_REALM_MAX    256
#define TURN_NONCE_MAX    256
#define TURN_PEERS_MAX    32
#define TURN_EVENTS_MAX   48
#define TURN_STREAM_MAX   (128 * 1024) /* bytes of a stream that wait for turn_event */

/* What relaying costs, for MTUs: bytes before and behind each datagram on the way between client and server.
 * Before the channel stands: header 20, peer 12 (IPv6: 24), data 4, padding up to 3. Channel frames on
 * streams are padded, too. */
#define TURN_CHANNEL_OVERHEAD     4
#define TURN_STREAM_OVERHEAD      7
#define TURN_INDICATION_OVERHEAD4 39
#define TURN_INDICATION_OVERHEAD6 51
#define TURN_DATAGRAM_MAX         (STUN_MESSAGE_MAX - TURN_INDICATION_OVERHEAD6)
/* With so much room before (and, on streams, behind) a datagram its channel frame is made in place. */
#define TURN_HEADROOM 4
#define TURN_TAILROOM 3

/* Requests over UDP: first retransmission after TURN_RTO_MIN, or 1.5 round trips where those are known and
 * longer; doubled; TURN_SENDS in all (RFC 8489 section 6.2.1: Rc), then TURN_LAST_WAIT (Rm) first waits more.
 */
#define TURN_RTO_MIN        (200 * MSEC)
#define TURN_RTO_MAX        (500 * MSEC)
#define TURN_SENDS          7
#define TURN_LAST_WAIT      16
#define TURN_STREAM_TIMEOUT (10 * SEC)
#define TURN_RELEASE_SENDS  3
#define TURN_CHALLENGES_MAX 4 /* 401 and 438 in a row for one request */
/* 437 to Allocate: an old allocation at our address is ended, then waited for so often and so long. */
#define TURN_MISMATCHES_MAX 12
#define TURN_MISMATCH_WAIT  (250 * MSEC)

/* Renewals. The allocation: so long before its end, or at half of it where it is shorter than two of these.
 * Permissions live 5 minutes, channels 10; a channel's renewal renews its permission, too. */
#define TURN_LIFETIME         600 /* s; asked for */
#define TURN_REFRESH_EARLY    (60 * SEC)
#define TURN_PERMISSION_RENEW (4 * MINUTE)
#define TURN_CHANNEL_LIFE     (10 * MINUTE)
#define TURN_RETRY            (10 * SEC) /* after a refresh or renewal without an answer */
#define TURN_IDLE             (10 * MINUTE)
#define TURN_BIND_AFTER       8
/* A permission unused for so long makes room for another in a full table. */
#define TURN_EVICT_IDLE (30 * SEC)
/* A Binding indication when nothing else was sent: holds NAT mappings on the way. */
#define TURN_KEEPALIVE (25 * SEC)

enum turn_transport { TURN_UDP, TURN_STREAM };

struct turn_config {
    enum turn_transport transport;
    struct net_addr server; /* UDP: where datagrams go. Streams: whom the stream leads to, for people */
    const char *username, *password; /* UTF-8, prepared (RFC 8265); copied and wiped by turn_free */
    uint8_t family; /* of the relayed address: 4, 6; 0: what the server gives without being asked (IPv4) */
    uint32_t txid_prefix; /* the first four bytes of every transaction id; 0: random */
    struct rng rng;
};

struct turn;
/* NULL: out of memory, no or too long a user name or password, or UDP without a server. */
struct turn *turn_new(const struct turn_config *c);
void turn_free(struct turn *t);
/* Asks for the allocation; on a stream once that stands. Also after FAILED or LOST (streams: on a new one),
 * and on the new stream after TURN_EVENT_ALTERNATE. 0 or -EALREADY. */
int turn_start(struct turn *t, usec_t now);
/* Ends the allocation (Refresh with lifetime 0): drain turn_output; TURN_EVENT_RELEASED follows when the
 * server has answered, or does not. */
void turn_release(struct turn *t, usec_t now);

/* Whether a datagram from there is for this client: from the server, and ChannelData, a Data indication, or
 * an answer with its txid_prefix. */
bool turn_is(const struct turn *t, const struct net_addr *from, struct bytes in);
/* UDP: one datagram that turn_is. Streams: the next bytes of any number. Call turn_event until false after
 * each: DATA's view leads into `in` (UDP) or into the core (streams). 0; -EBADMSG: not understood, discarded;
 * streams: TURN_STREAM_MAX bytes wait already. Where a stream is not TURN, FAILED or LOST follow and it is to
 * be closed. */
int turn_input(struct turn *t, struct bytes in, usec_t now);
/* The owner's stream ended: FAILED or LOST follow. */
void turn_disconnected(struct turn *t, usec_t now);

struct turn_out {
    struct net_addr to; /* UDP: the server, which a redirection may have changed */
    struct bytes data;  /* valid until the next call */
};
bool turn_output(struct turn *t, usec_t now, struct turn_out *out);

struct turn_packet {
    uint8_t *p; /* the datagram; not const: what is around it may be written to */
    size_t n;
    size_t head, tail; /* writable bytes before and behind it */
};
/* Wraps a datagram for a peer into what has to go to the server: a channel frame in place where the packet
 * has room, else in a buffer of the core's that is valid until the next call. Where the peer was new,
 * turn_output now has the request for its permission: send that first. 0; -ENOTCONN no allocation; -EMSGSIZE
 * over TURN_DATAGRAM_MAX; -EACCES the server refused this peer; -ENOSPC too many peers at once; -EAFNOSUPPORT
 * not the family of the relayed address; -EINVAL no address to send to. */
int turn_send(struct turn *t, const struct net_addr *peer, struct turn_packet in, usec_t now,
              struct turn_out *out);
/* Lets datagrams from that peer's address (any port) in, and keeps it so while used; before the allocation
 * stands it is remembered. Errors as turn_send's. */
int turn_permit(struct turn *t, const struct net_addr *peer, usec_t now);

enum turn_event_kind {
    TURN_EVENT_ALLOCATED, /* relayed, mapped, lifetime */
    TURN_EVENT_DATA,      /* peer, data */
    TURN_EVENT_REFUSED,   /* peer: the server relays nothing to it; why */
    TURN_EVENT_ALTERNATE, /* streams: open a stream to `server` and call turn_start, once only. Over UDP it
                             happens by itself. */
    TURN_EVENT_FAILED,    /* there will be no allocation: why, code */
    TURN_EVENT_LOST,      /* the allocation that was is no more: why, code */
    TURN_EVENT_RELEASED
};
struct turn_event {
    enum turn_event_kind kind;
    struct net_addr relayed, mapped, server, peer;
    uint32_t lifetime; /* s */
    struct bytes data; /* valid until the next turn_input or turn_event */
    uint16_t code;     /* the server's, 0: none */
    const char *why;   /* for people; constant */
};
bool turn_event(struct turn *t, struct turn_event *ev);
usec_t turn_wake(const struct turn *t);
void turn_tick(struct turn *t, usec_t now);

enum turn_state { TURN_NEW, TURN_ALLOCATING, TURN_READY, TURN_RELEASING, TURN_ENDED };
enum turn_state turn_state(const struct turn *t);
const char *turn_state_name(enum turn_state s);
/* "wrong or expired credentials" ...: constant; for code 0 "no answer". */
const char *turn_code_text(uint16_t code);
bool turn_relayed(const struct turn *t, struct net_addr *relayed); /* while TURN_READY */
/* The overhead on the way to this peer as things stand (TURN_*_OVERHEAD*). */
size_t turn_overhead(const struct turn *t, const struct net_addr *peer);

struct turn_counts {
    size_t permissions, channels; /* that stand */
    uint64_t sent_channel, sent_indication, received_channel, received_indication, requests, retransmissions,
        stale_nonces, unproven, discarded, events_lost;
};
void turn_counts(const struct turn *t, struct turn_counts *c);

#endif
