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
};
void hub_limits_default(struct hub_limits *l);
/* Sets one by its name ("ping-s"). 0, -ENOENT, -EINVAL. hub_limit_at lists them (NULL name at the end). */
int hub_limit_set(struct hub_limits *l, const char *name, const char *value);
const char *hub_limit_at(size_t i, const struct hub_limits *l, uint32_t *value, const char **what);

struct hub_config {
    struct hub_limits limits;
    struct store store; /* closed by its owner, after the hub */
    struct rng rng;
    uint64_t unix_s; /* calendar time at `now` of hub_new */
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
        refused;
};
void hub_stats(const struct hub *h, struct hub_stats *s);

#endif
