/* For the tests of this folder: frames by recipe, and what offload, segments and coalesce do, done again byte
 * by byte. */
#ifndef WARREN_PUMP_OFFLOAD_KIT_INT_H
#define WARREN_PUMP_OFFLOAD_KIT_INT_H

#include <stdlib.h>
#include <string.h>

#include "pump/offload.h"
#include "wire/eth.h"

enum { KIT_FIN = 1, KIT_SYN = 2, KIT_PSH = 8, KIT_ACK = 16, KIT_URG = 32, KIT_CWR = 128 };

struct recipe {
    bool tap, tagged, df, partial, no_sum;
    uint8_t version, proto, tos, ttl, flags, host;
    uint16_t id, sport, window, urgent;
    uint32_t label, seq, ack;
    struct bytes ip_options, options; /* of IPv4; of TCP */
    size_t payload;
};

static const uint8_t kit_timestamps[12] = {1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4};

static inline struct recipe recipe_of(uint8_t version, uint8_t proto, bool tap)
{
    return (struct recipe){.tap = tap,
                           .df = true,
                           .version = version,
                           .proto = proto,
                           .ttl = 64,
                           .flags = KIT_ACK,
                           .host = 1,
                           .id = 0xfffe,
                           .sport = 4000,
                           .window = 501,
                           .seq = 0xfffff000,
                           .ack = 77,
                           .options = proto == IP_TCP ? bytes_of(kit_timestamps, 12) : bytes_of("", 0),
                           .payload = 1000};
}

static inline void kit_need(bool ok)
{
    if (!ok)
        abort();
}

/* Words in the order of the wire, one by one. */
static inline uint32_t naive_sum(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

struct naive_frame {
    size_t ip, upper, headers, n;
    uint8_t version, proto;
};

/* Trusts the bytes: for frames that the kit has made. */
static inline struct naive_frame naive_find(const uint8_t *p, size_t n, bool tap)
{
    struct naive_frame f = {.ip = tap ? p[12] == 0x81 ? 18 : 14 : 0, .n = n};
    const uint8_t *ip = p + f.ip;
    f.version = ip[0] >> 4;
    f.proto = f.version == 4 ? ip[9] : ip[6];
    f.upper = f.ip + (f.version == 4 ? (ip[0] & 15) * 4u : 40);
    f.headers = f.upper + (f.proto == IP_UDP ? 8 : f.proto == IP_TCP ? (p[f.upper + 12] >> 4) * 4u : 0);
    return f;
}

static inline uint32_t naive_pseudo(const uint8_t *p, const struct naive_frame *f)
{
    size_t n = f->n - f->upper;
    uint8_t tail[4] = {0, f->proto, (uint8_t)(n >> 8), (uint8_t)n};
    uint32_t sum = f->version == 4 ? naive_sum(0, p + f->ip + 12, 8) : naive_sum(0, p + f->ip + 8, 32);
    return naive_sum(sum, tail, 4);
}

static inline void naive_put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void naive_upper(uint8_t *p, const struct naive_frame *f, bool partial)
{
    uint8_t *at = p + f->upper + (f->proto == IP_TCP ? 16 : 6);
    naive_put16(at, 0);
    uint32_t sum = naive_pseudo(p, f);
    if (!partial) {
        sum = 0xffff & ~naive_sum(sum, p + f->upper, f->n - f->upper);
        sum = sum == 0 && f->proto == IP_UDP ? 0xffff : sum;
    }
    naive_put16(at, sum);
}

/* Lengths and checksums for n bytes in all. */
static inline void naive_finish(uint8_t *p, size_t n, bool tap, bool partial)
{
    struct naive_frame f = naive_find(p, n, tap);
    uint8_t *ip = p + f.ip;
    if (f.version == 4) {
        naive_put16(ip + 2, n - f.ip);
        naive_put16(ip + 10, 0);
        naive_put16(ip + 10, 0xffff & ~naive_sum(0, ip, f.upper - f.ip));
    } else {
        naive_put16(ip + 4, n - f.upper);
    }
    if (f.proto == IP_UDP)
        naive_put16(p + f.upper + 4, n - f.upper);
    if (f.proto == IP_UDP || f.proto == IP_TCP)
        naive_upper(p, &f, partial);
}

static inline void recipe_ip(struct wr *w, const struct recipe *r)
{
    static const uint8_t net6[15] = {0xfd, 7};
    if (r->version == 4) {
        wr_u8(w, (uint8_t)(0x45 + r->ip_options.n / 4));
        wr_u8(w, r->tos);
        wr_u16(w, 0);
        wr_u16(w, r->id);
        wr_u16(w, r->df ? 0x4000 : 0);
        wr_u8(w, r->ttl);
        wr_u8(w, r->proto);
        wr_u16(w, 0);
        wr_u32(w, 0x0a070000u | r->host);
        wr_u32(w, 0x0a0700fe);
        wr_bytes(w, r->ip_options);
        return;
    }
    wr_u32(w, 6u << 28 | (uint32_t)r->tos << 20 | r->label);
    wr_u16(w, 0);
    wr_u8(w, r->proto);
    wr_u8(w, r->ttl);
    wr_copy(w, net6, 15);
    wr_u8(w, r->host);
    wr_copy(w, net6, 15);
    wr_u8(w, 0xfe);
}

/* Payload follows from the sequence number, so that segments of one stream fit together. */
static inline uint8_t kit_payload(uint32_t seq)
{
    return (uint8_t)(seq * 2654435761u >> 24);
}

/* The frame in a block of exactly its size, which the caller frees. */
static inline uint8_t *recipe_make(const struct recipe *r, size_t *n)
{
    static uint8_t buf[70000];
    struct wr w = wr_of(buf, sizeof buf);
    if (r->tap) {
        wr_copy(&w, "\2\0\0\0\0\xfe\2\0\0\0\0\1", 12);
        if (r->tagged)
            wr_u32(&w, 0x81000005);
        wr_u16(&w, r->version == 4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6);
    }
    recipe_ip(&w, r);
    if (r->proto == IP_TCP || r->proto == IP_UDP) {
        wr_u16(&w, r->sport);
        wr_u16(&w, 443);
    }
    if (r->proto == IP_TCP) {
        wr_u32(&w, r->seq);
        wr_u32(&w, r->ack);
        wr_u8(&w, (uint8_t)(0x50 + (r->options.n / 4 << 4)));
        wr_u8(&w, r->flags);
        wr_u16(&w, r->window);
        wr_u16(&w, 0);
        wr_u16(&w, r->urgent);
        wr_bytes(&w, r->options);
    } else if (r->proto == IP_UDP) {
        wr_u32(&w, 0);
    }
    for (size_t i = 0; i < r->payload; i++)
        wr_u8(&w, kit_payload(r->seq + (uint32_t)i));
    kit_need(wr_ok(&w));
    *n = w.n;
    naive_finish(buf, w.n, r->tap, r->partial);
    if (r->no_sum)
        naive_put16(buf + naive_find(buf, w.n, r->tap).upper + 6, 0);
    uint8_t *out = malloc(w.n);
    kit_need(out != NULL);
    memcpy(out, buf, w.n);
    return out;
}

/* The vnet_hdr that a kernel puts before the frame of r where it is a super-frame of segments of `size`. */
static inline struct vnet_hdr recipe_hdr(const struct recipe *r, uint16_t size)
{
    size_t n;
    uint8_t *p = recipe_make(r, &n);
    struct naive_frame f = naive_find(p, n, r->tap);
    free(p);
    return (struct vnet_hdr){.partial = true,
                             .gso = r->proto == IP_UDP ? OFFLOAD_UDP
                                    : r->version == 4  ? OFFLOAD_TCP4
                                                       : OFFLOAD_TCP6,
                             .ecn = r->proto == IP_TCP && (r->flags & KIT_CWR),
                             .gso_size = size,
                             .hdr_len = (uint16_t)f.headers,
                             .csum_start = (uint16_t)f.upper,
                             .csum_offset = r->proto == IP_TCP ? 16 : 6};
}

/* One super-frame to the packets that it stands for, one after the other; returns the length of the k-th in
 * out, 0 where there is none. size 0: a plain frame. same_id: as a kernel with TCP_FIXEDID. */
static inline size_t naive_segment(const uint8_t *p, size_t n, bool tap, size_t size, bool same_id,
                                   bool partial, size_t k, uint8_t *out)
{
    struct naive_frame f = naive_find(p, n, tap);
    size_t payload = n - f.headers, from = k * size, part = size ? size : payload;
    if (k > 0 && (size == 0 || from >= payload))
        return 0;
    if (from + part > payload)
        part = payload - from;
    memcpy(out, p, f.headers);
    memcpy(out + f.headers, p + f.headers + from, part);
    if (f.proto == IP_TCP) {
        uint8_t *t = out + f.upper;
        uint32_t seq = (uint32_t)t[4] << 24 | (uint32_t)t[5] << 16 | (uint32_t)t[6] << 8 | t[7];
        seq += (uint32_t)from;
        naive_put16(t + 4, seq >> 16);
        naive_put16(t + 6, seq & 0xffff);
        if (from + part < payload)
            t[13] &= (uint8_t) ~(KIT_FIN | KIT_PSH);
        if (k > 0)
            t[13] &= (uint8_t)~KIT_CWR;
    }
    if (f.version == 4 && !same_id) {
        uint8_t *id = out + f.ip + 4;
        naive_put16(id, ((size_t)id[0] << 8) + id[1] + k);
    }
    naive_finish(out, f.headers + part, tap, partial);
    return f.headers + part;
}

/* The next segment of its flow. */
static inline struct recipe following(struct recipe r)
{
    r.id++;
    r.seq += (uint32_t)r.payload;
    return r;
}

/* What coalesce points at until it is flushed. */
struct frames {
    uint8_t *p[200];
    size_t n;
};

static inline void frames_free(struct frames *all)
{
    while (all->n > 0)
        free(all->p[--all->n]);
}

static inline void push_bytes(struct coalesce *c, struct frames *all, uint8_t *p, size_t n, bool partial)
{
    struct inner_frame f;
    kit_need(all->n < sizeof all->p / sizeof *all->p);
    bool simple = inner_frame_read(&f, p, n, c->tap, false) == 0;
    coalesce_push(c, p, n, simple ? &f : NULL, partial);
    all->p[all->n++] = p;
}

static inline void push(struct coalesce *c, struct frames *all, const struct recipe *r)
{
    size_t n;
    uint8_t *p = recipe_make(r, &n);
    push_bytes(c, all, p, n, r->partial);
}

#endif
