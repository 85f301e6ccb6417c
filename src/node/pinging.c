/* `ping`: round trips to a member inside the session, each with the path that it took. */
#include <stdlib.h>
#include <string.h>

#include "node/whys_int.h"

static void ping_finish(struct node *n, struct request *r)
{
    const struct pinging *g = r->ping;
    char id[NODE_ID_TEXT_CAP];
    node_id_text(id, g->peer);
    json_t *o = json_pack("{s:s, s:I, s:I, s:f}", "peer", id, "sent", (json_int_t)g->sent, "received",
                          (json_int_t)g->received, "loss",
                          g->sent ? (double)(g->sent - g->received) / (double)g->sent : 0.0);
    bool any = g->received > 0;
    json_object_set_new(o, "rtt_min_ms", any ? json_real(g->min) : json_null());
    json_object_set_new(o, "rtt_avg_ms", any ? json_real(g->sum / (double)g->received) : json_null());
    json_object_set_new(o, "rtt_max_ms", any ? json_real(g->max) : json_null());
    request_ok(n, r, o);
}

static bool ping_under_way(const struct pinging *g)
{
    for (size_t i = 0; i < PING_WINDOW; i++)
        if (g->under_way[i].at != 0)
            return true;
    return false;
}

static void ping_expire(struct node *n, struct request *r, usec_t now)
{
    for (size_t i = 0; i < PING_WINDOW; i++) {
        struct ping_sent *s = &r->ping->under_way[i];
        if (s->at == 0 || s->at + PING_TIMEOUT > now)
            continue;
        s->at = 0;
        r->ping->lost++;
        reply_progress(n, r->id,
                       json_pack("{s:I, s:b, s:n, s:s, s:n}", "seq", (json_int_t)s->seq, "timeout", 1,
                                 "rtt_ms", "path", "none", "endpoint"));
    }
}

static void ping_send(struct node *n, struct request *r, struct node_peer *p, usec_t now)
{
    struct pinging *g = r->ping;
    struct ping_sent *s = &g->under_way[g->sent % PING_WINDOW];
    g->next = now + g->interval;
    node_due(n, g->next);
    if (s->at != 0)
        return; /* that many without an answer: the timeout makes room */
    *s = (struct ping_sent){.nonce = rng_u64(&n->rng), .seq = ++g->sent, .at = now};
    if (g->began == 0)
        g->began = now;
    message_ping(n, p, s->nonce, now);
}

/* The peer as it is now: it may have been removed, and another one have its number. */
static struct node_peer *ping_peer(const struct node *n, const struct pinging *g)
{
    struct node_peer *p = peer_by_id(n, g->peer);
    return p && !p->doomed ? p : NULL;
}

void ping_go_on(struct node *n, struct request *r, usec_t now)
{
    struct pinging *g = r->ping;
    struct node_peer *p = ping_peer(n, g);
    if (!p) {
        request_fail(n, r, "no_peer", "the peer is no member any more");
        return;
    }
    ping_expire(n, r, now);
    bool more = g->count == 0 || g->sent < g->count;
    if (!more && !ping_under_way(g)) {
        ping_finish(n, r);
        return;
    }
    if (!more || g->next > now)
        return;
    if (peer_connected(p) || (g->sent > 0 && p->cur)) {
        ping_send(n, r, p, now);
        return;
    }
    if (g->connect_until <= now) {
        struct origin o;
        bool way = peer_reliable(n, p, &o);
        if (!way && !link_ready(n))
            request_fail(
                n, r, "hub_unreachable",
                "the hub is not connected and there is no other path to the peer: see `warren status`");
        else if (!way)
            request_fail(n, r, "peer_offline", "the peer is not online");
        else
            request_fail(n, r, "peer_unreachable",
                         "the peer is online, but the handshake with it is not answered");
        return;
    }
    peer_demand(n, p, now);
}

usec_t ping_wake(const struct request *r)
{
    const struct pinging *g = r->ping;
    usec_t wake = USEC_NEVER;
    for (size_t i = 0; i < PING_WINDOW; i++)
        if (g->under_way[i].at != 0)
            wake = usec_min(wake, g->under_way[i].at + PING_TIMEOUT);
    if (g->count == 0 || g->sent < g->count)
        wake = usec_min(wake, g->sent == 0 ? g->connect_until : g->next);
    return wake;
}

/* The path that an answer took, and since when the pair has it: since the pings began, or 0 where it had it
 * before. An answer may still come by another path than the one of the moment: then it is new as of now. */
static json_t *reply_json(const struct node *n, const struct node_peer *p, uint32_t path,
                          const struct pinging *g, usec_t now)
{
    const struct way *w = way_by_id(p, path);
    char at[WHY_TRIED_CAP / 2] = "";
    if (w)
        way_text(n, w, at, sizeof at);
    usec_t since = p->on_way == path ? p->on_since : now;
    return json_pack("{s:s, s:o, s:f}", "path", path_kind_name(w ? w->kind : PATH_NONE), "endpoint",
                     w ? text_json(at) : json_null(), "path_after_ms",
                     (double)usec_since(since, g->began) / 1000.0);
}

void ping_answered(struct node *n, struct node_peer *p, uint32_t path, uint64_t nonce, usec_t now)
{
    for (size_t i = 0; i < n->request_count; i++) {
        struct request *r = n->requests[i];
        struct ping_sent *s = NULL;
        if (r->kind != REQUEST_PING || memcmp(r->ping->peer, p->id, NODE_ID_LEN) != 0)
            continue;
        for (size_t k = 0; k < PING_WINDOW && !s; k++)
            if (r->ping->under_way[k].at != 0 && r->ping->under_way[k].nonce == nonce)
                s = &r->ping->under_way[k];
        if (!s)
            continue;
        struct pinging *g = r->ping;
        double ms = (double)usec_since(now, s->at) / 1000.0;
        json_t *reply = reply_json(n, p, path, g, now);
        json_object_set_new(reply, "seq", json_integer((json_int_t)s->seq));
        json_object_set_new(reply, "rtt_ms", json_real(ms));
        s->at = 0;
        g->received++;
        g->sum += ms;
        g->min = g->received == 1 || ms < g->min ? ms : g->min;
        g->max = ms > g->max ? ms : g->max;
        reply_progress(n, r->id, reply);
        ping_go_on(n, r, now);
        return;
    }
}

void cmd_ping(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    json_int_t total, interval;
    struct node_party *np = NULL, *in;
    const char *party = arg_text(rq, "party");
    if (party && !(np = choose_writable(n, id, party)))
        return;
    const struct party_member *m = choose_member(n, id, np, arg_text(rq, "peer"), &in);
    if (!m || !arg_number(n, id, rq, "count", (json_int_t[]){0, PING_COUNT_MAX, 4}, &total) ||
        !arg_number(n, id, rq, "interval_ms", (json_int_t[]){10, 60000, 1000}, &interval))
        return;
    if (memcmp(m->id, n->id, NODE_ID_LEN) == 0) {
        reply_error(n, id, "bad_request", "this is this node itself");
        return;
    }
    struct request *r = request_new(n, id, REQUEST_PING, now);
    struct pinging *g = r ? calloc(1, sizeof *g) : NULL;
    if (!g) {
        if (r)
            request_end(n, r);
        return;
    }
    r->ping = g;
    memcpy(g->peer, m->id, NODE_ID_LEN);
    g->count = (uint64_t)total;
    g->interval = (usec_t)interval * MSEC;
    g->next = now;
    g->connect_until = now + PING_CONNECT_MAX;
    node_due(n, g->connect_until);
    ping_go_on(n, r, now);
}
