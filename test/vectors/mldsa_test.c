/* ML-DSA-87: NIST's and Wycheproof's vectors. */
#include "check.h"

#include <errno.h>

#include "crypto/sign.h"

static struct buf context, msg, want, random_bytes;

static int begin(void **state)
{
    struct buf *all[] = {&context, &msg, &want, &random_bytes};
    for (size_t i = 0; i < COUNT(all); i++)
        buf_init(all[i], FIELD_CAP);
    return 0;
}

static int end(void **state)
{
    struct buf *all[] = {&context, &msg, &want, &random_bytes};
    for (size_t i = 0; i < COUNT(all); i++)
        buf_done(all[i]);
    return 0;
}

static void keygen(const char *name)
{
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f)) {
        if (!evp_is(&f, "KeyGen", "ML-DSA-87"))
            continue;
        uint8_t pub[MLDSA_PUBLIC_LEN], a[MLDSA_SIG_LEN], b[MLDSA_SIG_LEN];
        struct bytes none = bytes_of(NULL, 0), text = bytes_of_str(name);
        evp_bytes(&msg, evp_ctrl(&f, "hexseed"));
        assert_int_equal(msg.n, MLDSA_SEED_LEN);
        evp_bytes(&want, evp_ctrl(&f, "hexpub"));
        assert_int_equal(mldsa_public(pub, msg.p), 0);
        expect_bytes(bytes_of(pub, sizeof pub), buf_bytes(&want));
        /* The seed and the published private key are the same key. */
        evp_bytes(&want, evp_ctrl(&f, "hexpriv"));
        assert_int_equal(want.n, MLDSA_EXPANDED_LEN);
        assert_int_equal(mldsa_sign(a, msg.p, none, text, NULL), 0);
        assert_int_equal(mldsa_sign_expanded(b, want.p, none, text, NULL), 0);
        expect_bytes(bytes_of(a, sizeof a), bytes_of(b, sizeof b));
        assert_int_equal(mldsa_check(pub, none, text, a), 0);
        f.checked++;
    }
    evp_close(&f, name);
}

/* Whether the case signs a message as FIPS 204 section 5.2 does (not a hash given from outside, nor a message
 * whose encoding the caller has made): all that Warren does. */
static bool pure(const struct evp_file *f)
{
    const char *mu = evp_ctrl(f, "mu"), *encoding = evp_ctrl(f, "message-encoding");
    return (!mu || strcmp(mu, "0") == 0) && (!encoding || strcmp(encoding, "1") == 0);
}

static void read_case(const struct evp_file *f)
{
    evp_bytes(&context, evp_ctrl(f, "hexcontext-string"));
    evp_bytes(&msg, evp_get(f, "Input"));
    evp_bytes(&want, evp_get(f, "Output"));
    evp_bytes(&random_bytes, evp_ctrl(f, "hextest-entropy"));
}

static const struct evp_key *key_of(const struct evp_file *f, const char *field, size_t len)
{
    const char *value = evp_get(f, field);
    return value ? evp_key(f, strchr(value, ':') + 1, "ML-DSA-87", len) : NULL;
}

static bool sign_case(const struct evp_file *f)
{
    uint8_t sig[MLDSA_SIG_LEN];
    const struct evp_key *key = key_of(f, "Sign-Message", MLDSA_EXPANDED_LEN);
    const char *result = evp_get(f, "Result");
    read_case(f);
    bool deterministic = evp_ctrl(f, "deterministic") && strcmp(evp_ctrl(f, "deterministic"), "1") == 0;
    if (!key || !pure(f) || (!deterministic && random_bytes.n != 32))
        return false;
    int rc = mldsa_sign_expanded(sig, key->raw.p, buf_bytes(&context), buf_bytes(&msg),
                                 deterministic ? NULL : random_bytes.p);
    if (result) {
        /* The only one: a context of more than 255 bytes. */
        assert_string_equal(result, "PKEY_CTRL_ERROR");
        assert_int_equal(rc, -EIO);
    } else {
        assert_int_equal(rc, 0);
        expect_bytes(bytes_of(sig, sizeof sig), buf_bytes(&want));
    }
    return true;
}

static bool check_case(const struct evp_file *f)
{
    const struct evp_key *key = key_of(f, "Verify-Message-Public", MLDSA_PUBLIC_LEN);
    read_case(f);
    if (!key || !pure(f) || want.n != MLDSA_SIG_LEN)
        return false;
    int rc = mldsa_check(key->raw.p, buf_bytes(&context), buf_bytes(&msg), want.p);
    assert_int_equal(rc, evp_get(f, "Result") ? -EBADMSG : 0);
    return true;
}

/* A private key that cannot be one. */
static bool bad_key_case(const struct evp_file *f)
{
    uint8_t sig[MLDSA_SIG_LEN];
    evp_bytes(&want, evp_ctrl(f, "hexpriv"));
    if (want.n != MLDSA_EXPANDED_LEN || !evp_is(f, "Result", "KEY_FROMDATA_ERROR"))
        return false;
    assert_int_equal(mldsa_sign_expanded(sig, want.p, bytes_of(NULL, 0), bytes_of_str("x"), NULL), -EBADMSG);
    return true;
}

static bool is_87(const struct evp_file *f, const char *field)
{
    const char *value = evp_get(f, field);
    return value && strncmp(value, "ML-DSA-87", 9) == 0;
}

static void signatures(const char *name)
{
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f)) {
        bool done;
        if (is_87(&f, "Sign-Message"))
            done = sign_case(&f);
        else if (is_87(&f, "Verify-Message-Public"))
            done = check_case(&f);
        else if (is_87(&f, "KeyFromData"))
            done = bad_key_case(&f);
        else
            continue;
        f.checked += done;
        f.passed_over += !done;
    }
    evp_close(&f, name);
}

static void files(void **state)
{
    keygen("evppkey_ml_dsa_keygen.txt");
    signatures("evppkey_ml_dsa_siggen.txt");
    signatures("evppkey_ml_dsa_sigver.txt");
    signatures("evppkey_ml_dsa_87_wycheproof_sign.txt");
    signatures("evppkey_ml_dsa_87_wycheproof_verify.txt");
}

int main(void)
{
    if (files_missing())
        return 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
