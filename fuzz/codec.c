/* Seeds of the targets that read one message, or one text. */
#include "fuzz/seed.h"

#include <stdio.h>
#include <string.h>

#include "crypto/aead.h"
#include "wire/eth.h"
#include "wire/hs.h"
#include "wire/invite.h"
#include "wire/rekey.h"
#include "wire/relay.h"
#include "wire/resume.h"
#include "wire/signal.h"

static uint8_t out[HS_MESSAGE_MAX], filler[8192];

static struct wr begin(void)
{
    return wr_of(out, sizeof out);
}

static void target(struct seeds *s, const char *name)
{
    seeds_target(s, name);
    rng_fill(&s->rng, filler, sizeof filler);
}

static void text(struct seeds *s)
{
    char line[512];
    target(s, "base_text");
    hex_put(line, bytes_of(filler, 32));
    seed_text(s, "hex", SEED_TAKEN, line);
    base32_put(line, bytes_of(filler, 21));
    seed_text(s, "base32", SEED_TAKEN, line);
    base64url_put(line, bytes_of(filler, 32));
    seed_text(s, "base64", SEED_TAKEN, line);
    seed_text(s, "base64_stray_bits", SEED_REFUSED, "_B");
    seed_text(s, "duration", SEED_TAKEN, "15m");
    seed_text(s, "duration_too_long", SEED_REFUSED, "3651d");
    seed_text(s, "name", SEED_SCRIPT, "Zo\xc3\xab \xe2\x9c\x93 \xf0\x9f\x8e\xb2");
    seed_text(s, "name_with_override", SEED_REFUSED,
              "a\xe2\x80\xae"
              "b");
    seed_text(s, "controls", SEED_REFUSED, "\x1b[2J\xc2\x9b\x7f\t\n");
    seed_text(s, "utf8_overlong", SEED_REFUSED, "\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80");
}

static void data(struct seeds *s)
{
    static const struct data_header h = {3, false, 0x01020304, 77};
    struct inner_header inner = {INNER_FRAME, 0, 0xcafe0001};
    uint8_t packet[DATA_HEADER_LEN + INNER_HEADER_LEN + 64 + DATA_TAG_LEN];
    target(s, "wire_data");
    data_header_write(&h, packet);
    memcpy(packet + DATA_HEADER_LEN, filler, sizeof packet - DATA_HEADER_LEN);
    seed_put(s, "data", SEED_TAKEN, bytes_of(packet, sizeof packet));
    seed_put(s, "data_too_short", SEED_REFUSED, bytes_of(packet, DATA_OVERHEAD - 1));
    inner_header_write(&inner, packet);
    seed_put(s, "inner_frame", SEED_TAKEN, bytes_of(packet, INNER_HEADER_LEN + 64));
    inner = (struct inner_header){INNER_NULL, 0, 0};
    inner_header_write(&inner, packet);
    seed_put(s, "inner_null", SEED_TAKEN, bytes_of(packet, INNER_HEADER_LEN));
    seed_put(s, "inner_null_with_payload", SEED_REFUSED, bytes_of(packet, INNER_HEADER_LEN + 1));
    inner = (struct inner_header){INNER_CONTROL, 0, 0};
    inner_header_write(&inner, packet);
    seed_put(s, "inner_control", SEED_TAKEN, bytes_of(packet, INNER_HEADER_LEN + 9));
}

static void heads(struct hs_head h[HS_HEADS_MAX])
{
    for (size_t i = 0; i < HS_HEADS_MAX; i++) {
        h[i].seq = i;
        memcpy(h[i].party, filler + i, 32);
        memcpy(h[i].hash, filler + 100 + i, 32);
    }
}

static void hello(struct seeds *s)
{
    struct hs_hello m = {.sender = 7, .ciphers = 3 | HS_PREFER_AES, .head_count = 1};
    memcpy(m.from, filler, 32);
    memcpy(m.to, filler + 32, 32);
    memcpy(m.nonce, filler + 64, 32);
    memcpy(m.dh, filler + 96, 32);
    heads(m.heads);
    struct wr w = begin();
    hs_hello_write(&w, &m);
    wr_copy(&w, filler, ED25519_SIG_LEN);
    seed_wr(s, "hello", &w);
    seed_wr_cut(s, "hello_cut", &w);
    m.head_count = HS_HEADS_MAX;
    w = begin();
    hs_hello_write(&w, &m);
    wr_copy(&w, filler, ED25519_SIG_LEN);
    seed_wr(s, "hello_many_heads", &w);
}

static void challenge(struct seeds *s)
{
    struct hs_challenge m = {
        .sender = 8, .receiver = 7, .kem = filler, .ciphers = 3, .cipher = 1, .head_count = 2};
    memcpy(m.nonce, filler + 64, 32);
    memcpy(m.dh, filler + 96, 32);
    heads(m.heads);
    struct wr w = begin();
    hs_challenge_write(&w, &m);
    wr_copy(&w, filler, SIGN_SIG_LEN);
    seed_wr(s, "challenge", &w);
}

static void response(struct seeds *s)
{
    struct hs_response m = {.receiver = 8, .ct = filler};
    struct hs_response_payload p = {.addr_count = 2,
                                    .addrs = {{4, {10, 0, 0, 1}, 443}, {6, {0x20, 1, 0xd, 0xb8}, 7}}};
    struct wr w = begin();
    hs_response_write(&w, &m);
    wr_copy(&w, filler, SIGN_SIG_LEN + 1 + AEAD_TAG_LEN);
    seed_wr(s, "response", &w);
    seed_wr_cut(s, "response_cut", &w);
    memcpy(p.sig, filler, sizeof p.sig);
    w = begin();
    hs_response_payload_write(&w, &p);
    seed_wr(s, "response_payload", &w);
}

static void established(struct seeds *s)
{
    struct hs_established m = {.receiver = 7};
    struct hs_established_payload p = {
        .mtu = 1400, .heartbeat_ms = 10000, .rekey_s = 120, .seen = {6, {0x20, 1}, 9}, .direct = 1};
    uint8_t payload[HS_ESTABLISHED_PAYLOAD_MAX];
    struct wr w = begin(), inner = wr_of(payload, sizeof payload);
    hs_established_payload_write(&inner, &p);
    seed_must(wr_ok(&inner));
    hs_established_write(&w, &m);
    wr_bytes(&w, wr_done(&inner));
    wr_copy(&w, filler, AEAD_TAG_LEN);
    seed_wr(s, "established", &w);
    seed_wr(s, "established_payload", &inner);
    p.seen = (struct net_addr){0};
    w = begin();
    hs_established_payload_write(&w, &p);
    seed_wr(s, "established_payload_unseen", &w);
    p.rekey_s = 0;
    w = begin();
    hs_established_payload_write(&w, &p);
    seed_put(s, "established_payload_no_rekey", SEED_REFUSED, wr_done(&w));
}

static void hs(struct seeds *s)
{
    struct hs_reject reject = {.receiver = 7, .reason = HS_REJECT_BUSY};
    target(s, "wire_hs");
    hello(s);
    challenge(s);
    response(s);
    established(s);
    struct wr w = begin();
    hs_reject_write(&w, &reject);
    seed_wr(s, "reject", &w);
    out[3] = HS_VERSION + 1;
    seed_put(s, "reject_other_version", SEED_REFUSED, wr_done(&w));
}

static void resume(struct seeds *s)
{
    struct resume_request request = {.receiver = 7, .path = 2, .number = 3};
    struct resume_response response = {.receiver = 8, .path = 2};
    struct resume_complete complete = {.receiver = 7, .path = 2};
    target(s, "wire_resume");
    memcpy(request.challenge, filler, sizeof request.challenge);
    memcpy(response.challenge, filler, sizeof response.challenge);
    static const size_t views[] = {0, 7, RESUME_VIEW_MAX};
    static const char *const names[] = {"request", "request_view", "request_long_view"};
    struct wr w;
    for (size_t i = 0; i < 3; i++) {
        request.view = bytes_of(filler, views[i]);
        w = begin();
        resume_request_write(&w, &request);
        wr_copy(&w, filler, RESUME_MAC_LEN);
        seed_wr(s, names[i], &w);
    }
    seed_wr_cut(s, "request_cut", &w);
    response.view = bytes_of(filler, 7);
    w = begin();
    resume_response_write(&w, &response);
    wr_copy(&w, filler, RESUME_MAC_LEN);
    seed_wr(s, "response", &w);
    w = begin();
    resume_complete_write(&w, &complete);
    wr_copy(&w, filler, RESUME_MAC_LEN);
    seed_wr(s, "complete", &w);
    wr_u8(&w, 0);
    seed_put(s, "complete_and_more", SEED_REFUSED, wr_done(&w));
}

static struct wr control(uint8_t type, uint8_t index, uint8_t count)
{
    struct ctl_header h = {type, 0x0102, index, count};
    struct wr w = begin();
    ctl_header_write(&w, &h);
    return w;
}

static void rekey(struct seeds *s)
{
    target(s, "wire_rekey");
    struct rekey_init init = {.epoch = 5, .kem = filler};
    struct rekey_reply reply = {.epoch = 5, .ct = filler};
    struct hs_head h[HS_HEADS_MAX];
    heads(h);
    struct wr w = control(CTL_REKEY_INIT, 0, 1);
    rekey_init_write(&w, &init);
    seed_wr(s, "init", &w);
    w = begin();
    rekey_init_write(&w, &init);
    seed_wr(s, "init_content", &w);
    w = control(CTL_REKEY_REPLY, 0, 1);
    rekey_reply_write(&w, &reply);
    seed_wr(s, "reply", &w);
    w = control(CTL_REKEY_DONE, 0, 1);
    rekey_epoch_write(&w, 5);
    seed_wr(s, "done", &w);
    w = control(CTL_REKEY_WANT, 0, 1);
    rekey_epoch_write(&w, 6);
    seed_wr(s, "want", &w);
    w = control(CTL_HEADS, 0, 1);
    hs_heads_write(&w, h, 3);
    seed_wr(s, "heads", &w);
    w = begin();
    hs_heads_write(&w, h, HS_HEADS_MAX);
    seed_wr(s, "heads_content", &w);
    w = control(CTL_CLOSE, 0, 1);
    seed_wr(s, "close", &w);
    w = control(CTL_APP, 15, CTL_FRAGMENTS_MAX);
    wr_copy(&w, filler, 100);
    seed_wr(s, "last_piece", &w);
    w = control(CTL_APP, 16, CTL_FRAGMENTS_MAX);
    wr_copy(&w, filler, 100);
    seed_put(s, "piece_past_the_end", SEED_REFUSED, wr_done(&w));
}

/* A body for every type; keys and names are no more than well-formed. */
static struct entry entry_of(uint8_t type)
{
    struct entry e = {.type = type, .seq = type - 1u, .time = 1800000000};
    struct sign_public key;
    memcpy(&key, filler, sizeof key);
    memcpy(e.party, filler + 10, 32);
    memcpy(e.prev, filler + 20, 32);
    memcpy(e.author, filler + 30, 32);
    memset(e.sig, 0x5a, sizeof e.sig);
    switch (type) {
    case ENTRY_GENESIS:
        e.u.genesis = (struct entry_genesis){key,        "Friday", "owner", {1},           MODE_TAP,
                                             0x0a4d0000, {0xfd},   260,     {true, 200, 3}};
        break;
    case ENTRY_ADMIT:
        e.u.admit = (struct entry_admit){key, "Zo\xc3\xab", ROLE_MEMBER, 261, {1}};
        break;
    case ENTRY_INVITE:
        e.u.invite = (struct entry_invite){key, 5, 1800003600, ROLE_GUEST};
        break;
    case ENTRY_RENAME:
        strcpy(e.u.rename.name, "Saturday");
        break;
    case ENTRY_POLICY:
        e.u.policy = (struct party_policy){false, 50, 2};
        break;
    default: /* Those that begin with a node or an invite. */
        memcpy(e.u.remove.node, filler + 40, NODE_ID_LEN);
        if (type == ENTRY_ROLE)
            e.u.role.role = ROLE_ADMIN;
        if (type == ENTRY_LEASE)
            e.u.lease.host = 300;
    }
    return e;
}

/* The target puts a signature behind an entry, and reads it as it is, too. */
static void entry(struct seeds *s)
{
    static const char *const names[ENTRY_TYPE_COUNT] = {[ENTRY_GENESIS] = "genesis",
                                                        [ENTRY_ADMIT] = "admit",
                                                        [ENTRY_REMOVE] = "remove",
                                                        [ENTRY_ROLE] = "role",
                                                        [ENTRY_LEASE] = "lease",
                                                        [ENTRY_INVITE] = "invite",
                                                        [ENTRY_REVOKE_INVITE] = "revoke_invite",
                                                        [ENTRY_RENAME] = "rename",
                                                        [ENTRY_POLICY] = "policy"};
    target(s, "wire_entry");
    for (uint8_t type = ENTRY_GENESIS; type < ENTRY_TYPE_COUNT; type++) {
        struct entry e = entry_of(type);
        struct wr w = begin();
        entry_write(&w, &e);
        seed_must(wr_ok(&w));
        seed_put(s, names[type], SEED_TAKEN, bytes_of(out, wr_done(&w).n - SIGN_SIG_LEN));
        if (type == ENTRY_RENAME)
            seed_wr(s, "rename_signed", &w);
        if (type == ENTRY_RENAME)
            seed_wr_cut(s, "rename_signed_cut", &w);
    }
    struct entry e = entry_of(ENTRY_ROLE);
    e.u.role.role = ROLE_COUNT;
    struct wr w = begin();
    entry_write(&w, &e);
    seed_put(s, "role_unknown", SEED_REFUSED, bytes_of(out, wr_done(&w).n - SIGN_SIG_LEN));
}

/* The target also reads what it gets with the right check behind it: `bare` ends before that. */
static void invite(struct seeds *s)
{
    static const struct {
        const char *name, *host;
        uint16_t port;
        bool pinned;
    } rows[] = {{"dns", "hub.example.org", 443, false},
                {"pinned", "hub.example.org", 8443, true},
                {"ip4", "192.0.2.7", 65535, true},
                {"ip6", "2001:db8::1", 443, false}};
    char text[INVITE_TEXT_MAX + 1], name[64];
    target(s, "wire_invite");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct invite inv = {.hub = {.port = rows[i].port, .pinned = rows[i].pinned}};
        strcpy(inv.hub.host, rows[i].host);
        memcpy(inv.party, filler, 32);
        memcpy(inv.secret, filler + 32, 32);
        if (inv.hub.pinned)
            memcpy(inv.hub.fingerprint, filler + 64, 32);
        seed_must(invite_write(text, &inv) == 0);
        seed_text(s, rows[i].name, SEED_TAKEN, text);
        snprintf(name, sizeof name, "%s_bare", rows[i].name);
        seed_put(s, name, SEED_TAKEN, bytes_of(text, (size_t)(strrchr(text, '.') - text)));
        snprintf(name, sizeof name, "%s_url", rows[i].name);
        hub_address_write(text, sizeof text, &inv.hub);
        seed_text(s, name, SEED_TAKEN, text);
    }
    seed_text(s, "no_scheme", SEED_TAKEN, " hub.example.org:8443\n");
    seed_text(s, "ip6_mapped", SEED_TAKEN, "https://[::ffff:c000:207]:1");
    seed_text(s, "ip6_dotted", SEED_REFUSED, "https://[::ffff:192.0.2.7]:1");
    seed_text(s, "bad_ip4", SEED_REFUSED, "https://192.0.2.256");
}

static void relay(struct seeds *s)
{
    static const struct {
        const char *name;
        uint8_t kind;
        size_t n;
    } rows[] = {{"data", RELAY_DATA, 60},
                {"control", RELAY_CONTROL, 300},
                {"gone", RELAY_GONE, 0},
                {"dropped", RELAY_DROPPED, 4}};
    uint8_t all[1024];
    struct wr several = wr_of(all, sizeof all);
    target(s, "wire_relay");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct relay_frame f = {rows[i].kind, 9, bytes_of(filler, rows[i].n)};
        struct wr w = begin();
        relay_frame_write(&w, &f);
        seed_wr(s, rows[i].name, &w);
        relay_frame_write(&several, &f);
    }
    seed_wr(s, "several", &several);
    seed_wr_cut(s, "several_cut", &several);
    all[1] = 1;
    seed_put(s, "reserved_set", SEED_REFUSED, wr_done(&several));
}

/* ---- Frames. Checksums are the receiving host's to verify, so they are left out. */

static struct wr frame(uint16_t type, uint16_t tag)
{
    struct eth_frame f = {
        .dst = {2, 0, 0, 0, 0, 2}, .src = {2, 0, 0, 0, 0, 1}, .tagged = tag != 0, .tag = tag, .type = type};
    struct wr w = begin();
    eth_write(&w, &f);
    return w;
}

static void ip4(struct wr *w, uint8_t proto, uint16_t fragment, size_t payload)
{
    wr_u16(w, 0x4500);
    wr_u16(w, (uint16_t)(IP4_HEADER_LEN + payload));
    wr_u16(w, 1);
    wr_u16(w, fragment);
    wr_u8(w, 64);
    wr_u8(w, proto);
    wr_u16(w, 0);
    wr_u32(w, 0x0a070001);
    wr_u32(w, 0x0a070002);
}

static void ip6(struct wr *w, uint8_t next, size_t payload)
{
    static const uint8_t src[IP6_ADDR_LEN] = {0xfd, 7, [15] = 1}, dst[IP6_ADDR_LEN] = {0xfd, 7, [15] = 2};
    wr_u32(w, 6u << 28);
    wr_u16(w, (uint16_t)payload);
    wr_u8(w, next);
    wr_u8(w, 255);
    wr_copy(w, src, sizeof src);
    wr_copy(w, dst, sizeof dst);
}

static const uint8_t udp_dns[12] = {0x12, 0x34, 0, 53, 0, 12};
static const uint8_t tcp_syn[28] = {0x12, 0x34, 0, 80, [12] = 0x70, [13] = TCP_SYN, [20] = 1, 2, 4,
                                    5,    0xb4, 4, 2};
static const uint8_t nd_ask[32] = {ND_SOLICIT, [8] = 0xfd, 7, [23] = 2, [24] = 1, 1, 2, [31] = 1};

static void eth_old(struct seeds *s)
{
    static const struct arp arp = {ARP_REQUEST, {2, 0, 0, 0, 0, 1}, {0}, 0x0a070001, 0x0a070002};
    struct wr w = frame(ETH_TYPE_ARP, 0);
    arp_write(&w, &arp);
    seed_wr(s, "arp", &w);
    seed_wr_cut(s, "arp_cut", &w);
    w = frame(ETH_TYPE_IP4, 0x2005);
    ip4(&w, IP_UDP, 0x4000, sizeof udp_dns);
    wr_copy(&w, udp_dns, sizeof udp_dns);
    seed_wr(s, "ip4_udp_tagged", &w);
    w = begin();
    ip4(&w, IP_TCP, 0, sizeof tcp_syn);
    wr_copy(&w, tcp_syn, sizeof tcp_syn);
    seed_wr(s, "ip4_tcp_syn", &w);
    w = begin();
    ip4(&w, IP_UDP, 0x2010, 24);
    wr_copy(&w, filler, 24);
    seed_wr(s, "ip4_fragment", &w);
    w = frame(ETH_TYPE_SERVICE_VLAN, 0);
    wr_copy(&w, filler, 46);
    seed_put(s, "service_tag", SEED_REFUSED, wr_done(&w));
}

static void eth(struct seeds *s)
{
    target(s, "wire_eth");
    eth_old(s);
    struct wr w = frame(ETH_TYPE_IP6, 0);
    ip6(&w, IP_ICMP6, sizeof nd_ask);
    wr_copy(&w, nd_ask, sizeof nd_ask);
    seed_wr(s, "ip6_nd_solicit", &w);
    struct nd_advert advert = {{0xfd, 7, [15] = 1}, {0xfd, 7, [15] = 2}, {2, 0, 0, 0, 0, 2}};
    w = begin();
    nd_advert_write(&w, &advert);
    seed_wr(s, "ip6_nd_advert", &w);
    seed_wr_cut(s, "ip6_nd_advert_cut", &w);
    /* Hop-by-hop, routing, a first fragment, destination options, then UDP. */
    static const uint8_t chain[32] = {
        IP_ROUTING,    0, 1, 4, [8] = IP_FRAGMENT, 0, 4, 0, [16] = IP_DEST_OPTIONS, 0, 0, 1,
        [24] = IP_UDP, 0, 1, 4};
    w = begin();
    ip6(&w, IP_HOP_BY_HOP, sizeof chain + sizeof udp_dns);
    wr_copy(&w, chain, sizeof chain);
    wr_copy(&w, udp_dns, sizeof udp_dns);
    seed_wr(s, "ip6_chain", &w);
    w = begin();
    ip6(&w, IP_TCP, sizeof tcp_syn);
    wr_copy(&w, tcp_syn, sizeof tcp_syn);
    seed_wr(s, "ip6_tcp_syn", &w);
}

/* ---- Signals. */

static void signal_put(struct seeds *s, const char *name, const struct signal *m)
{
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    seed_must(signal_write(&b, m) == 0);
    seed_put(s, name, SEED_TAKEN, buf_bytes(&b));
    buf_done(&b);
}

static void signal_log(struct seeds *s)
{
    static const char *const names[] = {"log_get", "log_append", "log_create", "log_entries", "log_ack"};
    for (int op = LOG_OP_GET; op <= LOG_OP_ACK; op++) {
        struct signal m = {.type = SIGNAL_LOG,
                           .u.log = {.op = (enum signal_log_op)op, .party = {1}, .seq = 3, .ref = 4}};
        m.u.log.count = op == LOG_OP_ENTRIES ? 2 : op == LOG_OP_APPEND || op == LOG_OP_CREATE;
        for (size_t i = 0; i < m.u.log.count; i++)
            m.u.log.entries[i] = bytes_of(filler + i, 200 + i);
        m.u.log.more = op == LOG_OP_ENTRIES;
        signal_put(s, names[op], &m);
    }
}

static void signal_peers(struct seeds *s)
{
    struct signal_peer peers[3] = {{{1}, 9, 5, {1}}, {{2}, 0, 0, {2}}, {{3}, UINT32_MAX, 6, {3}}};
    struct signal m = {.type = SIGNAL_PEER_LIST,
                       .u.peer_list = {.party = {1}, .count = 3, .peers = peers, .more = true}};
    signal_put(s, "peer_list", &m);
    m = (struct signal){.type = SIGNAL_PEER_JOINED, .u.peer_joined = {{1}, peers[0]}};
    signal_put(s, "peer_joined", &m);
    m = (struct signal){.type = SIGNAL_PEER_LEFT, .u.peer_left = {{1}, {2}, true}};
    signal_put(s, "peer_left", &m);
    m = (struct signal){.type = SIGNAL_PRESENCE, .has_from = true, .from = {3}, .u.presence = {{1}, 5, {2}}};
    signal_put(s, "presence", &m);
    m = (struct signal){
        .type = SIGNAL_OFFER, .has_to = true, .to = {4}, .u.forward = {{1}, bytes_of(filler, 100)}};
    signal_put(s, "offer", &m);
}

static void signal_login(struct seeds *s)
{
    struct signal m = {.type = SIGNAL_LOGIN, .u.login = {.name = "Zo\xc3\xab \"\\"}};
    memcpy(m.u.login.node, filler, NODE_ID_LEN);
    memcpy(&m.u.login.keys, filler, sizeof m.u.login.keys);
    memcpy(m.u.login.signature, filler, SIGN_SIG_LEN);
    signal_put(s, "login", &m);
    m = (struct signal){.type = SIGNAL_JOIN, .u.join = {.party = {1}, .since = 2, .has_invite = true}};
    memcpy(m.u.join.proof, filler, SIGN_SIG_LEN);
    signal_put(s, "join_by_invite", &m);
}

static void signals(struct seeds *s)
{
    target(s, "wire_signal");
    struct signal m = {.type = SIGNAL_CHALLENGE, .u.challenge = {{1}, 1}};
    signal_put(s, "challenge", &m);
    m = (struct signal){.type = SIGNAL_WELCOME,
                        .u.welcome = {"token", 1800003600, 1800000000, 9, "192.0.2.7:5000"}};
    signal_put(s, "welcome", &m);
    m.u.welcome.has_udp = true;
    memcpy(m.u.welcome.udp_key, filler, SIGNAL_UDP_KEY_LEN);
    m.u.welcome.udp[m.u.welcome.udp_count++] = net_addr4(0, 3478);
    m.u.welcome.udp[m.u.welcome.udp_count++] = net_addr6(filler, 3478);
    m.u.welcome.has_turn = true;
    strcpy(m.u.welcome.turn_url, "turn:turn.example.org:3478?transport=udp");
    strcpy(m.u.welcome.turn_user, "1800003600:seed");
    strcpy(m.u.welcome.turn_password, "c2VjcmV0");
    m.u.welcome.turn_expires = 1800003600;
    signal_put(s, "welcome_direct", &m);
    m = (struct signal){.type = SIGNAL_ERROR, .u.error = {"stale_head", "the log has grown", 4, true, {1}}};
    signal_put(s, "error", &m);
    signal_login(s);
    signal_log(s);
    signal_peers(s);
    seed_text(s, "ping_negative", SEED_REFUSED, "{\"type\":\"ping\",\"payload\":{\"t\":-1}}");
}

void seeds_codecs(struct seeds *s)
{
    text(s);
    data(s);
    hs(s);
    resume(s);
    rekey(s);
    entry(s);
    invite(s);
    relay(s);
    eth(s);
    signals(s);
}
