#include "node/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "wire/data.h"
#include "wire/eth.h"
#include "wire/udp_relay.h"

#define QUEUE_LENGTH 1000 /* of the device: what a burst may bring while a worker is elsewhere */
#define TCP_HEADER   20
#define FRAME_MAX 65536 /* of the kernel; ours are not longer than the MTU and 18 bytes */

struct device {
    struct devices *all;
    uv_poll_t poll;
    struct netdev dev;
    uint32_t party_ref;
    bool tap;
};

struct devices {
    uv_loop_t *loop;
    devices_frame_cb *cb; /* NULL: closing */
    void *arg;
    char name[NETDEV_NAME_MAX + 1];
    struct device *list[DEVICES_MAX];
    size_t closing;
    uint64_t dropped;
    struct pump *pump; /* NULL: the loop reads */
    uint8_t frame[DATA_HEADROOM + FRAME_MAX + DATA_TAILROOM];
};

struct devices *devices_new(struct uv_loop_s *loop, const char *name, devices_frame_cb *cb, void *arg)
{
    struct devices *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->loop = loop;
    d->cb = cb;
    d->arg = arg;
    snprintf(d->name, sizeof d->name, "%s", name);
    return d;
}

static struct device **slot_of(struct devices *d, uint32_t party_ref)
{
    for (size_t i = 0; i < DEVICES_MAX; i++)
        if (d->list[i] && d->list[i]->party_ref == party_ref)
            return &d->list[i];
    return NULL;
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct device *v = poll->data;
    struct devices *d = v->all;
    uint32_t ref = v->party_ref;
    (void)events;
    for (int i = 0; status == 0 && i < DEVICES_BATCH; i++) {
        ssize_t n = read(v->dev.fd, d->frame + DATA_HEADROOM, FRAME_MAX);
        if (n <= 0) {
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                status = -errno;
            break;
        }
        d->cb(d->arg, ref, d->frame + DATA_HEADROOM, (size_t)n);
        struct device **slot = slot_of(d, ref); /* the callback may have closed it */
        if (!slot || *slot != v)
            return;
    }
    if (status) {
        /* Somebody took the device down or away; the descriptor stays quiet until it comes back. */
        devices_broken(d, ref, -status);
        if (status != -EIO)
            uv_poll_stop(poll);
    }
}

void devices_broken(struct devices *d, uint32_t party_ref, int error)
{
    struct device **slot = slot_of(d, party_ref);
    if (slot)
        log_event(LOG_WARN, "device-broken", "device=%s error=%s", (*slot)->dev.name, strerror(error));
}

bool devices_own(const struct devices *d, const char *name)
{
    for (size_t i = 0; i < DEVICES_MAX; i++)
        if (d->list[i] && !strcmp(d->list[i]->dev.name, name))
            return true;
    return false;
}

/* The user's name is for the first device; further ones get a number behind it. */
static void choose_name(const struct devices *d, char out[NETDEV_NAME_MAX + 1])
{
    if (d->name[0] && !devices_own(d, d->name))
        snprintf(out, NETDEV_NAME_MAX + 1, "%s", d->name);
    else
        snprintf(out, NETDEV_NAME_MAX + 1, "%.*s%%d", NETDEV_NAME_MAX - 4, d->name[0] ? d->name : "warren");
}

static int pool_is_free(const struct node_device *want, char why[DEVICES_WHY_CAP])
{
    struct netdev_route *routes = malloc(NETDEV_ROUTES_MAX * sizeof *routes);
    if (!routes)
        return -ENOMEM;
    int n = netdev_routes(routes, NETDEV_ROUTES_MAX), rc = 0;
    const struct netdev_route *r =
        n > 0 ? netdev_conflict4(routes, (size_t)n, want->net4, want->prefix4) : NULL;
    if (r) {
        uint32_t a = want->net4;
        snprintf(why, DEVICES_WHY_CAP,
                 "the party uses %u.%u.%u.%u/%u, which overlaps %u.%u.%u.%u/%u on %s; leave one of them, or "
                 "make the party with "
                 "another --net",
                 a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255, want->prefix4, r->net[0], r->net[1],
                 r->net[2], r->net[3], r->prefix, r->device);
        rc = -EADDRINUSE;
    }
    free(routes);
    return rc;
}

static struct device **free_slot(struct devices *d)
{
    for (size_t i = 0; i < DEVICES_MAX; i++)
        if (!d->list[i])
            return &d->list[i];
    return NULL;
}

void devices_use_pump(struct devices *d, struct pump *pump)
{
    d->pump = pump;
}

/* Super-frames no longer than what one run of sealed datagrams carries: then each leaves in one piece. */
static uint32_t gso_max_size(uint16_t mtu)
{
    unsigned around = ETH_HEADER_LEN + DATA_OVERHEAD + UDP_RELAY_HEADER_LEN, headers = IP6_HEADER_LEN + TCP_HEADER;
    return CORE_RUN_BYTES / (mtu + around) * (mtu - headers);
}

static void config_of(const struct devices *d, const struct node_device *want, struct netdev_config *c)
{
    *c = (struct netdev_config){.tap = want->tap,
                                .ip4 = want->ip4,
                                .prefix4 = want->prefix4,
                                .prefix6 = want->prefix6,
                                .mtu = want->mtu};
    if (d->pump) {
        c->offload = true;
        c->queues = pump_queues(d->pump);
        c->gso_max_size = gso_max_size(want->mtu);
        c->queue_length = QUEUE_LENGTH;
    }
    memcpy(c->mac, want->mac, sizeof c->mac);
    memcpy(c->ip6, want->ip6, sizeof c->ip6);
    choose_name(d, c->name);
}

static int to_pump(struct devices *d, const struct device *v)
{
    struct pump_device p = {.party_ref = v->party_ref,
                            .count = v->dev.queue_count < PUMP_QUEUES_MAX ? v->dev.queue_count : PUMP_QUEUES_MAX,
                            .tap = v->tap,
                            .vnet_hdr = v->dev.vnet_hdr,
                            .tso = v->dev.tso,
                            .uso = v->dev.uso};
    memcpy(p.fds, v->dev.queues, p.count * sizeof p.fds[0]);
    return pump_device_add(d->pump, &p);
}

static int start(struct devices *d, struct device *v, const struct node_device *want,
                 char why[DEVICES_WHY_CAP])
{
    struct netdev_config c;
    int os = 0;
    config_of(d, want, &c);
    enum netdev_error e = netdev_open(&v->dev, &c, &os);
    if (e != NETDEV_OK) {
        bool named = !strchr(c.name, '%');
        snprintf(why, DEVICES_WHY_CAP, "%s%s%s%s%s", named ? c.name : "", named ? ": " : "",
                 netdev_error_text(e), os ? ": " : "", os ? strerror(os) : "");
        return os ? -os : -EIO;
    }
    int rc = d->pump ? to_pump(d, v) : 0;
    if (rc) {
        netdev_close(&v->dev);
        snprintf(why, DEVICES_WHY_CAP, "cannot hand the network device to the workers: %s", strerror(-rc));
        return rc;
    }
    rc = uv_poll_init(d->loop, &v->poll, v->dev.fd);
    if (rc) {
        if (d->pump)
            pump_device_del(d->pump, v->party_ref);
        netdev_close(&v->dev);
        snprintf(why, DEVICES_WHY_CAP, "cannot watch the network device: %s", uv_strerror(rc));
        return rc;
    }
    v->poll.data = v;
    if (!d->pump)
        uv_poll_start(&v->poll, UV_READABLE, readable);
    return 0;
}

int devices_open(struct devices *d, uint32_t party_ref, const struct node_device *want,
                 char name[NETDEV_NAME_MAX + 1], char why[DEVICES_WHY_CAP])
{
    devices_close(d, party_ref);
    int rc = pool_is_free(want, why);
    struct device **slot = rc ? NULL : free_slot(d);
    struct device *v = slot ? calloc(1, sizeof *v) : NULL;
    if (!v) {
        if (rc != -EADDRINUSE)
            snprintf(why, DEVICES_WHY_CAP, "%s", slot || rc ? "out of memory" : "too many network devices");
        return rc ? rc : -ENOMEM;
    }
    v->all = d;
    v->party_ref = party_ref;
    v->tap = want->tap;
    rc = start(d, v, want, why);
    if (rc) {
        free(v);
        return rc;
    }
    *slot = v;
    snprintf(name, NETDEV_NAME_MAX + 1, "%s", v->dev.name);
    return 0;
}

static void maybe_free(struct devices *d)
{
    if (!d->cb && !d->closing)
        free(d);
}

static void closed(uv_handle_t *h)
{
    struct device *v = h->data;
    v->all->closing--;
    maybe_free(v->all);
    free(v);
}

static void close_slot(struct devices *d, struct device **slot)
{
    struct device *v = *slot;
    *slot = NULL;
    d->closing++;
    uv_poll_stop(&v->poll);
    if (d->pump)
        pump_device_del(d->pump, v->party_ref);
    netdev_close(&v->dev);
    uv_close((uv_handle_t *)&v->poll, closed);
}

void devices_close(struct devices *d, uint32_t party_ref)
{
    struct device **slot = slot_of(d, party_ref);
    if (slot)
        close_slot(d, slot);
}

void devices_free(struct devices *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < DEVICES_MAX; i++)
        if (d->list[i])
            close_slot(d, &d->list[i]);
    d->cb = NULL;
    maybe_free(d);
}

void devices_write(struct devices *d, uint32_t party_ref, struct bytes frame)
{
    struct device **slot = slot_of(d, party_ref);
    static const uint8_t plain[NETDEV_VNET_HEADER];
    struct iovec parts[2] = {{(void *)(uintptr_t)plain, sizeof plain}, {(void *)(uintptr_t)frame.p, frame.n}};
    bool with = slot && (*slot)->dev.vnet_hdr;
    size_t n = frame.n + (with ? sizeof plain : 0);
    if (!slot || writev((*slot)->dev.fd, with ? parts : parts + 1, with ? 2 : 1) != (ssize_t)n)
        d->dropped++;
}

uint64_t devices_dropped(const struct devices *d)
{
    return d->dropped;
}
