/* A network with IPv6 only, behind NAT64 (RFC 6146): IPv4 peers are reached at 64:ff9b::/96 (the well-known
 * prefix of RFC 6052; a network's own prefix, RFC 7050, is not looked for), and see us at an address of the
 * NAT64's, which the hub's STUN server tells us in the same way. */
#include <string.h>

#include "node/underlay_int.h"

#define NAT64_EVERY (25 * SEC) /* the address outside is asked for, and its mapping kept */
#define NAT64_AGAIN (250 * MSEC)
#define NAT64_TRIES 4

static const uint8_t prefix[12] = {0x00, 0x64, 0xff, 0x9b};

static bool wanted(const struct node *n)
{
    const struct underlay *u = n->underlay;
    for (size_t i = 0; i < u->net.count; i++)
        if (u->net.addrs[i].addr.family == 4)
            return false;
    return n->limits.direct && u->known && u->main6.port != 0;
}

struct net_addr nat64_beyond(const struct net_addr *a)
{
    struct net_addr to = {.family = 6, .port = a->port};
    memcpy(to.ip, prefix, sizeof prefix);
    memcpy(to.ip + sizeof prefix, a->ip, 4);
    return to;
}

void nat64_remote(const struct node *n, struct ice *ice, const struct ice_candidate *c, usec_t now)
{
    struct ice_candidate there = *c;
    if (c->addr.family != 4 || net_addr_scope(&c->addr) != NET_PUBLIC || !wanted(n))
        return;
    there.addr = nat64_beyond(&c->addr);
    ice_add_remote(ice, &there, now);
}

void nat64_tell(const struct node *n, struct direct_message *m)
{
    const struct underlay *u = n->underlay;
    if (u->nat64.outside.family == 0 || m->count == DIRECT_CANDIDATES_MAX)
        return;
    m->mapping = DIRECT_MAPPING_ENDPOINT; /* RFC 6146 section 3.5.1 */
    m->candidates[m->count++] =
        (struct direct_candidate){.type = ICE_SERVER_REFLEXIVE,
                                  .priority = ice_priority(ICE_SERVER_REFLEXIVE, false, 0),
                                  .addr = u->nat64.outside};
}

void nat64_look(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    u->nat64.outside = (struct net_addr){0};
    u->nat64.tries = 0;
    u->nat64.at = wanted(n) ? now : USEC_NEVER;
    node_due(n, u->nat64.at);
}

bool nat64_stun(struct node *n, uint32_t socket, struct bytes in, usec_t now)
{
    struct underlay *u = n->underlay;
    struct stun_message m;
    if (socket != u->main6.number || u->nat64.tries == 0 || in.n < STUN_HEADER_LEN ||
        memcmp(in.p + 8, u->nat64.txid, STUN_TXID_LEN) != 0)
        return false;
    if (stun_read(&m, in) < 0 || m.class != STUN_SUCCESS || m.method != STUN_BINDING || m.mapped.family != 4)
        return true;
    u->nat64.tries = 0;
    u->nat64.at = now + NAT64_EVERY;
    node_due(n, u->nat64.at);
    if (net_addr_equal(&u->nat64.outside, &m.mapped))
        return true;
    u->nat64.outside = m.mapped;
    u->revision++;
    direct_list_changed(n, now);
    return true;
}

void nat64_tick(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    const struct net_addr *server = NULL;
    if (u->nat64.at > now)
        return;
    u->nat64.at = USEC_NEVER;
    if (!wanted(n))
        return;
    for (size_t i = 0; i < u->bind.server_count && !server; i++)
        if (u->bind.servers[i].family == 4)
            server = &u->bind.servers[i];
    u->nat64.at = now + NAT64_EVERY;
    if (!server || u->nat64.tries == NAT64_TRIES) {
        u->nat64.tries = 0;
        return;
    }
    if (u->nat64.tries == 0) {
        struct wr w = wr_of(u->nat64.txid, sizeof u->nat64.txid);
        wr_u32(&w, TXID_NAT64);
        rng_fill(&n->rng, u->nat64.txid + 4, sizeof u->nat64.txid - 4);
    }
    u->nat64.at = now + (NAT64_AGAIN << u->nat64.tries++);
    uint8_t out[DISCOVER_REQUEST4];
    const struct net_addr to = nat64_beyond(server);
    struct bytes request = stun_request(out, u->nat64.txid);
    out_datagram(n, u->main6.number, &to, NULL, 0, request.p, request.n);
}
