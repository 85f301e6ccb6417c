#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "nat/discover.h"
#include "nat/hard.h"

#define START (100 * SEC)

static struct hard_nat nat(enum hard_mapping mapping, int delta, uint32_t ip, uint16_t port)
{
    struct hard_nat n = {.mapping = mapping, .delta = (int16_t)delta};
    if (ip)
        n.mapped = net_addr4(ip, port);
    return n;
}

/* ---- Kinds and plans. */

static void discovery_is_understood(void **state)
{
    static const struct {
        enum nat_answer translated;
        enum nat_depends depends;
        enum nat_port_choice ports;
        int delta;
        enum hard_mapping mapping;
    } cases[] = {
        {NAT_ANSWER_NO, NAT_DEPENDS_UNKNOWN, NAT_CHOICE_UNKNOWN, 0, HARD_EASY},
        {NAT_ANSWER_YES, NAT_DEPENDS_NOT, NAT_CHOICE_RANDOM, 0, HARD_EASY},
        {NAT_ANSWER_YES, NAT_DEPENDS_UNKNOWN, NAT_CHOICE_SEQUENTIAL, 1, HARD_UNKNOWN},
        {NAT_ANSWER_YES, NAT_DEPENDS_NOT_PORT, NAT_CHOICE_RANDOM, 0, HARD_UNKNOWN},
        {NAT_ANSWER_YES, NAT_DEPENDS_ADDRESS, NAT_CHOICE_KEPT, 0, HARD_PRESERVING},
        {NAT_ANSWER_YES, NAT_DEPENDS_PORT, NAT_CHOICE_SEQUENTIAL, -2, HARD_SEQUENTIAL},
        {NAT_ANSWER_YES, NAT_DEPENDS_PORT, NAT_CHOICE_SEQUENTIAL, HARD_DELTA_MAX + 1, HARD_RANDOM},
        {NAT_ANSWER_YES, NAT_DEPENDS_PORT, NAT_CHOICE_RANDOM, 0, HARD_RANDOM},
        {NAT_ANSWER_YES, NAT_DEPENDS_PORT, NAT_CHOICE_UNKNOWN, 0, HARD_RANDOM},
    };
    struct nat_behaviour b = {.family = 4, .udp = NAT_ANSWER_YES, .mapped = net_addr4(0xC0000201, 77)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b.translated = cases[i].translated;
        b.mapping = cases[i].depends;
        b.ports = cases[i].ports;
        b.port_delta = cases[i].delta;
        struct hard_nat n = hard_nat_of(&b);
        assert_int_equal(n.mapping, cases[i].mapping);
        assert_int_equal(n.delta, n.mapping == HARD_SEQUENTIAL ? cases[i].delta : 0);
        assert_true(net_addr_equal(&n.mapped, &b.mapped));
    }
    b.family = 6;
    assert_int_equal(hard_nat_of(&b).mapping, HARD_UNKNOWN);
    assert_int_equal(hard_nat_of(&b).mapped.family, 0);
}

static void plans_follow_from_both_sides(void **state)
{
    enum { U = HARD_UNKNOWN, E = HARD_EASY, S = HARD_SEQUENTIAL, P = HARD_PRESERVING, R = HARD_RANDOM };
    static const enum hard_kind expect[HARD_MAPPING_COUNT][HARD_MAPPING_COUNT] = {
        [U] = {HARD_IMPOSSIBLE, HARD_BIRTHDAY, HARD_PREDICT, HARD_KEPT_PORTS, HARD_BIRTHDAY},
        [E] = {HARD_BIRTHDAY, HARD_NOT_NEEDED, HARD_PREDICT, HARD_KEPT_PORTS, HARD_BIRTHDAY},
        [S] = {HARD_PREDICT, HARD_PREDICT, HARD_BOTH, HARD_BOTH, HARD_IMPOSSIBLE},
        [P] = {HARD_KEPT_PORTS, HARD_KEPT_PORTS, HARD_BOTH, HARD_BOTH, HARD_IMPOSSIBLE},
        [R] = {HARD_BIRTHDAY, HARD_BIRTHDAY, HARD_IMPOSSIBLE, HARD_IMPOSSIBLE, HARD_IMPOSSIBLE},
    };
    for (int a = 0; a < HARD_MAPPING_COUNT; a++) {
        for (int b = 0; b < HARD_MAPPING_COUNT; b++) {
            struct hard_nat x = nat((enum hard_mapping)a, a == S, 0xC0000201, 1);
            struct hard_nat y = nat((enum hard_mapping)b, b == S, 0xC0000202, 2);
            struct hard_plan p = hard_plan(&x, &y), q = hard_plan(&y, &x);
            assert_int_equal(p.kind, expect[a][b]);
            assert_int_equal(q.kind, p.kind);
            assert_int_equal(p.hard_here, q.hard_there);
            assert_int_equal(p.hard_there, q.hard_here);
            assert_non_null(p.words);
            if (p.kind == HARD_PREDICT || p.kind == HARD_KEPT_PORTS)
                assert_int_equal(p.hard_here, a == S || a == P);
            if (p.kind == HARD_BOTH)
                assert_true(p.hard_here && p.hard_there);
            if (a == E && b == U)
                assert_true(p.hard_there && !p.hard_here);
        }
    }
}

static void addresses_are_needed(void **state)
{
    static const struct {
        uint32_t easy_ip, hard_ip;
        uint16_t easy_port;
        enum hard_kind kind;
    } cases[] = {
        {0xC0000201, 0xC0000202, 9, HARD_BIRTHDAY},   {0, 0xC0000202, 0, HARD_IMPOSSIBLE},
        {0xC0000201, 0, 9, HARD_IMPOSSIBLE},          {0xC0000201, 0xC0000202, 0, HARD_IMPOSSIBLE},
        {0xC0000201, 0x7F000001, 9, HARD_IMPOSSIBLE}, {0xC0000201, 0xE00000FB, 9, HARD_IMPOSSIBLE},
        {0xC0000201, 0xA9FE0001, 9, HARD_IMPOSSIBLE}, {0xC0000201, 0x64400001, 9, HARD_BIRTHDAY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hard_nat easy = nat(HARD_EASY, 0, cases[i].easy_ip, cases[i].easy_port);
        struct hard_nat hard = nat(HARD_RANDOM, 0, cases[i].hard_ip, 0);
        assert_int_equal(hard_plan(&easy, &hard).kind, cases[i].kind);
    }
    struct hard_nat six = nat(HARD_RANDOM, 0, 0, 0), easy = nat(HARD_EASY, 0, 0xC0000201, 9);
    six.mapped = net_addr6((const uint8_t[16]){0x20, 1, 0xd, 0xb8}, 9);
    assert_int_equal(hard_plan(&easy, &six).kind, HARD_IMPOSSIBLE);
}

/* ---- Messages. */

static const struct search_message samples[] = {
    {.kind = SEARCH_OFFER, .id = 0x01020304, .nat = {HARD_SEQUENTIAL, -2, {4, {192, 0, 2, 1}, 40000}}},
    {.kind = SEARCH_ACCEPT, .id = 5, .nat = {HARD_UNKNOWN, 0, {0}}},
    {.kind = SEARCH_READY,
     .id = 5,
     .nat = {HARD_PRESERVING, 0, {4, {192, 0, 2, 1}, 0}},
     .round = 9,
     .ports = {1, 65535, 3},
     .port_count = 3},
    {.kind = SEARCH_STOP, .id = 5, .stop = SEARCH_GAVE_UP},
};

static void messages_come_back(void **state)
{
    static const uint8_t offer[] = {1, 1, 2, 3, 4, 2, 0xff, 0xfe, 192, 0, 2, 1, 0x9c, 0x40};
    uint8_t buf[HARD_MESSAGE_MAX];
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct search_message m;
        size_t n = search_write(buf, sizeof buf, &samples[i]);
        assert_true(n > 0);
        if (i == 0) {
            assert_int_equal(n, sizeof offer);
            assert_memory_equal(buf, offer, n);
        }
        assert_int_equal(search_read(&m, bytes_of(buf, n)), 0);
        assert_int_equal(m.kind, samples[i].kind);
        assert_int_equal(m.id, samples[i].id);
        assert_int_equal(m.nat.mapping, samples[i].nat.mapping);
        assert_int_equal(m.nat.delta, samples[i].nat.delta);
        assert_true(net_addr_equal(&m.nat.mapped, &samples[i].nat.mapped));
        assert_int_equal(m.round, samples[i].round);
        assert_int_equal(m.port_count, samples[i].port_count);
        assert_memory_equal(m.ports, samples[i].ports, sizeof m.ports);
        assert_int_equal(m.stop, samples[i].stop);
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_equal(search_read(&m, bytes_of(buf, cut)), -EBADMSG);
            assert_int_equal(search_write(buf, cut, &samples[i]), 0);
        }
        assert_int_equal(search_write(buf, sizeof buf, &samples[i]), n);
        buf[n] = 0;
        assert_int_equal(search_read(&m, bytes_of(buf, n + 1)), -EBADMSG);
    }
}

/* A message with one bit changed is refused, or says exactly what it now says. */
static void flipped_bits_are_judged(void **state)
{
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        uint8_t buf[HARD_MESSAGE_MAX], again[HARD_MESSAGE_MAX];
        size_t n = search_write(buf, sizeof buf, &samples[i]);
        for (size_t bit = 0; bit < n * 8; bit++) {
            struct search_message m;
            buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (search_read(&m, bytes_of(buf, n)) == 0) {
                assert_int_equal(search_write(again, sizeof again, &m), n);
                assert_memory_equal(again, buf, n);
            }
            buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void nonsense_is_not_written(void **state)
{
    uint8_t buf[HARD_MESSAGE_MAX];
    struct search_message bad[8];
    for (size_t i = 0; i < 8; i++)
        bad[i] = samples[i < 4 ? 2 : 0];
    bad[0].round = 0;
    bad[1].port_count = SEARCH_PORTS_MAX + 1;
    bad[2].ports[1] = 0;
    bad[3].nat.delta = 1; /* not sequential */
    bad[4].nat.delta = 0;
    bad[5].nat.delta = HARD_DELTA_MAX + 1;
    bad[6].nat.mapped.family = 6;
    bad[7].kind = SEARCH_KIND_COUNT;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(search_write(buf, sizeof buf, &bad[i]), 0);
}

static void an_offer_can_be_refused(void **state)
{
    uint8_t offer[HARD_MESSAGE_MAX], out[HARD_MESSAGE_MAX];
    struct search_message m;
    size_t n = search_write(offer, sizeof offer, &samples[0]);
    assert_true(hard_message_begins(bytes_of(offer, n)));
    size_t len = hard_refuse(out, bytes_of(offer, n), SEARCH_OFF);
    assert_int_equal(search_read(&m, bytes_of(out, len)), 0);
    assert_int_equal(m.kind, SEARCH_STOP);
    assert_int_equal(m.stop, SEARCH_OFF);
    assert_int_equal(m.id, samples[0].id);
    n = search_write(offer, sizeof offer, &samples[1]);
    assert_false(hard_message_begins(bytes_of(offer, n)));
    assert_int_equal(hard_refuse(out, bytes_of(offer, n), SEARCH_OFF), 0);
}

/* ---- One end, step by step. */

static struct rng_seeded state_of_rng;

static struct hard *make(bool initiator, enum hard_mapping mapping)
{
    struct hard_config c = {.rng = rng_seeded(&state_of_rng, 3),
                            .initiator = initiator,
                            .ours = nat(mapping, mapping == HARD_SEQUENTIAL, 0xCB007101, 4000)};
    struct hard *h = hard_new(&c, START);
    assert_non_null(h);
    return h;
}

/* The message that is the next output. */
static struct search_message next_told(struct hard *h, usec_t now)
{
    struct hard_out o;
    struct search_message m = {0};
    assert_true(hard_output(h, now, &o));
    assert_int_equal(o.action, HARD_TELL_PEER);
    assert_int_equal(search_read(&m, o.data), 0);
    return m;
}

static int say(struct hard *h, enum search_kind kind, uint32_t id, struct hard_nat n, enum search_stop stop,
               usec_t now)
{
    uint8_t buf[HARD_MESSAGE_MAX];
    struct search_message m = {.kind = kind, .id = id, .nat = n, .stop = stop, .round = 1};
    size_t len = search_write(buf, sizeof buf, &m);
    assert_true(len > 0);
    return hard_message(h, bytes_of(buf, len), now);
}

static struct hard_nat their_easy(void)
{
    return nat(HARD_EASY, 0, 0xC0000201, 7000);
}

static void offers_are_repeated_and_given_up(void **state)
{
    struct hard *h = make(true, HARD_RANDOM);
    struct hard_out o;
    struct hard_event ev;
    usec_t now = START;
    for (int i = 0; i < HARD_OFFER_TRIES; i++) {
        struct search_message m = next_told(h, now);
        assert_int_equal(m.kind, SEARCH_OFFER);
        assert_int_equal(m.nat.mapping, HARD_RANDOM);
        assert_false(hard_output(h, now, &o));
        assert_int_equal(hard_wake(h), START + (unsigned)(i + 1) * HARD_OFFER_AGAIN);
        assert_false(hard_event(h, &ev));
        now = hard_wake(h);
        hard_tick(h, now);
    }
    assert_true(hard_event(h, &ev));
    assert_int_equal(ev.kind, HARD_FAILED);
    assert_false(ev.remember);
    assert_int_equal(next_told(h, now).stop, SEARCH_GAVE_UP);
    assert_false(hard_output(h, now, &o));
    hard_free(h);
}

static void stops_end_it(void **state)
{
    static const struct {
        enum search_stop stop;
        bool remember;
    } cases[] = {{SEARCH_BUSY, false}, {SEARCH_OFF, false}, {SEARCH_NO_PLAN, true}, {SEARCH_GAVE_UP, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hard *h = make(true, HARD_RANDOM);
        struct hard_event ev;
        struct hard_out o;
        uint32_t id = next_told(h, START).id;
        assert_int_equal(say(h, SEARCH_STOP, id + 1, their_easy(), cases[i].stop, START), -ESTALE);
        assert_false(hard_event(h, &ev));
        assert_int_equal(say(h, SEARCH_STOP, id, their_easy(), cases[i].stop, START), 0);
        assert_true(hard_event(h, &ev));
        assert_int_equal(ev.kind, HARD_FAILED);
        assert_int_equal(ev.remember, cases[i].remember);
        assert_false(hard_output(h, START, &o));
        hard_free(h);
    }
}

static void no_plan_is_told_to_both(void **state)
{
    struct hard *h = make(false, HARD_RANDOM);
    struct hard_event ev;
    struct hard_out o;
    assert_int_equal(say(h, SEARCH_OFFER, 7, nat(HARD_RANDOM, 0, 0xC0000201, 1), 0, START), 0);
    struct search_message m = next_told(h, START);
    assert_int_equal(m.kind, SEARCH_ACCEPT); /* from which the peer sees the same */
    assert_int_equal(m.id, 7);
    assert_false(hard_output(h, START, &o));
    assert_true(hard_event(h, &ev));
    assert_int_equal(ev.plan, HARD_IMPOSSIBLE);
    assert_true(ev.remember);
    assert_int_equal(hard_wake(h), USEC_NEVER);
    hard_free(h);
    h = make(true, HARD_RANDOM);
    uint32_t id = next_told(h, START).id;
    assert_int_equal(say(h, SEARCH_ACCEPT, id, nat(HARD_RANDOM, 0, 0xC0000201, 1), 0, START), 0);
    assert_true(hard_event(h, &ev));
    assert_int_equal(ev.plan, HARD_IMPOSSIBLE);
    hard_free(h);
}

/* The hard end of a birthday search: 256 sockets, 400 checks a second, then ready; each of them again after
 * 10 s. */
static void many_sockets_are_opened_and_used(void **state)
{
    struct hard_config c = {
        .rng = rng_seeded(&state_of_rng, 3), .seconds = 30, .ours = nat(HARD_RANDOM, 0, 0xCB007101, 1)};
    struct hard *h = hard_new(&c, START);
    struct hard_out o;
    struct hard_event ev;
    uint32_t probes = 0, ready = 0;
    usec_t now = START, first_ready = 0;
    struct net_addr to = net_addr4(0xC0000201, 7000);
    assert_int_equal(say(h, SEARCH_OFFER, 7, their_easy(), 0, START), 0);
    assert_int_equal(next_told(h, now).kind, SEARCH_ACCEPT);
    assert_true(hard_output(h, now, &o));
    assert_int_equal(o.action, HARD_OPEN_SOCKETS);
    assert_int_equal(o.socket, 1);
    assert_int_equal(o.count, HARD_SOCKETS_MAX);
    for (uint32_t s = 1; s <= HARD_SOCKETS_MAX; s++)
        hard_socket_opened(h, s, s == 9 ? 0 : (uint16_t)(30000 + s), now); /* one cannot be opened */
    while (now < START + 12 * SEC) {
        while (hard_output(h, now, &o)) {
            struct search_message m;
            if (o.action == HARD_TELL_PEER) {
                assert_int_equal(search_read(&m, o.data), 0);
                assert_int_equal(m.kind, SEARCH_READY);
                first_ready = first_ready ? first_ready : now;
                ready++;
                continue;
            }
            assert_int_equal(o.action, HARD_PROBE);
            assert_true(net_addr_equal(&o.to, &to));
            uint32_t turn = probes++ % 255;
            assert_int_equal(o.socket, turn < 8 ? turn + 1 : turn + 2);
        }
        assert_true(hard_wake(h) > now);
        now = hard_wake(h);
        hard_tick(h, now);
    }
    assert_int_equal(probes, 2 * 255);
    assert_in_range(first_ready - START, 500 * MSEC, 700 * MSEC);
    assert_in_range(ready, 10, 12);
    hard_found(h, 9, &to, now); /* not open: it cannot be */
    assert_false(hard_event(h, &ev));
    hard_found(h, 77, &to, now);
    assert_true(hard_event(h, &ev));
    assert_int_equal(ev.kind, HARD_DONE);
    assert_int_equal(ev.socket, 77);
    assert_true(net_addr_equal(&ev.remote, &to));
    assert_int_equal(next_told(h, now).stop, SEARCH_FOUND);
    assert_true(hard_output(h, now, &o));
    assert_int_equal(o.action, HARD_CLOSE_SOCKETS);
    assert_int_equal(o.socket, 77);
    assert_false(hard_output(h, now, &o));
    hard_free(h);
}

/* The easy end: all probes to different ports of the one address, 200 a second, 2048 in all. */
static void probes_go_to_chance_ports(void **state)
{
    static uint8_t used[65536];
    struct hard_config c = {
        .rng = rng_seeded(&state_of_rng, 3), .seconds = 30, .ours = nat(HARD_EASY, 0, 0xCB007101, 1)};
    struct hard *h = hard_new(&c, START);
    struct hard_out o;
    struct hard_event ev;
    uint32_t probes = 0, at_5 = 0;
    usec_t now = START;
    memset(used, 0, sizeof used);
    assert_int_equal(say(h, SEARCH_OFFER, 7, nat(HARD_RANDOM, 0, 0xC0000201, 5), 0, START), 0);
    assert_int_equal(next_told(h, now).kind, SEARCH_ACCEPT);
    assert_false(hard_output(h, now, &o)); /* not before the sockets are there */
    assert_int_equal(say(h, SEARCH_READY, 7, nat(HARD_EASY, 0, 0xC0000201, 5), 0, START), 0);
    assert_false(hard_output(h, now, &o)); /* it is another NAT all at once */
    assert_int_equal(say(h, SEARCH_READY, 7, nat(HARD_RANDOM, 0, 0xC0000209, 5), 0, START), 0);
    while (now < START + 29 * SEC) {
        while (hard_output(h, now, &o)) {
            assert_int_equal(o.action, HARD_PROBE);
            assert_int_equal(o.socket, HARD_SOCKET_MAIN);
            assert_int_equal(net_addr_ip4(&o.to), 0xC0000209);
            assert_in_range(o.to.port, HARD_PORT_LOWEST, 65535);
            assert_int_equal(used[o.to.port]++, 0);
            probes++;
        }
        at_5 = now < START + 5 * SEC ? probes : at_5;
        now = hard_wake(h);
        hard_tick(h, now);
    }
    assert_int_equal(probes, HARD_PROBES_MAX);
    assert_in_range(at_5, 5 * HARD_RATE, 5 * HARD_RATE + HARD_BURST);
    hard_tick(h, START + 30 * SEC);
    assert_true(hard_event(h, &ev));
    assert_int_equal(ev.kind, HARD_FAILED);
    assert_true(ev.remember);
    assert_int_equal(next_told(h, now).stop, SEARCH_GAVE_UP);
    assert_false(hard_output(h, now, &o)); /* no sockets, none to close */
    hard_free(h);
}

static void the_peers_success_needs_proof_here(void **state)
{
    for (int proved = 0; proved <= 1; proved++) {
        struct hard *h = make(false, HARD_EASY);
        struct hard_event ev;
        struct hard_out o;
        struct net_addr remote = net_addr4(0xC0000201, 999);
        assert_int_equal(say(h, SEARCH_OFFER, 7, nat(HARD_RANDOM, 0, 0xC0000201, 5), 0, START), 0);
        assert_int_equal(next_told(h, START).kind, SEARCH_ACCEPT);
        assert_int_equal(say(h, SEARCH_READY, 7, nat(HARD_RANDOM, 0, 0xC0000201, 5), 0, START), 0);
        assert_true(hard_output(h, START, &o));
        assert_int_equal(say(h, SEARCH_STOP, 7, their_easy(), SEARCH_FOUND, START + SEC), 0);
        assert_false(hard_output(h, START + SEC, &o));
        assert_false(hard_event(h, &ev));
        assert_int_equal(hard_wake(h), START + SEC + HARD_GRACE);
        if (proved)
            hard_found(h, HARD_SOCKET_MAIN, &remote, START + 2 * SEC);
        else
            hard_tick(h, START + SEC + HARD_GRACE);
        assert_true(hard_event(h, &ev));
        assert_int_equal(ev.kind, proved ? HARD_DONE : HARD_FAILED);
        assert_int_equal(ev.remember, proved);
        hard_free(h);
    }
}

static void no_sockets_no_search(void **state)
{
    struct hard *h = make(false, HARD_RANDOM);
    struct hard_event ev;
    struct hard_out o;
    assert_int_equal(say(h, SEARCH_OFFER, 7, their_easy(), 0, START), 0);
    while (hard_output(h, START, &o))
        ;
    for (uint32_t s = 1; s <= HARD_SOCKETS_MAX; s++)
        hard_socket_opened(h, s, 0, START);
    assert_true(hard_event(h, &ev));
    assert_int_equal(ev.kind, HARD_FAILED);
    assert_false(ev.remember);
    assert_int_equal(next_told(h, START).stop, SEARCH_GAVE_UP);
    assert_true(hard_output(h, START, &o));
    assert_int_equal(o.action, HARD_CLOSE_SOCKETS);
    assert_int_equal(o.socket, HARD_SOCKET_NONE);
    hard_free(h);
}

static void a_cancelled_search_cleans_up(void **state)
{
    struct hard *h = make(false, HARD_PRESERVING);
    struct hard_event ev;
    struct hard_out o;
    assert_int_equal(say(h, SEARCH_OFFER, 7, their_easy(), 0, START), 0);
    while (hard_output(h, START, &o))
        ;
    hard_cancel(h, START);
    assert_int_equal(next_told(h, START).stop, SEARCH_GAVE_UP);
    assert_true(hard_output(h, START, &o));
    assert_int_equal(o.action, HARD_CLOSE_SOCKETS);
    assert_false(hard_output(h, START, &o));
    assert_false(hard_event(h, &ev));
    hard_free(h);
}

/* ---- Memory. */

static void failures_wait_longer_and_longer(void **state)
{
    static const uint64_t waits[] = {1800, 3600, 7200, 14400, 28800, 57600, 86400, 86400};
    static const uint8_t key[HARD_MEMORY_KEY] = {1};
    struct hard_memory m;
    uint64_t now = 1000000, wait;
    hard_memory_init(&m);
    assert_true(hard_memory_may_try(&m, key, now, &wait));
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        hard_memory_failure(&m, key, HARD_BIRTHDAY, now);
        assert_false(hard_memory_may_try(&m, key, now, &wait));
        assert_int_equal(wait, waits[i]);
        assert_false(hard_memory_may_try(&m, key, now + wait - 1, NULL));
        assert_true(hard_memory_may_try(&m, key, now + wait, NULL));
        assert_true(hard_memory_may_try(&m, key, now - 1, NULL)); /* the clock was set back */
        now += wait;
    }
    assert_int_equal(hard_memory_find(&m, key)->failures, 8);
    hard_memory_success(&m, key, HARD_BIRTHDAY, now);
    assert_true(hard_memory_may_try(&m, key, now, NULL));
    hard_memory_failure(&m, key, HARD_PREDICT, now);
    assert_false(hard_memory_may_try(&m, key, now, &wait));
    assert_int_equal(wait, 1800);
    assert_int_equal(hard_memory_find(&m, key)->kind, HARD_PREDICT);
    assert_int_equal(m.count, 1);
}

static void the_oldest_is_forgotten_and_all_is_saved(void **state)
{
    static uint8_t saved[HARD_MEMORY_BYTES];
    struct hard_memory m, got;
    hard_memory_init(&m);
    for (uint8_t i = 0; i < HARD_MEMORY_MAX + 1; i++) {
        uint8_t key[HARD_MEMORY_KEY] = {i};
        hard_memory_failure(&m, key, HARD_BIRTHDAY, i == 3 ? 5 : 1000 + i);
    }
    assert_int_equal(m.count, HARD_MEMORY_MAX);
    assert_null(hard_memory_find(&m, (const uint8_t[HARD_MEMORY_KEY]){3}));
    assert_non_null(hard_memory_find(&m, (const uint8_t[HARD_MEMORY_KEY]){HARD_MEMORY_MAX}));
    size_t n = hard_memory_save(&m, saved, sizeof saved);
    assert_int_equal(n, HARD_MEMORY_BYTES);
    assert_int_equal(hard_memory_save(&m, saved, n - 1), 0);
    assert_int_equal(hard_memory_save(&m, saved, n), n);
    assert_int_equal(hard_memory_load(&got, bytes_of(saved, n)), 0);
    assert_int_equal(got.count, m.count);
    for (size_t i = 0; i < m.count; i++) {
        assert_memory_equal(got.results[i].key, m.results[i].key, HARD_MEMORY_KEY);
        assert_int_equal(got.results[i].again, m.results[i].again);
        assert_int_equal(got.results[i].failures, 1);
    }
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_equal(hard_memory_load(&got, bytes_of(saved, cut)), -EBADMSG);
        assert_int_equal(got.count, 0);
    }
    memcpy(saved + 4, saved + 4 + 34, HARD_MEMORY_KEY); /* one key twice */
    assert_int_equal(hard_memory_load(&got, bytes_of(saved, n)), -EBADMSG);
}

static void keys_are_the_same_from_both_ends(void **state)
{
    struct hard_nat a = nat(HARD_RANDOM, 0, 0xC0000201, 5), b = nat(HARD_EASY, 0, 0xCB007101, 6);
    uint8_t x[HARD_MEMORY_KEY], y[HARD_MEMORY_KEY];
    hard_memory_key(x, &a, &b);
    hard_memory_key(y, &b, &a);
    assert_memory_equal(x, y, sizeof x);
    a.mapped.port = 99;
    hard_memory_key(y, &a, &b);
    assert_memory_equal(x, y, sizeof x);
    a.mapping = HARD_PRESERVING;
    hard_memory_key(y, &a, &b);
    assert_memory_not_equal(x, y, sizeof x);
    a.mapping = HARD_RANDOM;
    a.mapped.ip[0] ^= 1;
    hard_memory_key(y, &a, &b);
    assert_memory_not_equal(x, y, sizeof x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discovery_is_understood),
        cmocka_unit_test(plans_follow_from_both_sides),
        cmocka_unit_test(addresses_are_needed),
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(flipped_bits_are_judged),
        cmocka_unit_test(nonsense_is_not_written),
        cmocka_unit_test(an_offer_can_be_refused),
        cmocka_unit_test(offers_are_repeated_and_given_up),
        cmocka_unit_test(stops_end_it),
        cmocka_unit_test(no_plan_is_told_to_both),
        cmocka_unit_test(many_sockets_are_opened_and_used),
        cmocka_unit_test(probes_go_to_chance_ports),
        cmocka_unit_test(the_peers_success_needs_proof_here),
        cmocka_unit_test(no_sockets_no_search),
        cmocka_unit_test(a_cancelled_search_cleans_up),
        cmocka_unit_test(failures_wait_longer_and_longer),
        cmocka_unit_test(the_oldest_is_forgotten_and_all_is_saved),
        cmocka_unit_test(keys_are_the_same_from_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
