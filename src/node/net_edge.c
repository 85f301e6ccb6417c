#include "node/net_edge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "io/addresses.h"
#include "io/clock.h"
#include "io/mdns_socket.h"
#include "io/udp.h"

_Static_assert(ADDRESSES_MAX <= NODE_ADDRESSES_MAX, "the engine takes all of them");

/* One of the engine's numbers. */
struct net_socket {
    struct net_edge *edge;
    uint32_t number; /* 0: free */
    uint8_t family;
    bool pumped;     /* workers receive from it */
    struct udp *udp; /* one of the two */
    struct mdns_socket *mdns;
};

struct net_edge {
    struct net_edge_config c;
    struct net_streams *streams;
    struct net_socket sockets[NODE_SOCKETS_MAX]; /* the main ones are opened first, and so found first */
    size_t used;                                 /* of them, from the front */
    struct addresses addresses;
    struct net_edge_stats stats;
};

static struct net_socket *find(struct net_edge *e, uint32_t number)
{
    for (size_t i = 0; i < e->used; i++)
        if (e->sockets[i].number == number)
            return &e->sockets[i];
    return NULL;
}

static struct net_socket *reserve(struct net_edge *e, uint32_t number)
{
    size_t i = 0;
    while (i < e->used && e->sockets[i].number)
        i++;
    if (i == NODE_SOCKETS_MAX)
        return NULL;
    if (i == e->used)
        e->used++;
    e->sockets[i] = (struct net_socket){.edge = e, .number = number};
    return &e->sockets[i];
}

static void socket_close(struct net_edge *e, struct net_socket *s)
{
    if (!s)
        return;
    if (s->udp && s->pumped)
        pump_socket_del(e->c.workers, s->number);
    udp_close(s->udp);
    mdns_socket_close(s->mdns);
    *s = (struct net_socket){0};
    while (e->used && !e->sockets[e->used - 1].number)
        e->used--;
}

/* ---- in */

static void udp_received(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p,
                         size_t n, size_t room)
{
    const struct net_socket *s = arg;
    struct net_edge *e = s->edge;
    (void)to, (void)room;
    node_udp(e->c.node, s->number, from, p, n, clock_now());
    e->c.pump(e->c.arg);
}

static void mdns_received(void *arg, const struct net_addr *from, uint8_t *p, size_t n)
{
    const struct net_socket *s = arg;
    struct net_edge *e = s->edge;
    node_udp(e->c.node, s->number, from, p, n, clock_now());
    e->c.pump(e->c.arg);
}

/* ---- opening */

static uint16_t port_of(struct net_edge *e, uint32_t number)
{
    const struct net_socket *s = find(e, number);
    return s && s->udp ? udp_local(s->udp).port : 0;
}

/* The number that the others of ours have: one hole in a firewall, one thing to remember. */
static uint16_t common_port(struct net_edge *e)
{
    uint16_t port = port_of(e, NODE_SOCKET_MAIN4);
    if (!port)
        port = port_of(e, NODE_SOCKET_MAIN6);
    return port ? port : net_streams_port(e->streams);
}

static bool is_main(uint32_t number)
{
    return number == NODE_SOCKET_MAIN4 || number == NODE_SOCKET_MAIN6;
}

static int open_udp(struct net_edge *e, struct net_socket *s, uint16_t wish)
{
    static const struct udp_ops ops = {udp_received, NULL};
    struct net_addr at = {.family = s->family, .port = wish};
    unsigned flags = s->family == 6 ? UDP_V6ONLY : 0;
    if (s->number != NODE_SOCKET_PORTMAP)
        flags |= UDP_DONT_FRAGMENT;
    if (!wish && is_main(s->number))
        at.port = common_port(e);
    s->pumped = e->c.workers && is_main(s->number);
    if (s->pumped)
        flags |= UDP_SEND_ONLY;
    int rc = udp_open(&s->udp, e->c.loop, &at, flags, &ops, s);
    if (rc && at.port) {
        if (wish)
            log_event(LOG_WARN, "port-not-free", "port=%u family=%u error=\"%s\"", wish, s->family,
                      strerror(-rc));
        at.port = 0;
        rc = udp_open(&s->udp, e->c.loop, &at, flags, &ops, s);
    }
    if (rc == 0 && s->pumped)
        rc = pump_socket_add(e->c.workers, s->number, s->family, udp_fd(s->udp));
    if (rc < 0 && s->udp) {
        udp_close(s->udp);
        s->udp = NULL;
    }
    return rc;
}

static int open_mdns(struct net_edge *e, struct net_socket *s)
{
    int rc = mdns_socket_open(&s->mdns, e->c.loop, s->family, MDNS_PORT, mdns_received, s);
    if (!rc)
        mdns_socket_network(s->mdns, &e->addresses);
    return rc;
}

static void socket_open(struct net_edge *e, const struct node_out *out)
{
    uint32_t number = out->socket;
    uint8_t family = out->family == 6 ? 6 : 4;
    uint16_t wish = out->port, port = 0;
    socket_close(e, find(e, number));
    struct net_socket *s = reserve(e, number);
    int rc = s ? 0 : -EMFILE;
    bool mdns = number == NODE_SOCKET_MDNS4 || number == NODE_SOCKET_MDNS6;
    if (s) {
        s->family = mdns ? (number == NODE_SOCKET_MDNS6 ? 6 : 4) : family;
        rc = mdns ? open_mdns(e, s) : open_udp(e, s, wish);
        if (!rc)
            port = mdns ? MDNS_PORT : udp_local(s->udp).port;
        else
            socket_close(e, s);
    }
    node_udp_opened(e->c.node, number, port, rc ? strerror(-rc) : NULL, clock_now());
}

/* ---- out */

static void datagram(struct net_edge *e, const struct node_out *out)
{
    struct net_socket *s = find(e, out->socket);
    int rc = !s       ? -ENOTCONN
             : s->udp ? udp_send(s->udp, &out->to, out->data.p, out->data.n)
                      : mdns_socket_send(s->mdns, &out->to, out->data);
    if (!rc)
        return;
    e->stats.refused++;
    if (rc == -EMSGSIZE) {
        struct net_addr to = out->to;
        node_udp_too_big(e->c.node, out->socket, &to, out->data.n, clock_now());
    }
}

bool net_edge_output(struct net_edge *e, const struct node_out *out)
{
    switch (out->kind) {
    case NODE_UDP_OPEN:
        socket_open(e, out);
        return true;
    case NODE_UDP_CLOSE:
        socket_close(e, find(e, out->socket));
        return true;
    case NODE_DATAGRAM:
        datagram(e, out);
        return true;
    default:
        return net_streams_output(e->streams, out, common_port(e));
    }
}

/* ---- addresses */

static bool own_device(void *arg, const char *interface)
{
    const struct net_edge *e = arg;
    return e->c.devices && devices_own(e->c.devices, interface);
}

void net_edge_look(struct net_edge *e)
{
    struct node_network net = {0};
    struct addresses now;
    int rc = addresses_read(&now, own_device, e);
    if (rc) {
        log_event(LOG_WARN, "addresses-not-read", "error=\"%s\"", strerror(-rc));
        return;
    }
    e->addresses = now;
    for (size_t i = 0; i < e->used; i++)
        if (e->sockets[i].mdns)
            mdns_socket_network(e->sockets[i].mdns, &now);
    for (size_t i = 0; i < now.count; i++) {
        snprintf(net.addrs[i].interface, sizeof net.addrs[i].interface, "%s", now.list[i].interface);
        net.addrs[i].addr = now.list[i].addr;
        net.addrs[i].prefix = now.list[i].prefix;
    }
    net.count = now.count;
    net.gateway4 = now.gateway4;
    net.gateway6 = now.gateway6;
    node_network(e->c.node, &net, clock_now());
}

/* ---- birth and death */

struct net_edge *net_edge_new(const struct net_edge_config *c)
{
    struct net_edge *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->c = *c;
    e->c.seed = NULL;
    e->streams = net_streams_new(c);
    if (e->streams)
        return e;
    free(e);
    return NULL;
}

void net_edge_free(struct net_edge *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < NODE_SOCKETS_MAX; i++)
        if (e->sockets[i].number) {
            if (e->sockets[i].pumped)
                pump_socket_del(e->c.workers, e->sockets[i].number);
            udp_close(e->sockets[i].udp);
            mdns_socket_close(e->sockets[i].mdns);
        }
    net_streams_free(e->streams);
    free(e);
}

void net_edge_stats(const struct net_edge *e, struct net_edge_stats *st)
{
    *st = e->stats;
}
