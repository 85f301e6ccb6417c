/* SHA-256, SHA-384, HMAC and HKDF. */
#include "check.h"

#include <stdlib.h>

#include "crypto/kdf.h"

static struct buf a, b, c, want;
static struct buf *const all[] = {&a, &b, &c, &want};

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

static const struct {
    const char *name;
    size_t len;
    void (*hash)(uint8_t *out, const struct bytes *parts, size_t count);
    void (*hmac)(uint8_t *out, struct bytes key, const struct bytes *parts, size_t count);
} kinds[] = {{"SHA256", SHA256_LEN, sha256, hmac_sha256}, {"SHA384", SHA384_LEN, sha384, hmac_sha384}};

static unsigned long number(const char *value)
{
    return value ? strtoul(value, NULL, 10) : 1;
}

/* `Input`, followed by how often it is repeated, possibly several times in one stanza. */
static void read_repeated(const struct evp_file *f)
{
    struct buf one;
    buf_init(&one, FIELD_CAP);
    buf_clear(&a);
    for (size_t i = 0; i < f->field_count; i++) {
        unsigned long times = 1;
        if (strcmp(f->fields[i].name, "Input") != 0)
            continue;
        for (size_t j = i + 1; j < f->field_count && strcmp(f->fields[j].name, "Input") != 0; j++)
            if (strcmp(f->fields[j].name, "Ncopy") == 0 || strcmp(f->fields[j].name, "Count") == 0)
                times *= number(f->fields[j].value);
        evp_bytes(&one, f->fields[i].value);
        for (unsigned long t = 0; t < times; t++)
            assert_int_equal(buf_add(&a, buf_bytes(&one)), 0);
    }
    buf_done(&one);
}

static bool digest_case(const struct evp_file *f, size_t kind)
{
    uint8_t out[SHA384_LEN];
    if (evp_get(f, "Result") || !evp_get(f, "Output"))
        return false;
    read_repeated(f);
    evp_bytes(&want, evp_get(f, "Output"));
    struct bytes part = buf_bytes(&a);
    kinds[kind].hash(out, &part, 1);
    expect_bytes(bytes_of(out, kinds[kind].len), buf_bytes(&want));
    return true;
}

static bool hmac_case(const struct evp_file *f, size_t kind)
{
    uint8_t out[SHA384_LEN];
    if (evp_get(f, "Result") || !evp_is(f, "MAC", "HMAC"))
        return false;
    evp_bytes(&a, evp_get(f, "Input"));
    evp_bytes(&b, evp_get(f, "Key"));
    evp_bytes(&want, evp_get(f, "Output"));
    struct bytes part = buf_bytes(&a);
    kinds[kind].hmac(out, buf_bytes(&b), &part, 1);
    expect_bytes(bytes_of(out, kinds[kind].len), buf_bytes(&want));
    return true;
}

static void by_kind(const char *name, const char *field, bool (*check)(const struct evp_file *f, size_t kind))
{
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f))
        for (size_t k = 0; k < COUNT(kinds); k++)
            if (evp_is(&f, field, kinds[k].name)) {
                bool done = check(&f, k);
                f.checked += done;
                f.passed_over += !done;
            }
    evp_close(&f, name);
}

static bool hkdf_case(const struct evp_file *f)
{
    const char *digest = evp_ctrl(f, "digest") ? evp_ctrl(f, "digest") : evp_ctrl(f, "md");
    const char *mode = evp_ctrl(f, "mode");
    if (evp_get(f, "Result") || !digest || strcmp(digest, "SHA256") != 0)
        return false;
    evp_bytes(&a, evp_ctrl(f, "hexkey"));
    evp_bytes(&b, evp_ctrl(f, "hexsalt"));
    evp_bytes(&c, evp_ctrl(f, "hexinfo"));
    evp_bytes(&want, evp_get(f, "Output"));
    uint8_t out[256];
    struct bytes ikm = buf_bytes(&a);
    if (mode && strcmp(mode, "EXPAND_ONLY") == 0)
        return false; /* not a step of its own for SHA-256 */
    if (mode && strcmp(mode, "EXTRACT_ONLY") == 0)
        hmac_sha256(out, buf_bytes(&b), &ikm, 1);
    else
        hkdf256(out, want.n, buf_bytes(&b), ikm, buf_bytes(&c));
    expect_bytes(bytes_of(out, want.n), buf_bytes(&want));
    return true;
}

static void hkdf(const char *name, const char *field)
{
    struct evp_file f;
    evp_open(&f, name);
    while (evp_next(&f)) {
        if (!evp_is(&f, field, "HKDF"))
            continue;
        bool done = hkdf_case(&f);
        f.checked += done;
        f.passed_over += !done;
    }
    evp_close(&f, name);
}

static void files(void **state)
{
    by_kind("evpmd_sha.txt", "Digest", digest_case);
    by_kind("evpmac_common.txt", "Algorithm", hmac_case);
    hkdf("evpkdf_hkdf.txt", "KDF");
    hkdf("evppkey_kdf_hkdf.txt", "PKEYKDF");
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
