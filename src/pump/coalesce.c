#include "pump/offload_int.h"

/* Where in doubt, frames do not join: a frame alone costs time, a wrong run costs packets. */

#define TCP_HEADER_FLAGS (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK | TCP_URG)

void coalesce_init(struct coalesce *c, bool tap, bool tcp, bool udp, const struct coalesce_ops *ops,
                   void *arg)
{
    *c = (struct coalesce){.tap = tap, .tcp = tcp, .udp = udp, .ops = ops, .arg = arg};
    for (uint8_t i = 0; i < COALESCE_FLOWS; i++)
        c->order[i] = i;
}

/* ---- Writing. */

static void alone_write(struct coalesce *c, uint8_t *p, size_t n, const struct inner_frame *f, bool partial)
{
    struct vnet_hdr h = {0};
    if (partial && f && has_upper(f)) {
        h.partial = true;
        h.hdr_len = f->headers;
        h.csum_start = f->upper;
        h.csum_offset = upper_sum_at(f);
        n = f->n; /* the kernel would sum the padding, too */
    }
    struct iovec piece = {.iov_base = p, .iov_len = n};
    c->writes++;
    c->ops->write(c->arg, &h, &piece, 1, n);
}

/* The headers of the first frame become those of all. */
static void headers_write(const struct coalesce_run *r)
{
    const struct inner_frame *f = &r->first;
    uint8_t *ip = r->p + f->ip, *u = r->p + f->upper;
    uint16_t upper = (uint16_t)(r->bytes - f->upper);
    if (f->version == 4) {
        put16(ip + IP4_LENGTH_AT, (uint16_t)(r->bytes - f->ip));
        sum_put(ip + IP4_SUM_AT, 0);
        sum_put(ip + IP4_SUM_AT, (uint16_t)~sum_fold(ip4_sum(ip)));
    } else {
        put16(ip + IP6_LENGTH_AT, upper);
    }
    if (f->proto == IP_TCP)
        u[TCP_FLAGS_AT] |= r->last_flags;
    else
        put16(u + UDP_LENGTH_AT, upper);
    sum_put(u + upper_sum_at(f), sum_fold(r->pseudo + htobe16(upper)));
}

static void run_write(struct coalesce *c, const struct coalesce_run *r)
{
    const struct inner_frame *f = &r->first;
    if (r->count == 1) {
        alone_write(c, r->p, f->n, f, r->partial);
        return;
    }
    struct vnet_hdr h = {.partial = true,
                         .gso = f->proto == IP_UDP ? OFFLOAD_UDP
                                : f->version == 4  ? OFFLOAD_TCP4
                                                   : OFFLOAD_TCP6,
                         .ecn = f->tcp_flags & TCP_CWR,
                         .gso_size = r->size,
                         .hdr_len = f->headers,
                         .csum_start = f->upper,
                         .csum_offset = upper_sum_at(f)};
    headers_write(r);
    c->writes++;
    c->ops->write(c->arg, &h, r->pieces, r->piece_count, r->bytes);
}

/* Writes the i-th open run; the places of the later ones move up. */
static void run_end(struct coalesce *c, size_t i)
{
    uint8_t at = c->order[i];
    if (c->last == &c->runs[at])
        c->last = NULL;
    c->open--;
    memmove(c->order + i, c->order + i + 1, c->open - i);
    c->order[c->open] = at;
    run_write(c, &c->runs[at]);
}

void coalesce_flush(struct coalesce *c)
{
    while (c->open > 0)
        run_end(c, 0);
}

/* ---- Judging. */

/* TCP's checksum and IPv4's have two zeros, of which the kernel writes one: the other would not come back. */
static bool ip_is_plain(const uint8_t *p, const struct inner_frame *f)
{
    const uint8_t *ip = p + f->ip;
    if (f->version == 6)
        return true;
    return f->upper - f->ip == IP4_HEADER_LEN && raw16(ip + IP4_SUM_AT) != 0xffff &&
           sum_fold(ip4_sum(ip)) == 0xffff;
}

/* pseudo: as in the run. */
static bool sum_may_join(const uint8_t *p, const struct inner_frame *f, bool partial, uint64_t pseudo)
{
    uint16_t have = raw16(p + f->upper + upper_sum_at(f));
    if (partial)
        return have == sum_fold(pseudo + htobe16((uint16_t)(f->n - f->upper)));
    return have != (f->proto == IP_TCP ? 0xffff : 0) && checksum_right(p, f);
}

static bool may_begin(const struct coalesce *c, const uint8_t *p, size_t n, const struct inner_frame *f)
{
    bool wanted = f->proto == IP_TCP   ? c->tcp && (f->tcp_flags & TCP_HEADER_FLAGS) == TCP_ACK
                  : f->proto == IP_UDP ? c->udp
                                       : false;
    return wanted && f->n == n && f->n > f->headers && f->n - f->ip <= IP_LENGTH_MAX && ip_is_plain(p, f);
}

static bool is_flow(const struct coalesce_run *r, const uint8_t *p, const struct inner_frame *f)
{
    const struct inner_frame *a = &r->first;
    if (a->src_port != f->src_port || a->dst_port != f->dst_port || a->proto != f->proto ||
        a->version != f->version)
        return false;
    return f->version == 4 ? memcmp(r->p + a->ip + IP4_SRC_AT, p + f->ip + IP4_SRC_AT, 8) == 0
                           : memcmp(r->p + a->ip + IP6_SRC_AT, p + f->ip + IP6_SRC_AT, 32) == 0;
}

/* Ids count up, or, with DF, all are the first's: then next_id is, from the second frame on. RFC 6864 gives
 * ids of such packets no meaning, so that the kernel's segmentation would count them up again is no loss. */
static bool id_follows(const struct coalesce_run *r, const uint8_t *a, const uint8_t *b)
{
    uint16_t id = get16(b + IP4_ID_AT);
    return id == r->next_id ||
           (r->count == 1 && id == get16(a + IP4_ID_AT) && (get16(a + IP4_FRAGMENT_AT) & IP4_DF));
}

/* a, b: from the first byte of the frames. */
static bool ip_same(const struct coalesce_run *r, const uint8_t *b, const struct inner_frame *f)
{
    const uint8_t *a = r->p;
    if (f->ip != r->first.ip || f->headers != r->first.headers || (f->ip > 0 && memcmp(a, b, f->ip) != 0))
        return false;
    a += f->ip;
    b += f->ip;
    if (f->version == 6)
        return raw32(a) == raw32(b) && a[IP6_HOPS_AT] == b[IP6_HOPS_AT];
    return a[1] == b[1] && raw16(a + IP4_FRAGMENT_AT) == raw16(b + IP4_FRAGMENT_AT) &&
           a[IP4_TTL_AT] == b[IP4_TTL_AT] && id_follows(r, a, b);
}

static bool tcp_same(const struct coalesce_run *r, const uint8_t *b, const struct inner_frame *f)
{
    const uint8_t *a = r->p + f->upper;
    b += f->upper;
    uint8_t differ = (uint8_t)((a[TCP_FLAGS_AT] ^ b[TCP_FLAGS_AT]) & ~(TCP_FIN | TCP_PSH | TCP_CWR));
    return get32(b + TCP_SEQ_AT) == r->next_seq && raw32(a + TCP_ACK_AT) == raw32(b + TCP_ACK_AT) &&
           a[TCP_DATA_AT] == b[TCP_DATA_AT] && differ == 0 && !(b[TCP_FLAGS_AT] & TCP_CWR) &&
           raw16(a + TCP_WINDOW_AT) == raw16(b + TCP_WINDOW_AT) &&
           raw16(a + TCP_URGENT_AT) == raw16(b + TCP_URGENT_AT) &&
           memcmp(a + TCP_HEADER_LEN, b + TCP_HEADER_LEN, (size_t)(f->headers - f->upper) - TCP_HEADER_LEN) ==
               0;
}

/* The payload is read last, and of the first frame only when a second comes: alone it is the receiving
 * kernel's to judge. */
static bool may_join(struct coalesce_run *r, const uint8_t *p, size_t n, const struct inner_frame *f,
                     bool partial)
{
    size_t payload = f->n - f->headers;
    if (f->n != n || payload == 0 || payload > r->size || r->bytes + payload - f->ip > IP_LENGTH_MAX)
        return false;
    if (!ip_same(r, p, f) || !ip_is_plain(p, f) || (f->proto == IP_TCP && !tcp_same(r, p, f)))
        return false;
    if (!r->right && !sum_may_join(r->p, &r->first, r->partial, r->pseudo))
        return false;
    r->right = true;
    return sum_may_join(p, f, partial, r->pseudo);
}

/* ---- Moving. */

static void run_begin(struct coalesce *c, uint8_t *p, const struct inner_frame *f, bool partial)
{
    if (c->open == COALESCE_FLOWS)
        run_end(c, 0);
    struct coalesce_run *r = &c->runs[c->order[c->open++]];
    size_t payload = f->n - f->headers;
    r->first = *f;
    r->p = p;
    r->pseudo = pseudo_sum(p, f);
    r->next_seq = f->proto == IP_TCP ? get32(p + f->upper + TCP_SEQ_AT) + (uint32_t)payload : 0;
    r->next_id = f->version == 4 ? (uint16_t)(get16(p + f->ip + IP4_ID_AT) + 1) : 0;
    r->size = (uint16_t)payload;
    r->partial = partial;
    r->right = false;
    r->last_flags = 0;
    r->count = 1;
    r->bytes = f->n;
    r->piece_count = 1;
    r->pieces[0] = (struct iovec){.iov_base = p, .iov_len = f->n};
    c->last = r;
}

static uint8_t *piece_end(const struct coalesce_run *r)
{
    const struct iovec *last = &r->pieces[r->piece_count - 1];
    return (uint8_t *)last->iov_base + last->iov_len;
}

/* Whether nothing may follow any more. */
static bool run_join(struct coalesce_run *r, uint8_t *p, const struct inner_frame *f)
{
    size_t payload = f->n - f->headers;
    if (f->version == 4) {
        uint16_t id = get16(p + f->ip + IP4_ID_AT), first = get16(r->p + f->ip + IP4_ID_AT);
        r->next_id = id == first ? id : (uint16_t)(id + 1);
    }
    r->last_flags = f->tcp_flags & (TCP_FIN | TCP_PSH);
    r->next_seq += (uint32_t)payload;
    if (piece_end(r) == p + f->headers)
        r->pieces[r->piece_count - 1].iov_len += payload;
    else
        r->pieces[r->piece_count++] = (struct iovec){.iov_base = p + f->headers, .iov_len = payload};
    r->count++;
    r->bytes += payload;
    return payload < r->size || r->last_flags != 0 || r->count == COALESCE_SEGMENTS ||
           r->bytes + 1 - f->ip > IP_LENGTH_MAX;
}

void coalesce_push(struct coalesce *c, uint8_t *p, size_t n, const struct inner_frame *f, bool partial)
{
    size_t i = 0;
    c->frames++;
    if (!f) {
        coalesce_flush(c);
        alone_write(c, p, n, f, partial);
        return;
    }
    while (i < c->open && !is_flow(&c->runs[c->order[i]], p, f))
        i++;
    if (i < c->open) {
        struct coalesce_run *r = &c->runs[c->order[i]];
        if (may_join(r, p, n, f, partial)) {
            c->last = r;
            if (run_join(r, p, f))
                run_end(c, i);
            return;
        }
        run_end(c, i);
    }
    if (may_begin(c, p, n, f))
        run_begin(c, p, f, partial);
    else
        alone_write(c, p, n, f, partial);
}

uint8_t *coalesce_end(const struct coalesce *c, size_t *headers, size_t *before)
{
    const struct coalesce_run *r = c->last;
    /* The first frame's own checksum is read when the second comes: until then it must be whole. */
    if (!r || !(r->partial || r->right))
        return NULL;
    *headers = r->first.headers;
    *before = r->pieces[r->piece_count - 1].iov_len - (r->piece_count == 1 ? r->first.headers : 0);
    return piece_end(r);
}

bool coalesce_extend(struct coalesce *c, uint8_t *p, size_t n, const struct inner_frame *f, bool partial)
{
    struct coalesce_run *r = c->last;
    size_t i = 0;
    if (!r || !is_flow(r, p, f) || !may_join(r, p, n, f, partial))
        return false;
    c->frames++;
    while (&c->runs[c->order[i]] != r)
        i++;
    if (run_join(r, p, f))
        run_end(c, i);
    return true;
}
