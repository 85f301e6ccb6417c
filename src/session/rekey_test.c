#include <errno.h>

#include "session/pair_int.h"

static uint32_t epoch_of(struct pair *p, int i)
{
    struct session_info info;
    session_info(p->s[i], &info);
    return info.epoch;
}

static void expect_rekeyed(struct pair *p, uint32_t epoch)
{
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pair_expect(p, i, SESSION_REKEYED).epoch, epoch);
        assert_int_equal(epoch_of(p, i), epoch);
        pair_expect_none(p, i);
    }
}

/* By either end's wish; packets sealed before arrive after. */
static void test_by_wish(void **state)
{
    for (int who = 0; who < 2; who++) {
        struct pair p;
        pair_up(&p, 100 + (uint64_t)who);
        uint8_t chain[SHA384_LEN];
        memcpy(chain, p.s[0]->chain, sizeof chain);
        assert_memory_equal(chain, p.s[1]->chain, sizeof chain);
        struct letter late[2] = {pair_seal(&p, 0, "from before"), pair_seal(&p, 1, "me too")};
        assert_int_equal(session_rekey(p.s[who], p.now), 0);
        assert_int_equal(session_rekey(p.s[who], p.now), -EALREADY);
        pair_run(&p);
        expect_rekeyed(&p, 1);
        assert_memory_equal(p.s[0]->chain, p.s[1]->chain, sizeof chain);
        assert_memory_not_equal(chain, p.s[0]->chain, sizeof chain);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(late[i].p[1], 0);
            assert_int_equal(pair_give(&p, !i, &late[i]), DROP_NONE);
            assert_int_equal(pair_give(&p, !i, &late[i]), DROP_REPLAYED);
            letter_free(&late[i]);
            struct letter l = pair_seal(&p, i, "new");
            assert_int_equal(l.p[1], 1);
            letter_free(&l);
            pair_talk(&p, i, "new keys");
        }
        pair_done(&p);
    }
}

/* Keys are different each way and each epoch: the old epoch's packet relabelled is refused. */
static void test_epochs_differ(void **state)
{
    struct pair p;
    pair_up(&p, 110);
    struct letter l = pair_seal(&p, 0, "epoch 0");
    assert_int_equal(session_rekey(p.s[0], p.now), 0);
    pair_run(&p);
    l.p[1] = 1;
    l.p[15] = 200; /* a counter that is not taken */
    assert_int_equal(pair_give(&p, 1, &l), DROP_BAD_TAG);
    l.p[1] = 2;
    assert_int_equal(pair_give(&p, 1, &l), DROP_UNKNOWN_EPOCH);
    letter_free(&l);
    pair_done(&p);
}

static void test_by_time(void **state)
{
    struct pair p;
    pair_up(&p, 120);
    assert_int_equal(session_wake(p.s[0]), USEC_NEVER);
    pair_wait(&p, p.now + HOUR);
    assert_int_equal(epoch_of(&p, 0), 0);
    /* One packet of the responder is use enough; the keys are old, so the rekey comes at once. */
    pair_talk(&p, 1, "hello");
    pair_wait(&p, p.now);
    pair_run(&p);
    expect_rekeyed(&p, 1);
    usec_t since = p.now;
    pair_talk(&p, 0, "traffic");
    pair_wait(&p, since + 300 * SEC - 1);
    pair_run(&p);
    assert_int_equal(epoch_of(&p, 0), 1);
    pair_wait(&p, since + 300 * SEC);
    pair_run(&p);
    expect_rekeyed(&p, 2);
    /* Nothing was said since: no third one. */
    pair_wait(&p, p.now + HOUR);
    pair_run(&p);
    assert_int_equal(epoch_of(&p, 1), 2);
    pair_done(&p);
}

/* The responder's rekey_after, told in ESTABLISHED, binds the initiator too. */
static void test_shorter_wish(void **state)
{
    struct pair p;
    struct session_limits shorter = session_limits_default;
    shorter.rekey_after = 20 * SEC;
    pair_init(&p, 125);
    p.config[1].limits = &shorter;
    pair_renew(&p, 0);
    pair_renew(&p, 1);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    pair_run(&p);
    pair_talk(&p, 0, "x");
    assert_int_equal(session_wake(p.s[0]), p.now + 20 * SEC);
    pair_done(&p);
}

static void test_old_keys_go(void **state)
{
    struct pair p;
    pair_up(&p, 130);
    struct letter one = pair_seal(&p, 0, "one"), two = pair_seal(&p, 0, "two"),
                  three = pair_seal(&p, 1, "three");
    assert_int_equal(session_rekey(p.s[0], p.now), 0);
    pair_run(&p);
    pair_wait(&p, p.now + 300 * SEC - 1);
    assert_int_equal(pair_give(&p, 1, &one), DROP_NONE);
    pair_wait(&p, p.now + 1);
    assert_int_equal(pair_give(&p, 1, &two), DROP_UNKNOWN_EPOCH);
    assert_int_equal(pair_give(&p, 0, &three), DROP_UNKNOWN_EPOCH);
    assert_null(p.s[0]->keys[KEYS_PREVIOUS]);
    assert_null(p.s[1]->keys[KEYS_PREVIOUS]);
    letter_free(&one);
    letter_free(&two);
    letter_free(&three);
    pair_done(&p);
}

/* Both ways, in packets and in bytes, at limits of a handful. */
static void test_by_volume(void **state)
{
    for (int row = 0; row < 4; row++) {
        int who = row & 1;
        bool bytes = row & 2;
        struct pair p;
        pair_init(&p, 140 + (uint64_t)row);
        if (bytes)
            p.limits.rekey_bytes = 2000;
        else
            p.limits.rekey_packets = 100;
        pair_renew(&p, 0);
        pair_renew(&p, 1);
        assert_int_equal(session_start(p.s[0], p.now), 0);
        pair_run(&p);
        for (int i = 0; i < 99; i++) {
            pair_talk(&p, who, "123456789012"); /* and 8 of inner header: 20 */
            if (i == 97)                        /* before the limit; the NULL after ESTABLISHED counted too */
                assert_int_equal(epoch_of(&p, 0), 0);
        }
        pair_talk(&p, who, "123456789012");
        pair_wait(&p, p.now);
        pair_run(&p);
        assert_int_equal(epoch_of(&p, 0), 1);
        assert_int_equal(epoch_of(&p, 1), 1);
        pair_done(&p);
    }
}

/* A key that is used up refuses payload, leaves room for the rekey that saves the session, and ends it when
 * even that is gone. */
static void test_exhausted(void **state)
{
    struct pair p;
    uint8_t buf[DATA_OVERHEAD + 1] = {0};
    pair_init(&p, 150);
    p.limits.seal_max = 10;
    pair_renew(&p, 0);
    pair_renew(&p, 1);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    pair_run(&p);
    for (int i = 0; i < 9; i++)
        pair_talk(&p, 0, "x");
    assert_int_equal(session_seal(p.s[0], INNER_FRAME, 0, buf, 1, p.now), -EKEYEXPIRED);
    assert_int_equal(session_rekey(p.s[0], p.now), 0);
    pair_run(&p);
    pair_talk(&p, 0, "again");

    struct session_out out;
    int err = 0;
    for (long i = 0; i < 2 * CONTROL_RESERVE && err == 0; i++) {
        err = session_message(p.s[0], 1, bytes_of("x", 1), p.now);
        while (session_output(p.s[0], p.now, &out))
            continue;
    }
    assert_int_equal(err, -EKEYEXPIRED);
    assert_true(session_wake(p.s[0]) <= p.now);
    pair_drain(&p, 0);
    session_tick(p.s[0], p.now);
    assert_int_equal(pair_expect(&p, 0, SESSION_DOWN).down, DOWN_EXHAUSTED);
    pair_done(&p);
}

/* Delivers everything of end i but the letters whose bit is set. */
static void deliver(struct pair *p, int i, unsigned lost)
{
    struct tray t = {.n = 0};
    pair_collect(p, i, &t);
    for (size_t k = 0; k < t.n; k++)
        if (k >= 32 || !(lost >> k & 1))
            assert_int_equal(pair_give(p, !i, &t.letters[k]), DROP_NONE);
    tray_clear(&t);
}

/* Each half of INIT and REPLY lost alone, then DONE lost three times while only the responder talks. */
static void test_pieces_lost(void **state)
{
    struct pair p;
    pair_up(&p, 160);
    assert_int_equal(session_rekey(p.s[0], p.now), 0);
    deliver(&p, 0, 1); /* INIT is two pieces: the second arrives */
    pair_wait(&p, p.now + SEC);
    deliver(&p, 0, 2); /* now the first: together they are whole */
    assert_int_equal(p.s[1]->rekey.state, REKEY_ANSWERED);
    assert_int_equal(epoch_of(&p, 1), 0);
    pair_talk(&p, 1, "still under the old keys");
    deliver(&p, 1, ~0u); /* REPLY lost whole */
    pair_wait(&p, p.now + 2 * SEC);
    deliver(&p, 0, 0);
    deliver(&p, 1, 0);
    assert_int_equal(epoch_of(&p, 0), 1);
    usec_t wait = SEC;
    for (int i = 0; i < 3; i++, wait *= 2) {
        deliver(&p, 0, ~0u);
        assert_int_equal(epoch_of(&p, 1), 0);
        pair_talk(&p, 1, "does not know yet");
        pair_wait(&p, p.now + wait);
    }
    /* Even past the old keys' time: the initiator keeps them while it has not heard the new epoch. */
    pair_wait(&p, p.now + HOUR);
    pair_talk(&p, 1, "an hour later");
    deliver(&p, 0, ~0u);
    deliver(&p, 1, ~0u);
    pair_wait(&p, p.now + MINUTE);
    pair_run(&p);
    assert_int_equal(epoch_of(&p, 1), 1);
    assert_int_equal(p.s[0]->rekey.state, REKEY_IDLE);
    pair_talk(&p, 1, "now it knows");
    pair_done(&p);
}

/* The epoch byte wraps; late duplicates of old rekey messages do nothing. */
static void test_many(void **state)
{
    struct pair p;
    pair_up(&p, 170);
    for (uint32_t e = 1; e <= 260; e++) {
        p.now += SEC;
        assert_int_equal(session_rekey(p.s[0], p.now), 0);
        pair_run(&p);
        pair_drain(&p, 0);
        pair_drain(&p, 1);
        assert_int_equal(epoch_of(&p, 0), e);
        assert_int_equal(epoch_of(&p, 1), e);
        pair_talk(&p, (int)(e & 1), "round");
    }
    struct session_info info;
    session_info(p.s[1], &info);
    assert_int_equal(info.rekeys, 260);
    pair_done(&p);
}

/* A second rekey waits until the packets of the last epoch but one can no longer be under way. */
static void test_not_too_soon(void **state)
{
    struct pair p;
    pair_up(&p, 175);
    assert_int_equal(session_rekey(p.s[0], p.now), 0);
    pair_run(&p);
    usec_t first = p.now;
    assert_int_equal(session_rekey(p.s[0], p.now), 0);
    pair_run(&p);
    assert_int_equal(epoch_of(&p, 0), 1);
    pair_wait(&p, first + SEC);
    pair_run(&p);
    assert_int_equal(epoch_of(&p, 0), 2);
    pair_done(&p);
}

/* ---- traffic both ways over a bad network on a virtual clock ---- */

struct flight {
    struct letter l;
    usec_t at;
    int to;
    bool data, again;
};
#define FLIGHTS_MAX 4096

struct storm {
    struct pair p;
    struct rng_seeded rs;
    struct rng rng;
    struct flight *flights;
    size_t n;
    uint64_t sent, lost, arrived, twice, refused;
};

static void launch(struct storm *st, int to, const struct letter *l, bool data)
{
    bool again = false;
    if (rng_below(&st->rng, 100) < 20) {
        st->lost += data;
        return;
    }
    do {
        assert_true(st->n < FLIGHTS_MAX);
        /* 10 to 90 ms: neighbours overtake one another. */
        usec_t at = st->p.now + 10 * MSEC + rng_below(&st->rng, 80 * MSEC);
        st->flights[st->n++] = (struct flight){letter_copy(l), at, to, data, again};
        again = true;
    } while (rng_below(&st->rng, 100) < 10);
}

static void flush(struct storm *st)
{
    for (int i = 0; i < 2; i++) {
        struct tray t = {.n = 0};
        pair_collect(&st->p, i, &t);
        for (size_t k = 0; k < t.n; k++)
            launch(st, !i, &t.letters[k], false);
        tray_clear(&t);
    }
}

static void land(struct storm *st, struct flight f)
{
    struct session_in in;
    enum session_drop d = pair_give_on(&st->p, f.to, 1, &f.l, &in);
    if (f.data && d == DROP_NONE)
        st->arrived++;
    else if (f.data && d == DROP_REPLAYED)
        st->twice++;
    else if (d != DROP_NONE && d != DROP_REPLAYED)
        st->refused++;
    letter_free(&f.l);
}

static void land_due(struct storm *st)
{
    for (size_t i = 0; i < st->n;) {
        if (st->flights[i].at > st->p.now) {
            i++;
            continue;
        }
        struct flight f = st->flights[i];
        st->flights[i] = st->flights[--st->n];
        land(st, f);
    }
}

/* One run: a packet each way every 2 ms, a rekey whenever 300 were sealed. What the network delivers is
 * accepted, all of it. */
static void storm_run(uint64_t seed)
{
    struct storm st = {.n = 0};
    pair_init(&st.p, seed);
    st.p.limits.rekey_packets = 300;
    st.p.limits.rekey_retry = 300 * MSEC;
    pair_renew(&st.p, 0);
    pair_renew(&st.p, 1);
    assert_int_equal(session_start(st.p.s[0], st.p.now), 0);
    pair_run(&st.p);
    st.rng = rng_seeded(&st.rs, seed);
    st.flights = calloc(FLIGHTS_MAX, sizeof *st.flights);
    assert_non_null(st.flights);
    usec_t end = st.p.now + 60 * SEC;
    for (; st.p.now < end || st.n > 0; st.p.now += 2 * MSEC) {
        for (int i = 0; i < 2 && st.p.now < end; i++) {
            struct letter l = pair_seal(&st.p, i, "payload");
            st.sent++;
            launch(&st, !i, &l, true);
            letter_free(&l);
        }
        land_due(&st);
        for (int i = 0; i < 2 && st.p.now < end; i++)
            if (session_wake(st.p.s[i]) <= st.p.now)
                session_tick(st.p.s[i], st.p.now);
        flush(&st);
        for (int i = 0; i < 2; i++)
            pair_drain(&st.p, i);
    }
    print_message(
        "# seed %u: %u sent, %u lost by the network, %u arrived, %u doubled, %u refused, epoch %u\n",
        (unsigned)seed, (unsigned)st.sent, (unsigned)st.lost, (unsigned)st.arrived, (unsigned)st.twice,
        (unsigned)st.refused, (unsigned)epoch_of(&st.p, 0));
    assert_int_equal(st.sent, 60000);
    assert_int_equal(st.arrived, st.sent - st.lost);
    assert_int_equal(st.refused, 0);
    assert_true(st.twice > 1000);
    assert_true(epoch_of(&st.p, 0) >= 40);
    free(st.flights);
    pair_done(&st.p);
}

static void test_storm(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        storm_run(seed);
}

/* ---- control messages of the owners ---- */

static void test_messages(void **state)
{
    struct pair p;
    pair_up(&p, 180);
    static const size_t sizes[] = {0, 1, 1155, 1156, 2310, SESSION_CTL_MAX};
    uint8_t text[SESSION_CTL_MAX + 1];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int from = (int)(i & 1);
        assert_int_equal(
            session_message_on(p.s[from], 42, (uint8_t)(i * 12), bytes_of(text, sizes[i]), p.now), 0);
        struct tray t = {.n = 0};
        pair_collect(&p, from, &t);
        assert_int_equal(t.n, sizes[i] == 0 ? 1 : (sizes[i] + 1154) / 1155);
        for (size_t k = t.n; k-- > 0;) { /* the last piece first */
            assert_true(t.letters[k].n <= 1200);
            assert_int_equal(t.letters[k].path, 42);
            pair_expect_none(&p, !from);
            assert_int_equal(pair_give(&p, !from, &t.letters[k]), DROP_NONE);
        }
        struct session_event ev = pair_expect(&p, !from, SESSION_MESSAGE);
        assert_int_equal(ev.ctl_type, i * 12);
        assert_int_equal(ev.message.n, sizes[i]);
        if (sizes[i] > 0)
            assert_memory_equal(ev.message.p, text, sizes[i]);
        tray_clear(&t);
    }
    assert_int_equal(session_message(p.s[0], 0, bytes_of(text, sizeof text), p.now), -EMSGSIZE);
    assert_int_equal(session_message(p.s[0], SESSION_CTL_APP_COUNT, bytes_of(text, 1), p.now), -EINVAL);
    int err = 0, sent = 0;
    while ((err = session_message(p.s[0], 0, bytes_of(text, 1), p.now)) == 0)
        sent++;
    assert_int_equal(err, -ENOBUFS);
    assert_int_equal(sent, OUT_MAX);
    pair_done(&p);
}

/* Messages that never become whole are bounded in number and size, and the newest wins. */
static void test_assembly_bounded(void **state)
{
    struct pair p;
    pair_up(&p, 190);
    uint8_t text[3000] = {1};
    struct tray t = {.n = 0};
    for (int i = 0; i < 40; i++)
        assert_int_equal(session_message(p.s[0], 3, bytes_of(text, sizeof text), ++p.now), 0);
    pair_collect(&p, 0, &t);
    assert_int_equal(t.n, 120);
    for (size_t i = 0; i < t.n; i += 3, p.now++)
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(pair_give(&p, 1, &t.letters[i + k]), DROP_NONE);
    size_t held = session_memory(p.s[1]);
    assert_true(held < 40000);
    pair_expect_none(&p, 1);
    assert_int_equal(pair_give(&p, 1, &t.letters[119]), DROP_NONE);
    pair_expect(&p, 1, SESSION_MESSAGE);
    assert_int_equal(pair_give(&p, 1, &t.letters[2]), DROP_NONE); /* long forgotten */
    pair_expect_none(&p, 1);
    p.now += ASSEMBLY_LIFE;
    assert_int_equal(pair_give(&p, 1, &t.letters[116]), DROP_NONE); /* too late */
    pair_expect_none(&p, 1);
    tray_clear(&t);
    pair_done(&p);
}

static void test_heads(void **state)
{
    struct pair p;
    pair_up(&p, 200);
    struct hs_head heads[HS_HEADS_MAX + 1] = {{.seq = 5}, {.seq = 6, .hash = {9}}};
    assert_int_equal(session_heads(p.s[1], heads, HS_HEADS_MAX + 1, p.now), -EMSGSIZE);
    for (size_t n = 0; n <= HS_HEADS_MAX; n += 8) {
        assert_int_equal(session_heads(p.s[1], heads, n, p.now), 0);
        pair_run(&p);
        struct session_event ev = pair_expect(&p, 0, SESSION_HEADS);
        assert_int_equal(ev.head_count, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(ev.heads[i].seq, heads[i].seq);
            assert_memory_equal(ev.heads[i].hash, heads[i].hash, 32);
        }
    }
    pair_done(&p);
}

/* An owner that does not drain keeps UP and DOWN and the newest of the rest. */
static void test_events_bounded(void **state)
{
    struct pair p;
    pair_new(&p, 210);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    pair_run(&p);
    for (uint8_t i = 0; i < 200; i++) {
        assert_int_equal(session_message(p.s[0], 1, bytes_of(&i, 1), p.now), 0);
        pair_run(&p);
    }
    session_close(p.s[0], p.now);
    pair_run(&p);
    assert_int_equal(pair_expect(&p, 1, SESSION_UP).kind, SESSION_UP);
    struct session_event ev;
    size_t n = 0;
    uint8_t last = 0;
    while (session_event(p.s[1], &ev) && ev.kind == SESSION_MESSAGE) {
        last = ev.message.p[0];
        n++;
    }
    assert_int_equal(n, EVENTS_MAX - 2);
    assert_int_equal(last, 199);
    assert_int_equal(ev.kind, SESSION_DOWN);
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_wish),
        cmocka_unit_test(test_epochs_differ),
        cmocka_unit_test(test_by_time),
        cmocka_unit_test(test_shorter_wish),
        cmocka_unit_test(test_old_keys_go),
        cmocka_unit_test(test_by_volume),
        cmocka_unit_test(test_exhausted),
        cmocka_unit_test(test_pieces_lost),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_not_too_soon),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_assembly_bounded),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_events_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
