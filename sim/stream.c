#include "sim/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RTO_MAX          (5 * SEC)
#define SYN_RETRY        (1 * SEC)
#define PROBE            (500 * MSEC)
#define RECEIVE_MAX      (256 * 1024)
#define SEGMENTS_MAX     256 /* on the way at once */
#define EARLY_MAX        256 /* received before their turn */
#define WINDOW_FIRST     10
#define WINDOW_LOW       4
#define FRAME_HEADER     5
#define TLS_CLIENT_FIRST 1900  /* hybrid key share */
#define TLS_SERVER_FIRST 14000 /* ML-DSA-87 certificate and signature */
#define UPGRADE_LEN      300

enum {
    FLAG_SYN = 1,
    FLAG_ACK = 2,
    FLAG_RST = 4,
    FLAG_FIN = 8,
    FLAG_DATA = 16,
    FLAG_PROBE = 32,
    FLAG_CROSS = 64
};
enum {
    MESSAGE_TEXT = 1,
    MESSAGE_BINARY = 2,
    OPEN_CLIENT_FIRST = 16,
    OPEN_SERVER_FIRST,
    OPEN_UPGRADE,
    OPEN_DONE
};
enum stream_state { OPENING, TALKING, UP, DEAD };

struct segment {
    uint64_t seq;
    uint32_t n;
    uint8_t tries;
    bool acked, fin;
    usec_t sent;
};

struct early {
    uint64_t seq;
    bool fin;
    struct buf data;
};

struct stream {
    struct stream *next;
    struct host *host;
    struct sim *sim;
    struct net_addr local, remote; /* local: as it was when the stream was made */
    uint16_t port;
    bool dialled, crossed, server, orphan, finishing, fin_sent, paused, wants_room, in_callback, reap;
    enum stream_state state;
    const struct stream_ops *ops;
    void *arg;
    uint8_t binding[32], fingerprint[32], theirs[32];
    uint64_t isn; /* decides who is the server where both ends connected */
    struct sim_timer timer;
    usec_t opened, progress, syn_at;
    uint8_t syn_tries;
    struct buf out; /* from una on */
    uint64_t una, nxt;
    struct segment segments[SEGMENTS_MAX];
    size_t segment_count;
    double window, threshold; /* in segments */
    usec_t srtt, cut_at;
    uint32_t peer_window;
    uint64_t rcv;
    struct early early[EARLY_MAX];
    size_t early_count;
    struct buf in;
    bool peer_fin;
};

struct stream_side {
    struct stream *streams;
    struct stream_listener listeners[4];
    size_t listener_count;
};

static void on_packet(struct host *h, struct packet *p);
static void on_timer(void *arg);
static void side_done(struct host *h);
static void pump(struct stream *s);

static struct stream_side *side_of(struct host *h)
{
    if (!h->streams) {
        h->streams = sim_alloc(sizeof *h->streams);
        h->stream_packet = on_packet;
        h->stream_done = side_done;
    }
    return h->streams;
}

static struct stream *stream_make(struct host *h, const struct net_addr *remote, uint16_t port)
{
    struct stream *s = sim_alloc(sizeof *s);
    s->host = h;
    s->sim = h->net->sim;
    s->remote = *remote;
    s->local = remote->family == 4 ? h->ip4 : h->ip6;
    s->port = port;
    s->opened = s->progress = s->sim->now;
    s->window = WINDOW_FIRST;
    s->threshold = SEGMENTS_MAX;
    s->peer_window = RECEIVE_MAX;
    s->timer = (struct sim_timer){.fire = on_timer, .arg = s};
    buf_init(&s->out, STREAM_SEND_MAX + STREAM_MESSAGE_MAX + FRAME_HEADER);
    buf_init(&s->in, RECEIVE_MAX + STREAM_MESSAGE_MAX + FRAME_HEADER);
    s->next = side_of(h)->streams;
    side_of(h)->streams = s;
    return s;
}

static void stream_destroy(struct stream *s)
{
    struct stream **at = &s->host->streams->streams;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    sim_disarm(s->sim, &s->timer);
    for (size_t i = 0; i < s->early_count; i++)
        buf_done(&s->early[i].data);
    buf_done(&s->out);
    buf_done(&s->in);
    free(s);
}

/* A stream that nobody owns any more goes as soon as no callback of it is running. */
static void stream_release(struct stream *s)
{
    if (s->in_callback)
        s->reap = true;
    else
        stream_destroy(s);
}

static void send_packet(struct stream *s, uint8_t flags, uint64_t seq, struct bytes data, usec_t echo,
                        uint64_t sack)
{
    /* A host that moved keeps its streams bound to an address that no router knows: silence, not a reset. */
    if (!net_ip_equal(&s->local, s->remote.family == 4 ? &s->host->ip4 : &s->host->ip6))
        return;
    struct packet *p = packet_new(NAT_STREAM, &s->remote, data);
    p->from.port = s->port;
    p->flags = flags;
    p->seq = seq;
    p->ack = s->rcv;
    p->sack = sack;
    p->window = s->in.n < RECEIVE_MAX && !s->paused ? (uint32_t)(RECEIVE_MAX - s->in.n) : 0;
    p->stamp = s->sim->now;
    p->echo = echo;
    host_send(s->host, p);
}

static void die(struct stream *s, const char *why)
{
    if (s->state == DEAD)
        return;
    s->state = DEAD;
    sim_disarm(s->sim, &s->timer);
    if (s->orphan) {
        stream_release(s);
        return;
    }
    s->ops->down(s->arg, s, why);
}

static usec_t rto(const struct stream *s, const struct segment *g)
{
    usec_t t = s->srtt > STREAM_RTO_MIN ? s->srtt + s->srtt / 4 : STREAM_RTO_MIN;
    for (uint8_t i = 1; i < g->tries && t < RTO_MAX; i++)
        t *= 2;
    return t < RTO_MAX ? t : RTO_MAX;
}

static void schedule(struct stream *s)
{
    usec_t at = USEC_NEVER;
    if (s->state == OPENING && !s->server)
        at = usec_min(s->syn_at + (SYN_RETRY << (s->syn_tries - 1)), s->opened + STREAM_OPEN_MAX);
    else if (s->state == OPENING || s->state == TALKING)
        at = s->opened + STREAM_OPEN_MAX;
    for (size_t i = 0; i < s->segment_count; i++)
        if (!s->segments[i].acked)
            at = usec_min(at, s->segments[i].sent + rto(s, &s->segments[i]));
    if (s->segment_count == 0 && s->out.n > 0 && s->state != OPENING)
        at = usec_min(at, s->sim->now + PROBE);
    if (at == USEC_NEVER)
        sim_disarm(s->sim, &s->timer);
    else
        sim_arm(s->sim, &s->timer, at);
}

static void send_syn(struct stream *s)
{
    s->syn_at = s->sim->now;
    s->syn_tries++;
    send_packet(s, FLAG_SYN, s->isn, (struct bytes){0}, 0, 0);
}

static void send_segment(struct stream *s, struct segment *g)
{
    g->sent = s->sim->now;
    g->tries++;
    struct bytes data = {g->fin ? NULL : s->out.p + (g->seq - s->una), g->fin ? 0 : g->n};
    send_packet(s, FLAG_DATA | (g->fin ? FLAG_FIN : 0), g->seq, data, 0, 0);
}

static void cut_window(struct stream *s)
{
    usec_t rtt = s->srtt ? s->srtt : STREAM_RTO_MIN;
    if (usec_since(s->sim->now, s->cut_at) < rtt)
        return;
    s->cut_at = s->sim->now;
    s->window = s->window / 2 > WINDOW_LOW ? s->window / 2 : WINDOW_LOW;
    s->threshold = s->window;
}

static void resend(struct stream *s)
{
    for (size_t i = 0; i < s->segment_count; i++) {
        struct segment *g = &s->segments[i];
        if (g->acked || s->sim->now < g->sent + rto(s, g))
            continue;
        cut_window(s);
        send_segment(s, g);
    }
}

static size_t in_flight(const struct stream *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->segment_count; i++)
        n += !s->segments[i].acked;
    return n;
}

/* Sends what the windows allow. */
static void pump(struct stream *s)
{
    size_t flying = in_flight(s);
    uint64_t end = s->una + s->out.n;
    while (s->state != OPENING && s->segment_count < SEGMENTS_MAX && flying < (size_t)s->window &&
           s->nxt < end && s->nxt - s->una < s->peer_window) {
        uint64_t left = end - s->nxt;
        struct segment *g = &s->segments[s->segment_count++];
        *g = (struct segment){.seq = s->nxt, .n = left < STREAM_SEGMENT ? (uint32_t)left : STREAM_SEGMENT};
        s->nxt += g->n;
        flying++;
        send_segment(s, g);
    }
    if (s->finishing && !s->fin_sent && s->nxt == end && s->segment_count < SEGMENTS_MAX) {
        s->fin_sent = true;
        struct segment *g = &s->segments[s->segment_count++];
        *g = (struct segment){.seq = s->nxt++, .n = 1, .fin = true};
        send_segment(s, g);
    }
    schedule(s);
}

static void on_timer(void *arg)
{
    struct stream *s = arg;
    usec_t now = s->sim->now;
    if ((s->state == OPENING || s->state == TALKING) && now >= s->opened + STREAM_OPEN_MAX) {
        die(s, "connection timed out");
        return;
    }
    if (s->state == OPENING) {
        if (!s->server)
            send_syn(s);
        schedule(s);
        return;
    }
    if (s->segment_count > 0 && usec_since(now, s->progress) > STREAM_GIVE_UP) {
        die(s, "connection timed out");
        return;
    }
    if (s->segment_count == 0 && s->out.n > 0)
        send_packet(s, FLAG_PROBE, s->nxt, (struct bytes){0}, 0, 0);
    resend(s);
    pump(s);
}

static void push(struct stream *s, uint8_t kind, struct bytes message)
{
    uint8_t header[FRAME_HEADER];
    struct wr w = wr_of(header, sizeof header);
    wr_u32(&w, (uint32_t)message.n);
    wr_u8(&w, kind);
    buf_add(&s->out, wr_done(&w));
    buf_add(&s->out, message);
    if (s->segment_count == 0)
        s->progress = s->sim->now;
    pump(s);
}

/* A message of opening: the real ones' length, and what this end has to tell at its beginning. */
static void push_opening(struct stream *s, uint8_t kind, size_t n, struct bytes told)
{
    uint8_t *p = sim_alloc(n);
    if (told.n)
        memcpy(p, told.p, told.n);
    push(s, kind, bytes_of(p, n));
    free(p);
}

static void went_up(struct stream *s)
{
    s->state = UP;
    s->in_callback = true;
    s->ops->up(s->arg, s, s->binding, s->theirs);
    s->in_callback = false;
}

static void opening_message(struct stream *s, uint8_t kind, struct bytes m)
{
    uint8_t told[64];
    if (kind == OPEN_CLIENT_FIRST && s->server && m.n >= 32) {
        memcpy(s->theirs, m.p, 32);
        rng_fill(&s->sim->rng, s->binding, 32);
        memcpy(told, s->binding, 32);
        memcpy(told + 32, s->fingerprint, 32);
        push_opening(s, OPEN_SERVER_FIRST, TLS_SERVER_FIRST, bytes_of(told, sizeof told));
    } else if (kind == OPEN_SERVER_FIRST && !s->server && m.n >= 64) {
        memcpy(s->binding, m.p, 32);
        memcpy(s->theirs, m.p + 32, 32);
        push_opening(s, OPEN_UPGRADE, UPGRADE_LEN, (struct bytes){0});
    } else if (kind == OPEN_UPGRADE && s->server) {
        push_opening(s, OPEN_DONE, UPGRADE_LEN, (struct bytes){0});
        went_up(s);
    } else if (kind == OPEN_DONE && !s->server) {
        went_up(s);
    }
}

/* Hands up one whole message; false where none is complete. */
static bool deliver_one(struct stream *s)
{
    if (s->in.n < FRAME_HEADER || s->paused || s->state == DEAD)
        return false;
    struct rd r = rd_of(buf_bytes(&s->in));
    uint32_t n = rd_u32(&r);
    uint8_t kind = rd_u8(&r);
    if (rd_left(&r) < n)
        return false;
    uint8_t *copy = sim_alloc(n);
    memcpy(copy, r.p, n);
    buf_eat(&s->in, FRAME_HEADER + n);
    if (kind >= OPEN_CLIENT_FIRST) {
        opening_message(s, kind, bytes_of(copy, n));
    } else if (s->state == UP && !s->orphan) {
        s->in_callback = true;
        s->ops->message(s->arg, s, kind == MESSAGE_BINARY, copy, n);
        s->in_callback = false;
    }
    free(copy);
    return !s->reap;
}

/* Answers false where the stream is gone. */
static bool deliver_all(struct stream *s)
{
    while (deliver_one(s))
        ;
    if (s->reap) {
        stream_destroy(s);
        return false;
    }
    if (s->peer_fin && s->state != DEAD && !s->paused) {
        die(s, "closed by the other side");
        return false;
    }
    return true;
}

static void keep_early(struct stream *s, const struct packet *p)
{
    if (s->early_count == EARLY_MAX)
        return;
    for (size_t i = 0; i < s->early_count; i++)
        if (s->early[i].seq == p->seq)
            return;
    struct early *e = &s->early[s->early_count++];
    *e = (struct early){.seq = p->seq, .fin = (p->flags & FLAG_FIN) != 0};
    buf_init(&e->data, STREAM_SEGMENT);
    buf_add(&e->data, bytes_of(p->data, p->n));
}

static void take_in(struct stream *s, struct bytes data, bool fin)
{
    buf_add(&s->in, data);
    s->rcv += fin ? 1 : data.n;
    s->peer_fin |= fin;
}

static void take_early(struct stream *s)
{
    for (size_t i = 0; i < s->early_count;) {
        struct early *e = &s->early[i];
        if (e->seq > s->rcv) {
            i++;
            continue;
        }
        if (e->seq == s->rcv)
            take_in(s, buf_bytes(&e->data), e->fin);
        buf_done(&e->data);
        *e = s->early[--s->early_count];
        i = 0;
    }
}

static void on_data(struct stream *s, const struct packet *p)
{
    if (p->seq == s->rcv) {
        take_in(s, bytes_of(p->data, p->n), (p->flags & FLAG_FIN) != 0);
        take_early(s);
    } else if (p->seq > s->rcv) {
        keep_early(s, p);
    }
    send_packet(s, FLAG_ACK, 0, (struct bytes){0}, p->stamp, p->seq);
}

static void measure(struct stream *s, usec_t echo)
{
    if (echo == 0 || echo > s->sim->now)
        return;
    usec_t rtt = s->sim->now - echo;
    s->srtt = s->srtt ? (7 * s->srtt + rtt) / 8 : rtt;
}

static void drop_acked(struct stream *s, uint64_t ack)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->segment_count; i++)
        if (s->segments[i].seq + s->segments[i].n > ack)
            s->segments[kept++] = s->segments[i];
    s->segment_count = kept;
    if (ack > s->una) {
        uint64_t n = ack - s->una;
        s->una = ack;
        buf_eat(&s->out, n < s->out.n ? (size_t)n : s->out.n);
        s->progress = s->sim->now;
    }
}

static void on_ack(struct stream *s, const struct packet *p)
{
    measure(s, p->echo);
    s->peer_window = p->window;
    for (size_t i = 0; i < s->segment_count; i++) {
        struct segment *g = &s->segments[i];
        if (g->seq != p->sack || g->acked || p->echo == 0)
            continue;
        g->acked = true;
        s->window += s->window < s->threshold ? 1 : 1 / s->window;
    }
    if (s->window > SEGMENTS_MAX)
        s->window = SEGMENTS_MAX;
    drop_acked(s, p->ack);
}

static void tell_room(struct stream *s)
{
    if (!s->wants_room || s->orphan || !stream_writable(s))
        return;
    s->wants_room = false;
    s->in_callback = true;
    s->ops->writable(s->arg, s);
    s->in_callback = false;
}

static struct stream *find(struct host *h, const struct packet *p)
{
    for (struct stream *s = side_of(h)->streams; s; s = s->next)
        if (s->port == p->to.port && net_addr_equal(&s->remote, &p->from) && s->state != DEAD)
            return s;
    return NULL;
}

static void refuse(struct host *h, const struct packet *p)
{
    if (p->flags & FLAG_RST)
        return;
    struct packet *r = packet_new(NAT_STREAM, &p->from, (struct bytes){0});
    r->from.port = p->to.port;
    r->flags = FLAG_RST;
    host_send(h, r);
}

static struct stream_listener *listener_at(struct host *h, uint16_t port)
{
    struct stream_side *side = side_of(h);
    for (size_t i = 0; i < side->listener_count; i++)
        if (side->listeners[i].port == port)
            return &side->listeners[i];
    return NULL;
}

/* Both ends connected: the one with the larger number is the server. */
static void cross(struct stream *s, uint64_t their_isn)
{
    const struct stream_listener *l = listener_at(s->host, s->port);
    if (l)
        memcpy(s->fingerprint, l->fingerprint, 32);
    s->crossed = true;
    s->server = s->isn > their_isn;
    s->state = TALKING;
    if (!s->server)
        push_opening(s, OPEN_CLIENT_FIRST, TLS_CLIENT_FIRST, bytes_of(s->fingerprint, 32));
}

static void on_syn(struct host *h, const struct packet *p)
{
    struct stream *s = find(h, p);
    struct stream_listener *l = listener_at(h, p->to.port);
    if (s && s->dialled && s->state == OPENING)
        cross(s, p->seq);
    if (!s && l) {
        s = stream_make(h, &p->from, p->to.port);
        s->server = true;
        s->state = TALKING;
        s->ops = l->ops;
        memcpy(s->fingerprint, l->fingerprint, 32);
        s->arg = l->accept(l->arg, s);
        if (!s->arg) {
            stream_destroy(s);
            s = NULL;
        }
    }
    if (!s) {
        refuse(h, p);
        return;
    }
    send_packet(s, FLAG_SYN | FLAG_ACK | (s->crossed ? FLAG_CROSS : 0), s->isn, (struct bytes){0}, p->stamp,
                0);
    schedule(s);
}

static void on_syn_ack(struct stream *s, const struct packet *p)
{
    if (s->state != OPENING)
        return;
    measure(s, p->echo);
    if (p->flags & FLAG_CROSS) {
        cross(s, p->seq);
        schedule(s);
        return;
    }
    s->state = TALKING;
    push_opening(s, OPEN_CLIENT_FIRST, TLS_CLIENT_FIRST, (struct bytes){0});
}

static void on_packet(struct host *h, struct packet *p)
{
    if (p->flags == FLAG_SYN) {
        on_syn(h, p);
        return;
    }
    struct stream *s = find(h, p);
    if (!s) {
        refuse(h, p);
        return;
    }
    if (p->flags & FLAG_RST) {
        die(s, s->state == OPENING ? "connection refused" : "connection reset");
        return;
    }
    if (p->flags & FLAG_SYN) {
        on_syn_ack(s, p);
        return;
    }
    if (s->state == OPENING)
        return; /* the answer to our SYN was lost; what follows it comes again */
    if (p->flags & FLAG_PROBE)
        send_packet(s, FLAG_ACK, 0, (struct bytes){0}, 0, 0);
    if (p->flags & FLAG_DATA)
        on_data(s, p);
    if (p->flags & FLAG_ACK)
        on_ack(s, p);
    if (s->fin_sent && s->segment_count == 0) {
        die(s, "closed");
        return;
    }
    if (!deliver_all(s))
        return;
    tell_room(s);
    if (s->reap)
        stream_destroy(s);
    else if (s->state != DEAD)
        pump(s);
}

int stream_listen(struct host *h, const struct stream_listener *l)
{
    struct stream_side *side = side_of(h);
    for (size_t i = 0; i < side->listener_count; i++)
        if (side->listeners[i].port == l->port)
            return -EADDRINUSE;
    if (side->listener_count == sizeof side->listeners / sizeof *side->listeners)
        return -EADDRINUSE;
    side->listeners[side->listener_count++] = *l;
    return 0;
}

void stream_unlisten(struct host *h, uint16_t port)
{
    struct stream_side *side = side_of(h);
    for (size_t i = 0; i < side->listener_count; i++)
        if (side->listeners[i].port == port)
            side->listeners[i--] = side->listeners[--side->listener_count];
}

static struct stream *connect_at(struct host *h, uint16_t port, const struct net_addr *to,
                                 const struct stream_ops *ops, void *arg)
{
    for (struct host *each = h->net->hosts; each; each = each->next)
        side_of(each); /* every machine's kernel answers, if only to refuse */
    struct stream *s = stream_make(h, to, port);
    s->ops = ops;
    s->arg = arg;
    return s;
}

struct stream *stream_connect_from(struct host *h, uint16_t port, const struct net_addr *to,
                                   const struct stream_ops *ops, void *arg)
{
    for (const struct stream *s = side_of(h)->streams; s; s = s->next)
        if (s->port == port && net_addr_equal(&s->remote, to) && s->state != DEAD)
            return NULL;
    struct stream *s = connect_at(h, port, to, ops, arg);
    s->dialled = true;
    s->isn = rng_u64(&s->sim->rng);
    send_syn(s);
    schedule(s);
    return s;
}

struct stream *stream_connect(struct host *h, const struct net_addr *to, const struct stream_ops *ops,
                              void *arg)
{
    struct stream *s = connect_at(h, host_port(h), to, ops, arg);
    send_syn(s);
    schedule(s);
    return s;
}

bool stream_writable(const struct stream *s)
{
    return s->state == UP && !s->finishing && s->out.n < STREAM_SEND_MAX;
}

void stream_want_write(struct stream *s)
{
    s->wants_room = true;
}

bool stream_send(struct stream *s, bool binary, struct bytes message)
{
    if (!stream_writable(s)) {
        s->wants_room = true;
        return false;
    }
    push(s, binary ? MESSAGE_BINARY : MESSAGE_TEXT, message);
    return true;
}

void stream_pause(struct stream *s, bool paused)
{
    s->paused = paused;
    if (paused || s->state == DEAD || !deliver_all(s))
        return;
    send_packet(s, FLAG_ACK, 0, (struct bytes){0}, 0, 0);
}

void stream_close(struct stream *s)
{
    if (!s)
        return;
    s->orphan = true;
    if (s->state != UP) {
        stream_abort(s);
        return;
    }
    s->finishing = true;
    pump(s);
}

void stream_abort(struct stream *s)
{
    if (!s)
        return;
    s->orphan = true;
    if (s->state != DEAD) {
        send_packet(s, FLAG_RST, 0, (struct bytes){0}, 0, 0);
        s->state = DEAD;
    }
    sim_disarm(s->sim, &s->timer);
    stream_release(s);
}

void stream_host_reset(struct host *h, bool quiet)
{
    struct stream_side *side = side_of(h);
    side->listener_count = 0;
    for (struct stream *s = side->streams, *next; s; s = next) {
        next = s->next;
        if (s->state != DEAD && !quiet)
            send_packet(s, FLAG_RST, 0, (struct bytes){0}, 0, 0);
        stream_destroy(s);
    }
}

static void side_done(struct host *h)
{
    stream_host_reset(h, true);
    free(h->streams);
    h->streams = NULL;
}

const struct net_addr *stream_remote(const struct stream *s)
{
    return &s->remote;
}

usec_t stream_rtt(const struct stream *s)
{
    return s->srtt;
}
