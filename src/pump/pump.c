#include "pump/pump.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "io/clock.h"
#include "pump/handoff.h"
#include "pump/runs.h"

#define STACK_BYTES (256u << 10)
#define EVENTS      16
#define SLOW_RESERVE                                                                                         \
    96 /* items of a super-frame that goes the slow way: room for them before a device is read */
#define SLOW_EACH 1700

/* What an epoll event says: where to look. */
enum source_kind { SOURCE_WAKE, SOURCE_DEVICE, SOURCE_SOCKET };

struct device {
    bool used;
    struct pump_device d;
};

struct socket {
    bool used;
    uint32_t number;
    struct run_socket s;
};

/* An item of the queue to the engine. Its bytes follow, with room before and behind them. */
enum item_kind {
    ITEM_FRAME,
    ITEM_DATAGRAM,
    ITEM_OPENED,
    ITEM_SEALED,
    ITEM_TOO_BIG,
    ITEM_BROKEN,
    ITEM_GSO_OFF
};
struct item {
    uint8_t kind, inner_kind;
    uint32_t a, b; /* party or socket or peer; tag, error or size */
    struct net_addr addr;
    uint32_t n;
};

struct worker {
    struct pump *pump;
    unsigned user;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* held for one batch, and by who changes descriptors, */
    pthread_mutex_t gate; /* who stands at this one for it: a busy worker would take the lock again and again
                             before anybody else wakes up */
    int all, sockets, wake; /* two epoll sets, one without the devices; an eventfd in both */
    struct core *core;
    struct handoff *slow;
    _Atomic bool behind;  /* and all of it has to be done first */
    _Atomic bool starved; /* the queue has no room for frames: devices wait */
    bool put;             /* something in this batch */
    size_t moved;         /* bytes in this batch, */
    usec_t now;           /* which began then */
    struct run_buffers *in;
};

struct pump {
    struct plane *plane;
    unsigned threads;
    struct worker w[PUMP_THREADS_MAX];
    struct device devices[PUMP_DEVICES_MAX];
    struct socket sockets[PUMP_SOCKETS_MAX];
    int wake;
    _Atomic usec_t bulk; /* when a batch last moved much */
    bool apart;          /* each device's queue has a reader of its own; all locks are held to change it */
    _Atomic bool stop, told, active;
};

/* ---- To the engine. */

static void tell(struct pump *p)
{
    const uint64_t one = 1;
    if (!atomic_exchange(&p->told, true))
        (void)!write(p->wake, &one, sizeof one);
}

static bool slow(struct worker *w, const struct item *what, const uint8_t *p)
{
    size_t n = sizeof *what + DATA_HEADROOM + what->n + DATA_TAILROOM;
    uint8_t *room = handoff_room(w->slow, n);
    if (!room) {
        plane_count(w->pump->plane, w->user, PLANE_SLOW_FULL, 1);
        return false;
    }
    memcpy(room, what, sizeof *what);
    if (p)
        memcpy(room + sizeof *what + DATA_HEADROOM, p, what->n);
    handoff_put(w->slow, n);
    w->put = true;
    return true;
}

static void slow_frame(void *arg, uint32_t party_ref, const uint8_t *p, size_t n)
{
    slow(arg, &(struct item){.kind = ITEM_FRAME, .a = party_ref, .n = (uint32_t)n}, p);
}

static void slow_datagram(void *arg, uint32_t socket, const struct net_addr *from, const uint8_t *p, size_t n)
{
    slow(arg, &(struct item){.kind = ITEM_DATAGRAM, .a = socket, .addr = *from, .n = (uint32_t)n}, p);
}

static void slow_sealed(void *arg, uint32_t peer_ref, uint32_t way, const uint8_t *p, size_t n)
{
    slow(arg, &(struct item){.kind = ITEM_SEALED, .a = peer_ref, .b = way, .n = (uint32_t)n}, p);
}

static void slow_opened(void *arg, uint32_t peer_ref, uint32_t tag, uint8_t kind, const uint8_t *p, size_t n)
{
    slow(arg,
         &(struct item){.kind = ITEM_OPENED, .inner_kind = kind, .a = peer_ref, .b = tag, .n = (uint32_t)n},
         p);
}

/* ---- To the world. */

static struct socket *socket_of(struct pump *p, uint32_t number)
{
    for (size_t i = 0; i < PUMP_SOCKETS_MAX; i++)
        if (p->sockets[i].used && p->sockets[i].number == number)
            return &p->sockets[i];
    return NULL;
}

static struct device *device_of(struct pump *p, uint32_t party_ref)
{
    for (size_t i = 0; i < PUMP_DEVICES_MAX; i++)
        if (p->devices[i].used && p->devices[i].d.party_ref == party_ref)
            return &p->devices[i];
    return NULL;
}

static void send_refused(struct worker *w, uint32_t socket, const struct net_addr *to, size_t n,
                         size_t segment, int rc)
{
    plane_count(w->pump->plane, w->user, PLANE_SEND_REFUSED, (n + segment - 1) / segment);
    if (rc == -EMSGSIZE)
        slow(w, &(struct item){.kind = ITEM_TOO_BIG, .a = socket, .b = (uint32_t)segment, .addr = *to}, NULL);
}

static void send_run(void *arg, uint32_t socket, const struct net_addr *to, const uint8_t *p, size_t n,
                     size_t segment)
{
    struct worker *w = arg;
    struct socket *s = socket_of(w->pump, socket);
    bool was = s && run_socket_offloads(&s->s);
    int rc = s ? run_send(&s->s, to, p, n, segment, PUMP_SEND_WAIT_MS) : -ENOTCONN;
    if (rc < 0)
        send_refused(w, socket, to, n, segment, rc);
    if (was && !run_socket_offloads(&s->s)) {
        plane_count(w->pump->plane, w->user, PLANE_GSO_OFF, 1);
        slow(w, &(struct item){.kind = ITEM_GSO_OFF, .a = socket}, NULL);
    }
}

/* The kernel sends what answers a flow through the queue that the flow was written to: so flows are spread
 * here, by their ports. */
static unsigned queue_for(const struct device *d, const struct vnet_hdr *h, const struct iovec *first)
{
    const uint8_t *p = first->iov_base;
    size_t at = h->csum_start;
    if (d->d.count < 2 || !h->partial || at + 4 > first->iov_len)
        return 0;
    unsigned a = (unsigned)p[at] << 8 | p[at + 1], b = (unsigned)p[at + 2] << 8 | p[at + 3];
    return ((a ^ b) * 0x9e3779b1u >> 16) % d->d.count;
}

static bool write_all(int fd, const struct vnet_hdr *h, const struct iovec *pieces, size_t count,
                      size_t bytes)
{
    struct iovec out[COALESCE_SEGMENTS + 1];
    uint8_t head[VNET_HDR_LEN];
    vnet_hdr_write(h, head);
    out[0] = (struct iovec){head, sizeof head};
    memcpy(out + 1, pieces, count * sizeof *pieces);
    return writev(fd, out, (int)count + 1) == (ssize_t)(bytes + sizeof head);
}

/* Some kernels refuse super-frames that they say they take: then in segments, and from now on frame by frame.
 */
static void write_cut(struct worker *w, const struct device *d, int fd, const struct vnet_hdr *h,
                      const struct iovec *pieces, size_t count, size_t bytes)
{
    struct segments s;
    size_t segment, segments, n, at = 0;
    uint8_t *whole = malloc(2 * OFFLOAD_FRAME_MAX), *cut = whole ? whole + OFFLOAD_FRAME_MAX : NULL;
    for (size_t i = 0; whole && i < count && at + pieces[i].iov_len <= OFFLOAD_FRAME_MAX;
         at += pieces[i++].iov_len)
        memcpy(whole + at, pieces[i].iov_base, pieces[i].iov_len);
    bool good =
        whole && at == bytes && segments_begin(&s, h, whole, bytes, d->d.tap, &segment, &segments) == 0;
    const struct vnet_hdr plain = {0};
    while (good && (n = segments_next(&s, cut, true)) > 0)
        good = write_all(fd, &plain, &(struct iovec){cut, n}, 1, n);
    if (good)
        core_offloads(w->core, false, false);
    plane_count(w->pump->plane, w->user, good ? PLANE_GSO_OFF : PLANE_DEVICE_REFUSED, 1);
    free(whole);
}

/* With a device that knows no offloads, frames come one by one and plain. */
static void device_write(void *arg, uint32_t party_ref, const struct vnet_hdr *h, const struct iovec *pieces,
                         size_t count, size_t bytes)
{
    struct worker *w = arg;
    const struct device *d = device_of(w->pump, party_ref);
    if (!d || count == 0 || count > COALESCE_SEGMENTS)
        return;
    int fd = d->d.fds[queue_for(d, h, pieces)];
    if (!d->d.vnet_hdr) {
        if (h->partial)
            checksum_complete(pieces[0].iov_base, pieces[0].iov_len, d->d.tap);
        if (writev(fd, pieces, (int)count) != (ssize_t)bytes)
            plane_count(w->pump->plane, w->user, PLANE_DEVICE_REFUSED, 1);
        return;
    }
    if (write_all(fd, h, pieces, count, bytes))
        return;
    if (errno == EINVAL && h->gso != OFFLOAD_NONE)
        write_cut(w, d, fd, h, pieces, count, bytes);
    else
        plane_count(w->pump->plane, w->user, PLANE_DEVICE_REFUSED, 1);
}

static bool slow_waits(void *arg)
{
    const struct worker *w = arg;
    return !handoff_empty(w->slow);
}

static const struct core_io io = {send_run,    device_write, slow_frame, slow_datagram,
                                  slow_opened, slow_sealed,  slow_waits};

/* ---- From the world. */

static void device_broken(struct worker *w, const struct device *d, int fd, int error)
{
    /* A device that is down is quiet until it is up again. */
    if (error != EIO)
        epoll_ctl(w->all, EPOLL_CTL_DEL, fd, NULL);
    slow(w, &(struct item){.kind = ITEM_BROKEN, .a = d->d.party_ref, .b = (uint32_t)error}, NULL);
}

/* One frame; 0: none is there. */
static ssize_t device_frame(struct worker *w, const struct device *d, int fd)
{
    uint8_t head[VNET_HDR_LEN];
    struct vnet_hdr h = {0};
    struct iovec in[2] = {{head, sizeof head}, {core_room(w->core), OFFLOAD_FRAME_MAX}};
    bool with = d->d.vnet_hdr;
    ssize_t n = readv(fd, with ? in : in + 1, with ? 2 : 1);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        device_broken(w, d, fd, errno);
    if (n <= (with ? VNET_HDR_LEN : 0))
        return 0;
    n -= with ? VNET_HDR_LEN : 0;
    if (!with || vnet_hdr_read(&h, bytes_of(head, sizeof head), (size_t)n) == 0)
        core_frame(w->core, d->d.party_ref, d->d.tap, &h, (size_t)n);
    else
        plane_count(w->pump->plane, w->user, PLANE_BAD_FRAME, 1);
    return n;
}

/* Whether the queue has room for whatever one frame may leave to the engine. */
static bool fed(struct worker *w)
{
    if (handoff_fits(w->slow, SLOW_EACH, SLOW_RESERVE))
        return true;
    atomic_store(&w->starved, true);
    /* It may have been emptied just before that could be seen. */
    if (!handoff_fits(w->slow, SLOW_EACH, SLOW_RESERVE))
        return false;
    atomic_store(&w->starved, false);
    return true;
}

/* False: the device waits until the engine has done all that was left to it, so that nothing is overtaken. */
static bool caught_up(struct worker *w)
{
    if (!core_wants_pause(w->core))
        return true;
    atomic_store(&w->behind, true);
    atomic_store(&w->starved, true);
    if (!handoff_empty(w->slow))
        return false;
    atomic_store(&w->starved, false);
    atomic_store(&w->behind, false);
    return true;
}

static void device_turn(struct worker *w, const struct device *d, int fd)
{
    size_t bytes = 0;
    for (int i = 0; i < PUMP_FRAMES && bytes < PUMP_BYTES; i++) {
        if (!fed(w))
            return;
        ssize_t n = device_frame(w, d, fd);
        if (n <= 0 || !caught_up(w))
            return;
        bytes += (size_t)n;
        w->moved += (size_t)n;
    }
}

static void socket_turn(struct worker *w, struct socket *s)
{
    for (int turn = 0; turn < PUMP_TURNS; turn++) {
        int n = run_receive(&s->s, w->in);
        for (int i = 0; i < n; i++) {
            struct received *r = run_received(w->in, i);
            core_datagrams(w->core, s->number, &r->from, r->p, r->n, r->segment);
            w->moved += r->n;
        }
        if (n == 0)
            return;
        /* More would come than there is room for (LANDING_BYTES), and it would wait for long. */
        core_end(w->core);
        core_begin(w->core, clock_now());
        if (n < PUMP_RUNS)
            return;
    }
}

/* ---- Who reads the devices: at rest the first worker, which has a peer's packet and this machine's answer
 * to it in hand without anybody being woken; while much moves, the others, each its queues. */

static struct worker *reader_of(struct pump *p, unsigned queue)
{
    return p->apart ? &p->w[1 + queue % (p->threads - 1)] : &p->w[0];
}

static int watch(int set, int fd, enum source_kind kind, size_t slot, unsigned queue)
{
    struct epoll_event e = {.events = EPOLLIN,
                            .data.u64 = (uint64_t)kind | slot << 8 | (uint64_t)queue << 16};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static void unwatch(struct pump *p, int fd)
{
    for (unsigned i = 0; i < p->threads; i++)
        epoll_ctl(p->w[i].all, EPOLL_CTL_DEL, fd, NULL);
}

/* All locks are held. */
static void devices_move(struct pump *p, bool apart)
{
    p->apart = apart;
    for (size_t i = 0; i < PUMP_DEVICES_MAX; i++) {
        const struct device *d = &p->devices[i];
        for (unsigned q = 0; d->used && q < d->d.count; q++) {
            unwatch(p, d->d.fds[q]);
            watch(reader_of(p, q)->all, d->d.fds[q], SOURCE_DEVICE, i, q);
        }
    }
}

/* No lock is waited for, for the others may wait for ours. */
static bool others_lock(struct worker *w)
{
    struct pump *p = w->pump;
    for (unsigned i = 0; i < p->threads; i++) {
        if (&p->w[i] == w || pthread_mutex_trylock(&p->w[i].lock) == 0)
            continue;
        while (i-- > 0)
            if (&p->w[i] != w)
                pthread_mutex_unlock(&p->w[i].lock);
        return false;
    }
    return true;
}

static void others_unlock(struct worker *w)
{
    for (unsigned i = 0; i < w->pump->threads; i++)
        if (&w->pump->w[i] != w)
            pthread_mutex_unlock(&w->pump->w[i].lock);
}

/* What a worker left to the engine must not be overtaken by what the next reader sends itself. */
static bool none_waits(const struct pump *p)
{
    for (unsigned i = 0; i < p->threads; i++)
        if (atomic_load(&p->w[i].starved) || !handoff_empty(p->w[i].slow))
            return false;
    return true;
}

/* At the end of a batch, when all that was read has left. */
static void devices_settle(struct worker *w)
{
    struct pump *p = w->pump;
    usec_t ago = usec_since(w->now, atomic_load_explicit(&p->bulk, memory_order_relaxed));
    bool apart = ago < (p->apart ? PUMP_APART_LASTS : PUMP_BULK_LASTS);
    if (p->threads == 1 || apart == p->apart || !others_lock(w))
        return;
    if (none_waits(p)) {
        devices_move(p, apart);
        plane_count(p->plane, w->user, PLANE_MOVES, 1);
    }
    others_unlock(w);
}

/* ---- The thread. */

static void source(struct worker *w, uint64_t which)
{
    struct pump *p = w->pump;
    unsigned slot = (unsigned)(which >> 8 & 0xff), queue = (unsigned)(which >> 16 & 0xff);
    uint64_t drop;
    switch ((enum source_kind)(which & 0xff)) {
    case SOURCE_WAKE:
        (void)!read(w->wake, &drop, sizeof drop);
        break;
    case SOURCE_DEVICE:
        /* What was there when epoll said so may have been replaced since. */
        if (p->devices[slot].used && queue < p->devices[slot].d.count && !atomic_load(&w->starved) &&
            reader_of(p, queue) == w)
            device_turn(w, &p->devices[slot], p->devices[slot].d.fds[queue]);
        break;
    case SOURCE_SOCKET:
        if (p->sockets[slot].used)
            socket_turn(w, &p->sockets[slot]);
        break;
    }
}

static void worker_lock(struct worker *w)
{
    pthread_mutex_lock(&w->gate);
    pthread_mutex_lock(&w->lock);
    pthread_mutex_unlock(&w->gate);
}

static void batch(struct worker *w, const struct epoll_event *events, int n)
{
    struct pump *p = w->pump;
    worker_lock(w);
    w->now = clock_now();
    core_begin(w->core, w->now);
    w->moved = 0;
    for (int i = 0; i < n; i++)
        source(w, events[i].data.u64);
    core_end(w->core);
    if (w->moved >= PUMP_BULK)
        atomic_store_explicit(&p->bulk, w->now, memory_order_relaxed);
    devices_settle(w);
    pthread_mutex_unlock(&w->lock);
    if (plane_stirred(p->plane)) {
        atomic_store(&p->active, true);
        w->put = true;
    }
    if (w->put)
        tell(p);
    w->put = false;
}

/* What comes next under load mostly comes at once: to look a few times, letting others run in between, is
 * cheaper than to sleep and be woken, for the sender too, who need not wake us. */
static int await(struct worker *w, struct epoll_event *events)
{
    int set = atomic_load(&w->starved) ? w->sockets : w->all, n = 0;
    bool bulk =
        usec_since(w->now, atomic_load_explicit(&w->pump->bulk, memory_order_relaxed)) < PUMP_BULK_LASTS;
    int looks = bulk ? PUMP_LOOKS_BULK : PUMP_LOOKS;
    for (int i = 0; i < looks && n == 0; i++) {
        n = epoll_wait(set, events, EVENTS, 0);
        if (n == 0)
            sched_yield();
    }
    return n != 0 ? n : epoll_wait(set, events, EVENTS, -1);
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[EVENTS];
    while (!atomic_load(&w->pump->stop)) {
        int n = await(w, events);
        if (n > 0)
            batch(w, events, n);
    }
    return NULL;
}

/* ---- Devices and sockets come and go. */

static void locks(struct pump *p, bool on)
{
    for (unsigned i = 0; i < p->threads; i++)
        if (on)
            worker_lock(&p->w[i]);
        else
            pthread_mutex_unlock(&p->w[i].lock);
}

/* Super-frames are made only where every device takes them: all are of one kernel. */
static void offloads(struct pump *p)
{
    bool tso = true, uso = true;
    for (size_t i = 0; i < PUMP_DEVICES_MAX; i++) {
        const struct pump_device *d = &p->devices[i].d;
        if (!p->devices[i].used)
            continue;
        tso = tso && d->vnet_hdr && d->tso;
        uso = uso && d->vnet_hdr && d->uso;
    }
    for (unsigned i = 0; i < p->threads; i++)
        core_offloads(p->w[i].core, tso, uso);
}

static void device_out(struct pump *p, struct device *d)
{
    for (unsigned q = 0; q < d->d.count; q++)
        unwatch(p, d->d.fds[q]);
    d->used = false;
}

int pump_device_add(struct pump *p, const struct pump_device *device)
{
    struct device *d = NULL;
    int rc = 0;
    pump_device_del(p, device->party_ref);
    for (size_t i = 0; i < PUMP_DEVICES_MAX && !d; i++)
        d = p->devices[i].used ? NULL : &p->devices[i];
    if (!d)
        return -ENOSPC;
    locks(p, true);
    *d = (struct device){true, *device};
    for (unsigned q = 0; q < device->count && rc == 0; q++)
        rc = watch(reader_of(p, q)->all, device->fds[q], SOURCE_DEVICE, (size_t)(d - p->devices), q);
    if (rc < 0)
        device_out(p, d);
    offloads(p);
    locks(p, false);
    return rc;
}

void pump_device_del(struct pump *p, uint32_t party_ref)
{
    struct device *d = device_of(p, party_ref);
    if (!d)
        return;
    locks(p, true);
    device_out(p, d);
    offloads(p);
    locks(p, false);
}

int pump_socket_add(struct pump *p, uint32_t number, uint8_t family, int fd)
{
    struct socket *s = NULL;
    pump_socket_del(p, number);
    for (size_t i = 0; i < PUMP_SOCKETS_MAX && !s; i++)
        s = p->sockets[i].used ? NULL : &p->sockets[i];
    if (!s)
        return -ENOSPC;
    locks(p, true);
    s->used = true;
    s->number = number;
    run_socket_init(&s->s, family, fd);
    struct worker *w = &p->w[0];
    int rc = watch(w->all, fd, SOURCE_SOCKET, (size_t)(s - p->sockets), 0);
    if (rc == 0)
        rc = watch(w->sockets, fd, SOURCE_SOCKET, (size_t)(s - p->sockets), 0);
    s->used = rc == 0;
    locks(p, false);
    return rc;
}

void pump_socket_del(struct pump *p, uint32_t number)
{
    struct socket *s = socket_of(p, number);
    if (!s)
        return;
    locks(p, true);
    epoll_ctl(p->w[0].all, EPOLL_CTL_DEL, s->s.fd, NULL);
    epoll_ctl(p->w[0].sockets, EPOLL_CTL_DEL, s->s.fd, NULL);
    s->used = false;
    locks(p, false);
}

/* ---- The engine's side. */

static void item_do(const struct pump_ops *ops, void *arg, const struct item *i, uint8_t *p)
{
    switch ((enum item_kind)i->kind) {
    case ITEM_FRAME:
        ops->frame(arg, i->a, p, i->n);
        break;
    case ITEM_DATAGRAM:
        ops->datagram(arg, i->a, &i->addr, p, i->n);
        break;
    case ITEM_OPENED:
        ops->opened(arg, i->a, i->b, i->inner_kind, p, i->n);
        break;
    case ITEM_SEALED:
        ops->sealed(arg, i->a, i->b, p, i->n);
        break;
    case ITEM_TOO_BIG:
        ops->too_big(arg, i->a, &i->addr, i->b);
        break;
    case ITEM_BROKEN:
        ops->broken(arg, i->a, (int)i->b);
        break;
    case ITEM_GSO_OFF:
        ops->gso_off(arg, i->a);
        break;
    }
}

/* Half of the queue is free again: the devices go on. */
static void feed(struct worker *w)
{
    const uint64_t one = 1;
    if (!atomic_load(&w->starved) || !handoff_fits(w->slow, SLOW_EACH, 2 * SLOW_RESERVE) ||
        (atomic_load(&w->behind) && !handoff_empty(w->slow)))
        return;
    atomic_store(&w->behind, false);
    atomic_store(&w->starved, false);
    (void)!write(w->wake, &one, sizeof one);
}

static size_t drain_one(struct worker *w, const struct pump_ops *ops, void *arg, size_t most)
{
    size_t done = 0, n;
    uint8_t *p;
    while (done < most && (p = handoff_first(w->slow, &n))) {
        struct item i;
        memcpy(&i, p, sizeof i);
        item_do(ops, arg, &i, p + sizeof i + DATA_HEADROOM);
        handoff_take(w->slow);
        feed(w);
        done++;
    }
    feed(w);
    return done;
}

bool pump_drain(struct pump *p, const struct pump_ops *ops, void *arg, size_t most)
{
    uint64_t drop;
    bool more = false;
    (void)!read(p->wake, &drop, sizeof drop);
    (void)atomic_exchange(&p->told,
                          false); /* reads what the workers wrote: what they put before that is seen below */
    if (atomic_exchange(&p->active, false))
        ops->active(arg);
    for (unsigned i = 0; i < p->threads; i++)
        more = drain_one(&p->w[i], ops, arg, most) == most || more;
    if (more)
        tell(p);
    return more;
}

int pump_wake_fd(const struct pump *p)
{
    return p->wake;
}

unsigned pump_queues(const struct pump *p)
{
    unsigned n = p->threads > 1 ? p->threads - 1 : 1;
    return n < PUMP_QUEUES_MAX ? n : PUMP_QUEUES_MAX;
}

/* ---- Birth and death. */

static bool worker_make(struct pump *p, unsigned i)
{
    struct worker *w = &p->w[i];
    w->pump = p;
    w->user = i + 1;
    bool receives = i == 0;
    w->core = core_new(&(struct core_config){
        .plane = p->plane, .user = w->user, .tso = true, .uso = true, .io = &io, .arg = w});
    w->slow = handoff_new(PUMP_QUEUE_BYTES);
    w->in = receives ? run_buffers_new(PUMP_RUNS) : NULL;
    w->all = epoll_create1(EPOLL_CLOEXEC);
    w->sockets = epoll_create1(EPOLL_CLOEXEC);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return pthread_mutex_init(&w->lock, NULL) == 0 && pthread_mutex_init(&w->gate, NULL) == 0 && w->core &&
           w->slow && (w->in || !receives) && w->all >= 0 && w->sockets >= 0 && w->wake >= 0 &&
           watch(w->all, w->wake, SOURCE_WAKE, 0, 0) == 0 &&
           watch(w->sockets, w->wake, SOURCE_WAKE, 0, 0) == 0;
}

struct pump *pump_new(struct plane *plane, unsigned threads)
{
    struct pump *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->plane = plane;
    p->threads = threads < 1 ? 1 : threads > PUMP_THREADS_MAX ? PUMP_THREADS_MAX : threads;
    for (unsigned i = 0; i < p->threads; i++)
        p->w[i].all = p->w[i].sockets = p->w[i].wake = -1;
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool good = p->wake >= 0;
    for (unsigned i = 0; i < p->threads; i++)
        good = worker_make(p, i) && good;
    if (good)
        return p;
    pump_free(p);
    return NULL;
}

static int worker_start(struct worker *w)
{
    pthread_attr_t attr;
    char name[16];
    int rc = pthread_attr_init(&attr);
    if (rc)
        return -rc;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    rc = pthread_create(&w->thread, &attr, run, w);
    pthread_attr_destroy(&attr);
    if (rc)
        return -rc;
    w->running = true;
    snprintf(name, sizeof name, "pump%u", w->user);
    pthread_setname_np(w->thread, name);
    return 0;
}

int pump_start(struct pump *p)
{
    sigset_t all, old;
    int rc = 0;
    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < p->threads && rc == 0; i++)
        if (!p->w[i].running)
            rc = worker_start(&p->w[i]);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

static void close_if(int fd)
{
    if (fd >= 0)
        close(fd);
}

void pump_stop(struct pump *p)
{
    const uint64_t one = 1;
    atomic_store(&p->stop, true);
    for (unsigned i = 0; i < p->threads; i++) {
        struct worker *w = &p->w[i];
        if (!w->running)
            continue;
        (void)!write(w->wake, &one, sizeof one);
        pthread_join(w->thread, NULL);
        w->running = false;
    }
}

void pump_free(struct pump *p)
{
    if (!p)
        return;
    pump_stop(p);
    for (unsigned i = 0; i < p->threads; i++) {
        struct worker *w = &p->w[i];
        core_free(w->core);
        handoff_free(w->slow);
        run_buffers_free(w->in);
        close_if(w->all);
        close_if(w->sockets);
        close_if(w->wake);
        pthread_mutex_destroy(&w->lock);
        pthread_mutex_destroy(&w->gate);
    }
    close_if(p->wake);
    free(p);
}
