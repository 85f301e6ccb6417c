#include <errno.h>

#include "session/pair_int.h"

static void expect_heads(struct pair *p, int at)
{
    struct session_event ev = pair_expect(p, at, SESSION_HEADS);
    assert_int_equal(ev.head_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(ev.heads[i].party, p->heads[!at][i].party, 32);
        assert_memory_equal(ev.heads[i].hash, p->heads[!at][i].hash, 32);
        assert_int_equal(ev.heads[i].seq, p->heads[!at][i].seq);
    }
}

static void expect_up(struct pair *p, int initiator)
{
    struct session_info a, b;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(session_state(p->s[i]), SESSION_UP_STATE);
        pair_expect(p, i, SESSION_UP);
        expect_heads(p, i);
        pair_expect_none(p, i);
    }
    session_info(p->s[initiator], &a);
    session_info(p->s[!initiator], &b);
    assert_true(a.initiator);
    assert_false(b.initiator);
    assert_memory_equal(a.session_id, b.session_id, 16);
    assert_int_equal(a.peer_index, session_index(p->s[!initiator]));
    assert_int_equal(b.peer_index, session_index(p->s[initiator]));
    assert_int_equal(a.cipher, b.cipher);
    assert_int_equal(a.epoch, 0);
    /* What travels one way only. */
    assert_memory_equal(&a.seen_by_peer, &p->config[!initiator].seen, sizeof a.seen_by_peer);
    assert_int_equal(a.peer_mtu, p->limits.mtu);
    assert_int_equal(a.peer_heartbeat_ms, 10000);
    assert_true(a.peer_direct);
    assert_int_equal(b.peer_addr_count, 2);
    assert_memory_equal(b.peer_addrs, p->addrs[initiator], sizeof p->addrs[0]);
}

static void test_full(void **state)
{
    struct pair p;
    pair_new(&p, 1);
    assert_int_equal(session_seal(p.s[0], INNER_FRAME, 0, (uint8_t[DATA_OVERHEAD]){0}, 0, p.now), -ENOTCONN);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    assert_int_equal(session_start(p.s[0], p.now), -EALREADY);
    static const enum session_state states[4][2] = {
        {SESSION_HELLO_SENT, SESSION_CHALLENGE_SENT},
        {SESSION_RESPONSE_SENT, SESSION_CHALLENGE_SENT},
        {SESSION_RESPONSE_SENT, SESSION_UP_STATE},
        {SESSION_UP_STATE, SESSION_UP_STATE},
    };
    static const size_t sizes[4] = {206 + 2 * 72, 8 + 4 + 64 + 1568 + 3 + 2 * 72 + SIGN_SIG_LEN,
                                    8 + 1568 + SIGN_SIG_LEN + 1 + 7 + 19 + 16,
                                    8 + 16 + 2 + 4 + 4 + 7 + 1 + 16};
    for (int step = 0; step < 4; step++) {
        struct letter l = pair_take(&p, step % 2);
        assert_true(l.handshake);
        assert_int_equal(l.n, sizes[step]);
        assert_int_equal(pair_give(&p, (step + 1) % 2, &l), DROP_NONE);
        for (int i = 0; i < 2; i++)
            assert_int_equal(session_state(p.s[i]), states[step][i]);
        letter_free(&l);
    }
    pair_run(&p);
    expect_up(&p, 0);
    pair_talk(&p, 0, "there");
    pair_talk(&p, 1, "and back");
    pair_talk(&p, 0, "");
    struct session_info info;
    session_info(p.s[0], &info);
    assert_int_equal(info.tx_packets, 2);
    assert_int_equal(info.tx_bytes, 5);
    assert_int_equal(info.rx_packets, 1);
    assert_int_equal(info.rx_bytes, 8);
    assert_int_equal(session_wake(p.s[1]), USEC_NEVER);
    pair_done(&p);
}

/* Both start; the letters cross in every order. */
static void test_glare(void **state)
{
    for (int order = 0; order < 4; order++) {
        struct pair p;
        pair_new(&p, 20 + (uint64_t)order);
        int small = memcmp(p.config[0].self, p.config[1].self, NODE_ID_LEN) < 0 ? 0 : 1;
        assert_int_equal(session_start(p.s[0], p.now), 0);
        assert_int_equal(session_start(p.s[1], p.now), 0);
        struct letter from_small = pair_take(&p, small), from_large = pair_take(&p, !small);
        if (order & 1)
            assert_int_equal(pair_give(&p, small, &from_large), DROP_GLARE);
        assert_int_equal(pair_give(&p, !small, &from_small), DROP_NONE);
        assert_int_equal(session_state(p.s[!small]), SESSION_CHALLENGE_SENT);
        if (order & 2) {
            /* Its own HELLO comes very late, when the small one has answered already. */
            struct letter challenge = pair_take(&p, !small);
            assert_int_equal(pair_give(&p, small, &challenge), DROP_NONE);
            assert_int_equal(pair_give(&p, small, &from_large), DROP_WRONG_STATE);
            letter_free(&challenge);
        }
        pair_run(&p);
        expect_up(&p, small);
        pair_talk(&p, 0, "x");
        pair_talk(&p, 1, "y");
        letter_free(&from_small);
        letter_free(&from_large);
        pair_done(&p);
    }
}

/* The k-th handshake letter is lost; timers alone bring both up. */
static void test_loss(void **state)
{
    for (size_t lost = 0; lost < 4; lost++) {
        struct pair p;
        pair_new(&p, 30 + lost);
        assert_int_equal(session_start(p.s[0], p.now), 0);
        usec_t begun = p.now;
        size_t count = 0;
        while (session_state(p.s[0]) != SESSION_UP_STATE || session_state(p.s[1]) != SESSION_UP_STATE) {
            struct tray t[2] = {{.n = 0}, {.n = 0}};
            for (int i = 0; i < 2; i++)
                pair_collect(&p, i, &t[i]);
            if (t[0].n + t[1].n == 0) {
                usec_t next = session_wake(p.s[0]);
                assert_true(next > p.now && next < begun + 4 * SEC);
                pair_wait(&p, next);
            }
            for (int i = 0; i < 2; i++)
                for (size_t k = 0; k < t[i].n; k++)
                    if (count++ != lost)
                        assert_int_equal(pair_give(&p, !i, &t[i].letters[k]), DROP_NONE);
            tray_clear(&t[0]);
            tray_clear(&t[1]);
        }
        assert_int_equal(p.now, begun + SEC);
        pair_run(&p);
        expect_up(&p, 0);
        pair_talk(&p, 1, "up");
        pair_done(&p);
    }
}

/* A duplicate is answered with the bytes that were sent before, not too often, and never with new ones. */
static void test_duplicates(void **state)
{
    struct pair p;
    pair_new(&p, 40);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    struct letter hello = pair_take(&p, 0), again;
    assert_int_equal(pair_give(&p, 1, &hello), DROP_NONE);
    struct letter challenge = pair_take(&p, 1);
    struct tray none = {.n = 0};
    assert_int_equal(pair_give(&p, 1, &hello), DROP_NONE);
    pair_collect(&p, 1, &none);
    assert_int_equal(none.n, 0);
    p.now += SEC / 4;
    assert_int_equal(pair_give(&p, 1, &hello), DROP_NONE);
    again = pair_take(&p, 1);
    assert_int_equal(again.n, challenge.n);
    assert_memory_equal(again.p, challenge.p, again.n);
    letter_free(&again);

    assert_int_equal(pair_give(&p, 0, &challenge), DROP_NONE);
    assert_int_equal(pair_give(&p, 0, &challenge), DROP_WRONG_STATE);
    struct letter response = pair_take(&p, 0);
    assert_int_equal(pair_give(&p, 1, &response), DROP_NONE);
    struct letter established = pair_take(&p, 1);
    assert_int_equal(pair_give(&p, 1, &hello), DROP_WRONG_STATE);
    p.now += SEC / 4;
    assert_int_equal(pair_give(&p, 1, &response), DROP_NONE);
    again = pair_take(&p, 1);
    assert_int_equal(again.n, established.n);
    assert_memory_equal(again.p, established.p, again.n);
    letter_free(&again);

    assert_int_equal(pair_give(&p, 0, &established), DROP_NONE);
    assert_int_equal(pair_give(&p, 0, &established), DROP_WRONG_STATE);
    pair_run(&p);
    /* The initiator's first packet came: the caches are gone. */
    assert_int_equal(pair_give(&p, 1, &response), DROP_WRONG_STATE);
    expect_up(&p, 0);
    letter_free(&hello);
    letter_free(&challenge);
    letter_free(&response);
    letter_free(&established);
    pair_done(&p);
}

static void test_timeout(void **state)
{
    struct pair p;
    pair_new(&p, 50);
    usec_t begun = p.now;
    assert_int_equal(session_start(p.s[0], p.now), 0);
    static const unsigned at[] = {0, 1, 3, 7, 15, 23};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        if (i > 0)
            pair_wait(&p, session_wake(p.s[0]));
        assert_int_equal(p.now, begun + at[i] * SEC);
        struct letter l = pair_take(&p, 0);
        if (i == 0)
            assert_int_equal(pair_give(&p, 1, &l), DROP_NONE);
        letter_free(&l);
    }
    pair_wait(&p, begun + 30 * SEC - 1);
    assert_int_equal(session_state(p.s[0]), SESSION_HELLO_SENT);
    assert_int_equal(session_state(p.s[1]), SESSION_CHALLENGE_SENT);
    pair_wait(&p, begun + 30 * SEC);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(session_state(p.s[i]), SESSION_DEAD);
        assert_int_equal(pair_expect(&p, i, SESSION_DOWN).down, DOWN_TIMEOUT);
        assert_int_equal(session_wake(p.s[i]), USEC_NEVER);
    }
    pair_done(&p);
}

static struct letter reject_letter(uint8_t *text, size_t cap, uint32_t receiver)
{
    const struct hs_reject m = {receiver, HS_REJECT_BUSY};
    struct wr w = wr_of(text, cap);
    hs_reject_write(&w, &m);
    return (struct letter){.p = text, .n = w.n, .path = 1};
}

/* An unsigned REJECT ends nothing that goes well, and gives a dead try three more seconds. */
static void test_reject(void **state)
{
    struct pair p;
    uint8_t text[16];
    pair_new(&p, 60);
    struct letter r = reject_letter(text, sizeof text, p.config[0].index);
    assert_int_equal(pair_give(&p, 0, &r), DROP_WRONG_STATE);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    r = reject_letter(text, sizeof text, 99);
    assert_int_equal(pair_give(&p, 0, &r), DROP_UNKNOWN_INDEX);
    r = reject_letter(text, sizeof text, p.config[0].index);
    assert_int_equal(pair_give(&p, 0, &r), DROP_NONE);
    assert_int_equal(session_state(p.s[0]), SESSION_HELLO_SENT);
    pair_run(&p);
    expect_up(&p, 0);
    assert_int_equal(pair_give(&p, 0, &r), DROP_WRONG_STATE);
    struct session_info info;
    session_info(p.s[0], &info);
    assert_int_equal(info.reject_reason, HS_REJECT_BUSY);

    pair_renew(&p, 0);
    usec_t begun = p.now;
    assert_int_equal(session_start(p.s[0], p.now), 0);
    assert_int_equal(pair_give(&p, 0, &r), DROP_NONE);
    p.now += SEC / 2;
    assert_int_equal(pair_give(&p, 0, &r), DROP_NONE);
    pair_wait(&p, begun + 3 * SEC - 1);
    assert_int_equal(session_state(p.s[0]), SESSION_HELLO_SENT);
    pair_wait(&p, begun + 3 * SEC);
    assert_int_equal(pair_expect(&p, 0, SESSION_DOWN).down, DOWN_REJECTED);
    struct tray t = {.n = 0};
    pair_collect(&p, 0, &t);
    assert_int_equal(t.n, 2); /* the HELLO and its second try */
    tray_clear(&t);
    pair_done(&p);
}

static void expect_cipher(struct pair *p, enum aead_alg want)
{
    struct session_info info;
    for (int e = 0; e < 2; e++) {
        assert_int_equal(session_state(p->s[e]), SESSION_UP_STATE);
        session_info(p->s[e], &info);
        assert_int_equal(info.cipher, want);
    }
    pair_talk(p, 0, "sealed");
    pair_talk(p, 1, "as well");
}

/* The second begins as well, and the HELLO of the one with the smaller id stands. */
static void both_began(struct pair *p)
{
    assert_int_equal(session_start(p->s[1], p->now), 0);
    int small = memcmp(p->config[0].self, p->config[1].self, NODE_ID_LEN) < 0 ? 0 : 1;
    struct letter stands = pair_take(p, small), falls = pair_take(p, !small);
    assert_int_equal(pair_give(p, small, &falls), DROP_GLARE);
    assert_int_equal(pair_give(p, !small, &stands), DROP_NONE);
    letter_free(&stands);
    letter_free(&falls);
}

static void refuse_ciphers(struct pair *p, int first)
{
    struct letter hello = pair_take(p, first);
    assert_int_equal(pair_give(p, !first, &hello), DROP_NO_CIPHER);
    assert_int_equal(session_state(p->s[!first]), SESSION_IDLE);
    struct letter no = pair_take(p, !first);
    assert_int_equal(hs_message_of(bytes_of(no.p, no.n)), HS_REJECT);
    assert_int_equal(pair_give(p, first, &no), DROP_NONE);
    letter_free(&hello);
    letter_free(&no);
}

/* Whoever begins, and where both do: the same cipher for the same two. */
static void test_ciphers(void **state)
{
    static const struct {
        uint8_t mask[2];
        bool aes[2];
        int want; /* -1: none */
    } rows[] = {
        {{3, 3}, {true, true}, AEAD_AES256GCM},
        {{3, 3}, {true, false}, AEAD_CHACHA20POLY1305},
        {{3, 3}, {false, true}, AEAD_CHACHA20POLY1305},
        {{3, 3}, {false, false}, AEAD_CHACHA20POLY1305},
        {{1, 3}, {false, false}, AEAD_AES256GCM},
        {{3, 1}, {true, false}, AEAD_AES256GCM},
        {{2, 3}, {true, true}, AEAD_CHACHA20POLY1305},
        {{1, 2}, {true, true}, -1},
        {{0, 3}, {true, true}, -1},
    };
    for (size_t i = 0; i < 3 * (sizeof rows / sizeof rows[0]); i++) {
        const uint8_t *mask = rows[i / 3].mask;
        int want = rows[i / 3].want, first = i % 3 == 1;
        struct pair p;
        pair_init(&p, 70 + i);
        for (int e = 0; e < 2; e++) {
            p.config[e].ciphers = mask[e];
            p.config[e].prefer_aes = rows[i / 3].aes[e];
            pair_renew(&p, e);
        }
        assert_int_equal(session_start(p.s[first], p.now), 0);
        if (want >= 0) {
            if (i % 3 == 2)
                both_began(&p);
            pair_run(&p);
            expect_cipher(&p, (enum aead_alg)want);
        } else {
            refuse_ciphers(&p, first);
        }
        pair_done(&p);
    }
}

/* What a stranger's HELLO can make us keep, and what a session costs when it is up. */
static void test_memory(void **state)
{
    struct pair p;
    pair_new(&p, 80);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    struct letter hello = pair_take(&p, 0);
    assert_int_equal(pair_give(&p, 1, &hello), DROP_NONE);
    size_t full = session_memory(p.s[1]);
    struct letter challenge = pair_take(&p, 1);
    size_t half_open = session_memory(p.s[1]);
    assert_true(full > half_open);
    assert_true(half_open < 16384);
    assert_int_equal(pair_give(&p, 0, &challenge), DROP_NONE);
    pair_run(&p);
    for (int i = 0; i < 2; i++)
        pair_drain(&p, i);
    size_t up = session_memory(p.s[1]);
    print_message("# half-open responder %zu bytes (%zu with CHALLENGE queued), up %zu\n", half_open, full,
                  up);
    assert_true(up < 6144);
    letter_free(&hello);
    letter_free(&challenge);
    pair_done(&p);
}

static void test_new_hello_when_up(void **state)
{
    struct pair p;
    pair_up(&p, 90);
    struct session *other = session_new(&p.config[0]);
    assert_non_null(other);
    assert_int_equal(session_start(other, p.now), 0);
    struct session_out out;
    assert_true(session_output(other, p.now, &out));
    const struct letter l = {out.p, out.n, 1, true};
    assert_int_equal(pair_give(&p, 1, &l), DROP_WRONG_STATE);
    pair_talk(&p, 0, "still here");
    session_free(other);
    pair_done(&p);
}

static void test_close(void **state)
{
    struct pair p;
    pair_up(&p, 95);
    session_close(p.s[1], p.now);
    assert_int_equal(session_state(p.s[1]), SESSION_DEAD);
    struct letter bye = pair_take(&p, 1);
    assert_int_equal(pair_give(&p, 0, &bye), DROP_NONE);
    assert_int_equal(pair_expect(&p, 0, SESSION_DOWN).down, DOWN_CLOSED_BY_PEER);
    pair_expect_none(&p, 1);
    uint8_t buf[DATA_OVERHEAD] = {0};
    assert_int_equal(session_seal(p.s[0], INNER_FRAME, 0, buf, 0, p.now), -ENOTCONN);
    assert_int_equal(session_message(p.s[0], 0, bytes_of(NULL, 0), p.now), -ENOTCONN);
    assert_int_equal(session_resume(p.s[0], 1, bytes_of(NULL, 0), p.now), -ENOTCONN);
    assert_int_equal(session_rekey(p.s[1], p.now), -ENOTCONN);
    letter_free(&bye);
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),    cmocka_unit_test(test_glare),
        cmocka_unit_test(test_loss),    cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_timeout), cmocka_unit_test(test_reject),
        cmocka_unit_test(test_ciphers), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_close),   cmocka_unit_test(test_new_hello_when_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
