/* Wiping and comparing secrets. */
#ifndef WARREN_CRYPTO_SECRET_H
#define WARREN_CRYPTO_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Overwrites with zeros in a way that the compiler keeps (OPENSSL_cleanse). NULL with n = 0 is fine. */
void wipe(void *p, size_t n);
/* Constant time in n. */
bool secret_equal(const void *a, const void *b, size_t n);

#endif
