/* What status and its neighbours show, field by field, and what they must never show. */
#include <math.h>

#include "node/engine_harness.h"

static void has_fields(const json_t *o, const char *const *names)
{
    for (; *names; names++)
        if (!json_object_get(o, *names))
            fail_msg("no field %s", *names);
}

/* The names that the plan of the house fixes for `status --json`. */
static void test_status_fields(void **state)
{
    static const char *const top[] = {"node", "name", "hub", "parties", "alerts", "version", NULL};
    static const char *const hub[] = {"url", "connected", "rtt_ms", NULL};
    static const char *const party[] = {"id",  "name", "mode",     "device", "ip",
                                        "ip6", "mtu",  "log_head", "peers",  NULL};
    static const char *const peer[] = {"id",     "name",      "role",     "ip",     "state",
                                       "path",   "endpoint",  "relay",    "rtt_ms", "jitter_ms",
                                       "loss",   "tx_bytes",  "rx_bytes", "cipher", "session_age_s",
                                       "rekeys", "last_seen", "since",    "mtu",    "paths",
                                       "tried",  "why",       NULL};
    static const char *const path[] = {"path",      "endpoint", "alive", "rtt_ms",
                                       "jitter_ms", "loss",     "mtu",   NULL};
    struct lab *l = lab_new(91);
    lab_party(l, 2);
    lab_run(l, 30 * SEC);
    json_t *s = ask_ok(l, 0, "{\"cmd\":\"status\"}");
    has_fields(s, top);
    has_fields(json_object_get(s, "hub"), hub);
    json_t *p = json_array_get(json_object_get(s, "parties"), 0);
    has_fields(p, party);
    json_t *q = json_array_get(json_object_get(p, "peers"), 0);
    has_fields(q, peer);
    assert_int_equal(json_array_size(json_object_get(p, "peers")), 1);

    char id[NODE_ID_TEXT_CAP], hex[65], ip[16];
    node_id_text(id, node_id(l->hosts[0].n));
    assert_string_equal(field(s, "node"), id);
    assert_int_equal(strlen(id), 3 + 52);
    assert_string_equal(field(s, "name"), "anna");
    assert_string_equal(
        field(json_object_get(s, "hub"), "url"),
        "https://hub0.example:443#sha256:4040404040404040404040404040404040404040404040404040404040404040");
    assert_true(json_number_value(json_object_get(json_object_get(s, "hub"), "rtt_ms")) == 5.0);
    hex_put(hex, bytes_of(party_head(l->hosts[0].n->parties[0]->log), 32));
    assert_string_equal(field(p, "log_head"), hex);
    assert_string_equal(field(p, "device"), "warren0");
    assert_int_equal(json_integer_value(json_object_get(p, "mtu")), 1380);
    ip4_text(ip, l->hosts[0].devices[0].config.ip4);
    assert_string_equal(field(p, "ip"), ip);
    ip4_text(ip, l->hosts[1].devices[0].config.ip4);
    assert_string_equal(field(q, "ip"), ip);
    assert_string_equal(field(q, "relay"), "hub0.example:443");
    assert_true(json_is_null(json_object_get(q, "endpoint")));
    has_fields(json_array_get(json_object_get(q, "paths"), 0), path);
    assert_int_equal(json_array_size(json_object_get(q, "paths")), 1);
    assert_int_equal(json_integer_value(json_object_get(q, "mtu")), PATH_STREAM_MTU);
    assert_in_range(json_integer_value(json_object_get(q, "since")), LAB_UNIX + l->now / SEC - 40,
                    LAB_UNIX + l->now / SEC - 30);
    assert_string_equal(field(q, "cipher"), "chacha20-poly1305");
    assert_true(fabs(json_number_value(json_object_get(q, "rtt_ms")) - 10.0) < 1.0);
    assert_true(json_number_value(json_object_get(q, "loss")) == 0.0);
    assert_in_range(json_integer_value(json_object_get(q, "session_age_s")), 30, 40);
    assert_in_range(json_integer_value(json_object_get(q, "last_seen")), LAB_UNIX + l->now / SEC - 15,
                    LAB_UNIX + l->now / SEC);
    lab_free(l);
}

static void test_status_of_nothing(void **state)
{
    struct lab *l = lab_new(92);
    host_up(l, 0, -1);
    json_t *s = ask_ok(l, 0, "{\"cmd\":\"status\"}");
    assert_true(json_is_null(json_object_get(json_object_get(s, "hub"), "url")));
    assert_int_equal(json_array_size(json_object_get(s, "parties")), 0);
    assert_int_equal(json_array_size(json_object_get(ask_ok(l, 0, "{\"cmd\":\"peers\"}"), "peers")), 0);
    assert_int_equal(json_array_size(json_object_get(ask_ok(l, 0, "{\"cmd\":\"party-list\"}"), "parties")),
                     0);
    lab_free(l);
}

static void test_id(void **state)
{
    struct lab *l = lab_new(93);
    host_up(l, 0, -1);
    json_t *o = ask_ok(l, 0, "{\"cmd\":\"id\"}");
    uint8_t id[NODE_ID_LEN];
    size_t n;
    assert_int_equal(hex_get(id, sizeof id, &n, field(o, "id_hex"), strlen(field(o, "id_hex"))), 0);
    assert_memory_equal(id, node_id(l->hosts[0].n), NODE_ID_LEN);
    assert_int_equal(strlen(field(o, "ed25519")), 64);
    assert_int_equal(strlen(field(o, "mldsa87_sha256")), 64);
    lab_free(l);
}

static void test_party_log(void **state)
{
    static const char *const types[] = {"genesis", "invite", "admit", "rename", "role"};
    struct lab *l = lab_new(94);
    lab_party(l, 2);
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"peer\":\"ben\",\"name\":\"benny\"}");
    ask_ok(l, 0, "{\"cmd\":\"role\",\"peer\":\"benny\",\"role\":\"guest\"}");
    json_t *o = ask_ok(l, 0, "{\"cmd\":\"party-log\"}"), *list = json_object_get(o, "entries");
    assert_int_equal(json_array_size(list), 5);
    for (size_t i = 0; i < 5; i++) {
        json_t *e = json_array_get(list, i);
        assert_string_equal(field(e, "type"), types[i]);
        assert_int_equal(json_integer_value(json_object_get(e, "seq")), i);
        assert_int_equal(strlen(field(e, "hash")), 64);
        assert_int_equal(strncmp(field(e, "author"), "wn-", 3), 0);
    }
    assert_string_equal(field(json_array_get(list, 3), "name"), "benny");
    assert_string_equal(field(json_array_get(list, 4), "role"), "guest");
    /* Not what the disk says now, but what it said when it was judged. */
    char name[80];
    np_file_name(name, l->hosts[0].n->parties[0]);
    uint8_t *on_disk = host_file(&l->hosts[0], name)->bytes.p;
    on_disk[200] ^= 1;
    ask_fails(l, 0, "unreadable", "{\"cmd\":\"party-log\"}");
    on_disk[200] ^= 1;
    o = ask_ok(l, 0, "{\"cmd\":\"party-log\",\"since\":3,\"limit\":1}");
    assert_int_equal(json_array_size(json_object_get(o, "entries")), 1);
    assert_true(json_is_true(json_object_get(o, "more")));
    o = json_array_get(json_object_get(ask_ok(l, 0, "{\"cmd\":\"party-list\"}"), "parties"), 0);
    assert_int_equal(json_integer_value(json_object_get(o, "members")), 2);
    assert_string_equal(field(o, "role"), "owner");
    lab_free(l);
}

static void test_metrics(void **state)
{
    struct lab *l = lab_new(95);
    lab_party(l, 3);
    host_kill(l, 2);
    lab_run(l, SEC);
    const char *text = field(ask_ok(l, 0, "{\"cmd\":\"metrics\"}"), "text");
    assert_non_null(strstr(text, "warren_peers{state=\"connected\",path=\"ws-relay\"} 1\n"));
    assert_non_null(strstr(text, "warren_peers{state=\"offline\",path=\"none\"} 1\n"));
    assert_non_null(strstr(text, "warren_node_hub_connected 1\n"));
    static const char *const p2p[] = {
        "connections{path=\"ws-relay\"} 1\n",
        "connections{path=\"lan\"} 0\n",
        "connections{path=\"multi-hop\"} 0\n",
        "paths{path=\"ws-relay\"} 1\n",
        "path_rtt_seconds{path=\"ws-relay\"} 0.01",
        "path_loss{path=\"ws-relay\"} 0.0000\n",
        "migrations_total{outcome=\"direct\"} 0\n",
        "migrations_total{outcome=\"failed\"} 0\n",
        "fallbacks_total 0\n",
        "retries_total{outcome=\"proven\"} 0\n",
        "retries_total{outcome=\"failed\"} 0\n",
        "migration_seconds_bucket{le=\"0.01\"} 0\n",
        "migration_seconds_bucket{le=\"+Inf\"} 0\n",
        "migration_seconds_sum 0.000000\n",
        "migration_seconds_count 0\n",
        "copies_total 0\n",
        "relay_binds_total 0\n",
        "relay_bound_total 0\n",
        "rounds_total 0\n",
    };
    for (size_t i = 0; i < sizeof p2p / sizeof *p2p; i++) {
        char want[100];
        snprintf(want, sizeof want, "\nwarren_p2p_%s", p2p[i]);
        if (!strstr(text, want))
            fail_msg("no figure %s", want);
    }
    assert_null(strstr(text, "path_loss{path=\"udp\"}"));
    assert_non_null(strstr(text, "warren_node_sessions_up_total 2\n"));
    assert_non_null(strstr(text, "warren_node_session_drops_total{reason=\"replayed\"} 0\n"));
    for (int c = 0; c < COUNT_END; c++)
        assert_non_null(counter_name((enum node_counter)c));
    /* Every line is a comment or a sample: name, labels, one space, digits. */
    char *copy = strdup(text), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *space = strrchr(line, ' ');
        if (line[0] == '#')
            continue;
        assert_int_equal(strncmp(line, "warren_", 7), 0);
        assert_non_null(space);
        assert_int_equal(strspn(space + 1, "0123456789."), strlen(space + 1));
    }
    assert_null(strstr(text, "ben"));
    free(copy);
    lab_free(l);
}

/* A peer for whom a direct path was proved just now; ms: how long that took. */
static struct way *direct_way(struct lab *l, struct node_peer *p, uint16_t port, usec_t took)
{
    const struct origin o = {.via = PATH_UDP, .number = 1, .addr = net_addr4(0xC0000207, port)};
    struct way *w = way_open(l->hosts[0].n, p, &o, l->now);
    assert_non_null(w);
    w->asking = true;
    w->asked_at = l->now - took;
    way_proven(l->hosts[0].n, p, w, l->now);
    lab_run(l, 1 * MSEC);
    assert_int_equal(p->on_way, w->id);
    return w;
}

static void test_moves(void **state)
{
    struct lab *l = lab_new(97);
    lab_party(l, 2);
    struct node *n = l->hosts[0].n;
    struct node_peer *p = peer_by_id(n, node_id(l->hosts[1].n));
    struct way *w = direct_way(l, p, 1000, 30 * MSEC);
    const char *text = field(ask_ok(l, 0, "{\"cmd\":\"metrics\"}"), "text");
    assert_non_null(strstr(text, "warren_p2p_migrations_total{outcome=\"direct\"} 1\n"));
    assert_non_null(strstr(text, "warren_p2p_connections{path=\"udp\"} 1\n"));
    assert_non_null(strstr(text, "warren_p2p_migration_seconds_bucket{le=\"0.025\"} 0\n"));
    assert_non_null(strstr(text, "warren_p2p_migration_seconds_bucket{le=\"0.05\"} 1\n"));
    assert_non_null(strstr(text, "warren_p2p_migration_seconds_bucket{le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(text, "warren_p2p_migration_seconds_count 1\n"));
    assert_int_equal(n->moves.fallbacks, 0);
    /* It goes: back to the relay, which is no move by choice. */
    way_close(n, p, w, l->now);
    peer_touch(n, p);
    lab_run(l, 1 * MSEC);
    text = field(ask_ok(l, 0, "{\"cmd\":\"metrics\"}"), "text");
    assert_non_null(strstr(text, "warren_p2p_migrations_total{outcome=\"relay\"} 1\n"));
    assert_non_null(strstr(text, "warren_p2p_fallbacks_total 1\n"));
    assert_non_null(strstr(text, "warren_p2p_migration_seconds_count 1\n"));
    /* One that is not proved is a move that failed. */
    const struct origin o = {.via = PATH_UDP, .number = 1, .addr = net_addr4(0xC0000207, 2000)};
    w = way_open(n, p, &o, l->now);
    w->asking = true;
    way_failed(n, p, w->id, l->now);
    text = field(ask_ok(l, 0, "{\"cmd\":\"metrics\"}"), "text");
    assert_non_null(strstr(text, "warren_p2p_migrations_total{outcome=\"failed\"} 1\n"));
    lab_free(l);
}

/* A reply says by which path it came, and since when the pair has that one. */
static void test_ping_tells_of_changes(void **state)
{
    struct lab *l = lab_new(98);
    lab_party(l, 2);
    struct host *h = &l->hosts[0];
    struct node_peer *p = peer_by_id(h->n, node_id(l->hosts[1].n));
    static const char rq[] = "{\"cmd\":\"ping\",\"peer\":\"ben\",\"count\":2,\"interval_ms\":500}";
    json_decref(h->replies);
    h->replies = json_array();
    h->final = false;
    h->awaited = ++h->request;
    node_request(h->n, h->awaited, bytes_of_str(rq), l->now);
    lab_run(l, 300 * MSEC);
    json_t *first = json_object_get(json_array_get(h->replies, 0), "progress");
    assert_string_equal(field(first, "path"), "ws-relay");
    assert_true(json_number_value(json_object_get(first, "path_after_ms")) == 0.0);
    struct way *w = direct_way(l, p, 1000, 5 * MSEC);
    lab_run(l, 203 * MSEC);
    const struct ping_sent *s = &h->n->requests[0]->ping->under_way[1];
    assert_int_equal(s->seq, 2);
    ping_answered(h->n, p, w->id, s->nonce, l->now);
    lab_run(l, 100 * MSEC);
    json_t *second = json_object_get(json_array_get(h->replies, 1), "progress");
    assert_string_equal(field(second, "path"), "udp");
    assert_string_equal(field(second, "endpoint"), "192.0.2.7:1000");
    double after = json_number_value(json_object_get(second, "path_after_ms"));
    assert_true(after >= 300.0 && after <= 301.0);
    lab_free(l);
}

static bool contains(const char *text, const uint8_t *secret, size_t n)
{
    char hex[HEX_LEN(64) + 1], b32[BASE32_LEN(64) + 1], b64[BASE64_LEN(64) + 1];
    hex_put(hex, bytes_of(secret, n));
    base32_put(b32, bytes_of(secret, n));
    base64url_put(b64, bytes_of(secret, n));
    return strstr(text, hex) || strstr(text, b32) || strstr(text, b64);
}

static void test_debug_dump_has_no_secrets(void **state)
{
    struct lab *l = lab_new(96);
    char invite[INVITE_TEXT_MAX + 1];
    struct invite inv;
    lab_party(l, 2);
    lab_invite(l, 0, "", invite);
    assert_int_equal(invite_read(&inv, invite), INVITE_OK);
    json_t *o = ask_ok(l, 0, "{\"cmd\":\"debug-dump\"}");
    static const char *const names[] = {"status", "link", "peers", "counters", "limits", "uptime_s", NULL};
    has_fields(o, names);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "limits"), "mtu")), 1380);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "counters"), "sessions_up")), 1);
    char *text = json_dumps(o, 0);
    assert_false(contains(text, l->hosts[0].seed.mldsa, 32));
    assert_false(contains(text, l->hosts[0].seed.ed25519, 32));
    assert_false(contains(text, inv.secret, 32));
    free(text);
    lab_free(l);
}

static void test_ip6_text(void **state)
{
    static const struct {
        uint8_t ip[16];
        const char *text;
    } t[] = {
        {{0}, "::"},
        {{[15] = 1}, "::1"},
        {{0xfd, 0x12, [15] = 1}, "fd12::1"},
        {{0xfd, 0x12, 0x34, 0x56, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 3}, "fd12:3456:1:0:2::3"},
        {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, "2001:db8:0:1:1:1:1:1"},
        {{0x20, 1, 0x0d, 0xb8}, "2001:db8::"},
        {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}, "2001:db8::1:0:0:1"},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char out[46];
        ip6_text(out, t[i].ip);
        assert_string_equal(out, t[i].text);
    }
}

static void test_limits(void **state)
{
    struct node_limits l;
    const char *what, *name;
    uint32_t value;
    size_t rows = 0;
    node_limits_default(&l);
    assert_int_equal(l.backoff_min_ms, 1000);
    assert_int_equal(l.backoff_max_ms, 30000);
    assert_int_equal(l.hub_silent_s, 60);
    assert_int_equal(l.hub_ping_s, 25);
    assert_int_equal(l.parties, 16);
    assert_int_equal(l.handshakes, 16);
    assert_int_equal(l.half_open, 64);
    assert_int_equal(l.hellos_per_s, 50);
    assert_int_equal(l.eager_peers, 64);
    assert_int_equal(l.relay_queue_bytes, 1024 * 1024);
    assert_int_equal(l.request_s, 30);
    assert_int_equal(l.mtu, 1380);
    for (; (name = node_limit_at(rows, &l, &value, &what)); rows++) {
        char text[16];
        assert_true(strlen(what) > 10);
        snprintf(text, sizeof text, "%u", value);
        assert_int_equal(node_limit_set(&l, name, text), 0);
    }
    assert_int_equal(rows, 22);
    assert_int_equal(l.pump, 1);
    assert_int_equal(l.pump_threads, 0);
    assert_int_equal(l.direct, 1);
    assert_int_equal(l.relay_for_members, 0);
    assert_int_equal(node_limit_set(&l, "mtu", "1400"), 0);
    assert_int_equal(l.mtu, 1400);
    assert_int_equal(l.request_s, 30);
    static const char *const bad[] = {"",     "x",    "-1",          "1e3",       " 5",
                                      "1279", "9001", "99999999999", "4294967297"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(node_limit_set(&l, "mtu", bad[i]), -EINVAL);
    assert_int_equal(node_limit_set(&l, "mtuu", "1400"), -ENOENT);
    assert_int_equal(l.mtu, 1400);
}

/* The ring against a naive twin. */
static void test_ring(void **state)
{
    struct ring r;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 5);
    uint8_t header[RELAY_HEADER_LEN], payload[700];
    size_t sizes[4096], first = 0, next = 0, used = 0;
    assert_int_equal(ring_init(&r, 2000), 0);
    for (int i = 0; i < 4000; i++) {
        size_t n = rng_below(&rng, sizeof payload), dropped = 0;
        memset(payload, (int)(next & 0xff), n);
        relay_header_write(header, RELAY_DATA, (uint32_t)next, n);
        while (used + RELAY_HEADER_LEN + n > 2000) {
            used -= sizes[first++];
            dropped++;
        }
        assert_int_equal(ring_put(&r, header, payload, n), dropped);
        sizes[next++] = RELAY_HEADER_LEN + n;
        used += RELAY_HEADER_LEN + n;
        assert_int_equal(r.used, used);
        if (rng_below(&rng, 3) > 0)
            continue;
        struct buf out;
        size_t room = rng_below(&rng, 2500), took = 0;
        buf_init(&out, 4096);
        while (first < next && took + sizes[first] <= room)
            took += sizes[first++];
        assert_int_equal(ring_take(&r, &out, room), took);
        used -= took;
        struct rd rd = rd_of(buf_bytes(&out));
        struct relay_frame f;
        uint32_t expect = 0;
        while (relay_frame_read(&f, &rd) == 1) {
            expect = f.peer + 1;
            for (size_t k = 0; k < f.payload.n; k++)
                assert_int_equal(f.payload.p[k], f.peer & 0xff);
        }
        assert_true(rd_done(&rd));
        if (took > 0)
            assert_int_equal(expect, first);
        buf_done(&out);
    }
    assert_int_equal(ring_put(&r, header, payload, 1993), 1); /* never fits */
    ring_done(&r);
}

/* The policy of the party, then what both machines do well. */
static void test_ciphers(void **state)
{
    static const struct {
        int policy;
        uint64_t speed[2][AEAD_ALG_COUNT];
        const char *want, *prefers; /* the pair, and ben */
    } rows[] = {
        {3, {{300, 900}, {400, 500}}, "aes-256-gcm", "aes-256-gcm"},
        {3, {{300, 900}, {9000, 3000}}, "chacha20-poly1305", "chacha20-poly1305"},
        {3, {{9000, 3000}, {300, 900}}, "chacha20-poly1305", "aes-256-gcm"},
        {2, {{300, 900}, {300, 900}}, "chacha20-poly1305", "aes-256-gcm"},
        {1, {{9000, 3000}, {9000, 3000}}, "aes-256-gcm", "chacha20-poly1305"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lab *l = lab_new(97 + i);
        char rq[INVITE_TEXT_MAX + 64], invite[INVITE_TEXT_MAX + 1];
        memcpy(l->speed.ns, rows[i].speed[0], sizeof l->speed.ns);
        host_up(l, 0, 0);
        snprintf(rq, sizeof rq, "{\"cmd\":\"party-create\",\"name\":\"lan\",\"ciphers\":%d}", rows[i].policy);
        ask_ok(l, 0, rq);
        lab_invite(l, 0, "", invite);
        memcpy(l->speed.ns, rows[i].speed[1], sizeof l->speed.ns);
        host_up(l, 1, -1);
        ask_ok(l, 1, join_request(rq, invite));
        lab_run(l, 4 * SEC);
        assert_string_equal(field(status_peer(l, 0, "ben"), "cipher"), rows[i].want);
        assert_string_equal(field(status_peer(l, 1, "anna"), "cipher"), rows[i].want);
        static const char *const asked[] = {"status", "netcheck", "debug-dump"};
        for (size_t k = 0; k < 3; k++) {
            snprintf(rq, sizeof rq, "{\"cmd\":\"%s\"}", asked[k]);
            const json_t *o = ask_ok(l, 1, rq), *c, *ns;
            c = json_object_get(k == 2 ? json_object_get(o, "status") : o, "ciphers");
            ns = json_object_get(c, "ns_per_packet");
            assert_string_equal(field(c, "prefer"), rows[i].prefers);
            assert_int_equal(json_integer_value(json_object_get(ns, "aes-256-gcm")), rows[i].speed[1][0]);
            assert_int_equal(json_integer_value(json_object_get(ns, "chacha20-poly1305")),
                             rows[i].speed[1][1]);
        }
        lab_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_fields),
        cmocka_unit_test(test_status_of_nothing),
        cmocka_unit_test(test_id),
        cmocka_unit_test(test_party_log),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_ping_tells_of_changes),
        cmocka_unit_test(test_debug_dump_has_no_secrets),
        cmocka_unit_test(test_ip6_text),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ciphers),
        cmocka_unit_test(test_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
