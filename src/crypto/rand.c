#include "crypto/rand.h"

#include <openssl/rand.h>

#include "crypto/algorithms_int.h"
#include "crypto/init.h"

static void system_fill(void *ctx, void *out, size_t n)
{
    (void)ctx;
    if (n > 0 && RAND_priv_bytes_ex(NULL, out, n, 0) != 1)
        crypto_die("randomness");
}

struct rng rng_system(void)
{
    crypto_init();
    return (struct rng){system_fill, NULL};
}
