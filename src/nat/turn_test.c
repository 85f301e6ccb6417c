#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nat/turn_kit_int.h"

static void allocation(void **state)
{
    for (int stream = 0; stream < 2; stream++) {
        struct world w;
        ready(&w, stream);
        assert_int_equal(w.s.requests[STUN_ALLOCATE], 2); /* the challenge, and the signed one */
        assert_int_equal(w.seen[TURN_EVENT_ALLOCATED], 1);
        const struct turn_event *ev = &w.last[TURN_EVENT_ALLOCATED];
        assert_true(net_addr_equal(&ev->relayed, &w.s.relayed));
        assert_true(net_addr_equal(&ev->mapped, &w.s.mapped));
        assert_int_equal(ev->lifetime, 600);
        assert_int_equal(w.s.asked_lifetime, TURN_LIFETIME);
        struct net_addr relayed;
        assert_true(turn_relayed(w.t, &relayed));
        assert_true(net_addr_equal(&relayed, &w.s.relayed));
        turn_release(w.t, w.now);
        pump(&w);
        assert_false(w.s.allocated);
        assert_int_equal(w.seen[TURN_EVENT_RELEASED], 1);
        assert_int_equal(turn_state(w.t), TURN_ENDED);
        assert_int_equal(turn_wake(w.t), USEC_NEVER);
        assert_false(turn_relayed(w.t, &relayed));
        turn_free(w.t);
    }
    turn_free(NULL);
}

static void data_both_ways(void **state)
{
    for (int stream = 0; stream < 2; stream++) {
        struct world w;
        ready(&w, stream);
        assert_int_equal(send_text(&w, PEER, "hello"), 0);
        said(&w, PEER, "hello"); /* the permission went first */
        assert_int_equal(w.s.requests[STUN_CREATE_PERMISSION], 1);
        assert_int_equal(w.s.requests[STUN_CHANNEL_BIND], 0);
        assert_int_equal(turn_overhead(w.t, PEER), TURN_INDICATION_OVERHEAD4);
        hear(&w, PEER, "who is it"); /* it answers: it gets a channel */
        pump(&w);
        assert_int_equal(w.s.requests[STUN_CHANNEL_BIND], 1);
        assert_in_range(w.s.channel[0], 0x4000, 0x4fff);
        assert_int_equal(turn_overhead(w.t, PEER), stream ? TURN_STREAM_OVERHEAD : TURN_CHANNEL_OVERHEAD);
        static const char *const texts[] = {"", "a", "ab", "abc", "abcd", "abcde"};
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(send_text(&w, PEER, texts[i]), 0);
            said(&w, PEER, texts[i]);
            hear(&w, PEER, texts[i]);
        }
        assert_int_equal(w.s.channel_frames, 6);
        assert_int_equal(w.s.indications, 1);
        struct turn_counts c;
        turn_counts(w.t, &c);
        assert_int_equal(c.channels, 1);
        assert_int_equal(c.permissions, 1);
        assert_int_equal(c.sent_channel, 6);
        assert_int_equal(c.received_channel, 6);
        assert_int_equal(c.received_indication, 1);
        turn_free(w.t);
    }
}

static void silent_peers_get_a_channel_in_time(void **state)
{
    struct world w;
    ready(&w, false);
    for (int i = 0; i < TURN_BIND_AFTER; i++)
        assert_int_equal(send_text(&w, PEER, "anybody?"), 0);
    assert_int_equal(w.s.requests[STUN_CHANNEL_BIND], 1);
    assert_int_equal(w.s.requests[STUN_CREATE_PERMISSION], 1);
    assert_int_equal(send_text(&w, PEER, "x"), 0);
    assert_int_equal(w.s.channel_frames, 1);
    turn_free(w.t);
}

static void frames_in_place(void **state)
{
    struct world w;
    ready(&w, true);
    for (int i = 0; i <= TURN_BIND_AFTER; i++)
        send_text(&w, PEER, "x");
    uint8_t room[64] = {0};
    struct turn_packet p = {room + 8, 5, 8, 3};
    struct turn_out out;
    assert_int_equal(turn_send(w.t, PEER, p, w.now, &out), 0);
    assert_ptr_equal(out.data.p, room + 4);
    assert_int_equal(out.data.n, 12);
    p.tail = 2; /* no room for the padding */
    assert_int_equal(turn_send(w.t, PEER, p, w.now, &out), 0);
    assert_true(out.data.p < room || out.data.p >= room + sizeof room);
    assert_int_equal(out.data.n, 12);
    turn_free(w.t);
}

static void limits_of_sending(void **state)
{
    struct world w;
    static uint8_t big[TURN_DATAGRAM_MAX + 1];
    struct turn_packet p = {big, sizeof big, 0, 0};
    struct turn_out out;
    init(&w, false);
    make(&w, "secret");
    assert_int_equal(turn_send(w.t, PEER, p, w.now, &out), -ENOTCONN);
    pump(&w);
    assert_int_equal(turn_send(w.t, PEER, p, w.now, &out), -EMSGSIZE);
    p.n--;
    assert_int_equal(turn_send(w.t, PEER, p, w.now, &out), 0);
    assert_true(out.data.n <= TURN_DATAGRAM_MAX + TURN_INDICATION_OVERHEAD4);
    assert_true(out.data.n + 4 > TURN_DATAGRAM_MAX + TURN_INDICATION_OVERHEAD4);
    uint8_t six[16] = {0x20, 1, 0xd, 0xb8};
    struct net_addr peer6 = net_addr6(six, 1), none = net_addr4(0, 1);
    assert_int_equal(turn_send(w.t, &peer6, p, w.now, &out), -EAFNOSUPPORT);
    assert_int_equal(turn_send(w.t, &none, p, w.now, &out), -EINVAL);
    assert_int_equal(turn_send(w.t, at(0xcb007105, 0), p, w.now, &out), -EINVAL);
    pump(&w);
    /* The table of permissions: full of fresh ones it refuses, of old ones it makes room. */
    for (uint32_t i = 1; i < TURN_PEERS_MAX; i++)
        assert_int_equal(turn_permit(w.t, at(0xcb007200 + i, 0), w.now), 0);
    assert_int_equal(turn_permit(w.t, at(0xcb007300, 0), w.now), -ENOSPC);
    assert_int_equal(turn_permit(w.t, at(0xcb007201, 9), w.now), 0);
    run(&w, TURN_EVICT_IDLE);
    assert_int_equal(turn_permit(w.t, at(0xcb007300, 0), w.now), 0);
    pump(&w);
    assert_int_equal(w.s.requests[STUN_CREATE_PERMISSION], TURN_PEERS_MAX + 1);
    turn_free(w.t);
}

/* More peers than entries: all are served, by indications at least. */
static void many_ports_of_one_peer(void **state)
{
    struct world w;
    ready(&w, false);
    for (uint16_t i = 0; i < 200; i++) {
        assert_int_equal(send_text(&w, at(0xcb007105, (uint16_t)(1000 + i)), "knock"), 0);
        said(&w, at(0xcb007105, (uint16_t)(1000 + i)), "knock");
    }
    assert_int_equal(w.s.requests[STUN_CREATE_PERMISSION], 1);
    assert_int_equal(w.s.requests[STUN_CHANNEL_BIND], 0);
    turn_free(w.t);
}

static void permissions_wanted_early(void **state)
{
    struct world w;
    init(&w, false);
    make(&w, "secret");
    assert_int_equal(turn_permit(w.t, PEER, w.now), 0);
    pump(&w);
    assert_int_equal(w.s.permission_count, 1);
    hear(&w, PEER, "let me in");
    turn_free(w.t);
}

static void everything_is_renewed(void **state)
{
    for (int stream = 0; stream < 2; stream++) {
        struct world w;
        ready(&w, stream);
        send_text(&w, PEER, "hello");
        hear(&w, PEER, "hello");
        for (int i = 0; i < 60; i++) {
            run(&w, MINUTE);
            assert_int_equal(send_text(&w, PEER, "still here"), 0);
            said(&w, PEER, "still here");
        }
        assert_int_equal(w.seen[TURN_EVENT_LOST], 0);
        assert_in_range(w.s.requests[STUN_REFRESH], 6, 7);
        assert_in_range(w.s.requests[STUN_CHANNEL_BIND], 14, 16);
        assert_in_range(w.s.requests[STUN_CREATE_PERMISSION], 1, 2); /* the channel's renewal does it */
        assert_true(w.s.bindings > 20);                              /* keepalives */
        assert_int_equal(w.s.channel_frames, 60);
        /* All renewals named the same channel. */
        for (size_t i = 1; i < w.s.channel_count; i++)
            assert_int_equal(w.s.channel[i], w.s.channel[0]);
        /* Unused, permission and channel lapse; the allocation stays. */
        run(&w, HOUR);
        struct turn_counts c;
        turn_counts(w.t, &c);
        assert_int_equal(c.permissions, 0);
        assert_int_equal(c.channels, 0);
        unsigned binds = w.s.requests[STUN_CHANNEL_BIND];
        assert_int_equal(turn_state(w.t), TURN_READY);
        /* ... and come back with the next datagram. */
        assert_int_equal(send_text(&w, PEER, "again"), 0);
        said(&w, PEER, "again");
        pump(&w);
        assert_int_equal(w.s.requests[STUN_CHANNEL_BIND], binds + 1);
        assert_int_equal(w.s.channel[w.s.channel_count - 1], w.s.channel[0]);
        turn_free(w.t);
    }
}

static void short_lifetimes(void **state)
{
    struct world w;
    init(&w, false);
    w.s.lifetime = 10;
    make(&w, "secret");
    run(&w, 60 * SEC);
    assert_int_equal(turn_state(w.t), TURN_READY);
    assert_in_range(w.s.requests[STUN_REFRESH], 10, 13);
    turn_free(w.t);
    init(&w, false);
    w.s.lifetime = 0;
    make(&w, "secret");
    pump(&w);
    assert_int_equal(w.seen[TURN_EVENT_FAILED], 1);
    turn_free(w.t);
}

static void a_stream_in_one_piece(void **state)
{
    struct world w;
    ready(&w, true);
    send_text(&w, PEER, "x");
    static uint8_t all[8192];
    size_t n = 0;
    for (int i = 0; i < 100; i++) {
        char text[8] = {(char)('a' + i % 26), 'b', 'c', 0};
        text[i % 4] = 0;
        assert_true(model_from_peer(&w.s, PEER, bytes_of_str(text)));
        memcpy(all + n, w.s.reply, w.s.reply_len);
        n += w.s.reply_len;
    }
    unsigned before = w.seen[TURN_EVENT_DATA];
    assert_int_equal(turn_input(w.t, bytes_of(all, n - 1), w.now), 0);
    events(&w);
    assert_int_equal(w.seen[TURN_EVENT_DATA] - before, 99);
    assert_int_equal(turn_input(w.t, bytes_of(all + n - 1, 1), w.now), 0);
    events(&w);
    assert_int_equal(w.seen[TURN_EVENT_DATA] - before, 100);
    /* Bytes that are no TURN end it. */
    turn_input(w.t, bytes_of_str("\x15\x03\x03\x04\x02\x02\x46 alert"), w.now);
    events(&w);
    assert_int_equal(w.seen[TURN_EVENT_LOST], 1);
    assert_int_equal(turn_state(w.t), TURN_ENDED);
    turn_free(w.t);

    ready(&w, true);
    turn_disconnected(w.t, w.now);
    events(&w);
    assert_int_equal(w.seen[TURN_EVENT_LOST], 1);
    turn_free(w.t);

    ready(&w, true); /* bytes without end that are no whole message */
    static uint8_t flood[64 * 1024];
    flood[0] = 0x40;
    flood[2] = flood[3] = 0xff;
    for (int i = 0; i < 2; i++)
        turn_input(w.t, bytes_of(flood, sizeof flood - 8), w.now);
    assert_int_equal(turn_input(w.t, bytes_of(flood, sizeof flood), w.now), -EBADMSG);
    events(&w);
    assert_int_equal(w.seen[TURN_EVENT_LOST], 1);
    turn_free(w.t);
}

static void what_turn_new_refuses(void **state)
{
    char user[TURN_USERNAME_MAX + 2];
    memset(user, 'u', sizeof user);
    user[sizeof user - 1] = 0;
    struct rng_seeded seeded;
    struct turn_config c = {
        .server = *SERVER, .username = user, .password = "p", .rng = rng_seeded(&seeded, 1)};
    assert_null(turn_new(&c));
    c.username = "";
    assert_null(turn_new(&c));
    c.username = user + 1;
    c.password = NULL;
    assert_null(turn_new(&c));
    c.password = "p";
    c.server.port = 0;
    assert_null(turn_new(&c));
    c.server.port = 1;
    c.family = 5;
    assert_null(turn_new(&c));
    c.family = 6;
    struct turn *t = turn_new(&c);
    assert_non_null(t);
    turn_release(t, START); /* before it began */
    struct turn_event ev;
    assert_true(turn_event(t, &ev));
    assert_int_equal(ev.kind, TURN_EVENT_RELEASED);
    turn_free(t);
}

static void families(void **state)
{
    struct world w;
    init(&w, false);
    uint8_t ip[16] = {0x20, 1, 0xd, 0xb8, [15] = 9};
    w.s.relayed = net_addr6(ip, 50000);
    struct turn_config c = {.server = *SERVER,
                            .username = "1700000000:me",
                            .password = "secret",
                            .family = 6,
                            .rng = rng_seeded(&w.seeded, 7)};
    w.t = turn_new(&c);
    turn_start(w.t, w.now);
    pump(&w);
    assert_int_equal(turn_state(w.t), TURN_READY);
    assert_int_equal(w.s.asked_family, 2);
    ip[15] = 10;
    struct net_addr peer = net_addr6(ip, 7);
    assert_int_equal(send_text(&w, &peer, "six"), 0);
    said(&w, &peer, "six");
    hear(&w, &peer, "six");
    assert_int_equal(send_text(&w, PEER, "four"), -EAFNOSUPPORT);
    turn_free(w.t);
    init(&w, false); /* another family than was asked for */
    c.rng = rng_seeded(&w.seeded, 8);
    w.t = turn_new(&c);
    turn_start(w.t, w.now);
    pump(&w);
    assert_int_equal(w.seen[TURN_EVENT_FAILED], 1);
    turn_free(w.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocation),
        cmocka_unit_test(data_both_ways),
        cmocka_unit_test(silent_peers_get_a_channel_in_time),
        cmocka_unit_test(frames_in_place),
        cmocka_unit_test(limits_of_sending),
        cmocka_unit_test(many_ports_of_one_peer),
        cmocka_unit_test(permissions_wanted_early),
        cmocka_unit_test(everything_is_renewed),
        cmocka_unit_test(short_lifetimes),
        cmocka_unit_test(a_stream_in_one_piece),
        cmocka_unit_test(what_turn_new_refuses),
        cmocka_unit_test(families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
