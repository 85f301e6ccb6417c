#include "wire/udp_relay.h"

#include <errno.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/secret.h"

/* Of every kind: its length, and whether it ends in a MAC. DATA is as long as its datagram makes it. */
static const struct {
    size_t len;
    bool mac;
} kinds[UDP_RELAY_KIND_COUNT] = {
    [UDP_RELAY_BIND] = {UDP_RELAY_BIND_LEN, true},
    [UDP_RELAY_CHALLENGE] = {UDP_RELAY_CHALLENGE_LEN, true},
    [UDP_RELAY_CONFIRM] = {UDP_RELAY_CONFIRM_LEN, true},
    [UDP_RELAY_BOUND] = {UDP_RELAY_BOUND_LEN, true},
    [UDP_RELAY_DATA] = {0, false},
    [UDP_RELAY_UNBOUND] = {UDP_RELAY_SMALL_LEN, false},
    [UDP_RELAY_KEEP] = {UDP_RELAY_SMALL_LEN, false},
    [UDP_RELAY_KEPT] = {UDP_RELAY_SMALL_LEN, false},
};

static bool length_ok(unsigned kind, size_t n)
{
    if (kind == UDP_RELAY_DATA)
        return n >= UDP_RELAY_HEADER_LEN && n <= UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX;
    return kind >= UDP_RELAY_BIND && kind < UDP_RELAY_KIND_COUNT && n == kinds[kind].len;
}

static void read_zeros(struct rd *r, size_t n)
{
    struct bytes b = rd_bytes(r, n);
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] != 0)
            rd_fail(r);
    }
}

static void read_seen(struct rd *r, struct net_addr *a)
{
    a->family = rd_u8(r);
    read_zeros(r, 1);
    rd_copy(r, a->ip, a->family == 4 ? 4 : 16);
    if (a->family == 4)
        read_zeros(r, 12);
    else if (a->family != 6)
        rd_fail(r);
    a->port = rd_u16(r);
}

static void read_body(struct rd *r, struct udp_relay *m)
{
    m->index = rd_u32(r);
    switch (m->kind) {
    case UDP_RELAY_BIND:
        m->time_ms = rd_u64(r);
        rd_copy(r, m->nonce, sizeof m->nonce);
        break;
    case UDP_RELAY_CHALLENGE:
    case UDP_RELAY_CONFIRM:
        rd_copy(r, m->nonce, sizeof m->nonce);
        rd_copy(r, m->cookie, sizeof m->cookie);
        break;
    case UDP_RELAY_BOUND:
        rd_copy(r, m->nonce, sizeof m->nonce);
        m->token = rd_u32(r);
        m->lifetime_s = rd_u16(r);
        read_seen(r, &m->seen);
        break;
    case UDP_RELAY_DATA:
        m->token = rd_u32(r);
        m->datagram = rd_rest(r);
        break;
    case UDP_RELAY_UNBOUND:
        m->code = rd_u32(r);
        break;
    default:
        m->token = rd_u32(r);
    }
}

int udp_relay_read(struct udp_relay *m, struct bytes in)
{
    struct udp_relay got = {0};
    struct rd r = rd_of(in);
    if (rd_u8(&r) != WIRE_UDP_RELAY)
        rd_fail(&r);
    unsigned kind = rd_u8(&r);
    read_zeros(&r, 2);
    if (!rd_ok(&r) || !length_ok(kind, in.n))
        return -EBADMSG;
    got.kind = (enum udp_relay_kind)kind;
    read_body(&r, &got);
    if (kinds[kind].mac) {
        got.signed_part = bytes_of(in.p, in.n - UDP_RELAY_MAC_LEN);
        read_zeros(&r, rd_left(&r) - UDP_RELAY_MAC_LEN);
        rd_copy(&r, got.mac, sizeof got.mac);
    }
    if (!rd_done(&r))
        return -EBADMSG;
    *m = got;
    return 0;
}

static void write_body(struct wr *w, const struct udp_relay *m)
{
    wr_u32(w, m->index);
    switch (m->kind) {
    case UDP_RELAY_BIND:
        wr_u64(w, m->time_ms);
        wr_copy(w, m->nonce, sizeof m->nonce);
        break;
    case UDP_RELAY_CHALLENGE:
    case UDP_RELAY_CONFIRM:
        wr_copy(w, m->nonce, sizeof m->nonce);
        wr_copy(w, m->cookie, sizeof m->cookie);
        break;
    case UDP_RELAY_BOUND:
        wr_copy(w, m->nonce, sizeof m->nonce);
        wr_u32(w, m->token);
        wr_u16(w, m->lifetime_s);
        wr_u8(w, m->seen.family);
        wr_u8(w, 0);
        wr_copy(w, m->seen.ip, sizeof m->seen.ip);
        wr_u16(w, m->seen.port);
        break;
    case UDP_RELAY_DATA:
        wr_u32(w, m->token);
        wr_bytes(w, m->datagram);
        break;
    case UDP_RELAY_UNBOUND:
        wr_u32(w, m->code);
        break;
    default:
        wr_u32(w, m->token);
    }
}

static void mac_of(uint8_t mac[SHA256_LEN], struct bytes in, const uint8_t key[UDP_RELAY_KEY_LEN])
{
    hmac_sha256(mac, bytes_of(key, UDP_RELAY_KEY_LEN), &in, 1);
}

size_t udp_relay_write(uint8_t *out, size_t cap, const struct udp_relay *m,
                       const uint8_t key[UDP_RELAY_KEY_LEN])
{
    struct wr w = wr_of(out, cap);
    size_t len = (unsigned)m->kind < UDP_RELAY_KIND_COUNT ? kinds[m->kind].len : 0;
    if (m->kind == UDP_RELAY_DATA)
        len = UDP_RELAY_HEADER_LEN + m->datagram.n;
    if (!length_ok(m->kind, len))
        return 0;
    wr_u8(&w, WIRE_UDP_RELAY);
    wr_u8(&w, (uint8_t)m->kind);
    wr_u16(&w, 0);
    write_body(&w, m);
    if (kinds[m->kind].mac) {
        uint8_t mac[SHA256_LEN];
        while (wr_ok(&w) && w.n < len - UDP_RELAY_MAC_LEN)
            wr_u8(&w, 0);
        mac_of(mac, wr_done(&w), key);
        wr_copy(&w, mac, UDP_RELAY_MAC_LEN);
        wipe(mac, sizeof mac);
    }
    return wr_ok(&w) ? w.n : 0;
}

bool udp_relay_verify(const struct udp_relay *m, const uint8_t key[UDP_RELAY_KEY_LEN])
{
    uint8_t mac[SHA256_LEN];
    if (m->signed_part.n == 0)
        return false;
    mac_of(mac, m->signed_part, key);
    bool same = secret_equal(mac, m->mac, UDP_RELAY_MAC_LEN);
    wipe(mac, sizeof mac);
    return same;
}

void udp_relay_header(uint8_t out[UDP_RELAY_HEADER_LEN], uint32_t index, uint32_t token)
{
    struct wr w = wr_of(out, UDP_RELAY_HEADER_LEN);
    wr_u8(&w, WIRE_UDP_RELAY);
    wr_u8(&w, UDP_RELAY_DATA);
    wr_u16(&w, 0);
    wr_u32(&w, index);
    wr_u32(&w, token);
}
