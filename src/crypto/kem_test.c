#include "crypto/kem.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>

#include "base/rng.h"

struct fixture {
    uint8_t seed[KEM_SEED_LEN], random[KEM_RANDOM_LEN], public_key[KEM_PUBLIC_LEN], ct[KEM_CT_LEN],
        secret[KEM_SECRET_LEN];
};

static void fixture_make(struct fixture *f, uint64_t n)
{
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, n);
    rng_fill(&rng, f->seed, sizeof f->seed);
    rng_fill(&rng, f->random, sizeof f->random);
    assert_int_equal(kem_public(f->public_key, f->seed), 0);
    assert_int_equal(kem_encaps(f->ct, f->secret, f->public_key, f->random), 0);
}

static void both_sides_agree(void **state)
{
    for (uint64_t i = 0; i < 10; i++) {
        struct fixture f;
        uint8_t secret[KEM_SECRET_LEN];
        fixture_make(&f, i);
        assert_int_equal(kem_decaps(secret, f.seed, f.ct), 0);
        assert_memory_equal(secret, f.secret, sizeof secret);
    }
}

static void a_function_of_its_arguments(void **state)
{
    struct fixture a, b;
    fixture_make(&a, 1);
    fixture_make(&b, 1);
    assert_memory_equal(&a, &b, sizeof a);
    b.random[31] ^= 1;
    assert_int_equal(kem_encaps(b.ct, b.secret, b.public_key, b.random), 0);
    assert_memory_not_equal(a.ct, b.ct, sizeof a.ct);
    assert_memory_not_equal(a.secret, b.secret, sizeof a.secret);
    /* Both halves of the seed count: d makes the key, z the implicit rejection. */
    b.seed[0] ^= 1;
    assert_int_equal(kem_public(b.public_key, b.seed), 0);
    assert_memory_not_equal(a.public_key, b.public_key, sizeof a.public_key);
}

static void a_wrong_ciphertext_gives_another_secret(void **state)
{
    struct fixture f;
    fixture_make(&f, 2);
    uint8_t rejected[KEM_SECRET_LEN], again[KEM_SECRET_LEN];
    for (size_t bit = 0; bit < 8 * KEM_CT_LEN; bit += 97) {
        f.ct[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(kem_decaps(rejected, f.seed, f.ct), 0);
        assert_memory_not_equal(rejected, f.secret, sizeof rejected);
        /* Always the same one for this ciphertext, and a different one under another z. */
        assert_int_equal(kem_decaps(again, f.seed, f.ct), 0);
        assert_memory_equal(rejected, again, sizeof again);
        f.seed[63] ^= 1;
        assert_int_equal(kem_decaps(again, f.seed, f.ct), 0);
        assert_memory_not_equal(rejected, again, sizeof again);
        f.seed[63] ^= 1;
        f.ct[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* FIPS 203 section 7.2: each coefficient of the encoded key is below q = 3329, 12 bits each. */
static void a_key_past_the_modulus_is_refused(void **state)
{
    struct fixture f;
    fixture_make(&f, 3);
    uint8_t ct[KEM_CT_LEN], secret[KEM_SECRET_LEN];
    for (size_t at = 0; at < KEM_PUBLIC_LEN - 32; at += 3 * 64) {
        uint8_t was[2];
        memcpy(was, f.public_key + at, 2);
        f.public_key[at] = 0x01; /* 0xd01 = 3329 */
        f.public_key[at + 1] = (uint8_t)((was[1] & 0xf0) | 0x0d);
        assert_int_equal(kem_encaps(ct, secret, f.public_key, f.random), -EBADMSG);
        assert_int_equal(ERR_peek_error(), 0);
        f.public_key[at] = 0x00; /* 0xd00 = 3328 */
        assert_int_equal(kem_encaps(ct, secret, f.public_key, f.random), 0);
        memcpy(f.public_key + at, was, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_agree),
        cmocka_unit_test(a_function_of_its_arguments),
        cmocka_unit_test(a_wrong_ciphertext_gives_another_secret),
        cmocka_unit_test(a_key_past_the_modulus_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
