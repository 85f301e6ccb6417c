#include "wire/portmap.h"

#include <errno.h>
#include <string.h>

#define RESPONSE 0x80u

const char *pcp_result_text(unsigned code)
{
    static const char *const texts[PCP_RESULT_COUNT] = {
        "done",
        "the router speaks another version",
        "the router refuses (not authorized)",
        "the router calls the request malformed",
        "the router does not know the request",
        "the router does not know the option",
        "the router calls the option malformed",
        "the router has no connection itself",
        "the router has no ports or memory left",
        "the router does not know the protocol",
        "the router's quota for this machine is used up",
        "the router cannot give this port or address",
        "another router stands between this machine and the router (address mismatch)",
        "the router limits the peers of a mapping",
    };
    return code < PCP_RESULT_COUNT ? texts[code] : "an error that has no name";
}

const char *natpmp_result_text(unsigned code)
{
    static const char *const texts[NATPMP_RESULT_COUNT] = {
        "done",
        "the router speaks another version",
        "the router refuses (not authorized)",
        "the router has no connection itself",
        "the router has no ports or memory left",
        "the router does not know the request",
    };
    return code < NATPMP_RESULT_COUNT ? texts[code] : "an error that has no name";
}

/* -- PCP -- */

/* IPv4 is written as an IPv4-mapped address, also 0.0.0.0 (RFC 6887 section 5). */
static struct net_addr get_ip(struct rd *r)
{
    uint8_t ip[16];
    rd_copy(r, ip, sizeof ip);
    struct net_addr a = net_addr6(ip, 0);
    net_addr_unmap(&a);
    return a;
}

static void put_ip(struct wr *w, const struct net_addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->family == 4)
        wr_copy(w, mapped, sizeof mapped);
    wr_copy(w, a->ip, a->family == 4 ? 4 : 16);
}

static void get_map(struct pcp_message *m, struct rd *r)
{
    m->has_map = true;
    rd_copy(r, m->nonce, sizeof m->nonce);
    m->protocol = rd_u8(r);
    rd_bytes(r, 3);
    m->internal_port = rd_u16(r);
    uint16_t port = rd_u16(r);
    m->external = get_ip(r);
    m->external.port = port;
}

int pcp_read(struct pcp_message *m, struct bytes in)
{
    struct rd r = rd_of(in);
    struct pcp_message got = {.version = rd_u8(&r)};
    uint8_t opcode = rd_u8(&r);
    got.response = opcode & RESPONSE;
    got.opcode = opcode & ~RESPONSE;
    rd_u8(&r);
    uint8_t last = rd_u8(&r);
    got.lifetime = rd_u32(&r);
    if (got.response) {
        got.result = last;
        got.epoch = rd_u32(&r);
        rd_bytes(&r, 12);
    } else {
        got.client = get_ip(&r);
    }
    if (!rd_ok(&r) || in.n % 4 || in.n > PCP_MESSAGE_MAX)
        return -EBADMSG;
    bool failed = got.response && got.result != PCP_SUCCESS;
    if (got.version != PCP_VERSION && !(failed && got.result == PCP_UNSUPP_VERSION && got.version != 0))
        return -EBADMSG;
    if (got.opcode == PCP_MAP && (!failed || rd_left(&r) >= PCP_MAP_LEN - PCP_HEADER_LEN))
        get_map(&got, &r);
    if (!rd_ok(&r) || (got.opcode != PCP_MAP && got.opcode != PCP_ANNOUNCE && !failed))
        return -EBADMSG;
    *m = got;
    return 0;
}

size_t pcp_write(uint8_t *out, size_t cap, const struct pcp_message *m)
{
    static const uint8_t zeros[12];
    struct wr w = wr_of(out, cap);
    wr_u8(&w, PCP_VERSION);
    wr_u8(&w, (uint8_t)(m->opcode | (m->response ? RESPONSE : 0)));
    wr_u8(&w, 0);
    wr_u8(&w, m->response ? m->result : 0);
    wr_u32(&w, m->lifetime);
    if (m->response) {
        wr_u32(&w, m->epoch);
        wr_copy(&w, zeros, 12);
    } else {
        put_ip(&w, &m->client);
    }
    if (m->has_map) {
        wr_copy(&w, m->nonce, sizeof m->nonce);
        wr_u8(&w, m->protocol);
        wr_copy(&w, zeros, 3);
        wr_u16(&w, m->internal_port);
        wr_u16(&w, m->external.port);
        put_ip(&w, &m->external);
    }
    return wr_ok(&w) ? w.n : 0;
}

/* -- NAT-PMP -- */

static void get_body(struct natpmp_message *m, struct rd *r)
{
    m->has_body = true;
    if (m->opcode == NATPMP_ADDRESS) {
        m->ip = rd_u32(r);
        return;
    }
    m->internal_port = rd_u16(r);
    m->external_port = rd_u16(r);
    m->lifetime = rd_u32(r);
}

int natpmp_read(struct natpmp_message *m, struct bytes in)
{
    struct rd r = rd_of(in);
    uint8_t version = rd_u8(&r), opcode = rd_u8(&r);
    struct natpmp_message got = {.response = opcode & RESPONSE, .opcode = opcode & ~RESPONSE};
    bool maps = got.opcode == NATPMP_MAP_UDP || got.opcode == NATPMP_MAP_TCP;
    if (got.response) {
        got.result = rd_u16(&r);
        got.epoch = rd_left(&r) == 0 && got.result ? 0 : rd_u32(&r);
    } else if (maps) {
        rd_u16(&r);
    }
    bool failed = got.response && got.result != NATPMP_SUCCESS;
    if (!maps && got.opcode != NATPMP_ADDRESS && !failed)
        return -EBADMSG;
    /* Routers cut their errors in various places, those to a version that they do not know above all. */
    size_t body = maps ? 8 : got.response ? 4 : 0;
    if (failed && (rd_left(&r) != body || (!maps && got.opcode != NATPMP_ADDRESS)))
        rd_rest(&r);
    else if (body)
        get_body(&got, &r);
    if (!rd_done(&r) || version != NATPMP_VERSION)
        return -EBADMSG;
    *m = got;
    return 0;
}

size_t natpmp_write(uint8_t *out, size_t cap, const struct natpmp_message *m)
{
    struct wr w = wr_of(out, cap);
    bool maps = m->opcode != NATPMP_ADDRESS;
    wr_u8(&w, NATPMP_VERSION);
    wr_u8(&w, (uint8_t)(m->opcode | (m->response ? RESPONSE : 0)));
    if (m->response) {
        wr_u16(&w, m->result);
        wr_u32(&w, m->epoch);
    } else if (maps) {
        wr_u16(&w, 0);
    }
    if (m->has_body && maps) {
        wr_u16(&w, m->internal_port);
        wr_u16(&w, m->external_port);
        wr_u32(&w, m->lifetime);
    } else if (m->has_body) {
        wr_u32(&w, m->ip);
    }
    return wr_ok(&w) ? w.n : 0;
}
