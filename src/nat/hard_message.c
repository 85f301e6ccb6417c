#include <errno.h>
#include <string.h>

#include "nat/hard.h"

/* kind u8 | id u32, then by kind (doc/protocol/hard-nats.md section 4):
 *   OFFER, ACCEPT  mapping u8 | delta i16 | ip 4 | port u16
 *   READY          the same | round u16 | count u8 | ports u16 ...
 *   STOP           why u8 */

static bool nat_valid(const struct hard_nat *n)
{
    bool step = n->delta != 0 && n->delta >= -HARD_DELTA_MAX && n->delta <= HARD_DELTA_MAX;
    return (unsigned)n->mapping < HARD_MAPPING_COUNT &&
           (n->mapping == HARD_SEQUENTIAL ? step : n->delta == 0) &&
           (n->mapped.family == 4 || (n->mapped.family == 0 && n->mapped.port == 0));
}

/* No address known is the address 0.0.0.0. */
static void nat_read(struct hard_nat *n, struct rd *r)
{
    uint8_t mapping = rd_u8(r);
    int32_t delta = rd_u16(r);
    uint32_t ip = rd_u32(r);
    uint16_t port = rd_u16(r);
    *n =
        (struct hard_nat){.mapping = mapping < HARD_MAPPING_COUNT ? (enum hard_mapping)mapping : HARD_UNKNOWN,
                          .delta = (int16_t)(delta > INT16_MAX ? delta - 65536 : delta)};
    if (ip)
        n->mapped = net_addr4(ip, port);
    if (mapping >= HARD_MAPPING_COUNT || (!ip && port) || !nat_valid(n))
        rd_fail(r);
}

static void nat_write(struct wr *w, const struct hard_nat *n)
{
    wr_u8(w, (uint8_t)n->mapping);
    wr_u16(w, (uint16_t)n->delta);
    wr_u32(w, net_addr_ip4(&n->mapped));
    wr_u16(w, n->mapped.port);
}

static void ready_read(struct search_message *m, struct rd *r)
{
    m->round = rd_u16(r);
    size_t count = rd_u8(r);
    if (count > SEARCH_PORTS_MAX || m->round == 0) {
        rd_fail(r);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        m->ports[i] = rd_u16(r);
        if (m->ports[i] == 0)
            rd_fail(r);
    }
    m->port_count = count;
}

int search_read(struct search_message *m, struct bytes in)
{
    struct rd r = rd_of(in);
    struct search_message made = {0};
    uint8_t kind = rd_u8(&r);
    made.id = rd_u32(&r);
    if (!rd_ok(&r) || kind < SEARCH_OFFER || kind >= SEARCH_KIND_COUNT)
        return -EBADMSG;
    made.kind = (enum search_kind)kind;
    if (kind == SEARCH_STOP) {
        uint8_t why = rd_u8(&r);
        if (why < SEARCH_FOUND || why >= SEARCH_STOP_COUNT)
            return -EBADMSG;
        made.stop = (enum search_stop)why;
    } else {
        nat_read(&made.nat, &r);
    }
    if (kind == SEARCH_READY)
        ready_read(&made, &r);
    if (!rd_done(&r))
        return -EBADMSG;
    *m = made;
    return 0;
}

static bool sensible(const struct search_message *m)
{
    if (m->kind < SEARCH_OFFER || m->kind >= SEARCH_KIND_COUNT)
        return false;
    if (m->kind == SEARCH_STOP)
        return m->stop >= SEARCH_FOUND && m->stop < SEARCH_STOP_COUNT;
    if (!nat_valid(&m->nat) || (m->nat.mapped.family == 4 && net_addr_ip4(&m->nat.mapped) == 0))
        return false;
    if (m->kind != SEARCH_READY)
        return true;
    for (size_t i = 0; i < m->port_count && i < SEARCH_PORTS_MAX; i++) {
        if (m->ports[i] == 0)
            return false;
    }
    return m->round > 0 && m->port_count <= SEARCH_PORTS_MAX;
}

size_t search_write(uint8_t *out, size_t cap, const struct search_message *m)
{
    struct wr w = wr_of(out, cap);
    if (!sensible(m))
        return 0;
    wr_u8(&w, (uint8_t)m->kind);
    wr_u32(&w, m->id);
    if (m->kind == SEARCH_STOP)
        wr_u8(&w, (uint8_t)m->stop);
    else
        nat_write(&w, &m->nat);
    if (m->kind == SEARCH_READY) {
        wr_u16(&w, m->round);
        wr_u8(&w, (uint8_t)m->port_count);
        for (size_t i = 0; i < m->port_count; i++)
            wr_u16(&w, m->ports[i]);
    }
    return wr_ok(&w) ? wr_done(&w).n : 0;
}

bool hard_message_begins(struct bytes message)
{
    struct search_message m;
    return search_read(&m, message) == 0 && m.kind == SEARCH_OFFER;
}

size_t hard_refuse(uint8_t out[HARD_MESSAGE_MAX], struct bytes offer, enum search_stop why)
{
    struct search_message m;
    if (search_read(&m, offer) != 0 || m.kind != SEARCH_OFFER)
        return 0;
    return search_write(out, HARD_MESSAGE_MAX,
                        &(struct search_message){.kind = SEARCH_STOP, .id = m.id, .stop = why});
}
