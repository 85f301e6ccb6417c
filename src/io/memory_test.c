#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "crypto/hash.h"
#include "io/memory.h"

static const char *const words[] = {"code", "constants", "and", "pointers", "to", "them"};
static char data[] = "what was written";

static long faults(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_minflt;
}

static void hash_all(uint8_t out[SHA256_LEN])
{
    struct bytes parts[sizeof words / sizeof *words + 1];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        parts[i] = bytes_of_str(words[i]);
    parts[sizeof words / sizeof *words] = bytes_of(data, sizeof data);
    sha256(out, parts, sizeof words / sizeof *words + 1);
}

/* Code, constants, relocated pointers, data and the heap are as they were, and pages did go. */
static void test_settle(void **state)
{
    uint8_t before[SHA256_LEN], after[SHA256_LEN];
    memory_begin();
    data[0] = 'W';
    char *heap = malloc(1 << 20);
    assert_non_null(heap);
    memset(heap, 7, 1 << 20);
    hash_all(before);
    for (int i = 0; i < 3; i++) {
        memory_settle();
        long was = faults();
        hash_all(after);
        assert_memory_equal(before, after, sizeof before);
#ifdef __GLIBC__
        assert_true(faults() > was);
#endif
    }
    for (size_t i = 0; i < 1 << 20; i++)
        assert_int_equal(heap[i], 7);
    free(heap);
    assert_string_equal(data, "What was written");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_settle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
