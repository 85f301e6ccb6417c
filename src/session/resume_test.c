#include <errno.h>

#include "session/pair_int.h"

static const char *const view_text = "relay 192.0.2.1:443";

static struct bytes a_view(void)
{
    return bytes_of_str(view_text);
}

/* Either end asks, whatever its role in the handshake, before and after a rekey. */
static void test_both_ways(void **state)
{
    struct pair p;
    pair_up(&p, 300);
    for (int round = 0; round < 4; round++) {
        int asker = round & 1;
        uint32_t mine = 70 + (uint32_t)round, theirs = 900 + (uint32_t)round;
        if (round == 2) {
            assert_int_equal(session_rekey(p.s[0], p.now), 0);
            pair_run(&p);
            pair_drain(&p, 0);
            pair_drain(&p, 1);
        }
        assert_int_equal(session_view(p.s[!asker], bytes_of_str("udp 198.51.100.1:9")), 0);
        assert_int_equal(session_resume(p.s[asker], mine, a_view(), p.now), 0);
        assert_int_equal(session_resume(p.s[asker], mine, a_view(), p.now), -EALREADY);
        struct letter request = pair_take(&p, asker);
        assert_int_equal(request.path, mine);
        assert_int_equal(pair_give_on(&p, !asker, theirs, &request, NULL), DROP_NONE);
        struct letter response = pair_take(&p, !asker);
        assert_int_equal(response.path, theirs);
        pair_expect_none(&p, !asker);
        assert_int_equal(pair_give_on(&p, asker, mine, &response, NULL), DROP_NONE);
        assert_int_equal(pair_expect(&p, asker, SESSION_PATH_PROVEN).path, mine);
        struct letter complete = pair_take(&p, asker);
        assert_int_equal(complete.path, mine);
        assert_int_equal(pair_give_on(&p, !asker, theirs, &complete, NULL), DROP_NONE);
        assert_int_equal(pair_expect(&p, !asker, SESSION_PATH_PROVEN).path, theirs);
        assert_int_equal(pair_give_on(&p, !asker, theirs, &complete, NULL), DROP_REPLAYED);
        pair_expect_none(&p, !asker);
        letter_free(&request);
        letter_free(&response);
        letter_free(&complete);
    }
    /* All is forgotten again. */
    pair_wait(&p, p.now + 10 * SEC);
    for (int i = 0; i < 2; i++)
        assert_int_equal(resume_wake(p.s[i]), USEC_NEVER);
    pair_done(&p);
}

static void test_limits(void **state)
{
    struct pair p;
    uint8_t long_view[RESUME_VIEW_MAX + 1] = {0};
    pair_up(&p, 310);
    assert_int_equal(session_resume(p.s[0], 1, bytes_of(long_view, sizeof long_view), p.now), -EMSGSIZE);
    assert_int_equal(session_view(p.s[0], bytes_of(long_view, sizeof long_view)), -EMSGSIZE);
    assert_int_equal(session_resume(p.s[0], 1, bytes_of(long_view, RESUME_VIEW_MAX), p.now), 0);
    for (uint32_t i = 2; i <= RESUMES_MAX; i++)
        assert_int_equal(session_resume(p.s[0], i, a_view(), p.now), 0);
    assert_int_equal(session_resume(p.s[0], 99, a_view(), p.now), -ENOBUFS);
    /* What we ask does not keep us from answering. */
    assert_int_equal(session_resume(p.s[1], 5, a_view(), p.now), 0);
    struct tray t = {.n = 0};
    pair_collect(&p, 0, &t);
    assert_int_equal(t.n, RESUMES_MAX);
    tray_clear(&t);
    pair_run(&p);
    assert_int_equal(pair_expect(&p, 1, SESSION_PATH_PROVEN).path, 5);
    pair_done(&p);
}

/* Four tries a quarter of a second apart, then the path has failed. */
static void test_no_answer(void **state)
{
    struct pair p;
    pair_up(&p, 320);
    usec_t begun = p.now;
    assert_int_equal(session_resume(p.s[1], 8, a_view(), p.now), 0);
    struct letter first = pair_take(&p, 1);
    for (unsigned i = 1; i < RESUME_TRIES; i++) {
        pair_wait(&p, session_wake(p.s[1]));
        assert_int_equal(p.now, begun + i * RESUME_RETRY);
        struct letter again = pair_take(&p, 1);
        assert_int_equal(again.n, first.n);
        assert_memory_equal(again.p, first.p, first.n);
        letter_free(&again);
    }
    pair_expect_none(&p, 1);
    pair_wait(&p, begun + SEC);
    assert_int_equal(pair_expect(&p, 1, SESSION_PATH_FAILED).path, 8);
    assert_int_equal(session_wake(p.s[1]), USEC_NEVER);
    /* The answer to a path that was given up. */
    assert_int_equal(pair_give_on(&p, 0, 3, &first, NULL), DROP_NONE);
    struct letter response = pair_take(&p, 0);
    assert_int_equal(pair_give_on(&p, 1, 8, &response, NULL), DROP_WRONG_STATE);
    /* The session itself is as it was. */
    pair_talk(&p, 0, "still");
    letter_free(&first);
    letter_free(&response);
    pair_done(&p);
}

/* Any one of the three lost: resent until both have proof. */
static void test_loss(void **state)
{
    for (int lost = 0; lost < 3; lost++) {
        struct pair p;
        pair_up(&p, 330 + (uint64_t)lost);
        assert_int_equal(session_resume(p.s[0], 6, a_view(), p.now), 0);
        int count = 0, proven[2] = {0};
        for (int round = 0; round < 12; round++) {
            for (int i = 0; i < 2; i++) {
                struct tray t = {.n = 0};
                pair_collect(&p, i, &t);
                for (size_t k = 0; k < t.n; k++)
                    if (count++ != lost)
                        pair_give_on(&p, !i, i == 0 ? 60 : 6, &t.letters[k], NULL);
                tray_clear(&t);
                struct session_event ev;
                while (session_event(p.s[i], &ev))
                    proven[i] += ev.kind == SESSION_PATH_PROVEN;
            }
            pair_wait(&p, p.now + 100 * MSEC);
        }
        assert_int_equal(proven[0], 1);
        assert_int_equal(proven[1], 1);
        pair_done(&p);
    }
}

/* Begins one and returns request, response and complete; nothing of complete is delivered. */
static void record(struct pair *p, struct letter l[3])
{
    assert_int_equal(session_resume(p->s[0], 6, a_view(), p->now), 0);
    l[0] = pair_take(p, 0);
    assert_int_equal(pair_give_on(p, 1, 60, &l[0], NULL), DROP_NONE);
    l[1] = pair_take(p, 1);
    assert_int_equal(pair_give_on(p, 0, 6, &l[1], NULL), DROP_NONE);
    l[2] = pair_take(p, 0);
}

static void letters_free(struct letter l[3])
{
    for (int i = 0; i < 3; i++)
        letter_free(&l[i]);
}

/* An answer must come by the way that was asked; a completion too. */
static void test_wrong_path(void **state)
{
    struct pair p;
    struct letter l[3];
    pair_up(&p, 340);
    assert_int_equal(session_resume(p.s[0], 6, a_view(), p.now), 0);
    l[0] = pair_take(&p, 0);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[0], NULL), DROP_NONE);
    l[1] = pair_take(&p, 1);
    assert_int_equal(pair_give_on(&p, 0, 7, &l[1], NULL), DROP_WRONG_STATE);
    pair_expect_none(&p, 0);
    assert_int_equal(pair_give_on(&p, 0, 6, &l[1], NULL), DROP_NONE);
    l[2] = pair_take(&p, 0);
    assert_int_equal(pair_give_on(&p, 1, 61, &l[2], NULL), DROP_WRONG_STATE);
    pair_expect_none(&p, 1);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[2], NULL), DROP_NONE);
    assert_int_equal(pair_expect(&p, 1, SESSION_PATH_PROVEN).path, 60);
    letters_free(l);
    pair_done(&p);
}

/* A request copied onto another way is answered there but proves nothing, and does not disturb the true one.
 */
static void test_copied_request(void **state)
{
    struct pair p;
    struct letter l[3], copy;
    pair_up(&p, 345);
    assert_int_equal(session_resume(p.s[0], 6, a_view(), p.now), 0);
    l[0] = pair_take(&p, 0);
    assert_int_equal(pair_give_on(&p, 1, 66, &l[0], NULL), DROP_NONE); /* the copy is faster */
    copy = pair_take(&p, 1);
    assert_int_equal(copy.path, 66);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[0], NULL), DROP_NONE);
    l[1] = pair_take(&p, 1);
    assert_int_equal(pair_give_on(&p, 0, 6, &l[1], NULL), DROP_NONE);
    l[2] = pair_take(&p, 0);
    assert_int_equal(pair_give_on(&p, 1, 66, &l[2], NULL), DROP_BAD_MAC);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[2], NULL), DROP_NONE);
    assert_int_equal(pair_expect(&p, 1, SESSION_PATH_PROVEN).path, 60);
    pair_expect_none(&p, 1);
    letter_free(&copy);
    letters_free(l);
    pair_done(&p);
}

static void test_replay(void **state)
{
    struct pair p, other;
    struct letter l[3];
    pair_up(&p, 350);
    record(&p, l);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[2], NULL), DROP_NONE);
    pair_drain(&p, 0);
    pair_drain(&p, 1);
    pair_wait(&p, p.now + 10 * SEC);
    /* Later, on the same path or another: the number is known. */
    assert_int_equal(pair_give_on(&p, 1, 60, &l[0], NULL), DROP_REPLAYED);
    assert_int_equal(pair_give_on(&p, 1, 61, &l[0], NULL), DROP_REPLAYED);
    assert_int_equal(pair_give_on(&p, 0, 6, &l[1], NULL), DROP_WRONG_STATE);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[2], NULL), DROP_WRONG_STATE);
    struct tray t = {.n = 0};
    pair_collect(&p, 1, &t);
    assert_int_equal(t.n, 0);
    /* An old response or completion does not fit a new request. */
    struct letter now[3];
    assert_int_equal(session_resume(p.s[0], 6, a_view(), p.now), 0);
    now[0] = pair_take(&p, 0);
    assert_int_equal(pair_give_on(&p, 0, 6, &l[1], NULL), DROP_BAD_MAC);
    assert_int_equal(pair_give_on(&p, 1, 60, &now[0], NULL), DROP_NONE);
    now[1] = pair_take(&p, 1);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[2], NULL), DROP_BAD_MAC);
    assert_int_equal(pair_give_on(&p, 0, 6, &now[1], NULL), DROP_NONE);
    now[2] = pair_take(&p, 0);
    assert_int_equal(pair_give_on(&p, 1, 60, &now[2], NULL), DROP_NONE);
    /* Reflected to its sender: other index; with the index changed, the other role is under the mac. */
    assert_int_equal(pair_give_on(&p, 0, 60, &now[0], NULL), DROP_UNKNOWN_INDEX);
    now[0].p[7] = (uint8_t)p.config[0].index;
    assert_int_equal(pair_give_on(&p, 0, 60, &now[0], NULL), DROP_BAD_MAC);
    /* Another session between the same two, with the same indices. */
    pair_up(&other, 351);
    assert_int_equal(pair_give_on(&other, 1, 60, &l[0], NULL), DROP_BAD_MAC);
    letters_free(l);
    letters_free(now);
    pair_done(&other);
    pair_done(&p);
}

/* The same index at both ends: only the role under the mac tells a reflection. */
static void test_reflected(void **state)
{
    struct pair p;
    struct letter l[3];
    pair_init(&p, 352);
    p.config[1].index = p.config[0].index;
    pair_renew(&p, 0);
    pair_renew(&p, 1);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    pair_run(&p);
    record(&p, l);
    assert_int_equal(pair_give_on(&p, 0, 60, &l[0], NULL), DROP_BAD_MAC);
    assert_int_equal(pair_give_on(&p, 1, 60, &l[2], NULL), DROP_NONE);
    letters_free(l);
    pair_done(&p);
}

/* Requests that arrive in any order are all taken once; one older than the window of numbers is not. */
static void test_numbers(void **state)
{
    struct pair p;
    struct letter l[70];
    pair_up(&p, 355);
    for (uint32_t i = 0; i < 70; i++) {
        assert_int_equal(session_resume(p.s[0], i, a_view(), p.now), 0);
        l[i] = pair_take(&p, 0);
        pair_wait(&p, p.now + SEC);
        struct tray t = {.n = 0};
        pair_collect(&p, 0, &t);
        tray_clear(&t);
    }
    assert_int_equal(pair_give(&p, 1, &l[69]), DROP_NONE);
    assert_int_equal(pair_give(&p, 1, &l[6]), DROP_NONE);
    assert_int_equal(pair_give(&p, 1, &l[5]), DROP_REPLAYED);
    for (int i = 68; i > 6; i--)
        assert_int_equal(pair_give(&p, 1, &l[i]), DROP_NONE);
    pair_wait(&p, p.now + 10 * SEC);
    for (int i = 0; i < 70; i++) {
        assert_int_equal(pair_give(&p, 1, &l[i]), DROP_REPLAYED);
        letter_free(&l[i]);
    }
    pair_done(&p);
}

/* Every length and every byte: refused by name, and the true one still goes through. */
static void test_mangled(void **state)
{
    struct pair p;
    struct letter l[3];
    pair_up(&p, 360);
    assert_int_equal(session_resume(p.s[0], 6, a_view(), p.now), 0);
    l[0] = pair_take(&p, 0);
    for (int step = 0; step < 3; step++) {
        int to = step == 1 ? 0 : 1;
        uint32_t path = to ? 60 : 6;
        for (size_t n = 0; n < l[step].n; n++) {
            const struct letter cut = {l[step].p, n, path, false};
            assert_int_equal(pair_give_on(&p, to, path, &cut, NULL), DROP_TRUNCATED);
        }
        for (size_t at = 0; at < l[step].n; at++) {
            enum session_drop want = DROP_BAD_MAC;
            size_t view_at = step == 0 ? 52 : 44;
            if (at == 0)
                want = DROP_TYPE;
            else if (at == 1)
                want = DROP_TRUNCATED;
            else if (at < 4)
                want = DROP_VERSION;
            else if (at < 8)
                want = DROP_UNKNOWN_INDEX;
            else if (at < 12 && step > 0)
                want = DROP_WRONG_STATE;
            else if (step < 2 && (at == view_at || at == view_at + 1))
                want = DROP_TRUNCATED;
            l[step].p[at] ^= at == 0 ? 0x0a : 0x80;
            enum session_drop d = pair_give_on(&p, to, path, &l[step], NULL);
            l[step].p[at] ^= at == 0 ? 0x0a : 0x80;
            if (d != want)
                fail_msg("message %d byte %zu: %s instead of %s", step, at, session_drop_name(d),
                         session_drop_name(want));
        }
        pair_expect_none(&p, to);
        assert_int_equal(pair_give_on(&p, to, path, &l[step], NULL), DROP_NONE);
        if (step < 2)
            l[step + 1] = pair_take(&p, to);
    }
    assert_int_equal(pair_expect(&p, 1, SESSION_PATH_PROVEN).path, 60);
    letters_free(l);
    pair_done(&p);
}

/* Many requests at once: the answerer's table stays as large as it is. */
static void test_answers_bounded(void **state)
{
    struct pair p;
    pair_up(&p, 370);
    struct letter last = {0};
    size_t memory = 0;
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(session_resume(p.s[0], i, a_view(), p.now), 0);
        letter_free(&last);
        last = pair_take(&p, 0);
        assert_int_equal(pair_give_on(&p, 1, 1000 + i, &last, NULL), DROP_NONE);
        struct letter response = pair_take(&p, 1);
        letter_free(&response);
        if (i == 0)
            memory = session_memory(p.s[1]);
        pair_wait(&p, p.now + SEC);
        struct tray t = {.n = 0};
        for (int k = 0; k < 2; k++)
            pair_collect(&p, k, &t);
        tray_clear(&t);
    }
    assert_int_equal(session_memory(p.s[1]), memory);
    letter_free(&last);
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_answer),       cmocka_unit_test(test_loss),
        cmocka_unit_test(test_wrong_path),      cmocka_unit_test(test_copied_request),
        cmocka_unit_test(test_replay),          cmocka_unit_test(test_reflected),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_mangled),
        cmocka_unit_test(test_answers_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
