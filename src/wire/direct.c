#include "wire/direct.h"

#include <errno.h>

#define MAPPED 0x80

int direct_read(struct direct_message *m, struct bytes in)
{
    struct rd r = rd_of(in);
    *m = (struct direct_message){
        .generation = rd_u32(&r), .revision = rd_u16(&r), .flags = rd_u8(&r), .mapping = rd_u8(&r)};
    m->ports = rd_u8(&r);
    m->step = (int8_t)rd_u8(&r);
    m->tcp_port = rd_u16(&r);
    rd_addr(&r, &m->tcp_mapped);
    m->count = rd_u8(&r);
    if (!rd_ok(&r) || m->flags & ~DIRECT_FLAGS || m->mapping >= DIRECT_MAPPING_COUNT ||
        m->ports >= DIRECT_PORTS_COUNT || m->count > DIRECT_CANDIDATES_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < m->count; i++) {
        struct direct_candidate *c = &m->candidates[i];
        uint8_t type = rd_u8(&r);
        c->mapped = type & MAPPED;
        c->type = type & ~MAPPED;
        c->priority = rd_u32(&r);
        rd_addr(&r, &c->addr);
        if (c->type > 3 || c->addr.family == 0)
            return -EBADMSG;
    }
    return rd_done(&r) ? 0 : -EBADMSG;
}

void direct_write(struct wr *w, const struct direct_message *m)
{
    wr_u32(w, m->generation);
    wr_u16(w, m->revision);
    wr_u8(w, m->flags);
    wr_u8(w, m->mapping);
    wr_u8(w, m->ports);
    wr_u8(w, (uint8_t)m->step);
    wr_u16(w, m->tcp_port);
    wr_addr(w, &m->tcp_mapped);
    wr_u8(w, (uint8_t)m->count);
    for (size_t i = 0; i < m->count && i < DIRECT_CANDIDATES_MAX; i++) {
        const struct direct_candidate *c = &m->candidates[i];
        wr_u8(w, (uint8_t)(c->type | (c->mapped ? MAPPED : 0)));
        wr_u32(w, c->priority);
        wr_addr(w, &c->addr);
    }
}

int direct_ack_read(uint32_t *generation, uint16_t *revision, struct bytes in)
{
    struct rd r = rd_of(in);
    *generation = rd_u32(&r);
    *revision = rd_u16(&r);
    return rd_done(&r) ? 0 : -EBADMSG;
}

void direct_ack_write(struct wr *w, uint32_t generation, uint16_t revision)
{
    wr_u32(w, generation);
    wr_u16(w, revision);
}
