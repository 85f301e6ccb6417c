#include <errno.h>

#include "pump/offload_int.h"

/* What Linux does in tcp_gso_segment, __udp_gso_segment, inet_gso_segment and ipv6_gso_segment, and in
 * skb_checksum_help for a plain frame. */

static bool sum_is_upper(const struct vnet_hdr *h, const struct inner_frame *f)
{
    return has_upper(f) && h->csum_start == f->upper && h->csum_offset == upper_sum_at(f);
}

/* A partial checksum that is not that of a simple frame's TCP or UDP (a tunnel's inner one, one behind
 * extension headers) has no hint that a peer would understand: it is made whole here, as the header beside
 * the frame says. */
static int plain_begin(struct segments *s, size_t n, bool simple)
{
    if (s->h.partial && (size_t)s->h.csum_start + s->h.csum_offset + 2 > n)
        return -EBADMSG;
    s->foreign_sum = s->h.partial && !(simple && sum_is_upper(&s->h, &s->f));
    s->h.partial = s->h.partial && !s->foreign_sum;
    s->size = n;
    s->count = 1;
    return 0;
}

static bool gso_fits(const struct vnet_hdr *h, const struct inner_frame *f)
{
    switch (h->gso) {
    case OFFLOAD_TCP4:
        return f->proto == IP_TCP && f->version == 4;
    case OFFLOAD_TCP6:
        return f->proto == IP_TCP && f->version == 6;
    case OFFLOAD_UDP:
        return f->proto == IP_UDP;
    default:
        return false;
    }
}

static int super_begin(struct segments *s)
{
    const uint8_t *ip = s->p + s->f.ip;
    size_t payload = s->f.n - s->f.headers;
    if (!gso_fits(&s->h, &s->f) || s->h.gso_size == 0 || (s->h.partial && !sum_is_upper(&s->h, &s->f)))
        return -EBADMSG;
    s->size = payload < s->h.gso_size ? payload : s->h.gso_size;
    s->count = payload == 0 ? 1 : (uint32_t)((payload + s->size - 1) / s->size);
    s->partial_sum = sum_fold(pseudo_sum(s->p, &s->f));
    memcpy(s->headers, s->p, s->f.headers);
    if (s->f.version == 6)
        return 0;
    /* Of the header without length, id and checksum, which are each segment's own. */
    uint8_t header[60];
    size_t own = (size_t)(s->f.upper - s->f.ip);
    memcpy(header, ip, own);
    memset(header + IP4_LENGTH_AT, 0, 4);
    memset(header + IP4_SUM_AT, 0, 2);
    s->ip_sum = sum_fold(checksum_add(0, header, own));
    s->id = get16(ip + IP4_ID_AT);
    return 0;
}

int segments_begin(struct segments *s, const struct vnet_hdr *h, const uint8_t *p, size_t n, bool tap,
                   size_t *segment, size_t *count)
{
    struct segments r = {.p = p, .h = *h};
    bool super = h->gso != OFFLOAD_NONE, simple = inner_frame_read(&r.f, p, n, tap, super) == 0;
    int rc = super ? simple ? super_begin(&r) : -EBADMSG : plain_begin(&r, n, simple);
    if (rc < 0)
        return rc;
    *s = r;
    *segment = super ? r.f.headers + r.size : r.size;
    *count = r.count;
    return 0;
}

static size_t plain_next(struct segments *s, uint8_t *out, bool whole)
{
    if (s->size > 0)
        memcpy(out, s->p, s->size);
    if (s->foreign_sum) {
        const uint8_t *from = out + s->h.csum_start;
        uint16_t sum = (uint16_t)~sum_fold(checksum_add(0, from, s->size - s->h.csum_start));
        sum_put(out + s->h.csum_start + s->h.csum_offset, sum == 0 ? 0xffff : sum);
    } else if (s->h.partial && whole) {
        upper_sum_write(out, &s->f);
    }
    return s->size;
}

static void ip_length_write(const struct segments *s, uint8_t *ip, size_t length)
{
    if (s->f.version == 6) {
        put16(ip + IP6_LENGTH_AT, (uint16_t)(length - IP6_HEADER_LEN));
        return;
    }
    put16(ip + IP4_LENGTH_AT, (uint16_t)length);
    put16(ip + IP4_ID_AT, (uint16_t)(s->id + s->k));
    sum_put(ip + IP4_SUM_AT,
            (uint16_t)~sum_fold((uint64_t)s->ip_sum + raw16(ip + IP4_LENGTH_AT) + raw16(ip + IP4_ID_AT)));
}

static void upper_header_write(const struct segments *s, uint8_t *u, size_t length)
{
    if (s->f.proto == IP_UDP) {
        put16(u + UDP_LENGTH_AT, (uint16_t)length);
        return;
    }
    put32(u + TCP_SEQ_AT, get32(u + TCP_SEQ_AT) + (uint32_t)s->at);
    if (s->k > 0)
        u[TCP_FLAGS_AT] &= (uint8_t)~TCP_CWR;
    if (s->k + 1 < s->count)
        u[TCP_FLAGS_AT] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}

/* out: with the payload in its place behind the headers. */
static size_t super_headers_write(struct segments *s, uint8_t *out, size_t part, bool whole)
{
    struct inner_frame f = s->f;
    f.n = f.headers + part;
    memcpy(out, s->headers, f.headers);
    ip_length_write(s, out + f.ip, f.n - f.ip);
    upper_header_write(s, out + f.upper, f.n - f.upper);
    if (whole || !s->h.partial)
        upper_sum_write(out, &f);
    else
        sum_put(out + f.upper + upper_sum_at(&f),
                sum_fold((uint64_t)s->partial_sum + htobe16((uint16_t)(f.n - f.upper))));
    s->at += part;
    return f.n;
}

static size_t super_part(const struct segments *s)
{
    size_t left = s->f.n - s->f.headers - s->at;
    return left < s->size ? left : s->size;
}

static size_t super_next(struct segments *s, uint8_t *out, bool whole)
{
    size_t part = super_part(s);
    memcpy(out + s->f.headers, s->p + s->f.headers + s->at, part);
    return super_headers_write(s, out, part, whole);
}

size_t segments_next(struct segments *s, uint8_t *out, bool whole)
{
    if (s->k == s->count)
        return 0;
    size_t n = s->h.gso == OFFLOAD_NONE ? plain_next(s, out, whole) : super_next(s, out, whole);
    s->k++;
    return n;
}

uint8_t *segments_next_here(struct segments *s, uint8_t *p, size_t *n)
{
    if (s->k == s->count)
        return NULL;
    uint8_t *at = p + s->at;
    *n = super_headers_write(s, at, super_part(s), false);
    s->k++;
    return at;
}
