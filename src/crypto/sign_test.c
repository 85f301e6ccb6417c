#include "crypto/sign.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>

#include "crypto/hash.h"
#include "crypto/kdf.h"

#define CONTEXT "warren test v1"

struct fixture {
    struct rng_seeded seeded;
    struct rng rng;
    struct sign_seed seed;
    struct sign_key *key;
    struct bytes msg;
    uint8_t sig[SIGN_SIG_LEN];
};

static struct fixture f;

static int begin(void **state)
{
    f.rng = rng_seeded(&f.seeded, 17);
    sign_seed_new(&f.seed, &f.rng);
    f.key = sign_key_new(&f.seed);
    f.msg = bytes_of_str("what is signed");
    return f.key ? sign_make(f.key, CONTEXT, f.msg, &f.rng, f.sig) : -1;
}

static int end(void **state)
{
    sign_key_free(f.key);
    return 0;
}

static int check(void)
{
    return sign_check(sign_key_public(f.key), CONTEXT, f.msg, f.sig);
}

static void makes_and_checks(void **state)
{
    assert_int_equal(check(), 0);
    assert_int_equal(sign_check(sign_key_public(f.key), CONTEXT, bytes_of_str("what is Signed"), f.sig),
                     -EBADMSG);
    assert_int_equal(sign_check(sign_key_public(f.key), "warren test v2", f.msg, f.sig), -EBADMSG);
    assert_int_equal(ERR_peek_error(), 0);
    struct bytes empty = bytes_of(NULL, 0);
    assert_int_equal(sign_make(f.key, CONTEXT, empty, &f.rng, f.sig), 0);
    assert_int_equal(sign_check(sign_key_public(f.key), CONTEXT, empty, f.sig), 0);
    sign_key_free(NULL);
}

/* Each half is needed: with one of them spoilt the other alone does not carry the signature. */
static void both_halves_are_needed(void **state)
{
    for (size_t at = 0; at < SIGN_SIG_LEN; at += at < MLDSA_SIG_LEN - 64 ? 61 : 1) {
        f.sig[at] ^= 0x10;
        assert_int_equal(check(), -EBADMSG);
        f.sig[at] ^= 0x10;
    }
    assert_int_equal(check(), 0);
    struct sign_public pub = *sign_key_public(f.key);
    struct sign_seed other_seed;
    sign_seed_new(&other_seed, &f.rng);
    struct sign_key *other = sign_key_new(&other_seed);
    memcpy(pub.mldsa, sign_key_public(other)->mldsa, sizeof pub.mldsa);
    assert_int_equal(sign_check(&pub, CONTEXT, f.msg, f.sig), -EBADMSG);
    pub = *sign_key_public(f.key);
    memcpy(pub.ed25519, sign_key_public(other)->ed25519, sizeof pub.ed25519);
    assert_int_equal(sign_check(&pub, CONTEXT, f.msg, f.sig), -EBADMSG);
    sign_key_free(other);
}

static void the_layout_is_as_documented(void **state)
{
    const struct sign_public *pub = sign_key_public(f.key);
    uint8_t mldsa[MLDSA_PUBLIC_LEN], ed25519[ED25519_PUBLIC_LEN];
    assert_int_equal(mldsa_public(mldsa, f.seed.mldsa), 0);
    assert_int_equal(ed25519_public(ed25519, f.seed.ed25519), 0);
    assert_memory_equal(mldsa, pub->mldsa, sizeof mldsa);
    assert_memory_equal(ed25519, pub->ed25519, sizeof ed25519);
    assert_int_equal(mldsa_check(mldsa, bytes_of_str(CONTEXT), f.msg, f.sig), 0);
    static const char prefixed[] = "\x0ewarren test v1what is signed";
    uint8_t sig[ED25519_SIG_LEN];
    assert_int_equal(ed25519_check(ed25519, bytes_of_str(prefixed), f.sig + MLDSA_SIG_LEN), 0);
    assert_int_equal(ed25519_sign(sig, f.seed.ed25519, bytes_of_str(prefixed)), 0);
    assert_memory_equal(sig, f.sig + MLDSA_SIG_LEN, sizeof sig);
    assert_int_equal(sign_make_ed25519(f.key, CONTEXT, f.msg, sig), 0);
    assert_memory_equal(sig, f.sig + MLDSA_SIG_LEN, sizeof sig);
    assert_int_equal(sign_check_ed25519(pub, CONTEXT, f.msg, sig), 0);
    assert_int_equal(sign_check_ed25519(pub, "x", f.msg, sig), -EBADMSG);
}

/* "a" with message "bc" and "ab" with "c" must not sign the same bytes. */
static void contexts_do_not_slide(void **state)
{
    uint8_t sig[ED25519_SIG_LEN];
    assert_int_equal(sign_make_ed25519(f.key, "a", bytes_of_str("bc"), sig), 0);
    assert_int_equal(sign_check_ed25519(sign_key_public(f.key), "ab", bytes_of_str("c"), sig), -EBADMSG);
}

static void context_lengths(void **state)
{
    char context[257];
    memset(context, 'c', 256);
    context[256] = 0;
    assert_int_equal(sign_make(f.key, context, f.msg, &f.rng, f.sig), -EIO);
    assert_int_equal(sign_check(sign_key_public(f.key), context, f.msg, f.sig), -EBADMSG);
    context[255] = 0;
    assert_int_equal(sign_make(f.key, context, f.msg, &f.rng, f.sig), 0);
    assert_int_equal(sign_check(sign_key_public(f.key), context, f.msg, f.sig), 0);
    assert_int_equal(sign_make(f.key, "", f.msg, &f.rng, f.sig), -EIO);
    assert_int_equal(sign_check(sign_key_public(f.key), "", f.msg, f.sig), -EBADMSG);
}

static void hedged_by_the_given_chance(void **state)
{
    uint8_t first[MLDSA_SIG_LEN], second[MLDSA_SIG_LEN], zeros[32] = {0}, ones[32];
    memset(ones, 1, sizeof ones);
    struct bytes context = bytes_of_str(CONTEXT);
    assert_int_equal(mldsa_sign(first, f.seed.mldsa, context, f.msg, NULL), 0);
    assert_int_equal(mldsa_sign(second, f.seed.mldsa, context, f.msg, NULL), 0);
    assert_memory_equal(first, second, sizeof first);
    /* FIPS 204 algorithm 2: the deterministic variant is the one with 32 zeros. */
    assert_int_equal(mldsa_sign(second, f.seed.mldsa, context, f.msg, zeros), 0);
    assert_memory_equal(first, second, sizeof first);
    assert_int_equal(mldsa_sign(second, f.seed.mldsa, context, f.msg, ones), 0);
    assert_memory_not_equal(first, second, sizeof first);
    uint8_t pub[MLDSA_PUBLIC_LEN];
    memcpy(pub, sign_key_public(f.key)->mldsa, sizeof pub);
    assert_int_equal(mldsa_check(pub, context, f.msg, second), 0);
    /* The empty context is one of its own. */
    assert_int_equal(mldsa_sign(first, f.seed.mldsa, bytes_of(NULL, 0), f.msg, ones), 0);
    assert_int_equal(mldsa_check(pub, bytes_of(NULL, 0), f.msg, first), 0);
    assert_int_equal(mldsa_check(pub, context, f.msg, first), -EBADMSG);
    /* sign_make draws from the rng: a new signature each time. */
    uint8_t sig[SIGN_SIG_LEN];
    assert_int_equal(sign_make(f.key, CONTEXT, f.msg, &f.rng, sig), 0);
    assert_memory_not_equal(sig, f.sig, MLDSA_SIG_LEN);
}

static void derived_seeds(void **state)
{
    uint8_t secret[32] = {7}, want[64];
    struct sign_seed a, b;
    sign_seed_derive(&a, secret, "one");
    sign_seed_derive(&b, secret, "one");
    assert_memory_equal(&a, &b, sizeof a);
    hkdf256(want, sizeof want, bytes_of(NULL, 0), bytes_of(secret, 32), bytes_of_str("one"));
    assert_memory_equal(a.mldsa, want, 32);
    assert_memory_equal(a.ed25519, want + 32, 32);
    sign_seed_derive(&b, secret, "two");
    assert_memory_not_equal(a.mldsa, b.mldsa, 32);
    assert_memory_not_equal(a.ed25519, b.ed25519, 32);
    assert_memory_not_equal(f.seed.mldsa, f.seed.ed25519, 32);
}

static void node_ids(void **state)
{
    struct sign_public pub = *sign_key_public(f.key);
    uint8_t id[NODE_ID_LEN], want[NODE_ID_LEN];
    struct bytes parts[] = {bytes_of_str("warren node id v1"), bytes_of(pub.mldsa, MLDSA_PUBLIC_LEN),
                            bytes_of(pub.ed25519, ED25519_PUBLIC_LEN)};
    node_id_of(id, &pub);
    sha256(want, parts, 3);
    assert_memory_equal(id, want, sizeof id);
    pub.ed25519[31] ^= 1;
    node_id_of(want, &pub);
    assert_memory_not_equal(id, want, sizeof id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_and_checks, begin, end),
        cmocka_unit_test_setup_teardown(both_halves_are_needed, begin, end),
        cmocka_unit_test_setup_teardown(the_layout_is_as_documented, begin, end),
        cmocka_unit_test_setup_teardown(contexts_do_not_slide, begin, end),
        cmocka_unit_test_setup_teardown(context_lengths, begin, end),
        cmocka_unit_test_setup_teardown(hedged_by_the_given_chance, begin, end),
        cmocka_unit_test_setup_teardown(derived_seeds, begin, end),
        cmocka_unit_test_setup_teardown(node_ids, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
