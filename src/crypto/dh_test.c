#include "crypto/dh.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>

#include "base/rng.h"
#include "base/text.h"

static void unhex(uint8_t out[X25519_LEN], const char *text)
{
    size_t n;
    assert_int_equal(hex_get(out, X25519_LEN, &n, text, strlen(text)), 0);
    assert_int_equal(n, X25519_LEN);
}

/* RFC 7748 section 5.2: the iteration, 1000 times. */
static void published_iteration(void **state)
{
    uint8_t k[X25519_LEN] = {9}, u[X25519_LEN] = {9}, next[X25519_LEN], want[X25519_LEN];
    for (int i = 1; i <= 1000; i++) {
        assert_int_equal(x25519(next, k, u), 0);
        memcpy(u, k, sizeof u);
        memcpy(k, next, sizeof k);
        if (i == 1) {
            unhex(want, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
            assert_memory_equal(k, want, sizeof k);
        }
    }
    unhex(want, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
    assert_memory_equal(k, want, sizeof k);
}

static void both_sides_agree(void **state)
{
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    for (int i = 0; i < 20; i++) {
        uint8_t a[X25519_LEN], b[X25519_LEN], pa[X25519_LEN], pb[X25519_LEN], sa[X25519_LEN], sb[X25519_LEN];
        rng_fill(&rng, a, sizeof a);
        rng_fill(&rng, b, sizeof b);
        assert_int_equal(x25519_public(pa, a), 0);
        assert_int_equal(x25519_public(pb, b), 0);
        assert_int_equal(x25519(sa, a, pb), 0);
        assert_int_equal(x25519(sb, b, pa), 0);
        assert_memory_equal(sa, sb, sizeof sa);
        pa[3] ^= 4;
        assert_int_equal(x25519(sb, b, pa), 0);
        assert_memory_not_equal(sa, sb, sizeof sa);
    }
}

static void small_order_is_refused(void **state)
{
    /* The points of order 1, 2, 4 and 8 and two of their forms past the prime. */
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t private_key[X25519_LEN] = {5}, peer[X25519_LEN], out[X25519_LEN];
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        unhex(peer, points[i]);
        memset(out, 0xaa, sizeof out);
        assert_int_equal(x25519(out, private_key, peer), -EBADMSG);
        /* A failed call leaves everything as it was. */
        for (size_t b = 0; b < sizeof out; b++)
            assert_int_equal(out[b], 0xaa);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_iteration),
        cmocka_unit_test(both_sides_agree),
        cmocka_unit_test(small_order_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
