#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/rng.h"
#include "pump/offload_kit_int.h"

/* ---- vnet_hdr */

static void header_of(uint8_t out[VNET_HDR_LEN], uint8_t flags, uint8_t type, const uint16_t v[4])
{
    out[0] = flags;
    out[1] = type;
    memcpy(out + 2, v, 8);
}

static void test_vnet_hdr(void **state)
{
    static const struct {
        uint8_t flags, type;
        uint16_t v[4]; /* hdr_len, gso_size, csum_start, csum_offset */
        int rc;
        struct vnet_hdr want;
    } rows[] = {
        {0, 0, {0}, 0, {0}},
        {2, 0, {0}, 0, {0}}, /* DATA_VALID */
        {0xfe, 0, {9, 0, 1, 2}, 0, {.hdr_len = 9}},
        {1, 0, {54, 0, 34, 16}, 0, {.partial = true, .hdr_len = 54, .csum_start = 34, .csum_offset = 16}},
        {1, 0, {0, 0, 82, 16}, 0, {.partial = true, .csum_start = 82, .csum_offset = 16}},
        {1, 0, {0, 0, 83, 16}, -EBADMSG, {0}},
        {1, 0, {0, 0, 65535, 65535}, -EBADMSG, {0}},
        {1, 0, {0, 0, 0, 99}, -EBADMSG, {0}},
        {1,
         1,
         {66, 1448, 34, 16},
         0,
         {.partial = true,
          .gso = OFFLOAD_TCP4,
          .gso_size = 1448,
          .hdr_len = 66,
          .csum_start = 34,
          .csum_offset = 16}},
        {0, 0x81, {0, 1, 0, 0}, 0, {.gso = OFFLOAD_TCP4, .ecn = true, .gso_size = 1}},
        {0, 4, {0, 65535, 0, 0}, 0, {.gso = OFFLOAD_TCP6, .gso_size = 65535}},
        {0, 0x84, {0, 7, 0, 0}, 0, {.gso = OFFLOAD_TCP6, .ecn = true, .gso_size = 7}},
        {0, 5, {0, 7, 0, 0}, 0, {.gso = OFFLOAD_UDP, .gso_size = 7}},
        {0, 0x85, {0, 7, 0, 0}, -EBADMSG, {0}},
        {0, 0x80, {0, 7, 0, 0}, -EBADMSG, {0}},
        {0, 3, {0, 7, 0, 0}, -EBADMSG, {0}}, /* UFO */
        {0, 2, {0, 7, 0, 0}, -EBADMSG, {0}},
        {0, 6, {0, 7, 0, 0}, -EBADMSG, {0}},
        {0, 1, {0, 0, 0, 0}, -EBADMSG, {0}},
        {0, 4, {0, 0, 0, 0}, -EBADMSG, {0}},
        {0, 5, {0, 0, 0, 0}, -EBADMSG, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t in[VNET_HDR_LEN], out[VNET_HDR_LEN];
        struct vnet_hdr h, again;
        memset(&h, 0x5a, sizeof h);
        header_of(in, rows[i].flags, rows[i].type, rows[i].v);
        assert_int_equal(vnet_hdr_read(&h, bytes_of(in, sizeof in), 100), rows[i].rc);
        if (rows[i].rc < 0) {
            assert_int_equal(h.gso_size, 0x5a5a);
            continue;
        }
        const struct vnet_hdr *w = &rows[i].want;
        assert_true(h.partial == w->partial && h.gso == w->gso && h.ecn == w->ecn);
        assert_int_equal(h.gso_size, w->gso_size);
        assert_int_equal(h.hdr_len, w->hdr_len);
        assert_int_equal(h.csum_start, w->csum_start);
        assert_int_equal(h.csum_offset, w->csum_offset);
        vnet_hdr_write(&h, out);
        assert_int_equal(out[0], rows[i].flags & 1);
        assert_int_equal(out[1], rows[i].type);
        assert_int_equal(vnet_hdr_read(&again, bytes_of(out, sizeof out), 100), 0);
        assert_true(again.csum_start == h.csum_start && again.gso_size == h.gso_size);
        for (size_t n = 0; n < VNET_HDR_LEN; n++)
            assert_int_equal(vnet_hdr_read(&h, bytes_of(in, n), 100), -EBADMSG);
    }
}

/* ---- inner_frame_read */

static int read_copy(struct inner_frame *f, const uint8_t *p, size_t n, bool tap, bool super)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    int rc = inner_frame_read(f, copy, n, tap, super);
    free(copy);
    return rc;
}

static void each_recipe(void (*check)(struct recipe r))
{
    static const uint8_t protos[] = {IP_TCP, IP_UDP, IP_ICMP, 47};
    for (unsigned i = 0; i < 2 * 3 * 4; i++) {
        unsigned link = i / 2 % 3;
        struct recipe r = recipe_of(i % 2 ? 6 : 4, protos[i / 6], link > 0);
        r.tagged = link == 2;
        r.payload = 33;
        check(r);
    }
}

static void check_found(struct recipe r)
{
    size_t n;
    uint8_t *p = recipe_make(&r, &n);
    struct naive_frame want = naive_find(p, n, r.tap);
    struct inner_frame f;
    assert_int_equal(inner_frame_read(&f, p, n, r.tap, false), 0);
    assert_int_equal(f.version, r.version);
    assert_int_equal(f.proto, r.proto);
    assert_int_equal(f.ip, want.ip);
    assert_int_equal(f.upper, want.upper);
    assert_int_equal(f.headers, want.headers);
    assert_int_equal(f.n, n);
    bool ports = r.proto == IP_TCP || r.proto == IP_UDP;
    assert_int_equal(f.src_port, ports ? r.sport : 0);
    assert_int_equal(f.dst_port, ports ? 443 : 0);
    assert_int_equal(f.tcp_flags, r.proto == IP_TCP ? KIT_ACK : 0);
    for (size_t less = 0; less < n; less++)
        assert_int_equal(read_copy(&f, p, less, r.tap, false), -EBADMSG);
    /* Padding is not of the frame. */
    uint8_t padded[400];
    memcpy(padded, p, n);
    memset(padded + n, 0xee, 46);
    assert_int_equal(read_copy(&f, padded, n + 46, r.tap, false), 0);
    assert_int_equal(f.n, n);
    /* The wrong version, of the link or of the packet. */
    memcpy(padded, p, n);
    padded[want.ip] ^= 0x20;
    assert_int_equal(read_copy(&f, padded, n, r.tap, false), -EBADMSG);
    if (r.tap) {
        padded[want.ip] ^= 0x20;
        padded[want.ip - 1] ^= 1;
        assert_int_equal(read_copy(&f, padded, n, r.tap, false), -EBADMSG);
    }
    free(p);
}

static void test_frames(void **state)
{
    each_recipe(check_found);
}

static void check_super(struct recipe r)
{
    size_t n;
    uint8_t *p = recipe_make(&r, &n);
    struct naive_frame w = naive_find(p, n, r.tap);
    size_t at = w.ip + (r.version == 4 ? 2 : 4), right = (size_t)p[at] << 8 | p[at + 1];
    struct inner_frame f;
    for (size_t length = 0; length < right + 10; length++) {
        naive_put16(p + at, length);
        f.n = 1;
        int rc = inner_frame_read(&f, p, n, r.tap, true);
        assert_int_equal(rc, length <= right ? 0 : -EBADMSG);
        assert_int_equal(f.n, rc == 0 ? n : 1);
        if (length < right && (r.proto == IP_UDP || length < right - r.payload))
            if (r.proto == IP_UDP || r.proto == IP_TCP)
                assert_int_equal(inner_frame_read(&f, p, n, r.tap, false), -EBADMSG);
    }
    /* However little of it is there, the headers must be. */
    naive_put16(p + at, 0);
    for (size_t less = 0; less < n; less++)
        assert_int_equal(read_copy(&f, p, less, r.tap, true), less < w.headers ? -EBADMSG : 0);
    free(p);
}

static void test_super_frames(void **state)
{
    each_recipe(check_super);
    static uint8_t big[OFFLOAD_FRAME_MAX + 1];
    struct recipe r = recipe_of(4, IP_TCP, true);
    struct inner_frame f;
    size_t n;
    uint8_t *p = recipe_make(&r, &n);
    memcpy(big, p, n);
    free(p);
    naive_put16(big + 16, 0);
    assert_int_equal(inner_frame_read(&f, big, 14 + 65535, true, true), 0);
    assert_int_equal(inner_frame_read(&f, big, 14 + 65536, true, true), -EBADMSG);
}

/* Every value of the bytes that lengths and kinds hang on; what is taken lies inside. */
static void test_hostile_fields(void **state)
{
    static const uint8_t protos[] = {IP_TCP, IP_UDP};
    for (unsigned kind = 0; kind < 8; kind++) {
        struct recipe r = recipe_of(kind & 1 ? 6 : 4, protos[kind >> 1 & 1], kind & 4);
        r.payload = 5;
        size_t n;
        uint8_t *p = recipe_make(&r, &n);
        struct naive_frame w = naive_find(p, n, r.tap);
        for (size_t at = r.tap ? 12 : 0; at < w.headers; at++)
            for (unsigned v = 0; v < 256; v++) {
                uint8_t was = p[at];
                struct inner_frame f;
                p[at] = (uint8_t)v;
                for (int super = 0; super < 2; super++)
                    if (inner_frame_read(&f, p, n, r.tap, super) == 0)
                        assert_true(f.ip < f.upper && f.upper <= f.headers && f.headers <= f.n && f.n <= n);
                p[at] = was;
            }
        free(p);
    }
}

static int changed(struct recipe r, size_t at, uint8_t v)
{
    size_t n;
    struct inner_frame f;
    uint8_t *p = recipe_make(&r, &n);
    p[at] = v;
    int rc = inner_frame_read(&f, p, n, r.tap, false);
    free(p);
    return rc;
}

static void test_refused(void **state)
{
    struct recipe t4 = recipe_of(4, IP_TCP, false), u4 = recipe_of(4, IP_UDP, false),
                  t6 = recipe_of(6, IP_TCP, false);
    for (uint8_t ihl = 0; ihl < 5; ihl++)
        assert_int_equal(changed(t4, 0, 0x40 | ihl), -EBADMSG);
    for (uint8_t doff = 0; doff < 5; doff++)
        assert_int_equal(changed(t4, 32, (uint8_t)(doff << 4)), -EBADMSG);
    t4.payload = 3;
    assert_int_equal(changed(t4, 32, 8 << 4), 0);
    assert_int_equal(changed(t4, 32, 9 << 4), -EBADMSG);
    assert_int_equal(changed(t4, 6, 0x20), -EBADMSG); /* more fragments */
    assert_int_equal(changed(t4, 6, 0x80), -EBADMSG); /* reserved */
    assert_int_equal(changed(t4, 6, 0x00), 0);
    assert_int_equal(changed(t4, 7, 1), -EBADMSG); /* offset */
    assert_int_equal(changed(u4, 24, 0), -EBADMSG);
    assert_int_equal(changed(u4, 25, 0xef), -EBADMSG); /* 1008 is 0x3f0 */
    assert_int_equal(changed(u4, 25, 0xf0), 0);
    static const uint8_t extensions[] = {0, 43, 44, 51, 60, 135, 139, 140};
    for (size_t i = 0; i < sizeof extensions; i++)
        assert_int_equal(changed(t6, 6, extensions[i]), -EBADMSG);
    struct recipe tag = recipe_of(4, IP_TCP, true);
    tag.tagged = true;
    assert_int_equal(changed(tag, 12, 0x88), -EBADMSG);
    assert_int_equal(changed(tag, 16, 0x81), -EBADMSG);
    struct recipe options = recipe_of(4, IP_UDP, true);
    options.ip_options = bytes_of("\x94\4\0\0", 4); /* router alert */
    size_t n;
    struct inner_frame f;
    uint8_t *p = recipe_make(&options, &n);
    assert_int_equal(inner_frame_read(&f, p, n, true, false), 0);
    assert_int_equal(f.upper, 38);
    assert_int_equal(f.headers, 46);
    assert_true(checksum_right(p, &f));
    free(p);
}

/* ---- Checksums. */

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    uint8_t memory[2];
    uint16_t v = (uint16_t)sum;
    memcpy(memory, &v, 2);
    return (uint16_t)(memory[0] << 8 | memory[1]);
}

static void test_checksum_add(void **state)
{
    enum { LONGEST = 2000, ALIGNMENTS = 16 };
    struct rng_seeded seed;
    struct rng rng = rng_seeded(&seed, 4);
    uint8_t *block = malloc(LONGEST + ALIGNMENTS);
    assert_non_null(block);
    rng_fill(&rng, block, LONGEST + ALIGNMENTS);
    for (size_t at = 0; at < ALIGNMENTS; at++) {
        uint8_t *p = block + at;
        uint32_t even = 0; /* the sum of p's first n & ~1 bytes */
        for (size_t n = 0; n <= LONGEST; n++) {
            uint32_t want = n & 1 ? naive_sum(even, p + n - 1, 1) : n > 0 ? naive_sum(even, p + n - 2, 2) : 0;
            if ((n & 1) == 0)
                even = want;
            assert_int_equal(fold(checksum_add(0, p, n)), want);
        }
    }
    for (size_t n = 0; n <= 200; n++) { /* not one byte too far */
        uint8_t *exact = malloc(n ? n : 1);
        assert_non_null(exact);
        memcpy(exact, block, n);
        assert_int_equal(fold(checksum_add(0, exact, n)), naive_sum(0, block, n));
        free(exact);
    }
    free(block);
}

static void test_checksum_carries(void **state)
{
    static uint8_t ones[65535], zeros[300];
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(fold(checksum_add(0, ones, 65534)), 0xffff);
    assert_int_equal(fold(checksum_add(0, ones, 65535)), 0xff00);
    assert_int_equal(checksum_add(0, zeros, sizeof zeros), 0);
    assert_int_equal(fold(checksum_add(UINT64_MAX, ones, 64)), 0xffff);
    uint8_t one[2] = {0, 1};
    assert_int_equal(fold(checksum_add(UINT64_MAX, one, 2)), 1);
    struct rng_seeded seed;
    struct rng rng = rng_seeded(&seed, 5);
    for (unsigned i = 0; i < 2000; i++) { /* in parts, at any even place, as whole */
        uint8_t p[300];
        rng_fill(&rng, p, sizeof p);
        size_t cut = 2 * rng_below(&rng, 151), n = cut + rng_below(&rng, 301 - cut);
        uint64_t sum = checksum_add(rng_u64(&rng) / 65535 * 65535, p, cut);
        assert_int_equal(fold(checksum_add(sum, p + cut, n - cut)) % 65535, naive_sum(0, p, n) % 65535);
    }
}

static void check_sums(struct recipe r)
{
    size_t n;
    uint8_t *p = recipe_make(&r, &n), *whole = recipe_make(&r, &n);
    struct inner_frame f;
    assert_int_equal(inner_frame_read(&f, p, n, r.tap, false), 0);
    if (r.proto != IP_TCP && r.proto != IP_UDP) {
        assert_false(checksum_right(p, &f));
        assert_int_equal(checksum_complete(p, n, r.tap), -EBADMSG);
    } else {
        assert_true(checksum_right(p, &f));
        for (size_t at = f.upper; at < n; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                p[at] ^= (uint8_t)(1 << bit);
                assert_false(checksum_right(p, &f));
                p[at] ^= (uint8_t)(1 << bit);
            }
        p[f.ip + (r.version == 4 ? 12 : 8)] ^= 1; /* an address */
        assert_false(checksum_right(p, &f));
        p[f.ip + (r.version == 4 ? 12 : 8)] ^= 1;
        r.partial = true;
        uint8_t *partial = recipe_make(&r, &n);
        assert_false(checksum_right(partial, &f));
        assert_int_equal(checksum_complete(partial, n, r.tap), 0);
        assert_memory_equal(partial, whole, n);
        for (size_t less = 0; less < n; less++)
            assert_int_equal(checksum_complete(partial, less, r.tap), -EBADMSG);
        free(partial);
    }
    free(whole);
    free(p);
}

static void test_upper_sums(void **state)
{
    each_recipe(check_sums);
}

static void test_udp_zero(void **state)
{
    for (unsigned version = 4; version <= 6; version += 2) {
        struct recipe r = recipe_of((uint8_t)version, IP_UDP, false);
        size_t n;
        r.no_sum = true;
        uint8_t *p = recipe_make(&r, &n);
        struct inner_frame f;
        assert_int_equal(inner_frame_read(&f, p, n, false, false), 0);
        assert_int_equal(checksum_right(p, &f), version == 4);
        free(p);
    }
    /* A sum that would be 0 is sent as 0xffff. */
    struct recipe r = recipe_of(4, IP_UDP, false);
    struct inner_frame f;
    size_t n, zeros = 0;
    for (unsigned port = 0; port < 65536; port++) {
        r.sport = (uint16_t)port;
        r.payload = 0;
        uint8_t *p = recipe_make(&r, &n);
        if (p[26] == 0xff && p[27] == 0xff) {
            zeros++;
            naive_put16(p + 26, 0x1234);
            assert_int_equal(checksum_complete(p, n, false), 0);
            assert_true(p[26] == 0xff && p[27] == 0xff);
            assert_int_equal(inner_frame_read(&f, p, n, false, false), 0);
            assert_true(checksum_right(p, &f));
        }
        free(p);
    }
    assert_int_equal(zeros, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vnet_hdr),         cmocka_unit_test(test_frames),
        cmocka_unit_test(test_super_frames),     cmocka_unit_test(test_hostile_fields),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_checksum_add),
        cmocka_unit_test(test_checksum_carries), cmocka_unit_test(test_upper_sums),
        cmocka_unit_test(test_udp_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
