#include "crypto/aead_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>

#include "base/rng.h"

static const uint8_t key[AEAD_KEY_LEN] = "an AEAD key of 32 bytes, exactly";
static const uint8_t nonce[AEAD_NONCE_LEN] = "twelve bytes";

/* Each test of packets is done with each implementation that this machine has. */
static const struct aead_impl *impl;

static struct aead *key_of(enum aead_alg alg, const uint8_t k[AEAD_KEY_LEN])
{
    return aead_new_by(impl, alg, k);
}

static void seals_and_opens(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 64, 255, 1400, 9000};
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        struct aead *a = key_of((enum aead_alg)alg, key);
        assert_non_null(a);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t ad_len = 0; ad_len <= 33; ad_len += 11) {
                uint8_t plain[9000], text[9000], ad[33], tag[AEAD_TAG_LEN];
                memset(plain, 0x42, sizeof plain);
                memset(ad, 0x17, sizeof ad);
                memcpy(text, plain, sizeof text);
                size_t n = sizes[i];
                assert_int_equal(aead_seal(a, nonce, bytes_of(ad, ad_len), text, n, tag), 0);
                if (n >= 15)
                    assert_memory_not_equal(text, plain, n);
                assert_memory_equal(text + n, plain + n, sizeof text - n);
                assert_int_equal(aead_open(a, nonce, bytes_of(ad, ad_len), text, n, tag), 0);
                assert_memory_equal(text, plain, sizeof text);
            }
        aead_free(a);
    }
    aead_free(NULL);
}

enum { TEXT = 40, AD = 16, ALL = TEXT + AD + AEAD_TAG_LEN + AEAD_NONCE_LEN };

/* A packet with its nonce and associated data as one array, to turn over each bit of it. */
static int open_packet(struct aead *a, uint8_t p[ALL])
{
    return aead_open(a, p + TEXT + AD + AEAD_TAG_LEN, bytes_of(p + TEXT, AD), p, TEXT, p + TEXT + AD);
}

static void every_flipped_bit_is_refused(void **state)
{
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        struct aead *a = key_of((enum aead_alg)alg, key);
        uint8_t good[ALL], p[ALL], zeros[TEXT] = {0};
        memset(good, 0x33, sizeof good);
        memcpy(good + TEXT + AD + AEAD_TAG_LEN, nonce, AEAD_NONCE_LEN);
        assert_int_equal(aead_seal(a, nonce, bytes_of(good + TEXT, AD), good, TEXT, good + TEXT + AD), 0);
        for (size_t bit = 0; bit < 8 * sizeof p; bit++) {
            memcpy(p, good, sizeof p);
            p[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(open_packet(a, p), -EBADMSG);
            assert_memory_equal(p, zeros, TEXT);
        }
        assert_int_equal(ERR_peek_error(), 0);
        /* The object works on after the refusals. */
        memcpy(p, good, sizeof p);
        assert_int_equal(open_packet(a, p), 0);
        assert_int_equal(p[0], 0x33);
        aead_free(a);
    }
}

static void lengths_and_keys_count(void **state)
{
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        struct aead *a = key_of((enum aead_alg)alg, key);
        uint8_t other_key[AEAD_KEY_LEN], text[20], copy[20], tag[AEAD_TAG_LEN];
        memcpy(other_key, key, sizeof other_key);
        other_key[31] ^= 1;
        struct aead *b = key_of((enum aead_alg)alg, other_key);
        memset(text, 1, sizeof text);
        assert_int_equal(aead_seal(a, nonce, bytes_of("ad", 2), text, sizeof text, tag), 0);
        for (size_t n = 0; n < sizeof text; n++) {
            memcpy(copy, text, sizeof copy);
            assert_int_equal(aead_open(a, nonce, bytes_of("ad", 2), copy, n, tag), -EBADMSG);
        }
        memcpy(copy, text, sizeof copy);
        assert_int_equal(aead_open(a, nonce, bytes_of("a", 1), copy, sizeof copy, tag), -EBADMSG);
        memcpy(copy, text, sizeof copy);
        assert_int_equal(aead_open(b, nonce, bytes_of("ad", 2), copy, sizeof copy, tag), -EBADMSG);
        aead_free(b);
        aead_free(a);
    }
}

/* One object for many packets gives what a fresh one gives: nothing of a packet stays in it. */
static void nothing_stays_from_packet_to_packet(void **state)
{
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 5);
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        struct aead *kept = key_of((enum aead_alg)alg, key);
        for (int i = 0; i < 200; i++) {
            uint8_t n[AEAD_NONCE_LEN], ad[16], x[100], y[100], tx[AEAD_TAG_LEN], ty[AEAD_TAG_LEN];
            size_t len = rng_below(&rng, sizeof x + 1), ad_len = rng_below(&rng, sizeof ad + 1);
            rng_fill(&rng, n, sizeof n);
            rng_fill(&rng, ad, sizeof ad);
            rng_fill(&rng, x, sizeof x);
            memcpy(y, x, sizeof y);
            struct aead *fresh = key_of((enum aead_alg)alg, key);
            assert_int_equal(aead_seal(kept, n, bytes_of(ad, ad_len), x, len, tx), 0);
            assert_int_equal(aead_seal(fresh, n, bytes_of(ad, ad_len), y, len, ty), 0);
            assert_memory_equal(x, y, sizeof x);
            assert_memory_equal(tx, ty, sizeof tx);
            assert_int_equal(aead_open(i % 2 ? kept : fresh, n, bytes_of(ad, ad_len), x, len, tx), 0);
            aead_free(fresh);
        }
        aead_free(kept);
    }
}

/* Every length, from odd places, in place and from one place to another: the same bytes as OpenSSL's, and
 * none written beyond. */
static void all_give_the_same(void **state)
{
    enum { MOST = 2100, GUARD = 32 };
    static uint8_t plain[MOST], ad[64];
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 7);
    rng_fill(&rng, plain, sizeof plain);
    rng_fill(&rng, ad, sizeof ad);
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        struct aead *a = key_of((enum aead_alg)alg, key),
                    *b = aead_new_by(&aead_openssl, (enum aead_alg)alg, key);
        for (size_t n = 0; n <= MOST; n++) {
            uint8_t want[MOST], want_tag[AEAD_TAG_LEN], in_place[MOST + GUARD], apart[MOST + GUARD],
                tag[AEAD_TAG_LEN];
            uint8_t *p = in_place + n % 17, *q = apart + n % 13;
            struct bytes with = bytes_of(ad, n % (sizeof ad + 1));
            memset(in_place, 0x77, sizeof in_place);
            memset(apart, 0x77, sizeof apart);
            memcpy(want, plain, n);
            memcpy(p, plain, n);
            assert_int_equal(aead_seal(b, nonce, with, want, n, want_tag), 0);
            assert_int_equal(aead_seal(a, nonce, with, p, n, tag), 0);
            assert_memory_equal(p, want, n);
            assert_memory_equal(tag, want_tag, sizeof tag);
            memset(tag, 0, sizeof tag);
            assert_int_equal(aead_seal_to(a, nonce, with, plain, n, q, tag), 0);
            assert_memory_equal(q, want, n);
            assert_memory_equal(tag, want_tag, sizeof tag);
            if (p > in_place)
                assert_int_equal(p[-1], 0x77);
            assert_int_equal(p[n], 0x77);
            assert_int_equal(q[n], 0x77);
            assert_int_equal(aead_open(a, nonce, with, p, n, want_tag), 0);
            assert_memory_equal(p, plain, n);
            assert_int_equal(p[n], 0x77);
            memset(apart, 0x77, sizeof apart);
            assert_int_equal(aead_open_to(a, nonce, with, want, n, q, want_tag), 0);
            assert_memory_equal(q, plain, n);
            if (q > apart)
                assert_int_equal(q[-1], 0x77);
            assert_int_equal(q[n], 0x77);
            want_tag[n % AEAD_TAG_LEN] ^= 1;
            assert_int_equal(aead_open_to(a, nonce, with, want, n, q, want_tag), -EBADMSG);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(q[i], 0);
            if (q > apart)
                assert_int_equal(q[-1], 0x77);
            assert_int_equal(q[n], 0x77);
        }
        aead_free(a);
        aead_free(b);
    }
}

/* Keys made by one thread and used by another, each with its own. */
static void *seal_many(void *arg)
{
    struct aead *const *a = arg;
    uint8_t text[1400], tag[AEAD_TAG_LEN];
    for (int i = 0; i < 200; i++)
        for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
            memset(text, i, sizeof text);
            if (aead_seal(a[alg], nonce, bytes_of("ad", 2), text, sizeof text, tag) < 0 ||
                aead_open(a[alg], nonce, bytes_of("ad", 2), text, sizeof text, tag) < 0 ||
                text[7] != (uint8_t)i)
                return arg;
        }
    return NULL;
}

static void threads_do_not_meet(void **state)
{
    enum { THREADS = 4 };
    struct aead *a[THREADS][AEAD_ALG_COUNT];
    pthread_t t[THREADS];
    void *failed;
    for (int i = 0; i < THREADS; i++) {
        for (int alg = 0; alg < AEAD_ALG_COUNT; alg++)
            assert_non_null(a[i][alg] = key_of((enum aead_alg)alg, key));
        assert_int_equal(pthread_create(&t[i], NULL, seal_many, a[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(t[i], &failed), 0);
        assert_null(failed);
        for (int alg = 0; alg < AEAD_ALG_COUNT; alg++)
            aead_free(a[i][alg]);
    }
}

static void names(void **state)
{
    assert_string_equal(aead_name(AEAD_AES256GCM), "aes-256-gcm");
    assert_string_equal(aead_name(AEAD_CHACHA20POLY1305), "chacha20-poly1305");
    assert_string_equal(aead_name(AEAD_ALG_COUNT), "unknown");
    assert_null(aead_new(AEAD_ALG_COUNT, key));
    /* A question with a constant answer per machine. */
    assert_int_equal(aead_have_aes(), aead_have_aes());
}

/* ---- The measurement, on a clock that a script moves: by how much at each reading, then by nothing. */

static const usec_t *steps;
static size_t step_count, step_at;
static usec_t script_now;

static usec_t script_clock(void)
{
    script_now += step_at < step_count ? steps[step_at] : 0;
    step_at++;
    return script_now;
}

static int measure(const usec_t *script, size_t n, struct aead_speed *s)
{
    steps = script;
    step_count = n;
    step_at = 0;
    script_now = SEC;
    memset(s, 0x55, sizeof *s);
    return aead_measure(script_clock, s);
}

/* The readings: one at the start; of each round one before and one after 1, 2, 4, ... packets; one between
 * rounds. */
static void the_best_round_counts(void **state)
{
    static const usec_t script[] = {
        0,                                      /* the start */
        0, 150, 0,   900,                       /* 150 us for one packet of AES, 900 of ChaCha20 */
        0, 0,   30,  90,  0,   0, 0, 0, 0, 150, /* 120 us for 1 + 2 packets; 150 for 1 + 2 + 4 + 8 + 16 */
        0, 0,   500, 0,   400,                  /* disturbed */
    };
    struct aead_speed s;
    assert_int_equal(measure(script, sizeof script / sizeof *script, &s), 0);
    assert_int_equal(s.ns[AEAD_AES256GCM], 120000 / 3);
    assert_int_equal(s.ns[AEAD_CHACHA20POLY1305], 150000 / 31);
    assert_int_equal(step_at, sizeof script / sizeof *script + 1); /* 2 ms have passed: no further round */
}

static void a_slow_machine_is_asked_once(void **state)
{
    static const usec_t script[] = {0, 0, 1500, 0, 700};
    struct aead_speed s;
    assert_int_equal(measure(script, 5, &s), 0);
    assert_int_equal(step_at, 6);
    assert_int_equal(s.ns[AEAD_AES256GCM], 1500000);
    assert_int_equal(s.ns[AEAD_CHACHA20POLY1305], 700000);
}

static void a_fast_machine_is_asked_eight_times(void **state)
{
    usec_t script[5 * 8];
    struct aead_speed s;
    for (size_t i = 0; i < 5 * 8; i++)
        script[i] = i % 5 == 2 || i % 5 == 4 ? 110 : 0;
    assert_int_equal(measure(script, 5 * 8, &s), 0);
    assert_int_equal(step_at, 5 * 8);
    assert_int_equal(s.ns[AEAD_AES256GCM], 110000);
}

static void a_clock_that_stands_measures_nothing(void **state)
{
    static const usec_t late[] = {0, 0, 100};
    struct aead_speed s;
    assert_int_equal(measure(NULL, 0, &s), -EIO);
    assert_int_equal(s.ns[0] | s.ns[1], 0);
    assert_int_equal(measure(late, 3, &s), -EIO);
    assert_int_equal(s.ns[0] | s.ns[1], 0);
}

static void the_faster_one_is_preferred(void **state)
{
    static const struct {
        uint64_t aes, chacha;
        bool want;
    } rows[] = {
        {300, 900, true}, {900, 300, false}, {500, 500, true}, {501, 500, false}, {1, UINT64_MAX, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct aead_speed s = {{rows[i].aes, rows[i].chacha}};
        assert_int_equal(aead_prefers_aes(&s), rows[i].want);
    }
    assert_int_equal(aead_prefers_aes(&(struct aead_speed){{0}}), aead_have_aes());
}

/* Which one makes a key: the first that is wanted, and always one. */
static void one_is_preferred(void **state)
{
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        size_t i = 0;
        while (!aead_impl_at(i)->wanted((enum aead_alg)alg))
            i++;
        struct aead *a = aead_new((enum aead_alg)alg, key);
        assert_ptr_equal(a->impl, aead_impl_at(i));
        aead_free(a);
    }
    size_t last = 0;
    while (aead_impl_at(last + 1))
        last++;
    assert_ptr_equal(aead_impl_at(last), &aead_openssl);
}

static int by_openssl(void **state)
{
    impl = &aead_openssl;
    return 0;
}

/* What keys are made by here, which may be OpenSSL again. */
static int by_the_preferred(void **state)
{
    size_t i = 0;
    while (!aead_impl_at(i)->wanted(AEAD_AES256GCM) || !aead_impl_at(i)->wanted(AEAD_CHACHA20POLY1305))
        i++;
    impl = aead_impl_at(i);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(seals_and_opens, by_openssl),
        cmocka_unit_test_setup(seals_and_opens, by_the_preferred),
        cmocka_unit_test_setup(every_flipped_bit_is_refused, by_openssl),
        cmocka_unit_test_setup(every_flipped_bit_is_refused, by_the_preferred),
        cmocka_unit_test_setup(lengths_and_keys_count, by_openssl),
        cmocka_unit_test_setup(lengths_and_keys_count, by_the_preferred),
        cmocka_unit_test_setup(nothing_stays_from_packet_to_packet, by_openssl),
        cmocka_unit_test_setup(nothing_stays_from_packet_to_packet, by_the_preferred),
        cmocka_unit_test_setup(all_give_the_same, by_openssl),
        cmocka_unit_test_setup(all_give_the_same, by_the_preferred),
        cmocka_unit_test_setup(threads_do_not_meet, by_openssl),
        cmocka_unit_test_setup(threads_do_not_meet, by_the_preferred),
        cmocka_unit_test(one_is_preferred),
        cmocka_unit_test(names),
        cmocka_unit_test(the_best_round_counts),
        cmocka_unit_test(a_slow_machine_is_asked_once),
        cmocka_unit_test(a_fast_machine_is_asked_eight_times),
        cmocka_unit_test(a_clock_that_stands_measures_nothing),
        cmocka_unit_test(the_faster_one_is_preferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
