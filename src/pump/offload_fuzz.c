#include "pump/offload_kit_int.h"

/* First byte: TAP or TUN; whole or partial checksums; then one frame as a device would hand it out (vnet_hdr
 * and bytes), or a script of frames, mostly of streams, for coalesce. In both cases what coalesce writes,
 * taken apart again, must be the very frames that went in, each once, those of one flow in their order. */

#define FRAMES_MAX 400

struct world {
    bool tap;
    struct frame {
        uint8_t *p, *as_pushed;
        size_t n;
        bool simple, partial, written;
        struct inner_frame f;
    } frames[FRAMES_MAX];
    size_t count;
    struct coalesce c;
};

static struct world w;

static bool is_one_flow(const struct frame *a, const struct frame *b)
{
    const struct inner_frame *f = &a->f, *g = &b->f;
    if (!a->simple || !b->simple)
        return true; /* what is not understood waits for all, and all for it */
    size_t at = f->version == 4 ? 12 : 8, n = f->version == 4 ? 8 : 32;
    return f->version == g->version && f->proto == g->proto && f->src_port == g->src_port &&
           f->dst_port == g->dst_port && memcmp(a->as_pushed + f->ip + at, b->as_pushed + g->ip + at, n) == 0;
}

/* The frame that a piece is of. */
static struct frame *frame_take(const struct iovec *piece, bool first)
{
    for (size_t i = 0; i < w.count; i++) {
        struct frame *f = &w.frames[i];
        if (f->p + (first ? 0 : f->f.headers) != piece->iov_base)
            continue;
        kit_need(!f->written);
        for (size_t k = 0; k < i; k++)
            kit_need(w.frames[k].written || !is_one_flow(&w.frames[k], f));
        f->written = true;
        return f;
    }
    abort();
}

static void ids_clear(uint8_t *p, size_t ip)
{
    memset(p + ip + 4, 0, 2);
    memset(p + ip + 10, 0, 2);
}

static void run_check(struct vnet_hdr *h, const struct iovec *pieces, size_t count, size_t bytes)
{
    static uint8_t all[OFFLOAD_FRAME_MAX], one[OFFLOAD_FRAME_MAX];
    struct segments s;
    size_t n = 0, segment, found;
    for (size_t i = 0; i < count; i++) {
        kit_need(n + pieces[i].iov_len <= sizeof all);
        memcpy(all + n, pieces[i].iov_base, pieces[i].iov_len);
        n += pieces[i].iov_len;
    }
    kit_need(n == bytes && segments_begin(&s, h, all, n, w.tap, &segment, &found) == 0 && found == count);
    bool same_id = false;
    for (size_t i = 0; i < count; i++) {
        struct frame *f = frame_take(&pieces[i], i == 0);
        size_t ip = f->f.ip, made = segments_next(&s, one, true);
        if (i == 1 && f->f.version == 4) /* it counts from the first on, or all have one */
            same_id = memcmp(f->as_pushed + ip + 4, all + ip + 4, 2) == 0;
        kit_need(made == f->n);
        if (f->partial)
            kit_need(checksum_complete(f->as_pushed, f->n, w.tap) == 0);
        if (same_id) {
            kit_need(f->as_pushed[ip + 6] == 0x40);
            ids_clear(f->as_pushed, ip);
            ids_clear(one, ip);
        }
        kit_need(memcmp(one, f->as_pushed, made) == 0);
    }
}

static void device_write(void *arg, const struct vnet_hdr *h, const struct iovec *pieces, size_t count,
                         size_t bytes)
{
    uint8_t header[VNET_HDR_LEN];
    struct vnet_hdr again;
    vnet_hdr_write(h, header);
    kit_need(count > 0 && count <= COALESCE_SEGMENTS);
    kit_need(vnet_hdr_read(&again, bytes_of(header, sizeof header), bytes) == 0);
    kit_need((again.gso == OFFLOAD_NONE) == (count == 1));
    if (count > 1) {
        run_check(&again, pieces, count, bytes);
        return;
    }
    struct frame *f = frame_take(pieces, true);
    kit_need(pieces->iov_len == bytes && bytes <= f->n && memcmp(pieces->iov_base, f->as_pushed, bytes) == 0);
    kit_need(bytes == f->n || (f->partial && f->simple && bytes == f->f.n));
}

static void batch_end(void)
{
    coalesce_flush(&w.c);
    for (size_t i = 0; i < w.count; i++) {
        kit_need(w.frames[i].written);
        free(w.frames[i].p);
        free(w.frames[i].as_pushed);
    }
    w.count = 0;
}

/* p: on the heap, taken over. */
static void frame_push(uint8_t *p, size_t n, bool partial)
{
    if (w.count == FRAMES_MAX)
        batch_end();
    struct frame *f = &w.frames[w.count++];
    *f = (struct frame){.p = p, .as_pushed = malloc(n ? n : 1), .n = n, .partial = partial};
    kit_need(f->as_pushed != NULL);
    memcpy(f->as_pushed, p, n);
    f->simple = inner_frame_read(&f->f, p, n, w.tap, false) == 0;
    coalesce_push(&w.c, p, n, f->simple ? &f->f : NULL, partial);
}

/* ---- One super-frame. */

static void segment_check(const struct segments *s, uint8_t *out, size_t n, bool whole)
{
    struct inner_frame f;
    if (s->h.gso == OFFLOAD_NONE)
        return;
    kit_need(inner_frame_read(&f, out, n, w.tap, false) == 0 && f.n == n && f.headers == s->f.headers);
    if (whole || !s->h.partial)
        kit_need(checksum_right(out, &f));
    if (f.version == 4)
        kit_need(naive_sum(0, out + f.ip, f.upper - f.ip) == 0xffff);
}

/* Cut where it lies, it gives the same segments. */
static void super_here(const struct vnet_hdr *h, const uint8_t *p, size_t n)
{
    struct segments a, b;
    size_t segment, count, made;
    uint8_t *here = malloc(n ? n : 1), *out = NULL, *at;
    kit_need(here != NULL);
    memcpy(here, p, n);
    kit_need(segments_begin(&a, h, p, n, w.tap, &segment, &count) == 0);
    kit_need(segments_begin(&b, h, here, n, w.tap, &segment, &count) == 0);
    out = malloc(segment);
    kit_need(out != NULL);
    while ((at = segments_next_here(&b, here, &made)))
        kit_need(segments_next(&a, out, false) == made && memcmp(out, at, made) == 0);
    kit_need(segments_next(&a, out, false) == 0);
    free(out);
    free(here);
}

static void super_frame(struct bytes in, bool whole)
{
    struct vnet_hdr h;
    struct segments s;
    size_t segment, count, payload = 0;
    if (in.n < VNET_HDR_LEN || vnet_hdr_read(&h, bytes_of(in.p, VNET_HDR_LEN), in.n - VNET_HDR_LEN) < 0)
        return;
    size_t n = in.n - VNET_HDR_LEN;
    uint8_t *p = malloc(n ? n : 1);
    kit_need(p != NULL);
    memcpy(p, in.p + VNET_HDR_LEN, n);
    if (segments_begin(&s, &h, p, n, w.tap, &segment, &count) == 0) {
        kit_need(count > 0 && segment <= n);
        for (size_t k = 0; k < count && n > 0; k++) {
            uint8_t *out = malloc(segment);
            kit_need(out != NULL);
            size_t made = segments_next(&s, out, whole);
            kit_need(made > 0 && made <= segment);
            payload += made - (h.gso == OFFLOAD_NONE ? 0 : s.f.headers);
            segment_check(&s, out, made, whole);
            frame_push(out, made, s.h.partial && !whole);
        }
        kit_need(payload == (h.gso == OFFLOAD_NONE ? n : n - s.f.headers));
        kit_need(segments_next(&s, p, whole) == 0);
        if (h.gso != OFFLOAD_NONE)
            super_here(&h, p, n);
    }
    free(p);
}

/* ---- A script. */

static void recipe_change(struct recipe *r, uint8_t what, uint8_t a, uint16_t b)
{
    static const uint8_t options[40] = {1, 1, 8, 10};
    static const uint8_t protos[] = {IP_TCP, IP_UDP, IP_ICMP, 50};
    switch (what) {
    case 1:
        r->tos = a;
        break;
    case 2:
        r->ttl = a;
        break;
    case 3:
        r->label = b;
        break;
    case 4:
        r->flags = a;
        break;
    case 5:
        r->payload = b & (a == 255 ? 0x3fff : 0x1ff);
        break;
    case 6:
        r->sport = a & 15;
        r->host = b & 3;
        break;
    case 7:
        *r = recipe_of(a & 1 ? 6 : 4, protos[a >> 1 & 3], w.tap);
        r->tagged = a & 8;
        break;
    case 8:
        r->id = b;
        break;
    case 9:
        r->seq += b;
        break;
    case 10:
        r->ack += a & 1;
        r->window = (uint16_t)(r->window + (a >> 1 & 1));
        r->urgent = (uint16_t)(r->urgent + (a >> 2 & 1));
        break;
    case 11:
        r->options = bytes_of(options, r->proto == IP_TCP ? a % 11 * 4u : 0);
        r->ip_options = bytes_of(options, (size_t)(b % 3 * 4));
        break;
    case 12:
        r->df = a & 1;
        r->partial = a & 2;
        r->no_sum = (a & 4) && r->proto == IP_UDP;
        break;
    default:
        break;
    }
}

/* The next one of a stream, one byte of it changed. */
static void recipe_push(struct recipe *r, uint16_t at, uint8_t x)
{
    size_t n;
    uint8_t *p = recipe_make(r, &n);
    p[at % n] ^= x;
    frame_push(p, n, r->partial);
    r->seq += (uint32_t)r->payload;
    r->id++;
}

static void script(struct rd *in)
{
    struct recipe r = recipe_of(4, IP_TCP, w.tap);
    size_t bytes = 0;
    while (rd_left(in) > 0 && bytes < 256 << 10) {
        uint8_t op = rd_u8(in), what = op & 15, a = what ? rd_u8(in) : 0;
        uint16_t b = what ? rd_u16(in) : 0;
        recipe_change(&r, what, a, b);
        if (what == 13)
            batch_end();
        if (what == 14)
            recipe_push(&r, b, a);
        struct bytes raw = rd_bytes(in, what == 15 && rd_left(in) >= a ? a : 0);
        if (raw.n > 0) {
            uint8_t *p = malloc(raw.n);
            kit_need(p != NULL);
            memcpy(p, raw.p, raw.n);
            frame_push(p, raw.n, b & 1);
        }
        for (uint8_t i = 0; i < op >> 4; i++, bytes += r.payload + 60)
            recipe_push(&r, 0, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct coalesce_ops ops = {.write = device_write};
    struct rd in = rd_of(bytes_of(p, n));
    uint8_t first = rd_u8(&in);
    w.tap = first & 1;
    coalesce_init(&w.c, w.tap, !(first & 8), !(first & 16), &ops, NULL);
    if (first & 2)
        script(&in);
    else
        super_frame(rd_rest(&in), first & 4);
    batch_end();
    kit_need(w.c.frames >= w.c.writes);
    return 0;
}
