#include "pump/offload.h"

#include <errno.h>

#include "pump/offload_int.h"

/* ---- virtio_net_hdr: flags, gso_type, then hdr_len, gso_size, csum_start and csum_offset in host order. */

enum { VNET_NEEDS_CSUM = 1 };
enum { VNET_NONE = 0, VNET_TCP4 = 1, VNET_TCP6 = 4, VNET_UDP_L4 = 5, VNET_ECN = 0x80 };

static int gso_read(struct vnet_hdr *h, uint8_t type)
{
    switch (type & ~VNET_ECN) {
    case VNET_NONE:
        h->gso = OFFLOAD_NONE;
        break;
    case VNET_TCP4:
        h->gso = OFFLOAD_TCP4;
        break;
    case VNET_TCP6:
        h->gso = OFFLOAD_TCP6;
        break;
    case VNET_UDP_L4:
        h->gso = OFFLOAD_UDP;
        break;
    default: /* UFO among them: its pieces are fragments */
        return -EBADMSG;
    }
    h->ecn = type & VNET_ECN;
    return h->ecn && h->gso != OFFLOAD_TCP4 && h->gso != OFFLOAD_TCP6 ? -EBADMSG : 0;
}

int vnet_hdr_read(struct vnet_hdr *h, struct bytes in, size_t frame)
{
    struct vnet_hdr r = {0};
    if (in.n < VNET_HDR_LEN || gso_read(&r, in.p[1]) < 0)
        return -EBADMSG;
    r.partial = in.p[0] &
                VNET_NEEDS_CSUM; /* flags that are not known must be ignored (VIRTIO 1.2 section 5.1.6.3.2) */
    r.hdr_len = raw16(in.p + 2);
    if (r.gso != OFFLOAD_NONE && (r.gso_size = raw16(in.p + 4)) == 0)
        return -EBADMSG;
    if (r.partial) {
        r.csum_start = raw16(in.p + 6);
        r.csum_offset = raw16(in.p + 8);
        if ((size_t)r.csum_start + r.csum_offset + 2 > frame)
            return -EBADMSG;
    }
    *h = r;
    return 0;
}

void vnet_hdr_write(const struct vnet_hdr *h, uint8_t out[VNET_HDR_LEN])
{
    static const uint8_t types[] = {[OFFLOAD_NONE] = VNET_NONE,
                                    [OFFLOAD_TCP4] = VNET_TCP4,
                                    [OFFLOAD_TCP6] = VNET_TCP6,
                                    [OFFLOAD_UDP] = VNET_UDP_L4};
    out[0] = h->partial ? VNET_NEEDS_CSUM : 0;
    out[1] = (uint8_t)(types[h->gso] | (h->ecn ? VNET_ECN : 0));
    memcpy(out + 2, &h->hdr_len, 2);
    memcpy(out + 4, &h->gso_size, 2);
    memcpy(out + 6, &h->csum_start, 2);
    memcpy(out + 8, &h->csum_offset, 2);
}

/* ---- Frames. No rd_* here: this runs for each packet, with one check for each header. */

static int upper_read(struct inner_frame *f, const uint8_t *p, bool super)
{
    const uint8_t *u = p + f->upper;
    size_t left = f->n - f->upper, own = 0;
    f->headers = f->upper;
    if (f->proto == IP_TCP) {
        own = left < TCP_HEADER_LEN ? SIZE_MAX : (size_t)(u[TCP_DATA_AT] >> 4) * 4;
        if (own < TCP_HEADER_LEN || own > left)
            return -EBADMSG;
        f->tcp_flags = u[TCP_FLAGS_AT];
    } else if (f->proto == IP_UDP) {
        own = UDP_HEADER_LEN;
        if (left < own || (!super && get16(u + UDP_LENGTH_AT) != left))
            return -EBADMSG;
    } else {
        return 0;
    }
    f->headers = (uint16_t)(f->upper + own);
    f->src_port = get16(u);
    f->dst_port = get16(u + 2);
    return 0;
}

/* n: bytes from the IP header on; *length: of the packet by its header. */
static int ip4_find(struct inner_frame *f, const uint8_t *ip, size_t n, size_t *length)
{
    size_t own = (size_t)(ip[0] & 15) * 4;
    if (own < IP4_HEADER_LEN || own > n || (get16(ip + IP4_FRAGMENT_AT) & ~IP4_DF))
        return -EBADMSG;
    f->version = 4;
    f->proto = ip[IP4_PROTO_AT];
    f->upper = (uint16_t)(f->ip + own);
    *length = get16(ip + IP4_LENGTH_AT);
    return 0;
}

static bool is_extension(uint8_t next)
{
    switch (next) {
    case IP_HOP_BY_HOP:
    case IP_ROUTING:
    case IP_FRAGMENT:
    case IP_AUTH:
    case IP_DEST_OPTIONS:
    case IP_MOBILITY:
    case 139: /* host identity */
    case 140: /* shim6 */
        return true;
    default:
        return false;
    }
}

static int ip6_find(struct inner_frame *f, const uint8_t *ip, size_t n, size_t *length)
{
    if (n < IP6_HEADER_LEN || is_extension(ip[IP6_NEXT_AT]))
        return -EBADMSG;
    f->version = 6;
    f->proto = ip[IP6_NEXT_AT];
    f->upper = f->ip + IP6_HEADER_LEN;
    *length = IP6_HEADER_LEN + (size_t)get16(ip + IP6_LENGTH_AT);
    return 0;
}

/* The version that the Ethernet header promises, 0: none that is known. */
static uint8_t eth_find(struct inner_frame *f, const uint8_t *p, size_t n)
{
    if (n < ETH_HEADER_LEN + ETH_TAG_LEN)
        return 0;
    uint16_t type = get16(p + 12);
    f->ip = ETH_HEADER_LEN;
    if (type == ETH_TYPE_VLAN) {
        type = get16(p + 16);
        f->ip = ETH_HEADER_LEN + ETH_TAG_LEN;
    }
    return type == ETH_TYPE_IP4 ? 4 : type == ETH_TYPE_IP6 ? 6 : 0;
}

int inner_frame_read(struct inner_frame *f, const uint8_t *p, size_t n, bool tap, bool super)
{
    struct inner_frame r = {0};
    uint8_t version = tap ? eth_find(&r, p, n) : n > 0 ? p[0] >> 4 : 0;
    size_t length, left = n - r.ip;
    int rc = -EBADMSG;
    if (version == 0 || left < IP4_HEADER_LEN || p[r.ip] >> 4 != version)
        return -EBADMSG;
    if (version == 4)
        rc = ip4_find(&r, p + r.ip, left, &length);
    else if (version == 6)
        rc = ip6_find(&r, p + r.ip, left, &length);
    if (rc < 0 || length > left || (super && left > IP_LENGTH_MAX))
        return -EBADMSG;
    r.n = super ? n : r.ip + length;
    if (r.n < r.upper || upper_read(&r, p, super) < 0)
        return -EBADMSG;
    *f = r;
    return 0;
}

/* ---- Checksums. */

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Sums wrap with their carry coming in below: 2^64 is 1 modulo 65535. */
static inline uint64_t carry_add(uint64_t a, uint64_t b)
{
    a += b;
    return a + (a < b);
}

/* Four sums that do not wait for each other, and the count of what ran over: compilers make add and adc of
 * it, at several times the speed of one sum whose carry comes in below. */
uint64_t checksum_add(uint64_t sum, const uint8_t *p, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0, carries = 0, tail = 0;
    for (; n >= 32; p += 32, n -= 32) {
        uint64_t w = load64(p), x = load64(p + 8), y = load64(p + 16), z = load64(p + 24);
        a += w;
        carries += a < w;
        b += x;
        carries += b < x;
        c += y;
        carries += c < y;
        d += z;
        carries += d < z;
    }
    for (; n >= 8; p += 8, n -= 8)
        a = carry_add(a, load64(p));
    if (n > 0)
        memcpy(&tail, p, n); /* missing bytes count as 0, wherever this machine keeps the first */
    sum = carry_add(carry_add(sum, carries), carry_add(a, b));
    return carry_add(carry_add(sum, tail), carry_add(c, d));
}

void upper_sum_write(uint8_t *p, const struct inner_frame *f)
{
    uint8_t *at = p + f->upper + upper_sum_at(f);
    size_t n = f->n - f->upper;
    sum_put(at, 0);
    uint16_t sum =
        (uint16_t)~sum_fold(checksum_add(pseudo_sum(p, f) + htobe16((uint16_t)n), p + f->upper, n));
    sum_put(at, sum == 0 && f->proto == IP_UDP ? 0xffff : sum);
}

int checksum_complete(uint8_t *p, size_t n, bool tap)
{
    struct inner_frame f;
    if (inner_frame_read(&f, p, n, tap, false) < 0 || !has_upper(&f))
        return -EBADMSG;
    upper_sum_write(p, &f);
    return 0;
}

bool checksum_right(const uint8_t *p, const struct inner_frame *f)
{
    size_t n = f->n - f->upper;
    if (!has_upper(f))
        return false;
    if (f->proto == IP_UDP && raw16(p + f->upper + UDP_SUM_AT) == 0)
        return f->version == 4;
    return sum_fold(checksum_add(pseudo_sum(p, f) + htobe16((uint16_t)n), p + f->upper, n)) == 0xffff;
}
