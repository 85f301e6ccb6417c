/* For the tests of this folder: a hub with UDP, and nodes that bind to its relay. Every answer is checked
 * against its question: nobody gets more than it sent. */
#ifndef WARREN_HUB_UDP_KIT_INT_H
#define WARREN_HUB_UDP_KIT_INT_H

#include "hub/hub_kit_int.h"
#include "wire/udp_relay.h"

#define DATAGRAM 100

/* What the hub answered to the last datagram; n = 0: nothing. */
struct reply {
    uint32_t socket;
    struct net_addr to;
    uint8_t bytes[2048];
    size_t n;
    bool in_place;
    struct udp_relay m; /* where it is of the relay */
};

/* A hub with UDP whose first n nodes are members of one party. */
struct udp_kit {
    struct kit k;
    struct party *p;
    struct reply r;
    uint64_t time_ms;
    uint32_t tokens[KIT_NODES];
};

static inline void udp_begin(struct udp_kit *u, uint64_t seed)
{
    memset(u, 0, sizeof *u);
    kit_init(&u->k, seed);
    u->k.config.udp = true;
    u->k.config.udp_addrs[0] = net_addr4(0, 3478);
    u->k.config.udp_addrs[1] = net_addr6((uint8_t[16]){0}, 3478);
    u->k.config.udp_count = 2;
    u->time_ms = 5;
}

static inline void udp_start(struct udp_kit *u, int nodes)
{
    kit_start(&u->k);
    u->p = kit_world(&u->k, nodes);
}

static inline void udp_done(struct udp_kit *u)
{
    party_free(u->p);
    kit_done(&u->k);
}

static inline struct net_addr udp_addr(int i)
{
    return net_addr4(0xcb007100u + (uint32_t)i, (uint16_t)(40000 + i));
}

/* Gives the hub a datagram in memory of just its size; at most one answer comes. */
static inline struct reply *say(struct udp_kit *u, uint32_t socket, const struct net_addr *from,
                                const uint8_t *p, size_t n)
{
    struct hub_udp_out out;
    uint8_t *copy = malloc(n + !n);
    assert_non_null(copy);
    if (n > 0)
        memcpy(copy, p, n);
    memset(&u->r, 0, sizeof u->r);
    hub_udp(u->k.hub, socket, from, copy, n, u->k.now);
    if (hub_udp_next(u->k.hub, &out)) {
        assert_true(out.n > 0 && out.n <= sizeof u->r.bytes);
        u->r.socket = out.socket;
        u->r.to = out.to;
        u->r.n = out.n;
        u->r.in_place = out.p == copy;
        memcpy(u->r.bytes, out.p, out.n);
        if (u->r.bytes[0] == WIRE_UDP_RELAY)
            assert_int_equal(udp_relay_read(&u->r.m, bytes_of(u->r.bytes, u->r.n)), 0);
        /* Who is answered gets no more than it sent: only relayed datagrams go elsewhere, and as they came.
         */
        assert_true(u->r.n <= n || !net_addr_equal(&out.to, from));
        assert_true(net_addr_equal(&out.to, from) || u->r.n == n);
    }
    assert_false(hub_udp_next(u->k.hub, &out));
    free(copy);
    kit_pump(&u->k);
    return &u->r;
}

static inline struct reply *say_relay(struct udp_kit *u, int node, const struct net_addr *from,
                                      const struct udp_relay *m)
{
    uint8_t raw[UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX];
    size_t n = udp_relay_write(raw, sizeof raw, m, u->k.nodes[node].udp_key);
    assert_true(n > 0);
    return say(u, 0, from, raw, n);
}

static inline struct udp_relay bind_of(struct udp_kit *u, int node)
{
    struct udp_relay m = {.kind = UDP_RELAY_BIND, .index = u->k.nodes[node].relay, .time_ms = ++u->time_ms};
    rng_fill(&u->k.rng, m.nonce, sizeof m.nonce);
    return m;
}

/* The CONFIRM that answers the challenge in u->r. */
static inline struct udp_relay confirm_of(const struct udp_kit *u)
{
    struct udp_relay m = u->r.m;
    assert_int_equal(m.kind, UDP_RELAY_CHALLENGE);
    m.kind = UDP_RELAY_CONFIRM;
    return m;
}

static inline void challenge(struct udp_kit *u, int node, struct net_addr from)
{
    struct udp_relay m = bind_of(u, node);
    assert_int_equal(say_relay(u, node, &from, &m)->n, UDP_RELAY_CHALLENGE_LEN);
}

static inline void udp_bind(struct udp_kit *u, int node, struct net_addr from)
{
    challenge(u, node, from);
    struct udp_relay m = confirm_of(u);
    assert_int_equal(say_relay(u, node, &from, &m)->n, UDP_RELAY_BOUND_LEN);
    u->tokens[node] = u->r.m.token;
}

static inline struct reply *send_data(struct udp_kit *u, struct net_addr from, uint32_t peer, uint32_t token)
{
    static const uint8_t text[DATAGRAM] = {4, 1, 2, 3};
    struct udp_relay m = {.kind = UDP_RELAY_DATA, .index = peer, .token = token};
    m.datagram = bytes_of(text, sizeof text);
    return say_relay(u, 0, &from, &m);
}

/* From where it is bound, with its token. */
static inline struct reply *data(struct udp_kit *u, int from, int to)
{
    return send_data(u, udp_addr(from), u->k.nodes[to].relay, u->tokens[from]);
}

static inline struct reply *keep(struct udp_kit *u, int node)
{
    struct udp_relay m = {.kind = UDP_RELAY_KEEP, .index = u->k.nodes[node].relay, .token = u->tokens[node]};
    struct net_addr from = udp_addr(node);
    return say_relay(u, node, &from, &m);
}

static inline void assert_unbound(const struct udp_kit *u, uint32_t peer, uint32_t code)
{
    assert_int_equal(u->r.n, UDP_RELAY_SMALL_LEN);
    assert_int_equal(u->r.m.kind, UDP_RELAY_UNBOUND);
    assert_int_equal(u->r.m.index, peer);
    assert_int_equal(u->r.m.code, code);
}

static inline void assert_relayed(const struct udp_kit *u, int from, int to)
{
    struct net_addr at = udp_addr(to);
    assert_int_equal(u->r.n, UDP_RELAY_HEADER_LEN + DATAGRAM);
    assert_true(net_addr_equal(&u->r.to, &at));
    assert_int_equal(u->r.m.kind, UDP_RELAY_DATA);
    assert_int_equal(u->r.m.index, u->k.nodes[from].relay);
}

static inline uint64_t metric(struct udp_kit *u, const char *line)
{
    struct hub_request rq = {.method = "GET", .path = "/metrics", .remote = kit_addr(0)};
    struct hub_response rs = {0};
    hub_http(u->k.hub, &rq, &rs, u->k.now);
    char whole[128];
    snprintf(whole, sizeof whole, "\n%s ", line);
    const char *at = strstr(buf_str(&rs.body), whole);
    if (!at)
        fail_msg("no metric %s", line);
    uint64_t v = strtoull(at + strlen(whole), NULL, 10);
    buf_done(&rs.body);
    return v;
}
#define REFUSED(u, why) metric(u, "warren_hub_udp_refused_total{reason=\"" why "\"}")

#endif
