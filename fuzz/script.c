/* Seeds of the targets that play a script: what comes over the wire, and when. The heads of those targets say
 * what the bytes mean. */
#include "fuzz/seed.h"

#include <string.h>

#include "hub/core.h"
#include "party/party.h"
#include "wire/eth.h"

#define UNIX 1800000000ull

static void put_bytes(struct seeds *s, const char *name, struct bytes in)
{
    seed_put(s, name, SEED_SCRIPT, in);
}

/* ---- base_bytes: sixteen kinds of fields, and what they are read from. */

static void fields(struct seeds *s)
{
    static const uint8_t block[] = {6, 6 + 8 * 4, 7, 7, 0, 1, 2, 3, 4 + 8 * 3, 5, 7, 0, 0, 0, 0, 0};
    struct script t;
    seeds_target(s, "base_bytes");
    script_open(&t);
    for (uint8_t i = 0; i < 16; i++)
        wr_u8(&t.w, i % 4);
    for (uint8_t i = 0; i < 70; i++)
        wr_u8(&t.w, i);
    script_put(s, "numbers", &t);
    put_bytes(s, "numbers_cut", bytes_of(t.p, 50));
    script_open(&t);
    wr_copy(&t.w, block, sizeof block);
    wr_block16(&t.w, bytes_of_str("six by"));
    wr_block16(&t.w, bytes_of_str("thirty-eight at most"));
    wr_text8(&t.w, "Zo\xc3\xab");
    wr_text8(&t.w, "");
    wr_copy(&t.w, "the numbers: a row", 1 + 2 + 4 + 8 + 3);
    wr_copy(&t.w, "seven b", 7);
    wr_text8(&t.w, "end");
    wr_copy(&t.w, "the rest", 8);
    script_put(s, "blocks", &t);
    t.p[16] = 0xff;
    script_put(s, "block_too_long", &t);
    script_open(&t);
    for (int i = 0; i < 16; i++)
        wr_u8(&t.w, 7);
    wr_text8(&t.w, "\xc0\xaf");
    script_put(s, "text_not_utf8", &t);
}

/* ---- party_party: 0 and a log, 1 and an entry without signature, 2 and operations of eight bytes. */

static void party_file(struct seeds *s)
{
    struct sign_key *key = seed_key(1);
    struct party_author a = {.key = key, .rng = s->rng, .now_unix_s = UNIX};
    struct party_genesis_args args = {"seeds", "owner", MODE_TUN, 0};
    struct buf b, file;
    uint8_t secret[32];
    enum party_verdict v;
    node_id_of(a.id, sign_key_public(key));
    buf_init(&b, ENTRY_MAX);
    buf_init(&file, 64 * 1024);
    seed_must(party_make_genesis(&b, &a, &args) == 0);
    struct party *p = party_open(buf_bytes(&b), UNIX, &v);
    seed_must(p != NULL);
    for (int long_one = 0; long_one < 2; long_one++) {
        if (long_one) {
            seed_must(party_make_invite(&b, p, &a, 5, UNIX + 3600, ROLE_MEMBER, secret) == PARTY_OK);
            seed_must(party_append(p, buf_bytes(&b), UNIX) == PARTY_OK);
        }
        buf_clear(&file);
        seed_must(buf_add(&file, bytes_of("", 1)) == 0 && party_save(p, &file) == 0);
        seed_put(s, long_one ? "log_of_two" : "log_of_one", SEED_TAKEN, buf_bytes(&file));
    }
    file.p[file.n - 1] ^= 1;
    seed_put(s, "log_bad_signature", SEED_REFUSED, buf_bytes(&file));
    party_free(p);
    buf_done(&file);
    buf_done(&b);
    sign_key_free(key);
}

/* Author 0 is the owner of the target's world, 4 a member; the first byte of an author counts. */
static void party_judged(struct seeds *s, const char *name, struct entry *e, uint8_t author)
{
    struct script t;
    memset(e->author, author, sizeof e->author);
    e->time = UNIX + 100;
    script_open(&t);
    wr_u8(&t.w, 1);
    entry_write(&t.w, e);
    seed_must(wr_ok(&t.w));
    put_bytes(s, name, bytes_of(t.p, wr_done(&t.w).n - SIGN_SIG_LEN));
}

static void party_entries(struct seeds *s)
{
    struct sign_key *key = seed_key(2);
    struct entry e = {.type = ENTRY_POLICY, .u.policy = {true, 100, 3}};
    party_judged(s, "judge_policy", &e, 0);
    e = (struct entry){.type = ENTRY_RENAME, .u.rename = {.name = "Sunday"}};
    party_judged(s, "judge_rename", &e, 0);
    party_judged(s, "judge_rename_by_member", &e, 4);
    e = (struct entry){.type = ENTRY_INVITE,
                       .u.invite = {*sign_key_public(key), 3, UNIX + 3600, ROLE_MEMBER}};
    party_judged(s, "judge_invite", &e, 0);
    e = (struct entry){
        .type = ENTRY_ADMIT,
        .u.admit = {.key = *sign_key_public(key), .name = "new", .role = ROLE_MEMBER, .host = 300}};
    party_judged(s, "judge_admit", &e, 0);
    e = (struct entry){.type = ENTRY_REMOVE};
    party_judged(s, "judge_remove", &e, 0);
    sign_key_free(key);
}

/* Kind of entry, author (from 128: the invite), seconds, subject, and four bytes for the body. */
enum party_op { OP_ADMIT, OP_REMOVE, OP_ROLE, OP_LEASE, OP_INVITE, OP_REVOKE, OP_RENAME, OP_POLICY };

static void party_scripts(struct seeds *s)
{
    static const uint8_t invite[] = {2, OP_INVITE,   0,   1, 0, ROLE_MEMBER, 2,   9, 200, OP_ADMIT,    128, 1,
                                     3, ROLE_MEMBER, 0,   0, 0, OP_ADMIT,    128, 1, 4,   ROLE_MEMBER, 0,   0,
                                     0, OP_ADMIT,    128, 1, 5, ROLE_MEMBER, 0,   0, 0,   OP_REVOKE,   0,   1,
                                     0, 0,           0,   0, 0, OP_REMOVE,   3,   1, 3,   0,           0,   0,
                                     0, OP_ADMIT,    128, 1, 3, ROLE_MEMBER, 0,   0, 0};
    static const uint8_t rule[] = {2, OP_ADMIT,    0, 1, 2, ROLE_ADMIN, 0, 0, 0, OP_ADMIT,    2,  1,
                                   4, ROLE_GUEST,  0, 0, 0, OP_ROLE,    2, 1, 4, ROLE_MEMBER, 0,  0,
                                   0, OP_LEASE,    2, 1, 4, 3,          7, 0, 0, OP_RENAME,   4,  1,
                                   4, 'x',         0, 0, 0, OP_POLICY,  0, 1, 0, 1,           50, 3,
                                   0, OP_REMOVE,   2, 1, 4, 0,          0, 0, 0, OP_ADMIT,    0,  1,
                                   4, ROLE_MEMBER, 0, 0, 0};
    static const uint8_t owners[] = {2, OP_ADMIT,   0, 1, 1, ROLE_ADMIN,  0, 0, 0, OP_ROLE,     0, 1,
                                     1, ROLE_OWNER, 0, 0, 0, OP_ROLE,     1, 1, 0, ROLE_MEMBER, 0, 0,
                                     0, OP_ROLE,    1, 1, 1, ROLE_MEMBER, 0, 0, 0, OP_REMOVE,   0, 1,
                                     1, 0,          0, 0, 0, OP_REMOVE,   1, 1, 0, 0,           0, 0,
                                     0, OP_REMOVE,  1, 1, 1, 0,           0, 0, 0};
    static const uint8_t refused[] = {2, OP_ADMIT,    9, 1, 3, ROLE_MEMBER, 0, 0, 0, OP_ADMIT,  0,   1,
                                      0, ROLE_MEMBER, 0, 0, 0, OP_LEASE,    0, 1, 0, 1,         255, 0,
                                      0, OP_INVITE,   0, 1, 0, ROLE_OWNER,  0, 9, 0, OP_POLICY, 0,   0,
                                      0, 0,           0, 0, 0};
    put_bytes(s, "play_invite", bytes_of(invite, sizeof invite));
    put_bytes(s, "play_rule", bytes_of(rule, sizeof rule));
    put_bytes(s, "play_owners", bytes_of(owners, sizeof owners));
    put_bytes(s, "play_refused", bytes_of(refused, sizeof refused));
}

/* ---- session_session: a first byte that is odd begins with a session that is up. Then acts; where mail
 * waits, a number follows the act and picks one. TAKE as that number is harmless where none waits: it is one
 * act more. */

enum session_act {
    START,
    REKEY,
    RESUME,
    MESSAGE,
    SAY,
    TIME,
    LOSE,
    MANGLE,
    CUT,
    INVENT,
    ASTRAY,
    CLOSE,
    DOUBLE,
    TAKE,
    GOSSIP = CLOSE,
    OTHER_END = 0x80
};

static void take_all(struct script *t)
{
    for (int i = 0; i < 24; i++)
        wr_u8(&t->w, TAKE);
}

static void later(struct script *t, uint16_t ms)
{
    wr_u8(&t->w, TIME);
    wr_u16(&t->w, ms);
}

static void session_starts(struct seeds *s)
{
    struct script t;
    script_open(&t);
    wr_u16(&t.w, START);
    take_all(&t);
    wr_u16(&t.w, SAY << 8 | (SAY | OTHER_END));
    take_all(&t);
    script_put(s, "handshake", &t);
    script_open(&t);
    wr_u16(&t.w, START);
    wr_u16(&t.w, (START | OTHER_END) << 8);
    take_all(&t);
    script_put(s, "glare", &t);
    script_open(&t);
    wr_u16(&t.w, START);
    for (int i = 0; i < 5; i++) {
        wr_u16(&t.w, LOSE << 8);
        later(&t, 8000);
    }
    script_put(s, "hello_lost", &t);
    script_open(&t);
    wr_u16(&t.w, START);
    wr_u8(&t.w, INVENT | OTHER_END);
    wr_u8(&t.w, 0);
    wr_u8(&t.w, 9);
    wr_copy(&t.w, (const uint8_t[]){6, 5, 0, 1, 0, 0, 0, 7, 3}, 9);
    take_all(&t);
    script_put(s, "reject", &t);
    script_open(&t);
    wr_u16(&t.w, START);
    wr_u16(&t.w, TAKE << 8);
    wr_u16(&t.w, MANGLE << 8);
    wr_u16(&t.w, 1645);
    wr_u8(&t.w, 1);
    take_all(&t);
    script_put(s, "challenge_mangled", &t);
}

static void session_lives(struct seeds *s)
{
    struct script t;
    script_open(&t);
    wr_u8(&t.w, 1);
    for (int i = 0; i < 22; i++)
        wr_u16(&t.w, (uint16_t)((i % 2 ? SAY : SAY | OTHER_END) << 8 | TAKE));
    take_all(&t);
    script_put(s, "rekey_by_packets", &t);
    script_open(&t);
    wr_u8(&t.w, 1);
    for (int i = 0; i < 3; i++) {
        later(&t, 21000);
        take_all(&t);
    }
    script_put(s, "rekey_by_time", &t);
    script_open(&t);
    wr_u16(&t.w, 1 << 8 | REKEY);
    wr_u16(&t.w, TAKE << 8 | (REKEY | OTHER_END));
    take_all(&t);
    wr_u8(&t.w, SAY);
    wr_u16(&t.w, DOUBLE << 8);
    wr_u16(&t.w, DOUBLE << 8);
    take_all(&t);
    script_put(s, "rekey_and_replay", &t);
    script_open(&t);
    wr_u16(&t.w, 1 << 8 | RESUME | 0x10);
    take_all(&t);
    wr_u8(&t.w, RESUME | OTHER_END);
    wr_u16(&t.w, MANGLE << 8);
    wr_u16(&t.w, 30);
    wr_u8(&t.w, 0x80);
    take_all(&t);
    script_put(s, "resume", &t);
    script_open(&t);
    wr_u16(&t.w, 1 << 8 | MESSAGE | 0x20);
    take_all(&t);
    wr_u8(&t.w, CLOSE | 0x70);
    take_all(&t);
    script_put(s, "message_and_close", &t);
    script_open(&t);
    wr_u16(&t.w, 1 << 8 | GOSSIP | 0x20);
    take_all(&t);
    wr_u8(&t.w, RESUME);
    for (int i = 0; i < 6; i++) {
        wr_u16(&t.w, LOSE << 8);
        later(&t, 1500);
    }
    wr_u8(&t.w, REKEY | OTHER_END);
    take_all(&t);
    script_put(s, "gossip_and_resume_lost", &t);
    script_open(&t);
    wr_u16(&t.w, 1 << 8 | SAY);
    wr_u16(&t.w, CUT << 8);
    wr_u8(&t.w, 128);
    wr_u16(&t.w, TAKE << 8 | SAY);
    wr_u16(&t.w, ASTRAY << 8);
    take_all(&t);
    script_put(s, "cut_and_astray", &t);
}

/* ---- vnet_vnet: a first byte for the configuration, then {what, who, length, frame}. Self is member 1
 * of 10.7.0.0/16. */

enum vnet_what { MEMBER_SET, MEMBER_DEL, FROM_PEER, FROM_DEVICE };

#define NET4 0x0a070000u

static struct wr frame_of(uint8_t *p, size_t cap, uint8_t src, uint8_t dst, uint16_t type)
{
    struct eth_frame f = {.dst = {2, 0, 0, 0, 0, dst}, .src = {2, 0, 0, 0, 0, src}, .type = type};
    struct wr w = wr_of(p, cap);
    if (dst == 0xff)
        memset(f.dst, 0xff, sizeof f.dst);
    eth_write(&w, &f);
    return w;
}

static void ip4(struct wr *w, uint8_t src, uint8_t dst, uint8_t proto, struct bytes payload)
{
    wr_u16(w, 0x4500);
    wr_u16(w, (uint16_t)(IP4_HEADER_LEN + payload.n));
    wr_u32(w, 0x00014000);
    wr_u8(w, 64);
    wr_u8(w, proto);
    wr_u16(w, 0);
    wr_u32(w, NET4 | src);
    wr_u32(w, dst == 0xff ? NET4 | 0xffff : NET4 | dst);
    wr_bytes(w, payload);
}

static void ip6(struct wr *w, uint8_t src, uint8_t dst, uint8_t proto, struct bytes payload)
{
    const uint8_t from[IP6_ADDR_LEN] = {0xfd, 7, [15] = src}, to[IP6_ADDR_LEN] = {0xfd, 7, [15] = dst};
    wr_u32(w, 6u << 28);
    wr_u16(w, (uint16_t)payload.n);
    wr_u8(w, proto);
    wr_u8(w, 255);
    wr_copy(w, from, sizeof from);
    wr_copy(w, to, sizeof to);
    wr_bytes(w, payload);
}

static void step(struct script *t, uint8_t what, uint8_t who, struct bytes frame)
{
    wr_u8(&t->w, what);
    wr_u8(&t->w, who);
    wr_u16(&t->w, (uint16_t)frame.n);
    wr_bytes(&t->w, frame);
}

static const uint8_t udp_game[12] = {105, 135, 105, 135, 0, 12};
static const uint8_t udp_dhcp[12] = {0, 68, 0, 67, 0, 12};
static const uint8_t tcp_syn[24] = {0x12, 0x34, 0, 80, [12] = 0x60, [13] = TCP_SYN, [20] = 2, 4, 5, 0xb4};
static const uint8_t icmp_echo[8] = {ICMP4_ECHO};
static const uint8_t padding[46];

static void vnet_arp(struct seeds *s)
{
    struct script t;
    uint8_t p[256];
    script_open(&t);
    wr_u8(&t.w, 0xff & ~3);
    for (uint8_t asked = 1; asked < 8; asked += 2) {
        struct arp a = {ARP_REQUEST, {2, 0, 0, 0, 0, 1}, {0}, NET4 | 1, NET4 | asked};
        struct wr w = frame_of(p, sizeof p, 1, 0xff, ETH_TYPE_ARP);
        arp_write(&w, &a);
        step(&t, FROM_DEVICE, 0, wr_done(&w));
    }
    struct arp lie = {ARP_REPLY, {2, 0, 0, 0, 0, 3}, {2, 0, 0, 0, 0, 1}, NET4 | 2, NET4 | 1};
    struct wr w = frame_of(p, sizeof p, 3, 1, ETH_TYPE_ARP);
    arp_write(&w, &lie);
    step(&t, FROM_PEER, 3, wr_done(&w));
    script_put(s, "arp", &t);
}

static void vnet_frames(struct seeds *s)
{
    struct script t;
    uint8_t p[2048];
    script_open(&t);
    wr_u8(&t.w, 0xc0);
    static const struct {
        uint8_t what, who, src, dst, proto;
        struct bytes payload;
    } rows[] = {{FROM_DEVICE, 0, 1, 2, IP_UDP, {udp_game, sizeof udp_game}},
                {FROM_PEER, 2, 2, 1, IP_UDP, {udp_game, sizeof udp_game}},
                {FROM_DEVICE, 0, 1, 0xff, IP_UDP, {udp_game, sizeof udp_game}},
                {FROM_DEVICE, 0, 1, 0xff, IP_UDP, {udp_dhcp, sizeof udp_dhcp}},
                {FROM_PEER, 3, 3, 0xff, IP_UDP, {udp_dhcp, sizeof udp_dhcp}},
                {FROM_DEVICE, 0, 1, 4, IP_TCP, {tcp_syn, sizeof tcp_syn}},
                {FROM_PEER, 4, 4, 1, IP_TCP, {tcp_syn, sizeof tcp_syn}},
                {FROM_PEER, 4, 5, 1, IP_ICMP, {icmp_echo, sizeof icmp_echo}},
                {FROM_PEER, 7, 7, 1, IP_ICMP, {icmp_echo, sizeof icmp_echo}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wr w = frame_of(p, sizeof p, rows[i].src, rows[i].dst, ETH_TYPE_IP4);
        ip4(&w, rows[i].src, rows[i].dst, rows[i].proto, rows[i].payload);
        step(&t, rows[i].what, rows[i].who, wr_done(&w));
    }
    script_put(s, "frames", &t);
    script_open(&t);
    wr_u8(&t.w, 0xc1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wr w = wr_of(p, sizeof p);
        ip4(&w, rows[i].src, rows[i].dst, rows[i].proto, rows[i].payload);
        step(&t, rows[i].what, rows[i].who, wr_done(&w));
    }
    script_put(s, "packets", &t);
    script_open(&t);
    wr_u8(&t.w, 0);
    for (int big6 = 0; big6 < 2; big6++) {
        struct wr w = frame_of(p, sizeof p, 1, 2, big6 ? ETH_TYPE_IP6 : ETH_TYPE_IP4);
        static const uint8_t much[1460];
        if (big6)
            ip6(&w, 1, 2, IP_UDP, bytes_of(much, sizeof much));
        else
            ip4(&w, 1, 2, IP_UDP, bytes_of(much, sizeof much));
        step(&t, FROM_DEVICE, 0, wr_done(&w));
    }
    script_put(s, "too_big", &t);
}

static void vnet_six(struct seeds *s)
{
    static const uint8_t solicit[32] = {ND_SOLICIT, [8] = 0xfd, 7, [23] = 2, [24] = 1, 1, 2, [31] = 1};
    static const uint8_t advert[32] = {
        ND_ADVERT, [4] = 0x60, [8] = 0xfd, 7, [23] = 3, [24] = 2, 1, 2, [31] = 3};
    static const uint8_t router[16] = {ND_ROUTER_ADVERT};
    static const struct {
        uint8_t what, who, src, dst;
        struct bytes payload;
    } rows[] = {{FROM_DEVICE, 0, 1, 2, {solicit, sizeof solicit}},
                {FROM_PEER, 3, 3, 1, {advert, sizeof advert}},
                {FROM_PEER, 4, 4, 1, {advert, sizeof advert}},
                {FROM_PEER, 3, 3, 1, {router, sizeof router}},
                {FROM_DEVICE, 0, 1, 9, {solicit, sizeof solicit}}};
    struct script t;
    uint8_t p[256];
    script_open(&t);
    wr_u8(&t.w, 0xc0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wr w = frame_of(p, sizeof p, rows[i].src, rows[i].dst, ETH_TYPE_IP6);
        ip6(&w, rows[i].src, rows[i].dst, IP_ICMP6, rows[i].payload);
        step(&t, rows[i].what, rows[i].who, wr_done(&w));
    }
    script_put(s, "neighbours", &t);
}

/* Hosts behind bridges, members that come and go, and more broadcast than the cap of five a second lets
 * through. */
static void vnet_time(struct seeds *s)
{
    struct script t;
    uint8_t p[256];
    script_open(&t);
    wr_u8(&t.w, 0xc2);
    for (uint8_t i = 0; i < 14; i++) {
        struct wr w = frame_of(p, sizeof p, 1, 0xff, ETH_TYPE_IP4);
        ip4(&w, 1, 0xff, IP_UDP, bytes_of(udp_game, sizeof udp_game));
        step(&t, (uint8_t)(FROM_DEVICE | (i == 12 ? 0xf8 : 0)), 0, wr_done(&w));
    }
    script_put(s, "storm", &t);
    script_open(&t);
    wr_u8(&t.w, 0xc2);
    for (uint8_t i = 0; i < 14; i++) {
        struct wr w = frame_of(p, sizeof p, 2, 0xff, ETH_TYPE_IP4);
        ip4(&w, 2, 0xff, IP_UDP, bytes_of(udp_game, sizeof udp_game));
        step(&t, FROM_PEER, 2, wr_done(&w));
        if (i == 12)
            step(&t, MEMBER_SET, 0, bytes_of(padding, 20)); /* a cap of ten, DHCP not allowed */
    }
    script_put(s, "storm_from_peer", &t);
    script_open(&t);
    wr_u8(&t.w, 0xc0);
    for (uint8_t i = 0; i < 4; i++) {
        struct wr w = frame_of(p, sizeof p, 0x52, 1, 0x88cc);
        wr_copy(&w, padding, sizeof padding);
        step(&t, FROM_PEER, 2 + i % 2, wr_done(&w));
        w = frame_of(p, sizeof p, 1, 0x52, 0x88cc);
        wr_copy(&w, padding, sizeof padding);
        step(&t, FROM_DEVICE, 0, wr_done(&w));
        step(&t, i % 2 ? MEMBER_SET : MEMBER_DEL, 2, bytes_of(NULL, 0));
    }
    script_put(s, "bridged", &t);
}

void seeds_scripts(struct seeds *s)
{
    fields(s);
    seeds_target(s, "party_party");
    party_file(s);
    party_entries(s);
    party_scripts(s);
    seeds_target(s, "session_session");
    session_starts(s);
    session_lives(s);
    seeds_target(s, "vnet_vnet");
    vnet_arp(s);
    vnet_frames(s);
    vnet_six(s);
    vnet_time(s);
}
