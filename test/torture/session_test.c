/* Two sessions when memory fails: what is lost is sent again, what was announced is kept, nobody hangs. The
 * wire between the two loses nothing, so that only memory can be to blame. */
#include "torture.h"

#include "session/pair_int.h"

#define PATIENCE (60 * SEC)
#define ILL      (5 * SEC) /* how long "everything fails" lasts, shorter than any give-up */

static struct pair pair;

/* What one end's owner heard. */
struct heard {
    unsigned up, down, proven, failed, messages, heads, rekeyed;
    uint32_t path;
    size_t message_n;
    enum session_down why;
};
static struct heard heard[2];

static void hear(int i)
{
    struct session_event ev;
    struct heard *h = &heard[i];
    while (session_event(pair.s[i], &ev)) {
        h->up += ev.kind == SESSION_UP;
        h->down += ev.kind == SESSION_DOWN;
        h->heads += ev.kind == SESSION_HEADS;
        h->rekeyed += ev.kind == SESSION_REKEYED;
        h->proven += ev.kind == SESSION_PATH_PROVEN;
        h->failed += ev.kind == SESSION_PATH_FAILED;
        h->messages += ev.kind == SESSION_MESSAGE;
        if (ev.kind == SESSION_PATH_PROVEN || ev.kind == SESSION_PATH_FAILED)
            h->path = ev.path;
        if (ev.kind == SESSION_DOWN)
            h->why = ev.down;
        if (ev.kind == SESSION_MESSAGE) {
            h->message_n = ev.message.n;
            for (size_t b = 0; b < ev.message.n; b++)
                assert_int_equal(ev.message.p[b], (uint8_t)(b * 7));
        }
    }
}

static void give(int i, const struct letter *l)
{
    struct session_in in;
    enum session_drop drop;
    struct session_info before, after;
    struct letter copy = letter_copy(l);
    enum session_state state = session_state(pair.s[i]);
    session_info(pair.s[i], &before);
    torture_on();
    int rc = session_input(pair.s[i], l->path == SESSION_PATH_ANY ? 1 : l->path, copy.p, copy.n, pair.now,
                           &in, &drop);
    torture_off();
    session_info(pair.s[i], &after);
    if (rc != 0) { /* a refused datagram changed nothing but its counter */
        assert_int_equal(rc, -EBADMSG);
        assert_int_not_equal(drop, DROP_NONE);
        assert_int_equal(session_state(pair.s[i]), state);
        assert_int_equal(after.epoch, before.epoch);
    }
    letter_free(&copy);
}

static void carry(void)
{
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < 2; i++) {
            struct tray t = {.n = 0};
            pair_collect(&pair, i, &t);
            for (size_t k = 0; k < t.n; k++)
                give(!i, &t.letters[k]);
            busy = busy || t.n > 0;
            tray_clear(&t);
            hear(i);
        }
    }
}

/* Lets both live until `until`, timer by timer. */
static void live(usec_t until)
{
    carry();
    for (;;) {
        usec_t next = usec_min(session_wake(pair.s[0]), session_wake(pair.s[1]));
        if (next > until)
            break;
        pair.now = next > pair.now ? next : pair.now + 1;
        for (int i = 0; i < 2; i++) {
            torture_on();
            session_tick(pair.s[i], pair.now);
            torture_off();
        }
        carry();
    }
    pair.now = until;
}

/* Ill for a while, then well. */
static void live_through(usec_t ill, usec_t well)
{
    live(pair.now + ill);
    torture_heal();
    live(pair.now + well);
}

static void story_up(void)
{
    pair_up(&pair, 7);
    memset(heard, 0, sizeof heard);
}

static void story_end(void)
{
    pair_done(&pair);
}

/* ---- birth ---- */

static void births(void)
{
    pair_init(&pair, 3);
    torture_on();
    pair.s[0] = session_new(&pair.config[0]);
    torture_off();
    assert_true(pair.s[0] || torture_hit());
    pair_done(&pair);
}

/* ---- handshake ---- */

static void handshakes(void)
{
    memset(heard, 0, sizeof heard);
    pair_new(&pair, 7);
    torture_on();
    int rc = session_start(pair.s[0], pair.now);
    torture_off();
    if (rc < 0) {
        assert_true(torture_hit());
        assert_true(rc == -ENOMEM || rc == -EIO);
        assert_int_equal(session_state(pair.s[0]), SESSION_IDLE);
        assert_int_equal(session_wake(pair.s[0]), USEC_NEVER);
        torture_heal();
        assert_int_equal(session_start(pair.s[0], pair.now), 0);
    }
    live_through(ILL, PATIENCE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(session_state(pair.s[i]), SESSION_UP_STATE);
        assert_int_equal(heard[i].up, 1);
        assert_int_equal(heard[i].down, 0);
        pair_talk(&pair, i, "we met");
    }
    story_end();
}

/* Nobody answers, and memory does not come back: the owner hears of the end all the same. */
static void time_outs(void)
{
    memset(heard, 0, sizeof heard);
    pair_new(&pair, 8);
    assert_int_equal(session_start(pair.s[0], pair.now), 0);
    struct letter hello = pair_take(&pair, 0);
    letter_free(&hello);
    for (int n = 0; n < 100 && session_wake(pair.s[0]) != USEC_NEVER; n++) {
        struct session_out out;
        pair.now = session_wake(pair.s[0]);
        torture_on();
        session_tick(pair.s[0], pair.now);
        torture_off();
        while (session_output(pair.s[0], pair.now, &out))
            continue;
    }
    assert_int_equal(session_state(pair.s[0]), SESSION_DEAD);
    hear(0);
    assert_int_equal(heard[0].down, 1);
    assert_int_equal(heard[0].why, DOWN_TIMEOUT);
    story_end();
}

/* ---- rekey ---- */

static void rekeys_by(int who)
{
    struct session_info info[2];
    story_up();
    torture_on();
    int rc = session_rekey(pair.s[who], pair.now);
    torture_off();
    assert_int_equal(rc, 0);
    live_through(20 * SEC, 100 * SEC);
    for (int i = 0; i < 2; i++) {
        session_info(pair.s[i], &info[i]);
        assert_int_equal(info[i].epoch, 1);
        assert_int_equal(heard[i].down, 0);
        pair_talk(&pair, i, "under new keys");
        pair_talk(&pair, i, "and again");
    }
    assert_int_equal(session_rekey(pair.s[who], pair.now), 0);
    live(pair.now + 10 * SEC);
    session_info(pair.s[0], &info[0]);
    assert_int_equal(info[0].epoch, 2);
    story_end();
}

static void rekeys_by_initiator(void)
{
    rekeys_by(0);
}

static void rekeys_by_responder(void)
{
    rekeys_by(1);
}

/* ---- resume ---- */

static void proven_by_resume(uint32_t path)
{
    memset(heard, 0, sizeof heard);
    torture_heal();
    int rc = session_resume(pair.s[0], path, bytes_of_str("view"), pair.now);
    assert_true(rc == 0);
    live(pair.now + 10 * SEC);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(heard[i].proven, 1);
        assert_int_equal(heard[i].path, path);
    }
}

static void resumes(void)
{
    story_up();
    torture_on();
    int rc = session_resume(pair.s[0], 7, bytes_of_str("view"), pair.now);
    torture_off();
    if (rc == 0) {
        /* Once: it is sent again. All the time: the owner hears, as soon as there is memory to tell it with,
         * that it failed. */
        live_through(3 * SEC, 10 * SEC);
        assert_int_equal(heard[0].proven + heard[0].failed, 1);
        assert_int_equal(heard[0].path, 7);
        if (torture_mode() == TORTURE_ONCE) {
            assert_int_equal(heard[0].proven, 1);
            assert_int_equal(heard[1].proven, 1);
        }
    } else {
        assert_int_equal(rc, -ENOBUFS);
        assert_true(torture_hit());
    }
    proven_by_resume(7);
    pair_talk(&pair, 0, "on the new path");
    story_end();
}

/* ---- control messages, heads, close ---- */

static size_t waiting(int i)
{
    struct tray t = {.n = 0};
    pair_collect(&pair, i, &t);
    size_t n = t.n;
    tray_clear(&t);
    return n;
}

/* Big: in five pieces. A refused one leaves nothing behind. */
static void messages_of(size_t n)
{
    static uint8_t text[SESSION_CTL_MAX];
    story_up();
    for (size_t b = 0; b < n; b++)
        text[b] = (uint8_t)(b * 7);
    torture_on();
    int rc = session_message_on(pair.s[0], 3, 9, bytes_of(text, n), pair.now);
    torture_off();
    if (rc == 0) {
        live(pair.now + SEC);
        assert_true(heard[1].messages == 1 || torture_hit());
    } else {
        assert_int_equal(rc, -ENOBUFS);
        assert_true(torture_hit());
        assert_int_equal(waiting(0), 0);
    }
    torture_heal();
    memset(heard, 0, sizeof heard);
    assert_int_equal(session_message(pair.s[0], 9, bytes_of(text, n), pair.now), 0);
    live(pair.now + SEC);
    assert_int_equal(heard[1].messages, 1);
    assert_int_equal(heard[1].message_n, n);
    story_end();
}

static void big_messages(void)
{
    messages_of(5000);
}

static void small_messages(void)
{
    messages_of(20);
}

static void heads(void)
{
    story_up();
    torture_on();
    int rc = session_heads(pair.s[0], pair.heads[0], 2, pair.now);
    torture_off();
    assert_true(rc == 0 || (rc == -ENOBUFS && torture_hit()));
    live(pair.now + SEC);
    torture_heal();
    memset(heard, 0, sizeof heard);
    assert_int_equal(session_heads(pair.s[0], pair.heads[0], 2, pair.now), 0);
    live(pair.now + SEC);
    assert_int_equal(heard[1].heads, 1);
    story_end();
}

/* CLOSE may be lost; once it came, the owner hears of it. */
static void closes(void)
{
    story_up();
    torture_on();
    session_close(pair.s[0], pair.now);
    torture_off();
    assert_int_equal(session_state(pair.s[0]), SESSION_DEAD);
    carry();
    assert_int_equal(heard[1].down, session_state(pair.s[1]) == SESSION_DEAD);
    assert_true(heard[1].down == 1 || torture_hit());
    story_end();
}

/* ---- the tests ---- */

static void test_birth(void **state)
{
    torture("session_new", TORTURE_MEMORY, 1, births);
}

static void test_handshake(void **state)
{
    torture("handshake", TORTURE_MEMORY, 1, handshakes);
    torture("handshake without an answer", TORTURE_MEMORY, 1, time_outs);
}

static void test_rekey(void **state)
{
    torture("rekey by the initiator", TORTURE_MEMORY, 1, rekeys_by_initiator);
    torture("rekey by the responder", TORTURE_MEMORY, 1, rekeys_by_responder);
}

static void test_resume(void **state)
{
    torture("resume", TORTURE_MEMORY, 1, resumes);
}

static void test_control(void **state)
{
    torture("a control message in pieces", TORTURE_MEMORY, 1, big_messages);
    torture("a control message", TORTURE_MEMORY, 1, small_messages);
    torture("heads", TORTURE_MEMORY, 1, heads);
    torture("close", TORTURE_MEMORY, 1, closes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_birth, torture_report),
        cmocka_unit_test_teardown(test_handshake, torture_report),
        cmocka_unit_test_teardown(test_rekey, torture_report),
        cmocka_unit_test_teardown(test_resume, torture_report),
        cmocka_unit_test_teardown(test_control, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
