#include "sim/node_pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pump/core.h"
#include "sim/node_host.h"
#include "wire/udp_relay.h"

#define BATCH_FRAMES 64 /* as the daemon's workers take from one device in a turn */
#define BATCH_RUNS   4  /* received before what waits for company is let go */
#define RUN_BYTES    65535
#define RUN_COUNT    64

enum slow_kind { SLOW_FRAME, SLOW_DATAGRAM, SLOW_OPENED, SLOW_SEALED, SLOW_TOO_BIG };
struct slow_item {
    struct slow_item *next;
    enum slow_kind kind;
    uint8_t inner_kind;
    uint32_t a, b; /* party, socket or peer; tag or size */
    struct net_addr addr;
    size_t n;
    uint8_t p[]; /* DATA_HEADROOM, n bytes, DATA_TAILROOM */
};

struct arrived {
    struct arrived *next;
    uint32_t socket;
    struct net_addr from;
    size_t n;
    uint8_t p[];
};

struct node_pump {
    struct node_host *h;
    struct plane *plane;
    struct core *core;
    bool in_batch, active;
    struct slow_item *slow, **slow_tail;
    struct arrived *in, **in_tail;
    struct sim_timer timer; /* for what arrived */
    uint8_t *runs[BATCH_RUNS];
    size_t run_count;
};

/* ---- What the core leaves to the engine. */

static void slow(struct node_pump *p, const struct slow_item *what, const uint8_t *bytes)
{
    struct slow_item *i = sim_alloc(sizeof *i + DATA_HEADROOM + what->n + DATA_TAILROOM);
    *i = *what;
    i->next = NULL;
    if (bytes)
        memcpy(i->p + DATA_HEADROOM, bytes, what->n);
    *p->slow_tail = i;
    p->slow_tail = &i->next;
}

static void slow_frame(void *arg, uint32_t party_ref, const uint8_t *b, size_t n)
{
    slow(arg, &(struct slow_item){.kind = SLOW_FRAME, .a = party_ref, .n = n}, b);
}

static void slow_datagram(void *arg, uint32_t socket, const struct net_addr *from, const uint8_t *b, size_t n)
{
    slow(arg, &(struct slow_item){.kind = SLOW_DATAGRAM, .a = socket, .addr = *from, .n = n}, b);
}

static void slow_opened(void *arg, uint32_t peer_ref, uint32_t tag, uint8_t kind, const uint8_t *b, size_t n)
{
    slow(arg, &(struct slow_item){.kind = SLOW_OPENED, .inner_kind = kind, .a = peer_ref, .b = tag, .n = n},
         b);
}

static void slow_sealed(void *arg, uint32_t peer_ref, uint32_t way, const uint8_t *b, size_t n)
{
    slow(arg, &(struct slow_item){.kind = SLOW_SEALED, .a = peer_ref, .b = way, .n = n}, b);
}

static bool slow_waits(void *arg)
{
    const struct node_pump *p = arg;
    return p->slow != NULL;
}

static void slow_do(struct node_pump *p, struct slow_item *i)
{
    struct node *n = p->h->node;
    uint8_t *b = i->p + DATA_HEADROOM;
    usec_t now = p->h->sim->now;
    switch (i->kind) {
    case SLOW_FRAME:
        node_device_frame(n, i->a, b, i->n, now);
        break;
    case SLOW_DATAGRAM:
        node_udp(n, i->a, &i->addr, b, i->n, now);
        break;
    case SLOW_SEALED:
        node_peer_sealed(n, i->a, i->b, b, i->n, now);
        break;
    case SLOW_OPENED:
        node_peer_frame(n, i->a, i->b, i->inner_kind, b, i->n, now);
        break;
    case SLOW_TOO_BIG:
        node_udp_too_big(n, i->a, &i->addr, i->b, now);
        break;
    }
}

static struct slow_item *slow_take(struct node_pump *p)
{
    struct slow_item *i = p->slow;
    if (!i)
        return NULL;
    p->slow = i->next;
    if (!p->slow)
        p->slow_tail = &p->slow;
    return i;
}

/* ---- Its world. */

static void send_run(void *arg, uint32_t socket, const struct net_addr *to, const uint8_t *b, size_t n,
                     size_t segment)
{
    struct node_pump *p = arg;
    int rc = node_net_send(p->h->net, socket, to, bytes_of(b, n), segment);
    if (rc < 0)
        plane_count(p->plane, 1, PLANE_SEND_REFUSED, (n + segment - 1) / segment);
    if (rc == -EMSGSIZE)
        slow(p, &(struct slow_item){.kind = SLOW_TOO_BIG, .a = socket, .b = (uint32_t)segment, .addr = *to},
             NULL);
}

/* The device takes super-frames, and its host sees the packets that they stand for. */
static void device_write(void *arg, uint32_t party_ref, const struct vnet_hdr *h, const struct iovec *pieces,
                         size_t count, size_t bytes)
{
    struct node_pump *p = arg;
    struct device *d = node_host_device_of(p->h, party_ref);
    struct segments s;
    size_t segment, segments, n = 0;
    if (!d || bytes > OFFLOAD_FRAME_MAX)
        return;
    uint8_t *frame = sim_alloc(bytes);
    for (size_t i = 0; i < count; i++) {
        memcpy(frame + n, pieces[i].iov_base, pieces[i].iov_len);
        n += pieces[i].iov_len;
    }
    d->supers_in += h->gso != OFFLOAD_NONE;
    if (n == bytes && segments_begin(&s, h, frame, n, d->tap, &segment, &segments) == 0) {
        uint8_t *out = sim_alloc(segment);
        while ((n = segments_next(&s, out, true)) > 0)
            device_input(d, bytes_of(out, n));
        free(out);
    } else {
        d->refused_in++;
    }
    free(frame);
}

static const struct core_io io = {send_run,    device_write, slow_frame, slow_datagram,
                                  slow_opened, slow_sealed,  slow_waits};

/* ---- Batches. */

static void batch_begin(struct node_pump *p)
{
    p->in_batch = true;
    core_begin(p->core, p->h->sim->now);
}

static void batch_end(struct node_pump *p)
{
    core_end(p->core);
    p->in_batch = false;
    p->active = plane_stirred(p->plane) || p->active;
    while (p->run_count > 0)
        free(p->runs[--p->run_count]);
}

/* The header is read from the device's bytes, as the worker does. */
static void frame_out(struct node_pump *p, size_t device, const struct device_frame *f)
{
    uint8_t head[VNET_HDR_LEN];
    struct vnet_hdr h;
    vnet_hdr_write(&f->h, head);
    if (vnet_hdr_read(&h, bytes_of(head, sizeof head), f->n) < 0)
        return;
    memcpy(core_room(p->core), f->data, f->n);
    core_frame(p->core, p->h->device_refs[device], p->h->devices[device].tap, &h, f->n);
}

static bool batch_out(struct node_pump *p)
{
    size_t frames = 0;
    struct device_frame *f;
    batch_begin(p);
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++) {
        struct device *d = &p->h->devices[i];
        for (size_t k = 0; k < BATCH_FRAMES && (f = device_output(d)); k++) {
            frame_out(p, i, f);
            free(f);
            frames++;
        }
    }
    batch_end(p);
    return frames > 0;
}

static bool waits(const struct node_pump *p)
{
    bool any = false;
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++)
        any = any || (p->h->devices[i].open && p->h->devices[i].out_count > 0);
    return any;
}

bool node_pump_step(struct node_pump *p)
{
    struct slow_item *i;
    if (p->in_batch)
        return false;
    if (p->active) {
        p->active = false;
        node_plane_active(p->h->node, p->h->sim->now);
        return true;
    }
    if ((i = slow_take(p))) {
        slow_do(p, i);
        free(i);
        return true;
    }
    return waits(p) && batch_out(p);
}

/* ---- Datagrams. */

/* Which of those that wait, from the first on, are a run: from one address, of one size, the last may be
 * shorter. */
static size_t run_length(const struct arrived *first, size_t *bytes)
{
    size_t count = 1;
    *bytes = first->n;
    bool closed = first->n == 0;
    for (const struct arrived *a = first->next; a && !closed && count < RUN_COUNT; a = a->next) {
        if (a->n == 0 || a->n > first->n || a->socket != first->socket ||
            !net_addr_equal(&a->from, &first->from) || *bytes + a->n > RUN_BYTES)
            break;
        *bytes += a->n;
        closed = a->n < first->n;
        count++;
    }
    return count;
}

static void run_in(struct node_pump *p)
{
    struct arrived *first = p->in;
    size_t bytes, at = 0, segment = first->n, count = run_length(first, &bytes);
    uint32_t socket = first->socket;
    struct net_addr from = first->from;
    uint8_t *run = sim_alloc(bytes);
    p->runs[p->run_count++] = run;
    while (count-- > 0) {
        struct arrived *a = p->in;
        memcpy(run + at, a->p, a->n);
        at += a->n;
        p->in = a->next;
        free(a);
    }
    if (!p->in)
        p->in_tail = &p->in;
    core_datagrams(p->core, socket, &from, run, bytes, segment);
}

static void in_forget(struct node_pump *p)
{
    while (p->in) {
        struct arrived *a = p->in;
        p->in = a->next;
        free(a);
    }
    p->in_tail = &p->in;
}

static void on_arrived(void *arg)
{
    struct node_pump *p = arg;
    if (p->h->asleep)
        in_forget(p);
    while (p->in) {
        batch_begin(p);
        while (p->in && p->run_count < BATCH_RUNS)
            run_in(p);
        batch_end(p);
        node_host_pump(p->h);
    }
}

static bool is_payload(struct bytes datagram)
{
    struct udp_relay m;
    struct data_header h;
    if (udp_relay_read(&m, datagram) == 0 && m.kind == UDP_RELAY_DATA)
        datagram = m.datagram;
    return datagram.n > 0 && datagram.p[0] == WIRE_DATA && data_header_read(&h, datagram) == 0 && !h.own;
}

void node_pump_datagram(struct node_pump *p, uint32_t socket, const struct net_addr *from, const uint8_t *b,
                        size_t n)
{
    struct arrived *a = sim_alloc(sizeof *a + n);
    a->socket = socket;
    a->from = *from;
    a->n = n;
    if (n > 0)
        memcpy(a->p, b, n);
    *p->in_tail = a;
    p->in_tail = &a->next;
    /* What begins paths is not kept waiting for company, so that its place among this moment's other events
     * stays what it was. */
    if (!is_payload(bytes_of(b, n)) && p->in == a && !p->in_batch)
        on_arrived(p);
    else
        sim_arm(p->h->sim, &p->timer, p->h->sim->now);
}

/* ---- Life. */

struct node_pump *node_pump_new(struct node_host *h, uint64_t seed)
{
    struct node_pump *p = sim_alloc(sizeof *p);
    p->h = h;
    p->slow_tail = &p->slow;
    p->in_tail = &p->in;
    p->timer = (struct sim_timer){.fire = on_arrived, .arg = p};
    p->plane = plane_new(seed);
    if (!p->plane)
        abort();
    p->core = core_new(
        &(struct core_config){.plane = p->plane, .user = 1, .tso = true, .uso = true, .io = &io, .arg = p});
    if (!p->core)
        abort();
    return p;
}

void node_pump_free(struct node_pump *p)
{
    struct slow_item *i;
    if (!p)
        return;
    sim_disarm(p->h->sim, &p->timer);
    in_forget(p);
    while ((i = slow_take(p)))
        free(i);
    core_free(p->core);
    plane_free(p->plane);
    free(p);
}

struct plane *node_pump_plane(struct node_pump *p)
{
    return p->plane;
}
