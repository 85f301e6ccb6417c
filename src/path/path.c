#include "path/path_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN_MIN (10 * MSEC)
#define WS_IDLE_MAX                                                                                          \
    (25 * SEC) /* the hub's connection is kept anyway: the warm second is asked at least so often */

const char *path_kind_name(enum path_kind k)
{
    static const char *const names[PATH_KIND_COUNT] = {"none",      "lan",      "udp",  "tls",
                                                       "udp-relay", "ws-relay", "turn", "multi-hop"};
    return (unsigned)k < PATH_KIND_COUNT ? names[k] : "unknown";
}

bool path_is_direct(enum path_kind k)
{
    return k == PATH_LAN || k == PATH_UDP || k == PATH_TLS;
}

bool path_is_stream(enum path_kind k)
{
    return k == PATH_TLS || k == PATH_WS_RELAY;
}

struct paths *paths_new(struct rng rng)
{
    struct paths *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->rng = rng;
    p->current = p->stray = p->excused = PATHS_NO_ID;
    return p;
}

void paths_free(struct paths *p)
{
    free(p);
}

struct path *path_find(const struct paths *p, uint32_t id)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->path[i].id == id)
            return (struct path *)&p->path[i];
    return NULL;
}

void path_event_add(struct paths *p, enum path_event_kind kind, const struct path *h)
{
    if (p->event_count == PATH_EVENTS_MAX) {
        p->event_first = (p->event_first + 1) % PATH_EVENTS_MAX;
        p->event_count--;
    }
    struct path_event *e = &p->events[(p->event_first + p->event_count++) % PATH_EVENTS_MAX];
    *e = (struct path_event){
        .kind = kind, .id = h ? h->id : PATHS_NO_ID, .path_kind = h ? h->kind : PATH_NONE};
}

/* One event is enough for what the owner then looks up. */
static void mtu_tell(struct paths *p, struct path *h)
{
    if (h->mtu.value == h->told_mtu && h->mtu.known == h->told_known)
        return;
    h->told_mtu = h->mtu.value;
    h->told_known = h->mtu.known;
    for (size_t i = 0; i < p->event_count; i++) {
        const struct path_event *e = &p->events[(p->event_first + i) % PATH_EVENTS_MAX];
        if (e->kind == PATH_EVENT_MTU && e->id == h->id)
            return;
    }
    path_event_add(p, PATH_EVENT_MTU, h);
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

static void see(struct paths *p, usec_t now)
{
    p->seen = later(p->seen, now);
}

usec_t path_dead_after(const struct path *h)
{
    return h->srtt ? later(PATH_DEAD_MIN, 3 * h->srtt) : RTT_UNKNOWN;
}

static usec_t doubt_after(const struct path *h)
{
    return later(PATH_DOUBT, h->srtt + h->srtt / 2);
}

/* The first question of a silence: early enough that a healthy path answers before it is in doubt, so that
 * somebody who only sends is not copied. */
static usec_t ask_after(const struct path *h)
{
    usec_t doubt = doubt_after(h), answer = h->srtt + later(MARGIN_MIN, 2 * h->rttvar);
    return doubt > answer ? later(doubt - answer, doubt / 4) : doubt / 4;
}

/* Between further questions, and what the second has for its answer. A third of dead_after. */
static usec_t suspect_after(const struct path *h)
{
    return later(PATH_SUSPECT, h->srtt);
}

static usec_t silence_ask_due(const struct path *h)
{
    if (h->tries == 0)
        return h->waiting + ask_after(h);
    if (h->tries == 1)
        return later(h->waiting + doubt_after(h), h->last_probe + doubt_after(h) / 4);
    return h->last_probe + suspect_after(h);
}

bool path_is_doubted(const struct path *h, usec_t now)
{
    return h->alive &&
           (h->forced || (h->stray && now >= h->stray) || (h->waiting && now >= h->waiting + doubt_after(h)));
}

static usec_t idle_interval(const struct path *h)
{
    usec_t t = h->lifetime ? usec_min(h->lifetime / 5 * 4, PATH_IDLE_MAX) : PATH_PROBE_IDLE;
    return later(PATH_PROBE_BUSY, h->kind == PATH_WS_RELAY ? usec_min(t, WS_IDLE_MAX) : t);
}

/* Which path is the better one is a question only while something is carried. */
static bool warm(const struct paths *p, const struct path *h)
{
    return p->traffic_at && h->last_probe < p->traffic_at + PATH_WARM;
}

static usec_t probe_interval(const struct paths *p, const struct path *h)
{
    if (h->traffic)
        return PATH_PROBE_BUSY;
    if (!h->alive) {
        unsigned shift = h->dead_probes < DEAD_SHIFT_MAX + 1 ? h->dead_probes : DEAD_SHIFT_MAX + 1;
        return usec_min(PATH_PROBE_BUSY << shift, PATH_PROBE_IDLE);
    }
    return h->answers < PATH_FIRST_PROBES || h->better || warm(p, h) ? PATH_PROBE_BUSY : idle_interval(h);
}

static usec_t probe_due(const struct paths *p, const struct path *h)
{
    if (h->ask)
        return h->ask;
    if (h->last_probe == 0)
        return h->since;
    usec_t due = h->last_probe + probe_interval(p, h);
    if (h->stray && h->last_probe < h->stray)
        due = usec_min(due, h->stray);
    if (h->alive && h->waiting)
        return usec_min(due, silence_ask_due(h));
    return h->alive && h->forced ? usec_min(due, h->last_probe + suspect_after(h)) : due;
}

/* Silence while sending. Two probes must have had their chance: a machine that slept has not heard, but has
 * not asked either. */
static usec_t silence_due(const struct path *h)
{
    if (!h->waiting || h->tries < 2)
        return USEC_NEVER;
    return later(h->waiting + path_dead_after(h), h->second_try + suspect_after(h));
}

/* Large probes go over a path that has answered: only then are its silence and its time known. */
bool path_mtu_is_on(const struct path *h)
{
    return h->alive && h->srtt;
}

static usec_t one_way_due(const struct path *h)
{
    if (!h->unanswered || h->unanswered_count < 3)
        return USEC_NEVER;
    return later(h->unanswered + later(PATH_ONE_WAY, 2 * path_dead_after(h)),
                 h->last_probe + suspect_after(h));
}

static usec_t dead_due(const struct path *h)
{
    return h->alive ? usec_min(silence_due(h), one_way_due(h)) : USEC_NEVER;
}

/* ---- Set. */

/* 0: a stream. What the owner's transports add is theirs to say; these are the most that a search may ask. */
static uint16_t mtu_max_of(enum path_kind k)
{
    if (path_is_stream(k))
        return 0;
    return k == PATH_UDP_RELAY   ? PATH_MTU_MAX - 12
           : k == PATH_TURN      ? PATH_MTU_MAX - 36
           : k == PATH_MULTI_HOP ? PATH_MTU_MAX - 200
                                 : PATH_MTU_MAX;
}

int paths_add(struct paths *p, uint32_t id, enum path_kind kind, usec_t now)
{
    if (id == PATHS_NO_ID || kind <= PATH_NONE || kind >= PATH_KIND_COUNT)
        return -EINVAL;
    if (path_find(p, id))
        return -EEXIST;
    if (p->count == PATHS_MAX)
        return -ENOSPC;
    see(p, now);
    struct path *h = &p->path[p->count++];
    *h = (struct path){.id = id, .kind = kind, .alive = true, .since = now};
    mtu_init(&h->mtu, mtu_max_of(kind), now);
    h->told_mtu = h->mtu.value;
    h->told_known = h->mtu.known;
    paths_choose(p, now);
    return 0;
}

void paths_del(struct paths *p, uint32_t id)
{
    struct path *h = path_find(p, id);
    if (!h)
        return;
    if (p->excused == id)
        p->excused = PATHS_NO_ID;
    struct path *end = p->path + p->count--;
    memmove(h, h + 1, (size_t)(end - (h + 1)) * sizeof *h);
    paths_choose_now(p, p->seen);
}

void paths_clear(struct paths *p)
{
    p->count = 0;
    paths_switch(p, NULL, p->seen);
}

static bool found(const struct path *h, uint32_t *id, enum path_kind *kind)
{
    *id = h ? h->id : PATHS_NO_ID;
    *kind = h ? h->kind : PATH_NONE;
    return h;
}

bool paths_best(const struct paths *p, uint32_t *id, enum path_kind *kind)
{
    return found(path_find(p, p->current), id, kind);
}

static const struct path *carrier_of(const struct paths *p, size_t size, usec_t now)
{
    const struct path *h = path_find(p, p->current);
    return h && h->alive && h->mtu.value >= size ? h : path_best_of(p, size, NULL, now);
}

bool paths_best_for(const struct paths *p, size_t size, uint32_t *id, enum path_kind *kind)
{
    return found(carrier_of(p, size, p->seen), id, kind);
}

bool paths_second(const struct paths *p, size_t size, usec_t now, uint32_t *id, enum path_kind *kind)
{
    const struct path *first = carrier_of(p, size, now);
    if (!first || (!path_is_doubted(first, now) && now >= p->copies_until))
        return found(NULL, id, kind);
    const struct path *stray = first->stray ? path_find(p, p->stray) : NULL;
    bool fits = stray && stray != first && stray->alive && stray->mtu.value >= size;
    return found(fits ? stray : path_best_of(p, size, first, now), id, kind);
}

/* ---- Signs of life. Times of what is told may lie before what is known already, and in any order: the later
 * one counts, whichever is told first. */

static void awaits(struct path *h, usec_t at)
{
    if (h->alive && at >= later(h->heard, h->forced) && (!h->waiting || at < h->waiting))
        h->waiting = at;
}

/* Its clocks start anew. */
static void calm(struct path *h)
{
    h->waiting = 0;
    h->tries = 0;
    h->stray = 0;
}

/* What was sent after the last sign of life waits on: the questions since then, and the last packet, whose
 * time is the only one that is known. */
static void waits_on(struct path *h)
{
    usec_t first = 0, second = USEC_NEVER;
    unsigned tries = 0;
    for (size_t i = 1; i <= PATH_LOSS_WINDOW; i++) {
        /* from the youngest to the oldest */
        usec_t sent = h->probes[(h->next_probe + PATH_LOSS_WINDOW - i) % PATH_LOSS_WINDOW].sent;
        if (sent <= h->heard)
            break;
        second = first;
        first = sent;
        tries++;
    }
    h->waiting = h->sent <= h->heard ? first : first ? usec_min(first, h->sent) : h->sent;
    h->tries = tries;
    if (tries >= 2)
        h->second_try = second;
}

static void heard(struct path *h, usec_t at)
{
    if (at < h->heard)
        return;
    h->heard = at;
    if (h->waiting && h->waiting <= at)
        waits_on(h);
    if (h->strayed <= at)
        h->stray = 0;
    else if (h->stray)
        h->stray = later(h->strayed, later(at, h->since) + later(PATH_STRAY, h->srtt));
}

void paths_keepalive(struct paths *p, uint32_t id, usec_t lifetime)
{
    struct path *h = path_find(p, id);
    if (h)
        h->lifetime = lifetime;
}

static void carries(struct paths *p, struct path *h, usec_t at)
{
    h->traffic = h->traffic || at >= h->last_probe;
    p->traffic_at = later(p->traffic_at, at);
}

void paths_sent(struct paths *p, uint32_t id, usec_t now)
{
    struct path *h = path_find(p, id);
    see(p, now);
    if (!h)
        return;
    carries(p, h, now);
    mtu_used(&h->mtu);
    h->sent = later(h->sent, now);
    awaits(h, now);
}

void paths_received(struct paths *p, uint32_t id, usec_t now)
{
    struct path *h = path_find(p, id);
    if (h)
        carries(p, h, now);
    paths_heard(p, id, now);
}

void paths_heard(struct paths *p, uint32_t id, usec_t now)
{
    struct path *h = path_find(p, id);
    see(p, now);
    if (!h)
        return;
    heard(h, now);
    /* What is dead speaks: it may be back. */
    if (!h->alive && now >= h->last_probe + suspect_after(h))
        h->ask = now;
}

static void excuse(struct paths *p, uint32_t id, usec_t now)
{
    p->excused = id;
    p->excused_at = now;
}

/* Over a worse path the peer sends only where it thinks little of the current one. While both ends change, it
 * may think otherwise for a moment, and late packets come: those are forgiven by what is heard meanwhile. */
void paths_carried(struct paths *p, uint32_t id, usec_t now)
{
    const struct path *h = path_find(p, id);
    struct path *current = path_find(p, p->current);
    see(p, now);
    if (!h || !current)
        return;
    if (h == current && now >= p->excused_at + PATH_EXCUSED)
        excuse(p, PATHS_NO_ID, now);
    usec_t heard = later(current->heard, current->since);
    if (h == current || id == p->excused || !current->alive || current->stray || now < heard ||
        path_cost(h) <= path_cost(current))
        return;
    current->strayed = now;
    current->stray = later(now, heard + later(PATH_STRAY, current->srtt));
    p->stray = id;
}

static void probe_write(const struct path *h, uint64_t nonce, uint8_t out[PATH_PROBE_LEN])
{
    struct wr w = wr_of(out, PATH_PROBE_LEN);
    wr_u64(&w, nonce);
    wr_u32(&w, h->id);
}

static void probe_send(struct paths *p, struct path *h, usec_t now, uint8_t out[PATH_PROBE_LEN])
{
    struct probe *q = &h->probes[h->next_probe];
    h->next_probe = (h->next_probe + 1) % PATH_LOSS_WINDOW;
    *q = (struct probe){.state = PROBE_WAITING, .nonce = rng_u64(&p->rng), .sent = now};
    h->last_probe = now;
    h->ask = 0;
    h->traffic = false;
    h->dead_probes += !h->alive;
    awaits(h, now);
    h->tries += h->alive;
    if (h->tries == 2)
        h->second_try = now;
    h->unanswered_count++;
    if (!h->unanswered)
        h->unanswered = now;
    probe_write(h, q->nonce, out);
}

bool paths_output(struct paths *p, usec_t now, uint32_t *id, uint8_t probe[PATH_PROBE_LEN], uint16_t *size)
{
    see(p, now);
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        /* Not a probe for a path that the tick would bury at the same moment. */
        if (probe_due(p, h) > now || dead_due(h) <= now)
            continue;
        probe_send(p, h, now, probe);
        *id = h->id;
        *size = 0;
        return true;
    }
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        uint64_t nonce;
        if (!path_mtu_is_on(h) || !mtu_output(&h->mtu, now, h->srtt, &p->rng, &nonce, size))
            continue;
        probe_write(h, nonce, probe);
        *id = h->id;
        return true;
    }
    return false;
}

/* RFC 6298 section 2. */
static void rtt_add(struct path *h, usec_t rtt)
{
    if (!h->measured) { /* what was said from elsewhere is forgotten */
        h->measured = true;
        h->srtt = rtt;
        h->rttvar = rtt / 2;
        return;
    }
    usec_t apart = h->srtt > rtt ? h->srtt - rtt : rtt - h->srtt;
    h->rttvar = (3 * h->rttvar + apart) / 4;
    h->srtt = (7 * h->srtt + rtt) / 8;
}

/* What was lost while it was dead is known already; counted again, it would keep a good path away for
 * minutes. What is still waited for may have been lost with it. */
static void pardon(struct path *h)
{
    for (size_t i = 0; i < PATH_LOSS_WINDOW; i++) {
        if (h->probes[i].state == PROBE_LOST)
            h->probes[i].state = PROBE_NONE;
        h->probes[i].pardoned = h->probes[i].state == PROBE_WAITING;
    }
}

static void revive(struct paths *p, struct path *h, usec_t now)
{
    h->alive = true;
    h->since = now;
    h->dead_probes = 0;
    pardon(h);
    mtu_doubt(&h->mtu, now);
    path_event_add(p, PATH_EVENT_ALIVE, h);
}

void paths_renew(struct paths *p, uint32_t id, usec_t now)
{
    struct path *h = path_find(p, id);
    see(p, now);
    if (!h)
        return;
    heard(h, now);
    h->unanswered = 0;
    h->unanswered_count = 0;
    h->deaths = 0;
    h->left = 0;
    h->ask = now;
    pardon(h);
    if (!h->alive)
        revive(p, h, now);
    paths_choose(p, now);
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

void paths_rtt(struct paths *p, uint32_t id, usec_t rtt, usec_t now)
{
    struct path *h = path_find(p, id);
    see(p, now);
    if (!h || h->measured)
        return;
    h->srtt = later(rtt, 1);
    h->rttvar = rtt / 2;
    paths_choose(p, now);
}

/* The probe with this nonce, of either sort, is answered now. Large ones say nothing about the time: they
 * take longer. */
static bool probe_answered(struct path *h, uint64_t nonce, usec_t now, usec_t *sent)
{
    struct probe *q = probe_find(h, nonce);
    if (!q)
        return mtu_answer(&h->mtu, nonce, now, sent);
    *sent = q->sent;
    q->state = PROBE_ANSWERED;
    rtt_add(h, later(usec_since(now, q->sent), 1)); /* 0 means not measured */
    h->answers += h->answers < PATH_FIRST_PROBES;
    return true;
}

bool paths_answer(struct paths *p, struct bytes probe, usec_t now, uint32_t *id, usec_t *rtt)
{
    struct rd r = rd_of(probe);
    uint64_t nonce = rd_u64(&r);
    struct path *h = path_find(p, rd_u32(&r));
    usec_t sent;
    see(p, now);
    if (!rd_done(&r) || !h || !probe_answered(h, nonce, now, &sent))
        return false;
    *id = h->id;
    *rtt = later(usec_since(now, sent), 1);
    mtu_proof(&h->mtu, sent);
    h->last_answer = now;
    h->unanswered = 0;
    h->unanswered_count = 0;
    if (sent >= h->forced)
        h->forced = 0;
    if (h->stray && sent >= h->stray && h->id == p->current)
        excuse(p, p->stray, now);
    heard(h, now);
    if (!h->alive)
        revive(p, h, now);
    mtu_tell(p, h);
    paths_choose(p, now);
    return true;
}

void paths_too_big(struct paths *p, uint32_t id, size_t size, usec_t now)
{
    struct path *h = path_find(p, id);
    see(p, now);
    if (!h)
        return;
    mtu_too_big(&h->mtu, size, now);
    mtu_tell(p, h);
    paths_choose(p, now);
}

/* ---- Time. */

/* What was silent before it may have been so for the old address's sake: the clock starts anew; but once
 * only, so that a series of changes does not keep a dead path. A machine that slept has not listened either.
 */
static void path_doubt(struct path *h, usec_t now)
{
    if (!h->forced || (h->waiting && now >= h->waiting + 2 * path_dead_after(h))) {
        calm(h);
        h->unanswered = 0;
        h->unanswered_count = 0;
    }
    h->forced = now;
}

void paths_doubt_all(struct paths *p, usec_t now)
{
    see(p, now);
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        h->ask = now;
        h->dead_probes = 0;
        if (h->alive)
            path_doubt(h, now);
        mtu_doubt(&h->mtu, now);
        mtu_tell(p, h);
    }
}

static void path_die(struct paths *p, struct path *h, usec_t now)
{
    h->deaths = usec_since(now, h->since) >= PATH_STEADY ? 1 : h->deaths + 1;
    h->alive = false;
    h->since = now;
    h->dead_probes = 0;
    h->forced = 0;
    calm(h);
    path_event_add(p, PATH_EVENT_DEAD, h);
}

void paths_tick(struct paths *p, usec_t now)
{
    see(p, now);
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        path_probes_expire(h, now);
        if (dead_due(h) <= now)
            path_die(p, h, now);
        if (path_mtu_is_on(h))
            mtu_tick(&h->mtu, now);
        mtu_tell(p, h);
    }
    paths_choose(p, now);
}

usec_t paths_wake(const struct paths *p)
{
    usec_t wake = USEC_NEVER;
    for (size_t i = 0; i < p->count; i++) {
        const struct path *h = &p->path[i];
        wake = usec_min(wake, usec_min(probe_due(p, h), dead_due(h)));
        wake = usec_min(wake, paths_takeover_due(p, h));
        if (path_mtu_is_on(h))
            wake = usec_min(wake, mtu_wake(&h->mtu));
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
    path_probes_count(h, &lost, &judged);
    *s = (struct path_stats){
        .kind = h->kind,
        .id = h->id,
        .alive = h->alive,
        .srtt = h->srtt,
        .jitter = h->rttvar,
        .loss = judged ? (double)lost / judged : 0,
        .since = h->since,
        .last_answer = h->last_answer,
        .mtu = h->mtu.value,
        .mtu_known = h->mtu.known,
        .keepalive = idle_interval(h),
        .doubted = path_is_doubted(h, p->seen),
    };
    return true;
}

bool paths_stats(const struct paths *p, uint32_t id, struct path_stats *s)
{
    const struct path *h = path_find(p, id);
    return h && paths_stats_at(p, (size_t)(h - p->path), s);
}
