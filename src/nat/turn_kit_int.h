/* A TURN client and its model server in one test: time, losses, events counted. After the includes of cmocka.
 */
#ifndef WARREN_NAT_TURN_KIT_INT_H
#define WARREN_NAT_TURN_KIT_INT_H

#include <errno.h>

#include "nat/turn.h"
#include "nat/turn_model_int.h"

#define START (1000 * SEC)

static inline const struct net_addr *at(uint32_t ip, uint16_t port)
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

static inline void init(struct world *w, bool stream)
{
    memset(w, 0, sizeof *w);
    w->now = START;
    w->stream = stream;
    model_init(&w->s, "1700000000:me", "secret");
    w->s.stream = stream;
}

static inline void make(struct world *w, const char *password)
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

static inline void events(struct world *w)
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
static inline void deliver(struct world *w, struct bytes in)
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
static inline void pump(struct world *w)
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
static inline void run(struct world *w, usec_t time)
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

static inline void ready(struct world *w, bool stream)
{
    init(w, stream);
    make(w, "secret");
    pump(w);
    assert_int_equal(turn_state(w->t), TURN_READY);
}

static inline int send_text(struct world *w, const struct net_addr *peer, const char *text)
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

static inline void hear(struct world *w, const struct net_addr *peer, const char *text)
{
    w->data_len = 0;
    assert_true(model_from_peer(&w->s, peer, bytes_of_str(text)));
    deliver(w, bytes_of(w->s.reply, w->s.reply_len));
    assert_true(bytes_equal(bytes_of(w->data, w->data_len), bytes_of_str(text)));
    assert_true(net_addr_equal(&w->last[TURN_EVENT_DATA].peer, peer));
}

static inline void said(struct world *w, const struct net_addr *peer, const char *text)
{
    assert_true(net_addr_equal(&w->s.to, peer));
    assert_true(bytes_equal(bytes_of(w->s.data, w->s.data_len), bytes_of_str(text)));
}

#endif
