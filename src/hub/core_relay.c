#include "hub/core_int.h"

#include <string.h>

#define GONE_MAX 8 /* peers that one message can be told to be gone */

/* One message on its way through: the frames that are sent on next, and the peers that were reported gone:
 * each once. */
struct burst {
    struct relay_run run;
    uint32_t peer; /* of the run */
    size_t run_max;
    uint32_t gone[GONE_MAX];
    size_t count;
};

/* Both are members of one party, now. */
static bool share_party(const struct session *a, const struct session *b)
{
    for (struct list *l = a->subs.next; l != &a->subs; l = l->next) {
        const struct sub *mine = LIST_OWNER(l, struct sub, in_session);
        for (struct list *m = b->subs.next; mine->full && m != &b->subs; m = m->next) {
            const struct sub *theirs = LIST_OWNER(m, struct sub, in_session);
            if (theirs->full && theirs->party == mine->party)
                return true;
        }
    }
    return false;
}

struct conn *relay_route(struct hub *h, struct conn *c, uint32_t peer)
{
    struct route *r = &c->session->routes[peer % ROUTES_CACHED];
    if (r->epoch == h->epoch && r->peer == peer)
        return r->to;
    struct conn *to = map_get(h->relays, &peer);
    if (to && (to == c || to->closing || !share_party(c->session, to->session)))
        to = NULL;
    *r = (struct route){.peer = peer, .epoch = h->epoch, .to = to};
    return to;
}

static void tell_gone(struct hub *h, struct conn *c, struct burst *b, uint32_t peer, uint32_t frames)
{
    h->count.relay_gone += frames;
    for (size_t i = 0; i < b->count; i++) {
        if (b->gone[i] == peer)
            return;
    }
    if (b->count == GONE_MAX)
        return;
    b->gone[b->count++] = peer;
    struct relay_frame f = {.kind = RELAY_GONE, .peer = peer};
    conn_relay(h, c, &f);
}

bool relay_quota(struct hub *h, struct conn *c, size_t n)
{
    if (h->limits.relay_bytes_per_s == 0 || ratelimit_take(&c->session->relay_bytes, n, h->now))
        return true;
    h->count.dropped_quota++;
    if (usec_since(h->now, c->session->quota_told) >= SEC) {
        c->session->quota_told = h->now;
        conn_error(h, c, SIGERR_RATE_LIMITED, NULL);
    }
    return false;
}

/* Sends on a row of frames of one kind to one peer, and begins the next one. */
static void forward(struct hub *h, struct conn *c, struct burst *b)
{
    struct relay_run *run = &b->run;
    if (run->count == 0)
        return;
    struct conn *to = relay_route(h, c, b->peer);
    if (!to) {
        tell_gone(h, c, b, b->peer, run->count);
    } else if (relay_quota(h, c, run->frames.n)) {
        run->sender = c->session->relay;
        if (conn_relay_run(h, to, run)) {
            h->count.relay_frames += run->count;
            h->count.relay_bytes += run->frames.n;
        }
    }
    *run = (struct relay_run){.frames = bytes_of(run->frames.p + run->frames.n, 0)};
}

/* One more frame of the message. Frames that go the same way go together: to look for the receiver, its room
 * and its memory costs more than to copy a small frame. */
static void gather(struct hub *h, struct conn *c, struct burst *b, const struct relay_frame *f)
{
    size_t n = RELAY_HEADER_LEN + f->payload.n;
    struct relay_run *run = &b->run;
    bool control = f->kind == RELAY_CONTROL;
    if (run->count > 0 && (b->peer != f->peer || run->control != control || run->frames.n + n > b->run_max))
        forward(h, c, b);
    b->peer = f->peer;
    run->control = control;
    run->frames.n += n;
    run->count++;
}

/* With a quota each frame is weighed alone. */
static size_t run_max(const struct hub *h)
{
    if (h->limits.relay_bytes_per_s != 0)
        return 0;
    return h->limits.relay_queue_bytes / 2 < FRAMES_RUN_MAX ? h->limits.relay_queue_bytes / 2
                                                            : FRAMES_RUN_MAX;
}

static void bad_frames(struct hub *h, struct conn *c)
{
    h->count.relay_bad++;
    conn_error(h, c, SIGERR_BAD_MESSAGE, NULL);
    if (++c->bad >= BAD_MESSAGES_MAX)
        conn_doom(h, c, CLOSE_POLICY, "bad message");
}

void hub_binary(struct hub *h, hub_conn id, struct bytes message, usec_t now)
{
    struct conn *c = map_get(h->conns, &id);
    h->now = now;
    if (!c || c->closing)
        return;
    c->heard = now;
    if (!c->session) {
        conn_error(h, c, SIGERR_NOT_LOGGED_IN, NULL);
        conn_doom(h, c, CLOSE_POLICY, "not logged in");
    } else if (message.n > RELAY_MESSAGE_MAX) {
        conn_error(h, c, SIGERR_TOO_LARGE, NULL);
        conn_doom(h, c, CLOSE_POLICY, "too large");
    } else {
        struct burst b = {.run.frames = bytes_of(message.p, 0), .run_max = run_max(h)};
        struct relay_frame f;
        struct rd r = rd_of(message);
        int rc;
        while ((rc = relay_frame_read(&f, &r)) == 1 && (f.kind == RELAY_DATA || f.kind == RELAY_CONTROL))
            gather(h, c, &b, &f);
        forward(h, c, &b);
        if (rc != 0)
            bad_frames(h, c);
    }
    hub_settle(h);
}
