/* Two sessions whose letters the input carries, loses, doubles, holds back and mangles. Ids, keys and
 * randomness are always the same, so that an input means the same thing every time. Whatever happens, no
 * payload may arrive changed or twice. */
#include <stdlib.h>
#include <string.h>

#include "session/session_int.h"

#define MAILBOX 48

struct mail {
    uint8_t *p;
    size_t n;
    uint32_t path;
    int to;
};

struct world {
    struct session *s[2];
    struct rng_seeded seeded[2];
    struct session_limits limits;
    struct mail box[MAILBOX];
    size_t n;
    usec_t now;
    uint32_t sent, heard[2];
};

static struct sign_key *keys[2];
static uint8_t ids[2][NODE_ID_LEN];

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void keys_make(void)
{
    struct rng_seeded rs;
    struct rng rng = rng_seeded(&rs, 1);
    for (int i = 0; i < 2 && !keys[1]; i++) {
        struct sign_seed seed;
        sign_seed_new(&seed, &rng);
        keys[i] = sign_key_new(&seed);
        require(keys[i]);
        node_id_of(ids[i], sign_key_public(keys[i]));
    }
}

static void world_open(struct world *w)
{
    w->limits = session_limits_default;
    w->limits.rekey_packets = 20;
    w->limits.rekey_after = 20 * SEC;
    w->now = SEC;
    for (int i = 0; i < 2; i++) {
        struct session_config c = {
            .key = keys[i], .peer_public = sign_key_public(keys[!i]), .index = 7u + (uint32_t)i};
        memcpy(c.self, ids[i], NODE_ID_LEN);
        memcpy(c.peer, ids[!i], NODE_ID_LEN);
        c.ciphers = 3;
        c.rng = rng_seeded(&w->seeded[i], 5u + (uint64_t)i);
        c.limits = &w->limits;
        w->s[i] = session_new(&c);
        require(w->s[i]);
    }
}

static void world_close(struct world *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->box[i].p);
    for (int i = 0; i < 2; i++)
        session_free(w->s[i]);
}

static void post(struct world *w, int to, uint32_t path, const uint8_t *p, size_t n)
{
    if (w->n == MAILBOX)
        return;
    struct mail m = {malloc(n + 1), n, path, to};
    require(m.p);
    memcpy(m.p, p, n);
    w->box[w->n++] = m;
}

static void collect(struct world *w)
{
    struct session_out out;
    struct session_event ev;
    for (int i = 0; i < 2; i++) {
        while (session_output(w->s[i], w->now, &out))
            post(w, !i, out.path, out.p, out.n);
        while (session_event(w->s[i], &ev))
            require(ev.kind <= SESSION_MESSAGE);
    }
}

/* Payloads are numbers that count up; each may arrive once, at the end that it is for. */
static void heard(struct world *w, int at, const struct session_in *in)
{
    uint32_t number;
    if (in->kind != INNER_FRAME)
        return;
    require(in->n == sizeof number && in->party == 3u + (uint32_t)!at);
    memcpy(&number, in->p, sizeof number);
    require(number < w->sent && number < 32 && !(w->heard[at] & 1u << number));
    w->heard[at] |= 1u << number;
}

static void deliver(struct world *w, size_t i, bool keep)
{
    struct mail *m = &w->box[i];
    struct session_in in;
    enum session_drop drop;
    uint8_t *copy = malloc(m->n + 1);
    require(copy);
    memcpy(copy, m->p, m->n);
    int err =
        session_input(w->s[m->to], m->path == SESSION_PATH_ANY ? 1 : m->path, copy, m->n, w->now, &in, &drop);
    require((err == 0) == (drop == DROP_NONE));
    heard(w, m->to, &in);
    free(copy);
    if (keep)
        return;
    free(m->p);
    *m = w->box[--w->n];
}

static void say(struct world *w, int from)
{
    uint8_t buf[DATA_OVERHEAD + sizeof w->sent];
    if (w->sent >= 32)
        return;
    memcpy(buf + DATA_HEADROOM, &w->sent, sizeof w->sent);
    if (session_seal(w->s[from], INNER_FRAME, 3u + (uint32_t)from, buf, sizeof w->sent, w->now) == 0) {
        w->sent++;
        post(w, !from, 1, buf, sizeof buf);
    }
}

static void gossip(struct world *w, int end, uint8_t count)
{
    struct hs_head heads[8] = {0};
    struct session_info info;
    for (uint8_t i = 0; i < count; i++)
        heads[i] = (struct hs_head){.party = {i}, .seq = w->sent};
    session_heads(w->s[end], heads, count, w->now);
    session_view(w->s[end], bytes_of(ids[end], count));
    session_info(w->s[end], &info);
    require(session_index(w->s[end]) != 0);
}

static void act(struct world *w, struct rd *r)
{
    uint8_t what = rd_u8(r);
    int end = what >> 7;
    size_t pick = w->n > 0 ? rd_u8(r) % w->n : 0;
    switch (what & 15) {
    case 0:
        session_start(w->s[end], w->now);
        break;
    case 1:
        session_rekey(w->s[end], w->now);
        break;
    case 2:
        session_resume(w->s[end], 20 + (what >> 4 & 3), bytes_of(ids[end], what >> 2 & 31), w->now);
        break;
    case 3:
        session_message(w->s[end], what >> 4 & 7, bytes_of(keys[0] ? ids : NULL, sizeof ids), w->now);
        break;
    case 4:
        say(w, end);
        break;
    case 5:
        w->now += (usec_t)rd_u16(r) * MSEC;
        for (int i = 0; i < 2; i++)
            if (session_wake(w->s[i]) <= w->now)
                session_tick(w->s[i], w->now);
        break;
    case 6: /* lose */
        if (w->n > 0) {
            free(w->box[pick].p);
            w->box[pick] = w->box[--w->n];
        }
        break;
    case 7: /* mangle */
        if (w->n > 0 && w->box[pick].n > 0)
            w->box[pick].p[rd_u16(r) % w->box[pick].n] ^= rd_u8(r);
        break;
    case 8: /* cut */
        if (w->n > 0)
            w->box[pick].n = w->box[pick].n * rd_u8(r) / 256;
        break;
    case 9: { /* invent */
        struct bytes text = rd_bytes(r, rd_u8(r));
        if (text.n > 0)
            post(w, end, what >> 4 & 3, text.p, text.n);
        break;
    }
    case 10: /* to the other end */
        if (w->n > 0)
            w->box[pick].to = !w->box[pick].to;
        break;
    case 11:
        if ((what & 0x70) == 0x70)
            session_close(w->s[end], w->now);
        else
            gossip(w, end, what >> 4 & 7);
        break;
    case 12: /* double */
        if (w->n > 0)
            deliver(w, pick, true);
        break;
    default:
        for (size_t k = 0; k <= (size_t)(what >> 5 & 3) && w->n > 0; k++)
            deliver(w, what & 16 ? pick % w->n : 0, false);
        break;
    }
    collect(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.n = 0};
    struct rd r = rd_of(bytes_of(data, size < 512 ? size : 512));
    keys_make();
    world_open(&w);
    /* Half of the inputs begin with a session that is up. */
    if (rd_u8(&r) & 1) {
        session_start(w.s[0], w.now);
        collect(&w);
        while (w.n > 0) {
            deliver(&w, 0, false);
            collect(&w);
        }
        require(session_state(w.s[1]) == SESSION_UP_STATE);
    }
    while (rd_ok(&r) && rd_left(&r) > 0)
        act(&w, &r);
    world_close(&w);
    return 0;
}
