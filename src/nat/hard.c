#include "nat/hard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ratelimit.h"

#define ACTIONS_MAX 32
#define TARGETS_MAX (2 * HARD_AHEAD + HARD_BEHIND + 1 + SEARCH_PORTS_MAX * (HARD_BESIDE + 1))
#define TOKEN       1000000u /* of a struct ratelimit's level */
#define PORTS       (65536 - HARD_PORT_LOWEST)

enum phase {
    ASKING,  /* offered, not accepted */
    WAITING, /* for the offer that we were made for */
    SEARCHING,
    CONFIRMING, /* the peer has found a way: it has to prove itself here, too */
    OVER
};

enum socket_state { SOCKET_NONE, SOCKET_OPENING, SOCKET_OPEN, SOCKET_BAD };

struct action {
    enum hard_action kind;
    uint32_t socket, count;
    struct net_addr to;
    uint8_t data[HARD_MESSAGE_MAX];
    size_t len;
};

struct hard {
    struct hard_config c;
    enum phase phase;
    uint32_t own_id;       /* the initiator's offer */
    uint32_t id, other_id; /* where both ends offered at once: the lower, and the other */
    struct hard_nat theirs;
    struct hard_plan plan;
    usec_t began, deadline, offer_at;
    unsigned offers;

    struct {
        enum socket_state state;
        uint16_t port;
    } sockets[HARD_SOCKETS_MAX + 1];
    uint32_t opened, bad; /* asked for, of which cannot be opened */

    uint16_t round; /* of prediction; each with sockets first .. first + count - 1 */
    usec_t round_at;
    uint32_t first, count, waiting;
    uint32_t observer;    /* the socket of this round whose observation is awaited */
    bool told;            /* the peer was told what this round gave */
    bool met;             /* both rounds are known to both: probes were planned */
    uint16_t their_round; /* latest */
    uint16_t their_ports[SEARCH_PORTS_MAX];
    size_t their_port_count;

    uint32_t sweep; /* birthday, hard side: the next socket to send its check */
    usec_t sweep_at, ready_at;
    bool scatter; /* birthday, easy side: probe by chance */
    uint8_t used[65536 / 8];

    struct {
        uint32_t socket;
        uint16_t port;
    } targets[TARGETS_MAX];
    size_t target, target_count;
    struct ratelimit probing, opening;
    uint32_t probes;

    struct action actions[ACTIONS_MAX], dropped;
    size_t head, queued;
    uint8_t data[HARD_MESSAGE_MAX];
    enum search_stop stop; /* to be told; 0: nothing */
    bool close;
    uint32_t keep;
    bool has_event;
    struct hard_event event;
};

/* ---- Beginnings and ends. */

static uint32_t limited(uint32_t wish, uint32_t usual, uint32_t most)
{
    return wish == 0 ? usual : wish < most ? wish : most;
}

struct hard *hard_new(const struct hard_config *c, usec_t now)
{
    struct hard *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->c = *c;
    h->c.sockets = limited(c->sockets, HARD_SOCKETS_MAX, HARD_SOCKETS_MAX);
    h->c.probes = limited(c->probes, HARD_PROBES_MAX, HARD_PROBES_MAX);
    h->c.rate = limited(c->rate, HARD_RATE, HARD_OPEN_RATE);
    h->c.seconds = limited(c->seconds, HARD_SECONDS, HARD_SECONDS_MAX);
    if (h->c.ours.mapping != HARD_SEQUENTIAL)
        h->c.ours.delta = 0;
    h->phase = c->initiator ? ASKING : WAITING;
    h->own_id = h->id = h->other_id = c->initiator ? rng_u32(&c->rng) : 0;
    h->began = h->offer_at = now;
    h->deadline = now + HARD_OFFER_TRIES * HARD_OFFER_AGAIN;
    h->plan.words = "asking the peer";
    h->keep = HARD_SOCKET_NONE;
    hard_tick(h, now);
    return h;
}

void hard_free(struct hard *h)
{
    free(h);
}

static void end(struct hard *h, enum search_stop stop, uint32_t keep)
{
    h->phase = OVER;
    h->queued = 0;
    h->stop = stop;
    h->keep = keep;
    h->close = h->opened > 0;
}

static void event_put(struct hard *h, enum hard_event_kind kind, const char *why, bool remember)
{
    h->event = (struct hard_event){
        .kind = kind, .plan = h->plan.kind, .socket = HARD_SOCKET_NONE, .why = why, .remember = remember};
    h->has_event = true;
}

static void failed(struct hard *h, enum search_stop stop, const char *why, bool remember)
{
    end(h, stop, HARD_SOCKET_NONE);
    event_put(h, HARD_FAILED, why, remember);
}

void hard_found(struct hard *h, uint32_t socket, const struct net_addr *remote, usec_t now)
{
    if (h->phase == OVER ||
        (socket != HARD_SOCKET_MAIN && (socket > h->opened || h->sockets[socket].state != SOCKET_OPEN)))
        return;
    end(h, SEARCH_FOUND, socket);
    event_put(h, HARD_DONE, "found", true);
    h->event.socket = socket;
    h->event.remote = *remote;
}

void hard_cancel(struct hard *h, usec_t now)
{
    if (h->phase != OVER)
        end(h, SEARCH_GAVE_UP, HARD_SOCKET_NONE);
    h->has_event = false;
}

/* ---- What is to be done at once, in order. A queue that is full drops: everything in it is repeated or
 * comes again next round. */

static struct action *action_put(struct hard *h, enum hard_action kind)
{
    if (h->queued == ACTIONS_MAX)
        return &h->dropped;
    struct action *a = &h->actions[(h->head + h->queued++) % ACTIONS_MAX];
    *a = (struct action){.kind = kind};
    return a;
}

static void probe_put(struct hard *h, uint32_t socket)
{
    struct action *a = action_put(h, HARD_PROBE);
    a->socket = socket;
    a->to = h->theirs.mapped;
    h->probes++;
}

static void tell(struct hard *h, struct search_message *m)
{
    struct action *a = action_put(h, HARD_TELL_PEER);
    m->id = h->id;
    a->len = search_write(a->data, sizeof a->data, m);
}

static void tell_nat(struct hard *h, enum search_kind kind)
{
    struct search_message m = {.kind = kind, .nat = h->c.ours};
    tell(h, &m);
}

static void open_sockets(struct hard *h, uint32_t count)
{
    struct action *a = action_put(h, HARD_OPEN_SOCKETS);
    a->socket = h->first = h->opened + 1;
    a->count = h->count = h->waiting = count;
    for (uint32_t i = 0; i < count; i++)
        h->sockets[h->first + i].state = SOCKET_OPENING;
    h->opened += count;
}

/* ---- Targets. */

static void target_put(struct hard *h, uint32_t socket, int port)
{
    if (port > 65535)
        port -= PORTS;
    if (port < HARD_PORT_LOWEST)
        port += PORTS;
    for (size_t i = 0; i < h->target_count; i++) {
        if (h->targets[i].port == port && h->targets[i].socket == socket)
            return;
    }
    if (h->target_count == TARGETS_MAX || port < 1 || port > 65535)
        return;
    h->targets[h->target_count].socket = socket;
    h->targets[h->target_count++].port = (uint16_t)port;
}

/* Ports that a counting NAT gives next, the likeliest first: a step each; every port beside, where the step
 * seen may have been two flows'; behind, for NATs that reuse; and the observed one itself, where the mapping
 * is per address or not per destination at all. */
static void targets_counted(struct hard *h)
{
    int p = h->theirs.mapped.port, d = h->theirs.delta, sign = d > 0 ? 1 : -1;
    for (int k = 1; k <= HARD_AHEAD; k++)
        target_put(h, HARD_SOCKET_MAIN, p + d * k);
    for (int k = 1; k <= HARD_AHEAD && abs(d) > 1; k++)
        target_put(h, HARD_SOCKET_MAIN, p + sign * k);
    for (int k = 1; k <= HARD_BEHIND; k++)
        target_put(h, HARD_SOCKET_MAIN, p - d * k);
    target_put(h, HARD_SOCKET_MAIN, p);
}

static void targets_kept(struct hard *h)
{
    for (int k = 0; k <= HARD_BESIDE; k++) {
        for (size_t i = 0; i < h->their_port_count; i++)
            target_put(h, HARD_SOCKET_MAIN, h->their_ports[i] + k);
    }
}

/* The end whose number the search has: ends that are alike need one difference. */
static bool leads(const struct hard *h)
{
    return h->c.initiator && h->id == h->own_id;
}

/* Both NATs count, and others' flows move both counts by a and b steps until the probes leave. The leading
 * end sends from many ports to one, the other from a run of ports to a run: they cross where a + b lies in a
 * range as long as the fan (doc/protocol/hard-nats.md section 3.4). */
static void targets_crossing(struct hard *h)
{
    int p = h->theirs.mapped.port, d = h->theirs.delta;
    int aim = h->round % 2 ? HARD_AIM_NEAR : HARD_AIM_FAR;
    for (uint32_t s = h->first; leads(h) && s < h->first + h->count; s++) {
        if (h->sockets[s].state == SOCKET_OPEN)
            target_put(h, s, p + d * aim);
    }
    for (int k = 1; k <= HARD_AHEAD && !leads(h); k++)
        target_put(h, h->first, p + d * (k + HARD_LEAD));
}

/* Our ports are known, one for the first destination of each socket. To a counting NAT, whose n-th probe
 * comes to our n-th port from n steps ahead and as many more as others took, go one probe a socket, two steps
 * apart: whatever the others took, one of them fits. To a NAT that keeps its ports, too, each of ours goes to
 * its counterpart. */
static void targets_from_kept(struct hard *h)
{
    bool counts = h->theirs.mapping == HARD_SEQUENTIAL;
    for (int k = 0; k <= (counts ? 0 : HARD_BESIDE); k++) {
        int i = 0;
        for (uint32_t s = h->first; s < h->first + h->count; s++) {
            if (h->sockets[s].state != SOCKET_OPEN)
                continue;
            if (counts)
                target_put(h, s, h->theirs.mapped.port + h->theirs.delta * (2 * i + 1));
            else if ((size_t)i < h->their_port_count)
                target_put(h, s, h->their_ports[i] + k);
            i++;
        }
    }
}

/* The counterpart: one probe to each of the peer's ports, in their order. */
static void targets_to_kept(struct hard *h)
{
    for (size_t i = 0; i < h->their_port_count; i++)
        target_put(h, h->first, h->their_ports[i]);
}

static void targets_make(struct hard *h)
{
    h->target = h->target_count = 0;
    if (h->plan.kind == HARD_PREDICT) {
        targets_counted(h);
    } else if (h->plan.kind == HARD_KEPT_PORTS) {
        targets_kept(h);
    } else if (h->c.ours.mapping == HARD_PRESERVING) {
        targets_from_kept(h);
    } else if (h->theirs.mapping == HARD_PRESERVING) {
        targets_to_kept(h);
    } else {
        targets_crossing(h);
    }
}

/* A port that was not probed yet. There are thirty times as many as are ever probed. */
static uint16_t chance_port(struct hard *h)
{
    for (;;) {
        uint16_t port = (uint16_t)(HARD_PORT_LOWEST + rng_below(&h->c.rng, PORTS));
        if (!(h->used[port / 8] & 1 << port % 8)) {
            h->used[port / 8] |= (uint8_t)(1 << port % 8);
            return port;
        }
    }
}

/* ---- Rounds of prediction. */

static uint32_t round_sockets(const struct hard *h)
{
    if (h->plan.kind != HARD_BOTH)
        return HARD_ROUND_SOCKETS;
    if (h->c.ours.mapping == HARD_PRESERVING)
        return h->theirs.mapping == HARD_SEQUENTIAL ? HARD_FAN : HARD_ROUND_SOCKETS;
    return h->theirs.mapping == HARD_SEQUENTIAL && leads(h) ? HARD_FAN : 1;
}

static void round_start(struct hard *h, usec_t now)
{
    uint32_t left = h->c.sockets - h->opened, wish = round_sockets(h);
    h->round_at = left > 0 ? now + HARD_ROUND : USEC_NEVER;
    if (left == 0)
        return;
    h->round++;
    h->observer = HARD_SOCKET_NONE;
    h->told = h->met = false;
    h->target = h->target_count = 0;
    open_sockets(h, left < wish ? left : wish);
}

/* Against a hard peer: as soon as both ends have told what their round of this number gave. */
static void round_meet(struct hard *h)
{
    if (h->plan.kind != HARD_BOTH || !h->told || h->met || h->their_round != h->round)
        return;
    h->met = true;
    targets_make(h);
}

static void round_tell(struct hard *h, bool ports)
{
    struct search_message m = {.kind = SEARCH_READY, .nat = h->c.ours, .round = h->round};
    for (uint32_t i = 0; ports && i < h->count && m.port_count < SEARCH_PORTS_MAX; i++) {
        if (h->sockets[h->first + i].state == SOCKET_OPEN)
            m.ports[m.port_count++] = h->sockets[h->first + i].port;
    }
    h->told = true;
    tell(h, &m);
}

/* The sockets of this round are there. The observation and the checks leave in one go: no port between theirs
 * is taken by others but by great chance; what the STUN server saw is told when it is known. */
static void round_opened(struct hard *h)
{
    bool counts =
        h->plan.kind == HARD_PREDICT || (h->plan.kind == HARD_BOTH && h->c.ours.mapping == HARD_SEQUENTIAL);
    uint32_t open = 0;
    for (uint32_t s = h->first; s < h->first + h->count; s++) {
        if (h->sockets[s].state != SOCKET_OPEN)
            continue;
        if (open++ == 0 && counts) {
            h->observer = s;
            action_put(h, HARD_OBSERVE)->socket = s;
        }
        if (h->plan.kind != HARD_BOTH)
            probe_put(h, s);
    }
    if (open > 0 && !counts) {
        round_tell(h, true);
        round_meet(h);
    }
}

void hard_observed(struct hard *h, uint32_t socket, const struct net_addr *mapped, usec_t now)
{
    if (h->phase != SEARCHING || socket != h->observer || mapped->family != 4 || mapped->port == 0)
        return;
    h->observer = HARD_SOCKET_NONE;
    h->c.ours.mapped = *mapped;
    round_tell(h, false);
    round_meet(h);
    hard_tick(h, now);
}

/* ---- The birthday search, hard side. */

static void birthday_ready(struct hard *h, usec_t now)
{
    struct search_message m = {.kind = SEARCH_READY, .nat = h->c.ours, .round = 1};
    tell(h, &m);
    h->ready_at = now + HARD_ROUND;
}

/* Whether the next socket's check may go; sockets that are not open are passed over, those that may still
 * open for a while not. */
static bool sweep_next(struct hard *h, usec_t now)
{
    while (h->sweep <= h->opened) {
        enum socket_state state = h->sockets[h->sweep].state;
        if (state == SOCKET_OPEN)
            return true;
        if (state == SOCKET_OPENING && now < h->began + HARD_ROUND)
            return false;
        h->sweep++;
    }
    return false;
}

static void birthday_step(struct hard *h, usec_t now)
{
    if (h->opened > 0 && h->bad == h->opened) {
        failed(h, SEARCH_GAVE_UP, "no sockets could be opened for the search", false);
        return;
    }
    sweep_next(h, now);
    if (h->sweep <= h->opened)
        return;
    if (h->sweep_at == USEC_NEVER)
        h->sweep_at = now + HARD_RESEND;
    if (now >= h->sweep_at) {
        h->sweep = 1;
        h->sweep_at = USEC_NEVER;
    }
    if (now >= h->ready_at)
        birthday_ready(h, now);
}

/* ---- Sockets, messages, time. */

void hard_socket_opened(struct hard *h, uint32_t socket, uint16_t port, usec_t now)
{
    if (socket == HARD_SOCKET_MAIN || socket > h->opened || h->sockets[socket].state != SOCKET_OPENING)
        return;
    h->sockets[socket].state = port ? SOCKET_OPEN : SOCKET_BAD;
    h->sockets[socket].port = port;
    h->bad += !port;
    if (h->phase == SEARCHING && h->plan.kind != HARD_BIRTHDAY && socket >= h->first && --h->waiting == 0)
        round_opened(h);
    hard_tick(h, now);
}

static void begin(struct hard *h, const struct hard_nat *theirs, usec_t now)
{
    h->theirs = *theirs;
    h->plan = hard_plan(&h->c.ours, theirs);
    if (h->plan.kind == HARD_NOT_NEEDED || h->plan.kind == HARD_IMPOSSIBLE) {
        enum hard_kind kind = h->plan.kind;
        h->phase = OVER; /* what is queued is still told: the peer comes to the same conclusion from it */
        event_put(h, HARD_FAILED, h->plan.words, true);
        h->event.plan = kind;
        return;
    }
    h->phase = SEARCHING;
    h->began = h->round_at = h->ready_at = now;
    h->deadline = now + h->c.seconds * SEC;
    ratelimit_init(&h->probing, h->c.rate, HARD_BURST, now);
    ratelimit_init(&h->opening, HARD_OPEN_RATE, HARD_BURST, now);
    h->sweep = 1;
    h->sweep_at = USEC_NEVER;
    if (h->plan.hard_here && h->plan.kind == HARD_BIRTHDAY)
        open_sockets(h, h->c.sockets);
}

static int offer_came(struct hard *h, const struct search_message *m, usec_t now)
{
    if (h->phase == ASKING) {
        h->other_id = m->id > h->id ? m->id : h->id;
        h->id = m->id < h->id ? m->id : h->id;
    } else if (h->phase == WAITING) {
        h->id = h->other_id = m->id;
    } else if (m->id != h->id && m->id != h->other_id) {
        return -ESTALE;
    }
    tell_nat(h, SEARCH_ACCEPT);
    if (h->phase == ASKING || h->phase == WAITING)
        begin(h, &m->nat, now);
    return 0;
}

/* The peer takes the lower number where both offered; its offer may be lost while its acceptance of ours
 * came. */
static int accept_came(struct hard *h, const struct search_message *m, usec_t now)
{
    if (h->phase != ASKING)
        return m->id == h->id ? 0 : -ESTALE;
    if (m->id > h->id)
        return -ESTALE;
    h->id = m->id;
    begin(h, &m->nat, now);
    return 0;
}

static void ready_came(struct hard *h, const struct search_message *m)
{
    struct hard_nat sees = m->nat;
    if (h->phase != SEARCHING || !h->plan.hard_there || m->round <= h->their_round)
        return;
    sees.mapping = h->theirs.mapping;
    if (sees.mapped.family != 4 || m->nat.mapping != h->theirs.mapping ||
        hard_plan(&h->c.ours, &sees).kind != h->plan.kind)
        return;
    h->theirs = m->nat;
    h->their_round = m->round;
    h->their_port_count = m->port_count;
    memcpy(h->their_ports, m->ports, sizeof h->their_ports);
    if (h->plan.kind == HARD_BIRTHDAY)
        h->scatter = true;
    else if (h->plan.kind == HARD_BOTH)
        round_meet(h);
    else
        targets_make(h);
}

static void stop_came(struct hard *h, enum search_stop why, usec_t now)
{
    if (h->phase == OVER)
        return;
    switch (why) {
    case SEARCH_FOUND:
        if (h->phase == CONFIRMING)
            return;
        h->phase = CONFIRMING;
        h->deadline = usec_min(h->deadline, now + HARD_GRACE);
        return;
    case SEARCH_BUSY:
        failed(h, 0, "the peer is busy with another search", false);
        return;
    case SEARCH_OFF:
        failed(h, 0, "the peer allows no searches", false);
        return;
    case SEARCH_NO_PLAN:
        failed(h, 0, "the peer sees no plan for these two NATs", true);
        return;
    default: /* it had the whole time, or its owner thought better of it */
        failed(h, 0, "the peer gave the search up",
               h->phase == SEARCHING && usec_since(now, h->began) >= h->c.seconds * SEC / 2);
    }
}

int hard_message(struct hard *h, struct bytes message, usec_t now)
{
    struct search_message m;
    int rc = search_read(&m, message);
    if (rc)
        return rc;
    if (h->phase == OVER)
        return -ESTALE;
    if (m.kind == SEARCH_OFFER) {
        rc = offer_came(h, &m, now);
    } else if (m.kind == SEARCH_ACCEPT) {
        rc = accept_came(h, &m, now);
    } else if (h->phase == WAITING || (m.id != h->id && m.id != h->other_id)) {
        rc = -ESTALE;
    } else if (m.kind == SEARCH_READY) {
        ready_came(h, &m);
    } else {
        stop_came(h, m.stop, now);
    }
    hard_tick(h, now);
    return rc;
}

static const char *why_over(const struct hard *h)
{
    if (h->phase == CONFIRMING)
        return "the peer found a way, but nothing was proved over it here";
    if (h->phase != SEARCHING)
        return "the peer does not answer the offer of a search";
    if (h->opened > 0 && h->bad == h->opened)
        return "no sockets could be opened for the search";
    if (h->plan.hard_there && h->their_round == 0)
        return "the peer was never ready for the probes";
    return h->plan.kind == HARD_BIRTHDAY ? "no probe met one of the sockets"
                                         : "no probe met a predicted port";
}

void hard_tick(struct hard *h, usec_t now)
{
    if (h->phase == OVER)
        return;
    if (now >= h->deadline) {
        bool counts = h->phase == SEARCHING && (h->plan.hard_here ? h->bad < h->opened : h->their_round > 0);
        failed(h, SEARCH_GAVE_UP, why_over(h), counts);
        return;
    }
    if (h->phase == ASKING && now >= h->offer_at && h->offers < HARD_OFFER_TRIES) {
        h->offers++;
        h->offer_at = now + HARD_OFFER_AGAIN;
        tell_nat(h, SEARCH_OFFER);
    }
    if (h->phase != SEARCHING || !h->plan.hard_here)
        return;
    if (h->plan.kind == HARD_BIRTHDAY)
        birthday_step(h, now);
    else if (now >= h->round_at)
        round_start(h, now);
}

/* ---- Outputs. */

static bool to_probe(const struct hard *h)
{
    return h->phase == SEARCHING && h->probes < h->c.probes && (h->target < h->target_count || h->scatter);
}

static bool to_sweep(const struct hard *h)
{
    return h->phase == SEARCHING && h->plan.hard_here && h->plan.kind == HARD_BIRTHDAY &&
           h->sweep <= h->opened;
}

static void probe_out(struct hard *h, struct hard_out *out)
{
    *out = (struct hard_out){.action = HARD_PROBE, .socket = HARD_SOCKET_MAIN, .to = h->theirs.mapped};
    h->probes++;
    if (h->target < h->target_count) {
        out->socket = h->targets[h->target].socket;
        out->to.port = h->targets[h->target++].port;
    } else {
        out->to.port = chance_port(h);
    }
}

static bool last_words(struct hard *h, struct hard_out *out)
{
    struct search_message m = {.kind = SEARCH_STOP, .id = h->id, .stop = h->stop};
    if (h->stop) {
        h->stop = 0;
        *out = (struct hard_out){.action = HARD_TELL_PEER,
                                 .data = bytes_of(h->data, search_write(h->data, sizeof h->data, &m))};
        return true;
    }
    if (h->close) {
        h->close = false;
        *out = (struct hard_out){.action = HARD_CLOSE_SOCKETS, .socket = h->keep};
        return true;
    }
    return false;
}

bool hard_output(struct hard *h, usec_t now, struct hard_out *out)
{
    while (h->queued > 0) {
        struct action *a = &h->actions[h->head];
        h->head = (h->head + 1) % ACTIONS_MAX;
        h->queued--;
        memcpy(h->data, a->data, sizeof h->data);
        *out = (struct hard_out){a->kind, a->socket, a->count, a->to, bytes_of(h->data, a->len)};
        if (a->kind != HARD_TELL_PEER || a->len > 0)
            return true;
    }
    if (h->phase == OVER)
        return last_words(h, out);
    if (to_sweep(h) && sweep_next(h, now) && ratelimit_take(&h->opening, 1, now)) {
        *out = (struct hard_out){.action = HARD_PROBE, .socket = h->sweep++, .to = h->theirs.mapped};
        h->probes++;
        hard_tick(h, now); /* the last one: the peer is told */
        return true;
    }
    if (to_probe(h) && ratelimit_take(&h->probing, 1, now)) {
        probe_out(h, out);
        return true;
    }
    return false;
}

bool hard_event(struct hard *h, struct hard_event *ev)
{
    if (!h->has_event)
        return false;
    *ev = h->event;
    h->has_event = false;
    return true;
}

static usec_t token_at(const struct ratelimit *r)
{
    return r->level >= TOKEN ? r->last : r->last + (TOKEN - r->level + r->rate - 1) / r->rate;
}

static usec_t hard_side_wake(const struct hard *h)
{
    if (h->plan.kind != HARD_BIRTHDAY)
        return h->round_at;
    if (h->sweep > h->opened)
        return usec_min(h->sweep_at, h->ready_at);
    if (!to_sweep(h))
        return USEC_NEVER;
    return h->sockets[h->sweep].state == SOCKET_OPENING ? h->began + HARD_ROUND : token_at(&h->opening);
}

usec_t hard_wake(const struct hard *h)
{
    usec_t at = h->deadline;
    if (h->phase == OVER)
        return USEC_NEVER;
    if (h->phase == ASKING && h->offers < HARD_OFFER_TRIES)
        at = usec_min(at, h->offer_at);
    if (h->phase == SEARCHING && h->plan.hard_here)
        at = usec_min(at, hard_side_wake(h));
    if (to_probe(h))
        at = usec_min(at, token_at(&h->probing));
    return at;
}

void hard_status(const struct hard *h, struct hard_status *s)
{
    *s = (struct hard_status){.plan = h->plan,
                              .searching = h->phase == SEARCHING || h->phase == CONFIRMING,
                              .over = h->phase == OVER,
                              .theirs = h->theirs,
                              .sockets = h->opened - h->bad,
                              .probes = h->probes,
                              .rounds = h->plan.hard_here ? h->round : h->their_round,
                              .began = h->began};
}
