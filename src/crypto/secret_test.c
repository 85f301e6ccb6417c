#include "crypto/secret.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void wipes_exactly(void **state)
{
    uint8_t b[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    wipe(b + 1, 5);
    assert_memory_equal(b, "\x01\0\0\0\0\0\x07\x08", 8);
    wipe(NULL, 0);
}

static void equality_sees_every_bit(void **state)
{
    uint8_t a[40], b[40];
    memset(a, 0x5a, sizeof a);
    memcpy(b, a, sizeof a);
    assert_true(secret_equal(a, b, sizeof a));
    for (size_t i = 0; i < 8 * sizeof a; i++) {
        b[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_false(secret_equal(a, b, sizeof a));
        assert_true(secret_equal(a, b, i / 8));
        b[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_true(secret_equal(a, "", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wipes_exactly),
        cmocka_unit_test(equality_sees_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
