/* What comes from outside and is no plain packet of an honest peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "pump/core_kit_int.h"

static uint8_t out[70000];

/* ---- A network that reorders, doubles, cuts and changes. */

#define BAG_MAX 4096
struct bag {
    size_t n;
    struct {
        uint8_t *p;
        size_t n;
        bool good;
    } at[BAG_MAX];
};

static void bag_put(struct bag *b, const uint8_t *p, size_t n, bool good)
{
    assert_true(b->n < BAG_MAX);
    b->at[b->n].p = malloc(n ? n : 1);
    assert_non_null(b->at[b->n].p);
    memcpy(b->at[b->n].p, p, n);
    b->at[b->n].n = n;
    b->at[b->n++].good = good;
}

static void bag_clear(struct bag *b)
{
    while (b->n > 0)
        free(b->at[--b->n].p);
}

static void damage(struct bag *b, const struct rng *rng, const uint8_t *p, size_t n)
{
    static uint8_t copy[2048];
    assert_true(n <= sizeof copy);
    bool good = true;
    memcpy(copy, p, n);
    switch (rng_below(rng, 8)) {
    case 0:
        copy[rng_below(rng, n)] ^= (uint8_t)(1 << rng_below(rng, 8));
        good = false;
        break;
    case 1:
        n = rng_below(rng, n);
        good = false;
        break;
    default:
        break;
    }
    bag_put(b, copy, n, good);
    if (rng_below(rng, 4) == 0)
        bag_put(b, copy, n, good);
}

/* As the kernel or somebody else might hand them up: runs of any of them that are of equal size, or said to
 * be. */
static void unbag(struct kit *k, struct bag *b, const struct rng *rng)
{
    struct net_addr from = kit_from(k, 1);
    static uint8_t run[65536];
    for (size_t i = b->n; i > 1; i--) {
        size_t j = rng_below(rng, i);
        uint8_t *p = b->at[i - 1].p;
        size_t n = b->at[i - 1].n;
        b->at[i - 1].p = b->at[j].p;
        b->at[i - 1].n = b->at[j].n;
        b->at[j].p = p;
        b->at[j].n = n;
    }
    uint8_t *lie[64]; /* still and unread until the batch is over */
    size_t lies = 0;
    kit_begin(&k->end[2]);
    for (size_t i = 0; i < b->n;) {
        size_t n = 0, segment = b->at[i].n;
        do {
            memcpy(run + n, b->at[i].p, b->at[i].n);
            n += b->at[i].n;
            i++;
        } while (i < b->n && segment > 0 && b->at[i].n == segment && n + segment <= sizeof run);
        if (n == 0)
            continue;
        lie[lies] = malloc(n);
        assert_non_null(lie[lies]);
        memcpy(lie[lies], run, n);
        if (rng_below(rng, 10) == 0)
            segment = rng_below(rng, 2 * n + 1); /* 0 and more than there is among them */
        core_datagrams(k->end[2].core, KIT_SOCKET, &from, lie[lies++], n, segment);
        if (lies == sizeof lie / sizeof lie[0] || i == b->n) {
            core_end(k->end[2].core);
            while (lies > 0)
                free(lie[--lies]);
            kit_begin(&k->end[2]);
        }
    }
    core_end(k->end[2].core);
}

static void test_bad_network(void **state)
{
    static struct bag b;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct kit k = {.tap = seed & 1, .relay = seed & 2, .family = seed & 4 ? 6 : 4};
        struct rng_seeded rs;
        struct rng rng = rng_seeded(&rs, 100 + seed);
        uint8_t came[512] = {0};
        size_t sent = 0;
        kit_open(&k);
        for (int batch = 0; batch < 8; batch++) {
            kit_begin(&k.end[1]);
            for (int i = 0; i < 30; i++, sent++) {
                /* Each is known by its port. */
                struct recipe r =
                    recipe_of(rng_below(&rng, 2) ? 4 : 6, rng_below(&rng, 2) ? IP_TCP : IP_UDP, k.tap);
                r.sport = (uint16_t)(6000 + sent);
                r.partial = rng_below(&rng, 2);
                r.payload = rng_below(&rng, 3) ? 800 : rng_below(&rng, 1000);
                kit_send_frame(&k.end[1], 1, 2, &r, 0);
            }
            core_end(k.end[1].core);
            for (size_t i = 0; i < k.end[1].log.n; i++) {
                struct kit_item *s = &k.end[1].log.at[i];
                assert_int_equal(s->kind, KIT_SEND);
                for (size_t at = 0; at < s->n; at += s->segment) {
                    size_t n = s->n - at < s->segment ? s->n - at : s->segment;
                    if (k.relay)
                        kit_relayed(1, s->p + at, n);
                    damage(&b, &rng, s->p + at, n);
                }
            }
            kit_log_clear(&k.end[1].log);
            unbag(&k, &b, &rng);
            bag_clear(&b);
        }
        /* Whatever came is one that was sent, byte for byte, at most once. */
        size_t n, all = 0;
        for (struct expect e = {.log = &k.end[2].log, .tap = k.tap}; (n = next_packet(&e, out)) > 0; all++) {
            struct naive_frame f = naive_find(out, n, k.tap);
            size_t i = (size_t)(out[f.upper] << 8 | out[f.upper + 1]) - 6000;
            assert_true(i < sent);
            assert_int_equal(came[i]++, 0);
            struct recipe r = recipe_of(f.version, f.proto, k.tap);
            r.sport = (uint16_t)(6000 + i);
            r.payload = n - f.headers;
            size_t m;
            uint8_t *p = kit_frame(&r, 1, 2, &m);
            assert_int_equal(m, n);
            assert_memory_equal(p, out, n);
            free(p);
        }
        assert_true(all > sent / 2 && all < sent);
        assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), all);
        assert_true(plane_counted(k.end[2].plane, PLANE_REPLAYED) > 0);
        assert_true(plane_counted(k.end[2].plane, PLANE_BAD_TAG) > 0);
        assert_int_equal(kit_count(&k.end[2].log, KIT_OPENED), 0);
        kit_close(&k);
    }
}

/* ---- Datagrams that are the engine's: untouched, in order. */

static size_t one_sealed(struct kit *k, uint8_t *to, size_t payload)
{
    struct recipe r = recipe_of(4, IP_UDP, k->tap);
    r.payload = payload;
    kit_begin(&k->end[1]);
    kit_send_frame(&k->end[1], 1, 2, &r, 0);
    core_end(k->end[1].core);
    struct kit_item *s = kit_nth(&k->end[1].log, KIT_SEND, 0);
    assert_non_null(s);
    size_t n = s->n;
    if (k->relay)
        kit_relayed(1, s->p, n);
    memcpy(to, s->p, n);
    kit_log_clear(&k->end[1].log);
    return n;
}

static void expect_untouched(struct kit *k, uint32_t socket, struct net_addr from, const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, p, n);
    kit_begin(&k->end[2]);
    core_datagrams(k->end[2].core, socket, &from, copy, n, 0);
    core_end(k->end[2].core);
    assert_int_equal(k->end[2].log.n, 1);
    const struct kit_item *i = kit_nth(&k->end[2].log, KIT_SLOW_DATAGRAM, 0);
    assert_non_null(i);
    assert_int_equal(i->n, n);
    assert_int_equal(i->a, socket);
    assert_true(net_addr_equal(&i->addr, &from));
    assert_memory_equal(i->p, p, n);
    assert_memory_equal(copy, p, n);
    free(copy);
    kit_log_clear(&k->end[2].log);
}

static void test_untouched(void **state)
{
    for (int relay = 0; relay < 2; relay++) {
        struct kit k = {.relay = relay};
        uint8_t p[2048], bad[2048];
        kit_open(&k);
        size_t n = one_sealed(&k, p, 700), head = relay ? UDP_RELAY_HEADER_LEN : 0;
        struct net_addr from = kit_from(&k, 1), other = from;
        other.port++;
        expect_untouched(&k, KIT_SOCKET, other, p, n);
        other = from;
        other.ip[3] ^= 1;
        expect_untouched(&k, KIT_SOCKET, other, p, n);
        expect_untouched(&k, KIT_SOCKET + 1, from, p, n);
        static const struct {
            size_t at;
            uint8_t flip;
            bool relayed;
        } rows[] = {{0, 1, 0}, {0, 4, 0}, {1, 1, 0}, {1, 0x80, 0}, {2, 1, 0}, {2, 2, 0}, {3, 1, 0}, {4, 1, 0},
                    {7, 1, 0}, {0, 1, 1}, {1, 1, 1}, {2, 1, 1},    {3, 1, 1}, {4, 1, 1}, {7, 1, 1}};
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            if (rows[i].relayed && !relay)
                continue;
            memcpy(bad, p, n);
            bad[rows[i].at + (rows[i].relayed ? 0 : head)] ^= rows[i].flip;
            expect_untouched(&k, KIT_SOCKET, from, bad, n);
        }
        /* Too short to be anything: every length up to one byte of it. */
        for (size_t len = 1; len < head + DATA_OVERHEAD; len++)
            expect_untouched(&k, KIT_SOCKET, from, p, len);
        /* Directly what should have been relayed, and the other way round. */
        if (relay)
            expect_untouched(&k, KIT_SOCKET, from, p + head, n - head);
        memcpy(bad + UDP_RELAY_HEADER_LEN, p, n);
        udp_relay_header(bad, 0x901, 0);
        expect_untouched(&k, KIT_SOCKET, from, bad, n + UDP_RELAY_HEADER_LEN);
        static const uint8_t others[][4] = {{0}, {1, 1, 0, 0}, {5}, {6}, {20}, {64}, {0x80}, {0xff, 0xff}};
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            expect_untouched(&k, KIT_SOCKET, from, others[i], 4);
        /* After all of this it is still good. */
        kit_begin(&k.end[2]);
        core_datagrams(k.end[2].core, KIT_SOCKET, &from, p, n, 0);
        core_end(k.end[2].core);
        assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), 1);
        kit_close(&k);
    }
}

static size_t sealed_as(struct lane *l, uint64_t counter, const struct inner_header *inner,
                        const uint8_t *payload, size_t n, uint8_t *to)
{
    memcpy(to + DATA_HEADROOM, payload, n);
    assert_int_equal(lane_seal(l, 4, counter, inner, to, n), 0);
    return n + DATA_OVERHEAD;
}

/* The session's own packets are the session's, whatever is in them; they lie between others in a run. */
static void test_own(void **state)
{
    struct kit k = {0};
    uint8_t run[4096];
    const uint8_t text[100] = {1, 2, 3};
    static const uint8_t kinds[] = {INNER_CONTROL, INNER_CELL, INNER_NULL};
    kit_open(&k);
    for (size_t i = 0; i < 3; i++) {
        const struct inner_header own = {.kind = kinds[i]};
        size_t n = sealed_as(k.end[1].lane[2], 500 + i, &own, text, kinds[i] == INNER_NULL ? 0 : 100, run);
        expect_untouched(&k, KIT_SOCKET, kit_from(&k, 1), run, n);
    }
    size_t n = one_sealed(&k, run, 100 - 28);
    const struct inner_header own = {.kind = INNER_CONTROL};
    assert_int_equal(sealed_as(k.end[1].lane[2], 600, &own, text, 100, run + n), n);
    assert_int_equal(one_sealed(&k, run + 2 * n, 100 - 28), n);
    uint8_t second[200];
    memcpy(second, run + n, n);
    struct net_addr from = kit_from(&k, 1);
    kit_begin(&k.end[2]);
    core_datagrams(k.end[2].core, KIT_SOCKET, &from, run, 3 * n, n);
    core_end(k.end[2].core);
    static const enum kit_kind order[] = {KIT_WRITE, KIT_SLOW_DATAGRAM, KIT_WRITE};
    assert_int_equal(k.end[2].log.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(k.end[2].log.at[i].kind, order[i]);
    assert_memory_equal(k.end[2].log.at[1].p, second, n);
    /* Others' threads may take the lane's lock while the engine is told. */
    kit_close(&k);
}

/* ---- A member that is no friend: what it seals is authentic and may be anything. */

enum verdict { V_DEVICE, V_OPENED, V_NOTHING };

static enum verdict hostile(struct kit *k, uint32_t from, const struct inner_header *inner, const uint8_t *p,
                            size_t n)
{
    static uint64_t counter = 1;
    uint8_t *d = malloc(n + DATA_OVERHEAD);
    assert_non_null(d);
    size_t len = sealed_as(k->end[from].lane[2], counter++, inner, p, n, d);
    if (d[2]) /* as own packets' kinds say it, but those never come here */
        d[2] = 0;
    struct net_addr addr = kit_from(k, from);
    kit_log_clear(&k->end[2].log);
    kit_begin(&k->end[2]);
    core_datagrams(k->end[2].core, KIT_SOCKET, &addr, d, len, 0);
    core_end(k->end[2].core);
    free(d);
    assert_true(k->end[2].log.n <= 1);
    assert_int_equal(kit_count(&k->end[2].log, KIT_SLOW_DATAGRAM), 0);
    if (k->end[2].log.n == 0)
        return V_NOTHING;
    const struct kit_item *i = &k->end[2].log.at[0];
    if (i->kind == KIT_WRITE) {
        assert_int_equal(i->a, 1);
        return V_DEVICE;
    }
    assert_int_equal(i->kind, KIT_OPENED);
    assert_int_equal(i->a, from);
    assert_int_equal(i->b, inner->party);
    assert_int_equal(i->inner, inner->kind);
    return V_OPENED;
}

static void test_hostile(void **state)
{
    for (unsigned bits = 0; bits < 8; bits++) {
        bool tap = bits & 1;
        uint8_t version = bits & 2 ? 6 : 4, proto = bits & 4 ? IP_UDP : IP_TCP;
        struct kit k = {.tap = tap, .ends = 3};
        const struct inner_header plain = {.kind = tap ? INNER_FRAME : INNER_PACKET, .party = KIT_TAG + 1};
        struct inner_header hint = plain, h = plain;
        hint.flags = INNER_PARTIAL;
        struct recipe r = recipe_of(version, proto, tap);
        size_t n, ip = tap ? 14 : 0, upper = ip + (version == 4 ? 20 : 40);
        kit_open(&k);
        uint8_t *p = kit_frame(&r, 1, 2, &n), *bad = malloc(n + 100);
        assert_non_null(bad);
        assert_int_equal(hostile(&k, 1, &plain, p, n), V_DEVICE);
        assert_memory_equal(k.end[2].log.at[0].p, p, n);

        /* Another member's addresses, nobody's, ours. Judged by the switch, or not at all. */
        static const uint8_t others[] = {2, 3, 9, 0, 255};
        for (size_t i = 0; i < sizeof others; i++) {
            memcpy(bad, p, n);
            bad[ip + (version == 4 ? 15 : 23)] = others[i];
            assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
            memcpy(bad, p, n);
            bad[ip + (version == 4 ? 12 : 8)] ^= others[i] | 1;
            assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
            if (tap) {
                memcpy(bad, p, n);
                bad[11] = others[i];
                assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
                memcpy(bad, p, n);
                bad[5] = others[i] == 2 ? 1 : others[i];
                assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
            } else if (others[i] != 2) {
                memcpy(bad, p, n);
                bad[ip + (version == 4 ? 19 : 39)] = others[i];
                assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
            }
        }
        assert_int_equal(hostile(&k, 3, &plain, p, n), V_OPENED); /* 3 says that it is 1 */

        /* Kinds, parties, flags. */
        h.kind = tap ? INNER_PACKET : INNER_FRAME;
        assert_int_equal(hostile(&k, 1, &h, p, n), V_OPENED);
        h = plain;
        h.party++;
        assert_int_equal(hostile(&k, 1, &h, p, n), V_OPENED);
        for (int flags = 2; flags < 256; flags += 2) {
            h = plain;
            h.flags = (uint8_t)flags;
            assert_int_equal(hostile(&k, 1, &h, p, n), V_NOTHING);
        }
        for (int kind = 0; kind < 256; kind++)
            if (kind != INNER_FRAME && kind != INNER_PACKET) {
                h = plain;
                h.kind = (uint8_t)kind;
                assert_int_equal(hostile(&k, 1, &h, p, n), V_NOTHING);
            }

        /* Every shorter one: the packet's own length lies then. Padding behind is the kernel's to cut off. */
        for (size_t cut = 0; cut < n; cut += cut < 100 ? 1 : 97) {
            assert_int_equal(hostile(&k, 1, &plain, p, cut), V_OPENED);
            assert_int_equal(hostile(&k, 1, &hint, p, cut), V_NOTHING);
        }
        memcpy(bad, p, n);
        memset(bad + n, 0, 100);
        assert_int_equal(hostile(&k, 1, &plain, bad, n + 100), V_DEVICE);
        assert_false(k.end[2].log.at[0].h.partial);
        assert_int_equal(hostile(&k, 1, &hint, bad, n + 100), V_DEVICE);
        const struct kit_item *w = &k.end[2].log.at[0];
        assert_true(w->h.partial && w->n == n); /* the kernel would sum the padding */
        assert_int_equal(w->h.csum_start, upper);

        /* Lengths that lie. */
        size_t length_at = ip + (version == 4 ? 2 : 4);
        for (int by = -40; by <= 40; by += by == -1 ? 2 : 1) {
            memcpy(bad, p, n);
            naive_put16(bad + length_at, (size_t)((bad[length_at] << 8) + bad[length_at + 1] + by));
            enum verdict v = hostile(&k, 1, &plain, bad, n);
            assert_int_equal(v, by > 0 || proto == IP_UDP ? V_OPENED : V_DEVICE); /* TCP: padding */
            if (proto == IP_UDP) {
                memcpy(bad, p, n);
                naive_put16(bad + upper + 4, (size_t)((bad[upper + 4] << 8) + bad[upper + 5] + by));
                assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
            }
        }
        for (int offset = 0; proto == IP_TCP && offset < 5; offset++) {
            memcpy(bad, p, n);
            bad[upper + 12] = (uint8_t)(offset << 4);
            assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
        }
        for (int own = 0; version == 4 && own < 5; own++) {
            memcpy(bad, p, n);
            bad[ip] = (uint8_t)(0x40 | own);
            assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
        }
        /* Fragments, extension headers, other protocols, SYN. */
        memcpy(bad, p, n);
        bad[ip + (version == 4 ? 6 : 6)] = version == 4 ? 0x20 : IP_FRAGMENT;
        assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
        for (int other = 0; other < 256; other++) {
            bool echo = version == 4 ? other == IP_ICMP : other == IP_ICMP6;
            if (other == IP_TCP || other == IP_UDP || echo)
                continue;
            memcpy(bad, p, n);
            bad[ip + (version == 4 ? 9 : 6)] = (uint8_t)other;
            assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
        }
        if (proto == IP_TCP) {
            memcpy(bad, p, n);
            bad[upper + 13] |= KIT_SYN;
            assert_int_equal(hostile(&k, 1, &plain, bad, n), V_OPENED);
        }
        /* DHCP. */
        memcpy(bad, p, n);
        naive_put16(bad + upper + 2, version == 4 ? 67 : 546);
        assert_int_equal(hostile(&k, 1, &plain, bad, n), proto == IP_UDP ? V_OPENED : V_DEVICE);

        /* A checksum that lies reaches the kernel as it is, which judges it: never made good by us. */
        memcpy(bad, p, n);
        bad[n - 1] ^= 0x55;
        assert_int_equal(hostile(&k, 1, &plain, bad, n), V_DEVICE);
        w = &k.end[2].log.at[0];
        assert_false(w->h.partial);
        assert_memory_equal(w->p, bad, n);
        free(p);
        free(bad);
        kit_close(&k);
    }
}

/* Segments whose checksum lies never hide among good ones in a super-frame. */
static void test_lies_do_not_join(void **state)
{
    struct kit k = {0};
    const struct inner_header plain = {.kind = INNER_PACKET, .party = KIT_TAG + 1};
    struct recipe r = recipe_of(4, IP_TCP, false);
    uint8_t run[8 * 1200];
    size_t n, len = 0;
    kit_open(&k);
    for (uint64_t i = 0; i < 6; i++) {
        uint8_t *p = kit_frame(&r, 1, 2, &n);
        if (i == 2 || i == 3)
            p[n - 5] ^= 1;
        len += sealed_as(k.end[1].lane[2], i, &plain, p, n, run + len);
        r = following(r);
        free(p);
    }
    struct net_addr from = kit_from(&k, 1);
    kit_begin(&k.end[2]);
    core_datagrams(k.end[2].core, KIT_SOCKET, &from, run, len, len / 6);
    core_end(k.end[2].core);
    static const bool super[] = {true, false, false, true};
    assert_int_equal(k.end[2].log.n, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(k.end[2].log.at[i].h.gso == OFFLOAD_TCP4, super[i]);
    kit_close(&k);
}

/* A member that continues another's flow, where it may guess all of it: its segment is judged as its own. */
static void test_another_does_not_continue(void **state)
{
    for (unsigned bits = 0; bits < 8; bits++) {
        bool tap = bits & 1, relay = bits & 4;
        struct kit k = {.tap = tap, .relay = relay, .ends = 3};
        const struct inner_header hint = {
            .kind = tap ? INNER_FRAME : INNER_PACKET, .flags = INNER_PARTIAL, .party = KIT_TAG + 1};
        struct recipe r = recipe_of(bits & 2 ? 6 : 4, IP_TCP, tap);
        uint8_t d[2048];
        size_t n, head = relay ? UDP_RELAY_HEADER_LEN : 0;
        r.partial = true;
        r.payload = 700;
        kit_open(&k);
        kit_begin(&k.end[2]);
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t from = i == 2 ? 3 : 1; /* and end 1 sends the same one itself after it */
            struct net_addr addr = kit_from(&k, from);
            uint8_t *p = kit_frame(&r, 1, 2, &n);
            kit_relayed(from, d, head);
            n = sealed_as(k.end[from].lane[2], i, &hint, p, n, d + head);
            core_datagrams(k.end[2].core, KIT_SOCKET, &addr, d, head + n, 0);
            if (i != 2)
                r = following(r);
            free(p);
        }
        core_end(k.end[2].core);
        assert_int_equal(kit_count(&k.end[2].log, KIT_OPENED), 1);
        assert_int_equal(kit_nth(&k.end[2].log, KIT_OPENED, 0)->a, 3);
        assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), 3);
        kit_close(&k);
    }
}

/* A flow of one party, continued in another by the same peer, which has the same addresses there. */
static void test_another_party_does_not_continue(void **state)
{
    struct kit k = {.parties = 2};
    struct recipe r = recipe_of(4, IP_TCP, false);
    uint8_t d[2048];
    size_t n;
    r.partial = true;
    r.payload = 700;
    kit_open(&k);
    kit_begin(&k.end[2]);
    for (uint32_t i = 0; i < 3; i++) {
        const struct inner_header hint = {
            .kind = INNER_PACKET, .flags = INNER_PARTIAL, .party = KIT_TAG + 1 + i / 2};
        struct net_addr addr = kit_from(&k, 1);
        uint8_t *p = kit_frame(&r, 1, 2, &n);
        n = sealed_as(k.end[1].lane[2], i, &hint, p, n, d);
        core_datagrams(k.end[2].core, KIT_SOCKET, &addr, d, n, 0);
        r = following(r);
        free(p);
    }
    core_end(k.end[2].core);
    assert_int_equal(k.end[2].log.n, 2);
    assert_int_equal(k.end[2].log.at[0].a, 1);
    assert_int_equal(k.end[2].log.at[0].n, 52 + 2 * 700);
    assert_int_equal(k.end[2].log.at[1].a, 2);
    assert_int_equal(k.end[2].log.at[1].n, 52 + 700);
    kit_close(&k);
}

/* In one run from the relay: what comes for the session by no way of the peer's is the engine's to judge,
 * whatever came before it. */
static void test_ways_within_a_run(void **state)
{
    static const struct {
        uint32_t sender; /* as the relay says; 0: without its header */
        size_t slow;
    } rows[] = {{1, 0}, {3, 1}, {0, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kit k = {.relay = true, .ends = 3};
        const struct inner_header plain = {.kind = INNER_PACKET, .party = KIT_TAG + 1};
        struct recipe r = recipe_of(4, IP_UDP, false);
        struct net_addr addr;
        uint8_t run[4096];
        size_t n, head = UDP_RELAY_HEADER_LEN;
        kit_open(&k);
        addr = kit_from(&k, 1);
        uint8_t *p = kit_frame(&r, 1, 2, &n);
        kit_relayed(1, run, head);
        size_t one = head + sealed_as(k.end[1].lane[2], 0, &plain, p, n, run + head);
        uint8_t *second = run + one;
        if (rows[i].sender) {
            kit_relayed(rows[i].sender, second, head);
            second += head;
        }
        n = sealed_as(k.end[1].lane[2], 1, &plain, p, n, second);
        kit_begin(&k.end[2]);
        core_datagrams(k.end[2].core, KIT_SOCKET, &addr, run, (size_t)(second - run) + n, one);
        core_end(k.end[2].core);
        assert_int_equal(kit_count(&k.end[2].log, KIT_SLOW_DATAGRAM), rows[i].slow);
        assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), 2 - rows[i].slow);
        free(p);
        kit_close(&k);
    }
}

/* In one batch, after good ones: from elsewhere, or to another socket; and in the next, when the session is
 * gone. */
static void test_sources_within_a_batch(void **state)
{
    struct kit k = {0};
    const struct inner_header plain = {.kind = INNER_PACKET, .party = KIT_TAG + 1};
    struct recipe r = recipe_of(4, IP_UDP, false);
    kit_open(&k);
    const struct net_addr from = kit_from(&k, 1), port = net_addr4(0xc0000201u, 4999),
                          host = net_addr4(0xc0000209u, 4001);
    const struct {
        const struct net_addr *from;
        uint32_t socket;
        bool slow;
    } rows[] = {{&from, KIT_SOCKET, false},    {&port, KIT_SOCKET, true},  {&from, KIT_SOCKET, false},
                {&from, KIT_SOCKET + 1, true}, {&from, KIT_SOCKET, false}, {&host, KIT_SOCKET, true}};
    uint8_t d[2048];
    size_t n, slow = 0;
    uint8_t *p = kit_frame(&r, 1, 2, &n);
    kit_begin(&k.end[2]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = sealed_as(k.end[1].lane[2], i, &plain, p, n, d);
        core_datagrams(k.end[2].core, rows[i].socket, rows[i].from, d, len, 0);
        slow += rows[i].slow;
        assert_int_equal(kit_count(&k.end[2].log, KIT_SLOW_DATAGRAM), slow);
    }
    core_end(k.end[2].core);
    assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), 3);
    size_t len = sealed_as(k.end[1].lane[2], 10, &plain, p, n, d);
    kit_begin(&k.end[2]);
    core_datagrams(k.end[2].core, KIT_SOCKET, &from, d, len, 0);
    core_end(k.end[2].core);
    assert_int_equal(plane_route_set(k.end[2].plane, 1, NULL), 0);
    assert_int_equal(plane_publish(k.end[2].plane), 0);
    len = sealed_as(k.end[1].lane[2], 11, &plain, p, n, d);
    kit_log_clear(&k.end[2].log);
    expect_untouched(&k, KIT_SOCKET, from, d, len);
    free(p);
    kit_close(&k);
}

/* Echo with the hint, which says nothing about it, and echo too short to be one. */
static void test_hint_on_nonsense(void **state)
{
    struct kit k = {0};
    const struct inner_header hint = {.kind = INNER_PACKET, .flags = INNER_PARTIAL, .party = KIT_TAG + 1};
    struct recipe r = recipe_of(4, IP_ICMP, false);
    size_t n;
    kit_open(&k);
    for (r.payload = 0; r.payload < 20; r.payload++) {
        uint8_t *p = kit_frame(&r, 1, 2, &n);
        if (n > 20)
            p[20] = 8;
        enum verdict v = hostile(&k, 1, &hint, p, n);
        assert_int_equal(v, r.payload < 8 ? V_NOTHING : V_DEVICE);
        if (v == V_DEVICE)
            assert_false(k.end[2].log.at[0].h.partial);
        free(p);
    }
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_network),
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_lies_do_not_join),
        cmocka_unit_test(test_hint_on_nonsense),
        cmocka_unit_test(test_another_does_not_continue),
        cmocka_unit_test(test_another_party_does_not_continue),
        cmocka_unit_test(test_ways_within_a_run),
        cmocka_unit_test(test_sources_within_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
