#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "pump/landing.h"
#include "pump/offload_kit_int.h"

/* Whatever comes, in whatever order: each flow's packets, in their order, are what the device's segments
 * are. */

enum { FLOWS = 11, OTHER = FLOWS, WAITING_MAX = 200 };

struct twin {
    bool tap;
    struct {
        uint8_t *p[WAITING_MAX];
        size_t n[WAITING_MAX];
        size_t from, to;
    } flows[FLOWS + 1];
    size_t waiting, writes, frames, pieces;
    bool early; /* the pieces of a write may not be read yet: it is kept for later */
    struct {
        struct vnet_hdr h;
        struct iovec pieces[COALESCE_SEGMENTS];
        size_t count, bytes;
    } later;
};

static size_t twin_flow(const struct twin *t, const uint8_t *p, size_t n)
{
    size_t ip = t->tap ? 14 : 0;
    if (n < ip + 24 || (p[ip] != 0x45 && p[ip] >> 4 != 6))
        return OTHER;
    struct naive_frame f = naive_find(p, n, t->tap);
    return p[f.upper + 1] < FLOWS && n > f.upper + 4 ? p[f.upper + 1] : OTHER;
}

/* p: as the receiving kernel would see it, whole. */
static void twin_expect(struct twin *t, const uint8_t *p, size_t n, bool partial)
{
    size_t flow = twin_flow(t, p, n), at = t->flows[flow].to++;
    assert_true(at < WAITING_MAX);
    uint8_t *copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, p, n);
    if (partial) {
        struct naive_frame f = naive_find(p, n, t->tap);
        naive_upper(copy, &f, false);
    }
    t->flows[flow].p[at] = copy;
    t->flows[flow].n[at] = n;
    t->waiting++;
    t->frames++;
}

static void twin_take(struct twin *t, size_t flow, const uint8_t *p, size_t n)
{
    size_t at = t->flows[flow].from++;
    assert_true(at < t->flows[flow].to);
    assert_int_equal(t->flows[flow].n[at], n);
    assert_memory_equal(t->flows[flow].p[at], p, n);
    free(t->flows[flow].p[at]);
    t->waiting--;
}

static void twin_write(void *arg, const struct vnet_hdr *h, const struct iovec *pieces, size_t count,
                       size_t bytes)
{
    static uint8_t all[70000], one[70000];
    struct twin *t = arg;
    size_t n = 0, made, k = 0;
    if (t->early) {
        assert_int_equal(t->later.count, 0);
        t->later.h = *h;
        memcpy(t->later.pieces, pieces, count * sizeof *pieces);
        t->later.count = count;
        t->later.bytes = bytes;
        return;
    }
    t->pieces += count;
    for (size_t i = 0; i < count; i++) {
        memcpy(all + n, pieces[i].iov_base, pieces[i].iov_len);
        n += pieces[i].iov_len;
    }
    assert_int_equal(n, bytes);
    t->writes++;
    size_t flow = twin_flow(t, all, n), at = t->flows[flow].from;
    if (!h->partial) {
        assert_int_equal(count, 1);
        twin_take(t, flow, all, n);
        return;
    }
    struct naive_frame f = naive_find(all, n, t->tap);
    assert_true(h->csum_start == f.upper && h->hdr_len == f.headers);
    size_t size = h->gso == OFFLOAD_NONE ? 0 : h->gso_size;
    bool same = false;
    if (size > 0) {
        assert_true(at + 1 < t->flows[flow].to);
        const uint8_t *first = t->flows[flow].p[at] + f.ip, *second = t->flows[flow].p[at + 1] + f.ip;
        same = f.version == 4 && first[6] == 0x40 && memcmp(first + 4, second + 4, 2) == 0;
        naive_segment(all, n, t->tap, 0, true, true, 0, one); /* the super-frame itself is a sound packet */
        assert_memory_equal(one, all, n);
    }
    while ((made = naive_segment(all, n, t->tap, size, same, false, k, one)) > 0) {
        twin_take(t, flow, one, made);
        k++;
    }
    assert_true(k >= count);
}

static bool chance(const struct rng *rng, uint64_t of)
{
    return rng_below(rng, of) == 0;
}

/* Steps on one flow's stream: mostly the next frame of the same kind. */
static struct recipe next_frame(const struct rng *rng, struct recipe *stream)
{
    struct recipe r;
    stream->tos = chance(rng, 60) ? (uint8_t)rng_u32(rng) : stream->tos;
    stream->ttl = chance(rng, 80) ? (uint8_t)rng_u32(rng) : stream->ttl;
    stream->label = chance(rng, 80) ? rng_u32(rng) & 0xfffff : stream->label;
    stream->window = chance(rng, 80) ? (uint16_t)rng_u32(rng) : stream->window;
    stream->ack += chance(rng, 80) ? 100 : 0;
    stream->options.n =
        chance(rng, 100) && stream->proto == IP_TCP ? 12 - stream->options.n : stream->options.n;
    stream->df ^= chance(rng, 80);
    stream->partial ^= chance(rng, 20);
    stream->no_sum = stream->proto == IP_UDP && chance(rng, 60);
    if (chance(rng, 60))
        stream->payload = rng_below(rng, 1500);
    r = *stream;
    r.flags |= (uint8_t)((chance(rng, 30) ? KIT_PSH : 0) | (chance(rng, 60) ? KIT_FIN : 0) |
                         (chance(rng, 40) ? KIT_CWR : 0) | (chance(rng, 80) ? KIT_URG : 0) |
                         (chance(rng, 80) ? KIT_SYN : 0));
    if (chance(rng, 30))
        r.payload = rng_below(rng, r.payload + 2);
    if (chance(rng, 50)) /* a gap, or again an old one */
        stream->seq = r.seq += (uint32_t)rng_below(rng, 3000) - 1500;
    if (r.host & 1) /* odd hosts keep their id, with and without DF */
        stream->id += chance(rng, 50);
    else
        stream->id += chance(rng, 50) ? 2 : 1;
    stream->seq += (uint32_t)r.payload;
    return r;
}

struct play {
    struct rng rng;
    struct coalesce c;
    bool lands; /* frames lie where coalesce_end says, or in a landing at least; otherwise each in a block of
                   its size */
    struct landing landing;
    struct twin twin;
    struct frames all;
};

/* At a place where its headers cover another's payload; false: it does not belong there. */
static bool push_there(struct play *w, uint8_t *p, size_t n, const struct inner_frame *f, bool partial)
{
    struct twin *t = &w->twin;
    t->early = true;
    bool joined = f && coalesce_extend(&w->c, p, n, f, partial);
    t->early = false;
    if (!joined)
        return false;
    landing_keep(&w->landing);
    if (t->later.count > 0)
        twin_write(t, &t->later.h, t->later.pieces, t->later.count, t->later.bytes);
    t->later.count = 0;
    return true;
}

static void play_push(struct play *w, uint8_t *p, size_t n, bool partial)
{
    struct inner_frame f;
    size_t headers = 0, before = 0;
    if (!w->lands) {
        push_bytes(&w->c, &w->all, p, n, partial);
        return;
    }
    bool simple = inner_frame_read(&f, p, n, w->c.tap, false) == 0;
    uint8_t *end = coalesce_end(&w->c, &headers, &before);
    uint8_t *at = landing_place(&w->landing, n, end, headers, before);
    assert_non_null(at);
    memcpy(at, p, n);
    free(p);
    if (landing_covers(&w->landing)) {
        if (push_there(w, at, n, simple ? &f : NULL, partial))
            return;
        at = landing_move(&w->landing);
    }
    landing_keep(&w->landing);
    coalesce_push(&w->c, at, n, simple ? &f : NULL, partial);
}

static void play_frame(struct play *w, const struct recipe *r)
{
    size_t n;
    uint8_t *p = recipe_make(r, &n);
    bool partial = r->partial && !r->no_sum, padded = w->c.tap && chance(&w->rng, 100);
    if (chance(&w->rng, 40)) {
        size_t sum = naive_find(p, n, w->c.tap).upper + (r->proto == IP_TCP ? 16 : 6);
        size_t at = r->payload == 0 || chance(&w->rng, 3) ? sum : n - 1 - rng_below(&w->rng, r->payload);
        p[at] ^= (uint8_t)(1 + rng_below(&w->rng, 255));
    }
    twin_expect(&w->twin, p, n, partial);
    if (padded) {
        p = realloc(p, n + 3);
        assert_non_null(p);
        memcpy(p + n, "pad", 3);
        if (!partial) {
            struct twin *t = &w->twin;
            size_t flow = twin_flow(t, p, n), at = t->flows[flow].to - 1;
            t->flows[flow].p[at] = realloc(t->flows[flow].p[at], n + 3);
            assert_non_null(t->flows[flow].p[at]);
            memcpy(t->flows[flow].p[at], p, n + 3);
            t->flows[flow].n[at] = n + 3;
        }
        n += 3;
    }
    play_push(w, p, n, partial);
}

static void play_stranger(struct play *w)
{
    uint8_t *p = calloc(1, 42);
    assert_non_null(p);
    rng_fill(&w->rng, p + 14, 28);
    p[w->c.tap ? 13 : 0] = 6; /* ARP, or no IP at all */
    p[w->c.tap ? 12 : 1] = 8;
    p[14] = 1;
    twin_expect(&w->twin, p, 42, false);
    play_push(w, p, 42, chance(&w->rng, 2));
    assert_int_equal(w->twin.waiting, 0);
}

static void play(uint64_t seed, bool tap, bool lands)
{
    static struct play w;
    static const struct coalesce_ops twin_ops = {.write = twin_write};
    struct rng_seeded state;
    struct recipe streams[FLOWS];
    w.rng = rng_seeded(&state, seed);
    w.twin = (struct twin){.tap = tap};
    w.lands = lands;
    assert_int_equal(landing_init(&w.landing), 0);
    for (unsigned i = 0; i < FLOWS; i++) {
        streams[i] = recipe_of(i & 1 ? 6 : 4, i & 2 ? IP_UDP : IP_TCP, tap);
        streams[i].sport = (uint16_t)i;
        streams[i].host = (uint8_t)(1 + i / 4);
    }
    coalesce_init(&w.c, tap, true, true, &twin_ops, &w.twin);
    for (unsigned batch = 0; batch < 20; batch++) {
        size_t frames = 1 + rng_below(&w.rng, 150), flow = 0;
        uint64_t flows = 1 + rng_below(&w.rng, FLOWS);
        for (size_t i = 0; i < frames; i++) {
            if (chance(&w.rng, 4))
                flow = rng_below(&w.rng, flows);
            struct recipe r = next_frame(&w.rng, &streams[flow]);
            if (chance(&w.rng, 300))
                play_stranger(&w);
            else
                play_frame(&w, &r);
        }
        coalesce_flush(&w.c);
        assert_int_equal(w.twin.waiting, 0);
        assert_int_equal(w.c.open, 0);
        frames_free(&w.all);
        landing_clear(&w.landing);
        for (size_t i = 0; i <= FLOWS; i++)
            w.twin.flows[i].from = w.twin.flows[i].to = 0;
    }
    assert_int_equal(w.c.frames, w.twin.frames);
    assert_int_equal(w.c.writes, w.twin.writes);
    assert_true(w.twin.writes < w.twin.frames * 7 / 10);
    assert_true(lands ? w.twin.pieces < w.twin.frames * 9 / 10 : w.twin.pieces == w.twin.frames);
    landing_free(&w.landing);
}

static void test_twin(void **state)
{
    for (uint64_t seed = 1; seed <= 100; seed++)
        play(seed, seed & 1, seed & 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_twin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
