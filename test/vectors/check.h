/* What the vector tests share. */
#ifndef WARREN_TEST_VECTORS_CHECK_H
#define WARREN_TEST_VECTORS_CHECK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "evp_text.h"

#define COUNT(a)  (sizeof(a) / sizeof *(a))
#define FIELD_CAP (1u << 21) /* no value of the files is larger */

/* Says in TAP that the whole program is skipped, and why, where there are no files. (cmocka's own skip() says
 * "not ok", which counts as a failure.) */
static inline bool files_missing(void)
{
    const char *why = evp_missing();
    if (why)
        printf("1..0 # SKIP %s\n", why);
    return why != NULL;
}

static inline void expect_bytes(struct bytes got, struct bytes want)
{
    assert_int_equal(got.n, want.n);
    if (want.n > 0)
        assert_memory_equal(got.p, want.p, want.n);
}

static inline struct bytes from_hex(uint8_t *out, size_t cap, const char *hex)
{
    size_t n;
    assert_int_equal(hex_get(out, cap, &n, hex, strlen(hex)), 0);
    return bytes_of(out, n);
}

static inline void expect_hex(struct bytes got, const char *hex)
{
    uint8_t want[512];
    expect_bytes(got, from_hex(want, sizeof want, hex));
}

/* For what is too long to be printed here. */
static inline void expect_sha256(struct bytes got, const char *hex)
{
    uint8_t hash[SHA256_LEN];
    sha256(hash, &got, 1);
    expect_hex(bytes_of(hash, sizeof hash), hex);
}

#endif
