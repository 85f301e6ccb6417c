#include "sim/box_portmap.h"

#include <string.h>

#include "sim/clock.h"
#include "sim/node_net.h"
#include "wire/portmap.h"

#define LIFETIME_MAX 7200 /* s; longer wishes are cut */

static void answer(struct site *s, const struct packet *to, struct bytes data)
{
    struct packet *p = packet_new(NAT_UDP, &to->from, data);
    p->from = to->to;
    site_send(s, p);
}

static uint32_t epoch(const struct site *s)
{
    return (uint32_t)((s->net->sim->now - s->service_since) / SEC);
}

/* The port outside; 0: it was deleted, or there is no room. */
static uint16_t forward(struct site *s, const struct packet *p, bool tcp, const uint16_t ports[2],
                        uint32_t *lifetime)
{
    usec_t now = s->net->sim->now;
    struct net_addr inside = p->from;
    inside.port = ports[0];
    if (*lifetime > LIFETIME_MAX)
        *lifetime = LIFETIME_MAX;
    return nat_forward(&s->nat4, tcp ? NAT_STREAM : NAT_UDP, &inside, ports[1],
                       *lifetime ? now + *lifetime * SEC : 0, now);
}

static void pcp(struct site *s, const struct packet *p)
{
    struct pcp_message m;
    uint8_t out[PCP_MESSAGE_MAX];
    if (pcp_read(&m, bytes_of(p->data, p->n)) < 0 || m.response)
        return;
    struct net_addr from = p->from;
    m.response = true;
    m.epoch = epoch(s);
    m.result = net_ip_equal(&from, &m.client) ? PCP_SUCCESS : PCP_ADDRESS_MISMATCH;
    if (m.result == PCP_SUCCESS && m.opcode == PCP_MAP) {
        const uint16_t ports[2] = {m.internal_port, m.external.port};
        uint16_t port = forward(s, p, m.protocol == PORTMAP_TCP, ports, &m.lifetime);
        m.result = port == 0 ? PCP_NO_RESOURCES : PCP_SUCCESS;
        m.external = s->nat4.outside;
        m.external.port = port;
    }
    answer(s, p, bytes_of(out, pcp_write(out, sizeof out, &m)));
}

static void natpmp(struct site *s, const struct packet *p)
{
    struct natpmp_message m;
    uint8_t out[NATPMP_MESSAGE_MAX];
    if (natpmp_read(&m, bytes_of(p->data, p->n)) < 0 || m.response)
        return;
    struct net_addr outside = s->nat4.outside;
    m.response = m.has_body = true;
    m.epoch = epoch(s);
    m.ip = net_addr_ip4(&outside);
    if (m.opcode != NATPMP_ADDRESS) {
        const uint16_t ports[2] = {m.internal_port, m.external_port};
        m.external_port = forward(s, p, m.opcode == NATPMP_MAP_TCP, ports, &m.lifetime);
        m.result = m.external_port == 0 ? NATPMP_NO_RESOURCES : NATPMP_SUCCESS;
    }
    answer(s, p, bytes_of(out, natpmp_write(out, sizeof out, &m)));
}

static bool serve(struct site *s, struct packet *p)
{
    if (p->proto != NAT_UDP || p->to.port != PORTMAP_SERVER_PORT || p->n == 0)
        return false;
    if (p->data[0] == PCP_VERSION)
        pcp(s, p);
    else if (p->data[0] == NATPMP_VERSION)
        natpmp(s, p);
    return true;
}

void box_portmap(struct site *s)
{
    s->service = serve;
    s->service_since = s->net->sim->now;
}
