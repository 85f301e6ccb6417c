/* A few published vectors of everything, in this source: for machines where the files of OpenSSL's source
 * package are not at hand, and so that no file can make all checks vanish. */
#include "check.h"

#include <errno.h>

#include "crypto/aead_int.h"
#include "crypto/dh.h"
#include "crypto/kdf.h"
#include "crypto/kem.h"
#include "crypto/sign.h"

static struct buf a, b, c, d, e, want;
static struct buf *const all[] = {&a, &b, &c, &d, &e, &want};

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

/* From one seed through all operations. The figures are those of @noble/post-quantum 0.7.1, another
 * implementation. */
static void mlkem1024(void **state)
{
    uint8_t seed[KEM_SEED_LEN], random[KEM_RANDOM_LEN], pub[KEM_PUBLIC_LEN], ct[KEM_CT_LEN];
    uint8_t secret[KEM_SECRET_LEN];
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)(200 + i);
    assert_int_equal(kem_public(pub, seed), 0);
    expect_sha256(bytes_of(pub, sizeof pub),
                  "c7b8fa0aa471d5ae18922d6ccad5b31e1d84f92ae723abfd13747018740a8530");
    assert_int_equal(kem_encaps(ct, secret, pub, random), 0);
    expect_sha256(bytes_of(ct, sizeof ct),
                  "a4eeb0b724b940fb875baa395142d7d428e2259926160382548a9ecb1854650e");
    const char *agreed = "7407d87bcf6e6ecd0e8454361d1ce4d05d779dd368fa67ef06c790a52bfd3b05";
    expect_hex(bytes_of(secret, sizeof secret), agreed);
    assert_int_equal(kem_decaps(secret, seed, ct), 0);
    expect_hex(bytes_of(secret, sizeof secret), agreed);
    ct[0] ^= 1;
    assert_int_equal(kem_decaps(secret, seed, ct), 0);
    expect_hex(bytes_of(secret, sizeof secret),
               "baa8595a9dbc3596aa46c712d43a8920fc75060ee32f2f100b6bb20b70190e5a");
}

/* The figures are those of @noble/post-quantum 0.7.1, another implementation. */
static void mldsa87(void **state)
{
    uint8_t seed[MLDSA_SEED_LEN], rnd[32], pub[MLDSA_PUBLIC_LEN], sig[MLDSA_SIG_LEN];
    for (size_t i = 0; i < sizeof seed; i++) {
        seed[i] = (uint8_t)i;
        rnd[i] = (uint8_t)(255 - i);
    }
    struct bytes ctx = bytes_of_str("vector"), text = bytes_of_str("Warren speaks");
    assert_int_equal(mldsa_public(pub, seed), 0);
    expect_sha256(bytes_of(pub, sizeof pub),
                  "91dc389cfaa01470b7f66eee45a4ae9026d154817c754dfe22298b3fa241ffcd");
    const struct {
        const uint8_t *random;
        const char *hash;
    } cases[] = {{NULL, "b8c3322a8334b33591272d20ab3032f6cd7db6aacf783188b6ae8c117eadd58c"},
                 {rnd, "93b7f98257a17ecbe8d8edcd54618735d5ce8d0c8470dc2e57d69624756b54c9"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(mldsa_sign(sig, seed, ctx, text, cases[i].random), 0);
        expect_sha256(bytes_of(sig, sizeof sig), cases[i].hash);
        assert_int_equal(mldsa_check(pub, ctx, text, sig), 0);
        sig[i] ^= 1;
        assert_int_equal(mldsa_check(pub, ctx, text, sig), -EBADMSG);
    }
}

/* RFC 7748 section 6.1. */
static void x25519_rfc7748(void **state)
{
    uint8_t alice[32], bob[32], pub[32], shared[32];
    from_hex(alice, 32, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    from_hex(bob, 32, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    const char *agreed = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    assert_int_equal(x25519_public(pub, alice), 0);
    expect_hex(bytes_of(pub, 32), "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    assert_int_equal(x25519(shared, bob, pub), 0);
    expect_hex(bytes_of(shared, 32), agreed);
    assert_int_equal(x25519_public(pub, bob), 0);
    expect_hex(bytes_of(pub, 32), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    assert_int_equal(x25519(shared, alice, pub), 0);
    expect_hex(bytes_of(shared, 32), agreed);
}

/* RFC 8032 section 7.1, tests 1 to 3. */
static void ed25519_rfc8032(void **state)
{
    static const struct {
        const char *seed, *pub, *msg, *sig;
    } cases[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
         "387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t seed[32], pub[32], text[2], sig[64];
        from_hex(seed, 32, cases[i].seed);
        struct bytes m = from_hex(text, sizeof text, cases[i].msg);
        assert_int_equal(ed25519_public(pub, seed), 0);
        expect_hex(bytes_of(pub, 32), cases[i].pub);
        assert_int_equal(ed25519_sign(sig, seed, m), 0);
        expect_hex(bytes_of(sig, 64), cases[i].sig);
        assert_int_equal(ed25519_check(pub, m, sig), 0);
        sig[63] ^= 0x20;
        assert_int_equal(ed25519_check(pub, m, sig), -EBADMSG);
    }
}

/* RFC 8439 section 2.8.2, and test case 16 of the GCM specification (McGrew, Viega). */
static void aead(void **state)
{
    static const struct {
        enum aead_alg alg;
        const char *key, *nonce, *ad, *plain, *sealed, *tag;
    } cases[] = {
        {AEAD_CHACHA20POLY1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
         "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
         "\"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
         "sunscreen "
         "would be it.\"",
         "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
         "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
         "3ff4def08e4b7a9de576d26586cec64b6116",
         "1ae10b594f09e26a7e902ecbd0600691"},
        {AEAD_AES256GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
         "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
         "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
         "b16aedf5aa0de657ba637b39",
         "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
         "c5f61e6393ba7a0abcc9f662",
         "76fc6ece0f4e1768cddf8853bb2d551b"},
    };
    for (size_t k = 0; k < 2 * COUNT(cases); k++) {
        /* by OpenSSL, which has both, and by what this machine prefers */
        size_t i = k / 2;
        uint8_t tag[AEAD_TAG_LEN];
        evp_bytes(&a, cases[i].key);
        evp_bytes(&b, cases[i].nonce);
        evp_bytes(&c, cases[i].ad);
        evp_bytes(&d, cases[i].plain);
        evp_bytes(&e, cases[i].plain);
        evp_bytes(&want, cases[i].sealed);
        struct aead *key =
            k % 2 ? aead_new(cases[i].alg, a.p) : aead_new_by(&aead_openssl, cases[i].alg, a.p);
        assert_int_equal(aead_seal(key, b.p, buf_bytes(&c), d.p, d.n, tag), 0);
        expect_bytes(buf_bytes(&d), buf_bytes(&want));
        expect_hex(bytes_of(tag, sizeof tag), cases[i].tag);
        assert_int_equal(aead_open(key, b.p, buf_bytes(&c), d.p, d.n, tag), 0);
        expect_bytes(buf_bytes(&d), buf_bytes(&e));
        tag[15] ^= 1;
        assert_int_equal(aead_open(key, b.p, buf_bytes(&c), want.p, want.n, tag), -EBADMSG);
        aead_free(key);
    }
}

/* HKDF with SHA-384: C2SP/wycheproof, testvectors_v1/hkdf_sha384_test.json, tcId 1, 12 and 15. OpenSSL's
 * files have none. */
static void hkdf384(void **state)
{
    static const struct {
        const char *ikm, *salt, *info, *okm;
    } cases[] = {
        {"24aeff2645e3e0f5494a9a102778c43a", "", "", "4b7045423d9156424b0b85d95a7d602fba3924b1"},
        {"7a00817689a3d79001825a864c69c120", "08bc01c053a6406c7c4a667c9b9b3894",
         "967ccd75395be6e96a67759f070487c9e2107791",
         "bd02e16b6024f2c3b752d1c1d3047583697731915fbbb34418f479b0c9bf84a86bd8e715eca198da8f9b39b25a1229c3"
         "11853f862340cdefe46ddf41dcf256d9"},
        {"63984079a2540d0bba5d2700642104c6", "70b2a476c9a80e52352b503901a7afea41c186bdc872d5053448769299e8",
         "",
         "a4ef89a8da9cf7ad0d3d6e0888d366701326a3b8a8525221acc64f983be99fce0ca9773b35e6ddd329da3377ca0802f1"
         "8c8061039f9b42b40a1c2a91ea458d24"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t prk[SHA384_LEN], okm[64];
        evp_bytes(&a, cases[i].ikm);
        evp_bytes(&b, cases[i].salt);
        evp_bytes(&c, cases[i].info);
        evp_bytes(&want, cases[i].okm);
        hkdf384_extract(prk, buf_bytes(&b), buf_bytes(&a));
        hkdf384_expand(okm, want.n, prk, buf_bytes(&c));
        expect_bytes(bytes_of(okm, want.n), buf_bytes(&want));
    }
}

/* RFC 5869 A.1, RFC 4231 case 2 and FIPS 180-4's "abc". */
static void hashes(void **state)
{
    uint8_t okm[42], mac[SHA384_LEN];
    struct bytes abc = bytes_of_str("abc"), text = bytes_of_str("what do ya want for nothing?");
    sha256(mac, &abc, 1);
    expect_hex(bytes_of(mac, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha384(mac, &abc, 1);
    expect_hex(bytes_of(mac, 48),
               "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc23"
               "58baeca134c825a7");
    hmac_sha384(mac, bytes_of_str("Jefe"), &text, 1);
    expect_hex(bytes_of(mac, 48),
               "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c7"
               "8b3239ecfab21649");
    evp_bytes(&a, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    evp_bytes(&b, "000102030405060708090a0b0c");
    evp_bytes(&c, "f0f1f2f3f4f5f6f7f8f9");
    hkdf256(okm, sizeof okm, buf_bytes(&b), buf_bytes(&a), buf_bytes(&c));
    expect_hex(bytes_of(okm, sizeof okm),
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlkem1024),
        cmocka_unit_test(mldsa87),
        cmocka_unit_test(x25519_rfc7748),
        cmocka_unit_test(ed25519_rfc8032),
        cmocka_unit_test_setup_teardown(aead, begin, end),
        cmocka_unit_test_setup_teardown(hkdf384, begin, end),
        cmocka_unit_test_setup_teardown(hashes, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
