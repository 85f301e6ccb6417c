/* ML-KEM-1024: BoringSSL's and NIST's vectors. */
#include "check.h"

#include <errno.h>

#include "crypto/kem.h"

static struct buf a, b, c, d;

static int begin(void **state)
{
    struct buf *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < COUNT(all); i++)
        buf_init(all[i], FIELD_CAP);
    return 0;
}

static int end(void **state)
{
    struct buf *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < COUNT(all); i++)
        buf_done(all[i]);
    return 0;
}

static void keygen(const char *name)
{
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f)) {
        if (!evp_is(&f, "KeyGen", "ML-KEM-1024"))
            continue;
        uint8_t pub[KEM_PUBLIC_LEN], ct[KEM_CT_LEN], secret[KEM_SECRET_LEN], back[KEM_SECRET_LEN];
        evp_bytes(&a, evp_ctrl(&f, "hexseed"));
        evp_bytes(&b, evp_ctrl(&f, "hexpub"));
        evp_bytes(&c, evp_ctrl(&f, "hexpriv"));
        assert_int_equal(a.n, KEM_SEED_LEN);
        assert_int_equal(c.n, KEM_EXPANDED_LEN);
        assert_int_equal(kem_public(pub, a.p), 0);
        expect_bytes(bytes_of(pub, sizeof pub), buf_bytes(&b));
        /* The seed and the published private key are the same key. */
        assert_int_equal(kem_encaps(ct, secret, b.p, a.p), 0);
        assert_int_equal(kem_decaps_expanded(back, c.p, ct), 0);
        expect_bytes(bytes_of(back, sizeof back), bytes_of(secret, sizeof secret));
        assert_int_equal(kem_decaps(back, a.p, ct), 0);
        expect_bytes(bytes_of(back, sizeof back), bytes_of(secret, sizeof secret));
        ct[17] ^= 1;
        assert_int_equal(kem_decaps(secret, a.p, ct), 0);
        assert_int_equal(kem_decaps_expanded(back, c.p, ct), 0);
        expect_bytes(bytes_of(back, sizeof back), bytes_of(secret, sizeof secret));
        f.checked++;
    }
    evp_close(&f, name);
}

/* a: entropy, b: key, c: ciphertext, d: secret. False where the interface has no place for the case. */
static bool encaps_case(struct evp_file *f)
{
    uint8_t ct[KEM_CT_LEN], secret[KEM_SECRET_LEN];
    const char *result = evp_get(f, "Result");
    evp_bytes(&a, evp_get(f, "Entropy"));
    evp_bytes(&b, evp_get(f, "EncodedPublicKey"));
    if (a.n != KEM_RANDOM_LEN || b.n != KEM_PUBLIC_LEN)
        return false;
    if (result) {
        assert_string_equal(result, "TEST_PARSE_PUBLIC_KEY_ERROR");
        assert_int_equal(kem_encaps(ct, secret, b.p, a.p), -EBADMSG);
        return true;
    }
    evp_bytes(&c, evp_get(f, "Ciphertext"));
    evp_bytes(&d, evp_get(f, "Output"));
    assert_int_equal(kem_encaps(ct, secret, b.p, a.p), 0);
    expect_bytes(bytes_of(ct, sizeof ct), buf_bytes(&c));
    expect_bytes(bytes_of(secret, sizeof secret), buf_bytes(&d));
    return true;
}

/* a: key, b: ciphertext, c: secret */
static bool decaps_case(struct evp_file *f)
{
    uint8_t secret[KEM_SECRET_LEN];
    const char *result = evp_get(f, "Result");
    evp_bytes(&a, evp_get(f, "EncodedPrivateKey"));
    evp_bytes(&b, evp_get(f, "Input"));
    if (a.n != KEM_EXPANDED_LEN || b.n != KEM_CT_LEN)
        return false;
    if (result) {
        assert_string_equal(result, "TEST_PARSE_PRIVATE_KEY_ERROR");
        assert_int_equal(kem_decaps_expanded(secret, a.p, b.p), -EBADMSG);
        return true;
    }
    evp_bytes(&c, evp_get(f, "Output"));
    assert_int_equal(kem_decaps_expanded(secret, a.p, b.p), 0);
    expect_bytes(bytes_of(secret, sizeof secret), buf_bytes(&c));
    return true;
}

static void encaps_and_decaps(const char *name)
{
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f)) {
        if (!evp_is(&f, "Kem", "ML-KEM-1024"))
            continue;
        if (evp_get(&f, "EncodedPublicKey") ? encaps_case(&f) : decaps_case(&f))
            f.checked++;
        else
            f.passed_over++;
    }
    evp_close(&f, name);
}

static void files(void **state)
{
    keygen("evppkey_ml_kem_1024_keygen.txt");
    keygen("evppkey_ml_kem_keygen.txt");
    encaps_and_decaps("evppkey_ml_kem_1024_encap.txt");
    encaps_and_decaps("evppkey_ml_kem_1024_decap.txt");
    encaps_and_decaps("evppkey_ml_kem_encap_decap.txt");
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
