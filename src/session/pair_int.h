/* For this folder's tests: two sessions, a clock, and the letters between them. Everything is seeded. */
#ifndef WARREN_SESSION_PAIR_INT_H
#define WARREN_SESSION_PAIR_INT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/session_int.h"

struct letter {
    uint8_t *p;
    size_t n;
    uint32_t path;
    bool handshake;
};

#define TRAY_MAX 256
struct tray {
    struct letter letters[TRAY_MAX];
    size_t n;
};

struct pair {
    struct rng_seeded seeded[2];
    struct sign_key *key[2];
    struct session_config config[2];
    struct session_limits limits;
    struct hs_head heads[2][2];
    struct net_addr addrs[2][2];
    struct session *s[2];
    usec_t now;
};

static inline void letter_free(struct letter *l)
{
    free(l->p);
    *l = (struct letter){0};
}

static inline struct letter letter_copy(const struct letter *l)
{
    struct letter c = *l;
    c.p = malloc(l->n ? l->n : 1);
    assert_non_null(c.p);
    memcpy(c.p, l->p, l->n);
    return c;
}

static inline void tray_clear(struct tray *t)
{
    for (size_t i = 0; i < t->n; i++)
        letter_free(&t->letters[i]);
    t->n = 0;
}

static inline void pair_key(struct pair *p, int i, uint64_t seed)
{
    struct sign_seed text;
    p->config[i].rng = rng_seeded(&p->seeded[i], seed + 1000u * (unsigned)i + 1);
    sign_seed_new(&text, &p->config[i].rng);
    p->key[i] = sign_key_new(&text);
    assert_non_null(p->key[i]);
    p->config[i].key = p->key[i];
    node_id_of(p->config[i].self, sign_key_public(p->key[i]));
}

/* Two ends that know each other; no session yet. Clean with pair_done. */
static inline void pair_init(struct pair *p, uint64_t seed)
{
    *p = (struct pair){.now = 5 * SEC, .limits = session_limits_default};
    for (int i = 0; i < 2; i++)
        pair_key(p, i, seed);
    for (int i = 0; i < 2; i++) {
        struct session_config *c = &p->config[i];
        memcpy(c->peer, p->config[!i].self, NODE_ID_LEN);
        c->peer_public = sign_key_public(p->key[!i]);
        c->index = 0x1000u + (uint32_t)i;
        c->ciphers = 3;
        memset(p->heads[i], 0x40 + i, sizeof p->heads[i]);
        p->heads[i][0].seq = 7 + (uint64_t)i;
        p->heads[i][1].seq = 9;
        c->heads = p->heads[i];
        c->head_count = 2;
        p->addrs[i][0] = (struct net_addr){.family = 4, .ip = {192, 0, 2, (uint8_t)i}, .port = 4000};
        p->addrs[i][1] =
            (struct net_addr){.family = 6, .ip = {0x20, 1, 0xd, 0xb8, [15] = (uint8_t)i}, .port = 4001};
        c->addrs = p->addrs[i];
        c->addr_count = 2;
        c->seen = (struct net_addr){.family = 4, .ip = {198, 51, 100, (uint8_t)i}, .port = 77};
        c->limits = &p->limits;
    }
}

static inline void pair_renew(struct pair *p, int i)
{
    session_free(p->s[i]);
    p->s[i] = session_new(&p->config[i]);
    assert_non_null(p->s[i]);
}

static inline void pair_new(struct pair *p, uint64_t seed)
{
    pair_init(p, seed);
    pair_renew(p, 0);
    pair_renew(p, 1);
}

static inline void pair_done(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        session_free(p->s[i]);
        sign_key_free(p->key[i]);
    }
}

/* Takes everything that end i has to say. */
static inline void pair_collect(struct pair *p, int i, struct tray *t)
{
    struct session_out out;
    while (session_output(p->s[i], p->now, &out)) {
        assert_true(t->n < TRAY_MAX);
        const struct letter l = {out.p, out.n, out.path, out.handshake};
        t->letters[t->n++] = letter_copy(&l);
    }
}

/* The only letter that end i has to say. */
static inline struct letter pair_take(struct pair *p, int i)
{
    struct tray t = {.n = 0};
    pair_collect(p, i, &t);
    assert_int_equal(t.n, 1);
    return t.letters[0];
}

/* Gives end i a copy of a letter on a path; the reason of a refusal, or DROP_NONE. */
static inline enum session_drop pair_give_on(struct pair *p, int i, uint32_t path, const struct letter *l,
                                             struct session_in *in)
{
    struct session_info before, after;
    enum session_drop drop;
    struct session_in ignored;
    struct letter copy = letter_copy(l);
    session_info(p->s[i], &before);
    int err = session_input(p->s[i], path, copy.p, copy.n, p->now, in ? in : &ignored, &drop);
    session_info(p->s[i], &after);
    assert_int_equal(err, drop == DROP_NONE ? 0 : -EBADMSG);
    for (int d = 1; d < DROP_COUNT; d++)
        assert_int_equal(after.drops[d], before.drops[d] + (d == (int)drop));
    letter_free(&copy);
    return drop;
}

static inline enum session_drop pair_give(struct pair *p, int i, const struct letter *l)
{
    return pair_give_on(p, i, l->path == SESSION_PATH_ANY ? 1 : l->path, l, NULL);
}

/* Carries letters both ways until nobody has anything to say. */
static inline void pair_run(struct pair *p)
{
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < 2; i++) {
            struct tray t = {.n = 0};
            pair_collect(p, i, &t);
            for (size_t k = 0; k < t.n; k++)
                assert_int_equal(pair_give(p, !i, &t.letters[k]), DROP_NONE);
            busy = busy || t.n > 0;
            tray_clear(&t);
        }
    }
}

static inline void pair_drain(struct pair *p, int i)
{
    struct session_event ev;
    while (session_event(p->s[i], &ev))
        continue;
}

/* Both up, end 0 initiator, nothing waiting. */
static inline void pair_up(struct pair *p, uint64_t seed)
{
    pair_new(p, seed);
    assert_int_equal(session_start(p->s[0], p->now), 0);
    pair_run(p);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(session_state(p->s[i]), SESSION_UP_STATE);
        pair_drain(p, i);
    }
}

/* A sealed frame from end i with the text inside. */
static inline struct letter pair_seal(struct pair *p, int i, const char *text)
{
    struct letter l = {.n = strlen(text) + DATA_OVERHEAD, .path = 1};
    l.p = malloc(l.n);
    assert_non_null(l.p);
    memcpy(l.p + DATA_HEADROOM, text, strlen(text));
    assert_int_equal(session_seal(p->s[i], INNER_FRAME, 0xabcd, l.p, strlen(text), p->now), 0);
    return l;
}

/* A frame from end i arrives at the other intact. */
static inline void pair_talk(struct pair *p, int i, const char *text)
{
    struct letter l = pair_seal(p, i, text);
    struct letter copy = letter_copy(&l);
    struct session_in in;
    enum session_drop drop;
    assert_int_equal(session_input(p->s[!i], 1, copy.p, copy.n, p->now, &in, &drop), 0);
    assert_int_equal(in.kind, INNER_FRAME);
    assert_int_equal(in.party, 0xabcd);
    assert_int_equal(in.n, strlen(text));
    assert_memory_equal(in.p, text, in.n);
    letter_free(&copy);
    letter_free(&l);
}

/* The next event of end i must be of this kind. */
static inline struct session_event pair_expect(struct pair *p, int i, enum session_event_kind kind)
{
    struct session_event ev;
    assert_true(session_event(p->s[i], &ev));
    assert_int_equal(ev.kind, kind);
    return ev;
}

static inline void pair_expect_none(struct pair *p, int i)
{
    struct session_event ev;
    assert_false(session_event(p->s[i], &ev));
}

/* Lets the clock of both ends come to a moment, timer by timer; what they say meanwhile stays in their
 * queues. */
static inline void pair_wait(struct pair *p, usec_t until)
{
    for (;;) {
        usec_t next = usec_min(session_wake(p->s[0]), session_wake(p->s[1]));
        if (next > until)
            break;
        p->now = next > p->now ? next : p->now;
        session_tick(p->s[0], p->now);
        session_tick(p->s[1], p->now);
    }
    p->now = until;
}

#endif
