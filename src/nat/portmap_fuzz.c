/* A port mapper and a router that the input makes answer, lie, restart and fall silent; bytes of its own come
 * from the router's address, too. What must hold: once everything due was done there is something to wait for
 * in the future, or nothing; the requests are ones that can be read. */
#include <stdlib.h>
#include <string.h>

#include "nat/portmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct portmap *m;
    usec_t now;
    struct net_addr gateway, local;
    uint8_t kept[PCP_MESSAGE_MAX]; /* the answer that the latest request deserves */
    size_t kept_len;
    uint32_t epoch, outside, lifetime;
    uint8_t result, speaks; /* speaks: 1 PCP, 2 NAT-PMP */
};

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void deliver(struct world *w, struct bytes in)
{
    uint8_t *copy = malloc(in.n ? in.n : 1);
    require(copy);
    if (in.n)
        memcpy(copy, in.p, in.n);
    portmap_input(w->m, &w->gateway, bytes_of(copy, in.n), w->now);
    free(copy);
}

static void events(struct world *w)
{
    struct portmap_event ev;
    while (portmap_event(w->m, &ev)) {
        require(ev.why && ev.kind < PORTMAP_KINDS);
        if (ev.what == PORTMAP_EVENT_MAPPED)
            require(ev.internal && ev.external.port && ev.lifetime && ev.method != PORTMAP_BY_NONE);
    }
}

/* false: a kind of request that this router is silent to. */
static bool answer(struct world *w, struct bytes in)
{
    struct pcp_message p;
    struct natpmp_message q;
    if (pcp_read(&p, in) == 0) {
        p.response = true;
        p.result = w->result;
        p.epoch = w->epoch;
        if (p.lifetime)
            p.lifetime = w->lifetime;
        p.external = net_addr4(w->outside, p.external.port);
        w->kept_len = pcp_write(w->kept, sizeof w->kept, &p);
        return w->speaks & 1;
    }
    require(natpmp_read(&q, in) == 0 && !q.response);
    q.response = q.has_body = true;
    q.result = w->result;
    q.epoch = w->epoch;
    q.ip = w->outside;
    if (q.lifetime)
        q.lifetime = w->lifetime;
    w->kept_len = natpmp_write(w->kept, sizeof w->kept, &q);
    return w->speaks & 2;
}

static void settle(struct world *w)
{
    struct portmap_out out;
    portmap_tick(w->m, w->now);
    events(w);
    for (unsigned i = 0; portmap_output(w->m, w->now, &out); i++) {
        require(i < 64 && out.data.n > 0);
        if (answer(w, out.data))
            deliver(w, bytes_of(w->kept, w->kept_len));
        events(w);
        portmap_tick(w->m, w->now);
    }
    events(w);
    require(portmap_wake(w->m) > w->now);
    for (int k = 0; k < PORTMAP_KINDS; k++) {
        struct portmap_status s;
        portmap_status(w->m, (enum portmap_kind)k, w->now, &s);
        require(strlen(s.words) > 0 && strlen(s.words) < PORTMAP_WORDS - 1);
        require(s.state != PORTMAP_MAPPED || (s.internal && s.external.port));
    }
}

static void act(struct world *w, struct rd *r)
{
    uint8_t what = rd_u8(r), arg = rd_u8(r);
    enum portmap_kind kind = arg & 1 ? PORTMAP_FOR_TCP : PORTMAP_FOR_UDP;
    switch (what % 11) {
    case 0:
        w->now += (usec_t)(arg + 1) * (arg & 1 ? 50 * MSEC : 20 * SEC);
        w->epoch += arg & 1 ? 0 : (arg + 1u) * 20;
        break;
    case 1:
        portmap_want(w->m, kind, rd_u8(r) % 8, arg >> 4, w->now);
        break;
    case 2:
        w->speaks = arg;
        break;
    case 3:
        w->result = arg % 16;
        break;
    case 4:
        w->lifetime = (uint32_t)arg * arg * arg;
        break;
    case 5:
        w->epoch = arg;
        break;
    case 6:
        w->outside = rd_u32(r);
        break;
    case 7:
        deliver(w, rd_bytes(r, arg < rd_left(r) ? arg : rd_left(r)));
        break;
    case 8: /* the latest answer, late and mangled */
        if (w->kept_len)
            w->kept[arg % w->kept_len] ^= rd_u8(r);
        deliver(w, bytes_of(w->kept, w->kept_len));
        break;
    case 9: {
        struct net_addr external = net_addr4(w->outside, (uint16_t)(1 + arg));
        portmap_upnp_result(w->m, kind, arg & 2 ? -(int)(arg >> 2) : 0, &external, w->lifetime, w->now);
        break;
    }
    default:
        if (arg & 1) {
            portmap_stop(w->m, w->now);
            break;
        }
        w->gateway = arg & 2 ? net_addr4(0xc0a80101, 0)
                             : (struct net_addr){.family = arg & 4 ? 6 : 0, .ip = {0xfe, 0x80, [15] = 1}};
        w->local = w->gateway;
        w->local.ip[3]++;
        portmap_network(w->m, &w->gateway, &w->local, w->now);
        w->gateway.port = PORTMAP_SERVER_PORT;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rng_seeded seeded;
    struct rd r = rd_of(bytes_of(data, size));
    uint8_t flags = rd_u8(&r);
    struct world w = {.now = 1000 * SEC,
                      .gateway = net_addr4(0xc0a80101, PORTMAP_SERVER_PORT),
                      .local = net_addr4(0xc0a8010a, 0),
                      .outside = 0xcb007105,
                      .lifetime = 7200,
                      .speaks = flags >> 1 & 3};
    struct portmap_config c = {
        .gateway = w.gateway, .local = w.local, .upnp = flags & 1, .rng = rng_seeded(&seeded, 3)};
    w.m = portmap_new(&c);
    require(w.m);
    portmap_want(w.m, PORTMAP_FOR_UDP, 5, 0, w.now);
    for (unsigned i = 0; rd_ok(&r) && rd_left(&r) > 1 && i < 400; i++) {
        settle(&w);
        act(&w, &r);
    }
    settle(&w);
    portmap_free(w.m);
    return 0;
}
