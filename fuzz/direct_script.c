/* Seeds of the targets that play a script against what finds direct paths. The heads of those targets say
 * what the bytes mean. */
#include "fuzz/seed.h"

#include <string.h>

#include "nat/hard.h"
#include "nat/mdns.h"
#include "nat/stun_server.h"
#include "wire/portmap.h"
#include "wire/stun.h"

static const uint8_t txid[STUN_TXID_LEN] = "twelve bytes";

static void op(struct script *t, uint8_t what, uint8_t which, uint16_t value)
{
    wr_u8(&t->w, what);
    wr_u8(&t->w, which);
    wr_u16(&t->w, value);
}

static void pair(struct script *t, uint8_t what, uint8_t arg)
{
    wr_u8(&t->w, what);
    wr_u8(&t->w, arg);
}

/* ---- nat_stun_server: which endpoints there are and which is asked; then requests behind their lengths. */

static void request(struct script *t, struct stun_writer *w)
{
    struct bytes in = stun_end(w);
    seed_must(in.n > 0 && in.n < 256);
    wr_u8(&t->w, (uint8_t)in.n);
    wr_bytes(&t->w, in);
}

static void stun_requests(struct script *t)
{
    static const uint32_t changes[] = {0, STUN_CHANGE_PORT, STUN_CHANGE_IP,
                                       STUN_CHANGE_IP | STUN_CHANGE_PORT};
    static const uint8_t padding[100] = {0};
    uint8_t p[256];
    struct stun_writer w;
    for (size_t i = 0; i < 4; i++) {
        stun_begin(&w, p, sizeof p, STUN_REQUEST, STUN_BINDING, txid);
        stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, changes[i]);
        stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of(padding, 40 + 20 * i)); /* everybody ignores it */
        request(t, &w);
    }
    stun_begin(&w, p, sizeof p, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_u32(&w, STUN_ATTR_RESPONSE_PORT, 5000u << 16);
    stun_put(&w, STUN_ATTR_PADDING, bytes_of(padding, sizeof padding));
    request(t, &w);
    stun_begin(&w, p, sizeof p, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_u32(&w, 0x7ffe, 1); /* not known, and must be */
    stun_put_fingerprint(&w);
    request(t, &w);
    stun_begin(&w, p, sizeof p, STUN_REQUEST, STUN_ALLOCATE, txid);
    request(t, &w);
    stun_begin(&w, p, sizeof p, STUN_INDICATION, STUN_BINDING, txid);
    request(t, &w);
}

static void stun_server(struct seeds *s)
{
    struct script t;
    uint8_t p[64];
    struct stun_writer w;
    seeds_target(s, "nat_stun_server");
    script_open(&t);
    wr_u8(&t.w, 0x38); /* all eight endpoints */
    stun_requests(&t);
    script_put(s, "everything4", &t);
    t.p[0] |= 4;
    script_put(s, "everything6", &t);
    t.p[0] = 0; /* one address, one port */
    script_put(s, "one_endpoint", &t);
    script_open(&t);
    wr_u8(&t.w, 0x38);
    for (int i = 0; i < 32; i++) { /* more answers than what came pays for */
        stun_begin(&w, p, sizeof p, STUN_REQUEST, STUN_BINDING, txid);
        request(&t, &w);
    }
    script_put(s, "too_small", &t);
}

/* ---- nat_ice: role and consent; then {what, which, value}. */

enum ice_op {
    ICE_LOCAL,
    ICE_REMOTE,
    ICE_CREDENTIALS,
    ICE_BASE_GONE,
    ICE_AGAIN,
    ICE_PROBE,
    ICE_DONE,
    ICE_TIME,
    ICE_ASKED,
    ICE_ANSWER,
    ICE_BYTES,
    ICE_DRAIN
};
#define CONTROLLING  1
#define CONSENT      2
#define V4(ip, port) ((uint16_t)((port) << 4 | (ip) << 1))

/* Candidates of both ends, credentials, and the first checks. */
static void ice_begins(struct script *t, uint8_t first)
{
    script_open(t);
    wr_u8(&t->w, first);
    op(t, ICE_LOCAL, 1, V4(0, 100));
    op(t, ICE_LOCAL, 2, V4(1, 100) | 1);
    op(t, ICE_CREDENTIALS, 0, 0);
    op(t, ICE_REMOTE, 0, V4(2, 200));
    op(t, ICE_REMOTE, 0x80, V4(3, 200));
    op(t, ICE_REMOTE, 0, V4(2, 200) | 1);
    for (int i = 0; i < 3; i++)
        op(t, ICE_TIME, 1, 60);
}

static void ice_answers(struct script *t)
{
    for (uint8_t i = 0; i < 6; i++)
        op(t, ICE_ANSWER, i, V4(1, 100) & 0xfff8);
    op(t, ICE_DONE, 0, 0);
    op(t, ICE_DONE, 1, 0);
    for (int i = 0; i < 8; i++) {
        op(t, ICE_TIME, 1, 100);
        op(t, ICE_ANSWER, (uint8_t)(6 + i), 0);
    }
}

static void ice_asked(struct script *t, uint8_t which, uint16_t v, uint16_t from)
{
    op(t, ICE_ASKED, which, v);
    wr_u16(&t->w, from);
}

static void ice(struct seeds *s)
{
    uint8_t p[128];
    struct stun_writer w;
    struct script t;
    seeds_target(s, "nat_ice");
    ice_begins(&t, CONTROLLING);
    ice_answers(&t);
    script_put(s, "controlling", &t);
    ice_begins(&t, CONTROLLING | CONSENT);
    ice_answers(&t);
    for (int i = 0; i < 5; i++)
        op(&t, ICE_TIME, 1, 8000);
    script_put(s, "consent_lost", &t);
    ice_begins(&t, 0);
    for (uint8_t i = 0; i < 3; i++)
        ice_asked(&t, 0x20, 1 | 2, V4(2 + i, 200)); /* known, reflexive, peer-reflexive */
    ice_answers(&t);
    ice_asked(&t, 0x20, 1 | 2 | 16, V4(2, 200)); /* nominated */
    op(&t, ICE_TIME, 1, 100);
    ice_answers(&t);
    script_put(s, "controlled", &t);
    ice_begins(&t, CONTROLLING);
    ice_asked(&t, 0x20, 1 | 2, V4(2, 200));
    ice_asked(&t, 0x20, 1 | 2 | 8, V4(2, 200)); /* the stronger tie-breaker */
    op(&t, ICE_ANSWER, 0, 2 | 4);               /* 487 */
    op(&t, ICE_TIME, 1, 500);
    ice_asked(&t, 0x20, 1 | 4 | 32, V4(2, 200));
    script_put(s, "roles_conflict", &t);
    ice_begins(&t, CONTROLLING);
    ice_answers(&t);
    op(&t, ICE_AGAIN, 0, 0);
    op(&t, ICE_CREDENTIALS, 0, 0);
    op(&t, ICE_REMOTE, 0, V4(4, 300));
    op(&t, ICE_TIME, 1, 100);
    ice_answers(&t);
    op(&t, ICE_BASE_GONE, 1, 0);
    op(&t, ICE_TIME, 1, 1000);
    script_put(s, "restart_and_base_gone", &t);
    ice_begins(&t, CONTROLLING);
    for (uint8_t i = 0; i < 8; i++)
        op(&t, ICE_PROBE, i & 3, V4(i & 7, 400 + i));
    for (int i = 0; i < 6; i++)
        op(&t, ICE_TIME, 1, 9000);
    script_put(s, "probes_and_silence", &t);
    ice_begins(&t, 0);
    stun_begin(&w, p, sizeof p, STUN_REQUEST, STUN_BINDING, txid);
    stun_put(&w, STUN_ATTR_USERNAME, bytes_of_str("ours0:their0"));
    stun_put_fingerprint(&w);
    op(&t, ICE_BYTES, (uint8_t)stun_end(&w).n, V4(2, 200));
    wr_bytes(&t.w, stun_end(&w));
    op(&t, ICE_DRAIN, 0, 0);
    script_put(s, "without_integrity", &t);
}

/* ---- nat_turn: transport and offers; then {what, argument}. */

enum turn_op {
    TURN_TIME,
    TURN_SEND,
    TURN_FROM_PEER,
    TURN_BYTES,
    TURN_MANGLED,
    TURN_LOSE,
    TURN_NONCE,
    TURN_FAIL,
    TURN_LIFETIME,
    TURN_STATE,
    TURN_PERMIT,
    TURN_CUT
};

static void turn_day(struct script *t, uint8_t flags)
{
    script_open(t);
    wr_u8(&t->w, flags);
    for (uint8_t i = 0; i < 4; i++)
        pair(t, TURN_PERMIT, i);
    for (uint8_t i = 0; i < 6; i++) { /* first as indications, later on channels */
        pair(t, TURN_SEND, (uint8_t)(i * 4));
        wr_u8(&t->w, (uint8_t)(50 + i));
        pair(t, TURN_FROM_PEER, 8);
        wr_copy(&t->w, "eight by", 8);
        pair(t, TURN_TIME, 0);
    }
    for (int i = 0; i < 6; i++) /* permissions, channels and the allocation are made anew */
        pair(t, TURN_TIME, 200);
    pair(t, TURN_NONCE, 0);
    pair(t, TURN_TIME, 254);
    pair(t, TURN_STATE, 2);
    pair(t, TURN_TIME, 1);
}

static void turn(struct seeds *s)
{
    struct script t;
    seeds_target(s, "nat_turn");
    turn_day(&t, 2);
    script_put(s, "udp_sha256", &t);
    t.p[0] = 0;
    script_put(s, "udp_md5", &t);
    t.p[0] = 1 | 8;
    script_put(s, "stream", &t);
    t.p[0] = 4;
    script_put(s, "wrong_password", &t);
    script_open(&t);
    wr_u8(&t.w, 2);
    pair(&t, TURN_FAIL, 3 | 1 << 4 | 32); /* ALLOCATE: 300 and another server */
    wr_u8(&t.w, 0);
    pair(&t, TURN_TIME, 1);
    pair(&t, TURN_FAIL, 8 | 2 << 4); /* CREATE-PERMISSION: 403 */
    wr_u8(&t.w, 51);
    pair(&t, TURN_PERMIT, 1);
    pair(&t, TURN_TIME, 0);
    pair(&t, TURN_FAIL, 9 | 1 << 4 | 64); /* CHANNEL-BIND: 438, unsigned */
    wr_u8(&t.w, 69);
    pair(&t, TURN_SEND, 4);
    wr_u8(&t.w, 99);
    pair(&t, TURN_TIME, 0);
    script_put(s, "errors", &t);
    script_open(&t);
    wr_u8(&t.w, 0);
    pair(&t, TURN_LOSE, 1);
    for (int i = 0; i < 8; i++)
        pair(&t, TURN_TIME, 1);
    pair(&t, TURN_LOSE, 0);
    pair(&t, TURN_STATE, 1);
    pair(&t, TURN_MANGLED, 40);
    wr_u16(&t.w, 0x00ff);
    pair(&t, TURN_CUT, 3);
    pair(&t, TURN_LIFETIME, 3);
    pair(&t, TURN_STATE, 4);
    pair(&t, TURN_TIME, 200);
    script_put(s, "lost_mangled_cut", &t);
}

/* ---- nat_hard: side and NAT; then {what, 16 bits} and what follows it. */

enum hard_op { HARD_SAYS, HARD_SEEN = 3, HARD_TIME, HARD_ALL_OPENED, HARD_IS_FOUND = 131 };
#define HARD_FIRST(initiator, mapping) ((uint8_t)((initiator) | (mapping) << 2))

static void hard_op(struct script *t, uint8_t what, uint16_t value)
{
    wr_u8(&t->w, what);
    wr_u16(&t->w, value);
}

static void hard_says(struct script *t, const struct search_message *m)
{
    uint8_t p[HARD_MESSAGE_MAX];
    size_t n = search_write(p, sizeof p, m);
    seed_must(n > 0);
    hard_op(t, HARD_SAYS, 0);
    wr_u8(&t->w, (uint8_t)n);
    wr_copy(&t->w, p, n);
}

static void hard_goes_on(struct script *t)
{
    hard_op(t, HARD_ALL_OPENED, 0);
    for (uint8_t i = 1; i < 5; i++)
        hard_op(t, (uint8_t)(HARD_SEEN + 6 * i), (uint16_t)(30000 + i));
    for (int i = 0; i < 12; i++)
        hard_op(t, HARD_TIME, 400);
    hard_op(t, HARD_IS_FOUND, 20001);
}

/* The number of the search of which the target's initiator speaks: it always has the same chance. */
static uint32_t hard_id(void)
{
    struct rng_seeded state;
    struct hard_config c = {.rng = rng_seeded(&state, 1), .initiator = true};
    struct hard_out o;
    struct search_message m = {.id = 0};
    c.ours = (struct hard_nat){HARD_SEQUENTIAL, 1, net_addr4(0xCB007101, 4000)};
    struct hard *h = hard_new(&c, 1000 * SEC);
    seed_must(h != NULL);
    while (hard_output(h, 1000 * SEC, &o))
        if (o.action == HARD_TELL_PEER)
            seed_must(search_read(&m, o.data) == 0);
    hard_free(h);
    return m.id;
}

static void hard(struct seeds *s)
{
    static const struct {
        const char *name;
        enum hard_mapping ours, theirs;
    } rows[] = {{"predict", HARD_SEQUENTIAL, HARD_EASY},    {"kept_ports", HARD_PRESERVING, HARD_EASY},
                {"birthday", HARD_RANDOM, HARD_EASY},       {"birthday_easy_side", HARD_EASY, HARD_RANDOM},
                {"both", HARD_SEQUENTIAL, HARD_SEQUENTIAL}, {"impossible", HARD_RANDOM, HARD_RANDOM}};
    struct hard_memory memory;
    uint8_t saved[HARD_MEMORY_BYTES];
    struct script t;
    seeds_target(s, "nat_hard");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool initiator = i % 2 == 0;
        struct hard_nat theirs = {rows[i].theirs, rows[i].theirs == HARD_SEQUENTIAL ? 1 : 0,
                                  net_addr4(0xc6336407, 5000)};
        struct search_message m = {.kind = initiator ? SEARCH_ACCEPT : SEARCH_OFFER,
                                   .id = initiator ? hard_id() : 77,
                                   .nat = theirs};
        script_open(&t);
        wr_u8(&t.w, HARD_FIRST(initiator, rows[i].ours));
        hard_says(&t, &m);
        m.kind = SEARCH_READY;
        m.round = 1;
        m.ports[m.port_count++] = 20001;
        hard_says(&t, &m);
        hard_goes_on(&t);
        if (i == 2) {
            m = (struct search_message){.kind = SEARCH_STOP, .id = m.id, .stop = SEARCH_FOUND};
            hard_says(&t, &m);
        }
        script_put(s, rows[i].name, &t);
    }
    hard_memory_init(&memory);
    hard_memory_failure(&memory, (const uint8_t[HARD_MEMORY_KEY]){1}, HARD_BIRTHDAY, 1800000000);
    hard_memory_success(&memory, (const uint8_t[HARD_MEMORY_KEY]){2}, HARD_PREDICT, 1800000000);
    size_t n = hard_memory_save(&memory, saved, sizeof saved);
    seed_must(n > 0);
    seed_put(s, "memory", SEED_SCRIPT, bytes_of(saved, n));
}

/* ---- nat_portmap: what the router speaks; then {what, argument}. */

enum portmap_op {
    PORTMAP_TIME,
    PORTMAP_WANT,
    PORTMAP_SPEAKS,
    PORTMAP_RESULT,
    PORTMAP_LIFETIME,
    PORTMAP_EPOCH,
    PORTMAP_OUTSIDE,
    PORTMAP_BYTES,
    PORTMAP_MANGLED,
    PORTMAP_UPNP,
    PORTMAP_NETWORK
};

static void portmap_day(struct script *t, uint8_t flags)
{
    script_open(t);
    wr_u8(&t->w, flags);
    pair(t, PORTMAP_WANT, 1); /* TCP, too */
    wr_u8(&t->w, 6);
    for (int i = 0; i < 6; i++)
        pair(t, PORTMAP_TIME, 1);
    for (int i = 0; i < 4; i++) /* renewed */
        pair(t, PORTMAP_TIME, 254);
    pair(t, PORTMAP_OUTSIDE, 0);
    wr_u32(&t->w, 0xcb007108);
    pair(t, PORTMAP_EPOCH, 1); /* the router has restarted */
    pair(t, PORTMAP_TIME, 254);
    pair(t, PORTMAP_WANT, 0);
    wr_u8(&t->w, 0);
    pair(t, PORTMAP_NETWORK, 1); /* stop */
    pair(t, PORTMAP_TIME, 1);
}

static void portmap(struct seeds *s)
{
    struct pcp_message announce = {
        .version = PCP_VERSION, .response = true, .opcode = PCP_ANNOUNCE, .epoch = 1};
    uint8_t p[PCP_MESSAGE_MAX];
    struct script t;
    seeds_target(s, "nat_portmap");
    portmap_day(&t, 1 << 1);
    script_put(s, "pcp", &t);
    t.p[0] = 2 << 1;
    script_put(s, "natpmp", &t);
    t.p[0] = 1; /* silent to both, but UPnP */
    pair(&t, PORTMAP_UPNP, 0);
    script_put(s, "silence", &t);
    script_open(&t);
    wr_u8(&t.w, 1);
    for (int i = 0; i < 12; i++)
        pair(&t, PORTMAP_TIME, 1);
    pair(&t, PORTMAP_UPNP, 0);
    pair(&t, PORTMAP_TIME, 254);
    pair(&t, PORTMAP_UPNP, 2 | 5 << 2);
    script_put(s, "upnp", &t);
    script_open(&t);
    wr_u8(&t.w, 3 << 1);
    for (uint8_t result = 0; result < PCP_RESULT_COUNT; result++) {
        pair(&t, PORTMAP_RESULT, result);
        pair(&t, PORTMAP_TIME, 254);
    }
    script_put(s, "results", &t);
    script_open(&t);
    wr_u8(&t.w, 1 << 1);
    pair(&t, PORTMAP_TIME, 1);
    size_t n = pcp_write(p, sizeof p, &announce);
    pair(&t, PORTMAP_BYTES, (uint8_t)n);
    wr_copy(&t.w, p, n);
    pair(&t, PORTMAP_LIFETIME, 0);
    pair(&t, PORTMAP_MANGLED, 45);
    wr_u8(&t.w, 0x10);
    pair(&t, PORTMAP_NETWORK, 4); /* only IPv6 */
    pair(&t, PORTMAP_TIME, 1);
    pair(&t, PORTMAP_NETWORK, 0); /* none at all */
    pair(&t, PORTMAP_TIME, 1);
    pair(&t, PORTMAP_NETWORK, 2);
    script_put(s, "announce_and_move", &t);
}

/* ---- nat_mdns: what | and a datagram, time, ports or members. */

enum mdns_op { MDNS_IN, MDNS_TIME = 3, MDNS_SET_PORTS, MDNS_SET_MEMBERS, MDNS_SWITCH, MDNS_SET_CLOCK };

/* What member 2 says in the parties of the target. */
static void mdns_says(struct seeds *s, struct script *t, bool leaves)
{
    struct mdns_member all[4];
    struct mdns_out o;
    usec_t now = 1000 * SEC;
    struct mdns *m = mdns_new(&s->rng, now);
    seed_must(m != NULL);
    for (uint8_t i = 0; i < 4; i++) {
        all[i].self = i % 2;
        memset(all[i].party, i / 2, MDNS_ID_LEN);
        memset(all[i].node, 1 + i % 2, MDNS_ID_LEN);
    }
    mdns_clock(m, now, 20000ull * 86400);
    seed_must(mdns_set_members(m, all, 4, now) == 0);
    mdns_ports(m, 40001, 50001, now);
    mdns_start(m, now);
    for (int i = 0; i < 40; i++, now += 250 * MSEC) {
        mdns_tick(m, now);
        if (i == 39 && leaves)
            mdns_stop(m, now);
        while (mdns_output(m, now, &o)) {
            wr_u8(&t->w, MDNS_IN | 7 << 4);
            wr_block16(&t->w, o.data);
            pair(t, MDNS_TIME, 4);
        }
    }
    mdns_free(m);
}

static void mdns(struct seeds *s)
{
    struct script t;
    seeds_target(s, "nat_mdns");
    script_open(&t);
    mdns_says(s, &t, true);
    script_put(s, "found_and_gone", &t);
    script_open(&t);
    mdns_says(s, &t, false);
    pair(&t, MDNS_TIME | 7 << 5, 255); /* it runs out */
    pair(&t, MDNS_TIME | 7 << 5, 255);
    script_put(s, "found_and_silent", &t);
    script_open(&t);
    for (int i = 0; i < 12; i++)
        pair(&t, MDNS_TIME, 20);
    wr_u8(&t.w, MDNS_SET_PORTS);
    wr_u16(&t.w, 0x0506);
    pair(&t, MDNS_SET_MEMBERS, 9);
    pair(&t, MDNS_TIME, 40);
    wr_u8(&t.w, MDNS_SET_CLOCK);
    wr_u64(&t.w, 20001ull * 86400);
    pair(&t, MDNS_TIME, 40);
    wr_u8(&t.w, MDNS_SWITCH | 16);
    wr_u8(&t.w, MDNS_SWITCH);
    pair(&t, MDNS_TIME, 40);
    script_put(s, "changes", &t);
}

/* ---- path_circuit: acts of five members. */

enum circuit_op {
    CIRCUIT_DELIVER,
    CIRCUIT_TWICE,
    CIRCUIT_ASTRAY,
    CIRCUIT_LOSE,
    CIRCUIT_MANGLE,
    CIRCUIT_SHORTEN,
    CIRCUIT_OPEN,
    CIRCUIT_SEND = 8,
    CIRCUIT_CLOSE = 10,
    CIRCUIT_NEIGHBOUR_GONE,
    CIRCUIT_TIME,
    CIRCUIT_RUN,
    CIRCUIT_INVENT,
    CIRCUIT_RULES
};

/* From member 0 to member `hops`, over those between. */
static void circuit_up(struct script *t, uint8_t hops)
{
    pair(t, CIRCUIT_OPEN, 0);
    wr_u8(&t->w, hops);
    for (uint8_t i = 1; i <= hops; i++)
        wr_u8(&t->w, i);
    pair(t, CIRCUIT_RUN, 0);
    wr_u8(&t->w, 60);
}

static void circuit_says(struct script *t, uint8_t who)
{
    pair(t, CIRCUIT_SEND, who);
    wr_u16(&t->w, 0x0010);
}

static void circuit_run(struct script *t)
{
    pair(t, CIRCUIT_RUN, 0);
    wr_u8(&t->w, 40);
}

static void circuits(struct seeds *s)
{
    static const char *const names[] = {"one_relay", "two_relays", "three_relays"};
    struct script t;
    seeds_target(s, "path_circuit");
    for (uint8_t hops = 2; hops <= 4; hops++) {
        script_open(&t);
        circuit_up(&t, hops);
        circuit_says(&t, 0);
        circuit_run(&t);
        circuit_says(&t, hops);
        circuit_run(&t);
        pair(&t, CIRCUIT_TIME, 0);
        wr_u16(&t.w, 20000);
        circuit_run(&t);
        pair(&t, CIRCUIT_CLOSE, 0);
        wr_u8(&t.w, 0);
        circuit_run(&t);
        script_put(s, names[hops - 2], &t);
    }
    script_open(&t);
    circuit_up(&t, 3);
    circuit_says(&t, 0);
    for (uint8_t what = CIRCUIT_TWICE; what <= CIRCUIT_SHORTEN; what++) {
        pair(&t, what, 0);
        wr_u8(&t.w, 0);
        if (what == CIRCUIT_MANGLE)
            wr_u16(&t.w, 30 << 8 | 0x40);
        if (what == CIRCUIT_ASTRAY || what >= CIRCUIT_MANGLE)
            wr_u8(&t.w, 3);
        circuit_says(&t, 0);
    }
    circuit_run(&t);
    script_put(s, "mail_goes_wrong", &t);
    script_open(&t);
    circuit_up(&t, 3);
    pair(&t, CIRCUIT_NEIGHBOUR_GONE, 1);
    wr_u8(&t.w, 2);
    circuit_says(&t, 0);
    circuit_run(&t);
    pair(&t, CIRCUIT_RULES, 2); /* relays for nobody any more */
    wr_copy(&t.w, (const uint8_t[]){0, 1, 1}, 3);
    circuit_up(&t, 3);
    pair(&t, CIRCUIT_INVENT, 0);
    wr_u8(&t.w, 6);
    wr_copy(&t.w, "\5\0\0\0\1\2", 6);
    wr_u8(&t.w, 1);
    circuit_run(&t);
    pair(&t, CIRCUIT_TIME, 0);
    wr_u16(&t.w, 65535);
    script_put(s, "hops_fail", &t);
}

void seeds_direct_scripts(struct seeds *s)
{
    stun_server(s);
    ice(s);
    turn(s);
    hard(s);
    portmap(s);
    mdns(s);
    circuits(s);
}
