#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "nat/turn.h"
#include "nat/turn_model_int.h"

#define START (1000 * SEC)

static const struct net_addr *at(uint32_t ip, uint16_t port)
{
    static struct net_addr a[4];
    static unsigned i;
    a[++i % 4] = net_addr4(ip, port);
    return &a[i % 4];
}
#define SERVER at(0xc0000201, 3478)
#define PEER   at(0xcb007105, 4000)

struct world {
    struct turn *t;
    struct turn_model s;
    struct rng_seeded seeded;
    usec_t now;
    bool stream, lose; /* lose: nothing that the client sends arrives */
    unsigned sent;     /* by the client */
    struct turn_event last[TURN_EVENT_RELEASED + 1];
    unsigned seen[TURN_EVENT_RELEASED + 1];
    uint8_t data[2048];
    size_t data_len;
    struct net_addr to;
};

static void init(struct world *w, bool stream)
{
    memset(w, 0, sizeof *w);
    w->now = START;
    w->stream = stream;
    model_init(&w->s, "1700000000:me", "secret");
    w->s.stream = stream;
}

static void make(struct world *w, const char *password)
{
    struct turn_config c = {.transport = w->stream ? TURN_STREAM : TURN_UDP,
                            .server = *SERVER,
                            .username = "1700000000:me",
                            .password = password,
                            .txid_prefix = 0x01020304,
                            .rng = rng_seeded(&w->seeded, 7)};
    w->t = turn_new(&c);
    assert_non_null(w->t);
    assert_int_equal(turn_state(w->t), TURN_NEW);
    assert_int_equal(turn_start(w->t, w->now), 0);
    assert_int_equal(turn_start(w->t, w->now), -EALREADY);
}

static void events(struct world *w)
{
    struct turn_event ev;
    while (turn_event(w->t, &ev)) {
        w->last[ev.kind] = ev;
        w->seen[ev.kind]++;
        assert_non_null(ev.why);
        if (ev.kind != TURN_EVENT_DATA)
            continue;
        w->data_len = ev.data.n;
        memcpy(w->data, ev.data.p, ev.data.n);
    }
}

/* On a stream in pieces of one byte and of the rest: frames are put together. */
static void deliver(struct world *w, struct bytes in)
{
    if (!w->stream) {
        assert_true(turn_is(w->t, &w->to, in));
        turn_input(w->t, in, w->now);
        events(w);
        return;
    }
    turn_input(w->t, bytes_of(in.p, 1), w->now);
    events(w);
    turn_input(w->t, bytes_of(in.p + 1, in.n - 1), w->now);
    events(w);
}

/* Lets client and server talk until both are silent. */
static void pump(struct world *w)
{
    struct turn_out out;
    turn_tick(w->t, w->now);
    events(w);
    while (turn_output(w->t, w->now, &out)) {
        w->sent++;
        assert_true(out.data.n > 0);
        w->to = out.to;
        if (w->lose)
            continue;
        model_input(&w->s, out.data);
        if (w->s.reply_len)
            deliver(w, bytes_of(w->s.reply, w->s.reply_len));
    }
    assert_int_equal(w->s.bad, 0);
}

/* Lives through a time, from deadline to deadline. */
static void run(struct world *w, usec_t time)
{
    usec_t end = w->now + time;
    for (unsigned i = 0; i < 100000; i++) {
        pump(w);
        usec_t wake = turn_wake(w->t);
        if (wake > end) {
            w->now = end;
            return;
        }
        assert_true(wake > w->now); /* everything due was done */
        w->now = wake;
    }
    fail();
}

static void ready(struct world *w, bool stream)
{
    init(w, stream);
    make(w, "secret");
    pump(w);
    assert_int_equal(turn_state(w->t), TURN_READY);
}

static int send_text(struct world *w, const struct net_addr *peer, const char *text)
{
    uint8_t room[128] = {0};
    size_t n = strlen(text);
    memcpy(room + TURN_HEADROOM, text, n);
    struct turn_packet p = {room + TURN_HEADROOM, n, TURN_HEADROOM, sizeof room - TURN_HEADROOM - n};
    struct turn_out out;
    int r = turn_send(w->t, peer, p, w->now, &out);
    if (r)
        return r;
    pump(w);
    assert_true(net_addr_equal(&out.to, SERVER));
    model_input(&w->s, out.data);
    return 0;
}

static void hear(struct world *w, const struct net_addr *peer, const char *text)
{
    w->data_len = 0;
    assert_true(model_from_peer(&w->s, peer, bytes_of_str(text)));
    deliver(w, bytes_of(w->s.reply, w->s.reply_len));
    assert_true(bytes_equal(bytes_of(w->data, w->data_len), bytes_of_str(text)));
    assert_true(net_addr_equal(&w->last[TURN_EVENT_DATA].peer, peer));
}

static void said(struct world *w, const struct net_addr *peer, const char *text)
{
    assert_true(net_addr_equal(&w->s.to, peer));
    assert_true(bytes_equal(bytes_of(w->s.data, w->s.data_len), bytes_of_str(text)));
}

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

static void sha256_when_offered(void **state)
{
    struct world w;
    init(&w, false);
    w.s.offer_sha256 = true;
    model_new_nonce(&w.s);
    make(&w, "secret");
    pump(&w);
    assert_int_equal(turn_state(w.t), TURN_READY);
    assert_true(w.s.used_sha256);
    /* A stale nonce without the algorithms is somebody's on the way: it is not followed. */
    unsigned proven = w.s.proven;
    model_new_nonce(&w.s);
    w.s.strip_algorithms = true;
    send_text(&w, PEER, "x");
    run(&w, 5 * SEC);
    assert_int_equal(w.s.proven, proven);
    w.s.strip_algorithms = false;
    run(&w, 30 * SEC);
    assert_true(w.s.proven > proven);
    assert_true(w.s.used_sha256);
    turn_free(w.t);

    init(&w, false);
    w.s.offer_sha256 = w.s.strip_algorithms = true;
    model_new_nonce(&w.s);
    make(&w, "secret");
    run(&w, MINUTE);
    assert_int_equal(w.seen[TURN_EVENT_FAILED], 1);
    assert_non_null(strstr(w.last[TURN_EVENT_FAILED].why, "challenge"));
    turn_free(w.t);
}

static void stale_nonces(void **state)
{
    struct world w;
    ready(&w, false);
    model_new_nonce(&w.s);
    send_text(&w, PEER, "one");
    said(&w, PEER, "one");
    struct turn_counts c;
    turn_counts(w.t, &c);
    assert_int_equal(c.stale_nonces, 1);
    for (int i = 0; i < 20; i++) {
        model_new_nonce(&w.s);
        run(&w, 9 * MINUTE);
    }
    assert_int_equal(turn_state(w.t), TURN_READY);
    turn_free(w.t);
}

static void refusals_have_words(void **state)
{
    static const struct {
        uint16_t code;
        const char *words;
    } rows[] = {{403, "forbids"},    {437, "allocation"}, {440, "family"},   {441, "credentials"},
                {442, "UDP"},        {486, "quota"},      {508, "capacity"}, {500, "failed"},
                {400, "understand"}, {420, "attribute"},  {499, "refused"},  {599, "failed"},
                {300, "another"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int stream = 0; stream < 2; stream++) {
            struct world w;
            init(&w, stream);
            w.s.fail_code = rows[i].code;
            w.s.fail_times = 20;
            make(&w, "secret");
            pump(&w);
            if (rows[i].code == 437) /* it is asked for again for a while */
                run(&w, TURN_MISMATCHES_MAX * TURN_MISMATCH_WAIT);
            assert_int_equal(w.seen[TURN_EVENT_FAILED], 1);
            assert_int_equal(w.last[TURN_EVENT_FAILED].code, rows[i].code);
            assert_non_null(strstr(w.last[TURN_EVENT_FAILED].why, rows[i].words));
            assert_int_equal(turn_wake(w.t), USEC_NEVER);
            assert_int_equal(turn_state(w.t), TURN_ENDED);
            /* It may be asked again. */
            w.s.fail_times = 0;
            assert_int_equal(turn_start(w.t, w.now), 0);
            pump(&w);
            assert_int_equal(w.seen[TURN_EVENT_ALLOCATED], 1);
            turn_free(w.t);
        }
    }
}

static void wrong_password(void **state)
{
    for (int stream = 0; stream < 2; stream++) {
        struct world w;
        init(&w, stream);
        make(&w, "guess");
        pump(&w);
        assert_int_equal(w.s.requests[STUN_ALLOCATE], 2);
        assert_int_equal(w.last[TURN_EVENT_FAILED].code, 401);
        assert_non_null(strstr(w.last[TURN_EVENT_FAILED].why, "credentials"));
        turn_free(w.t);
    }
}

/* Time-limited credentials run out under a standing allocation. */
static void credentials_run_out(void **state)
{
    struct world w;
    ready(&w, false);
    w.s.password = "another";
    run(&w, 10 * MINUTE);
    assert_int_equal(w.seen[TURN_EVENT_LOST], 1);
    assert_int_equal(w.last[TURN_EVENT_LOST].code, 401);
    turn_free(w.t);
}

static void errors_must_be_signed(void **state)
{
    struct world w;
    init(&w, false);
    w.s.unsigned_errors = true;
    w.s.fail_code = 486;
    w.s.fail_times = 3;
    make(&w, "secret");
    run(&w, MINUTE);
    assert_int_equal(turn_state(w.t), TURN_READY); /* the first answers were not to be believed */
    struct turn_counts c;
    turn_counts(w.t, &c);
    assert_int_equal(c.unproven, 3);
    turn_free(w.t);
    init(&w, false);
    w.s.unsigned_errors = true;
    w.s.fail_code = 486;
    w.s.fail_times = 1000;
    make(&w, "secret");
    run(&w, MINUTE);
    assert_int_equal(w.last[TURN_EVENT_FAILED].code, 486); /* but they tell why */
    turn_free(w.t);
}

static void retransmissions(void **state)
{
    struct world w;
    init(&w, false);
    w.lose = true;
    make(&w, "secret");
    static const unsigned ms[] = {0, 200, 600, 1400, 3000, 6200, 12600};
    for (size_t i = 0; i < TURN_SENDS; i++) {
        run(&w, START + ms[i] * MSEC - w.now);
        pump(&w);
        assert_int_equal(w.sent, i + 1);
    }
    run(&w, START + 15799 * MSEC - w.now);
    assert_int_equal(w.seen[TURN_EVENT_FAILED], 0);
    run(&w, 1 * MSEC);
    pump(&w);
    assert_int_equal(w.sent, TURN_SENDS);
    assert_int_equal(w.seen[TURN_EVENT_FAILED], 1);
    assert_string_equal(w.last[TURN_EVENT_FAILED].why, "no answer");
    turn_free(w.t);

    init(&w, true); /* none over streams */
    w.lose = true;
    make(&w, "secret");
    run(&w, TURN_STREAM_TIMEOUT);
    pump(&w);
    assert_int_equal(w.sent, 1);
    assert_int_equal(w.seen[TURN_EVENT_FAILED], 1);
    turn_free(w.t);
}

static void a_dead_server_loses_the_allocation(void **state)
{
    for (int stream = 0; stream < 2; stream++) {
        struct world w;
        ready(&w, stream);
        w.lose = true;
        run(&w, 599 * SEC);
        assert_int_equal(w.seen[TURN_EVENT_LOST], 0);
        run(&w, SEC);
        pump(&w);
        assert_int_equal(w.seen[TURN_EVENT_LOST], 1);
        struct turn_out out;
        struct turn_packet p = {0};
        assert_int_equal(turn_send(w.t, PEER, p, w.now, &out), -ENOTCONN);
        turn_free(w.t);
    }
}

static void a_short_outage_is_survived(void **state)
{
    struct world w;
    ready(&w, false);
    run(&w, 535 * SEC);
    w.lose = true;
    run(&w, 30 * SEC); /* the refresh at 540 s gets no answer */
    w.lose = false;
    run(&w, 100 * SEC);
    assert_int_equal(w.seen[TURN_EVENT_LOST], 0);
    assert_int_equal(turn_state(w.t), TURN_READY);
    turn_free(w.t);
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

static void what_an_earlier_run_left(void **state)
{
    struct world w;
    init(&w, false);
    w.s.allocated = true;
    make(&w, "secret");
    pump(&w);
    assert_int_equal(w.s.requests[STUN_REFRESH], 1);
    assert_int_equal(turn_state(w.t), TURN_READY);
    turn_free(w.t);
    /* A server that takes its time to forget. */
    init(&w, false);
    w.s.allocated = true;
    w.s.fail_code = 437;
    w.s.fail_method = STUN_ALLOCATE;
    w.s.fail_times = 6;
    make(&w, "secret");
    run(&w, 5 * TURN_MISMATCH_WAIT);
    assert_int_equal(w.s.requests[STUN_REFRESH], 1);
    assert_int_equal(turn_state(w.t), TURN_ALLOCATING);
    run(&w, TURN_MISMATCH_WAIT);
    assert_int_equal(turn_state(w.t), TURN_READY);
    turn_free(w.t);
}

static void the_server_forgot_us(void **state)
{
    struct world w;
    ready(&w, false);
    w.s.allocated = false;
    run(&w, 9 * MINUTE);
    pump(&w);
    assert_int_equal(w.last[TURN_EVENT_LOST].code, 437);
    /* What was permitted is wanted again after a new start. */
    assert_int_equal(turn_start(w.t, w.now), 0);
    pump(&w);
    assert_int_equal(turn_state(w.t), TURN_READY);
    turn_permit(w.t, PEER, w.now);
    pump(&w);
    w.s.allocated = false;
    model_new_nonce(&w.s);
    run(&w, 5 * MINUTE);
    assert_int_equal(w.seen[TURN_EVENT_LOST], 2);
    w.s.permission_count = 0;
    turn_start(w.t, w.now);
    pump(&w);
    assert_int_equal(w.s.permission_count, 1);
    turn_free(w.t);
}

static void redirection(void **state)
{
    struct world w;
    init(&w, false);
    w.s.fail_code = 300;
    w.s.fail_times = 1;
    w.s.alternate = net_addr4(0xc0000202, 3479);
    make(&w, "secret");
    pump(&w);
    assert_int_equal(turn_state(w.t), TURN_READY);
    assert_true(net_addr_equal(&w.to, &w.s.alternate));
    assert_false(turn_is(w.t, SERVER, bytes_of("\x40\0\0\0", 4)));
    assert_true(turn_is(w.t, &w.s.alternate, bytes_of("\x40\0\0\0", 4)));
    turn_free(w.t);

    init(&w, true);
    w.s.fail_code = 300;
    w.s.fail_times = 1;
    w.s.alternate = net_addr4(0xc0000202, 3479);
    make(&w, "secret");
    pump(&w);
    assert_int_equal(w.seen[TURN_EVENT_ALTERNATE], 1);
    assert_true(net_addr_equal(&w.last[TURN_EVENT_ALTERNATE].server, &w.s.alternate));
    assert_int_equal(turn_start(w.t, w.now), 0);
    pump(&w);
    assert_int_equal(turn_state(w.t), TURN_READY);
    turn_free(w.t);

    init(&w, false); /* in a circle: once only */
    w.s.fail_code = 300;
    w.s.fail_times = 9;
    w.s.alternate = net_addr4(0xc0000202, 3479);
    make(&w, "secret");
    pump(&w);
    assert_int_equal(w.last[TURN_EVENT_FAILED].code, 300);
    turn_free(w.t);
}

static void refused_peers(void **state)
{
    struct world w;
    ready(&w, false);
    w.s.fail_code = 403;
    w.s.fail_method = STUN_CREATE_PERMISSION;
    w.s.fail_times = 1;
    send_text(&w, PEER, "x");
    assert_int_equal(w.seen[TURN_EVENT_REFUSED], 1);
    assert_true(net_ip_equal(&w.last[TURN_EVENT_REFUSED].peer, PEER));
    assert_int_equal(w.last[TURN_EVENT_REFUSED].code, 403);
    assert_int_equal(send_text(&w, PEER, "x"), -EACCES);
    assert_int_equal(turn_permit(w.t, at(0xcb007105, 99), w.now), -EACCES);
    assert_int_equal(send_text(&w, at(0xcb007106, 4000), "x"), 0);
    run(&w, 5 * MINUTE); /* not for ever */
    assert_int_equal(send_text(&w, PEER, "y"), 0);
    said(&w, PEER, "y");
    turn_free(w.t);
}

/* The server takes no channel: indications go on. */
static void refused_channels(void **state)
{
    struct world w;
    ready(&w, false);
    w.s.fail_code = 400;
    w.s.fail_method = STUN_CHANNEL_BIND;
    w.s.fail_times = 1;
    for (int i = 0; i < 3 * TURN_BIND_AFTER; i++)
        assert_int_equal(send_text(&w, PEER, "x"), 0);
    assert_int_equal(w.s.requests[STUN_CHANNEL_BIND], 1);
    assert_int_equal(w.s.indications, 3 * TURN_BIND_AFTER);
    for (int i = 0; i < 11; i++) {
        run(&w, MINUTE);
        send_text(&w, PEER, "x");
    }
    assert_int_equal(w.s.requests[STUN_CHANNEL_BIND], 2);
    assert_true(w.s.channel_frames > 0);
    turn_free(w.t);
}

static void strangers_are_not_believed(void **state)
{
    struct world w;
    ready(&w, false);
    send_text(&w, PEER, "x");
    /* ChannelData of no channel, Data from nobody permitted, answers to nothing, another server. */
    assert_int_equal(turn_input(w.t, bytes_of("\x4f\xff\0\1x", 5), w.now), -EBADMSG);
    assert_int_equal(turn_input(w.t, bytes_of("\x40\0\0\2x", 5), w.now), -EBADMSG);
    w.s.permitted[w.s.permission_count++] = *at(0xcb007109, 1);
    assert_true(model_from_peer(&w.s, at(0xcb007109, 1), bytes_of_str("boo")));
    turn_input(w.t, bytes_of(w.s.reply, w.s.reply_len), w.now);
    struct turn_event ev;
    assert_false(turn_event(w.t, &ev));
    assert_false(turn_is(w.t, PEER, bytes_of(w.s.reply, w.s.reply_len)));
    assert_true(turn_is(w.t, SERVER, bytes_of(w.s.reply, w.s.reply_len)));
    uint8_t txid[STUN_TXID_LEN] = {1, 2, 3, 4};
    uint8_t out[64];
    struct stun_writer wr;
    stun_begin(&wr, out, sizeof out, STUN_SUCCESS, STUN_BINDING, txid);
    assert_true(turn_is(w.t, SERVER, stun_end(&wr)));
    txid[3]++;
    stun_begin(&wr, out, sizeof out, STUN_SUCCESS, STUN_BINDING, txid);
    assert_false(turn_is(w.t, SERVER, stun_end(&wr)));
    stun_begin(&wr, out, sizeof out, STUN_REQUEST, STUN_BINDING, txid);
    assert_false(turn_is(w.t, SERVER, stun_end(&wr)));
    turn_free(w.t);
}

/* Every answer cut everywhere and with every bit flipped: none but the true one counts. */
static void mangled_answers(void **state)
{
    struct world w;
    init(&w, false);
    make(&w, "secret");
    struct turn_out out;
    assert_true(turn_output(w.t, w.now, &out));
    model_input(&w.s, out.data);
    turn_input(w.t, bytes_of(w.s.reply, w.s.reply_len), w.now);
    assert_true(turn_output(w.t, w.now, &out));
    model_input(&w.s, out.data);
    uint8_t good[512];
    size_t n = w.s.reply_len;
    memcpy(good, w.s.reply, n);
    for (size_t i = 0; i < n; i++)
        turn_input(w.t, bytes_of(good, i), w.now);
    /* Behind the integrity only the fingerprint stands: without it the message is as good. */
    for (size_t i = 0; i < 8 * (n - 8); i++) {
        good[i / 8] ^= (uint8_t)(1 << i % 8);
        turn_input(w.t, bytes_of(good, n), w.now);
        good[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(turn_state(w.t), TURN_ALLOCATING);
    events(&w);
    assert_int_equal(w.seen[TURN_EVENT_ALLOCATED] + w.seen[TURN_EVENT_FAILED], 0);
    turn_input(w.t, bytes_of(good, n), w.now);
    assert_int_equal(turn_state(w.t), TURN_READY);
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

static void release_without_an_answer(void **state)
{
    struct world w;
    ready(&w, false);
    w.lose = true;
    w.sent = 0;
    turn_release(w.t, w.now);
    run(&w, 5 * SEC);
    assert_int_equal(w.sent, TURN_RELEASE_SENDS);
    assert_int_equal(w.seen[TURN_EVENT_RELEASED], 1);
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
        cmocka_unit_test(sha256_when_offered),
        cmocka_unit_test(stale_nonces),
        cmocka_unit_test(refusals_have_words),
        cmocka_unit_test(wrong_password),
        cmocka_unit_test(credentials_run_out),
        cmocka_unit_test(errors_must_be_signed),
        cmocka_unit_test(retransmissions),
        cmocka_unit_test(a_dead_server_loses_the_allocation),
        cmocka_unit_test(a_short_outage_is_survived),
        cmocka_unit_test(short_lifetimes),
        cmocka_unit_test(what_an_earlier_run_left),
        cmocka_unit_test(the_server_forgot_us),
        cmocka_unit_test(redirection),
        cmocka_unit_test(refused_peers),
        cmocka_unit_test(refused_channels),
        cmocka_unit_test(strangers_are_not_believed),
        cmocka_unit_test(mangled_answers),
        cmocka_unit_test(a_stream_in_one_piece),
        cmocka_unit_test(what_turn_new_refuses),
        cmocka_unit_test(families),
        cmocka_unit_test(release_without_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
