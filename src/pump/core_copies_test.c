/* A path in doubt whose second way is none of the route's (a stream): the worker seals once, the engine gets
 * the very same datagrams to send them there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pump/core_kit_int.h"

#define STREAM 78u /* the id of the second way */

/* The k-th datagram that was sent, without the relay's header; n 0: there is none. */
static struct bytes sent_datagram(const struct kit_end *e, size_t k, size_t head)
{
    for (size_t i = 0; i < e->log.n; i++) {
        const struct kit_item *it = &e->log.at[i];
        for (size_t at = 0; it->kind == KIT_SEND && at < it->n; at += it->segment)
            if (k-- == 0) {
                size_t n = it->n - at < it->segment ? it->n - at : it->segment;
                return bytes_of(it->p + at + head, n - head);
            }
    }
    return (struct bytes){0};
}

/* What the engine sent over the stream comes out of it at the other end's engine; here it comes by the
 * socket, which is all the same to the keys. */
static void sealed_arrive(struct kit *k, size_t count)
{
    struct net_addr from = kit_from(k, 1);
    kit_begin(&k->end[2]);
    for (size_t i = 0; i < count; i++) {
        struct kit_item *it = (struct kit_item *)kit_nth(&k->end[1].log, KIT_SEALED, i);
        core_datagrams(k->end[2].core, KIT_SOCKET, &from, it->p, it->n, it->n);
    }
    core_end(k->end[2].core);
}

static void copies_over_a_stream(bool relay, uint16_t size, size_t payload, size_t count)
{
    struct kit k = {.relay = relay};
    struct recipe r = recipe_of(4, IP_TCP, false);
    struct plane_news news;
    uint8_t out[70000], want[70000];
    kit_open(&k);
    k.end[1].route[2].copy_slow = STREAM;
    kit_reroute(&k.end[1], 2);
    r.partial = true;
    r.payload = payload;
    kit_begin(&k.end[1]);
    kit_send_frame(&k.end[1], 1, 2, &r, size);
    core_end(k.end[1].core);
    assert_int_equal(kit_count(&k.end[1].log, KIT_SEALED), count);
    assert_int_equal(k.end[1].log.n, count + kit_count(&k.end[1].log, KIT_SEND));
    for (size_t i = 0; i < count; i++) {
        const struct kit_item *it = kit_nth(&k.end[1].log, KIT_SEALED, i);
        struct bytes sent = sent_datagram(&k.end[1], i, relay ? UDP_RELAY_HEADER_LEN : 0);
        assert_int_equal(it->a, 2);
        assert_int_equal(it->b, STREAM);
        assert_int_equal(it->p[0], WIRE_DATA);
        assert_int_equal(it->n, sent.n);
        assert_memory_equal(it->p, sent.p, sent.n);
    }
    assert_int_equal(sent_datagram(&k.end[1], count, 0).n, 0);
    assert_int_equal(plane_counted(k.end[1].plane, PLANE_OUT_PACKETS), count); /* sealed once */
    assert_int_equal(plane_counted(k.end[1].plane, PLANE_OUT_COPIES), count);
    /* Of the stream the engine knows by itself. */
    assert_true(plane_news(k.end[1].plane, 2, &news));
    assert_int_equal(news.way_count, 1);
    assert_int_equal(news.ways[0].awaiting, k.now);
    if (!relay) {
        struct expect e = {.log = &k.end[2].log};
        size_t n, whole;
        sealed_arrive(&k, count);
        kit_deliver(&k.end[1]); /* the others come later, and are the same */
        struct recipe plain = r;
        plain.partial = false;
        uint8_t *p = kit_frame(&plain, 1, 2, &whole);
        if (size == 0) {
            assert_int_equal(next_packet(&e, out), whole);
            assert_memory_equal(out, p, whole);
        }
        for (size_t i = 0; size > 0 && (n = naive_segment(p, whole, false, size, false, false, i, want)) > 0;
             i++) {
            assert_int_equal(next_packet(&e, out), n);
            assert_memory_equal(out, want, n);
        }
        free(p);
        assert_int_equal(next_packet(&e, out), 0);
        assert_int_equal(plane_counted(k.end[2].plane, PLANE_REPLAYED), count);
    }
    kit_close(&k);
}

static void test_copies_over_a_stream(void **state)
{
    for (int relay = 0; relay < 2; relay++) {
        copies_over_a_stream(relay, 0, 1000, 1);
        copies_over_a_stream(relay, 1000, 30 * 1000 + 7, 31); /* the last is shorter */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_copies_over_a_stream)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
