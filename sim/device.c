#include "sim/device.h"

#include <stdlib.h>
#include <string.h>

#define ETH_LEN     14
#define IP_LEN      20
#define IP6_LEN     40
#define UDP_LEN     8
#define ARP_LEN     28
#define MAGIC       0x77617272 /* "warr" */
#define SAY_LEN     16         /* magic, number, sequence */
#define MDNS_IP     0xe00000fbu
#define MDNS_PORT   5353
#define TCP_LEN     20
#define TCP_PORT    5001  /* of streams: and the number of the stream */
#define STREAM_FROM 20000 /* their source port: and the number of the sender */

static const uint8_t everyone[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t mdns_mac[6] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb};

void device_open(struct device *d, const struct device_config *c, usec_t *now)
{
    device_close(d);
    d->open = true;
    d->tap = c->tap;
    memcpy(d->mac, c->mac, 6);
    d->ip4 = c->ip4;
    d->net4 = c->net4;
    memcpy(d->ip6, c->ip6, 16);
    d->mtu = c->mtu;
    d->number = c->number;
    d->offloads = c->offloads;
    d->now = now;
    d->arp_count = d->pmtu_count = 0;
    d->outbox = sim_alloc(DEVICE_OUTBOX * sizeof *d->outbox);
}

void device_close(struct device *d)
{
    if (!d->open)
        return;
    struct device_frame *f;
    while ((f = device_output(d)))
        free(f);
    free(d->outbox);
    d->outbox = NULL;
    d->open = false;
}

void device_done(struct device *d)
{
    device_close(d);
    while (d->stream_count > 0)
        free(d->streams[--d->stream_count].seen);
}

struct device_frame *device_output(struct device *d)
{
    if (!d->open || d->out_count == 0)
        return NULL;
    struct device_frame *f = d->outbox[d->out_first];
    d->out_first = (d->out_first + 1) % DEVICE_OUTBOX;
    d->out_count--;
    d->frames_out++;
    return f;
}

static void out(struct device *d, const struct vnet_hdr *h, struct bytes frame)
{
    if (!d->open)
        return;
    if (d->out_count == DEVICE_OUTBOX) {
        d->overflowed++;
        return;
    }
    struct device_frame *f = sim_alloc(sizeof *f + frame.n);
    f->h = *h;
    f->n = frame.n;
    if (frame.n)
        memcpy(f->data, frame.p, frame.n);
    d->outbox[(d->out_first + d->out_count++) % DEVICE_OUTBOX] = f;
}

void device_raw_super(struct device *d, const struct vnet_hdr *h, struct bytes frame)
{
    if (frame.n <= OFFLOAD_FRAME_MAX && d->offloads)
        out(d, h, frame);
}

void device_raw(struct device *d, struct bytes frame)
{
    if (frame.n > DEVICE_FRAME_MAX)
        d->overflowed += d->open;
    else
        out(d, &(struct vnet_hdr){0}, frame);
}

static uint16_t checksum(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

struct address {
    uint8_t src_mac[6], dst_mac[6];
    uint32_t src_ip, dst_ip;
};

static void eth_header(struct wr *w, const uint8_t dst[6], const uint8_t src[6], uint16_t type)
{
    wr_copy(w, dst, 6);
    wr_copy(w, src, 6);
    wr_u16(w, type);
}

/* The transport's checksum of n bytes at `body`, at sum_at: whole, or only begun for the device to go on
 * with. */
static struct vnet_hdr sum_in(const struct device *d, uint32_t pseudo, uint8_t *body, size_t n, size_t upper,
                              size_t sum_at)
{
    put16(body + sum_at, 0);
    if (d->offloads) {
        put16(body + sum_at, (uint16_t)~checksum(pseudo, body, 0));
        return (struct vnet_hdr){
            .partial = true, .csum_start = (uint16_t)upper, .csum_offset = (uint16_t)sum_at};
    }
    put16(body + sum_at, checksum(pseudo, body, n));
    return (struct vnet_hdr){0};
}

/* Sends one IPv4 packet around `body`, whose transport checksum (at sum_at, with the pseudo header or not) is
 * filled in. */
static void send_ip(struct device *d, const struct address *a, uint8_t proto, uint8_t *body, size_t n,
                    size_t sum_at)
{
    uint8_t frame[DEVICE_FRAME_MAX];
    struct wr w = wr_of(frame, sizeof frame);
    if (d->tap)
        eth_header(&w, a->dst_mac, a->src_mac, 0x0800);
    uint8_t *ip = wr_take(&w, IP_LEN);
    if (!ip)
        return;
    struct wr h = wr_of(ip, IP_LEN);
    wr_u16(&h, 0x4500);
    wr_u16(&h, (uint16_t)(IP_LEN + n));
    wr_u32(&h, d->dont_fragment ? 0x4000 : 0);
    wr_u8(&h, 64);
    wr_u8(&h, proto);
    wr_u16(&h, 0);
    wr_u32(&h, a->src_ip);
    wr_u32(&h, a->dst_ip);
    put16(ip + 10, checksum(0, ip, IP_LEN));
    uint32_t pseudo = 0;
    for (size_t i = 12; proto != 1 && i < 20; i += 2)
        pseudo += (uint32_t)ip[i] << 8 | ip[i + 1];
    if (proto != 1)
        pseudo += proto + (uint32_t)n;
    struct vnet_hdr sum = {0};
    if (proto != 1) {
        sum = sum_in(d, pseudo, body, n, w.n, sum_at);
    } else {
        put16(body + sum_at, 0);
        put16(body + sum_at, checksum(0, body, n));
    }
    wr_copy(&w, body, n);
    if (wr_ok(&w))
        out(d, &sum, wr_done(&w));
}

static void send_udp(struct device *d, const struct address *a, uint16_t from_port, uint16_t to_port,
                     struct bytes payload)
{
    uint8_t body[DEVICE_FRAME_MAX];
    struct wr w = wr_of(body, sizeof body);
    wr_u16(&w, from_port);
    wr_u16(&w, to_port);
    wr_u16(&w, (uint16_t)(UDP_LEN + payload.n));
    wr_u16(&w, 0);
    wr_bytes(&w, payload);
    if (wr_ok(&w))
        send_ip(d, a, 17, body, w.n, 6);
}

static void send_say(struct device *d, const struct address *a, uint16_t port, uint64_t seq, size_t size)
{
    uint8_t payload[DEVICE_FRAME_MAX] = {0};
    struct wr w = wr_of(payload, sizeof payload);
    wr_u32(&w, MAGIC);
    wr_u32(&w, d->number);
    wr_u64(&w, seq);
    size_t most = (d->dont_fragment ? device_pmtu(d, a->dst_ip) : d->mtu) - (size_t)IP_LEN - UDP_LEN;
    if (size < SAY_LEN)
        size = SAY_LEN;
    send_udp(d, a, DEVICE_PORT, port, bytes_of(payload, size < most ? size : most));
}

uint16_t device_pmtu(const struct device *d, uint32_t ip)
{
    for (size_t i = 0; i < d->pmtu_count; i++)
        if (d->pmtu[i].ip == ip)
            return d->pmtu[i].mtu;
    return d->mtu;
}

static void pmtu_learn(struct device *d, uint32_t ip, uint16_t mtu)
{
    size_t i = 0;
    d->too_big_in++;
    while (i < d->pmtu_count && d->pmtu[i].ip != ip)
        i++;
    if (i == DEVICE_ARP_MAX || mtu < 68)
        return;
    d->pmtu_count += i == d->pmtu_count;
    d->pmtu[i].ip = ip;
    d->pmtu[i].mtu = mtu;
}

static const uint8_t *arp_find(const struct device *d, uint32_t ip)
{
    for (size_t i = 0; i < d->arp_count; i++)
        if (d->arp[i].ip == ip)
            return d->arp[i].mac;
    return NULL;
}

static void arp_learn(struct device *d, uint32_t ip, const uint8_t mac[6])
{
    size_t i = 0;
    while (i < d->arp_count && d->arp[i].ip != ip)
        i++;
    if (i == DEVICE_ARP_MAX)
        return;
    if (i == d->arp_count)
        d->arp_count++;
    d->arp[i].ip = ip;
    memcpy(d->arp[i].mac, mac, 6);
}

static void send_arp(struct device *d, uint16_t op, uint32_t sender, const uint8_t to[6], uint32_t target)
{
    uint8_t frame[ETH_LEN + ARP_LEN];
    static const uint8_t nobody[6] = {0};
    struct wr w = wr_of(frame, sizeof frame);
    eth_header(&w, to, d->mac, 0x0806);
    wr_u16(&w, 1);
    wr_u16(&w, 0x0800);
    wr_u16(&w, 0x0604);
    wr_u16(&w, op);
    wr_copy(&w, d->mac, 6);
    wr_u32(&w, sender);
    wr_copy(&w, op == 1 ? nobody : to, 6);
    wr_u32(&w, target);
    device_raw(d, wr_done(&w));
}

void device_arp(struct device *d, uint32_t ip)
{
    if (d->open && d->tap)
        send_arp(d, 1, d->ip4, everyone, ip);
}

void device_claim(struct device *d, uint32_t ip)
{
    if (d->open && d->tap)
        send_arp(d, 2, ip, everyone, ip);
}

bool device_knows(const struct device *d, uint32_t ip)
{
    return !d->tap || arp_find(d, ip);
}

void device_forget_arp(struct device *d)
{
    d->arp_count = 0;
}

/* Fills in the way to ip, or asks for it. */
static bool address_to(struct device *d, uint32_t ip, struct address *a)
{
    if (!d->open)
        return false;
    *a = (struct address){.src_ip = d->ip4, .dst_ip = ip};
    memcpy(a->src_mac, d->mac, 6);
    const uint8_t *mac = arp_find(d, ip);
    if (d->tap && !mac) {
        device_arp(d, ip);
        return false;
    }
    if (mac)
        memcpy(a->dst_mac, mac, 6);
    return true;
}

bool device_say(struct device *d, uint32_t ip, uint64_t seq, size_t size)
{
    struct address a;
    if (!address_to(d, ip, &a))
        return false;
    send_say(d, &a, DEVICE_PORT, seq, size);
    return true;
}

bool device_say6(struct device *d, uint32_t ip, const uint8_t ip6[16], uint64_t seq, size_t size)
{
    struct address a;
    uint8_t body[DEVICE_FRAME_MAX] = {0}, frame[DEVICE_FRAME_MAX];
    if (!address_to(d, ip, &a))
        return false;
    if (size > d->mtu - (size_t)IP6_LEN - UDP_LEN)
        size = d->mtu - (size_t)IP6_LEN - UDP_LEN;
    size_t n = UDP_LEN + (size < SAY_LEN ? SAY_LEN : size);
    struct wr w = wr_of(body, n);
    wr_u16(&w, DEVICE_PORT);
    wr_u16(&w, DEVICE_PORT);
    wr_u16(&w, (uint16_t)n);
    wr_u16(&w, 0);
    wr_u32(&w, MAGIC);
    wr_u32(&w, d->number);
    wr_u64(&w, seq);
    struct wr f = wr_of(frame, sizeof frame);
    if (d->tap)
        eth_header(&f, a.dst_mac, a.src_mac, 0x86dd);
    wr_u32(&f, 0x60000000);
    wr_u16(&f, (uint16_t)n);
    wr_u16(&f, 17 << 8 | 64);
    wr_copy(&f, d->ip6, 16);
    wr_copy(&f, ip6, 16);
    uint32_t pseudo = 17 + (uint32_t)n;
    for (size_t i = 0; i < 16; i += 2)
        pseudo += ((uint32_t)d->ip6[i] << 8 | d->ip6[i + 1]) + ((uint32_t)ip6[i] << 8 | ip6[i + 1]);
    struct vnet_hdr sum = sum_in(d, pseudo, body, n, f.n, 6);
    wr_copy(&f, body, n);
    if (wr_ok(&f))
        out(d, &sum, wr_done(&f));
    return true;
}

/* ---- Streams. */

static uint8_t stream_byte(uint32_t from, uint16_t stream, uint32_t at)
{
    uint32_t x = (at + from * 7919u + stream * 104729u) * 2654435761u;
    return (uint8_t)(x >> 24 ^ x >> 13);
}

/* What a kernel does for a device that does not offload. */
static void cut(struct device *d, const struct vnet_hdr *h, struct bytes frame)
{
    struct segments s;
    size_t segment, count, n;
    if (segments_begin(&s, h, frame.p, frame.n, d->tap, &segment, &count) < 0 || segment > DEVICE_FRAME_MAX)
        return;
    uint8_t plain[DEVICE_FRAME_MAX];
    while ((n = segments_next(&s, plain, true)) > 0)
        device_raw(d, bytes_of(plain, n));
}

bool device_pour(struct device *d, uint32_t ip, uint16_t stream, uint32_t at, size_t n)
{
    struct address a;
    size_t mss = (size_t)device_pmtu(d, ip) - IP_LEN - TCP_LEN, eth = d->tap ? ETH_LEN : 0;
    if (!address_to(d, ip, &a))
        return false;
    uint8_t *frame = sim_alloc(eth + IP_LEN + TCP_LEN + n);
    struct wr w = wr_of(frame, eth + IP_LEN + TCP_LEN + n);
    if (d->tap)
        eth_header(&w, a.dst_mac, a.src_mac, 0x0800);
    wr_u16(&w, 0x4500);
    wr_u16(&w, (uint16_t)(IP_LEN + TCP_LEN + n));
    wr_u32(&w, 0x4000);
    wr_u16(&w, 64 << 8 | 6);
    wr_u16(&w, 0);
    wr_u32(&w, a.src_ip);
    wr_u32(&w, a.dst_ip);
    uint8_t *ip4 = frame + eth, *tcp = ip4 + IP_LEN;
    put16(ip4 + 10, checksum(0, ip4, IP_LEN));
    wr_u16(&w, (uint16_t)(d->number + STREAM_FROM));
    wr_u16(&w, (uint16_t)(TCP_PORT + stream));
    wr_u32(&w, at);
    wr_u32(&w, 1);
    wr_u16(&w, 0x5018);
    wr_u16(&w, 65535);
    wr_u32(&w, 0);
    for (size_t i = 0; i < n; i++)
        wr_u8(&w, stream_byte(d->number, stream, at + (uint32_t)i));
    uint32_t pseudo = 6 + TCP_LEN + (uint32_t)n;
    for (size_t i = 12; i < IP_LEN; i += 2)
        pseudo += (uint32_t)ip4[i] << 8 | ip4[i + 1];
    put16(tcp + 16, (uint16_t)~checksum(pseudo, tcp, 0));
    struct vnet_hdr h = {.partial = true, .csum_start = (uint16_t)(eth + IP_LEN), .csum_offset = 16};
    if (n > mss) {
        h.gso = OFFLOAD_TCP4;
        h.gso_size = (uint16_t)mss;
        h.hdr_len = (uint16_t)(eth + IP_LEN + TCP_LEN);
    }
    if (d->offloads)
        out(d, &h, wr_done(&w));
    else
        cut(d, &h, wr_done(&w));
    free(frame);
    return true;
}

const struct device_stream *device_stream(const struct device *d, uint32_t from, uint16_t stream)
{
    for (size_t i = 0; i < d->stream_count; i++)
        if (d->streams[i].from == from && d->streams[i].stream == stream)
            return &d->streams[i];
    return NULL;
}

static struct device_stream *stream_need(struct device *d, uint32_t from, uint16_t stream)
{
    struct device_stream *s = (struct device_stream *)device_stream(d, from, stream);
    if (s || d->stream_count == DEVICE_STREAMS_MAX)
        return s;
    s = &d->streams[d->stream_count++];
    *s = (struct device_stream){.from = from, .stream = stream};
    return s;
}

/* Marks the bytes; false where one of them was there before. */
static bool stream_mark(struct device_stream *s, uint32_t at, size_t n)
{
    size_t need = (at + n) / 8 + 1;
    bool fresh = true;
    if (need > s->seen_bytes) {
        size_t room = 2 * need;
        uint8_t *seen = sim_alloc(room);
        if (s->seen)
            memcpy(seen, s->seen, s->seen_bytes);
        free(s->seen);
        s->seen = seen;
        s->seen_bytes = room;
    }
    for (size_t i = at; i < at + n; i++) {
        uint8_t bit = (uint8_t)(1u << i % 8);
        fresh = fresh && !(s->seen[i / 8] & bit);
        s->seen[i / 8] |= bit;
    }
    return fresh;
}

static void hear_stream(struct device *d, struct bytes tcp)
{
    struct rd r = rd_of(tcp);
    uint16_t from = rd_u16(&r), stream = rd_u16(&r);
    uint32_t at = rd_u32(&r);
    rd_bytes(&r, 12);
    struct bytes payload = rd_rest(&r);
    struct device_stream *s = NULL;
    if (from >= STREAM_FROM && from < STREAM_FROM + DEVICE_PEERS_MAX && stream >= TCP_PORT &&
        stream < TCP_PORT + DEVICE_STREAMS_MAX)
        s = stream_need(d, from - (uint32_t)STREAM_FROM, (uint16_t)(stream - TCP_PORT));
    if (!rd_ok(&r) || !s || payload.n == 0 || at > DEVICE_STREAM_MAX) {
        d->other_in++;
        return;
    }
    bool same = true;
    for (size_t i = 0; same && i < payload.n; i++)
        same = payload.p[i] == stream_byte(s->from, s->stream, at + (uint32_t)i);
    s->damaged += !same;
    s->segments++;
    s->reordered += at < s->end;
    if (stream_mark(s, at, payload.n))
        s->bytes += payload.n;
    else
        s->repeated++;
    if (at + payload.n > s->end)
        s->end = at + payload.n;
    if (d->on_segment)
        d->on_segment(d->segment_arg, d, s, at);
}

void device_spoof(struct device *d, uint32_t ip, const uint8_t src_mac[6], uint32_t src_ip, uint64_t seq)
{
    struct address a;
    if (!address_to(d, ip, &a))
        return;
    memcpy(a.src_mac, src_mac, 6);
    a.src_ip = src_ip;
    send_say(d, &a, DEVICE_PORT, seq, SAY_LEN);
}

static void send_group(struct device *d, uint32_t ip, const uint8_t mac[6], uint16_t port, uint64_t seq)
{
    if (!d->open)
        return;
    struct address a = {.src_ip = d->ip4, .dst_ip = ip};
    memcpy(a.src_mac, d->mac, 6);
    memcpy(a.dst_mac, mac, 6);
    send_say(d, &a, port, seq, SAY_LEN);
}

void device_broadcast(struct device *d, uint64_t seq)
{
    send_group(d, d->net4 | 0xffff, everyone, DEVICE_PORT, seq);
}

void device_multicast(struct device *d, uint64_t seq)
{
    send_group(d, MDNS_IP, mdns_mac, MDNS_PORT, seq);
}

bool device_ping(struct device *d, uint32_t ip, uint64_t seq)
{
    struct address a;
    if (!address_to(d, ip, &a))
        return false;
    uint8_t body[8 + SAY_LEN];
    struct wr w = wr_of(body, sizeof body);
    wr_u32(&w, 0x08000000);
    wr_u32(&w, d->number << 16 | (uint16_t)seq);
    wr_u32(&w, MAGIC);
    wr_u32(&w, d->number);
    wr_u64(&w, seq);
    send_ip(d, &a, 1, body, sizeof body, 2);
    return true;
}

bool device_tcp_syn(struct device *d, uint32_t ip, uint16_t mss)
{
    struct address a;
    if (!address_to(d, ip, &a))
        return false;
    uint8_t body[24];
    struct wr w = wr_of(body, sizeof body);
    wr_u16(&w, 40000);
    wr_u16(&w, 80);
    wr_u64(&w, 0);
    wr_u16(&w, 0x6002);
    wr_u16(&w, 65535);
    wr_u32(&w, 0);
    wr_u16(&w, 0x0204);
    wr_u16(&w, mss);
    send_ip(d, &a, 6, body, sizeof body, 16);
    return true;
}

void device_dhcp_discover(struct device *d)
{
    if (!d->open)
        return;
    uint8_t payload[240] = {1, 1, 6};
    struct address a = {.src_ip = 0, .dst_ip = 0xffffffff};
    memcpy(a.src_mac, d->mac, 6);
    memcpy(a.dst_mac, everyone, 6);
    send_udp(d, &a, 68, 67, bytes_of(payload, sizeof payload));
}

static void hear_arp(struct device *d, struct bytes body)
{
    struct rd r = rd_of(body);
    uint8_t mac[6];
    rd_bytes(&r, 6);
    uint16_t op = rd_u16(&r);
    rd_copy(&r, mac, 6);
    uint32_t sender = rd_u32(&r);
    rd_bytes(&r, 6);
    uint32_t target = rd_u32(&r);
    if (!rd_ok(&r))
        return;
    d->arp_requests_in += op == 1;
    d->arp_replies_in += op == 2;
    if (op == 2)
        arp_learn(d, sender, mac);
    else if (target == d->ip4)
        send_arp(d, 2, d->ip4, mac, sender);
}

/* Magic, number, sequence: whose it is, or NULL for strangers' data. */
static struct device_heard *read_say(struct device *d, struct bytes body, uint32_t *from, uint64_t *seq)
{
    struct rd r = rd_of(body);
    uint32_t magic = rd_u32(&r);
    *from = rd_u32(&r);
    *seq = rd_u64(&r);
    return rd_ok(&r) && magic == MAGIC && *from < DEVICE_PEERS_MAX ? &d->heard[*from] : NULL;
}

/* Marks seq; false where it was there before. */
static bool mark(struct device_heard *h, uint64_t seq)
{
    if (seq + DEVICE_WINDOW <= h->last_seq)
        return false;
    for (; h->last_seq < seq; h->last_seq++) {
        uint64_t next = (h->last_seq + 1) % DEVICE_WINDOW;
        h->window[next / 64] &= ~(UINT64_C(1) << next % 64);
    }
    uint64_t *word = &h->window[seq % DEVICE_WINDOW / 64], bit = UINT64_C(1) << seq % 64;
    bool fresh = !(*word & bit);
    *word |= bit;
    return fresh;
}

static void hear_say(struct device *d, struct bytes body, bool group)
{
    uint32_t from;
    uint64_t seq;
    struct device_heard *h = read_say(d, body, &from, &seq);
    if (!h) {
        d->other_in++;
        return;
    }
    h->last_at = *d->now;
    if (group) {
        h->broadcasts++;
    } else {
        h->reordered += seq < h->last_seq;
        h->repeated += !mark(h, seq);
        h->count++;
    }
    if (d->on_heard)
        d->on_heard(d->arg, d, from, seq);
}

static void hear_icmp(struct device *d, const struct address *a, struct bytes body)
{
    uint8_t copy[DEVICE_FRAME_MAX];
    uint32_t from;
    uint64_t seq;
    if (body.n < 8 || a->dst_ip != d->ip4) {
        d->other_in++;
        return;
    }
    if (body.p[0] == 0) {
        struct device_heard *h = read_say(d, bytes_of(body.p + 8, body.n - 8), &from, &seq);
        if (h && from == d->number) {
            d->heard[seq % DEVICE_PEERS_MAX].pong_at = *d->now;
            d->heard[seq % DEVICE_PEERS_MAX].pongs++;
        }
        return;
    }
    if (body.p[0] == 3 && body.p[1] == 4 && body.n >= 8 + IP_LEN) {
        struct rd r = rd_of(bytes_of(body.p + 6, body.n - 6));
        uint16_t mtu = rd_u16(&r);
        rd_bytes(&r, 16);
        pmtu_learn(d, rd_u32(&r), mtu);
        return;
    }
    if (body.p[0] != 8)
        return;
    memcpy(copy, body.p, body.n);
    copy[0] = 0;
    struct address back = {.src_ip = a->dst_ip, .dst_ip = a->src_ip};
    memcpy(back.src_mac, d->mac, 6);
    memcpy(back.dst_mac, a->src_mac, 6);
    send_ip(d, &back, 1, copy, body.n, 2);
}

/* Of TCP and UDP; addresses: both of them. */
static bool sum_right(const uint8_t *addresses, size_t n, uint8_t proto, struct bytes body)
{
    if (proto != 6 && proto != 17)
        return true;
    uint32_t sum = proto + (uint32_t)body.n;
    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)addresses[i] << 8 | addresses[i + 1];
    return checksum(sum, body.p, body.n) == 0;
}

static void hear_ip(struct device *d, struct address *a, struct bytes packet)
{
    struct rd r = rd_of(packet);
    uint8_t first = rd_u8(&r);
    rd_u8(&r);
    uint16_t length = rd_u16(&r);
    rd_bytes(&r, 5);
    uint8_t proto = rd_u8(&r);
    rd_u16(&r);
    a->src_ip = rd_u32(&r);
    a->dst_ip = rd_u32(&r);
    if (!rd_ok(&r) || first != 0x45 || length < IP_LEN || length > packet.n) {
        d->other_in++;
        return;
    }
    struct bytes body = bytes_of(packet.p + IP_LEN, length - (size_t)IP_LEN);
    if (!sum_right(packet.p + 12, 8, proto, body)) {
        d->bad_sums_in++;
        return;
    }
    uint16_t port = proto == 17 && body.n >= UDP_LEN ? (uint16_t)(body.p[2] << 8 | body.p[3]) : 0;
    bool group = a->dst_ip >= 0xe0000000u || a->dst_ip == (d->net4 | 0xffff);
    d->dhcp_in += port == 67 || port == 68;
    d->multicast_in += port == MDNS_PORT;
    if (port == DEVICE_PORT || port == MDNS_PORT)
        hear_say(d, bytes_of(body.p + UDP_LEN, body.n - UDP_LEN), group);
    else if (proto == 1)
        hear_icmp(d, a, body);
    else if (proto == 6 && a->dst_ip == d->ip4 && body.n >= TCP_LEN &&
             (body.p[13] & 0x12) == 0x10) /* ACK without SYN */
        hear_stream(d, body);
    else if (proto == 6 && body.n >= 24)
        d->last_mss = (uint16_t)(body.p[22] << 8 | body.p[23]);
    else
        d->other_in++;
}

static void hear_ip6(struct device *d, struct bytes packet)
{
    struct rd r = rd_of(packet);
    rd_u32(&r);
    uint16_t length = rd_u16(&r);
    uint8_t proto = rd_u8(&r);
    rd_bytes(&r, 1 + 16);
    struct bytes dst = rd_bytes(&r, 16), body = rd_bytes(&r, length);
    bool ours = rd_ok(&r) && memcmp(dst.p, d->ip6, 16) == 0;
    if (rd_ok(&r) && !sum_right(packet.p + 8, 32, proto, body)) {
        d->bad_sums_in++;
        return;
    }
    if (ours && proto == 17 && body.n >= UDP_LEN && (body.p[2] << 8 | body.p[3]) == DEVICE_PORT)
        hear_say(d, bytes_of(body.p + UDP_LEN, body.n - UDP_LEN), false);
    else
        d->other_in++;
}

void device_input(struct device *d, struct bytes frame)
{
    if (!d->open)
        return;
    d->frames_in++;
    d->last.n = frame.n < DEVICE_FRAME_MAX ? frame.n : DEVICE_FRAME_MAX;
    memcpy(d->last.data, frame.p, d->last.n);
    struct address a = {0};
    struct rd r = rd_of(frame);
    uint16_t type = 0x0800; /* of a packet without a frame */
    if (d->tap) {
        rd_copy(&r, a.dst_mac, 6);
        rd_copy(&r, a.src_mac, 6);
        type = rd_u16(&r);
        memcpy(d->last_src_mac, a.src_mac, 6);
        bool mine = memcmp(a.dst_mac, d->mac, 6) == 0 || (a.dst_mac[0] & 1);
        if (!mine) {
            d->other_in++;
            return;
        }
    }
    if (type == 0x0806)
        hear_arp(d, rd_rest(&r));
    else if (type == 0x0800)
        hear_ip(d, &a, rd_rest(&r));
    else if (type == 0x86dd)
        hear_ip6(d, rd_rest(&r));
    else
        d->other_in++;
}
