#include "pump/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pump/landing.h"
#include "pump/offload_int.h"
#include "vnet/vnet.h"
#include "wire/udp_relay.h"

/* Before a frame: the headers that come to stand there, at most. */
#define HEADS (UDP_RELAY_HEADER_LEN + DATA_HEADROOM)

/* Sealed datagrams that will leave in one send. */
struct run {
    const struct route *route; /* NULL: empty */
    size_t way;
    size_t bytes, count, segment, payload;
    bool closed; /* a shorter one is in: nothing may follow */
};

/* A write to a device that waits for the end of the batch. */
struct write {
    uint32_t party_ref;
    struct vnet_hdr h;
    const struct iovec *pieces;
    size_t count, bytes;
};

struct core {
    struct core_config c;
    const struct snapshot *snapshot; /* pinned while a batch lasts */
    usec_t now;

    /* Out. Frames are read behind what the run holds already, and sealed where they lie. */
    struct run run;
    uint8_t *out; /* CORE_RUN_BYTES, then room for a frame */
    bool slowed,
        pause;    /* frames went to the engine, and may still wait there; nothing should be read meanwhile */
    size_t head;  /* what stood before the last one: the relay's header, or nothing */
    uint8_t *cut; /* segments of super-frames: CORE_RUNS of CORE_RUN_BYTES each, */
    struct run runs[CORE_RUNS];
    size_t run_count;           /* that wait; none does while anything is in `run` */
    uint8_t *copy;              /* of a run, for a second way: as much */
    const struct net_view *net; /* of the last frame */

    /* In. */
    struct landing landing;
    struct coalesce coalesce;
    struct write writes[CORE_WRITES];
    struct iovec pieces[CORE_PIECES];
    size_t write_count, piece_count;
    const struct net_view *to; /* whose device the coalescer writes to; NULL: nothing waits */
    const struct route *from;  /* of the last datagram */
    struct lane *locked;
    uint64_t opened, opened_bytes;
    struct before {
        bool known; /* within a batch, for the snapshot is its own */
        uint32_t socket, index;
        struct net_addr from;
        bool relay;
        uint8_t head[DATA_COUNTER_AT];
        struct data_header h;
        const struct route *route;
        struct lane *lane;
        size_t way;
    } before;                   /* the last datagram that was a peer's, and whose */
    const struct route *lander; /* whose frame it was that landed last */

    uint64_t counts[PLANE_COUNTS];
};

static const struct coalesce_ops coalesce_ops;

struct core *core_new(const struct core_config *config)
{
    struct core *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->c = *config;
    c->out = malloc(CORE_RUN_BYTES + HEADS + OFFLOAD_FRAME_MAX + DATA_TAILROOM);
    c->cut = malloc((size_t)CORE_RUNS * CORE_RUN_BYTES);
    c->copy = malloc(CORE_RUN_BYTES);
    if (landing_init(&c->landing) == 0 && c->out && c->cut && c->copy)
        return c;
    core_free(c);
    return NULL;
}

void core_free(struct core *c)
{
    if (!c)
        return;
    free(c->out);
    free(c->cut);
    free(c->copy);
    landing_free(&c->landing);
    free(c);
}

void core_offloads(struct core *c, bool tso, bool uso)
{
    c->c.tso = tso;
    c->c.uso = uso;
}

void core_begin(struct core *c, usec_t now)
{
    c->now = now;
    c->snapshot = plane_pin(c->c.plane, c->c.user);
    c->net = c->to = NULL;
    c->from = NULL;
    c->before.known = false;
}

/* ---- Out. */

static size_t head_of(const struct plane_way *w)
{
    return w->relay ? UDP_RELAY_HEADER_LEN : 0;
}

/* Whether a datagram of that size may follow those that are in. */
static bool run_takes(const struct run *r, const struct route *route, size_t way, size_t size)
{
    return r->route == route && r->way == way && !r->closed && size <= r->segment &&
           r->count < CORE_RUN_SEGMENTS && r->bytes + size <= CORE_RUN_BYTES;
}

static void run_add(struct run *r, const struct route *route, size_t way, size_t size, size_t payload)
{
    if (r->count == 0)
        *r = (struct run){.route = route, .way = way, .segment = size};
    r->closed = size < r->segment;
    r->bytes += size;
    r->payload += payload;
    r->count++;
}

/* The same datagrams as a run for another way: with its header before each, or without. */
static void run_copy(struct core *c, const struct run *r, const uint8_t *p)
{
    const struct plane_route *route = route_of(r->route);
    const struct plane_way *from = &route->ways[r->way],
                           *to = route->copy > 0 ? &route->ways[route->copy - 1] : NULL;
    size_t drop = head_of(from), head = to ? head_of(to) : 0, n;
    struct run copy = {0};
    for (size_t at = 0; at < r->bytes; at += n) {
        n = r->bytes - at < r->segment ? r->bytes - at : r->segment;
        const uint8_t *datagram = p + at + drop;
        size_t len = n - drop;
        if (!to) {
            c->c.io->slow_sealed(c->c.arg, route_ref(r->route), route->copy_slow, datagram, len);
            continue;
        }
        if (len > to->mtu || head + len > CORE_RUN_BYTES)
            continue;
        if (copy.count > 0 && !run_takes(&copy, r->route, route->copy - 1, head + len)) {
            c->c.io->send(c->c.arg, to->socket, &to->addr, c->copy, copy.bytes, copy.segment);
            copy = (struct run){0};
        }
        uint8_t *out = c->copy + copy.bytes;
        if (head > 0)
            udp_relay_header(out, to->relay_index, to->relay_token);
        memcpy(out + head, datagram, len);
        run_add(&copy, r->route, route->copy - 1, head + len, len);
    }
    if (copy.count > 0)
        c->c.io->send(c->c.arg, to->socket, &to->addr, c->copy, copy.bytes, copy.segment);
    if (to)
        route_sent(c->c.plane, r->route, route->copy - 1, c->now);
    c->counts[PLANE_OUT_COPIES] += r->count;
}

static void run_send(struct core *c, const struct run *r, const uint8_t *p)
{
    const struct plane_route *route = route_of(r->route);
    const struct plane_way *w = &route->ways[r->way];
    c->c.io->send(c->c.arg, w->socket, &w->addr, p, r->bytes, r->segment);
    if (route->copy > 0 || route->copy_slow != 0)
        run_copy(c, r, p);
    lane_sealed(route->tx, r->count, r->payload, true);
    route_sent(c->c.plane, r->route, r->way, c->now);
    c->counts[PLANE_OUT_PACKETS] += r->count;
    c->counts[PLANE_OUT_SENDS]++;
}

/* Sent close upon each other, as with what is written to devices: see writes_flush. */
static void runs_flush(struct core *c)
{
    for (size_t i = 0; i < c->run_count; i++)
        run_send(c, &c->runs[i], c->cut + i * CORE_RUN_BYTES);
    c->run_count = 0;
}

static void run_flush(struct core *c)
{
    runs_flush(c);
    if (c->run.route)
        run_send(c, &c->run, c->out);
    c->run = (struct run){0};
}

/* The frame of n bytes, with room for an inner header before it, to a datagram at out, the relay's header
 * first where the way has one. */
static int seal_one(struct core *c, const struct plane_route *r, const struct plane_way *w, uint64_t counter,
                    const struct inner_header *inner, uint8_t *frame, size_t n, uint8_t *out)
{
    if (w->relay) {
        udp_relay_header(out, w->relay_index, w->relay_token);
        out += UDP_RELAY_HEADER_LEN;
    }
    return lane_seal_to(r->tx, c->c.user, counter, inner, frame, n, out);
}

static struct inner_header inner_of(const struct plane_net *net, bool partial)
{
    return (struct inner_header){.kind = net->tap ? INNER_FRAME : INNER_PACKET,
                                 .flags = partial ? INNER_PARTIAL : 0,
                                 .party = net->tag};
}

static void out_plain(struct core *c, const struct route *route, const struct inner_header *inner,
                      uint8_t *frame, size_t n)
{
    const struct plane_route *r = route_of(route);
    size_t way = (size_t)r->out, head = head_of(&r->ways[way]), size = head + n + DATA_OVERHEAD;
    uint64_t counter;
    if (!run_takes(&c->run, route, way, size))
        run_flush(c);
    c->head = head;
    /* It was read behind the run as that was, with the room that the last one needed: mostly that is its
     * place. */
    uint8_t *p = c->out + c->run.bytes;
    if (p + head + DATA_HEADROOM != frame)
        memmove(p + head + DATA_HEADROOM, frame, n);
    if (lane_take(r->tx, 1, r->most, &counter) < 0 ||
        seal_one(c, r, &r->ways[way], counter, inner, p + head + DATA_HEADROOM, n, p) < 0) {
        c->counts[PLANE_SEAL_FAILED]++;
        return;
    }
    run_add(&c->run, route, way, size, n);
}

static struct run *run_next(struct core *c)
{
    if (c->run_count == CORE_RUNS)
        runs_flush(c);
    struct run *run = &c->runs[c->run_count++];
    *run = (struct run){0};
    return run;
}

static uint8_t *run_end(struct core *c, const struct run *run)
{
    return c->cut + (size_t)(run - c->runs) * CORE_RUN_BYTES + run->bytes;
}

/* Segments that belong to one super-frame: cut, sealed and sent, by the run. */
static void out_cut(struct core *c, const struct route *route, const struct inner_header *inner,
                    struct segments *s, uint8_t *frame, size_t count)
{
    const struct plane_route *r = route_of(route);
    size_t way = (size_t)r->out, head = head_of(&r->ways[way]), n;
    uint8_t *segment;
    uint64_t counter;
    /* In order with what was read before. */
    if (c->run.route)
        run_flush(c);
    if (lane_take(r->tx, count, r->most, &counter) < 0) {
        c->counts[PLANE_SEAL_FAILED] += count;
        return;
    }
    struct run *run = run_next(c);
    while ((segment = segments_next_here(s, frame, &n))) {
        size_t size = head + n + DATA_OVERHEAD;
        if (run->count > 0 && !run_takes(run, route, way, size))
            run = run_next(c);
        if (seal_one(c, r, &r->ways[way], counter++, inner, segment, n, run_end(c, run)) < 0) {
            c->counts[PLANE_SEAL_FAILED]++;
            break;
        }
        run_add(run, route, way, size, n);
    }
    if (run->count == 0)
        c->run_count--;
}

/* Plain frames with whole checksums, as the engine takes them. */
static void out_slow(struct core *c, uint32_t party_ref, bool tap, const struct vnet_hdr *h, uint8_t *frame,
                     size_t n)
{
    struct segments s;
    size_t segment, count, k;
    run_flush(c);
    c->counts[PLANE_SLOW_FRAMES]++;
    c->slowed = true;
    if (h->gso == OFFLOAD_NONE) {
        if (!h->partial || checksum_complete(frame, n, tap) == 0)
            c->c.io->slow_frame(c->c.arg, party_ref, frame, n);
        else
            c->counts[PLANE_BAD_FRAME]++;
        return;
    }
    if (segments_begin(&s, h, frame, n, tap, &segment, &count) < 0 || segment > CORE_RUN_BYTES) {
        c->counts[PLANE_BAD_FRAME]++;
        return;
    }
    while ((k = segments_next(&s, c->cut, true)) > 0)
        c->c.io->slow_frame(c->c.arg, party_ref, c->cut, k);
}

static const struct route *out_route(struct core *c, const uint8_t *frame, const struct inner_frame *f)
{
    const struct route *route = net_out(c->snapshot, c->net, frame, f);
    const struct plane_route *r = route ? route_of(route) : NULL;
    return r && r->tx && r->out >= 0 ? route : NULL;
}

/* Whether packets of that size fit the device's network and the way. */
static bool out_fits(const struct core *c, const struct route *route, const struct inner_frame *f, size_t n)
{
    const struct plane_route *r = route_of(route);
    const struct plane_way *w = &r->ways[r->out];
    return n - f->ip <= net_of(c->net)->mtu && n + DATA_OVERHEAD <= w->mtu &&
           head_of(w) + n + DATA_OVERHEAD <= CORE_RUN_BYTES;
}

/* A checksum that the device left to us and that no hint would describe to the peer (of a tunnel's inner
 * packet, behind extension headers) is made whole at once, as skb_checksum_help of Linux makes it. */
static void sum_settle(const struct vnet_hdr *h, uint8_t *frame, size_t n)
{
    uint16_t sum = (uint16_t)~sum_fold(checksum_add(0, frame + h->csum_start, n - h->csum_start));
    sum_put(frame + h->csum_start + h->csum_offset, sum == 0 ? 0xffff : sum);
}

static bool sum_is_foreign(const struct vnet_hdr *h, const struct inner_frame *f, size_t n)
{
    if (h->gso != OFFLOAD_NONE || !h->partial || (size_t)h->csum_start + h->csum_offset + 2 > n)
        return false;
    return !f || !has_upper(f) || h->csum_start != f->upper || h->csum_offset != upper_sum_at(f);
}

bool core_wants_pause(struct core *c)
{
    bool pause = c->pause;
    c->pause = false;
    return pause;
}

uint8_t *core_room(struct core *c)
{
    return c->out + c->run.bytes + c->head + DATA_HEADROOM;
}

void core_frame(struct core *c, uint32_t party_ref, bool tap, const struct vnet_hdr *h, size_t n)
{
    uint8_t *frame = core_room(c);
    struct inner_frame f;
    struct segments s;
    size_t segment, count;
    c->counts[PLANE_OUT_FRAMES]++;
    if (!c->net || net_of(c->net)->party_ref != party_ref)
        c->net = snapshot_net(c->snapshot, party_ref);
    const struct route *route = NULL;
    bool simple = inner_frame_read(&f, frame, n, tap, h->gso != OFFLOAD_NONE) == 0;
    struct vnet_hdr settled = {0};
    if (sum_is_foreign(h, simple ? &f : NULL, n)) {
        sum_settle(h, frame, n);
        h = &settled;
    }
    if (simple && f.n == n && c->net && net_of(c->net)->tap == tap)
        route = out_route(c, frame, &f);
    if (route && c->slowed && (c->slowed = c->c.io->slow_waits && c->c.io->slow_waits(c->c.arg))) {
        c->pause = true;
        route = NULL;
    }
    const struct inner_header inner =
        c->net ? inner_of(net_of(c->net), h->partial) : (struct inner_header){0};
    if (route && h->gso == OFFLOAD_NONE && out_fits(c, route, &f, n))
        out_plain(c, route, &inner, frame, n);
    else if (route && h->gso != OFFLOAD_NONE && segments_begin(&s, h, frame, n, tap, &segment, &count) == 0 &&
             out_fits(c, route, &f, segment))
        out_cut(c, route, &inner, &s, frame, count);
    else
        out_slow(c, party_ref, tap, h, frame, n);
}

/* ---- In. */

/* The reader behind the device is woken by the first write, on another core mostly, which costs more than the
 * write: so they follow close upon each other, and it finds them all. */
static void writes_flush(struct core *c)
{
    for (size_t i = 0; i < c->write_count; i++) {
        const struct write *w = &c->writes[i];
        c->c.io->device(c->c.arg, w->party_ref, &w->h, w->pieces, w->count, w->bytes);
    }
    c->counts[PLANE_IN_WRITES] += c->write_count;
    c->write_count = c->piece_count = 0;
}

static void coalesced(void *arg, const struct vnet_hdr *h, const struct iovec *pieces, size_t count,
                      size_t bytes)
{
    struct core *c = arg;
    if (c->write_count == CORE_WRITES || c->piece_count + count > CORE_PIECES)
        writes_flush(c);
    struct iovec *mine = c->pieces + c->piece_count;
    memcpy(mine, pieces, count * sizeof *pieces);
    c->piece_count += count;
    c->writes[c->write_count++] = (struct write){net_of(c->to)->party_ref, *h, mine, count, bytes};
}

static const struct coalesce_ops coalesce_ops = {coalesced};

static void coalesced_end(struct core *c)
{
    if (c->to)
        coalesce_flush(&c->coalesce);
    c->to = NULL;
}

static void device_flush(struct core *c)
{
    coalesced_end(c);
    writes_flush(c);
}

static void device_of(struct core *c, const struct net_view *v)
{
    if (c->to == v)
        return;
    coalesced_end(c);
    c->to = v;
    coalesce_init(&c->coalesce, net_of(v)->tap, c->c.tso, c->c.uso, &coalesce_ops, c);
}

static void lane_let_go(struct core *c)
{
    if (!c->locked)
        return;
    lane_unlock(c->locked);
    lane_opened(c->locked, c->opened, c->opened_bytes, true);
    c->locked = NULL;
    c->opened = c->opened_bytes = 0;
}

static void lane_grasp(struct core *c, struct lane *l)
{
    if (c->locked == l)
        return;
    lane_let_go(c);
    lane_lock(l);
    c->locked = l;
}

/* The number of the peer's way that a datagram comes over, or -1. */
static int way_of(const struct route *route, uint32_t socket, const struct net_addr *from, bool relay,
                  uint32_t index)
{
    const struct plane_route *r = route_of(route);
    for (size_t i = 0; i < r->way_count; i++) {
        const struct plane_way *w = &r->ways[i];
        if (w->relay == relay && (!relay || w->relay_index == index) && w->socket == socket &&
            net_addr_equal(&w->addr, from))
            return (int)i;
    }
    return -1;
}

static bool opened_well(struct core *c, enum lane_verdict v)
{
    switch (v) {
    case LANE_OPEN:
        return true;
    case LANE_SEEN:
        c->counts[PLANE_REPLAYED]++;
        return false;
    case LANE_OLD:
        c->counts[PLANE_TOO_OLD]++;
        return false;
    default:
        c->counts[PLANE_BAD_TAG]++;
        return false;
    }
}

/* Where a packet with so many bytes of text is opened to. */
static uint8_t *in_room(struct core *c, size_t text)
{
    size_t headers = 0, before = 0;
    uint8_t *end = c->to ? coalesce_end(&c->coalesce, &headers, &before) : NULL;
    uint8_t *p = landing_place(&c->landing, text, end, INNER_HEADER_LEN + headers, before);
    if (p)
        return p;
    device_flush(c);
    landing_clear(&c->landing);
    return landing_place(&c->landing, text, NULL, 0, 0);
}

/* A frame that continues the last one, of the same peer and flow: so whether it is plain, and the peer's own,
 * has been asked and answered for that. */
static bool in_extends(struct core *c, const struct route *route, const struct net_view *v, uint8_t *p,
                       size_t n, const struct inner_frame *f, bool partial)
{
    if (!landing_covers(&c->landing) || c->to != v || c->lander != route ||
        !coalesce_extend(&c->coalesce, p, n, f, partial))
        return false;
    c->counts[PLANE_IN_PACKETS]++;
    landing_keep(&c->landing);
    return true;
}

/* A frame for that net's device. */
static void in_device(struct core *c, const struct route *route, const struct net_view *v, uint8_t *p,
                      size_t n, const struct inner_frame *f, bool partial)
{
    struct landing *l = &c->landing;
    c->counts[PLANE_IN_PACKETS]++;
    device_of(c, v);
    landing_keep(l);
    c->lander = route;
    l->lead = INNER_HEADER_LEN + f->headers;
    coalesce_push(&c->coalesce, p, n, f, partial);
}

/* A frame of the peer: to the device, or to the switch. */
static void in_frame(struct core *c, const struct route *route, const struct inner_header *inner, uint8_t *p,
                     size_t n)
{
    const struct net_view *v =
        c->to && net_of(c->to)->tag == inner->party ? c->to : snapshot_tag(c->snapshot, inner->party);
    bool tap = inner->kind == INNER_FRAME, partial = inner->flags & INNER_PARTIAL;
    struct inner_frame f;
    /* Longer ones the switch refuses. */
    bool simple =
        v && n <= VNET_FRAME_MAX && net_of(v)->tap == tap && inner_frame_read(&f, p, n, tap, false) == 0;
    if (simple && in_extends(c, route, v, p, n, &f, partial))
        return;
    if (landing_covers(&c->landing))
        p = landing_move(&c->landing) + INNER_HEADER_LEN;
    if (simple && net_in(v, route_ref(route), p, &f)) {
        in_device(c, route, v, p, n, &f, partial);
        return;
    }
    if (partial && checksum_complete(p, n, tap) < 0) {
        c->counts[PLANE_BAD_INNER]++;
        return;
    }
    /* Nothing of this peer may be overtaken on its way to the device by what goes round by the engine, but
     * what came before goes first. */
    device_flush(c);
    c->counts[PLANE_SLOW_OPENED]++;
    c->c.io->slow_opened(c->c.arg, route_ref(route), inner->party, inner->kind, p, n);
}

/* Whose datagram it is, and where from. False: it is the engine's. */
static bool in_session(struct core *c, bool relay, uint32_t index, const uint8_t *p, size_t n)
{
    struct before *b = &c->before;
    if (b->known && b->relay == relay && b->index == index &&
        data_header_next(&b->h, b->head, bytes_of(p, n)))
        return true;
    b->known = false;
    if (p[0] != WIRE_DATA || data_header_read(&b->h, bytes_of(p, n)) < 0 || b->h.own)
        return false;
    b->route = snapshot_session(c->snapshot, b->h.receiver, b->h.epoch, &b->lane);
    int way = b->route ? way_of(b->route, b->socket, &b->from, relay, index) : -1;
    if (way < 0)
        return false;
    memcpy(b->head, p, sizeof b->head);
    b->known = true;
    b->relay = relay;
    b->index = index;
    b->way = (size_t)way;
    return true;
}

/* The text that was opened. */
static void in_text(struct core *c, uint8_t *p, size_t n)
{
    const struct before *b = &c->before;
    struct inner_header inner;
    if (inner_header_read(&inner, bytes_of(p, n)) < 0 || !inner_is_payload(inner.kind)) {
        c->counts[PLANE_BAD_INNER]++;
        landing_drop(&c->landing);
        return;
    }
    lane_mark(b->lane, b->h.counter);
    c->opened++;
    c->opened_bytes += n - INNER_HEADER_LEN;
    if (c->from != b->route)
        route_heard(c->c.plane, b->route, b->way, c->now);
    c->from = b->route;
    in_frame(c, b->route, &inner, p + INNER_HEADER_LEN, n - INNER_HEADER_LEN);
}

/* True: done with it, for good or bad. False: it is the engine's. */
static bool in_datagram(struct core *c, const uint8_t *p, size_t n)
{
    struct udp_relay m = {0};
    bool relay = n > UDP_RELAY_HEADER_LEN && p[0] == WIRE_UDP_RELAY;
    if (relay) {
        if (udp_relay_read(&m, bytes_of(p, n)) < 0 || m.kind != UDP_RELAY_DATA)
            return false;
        p += UDP_RELAY_HEADER_LEN;
        n -= UDP_RELAY_HEADER_LEN;
    }
    if (!in_session(c, relay, m.index, p, n))
        return false;
    const struct before *b = &c->before;
    lane_grasp(c, b->lane);
    size_t text = n - DATA_HEADER_LEN - DATA_TAG_LEN;
    uint8_t *opened = in_room(c, text);
    if (opened_well(c, lane_open_to(b->lane, c->c.user, &b->h, p, n, opened)))
        in_text(c, opened, text);
    else
        landing_drop(&c->landing);
    return true;
}

static void before_from(struct before *b, uint32_t socket, const struct net_addr *from)
{
    b->known = b->known && b->socket == socket && net_addr_equal(&b->from, from);
    b->socket = socket;
    b->from = *from;
}

void core_datagrams(struct core *c, uint32_t socket, const struct net_addr *from, const uint8_t *p, size_t n,
                    size_t segment)
{
    if (segment == 0 || segment > n)
        segment = n;
    c->from = NULL; /* each run tells once that it was heard */
    before_from(&c->before, socket, from);
    for (size_t at = 0; at < n; at += segment) {
        size_t len = n - at < segment ? n - at : segment;
        c->counts[PLANE_IN_DATAGRAMS]++;
        if (in_datagram(c, p + at, len))
            continue;
        lane_let_go(c);
        device_flush(c);
        c->counts[PLANE_SLOW_DATAGRAMS]++;
        c->c.io->slow_datagram(c->c.arg, socket, from, p + at, len);
    }
    lane_let_go(c);
}

/* ---- Both. */

void core_end(struct core *c)
{
    run_flush(c);
    device_flush(c);
    landing_clear(&c->landing);
    plane_unpin(c->c.plane, c->c.user);
    c->snapshot = NULL;
    for (int i = 0; i < PLANE_COUNTS; i++)
        if (c->counts[i] > 0) {
            plane_count(c->c.plane, c->c.user, (enum plane_count)i, c->counts[i]);
            c->counts[i] = 0;
        }
}
