/* A TURN client and a server whose answers the input delays, doubles, loses and mangles, and among which it
 * puts bytes of its own. The first byte chooses transport and offers. What must hold: the client never has
 * more standing than its tables, has always something to wait for that is in the future once everything due
 * was done, and relays nothing changed to a peer. */
#include <stdlib.h>
#include <string.h>

#include "nat/turn.h"
#include "nat/turn_model_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct turn *t;
    struct turn_model s;
    usec_t now;
    bool stream;
    struct net_addr server;
    uint8_t kept[sizeof((struct turn_model *)0)->reply];
    size_t kept_len;
    bool lose;
};

static volatile uint8_t touched; /* views are read, so that the sanitizer judges them */

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void events(struct world *w)
{
    struct turn_event ev;
    for (unsigned i = 0; turn_event(w->t, &ev); i++) {
        require(i < 100000 && ev.why);
        for (size_t k = 0; k < ev.data.n; k++)
            touched ^= ev.data.p[k];
    }
}

static void deliver(struct world *w, struct bytes in)
{
    uint8_t *copy = malloc(in.n ? in.n : 1);
    require(copy);
    if (in.n)
        memcpy(copy, in.p, in.n);
    turn_input(w->t, bytes_of(copy, in.n), w->now);
    events(w); /* the views lead into the copy */
    free(copy);
}

static void keep(struct world *w)
{
    if (w->s.reply_len) {
        memcpy(w->kept, w->s.reply, w->s.reply_len);
        w->kept_len = w->s.reply_len;
    }
}

static void settle(struct world *w)
{
    struct turn_out out;
    turn_tick(w->t, w->now);
    events(w);
    for (unsigned i = 0; turn_output(w->t, w->now, &out); i++) {
        require(i < 1000 && out.data.n > 0);
        if (w->lose)
            continue;
        model_input(&w->s, out.data);
        keep(w);
        if (w->s.reply_len)
            deliver(w, bytes_of(w->s.reply, w->s.reply_len));
        turn_tick(w->t, w->now);
    }
    require(turn_wake(w->t) > w->now);
    struct turn_counts c;
    turn_counts(w->t, &c);
    require(c.permissions <= TURN_PEERS_MAX && c.channels <= TURN_PEERS_MAX);
}

static void send_one(struct world *w, uint8_t who, uint8_t n)
{
    uint8_t room[300];
    memset(room, n, sizeof room);
    struct net_addr peer = net_addr4(0xcb007100u + who / 4, (uint16_t)(4000 + who % 4));
    struct turn_packet p = {room + TURN_HEADROOM, n, n & 1 ? TURN_HEADROOM : 0, TURN_TAILROOM};
    struct turn_out out;
    if (turn_send(w->t, &peer, p, w->now, &out))
        return;
    require(out.data.n > 0 && out.data.n <= n + (size_t)TURN_INDICATION_OVERHEAD4);
    w->s.to.family = 0;
    model_input(&w->s, out.data);
    require(w->s.to.family == 0 || w->s.data_len == n);
    for (size_t i = 0; w->s.to.family && i < n; i++)
        require(w->s.data[i] == n);
}

/* One act, and how much of the input it took. */
static void act(struct world *w, struct rd *r)
{
    static const struct net_addr none;
    uint8_t what = rd_u8(r), arg = rd_u8(r);
    switch (what % 12) {
    case 0:
        w->now += (usec_t)(arg + 1) * (arg & 1 ? 100 * MSEC : 5 * SEC);
        break;
    case 1:
        send_one(w, arg, rd_u8(r));
        break;
    case 2:
        if (model_from_peer(
                &w->s,
                &(struct net_addr){.family = 4, .ip = {0xcb, 0, 0x71, arg / 4}, .port = 4000 + arg % 4},
                rd_bytes(r, arg < rd_left(r) ? arg : rd_left(r)))) {
            keep(w);
            deliver(w, bytes_of(w->s.reply, w->s.reply_len));
        }
        break;
    case 3:
        deliver(w, rd_bytes(r, arg < rd_left(r) ? arg : rd_left(r)));
        break;
    case 4: /* the last answer once more, mangled */
        if (w->kept_len > 0) {
            w->kept[(arg | (size_t)rd_u8(r) << 8) % w->kept_len] ^= rd_u8(r);
            deliver(w, bytes_of(w->kept, w->kept_len));
        }
        break;
    case 5:
        w->lose = arg & 1;
        break;
    case 6:
        model_new_nonce(&w->s);
        w->s.strip_algorithms = arg & 1;
        break;
    case 7:
        w->s.fail_code = (uint16_t)(300 + rd_u8(r) * 2);
        w->s.fail_method = arg & 15;
        w->s.fail_times = arg >> 4;
        w->s.alternate = arg & 32 ? net_addr4(0xc0000200 + arg, 3478) : none;
        w->s.unsigned_errors = arg & 64;
        break;
    case 8:
        w->s.lifetime = (uint32_t)arg * arg * 16;
        break;
    case 9:
        if (arg & 1)
            turn_start(w->t, w->now);
        else if (arg & 2)
            turn_release(w->t, w->now);
        else if (arg & 4)
            turn_disconnected(w->t, w->now);
        else
            w->s.allocated = arg & 8;
        break;
    case 10: {
        struct net_addr peer = net_addr4(0xcb007100u + arg, 0);
        turn_permit(w->t, &peer, w->now);
        break;
    }
    default:
        if (w->kept_len > arg)
            deliver(w, bytes_of(w->kept, w->kept_len - arg));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct rng_seeded seeded;
    struct rd r = rd_of(bytes_of(data, size));
    uint8_t flags = rd_u8(&r);
    memset(&w, 0, sizeof w);
    w.now = 1000 * SEC;
    w.stream = flags & 1;
    w.server = net_addr4(0xc0000201, 3478);
    model_init(&w.s, "me", "secret");
    w.s.stream = w.stream;
    w.s.offer_sha256 = flags & 2;
    model_new_nonce(&w.s);
    struct turn_config c = {.transport = w.stream ? TURN_STREAM : TURN_UDP,
                            .server = w.server,
                            .username = "me",
                            .password = flags & 4 ? "wrong" : "secret",
                            .family = flags & 8 ? 4 : 0,
                            .txid_prefix = 5,
                            .rng = rng_seeded(&seeded, 3)};
    w.t = turn_new(&c);
    require(w.t);
    turn_start(w.t, w.now);
    for (unsigned i = 0; rd_ok(&r) && rd_left(&r) > 1 && i < 400; i++) {
        settle(&w);
        act(&w, &r);
    }
    settle(&w);
    turn_free(w.t);
    return 0;
}
