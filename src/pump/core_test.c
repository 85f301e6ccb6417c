/* Cores back to back through the fake device and socket of core_kit_int.h. Every byte that a core may touch
 * lies in a block of exactly its size, so that the sanitizer sees the ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "pump/core_kit_int.h"
#include "vnet/vnet.h"

static uint8_t out[70000], want[70000];

static void expect_frame(struct expect *e, const struct recipe *r, uint32_t from, uint32_t to, uint16_t size)
{
    size_t n, whole;
    struct recipe plain = *r;
    plain.partial = false;
    uint8_t *p = kit_frame(&plain, from, to, &whole);
    for (size_t k = 0; (n = naive_segment(p, whole, r->tap, size, false, false, k, want)) > 0; k++) {
        assert_int_equal(next_packet(e, out), n);
        assert_memory_equal(out, want, n);
    }
    free(p);
}

static void expect_end(struct expect *e)
{
    assert_int_equal(next_packet(e, out), 0);
}

/* ---- Every kind of frame over every kind of way. */

static void one_way(bool tap, bool relay, uint8_t family, uint8_t version)
{
    static const struct {
        uint8_t proto;
        size_t payload;
        uint16_t size; /* 0: plain */
        bool partial;
    } rows[] = {
        {IP_TCP, 44 * 1200, 1200, true}, {IP_TCP, 1000, 0, true},
        {IP_TCP, 1000, 0, false},        {IP_TCP, 0, 0, true},
        {IP_UDP, 30 * 1100, 1100, true}, {IP_UDP, 1200, 0, true},
        {IP_UDP, 1200, 0, false},        {IP_UDP, 0, 0, false},
        {IP_TCP, 4321, 1000, true},      {IP_UDP, 1, 0, true},
        {IP_TCP, 999, 1000, true},       {IP_UDP, 63999, 1000, true},
        {IP_TCP, 64 * 100, 100, true},   {IP_TCP, 65 * 100, 100, true},
    };
    struct kit k = {.tap = tap, .relay = relay, .family = family};
    kit_open(&k);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct recipe r = recipe_of(version, rows[i].proto, tap);
        struct expect e = {.log = &k.end[2].log, .tap = tap};
        r.payload = rows[i].payload;
        r.partial = rows[i].partial;
        r.id = (uint16_t)(i * 4099);
        kit_begin(&k.end[1]);
        kit_send_frame(&k.end[1], 1, 2, &r, rows[i].size);
        core_end(k.end[1].core);
        size_t segments = rows[i].size ? (rows[i].payload + rows[i].size - 1) / rows[i].size : 1;
        size_t sends = kit_count(&k.end[1].log, KIT_SEND);
        assert_int_equal(k.end[1].log.n, sends); /* nothing slow */
        assert_true(sends <= segments / 45 + 1);
        for (size_t s = 0; s < sends; s++) {
            const struct kit_item *run = kit_nth(&k.end[1].log, KIT_SEND, s);
            const struct plane_way *w = &k.end[1].route[2].ways[0];
            assert_true(net_addr_equal(&run->addr, &w->addr));
            assert_int_equal(run->a, KIT_SOCKET);
            assert_true(run->segment - (relay ? UDP_RELAY_HEADER_LEN : 0) <= w->mtu);
            for (size_t at = 0; at < run->n; at += run->segment) {
                static const uint8_t relay_head[12] = {7, 5, 0, 0, 0, 0, 9, 2, 0x70, 0, 0, 1};
                if (relay)
                    assert_memory_equal(run->p + at, relay_head, 12);
                assert_int_equal(run->p[at + (relay ? 12 : 0)], WIRE_DATA);
                assert_int_equal(run->p[at + (relay ? 12 : 0) + 2], 0); /* not own */
            }
        }
        kit_deliver(&k.end[1]);
        assert_int_equal(k.end[2].log.n, kit_count(&k.end[2].log, KIT_WRITE));
        expect_frame(&e, &r, 1, 2, rows[i].size);
        expect_end(&e);
        /* What was one frame is not one write a packet, where it had more. */
        if (segments > 1)
            assert_true(kit_count(&k.end[2].log, KIT_WRITE) <= segments / 40 + 2);
        kit_log_clear(&k.end[1].log);
        kit_log_clear(&k.end[2].log);
    }
    assert_int_equal(plane_counted(k.end[1].plane, PLANE_OUT_PACKETS),
                     plane_counted(k.end[2].plane, PLANE_IN_PACKETS));
    assert_int_equal(plane_counted(k.end[1].plane, PLANE_SLOW_FRAMES), 0);
    struct lane_totals tx, rx;
    lane_totals(k.end[1].lane[2], &tx);
    lane_totals(k.end[2].lane[1], &rx);
    assert_int_equal(rx.rx_packets, plane_counted(k.end[2].plane, PLANE_IN_PACKETS));
    assert_int_equal(tx.tx_packets, rx.rx_packets);
    assert_int_equal(tx.tx_bytes, rx.rx_bytes);
    assert_int_equal(tx.sealed_bytes, rx.opened_bytes);
    kit_close(&k);
}

static void test_every_way(void **state)
{
    for (unsigned bits = 0; bits < 16; bits++)
        one_way(bits & 1, bits & 2, bits & 4 ? 6 : 4, bits & 8 ? 6 : 4);
}

/* A VLAN's frames, echo, IPv4 options, everything that is plain but not the commonest. */
static void test_rarer(void **state)
{
    struct kit k = {.tap = true};
    kit_open(&k);
    struct recipe rows[] = {recipe_of(4, IP_TCP, true),  recipe_of(6, IP_UDP, true),
                            recipe_of(4, IP_ICMP, true), recipe_of(6, IP_ICMP6, true),
                            recipe_of(4, IP_TCP, true),  recipe_of(4, IP_UDP, true)};
    rows[0].tagged = rows[1].tagged = true;
    rows[4].ip_options = bytes_of("\1\1\1\0", 4);
    rows[5].no_sum = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n;
        uint8_t *p = kit_frame(&rows[i], 1, 2, &n);
        if (rows[i].proto == IP_ICMP || rows[i].proto == IP_ICMP6)
            p[naive_find(p, n, true).upper] = rows[i].version == 4 ? 8 : 128;
        kit_begin(&k.end[1]);
        kit_put(&k.end[1], 1, &(struct vnet_hdr){0}, p, n);
        core_end(k.end[1].core);
        kit_deliver(&k.end[1]);
        assert_int_equal(k.end[1].log.n, 1);
        assert_int_equal(k.end[2].log.n, 1);
        const struct kit_item *w = kit_nth(&k.end[2].log, KIT_WRITE, 0);
        assert_non_null(w);
        assert_false(w->h.partial || w->h.gso);
        assert_int_equal(w->n, n);
        assert_memory_equal(w->p, p, n);
        free(p);
        kit_log_clear(&k.end[1].log);
        kit_log_clear(&k.end[2].log);
    }
    kit_close(&k);
}

/* ---- Ends of buffers. */

/* Networks and ways that carry 65535: the largest frame that is sent whole, and the next ones; with and
 * without a super-frame. */
static void test_largest(void **state)
{
    for (int super = 0; super < 2; super++)
        for (size_t ip = 65507 - DATA_OVERHEAD - 3; ip <= 65507 - DATA_OVERHEAD + 3; ip++) {
            struct kit k = {.net_mtu = 65535, .way_mtu = 65535};
            struct recipe r = recipe_of(4, IP_TCP, false);
            size_t headers = IP4_HEADER_LEN + 20 + 12;
            kit_open(&k);
            r.partial = true;
            r.payload = ip - headers;
            kit_begin(&k.end[1]);
            if (super) /* one segment and a short one behind it, up to the largest super-frame */
                r.payload = 65535 - headers;
            kit_send_frame(&k.end[1], 1, 2, &r, super ? (uint16_t)(ip - headers) : 0);
            core_end(k.end[1].core);
            bool fits = ip + DATA_OVERHEAD <= CORE_RUN_BYTES;
            assert_int_equal(kit_count(&k.end[1].log, KIT_SEND), fits ? super ? 2 : 1 : 0);
            assert_int_equal(kit_count(&k.end[1].log, KIT_SLOW_FRAME), fits ? 0 : super ? 2 : 1);
            /* Larger than what the switch takes: never to the device by itself. */
            kit_deliver(&k.end[1]);
            for (size_t i = 0; i < k.end[2].log.n; i++)
                assert_true(k.end[2].log.at[i].kind == KIT_OPENED || k.end[2].log.at[i].n <= VNET_FRAME_MAX);
            assert_int_equal(kit_count(&k.end[2].log, KIT_OPENED), fits ? 1 : 0);
            kit_close(&k);
        }
}

/* Runs of plain frames to 64 and to 65507 bytes; through the relay, whose header makes room scarcer; ending
 * in the largest frame. */
static void test_full_runs(void **state)
{
    for (int relay = 0; relay < 2; relay++)
        for (size_t ip = 60; ip <= 1420; ip += 20) {
            struct kit k = {.relay = relay};
            struct recipe r = recipe_of(4, IP_UDP, false);
            kit_open(&k);
            r.payload = ip - 28;
            kit_begin(&k.end[1]);
            for (int i = 0; i < 200; i++) {
                kit_send_frame(&k.end[1], 1, 2, &r, 0);
                r.id++;
            }
            /* What is read behind a run that is as long as can be still has its place. */
            struct recipe big = recipe_of(4, IP_TCP, false);
            big.partial = true;
            big.payload = 65535 - 52;
            kit_send_frame(&k.end[1], 1, 2, &big, 1368);
            core_end(k.end[1].core);
            size_t stride = ip + DATA_OVERHEAD + (relay ? 12u : 0u), each = CORE_RUN_BYTES / stride;
            each = each > 64 ? 64 : each;
            for (size_t i = 0; i < (200 + each - 1) / each; i++) {
                const struct kit_item *run = kit_nth(&k.end[1].log, KIT_SEND, i);
                assert_non_null(run);
                assert_int_equal(run->segment, stride);
                assert_int_equal(run->n, (i < 200 / each ? each : 200 % each) * stride);
            }
            kit_deliver(&k.end[1]);
            assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), 200 + 48);
            kit_close(&k);
        }
}

/* A shorter one ends its run, a longer one begins another; another peer, party's kind or way, too. */
static void test_closed_runs(void **state)
{
    static const struct {
        uint32_t to;
        size_t payload;
    } put[] = {{2, 500}, {2, 500}, {2, 300}, {2, 500}, {2, 500}, {3, 500},
               {2, 500}, {2, 600}, {2, 600}, {3, 600}, {3, 600}};
    static const struct {
        uint32_t to;
        size_t count, n;
    } runs[] = {{2, 3, 1300}, {2, 2, 1000}, {3, 1, 500}, {2, 1, 500}, {2, 2, 1200}, {3, 2, 1200}};
    struct kit k = {.ends = 3};
    struct recipe r = recipe_of(6, IP_UDP, false);
    kit_open(&k);
    kit_begin(&k.end[1]);
    for (size_t i = 0; i < sizeof put / sizeof put[0]; i++) {
        r.payload = put[i].payload;
        kit_send_frame(&k.end[1], 1, put[i].to, &r, 0);
    }
    /* What must go now has gone; the last run waits for the end. */
    assert_int_equal(k.end[1].log.n, sizeof runs / sizeof runs[0] - 1);
    core_end(k.end[1].core);
    assert_int_equal(k.end[1].log.n, sizeof runs / sizeof runs[0]);
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        const struct kit_item *s = kit_nth(&k.end[1].log, KIT_SEND, i);
        struct net_addr to = kit_addr(&k, runs[i].to);
        assert_true(net_addr_equal(&s->addr, &to));
        assert_int_equal(s->n, runs[i].n + runs[i].count * (48 + DATA_OVERHEAD));
        assert_int_equal((s->n + s->segment - 1) / s->segment, runs[i].count);
    }
    kit_deliver(&k.end[1]);
    assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), 8);
    assert_int_equal(plane_counted(k.end[3].plane, PLANE_IN_PACKETS), 3);
    kit_close(&k);
}

/* ---- What goes the slow way, in order with the rest and with whole checksums. */

static void expect_slow(const struct kit_log *log, const struct recipe *r, uint16_t size)
{
    size_t n, whole, k;
    struct recipe plain = *r;
    plain.partial = false;
    uint8_t *p = kit_frame(&plain, 1, 2, &whole);
    for (k = 0; (n = naive_segment(p, whole, r->tap, size, false, false, k, want)) > 0; k++) {
        const struct kit_item *i = kit_nth(log, KIT_SLOW_FRAME, k);
        assert_non_null(i);
        assert_int_equal(i->a, 1);
        assert_int_equal(i->n, n);
        assert_memory_equal(i->p, want, n);
    }
    assert_null(kit_nth(log, KIT_SLOW_FRAME, k));
    assert_int_equal(kit_count(log, KIT_SEND), 0);
    free(p);
}

enum slow_case {
    SLOW_MTU,
    SLOW_WAY_MTU,
    SLOW_NO_ROUTE,
    SLOW_NO_OUT,
    SLOW_NO_TX,
    SLOW_NO_NET,
    SLOW_OTHER_KIND,
    SLOW_SPOOFED,
    SLOW_CASES
};

static void test_slow(void **state)
{
    static const uint16_t sizes[] = {0, 1300};
    for (int c = 0; c < SLOW_CASES; c++)
        for (unsigned bits = 0; bits < 8; bits++) {
            struct kit k = {.tap = bits & 1,
                            .net_mtu = c == SLOW_MTU ? 1200 : 0,
                            .way_mtu = c == SLOW_WAY_MTU ? 1300 : 0};
            struct recipe r = recipe_of(bits & 2 ? 6 : 4, bits & 4 ? IP_UDP : IP_TCP, bits & 1);
            kit_open(&k);
            r.partial = true;
            if (c == SLOW_NO_ROUTE) {
                plane_route_set(k.end[1].plane, 2, NULL);
            } else if (c == SLOW_NO_OUT) {
                k.end[1].route[2].out = -1;
                plane_route_set(k.end[1].plane, 2, &k.end[1].route[2]);
            } else if (c == SLOW_NO_TX) {
                k.end[1].route[2].tx = NULL;
                plane_route_set(k.end[1].plane, 2, &k.end[1].route[2]);
            } else if (c == SLOW_NO_NET) {
                plane_net_del(k.end[1].plane, 1);
            } else if (c == SLOW_OTHER_KIND) {
                k.tap = !k.tap;
                kit_net(&k.end[1], 1);
                k.tap = !k.tap;
            } else if (c == SLOW_SPOOFED) {
                r.host = 3;
            }
            assert_int_equal(plane_publish(k.end[1].plane), 0);
            for (size_t s = 0; s < 2; s++) {
                r.payload = sizes[s] ? 20 * 1300 + 7 : 1300;
                kit_begin(&k.end[1]);
                if (c == SLOW_SPOOFED) {
                    size_t n;
                    uint8_t *p = kit_frame(&r, 3, 2, &n);
                    struct vnet_hdr h = sizes[s] ? recipe_hdr(&r, sizes[s]) : kit_plain_hdr(&r);
                    kit_put(&k.end[1], 1, &h, p, n);
                    free(p);
                    assert_int_equal(kit_count(&k.end[1].log, KIT_SLOW_FRAME), sizes[s] ? 21 : 1);
                    assert_int_equal(kit_count(&k.end[1].log, KIT_SEND), 0);
                } else {
                    kit_send_frame(&k.end[1], 1, 2, &r, sizes[s]);
                    expect_slow(&k.end[1].log, &r, sizes[s]);
                }
                core_end(k.end[1].core);
                assert_int_equal(kit_count(&k.end[1].log, KIT_SEND), 0);
                kit_log_clear(&k.end[1].log);
            }
            assert_int_equal(plane_counted(k.end[1].plane, PLANE_SLOW_FRAMES), 2);
            kit_close(&k);
        }
}

/* What was read before leaves before the engine hears of what came after. */
static void test_slow_in_order(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_TCP, false), syn = r;
    kit_open(&k);
    syn.flags = KIT_SYN;
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    kit_send_frame(&k.end[1], 1, 2, &syn, 0);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    core_end(k.end[1].core);
    static const enum kit_kind order[] = {KIT_SEND, KIT_SLOW_FRAME, KIT_SEND};
    assert_int_equal(k.end[1].log.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(k.end[1].log.at[i].kind, order[i]);
    kit_close(&k);
}

/* Checksums left to us that are not the frame's own TCP or UDP: a tunnel's inner packet in UDP, GRE, IPIP;
 * TCP behind an extension header. They are made whole, whichever way the frame goes, and no hint is sent. */
static void test_foreign_sums(void **state)
{
    for (int c = 0; c < 4; c++) {
        struct kit k = {0};
        struct recipe outer = recipe_of(c == 3 ? 6 : 4, IP_UDP, false), inner = recipe_of(4, IP_TCP, false);
        size_t n, m, head;
        kit_open(&k);
        inner.partial = true;
        inner.payload = 300;
        uint8_t *in = recipe_make(&inner, &m);
        outer.proto = c == 0 ? IP_UDP : c == 1 ? 47 : c == 2 ? 4 : IP_DEST_OPTIONS;
        outer.no_sum = c == 0;
        outer.payload = c == 3 ? 8 + m - 20 : m;
        outer.options = bytes_of("", 0);
        uint8_t *p = kit_frame(&outer, 1, 2, &n);
        head = n - m;
        if (c == 3) { /* an options header, then the TCP segment alone, under the outer's addresses */
            static const uint8_t ext[8] = {IP_TCP, 0, 1, 4};
            memcpy(p + 40, ext, 8);
            memcpy(p + 48, in + 20, m - 20);
            head = 48 - 20;
            struct naive_frame f = {
                .ip = 0, .upper = 48, .headers = 80, .n = n, .version = 6, .proto = IP_TCP};
            naive_upper(p, &f, true);
        } else {
            memcpy(p + head, in, m);
        }
        struct vnet_hdr h = {
            .partial = true, .hdr_len = (uint16_t)n, .csum_start = (uint16_t)(head + 20), .csum_offset = 16};
        kit_begin(&k.end[1]);
        kit_put(&k.end[1], 1, &h, p, n);
        core_end(k.end[1].core);
        /* UDP is plain; what the switch alone knows is not. */
        assert_int_equal(kit_count(&k.end[1].log, KIT_SEND), c == 0);
        assert_int_equal(kit_count(&k.end[1].log, KIT_SLOW_FRAME), c != 0);
        kit_deliver(&k.end[1]);
        const struct kit_item *got =
            c == 0 ? kit_nth(&k.end[2].log, KIT_WRITE, 0) : kit_nth(&k.end[1].log, KIT_SLOW_FRAME, 0);
        assert_non_null(got);
        assert_false(got->h.partial);
        assert_int_equal(got->n, n);
        /* The frame with the inner checksum whole, and nothing else changed. */
        struct naive_frame f = {.ip = head, .upper = head + 20, .n = n, .version = 4, .proto = IP_TCP};
        if (c == 3)
            f = (struct naive_frame){.ip = 0, .upper = 48, .n = n, .version = 6, .proto = IP_TCP};
        naive_upper(p, &f, false);
        assert_memory_equal(got->p, p, n);
        free(p);
        free(in);
        kit_close(&k);
    }
}

/* Nonsense from the device does no harm: headers that do not fit their frame. */
static void test_bad_device(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_TCP, false);
    size_t n;
    kit_open(&k);
    r.payload = 5000;
    uint8_t *p = kit_frame(&r, 1, 2, &n);
    const struct vnet_hdr rows[] = {
        {.partial = true, .gso = OFFLOAD_TCP6, .gso_size = 1000, .csum_start = 20, .csum_offset = 16},
        {.partial = true, .gso = OFFLOAD_UDP, .gso_size = 1000, .csum_start = 20, .csum_offset = 6},
        {.partial = true, .gso = OFFLOAD_TCP4, .gso_size = 1000, .csum_start = 24, .csum_offset = 16},
        {.partial = true, .gso = OFFLOAD_TCP4, .gso_size = 0, .csum_start = 20, .csum_offset = 16},
        {.partial = true, .csum_start = 60000, .csum_offset = 60000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_begin(&k.end[1]);
        kit_put(&k.end[1], 1, &rows[i], p, n);
        for (size_t cut = 0; cut < 60; cut++)
            kit_put(&k.end[1], 1, &(struct vnet_hdr){.gso = OFFLOAD_TCP4, .gso_size = 100}, p, cut);
        core_end(k.end[1].core);
        /* What is no super-frame, and has its checksum where it always is, is sound for all that. */
        bool sound = rows[i].gso == OFFLOAD_NONE;
        assert_int_equal(k.end[1].log.n, sound);
        assert_int_equal(kit_count(&k.end[1].log, KIT_SLOW_FRAME), sound);
        assert_int_equal(plane_counted(k.end[1].plane, PLANE_BAD_FRAME), 61 * (i + 1) - sound);
    }
    free(p);
    kit_close(&k);
}

/* A key that is used up: nothing leaves, everything is counted, nothing is half there. */
static void test_used_up(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_TCP, false);
    kit_open(&k);
    r.partial = true;
    r.payload = 20 * 1000;
    lane_start_at(k.end[1].lane[2], KIT_MOST - 20);
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, 1000);
    kit_send_frame(&k.end[1], 1, 2, &r, 1000);
    r.payload = 100;
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    core_end(k.end[1].core);
    assert_int_equal(k.end[1].log.n, 1);
    assert_int_equal(plane_counted(k.end[1].plane, PLANE_SEAL_FAILED), 21);
    assert_int_equal(plane_counted(k.end[1].plane, PLANE_OUT_PACKETS), 20);
    kit_deliver(&k.end[1]);
    assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), 20);
    kit_close(&k);
}

/* ---- Order. */

#define FLOWS 20
struct stream {
    struct recipe r;
    uint32_t to;
    size_t sent, came;
};

/* Many flows of all kinds at random, to several peers over several batches: each flow comes out as it went
 * in. */
static void test_flows_in_order(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct kit k = {.ends = 3, .tap = seed & 1};
        struct rng_seeded rs;
        struct rng rng = rng_seeded(&rs, seed);
        struct stream flow[FLOWS];
        kit_open(&k);
        for (uint16_t i = 0; i < FLOWS; i++) {
            flow[i] = (struct stream){.r = recipe_of(i & 1 ? 6 : 4, i & 2 ? IP_UDP : IP_TCP, k.tap),
                                      .to = 2 + i % 3 / 2};
            flow[i].r.sport = (uint16_t)(5000 + i);
            flow[i].r.partial = i & 4;
        }
        for (int batch = 0; batch < 12; batch++) {
            kit_begin(&k.end[1]);
            for (int i = 0; i < 60; i++) {
                struct stream *f = &flow[rng_below(&rng, FLOWS)];
                bool super = f->r.partial && rng_below(&rng, 3) == 0;
                uint16_t size = super ? 700 : 0;
                f->r.payload = super ? 700 * (1 + rng_below(&rng, 40)) + rng_below(&rng, 700)
                                     : 1 + rng_below(&rng, 1000);
                kit_send_frame(&k.end[1], 1, f->to, &f->r, size);
                size_t packets = super ? (f->r.payload + 699) / 700 : 1;
                f->r.seq += (uint32_t)f->r.payload;
                f->r.id = (uint16_t)(f->r.id + packets);
                f->sent += f->r.payload;
            }
            core_end(k.end[1].core);
            kit_deliver(&k.end[1]);
            kit_log_clear(&k.end[1].log);
        }
        /* What came: payload in sequence by its own pattern (TCP), by the id that counts up (UDP of IPv4) and
         * in number of bytes. */
        uint16_t next_id[FLOWS];
        for (uint16_t i = 0; i < FLOWS; i++)
            next_id[i] = 0xfffe;
        for (uint32_t end = 2; end <= 3; end++) {
            size_t n;
            for (struct expect e = {.log = &k.end[end].log, .tap = k.tap}; (n = next_packet(&e, out)) > 0;) {
                struct naive_frame f = naive_find(out, n, k.tap);
                size_t i = (size_t)(out[f.upper] << 8 | out[f.upper + 1]) - 5000;
                assert_true(i < FLOWS);
                if (f.proto == IP_TCP) {
                    const uint8_t *t = out + f.upper;
                    uint32_t seq = (uint32_t)t[4] << 24 | (uint32_t)t[5] << 16 | (uint32_t)t[6] << 8 | t[7];
                    assert_int_equal(seq, (uint32_t)(0xfffff000u + flow[i].came));
                    assert_int_equal(out[n - 1], kit_payload((uint32_t)(seq + (n - f.headers) - 1)));
                }
                if (f.version == 4) {
                    assert_int_equal(out[f.ip + 4] << 8 | out[f.ip + 5], next_id[i]);
                    next_id[i]++;
                }
                flow[i].came += n - f.headers;
            }
        }
        for (size_t i = 0; i < FLOWS; i++)
            assert_int_equal(flow[i].came, flow[i].sent);
        kit_close(&k);
    }
}

/* ---- Several parties; what devices take; a lone packet. */

static void test_parties(void **state)
{
    struct kit k = {.parties = 3};
    struct recipe r = recipe_of(4, IP_UDP, false);
    kit_open(&k);
    kit_begin(&k.end[1]);
    for (uint32_t i = 0; i < 30; i++) {
        kit_send_frame(&k.end[1], 1 + i % 3, 2, &r, 0);
        r.id++;
    }
    core_end(k.end[1].core);
    assert_int_equal(k.end[1].log.n, 1); /* one peer, one run, whichever party */
    kit_deliver(&k.end[1]);
    size_t of[4] = {0};
    for (size_t i = 0; i < k.end[2].log.n; i++)
        of[k.end[2].log.at[i].a]++;
    for (int i = 1; i <= 3; i++)
        assert_int_equal(of[i], 10);
    kit_log_clear(&k.end[2].log);
    /* A party that the receiver has no device of. */
    plane_net_del(k.end[2].plane, 2);
    assert_int_equal(plane_publish(k.end[2].plane), 0);
    kit_log_clear(&k.end[1].log);
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 2, 2, &r, 0);
    core_end(k.end[1].core);
    kit_deliver(&k.end[1]);
    const struct kit_item *i = kit_nth(&k.end[2].log, KIT_OPENED, 0);
    assert_non_null(i);
    assert_int_equal(i->a, 1);
    assert_int_equal(i->b, KIT_TAG + 2);
    kit_close(&k);
}

/* Devices without offloads get plain frames. */
static void test_offloads(void **state)
{
    for (unsigned bits = 0; bits < 4; bits++) {
        bool tso = bits & 1, uso = bits & 2;
        struct kit k = {0};
        kit_open(&k);
        core_offloads(k.end[2].core, tso, uso);
        for (int udp = 0; udp < 2; udp++) {
            struct recipe r = recipe_of(4, udp ? IP_UDP : IP_TCP, false);
            struct expect e = {.log = &k.end[2].log};
            r.partial = true;
            r.payload = 10 * 1000;
            kit_begin(&k.end[1]);
            kit_send_frame(&k.end[1], 1, 2, &r, 1000);
            core_end(k.end[1].core);
            kit_deliver(&k.end[1]);
            assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), (udp ? uso : tso) ? 1 : 10);
            expect_frame(&e, &r, 1, 2, 1000);
            expect_end(&e);
            kit_log_clear(&k.end[1].log);
            kit_log_clear(&k.end[2].log);
        }
        kit_close(&k);
    }
}

/* A worker that looks at a snapshot of old goes on with it; the next batch has the new one. */
static void test_snapshot_changes(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_UDP, false);
    kit_open(&k);
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    k.end[1].route[2].ways[0].addr.port = 9;
    kit_reroute(&k.end[1], 2);
    plane_route_set(k.end[1].plane, 2, NULL);
    assert_int_equal(plane_publish(k.end[1].plane), 0);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    core_end(k.end[1].core);
    assert_int_equal(k.end[1].log.n, 1);
    assert_int_equal(k.end[1].log.at[0].addr.port, 4002);
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    core_end(k.end[1].core);
    assert_int_equal(k.end[1].log.at[1].kind, KIT_SLOW_FRAME);
    assert_int_equal(plane_publish(k.end[1].plane), 0);
    kit_close(&k);
}

/* What the engine learns: traffic, seen, when and on which way. */
static void test_news(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_UDP, false);
    struct plane_news news;
    kit_open(&k);
    assert_false(plane_active(k.end[1].plane));
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    core_end(k.end[1].core);
    kit_deliver(&k.end[1]);
    assert_true(plane_stirred(k.end[1].plane));
    assert_true(plane_active(k.end[1].plane));
    assert_true(plane_news(k.end[1].plane, 2, &news));
    assert_int_equal(news.traffic, 1001);
    assert_int_equal(news.seen, 0);
    assert_int_equal(news.way_count, 1);
    assert_int_equal(news.ways[0].id, 52);
    assert_int_equal(news.ways[0].awaiting, 1001);
    assert_int_equal(news.ways[0].received, 0);
    assert_true(plane_news(k.end[2].plane, 1, &news));
    assert_int_equal(news.traffic, 0);
    assert_int_equal(news.seen, 1002);
    assert_int_equal(news.ways[0].received, 1002);
    assert_false(plane_news(k.end[2].plane, 1, &news));
    struct lane_totals t;
    lane_totals(k.end[1].lane[2], &t);
    assert_int_equal(t.tx_packets, 1);
    assert_int_equal(t.tx_bytes, 1028);
    lane_totals(k.end[2].lane[1], &t);
    assert_int_equal(t.rx_packets, 1);
    assert_int_equal(t.rx_bytes, 1028);
    kit_close(&k);
}

/* A path in doubt: each run goes a second way too, or to the engine for one that is not the route's; the
 * receiver takes either, once. */
static void test_copies(void **state)
{
    for (int relay = 0; relay < 2; relay++)
        for (int super = 0; super < 2; super++) {
            struct kit k = {0};
            struct recipe r = recipe_of(4, IP_TCP, false);
            struct expect e = {.log = &k.end[2].log};
            kit_open(&k);
            struct plane_route *there = &k.end[1].route[2], *back = &k.end[2].route[1];
            there->ways[1] = back->ways[1] = (struct plane_way){.id = 77,
                                                                .socket = KIT_SOCKET,
                                                                .addr = kit_addr(&k, 9),
                                                                .relay = relay,
                                                                .relay_index = 5,
                                                                .mtu = 1480};
            there->way_count = back->way_count = 2;
            there->copy = 2; /* the second, and one */
            kit_reroute(&k.end[1], 2);
            kit_reroute(&k.end[2], 1);
            r.partial = true;
            r.payload = super ? 64 * 1000 : 1000;
            kit_begin(&k.end[1]);
            kit_send_frame(&k.end[1], 1, 2, &r, super ? 1000 : 0);
            core_end(k.end[1].core);
            size_t first = 0, second = 0;
            struct net_addr copy_to = kit_addr(&k, 9);
            for (size_t i = 0; i < k.end[1].log.n; i++) {
                const struct kit_item *it = &k.end[1].log.at[i];
                assert_int_equal(it->kind, KIT_SEND);
                size_t count = (it->n + it->segment - 1) / it->segment;
                bool is_copy = net_addr_equal(&it->addr, &copy_to);
                first += is_copy ? 0 : count;
                second += is_copy ? count : 0;
                if (is_copy && relay)
                    assert_int_equal(it->p[0], WIRE_UDP_RELAY);
            }
            assert_int_equal(first, super ? 64 : 1);
            assert_int_equal(second, first);
            /* The copies alone arrive, then everything: all of it once. */
            struct net_addr from = kit_addr(&k, 1);
            for (int all = 0; all < 2; all++) {
                kit_begin(&k.end[2]);
                for (size_t i = 0; i < k.end[1].log.n; i++) {
                    struct kit_item *it = &k.end[1].log.at[i];
                    bool is_copy = net_addr_equal(&it->addr, &copy_to);
                    for (size_t at = 0; !all && is_copy && relay && at < it->n; at += it->segment)
                        udp_relay_header(it->p + at, 5, 0);
                    if (is_copy != (all == 1))
                        core_datagrams(k.end[2].core, KIT_SOCKET, is_copy ? &copy_to : &from, it->p, it->n,
                                       it->segment);
                }
                core_end(k.end[2].core);
                if (all == 0)
                    expect_frame(&e, &r, 1, 2, super ? 1000 : 0);
            }
            expect_end(&e);
            assert_int_equal(plane_counted(k.end[2].plane, PLANE_REPLAYED), first);
            kit_close(&k);
        }
}

/* The relay's header makes the largest datagram too large for a copy: none is made, and nothing is written
 * behind the buffer. */
static void test_largest_copy(void **state)
{
    for (size_t over = 0; over < 30; over++) {
        struct kit k = {.net_mtu = 65535, .way_mtu = 65535};
        struct recipe r = recipe_of(4, IP_TCP, false);
        kit_open(&k);
        struct plane_route *there = &k.end[1].route[2];
        there->ways[1] = (struct plane_way){.id = 77,
                                            .socket = KIT_SOCKET,
                                            .addr = kit_addr(&k, 9),
                                            .relay = true,
                                            .relay_index = 5,
                                            .mtu = 65535};
        there->way_count = there->copy = 2;
        kit_reroute(&k.end[1], 2);
        r.payload = CORE_RUN_BYTES - DATA_OVERHEAD - 52 - over;
        kit_begin(&k.end[1]);
        kit_send_frame(&k.end[1], 1, 2, &r, 0);
        core_end(k.end[1].core);
        assert_int_equal(kit_count(&k.end[1].log, KIT_SEND), over < UDP_RELAY_HEADER_LEN ? 1 : 2);
        kit_close(&k);
    }
}

/* Frames of a device follow those that still wait for the engine, and are the fast ones again when none does.
 */
static void test_none_overtakes(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_TCP, false), syn = r;
    kit_open(&k);
    syn.flags = KIT_SYN;
    k.end[1].slow_waits = true;
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    kit_send_frame(&k.end[1], 1, 2, &syn, 0);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    core_end(k.end[1].core);
    assert_int_equal(kit_count(&k.end[1].log, KIT_SEND), 1);
    assert_int_equal(kit_count(&k.end[1].log, KIT_SLOW_FRAME), 2);
    k.end[1].slow_waits = false;
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, 0);
    core_end(k.end[1].core);
    assert_int_equal(kit_count(&k.end[1].log, KIT_SEND), 2);
    assert_int_equal(kit_count(&k.end[1].log, KIT_SLOW_FRAME), 2);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_way),      cmocka_unit_test(test_rarer),
        cmocka_unit_test(test_largest),        cmocka_unit_test(test_full_runs),
        cmocka_unit_test(test_closed_runs),    cmocka_unit_test(test_slow),
        cmocka_unit_test(test_slow_in_order),  cmocka_unit_test(test_foreign_sums),
        cmocka_unit_test(test_bad_device),     cmocka_unit_test(test_used_up),
        cmocka_unit_test(test_flows_in_order), cmocka_unit_test(test_parties),
        cmocka_unit_test(test_offloads),       cmocka_unit_test(test_snapshot_changes),
        cmocka_unit_test(test_news),           cmocka_unit_test(test_copies),
        cmocka_unit_test(test_largest_copy),   cmocka_unit_test(test_none_overtakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
