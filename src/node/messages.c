/* Control messages between engines inside a session (doc/protocol/node.md section 4): probes, pings and
 * entries of logs. */
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

size_t heads_common(const struct node *n, const uint8_t peer[NODE_ID_LEN], struct hs_head heads[HS_HEADS_MAX])
{
    size_t found = 0;
    for (size_t i = 0; i < n->party_count && found < HS_HEADS_MAX; i++) {
        const struct node_party *np = n->parties[i];
        if (np->state == NP_ACTIVE && party_member(np->log, peer))
            party_hs_head(np->log, &heads[found++]);
    }
    return found;
}

void message_heads(struct node *n, struct node_peer *p, usec_t now)
{
    struct hs_head heads[HS_HEADS_MAX];
    size_t heads_n = heads_common(n, p->id, heads);
    if (!peer_connected(p) || heads_n == 0)
        return;
    session_heads(p->cur->s, heads, heads_n, now);
    peer_touch(n, p);
}

int message_ping(struct node *n, struct node_peer *p, uint64_t nonce, usec_t now)
{
    uint8_t out[8];
    struct wr w = wr_of(out, sizeof out);
    wr_u64(&w, nonce);
    peer_touch(n, p);
    return session_message(p->cur->s, MSG_PING, wr_done(&w), now);
}

int message_log_get(struct node *n, struct node_peer *p, const struct node_party *np, usec_t now)
{
    uint8_t out[PARTY_ID_LEN + 8];
    struct wr w = wr_of(out, sizeof out);
    wr_copy(&w, np->id, PARTY_ID_LEN);
    wr_u64(&w, party_seq(np->log) + 1);
    peer_touch(n, p);
    return session_message(p->cur->s, MSG_LOG_GET, wr_done(&w), now);
}

/* An entry goes in parts: the largest does not fit one message. */
static bool entry_send(struct node *n, struct peer_session *ps, const struct node_party *np, uint64_t seq,
                       usec_t now)
{
    uint8_t room[ENTRY_MAX];
    struct bytes entry;
    if (party_entry_read(np->log, seq, room, &entry) < 0)
        return false;
    for (size_t at = 0; at < entry.n; at += LOG_PART_MAX) {
        uint8_t out[PARTY_ID_LEN + 12 + LOG_PART_MAX];
        struct wr w = wr_of(out, sizeof out);
        wr_copy(&w, np->id, PARTY_ID_LEN);
        wr_u64(&w, seq);
        wr_u16(&w, (uint16_t)entry.n);
        wr_u16(&w, (uint16_t)at);
        wr_copy(&w, entry.p + at, entry.n - at < LOG_PART_MAX ? entry.n - at : LOG_PART_MAX);
        if (session_message(ps->s, MSG_LOG_ENTRY, wr_done(&w), now) < 0)
            return false;
        /* The session's queue of control messages is short. */
        peer_touch(n, ps->peer);
        peers_pump_one(n, ps, now);
    }
    return true;
}

static bool log_get_input(struct node *n, struct peer_session *ps, struct bytes m, usec_t now)
{
    uint8_t id[PARTY_ID_LEN];
    struct rd r = rd_of(m);
    rd_copy(&r, id, sizeof id);
    uint64_t since = rd_u64(&r);
    struct node_party *np = np_by_id(n, id);
    if (!rd_done(&r) || !np || np->state != NP_ACTIVE || !party_member(np->log, ps->peer->id))
        return false;
    if (!ratelimit_take(&ps->peer->log_gets, 1, now))
        return true;
    count(n, COUNT_LOG_GETS_SERVED);
    for (uint64_t seq = since; seq <= party_seq(np->log) && seq - since < LOG_GET_ENTRIES; seq++)
        if (!entry_send(n, ps, np, seq, now))
            break;
    return true;
}

static bool log_entry_input(struct node *n, struct node_peer *p, struct bytes m, usec_t now)
{
    uint8_t id[PARTY_ID_LEN];
    struct rd r = rd_of(m);
    rd_copy(&r, id, sizeof id);
    uint64_t seq = rd_u64(&r);
    size_t total = rd_u16(&r), at = rd_u16(&r);
    struct bytes part = rd_rest(&r);
    struct node_party *np = np_by_id(n, id);
    if (!rd_ok(&r) || !np || np->state != NP_ACTIVE || !party_member(np->log, p->id))
        return false;
    if (part.n == 0 || total > ENTRY_MAX || at + part.n > total)
        return false;
    /* Only what was asked for: the next one. */
    if (!np->gap.open || seq != party_seq(np->log) + 1)
        return true;
    if (!p->part && !(p->part = malloc(ENTRY_MAX)))
        return true;
    if (at == 0) {
        p->part_have = 0;
        p->part_total = total;
        p->part_seq = seq;
    }
    if (p->part_seq != seq || p->part_total != total || p->part_have != at)
        return true; /* a part is missing: it will be asked for again */
    memcpy(p->part + at, part.p, part.n);
    p->part_have += part.n;
    if (p->part_have < total)
        return true;
    p->part_have = 0;
    log_from_peer(n, np, p, bytes_of(p->part, total), now);
    return true;
}

static bool pong_input(struct node *n, struct node_peer *p, uint32_t path, struct bytes m, usec_t now)
{
    struct rd r = rd_of(m);
    uint64_t nonce = rd_u64(&r);
    if (!rd_done(&r))
        return false;
    ping_answered(n, p, path, nonce, now);
    return true;
}

static bool probe_answered(struct node_peer *p, struct bytes m, usec_t now)
{
    uint32_t id;
    usec_t rtt;
    if (m.n != PATH_PROBE_LEN)
        return false;
    if (p->paths)
        paths_answer(p->paths, m, now, &id, &rtt);
    return true;
}

void message_input(struct node *n, struct peer_session *ps, uint32_t in_way, uint8_t type, struct bytes m,
                   usec_t now)
{
    uint32_t path = in_way != 0 ? in_way : SESSION_PATH_ANY;
    struct node_peer *p = ps->peer;
    bool good = false;
    peer_touch(n, p);
    switch (type) {
    case MSG_PROBE:
        good = m.n >= PATH_PROBE_LEN; /* what is longer is padding, and not sent back */
        if (good)
            session_message_on(ps->s, path, MSG_PROBE_ANSWER, bytes_of(m.p, PATH_PROBE_LEN), now);
        break;
    case MSG_PROBE_ANSWER:
        good = probe_answered(p, m, now);
        break;
    case MSG_PING:
        good = m.n == 8;
        if (good)
            session_message(ps->s, MSG_PONG, m, now);
        break;
    case MSG_PONG:
        good = pong_input(n, p, path, m, now);
        break;
    case MSG_LOG_GET:
        good = log_get_input(n, ps, m, now);
        break;
    case MSG_LOG_ENTRY:
        good = log_entry_input(n, p, m, now);
        break;
    case MSG_CANDIDATES:
        good = ps != p->cur || direct_candidates(n, p, m, now);
        break;
    case MSG_CANDIDATES_ACK:
        good = ps != p->cur || direct_acked(n, p, m, now);
        break;
    case MSG_SEARCH:
        good = ps != p->cur || search_message(n, p, m, now);
        break;
    case MSG_CIRCUIT:
        good = ps != p->cur || circuits_message(n, p, path, m, now);
        break;
    case MSG_RELAY_OFFER:
        good = ps != p->cur || relays_offer_input(n, p, m, now);
        break;
    default: /* of a newer version: not for us */
        good = true;
    }
    if (!good)
        count(n, COUNT_PEER_BAD_MESSAGE);
}
