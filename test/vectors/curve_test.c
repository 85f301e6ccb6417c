/* X25519 and Ed25519: RFC 7748, RFC 8032 and Wycheproof's edge cases. */
#include "check.h"

#include <errno.h>

#include "crypto/dh.h"
#include "crypto/sign.h"

static struct buf msg, want;

static int begin(void **state)
{
    buf_init(&msg, FIELD_CAP);
    buf_init(&want, FIELD_CAP);
    return 0;
}

static int end(void **state)
{
    buf_done(&msg);
    buf_done(&want);
    return 0;
}

static bool derive_case(const struct evp_file *f)
{
    const struct evp_key *ours = evp_key(f, evp_get(f, "Derive"), "X25519", 32);
    const struct evp_key *theirs = evp_key(f, evp_get(f, "PeerKey"), "X25519", 32);
    uint8_t out[32];
    if (!ours || !theirs || evp_get(f, "Result"))
        return false;
    evp_bytes(&want, evp_get(f, "SharedSecret"));
    assert_int_equal(x25519(out, ours->raw.p, theirs->raw.p), 0);
    expect_bytes(bytes_of(out, 32), buf_bytes(&want));
    return true;
}

static bool pair_case(const struct evp_file *f)
{
    char name[64];
    snprintf(name, sizeof name, "%s", evp_get(f, "PrivPubKeyPair"));
    char *second = strchr(name, ':');
    assert_non_null(second);
    *second++ = 0;
    static const struct {
        const char *algorithm;
        int (*public_of)(uint8_t *out, const uint8_t *in);
    } kinds[] = {{"X25519", x25519_public}, {"ED25519", ed25519_public}};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct evp_key *secret = evp_key(f, name, kinds[i].algorithm, 32);
        const struct evp_key *pub = evp_key(f, second, kinds[i].algorithm, 32);
        uint8_t out[32];
        if (!secret || !pub)
            continue;
        assert_int_equal(kinds[i].public_of(out, secret->raw.p), 0);
        assert_int_equal(memcmp(out, pub->raw.p, 32) != 0, evp_is(f, "Result", "KEYPAIR_MISMATCH"));
        return true;
    }
    return false;
}

static bool signature_case(const struct evp_file *f, bool make)
{
    const struct evp_key *key = evp_key(f, evp_get(f, "Key"), "ED25519", 32);
    const char *instance = evp_ctrl(f, "instance");
    const char *result = evp_get(f, "Result");
    uint8_t sig[64];
    /* Plain Ed25519 only: Warren has a context of its own. */
    if (!key || (instance && strcmp(instance, "Ed25519") != 0) ||
        (result && (make || strcmp(result, "VERIFY_ERROR"))))
        return false;
    evp_bytes(&msg, evp_get(f, "Input"));
    evp_bytes(&want, evp_get(f, "Output"));
    if (want.n != 64)
        return false;
    if (make) {
        uint8_t pub[32];
        assert_int_equal(ed25519_sign(sig, key->raw.p, buf_bytes(&msg)), 0);
        expect_bytes(bytes_of(sig, 64), buf_bytes(&want));
        assert_int_equal(ed25519_public(pub, key->raw.p), 0);
        assert_int_equal(ed25519_check(pub, buf_bytes(&msg), want.p), 0);
    } else {
        assert_int_equal(ed25519_check(key->raw.p, buf_bytes(&msg), want.p), result ? -EBADMSG : 0);
    }
    return true;
}

static void files(void **state)
{
    static const char name[] = "evppkey_ecx.txt";
    unsigned derived = 0, pairs = 0, made = 0, verified = 0;
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f)) {
        bool done;
        if (evp_get(&f, "Derive"))
            derived += done = derive_case(&f);
        else if (evp_get(&f, "PrivPubKeyPair"))
            pairs += done = pair_case(&f);
        else if (evp_get(&f, "OneShotDigestSign"))
            made += done = signature_case(&f, true);
        else if (evp_get(&f, "OneShotDigestVerify"))
            verified += done = signature_case(&f, false);
        else
            continue;
        f.checked += done;
        f.passed_over += !done;
    }
    printf("# %u shared secrets, %u key pairs, %u signatures made, %u verified\n", derived, pairs, made,
           verified);
    evp_close(&f, name);
    assert_true(derived > 0 && pairs > 0 && made > 0 && verified > 0);
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
