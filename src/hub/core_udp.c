/* STUN and the UDP relay (doc/protocol/udp-relay.md). Whoever has not proven its address gets no answer
 * longer than its question; nat/stun_server.h keeps the books of what STUN's smallest requests get beyond
 * that. */
#include "hub/core_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/secret.h"

#define BINDINGS_HARD  (1u << 21)
#define COOKIE_LEN     16
#define COOKIE_PERIOD  (30 * SEC) /* a cookie is good in the period of its making and in the next */
#define SECRET_PERIODS 120        /* then the hub takes another secret: an hour */
#define BUCKETS        4096       /* rates of strangers by address; those in one bucket share a rate */
#define UNBOUND_PER_S  10         /* UNBOUND to one device, or to one address that has no binding */

/* Shares of a hub that is too busy for all. */
#define TURN          (10 * MSEC)
#define TURNS_CALM    10          /* without losses, then the shares grow again */
#define TURNS_SHARED  100         /* since a second device sent: before that, shares mean nothing */
#define SHARE_MIN     (16u << 10) /* bytes a turn that nobody is pressed below */
#define DATAGRAM_COST 256         /* what a datagram costs beside its bytes, in bytes */

/* Who sends how much, in turns. While the kernel drops datagrams, `share` is what a device may relay in a
 * turn: it falls until the kernel drops no more, and so presses those who send most, and nobody else. */
struct turns {
    uint64_t number;
    uint64_t share;   /* 0: no limit */
    uint64_t most;    /* that one device asked for in this turn */
    uint64_t senders; /* in this turn */
    uint64_t shared;  /* the last turn with two senders or more */
    uint64_t calm;    /* the first turn after the last loss */
    bool pressed;     /* in this turn */
};

struct udp_state {
    struct net_addr addrs[HUB_UDP_ADDRS];
    size_t addr_count;
    struct stun_server *stun;
    struct map *sources;            /* conn by socket and address */
    uint8_t secrets[2][SHA256_LEN]; /* by the parity of the epoch that they are for */
    uint64_t epoch;
    uint64_t bucket_keys[2];
    struct turns turns;
    struct hub_udp_in left; /* of a run: what was not judged yet */
    bool pending;
    struct hub_udp_out out;
    uint8_t buf[STUN_SERVER_OUT_MAX];
    struct ratelimit rebinds[BUCKETS]; /* what strangers are told */
};

#define SOURCE_LEN 20

static void source_key(uint8_t key[SOURCE_LEN], uint32_t socket, const struct net_addr *a)
{
    struct wr w = wr_of(key, SOURCE_LEN);
    wr_u8(&w, (uint8_t)socket);
    wr_u8(&w, a->family);
    wr_copy(&w, a->ip, sizeof a->ip);
    wr_u16(&w, a->port);
}

/* ---- birth and death ---- */

int udp_state_open(struct hub *h, const struct hub_config *c)
{
    struct udp_state *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    h->udp = u;
    u->addr_count = c->udp_count < HUB_UDP_ADDRS ? c->udp_count : HUB_UDP_ADDRS;
    memcpy(u->addrs, c->udp_addrs, sizeof u->addrs);
    u->sources = map_new(SOURCE_LEN, BINDINGS_HARD, rng_u64(&h->rng));
    u->epoch = h->now / COOKIE_PERIOD / SECRET_PERIODS;
    rng_fill(&h->rng, u->secrets, sizeof u->secrets);
    rng_fill(&h->rng, u->bucket_keys, sizeof u->bucket_keys);
    for (size_t i = 0; i < BUCKETS; i++)
        ratelimit_init(&u->rebinds[i], UNBOUND_PER_S, UNBOUND_PER_S, h->now);
    struct stun_server_config stun = {.rate = h->limits.stun_per_s, .burst = 4 * h->limits.stun_per_s};
    _Static_assert(sizeof stun.endpoints == sizeof c->udp_endpoints, "one table of endpoints");
    memcpy(stun.endpoints, c->udp_endpoints, sizeof stun.endpoints);
    stun.seed = rng_u64(&h->rng);
    u->stun = stun_server_new(&stun, h->now);
    return u->sources && u->stun ? 0 : -ENOMEM;
}

void udp_state_free(struct udp_state *u)
{
    if (!u)
        return;
    map_free(u->sources);
    stun_server_free(u->stun);
    wipe(u, sizeof *u);
    free(u);
}

size_t udp_binding_count(const struct hub *h)
{
    return h->udp ? map_count(h->udp->sources) : 0;
}

uint64_t udp_stun_count(const struct hub *h, enum stun_verdict v)
{
    return h->udp ? stun_server_count(h->udp->stun, v) : 0;
}

void udp_session_begin(struct hub *h, struct session *s)
{
    uint64_t binds = h->limits.udp_binds_per_s;
    if (!h->udp)
        return;
    rng_fill(&h->rng, s->udp.key, sizeof s->udp.key);
    ratelimit_init(&s->udp.binds, binds, 2 * binds, h->now);
    ratelimit_init(&s->udp.confirms, binds, 2 * binds, h->now);
    ratelimit_init(&s->udp.unbound, UNBOUND_PER_S, UNBOUND_PER_S, h->now);
}

void udp_session_end(struct hub *h, struct session *s)
{
    uint8_t key[SOURCE_LEN];
    if (!s->udp.bound)
        return;
    s->udp.bound = false;
    source_key(key, s->udp.socket, &s->udp.at);
    map_del(h->udp->sources, key);
}

void udp_session_look(struct hub *h, struct session *s)
{
    if (!s->udp.bound || h->now < s->udp.until)
        return;
    h->count.udp_expired++;
    udp_session_end(h, s);
}

void udp_welcome(const struct hub *h, const struct session *s, struct signal *w)
{
    if (!h->udp)
        return;
    w->u.welcome.has_udp = true;
    memcpy(w->u.welcome.udp_key, s->udp.key, sizeof s->udp.key);
    w->u.welcome.udp_count = h->udp->addr_count;
    memcpy(w->u.welcome.udp, h->udp->addrs, sizeof h->udp->addrs);
}

/* ---- small things ---- */

static void refuse(struct hub *h, enum udp_refusal why)
{
    h->count.udp_refused[why]++;
}

/* The rate of an address (IPv6: /64) and of those that share its place. */
static struct ratelimit *rebinds_of(struct udp_state *u, const struct net_addr *a)
{
    uint64_t x = 0;
    memcpy(&x, a->ip, a->family == 6 ? 8 : 4);
    x = (x ^ u->bucket_keys[0]) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 32 ^ u->bucket_keys[1] ^ a->family) * 0xd6e8feb86659fd93u;
    return &u->rebinds[(x ^ x >> 29) % BUCKETS];
}

static void refuse_all(struct hub *h, enum udp_refusal why, size_t count)
{
    h->count.udp_refused[why] += count;
}

static void yield(struct hub *h, const struct hub_udp_out *out)
{
    if (out->n == 0)
        return;
    h->udp->out = *out;
    h->udp->pending = true;
}

/* An answer to whoever sent `in`, from where it was asked. */
static void answer(struct hub *h, const struct hub_udp_in *in, const struct udp_relay *m, const uint8_t *key)
{
    struct udp_state *u = h->udp;
    size_t n = udp_relay_write(u->buf, sizeof u->buf, m, key);
    const struct hub_udp_out out = {.socket = in->socket, .to = in->from, .p = u->buf, .n = n};
    if (n <= in->n)
        yield(h, &out);
}

/* ---- the proof of an address ---- */

/* Secrets are as old as two epochs at most; a hub that slept takes new ones. */
static const uint8_t *secret_at(struct hub *h, uint64_t period)
{
    struct udp_state *u = h->udp;
    uint64_t now = h->now / COOKIE_PERIOD / SECRET_PERIODS;
    if (now == u->epoch + 1)
        rng_fill(&h->rng, u->secrets[now & 1], sizeof u->secrets[0]);
    else if (now != u->epoch)
        rng_fill(&h->rng, u->secrets, sizeof u->secrets);
    u->epoch = now;
    return u->secrets[period / SECRET_PERIODS & 1];
}

static void cookie_make(uint8_t out[COOKIE_LEN], struct hub *h, const struct hub_udp_in *in,
                        const struct udp_relay *m, uint64_t period)
{
    uint8_t text[SOURCE_LEN + 4 + UDP_RELAY_NONCE_LEN + 8], mac[SHA256_LEN];
    struct wr w = wr_of(text, sizeof text);
    source_key(wr_take(&w, SOURCE_LEN), in->socket, &in->from);
    wr_u32(&w, m->index);
    wr_copy(&w, m->nonce, sizeof m->nonce);
    wr_u64(&w, period);
    struct bytes part = wr_done(&w);
    hmac_sha256(mac, bytes_of(secret_at(h, period), SHA256_LEN), &part, 1);
    memcpy(out, mac, COOKIE_LEN);
    wipe(mac, sizeof mac);
}

static bool cookie_ok(struct hub *h, const struct hub_udp_in *in, const struct udp_relay *m)
{
    uint64_t period = h->now / COOKIE_PERIOD;
    for (uint64_t back = 0; back <= 1 && back <= period; back++) {
        uint8_t want[COOKIE_LEN];
        cookie_make(want, h, in, m, period - back);
        if (secret_equal(want, m->cookie, COOKIE_LEN))
            return true;
    }
    return false;
}

static struct conn *device_at(const struct hub *h, uint32_t index)
{
    struct conn *c = map_get(h->relays, &index);
    return c && !c->closing ? c : NULL;
}

static void bind_handle(struct hub *h, const struct hub_udp_in *in, const struct udp_relay *m)
{
    struct conn *c = device_at(h, m->index);
    struct udp_device *d = c ? &c->session->udp : NULL;
    if (!d) {
        refuse(h, UDP_UNKNOWN_INDEX);
    } else if (!udp_relay_verify(m, d->key)) {
        refuse(h, UDP_BAD_MAC);
    } else if (d->asked && m->time_ms <= d->time_ms) {
        refuse(h, UDP_REPLAYED);
    } else if (!ratelimit_take(&d->binds, 1, h->now)) {
        refuse(h, UDP_OVER_RATE);
    } else {
        struct udp_relay a = {.kind = UDP_RELAY_CHALLENGE, .index = m->index};
        d->asked = true;
        d->time_ms = m->time_ms;
        memcpy(d->nonce, m->nonce, sizeof d->nonce);
        memcpy(a.nonce, m->nonce, sizeof a.nonce);
        cookie_make(a.cookie, h, in, m, h->now / COOKIE_PERIOD);
        answer(h, in, &a, d->key);
    }
}

/* The device is at this address now, and nowhere else; who was there before is not any more. */
static int binding_put(struct hub *h, struct conn *c, const struct hub_udp_in *in)
{
    uint8_t key[SOURCE_LEN];
    struct udp_device *d = &c->session->udp;
    source_key(key, in->socket, &in->from);
    struct conn *before = map_get(h->udp->sources, key);
    int rc = map_put(h->udp->sources, key, c);
    if (rc < 0)
        return rc;
    if (before && before != c)
        before->session->udp.bound = false;
    if (d->bound && before != c)
        udp_session_end(h, c->session);
    d->bound = true;
    d->socket = in->socket;
    d->at = in->from;
    do {
        d->token = rng_u32(&h->rng);
    } while (d->token == 0);
    memcpy(d->bound_nonce, d->nonce, sizeof d->bound_nonce);
    h->count.udp_bound++;
    return 0;
}

/* Whether this very CONFIRM was heard before: its answer was lost, and the token stays. */
static bool bound_already(const struct udp_device *d, const struct hub_udp_in *in)
{
    return d->bound && d->socket == in->socket && net_addr_equal(&d->at, &in->from) &&
           secret_equal(d->bound_nonce, d->nonce, sizeof d->nonce);
}

static void confirm_handle(struct hub *h, const struct hub_udp_in *in, const struct udp_relay *m)
{
    struct conn *c = device_at(h, m->index);
    struct udp_device *d = c ? &c->session->udp : NULL;
    if (!d) {
        refuse(h, UDP_UNKNOWN_INDEX);
    } else if (!udp_relay_verify(m, d->key)) {
        refuse(h, UDP_BAD_MAC);
    } else if (!d->asked || !secret_equal(m->nonce, d->nonce, sizeof d->nonce)) {
        refuse(h, UDP_STALE);
    } else if (!cookie_ok(h, in, m)) {
        refuse(h, UDP_BAD_COOKIE);
    } else if (!ratelimit_take(&d->confirms, 1, h->now)) {
        refuse(h, UDP_OVER_RATE);
    } else if (!bound_already(d, in) && binding_put(h, c, in) < 0) {
        refuse(h, UDP_NO_MEMORY);
    } else {
        struct udp_relay a = {
            .kind = UDP_RELAY_BOUND, .index = m->index, .token = d->token, .seen = in->from};
        a.lifetime_s = (uint16_t)h->limits.udp_lifetime_s;
        memcpy(a.nonce, m->nonce, sizeof a.nonce);
        d->until = h->now + h->limits.udp_lifetime_s * SEC;
        answer(h, in, &a, d->key);
    }
}

/* ---- shares ---- */

static void turn_begin(struct turns *t, uint64_t number)
{
    if (t->senders >= 2)
        t->shared = t->number;
    if (t->pressed) {
        uint64_t from = t->share > 0 && t->share < t->most ? t->share : t->most;
        t->share = from / 4 * 3 > SHARE_MIN ? from / 4 * 3 : SHARE_MIN;
        t->calm = number;
    } else if (t->share > 0 && number - t->calm >= TURNS_CALM) {
        /* Nobody asks for more than a share, or nobody has asked for long: it is over. */
        bool over = t->most <= t->share || number - t->number >= TURNS_CALM;
        t->share = over ? 0 : t->share + t->share / 16;
    }
    t->number = number;
    t->most = t->senders = 0;
    t->pressed = false;
}

static struct turns *turns_at(struct hub *h)
{
    struct turns *t = &h->udp->turns;
    uint64_t number = h->now / TURN;
    if (number > t->number)
        turn_begin(t, number);
    return t;
}

/* Whether the device may relay n bytes more in this turn. */
static bool share_take(struct turns *t, struct udp_device *d, size_t n)
{
    if (d->turn != t->number) {
        d->turn = t->number;
        d->turn_cost = 0;
        t->senders++;
    }
    d->turn_cost += n + DATAGRAM_COST;
    if (t->most < d->turn_cost)
        t->most = d->turn_cost;
    return t->share == 0 || d->turn_cost <= t->share || t->number - t->shared > TURNS_SHARED;
}

void hub_udp_pressed(struct hub *h, usec_t now)
{
    h->now = now;
    if (h->udp)
        turns_at(h)->pressed = true;
}

/* ---- relaying ---- */

/* The device that has proven to be where `in` comes from and knows its token; NULL: told to bind again.
 * count: of datagrams that say the same. */
static struct conn *sender_of(struct hub *h, const struct hub_udp_in *in, uint32_t token, size_t count)
{
    uint8_t key[SOURCE_LEN];
    source_key(key, in->socket, &in->from);
    struct conn *c = map_get(h->udp->sources, key);
    if (c)
        udp_session_look(h, c->session);
    bool bound = c && !c->closing && c->session->udp.bound;
    if (bound && secret_equal(&token, &c->session->udp.token, sizeof token)) {
        c->session->udp.until = h->now + h->limits.udp_lifetime_s * SEC;
        return c;
    }
    refuse_all(h, bound ? UDP_BAD_TOKEN : UDP_NO_BINDING, count);
    if (ratelimit_take(rebinds_of(h->udp, &in->from), 1, h->now)) {
        struct udp_relay a = {.kind = UDP_RELAY_UNBOUND, .code = UDP_RELAY_REBIND};
        h->count.udp_told++;
        answer(h, in, &a, NULL);
    }
    return NULL;
}

/* To a device whose peer is out of reach: once a second and peer. */
static void tell_unbound(struct hub *h, struct udp_device *d, const struct hub_udp_in *in, uint32_t peer,
                         enum udp_relay_code code)
{
    size_t oldest = 0;
    for (size_t i = 0; i < UDP_TOLD; i++) {
        if (d->told[i].peer == peer && d->told[i].at > 0 && usec_since(h->now, d->told[i].at) < SEC)
            return;
        if (d->told[i].at < d->told[oldest].at)
            oldest = i;
    }
    if (!ratelimit_take(&d->unbound, 1, h->now))
        return;
    d->told[oldest].peer = peer;
    d->told[oldest].at = h->now;
    struct udp_relay a = {.kind = UDP_RELAY_UNBOUND, .index = peer, .code = code};
    h->count.udp_told++;
    answer(h, in, &a, NULL);
}

static size_t first_len(const struct hub_udp_in *run)
{
    return run->segment > 0 && run->segment < run->n ? run->segment : run->n;
}

static struct hub_udp_in run_from(const struct hub_udp_in *run, size_t at)
{
    struct hub_udp_in r = *run;
    r.p += at;
    r.n -= at;
    return r;
}

/* In constant time, for there is a token in it. */
static bool same_header(const uint8_t *a, const uint8_t *b)
{
    uint64_t x[2] = {0}, y[2] = {0};
    memcpy(x, a, UDP_RELAY_HEADER_LEN);
    memcpy(y, b, UDP_RELAY_HEADER_LEN);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/* The datagrams at the begin of a run that say the same as its first, a DATA; *n: their bytes. */
static size_t alike(const struct hub_udp_in *run, size_t *n)
{
    size_t count = 1, step = first_len(run), at = step;
    while (at < run->n) {
        size_t len = run->n - at < step ? run->n - at : step;
        if (len < UDP_RELAY_HEADER_LEN || !same_header(run->p, run->p + at))
            break;
        at += len;
        count++;
    }
    *n = at;
    return count;
}

static void headers_put(uint8_t *p, size_t n, size_t step, uint32_t index)
{
    uint8_t header[UDP_RELAY_HEADER_LEN];
    udp_relay_header(header, index, 0);
    for (size_t at = 0; at < n; at += step)
        memcpy(p + at, header, sizeof header);
}

static void relayed(struct hub *h, const struct conn *c, const struct hub_udp_out *out, size_t count)
{
    size_t step = out->segment > 0 ? out->segment : out->n;
    headers_put(out->p, out->n, step, c->session->relay);
    h->count.udp_frames += count;
    h->count.udp_bytes += out->n;
    yield(h, out);
}

static bool may_relay(struct hub *h, struct conn *c, struct turns *t, size_t n)
{
    if (!share_take(t, &c->session->udp, n)) {
        refuse(h, UDP_OVER_SHARE);
        return false;
    }
    if (!relay_quota(h, c, n)) {
        refuse(h, UDP_SENDER_QUOTA);
        return false;
    }
    return true;
}

/* A way that stands: of the run's first n bytes the first datagrams in a row that the sender may relay go.
 * The bytes that were judged. */
static size_t pass_on(struct hub *h, struct conn *c, const struct hub_udp_in *run, size_t n,
                      const struct udp_device *to)
{
    struct turns *t = turns_at(h);
    struct hub_udp_out out = {.socket = to->socket, .to = to->at};
    size_t at = 0, count = 0, step = first_len(run);
    bool may = true;
    while (at < n && (may || count == 0)) {
        size_t len = n - at < step ? n - at : step;
        may = may_relay(h, c, t, len);
        if (may && count++ == 0)
            out.p = run->p + at;
        out.n += may ? len : 0;
        at += len;
    }
    out.segment = count > 1 ? step : 0;
    if (count > 0)
        relayed(h, c, &out, count);
    return at;
}

/* A run that begins with a DATA: judges all that say the same as that; their bytes. */
static size_t data_handle(struct hub *h, const struct hub_udp_in *run, const struct udp_relay *m)
{
    size_t n, count = alike(run, &n);
    struct hub_udp_in first = *run;
    first.n = first_len(run);
    struct conn *c = sender_of(h, &first, m->token, count);
    if (!c)
        return n;
    struct udp_device *mine = &c->session->udp;
    struct conn *to = relay_route(h, c, m->index);
    if (!to) {
        refuse_all(h, UDP_PEER_IS_GONE, count);
        tell_unbound(h, mine, &first, m->index, UDP_RELAY_PEER_GONE);
        return n;
    }
    udp_session_look(h, to->session);
    if (to->session->udp.bound)
        return pass_on(h, c, run, n, &to->session->udp);
    refuse_all(h, UDP_PEER_NOT_BOUND, count);
    tell_unbound(h, mine, &first, m->index, UDP_RELAY_PEER_UNBOUND);
    return n;
}

static void keep_handle(struct hub *h, const struct hub_udp_in *in, const struct udp_relay *m)
{
    struct conn *c = sender_of(h, in, m->token, 1);
    if (!c)
        return;
    if (c->session->relay != m->index) {
        refuse(h, UDP_BAD_TOKEN);
        return;
    }
    struct udp_relay a = {.kind = UDP_RELAY_KEPT, .index = m->index, .token = m->token};
    answer(h, in, &a, NULL);
}

/* The first datagram of a run, and of DATA all that say the same; their bytes. */
static size_t relay_handle(struct hub *h, const struct hub_udp_in *run)
{
    struct udp_relay m;
    struct hub_udp_in in = *run;
    size_t used = in.n = first_len(run);
    if (udp_relay_read(&m, bytes_of(in.p, in.n)) < 0) {
        refuse(h, UDP_UNREADABLE);
        return used;
    }
    switch (m.kind) {
    case UDP_RELAY_BIND:
        bind_handle(h, &in, &m);
        break;
    case UDP_RELAY_CONFIRM:
        confirm_handle(h, &in, &m);
        break;
    case UDP_RELAY_DATA:
        used = data_handle(h, run, &m);
        break;
    case UDP_RELAY_KEEP:
        keep_handle(h, &in, &m);
        break;
    default:
        refuse(h, UDP_UNREADABLE); /* what only a hub says */
    }
    wipe(&m, sizeof m);
    return used;
}

/* ---- the door ---- */

/* Behind a NAT of the hub's own side the local address is not what clients see: it is told to those only for
 * whom it can be the same. */
static bool local_is_seen(const struct hub_udp_in *in)
{
    enum net_scope scope = net_addr_scope(&in->local);
    return scope != NET_NONE && (scope == NET_PUBLIC || scope == net_addr_scope(&in->from));
}

static void stun_handle(struct hub *h, const struct hub_udp_in *in)
{
    struct udp_state *u = h->udp;
    struct stun_answer a = {0};
    struct stun_asked q = {.endpoint = in->socket, .from = in->from};
    if (in->from.family == 6)
        q.endpoint |= STUN_ENDPOINT_IP6;
    if (local_is_seen(in))
        q.local = in->local;
    enum stun_verdict v = stun_server_answer(u->stun, &q, bytes_of(in->p, in->n), u->buf, &a, h->now);
    const struct hub_udp_out out = {
        .socket = a.endpoint & ~STUN_ENDPOINT_IP6, .to = a.to, .p = u->buf, .n = a.data.n};
    if (v == STUN_SERVED || v == STUN_SERVED_ERROR)
        yield(h, &out);
}

/* Judges what is left of a run until there is something to send. */
static void advance(struct hub *h)
{
    struct hub_udp_in *left = &h->udp->left;
    do {
        struct hub_udp_in one = *left;
        size_t used = one.n = first_len(left);
        if (one.from.port == 0 || net_addr_scope(&one.from) == NET_NONE)
            refuse(h, UDP_UNREADABLE);
        else if (one.n > 0 && one.p[0] == WIRE_UDP_RELAY)
            used = relay_handle(h, left);
        else
            stun_handle(h, &one);
        *left = run_from(left, used);
    } while (left->n > 0 && !h->udp->pending);
    hub_settle(h);
}

void hub_udp_input(struct hub *h, const struct hub_udp_in *got, usec_t now)
{
    h->now = now;
    if (!h->udp)
        return;
    h->udp->pending = false;
    h->udp->left = (struct hub_udp_in){0};
    if (h->down || got->socket >= HUB_UDP_SOCKETS)
        return;
    h->udp->left = *got;
    net_addr_unmap(&h->udp->left.from);
    net_addr_unmap(&h->udp->left.local);
    advance(h);
}

void hub_udp(struct hub *h, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t n, usec_t now)
{
    const struct hub_udp_in in = {.socket = socket, .from = *from, .p = p, .n = n};
    hub_udp_input(h, &in, now);
}

bool hub_udp_next(struct hub *h, struct hub_udp_out *out)
{
    if (!h->udp)
        return false;
    if (!h->udp->pending && h->udp->left.n > 0)
        advance(h);
    if (!h->udp->pending)
        return false;
    h->udp->pending = false;
    *out = h->udp->out;
    return true;
}
