#include "pump/runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "pump/socket_harness.h"

static void receive_all(struct run_socket *in, struct run_buffers *buffers, uint8_t *to, size_t total,
                        size_t segment)
{
    size_t got = 0;
    while (got < total) {
        wait_for(&in->fd, 1);
        int n = run_receive(in, buffers);
        for (int i = 0; i < n; i++) {
            const struct received *r = run_received(buffers, i);
            size_t each = r->segment ? r->segment : r->n;
            assert_true(each == segment || r->n < segment || got + r->n == total);
            assert_true(got + r->n <= total);
            memcpy(to + got, r->p, r->n);
            got += r->n;
        }
    }
}

static void test_runs(void **state)
{
    static uint8_t sent[65507], got[65507];
    static const size_t rows[][2] = {{1, 1},        {100, 100},        {300, 100},
                                     {350, 100},    {64 * 1000, 1000}, {64000, 1480},
                                     {65507, 1480}, {65507, 65507},    {63 * 1000 + 1, 1000}};
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = kit_payload((uint32_t)i);
    for (unsigned bits = 0; bits < 3; bits++) { /* 4, 6, 4 that refuses */
        uint8_t family = bits & 1 ? 6 : 4;
        struct net_addr addr[2];
        struct run_socket s[2];
        struct run_buffers *buffers = run_buffers_new(4);
        assert_non_null(buffers);
        for (int i = 0; i < 2; i++)
            run_socket_init(&s[i], family, udp_new(family, &addr[i]));
        assert_true(run_socket_offloads(&s[0]));
        if (bits & 2)
            assert_true(refuse_runs(s[0].fd));
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            size_t n = rows[i][0], segment = rows[i][1];
            assert_int_equal(run_send(&s[0], &addr[1], sent, n, segment, 1000), 0);
            memset(got, 0, n);
            receive_all(&s[1], buffers, got, n, segment);
            assert_memory_equal(got, sent, n);
            assert_true(net_addr_equal(&run_received(buffers, 0)->from, &addr[0]));
            /* Off from the first run on that was refused; single ones prove nothing. */
            assert_int_equal(run_socket_offloads(&s[0]), !(bits & 2) || i < 2);
        }
        assert_int_equal(run_receive(&s[1], buffers), 0);
        /* Addresses of the other family, and what cannot be sent. */
        struct net_addr other =
            family == 6 ? net_addr4(0x7f000001, 9) : net_addr6((const uint8_t[16]){[15] = 1}, 9);
        assert_int_equal(run_send(&s[0], &other, sent, 10, 10, 0), -EAFNOSUPPORT);
        static uint8_t huge[66000];
        assert_int_equal(run_send(&s[0], &addr[1], huge, sizeof huge, sizeof huge, 0), -EMSGSIZE);
        run_buffers_free(buffers);
        close(s[0].fd);
        close(s[1].fd);
    }
    run_buffers_free(NULL);
}

/* Datagrams too large for the way: a run says EMSGSIZE and stays a run. */
static void test_runs_too_big(void **state)
{
    static uint8_t sent[65507];
    struct net_addr addr[2];
    struct run_socket s[2];
    int probe = IPV6_PMTUDISC_PROBE;
    for (int i = 0; i < 2; i++)
        run_socket_init(&s[i], 6, udp_new(6, &addr[i]));
    assert_int_equal(setsockopt(s[0].fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe), 0);
    assert_int_equal(run_send(&s[0], &addr[1], sent, 65500, 65500, 0), -EMSGSIZE);
    assert_int_equal(run_send(&s[0], &addr[1], sent, 65507, 65495, 0), -EMSGSIZE);
    assert_true(run_socket_offloads(&s[0]));
    assert_int_equal(run_send(&s[0], &addr[1], sent, 64000, 1000, 0), 0);
    assert_true(run_socket_offloads(&s[0]));
    close(s[0].fd);
    close(s[1].fd);
}

/* A socket whose kernel does not know runs at all (here: another protocol's): none is tried. */
static void test_runs_unknown(void **state)
{
    struct run_socket s;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    run_socket_init(&s, 4, fd);
    assert_false(run_socket_offloads(&s));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_runs_too_big),
        cmocka_unit_test(test_runs_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
