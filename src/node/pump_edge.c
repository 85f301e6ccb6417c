#include "node/pump_edge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "crypto/rand.h"
#include "io/clock.h"

struct pump_edge {
    struct plane *plane;
    struct pump *pump;
    struct node *node;
    struct devices *devices;
    void (*after)(void *arg);
    void *arg;
    uv_loop_t *loop;
    uv_poll_t poll;
    bool polling, stopped;
};

/* ---- What workers leave to the engine. */

static void frame(void *arg, uint32_t party_ref, uint8_t *p, size_t n)
{
    struct pump_edge *e = arg;
    node_device_frame(e->node, party_ref, p, n, clock_now());
    e->after(e->arg);
}

static void datagram(void *arg, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t n)
{
    struct pump_edge *e = arg;
    node_udp(e->node, socket, from, p, n, clock_now());
    e->after(e->arg);
}

static void opened(void *arg, uint32_t peer_ref, uint32_t tag, uint8_t kind, uint8_t *p, size_t n)
{
    struct pump_edge *e = arg;
    node_peer_frame(e->node, peer_ref, tag, kind, p, n, clock_now());
    e->after(e->arg);
}

static void sealed(void *arg, uint32_t peer_ref, uint32_t way, const uint8_t *p, size_t n)
{
    struct pump_edge *e = arg;
    node_peer_sealed(e->node, peer_ref, way, p, n, clock_now());
    e->after(e->arg);
}

static void too_big(void *arg, uint32_t socket, const struct net_addr *to, size_t size)
{
    struct pump_edge *e = arg;
    node_udp_too_big(e->node, socket, to, size, clock_now());
    e->after(e->arg);
}

static void broken(void *arg, uint32_t party_ref, int error)
{
    struct pump_edge *e = arg;
    devices_broken(e->devices, party_ref, error);
}

static void gso_off(void *arg, uint32_t socket)
{
    (void)arg;
    log_event(LOG_INFO, "segmentation-refused", "socket=%u datagrams=\"one by one\"", socket);
}

static void active(void *arg)
{
    struct pump_edge *e = arg;
    node_plane_active(e->node, clock_now());
    e->after(e->arg);
}

static const struct pump_ops ops = {frame, datagram, opened, sealed, too_big, broken, gso_off, active};

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct pump_edge *e = poll->data;
    (void)events;
    if (status == 0 && !e->stopped)
        pump_drain(e->pump, &ops, e, PUMP_EDGE_ITEMS);
}

/* ---- Birth and death. */

static unsigned threads(const struct node_limits *limits)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (limits->pump_threads > 0)
        return limits->pump_threads;
    /* Two where there are two cores: one for each direction. */
    if (cores / 2 > PUMP_EDGE_THREADS_MAX)
        return PUMP_EDGE_THREADS_MAX;
    return cores > 3 ? (unsigned)cores / 2 : cores > 1 ? 2 : 1;
}

struct pump_edge *pump_edge_new(uv_loop_t *loop, const struct node_limits *limits)
{
    struct pump_edge *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->loop = loop;
    struct rng rng = rng_system();
    e->plane = plane_new(rng_u64(&rng));
    e->pump = e->plane ? pump_new(e->plane, threads(limits)) : NULL;
    if (e->pump)
        return e;
    plane_free(e->plane);
    free(e);
    return NULL;
}

struct plane *pump_edge_plane(const struct pump_edge *e)
{
    return e->plane;
}

struct pump *pump_edge_pump(const struct pump_edge *e)
{
    return e->pump;
}

int pump_edge_start(struct pump_edge *e, struct node *node, struct devices *devices, void (*after)(void *arg),
                    void *arg)
{
    e->node = node;
    e->devices = devices;
    e->after = after;
    e->arg = arg;
    int rc = uv_poll_init(e->loop, &e->poll, pump_wake_fd(e->pump));
    if (rc)
        return rc;
    e->polling = true;
    e->poll.data = e;
    uv_poll_start(&e->poll, UV_READABLE, on_wake);
    return pump_start(e->pump);
}

void pump_edge_stop(struct pump_edge *e)
{
    if (!e || e->stopped)
        return;
    e->stopped = true;
    pump_stop(e->pump);
    if (e->polling)
        uv_poll_stop(&e->poll);
}

static void closed(uv_handle_t *h)
{
    free(h->data);
}

void pump_edge_free(struct pump_edge *e)
{
    if (!e)
        return;
    pump_edge_stop(e);
    if (e->polling)
        uv_close((uv_handle_t *)&e->poll, closed);
    pump_free(e->pump);
    plane_free(e->plane);
    if (!e->polling)
        free(e);
}
