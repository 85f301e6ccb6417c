/* The router's help: a port of its for ours, by PCP, NAT-PMP, or UPnP through the edge
 * (doc/protocol/port-mapping.md). What it gives is a candidate for every peer, UDP, and for the listener of
 * streams, TCP. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/underlay_int.h"

struct mapping {
    struct portmap *core; /* NULL: no router is known */
    bool asked, open;     /* the socket to the router */
    bool upnp_waits[PORTMAP_KINDS];
    uint16_t wanted[PORTMAP_KINDS];
};

int mapping_init(struct node *n)
{
    n->underlay->mapping = calloc(1, sizeof *n->underlay->mapping);
    return n->underlay->mapping ? 0 : -ENOMEM;
}

void mapping_done(struct node *n)
{
    struct mapping *m = n->underlay->mapping;
    if (!m)
        return;
    portmap_free(m->core);
    free(m);
    n->underlay->mapping = NULL;
}

/* Our address on the router's network. */
static struct net_addr local_for(const struct underlay *u, const struct net_addr *gateway)
{
    for (size_t i = 0; i < u->net.count; i++)
        if (net_ip_common(&u->net.addrs[i].addr, gateway) >= u->net.addrs[i].prefix &&
            u->net.addrs[i].prefix > 0)
            return u->net.addrs[i].addr;
    return (struct net_addr){0};
}

static void want(struct node *n, enum portmap_kind kind, uint16_t port, usec_t now)
{
    struct mapping *m = n->underlay->mapping;
    if (m->wanted[kind] == port)
        return;
    m->wanted[kind] = port;
    portmap_want(m->core, kind, port, 0, now);
}

static void mapping_pump(struct node *n, usec_t now);

void mapping_look(struct node *n, bool changed, usec_t now)
{
    struct underlay *u = n->underlay;
    struct mapping *m = u->mapping;
    struct net_addr gateway = u->net.gateway4, local = local_for(u, &gateway);
    if (!n->limits.port_mapping || !n->limits.direct || n->stopping || u->main4.port == 0)
        return;
    if (!m->asked)
        m->asked = underlay_socket_open(n, NODE_SOCKET_PORTMAP, 4, 0);
    if (!m->open || gateway.family != 4 || local.family != 4)
        return;
    if (!m->core) {
        const struct portmap_config c = {.gateway = gateway, .local = local, .upnp = true, .rng = n->rng};
        m->core = portmap_new(&c);
        if (!m->core)
            return;
    } else if (changed) {
        portmap_network(m->core, &gateway, &local, now);
    }
    want(n, PORTMAP_FOR_UDP, u->main4.port, now);
    want(n, PORTMAP_FOR_TCP, u->tcp_port, now);
    mapping_pump(n, now);
}

bool mapping_opened(struct node *n, uint32_t socket, uint16_t port, usec_t now)
{
    if (socket != NODE_SOCKET_PORTMAP)
        return false;
    n->underlay->mapping->open = port != 0;
    mapping_look(n, false, now);
    return true;
}

static void mapped_to(struct node *n, enum portmap_kind kind, const struct net_addr *a, usec_t now)
{
    struct underlay *u = n->underlay;
    struct net_addr *to = kind == PORTMAP_FOR_UDP ? &u->mapped : &u->mapped_tcp;
    if (net_addr_equal(to, a))
        return;
    *to = *a;
    if (kind == PORTMAP_FOR_UDP) {
        underlay_gather(n, now);
    } else {
        u->revision++;
        direct_list_changed(n, now);
    }
}

/* Where the router is itself behind one, what it maps is of use to those beside it: pairs under one carrier.
 */
static void mapped_near(struct node *n, const struct portmap_event *ev, usec_t now)
{
    struct underlay *u = n->underlay;
    bool near = ev->what == PORTMAP_EVENT_MAPPED && !ev->usable;
    if (ev->kind != PORTMAP_FOR_UDP)
        return;
    u->mapped_near = near ? ev->external : (struct net_addr){0};
    underlay_gather(n, now);
}

static void upnp_ask(struct node *n, const struct portmap_event *ev)
{
    struct mapping *m = n->underlay->mapping;
    bool waits = m->upnp_waits[PORTMAP_FOR_UDP] || m->upnp_waits[PORTMAP_FOR_TCP];
    if (waits) {
        m->upnp_waits[ev->kind] = true; /* one job maps both */
        return;
    }
    struct out_item *item = out_add(n, NODE_UPNP_MAP);
    if (!item)
        return; /* the core gives up waiting by itself */
    m->upnp_waits[ev->kind] = true;
    item->o.port = n->underlay->main4.port;
    item->o.lifetime_s = ev->lifetime;
}

static void upnp_drop(struct node *n)
{
    struct out_item *item = out_add(n, NODE_UPNP_MAP);
    if (item)
        item->o.port = n->underlay->main4.port;
}

static void said(struct node *n, const struct portmap_event *ev, usec_t now)
{
    static const struct net_addr none;
    char at[NET_ADDR_TEXT];
    net_addr_text(at, &ev->external);
    switch (ev->what) {
    case PORTMAP_EVENT_MAPPED:
        out_log(n, LOG_INFO, "port-mapped", "kind=%s external=%s method=%s usable=%d",
                portmap_kind_name(ev->kind), at, portmap_method_name(ev->method), ev->usable);
        mapped_to(n, ev->kind, ev->usable ? &ev->external : &none, now);
        mapped_near(n, ev, now);
        break;
    case PORTMAP_EVENT_LOST:
        out_log(n, LOG_INFO, "port-mapping-lost", "kind=%s external=%s why=\"%s\"",
                portmap_kind_name(ev->kind), at, ev->why ? ev->why : "");
        mapped_to(n, ev->kind, &none, now);
        mapped_near(n, ev, now);
        break;
    case PORTMAP_EVENT_FAILED:
        out_log(n, LOG_DEBUG, "port-not-mapped", "kind=%s why=\"%s\"", portmap_kind_name(ev->kind),
                ev->why ? ev->why : "");
        break;
    case PORTMAP_EVENT_WANT_UPNP:
        upnp_ask(n, ev);
        break;
    case PORTMAP_EVENT_DROP_UPNP:
        upnp_drop(n);
        break;
    }
}

static void mapping_pump(struct node *n, usec_t now)
{
    struct mapping *m = n->underlay->mapping;
    struct portmap_event ev;
    struct portmap_out out;
    while (portmap_event(m->core, &ev))
        said(n, &ev, now);
    while (portmap_output(m->core, now, &out))
        out_datagram(n, NODE_SOCKET_PORTMAP, &out.to, NULL, 0, out.data.p, out.data.n);
    node_due(n, portmap_wake(m->core));
}

bool mapping_input(struct node *n, uint32_t socket, const struct net_addr *from, struct bytes in, usec_t now)
{
    struct mapping *m = n->underlay->mapping;
    if (socket != NODE_SOCKET_PORTMAP)
        return false;
    if (!m->core)
        return true;
    portmap_input(m->core, from, in, now);
    mapping_pump(n, now);
    return true;
}

void node_upnp_mapped(struct node *n, const struct net_addr *outside, uint32_t lifetime_s, const char *error,
                      usec_t now)
{
    struct mapping *m = n->underlay->mapping;
    int rc = outside->family != 0 ? 0 : -ENODEV;
    if (!m->core)
        return;
    for (int k = 0; k < PORTMAP_KINDS; k++) {
        if (!m->upnp_waits[k])
            continue;
        m->upnp_waits[k] = false;
        portmap_upnp_result(m->core, (enum portmap_kind)k, rc, outside, lifetime_s, now);
    }
    mapping_pump(n, now);
}

bool mapping_status(const struct node *n, enum portmap_kind kind, usec_t now, struct portmap_status *s)
{
    const struct mapping *m = n->underlay->mapping;
    if (!m->core)
        return false;
    portmap_status(m->core, kind, now, s);
    return true;
}

usec_t mapping_wake(const struct node *n)
{
    const struct mapping *m = n->underlay->mapping;
    return m->core ? portmap_wake(m->core) : USEC_NEVER;
}

void mapping_tick(struct node *n, usec_t now)
{
    struct mapping *m = n->underlay->mapping;
    if (!m->core || portmap_wake(m->core) > now)
        return;
    portmap_tick(m->core, now);
    mapping_pump(n, now);
}

void mapping_stop(struct node *n, usec_t now)
{
    struct mapping *m = n->underlay->mapping;
    if (!m->core)
        return;
    portmap_stop(m->core, now);
    mapping_pump(n, now);
}
