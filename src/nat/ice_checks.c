#include "nat/ice_int.h"

#include <errno.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/secret.h"

#define ROLE_CONFLICT  487
#define BAD_REQUEST    400
#define UNKNOWN_ATTR   420
#define PROBE_TICK     64 /* microseconds in the time that a probe's id carries */
#define PROBE_TIME_LEN 3
#define PROBE_MAC_LEN  (ICE_TX_LEN - PROBE_TIME_LEN)

void ice_txid(const struct ice *a, const uint8_t id[ICE_TX_LEN], uint8_t out[STUN_TXID_LEN])
{
    memcpy(out, a->prefix, ICE_PREFIX_LEN);
    memcpy(out + ICE_PREFIX_LEN, id, ICE_TX_LEN);
}

/* ---- Out. */

bool ice_job_put(struct ice *a, const struct ice_job *job)
{
    if (a->queue_count == ICE_QUEUE_MAX) {
        a->discarded++;
        return false;
    }
    a->queue[(a->queue_first + a->queue_count++) % ICE_QUEUE_MAX] = *job;
    return true;
}

static void put_role(const struct ice *a, struct stun_writer *w, bool controlling)
{
    stun_put_u64(w, controlling ? STUN_ATTR_ICE_CONTROLLING : STUN_ATTR_ICE_CONTROLLED, a->tie_breaker);
}

static void write_check(const struct ice *a, const struct ice_job *job, struct stun_writer *w)
{
    char user[2 * ICE_UFRAG_MAX + 2];
    const struct ice_credentials *local = job->old ? &a->old_local : &a->local,
                                 *peer = job->old ? &a->old_peer : &a->peer;
    size_t n = strlen(peer->ufrag), m = strlen(local->ufrag);
    memcpy(user, peer->ufrag, n);
    user[n] = ':';
    memcpy(user + n + 1, local->ufrag, m);
    stun_begin(w, w->p, w->cap, STUN_REQUEST, STUN_BINDING, job->txid);
    stun_put(w, STUN_ATTR_USERNAME, bytes_of(user, n + 1 + m));
    stun_put_u32(w, STUN_ATTR_PRIORITY, job->priority);
    put_role(a, w, job->controlling);
    if (job->use_candidate)
        stun_put(w, STUN_ATTR_USE_CANDIDATE, bytes_of(NULL, 0));
    stun_put_integrity(w, bytes_of_str(peer->pwd));
}

static const char *reason_of(uint16_t code)
{
    return code == ROLE_CONFLICT  ? "Role Conflict"
           : code == UNKNOWN_ATTR ? "Unknown Attribute"
                                  : "Bad Request";
}

static void write_answer(const struct ice *a, const struct ice_job *job, struct stun_writer *w)
{
    bool refusal = job->kind == JOB_REFUSAL;
    stun_begin(w, w->p, w->cap, refusal ? STUN_ERROR : STUN_SUCCESS, STUN_BINDING, job->txid);
    if (refusal)
        stun_put_error(w, job->code, reason_of(job->code));
    else
        stun_put_xor_addr(w, STUN_ATTR_XOR_MAPPED_ADDRESS, &job->to);
    if (job->unknown_count) {
        uint8_t list[2 * STUN_UNKNOWN_MAX];
        struct wr out = wr_of(list, sizeof list);
        for (size_t i = 0; i < job->unknown_count; i++)
            wr_u16(&out, job->unknown[i]);
        stun_put(w, STUN_ATTR_UNKNOWN_ATTRIBUTES, wr_done(&out));
    }
    stun_put_integrity(w, bytes_of_str(job->old ? a->old_local.pwd : a->local.pwd));
}

bool ice_output(struct ice *a, usec_t now, struct ice_out *out)
{
    while (a->queue_count > 0) {
        struct ice_job job = a->queue[a->queue_first];
        a->queue_first = (a->queue_first + 1) % ICE_QUEUE_MAX;
        a->queue_count--;
        struct stun_writer w = {.p = a->message, .cap = sizeof a->message};
        if (job.kind == JOB_CHECK)
            write_check(a, &job, &w);
        else
            write_answer(a, &job, &w);
        stun_put_fingerprint(&w);
        struct bytes data = stun_end(&w);
        if (data.n == 0)
            continue;
        a->checks_sent += job.kind == JOB_CHECK;
        *out = (struct ice_out){.base = job.base, .to = job.to, .data = data};
        return true;
    }
    return false;
}

/* ---- Checks. */

static uint32_t check_priority(const struct ice *a, int local)
{
    return ice_priority(ICE_PEER_REFLEXIVE, false, local < 0 ? 0 : a->locals[local].c.preference);
}

/* What RFC 8445 section 14.3 says, with a shorter floor. A pair whose time is known gets some more than that.
 */
static usec_t first_rto(const struct ice *a, const struct check_pair *p)
{
    usec_t busy = 1;
    for (size_t i = 0; i < a->pair_count; i++)
        busy += a->pairs[i].state == CHECK_WAITING || a->pairs[i].state == CHECK_IN_PROGRESS;
    usec_t rto = a->pace * busy > ICE_RTO_MIN ? a->pace * busy : ICE_RTO_MIN;
    usec_t known = p->rtt + p->rtt / 2;
    return known > rto && known < SEC ? known : rto;
}

static bool check_send(struct ice *a, struct check_pair *p, const struct ice_tx *tx)
{
    struct ice_job job = {.kind = JOB_CHECK,
                          .controlling = tx->controlling,
                          .use_candidate = tx->use_candidate,
                          .base = p->base,
                          .priority = tx->priority,
                          .to = *ice_pair_remote(a, p)};
    ice_txid(a, tx->id, job.txid);
    return ice_job_put(a, &job);
}

static struct ice_tx *tx_new(struct ice *a, struct check_pair *p, usec_t now)
{
    struct ice_tx *tx = &p->tx[p->tx_next];
    p->tx_next = (p->tx_next + 1) % ICE_TX_KEPT;
    *tx = (struct ice_tx){.used = true,
                          .use_candidate = p->use_candidate,
                          .controlling = a->controlling,
                          .priority = check_priority(a, (int)p->local),
                          .sent = now};
    rng_fill(&a->rng, tx->id, sizeof tx->id);
    return tx;
}

bool ice_check_start(struct ice *a, struct check_pair *p, bool use_candidate, usec_t now)
{
    if (a->queue_count == ICE_QUEUE_MAX)
        return false;
    p->use_candidate = use_candidate;
    p->rto = first_rto(a, p);
    if (p->state != CHECK_SUCCEEDED)
        p->state = CHECK_IN_PROGRESS;
    p->triggered = 0;
    p->active = true;
    p->tries = 1;
    p->due = now + p->rto;
    return check_send(a, p, tx_new(a, p, now));
}

/* The same message again (RFC 8489 section 6.2.1), unless our role changed meanwhile. */
static void check_again(struct ice *a, struct check_pair *p, usec_t now)
{
    struct ice_tx *tx = &p->tx[(p->tx_next + ICE_TX_KEPT - 1) % ICE_TX_KEPT];
    if (a->queue_count == ICE_QUEUE_MAX) {
        p->due = now + a->pace;
        return;
    }
    if (!tx->used || tx->controlling != a->controlling)
        tx = tx_new(a, p, now);
    p->tries++;
    p->due = now + (p->tries > ICE_RETRANSMITS ? ICE_LAST_WAIT * p->rto : p->rto << (p->tries - 1));
    check_send(a, p, tx);
}

void ice_checks_run(struct ice *a, usec_t now)
{
    for (size_t i = 0; i < a->pair_count; i++) {
        struct check_pair *p = &a->pairs[i];
        if (!p->active || p->due > now)
            continue;
        if (p->tries <= ICE_RETRANSMITS)
            check_again(a, p, now);
        else
            ice_pair_failed(a, p, now);
    }
}

/* ---- The pace: a bucket of ICE_BURST for ordinary checks, of twice that for triggered ones. */

static usec_t pace_ready(const struct ice *a, unsigned burst)
{
    usec_t ahead = (burst - 1) * a->pace;
    return a->pace_at > ahead ? a->pace_at - ahead : 0;
}

static void pace_take(struct ice *a, usec_t now)
{
    a->pace_at = (a->pace_at > now ? a->pace_at : now) + a->pace;
}

void ice_checks_begin(struct ice *a, usec_t now)
{
    struct check_pair *p;
    if (!a->has_peer)
        return;
    while (pace_ready(a, 2 * ICE_BURST) <= now && (p = ice_pair_next_triggered(a))) {
        if (!ice_check_start(a, p, false, now))
            return;
        pace_take(a, now);
    }
    while (pace_ready(a, ICE_BURST) <= now && (p = ice_pair_next(a))) {
        if (!ice_check_start(a, p, false, now))
            return;
        pace_take(a, now);
    }
}

usec_t ice_checks_wake(struct ice *a)
{
    usec_t wake = USEC_NEVER;
    for (size_t i = 0; i < a->pair_count; i++)
        if (a->pairs[i].active)
            wake = usec_min(wake, a->pairs[i].due);
    if (!a->has_peer)
        return wake;
    if (ice_pair_next_triggered(a))
        wake = usec_min(wake, pace_ready(a, 2 * ICE_BURST));
    if (ice_pair_next(a))
        wake = usec_min(wake, pace_ready(a, ICE_BURST));
    return wake;
}

/* ---- Probes: their ids are computed again when an answer comes, so none is remembered. */

static void probe_id(const struct ice *a, uint32_t base, const struct net_addr *to, uint32_t time,
                     uint8_t id[ICE_TX_LEN])
{
    uint8_t in[4 + 4 + 1 + 16 + 2], mac[SHA256_LEN];
    struct wr w = wr_of(in, sizeof in);
    wr_u32(&w, time);
    wr_u32(&w, base);
    wr_u8(&w, to->family);
    wr_copy(&w, to->ip, sizeof to->ip);
    wr_u16(&w, to->port);
    struct bytes part = wr_done(&w);
    hmac_sha256(mac, bytes_of(a->probe_key, sizeof a->probe_key), &part, 1);
    for (size_t i = 0; i < PROBE_TIME_LEN; i++)
        id[i] = (uint8_t)(time >> (16 - 8 * i));
    memcpy(id + PROBE_TIME_LEN, mac, PROBE_MAC_LEN);
}

static uint32_t probe_time(usec_t now)
{
    return (uint32_t)(now / PROBE_TICK) & 0xffffff;
}

int ice_probe(struct ice *a, uint32_t base, const struct net_addr *to, usec_t now)
{
    uint8_t id[ICE_TX_LEN];
    if (!a->has_peer)
        return -ENOTCONN;
    int local = ice_local_for(a, base, to, false);
    if (to->port == 0 || net_addr_scope(to) == NET_NONE)
        return -EINVAL;
    if (a->queue_count >= ICE_PROBE_QUEUE_MAX)
        return -ENOBUFS;
    probe_id(a, base, to, probe_time(now), id);
    struct ice_job job = {.kind = JOB_CHECK,
                          .controlling = a->controlling,
                          .base = base,
                          .priority = check_priority(a, local),
                          .to = *to};
    ice_txid(a, id, job.txid);
    ice_job_put(a, &job);
    return 0;
}

/* Whether id is that of a probe of ours from base to `to`, not too old; *age is the time since. */
static bool probe_known(const struct ice *a, uint32_t base, const struct net_addr *to,
                        const uint8_t id[ICE_TX_LEN], usec_t now, usec_t *age)
{
    uint8_t want[ICE_TX_LEN];
    uint32_t time = (uint32_t)id[0] << 16 | (uint32_t)id[1] << 8 | id[2];
    *age = (usec_t)((probe_time(now) - time) & 0xffffff) * PROBE_TICK;
    if (*age > ICE_PROBE_LIFE)
        return false;
    probe_id(a, base, to, time, want);
    return secret_equal(want, id, ICE_TX_LEN);
}

/* ---- Answers that come in. */

struct arrival {
    uint32_t base;
    const struct net_addr *from;
    const struct stun_message *m;
    usec_t now;
};

void ice_role_set(struct ice *a, bool controlling)
{
    a->controlling = controlling;
    for (size_t i = 0; i < a->pair_count; i++)
        a->pairs[i].use_candidate = false; /* a nomination of the old role means nothing now */
    ice_pairs_judge(a);
    ice_event_put(a, ICE_EVENT_ROLE, NULL);
}

static void check_refused(struct ice *a, struct check_pair *p, const struct ice_tx *tx,
                          const struct arrival *in)
{
    if (in->m->error != ROLE_CONFLICT || a->lite_peer) {
        ice_pair_failed(a, p, in->now);
        return;
    }
    if (tx->controlling == a->controlling) {
        rng_fill(&a->rng, &a->tie_breaker, sizeof a->tie_breaker); /* RFC 8445 section 7.2.5.1 */
        ice_role_set(a, !a->controlling);
    }
    p->active = false;
    p->use_candidate = false;
    ice_pair_trigger(a, p);
}

static void check_answered(struct ice *a, struct check_pair *p, struct ice_tx tx, const struct arrival *in)
{
    if (in->base != p->base || !net_addr_equal(in->from, ice_pair_remote(a, p))) {
        /* It came another way than the check went (RFC 8445 section 7.2.5.2.1). */
        a->responses_refused++;
        if (p->state != CHECK_SUCCEEDED)
            ice_pair_failed(a, p, in->now);
        return;
    }
    if (in->m->class == STUN_ERROR) {
        check_refused(a, p, &tx, in);
        return;
    }
    a->checks_answered++;
    p->rtt = usec_since(in->now, tx.sent);
    p->mapped = in->m->mapped;
    if (!ice_local_known(a, p->base, &p->mapped, &p->mapped_type, &p->mapped_priority)) {
        p->mapped_type = ICE_PEER_REFLEXIVE;
        p->mapped_priority = tx.priority;
    }
    ice_pair_succeeded(a, p, tx.use_candidate && tx.controlling && a->controlling, in->now);
}

static void probe_answered(struct ice *a, usec_t age, const struct arrival *in)
{
    int remote = ice_remote_learn(a, in->from, ice_priority(ICE_PEER_REFLEXIVE, false, 0), true, in->now);
    struct check_pair *p = remote < 0 ? NULL : ice_pair_make(a, in->base, (size_t)remote, true);
    if (!p)
        return;
    struct ice_tx tx = {.priority = check_priority(a, (int)p->local),
                        .sent = in->now - usec_min(age, in->now)};
    if (in->m->class == STUN_ERROR)
        ice_pair_trigger(a, p); /* whatever was wrong: over this address the peer is reached */
    else
        check_answered(a, p, tx, in);
}

static struct ice_tx *tx_find(struct ice *a, const uint8_t *id, struct check_pair **pair)
{
    for (size_t i = 0; i < a->pair_count; i++)
        for (size_t k = 0; k < ICE_TX_KEPT; k++) {
            struct ice_tx *tx = &a->pairs[i].tx[k];
            if (tx->used && !memcmp(tx->id, id, ICE_TX_LEN)) {
                *pair = &a->pairs[i];
                return tx;
            }
        }
    return NULL;
}

/* Whether the message is the peer's and says something that can be believed. */
static bool answer_genuine(const struct ice *a, const struct stun_message *m, bool old)
{
    return stun_verify(m, bytes_of_str(old ? a->old_peer.pwd : a->peer.pwd), false) &&
           (m->class == STUN_ERROR ? m->error != 0 : m->mapped.family != 0 && m->unknown_count == 0);
}

static bool response_input(struct ice *a, const struct arrival *in)
{
    struct check_pair *p = NULL;
    const uint8_t *id = in->m->txid + ICE_PREFIX_LEN;
    usec_t age;
    if (memcmp(in->m->txid, a->prefix, ICE_PREFIX_LEN) != 0)
        return false;
    struct ice_asked *asked = ice_consent_find(a, id);
    if (asked) {
        bool from_it =
            in->base == a->selected.pair.base && net_addr_equal(in->from, &a->selected.pair.remote);
        if (from_it && in->m->class == STUN_SUCCESS && answer_genuine(a, in->m, a->selected.old))
            ice_consent_answered(a, asked, in->now);
        else
            a->responses_refused++;
        return true;
    }
    struct ice_tx *tx = tx_find(a, id, &p);
    bool probe = !tx && a->has_peer && probe_known(a, in->base, in->from, id, in->now, &age);
    if ((!tx && !probe) || !answer_genuine(a, in->m, false)) {
        a->responses_refused++;
        return true;
    }
    if (probe) {
        probe_answered(a, age, in);
        return true;
    }
    struct ice_tx done = *tx;
    tx->used = false;
    check_answered(a, p, done, in);
    return true;
}

/* ---- Requests that come in. */

static void answer(struct ice *a, const struct arrival *in, bool old, uint16_t code)
{
    struct ice_job job = {
        .kind = code ? JOB_REFUSAL : JOB_ANSWER, .old = old, .code = code, .base = in->base, .to = *in->from};
    memcpy(job.txid, in->m->txid, sizeof job.txid);
    if (code == UNKNOWN_ATTR) {
        job.unknown_count = in->m->unknown_count;
        memcpy(job.unknown, in->m->unknown, sizeof job.unknown);
    }
    a->requests_refused += code != 0;
    ice_job_put(a, &job);
}

/* RFC 8445 section 7.3.1.1. False: the peer is to change its role. */
static bool role_settled(struct ice *a, const struct stun_message *m)
{
    bool same = a->controlling ? m->has_controlling : m->has_controlled;
    if (!same || a->lite_peer)
        return true;
    bool greater = a->tie_breaker >= m->tie_breaker;
    if (a->controlling == greater)
        return false;
    ice_role_set(a, !a->controlling);
    return true;
}

void ice_request_learn(struct ice *a, const struct ice_early *e, usec_t now)
{
    int remote = ice_remote_learn(a, &e->from, e->priority, false, now);
    struct check_pair *p = remote < 0 ? NULL : ice_pair_make(a, e->base, (size_t)remote, true);
    if (!p)
        return;
    a->news = now;
    ice_pair_trigger(a, p);
    if (e->use_candidate && !a->controlling)
        ice_pair_nominated(a, p, now);
}

static void early_keep(struct ice *a, const struct ice_early *e)
{
    size_t i = 0;
    while (i < a->early_count &&
           (a->early[i].base != e->base || !net_addr_equal(&a->early[i].from, &e->from)))
        i++;
    if (i == ICE_EARLY_MAX) {
        memmove(a->early, a->early + 1, (ICE_EARLY_MAX - 1) * sizeof *a->early);
        i--;
        a->discarded++;
    } else if (i == a->early_count) {
        a->early_count++;
    }
    a->early[i] = *e;
}

/* USERNAME is OURS:THEIRS. */
static bool username_split(struct bytes user, struct bytes *ours, struct bytes *theirs)
{
    const uint8_t *colon = user.n ? memchr(user.p, ':', user.n) : NULL;
    if (!colon)
        return false;
    *ours = bytes_of(user.p, (size_t)(colon - user.p));
    *theirs = bytes_of(colon + 1, user.n - ours->n - 1);
    return true;
}

static uint16_t request_fault(const struct stun_message *m)
{
    if (m->unknown_count)
        return UNKNOWN_ATTR;
    return !m->has_priority || (m->has_controlling && m->has_controlled) ? BAD_REQUEST : 0;
}

static void request_genuine(struct ice *a, const struct arrival *in, struct bytes theirs)
{
    uint16_t fault = request_fault(in->m);
    struct ice_early e = {.base = in->base,
                          .priority = in->m->priority,
                          .from = *in->from,
                          .use_candidate = in->m->use_candidate};
    if (theirs.n < sizeof e.ufrag)
        memcpy(e.ufrag, theirs.p, theirs.n);
    else
        fault = BAD_REQUEST;
    if (!fault && !role_settled(a, in->m))
        fault = ROLE_CONFLICT;
    answer(a, in, false, fault);
    if (fault)
        return;
    if (a->has_peer)
        ice_request_learn(a, &e, in->now);
    else
        early_keep(a, &e);
}

static bool request_input(struct ice *a, const struct arrival *in)
{
    struct bytes ours, theirs;
    if (in->m->method != STUN_BINDING || !username_split(in->m->username, &ours, &theirs))
        return false;
    bool current = bytes_equal(ours, bytes_of_str(a->local.ufrag));
    if (!current && (!a->has_old || !bytes_equal(ours, bytes_of_str(a->old_local.ufrag))))
        return false;
    a->requests++;
    bool known = !current || !a->has_peer || bytes_equal(theirs, bytes_of_str(a->peer.ufrag));
    if (!known || in->from->port == 0 ||
        !stun_verify(in->m, bytes_of_str(current ? a->local.pwd : a->old_local.pwd), false)) {
        a->requests_refused++;
        return true;
    }
    if (current)
        request_genuine(a, in, theirs);
    else
        answer(a, in, true, request_fault(in->m)); /* consent of the generation that ends */
    return true;
}

bool ice_input(struct ice *a, uint32_t base, const struct net_addr *from, struct bytes in, usec_t now)
{
    struct stun_message m;
    struct arrival here = {.base = base, .from = from, .m = &m, .now = now};
    bool taken = false;
    if (!stun_is(in) || stun_read(&m, in))
        return false;
    if (m.class == STUN_REQUEST)
        taken = request_input(a, &here);
    else if (m.class != STUN_INDICATION && m.method == STUN_BINDING)
        taken = response_input(a, &here);
    if (taken)
        ice_run(a, now);
    return taken;
}

bool ice_request_ufrag(struct bytes in, char out[ICE_UFRAG_MAX + 1])
{
    struct stun_message m;
    struct bytes ours, theirs;
    if (!stun_is(in) || stun_read(&m, in) || m.class != STUN_REQUEST ||
        !username_split(m.username, &ours, &theirs) || ours.n == 0 || ours.n > ICE_UFRAG_MAX ||
        memchr(ours.p, 0, ours.n))
        return false;
    memcpy(out, ours.p, ours.n);
    out[ours.n] = 0;
    return true;
}
