#include "hub/core_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/secret.h"

#define IPS_IDLE_MAX   65536
#define CONNS_HARD     (1u << 21)
#define PARTIES_HARD   (1u << 22)
#define TOKEN_KEY_BLOB "token-key"

uint64_t hub_unix(const struct hub *h)
{
    return h->clock_unix + usec_since(h->now, h->clock_now) / SEC;
}

void hub_clock(struct hub *h, usec_t now, uint64_t unix_s)
{
    h->clock_now = h->now = now;
    h->clock_unix = unix_s;
}

/* ---- names for the log ---- */

const char *node_short(char out[17], const uint8_t node[NODE_ID_LEN])
{
    hex_put(out, bytes_of(node, 8));
    return out;
}

const char *addr_short(char out[64], const struct net_addr *a)
{
    char ip[INET6_ADDRSTRLEN] = "";
    uint8_t cut[16] = {0};
    memcpy(cut, a->ip, a->family == 6 ? 6 : 3);
    inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, cut, ip, sizeof ip);
    snprintf(out, 64, "%s/%d", ip, a->family == 6 ? 48 : 24);
    return out;
}

void addr_text(char *out, size_t cap, const struct net_addr *a)
{
    char ip[INET6_ADDRSTRLEN] = "";
    inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->ip, ip, sizeof ip);
    snprintf(out, cap, a->family == 6 ? "[%s]:%u" : "%s:%u", ip, a->port);
}

/* ---- events ---- */

void hub_note(struct hub *h, int level, const char *event, const char *fmt, ...)
{
    unsigned at = (h->event_first + h->event_count) % HUB_EVENTS_MAX;
    if (h->event_count == HUB_EVENTS_MAX)
        h->event_first = (h->event_first + 1) % HUB_EVENTS_MAX;
    else
        h->event_count++;
    struct hub_event *ev = &h->events[at];
    ev->level = level;
    ev->event = event;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(ev->text, sizeof ev->text, fmt, ap);
    va_end(ap);
}

bool hub_event(struct hub *h, struct hub_event *ev)
{
    if (h->event_count == 0)
        return false;
    *ev = h->events[h->event_first];
    h->event_first = (h->event_first + 1) % HUB_EVENTS_MAX;
    h->event_count--;
    return true;
}

/* ---- birth and death ---- */

static int token_key_open(struct hub *h)
{
    uint8_t secret[TOKEN_KEY_LEN];
    size_t n = 0;
    int rc = h->store.ops->blob_get(h->store.ctx, TOKEN_KEY_BLOB, secret, sizeof secret, &n);
    if (rc == 0 && n != sizeof secret)
        rc = -EIO;
    if (rc == -ENOENT) {
        rng_fill(&h->rng, secret, sizeof secret);
        rc = h->store.ops->blob_put(h->store.ctx, TOKEN_KEY_BLOB, bytes_of(secret, sizeof secret));
    }
    if (rc == 0) {
        h->token_key = token_key_new(secret);
        rc = h->token_key ? 0 : -ENOMEM;
    }
    wipe(secret, sizeof secret);
    return rc;
}

static int maps_open(struct hub *h)
{
    h->conns = map_new(sizeof(hub_conn), CONNS_HARD, rng_u64(&h->rng));
    h->nodes = map_new(NODE_ID_LEN, CONNS_HARD, rng_u64(&h->rng));
    h->relays = map_new(sizeof(uint32_t), CONNS_HARD, rng_u64(&h->rng));
    h->parties = map_new(PARTY_ID_LEN, PARTIES_HARD, rng_u64(&h->rng));
    const struct ip_rates rates = {.logins = h->limits.logins_per_minute_ip,
                                   .http = h->limits.http_per_minute_ip,
                                   .changes = h->limits.entries_per_minute_ip};
    h->ips = iptable_new(IPS_IDLE_MAX, &rates, rng_u64(&h->rng));
    return h->conns && h->nodes && h->relays && h->parties && h->ips ? 0 : -ENOMEM;
}

struct hub *hub_new(const struct hub_config *c, usec_t now)
{
    struct hub *h = calloc(1, sizeof *h);
    if (!h) {
        errno = ENOMEM;
        return NULL;
    }
    h->limits = c->limits;
    h->store = c->store;
    h->rng = c->rng;
    memcpy(h->turn_url, c->turn_url, sizeof h->turn_url - 1);
    memcpy(h->turn_secret, c->turn_secret, sizeof h->turn_secret);
    h->turn_secret_len =
        c->turn_secret_len < sizeof h->turn_secret ? c->turn_secret_len : sizeof h->turn_secret;
    hub_clock(h, now, c->unix_s);
    list_init(&h->ready);
    list_init(&h->doomed);
    list_init(&h->closing);
    list_init(&h->idle);
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&h->wheel[i]);
    h->wheel_s = now / SEC;
    h->epoch = 1;
    int rc = maps_open(h);
    if (rc == 0 && c->udp)
        rc = udp_state_open(h, c);
    if (rc == 0)
        rc = token_key_open(h);
    if (rc == 0)
        rc = h->store.ops->device_count(h->store.ctx, &h->devices);
    if (rc == 0)
        rc = h->store.ops->party_count(h->store.ctx, &h->party_total);
    if (rc < 0) {
        hub_free(h);
        errno = -rc;
        return NULL;
    }
    return h;
}

/* Everything of a connection but its subscriptions, which session_end has ended. */
static void conn_free(struct hub *h, struct conn *c)
{
    conn_drop_queues(h, c, true);
    list_leave(&c->ready);
    list_leave(&c->close);
    list_leave(&c->wheel);
    map_del(h->conns, &c->id);
    iptable_release(h->ips, c->ip);
    wipe(c, sizeof *c);
    free(c);
}

void hub_free(struct hub *h)
{
    if (!h)
        return;
    size_t pos = 0;
    struct conn *c;
    struct hub_party *p;
    h->down = true;
    while (h->conns && (c = map_next(h->conns, &pos))) {
        session_end(h, c);
        conn_free(h, c);
    }
    pos = 0;
    while (h->parties && (p = map_next(h->parties, &pos)))
        hub_party_free(p);
    map_free(h->conns);
    map_free(h->nodes);
    map_free(h->relays);
    map_free(h->parties);
    iptable_free(h->ips);
    udp_state_free(h->udp);
    token_key_free(h->token_key);
    wipe(h, sizeof *h);
    free(h);
}

/* ---- connections ---- */

int hub_open(struct hub *h, hub_conn id, const struct net_addr *remote, const uint8_t binding[32], usec_t now)
{
    h->now = now;
    struct net_addr from = *remote;
    ip_canonical(&from);
    if (h->down || map_count(h->conns) >= h->limits.connections) {
        h->count.refused_total++;
        return -EMFILE;
    }
    struct ip_entry *ip = iptable_get(h->ips, &from, now);
    if (ip && ip->conns >= h->limits.connections_per_ip) {
        h->count.refused_ip++;
        return -EAGAIN;
    }
    struct conn *c = ip ? calloc(1, sizeof *c) : NULL;
    if (!c || map_put(h->conns, &id, c) < 0) {
        free(c);
        h->count.refused_memory++;
        return -EMFILE;
    }
    c->id = id;
    c->remote = from;
    c->ip = ip;
    iptable_hold(h->ips, ip);
    c->opened = c->heard = c->pinged = now;
    memcpy(c->binding, binding, sizeof c->binding);
    list_init(&c->ready);
    list_init(&c->close);
    list_init(&c->wheel);
    ratelimit_init(&c->messages, h->limits.messages_per_s, 2 * (uint64_t)h->limits.messages_per_s, now);
    login_challenge(h, c);
    if (c->closing) { /* no memory for as much as the challenge */
        conn_free(h, c);
        return -EMFILE;
    }
    h->count.opened++;
    conn_schedule(h, c);
    return 0;
}

void hub_closed(struct hub *h, hub_conn id, usec_t now)
{
    struct conn *c = map_get(h->conns, &id);
    h->now = now;
    if (!c)
        return;
    c->closing = true;
    session_end(h, c);
    conn_free(h, c);
    hub_settle(h);
}

void hub_alive(struct hub *h, hub_conn id, usec_t now)
{
    struct conn *c = map_get(h->conns, &id);
    h->now = now;
    if (c)
        c->heard = now;
}

void conn_doom(struct hub *h, struct conn *c, uint16_t code, const char *reason)
{
    if (c->closing)
        return;
    c->closing = true;
    c->close_code = code;
    c->close_reason = reason;
    c->close_at = h->now + CLOSE_GRACE;
    list_append(&h->doomed, &c->close);
}

void hub_settle(struct hub *h)
{
    struct list *l;
    while ((l = list_first(&h->doomed))) {
        struct conn *c = LIST_OWNER(l, struct conn, close);
        list_leave(l);
        session_end(h, c);
        conn_drop_queues(h, c, false);
        c->ended = true;
        if (conn_idle(c))
            conn_close_list(h, c);
        else
            conn_schedule(h, c);
    }
    hub_party_trim(h);
}

/* ---- deadlines ---- */

static usec_t conn_deadline(const struct hub *h, const struct conn *c)
{
    if (c->ended)
        return c->close_at;
    if (!c->session)
        return c->opened + h->limits.login_timeout_s * SEC;
    return usec_min(c->heard + h->limits.silent_s * SEC, c->pinged + h->limits.ping_s * SEC);
}

void conn_schedule(struct hub *h, struct conn *c)
{
    uint64_t s = (conn_deadline(h, c) + SEC - 1) / SEC;
    if (s <= h->wheel_s)
        s = h->wheel_s + 1;
    if (s >= h->wheel_s + WHEEL_SLOTS)
        s = h->wheel_s + WHEEL_SLOTS - 1;
    list_append(&h->wheel[s % WHEEL_SLOTS], &c->wheel);
}

static void conn_ping(struct hub *h, struct conn *c)
{
    struct signal s = {.type = SIGNAL_PING, .u.ping.t = h->now};
    c->pinged = h->now;
    conn_send(h, c, &s);
}

static void conn_due(struct hub *h, struct conn *c)
{
    if (c->ended) {
        conn_close_list(h, c); /* it did not read its last messages in time */
        return;
    }
    if (!c->session) {
        h->count.login_timeout++;
        conn_doom(h, c, CLOSE_POLICY, "login timeout");
    } else if (h->now >= c->heard + h->limits.silent_s * SEC) {
        h->count.closed_silent++;
        hub_note(h, LOG_INFO, "device-silent", "node=%s", node_short((char[17]){0}, c->session->node));
        conn_doom(h, c, CLOSE_SILENT, "silent");
    } else if (h->now >= c->pinged + h->limits.ping_s * SEC) {
        conn_ping(h, c);
    }
    if (c->session)
        udp_session_look(h, c->session);
    if (!c->closing)
        conn_schedule(h, c);
}

void hub_tick(struct hub *h, usec_t now)
{
    h->now = now;
    uint64_t until = now / SEC;
    /* After a long sleep one turn of the wheel sees everybody. */
    if (until > h->wheel_s + WHEEL_SLOTS)
        h->wheel_s = until - WHEEL_SLOTS;
    while (h->wheel_s < until) {
        struct list due, *l;
        h->wheel_s++;
        list_init(&due);
        struct list *slot = &h->wheel[h->wheel_s % WHEEL_SLOTS];
        while ((l = list_first(slot)))
            list_append(&due, l);
        while ((l = list_first(&due))) {
            struct conn *c = LIST_OWNER(l, struct conn, wheel);
            list_leave(l);
            if (h->now < conn_deadline(h, c))
                conn_schedule(h, c);
            else
                conn_due(h, c);
        }
    }
    hub_settle(h);
}

usec_t hub_wake(const struct hub *h)
{
    for (uint64_t s = h->wheel_s + 1; s < h->wheel_s + WHEEL_SLOTS; s++) {
        if (!list_empty(&h->wheel[s % WHEEL_SLOTS]))
            return s * SEC;
    }
    return USEC_NEVER;
}

void hub_shutdown(struct hub *h, usec_t now)
{
    size_t pos = 0;
    struct conn *c;
    h->now = now;
    h->down = true;
    while ((c = map_next(h->conns, &pos))) {
        if (c->closing)
            continue;
        conn_error(h, c, SIGERR_SHUTTING_DOWN, NULL);
        conn_doom(h, c, CLOSE_GOING_AWAY, "shutting down");
    }
    hub_settle(h);
}

/* ---- messages ---- */

static void bad_message(struct hub *h, struct conn *c)
{
    h->count.texts_unreadable++;
    conn_error(h, c, SIGERR_BAD_MESSAGE, NULL);
    if (!c->session || ++c->bad >= BAD_MESSAGES_MAX)
        conn_doom(h, c, CLOSE_POLICY, "bad message");
}

static void pong(struct hub *h, struct conn *c, const struct signal *s)
{
    struct signal answer = {.type = SIGNAL_PONG, .u.ping.t = s->u.ping.t};
    conn_send(h, c, &answer);
}

static void dispatch(struct hub *h, struct conn *c, const struct signal *s)
{
    if (!c->session && s->type != SIGNAL_LOGIN && s->type != SIGNAL_PING && s->type != SIGNAL_PONG) {
        conn_error(h, c, SIGERR_NOT_LOGGED_IN, NULL);
        conn_doom(h, c, CLOSE_POLICY, "not logged in");
        return;
    }
    switch (s->type) {
    case SIGNAL_LOGIN:
        login_handle(h, c, s);
        break;
    case SIGNAL_JOIN:
        party_join_handle(h, c, s);
        break;
    case SIGNAL_LEAVE:
        party_leave_handle(h, c, s);
        break;
    case SIGNAL_LOG:
        log_handle(h, c, s);
        break;
    case SIGNAL_PRESENCE:
        party_presence_handle(h, c, s);
        break;
    case SIGNAL_SIGNAL:
    case SIGNAL_OFFER:
    case SIGNAL_ANSWER:
    case SIGNAL_ICE_CANDIDATE:
        party_forward_handle(h, c, s);
        break;
    case SIGNAL_PING:
        pong(h, c, s);
        break;
    case SIGNAL_PONG:
        break;
    default:
        bad_message(h, c); /* what only a hub says */
    }
}

bool conn_may_change(struct hub *h, struct conn *c)
{
    return ip_take(&c->session->appends, h->now) && ip_take(&c->ip->changes, h->now);
}

/* False: over the rate, and said so once a second. What is over the rate is weighed against what is not, as
 * tokens come in between however fast somebody sends. */
static bool rate_ok(struct hub *h, struct conn *c)
{
    if (ratelimit_take(&c->messages, 1, h->now)) {
        c->flood -= c->flood > 0;
        return true;
    }
    h->count.texts_flood++;
    if (usec_since(h->now, c->told_rate) >= SEC) {
        c->told_rate = h->now;
        conn_error(h, c, SIGERR_RATE_LIMITED, NULL);
    }
    if (++c->flood >= FLOOD_MAX) {
        h->count.closed_flood++;
        conn_doom(h, c, CLOSE_POLICY, "too many messages");
    }
    return false;
}

void hub_text(struct hub *h, hub_conn id, struct bytes text, usec_t now)
{
    struct conn *c = map_get(h->conns, &id);
    h->now = now;
    if (!c || c->closing)
        return;
    c->heard = now;
    if (rate_ok(h, c)) {
        struct signal s;
        int rc = text.n > SIGNAL_MAX ? -EMSGSIZE : signal_read(&s, text);
        if (rc == -EMSGSIZE) {
            conn_error(h, c, SIGERR_TOO_LARGE, NULL);
            conn_doom(h, c, CLOSE_POLICY, "too large");
        } else if (rc == -ENOMEM) {
            conn_lose(h, c);
        } else if (rc < 0) {
            bad_message(h, c);
        } else {
            h->count.texts[s.type]++;
            dispatch(h, c, &s);
        }
        if (text.n <= SIGNAL_MAX)
            signal_done(&s);
    }
    hub_settle(h);
}

void hub_stats(const struct hub *h, struct hub_stats *s)
{
    const struct counters *n = &h->count;
    *s = (struct hub_stats){
        .connections = map_count(h->conns),
        .logged_in = h->logged_in,
        .devices = h->devices,
        .parties = h->party_total,
        .relay_frames = n->relay_frames,
        .relay_bytes = n->relay_bytes,
        .relay_dropped = n->dropped_data + n->dropped_control + n->dropped_quota,
        .refused = n->refused_total + n->refused_ip + n->refused_memory,
        .udp_bindings = udp_binding_count(h),
        .udp_frames = n->udp_frames,
        .udp_bytes = n->udp_bytes,
        .stun_answered = udp_stun_count(h, STUN_SERVED) + udp_stun_count(h, STUN_SERVED_ERROR),
    };
    for (size_t i = 0; i < SIGNAL_TYPE_COUNT; i++)
        s->texts += n->texts[i];
    for (size_t i = 0; i < SIGERR_COUNT; i++)
        s->refused += n->errors[i];
    for (size_t i = 0; i < PARTY_VERDICT_COUNT; i++)
        s->refused += n->verdicts[i];
}
