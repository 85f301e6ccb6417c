#include "pump/core_kit_int.h"

/* First byte: 1 TAP, 2 through the relay, 4 IPv6 below, 8 ways and networks of 65535. Then a script of
 * operations, one byte each (the lower three bits say which, the others are an argument) with what they need
 * behind them: 0 a frame of the first end, by recipe       1 a super-frame, by recipe 2 a frame by recipe
 * with its vnet_hdr (10 bytes) and first bytes given 3 the batch ends; what was sent is carried over, changed
 * as the argument says 4 the first end, now hostile, seals an inner header and a frame by recipe whose first
 * bytes are given 5 a datagram of these bytes                 6 the route changes 7 a batch of the second
 * end's towards the first What comes out at the second end's device, or goes to the first end's engine, taken
 * apart, must be the very packets that went in, each at most once; of a hostile end at least under its own
 * address. */

#define PACKETS_MAX 8192

struct input {
    const uint8_t *p;
    size_t n;
};

static struct {
    struct kit kit;
    bool hostile;
    uint64_t counter; /* of the hostile one, far from the others */
    size_t n;
    struct {
        uint64_t hash;
        bool came;
    } sent[PACKETS_MAX];
} w;

static uint8_t scratch[70000];

static uint8_t u8(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++;
}

static uint16_t u16(struct input *in)
{
    uint16_t low = u8(in);
    return (uint16_t)(low | u8(in) << 8);
}

static void some(struct input *in, uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n && in->n > 0; i++)
        to[i] = u8(in);
}

/* ---- What was sent, whole. */

/* IPv4's id may come back counted up where it did not (RFC 6864): it and its checksum are left out. */
static uint64_t hash_of(uint8_t *p, size_t n)
{
    struct inner_frame f;
    uint64_t h = 0xcbf29ce484222325u;
    if (inner_frame_read(&f, p, n, w.kit.tap, false) == 0 && f.version == 4) {
        memset(p + f.ip + 4, 0, 2);
        memset(p + f.ip + 10, 0, 2);
    }
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h ^ n;
}

static void note_sent(const struct vnet_hdr *h, const uint8_t *p, size_t n)
{
    struct segments s;
    size_t segment, count, k;
    if (segments_begin(&s, h, p, n, w.kit.tap, &segment, &count) < 0)
        return;
    while (w.n < PACKETS_MAX && (k = segments_next(&s, scratch, true)) > 0) {
        w.sent[w.n].came = false;
        w.sent[w.n++].hash = hash_of(scratch, k);
    }
}

static void note_came(uint8_t *p, size_t n)
{
    if (w.hostile || w.n == PACKETS_MAX)
        return;
    uint64_t h = hash_of(p, n);
    size_t i = 0;
    while (i < w.n && (w.sent[i].came || w.sent[i].hash != h))
        i++;
    kit_need(i < w.n);
    w.sent[i].came = true;
}

/* Nothing reaches the device under another's name, whoever sealed it. */
static void judged(const uint8_t *p, size_t n)
{
    struct inner_frame f;
    kit_need(inner_frame_read(&f, p, n, w.kit.tap, false) == 0);
    const uint8_t *ip = p + f.ip;
    struct plane_member from = kit_member(1), to = kit_member(2);
    if (f.version == 4)
        kit_need(ip[12] == 10 && ip[13] == 7 && ip[14] == 0 && ip[15] == 1);
    else
        kit_need(memcmp(ip + 8, from.ip6, 16) == 0);
    if (w.kit.tap)
        kit_need(memcmp(p, to.mac, 6) == 0 && memcmp(p + 6, from.mac, 6) == 0);
    else if (f.version == 4)
        kit_need(ip[16] == 10 && ip[17] == 7 && ip[18] == 0 && ip[19] == 2);
    else
        kit_need(memcmp(ip + 24, to.ip6, 16) == 0);
}

static void look(void)
{
    struct kit_log *l = &w.kit.end[2].log;
    for (size_t i = 0; i < l->n; i++) {
        struct kit_item *it = &l->at[i];
        struct segments s;
        size_t segment, count, k;
        if (it->kind != KIT_WRITE)
            continue;
        kit_need(segments_begin(&s, &it->h, it->p, it->n, w.kit.tap, &segment, &count) == 0);
        while ((k = segments_next(&s, scratch, true)) > 0) {
            judged(scratch, k);
            note_came(scratch, k);
        }
    }
    kit_log_clear(l);
    l = &w.kit.end[1].log;
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].kind == KIT_SLOW_FRAME)
            note_came(l->at[i].p, l->at[i].n);
    kit_log_clear(l);
}

/* ---- Operations. */

static struct recipe recipe_in(struct input *in)
{
    uint8_t a = u8(in), b = u8(in);
    static const uint8_t protos[] = {IP_TCP, IP_UDP, IP_TCP, IP_ICMP};
    struct recipe r = recipe_of(a & 1 ? 6 : 4, protos[a >> 1 & 3], w.kit.tap);
    if (r.version == 6 && r.proto == IP_ICMP)
        r.proto = IP_ICMP6;
    r.partial = a & 8;
    r.tagged = a & 16 && w.kit.tap;
    r.no_sum = a & 32 && r.proto == IP_UDP && !r.partial;
    r.sport = (uint16_t)(4000 + (a >> 6));
    r.flags = b & 0x80 ? b : KIT_ACK;
    r.seq = (uint32_t)b * 100;
    r.payload = u16(in);
    return r;
}

static void frame_put(uint32_t end, const struct vnet_hdr *h, const uint8_t *p, size_t n)
{
    if (end == 1)
        note_sent(h, p, n);
    kit_put(&w.kit.end[end], 1, h, p, n);
}

static void op_frame(struct input *in, uint32_t end)
{
    struct recipe r = recipe_in(in);
    struct vnet_hdr h = kit_plain_hdr(&r);
    size_t n;
    r.payload %= 3000;
    uint8_t *p = kit_frame(&r, end, 3 - end, &n);
    if (r.proto != IP_TCP && r.proto != IP_UDP)
        h = (struct vnet_hdr){0};
    frame_put(end, &h, p, n);
    free(p);
}

static void op_super(struct input *in)
{
    struct recipe r = recipe_in(in);
    uint16_t size = u16(in);
    size_t n;
    if (r.proto != IP_UDP)
        r.proto = IP_TCP;
    r.payload = r.payload % 65000 + 1;
    size = (uint16_t)(size % 2000 + r.payload / 200 + 1);
    uint8_t *p = kit_frame(&r, 1, 2, &n);
    struct vnet_hdr h = recipe_hdr(&r, size);
    h.partial = r.partial;
    frame_put(1, &h, p, n);
    free(p);
}

static void op_raw(struct input *in, uint8_t arg)
{
    uint8_t head[VNET_HDR_LEN] = {0};
    struct recipe r = recipe_in(in);
    struct vnet_hdr h;
    size_t n;
    some(in, head, sizeof head);
    r.payload %= 2000;
    uint8_t *p = kit_frame(&r, 1, 2, &n);
    some(in, p, arg * 3u < n ? arg * 3u : n);
    if (vnet_hdr_read(&h, bytes_of(head, sizeof head), n) == 0)
        frame_put(1, &h, p, n);
    free(p);
}

static void batches_begin(void)
{
    kit_begin(&w.kit.end[1]);
    kit_begin(&w.kit.end[2]);
}

/* One run, from where it must come, in a block of its size that lies still until the batch is over. */
static void hand_over(uint32_t to, const uint8_t *p, size_t n, size_t segment)
{
    struct net_addr from = kit_from(&w.kit, 3 - to);
    uint8_t *copy = malloc(n ? n : 1);
    kit_need(copy != NULL);
    memcpy(copy, p, n);
    kit_begin(&w.kit.end[to]);
    core_datagrams(w.kit.end[to].core, KIT_SOCKET, &from, copy, n, segment);
    core_end(w.kit.end[to].core);
    free(copy);
}

static void op_carry(struct input *in, uint8_t arg, uint32_t from)
{
    struct kit_log *l = &w.kit.end[from].log;
    core_end(w.kit.end[1].core);
    core_end(w.kit.end[2].core);
    for (size_t i = 0; i < l->n; i++) {
        struct kit_item *it = &l->at[i];
        size_t segment = it->segment, n = it->n;
        if (it->kind != KIT_SEND)
            continue;
        for (size_t at = 0; w.kit.relay && at < n; at += segment)
            kit_relayed(from, it->p + at, n - at);
        if (arg & 1)
            it->p[u16(in) % n] ^= u8(in);
        if (arg & 2)
            n -= u16(in) % n;
        if (arg & 4)
            segment = u16(in);
        hand_over(3 - from, it->p, n, segment);
        if (arg & 8)
            hand_over(3 - from, it->p, n, it->segment);
    }
    if (from == 1)
        look();
    kit_log_clear(l);
    batches_begin();
}

static void op_hostile(struct input *in, uint8_t arg)
{
    static uint8_t sealed[DATA_OVERHEAD + UDP_RELAY_HEADER_LEN + 4000];
    struct recipe r = recipe_in(in);
    struct inner_header inner = {.kind = u8(in), .flags = u8(in), .party = KIT_TAG + 1};
    size_t n, head = w.kit.relay ? UDP_RELAY_HEADER_LEN : 0;
    r.payload %= 1300;
    uint8_t *p = kit_frame(&r, 1, 2, &n);
    some(in, p, arg * 3u < n ? arg * 3u : n);
    core_end(w.kit.end[1].core);
    core_end(w.kit.end[2].core);
    look();
    w.hostile = true;
    memcpy(sealed + head + DATA_HEADROOM, p, n);
    kit_need(lane_seal(w.kit.end[1].lane[2], 3, w.counter++, &inner, sealed + head, n) == 0);
    kit_relayed(1, sealed, w.kit.relay ? UDP_RELAY_HEADER_LEN : 0);
    hand_over(2, sealed, n + DATA_OVERHEAD + head, 0);
    look();
    free(p);
    batches_begin();
}

static void op_datagram(struct input *in, uint8_t arg)
{
    uint8_t text[256] = {WIRE_DATA, 0, 0, 0, 0x10, 0, 2, 1};
    some(in, text, arg * 8u);
    core_end(w.kit.end[2].core);
    hand_over(2, text, arg * 8u, u8(in));
    for (size_t i = 0; i < w.kit.end[2].log.n; i++)
        kit_need(w.kit.end[2].log.at[i].kind == KIT_SLOW_DATAGRAM ||
                 w.kit.end[2].log.at[i].kind == KIT_WRITE);
    kit_begin(&w.kit.end[2]);
}

static void op_route(uint8_t arg)
{
    struct plane_route *r = &w.kit.end[1].route[2];
    r->out = arg & 1 ? -1 : 0;
    r->ways[0].mtu = (uint16_t)(arg & 2 ? 400 : w.kit.way_mtu);
    r->most = arg & 4 ? 0 : KIT_MOST;
    core_end(w.kit.end[1].core);
    kit_reroute(&w.kit.end[1], 2);
    kit_begin(&w.kit.end[1]);
}

static void op(struct input *in)
{
    uint8_t what = u8(in), arg = what >> 3;
    switch (what & 7) {
    case 0:
        op_frame(in, 1);
        break;
    case 1:
        op_super(in);
        break;
    case 2:
        op_raw(in, arg);
        break;
    case 3:
        op_carry(in, arg, 1);
        break;
    case 4:
        op_hostile(in, arg);
        break;
    case 5:
        op_datagram(in, arg);
        break;
    case 6:
        op_route(arg);
        break;
    default:
        op_frame(in, 2);
        op_carry(in, arg, 2);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t first = u8(&in);
    w.n = 0;
    w.hostile = false;
    w.counter = 1u << 20;
    w.kit = (struct kit){.tap = first & 1, .relay = first & 2, .family = first & 4 ? 6 : 4};
    if (first & 8)
        w.kit.net_mtu = w.kit.way_mtu = 65535;
    kit_open(&w.kit);
    batches_begin();
    for (int i = 0; in.n > 0 && i < 64; i++)
        op(&in);
    op_carry(&in, 0, 1);
    core_end(w.kit.end[1].core);
    core_end(w.kit.end[2].core);
    kit_close(&w.kit);
    return 0;
}
