/* Seeds of the targets that read one message on the way to a direct path. */
#include "fuzz/seed.h"

#include <string.h>

#include "io/ws_frame.h"
#include "wire/candidate.h"
#include "wire/circuit.h"
#include "wire/direct.h"
#include "wire/dns.h"
#include "wire/hs.h"
#include "wire/offer.h"
#include "wire/portmap.h"
#include "wire/stun.h"
#include "wire/udp_relay.h"

static uint8_t out[HS_MESSAGE_MAX], filler[8192];
static const uint8_t ip6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 7};

static struct wr begin(void)
{
    return wr_of(out, sizeof out);
}

static void target(struct seeds *s, const char *name)
{
    seeds_target(s, name);
    rng_fill(&s->rng, filler, sizeof filler);
}

/* ---- STUN. The target's key is "key". */

static struct stun_writer ask(enum stun_class class, enum stun_method method)
{
    struct stun_writer w;
    stun_begin(&w, out, sizeof out, class, method, filler);
    return w;
}

static void sealed(struct seeds *s, const char *name, struct stun_writer *w)
{
    stun_put_integrity(w, bytes_of_str("key"));
    stun_put_integrity256(w, bytes_of_str("key"));
    stun_put_fingerprint(w);
    seed_must(stun_end(w).n > 0);
    seed_put(s, name, SEED_TAKEN, stun_end(w));
}

static void stun_checks(struct seeds *s)
{
    struct net_addr a4 = net_addr4(0xcb007107, 5000), a6 = net_addr6(ip6, 5001);
    struct stun_writer w = ask(STUN_REQUEST, STUN_BINDING);
    seed_put(s, "bare", SEED_TAKEN, stun_end(&w));
    w = ask(STUN_REQUEST, STUN_BINDING);
    stun_put(&w, STUN_ATTR_USERNAME, bytes_of_str("ours0:their0"));
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 0x6e7f00ff);
    stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLING, 0x0102030405060708);
    stun_put(&w, STUN_ATTR_USE_CANDIDATE, bytes_of(NULL, 0));
    sealed(s, "check", &w);
    out[stun_end(&w).n - 1] ^= 1;
    seed_put(s, "check_wrong_fingerprint", SEED_REFUSED, stun_end(&w));
    w = ask(STUN_SUCCESS, STUN_BINDING);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &a4);
    stun_put_addr(&w, STUN_ATTR_RESPONSE_ORIGIN, &a4);
    stun_put_addr(&w, STUN_ATTR_OTHER_ADDRESS, &a6);
    stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of_str("warren"));
    sealed(s, "mapped", &w);
    w = ask(STUN_SUCCESS, STUN_BINDING);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &a6);
    seed_put(s, "mapped6", SEED_TAKEN, stun_end(&w));
    seed_put(s, "mapped6_cut", SEED_REFUSED, bytes_of(out, stun_end(&w).n - 4));
    w = ask(STUN_REQUEST, STUN_BINDING);
    stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, STUN_CHANGE_IP | STUN_CHANGE_PORT);
    stun_put_u32(&w, STUN_ATTR_RESPONSE_PORT, 5000u << 16);
    stun_put(&w, STUN_ATTR_PADDING, bytes_of(filler, 64));
    seed_put(s, "behaviour", SEED_TAKEN, stun_end(&w));
    w = ask(STUN_ERROR, STUN_BINDING);
    stun_put_error(&w, 487, "Role Conflict");
    stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLED, 9);
    sealed(s, "role_conflict", &w);
    w = ask(STUN_REQUEST, STUN_BINDING);
    stun_put_u32(&w, 0x7ffe, 1);
    stun_put_u32(&w, 0xfffe, 1);
    seed_put(s, "unknown", SEED_TAKEN, stun_end(&w));
}

static void stun_turn(struct seeds *s)
{
    struct net_addr a4 = net_addr4(0xcb007107, 5000);
    struct stun_writer w = ask(STUN_ERROR, STUN_ALLOCATE);
    stun_put_error(&w, 401, "Unauthorized");
    stun_put(&w, STUN_ATTR_REALM, bytes_of_str("example.org"));
    stun_put(&w, STUN_ATTR_NONCE, bytes_of_str("obMatJos2AAAB0123456789"));
    stun_put(&w, STUN_ATTR_PASSWORD_ALGORITHMS, bytes_of("\0\2\0\0\0\1\0\0", 8));
    seed_put(s, "unauthorized", SEED_TAKEN, stun_end(&w));
    w = ask(STUN_REQUEST, STUN_ALLOCATE);
    stun_put_u32(&w, STUN_ATTR_REQUESTED_TRANSPORT, 17u << 24);
    stun_put_u32(&w, STUN_ATTR_LIFETIME, 600);
    stun_put_u32(&w, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 1u << 24);
    stun_put(&w, STUN_ATTR_USERNAME, bytes_of_str("me"));
    stun_put(&w, STUN_ATTR_PASSWORD_ALGORITHM, bytes_of("\0\2\0\0", 4));
    sealed(s, "allocate", &w);
    w = ask(STUN_SUCCESS, STUN_ALLOCATE);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_RELAYED_ADDRESS, &a4);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &a4);
    stun_put_u32(&w, STUN_ATTR_LIFETIME, 600);
    sealed(s, "allocated", &w);
    w = ask(STUN_INDICATION, STUN_DATA);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &a4);
    stun_put(&w, STUN_ATTR_DATA, bytes_of(filler, 50));
    seed_put(s, "data", SEED_TAKEN, stun_end(&w));
    w = ask(STUN_REQUEST, STUN_CREATE_PERMISSION);
    for (int i = 0; i < STUN_ADDRS_MAX; i++)
        stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &a4);
    seed_put(s, "permissions", SEED_TAKEN, stun_end(&w));
    stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &a4);
    seed_put(s, "permissions_too_many", SEED_REFUSED, stun_end(&w));
    w = ask(STUN_REQUEST, STUN_CHANNEL_BIND);
    stun_put_u32(&w, STUN_ATTR_CHANNEL_NUMBER, 0x40000000);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &a4);
    seed_put(s, "channel", SEED_TAKEN, stun_end(&w));
}

/* ---- ICE in SDP, and Warren's own form of it. */

static void candidate(struct seeds *s)
{
    static const struct {
        const char *name;
        enum seed_intent intent;
        const char *text;
    } rows[] = {{"host", SEED_TAKEN, "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"},
                {"reflexive", SEED_TAKEN,
                 "a=candidate:842163049 1 UDP 1694498815 203.0.113.7 46154 typ srflx raddr 0.0.0.0 rport 0 "
                 "generation 0 ufrag EEtu network-cost 999\r\n"},
                {"mdns", SEED_TAKEN,
                 "candidate:2 1 udp 2113937151 0f1ec7a5-0c5f-4e5a-9d2e-3f1b5c1d2a3b.local 60000 typ host"},
                {"tcp6", SEED_TAKEN, "candidate:3 1 tcp 1518280447 2001:db8::7 9 typ host tcptype active"},
                {"relayed", SEED_TAKEN,
                 "candidate:4 256 udp 41885439 198.51.100.3 50000 typ relay raddr 203.0.113.7 rport 46154"},
                {"ufrag", SEED_TAKEN, "a=ice-ufrag:8hhY"},
                {"pwd", SEED_TAKEN, "a=ice-pwd:asd88fgpdd777uzjYhagZg\r\n"},
                {"pwd_too_short", SEED_REFUSED, "a=ice-pwd:asd88fgpdd777"},
                {"no_priority", SEED_REFUSED, "candidate:1 1 udp 0 192.0.2.1 5000 typ host"},
                {"unknown_type", SEED_REFUSED, "candidate:1 1 udp 5 192.0.2.1 5000 typ other"},
                {"no_port", SEED_REFUSED, "candidate:1 1 udp 5 192.0.2.1 typ host"}};
    target(s, "wire_candidate");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        seed_text(s, rows[i].name, rows[i].intent, rows[i].text);
}

static void direct(struct seeds *s)
{
    struct direct_message m = {.generation = 7, .revision = 1};
    target(s, "wire_direct");
    struct wr w = begin();
    direct_write(&w, &m);
    seed_wr(s, "nothing_yet", &w);
    m = (struct direct_message){.generation = 7,
                                .revision = 2,
                                .flags = DIRECT_DONE,
                                .mapping = DIRECT_MAPPING_ADDRESS_PORT,
                                .ports = DIRECT_PORTS_SEQUENTIAL,
                                .step = -1,
                                .tcp_port = 40001,
                                .tcp_mapped = net_addr4(0xcb007107, 40001),
                                .count = 4};
    m.candidates[0] = (struct direct_candidate){0, false, 0x7e7f00ff, net_addr4(0x0a000002, 40000)};
    m.candidates[1] = (struct direct_candidate){0, false, 0x7e7ffeff, net_addr6(ip6, 40000)};
    m.candidates[2] = (struct direct_candidate){2, true, 0x647f00ff, net_addr4(0xcb007107, 40000)};
    m.candidates[3] = (struct direct_candidate){3, false, 0x007f00ff, net_addr4(0xc6336403, 50000)};
    w = begin();
    direct_write(&w, &m);
    seed_wr(s, "candidates", &w);
    seed_wr_cut(s, "candidates_cut", &w);
    out[6] |= 0x80;
    seed_put(s, "unknown_flag", SEED_REFUSED, wr_done(&w));
    m.flags = DIRECT_OFF | DIRECT_UDP_BLOCKED | DIRECT_DONE;
    m.count = DIRECT_CANDIDATES_MAX;
    for (size_t i = 0; i < m.count; i++)
        m.candidates[i] = (struct direct_candidate){i & 3, i & 4, (uint32_t)i + 1,
                                                    net_addr4(0x0a000001u + (uint32_t)i, 40000)};
    w = begin();
    direct_write(&w, &m);
    seed_wr(s, "as_many_as_can_be", &w);
    w = begin();
    direct_ack_write(&w, 7, 2);
    seed_wr(s, "ack", &w);
}

static void udp_relay(struct seeds *s)
{
    static const uint8_t key[UDP_RELAY_KEY_LEN] = {1, 2, 3}; /* the target's */
    static const char *const names[UDP_RELAY_KIND_COUNT] = {
        NULL, "bind", "challenge", "confirm", "bound", "data", "unbound", "keep", "kept"};
    struct udp_relay m = {.index = 9, .token = 0x01020304, .time_ms = 1800000000000, .lifetime_s = 90};
    target(s, "wire_udp_relay");
    memcpy(m.nonce, filler, sizeof m.nonce);
    memcpy(m.cookie, filler + 16, sizeof m.cookie);
    for (uint8_t kind = UDP_RELAY_BIND; kind < UDP_RELAY_KIND_COUNT; kind++) {
        m.kind = kind;
        m.seen = kind & 1 ? net_addr6(ip6, 4000) : net_addr4(0xcb007107, 4000);
        m.code = kind == UDP_RELAY_UNBOUND ? UDP_RELAY_REBIND : 0;
        m.datagram = kind == UDP_RELAY_DATA ? bytes_of(filler, 60) : bytes_of(NULL, 0);
        if (kind == UDP_RELAY_UNBOUND)
            m.index = 0;
        size_t n = udp_relay_write(out, sizeof out, &m, key);
        seed_must(n > 0);
        seed_put(s, names[kind], SEED_TAKEN, bytes_of(out, n));
        m.index = 9;
    }
    seed_put(s, "kept_cut", SEED_REFUSED, bytes_of(out, UDP_RELAY_SMALL_LEN - 1));
    out[2] = 1;
    seed_put(s, "reserved_set", SEED_REFUSED, bytes_of(out, UDP_RELAY_SMALL_LEN));
}

/* ---- DNS. */

static void dns_named(struct dns_name *n, const char *text)
{
    seed_must(dns_name_set(n, text) == 0);
}

static void dns_put(struct seeds *s, const char *name, struct dns_writer *d)
{
    struct bytes made = dns_end(d);
    seed_must(made.n > 0);
    seed_put(s, name, SEED_TAKEN, made);
}

static void dns(struct seeds *s)
{
    static const uint8_t text[] = "\7t=40001\5v=1\0\0";
    /* A PTR whose names are compressed, as other people's responders write them. */
    static const uint8_t compressed[] = "\0\0\x84\0\0\0\0\1\0\0\0\1"
                                        "\7_warren\4_udp\5local\0\0\14\0\1\0\0\3\x84\0\4\1x\xc0\14"
                                        "\xc0\14\0\20\0\1\0\0\0\0\0\1\0";
    struct dns_question q = {.type = DNS_PTR, .class = DNS_IN, .unicast = true};
    struct dns_record r[5] = {
        {.section = DNS_ANSWER, .type = DNS_PTR, .class = DNS_IN, .ttl = 900},
        {.section = DNS_ADDITIONAL,
         .type = DNS_SRV,
         .class = DNS_IN,
         .flush = true,
         .ttl = 900,
         .port = 4000},
        {.section = DNS_ADDITIONAL, .type = DNS_TXT, .class = DNS_IN, .ttl = 900, .data = {text, 8 + 6 + 1}},
        {.section = DNS_ADDITIONAL, .type = DNS_A, .class = DNS_IN, .ttl = 0, .data = {filler, 4}},
        {.section = DNS_ADDITIONAL, .type = DNS_AAAA, .class = DNS_IN, .ttl = 5, .data = {ip6, 16}}};
    struct dns_writer d;
    target(s, "wire_dns");
    dns_named(&q.name, "_warren._udp.local");
    for (size_t i = 0; i < 5; i++)
        dns_named(&r[i].name, i == 0 ? "_warren._udp.local" : "23iqqjed6fq5j2el._warren._udp.local");
    dns_named(&r[0].target, "23iqqjed6fq5j2el._warren._udp.local");
    dns_named(&r[1].target, "23iqqjed6fq5j2el.local");
    dns_begin(&d, out, sizeof out, 0, 0);
    dns_put_question(&d, &q);
    dns_put_record(&d, &r[0]);
    dns_put(s, "query_with_known_answer", &d);
    dns_begin(&d, out, sizeof out, 0, DNS_FLAG_RESPONSE | DNS_FLAG_AUTHORITATIVE);
    for (size_t i = 0; i < 5; i++)
        dns_put_record(&d, &r[i]);
    dns_put(s, "announcement", &d);
    seed_put(s, "announcement_cut", SEED_REFUSED, bytes_of(out, dns_end(&d).n - 1));
    seed_put(s, "compressed", SEED_TAKEN, bytes_of(compressed, sizeof compressed - 1));
    memcpy(out, compressed, sizeof compressed - 1);
    out[sizeof compressed - 1 - 12] = 46; /* the last name points at itself */
    seed_put(s, "loop", SEED_REFUSED, bytes_of(out, sizeof compressed - 1));
}

/* ---- Circuits, and what members tell each other about relaying. */

static void circuit_put(struct seeds *s, const char *name, const struct circuit_cell *c)
{
    struct wr w = begin();
    circuit_cell_write(&w, c);
    seed_wr(s, name, &w);
}

static void circuit_text(struct seeds *s, const char *name, const struct circuit_text *t)
{
    struct wr w = begin();
    circuit_text_write(&w, t);
    circuit_text_pad(&w, 0, 0);
    seed_wr(s, name, &w);
}

static void circuit(struct seeds *s)
{
    struct circuit_offer offer = {.cipher = 1, .dh = filler, .kem = filler};
    struct circuit_answer answer = {.dh = filler, .ct = filler, .sig = filler};
    target(s, "wire_circuit");
    circuit_put(s, "create",
                &(struct circuit_cell){.kind = CIRCUIT_CREATE, .circuit = 5, .party = 6, .offer = offer});
    out[CIRCUIT_CREATE_LEN - 1] = 1;
    seed_put(s, "create_padded_with_one", SEED_REFUSED, bytes_of(out, CIRCUIT_CREATE_LEN));
    circuit_put(s, "created",
                &(struct circuit_cell){.kind = CIRCUIT_CREATED, .circuit = 5, .answer = answer});
    circuit_put(
        s, "forth",
        &(struct circuit_cell){.kind = CIRCUIT_FORTH, .circuit = 5, .layer = bytes_of(filler, 4 * 23)});
    circuit_put(
        s, "back",
        &(struct circuit_cell){.kind = CIRCUIT_BACK, .circuit = 5, .layer = bytes_of(filler, 2 * 23)});
    circuit_put(
        s, "destroy",
        &(struct circuit_cell){.kind = CIRCUIT_DESTROY_FORTH, .circuit = 5, .reason = CIRCUIT_TIMEOUT});
    circuit_put(
        s, "refused",
        &(struct circuit_cell){.kind = CIRCUIT_DESTROY_BACK, .circuit = 5, .reason = CIRCUIT_NO_RELAY});
    circuit_text(s, "extend",
                 &(struct circuit_text){.command = CIRCUIT_EXTEND, .node = filler, .offer = offer});
    circuit_text(s, "extended", &(struct circuit_text){.command = CIRCUIT_EXTENDED, .answer = answer});
    circuit_text(s, "refuse", &(struct circuit_text){.command = CIRCUIT_REFUSE, .reason = CIRCUIT_BUSY});
    circuit_text(s, "datagram",
                 &(struct circuit_text){.command = CIRCUIT_DATA, .data = bytes_of(filler, 100)});
    circuit_text(s, "keep", &(struct circuit_text){.command = CIRCUIT_KEEP});
    circuit_text(s, "kept", &(struct circuit_text){.command = CIRCUIT_KEPT});
    out[0] = CIRCUIT_COMMAND_COUNT;
    seed_put(s, "unknown_command", SEED_REFUSED, bytes_of(out, CIRCUIT_LAYER_LEN + 1));
}

static void offer(struct seeds *s)
{
    struct offer o = {.flags = OFFER_RELAYS, .count = 2};
    struct piece p = {.message = 3, .index = 0, .count = 2, .data = {filler, PIECE_DATA_MAX}};
    target(s, "wire_offer");
    struct wr w = begin();
    for (size_t i = 0; i < OFFER_LEGS_MAX; i++) {
        memcpy(o.leg[i].node, filler + i, OFFER_ID_LEN);
        o.leg[i].rtt = (uint16_t)(i * 100);
        o.leg[i].loss = (uint8_t)(i % 101);
    }
    offer_write(&w, &o);
    seed_wr(s, "two_legs", &w);
    seed_wr_cut(s, "two_legs_cut", &w);
    o.count = OFFER_LEGS_MAX;
    w = begin();
    offer_write(&w, &o);
    seed_wr(s, "many_legs", &w);
    o = (struct offer){0};
    w = begin();
    offer_write(&w, &o);
    seed_wr(s, "relays_nothing", &w);
    w = begin();
    piece_write(&w, &p);
    seed_wr(s, "first_piece", &w);
    seed_wr_cut(s, "first_piece_cut", &w);
    p = (struct piece){.message = 3, .index = 1, .count = 2, .data = {filler, 40}};
    w = begin();
    piece_write(&w, &p);
    seed_wr(s, "last_piece", &w);
}

/* ---- Routers. */

static void pcp_put(struct seeds *s, const char *name, const struct pcp_message *m)
{
    size_t n = pcp_write(out, sizeof out, m);
    seed_must(n > 0);
    seed_put(s, name, SEED_TAKEN, bytes_of(out, n));
}

static void natpmp_put(struct seeds *s, const char *name, const struct natpmp_message *m)
{
    size_t n = natpmp_write(out, sizeof out, m);
    seed_must(n > 0);
    seed_put(s, name, SEED_TAKEN, bytes_of(out, n));
}

static void portmap(struct seeds *s)
{
    struct pcp_message p = {.version = PCP_VERSION,
                            .opcode = PCP_MAP,
                            .lifetime = 7200,
                            .client = net_addr4(0xc0a8010a, 0),
                            .has_map = true,
                            .protocol = PORTMAP_UDP,
                            .internal_port = 40000,
                            .external = net_addr4(0, 40000)};
    struct natpmp_message q = {.opcode = NATPMP_MAP_UDP,
                               .has_body = true,
                               .internal_port = 40000,
                               .external_port = 40000,
                               .lifetime = 7200};
    target(s, "wire_portmap");
    memcpy(p.nonce, filler, sizeof p.nonce);
    pcp_put(s, "pcp_map", &p);
    seed_put(s, "pcp_map_cut", SEED_REFUSED, bytes_of(out, PCP_MAP_LEN - 4));
    p.response = true;
    p.epoch = 1000;
    p.external = net_addr4(0xcb007107, 40000);
    pcp_put(s, "pcp_mapped", &p);
    p.result = PCP_NO_RESOURCES;
    p.has_map = false;
    pcp_put(s, "pcp_refused", &p);
    p = (struct pcp_message){.version = PCP_VERSION, .response = true, .opcode = PCP_ANNOUNCE, .epoch = 1};
    pcp_put(s, "pcp_announce", &p);
    natpmp_put(s, "natpmp_map", &q);
    q.response = true;
    q.epoch = 1000;
    natpmp_put(s, "natpmp_mapped", &q);
    q = (struct natpmp_message){.opcode = NATPMP_ADDRESS};
    natpmp_put(s, "natpmp_address", &q);
    q = (struct natpmp_message){
        .opcode = NATPMP_ADDRESS, .response = true, .epoch = 1000, .has_body = true, .ip = 0xcb007107};
    natpmp_put(s, "natpmp_outside", &q);
    out[0] = 1;
    seed_put(s, "version_between", SEED_REFUSED, bytes_of(out, 12));
}

/* ---- The texts of io/: the kernel's tables, and HTTP. */

static void texts(struct seeds *s)
{
    target(s, "io_addresses");
    seed_text(s, "inet6", SEED_TAKEN, "20010db8000000000000000000000001 02 40 00 80     eth0\n");
    seed_text(s, "route4", SEED_TAKEN,
              "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
              "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\n");
    seed_text(s, "route6", SEED_TAKEN,
              "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
              "fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0\n");
    seed_text(s, "route4_ours", SEED_REFUSED,
              "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
              "warren0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\n");
    static const char nul[] = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
                              "fe800000000000000000000000000001 00000400 00000001 00000000 00450003 \0eth0\n";
    seed_put(s, "route6_nul_in_name", SEED_REFUSED, bytes_of(nul, sizeof nul - 1));
    target(s, "io_ws_upgrade");
    seed_text(s, "answer", SEED_TAKEN,
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    seed_text(s, "request", SEED_TAKEN,
              "GET /warren HTTP/1.1\r\nHost: 192.0.2.1:4000\r\nUpgrade: websocket\r\n"
              "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
              "Sec-WebSocket-Version: 13\r\n\r\n");
    seed_text(s, "request_for_a_page", SEED_REFUSED, "GET / HTTP/1.1\r\nHost: 192.0.2.1:4000\r\n\r\n");
    seed_text(s, "refusal", SEED_REFUSED, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

/* Heads of WebSocket frames: each way to say a length, a mask, and what is none. */
static void ws_heads(struct seeds *s)
{
    static const struct {
        const char *name;
        struct ws_head head;
    } rows[] = {{"text_masked", {WS_TEXT, true, true, {0x37, 0xfa, 0x21, 0x3d}, 5}},
                {"binary_16_bits", {WS_BINARY, true, false, {0}, 16380}},
                {"binary_64_bits", {WS_BINARY, false, true, {1, 2, 3, 4}, 65536}},
                {"close", {WS_CLOSE, true, false, {0}, 2}}};
    target(s, "io_ws_frame");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t raw[WS_HEAD_MAX + 5] = {0};
        size_t n = ws_head_write(raw, &rows[i].head);
        seed_put(s, rows[i].name, SEED_TAKEN, bytes_of(raw, n + 5));
    }
    seed_put(s, "ping_in_pieces", SEED_REFUSED, bytes_of((const uint8_t[]){0x09, 0x00}, 2));
    seed_put(s, "long_way_round", SEED_REFUSED, bytes_of((const uint8_t[]){0x82, 0x7e, 0x00, 0x05}, 4));
}

void seeds_direct_codecs(struct seeds *s)
{
    target(s, "wire_stun");
    stun_checks(s);
    stun_turn(s);
    candidate(s);
    direct(s);
    udp_relay(s);
    dns(s);
    circuit(s);
    offer(s);
    portmap(s);
    texts(s);
    ws_heads(s);
}
