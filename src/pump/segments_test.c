#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/rng.h"
#include "pump/offload_kit_int.h"

static uint8_t expected[70000], exact[70000];

/* Segments p in every way and compares with the naive one; returns how many there were. */
static size_t compare(const struct vnet_hdr *h, const uint8_t *p, size_t n, bool tap, bool whole)
{
    struct segments s;
    size_t segment, count, k = 0, made;
    assert_int_equal(segments_begin(&s, h, p, n, tap, &segment, &count), 0);
    assert_int_equal(s.h.partial, h->partial);
    uint8_t *out = malloc(segment); /* the sanitizer sees a byte too many */
    assert_non_null(out);
    while ((made = segments_next(&s, out, whole)) > 0) {
        size_t want = naive_segment(p, n, tap, h->gso_size, false, h->partial && !whole, k, expected);
        assert_int_equal(made, want);
        assert_memory_equal(out, expected, want);
        k++;
        assert_true(k < count ? made == segment : made <= segment);
    }
    assert_int_equal(k, count);
    assert_int_equal(naive_segment(p, n, tap, h->gso_size, false, false, k, expected), 0);
    assert_int_equal(segments_next(&s, out, whole), 0);
    free(out);
    return k;
}

/* The same where the super-frame lies, in a block of exactly its size: each segment is right while it is the
 * last one made. */
static void compare_here(const struct vnet_hdr *h, const uint8_t *p, size_t n, bool tap)
{
    struct segments s;
    size_t segment, count, made, k = 0;
    uint8_t *here = malloc(n), *at;
    assert_non_null(here);
    memcpy(here, p, n);
    assert_int_equal(segments_begin(&s, h, here, n, tap, &segment, &count), 0);
    for (; (at = segments_next_here(&s, here, &made)); k++) {
        size_t want = naive_segment(p, n, tap, h->gso_size, false, h->partial, k, expected);
        assert_int_equal(made, want);
        assert_memory_equal(at, expected, want);
        /* What lies before it is done with. */
        memset(here, 0xee, (size_t)(at - here));
    }
    assert_int_equal(k, count);
    free(here);
}

static size_t super(struct recipe r, uint16_t size)
{
    size_t n, count;
    r.partial = true;
    struct vnet_hdr h = recipe_hdr(&r, size);
    uint8_t *p = recipe_make(&r, &n);
    count = compare(&h, p, n, r.tap, false);
    assert_int_equal(compare(&h, p, n, r.tap, true), count);
    compare_here(&h, p, n, r.tap);
    h.hdr_len = 0; /* a hint only */
    assert_int_equal(compare(&h, p, n, r.tap, true), count);
    free(p);
    return count;
}

static void test_super_frames(void **state)
{
    static const uint8_t flags[] = {KIT_ACK, KIT_ACK | KIT_PSH, KIT_ACK | KIT_FIN | KIT_PSH,
                                    KIT_ACK | KIT_CWR, KIT_ACK | KIT_CWR | KIT_PSH | KIT_FIN | KIT_URG};
    for (unsigned kind = 0; kind < 12; kind++)
        for (size_t i = 0; i < sizeof flags; i++) {
            struct recipe r = recipe_of(kind & 1 ? 6 : 4, kind & 2 ? IP_UDP : IP_TCP, kind >= 4);
            r.tagged = kind >= 8;
            r.tos = 0xb9;
            r.label = 0xabcde;
            r.flags = flags[i];
            r.urgent = 9;
            r.df = i & 1;
            r.payload = 64000;
            assert_int_equal(super(r, 1400), 46);
            r.payload = 1400 * 3;
            assert_int_equal(super(r, 1400), 3);
            r.payload = 1400 * 3 + 1;
            assert_int_equal(super(r, 1400), 4);
            r.payload = 1399;
            assert_int_equal(super(r, 1400), 1);
            r.payload = 1401;
            assert_int_equal(super(r, 1400), 2);
            assert_int_equal(super(r, 65535), 1);
            r.payload = 300;
            assert_int_equal(super(r, 1), 300);
            r.payload = 0;
            assert_int_equal(super(r, 1), 1);
        }
}

static void test_options(void **state)
{
    static const uint8_t most[40] = {1, 1, 1, 1};
    struct recipe r = recipe_of(4, IP_TCP, true);
    r.tagged = true;
    r.payload = 5000;
    r.options = bytes_of(most, sizeof most);
    r.ip_options = bytes_of(most, sizeof most);
    assert_int_equal(super(r, 1300), 4);
    r.payload = 65535 - 120;
    assert_int_equal(super(r, 8000), 9);
}

/* As the kernel says it of a forwarded super-frame, or leaves it: lengths that are 0 or too small; checksums
 * that are whole. */
static void test_lengths_of_super_frames(void **state)
{
    for (unsigned version = 4; version <= 6; version += 2) {
        struct recipe r = recipe_of((uint8_t)version, IP_TCP, false);
        size_t n, segment, count;
        r.payload = 3000;
        r.partial = true;
        struct vnet_hdr h = recipe_hdr(&r, 1400);
        uint8_t *p = recipe_make(&r, &n), *zero = recipe_make(&r, &n), out[2][1500];
        naive_put16(zero + (version == 4 ? 2 : 4), 0);
        struct segments a, b;
        assert_int_equal(segments_begin(&a, &h, p, n, false, &segment, &count), 0);
        assert_int_equal(segments_begin(&b, &h, zero, n, false, &segment, &count), 0);
        for (size_t k = 0; k < 3; k++) {
            size_t made = segments_next(&a, out[0], false);
            assert_int_equal(segments_next(&b, out[1], false), made);
            assert_memory_equal(out[0], out[1], made);
        }
        h.partial = false; /* then segments get whole sums: there is nobody else to make them */
        assert_int_equal(segments_begin(&a, &h, p, n, false, &segment, &count), 0);
        size_t made = segments_next(&a, out[0], false);
        assert_int_equal(naive_segment(p, n, false, 1400, false, false, 0, expected), made);
        assert_memory_equal(out[0], expected, made);
        free(p);
        free(zero);
    }
}

/* By hand: an id and a sequence number that run over. */
static void test_known(void **state)
{
    struct recipe r = recipe_of(4, IP_TCP, false);
    r.flags = KIT_ACK | KIT_PSH | KIT_FIN | KIT_CWR;
    r.options = bytes_of("", 0);
    r.id = 0xffff;
    r.seq = 0xffffffff;
    r.payload = 5;
    r.partial = true;
    struct vnet_hdr h = recipe_hdr(&r, 2);
    size_t n, segment, count;
    uint8_t *p = recipe_make(&r, &n), out[3][60];
    struct segments s;
    assert_int_equal(segments_begin(&s, &h, p, n, false, &segment, &count), 0);
    assert_int_equal(segment, 42);
    assert_int_equal(count, 3);
    for (size_t k = 0; k < 3; k++)
        assert_int_equal(segments_next(&s, out[k], false), k < 2 ? 42 : 41);
    static const uint8_t ids[3][2] = {{0xff, 0xff}, {0, 0}, {0, 1}};
    static const uint8_t seqs[3][4] = {{0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1}, {0, 0, 0, 3}};
    static const uint8_t flags[3] = {KIT_ACK | KIT_CWR, KIT_ACK, KIT_ACK | KIT_PSH | KIT_FIN};
    /* 10.7.0.1 -> 10.7.0.254, TCP: 0x0a07 + 1 + 0x0a07 + 0xfe + 6 = 0x1513, and the length. */
    static const uint16_t sums[3] = {0x1513 + 22, 0x1513 + 22, 0x1513 + 21};
    for (size_t k = 0; k < 3; k++) {
        assert_memory_equal(out[k] + 4, ids[k], 2);
        assert_memory_equal(out[k] + 24, seqs[k], 4);
        assert_int_equal(out[k][33], flags[k]);
        assert_int_equal(out[k][36] << 8 | out[k][37], sums[k]);
        assert_int_equal(out[k][3], k < 2 ? 42 : 41);
        assert_int_equal(naive_sum(0, out[k], 20), 0xffff);
        for (size_t i = 0; i < (k < 2 ? 2 : 1); i++)
            assert_int_equal(out[k][40 + i], kit_payload(0xffffffff + (uint32_t)(2 * k + i)));
    }
    free(p);
}

/* ---- Plain frames. */

static void test_plain(void **state)
{
    static const uint8_t protos[] = {IP_TCP, IP_UDP};
    for (unsigned kind = 0; kind < 8; kind++) {
        struct recipe r = recipe_of(kind & 1 ? 6 : 4, protos[kind >> 1 & 1], kind & 4);
        size_t n, segment, count;
        struct segments s;
        uint8_t out[2000];
        struct vnet_hdr h = {0};
        uint8_t *whole = recipe_make(&r, &n);
        for (int w = 0; w < 2; w++) { /* nothing to do, not even where the checksum is wrong */
            whole[n - 1] ^= (uint8_t)w;
            assert_int_equal(segments_begin(&s, &h, whole, n, r.tap, &segment, &count), 0);
            assert_true(segment == n && count == 1 && !s.h.partial);
            assert_int_equal(segments_next(&s, out, w), n);
            assert_memory_equal(out, whole, n);
            assert_int_equal(segments_next(&s, out, w), 0);
            whole[n - 1] ^= (uint8_t)w;
        }
        r.partial = true;
        h = recipe_hdr(&r, 0);
        h.gso = OFFLOAD_NONE;
        uint8_t *p = recipe_make(&r, &n);
        for (int w = 0; w < 2; w++) {
            assert_int_equal(segments_begin(&s, &h, p, n, r.tap, &segment, &count), 0);
            assert_true(segment == n && count == 1 && s.h.partial);
            assert_int_equal(segments_next(&s, out, w), n);
            assert_memory_equal(out, w ? whole : p, n);
        }
        free(p);
        free(whole);
    }
}

/* What is not IP at all, and what is nothing. */
static void test_not_ip(void **state)
{
    struct vnet_hdr h = {0};
    struct segments s;
    size_t segment, count;
    uint8_t arp[42] = {[12] = 8, [13] = 6, [14] = 1}, out[42];
    for (size_t n = 0; n <= sizeof arp; n++) {
        assert_int_equal(segments_begin(&s, &h, arp, n, true, &segment, &count), 0);
        assert_true(segment == n && count == 1);
        assert_int_equal(segments_next(&s, out, true), n);
        assert_memory_equal(out, arp, n);
        assert_int_equal(segments_next(&s, out, true), 0);
    }
    for (unsigned gso = OFFLOAD_TCP4; gso <= OFFLOAD_UDP; gso++) {
        h = (struct vnet_hdr){.gso = gso, .gso_size = 10};
        assert_int_equal(segments_begin(&s, &h, arp, sizeof arp, true, &segment, &count), -EBADMSG);
    }
}

/* A checksum at any place, as of a tunnel's inner packet: made whole as skb_checksum_help does. */
static void test_foreign_sums(void **state)
{
    struct recipe r = recipe_of(4, IP_UDP, true);
    size_t n, segment, count, foreign = 0;
    r.payload = 61;
    uint8_t *p = recipe_make(&r, &n), *out = malloc(n);
    assert_non_null(out);
    for (uint16_t start = 0; start < n + 5; start++)
        for (uint16_t offset = 0; offset < 20; offset++) {
            struct vnet_hdr h = {.partial = true, .csum_start = start, .csum_offset = offset};
            struct segments s;
            int rc = segments_begin(&s, &h, p, n, true, &segment, &count);
            assert_int_equal(rc, (size_t)start + offset + 2 <= n ? 0 : -EBADMSG);
            if (rc < 0 || (start == 34 && offset == 6))
                continue;
            foreign++;
            assert_false(s.h.partial);
            assert_int_equal(segments_next(&s, out, foreign & 1), n);
            uint16_t want = 0xffff & ~naive_sum(0, p + start, n - start);
            memcpy(exact, p, n);
            naive_put16(exact + start + offset, want ? want : 0xffff);
            assert_memory_equal(out, exact, n);
        }
    assert_true(foreign > 1500);
    uint8_t zero[6] = {0x12, 0x34, 0xed, 0xcb};
    struct vnet_hdr all = {.partial = true, .csum_offset = 4};
    struct segments z;
    assert_int_equal(segments_begin(&z, &all, zero, 6, false, &segment, &count), 0);
    assert_int_equal(segments_next(&z, out, false), 6);
    assert_memory_equal(out, "\x12\x34\xed\xcb\xff\xff", 6);
    struct vnet_hdr h = {.partial = true, .csum_start = 65535, .csum_offset = 65535};
    struct segments s;
    assert_int_equal(segments_begin(&s, &h, p, n, true, &segment, &count), -EBADMSG);
    free(out);
    free(p);
}

/* ---- Hostile. */

static void test_refused(void **state)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        struct recipe r = recipe_of(kind & 1 ? 6 : 4, kind & 2 ? IP_UDP : IP_TCP, false);
        size_t n, segment = 77, count = 78;
        struct segments s;
        r.partial = true;
        uint8_t *p = recipe_make(&r, &n);
        struct vnet_hdr good = recipe_hdr(&r, 100), h = good;
        assert_int_equal(segments_begin(&s, &h, p, n, false, &segment, &count), 0);
        for (unsigned gso = OFFLOAD_TCP4; gso <= OFFLOAD_UDP; gso++) {
            h.gso = gso;
            assert_int_equal(segments_begin(&s, &h, p, n, false, &segment, &count),
                             gso == good.gso ? 0 : -EBADMSG);
        }
        h = good;
        h.gso_size = 0;
        assert_int_equal(segments_begin(&s, &h, p, n, false, &segment, &count), -EBADMSG);
        for (uint32_t start = 0; start < 65536; start++) {
            h = good;
            h.csum_start = (uint16_t)start;
            assert_int_equal(segments_begin(&s, &h, p, n, false, &segment, &count),
                             start == good.csum_start ? 0 : -EBADMSG);
            h = good;
            h.csum_offset = (uint16_t)start;
            assert_int_equal(segments_begin(&s, &h, p, n, false, &segment, &count),
                             start == good.csum_offset ? 0 : -EBADMSG);
        }
        segment = 77;
        assert_int_equal(segments_begin(&s, &good, p, 10, false, &segment, &count), -EBADMSG);
        assert_int_equal(segment, 77);
        free(p);
    }
}

/* Cut anywhere, with lengths that say otherwise or say nothing: refused, or segments of what is there. */
static void test_truncated(void **state)
{
    for (unsigned kind = 0; kind < 8; kind++) {
        struct recipe r = recipe_of(kind & 1 ? 6 : 4, kind & 2 ? IP_UDP : IP_TCP, kind & 4);
        size_t n;
        r.partial = true;
        r.payload = 301;
        uint8_t *p = recipe_make(&r, &n);
        struct vnet_hdr h = recipe_hdr(&r, 100);
        size_t at = (r.tap ? 14 : 0) + (r.version == 4 ? 2 : 4);
        for (int zero = 0; zero < 2; zero++) {
            for (size_t less = 0; less < n; less++) {
                struct segments s;
                size_t segment, count;
                uint8_t *cut = malloc(less ? less : 1);
                assert_non_null(cut);
                memcpy(cut, p, less);
                bool fits = zero && less >= h.hdr_len;
                assert_int_equal(segments_begin(&s, &h, cut, less, r.tap, &segment, &count),
                                 fits ? 0 : -EBADMSG);
                if (fits)
                    compare(&h, cut, less, r.tap, true);
                free(cut);
            }
            naive_put16(p + at, 0);
        }
        free(p);
    }
}

static void test_flipped(void **state)
{
    struct rng_seeded seed;
    struct rng rng = rng_seeded(&seed, 6);
    static uint8_t out[4000];
    for (unsigned round = 0; round < 20000; round++) {
        struct recipe r = recipe_of(round & 1 ? 6 : 4, round & 2 ? IP_UDP : IP_TCP, round & 4);
        size_t n, segment, count, made, sum = 0;
        r.partial = true;
        r.payload = rng_below(&rng, 500);
        uint8_t *p = recipe_make(&r, &n);
        struct vnet_hdr h = recipe_hdr(&r, (uint16_t)(1 + rng_below(&rng, 200)));
        for (unsigned i = 0; i < 3; i++)
            p[rng_below(&rng, n < 90 ? n : 90)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        struct segments s;
        if (segments_begin(&s, &h, p, n, r.tap, &segment, &count) == 0) {
            assert_true(segment <= n);
            for (size_t k = 0; k < count; k++) {
                made = segments_next(&s, out, round & 8);
                assert_true(made > 0 && made <= segment);
                sum += made - s.f.headers;
            }
            assert_int_equal(sum, n - s.f.headers);
            assert_int_equal(segments_next(&s, out, false), 0);
        }
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_super_frames),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_lengths_of_super_frames),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_not_ip),
        cmocka_unit_test(test_foreign_sums),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
