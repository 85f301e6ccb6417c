/* Where packets are opened to: whatever comes between the segments of a super-frame, it harms none of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "pump/core_kit_int.h"
#include "pump/landing.h"

enum { SEGMENT = 1000 };

static uint8_t out[70000];

static struct recipe tcp_of(uint8_t version, bool tap, uint16_t port, size_t payload, bool partial)
{
    struct recipe r = recipe_of(version, IP_TCP, tap);
    r.sport = port;
    r.payload = payload;
    r.partial = partial;
    return r;
}

/* ---- In one piece. */

static size_t pieces_of(bool tap, uint8_t version, bool partial)
{
    struct kit k = {.tap = tap};
    struct recipe r = tcp_of(version, tap, 5000, SEGMENT, partial);
    kit_open(&k);
    kit_begin(&k.end[1]);
    for (int i = 0; i < 40; i++) {
        kit_send_frame(&k.end[1], 1, 2, &r, 0);
        r = following(r);
    }
    core_end(k.end[1].core);
    kit_deliver(&k.end[1]);
    assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), 1);
    size_t pieces = kit_nth(&k.end[2].log, KIT_WRITE, 0)->pieces;
    kit_close(&k);
    return pieces;
}

static void a_super_frame_is_one_piece(void **state)
{
    for (unsigned bits = 0; bits < 4; bits++) {
        bool tap = bits & 1;
        uint8_t version = bits & 2 ? 6 : 4;
        assert_int_equal(pieces_of(tap, version, true), 1);
        /* The first one's checksum is asked for when the second is there: it must not lie under that. */
        assert_int_equal(pieces_of(tap, version, false), 2);
    }
}

/* ---- With others in between. */

enum { DATAGRAMS_MAX = 2048 };

struct datagram {
    uint8_t *p;
    size_t n;
};

/* What end 1 has sent, one by one. */
static size_t datagrams_take(struct kit *k, struct datagram *d)
{
    struct kit_log *l = &k->end[1].log;
    size_t count = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct kit_item *s = &l->at[i];
        assert_int_equal(s->kind, KIT_SEND);
        for (size_t at = 0; at < s->n; at += s->segment) {
            size_t n = s->n - at < s->segment ? s->n - at : s->segment;
            assert_true(count < DATAGRAMS_MAX);
            if (k->relay)
                kit_relayed(1, s->p + at, n);
            d[count].n = n;
            d[count].p = malloc(n);
            assert_non_null(d[count].p);
            memcpy(d[count++].p, s->p + at, n);
        }
    }
    kit_log_clear(l);
    return count;
}

static void hand_over(struct kit *k, const struct datagram *d)
{
    struct net_addr from = kit_from(k, 1);
    uint8_t *copy = malloc(d->n); /* gone at once: nothing points at it */
    assert_non_null(copy);
    memcpy(copy, d->p, d->n);
    core_datagrams(k->end[2].core, KIT_SOCKET, &from, copy, d->n, 0);
    free(copy);
}

/* Sealed by the peer, and refused for what is inside. */
static void hand_nonsense(struct kit *k, uint64_t counter)
{
    uint8_t text[DATA_OVERHEAD + UDP_RELAY_HEADER_LEN + 1200];
    size_t head = k->relay ? UDP_RELAY_HEADER_LEN : 0;
    const struct inner_header inner = {.kind = INNER_PACKET, .flags = 0x80, .party = KIT_TAG + 1};
    memset(text, 0x5a, sizeof text);
    assert_int_equal(lane_seal(k->end[1].lane[2], 2, counter, &inner, text + head, 1200), 0);
    if (k->relay)
        kit_relayed(1, text, head);
    hand_over(k, &(struct datagram){text, head + DATA_OVERHEAD + 1200});
}

struct sent {
    size_t n, came;
    uint8_t *p;
};

struct play {
    struct kit k;
    struct rng rng;
    struct sent sent[DATAGRAMS_MAX];
    size_t packets, opened;
};

/* A frame or super-frame into the first end; what the receiving kernel must see of it is noted. */
static void play_send(struct play *w, struct recipe *r, uint16_t size)
{
    size_t whole, n;
    struct recipe plain = *r;
    plain.partial = false;
    uint8_t *p = kit_frame(&plain, 1, 2, &whole);
    for (size_t i = 0; (n = naive_segment(p, whole, r->tap, size, false, false, i, out)) > 0; i++) {
        assert_true(w->packets < DATAGRAMS_MAX);
        struct sent *s = &w->sent[w->packets++];
        *s = (struct sent){.n = n, .p = malloc(n)};
        assert_non_null(s->p);
        memcpy(s->p, out, n);
        r->id++;
    }
    free(p);
    struct recipe frame = *r;
    frame.id = (uint16_t)(r->id - (size ? (r->payload + size - 1) / size : 1));
    kit_send_frame(&w->k.end[1], 1, 2, &frame, size);
    r->seq += (uint32_t)r->payload;
}

static void play_sends(struct play *w)
{
    struct recipe flow[6];
    for (uint16_t i = 0; i < 6; i++)
        flow[i] = tcp_of(i & 1 ? 6 : 4, w->k.tap, (uint16_t)(5000 + i), 0, i & 2);
    flow[4].proto = flow[5].proto = IP_UDP;
    kit_begin(&w->k.end[1]);
    while (w->packets < 300) {
        struct recipe *r = &flow[rng_below(&w->rng, 6)];
        bool super = r->partial && r->proto == IP_TCP && rng_below(&w->rng, 2);
        /* Payloads shorter than headers are among them. */
        r->payload =
            super ? 1 + rng_below(&w->rng, 60000) : 1 + rng_below(&w->rng, rng_below(&w->rng, 2) ? 1300 : 80);
        play_send(w, r, super ? (uint16_t)(rng_below(&w->rng, 2) ? 1300 : 500) : 0);
    }
    /* For the switch: of a party that the receiver has no device of. */
    for (int i = 0; i < 20; i++) {
        struct recipe r = tcp_of(4, w->k.tap, 7000, 200, false);
        kit_send_frame(&w->k.end[1], 2, 2, &r, 0);
    }
    core_end(w->k.end[1].core);
}

/* Each good one once at least, some twice, some in another order, with ruined ones and the switch's between.
 * Returns how many of them never came. */
static size_t play_carry(struct play *w)
{
    static struct datagram d[DATAGRAMS_MAX];
    size_t count = datagrams_take(&w->k, d), lost = 0;
    for (size_t i = 0; i < 20; i++) {
        size_t from = count - 20 + i, to = rng_below(&w->rng, count - 20);
        struct datagram swap = d[from];
        d[from] = d[to];
        d[to] = swap;
    }
    kit_begin(&w->k.end[2]);
    for (size_t i = 0; i < count; i++) {
        uint64_t what = rng_below(&w->rng, 40);
        if (what == 0) { /* and then it comes whole */
            size_t at = rng_below(&w->rng, d[i].n);
            d[i].p[at] ^= 1;
            hand_over(&w->k, &d[i]);
            d[i].p[at] ^= 1;
        }
        if (what == 1)
            lost++;
        else
            hand_over(&w->k, &d[i]);
        if (what == 2)
            hand_over(&w->k, &d[i]);
        if (what == 3)
            hand_nonsense(&w->k, 100000 + i);
    }
    core_end(w->k.end[2].core);
    while (count > 0)
        free(d[--count].p);
    return lost;
}

static void play_came(struct play *w, size_t n)
{
    size_t i = 0;
    while (i < w->packets && (w->sent[i].came || w->sent[i].n != n || memcmp(w->sent[i].p, out, n) != 0))
        i++;
    assert_true(i < w->packets);
    w->sent[i].came++;
}

static void play(uint64_t seed)
{
    static struct play w;
    struct rng_seeded rs;
    size_t n, came = 0;
    w = (struct play){.k = {.tap = seed & 1, .relay = seed & 2, .family = seed & 4 ? 6 : 4, .parties = 2}};
    w.rng = rng_seeded(&rs, seed);
    kit_open(&w.k);
    plane_net_del(w.k.end[2].plane, 2);
    assert_int_equal(plane_publish(w.k.end[2].plane), 0);
    play_sends(&w);
    size_t lost = play_carry(&w);
    for (struct expect e = {.log = &w.k.end[2].log, .tap = w.k.tap}; (n = next_packet(&e, out)) > 0; came++)
        play_came(&w, n);
    size_t opened = kit_count(&w.k.end[2].log, KIT_OPENED);
    for (size_t i = 0; i < opened; i++) {
        struct recipe r = tcp_of(4, w.k.tap, 7000, 200, false);
        uint8_t *p = kit_frame(&r, 1, 2, &n);
        const struct kit_item *it = kit_nth(&w.k.end[2].log, KIT_OPENED, i);
        assert_int_equal(it->n, n);
        assert_memory_equal(it->p, p, n);
        free(p);
    }
    assert_int_equal(came + opened + lost, w.packets + 20);
    while (w.packets > 0)
        free(w.sent[--w.packets].p);
    kit_close(&w.k);
}

static void whatever_comes_in_between(void **state)
{
    for (uint64_t seed = 1; seed <= 48; seed++)
        play(seed);
}

/* ---- More than there is room for. */

static void a_full_landing_is_written(void **state)
{
    struct kit k = {0};
    kit_open(&k);
    kit_begin(&k.end[1]);
    size_t supers = LANDING_BYTES / (50 * SEGMENT) * 2;
    struct recipe r = tcp_of(4, false, 5000, 50 * SEGMENT, true);
    for (size_t i = 0; i < supers; i++) {
        kit_send_frame(&k.end[1], 1, 2, &r, SEGMENT);
        r.seq += (uint32_t)r.payload;
        r.id = (uint16_t)(r.id + 50);
    }
    core_end(k.end[1].core);
    kit_begin(&k.end[2]);
    kit_carry(&k.end[1]);
    assert_true(kit_count(&k.end[2].log, KIT_WRITE) >= supers / 2 - 2);
    core_end(k.end[2].core);
    uint32_t seq = 0xfffff000u;
    size_t n, packets = 0;
    for (struct expect e = {.log = &k.end[2].log}; (n = next_packet(&e, out)) > 0; packets++) {
        struct naive_frame f = naive_find(out, n, false);
        const uint8_t *t = out + f.upper;
        assert_int_equal((uint32_t)t[4] << 24 | (uint32_t)t[5] << 16 | (uint32_t)t[6] << 8 | t[7], seq);
        for (size_t i = f.headers; i < n; i++)
            assert_int_equal(out[i], kit_payload((uint32_t)(seq + (i - f.headers))));
        seq += SEGMENT;
    }
    assert_int_equal(packets, supers * 50);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_super_frame_is_one_piece),
        cmocka_unit_test(whatever_comes_in_between),
        cmocka_unit_test(a_full_landing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
