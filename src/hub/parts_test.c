/* The small parts: the queue of records and the table of addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "hub/iptable_int.h"
#include "hub/queue_int.h"

/* Against a model: record n is n % 5000 bytes of n. */
static void records_come_out_as_they_went_in(void **state)
{
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 5);
    struct queue q = {0};
    size_t in = 0, out = 0, bytes = 0;
    assert_true(queue_empty(&q));
    assert_int_equal(queue_peek(&q).n, 0);
    queue_pop(&q);
    for (int i = 0; i < 20000; i++) {
        size_t n = in * 37 % 5000;
        if (rng_below(&rng, 100) < (uint64_t)(i % 4000 < 2000 ? 60 : 40)) {
            uint8_t *at = queue_push(&q, n);
            assert_non_null(at);
            memset(at, (int)(in & 0xff), n);
            bytes += n;
            in++;
        } else if (out < in) {
            struct bytes b = queue_peek(&q);
            assert_int_equal(b.n, out * 37 % 5000);
            for (size_t k = 0; k < b.n; k += 97)
                assert_int_equal(b.p[k], out & 0xff);
            bytes -= b.n;
            queue_pop(&q);
            out++;
        }
        assert_int_equal(q.bytes, bytes);
        assert_int_equal(queue_empty(&q), in == out);
        assert_true(q.held >= q.bytes);
    }
    queue_clear(&q);
    assert_int_equal(q.held, 0);
    assert_int_equal(q.bytes, 0);
    assert_true(queue_empty(&q));
}

static struct net_addr v4(uint8_t a, uint8_t b)
{
    return (struct net_addr){.family = 4, .ip = {10, 0, a, b}, .port = 7};
}

static void addresses_are_told_apart(void **state)
{
    struct iptable *t = iptable_new(100, &(struct ip_rates){60, 60, 60}, 1);
    struct net_addr a = {.family = 6, .ip = {0x20, 1}}, b = a, c = a, mapped = {.family = 6};
    b.ip[15] = 9;
    c.ip[7] = 1;
    mapped.ip[10] = mapped.ip[11] = 0xff;
    memcpy(mapped.ip + 12, v4(1, 2).ip, 4);
    assert_ptr_equal(iptable_get(t, &a, 1), iptable_get(t, &b, 1));
    assert_ptr_not_equal(iptable_get(t, &a, 1), iptable_get(t, &c, 1));
    struct net_addr plain = v4(1, 2), other = v4(1, 3);
    assert_ptr_equal(iptable_get(t, &mapped, 1), iptable_get(t, &plain, 1));
    assert_ptr_not_equal(iptable_get(t, &other, 1), iptable_get(t, &plain, 1));
    assert_int_equal(iptable_count(t), 4);
    ip_canonical(&mapped);
    assert_int_equal(mapped.family, 4);
    assert_memory_equal(mapped.ip, plain.ip, 16);
    iptable_free(t);
}

static void the_longest_unused_is_forgotten_first(void **state)
{
    struct iptable *t = iptable_new(10, &(struct ip_rates){1, 1, 1}, 1);
    struct net_addr held = v4(200, 1), first = v4(0, 0);
    struct ip_entry *e = iptable_get(t, &held, SEC);
    iptable_hold(t, e);
    assert_true(ip_take(&e->logins, SEC));
    assert_false(ip_take(&e->logins, SEC));
    for (uint8_t i = 0; i < 200; i++) {
        struct net_addr a = v4(0, i);
        ip_take(&iptable_get(t, &a, SEC)->logins, SEC);
        iptable_get(t, &first, SEC); /* used again and again */
        assert_true(iptable_count(t) <= 11);
    }
    assert_false(ip_take(&iptable_get(t, &first, SEC)->logins, SEC));
    struct net_addr gone = v4(0, 100);
    assert_true(ip_take(&iptable_get(t, &gone, SEC)->logins, SEC)); /* forgotten: a full bucket again */
    assert_ptr_equal(iptable_get(t, &held, SEC), e);
    assert_false(ip_take(&e->logins, SEC));
    assert_true(ip_take(&e->logins, 62 * SEC));
    iptable_release(t, e);
    assert_true(iptable_count(t) <= 10);
    iptable_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_as_they_went_in),
        cmocka_unit_test(addresses_are_told_apart),
        cmocka_unit_test(the_longest_unused_is_forgotten_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
