#include "hub/core_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* ---- parties in memory ---- */

void hub_party_free(struct hub_party *p)
{
    if (!p)
        return;
    party_free(p->log);
    free(p);
}

struct load {
    struct party *log;
    enum party_verdict verdict;
};

static int load_entry(void *arg, struct bytes entry)
{
    struct load *l = arg;
    l->verdict = party_replay(&l->log, entry);
    return l->log && l->verdict == PARTY_OK ? 0 : -EBADMSG;
}

/* The log from the store. Chain and rules are judged again, signatures are not: party_append_kept judged them
 * before the store got the entry, and a long log would keep everybody waiting (doc/protocol/hub.md section
 * 7).
 */
static int log_load(struct hub *h, const uint8_t id[PARTY_ID_LEN], struct party **out)
{
    struct load l = {.verdict = PARTY_OK};
    int rc = h->store.ops->party_entries(h->store.ctx, id, 0, load_entry, &l);
    if (rc == 0 && (!l.log || memcmp(party_id(l.log), id, PARTY_ID_LEN) != 0))
        rc = -EBADMSG;
    if (rc == 0) {
        *out = l.log;
        h->count.parties_loaded++;
        return 0;
    }
    party_free(l.log);
    if (rc != -ENOENT) {
        h->count.store_errors++;
        hub_note(h, LOG_ERROR, "party-unreadable", "party=%s reason=%s", node_short((char[17]){0}, id),
                 rc == -EBADMSG ? party_verdict_name(l.verdict) : strerrorname_np(-rc));
    }
    return rc;
}

int hub_party_adopt(struct hub *h, struct party *log, struct hub_party **out)
{
    struct hub_party *p = calloc(1, sizeof *p);
    if (!p || map_put(h->parties, party_id(log), p) < 0) {
        free(p);
        party_free(log);
        return -ENOMEM;
    }
    memcpy(p->id, party_id(log), PARTY_ID_LEN);
    p->log = log;
    list_init(&p->subs);
    list_init(&p->idle);
    list_append(&h->idle, &p->idle);
    h->idle_count++;
    *out = p;
    return 0;
}

int hub_party_get(struct hub *h, const uint8_t id[PARTY_ID_LEN], struct hub_party **out)
{
    struct party *log;
    *out = map_get(h->parties, id);
    if (*out)
        return (*out)->lost ? hub_party_reload(h, *out) : 0;
    int rc = log_load(h, id, &log);
    return rc < 0 ? rc : hub_party_adopt(h, log, out);
}

int hub_party_reload(struct hub *h, struct hub_party *p)
{
    struct party *log = NULL;
    int rc = log_load(h, p->id, &log);
    p->lost = rc < 0;
    if (rc < 0)
        return rc;
    party_free(p->log);
    p->log = log;
    return 0;
}

/* Called between messages only: nobody holds a party without subscribers then. */
void hub_party_trim(struct hub *h)
{
    while (h->idle_count > h->limits.parties_cached) {
        struct hub_party *p = LIST_OWNER(list_first(&h->idle), struct hub_party, idle);
        list_leave(&p->idle);
        h->idle_count--;
        map_del(h->parties, p->id);
        hub_party_free(p);
    }
}

/* ---- subscriptions ---- */

struct sub *sub_find(const struct session *s, const uint8_t party[PARTY_ID_LEN])
{
    for (struct list *l = s->subs.next; l != &s->subs; l = l->next) {
        struct sub *sub = LIST_OWNER(l, struct sub, in_session);
        if (memcmp(sub->party->id, party, PARTY_ID_LEN) == 0)
            return sub;
    }
    return NULL;
}

static struct sub *sub_new(struct hub *h, struct conn *c, struct hub_party *p)
{
    struct sub *sub = calloc(1, sizeof *sub);
    if (!sub)
        return NULL;
    sub->conn = c;
    sub->party = p;
    list_init(&sub->in_session);
    list_init(&sub->in_party);
    list_append(&c->session->subs, &sub->in_session);
    list_append(&p->subs, &sub->in_party);
    c->session->sub_count++;
    if (!list_empty(&p->idle)) {
        list_leave(&p->idle);
        h->idle_count--;
    }
    return sub;
}

void sub_end(struct hub *h, struct sub *sub)
{
    struct hub_party *p = sub->party;
    struct conn *c = sub->conn;
    bool full = sub->full;
    list_leave(&sub->in_session);
    list_leave(&sub->in_party);
    c->session->sub_count--;
    h->epoch++;
    free(sub);
    if (full && !h->down) {
        struct signal s = {.type = SIGNAL_PEER_LEFT};
        memcpy(s.u.peer_left.party, p->id, PARTY_ID_LEN);
        memcpy(s.u.peer_left.node, c->session->node, NODE_ID_LEN);
        party_broadcast(h, p, &s, c, true);
    }
    if (list_empty(&p->subs)) {
        list_append(&h->idle, &p->idle);
        h->idle_count++;
    }
}

bool sub_dismiss(struct hub *h, struct sub *sub)
{
    struct error_about about = {.party = sub->party->id};
    const struct party *log = sub->party->log;
    if (sub->full || sub->until || party_member(log, sub->conn->session->node))
        return false;
    enum party_verdict v = party_invite_state(log, sub->invite, hub_unix(h));
    if (v == PARTY_OK)
        return false;
    conn_refuse(h, sub->conn, v, &about);
    sub_end(h, sub);
    return true;
}

void party_broadcast(struct hub *h, struct hub_party *p, const struct signal *s, const struct conn *but,
                     bool members_only)
{
    struct text *t = NULL;
    for (struct list *l = p->subs.next; l != &p->subs; l = l->next) {
        struct sub *sub = LIST_OWNER(l, struct sub, in_party);
        if (sub->conn == but || sub->until || (members_only && !sub->full))
            continue;
        if (!t)
            t = text_new(h, s);
        conn_push(h, sub->conn, t);
    }
    text_drop(h, t);
}

static void peer_of(struct signal_peer *peer, const struct sub *sub)
{
    memcpy(peer->node, sub->conn->session->node, NODE_ID_LEN);
    peer->relay = sub->conn->session->relay;
    peer->seq = sub->seq;
    memcpy(peer->head, sub->head, ENTRY_HASH_LEN);
}

/* A member has come: the others hear of it. */
void sub_announce(struct hub *h, struct sub *sub)
{
    struct signal s = {.type = SIGNAL_PEER_JOINED};
    h->epoch++;
    memcpy(s.u.peer_joined.party, sub->party->id, PARTY_ID_LEN);
    peer_of(&s.u.peer_joined.peer, sub);
    party_broadcast(h, sub->party, &s, sub->conn, true);
}

/* The members that are here now, in messages of SIGNAL_PEERS_MAX; the last one says that it is. */
void sub_send_list(struct hub *h, struct sub *sub)
{
    struct signal_peer peers[SIGNAL_PEERS_MAX];
    struct signal s = {.type = SIGNAL_PEER_LIST, .u.peer_list.peers = peers};
    memcpy(s.u.peer_list.party, sub->party->id, PARTY_ID_LEN);
    for (struct list *l = sub->party->subs.next; l != &sub->party->subs; l = l->next) {
        struct sub *other = LIST_OWNER(l, struct sub, in_party);
        if (other == sub || !other->full)
            continue;
        if (s.u.peer_list.count == SIGNAL_PEERS_MAX) {
            s.u.peer_list.more = true;
            conn_send(h, sub->conn, &s);
            s.u.peer_list.count = 0;
        }
        peer_of(&peers[s.u.peer_list.count++], other);
    }
    s.u.peer_list.more = false;
    conn_send(h, sub->conn, &s);
}

/* ---- the log on its way to a subscriber ---- */

void sub_stream(struct hub *h, struct sub *sub, uint64_t since, bool list_due)
{
    /* What is under way already comes in order: asking for a part of it changes nothing. */
    if (!sub->streaming || since < sub->next)
        sub->next = since;
    sub->streaming = true;
    sub->list_due = sub->list_due || list_due;
    conn_ready(h, sub->conn);
}

bool session_streaming(const struct conn *c)
{
    if (!c->session)
        return false;
    for (struct list *l = c->session->subs.next; l != &c->session->subs; l = l->next) {
        if (LIST_OWNER(l, struct sub, in_session)->streaming)
            return true;
    }
    return false;
}

/* As many entries from sub->next on as one message holds. */
static void fill(struct signal *s, struct sub *sub)
{
    size_t room = SIGNAL_MAX - 512; /* of the text, less what stands around the entries */
    uint64_t end = (sub->until ? sub->until : party_seq(sub->party->log)) + 1;
    s->u.log.op = LOG_OP_ENTRIES;
    memcpy(s->u.log.party, sub->party->id, PARTY_ID_LEN);
    s->u.log.seq = sub->next < end ? sub->next : end;
    while (sub->next < end && s->u.log.count < SIGNAL_ENTRIES_MAX) {
        struct bytes e = party_entry(sub->party->log, sub->next);
        size_t need = BASE64_LEN(e.n) + 3;
        if (need > room)
            break;
        room -= need;
        s->u.log.entries[s->u.log.count++] = e;
        sub->next++;
    }
    s->u.log.more = sub->next < end;
}

void session_stream(struct hub *h, struct conn *c)
{
    struct list *subs = &c->session->subs, *l = subs->next;
    while (l != subs && !LIST_OWNER(l, struct sub, in_session)->streaming)
        l = l->next;
    if (l == subs)
        return;
    struct sub *sub = LIST_OWNER(l, struct sub, in_session);
    struct signal s = {.type = SIGNAL_LOG};
    fill(&s, sub);
    conn_send(h, c, &s);
    if (s.u.log.more)
        return;
    sub->streaming = false;
    if (sub->until) {
        struct error_about about = {.party = sub->party->id};
        conn_refuse(h, c, PARTY_WAS_REMOVED, &about);
        sub_end(h, sub);
        return;
    }
    if (sub->list_due)
        sub_send_list(h, sub);
    sub->list_due = false;
}

/* ---- messages ---- */

/* May this device subscribe, and as what? PARTY_OK and *full, or why not; SIGERR_COUNT in *e where the
 * verdict says it all. */
static enum party_verdict may_join(struct hub *h, struct conn *c, const struct hub_party *p,
                                   const struct signal *s, bool *full, enum signal_error *e)
{
    const uint8_t *node = c->session->node;
    *e = SIGERR_COUNT;
    *full = party_member(p->log, node) != NULL;
    if (*full)
        return PARTY_OK;
    if (party_was_removed(p->log, node))
        return PARTY_WAS_REMOVED;
    if (!s->u.join.has_invite) {
        *e = SIGERR_NOT_A_MEMBER;
        return PARTY_NO_MEMBER;
    }
    enum party_verdict v = party_invite_state(p->log, s->u.join.invite, hub_unix(h));
    if (v != PARTY_OK)
        return v;
    /* Checking a signature costs as much as an entry of the log. */
    if (!conn_may_change(h, c)) {
        *e = SIGERR_RATE_LIMITED;
        return PARTY_NOT_ALLOWED;
    }
    return party_invite_proven(p->log, s->u.join.invite, bytes_of(c->nonce, sizeof c->nonce), node,
                               s->u.join.proof)
               ? PARTY_OK
               : PARTY_BAD_SIGNATURE;
}

static void subscribe(struct hub *h, struct conn *c, struct hub_party *p, const struct signal *s, bool full)
{
    struct error_about about = {.party = p->id};
    struct sub *sub = sub_find(c->session, p->id);
    if (!sub && c->session->sub_count >= h->limits.parties_per_device) {
        conn_error(h, c, SIGERR_LIMIT, &about);
        return;
    }
    if (!sub)
        sub = sub_new(h, c, p);
    if (!sub) {
        conn_error(h, c, SIGERR_INTERNAL, &about);
        return;
    }
    bool newly = full && !sub->full;
    sub->full = full;
    sub->until = 0;
    memcpy(sub->invite, s->u.join.invite, INVITE_ID_LEN);
    sub->streaming = false;
    sub_stream(h, sub, s->u.join.since, full);
    if (newly)
        sub_announce(h, sub);
}

/* A node that was removed while it was away is shown the proof: the log up to the entry that removed it. True: it is on its way. */
static bool show_removal(struct hub *h, struct conn *c, struct hub_party *p, const struct signal *s)
{
    uint64_t at = party_removed_at(p->log, c->session->node);
    struct sub *sub = sub_find(c->session, p->id);
    if (!sub && (s->u.join.since > at || c->session->sub_count >= h->limits.parties_per_device))
        return false;
    if (!sub)
        sub = sub_new(h, c, p);
    if (!sub)
        return false;
    sub->until = at;
    sub_stream(h, sub, s->u.join.since, false);
    return true;
}

void party_join_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    struct error_about about = {.party = s->u.join.party};
    struct hub_party *p;
    bool full;
    enum signal_error e;
    int rc = hub_party_get(h, s->u.join.party, &p);
    if (rc < 0) {
        conn_error(h, c, rc == -ENOENT ? SIGERR_UNKNOWN_PARTY : SIGERR_INTERNAL, &about);
        return;
    }
    enum party_verdict v = may_join(h, c, p, s, &full, &e);
    if (v == PARTY_OK) {
        subscribe(h, c, p, s, full);
        return;
    }
    if (v == PARTY_WAS_REMOVED && show_removal(h, c, p, s))
        return;
    hub_note(h, LOG_INFO, "join-refused", "party=%s node=%s reason=%s", node_short((char[17]){0}, p->id),
             node_short((char[17]){0}, c->session->node),
             e == SIGERR_COUNT ? party_verdict_name(v) : signal_error_code(e));
    if (e == SIGERR_COUNT)
        conn_refuse(h, c, v, &about);
    else
        conn_error(h, c, e, &about);
}

void party_leave_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    struct sub *sub = sub_find(c->session, s->u.leave.party);
    if (sub)
        sub_end(h, sub);
}

/* The subscription of a member, or an error to the one who is none. */
static struct sub *member_sub(struct hub *h, struct conn *c, const uint8_t party[PARTY_ID_LEN])
{
    struct error_about about = {.party = party};
    struct sub *sub = sub_find(c->session, party);
    if (sub && sub->full)
        return sub;
    conn_error(h, c, SIGERR_NOT_A_MEMBER, &about);
    return NULL;
}

void party_presence_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    struct sub *sub = member_sub(h, c, s->u.presence.party);
    if (!sub)
        return;
    bool same = sub->seq == s->u.presence.seq && memcmp(sub->head, s->u.presence.head, ENTRY_HASH_LEN) == 0;
    if (same)
        return;
    sub->seq = s->u.presence.seq;
    memcpy(sub->head, s->u.presence.head, ENTRY_HASH_LEN);
    struct signal out = {.type = SIGNAL_PRESENCE, .has_from = true, .u.presence = s->u.presence};
    memcpy(out.from, c->session->node, NODE_ID_LEN);
    party_broadcast(h, sub->party, &out, c, true);
}

void party_forward_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    struct error_about about = {.party = s->u.forward.party, .node = s->has_to ? s->to : NULL};
    struct sub *sub = member_sub(h, c, s->u.forward.party);
    if (!sub)
        return;
    if (!s->has_to) {
        conn_error(h, c, SIGERR_BAD_MESSAGE, &about);
        return;
    }
    struct conn *to = map_get(h->nodes, s->to);
    struct sub *theirs = to && to != c ? sub_find(to->session, s->u.forward.party) : NULL;
    if (!theirs || !theirs->full || to->closing) {
        bool member = party_member(sub->party->log, s->to) != NULL;
        conn_error(h, c, member ? SIGERR_TARGET_OFFLINE : SIGERR_NOT_A_MEMBER, &about);
        return;
    }
    struct signal out = {.type = s->type, .has_from = true, .has_to = true};
    out.u.forward = s->u.forward;
    memcpy(out.from, c->session->node, NODE_ID_LEN);
    memcpy(out.to, s->to, NODE_ID_LEN);
    conn_send(h, to, &out);
}
