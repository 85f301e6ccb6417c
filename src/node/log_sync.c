/* A party's log between the hub, the peers and us. The hub stores and orders; what it says is judged like
 * anybody's word, and what peers say about their copies finds out a hub that forks, withholds or has lost
 * entries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

/* ---- To the hub. */

void np_subscribe(struct node *n, struct node_party *np, const struct invite *inv, usec_t now)
{
    if (!link_ready(n))
        return;
    struct signal *s = calloc(1, sizeof *s);
    if (!s) { /* as a text that found no room: the link is made again, and asks again */
        n->link.overflow = true;
        node_due(n, now);
        return;
    }
    s->type = SIGNAL_JOIN;
    memcpy(s->u.join.party, np->id, PARTY_ID_LEN);
    s->u.join.since = np->log ? party_seq(np->log) + 1 : 0;
    if (inv) {
        s->u.join.has_invite = true;
        party_invite_id(s->u.join.invite, inv->secret);
        if (party_invite_prove(s->u.join.proof, inv->secret, bytes_of(n->link.nonce, sizeof n->link.nonce),
                               np->id, n->id, &n->rng) < 0)
            s->u.join.has_invite = false;
    }
    np->join_sent = np->asking = true;
    np->subscribed = false;
    np->join_again = USEC_NEVER;
    np->asked_head = np->log ? party_seq(np->log) : 0;
    link_send(n, s, now);
    free(s);
}

void np_fetch(struct node *n, struct node_party *np, usec_t now)
{
    if (!link_ready(n) || !np->log || !np->subscribed || np->asking)
        return;
    struct signal s = {.type = SIGNAL_LOG};
    s.u.log.op = LOG_OP_GET;
    memcpy(s.u.log.party, np->id, PARTY_ID_LEN);
    s.u.log.seq = party_seq(np->log) + 1;
    np->asking = true;
    np->asked_head = party_seq(np->log);
    link_send(n, &s, now);
}

void np_presence(struct node *n, const struct node_party *np, usec_t now)
{
    if (!link_ready(n) || !np->subscribed || np->state != NP_ACTIVE)
        return;
    struct signal s = {.type = SIGNAL_PRESENCE};
    memcpy(s.u.presence.party, np->id, PARTY_ID_LEN);
    s.u.presence.seq = party_seq(np->log);
    memcpy(s.u.presence.head, party_head(np->log), ENTRY_HASH_LEN);
    link_send(n, &s, now);
}

uint32_t log_append_send(struct node *n, const uint8_t *party, struct bytes entry, bool create, usec_t now)
{
    struct signal s = {.type = SIGNAL_LOG};
    uint32_t ref = n->link.next_ref++;
    if (n->link.next_ref == 0)
        n->link.next_ref = 1;
    s.u.log.op = create ? LOG_OP_CREATE : LOG_OP_APPEND;
    memcpy(s.u.log.party, party, PARTY_ID_LEN);
    s.u.log.ref = ref;
    s.u.log.count = 1;
    s.u.log.entries[0] = entry;
    link_send(n, &s, now);
    return ref;
}

/* ---- A hub that is behind us gets back what it lost, one entry after the other. */

static void heal_next(struct node *n, struct node_party *np, usec_t now)
{
    struct log_heal *h = &np->heal;
    uint8_t room[ENTRY_MAX];
    struct bytes entry;
    h->again = USEC_NEVER;
    if (party_entry_read(np->log, h->next, room, &entry) == 0) {
        h->ref = log_append_send(n, np->id, entry, h->create, now);
        return;
    }
    /* What our own disk does not give back we cannot give to the hub. */
    h->running = false;
    out_log(n, LOG_ERROR, "hub-not-repaired", "party=\"%s\" code=%s", party_name(np->log),
            party_verdict_name(PARTY_UNREADABLE));
}

void heal_begin(struct node *n, struct node_party *np, uint64_t from, usec_t now)
{
    struct log_heal *h = &np->heal;
    if (h->done || h->running || np->state != NP_ACTIVE || from > party_seq(np->log))
        return;
    *h = (struct log_heal){
        .done = true, .running = true, .create = from == 0, .next = from, .again = USEC_NEVER};
    heal_next(n, np, now);
}

static bool heal_acked(struct node *n, struct node_party *np, uint32_t ref, usec_t now)
{
    struct log_heal *h = &np->heal;
    if (!h->running || h->ref != ref)
        return false;
    if (h->create) {
        /* The hub knows the party again; the rest follows when its answer to our join shows where it stands.
         */
        *h = (struct log_heal){0};
        np_subscribe(n, np, NULL, now);
        return true;
    }
    if (h->next++ < party_seq(np->log)) {
        heal_next(n, np, now);
        return true;
    }
    h->running = false;
    count(n, COUNT_HEALED);
    alert_raise(n, np, "hub_rollback", "hub", now,
                "the hub had lost entries of this party's log; this node gave them back");
    return true;
}

bool heal_error(struct node *n, uint32_t ref, const char *code, usec_t now)
{
    for (size_t i = 0; i < n->party_count; i++) {
        struct node_party *np = n->parties[i];
        if (!np->heal.running || np->heal.ref != ref)
            continue;
        if (signal_error_of(code) == SIGERR_RATE_LIMITED) {
            np->heal.ref = 0;
            np->heal.again = now + HEAL_PAUSE;
            node_due(n, np->heal.again);
            return true;
        }
        np->heal.running = false;
        out_log(n, LOG_WARN, "hub-not-repaired", "party=\"%s\" code=%s", party_name(np->log), code);
        if (np->heal.create)
            np->join_again = now + JOIN_AGAIN;
        else
            np_fetch(n, np, now); /* perhaps another member is doing the same */
        node_due(n, np->join_again);
        return true;
    }
    return false;
}

static void hub_is_behind(struct node *n, struct node_party *np, uint64_t hub_next, usec_t now)
{
    if (np->heal.done)
        return;
    alert_raise(
        n, np, "hub_rollback", "hub", now,
        "the hub's copy of this party's log ends at entry %llu, ours at %llu: the hub lost or hides entries",
        (unsigned long long)hub_next - (hub_next > 0), (unsigned long long)party_seq(np->log));
    heal_begin(n, np, hub_next, now);
}

/* ---- From the hub. */

static void entry_refused(struct node *n, struct node_party *np, enum party_verdict v, usec_t now)
{
    count(n, COUNT_ENTRIES_REFUSED);
    n->refused[v]++;
    const char *code = v == PARTY_FORK || v == PARTY_STALE ? "log_fork"
                       : v == PARTY_ROLLBACK               ? "hub_rollback"
                                                           : "hub_bad_entry";
    alert_raise(n, np, code, "hub", now, "the hub sent an entry that was refused (%s): %s",
                party_verdict_name(v), party_verdict_text(v));
}

/* false: the rest of the message is of no use. */
static bool entry_from_hub(struct node *n, struct node_party *np, struct bytes entry, usec_t now)
{
    enum party_verdict v = PARTY_OK;
    if (np->log) {
        v = party_append(np->log, entry, 0);
    } else {
        struct party *log = party_open(entry, 0, &v);
        if (log && memcmp(party_id(log), np->id, PARTY_ID_LEN) != 0) {
            party_free(log);
            log = NULL;
            v = PARTY_OTHER;
        }
        np->log = log;
        if (!log && v == PARTY_OK)
            v = PARTY_MALFORMED;
    }
    if (v == PARTY_OK) {
        count(n, COUNT_ENTRIES_TAKEN);
        np->pending = true;
    }
    if (v == PARTY_OK || v == PARTY_KNOWN)
        return true;
    if (v == PARTY_GAP)
        np_fetch(n, np, now);
    else
        entry_refused(n, np, v, now);
    if (np->state == NP_JOINING && v != PARTY_GAP)
        np_hub_error(n, np->id, "bad_log", party_verdict_text(v), now);
    return false;
}

static void claim_settle(struct node *n, struct node_party *np, usec_t now);

static void answer_ended(struct node *n, struct node_party *np, uint64_t hub_next, usec_t now)
{
    bool first = np->join_sent && !np->subscribed;
    bool asked = np->asking;
    np->asking = false;
    if (np->join_sent)
        np->subscribed = true;
    if (asked && np->state == NP_ACTIVE && hub_next <= np->asked_head)
        hub_is_behind(n, np, hub_next, now);
    claim_settle(n, np, now);
    if (np->pending && np->state == NP_ACTIVE) {
        np_changed(n, np, now); /* after this a party that we left is gone */
        return;
    }
    if (first)
        np_presence(n, np, now);
    requests_go_on(n, np->ref, now);
}

static void entries_from_hub(struct node *n, const struct signal *s, usec_t now)
{
    uint32_t ref;
    struct node_party *np = np_by_id(n, s->u.log.party);
    if (!np || np->state == NP_REMOVED) {
        count(n, COUNT_HUB_BAD_TEXT);
        return;
    }
    ref = np->ref;
    for (size_t i = 0; i < s->u.log.count; i++)
        if (!entry_from_hub(n, np, s->u.log.entries[i], now))
            break;
    if (np_by_ref(n, ref) != np)
        return; /* a join that failed by this */
    if (!np->log) {
        np_hub_error(n, np->id, "bad_log", "the hub sent no log", now);
        return;
    }
    if (s->u.log.more && s->u.log.count > 0)
        return;
    answer_ended(n, np, s->u.log.seq + s->u.log.count, now);
}

static void acked(struct node *n, const struct signal *s, usec_t now)
{
    uint32_t ref = s->u.log.ref;
    struct node_party *np = np_by_id(n, s->u.log.party);
    if (ref == 0 || (np && heal_acked(n, np, ref, now)))
        return;
    struct request *r = request_by_op(n, ref);
    if (r && r->kind == REQUEST_CHANGE)
        change_acked(n, r, s->u.log.seq, now);
    else if (r)
        join_acked(n, r, s->u.log.seq, now);
}

void log_from_hub(struct node *n, const struct signal *s, usec_t now)
{
    if (s->u.log.op == LOG_OP_ENTRIES)
        entries_from_hub(n, s, now);
    else if (s->u.log.op == LOG_OP_ACK)
        acked(n, s, now);
    else
        count(n, COUNT_HUB_BAD_TEXT);
}

void np_hub_error(struct node *n, const uint8_t party[PARTY_ID_LEN], const char *code, const char *message,
                  usec_t now)
{
    struct node_party *np = np_by_id(n, party);
    if (!np)
        return;
    if (np->state == NP_JOINING) {
        for (size_t i = 0; i < n->request_count; i++) {
            if (n->requests[i]->party_ref != np->ref)
                continue;
            join_refused(n, n->requests[i], code, message, now);
            return;
        }
        return;
    }
    if (np->state != NP_ACTIVE || np->subscribed) {
        out_log(n, LOG_WARN, "hub-error", "party=\"%s\" code=%s", party_name(np->log), code);
        return;
    }
    np->asking = np->join_sent = false;
    np->join_again = now + JOIN_AGAIN;
    node_due(n, np->join_again);
    if (signal_error_of(code) == SIGERR_UNKNOWN_PARTY) {
        alert_raise(n, np, "hub_rollback", "hub", now, "the hub does not know this party any more");
        heal_begin(n, np, 0, now);
        return;
    }
    alert_raise(n, np, "hub_refuses", "hub", now, "the hub does not show this party to this node (%s): %s",
                code, refusal_text(code, message));
}

/* ---- Who is there. */

static void peer_shown(struct node *n, struct node_party *np, const struct signal_peer *sp,
                       bool we_came_later, usec_t now)
{
    if (memcmp(sp->node, n->id, NODE_ID_LEN) == 0)
        return;
    struct node_peer *p = party_member(np->log, sp->node) ? peer_by_id(n, sp->node) : NULL;
    if (!p || p->doomed) {
        /* The hub may be ahead of our copy of the log: looked at again when that grew. */
        if (np->stranger_count == STRANGERS_MAX)
            memmove(np->strangers, np->strangers + 1, --np->stranger_count * sizeof *np->strangers);
        struct stranger *st = &np->strangers[np->stranger_count++];
        memcpy(st->id, sp->node, NODE_ID_LEN);
        st->relay = sp->relay;
        return;
    }
    peer_online(n, p, np, sp->relay, we_came_later, now);
    struct hs_head h = {.seq = sp->seq};
    memcpy(h.party, np->id, PARTY_ID_LEN);
    memcpy(h.hash, sp->head, ENTRY_HASH_LEN);
    head_claimed(n, p, &h, true, now);
}

void strangers_retry(struct node *n, struct node_party *np, usec_t now)
{
    size_t left = 0;
    for (size_t i = 0; i < np->stranger_count; i++) {
        struct stranger st = np->strangers[i];
        struct node_peer *p = party_member(np->log, st.id) ? peer_by_id(n, st.id) : NULL;
        if (p)
            peer_online(n, p, np, st.relay, true, now);
        else
            np->strangers[left++] = st;
    }
    np->stranger_count = left;
}

static void stranger_forget(struct node_party *np, const uint8_t id[NODE_ID_LEN])
{
    size_t left = 0;
    for (size_t i = 0; i < np->stranger_count; i++)
        if (memcmp(np->strangers[i].id, id, NODE_ID_LEN) != 0)
            np->strangers[left++] = np->strangers[i];
    np->stranger_count = left;
}

static void peer_gone(struct node *n, struct node_party *np, const uint8_t id[NODE_ID_LEN], bool removed,
                      usec_t now)
{
    stranger_forget(np, id);
    struct node_peer *p = peer_by_id(n, id);
    if (p)
        peer_offline(n, p, 1ull << np->bit, now);
    /* That it was removed is for the log to say. */
    if (removed)
        np_fetch(n, np, now);
}

static void presence_from_hub(struct node *n, struct node_party *np, const struct signal *s, usec_t now)
{
    struct hs_head h = {.seq = s->u.presence.seq};
    memcpy(h.party, np->id, PARTY_ID_LEN);
    memcpy(h.hash, s->u.presence.head, ENTRY_HASH_LEN);
    struct node_peer *p = s->has_from ? peer_by_id(n, s->from) : NULL;
    if (p)
        head_claimed(n, p, &h, true, now);
    else if (!s->has_from && party_compare_source(np->log, &h) == PARTY_ROLLBACK)
        hub_is_behind(n, np, h.seq + 1, now);
}

void peers_from_hub(struct node *n, const struct signal *s, usec_t now)
{
    /* All four begin with the party. */
    const uint8_t *id = s->type == SIGNAL_PRESENCE      ? s->u.presence.party
                        : s->type == SIGNAL_PEER_LIST   ? s->u.peer_list.party
                        : s->type == SIGNAL_PEER_JOINED ? s->u.peer_joined.party
                                                        : s->u.peer_left.party;
    struct node_party *np = np_by_id(n, id);
    if (!np || np->state != NP_ACTIVE)
        return;
    if (s->type == SIGNAL_PRESENCE)
        presence_from_hub(n, np, s, now);
    else if (s->type == SIGNAL_PEER_JOINED)
        peer_shown(n, np, &s->u.peer_joined.peer, false, now);
    else if (s->type == SIGNAL_PEER_LEFT)
        peer_gone(n, np, s->u.peer_left.node, s->u.peer_left.removed, now);
    else
        for (size_t i = 0; i < s->u.peer_list.count; i++)
            peer_shown(n, np, &s->u.peer_list.peers[i], true, now);
}

/* ---- Heads and entries of peers. */

static void fork_found(struct node *n, struct node_party *np, const uint8_t peer[NODE_ID_LEN],
                       bool told_by_hub, usec_t now)
{
    char id[NODE_ID_TEXT_CAP];
    node_id_text(id, peer);
    const struct party_member *m = party_member(np->log, peer);
    alert_raise(n, np, "log_fork", id, now,
                "%s%s holds another log of this party than this node: somebody shows different logs",
                told_by_hub ? "the hub says that " : "", m ? m->name : "a member");
}

static void gap_end(struct node_party *np, usec_t now)
{
    np->gap.open = false;
    np->gap.next = USEC_NEVER;
    np->gap.quiet = now + GAP_QUIET;
}

/* We have grown: is the claim answered, and how? */
static void claim_settle(struct node *n, struct node_party *np, usec_t now)
{
    struct log_gap *g = &np->gap;
    if (!g->open || party_seq(np->log) < g->claim.seq)
        return;
    const struct node_peer *p = peer_by_ref(n, g->peer_ref);
    if (party_compare(np->log, &g->claim) == PARTY_FORK && p)
        fork_found(n, np, p->id, false, now);
    g->open = false;
}

static void gap_open(struct node *n, struct node_party *np, struct node_peer *p, const struct hs_head *h,
                     usec_t now)
{
    struct log_gap *g = &np->gap;
    if (g->open) {
        if (h->seq > g->claim.seq) {
            g->claim = *h;
            g->peer_ref = p->ref;
        }
        return;
    }
    if (g->quiet > now && h->seq <= g->claim.seq)
        return;
    bool hub = link_ready(n) && np->subscribed;
    *g = (struct log_gap){.open = true, .claim = *h, .peer_ref = p->ref, .at_seq = party_seq(np->log)};
    g->next = hub ? now + GAP_HUB_WAIT : now;
    np_fetch(n, np, now);
    node_due(n, g->next);
}

void head_claimed(struct node *n, struct node_peer *p, const struct hs_head *h, bool told_by_hub, usec_t now)
{
    static const uint8_t none[ENTRY_HASH_LEN];
    struct node_party *np = np_by_id(n, h->party);
    if (!np || np->state != NP_ACTIVE || !party_member(np->log, p->id) ||
        memcmp(h->hash, none, sizeof none) == 0)
        return;
    enum party_verdict v = party_compare(np->log, h);
    if (v == PARTY_FORK)
        fork_found(n, np, p->id, told_by_hub, now);
    else if (v == PARTY_GAP)
        gap_open(n, np, p, h, now);
}

void log_from_peer(struct node *n, struct node_party *np, struct node_peer *p, struct bytes entry, usec_t now)
{
    enum party_verdict v = party_append(np->log, entry, 0);
    if (v != PARTY_OK) {
        count(n, COUNT_PEER_BAD_ENTRY);
        n->refused[v]++;
        if (v == PARTY_FORK)
            fork_found(n, np, p->id, false, now);
        return;
    }
    count(n, COUNT_ENTRIES_FROM_PEERS);
    char id[NODE_ID_TEXT_CAP];
    node_id_text(id, p->id);
    if (link_ready(n) && np->subscribed)
        alert_raise(n, np, "hub_withholds", "hub", now,
                    "the hub did not give an entry of the log that a member has (from %s)", id);
    if (party_seq(np->log) >= np->gap.at_seq + LOG_GET_ENTRIES) {
        np->gap.next = now;
        node_due(n, now);
    }
    claim_settle(n, np, now);
    np_changed(n, np, now);
}

/* ---- Time. */

static struct node_peer *gap_peer(struct node *n, const struct node_party *np)
{
    struct node_peer *p = peer_by_ref(n, np->gap.peer_ref);
    if (p && !p->doomed && peer_connected(p))
        return p;
    for (size_t i = 0; i < np->ref_count; i++) {
        p = peer_by_ref(n, np->refs[i]);
        if (p && !p->doomed && peer_connected(p))
            return p;
    }
    return NULL;
}

static void gap_tick(struct node *n, struct node_party *np, usec_t now)
{
    struct log_gap *g = &np->gap;
    claim_settle(n, np, now);
    if (!g->open || g->next > now)
        return;
    struct node_peer *p = gap_peer(n, np);
    if (party_seq(np->log) > g->at_seq)
        g->tries = 0;
    if (!p || g->tries++ >= GAP_PEER_TRIES) {
        gap_end(np, now);
        return;
    }
    g->asked_peer = true;
    g->at_seq = party_seq(np->log);
    g->next = now + GAP_PEER_WAIT;
    message_log_get(n, p, np, now);
}

usec_t log_wake(const struct node_party *np)
{
    usec_t wake = np->join_again;
    if (np->gap.open)
        wake = usec_min(wake, np->gap.next);
    if (np->heal.running)
        wake = usec_min(wake, np->heal.again);
    return wake;
}

void log_tick(struct node *n, struct node_party *np, usec_t now)
{
    if (np->gap.open)
        gap_tick(n, np, now);
    if (np->heal.running && np->heal.again <= now)
        heal_next(n, np, now);
    if (np->join_again <= now) {
        np->join_again = USEC_NEVER;
        if (np->state == NP_ACTIVE && link_ready(n) && !np->subscribed)
            np_subscribe(n, np, NULL, now);
    }
}
