/* AES-256-GCM and ChaCha20-Poly1305. */
#include "check.h"

#include <errno.h>

#include "crypto/aead_int.h"

static struct buf key, nonce, ad, tag, plain, sealed;
static struct buf *const all[] = {&key, &nonce, &ad, &tag, &plain, &sealed};

static int begin(void **state)
{
    for (size_t i = 0; i < COUNT(all); i++)
        buf_init(all[i], FIELD_CAP);
    return 0;
}

static int end(void **state)
{
    for (size_t i = 0; i < COUNT(all); i++)
        buf_done(all[i]);
    return 0;
}

static void seal_case(const struct aead_impl *impl, enum aead_alg alg)
{
    uint8_t got[AEAD_TAG_LEN];
    struct buf text;
    buf_init(&text, FIELD_CAP);
    assert_int_equal(buf_add(&text, buf_bytes(&plain)), 0);
    struct aead *a = aead_new_by(impl, alg, key.p);
    assert_int_equal(aead_seal(a, nonce.p, buf_bytes(&ad), text.p, text.n, got), 0);
    expect_bytes(buf_bytes(&text), buf_bytes(&sealed));
    expect_bytes(bytes_of(got, sizeof got), buf_bytes(&tag));
    aead_free(a);
    buf_done(&text);
}

static void open_case(const struct aead_impl *impl, enum aead_alg alg, bool genuine)
{
    struct buf text;
    buf_init(&text, FIELD_CAP);
    assert_int_equal(buf_add(&text, buf_bytes(&sealed)), 0);
    struct aead *a = aead_new_by(impl, alg, key.p);
    assert_int_equal(aead_open(a, nonce.p, buf_bytes(&ad), text.p, text.n, tag.p), genuine ? 0 : -EBADMSG);
    if (genuine)
        expect_bytes(buf_bytes(&text), buf_bytes(&plain));
    aead_free(a);
    buf_done(&text);
}

static bool file_case(const struct evp_file *f, enum aead_alg alg)
{
    const char *operation = evp_get(f, "Operation"), *result = evp_get(f, "Result");
    evp_bytes(&key, evp_get(f, "Key"));
    evp_bytes(&nonce, evp_get(f, "IV"));
    evp_bytes(&ad, evp_get(f, "AAD"));
    evp_bytes(&plain, evp_get(f, "Plaintext"));
    evp_bytes(&sealed, evp_get(f, "Ciphertext"));
    evp_bytes(&tag, evp_get(f, "Tag"));
    /* Other lengths are not in Warren's interface. */
    if (nonce.n != AEAD_NONCE_LEN || tag.n != AEAD_TAG_LEN || key.n != AEAD_KEY_LEN)
        return false;
    if (result && strcmp(result, "CIPHERFINAL_ERROR") != 0)
        return false;
    for (size_t i = 0; aead_impl_at(i); i++) {
        if (!aead_impl_at(i)->wanted(alg))
            continue;
        if (!result && (!operation || strcmp(operation, "ENCRYPT") == 0))
            seal_case(aead_impl_at(i), alg);
        if (!operation || strcmp(operation, "DECRYPT") == 0)
            open_case(aead_impl_at(i), alg, !result);
    }
    return true;
}

static void file(const char *name, const char *cipher, enum aead_alg alg)
{
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f)) {
        if (!evp_is(&f, "Cipher", cipher))
            continue;
        bool done = file_case(&f, alg);
        f.checked += done;
        f.passed_over += !done;
    }
    evp_close(&f, name);
}

static void files(void **state)
{
    file("evpciph_aes_common.txt", "aes-256-gcm", AEAD_AES256GCM);
    file("evpciph_chacha.txt", "chacha20-poly1305", AEAD_CHACHA20POLY1305);
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
