/* Seeds of src/pump. The heads of the targets say what the bytes mean. */
#include "fuzz/seed.h"

#include "wire/eth.h"

/* ---- pump_offload: one frame as a device hands it out. */

enum { TAP = 1, SCRIPT = 2, WHOLE = 4 };

struct device_frame {
    uint8_t first, flags, gso, version, proto, tcp_flags;
    uint16_t size, csum_start, csum_offset, payload;
};

static void u16_low_first(struct wr *w, uint16_t v)
{
    wr_u8(w, (uint8_t)v);
    wr_u8(w, (uint8_t)(v >> 8));
}

static void ip(struct wr *w, const struct device_frame *f, uint16_t upper)
{
    static const uint8_t ends4[8] = {10, 7, 0, 1, 10, 7, 0, 2};
    static const uint8_t ends6[32] = {0xfd, 7, [15] = 1, 0xfd, 7, [31] = 2};
    if (f->version == 4) {
        wr_u16(w, 0x4500);
        wr_u16(w, (uint16_t)(IP4_HEADER_LEN + upper));
        wr_u32(w, 0xfffe4000);
        wr_u8(w, 64);
        wr_u8(w, f->proto);
        wr_u16(w, 0);
        wr_copy(w, ends4, sizeof ends4);
        return;
    }
    wr_u32(w, 6u << 28 | 0x12345);
    wr_u16(w, upper);
    wr_u8(w, f->proto);
    wr_u8(w, 64);
    wr_copy(w, ends6, sizeof ends6);
}

static void device_frame(struct seeds *s, const char *name, const struct device_frame *f)
{
    struct script t;
    struct wr *w = &t.w;
    script_open(&t);
    wr_u8(w, f->first);
    wr_u8(w, f->flags);
    wr_u8(w, f->gso);
    u16_low_first(w, 0);
    u16_low_first(w, f->size);
    u16_low_first(w, f->csum_start);
    u16_low_first(w, f->csum_offset);
    if (f->first & TAP) {
        wr_copy(w, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
        wr_u16(w, f->version == 4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6);
    }
    uint16_t upper = (uint16_t)((f->proto == IP_TCP ? 20 : 8) + f->payload);
    ip(w, f, upper);
    wr_u32(w, 4000u << 16 | 443);
    if (f->proto == IP_TCP) {
        wr_u32(w, 0xffffff80);
        wr_u32(w, 77);
        wr_u16(w, (uint16_t)(0x5000 | f->tcp_flags));
        wr_u16(w, 501);
        wr_u32(w, 0);
    } else {
        wr_u16(w, upper);
        wr_u16(w, 0);
    }
    for (uint16_t i = 0; i < f->payload; i++)
        wr_u8(w, (uint8_t)(i * 7));
    script_put(s, name, &t);
}

static void device_frames(struct seeds *s)
{
    static const struct {
        const char *name;
        struct device_frame f;
    } rows[] = {
        {"tcp4", {0, 1, 1, 4, IP_TCP, 0x19, 100, 20, 16, 350}},
        {"tcp4_ecn_whole", {TAP | WHOLE, 1, 0x81, 4, IP_TCP, 0x90, 64, 34, 16, 640}},
        {"tcp6", {TAP, 1, 4, 6, IP_TCP, 0x18, 33, 54, 16, 100}},
        {"udp4", {0, 1, 5, 4, IP_UDP, 0, 100, 20, 6, 401}},
        {"udp6_whole", {WHOLE, 1, 5, 6, IP_UDP, 0, 50, 40, 6, 200}},
        {"not_partial", {0, 0, 1, 4, IP_TCP, 0x10, 10, 0, 0, 25}},
        {"plain_partial", {0, 1, 0, 4, IP_UDP, 0, 0, 20, 6, 40}},
        {"plain_foreign", {TAP, 1, 0, 4, IP_UDP, 0, 0, 58, 16, 60}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        device_frame(s, rows[i].name, &rows[i].f);
}

/* ---- And its scripts: what (above it, how many of the stream follow), a, b. */

static void op(struct script *t, uint8_t what, uint8_t a, uint16_t b)
{
    wr_u8(&t->w, what);
    wr_u8(&t->w, a);
    wr_u16(&t->w, b);
}

static void streams(struct seeds *s)
{
    struct script t;
    script_open(&t);
    wr_u8(&t.w, SCRIPT);
    for (uint8_t kind = 0; kind < 4; kind++) {
        op(&t, 7, kind, 0);
        op(&t, 12, (uint8_t)(1 + (kind & 2)), 0);
        op(&t, 0xf5, 0, 400);
        op(&t, 0x14, 0x18, 0); /* PSH */
        op(&t, 0x34, 0x90, 0); /* CWR */
    }
    op(&t, 13, 0, 0);
    op(&t, 0xf5, 255, 1300);
    script_put(s, "streams", &t);
    script_open(&t);
    wr_u8(&t.w, SCRIPT | TAP);
    for (uint8_t port = 0; port < 12; port++) { /* more flows than runs */
        op(&t, 7, (uint8_t)(port & 3), 0);
        op(&t, 5, 0, 100);
        op(&t, 0x36, port, port);
    }
    script_put(s, "flows", &t);
}

static void changes(struct seeds *s)
{
    struct script t;
    script_open(&t);
    wr_u8(&t.w, SCRIPT | TAP);
    for (uint8_t kind = 0; kind < 12; kind += 3) {
        op(&t, 7, kind, 0);
        op(&t, 5, 0, 200);
        for (uint8_t what = 1; what < 13; what++)
            op(&t, (uint8_t)(0x30 | what), (uint8_t)(what == 7 ? kind : what), 200);
        op(&t, 0x2c, 7, 0); /* UDP without checksum */
    }
    script_put(s, "changes", &t);
    script_open(&t);
    wr_u8(&t.w, SCRIPT);
    op(&t, 0x35, 0, 64);
    for (uint16_t at = 0; at < 60; at += 7)
        op(&t, 0x2e, 1, at); /* a byte of one frame is changed */
    op(&t, 15, 4, 0);
    wr_copy(&t.w, "\x45\0\0\4", 4);
    op(&t, 0x20, 0, 0);
    script_put(s, "damage", &t);
}

/* ---- pump_core: frames by recipe, carried over well and badly. The head of the target says what follows an
 * operation. */

enum { CORE_FRAME, CORE_SUPER, CORE_RAW, CORE_CARRY, CORE_HOSTILE, CORE_DATAGRAM, CORE_ROUTE, CORE_BACK };
enum { CARRY_FLIP = 8, CARRY_CUT = 16, CARRY_SEGMENT = 32, CARRY_TWICE = 64 };

static void core_recipe(struct script *t, uint8_t kind, uint8_t seq, uint16_t payload)
{
    wr_u8(&t->w, kind);
    wr_u8(&t->w, seq);
    u16_low_first(&t->w, payload);
}

static void core_frames(struct script *t)
{
    for (uint8_t kind = 0; kind < 16; kind++) {
        wr_u8(&t->w, CORE_FRAME);
        core_recipe(t, kind, kind, 500);
    }
    for (uint8_t kind = 8; kind < 12; kind++) {
        wr_u8(&t->w, CORE_SUPER);
        core_recipe(t, kind, kind, 20000);
        u16_low_first(&t->w, 1200);
    }
}

static void core_scripts(struct seeds *s)
{
    static const char *const names[] = {"tun", "tap_relayed", "over_ip6", "largest"};
    static const uint8_t firsts[] = {0, 3, 4, 9};
    struct script t;
    for (size_t i = 0; i < sizeof firsts; i++) {
        script_open(&t);
        wr_u8(&t.w, firsts[i]);
        core_frames(&t);
        wr_u8(&t.w, CORE_CARRY);
        core_frames(&t);
        wr_u8(&t.w, CORE_CARRY | CARRY_TWICE);
        wr_u8(&t.w, CORE_BACK);
        core_recipe(&t, 1, 0, 100);
        script_put(s, names[i], &t);
    }
    script_open(&t);
    wr_u8(&t.w, 0);
    for (uint8_t how = 0; how < 16; how++) {
        core_frames(&t);
        wr_u8(&t.w, (uint8_t)(CORE_CARRY | how * CARRY_FLIP));
        wr_u32(&t.w, 0x41004000);
    }
    script_put(s, "bad_network", &t);
    script_open(&t);
    wr_u8(&t.w, 1);
    for (uint8_t kind = 0; kind < 8; kind++) {
        wr_u8(&t.w, CORE_HOSTILE);
        core_recipe(&t, kind, 0, 300);
        wr_u8(&t.w, 1);
        wr_u8(&t.w, kind & 1);
        wr_u8(&t.w, CORE_HOSTILE | 6 << 3);
        core_recipe(&t, kind, 0, 300);
        wr_u8(&t.w, 1);
        wr_u8(&t.w, 0);
        wr_copy(&t.w, "\2\0\0\0\0\2\2\0\0\0\0\3\x08\0\x45\0\0\0", 18);
    }
    script_put(s, "hostile", &t);
    script_open(&t);
    wr_u8(&t.w, 0);
    for (uint8_t i = 0; i < 8; i++) {
        wr_u8(&t.w, (uint8_t)(CORE_ROUTE | i << 3));
        core_frames(&t);
        wr_u8(&t.w, CORE_RAW | 31 << 3);
        core_recipe(&t, 8, 0, 700);
        wr_copy(&t.w, i & 1 ? "\1\1\0\0\x64\0\x14\0\x10\0" : "\1\0\0\0\0\0\x30\0\x10\0", 10);
        wr_u8(&t.w, 0x45);
    }
    script_put(s, "slow", &t);
    script_open(&t);
    wr_u8(&t.w, 2);
    wr_u8(&t.w, CORE_DATAGRAM | 8 << 3);
    wr_copy(&t.w, "\7\5\0\0\0\0\x09\1\0\0\0\0\4\0\0\0\x10\0\2\1", 20);
    script_put(s, "datagram", &t);
}

void seeds_pump(struct seeds *s)
{
    seeds_target(s, "pump_offload");
    device_frames(s);
    streams(s);
    changes(s);
    seeds_target(s, "pump_core");
    core_scripts(s);
}
