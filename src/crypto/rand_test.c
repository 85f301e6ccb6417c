#include "crypto/rand.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/crypto.h>
#include <openssl/provider.h>

#include "crypto/init.h"

static void no_repeats_and_no_gaps(void **state)
{
    struct rng r = rng_system();
    uint8_t a[4096], b[4096];
    int seen[256] = {0};
    memset(a, 0, sizeof a);
    rng_fill(&r, a, sizeof a);
    rng_fill(&r, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    /* Expected 16 of each value; that one is missing or has 60 has a chance below 1e-4 and 1e-12. All of a
     * block that was not filled would be zeros. */
    for (size_t i = 0; i < sizeof a; i++)
        seen[a[i]]++;
    int missing = 0;
    for (int i = 0; i < 256; i++) {
        missing += seen[i] == 0;
        assert_in_range(seen[i], 0, 60);
    }
    assert_in_range(missing, 0, 2);
    rng_fill(&r, NULL, 0);
}

static void again_is_harmless(void **state)
{
    crypto_init();
    crypto_init();
    struct rng r = rng_system();
    assert_true(rng_u64(&r) != rng_u64(&r));
}

/* A configuration that starts another provider (and with it, not the default one) must have no effect. */
static const char config[] =
    "openssl_conf = init\n[init]\nproviders = list\n[list]\nnull = on\n[on]\nactivate = 1\n";

static void configuration_is_not_loaded(void **state)
{
    char path[] = "/tmp/warren-openssl-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, config, sizeof config - 1), sizeof config - 1);
    close(fd);
    setenv("OPENSSL_CONF", path, 1);
    crypto_init();
    /* What another library of the process may ask for later. */
    assert_int_equal(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL), 1);
    int null_loaded = OSSL_PROVIDER_available(NULL, "null");
    int default_loaded = OSSL_PROVIDER_available(NULL, "default");
    unlink(path);
    assert_int_equal(null_loaded, 0);
    assert_int_equal(default_loaded, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_is_not_loaded),
        cmocka_unit_test(no_repeats_and_no_gaps),
        cmocka_unit_test(again_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
