/* The network below: our sockets, our addresses as we and others see them, what the NAT does. One for all
 * peers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/underlay_int.h"

#define UDP_REOPEN (30 * SEC) /* a socket that could not be opened is tried again */

int underlay_init(struct node *n, usec_t now)
{
    struct underlay *u = calloc(1, sizeof *u);
    if (!u)
        return -1;
    u->main4.number = NODE_SOCKET_MAIN4;
    u->main6.number = NODE_SOCKET_MAIN6;
    u->bind.at = u->gather_until = u->nat64.at = USEC_NEVER;
    u->revision = 1;
    ratelimit_init(&u->bind.rebinds, 1, 2, now);
    ratelimit_init(&u->bind.hints, 4, 8, now);
    u->by_ufrag = map_new(DIRECT_UFRAG_LEN, PEERS_MAX, rng_u64(&n->rng));
    n->underlay = u;
    if (search_init(n) < 0)
        return -1;
    return u->by_ufrag && mapping_init(n) == 0 && turning_init(n) == 0 && streams_init(n) == 0 && lan_init(n, now) == 0 ? 0 : -1;
}

void underlay_done(struct node *n)
{
    struct underlay *u = n->underlay;
    if (!u)
        return;
    discover_free(u->discover);
    map_free(u->by_ufrag);
    mapping_done(n);
    turning_done(n);
    streams_done(n);
    lan_done(n);
    wipe(&u->bind, sizeof u->bind);
    free(u);
    n->underlay = NULL;
}

/* ---- Sockets. */

static struct underlay_socket *socket_of(struct underlay *u, uint32_t number)
{
    return number == u->main4.number ? &u->main4 : number == u->main6.number ? &u->main6 : NULL;
}

uint32_t underlay_socket(const struct node *n, uint8_t family)
{
    const struct underlay_socket *s = family == 4 ? &n->underlay->main4 : &n->underlay->main6;
    return s->port != 0 ? s->number : 0;
}

bool underlay_socket_open(struct node *n, uint32_t socket, uint8_t family, uint16_t port)
{
    struct out_item *item = out_add(n, NODE_UDP_OPEN);
    if (!item)
        return false;
    item->o.socket = socket;
    item->o.family = family;
    item->o.port = port;
    return true;
}

void underlay_start(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    if (!n->limits.direct || u->main4.asked)
        return;
    streams_start(n);
    lan_start(n, now);
    u->main4.asked = underlay_socket_open(n, u->main4.number, 4, (uint16_t)n->limits.port);
    u->main6.asked = underlay_socket_open(n, u->main6.number, 6, (uint16_t)n->limits.port);
    for (uint32_t i = 0; i < DISCOVER_SPARES_MAX; i++)
        underlay_socket_open(n, NODE_SOCKET_EXTRA + i, 4, 0);
}

void node_udp_opened(struct node *n, uint32_t socket, uint16_t port, const char *error, usec_t now)
{
    struct underlay *u = n->underlay;
    struct underlay_socket *s = socket_of(u, socket);
    if (lan_opened(n, socket, port, now) || mapping_opened(n, socket, port, now))
        return;
    if (s) {
        s->port = port;
        lan_ports(n, now);
        if (port == 0 && socket == NODE_SOCKET_MAIN4)
            out_log(n, LOG_WARN, "udp-not-open", "family=%u why=\"%s\"", 4, error ? error : "?");
        underlay_gather(n, now);
        udp_bind_again(n, now);
    } else if (socket >= NODE_SOCKET_EXTRA && socket < NODE_SOCKET_EXTRA + DISCOVER_SPARES_MAX) {
        u->spares[socket - NODE_SOCKET_EXTRA] = port;
    } else if (search_opened(n, socket, port, now)) {
        return;
    }
    mapping_look(n, false, now);
    underlay_discover(n, false, now);
}

/* ---- Addresses. */

/* An address of one of our parties is a way into ourselves. */
bool underlay_overlay(const struct node *n, const struct net_addr *a)
{
    for (size_t i = 0; i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        if (np->state != NP_ACTIVE)
            continue;
        if (a->family == 4 && net_addr_ip4(a) >> 16 == party_net4(np->log) >> 16)
            return true;
        const struct party_member *self = a->family == 6 ? np_self(n, np) : NULL;
        if (self && memcmp(a->ip, self->ip6, 8) == 0)
            return true;
    }
    return false;
}

bool underlay_on_link(const struct node *n, const struct net_addr *a)
{
    const struct node_network *net = &n->underlay->net;
    for (size_t i = 0; i < net->count; i++) {
        unsigned prefix = net->addrs[i].prefix;
        if (prefix > 0 && net_ip_common(&net->addrs[i].addr, a) >= prefix)
            return true;
    }
    return false;
}

usec_t underlay_lifetime(const struct node *n, const struct origin *o)
{
    struct nat_behaviour b;
    if (o->via != PATH_UDP || !n->underlay->discover)
        return 0;
    if (underlay_on_link(n, &o->addr))
        return PATH_IDLE_MAX / 4 * 5;
    discover_summary(n->underlay->discover, o->addr.family, &b);
    return b.lifetime_min;
}

void underlay_behaviour(const struct node *n, uint8_t family, struct nat_behaviour *b)
{
    *b = (struct nat_behaviour){.family = family};
    if (n->underlay->discover)
        discover_summary(n->underlay->discover, family, b);
}

bool nat_known(const struct nat_behaviour *b)
{
    return b->translated == NAT_ANSWER_NO || b->mapping == NAT_DEPENDS_NOT ||
           b->mapping == NAT_DEPENDS_NOT_PORT ||
           (b->mapping != NAT_DEPENDS_UNKNOWN && b->ports != NAT_CHOICE_UNKNOWN);
}

static void candidate_add(struct underlay *u, struct ice_candidate *list, size_t *count, enum ice_type type,
                          bool mapped, const struct net_addr *addr, const struct net_addr *related,
                          uint32_t base)
{
    if (*count >= ICE_LOCAL_MAX || addr->port == 0 || net_addr_scope(addr) == NET_NONE)
        return;
    for (size_t i = 0; i < *count; i++)
        if (net_addr_equal(&list[i].addr, addr))
            return;
    struct ice_candidate *c = &list[*count];
    *c = (struct ice_candidate){.type = type, .mapped = mapped, .addr = *addr, .base = base};
    if (related)
        c->related = *related;
    c->preference = (uint16_t)((addr->family == 6 ? 60000 : 50000) - *count);
    ++*count;
}

static size_t candidates_make(struct node *n, struct ice_candidate list[ICE_LOCAL_MAX])
{
    struct underlay *u = n->underlay;
    const struct underlay_socket *const sockets[] = {&u->main6, &u->main4};
    struct net_addr first[2] = {{0}, {0}};
    size_t count = 0;
    for (size_t i = 0; i < u->net.count; i++) {
        struct net_addr a = u->net.addrs[i].addr;
        const struct underlay_socket *s = a.family == 6 ? &u->main6 : &u->main4;
        enum net_scope scope = net_addr_scope(&a);
        a.port = s->port;
        if (s->port == 0 || scope == NET_LOOPBACK || (scope == NET_LINK_LOCAL && a.family == 6) ||
            underlay_overlay(n, &a))
            continue;
        candidate_add(u, list, &count, ICE_HOST, false, &a, NULL, s->number);
        if (first[a.family == 4].family == 0)
            first[a.family == 4] = a;
    }
    for (size_t i = 0; i < 2; i++)
        if (sockets[i]->port != 0 && sockets[i]->reflexive.family != 0)
            candidate_add(u, list, &count, ICE_SERVER_REFLEXIVE, false, &sockets[i]->reflexive, &first[i],
                          sockets[i]->number);
    struct net_addr relayed;
    if (turning_relayed(n, &relayed))
        candidate_add(u, list, &count, ICE_RELAYED, false, &relayed, NULL, TURN_BASE);
    if (u->mapped.family == 4 && u->main4.port != 0)
        candidate_add(u, list, &count, ICE_SERVER_REFLEXIVE, true, &u->mapped, &first[1], u->main4.number);
    if (u->mapped_near.family == 4 && u->main4.port != 0)
        candidate_add(u, list, &count, ICE_SERVER_REFLEXIVE, true, &u->mapped_near, &first[1], u->main4.number);
    return count;
}

static bool candidates_same(const struct ice_candidate *a, const struct ice_candidate *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].type != b[i].type || a[i].mapped != b[i].mapped || a[i].base != b[i].base ||
            !net_addr_equal(&a[i].addr, &b[i].addr))
            return false;
    return true;
}

void underlay_gather(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    struct ice_candidate list[ICE_LOCAL_MAX];
    size_t count = candidates_make(n, list);
    if (count == u->candidate_count && candidates_same(list, u->candidates, count))
        return;
    memcpy(u->candidates, list, count * sizeof *list);
    u->candidate_count = count;
    u->revision++;
    direct_list_changed(n, now);
}

size_t underlay_addresses(const struct node *n, struct net_addr addrs[HS_ADDR_MAX])
{
    const struct underlay *u = n->underlay;
    size_t count = 0;
    for (size_t i = 0; i < u->candidate_count && count < HS_ADDR_MAX; i++)
        addrs[count++] = u->candidates[i].addr;
    return count;
}

void underlay_reflexive(struct node *n, uint32_t socket, const struct net_addr *seen, usec_t now)
{
    struct underlay_socket *s = socket_of(n->underlay, socket);
    if (!s || net_addr_equal(&s->reflexive, seen))
        return;
    s->reflexive = *seen;
    underlay_gather(n, now);
}

static bool network_same(const struct node_network *a, const struct node_network *b)
{
    if (a->count != b->count || !net_addr_equal(&a->gateway4, &b->gateway4) ||
        !net_addr_equal(&a->gateway6, &b->gateway6))
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!net_ip_equal(&a->addrs[i].addr, &b->addrs[i].addr) || a->addrs[i].prefix != b->addrs[i].prefix)
            return false;
    return true;
}

void node_network(struct node *n, const struct node_network *net, usec_t now)
{
    struct underlay *u = n->underlay;
    bool first = !u->known, same = u->known && network_same(&u->net, net);
    u->known = true;
    u->net = *net;
    if (u->net.count > NODE_ADDRESSES_MAX)
        u->net.count = NODE_ADDRESSES_MAX;
    if (same)
        return;
    u->main4.reflexive = u->main6.reflexive = u->mapped = u->mapped_tcp = u->mapped_near = (struct net_addr){0};
    u->gather_until = now + UNDERLAY_GATHER;
    node_due(n, u->gather_until);
    mapping_look(n, true, now);
    underlay_discover(n, true, now);
    underlay_gather(n, now);
    lan_network_changed(n, now);
    if (first)
        return;
    udp_bind_again(n, now);
    direct_network_changed(n, now);
}

void underlay_woke(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    if (u->discover)
        discover_restart(u->discover, NULL, now);
    udp_bind_again(n, now);
    direct_network_changed(n, now);
}

void node_hub_addresses(struct node *n, const struct net_addr *addrs, size_t count, usec_t now)
{
    struct underlay *u = n->underlay;
    u->hub_count = count < UNDERLAY_HUBS_MAX ? count : UNDERLAY_HUBS_MAX;
    if (u->hub_count > 0)
        memcpy(u->hub, addrs, u->hub_count * sizeof *addrs);
}

void underlay_hub_udp(struct underlay *u, const struct net_addr *a)
{
    struct udp_bind *b = &u->bind;
    for (size_t i = 0; i < b->server_count; i++)
        if (net_addr_equal(&b->servers[i], a))
            return;
    if (b->server_count < UNDERLAY_SERVERS_MAX)
        b->servers[b->server_count++] = *a;
}

/* ---- What the NAT does. */

static void discover_setup(const struct node *n, struct discover_config *c)
{
    const struct underlay *u = n->underlay;
    *c = (struct discover_config){
        .rng = n->rng, .txid_prefix = TXID_DISCOVER, .has4 = u->main4.port != 0, .has6 = u->main6.port != 0};
    memcpy(c->servers, u->bind.servers, u->bind.server_count * sizeof *c->servers);
    c->server_count = u->bind.server_count;
    c->main4 = (struct discover_socket){u->main4.number, u->main4.port};
    c->main6 = (struct discover_socket){u->main6.number, u->main6.port};
    for (uint32_t i = 0; i < DISCOVER_SPARES_MAX; i++)
        if (u->spares[i] != 0)
            c->spares4[c->spare4_count++] = (struct discover_socket){NODE_SOCKET_EXTRA + i, u->spares[i]};
    for (size_t i = 0; i < u->net.count && c->local_count < DISCOVER_LOCALS_MAX; i++)
        c->locals[c->local_count++] = u->net.addrs[i].addr;
}

void underlay_discover(struct node *n, bool again, usec_t now)
{
    struct underlay *u = n->underlay;
    struct discover_config c;
    bool ready = u->known && u->bind.server_count > 0 && (u->main4.port != 0 || u->main6.port != 0);
    for (size_t i = 0; i < DISCOVER_SPARES_MAX && !u->discover; i++)
        ready = ready && (u->spares[i] != 0 || u->main4.port == 0 || u->main6.port == 0 || !u->main4.asked);
    if (!ready || (u->discover && !again))
        return;
    nat64_look(n, now);
    discover_setup(n, &c);
    if (u->discover)
        discover_restart(u->discover, &c, now);
    else
        u->discover = discover_new(&c, now);
    node_due(n, now);
}

/* The lists of candidates are whole, for now. */
static void gathered(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    u->gather_until = USEC_NEVER;
    if (u->gathered)
        return;
    u->gathered = true;
    u->revision++;
    direct_list_changed(n, now);
}

/* What a search has to know of our NAT is known, and the peers are told, before the rest is. */
static void nat_changed(struct node *n, uint8_t family, usec_t now)
{
    struct underlay *u = n->underlay;
    struct nat_behaviour b;
    discover_summary(u->discover, 4, &b);
    if (family != 4 || !nat_known(&b) ||
        (b.mapping == u->nat_mapping && b.ports == u->nat_ports && b.port_delta == u->nat_delta))
        return;
    u->nat_mapping = b.mapping;
    u->nat_ports = b.ports;
    u->nat_delta = b.port_delta;
    u->revision++;
    direct_list_changed(n, now);
}

static void discover_pump(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    struct discover_out out;
    struct discover_event ev;
    bool heard = false;
    while (discover_output(u->discover, &out, now))
        out_datagram(n, out.socket, &out.to, NULL, 0, out.data.p, out.data.n);
    while (discover_event(u->discover, &ev)) {
        struct nat_behaviour b;
        char text[NAT_TEXT_MAX];
        heard = true;
        switch (ev.kind) {
        case DISCOVER_MAPPED:
            underlay_reflexive(n, ev.socket, &ev.mapped, now);
            gathered(n, now);
            break;
        case DISCOVER_COMPLETE:
            discover_summary(u->discover, ev.family, &b);
            u->revision++;
            nat_behaviour_text(text, &b);
            out_log(n, LOG_INFO, "nat", "family=%u text=\"%s\"", ev.family, text);
            direct_list_changed(n, now);
            break;
        case DISCOVER_UDP_BLOCKED:
            out_log(n, LOG_INFO, "udp-blocked", "family=%u", ev.family);
            gathered(n, now);
            u->revision++;
            direct_list_changed(n, now);
            break;
        case DISCOVER_CHANGED:
            nat_changed(n, ev.family, now);
            ways_keepalive(n);
            break;
        }
    }
    if (heard)
        requests_go_on(n, 0, now); /* netcheck may wait for it */
}

/* ---- Bytes. */

void node_udp(struct node *n, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t len,
              usec_t now)
{
    struct underlay *u = n->underlay;
    struct bytes in = bytes_of(p, len);
    if (len == 0 || from->port == 0 || lan_input(n, socket, from, in, now) ||
        mapping_input(n, socket, from, in, now) || turning_input(n, from, in, now))
        return;
    if (underlay_overlay(n, from)) { /* a path that came out of our own tunnel would be carried by itself */
        count(n, COUNT_BAD_DATAGRAM);
        return;
    }
    if (stun_is(in)) {
        if (u->discover && discover_input(u->discover, socket, from, in, now))
            discover_pump(n, now);
        else if (!search_stun(n, socket, in, now) && !nat64_stun(n, socket, in, now) && !direct_stun(n, socket, from, in, now))
            count(n, COUNT_STUN_UNKNOWN);
        return;
    }
    if (p[0] == WIRE_UDP_RELAY) {
        if (!udp_bind_input(n, from, p, len, now))
            count(n, COUNT_BAD_DATAGRAM);
        return;
    }
    const struct origin o = {.via = PATH_UDP, .number = socket, .addr = *from};
    peers_input(n, &o, p, len, now);
}

void node_udp_too_big(struct node *n, uint32_t socket, const struct net_addr *to, size_t size, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        for (size_t k = 0; p && p->ways && p->paths && k < WAYS_MAX; k++) {
            const struct way *w = &p->ways[k];
            if (w->id == 0 || w->at.via != PATH_UDP || w->at.number != socket ||
                !net_addr_equal(&w->at.addr, to))
                continue;
            paths_too_big(p->paths, w->id, size, now);
            peer_touch(n, p);
        }
    }
}

/* ---- Time. */

usec_t underlay_wake(const struct node *n)
{
    const struct underlay *u = n->underlay;
    usec_t wake = usec_min(usec_min(u->bind.at, u->gather_until), search_wake(n));
    wake = usec_min(wake, u->nat64.at);
    wake = usec_min(wake, usec_min(streams_wake(n), lan_wake(n)));
    wake = usec_min(wake, usec_min(mapping_wake(n), turning_wake(n)));
    if (u->discover)
        wake = usec_min(wake, discover_wake(u->discover));
    return wake;
}

void underlay_tick(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    udp_bind_tick(n, now);
    search_tick(n, now);
    nat64_tick(n, now);
    streams_tick(n, now);
    mapping_tick(n, now);
    turning_tick(n, now);
    lan_tick(n, now);
    if (u->gather_until <= now)
        gathered(n, now);
    if (!u->discover)
        return;
    if (discover_wake(u->discover) <= now)
        discover_tick(u->discover, now);
    discover_pump(n, now);
}
