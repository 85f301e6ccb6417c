#include "path/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RTT_UNKNOWN    (1 * SEC)   /* what is assumed before the first answer (RFC 6298 section 2.1) */
#define RTT_FLOOR      (20 * MSEC) /* added to every path: below this, differences are noise */
#define LOSS_MIN       8           /* the score does not judge loss by fewer probes */
#define LOSS_WEIGHT    4           /* 25 % of loss count as double the time */
#define DEAD_SHIFT_MAX 3

/* One of the last PATH_LOSS_WINDOW probes. */
enum probe_state { PROBE_NONE, PROBE_WAITING, PROBE_LOST, PROBE_ANSWERED };
struct probe {
    enum probe_state state;
    uint64_t nonce;
    usec_t sent;
};

struct path {
    uint32_t id;
    enum path_kind kind;
    bool alive;
    bool traffic; /* since the last probe */
    usec_t since; /* of alive */
    usec_t srtt, rttvar;
    usec_t last_answer;
    usec_t last_probe; /* 0: none yet */
    usec_t waiting;    /* when something was first sent after the last sign of life; 0: nothing was */
    unsigned tries;    /* probes sent while waiting */
    usec_t unanswered; /* when the first probe after the last answer was sent; 0: none */
    unsigned unanswered_count;
    unsigned answers;     /* at most PATH_FIRST_PROBES */
    unsigned deaths;      /* of late */
    unsigned dead_probes; /* since it died */
    usec_t better;        /* since when it is enough better than the current one; 0: it is not */
    struct probe probes[PATH_LOSS_WINDOW];
    size_t next_probe;
};

struct paths {
    struct path path[PATHS_MAX];
    size_t count;
    struct rng rng;
    uint32_t current; /* id or PATHS_NO_ID */
    struct path_event events[PATH_EVENTS_MAX];
    size_t event_first, event_count;
};

const char *path_kind_name(enum path_kind k)
{
    static const char *const names[PATH_KIND_COUNT] = {"none",      "lan",      "udp",  "tls",
                                                       "udp-relay", "ws-relay", "turn", "multi-hop"};
    return (unsigned)k < PATH_KIND_COUNT ? names[k] : "unknown";
}

struct paths *paths_new(struct rng rng)
{
    struct paths *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->rng = rng;
    p->current = PATHS_NO_ID;
    return p;
}

void paths_free(struct paths *p)
{
    free(p);
}

static struct path *path_find(const struct paths *p, uint32_t id)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->path[i].id == id)
            return (struct path *)&p->path[i];
    return NULL;
}

static void event_add(struct paths *p, enum path_event_kind kind, const struct path *h)
{
    if (p->event_count == PATH_EVENTS_MAX) {
        p->event_first = (p->event_first + 1) % PATH_EVENTS_MAX;
        p->event_count--;
    }
    struct path_event *e = &p->events[(p->event_first + p->event_count++) % PATH_EVENTS_MAX];
    *e = (struct path_event){
        .kind = kind, .id = h ? h->id : PATHS_NO_ID, .path_kind = h ? h->kind : PATH_NONE};
}

bool paths_event(struct paths *p, struct path_event *ev)
{
    if (p->event_count == 0)
        return false;
    *ev = p->events[p->event_first];
    p->event_first = (p->event_first + 1) % PATH_EVENTS_MAX;
    p->event_count--;
    return true;
}

/* ---- Deadlines. */

static usec_t later(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

static usec_t dead_after(const struct path *h)
{
    return h->srtt ? later(PATH_DEAD_MIN, 3 * h->srtt) : RTT_UNKNOWN;
}

/* A third of dead_after, so that two probes can fail before the path does; never less than PATH_SUSPECT. */
static usec_t suspect_after(const struct path *h)
{
    return later(PATH_SUSPECT, h->srtt);
}

static usec_t probe_interval(const struct path *h)
{
    if (h->traffic)
        return PATH_PROBE_BUSY;
    if (!h->alive) {
        unsigned shift = h->dead_probes < DEAD_SHIFT_MAX + 1 ? h->dead_probes : DEAD_SHIFT_MAX + 1;
        return usec_min(PATH_PROBE_BUSY << shift, PATH_PROBE_IDLE);
    }
    return h->answers < PATH_FIRST_PROBES || h->better ? PATH_PROBE_BUSY : PATH_PROBE_IDLE;
}

static usec_t probe_due(const struct path *h)
{
    if (h->last_probe == 0)
        return h->since;
    usec_t due = h->last_probe + probe_interval(h);
    if (h->alive && h->waiting)
        due = usec_min(due, later(h->waiting, h->last_probe) + suspect_after(h));
    return due;
}

/* Silence while sending. Two probes must have had their chance: a machine that slept has not heard, but has
 * not asked either. */
static usec_t silence_due(const struct path *h)
{
    if (!h->waiting || h->tries < 2)
        return USEC_NEVER;
    return later(h->waiting + dead_after(h), h->last_probe + suspect_after(h));
}

static usec_t one_way_due(const struct path *h)
{
    if (!h->unanswered || h->unanswered_count < 3)
        return USEC_NEVER;
    return later(h->unanswered + later(PATH_ONE_WAY, 2 * dead_after(h)), h->last_probe + suspect_after(h));
}

static usec_t dead_due(const struct path *h)
{
    return h->alive ? usec_min(silence_due(h), one_way_due(h)) : USEC_NEVER;
}

static usec_t hold_of(const struct path *h)
{
    unsigned shift = h->deaths > 1 ? h->deaths - 1 : 0;
    return usec_min(PATH_HOLD << (shift < DEAD_SHIFT_MAX ? shift : DEAD_SHIFT_MAX), PATH_HOLD_MAX);
}

/* ---- Loss. */

static void probes_expire(struct path *h, usec_t now)
{
    for (size_t i = 0; i < PATH_LOSS_WINDOW; i++) {
        struct probe *q = &h->probes[i];
        if (q->state == PROBE_WAITING && usec_since(now, q->sent) >= dead_after(h))
            q->state = PROBE_LOST;
    }
}

static void probes_count(const struct path *h, unsigned *lost, unsigned *judged)
{
    *lost = *judged = 0;
    for (size_t i = 0; i < PATH_LOSS_WINDOW; i++) {
        *lost += h->probes[i].state == PROBE_LOST;
        *judged += h->probes[i].state == PROBE_LOST || h->probes[i].state == PROBE_ANSWERED;
    }
}

/* ---- Choice. */

/* Percent. A relay must be about twice as fast to be preferred to a direct path: it costs somebody else's
 * line. */
static uint64_t kind_factor(enum path_kind k)
{
    static const uint16_t factors[PATH_KIND_COUNT] = {
        [PATH_LAN] = 100,      [PATH_UDP] = 120,  [PATH_TLS] = 140,       [PATH_UDP_RELAY] = 240,
        [PATH_WS_RELAY] = 280, [PATH_TURN] = 260, [PATH_MULTI_HOP] = 300,
    };
    return factors[k];
}

/* The smaller the better: time, stretched by loss and by kind. */
static uint64_t cost_of(const struct path *h)
{
    unsigned lost, judged;
    probes_count(h, &lost, &judged);
    uint64_t of = judged > LOSS_MIN ? judged : LOSS_MIN;
    uint64_t stretch = 100 + LOSS_WEIGHT * 100 * lost / of;
    usec_t time = h->srtt ? h->srtt + h->rttvar : RTT_UNKNOWN;
    return (time + RTT_FLOOR) * kind_factor(h->kind) * stretch;
}

static bool is_enough_better(const struct path *h, const struct path *than)
{
    return h->srtt && cost_of(h) * 100 <= cost_of(than) * (100 - PATH_BETTER);
}

static void switch_to(struct paths *p, const struct path *h)
{
    uint32_t id = h ? h->id : PATHS_NO_ID;
    if (id == p->current)
        return;
    p->current = id;
    for (size_t i = 0; i < p->count; i++)
        p->path[i].better = 0;
    event_add(p, PATH_EVENT_CHANGED, h);
}

/* The current path is gone or dead: the best that lives, at once. */
static void choose_now(struct paths *p)
{
    const struct path *best = NULL;
    for (size_t i = 0; i < p->count; i++) {
        const struct path *h = &p->path[i];
        if (h->alive && (!best || cost_of(h) < cost_of(best)))
            best = h;
    }
    switch_to(p, best);
}

static void choose(struct paths *p, usec_t now)
{
    const struct path *current = path_find(p, p->current);
    if (!current || !current->alive) {
        choose_now(p);
        current = path_find(p, p->current);
    }
    const struct path *best = NULL;
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        bool better = h != current && h->alive && is_enough_better(h, current);
        h->better = !better ? 0 : h->better ? h->better : now;
        if (better && now >= h->better + hold_of(h) && (!best || cost_of(h) < cost_of(best)))
            best = h;
    }
    if (best) {
        switch_to(p, best);
        choose(p, now); /* others may be better than this one, too: their hold begins now; it never switches
                           twice */
    }
}

/* ---- Set. */

int paths_add(struct paths *p, uint32_t id, enum path_kind kind, usec_t now)
{
    if (id == PATHS_NO_ID || kind <= PATH_NONE || kind >= PATH_KIND_COUNT)
        return -EINVAL;
    if (path_find(p, id))
        return -EEXIST;
    if (p->count == PATHS_MAX)
        return -ENOSPC;
    p->path[p->count++] = (struct path){.id = id, .kind = kind, .alive = true, .since = now};
    choose(p, now);
    return 0;
}

void paths_del(struct paths *p, uint32_t id)
{
    struct path *h = path_find(p, id);
    if (!h)
        return;
    struct path *end = p->path + p->count--;
    memmove(h, h + 1, (size_t)(end - (h + 1)) * sizeof *h);
    if (id == p->current)
        choose_now(p);
}

void paths_clear(struct paths *p)
{
    p->count = 0;
    switch_to(p, NULL);
}

bool paths_best(const struct paths *p, uint32_t *id, enum path_kind *kind)
{
    const struct path *h = path_find(p, p->current);
    *id = h ? h->id : PATHS_NO_ID;
    *kind = h ? h->kind : PATH_NONE;
    return h;
}

/* ---- Signs of life. */

static void awaits(struct path *h, usec_t now)
{
    if (h->alive && !h->waiting)
        h->waiting = now;
}

static void heard(struct path *h)
{
    h->waiting = 0;
    h->tries = 0;
}

void paths_sent(struct paths *p, uint32_t id, usec_t now)
{
    struct path *h = path_find(p, id);
    if (!h)
        return;
    h->traffic = true;
    awaits(h, now);
}

void paths_received(struct paths *p, uint32_t id, usec_t now)
{
    struct path *h = path_find(p, id);
    if (!h)
        return;
    h->traffic = true;
    heard(h);
}

static void probe_send(struct paths *p, struct path *h, usec_t now, uint8_t out[PATH_PROBE_LEN])
{
    struct probe *q = &h->probes[h->next_probe];
    h->next_probe = (h->next_probe + 1) % PATH_LOSS_WINDOW;
    *q = (struct probe){.state = PROBE_WAITING, .nonce = rng_u64(&p->rng), .sent = now};
    h->last_probe = now;
    h->traffic = false;
    h->dead_probes += !h->alive;
    awaits(h, now);
    h->tries += h->alive;
    h->unanswered_count++;
    if (!h->unanswered)
        h->unanswered = now;
    struct wr w = wr_of(out, PATH_PROBE_LEN);
    wr_u64(&w, q->nonce);
    wr_u32(&w, h->id);
}

bool paths_output(struct paths *p, usec_t now, uint32_t *id, uint8_t probe[PATH_PROBE_LEN])
{
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        /* Not a probe for a path that the tick would bury at the same moment. */
        if (probe_due(h) > now || dead_due(h) <= now)
            continue;
        probe_send(p, h, now, probe);
        *id = h->id;
        return true;
    }
    return false;
}

/* RFC 6298 section 2. */
static void rtt_add(struct path *h, usec_t rtt)
{
    if (h->srtt == 0) {
        h->srtt = rtt;
        h->rttvar = rtt / 2;
        return;
    }
    usec_t apart = h->srtt > rtt ? h->srtt - rtt : rtt - h->srtt;
    h->rttvar = (3 * h->rttvar + apart) / 4;
    h->srtt = (7 * h->srtt + rtt) / 8;
}

static void revive(struct paths *p, struct path *h, usec_t now)
{
    h->alive = true;
    h->since = now;
    h->dead_probes = 0;
    /* What was lost while it was dead is known already; counted again, it would keep a good path away for
     * minutes. */
    for (size_t i = 0; i < PATH_LOSS_WINDOW; i++)
        if (h->probes[i].state == PROBE_LOST)
            h->probes[i].state = PROBE_NONE;
    event_add(p, PATH_EVENT_ALIVE, h);
}

static struct probe *probe_find(struct path *h, uint64_t nonce)
{
    for (size_t i = 0; i < PATH_LOSS_WINDOW; i++) {
        struct probe *q = &h->probes[i];
        if (q->nonce == nonce && (q->state == PROBE_WAITING || q->state == PROBE_LOST))
            return q;
    }
    return NULL;
}

bool paths_answer(struct paths *p, struct bytes probe, usec_t now, uint32_t *id, usec_t *rtt)
{
    struct rd r = rd_of(probe);
    uint64_t nonce = rd_u64(&r);
    struct path *h = path_find(p, rd_u32(&r));
    struct probe *q = rd_done(&r) && h ? probe_find(h, nonce) : NULL;
    if (!q)
        return false;
    q->state = PROBE_ANSWERED;
    *id = h->id;
    *rtt = later(usec_since(now, q->sent), 1); /* 0 means not measured */
    rtt_add(h, *rtt);
    h->last_answer = now;
    h->unanswered = 0;
    h->unanswered_count = 0;
    h->answers += h->answers < PATH_FIRST_PROBES;
    heard(h);
    if (!h->alive)
        revive(p, h, now);
    choose(p, now);
    return true;
}

/* ---- Time. */

static void path_die(struct paths *p, struct path *h, usec_t now)
{
    h->deaths = usec_since(now, h->since) >= PATH_STEADY ? 1 : h->deaths + 1;
    h->alive = false;
    h->since = now;
    h->dead_probes = 0;
    heard(h);
    event_add(p, PATH_EVENT_DEAD, h);
}

void paths_tick(struct paths *p, usec_t now)
{
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        probes_expire(h, now);
        if (dead_due(h) <= now)
            path_die(p, h, now);
    }
    choose(p, now);
}

usec_t paths_wake(const struct paths *p)
{
    usec_t wake = USEC_NEVER;
    for (size_t i = 0; i < p->count; i++) {
        const struct path *h = &p->path[i];
        wake = usec_min(wake, usec_min(probe_due(h), dead_due(h)));
        if (h->better)
            wake = usec_min(wake, h->better + hold_of(h));
    }
    return wake;
}

/* ---- Looking. */

size_t paths_count(const struct paths *p)
{
    return p->count;
}

bool paths_stats_at(const struct paths *p, size_t i, struct path_stats *s)
{
    if (i >= p->count)
        return false;
    const struct path *h = &p->path[i];
    unsigned lost, judged;
    probes_count(h, &lost, &judged);
    *s = (struct path_stats){
        .kind = h->kind,
        .id = h->id,
        .alive = h->alive,
        .srtt = h->srtt,
        .jitter = h->rttvar,
        .loss = judged ? (double)lost / judged : 0,
        .since = h->since,
        .last_answer = h->last_answer,
    };
    return true;
}

bool paths_stats(const struct paths *p, uint32_t id, struct path_stats *s)
{
    const struct path *h = path_find(p, id);
    return h && paths_stats_at(p, (size_t)(h - p->path), s);
}
