/* The hub's logic: logins, parties, presence, signaling, relay, limits, metrics. A pure core: connections are
 * numbers, messages are bytes, the store is a table of functions. hub/server.c puts it behind HTTPS; sim/
 * runs it on a virtual clock.
 *
 * The hub is trusted with nothing but being there: it verifies logs so that it does not carry rubbish, orders
 * appends, and forwards. doc/protocol/hub.md. */
#ifndef WARREN_HUB_CORE_H
#define WARREN_HUB_CORE_H

#include "base/buf.h"
#include "base/rng.h"
#include "base/time.h"
#include "hub/store.h"
#include "wire/hs.h"
#include "wire/relay.h"
#include "wire/signal.h"

/* The one table of limits and intervals: each is a flag (--limit NAME=VALUE), an environment variable
 * (WARREN_HUB_NAME) and a line of the configuration file; names, defaults and units in core_limits.c and in
 * the manual page. */
struct hub_limits {
    uint32_t connections;           /* 20000 at once */
    uint32_t connections_per_ip;    /* 256 (IPv6: per /64) */
    uint32_t login_timeout_s;       /* 10: from connection to login */
    uint32_t ping_s;                /* 30 */
    uint32_t silent_s;              /* 60: a silent peer is gone */
    uint32_t token_s;               /* 900 */
    uint32_t logins_per_minute_ip;  /* 60 */
    uint32_t messages_per_s;        /* 50 text messages per connection, burst twice that */
    uint32_t parties_per_device;    /* 32 created ones remembered, subscribed at once */
    uint32_t party_members;         /* 1024 */
    uint32_t entries_per_minute;    /* 60 appends per device */
    uint32_t entries_per_minute_ip; /* 600 from all devices behind one address */
    uint32_t text_queue_bytes;      /* 1 MiB: more waiting text closes the connection (1013) */
    uint32_t relay_queue_bytes;     /* 512 KiB: then the oldest data frames of that receiver are dropped */
    uint32_t relay_bytes_per_s;     /* per sending device; 0: none; default 0 */
    uint32_t parties_cached;        /* 1024 logs in memory without subscribers */
    uint32_t queue_memory_mib;      /* 512: all that waits for slow receivers together */
    uint32_t http_per_minute_ip;    /* 600 requests */
    uint32_t udp_lifetime_s;        /* 120: a UDP binding without KEEP or DATA */
    uint32_t udp_binds_per_s;       /* 5 BINDs and as many CONFIRMs per device, burst twice that */
    uint32_t stun_per_s;            /* 50 requests from one network (/24, IPv6: /48), burst four times that */
};
void hub_limits_default(struct hub_limits *l);
/* Sets one by its name ("ping-s"). 0, -ENOENT, -EINVAL. hub_limit_at lists them (NULL name at the end). */
int hub_limit_set(struct hub_limits *l, const char *name, const char *value);
const char *hub_limit_at(size_t i, const struct hub_limits *l, uint32_t *value, const char **what);

#define HUB_UDP_ADDRS     SIGNAL_UDP_MAX
#define HUB_UDP_SOCKETS   4
#define HUB_UDP_ENDPOINTS (2 * HUB_UDP_SOCKETS)

struct hub_config {
    struct hub_limits limits;
    struct store store; /* closed by its owner, after the hub */
    struct rng rng;
    uint64_t unix_s; /* calendar time at `now` of hub_new */

    /* STUN and the UDP relay: off where udp is false. udp_addrs are told to nodes in `welcome`; 0.0.0.0 or ::
     * means "the address of that family at which you reached me". udp_endpoints, for RFC 5780, by the number
     * of the socket, + 4 for IPv6 (nat/stun_server.h): as clients see them; family 0: there is none;
     * 0.0.0.0 or ::, with the port: the one that hub_udp_datagram.local says. */
    bool udp;
    struct net_addr udp_addrs[HUB_UDP_ADDRS];
    size_t udp_count;
    struct net_addr udp_endpoints[HUB_UDP_ENDPOINTS];
    /* A TURN server of somebody else, and the secret shared with it (coturn: use-auth-secret); "": none. */
    char turn_url[SIGNAL_TURN_URL_MAX + 1];
    uint8_t turn_secret[64];
    size_t turn_secret_len;
};

typedef uint64_t hub_conn; /* the edge's number for a connection; never 0, never used again */

struct hub;
struct hub *hub_new(const struct hub_config *c, usec_t now); /* NULL: memory or store; errno says which */
void hub_free(struct hub *h);
/* The edge tells the calendar time now and then (and after a step of the clock). */
void hub_clock(struct hub *h, usec_t now, uint64_t unix_s);

/* A WebSocket that was opened. binding: of its TLS connection (crypto/tls.h). 0; -EMFILE or -EAGAIN: the edge
 * closes it (1013). The hub then has a challenge for it. */
int hub_open(struct hub *h, hub_conn c, const struct net_addr *remote, const uint8_t binding[32], usec_t now);
void hub_text(struct hub *h, hub_conn c, struct bytes text, usec_t now);
void hub_binary(struct hub *h, hub_conn c, struct bytes message, usec_t now);
void hub_closed(struct hub *h, hub_conn c, usec_t now);
/* Any sign of life below our messages (a WebSocket pong). */
void hub_alive(struct hub *h, hub_conn c, usec_t now);

/* A datagram that came on UDP socket number `socket` (0: the main port; 1: another port of the same address;
 * 2 and 3: the same on a second address). STUN and the relay (doc/protocol/udp-relay.md); everything else is
 * counted and dropped. p is written to: a relayed datagram stays where it is and only gets another header.
 * After each call hub_udp_next yields what is to be sent, until false; out->p lives in p or in the hub, until
 * the next call of hub_udp. Nothing is sent later than that: UDP has no queue here. */
struct hub_udp_out {
    uint32_t socket;
    struct net_addr to;
    uint8_t *p;
    size_t n;
    size_t segment; /* > 0: p holds several datagrams of so many bytes, back to back; the last may be shorter */
};
void hub_udp(struct hub *h, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t n, usec_t now);
/* The same for an edge that knows at which of its addresses the datagram came (wildcard sockets). */
struct hub_udp_in {
    uint32_t socket;
    struct net_addr from, local; /* local: family 0: not known */
    uint8_t *p;
    size_t n;
    size_t segment; /* > 0: a run of datagrams of so many bytes, as in hub_udp_out; each is judged by itself, and
                     * what goes to one device in a row goes as one run. p then stays until hub_udp_next has said
                     * false; what it was not asked for is dropped. */
};
void hub_udp_input(struct hub *h, const struct hub_udp_in *in, usec_t now);
bool hub_udp_next(struct hub *h, struct hub_udp_out *out);
/* The kernel has dropped datagrams, on the way in or out: more comes than passes. For as long as that goes on,
 * nobody relays more than the others can, too (doc/protocol/udp-relay.md section 6). */
void hub_udp_pressed(struct hub *h, usec_t now);

/* Which connection has something to write: each is named once when it becomes so; the edge asks it for
 * writability and then takes one message a time until there is none. */
bool hub_ready(struct hub *h, hub_conn *c);
/* Appends one message to out (relay frames are packed up to RELAY_MESSAGE_MAX). false: nothing left. */
bool hub_take(struct hub *h, hub_conn c, struct buf *out, bool *binary, usec_t now);
/* Connections that the hub wants closed after what they still have to read: WebSocket close code and reason.
 */
bool hub_close_next(struct hub *h, hub_conn *c, uint16_t *code, const char **reason);
usec_t hub_wake(const struct hub *h);
void hub_tick(struct hub *h, usec_t now);
/* Says goodbye to all (SIGERR_SHUTTING_DOWN). */
void hub_shutdown(struct hub *h, usec_t now);

/* HTTP: /health, /metrics, /api/v1/limits (own), /api/v1/parties/ID/log (Bearer token of a member). */
struct hub_request {
    const char *method, *path;
    const char *bearer; /* or NULL */
    struct net_addr remote;
};
struct hub_response {
    int status;
    const char *content_type;
    struct buf body;
};
void hub_http(struct hub *h, const struct hub_request *rq, struct hub_response *rs, usec_t now);

/* What happened, for the edge's log: "device-login", "party-created", "relay-dropped" ...; text holds
 * key=value pairs without secrets. Bounded; the oldest are lost. */
struct hub_event {
    int level; /* enum log_level */
    const char *event;
    char text[256];
};
bool hub_event(struct hub *h, struct hub_event *ev);

struct hub_stats {
    uint64_t connections, logged_in, devices, parties, relay_frames, relay_bytes, relay_dropped, texts,
        refused, udp_bindings, udp_frames, udp_bytes, stun_answered;
};
void hub_stats(const struct hub *h, struct hub_stats *s);

#endif
