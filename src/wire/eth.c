#include "wire/eth.h"

#include <errno.h>
#include <string.h>

/* ---- Internet checksum. */

uint32_t sum_add(uint32_t sum, struct bytes in)
{
    uint64_t s = sum;
    size_t i;
    for (i = 0; i + 1 < in.n; i += 2)
        s += (uint32_t)(in.p[i] << 8 | in.p[i + 1]);
    if (i < in.n)
        s += (uint32_t)(in.p[i] << 8);
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint32_t)s;
}

uint16_t sum_finish(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint16_t swap16(uint16_t v)
{
    return (uint16_t)(v << 8 | v >> 8);
}

void sum_patch(uint8_t *p, size_t sum_at, size_t at, uint16_t to)
{
    uint16_t from = get16(p + at);
    put16(p + at, to);
    /* Across two words the high byte counts as a low one and the other way round: as if both values were
     * swapped. */
    if (at % 2 != sum_at % 2) {
        from = swap16(from);
        to = swap16(to);
    }
    uint32_t sum = (uint16_t)~get16(p + sum_at);
    put16(p + sum_at, sum_finish(sum + (uint16_t)~from + to));
}

/* ---- Ethernet. */

bool eth_is_group(const uint8_t mac[ETH_MAC_LEN])
{
    return mac[0] & 1;
}

static bool is_tag(uint16_t type)
{
    return type == ETH_TYPE_VLAN || type == ETH_TYPE_SERVICE_VLAN || type == ETH_TYPE_OLD_QINQ;
}

static bool is_ip_in_snap(uint16_t type, struct bytes payload)
{
    static const uint8_t snap[6] = {0xaa, 0xaa, 0x03, 0, 0, 0};
    struct rd r = rd_of(payload);
    uint8_t head[6];
    rd_copy(&r, head, sizeof head);
    uint16_t inner = rd_u16(&r);
    if (type > ETH_TYPE_LENGTH_MAX || !rd_ok(&r) || memcmp(head, snap, sizeof snap) != 0)
        return false;
    return inner == ETH_TYPE_IP4 || inner == ETH_TYPE_ARP || inner == ETH_TYPE_IP6 || is_tag(inner);
}

int eth_read(struct eth_frame *f, struct bytes in)
{
    struct rd r = rd_of(in);
    rd_copy(&r, f->dst, ETH_MAC_LEN);
    rd_copy(&r, f->src, ETH_MAC_LEN);
    f->type = rd_u16(&r);
    f->tagged = f->type == ETH_TYPE_VLAN;
    f->tag = f->tagged ? rd_u16(&r) : 0;
    if (f->tagged)
        f->type = rd_u16(&r);
    f->payload = rd_rest(&r);
    if (!rd_ok(&r) || is_tag(f->type) || is_ip_in_snap(f->type, f->payload))
        return -EBADMSG;
    return 0;
}

void eth_write(struct wr *w, const struct eth_frame *f)
{
    wr_copy(w, f->dst, ETH_MAC_LEN);
    wr_copy(w, f->src, ETH_MAC_LEN);
    if (f->tagged) {
        wr_u16(w, ETH_TYPE_VLAN);
        wr_u16(w, f->tag);
    }
    wr_u16(w, f->type);
}

/* ---- ARP. */

#define ARP_HW_ETHERNET 1

int arp_read(struct arp *a, struct bytes in)
{
    struct rd r = rd_of(in);
    uint16_t hw = rd_u16(&r), proto = rd_u16(&r);
    uint8_t hw_len = rd_u8(&r), proto_len = rd_u8(&r);
    a->op = rd_u16(&r);
    rd_copy(&r, a->sender_mac, ETH_MAC_LEN);
    a->sender_ip = rd_u32(&r);
    rd_copy(&r, a->target_mac, ETH_MAC_LEN);
    a->target_ip = rd_u32(&r);
    if (!rd_ok(&r) || hw != ARP_HW_ETHERNET || proto != ETH_TYPE_IP4 || hw_len != ETH_MAC_LEN ||
        proto_len != 4)
        return -EBADMSG;
    return 0;
}

void arp_write(struct wr *w, const struct arp *a)
{
    wr_u16(w, ARP_HW_ETHERNET);
    wr_u16(w, ETH_TYPE_IP4);
    wr_u8(w, ETH_MAC_LEN);
    wr_u8(w, 4);
    wr_u16(w, a->op);
    wr_copy(w, a->sender_mac, ETH_MAC_LEN);
    wr_u32(w, a->sender_ip);
    wr_copy(w, a->target_mac, ETH_MAC_LEN);
    wr_u32(w, a->target_ip);
}

/* ---- IPv4. */

int ip4_read(struct ip4 *h, struct bytes in)
{
    struct rd r = rd_of(in);
    uint8_t first = rd_u8(&r);
    size_t header = (size_t)(first & 15) * 4;
    h->tos = rd_u8(&r);
    h->length = rd_u16(&r);
    h->id = rd_u16(&r);
    uint16_t fragment = rd_u16(&r);
    h->dont_fragment = fragment & 0x4000;
    h->more_fragments = fragment & 0x2000;
    h->fragment_at = (uint16_t)((fragment & 0x1fff) * 8);
    h->ttl = rd_u8(&r);
    h->proto = rd_u8(&r);
    rd_u16(&r); /* checksum */
    h->src = rd_u32(&r);
    h->dst = rd_u32(&r);
    if (!rd_ok(&r) || first >> 4 != 4 || header < IP4_HEADER_LEN || h->length < header || h->length > in.n)
        return -EBADMSG;
    h->options = rd_bytes(&r, header - IP4_HEADER_LEN);
    h->payload = rd_bytes(&r, h->length - header);
    return rd_ok(&r) ? 0 : -EBADMSG;
}

/* ---- IPv6. */

static bool is_extension(uint8_t proto)
{
    return proto == IP_HOP_BY_HOP || proto == IP_ROUTING || proto == IP_FRAGMENT || proto == IP_AUTH ||
           proto == IP_DEST_OPTIONS || proto == IP_MOBILITY;
}

/* One extension header: takes it and leaves the next one's number in h->proto. */
static void extension_read(struct ip6 *h, struct rd *r)
{
    uint8_t kind = h->proto;
    h->proto = rd_u8(r);
    uint8_t length = rd_u8(r);
    if (kind == IP_FRAGMENT) {
        h->fragment = true;
        h->fragment_at = rd_u16(r) & 0xfff8;
        rd_u32(r); /* identification */
        return;
    }
    size_t total = kind == IP_AUTH ? (size_t)(length + 2) * 4 : (size_t)(length + 1) * 8;
    rd_bytes(r, total - 2);
}

int ip6_read(struct ip6 *h, struct bytes in)
{
    struct rd r = rd_of(in);
    uint32_t first = rd_u32(&r);
    uint16_t length = rd_u16(&r);
    h->proto = rd_u8(&r);
    h->hop_limit = rd_u8(&r);
    rd_copy(&r, h->src, IP6_ADDR_LEN);
    rd_copy(&r, h->dst, IP6_ADDR_LEN);
    h->fragment = false;
    h->fragment_at = 0;
    struct rd body = rd_of(rd_bytes(&r, length));
    if (!rd_ok(&r) || first >> 28 != 6)
        return -EBADMSG;
    for (int i = 0; is_extension(h->proto) && h->fragment_at == 0; i++) {
        if (i == IP6_EXT_MAX)
            return -EBADMSG;
        extension_read(h, &body);
        if (!rd_ok(&body))
            return -EBADMSG;
    }
    h->payload = rd_rest(&body);
    return 0;
}

/* ---- Upper headers. */

int udp_read(struct udp *u, struct bytes in)
{
    struct rd r = rd_of(in);
    u->src_port = rd_u16(&r);
    u->dst_port = rd_u16(&r);
    rd_u32(&r); /* length and checksum */
    return rd_ok(&r) ? 0 : -EBADMSG;
}

enum { TCP_OPT_END = 0, TCP_OPT_NOP = 1, TCP_OPT_MSS = 2, TCP_HEADER_LEN = 20 };

static void tcp_find_mss(struct tcp *t, struct bytes options)
{
    struct rd r = rd_of(options);
    while (rd_left(&r) > 0) {
        uint8_t kind = rd_u8(&r);
        if (kind == TCP_OPT_END)
            return;
        if (kind == TCP_OPT_NOP)
            continue;
        uint8_t length = rd_u8(&r);
        if (length < 2)
            return;
        size_t at = TCP_HEADER_LEN + options.n - rd_left(&r);
        struct rd value = rd_of(rd_bytes(&r, length - 2u));
        if (!rd_ok(&r))
            return;
        if (kind == TCP_OPT_MSS && length == 4) {
            t->mss_at = at;
            t->mss = rd_u16(&value);
            return;
        }
    }
}

int tcp_read(struct tcp *t, struct bytes in)
{
    struct rd r = rd_of(in);
    t->src_port = rd_u16(&r);
    t->dst_port = rd_u16(&r);
    rd_u64(&r); /* sequence numbers */
    size_t header = (size_t)(rd_u8(&r) >> 4) * 4;
    t->flags = rd_u8(&r);
    rd_bytes(&r, 6); /* window, checksum, urgent */
    t->mss_at = 0;
    t->mss = 0;
    if (!rd_ok(&r) || header < TCP_HEADER_LEN)
        return -EBADMSG;
    struct bytes options = rd_bytes(&r, header - TCP_HEADER_LEN);
    if (!rd_ok(&r))
        return -EBADMSG;
    if (t->flags & TCP_SYN)
        tcp_find_mss(t, options);
    return 0;
}

int icmp_read(struct icmp *i, struct bytes in)
{
    struct rd r = rd_of(in);
    i->type = rd_u8(&r);
    i->code = rd_u8(&r);
    rd_bytes(&r, 6); /* checksum and four bytes that every type has */
    return rd_ok(&r) ? 0 : -EBADMSG;
}

bool nd_is(uint8_t icmp6_type)
{
    return icmp6_type >= ND_ROUTER_SOLICIT && icmp6_type <= ND_REDIRECT;
}

enum { ND_OPT_SOURCE_MAC = 1, ND_OPT_TARGET_MAC = 2 };

static int nd_read_options(struct nd *n, struct rd *r)
{
    uint8_t wanted = n->type == ND_ADVERT || n->type == ND_REDIRECT ? ND_OPT_TARGET_MAC : ND_OPT_SOURCE_MAC;
    while (rd_left(r) > 0) {
        uint8_t kind = rd_u8(r), length = rd_u8(r);
        if (length == 0)
            return -EBADMSG;
        struct rd value = rd_of(rd_bytes(r, (size_t)length * 8 - 2));
        if (!rd_ok(r))
            return -EBADMSG;
        if (kind != wanted)
            continue;
        uint8_t mac[ETH_MAC_LEN];
        rd_copy(&value, mac, ETH_MAC_LEN);
        n->mac_differs |= n->has_mac && memcmp(mac, n->mac, ETH_MAC_LEN) != 0;
        n->has_mac = true;
        memcpy(n->mac, mac, ETH_MAC_LEN);
    }
    return 0;
}

int nd_read(struct nd *n, struct bytes in)
{
    struct rd r = rd_of(in);
    memset(n, 0, sizeof *n);
    n->type = rd_u8(&r);
    n->code = rd_u8(&r);
    rd_u16(&r); /* checksum */
    rd_u32(&r); /* flags or reserved */
    if (n->type == ND_ROUTER_ADVERT)
        rd_u64(&r); /* reachable and retransmission time */
    if (n->type == ND_SOLICIT || n->type == ND_ADVERT || n->type == ND_REDIRECT)
        rd_copy(&r, n->target, IP6_ADDR_LEN);
    if (n->type == ND_REDIRECT)
        rd_bytes(&r, IP6_ADDR_LEN);
    if (!rd_ok(&r) || !nd_is(n->type))
        return -EBADMSG;
    return nd_read_options(n, &r);
}

/* ---- Whole packets. */

#define REPLY_TTL 64
#define ND_TTL    255

/* The pseudo header of IPv6 (RFC 8200 section 8.1) and the message. */
static uint16_t icmp6_sum(const uint8_t *src, const uint8_t *dst, struct bytes message)
{
    uint32_t sum = sum_add(0, bytes_of(src, IP6_ADDR_LEN));
    sum = sum_add(sum, bytes_of(dst, IP6_ADDR_LEN));
    sum = sum_add(sum + (uint32_t)message.n + IP_ICMP6, message);
    return sum_finish(sum);
}

static void ip6_write(struct wr *w, const uint8_t *src, const uint8_t *dst, uint16_t length,
                      uint8_t hop_limit)
{
    wr_u32(w, (uint32_t)6 << 28);
    wr_u16(w, length);
    wr_u8(w, IP_ICMP6);
    wr_u8(w, hop_limit);
    wr_copy(w, src, IP6_ADDR_LEN);
    wr_copy(w, dst, IP6_ADDR_LEN);
}

/* Writes the header and yields the place for a message of n bytes, NULL where there is no room. */
static uint8_t *icmp6_take(struct wr *w, const uint8_t *src, const uint8_t *dst, size_t n, uint8_t hop_limit)
{
    ip6_write(w, src, dst, (uint16_t)n, hop_limit);
    return wr_take(w, n);
}

void nd_advert_write(struct wr *w, const struct nd_advert *a)
{
    enum { SOLICITED = 0x40, OVERRIDE = 0x20, LENGTH = 32 };
    uint8_t *p = icmp6_take(w, a->target, a->dst, LENGTH, ND_TTL);
    if (!p)
        return;
    struct wr m = wr_of(p, LENGTH);
    wr_u8(&m, ND_ADVERT);
    wr_u8(&m, 0);
    wr_u16(&m, 0); /* checksum */
    wr_u32(&m, (uint32_t)(SOLICITED | OVERRIDE) << 24);
    wr_copy(&m, a->target, IP6_ADDR_LEN);
    wr_u8(&m, ND_OPT_TARGET_MAC);
    wr_u8(&m, 1);
    wr_copy(&m, a->mac, ETH_MAC_LEN);
    put16(p + 2, icmp6_sum(a->target, a->dst, wr_done(&m)));
}

static struct bytes quote_of(struct bytes packet, size_t room)
{
    return bytes_of(packet.p, packet.n < room ? packet.n : room);
}

void icmp4_too_big_write(struct wr *w, struct bytes packet, uint16_t mtu)
{
    enum { HEADER = 8, CODE_FRAGMENTATION_NEEDED = 4 };
    struct ip4 about;
    if (ip4_read(&about, packet) != 0) {
        w->bad = true;
        return;
    }
    struct bytes quote =
        quote_of(bytes_of(packet.p, about.length), ICMP4_TOO_BIG_MAX - IP4_HEADER_LEN - HEADER);
    uint8_t *p = wr_take(w, IP4_HEADER_LEN + HEADER + quote.n);
    if (!p)
        return;
    struct wr m = wr_of(p, IP4_HEADER_LEN + HEADER + quote.n);
    wr_u8(&m, 0x45);
    wr_u8(&m, 0);
    wr_u16(&m, (uint16_t)m.cap);
    wr_u16(&m, 0); /* id: this packet is never fragmented (RFC 6864) */
    wr_u16(&m, 0x4000);
    wr_u8(&m, REPLY_TTL);
    wr_u8(&m, IP_ICMP);
    wr_u16(&m, 0); /* checksum */
    wr_u32(&m, about.dst);
    wr_u32(&m, about.src);
    wr_u8(&m, ICMP4_UNREACHABLE);
    wr_u8(&m, CODE_FRAGMENTATION_NEEDED);
    wr_u32(&m, 0); /* checksum, unused */
    wr_u16(&m, mtu);
    wr_bytes(&m, quote);
    put16(p + 10, sum_finish(sum_add(0, bytes_of(p, IP4_HEADER_LEN))));
    put16(p + IP4_HEADER_LEN + 2, sum_finish(sum_add(0, bytes_of(p + IP4_HEADER_LEN, HEADER + quote.n))));
}

void icmp6_too_big_write(struct wr *w, struct bytes packet, uint32_t mtu)
{
    enum { HEADER = 8 };
    struct ip6 about;
    if (ip6_read(&about, packet) != 0) {
        w->bad = true;
        return;
    }
    struct bytes quote = quote_of(packet, ICMP6_TOO_BIG_MAX - IP6_HEADER_LEN - HEADER);
    uint8_t *p = icmp6_take(w, about.dst, about.src, HEADER + quote.n, REPLY_TTL);
    if (!p)
        return;
    struct wr m = wr_of(p, HEADER + quote.n);
    wr_u8(&m, ICMP6_TOO_BIG);
    wr_u8(&m, 0);
    wr_u16(&m, 0); /* checksum */
    wr_u32(&m, mtu);
    wr_bytes(&m, quote);
    put16(p + 2, icmp6_sum(about.dst, about.src, wr_done(&m)));
}
