/* The plane against the switch (vnet/vnet.h): what the plane says yes to, the switch forwards unchanged, to
 * the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "pump/core_kit_int.h"
#include "vnet/vnet.h"

#define MEMBERS 6
struct twins {
    bool tap;
    struct plane *plane;
    struct vnet *vnet;
    const struct snapshot *snapshot;
    const struct net_view *view;
    struct plane_net net;
    struct plane_member members[MEMBERS];
    size_t yes[2][2][256]; /* out, in; IPv4, IPv6; protocol */
    size_t no;
};

/* Some members lack an address or another. */
static void twins_open(struct twins *t, bool tap, bool dhcp, uint32_t variant)
{
    static const struct plane_member none;
    *t = (struct twins){.tap = tap, .plane = plane_new(variant)};
    assert_non_null(t->plane);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        t->members[i] = kit_member(2 + i);
        if (i == 2)
            t->members[i].ip4 = 0;
        if (i == 3)
            memcpy(t->members[i].ip6, none.ip6, 16);
        if (i == 4)
            memcpy(t->members[i].mac, none.mac, 6);
        struct plane_route r = {0};
        assert_int_equal(plane_route_set(t->plane, 2 + i, &r), 0);
    }
    t->net = (struct plane_net){.party_ref = 1,
                                .tag = 1,
                                .tap = tap,
                                .dhcp_allowed = dhcp,
                                .mtu = 1420,
                                .self = kit_member(1),
                                .members = t->members,
                                .count = MEMBERS};
    if (variant == 1)
        t->net.self.ip4 = 0;
    if (variant == 2)
        memcpy(t->net.self.ip6, none.ip6, 16);
    assert_int_equal(plane_net_set(t->plane, &t->net), 0);
    assert_int_equal(plane_publish(t->plane), 0);
    t->snapshot = plane_pin(t->plane, 1);
    t->view = snapshot_net(t->snapshot, 1);
    struct vnet_config c = {.tap = tap,
                            .net4 = 0x0a070000,
                            .net6 = {0xfd, 7},
                            .mtu = 1420,
                            .allow_dhcp = dhcp,
                            .broadcast_pps = 100,
                            .seed = 1};
    const struct plane_member *m = &t->net.self;
    for (uint32_t i = 0; i <= MEMBERS; m = &t->members[i++]) {
        struct vnet_member v = {.ref = m->ref, .ip4 = m->ip4};
        memcpy(v.ip6, m->ip6, 16);
        memcpy(v.mac, m->mac, 6);
        if (i == 0) {
            c.self = v;
            t->vnet = vnet_new(&c, SEC);
            assert_non_null(t->vnet);
        } else {
            assert_int_equal(vnet_member_set(t->vnet, &v, SEC), 0);
        }
    }
}

static void twins_close(struct twins *t)
{
    vnet_free(t->vnet);
    plane_unpin(t->plane, 1);
    plane_free(t->plane);
}

/* Both judge; the plane's yes must be the switch's. */
static void judge(struct twins *t, const uint8_t *p, size_t n, uint32_t from)
{
    static uint8_t frame[VNET_FRAME_MAX + 64];
    struct inner_frame f;
    assert_true(n <= sizeof frame);
    memcpy(frame, p, n);
    if (inner_frame_read(&f, frame, n, t->tap, false) < 0) {
        t->no++;
        return;
    }
    /* As the core asks (its packets fit the mtu, and are not longer than they say). */
    const struct route *r = net_out(t->snapshot, t->view, frame, &f);
    assert_memory_equal(frame, p, n);
    if (r && f.n == n && n - f.ip <= t->net.mtu) {
        struct vnet_verdict v = vnet_from_device(t->vnet, frame, n, SEC);
        assert_int_equal(v.action, VNET_TO_PEER);
        assert_int_equal(v.ref, route_ref(r));
        assert_memory_equal(frame, p, n);
        t->yes[0][f.version == 6][f.proto]++;
    }
    bool in = net_in(t->view, from, frame, &f);
    assert_memory_equal(frame, p, n);
    if (in && n <= VNET_FRAME_MAX) {
        struct vnet_verdict v = vnet_from_peer(t->vnet, from, frame, n, SEC);
        assert_int_equal(v.action, VNET_TO_DEVICE);
        assert_int_equal(v.reply.n, 0);
        assert_memory_equal(frame, p, n);
        t->yes[1][f.version == 6][f.proto]++;
    }
    t->no += !r && !in;
}

static uint8_t one_of(const struct rng *rng, const uint8_t *list, size_t n)
{
    return list[rng_below(rng, n)];
}

static void address(const struct rng *rng, uint8_t *at, uint8_t version)
{
    static const uint8_t odd4[][4] = {
        {0}, {127, 0, 0, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}, {10, 7, 255, 255}, {192, 0, 2, 1}};
    static const uint8_t odd6[][16] = {
        {0}, {[15] = 1}, {0xff, 2, [15] = 1}, {0xfe, 0x80, [11] = 0xff, 0xfe, 0, 0, 2}, {0x20, 1}};
    if (version == 4 && rng_below(rng, 12) == 0)
        memcpy(at, odd4[rng_below(rng, 6)], 4);
    else if (version == 6 && rng_below(rng, 12) == 0)
        memcpy(at, odd6[rng_below(rng, 5)], 16);
    else
        at[version == 4 ? 3 : 15] =
            (uint8_t)(rng_below(rng, 3) ? 1 + rng_below(rng, 2) : 1 + rng_below(rng, MEMBERS + 2));
}

static void mac(const struct rng *rng, uint8_t *at)
{
    static const uint8_t odd[][6] = {{0},
                                     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                                     {1, 0x80, 0xc2, 0, 0, 2},
                                     {0x33, 0x33, 0, 0, 0, 1},
                                     {2, 9, 9, 9, 9, 9}};
    if (rng_below(rng, 12) == 0)
        memcpy(at, odd[rng_below(rng, 5)], 6);
    else
        at[5] = (uint8_t)(rng_below(rng, 3) ? 1 + rng_below(rng, 2) : 1 + rng_below(rng, MEMBERS + 2));
}

static void random_frame(struct twins *t, const struct rng *rng)
{
    static const uint8_t protos[] = {IP_TCP,   IP_TCP, IP_UDP, IP_UDP,      IP_ICMP,
                                     IP_ICMP6, 0,      47,     IP_FRAGMENT, IP_NO_NEXT};
    static const uint8_t types[] = {0, 8, 8, 128, 129, 129, 133, 134, 135, 136, 137, 5, 9, 3};
    static const uint16_t ports[] = {67, 68, 546, 547, 53, 5353};
    uint8_t version = rng_below(rng, 2) ? 4 : 6;
    struct recipe r = recipe_of(version, one_of(rng, protos, sizeof protos), t->tap);
    size_t n;
    r.payload = rng_below(rng, 3) ? rng_below(rng, 60) : rng_below(rng, 1500);
    r.flags = (uint8_t)(rng_below(rng, 4) ? KIT_ACK : rng_u32(rng));
    r.df = rng_below(rng, 2);
    r.tagged = t->tap && rng_below(rng, 8) == 0;
    r.partial = rng_below(rng, 2);
    if (version == 4 && rng_below(rng, 8) == 0)
        r.ip_options = bytes_of("\x94\4\0\0", 4);
    if (r.proto == IP_TCP && rng_below(rng, 3) == 0)
        r.options = bytes_of("\2\4\xff\xff", 4); /* the largest MSS, on whatever */
    if (rng_below(rng, 8) == 0)
        r.sport = ports[rng_below(rng, 6)];
    uint8_t *p = recipe_make(&r, &n);
    struct naive_frame f = naive_find(p, n, t->tap);
    address(rng, p + f.ip + (version == 4 ? 12 : 8), version);
    address(rng, p + f.ip + (version == 4 ? 16 : 24), version);
    if (t->tap) {
        mac(rng, p);
        mac(rng, p + 6);
    }
    if ((r.proto == IP_ICMP || r.proto == IP_ICMP6) && n > f.upper)
        p[f.upper] = one_of(rng, types, sizeof types);
    if (r.proto == IP_UDP && rng_below(rng, 8) == 0)
        naive_put16(p + f.upper + 2, ports[rng_below(rng, 6)]);
    if (rng_below(rng, 4) == 0)
        p[rng_below(rng, n < 64 ? n : 64)] ^= (uint8_t)(1 << rng_below(rng, 8));
    if (rng_below(rng, 8) == 0)
        n = rng_below(rng, n + 1);
    uint32_t from = (uint32_t)(rng_below(rng, 3) ? 2 : 1 + rng_below(rng, MEMBERS + 3));
    if (rng_below(rng, 8) == 0) { /* padding behind it */
        static uint8_t longer[70000];
        memcpy(longer, p, n);
        size_t more = rng_below(rng, 100);
        memset(longer + n, 0xa5, more);
        judge(t, longer, n + more, from);
    }
    judge(t, p, n, from);
    free(p);
}

static void test_as_the_switch(void **state)
{
    for (unsigned bits = 0; bits < 12; bits++) {
        struct twins t;
        struct rng_seeded rs;
        struct rng rng = rng_seeded(&rs, 1000 + bits);
        twins_open(&t, bits & 1, bits & 2, bits / 4);
        for (int i = 0; i < 40000; i++)
            random_frame(&t, &rng);
        /* The yes is not empty: every kind that is plain was there, each way, but what this end has no
         * address for. */
        for (int v = 0; v < 2; v++) {
            bool has = v == 0 ? bits / 4 != 1 : bits / 4 != 2;
            static const uint8_t kinds[2][3] = {{IP_TCP, IP_UDP, IP_ICMP}, {IP_TCP, IP_UDP, IP_ICMP6}};
            for (int k = 0; k < 3; k++) {
                if (has)
                    assert_true(t.yes[0][v][kinds[v][k]] > 3);
                else
                    assert_int_equal(t.yes[0][v][kinds[v][k]], 0);
                if (has || t.tap) /* behind a TAP device may be others */
                    assert_true(t.yes[1][v][kinds[v][k]] > 3);
                else
                    assert_int_equal(t.yes[1][v][kinds[v][k]], 0);
            }
            for (int proto = 0; proto < 256; proto++)
                if (proto != kinds[v][0] && proto != kinds[v][1] && proto != kinds[v][2])
                    assert_int_equal(t.yes[0][v][proto] + t.yes[1][v][proto], 0);
        }
        assert_true(t.no > 1000);
        twins_close(&t);
    }
}

/* The very edges, one by one. */
static void test_edges(void **state)
{
    for (unsigned bits = 0; bits < 12; bits++) {
        struct twins t;
        bool tap = bits & 1;
        uint8_t version = bits & 2 ? 6 : 4;
        twins_open(&t, tap, false, bits / 4);
        for (size_t payload = 0; payload < 12; payload++) { /* echo of every length */
            struct recipe r = recipe_of(version, version == 4 ? IP_ICMP : IP_ICMP6, tap);
            size_t n;
            r.payload = payload;
            for (uint32_t way = 0; way < 2; way++) {
                uint8_t *p = kit_frame(&r, 1 + way, 2 - way, &n);
                if (payload > 0)
                    p[n - payload] = version == 4 ? 8 : 128;
                judge(&t, p, n, 2);
                free(p);
            }
        }
        for (size_t ip = 1415; ip <= 1425; ip++) { /* around the mtu, and around what a switch takes */
            struct recipe r = recipe_of(version, IP_UDP, tap);
            size_t n;
            r.payload = ip - (version == 4 ? 28 : 48);
            uint8_t *p = kit_frame(&r, 1, 2, &n);
            judge(&t, p, n, 2);
            free(p);
            r.payload += VNET_FRAME_MAX - 1420 - (tap ? 14 : 0);
            p = kit_frame(&r, 2, 1, &n);
            judge(&t, p, n, 2);
            free(p);
        }
        twins_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_switch),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
