/* Seeds of the scripts that a hub and a node play with strangers on the line. */
#include "fuzz/seed.h"

#include <string.h>

#include "wire/hs.h"
#include "wire/relay.h"
#include "wire/signal.h"
#include "wire/stun.h"
#include "wire/udp_relay.h"

#define UNIX 1800000000ull

/* ---- hub_hub: acts of six connections each. */

enum hub_act {
    HUB_OPEN,
    HUB_TEXT,
    HUB_BINARY,
    HUB_GONE,
    HUB_LOGIN,
    HUB_JOIN,
    HUB_WELL_FORMED,
    HUB_APPEND,
    HUB_TIME,
    HUB_ALIVE,
    HUB_STOP,
    HUB_UDP,
    HUB_BIND,
    HUB_DATA
};

static void act(struct script *t, enum hub_act what, uint8_t conn)
{
    wr_u8(&t->w, (uint8_t)(what * 6 + conn));
}

static void act_with(struct script *t, enum hub_act what, uint8_t conn, uint8_t operand)
{
    act(t, what, conn);
    wr_u8(&t->w, operand);
}

static void say(struct script *t, uint8_t conn, const struct signal *m)
{
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    seed_must(signal_write(&b, m) == 0);
    act(t, HUB_TEXT, conn);
    wr_block16(&t->w, buf_bytes(&b));
    buf_done(&b);
}

/* Three devices log in and join. */
static void hub_ready_script(struct script *t)
{
    script_open(t);
    for (uint8_t i = 0; i < 3; i++)
        act_with(t, HUB_LOGIN, i, i);
    for (uint8_t i = 0; i < 3; i++)
        act_with(t, HUB_JOIN, i, i);
}

static void hub_messages(struct seeds *s)
{
    struct script t;
    hub_ready_script(&t);
    for (uint8_t type = 0; type < SIGNAL_TYPE_COUNT; type++) {
        act_with(&t, HUB_WELL_FORMED, 0, type);
        wr_u8(&t.w, 1);
        if (type == SIGNAL_PRESENCE || type == SIGNAL_LOG)
            wr_u8(&t.w, 1);
        if (type >= SIGNAL_SIGNAL && type <= SIGNAL_ICE_CANDIDATE)
            wr_copy(&t.w, "data", 4);
    }
    script_put(s, "every_message", &t);
    struct signal m = {.type = SIGNAL_PING, .u.ping = {5}};
    script_open(&t);
    act(&t, HUB_OPEN, 0);
    say(&t, 0, &m);
    act_with(&t, HUB_LOGIN, 1, 1);
    say(&t, 1, &m);
    m = (struct signal){.type = SIGNAL_JOIN, .u.join = {.party = {9}}};
    say(&t, 1, &m);
    m = (struct signal){.type = SIGNAL_LOG,
                        .u.log = {.op = LOG_OP_CREATE, .ref = 1, .count = 1, .entries = {{t.p, 100}}}};
    say(&t, 1, &m);
    script_put(s, "texts", &t);
}

static void hub_lives(struct seeds *s)
{
    struct script t;
    hub_ready_script(&t);
    act(&t, HUB_APPEND, 0);
    act(&t, HUB_APPEND, 1);
    act_with(&t, HUB_LOGIN, 3, 0);
    act(&t, HUB_GONE, 1);
    script_put(s, "removed_and_replaced", &t);
    script_open(&t);
    act(&t, HUB_OPEN, 0);
    act_with(&t, HUB_LOGIN, 1, 0);
    act_with(&t, HUB_JOIN, 1, 0);
    for (int i = 0; i < 6; i++) {
        act_with(&t, HUB_TIME, 0, 20);
        act(&t, HUB_ALIVE, 1);
    }
    act_with(&t, HUB_TIME, 0, 200);
    script_put(s, "time_runs_out", &t);
    hub_ready_script(&t);
    act_with(&t, HUB_STOP, 0, 0);
    act_with(&t, HUB_TIME, 0, 30);
    script_put(s, "shutdown", &t);
}

static void hub_relay(struct seeds *s)
{
    struct script t;
    uint8_t p[512];
    struct wr w = wr_of(p, sizeof p);
    for (uint32_t i = 0; i < 3; i++) {
        struct relay_frame f = {RELAY_DATA, 9 + i, bytes_of("to nobody", 9)};
        relay_frame_write(&w, &f);
    }
    hub_ready_script(&t);
    act(&t, HUB_BINARY, 0);
    wr_block16(&t.w, wr_done(&w));
    p[0] = RELAY_GONE;
    act(&t, HUB_BINARY, 1);
    wr_block16(&t.w, wr_done(&w));
    act(&t, HUB_BINARY, 5);
    wr_block16(&t.w, wr_done(&w));
    script_put(s, "relay", &t);
}

static void datagram(struct script *t, uint8_t conn, struct bytes in, uint8_t socket)
{
    act(t, HUB_UDP, conn);
    wr_block16(&t->w, in);
    wr_u8(&t->w, socket);
}

/* STUN to each socket, and what the relay must not believe. */
static void hub_udp_strangers(struct seeds *s)
{
    static const uint8_t bare[STUN_HEADER_LEN] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 7};
    static const uint8_t key[UDP_RELAY_KEY_LEN] = {1};
    uint8_t p[256];
    struct script t;
    struct stun_writer w;
    struct udp_relay m = {.kind = UDP_RELAY_BIND, .index = 9, .time_ms = 5};
    hub_ready_script(&t);
    stun_begin(&w, p, sizeof p, STUN_REQUEST, STUN_BINDING, bare + 8);
    stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, STUN_CHANGE_IP | STUN_CHANGE_PORT);
    stun_put(&w, STUN_ATTR_PADDING, bytes_of((const uint8_t[60]){0}, 60));
    for (uint8_t socket = 0; socket < 4; socket++) {
        datagram(&t, socket, bytes_of(bare, sizeof bare), socket);
        datagram(&t, socket, stun_end(&w), socket);
    }
    script_put(s, "stun", &t);
    hub_ready_script(&t);
    for (uint8_t kind = UDP_RELAY_BIND; kind < UDP_RELAY_KIND_COUNT; kind++) {
        m.kind = kind;
        m.seen = net_addr4(0xcb007101, 5000);
        m.datagram = bytes_of("to nobody", 9);
        datagram(&t, 0, bytes_of(p, udp_relay_write(p, sizeof p, &m, key)), 0);
    }
    datagram(&t, 1, bytes_of("hello", 5), 3);
    script_put(s, "udp_strangers", &t);
}

static void hub_udp_relay(struct seeds *s)
{
    struct script t;
    hub_ready_script(&t);
    for (uint8_t i = 0; i < 3; i++)
        act(&t, HUB_BIND, i);
    for (uint8_t i = 0; i < 9; i++)
        act_with(&t, HUB_DATA, i % 3, i / 3);
    act_with(&t, HUB_DATA, 0, 0x40);
    act_with(&t, HUB_DATA, 0, 0x80 | 1);
    act(&t, HUB_APPEND, 0); /* the third is removed */
    act_with(&t, HUB_DATA, 0, 2);
    act_with(&t, HUB_DATA, 2, 0);
    act(&t, HUB_GONE, 1);
    act_with(&t, HUB_DATA, 0, 1);
    script_put(s, "udp_relay", &t);
    hub_ready_script(&t);
    act(&t, HUB_BIND, 0);
    act(&t, HUB_BIND, 0);
    for (int i = 0; i < 5; i++) {
        act_with(&t, HUB_TIME, 0, 25);
        for (uint8_t c = 0; c < 3; c++)
            act(&t, HUB_ALIVE, c);
        act_with(&t, HUB_DATA, 0, i < 2 ? 0x40 : 1);
    }
    act(&t, HUB_BIND, 1);
    act_with(&t, HUB_DATA, 0, 1);
    script_put(s, "udp_binding_ends", &t);
}

/* ---- node_engine: {what, length, message}. The target puts the party's id for P and the other member's for
 * M. */

#define PARTY_MARK  0xaa
#define MEMBER_MARK 0xbb

static void piece(struct script *t, uint8_t what, struct bytes in)
{
    wr_u8(&t->w, what);
    wr_block16(&t->w, in);
}

static void mark(char *text, char digit, char mark)
{
    char id[65];
    memset(id, digit, 64);
    id[64] = 0;
    for (char *at; (at = strstr(text, id));) {
        *at = mark;
        memmove(at + 1, at + 64, strlen(at + 64) + 1);
    }
}

static void hub_says(struct script *t, uint8_t wait, const struct signal *m)
{
    struct buf b;
    char text[2048];
    buf_init(&b, sizeof text - 1);
    seed_must(signal_write(&b, m) == 0);
    memcpy(text, b.p, b.n);
    text[b.n] = 0;
    mark(text, 'a', 'P');
    mark(text, 'b', 'M');
    piece(t, (uint8_t)(1 | wait << 4), bytes_of_str(text));
    buf_done(&b);
}

static struct signal about_party(enum signal_type type, uint8_t *party)
{
    struct signal m = {.type = type, .has_from = true};
    memset(m.from, MEMBER_MARK, sizeof m.from);
    memset(party, PARTY_MARK, PARTY_ID_LEN);
    return m;
}

static void engine_peers(struct seeds *s)
{
    struct script t;
    uint8_t party[PARTY_ID_LEN];
    struct signal_peer peer = {.relay = 10, .seq = 3};
    struct signal m = about_party(SIGNAL_PEER_LEFT, party);
    memset(peer.node, MEMBER_MARK, sizeof peer.node);
    memcpy(m.u.peer_left.party, party, sizeof party);
    memset(m.u.peer_left.node, MEMBER_MARK, NODE_ID_LEN);
    script_open(&t);
    hub_says(&t, 0, &m);
    m = (struct signal){.type = SIGNAL_PEER_JOINED, .u.peer_joined.peer = peer};
    memcpy(m.u.peer_joined.party, party, sizeof party);
    hub_says(&t, 15, &m);
    m = (struct signal){.type = SIGNAL_PEER_LIST, .u.peer_list = {.count = 1, .peers = &peer}};
    memcpy(m.u.peer_list.party, party, sizeof party);
    peer.relay = 0;
    hub_says(&t, 15, &m);
    m.u.peer_list.count = 0;
    hub_says(&t, 15, &m);
    script_put(s, "peers", &t);
}

static void engine_log(struct seeds *s)
{
    struct script t;
    uint8_t party[PARTY_ID_LEN];
    struct signal m = about_party(SIGNAL_PRESENCE, party);
    memcpy(m.u.presence.party, party, sizeof party);
    m.u.presence.seq = 2;
    script_open(&t);
    hub_says(&t, 0, &m);
    m.has_from = false;
    m.u.presence.seq = 9;
    hub_says(&t, 0, &m);
    m = (struct signal){.type = SIGNAL_LOG,
                        .u.log = {.op = LOG_OP_ENTRIES, .seq = 3, .count = 1, .entries = {{t.p, 1}}}};
    memcpy(m.u.log.party, party, sizeof party);
    hub_says(&t, 2, &m);
    m.u.log.count = 0;
    m.u.log.more = true;
    hub_says(&t, 2, &m);
    m.u.log.op = LOG_OP_ACK;
    m.u.log.ref = 1;
    hub_says(&t, 2, &m);
    script_put(s, "log", &t);
    static const char *const codes[] = {"unknown_party", "stale_head", "rate_limited", "not_a_member",
                                        "shutting_down"};
    script_open(&t);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        m = (struct signal){.type = SIGNAL_ERROR, .u.error = {.ref = 1, .has_party = true}};
        strcpy(m.u.error.code, codes[i]);
        strcpy(m.u.error.message, "no");
        memcpy(m.u.error.party, party, sizeof party);
        hub_says(&t, 4, &m);
    }
    script_put(s, "errors", &t);
}

static void engine_hub(struct seeds *s)
{
    struct script t;
    struct signal m = {.type = SIGNAL_CHALLENGE, .u.challenge = {.version = 99}};
    script_open(&t);
    hub_says(&t, 0, &m);
    m = (struct signal){.type = SIGNAL_WELCOME, .u.welcome = {"t", UNIX + 60, UNIX, 5, "192.0.2.7:5000"}};
    hub_says(&t, 15, &m);
    m.u.welcome.has_udp = true;
    m.u.welcome.udp[m.u.welcome.udp_count++] = net_addr4(0, 3478);
    m.u.welcome.has_turn = true;
    strcpy(m.u.welcome.turn_url, "turn:192.0.2.8:3478");
    strcpy(m.u.welcome.turn_user, "u");
    strcpy(m.u.welcome.turn_password, "p");
    m.u.welcome.turn_expires = UNIX + 60;
    hub_says(&t, 15, &m);
    m = (struct signal){.type = SIGNAL_PING, .u.ping = {3}};
    hub_says(&t, 15, &m);
    m.type = SIGNAL_PONG;
    hub_says(&t, 15, &m);
    script_put(s, "hub", &t);
    script_open(&t);
    for (int i = 0; i < 10; i++)
        piece(&t, 0xf0, bytes_of(NULL, 0));
    script_put(s, "silence", &t);
}

#define PEER_RELAY 9 /* under which the target's other member is known */

static void relayed_from(struct script *t, uint32_t relay, uint8_t kind, struct bytes payload)
{
    uint8_t p[HS_MESSAGE_MAX];
    struct wr w = wr_of(p, sizeof p);
    struct relay_frame f = {kind, relay, payload};
    relay_frame_write(&w, &f);
    seed_must(wr_ok(&w));
    piece(t, 0x10, wr_done(&w));
}

static void relayed(struct script *t, uint8_t kind, struct bytes payload)
{
    relayed_from(t, PEER_RELAY, kind, payload);
}

static void engine_gone(struct script *t)
{
    struct signal m = {.type = SIGNAL_PEER_LEFT};
    memset(m.u.peer_left.party, PARTY_MARK, PARTY_ID_LEN);
    memset(m.u.peer_left.node, MEMBER_MARK, NODE_ID_LEN);
    hub_says(t, 0, &m);
}

/* The other member's key and ours are those of the target, so this HELLO is as good as a true one. */
static void engine_hello(struct seeds *s)
{
    struct sign_key *theirs = seed_key(1), *ours = seed_key(2);
    struct hs_hello m = {.sender = 77, .ciphers = 3};
    struct script t;
    uint8_t p[1024], sig[ED25519_SIG_LEN];
    struct wr w = wr_of(p, sizeof p);
    node_id_of(m.from, sign_key_public(theirs));
    node_id_of(m.to, sign_key_public(ours));
    rng_fill(&s->rng, m.nonce, sizeof m.nonce);
    seed_must(x25519_public(m.dh, m.nonce) == 0);
    hs_hello_write(&w, &m);
    seed_must(sign_make_ed25519(theirs, "warren hello v1", wr_done(&w), sig) == 0);
    wr_copy(&w, sig, sizeof sig);
    script_open(&t);
    relayed(&t, RELAY_CONTROL, wr_done(&w)); /* crosses the node's own */
    engine_gone(&t);
    relayed(&t, RELAY_CONTROL, wr_done(&w));
    relayed(&t, RELAY_CONTROL, wr_done(&w));
    p[w.n - 1] ^= 1;
    relayed(&t, RELAY_CONTROL, wr_done(&w));
    script_put(s, "hello", &t);
    /* The member has another connection, and its HELLO is the first that is heard of it: new, and again. */
    p[w.n - 1] ^= 1;
    script_open(&t);
    engine_gone(&t);
    for (uint32_t i = 1; i < 4; i++)
        relayed_from(&t, PEER_RELAY + (i + 1) / 2, RELAY_CONTROL, wr_done(&w));
    script_put(s, "hello_from_elsewhere", &t);
    script_open(&t);
    engine_gone(&t);
    for (uint32_t i = 0; i < 3; i++)
        relayed_from(&t, PEER_RELAY + i, RELAY_CONTROL, wr_done(&w));
    script_put(s, "hello_moves", &t);
    sign_key_free(ours);
    sign_key_free(theirs);
}

static void engine_frames(struct seeds *s)
{
    static const struct hs_reject reject = {0, HS_REJECT_BUSY};
    static uint8_t random[SIGN_SIG_LEN];
    uint8_t p[HS_MESSAGE_MAX];
    struct script t;
    rng_fill(&s->rng, random, sizeof random);
    struct hs_challenge m = {.sender = 78, .kem = random, .ciphers = 3};
    struct wr w = wr_of(p, sizeof p);
    wr_u64(&w, 0); /* the target's relay header */
    hs_challenge_write(&w, &m);
    wr_copy(&w, random, SIGN_SIG_LEN);
    script_open(&t);
    piece(&t, 6, wr_done(&w));
    script_put(s, "challenge", &t);
    w = wr_of(p, sizeof p);
    wr_u64(&w, 0);
    hs_reject_write(&w, &reject);
    script_open(&t);
    piece(&t, 0xf6, wr_done(&w));
    piece(&t, 0xf6, wr_done(&w));
    relayed(&t, RELAY_DATA, bytes_of("\4\0\0\0\0\0\0\7\0\0\0\0\0\0\0\0 and no key for this", 36));
    relayed(&t, RELAY_DROPPED, bytes_of("\0\0\0\5", 4));
    relayed(&t, RELAY_GONE, bytes_of(NULL, 0));
    script_put(s, "frames", &t);
}

void seeds_online(struct seeds *s)
{
    seeds_target(s, "hub_hub");
    hub_messages(s);
    hub_lives(s);
    hub_relay(s);
    hub_udp_strangers(s);
    hub_udp_relay(s);
    seeds_target(s, "node_engine");
    engine_peers(s);
    engine_log(s);
    engine_hub(s);
    engine_hello(s);
    engine_frames(s);
}
