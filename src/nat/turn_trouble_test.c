#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nat/turn_kit_int.h"

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
        cmocka_unit_test(sha256_when_offered),
        cmocka_unit_test(stale_nonces),
        cmocka_unit_test(refusals_have_words),
        cmocka_unit_test(wrong_password),
        cmocka_unit_test(credentials_run_out),
        cmocka_unit_test(errors_must_be_signed),
        cmocka_unit_test(retransmissions),
        cmocka_unit_test(a_dead_server_loses_the_allocation),
        cmocka_unit_test(a_short_outage_is_survived),
        cmocka_unit_test(what_an_earlier_run_left),
        cmocka_unit_test(the_server_forgot_us),
        cmocka_unit_test(redirection),
        cmocka_unit_test(refused_peers),
        cmocka_unit_test(refused_channels),
        cmocka_unit_test(strangers_are_not_believed),
        cmocka_unit_test(mangled_answers),
        cmocka_unit_test(release_without_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
