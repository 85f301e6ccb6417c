#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "wire/direct.h"

static struct direct_message sample(void)
{
    struct direct_message m = {.generation = 7,
                               .revision = 2,
                               .flags = DIRECT_DONE,
                               .mapping = DIRECT_MAPPING_ADDRESS_PORT,
                               .ports = DIRECT_PORTS_SEQUENTIAL,
                               .step = -2,
                               .tcp_port = 4433,
                               .tcp_mapped = net_addr4(0xc0000201, 4434),
                               .count = 2};
    m.candidates[0] = (struct direct_candidate){0, false, 0x7effffff, net_addr4(0x0a000001, 5000)};
    m.candidates[1] =
        (struct direct_candidate){2, true, 77, net_addr6((const uint8_t[16]){0x20, 1, 0xd, 0xb8}, 6000)};
    return m;
}

static size_t written(uint8_t *out, const struct direct_message *m)
{
    struct wr w = wr_of(out, DIRECT_MESSAGE_MAX);
    direct_write(&w, m);
    return wr_done(&w).n;
}

/* Field by field: what lies between them is nobody's. */
static void same(const struct direct_message *a, const struct direct_message *b)
{
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->mapping, b->mapping);
    assert_int_equal(a->ports, b->ports);
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->tcp_port, b->tcp_port);
    assert_true(net_addr_equal(&a->tcp_mapped, &b->tcp_mapped));
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->candidates[i].type, b->candidates[i].type);
        assert_int_equal(a->candidates[i].mapped, b->candidates[i].mapped);
        assert_int_equal(a->candidates[i].priority, b->candidates[i].priority);
        assert_true(net_addr_equal(&a->candidates[i].addr, &b->candidates[i].addr));
    }
}

static void round_trip(void **state)
{
    uint8_t out[DIRECT_MESSAGE_MAX];
    struct direct_message m = sample(), got;
    size_t n = written(out, &m);
    assert_int_equal(direct_read(&got, bytes_of(out, n)), 0);
    same(&got, &m);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(direct_read(&got, bytes_of(out, cut)), -EBADMSG);
    out[n] = 0;
    assert_int_equal(direct_read(&got, bytes_of(out, n + 1)), -EBADMSG);
}

static void as_written(void **state)
{
    static const uint8_t want[] = {0, 0,    0, 9, 0, 1, 2, 1,    1,    1,  0x11, 0x51, 0,
                                   1, 0x82, 0, 0, 0, 5, 4, 0x13, 0x88, 10, 0,    0,    1};
    uint8_t out[DIRECT_MESSAGE_MAX];
    struct direct_message m = {.generation = 9,
                               .revision = 1,
                               .flags = DIRECT_UDP_BLOCKED,
                               .mapping = 1,
                               .ports = 1,
                               .step = 1,
                               .tcp_port = 0x1151,
                               .count = 1};
    m.candidates[0] = (struct direct_candidate){2, true, 5, net_addr4(0x0a000001, 5000)};
    assert_int_equal(written(out, &m), sizeof want);
    assert_memory_equal(out, want, sizeof want);
}

static void the_largest_fits(void **state)
{
    uint8_t out[DIRECT_MESSAGE_MAX];
    struct direct_message m = sample(), got;
    m.tcp_mapped = net_addr6((const uint8_t[16]){0x20, 1}, 1);
    m.count = DIRECT_CANDIDATES_MAX;
    for (size_t i = 0; i < m.count; i++)
        m.candidates[i] = (struct direct_candidate){3, true, (uint32_t)i,
                                                    net_addr6((const uint8_t[16]){0xfd, (uint8_t)i}, 1)};
    size_t n = written(out, &m);
    assert_true(n > 0);
    assert_int_equal(direct_read(&got, bytes_of(out, n)), 0);
    same(&got, &m);
}

static void refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } rows[] = {
        {6, 8},
        {7, DIRECT_MAPPING_COUNT},
        {8, DIRECT_PORTS_COUNT},
        {12, 5},
        {13, DIRECT_CANDIDATES_MAX + 1},
        {14, 4},
        {19, 0},
        {19, 7},
    };
    struct direct_message m = {.generation = 9, .count = 1}, got;
    uint8_t good[DIRECT_MESSAGE_MAX], bad[DIRECT_MESSAGE_MAX];
    m.candidates[0].addr = net_addr4(0x0a000001, 5000);
    size_t n = written(good, &m);
    assert_int_equal(direct_read(&got, bytes_of(good, n)), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(bad, good, n);
        bad[rows[i].at] = rows[i].value;
        assert_int_equal(direct_read(&got, bytes_of(bad, n)), -EBADMSG);
    }
}

static void ack(void **state)
{
    uint8_t out[8];
    uint32_t generation;
    uint16_t revision;
    struct wr w = wr_of(out, sizeof out);
    direct_ack_write(&w, 3, 4);
    assert_int_equal(direct_ack_read(&generation, &revision, wr_done(&w)), 0);
    assert_int_equal(generation, 3);
    assert_int_equal(revision, 4);
    assert_int_equal(direct_ack_read(&generation, &revision, bytes_of(out, 5)), -EBADMSG);
    assert_int_equal(direct_ack_read(&generation, &revision, bytes_of(out, 7)), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(as_written), cmocka_unit_test(the_largest_fits),
        cmocka_unit_test(refused),    cmocka_unit_test(ack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
