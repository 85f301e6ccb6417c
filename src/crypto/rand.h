/* The operating system's randomness (OpenSSL's generator, private stream). Ends the program when there is
 * none. */
#ifndef WARREN_CRYPTO_RAND_H
#define WARREN_CRYPTO_RAND_H

#include "base/rng.h"

struct rng rng_system(void);

#endif
