#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "wire/signal.h"

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void fill(void *out, size_t n, uint8_t seed)
{
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(seed + i * 7);
}

static uint8_t entry_bytes[ENTRY_MAX];
static struct signal_peer peers[SIGNAL_PEERS_MAX];

/* One example of each kind of message. */
static bool example(size_t i, struct signal *s)
{
    memset(s, 0, sizeof *s);
    fill(entry_bytes, sizeof entry_bytes, 3);
    fill(s->from, 32, 1);
    fill(s->to, 32, 2);
    for (size_t n = 0; n < SIGNAL_PEERS_MAX; n++) {
        fill(peers[n].node, sizeof peers[n].node, (uint8_t)n);
        fill(peers[n].head, sizeof peers[n].head, (uint8_t)(n + 100));
        peers[n].relay = 0xfffffff0u + (uint32_t)n;
        peers[n].seq = INT64_MAX - n;
    }
    switch (i) {
    case 0:
        s->type = SIGNAL_CHALLENGE;
        fill(&s->u.challenge.nonce, sizeof s->u.challenge.nonce, 9);
        s->u.challenge.version = 1;
        return true;
    case 1:
        s->type = SIGNAL_LOGIN;
        fill(s->u.login.node, 32, 4);
        fill(&s->u.login.keys, sizeof s->u.login.keys, 5);
        fill(s->u.login.signature, SIGN_SIG_LEN, 6);
        strcpy(s->u.login.name, "J\xc3\xbcrgen \"the\\hub\"");
        return true;
    case 2:
        s->type = SIGNAL_WELCOME;
        strcpy(s->u.welcome.token, "abc.def.ghi");
        strcpy(s->u.welcome.seen, "[2001:db8::1]:443");
        s->u.welcome.expires = INT64_MAX;
        s->u.welcome.time = 1800000000;
        s->u.welcome.relay = UINT32_MAX;
        s->u.welcome.has_udp = true;
        fill(s->u.welcome.udp_key, SIGNAL_UDP_KEY_LEN, 11);
        s->u.welcome.udp_count = 2;
        s->u.welcome.udp[0] = net_addr4(0, 3478);
        s->u.welcome.udp[1] = net_addr6((uint8_t[16]){0}, 3479);
        s->u.welcome.has_turn = true;
        strcpy(s->u.welcome.turn_url, "turn:turn.example.org:3478?transport=udp");
        strcpy(s->u.welcome.turn_user, "1800043200:0123456789abcdef");
        strcpy(s->u.welcome.turn_password, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        s->u.welcome.turn_expires = 1800043200;
        return true;
    case 3:
        s->type = SIGNAL_JOIN;
        fill(s->u.join.party, 32, 7);
        s->u.join.since = 12;
        return true;
    case 4:
        s->type = SIGNAL_JOIN;
        fill(s->u.join.party, 32, 7);
        fill(s->u.join.invite, 32, 8);
        fill(s->u.join.proof, SIGN_SIG_LEN, 9);
        s->u.join.has_invite = true;
        return true;
    case 5:
        s->type = SIGNAL_LEAVE;
        fill(s->u.leave.party, 32, 7);
        return true;
    case 6:
        s->type = SIGNAL_LOG;
        s->u.log.op = LOG_OP_GET;
        fill(s->u.log.party, 32, 7);
        s->u.log.seq = 5;
        return true;
    case 7:
        s->type = SIGNAL_LOG;
        s->u.log.op = LOG_OP_APPEND;
        fill(s->u.log.party, 32, 7);
        s->u.log.ref = 77;
        s->u.log.count = 1;
        s->u.log.entries[0] = bytes_of(entry_bytes, sizeof entry_bytes);
        return true;
    case 8:
        s->type = SIGNAL_LOG;
        s->u.log.op = LOG_OP_CREATE;
        s->u.log.ref = 78;
        s->u.log.count = 1;
        s->u.log.entries[0] = bytes_of(entry_bytes, 1);
        return true;
    case 9:
        s->type = SIGNAL_LOG;
        s->u.log.op = LOG_OP_ENTRIES;
        fill(s->u.log.party, 32, 7);
        s->u.log.seq = 5;
        s->u.log.more = true;
        s->u.log.count = SIGNAL_ENTRIES_MAX;
        for (size_t n = 0; n < SIGNAL_ENTRIES_MAX; n++)
            s->u.log.entries[n] = bytes_of(entry_bytes + n, 5000 + n);
        return true;
    case 10:
        s->type = SIGNAL_LOG;
        s->u.log.op = LOG_OP_ENTRIES; /* none */
        return true;
    case 11:
        s->type = SIGNAL_LOG;
        s->u.log.op = LOG_OP_ACK;
        s->u.log.ref = 1;
        s->u.log.seq = 2;
        return true;
    case 12:
        s->type = SIGNAL_PRESENCE;
        s->has_from = true;
        fill(s->u.presence.party, 32, 7);
        fill(s->u.presence.head, 32, 8);
        s->u.presence.seq = 3;
        return true;
    case 13:
        s->type = SIGNAL_PEER_LIST;
        s->u.peer_list.peers = peers;
        s->u.peer_list.count = SIGNAL_PEERS_MAX;
        s->u.peer_list.more = true;
        return true;
    case 14:
        s->type = SIGNAL_PEER_LIST;
        s->u.peer_list.peers = peers;
        return true;
    case 15:
        s->type = SIGNAL_PEER_JOINED;
        s->u.peer_joined.peer = peers[3];
        return true;
    case 16:
        s->type = SIGNAL_PEER_LEFT;
        fill(s->u.peer_left.node, 32, 3);
        s->u.peer_left.removed = true;
        return true;
    case 17:
    case 18:
    case 19:
    case 20:
        s->type = (enum signal_type)(SIGNAL_SIGNAL + (i - 17));
        s->has_from = s->has_to = true;
        s->u.forward.data = bytes_of(entry_bytes, sizeof entry_bytes);
        return true;
    case 21:
        s->type = SIGNAL_ERROR;
        strcpy(s->u.error.code, "stale_head");
        strcpy(s->u.error.message, "line\nbreak \x7f and \"quotes\"");
        s->u.error.ref = 4;
        s->u.error.has_party = true;
        fill(s->u.error.party, 32, 1);
        return true;
    case 22:
        s->type = SIGNAL_ERROR;
        strcpy(s->u.error.code, "internal");
        return true;
    case 23:
    case 24:
        s->type = i == 23 ? SIGNAL_PING : SIGNAL_PONG;
        s->u.ping.t = 123456789012345;
        return true;
    default:
        return false;
    }
}

static bool same(const struct signal *a, const struct signal *b)
{
    if (a->type != b->type || a->has_from != b->has_from || a->has_to != b->has_to)
        return false;
    if ((a->has_from && memcmp(a->from, b->from, 32)) || (a->has_to && memcmp(a->to, b->to, 32)))
        return false;
    switch (a->type) {
    case SIGNAL_LOG:
        if (a->u.log.op != b->u.log.op || a->u.log.seq != b->u.log.seq || a->u.log.ref != b->u.log.ref ||
            a->u.log.count != b->u.log.count || a->u.log.more != b->u.log.more ||
            memcmp(a->u.log.party, b->u.log.party, 32))
            return false;
        for (size_t i = 0; i < a->u.log.count; i++) {
            if (!bytes_equal(a->u.log.entries[i], b->u.log.entries[i]))
                return false;
        }
        return true;
    case SIGNAL_PEER_LIST:
        if (a->u.peer_list.count != b->u.peer_list.count || a->u.peer_list.more != b->u.peer_list.more)
            return false;
        for (size_t i = 0; i < a->u.peer_list.count; i++) {
            const struct signal_peer *x = &a->u.peer_list.peers[i], *y = &b->u.peer_list.peers[i];
            if (memcmp(x->node, y->node, 32) || x->relay != y->relay || x->seq != y->seq ||
                memcmp(x->head, y->head, 32))
                return false;
        }
        return true;
    case SIGNAL_SIGNAL:
    case SIGNAL_OFFER:
    case SIGNAL_ANSWER:
    case SIGNAL_ICE_CANDIDATE:
        return !memcmp(a->u.forward.party, b->u.forward.party, 32) &&
               bytes_equal(a->u.forward.data, b->u.forward.data);
    default:
        return memcmp(&a->u, &b->u, sizeof a->u) == 0;
    }
}

static void each_kind_comes_back(void **state)
{
    struct signal s, got;
    struct buf b;
    bool seen[SIGNAL_TYPE_COUNT] = {false};
    buf_init(&b, SIGNAL_MAX);
    for (size_t i = 0; example(i, &s); i++) {
        buf_clear(&b);
        assert_int_equal(signal_write(&b, &s), 0);
        if (signal_read(&got, buf_bytes(&b)) != 0)
            fail_msg("example %zu: %.200s", i, buf_str(&b));
        if (!same(&s, &got))
            fail_msg("example %zu came back otherwise: %.200s", i, buf_str(&b));
        seen[s.type] = true;
        signal_done(&got);
    }
    for (int t = 0; t < SIGNAL_TYPE_COUNT; t++)
        assert_true(seen[t]);
    buf_done(&b);
}

static void every_truncation_is_refused(void **state)
{
    struct signal s, got;
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    for (size_t i = 0; example(i, &s); i++) {
        buf_clear(&b);
        assert_int_equal(signal_write(&b, &s), 0);
        for (size_t n = 0; n < b.n; n = n < 400 || n > b.n - 50 ? n + 1 : n + 997) {
            assert_int_equal(signal_read(&got, bytes_of(b.p, n < b.n ? n : b.n - 1)), -EBADMSG);
            signal_done(&got);
        }
    }
    buf_done(&b);
}

/* A flipped byte is refused or gives a message that can be written; the sanitizers watch the rest. */
static void flips_do_no_harm(void **state)
{
    struct signal s, got;
    struct buf b, again;
    buf_init(&b, SIGNAL_MAX);
    buf_init(&again, SIGNAL_MAX);
    for (size_t i = 0; example(i, &s); i++) {
        buf_clear(&b);
        assert_int_equal(signal_write(&b, &s), 0);
        for (size_t n = 0; n<b.n; n += b.n> 2000 ? 131 : 1) {
            b.p[n] ^= 1 << (n % 8);
            if (signal_read(&got, buf_bytes(&b)) == 0)
                assert_int_equal(signal_write(&again, &got), 0);
            buf_clear(&again);
            signal_done(&got);
            b.p[n] ^= 1 << (n % 8);
        }
    }
    buf_done(&b);
    buf_done(&again);
}

static void hostile_json_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "null",
        "[]",
        "7",
        "{}",
        "{\"type\":\"ping\"}",
        "{\"payload\":{\"t\":1}}",
        "{\"type\":7,\"payload\":{\"t\":1}}",
        "{\"type\":\"nothing\",\"payload\":{\"t\":1}}",
        "{\"type\":\"ping\",\"payload\":[1]}",
        "{\"type\":\"ping\",\"payload\":{\"t\":\"1\"}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":-1}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1.5}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1e3}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":9223372036854775808}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":99999999999999999999999999999999999999}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1e99999}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1,\"t\":2}}",
        "{\"type\":\"ping\",\"type\":\"pong\",\"payload\":{\"t\":1}}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1}} {}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1},}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1},\"x\":\"\xff\"}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1},\"x\":\"\xc0\x80\"}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1},\"x\":\"\xed\xa0\x80\"}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1},\"x\":\"\\u0000\"}",
        "{\"type\":\"ping\",\"payload\":{\"t\":1},\"x\":\"\\ud800\"}",
        "{\"type\":\"ping\",\"from\":\"abc\",\"payload\":{\"t\":1}}",
        "{\"type\":\"ping\",\"to\":7,\"payload\":{\"t\":1}}",
        "{\"type\":\"leave\",\"payload\":{\"party\":\"" ID "aa\"}}",
        "{\"type\":\"leave\",\"payload\":{\"party\":\"" ID "a\"}}",
        "{\"type\":\"join\",\"payload\":{\"party\":\"" ID "\",\"since\":0,\"invite\":\"" ID "\"}}",
        "{\"type\":\"join\",\"payload\":{\"party\":\"" ID "\",\"since\":0,\"invite\":\"" ID
        "\",\"proof\":\"AAAA\"}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"steal\"}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"create\",\"ref\":1,\"entry\":\"\"}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"create\",\"ref\":1,\"entry\":\"A\"}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"create\",\"ref\":1,\"entry\":\"AA==\"}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"create\",\"ref\":4294967296,\"entry\":\"AAAA\"}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"entries\",\"party\":\"" ID "\",\"seq\":0,\"entries\":{}}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"entries\",\"party\":\"" ID "\",\"seq\":0,\"entries\":[1]}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"entries\",\"party\":\"" ID
        "\",\"seq\":0,\"entries\":[\"AA\",\"AA\",\"AA\",\"AA\",\"AA\",\"AA\",\"AA\"]}}",
        "{\"type\":\"log\",\"payload\":{\"op\":\"entries\",\"party\":\"" ID
        "\",\"seq\":0,\"entries\":[],\"more\":1}}",
        "{\"type\":\"peer-list\",\"payload\":{\"party\":\"" ID "\",\"peers\":[{}]}}",
        "{\"type\":\"peer-list\",\"payload\":{\"party\":\"" ID "\",\"peers\":[7]}}",
        "{\"type\":\"signal\",\"payload\":{\"party\":\"" ID "\",\"data\":\"\"}}",
        "{\"type\":\"error\",\"payload\":{\"code\":\"" ID "\",\"message\":\"x\"}}",
    };
    struct signal s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (signal_read(&s, bytes_of_str(bad[i])) != -EBADMSG)
            fail_msg("taken: %s", bad[i]);
        signal_done(&s);
    }
}

static int read_welcome(struct signal *s, const char *more)
{
    char text[2048];
    snprintf(text, sizeof text,
             "{\"type\":\"welcome\",\"payload\":{\"token\":\"a\",\"expires\":1,\"time\":1,\"relay\":1,"
             "\"seen\":\"x\"%s}}",
             more);
    return signal_read(s, bytes_of_str(text));
}

#define KEY  "\"key\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""
#define TURN ",\"turn\":{\"url\":\"turn:x:1\",\"username\":\"u\","

static void welcomes_are_judged(void **state)
{
    static const char *const good[] = {
        "",
        ",\"udp\":{" KEY ",\"addrs\":[]}",
        ",\"udp\":{" KEY
        ",\"addrs\":[\"0.0.0.0:1\",\"[::]:2\",\"192.0.2.1:3\",\"[2001:db8::1]:4\"],\"new\":1}",
        TURN "\"password\":\"p\",\"expires\":0}",
    };
    static const char *const bad[] = {
        ",\"udp\":7",
        ",\"udp\":null",
        ",\"udp\":{\"addrs\":[]}",
        ",\"udp\":{" KEY "}",
        ",\"udp\":{" KEY ",\"addrs\":{}}",
        ",\"udp\":{" KEY ",\"addrs\":[7]}",
        ",\"udp\":{" KEY ",\"addrs\":[\"0.0.0.0\"]}",
        ",\"udp\":{" KEY ",\"addrs\":[\"0.0.0.0:0\"]}",
        ",\"udp\":{" KEY ",\"addrs\":[\"hub.example.org:3478\"]}",
        ",\"udp\":{" KEY
        ",\"addrs\":[\"0.0.0.0:1\",\"0.0.0.0:1\",\"0.0.0.0:1\",\"0.0.0.0:1\",\"0.0.0.0:1\"]}",
        ",\"udp\":{\"key\":\"AAAA\",\"addrs\":[]}",
        ",\"turn\":[]",
        TURN "\"password\":\"p\"}",
        TURN "\"expires\":1}",
        TURN "\"password\":\"" ID "\",\"expires\":1}", /* one character too many */
    };
    struct signal s;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(read_welcome(&s, good[i]), 0);
        assert_int_equal(s.u.welcome.has_udp, i == 1 || i == 2);
        assert_int_equal(s.u.welcome.udp_count, i == 2 ? 4 : 0);
        assert_int_equal(s.u.welcome.has_turn, i == 3);
        signal_done(&s);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (read_welcome(&s, bad[i]) != -EBADMSG)
            fail_msg("taken: %s", bad[i]);
        signal_done(&s);
    }
}

static void unknown_fields_are_ignored(void **state)
{
    struct signal s;
    assert_int_equal(
        signal_read(&s, bytes_of_str(" {\"new\":[{}],\"payload\":{\"x\":null,\"t\":5},\"type\":\"ping\"}\n")),
        0);
    assert_int_equal(s.type, SIGNAL_PING);
    assert_int_equal(s.u.ping.t, 5);
    signal_done(&s);
}

/* `depth` arrays inside a field that is ignored; the object around counts as one. */
static int read_nested(size_t depth)
{
    struct buf b;
    struct signal s;
    buf_init(&b, SIGNAL_MAX * 2);
    buf_add_str(&b, "{\"type\":\"ping\",\"payload\":{\"t\":1},\"s\":\"[[[[[[[[[[[[\\\"[[[\",\"x\":");
    for (size_t i = 0; i < depth; i++)
        buf_add_str(&b, "[");
    for (size_t i = 0; i < depth; i++)
        buf_add_str(&b, "]");
    buf_add_str(&b, "}");
    int rc = signal_read(&s, buf_bytes(&b));
    signal_done(&s);
    buf_done(&b);
    return rc;
}

static void nesting_has_a_limit(void **state)
{
    assert_int_equal(read_nested(7), 0);
    assert_int_equal(read_nested(8), -EBADMSG);
    assert_int_equal(read_nested(2100), -EBADMSG);
    assert_int_equal(read_nested(30000), -EBADMSG);
}

static void lengths_have_limits(void **state)
{
    static uint8_t big[SIGNAL_DATA_MAX + 1];
    struct signal s = {.type = SIGNAL_SIGNAL}, got;
    struct buf b;
    buf_init(&b, 4 * SIGNAL_MAX);
    s.u.forward.data = bytes_of(big, SIGNAL_DATA_MAX);
    assert_int_equal(signal_write(&b, &s), 0);
    assert_int_equal(signal_read(&got, buf_bytes(&b)), 0);
    assert_int_equal(got.u.forward.data.n, SIGNAL_DATA_MAX);
    signal_done(&got);
    buf_clear(&b);
    s.u.forward.data.n++;
    assert_int_equal(signal_write(&b, &s), 0);
    assert_int_equal(signal_read(&got, buf_bytes(&b)), -EBADMSG);
    signal_done(&got);
    /* An entry beyond ENTRY_MAX. */
    buf_clear(&b);
    s = (struct signal){.type = SIGNAL_LOG, .u.log.op = LOG_OP_CREATE, .u.log.count = 1};
    s.u.log.entries[0] = bytes_of(big, ENTRY_MAX + 1);
    assert_int_equal(signal_write(&b, &s), 0);
    assert_int_equal(signal_read(&got, buf_bytes(&b)), -EBADMSG);
    signal_done(&got);
    /* A message beyond SIGNAL_MAX is neither written nor read, and nothing of it stays behind. */
    buf_clear(&b);
    s = (struct signal){.type = SIGNAL_LOG, .u.log.op = LOG_OP_ENTRIES, .u.log.count = SIGNAL_ENTRIES_MAX};
    for (size_t i = 0; i < SIGNAL_ENTRIES_MAX; i++)
        s.u.log.entries[i] = bytes_of(big, ENTRY_MAX);
    assert_int_equal(signal_write(&b, &s), -E2BIG);
    assert_int_equal(b.n, 0);
    struct buf tiny;
    buf_init(&tiny, 10);
    s = (struct signal){.type = SIGNAL_PING};
    assert_int_equal(signal_write(&tiny, &s), -E2BIG);
    assert_int_equal(tiny.n, 0);
    buf_done(&tiny);
    s.u.ping.t = UINT64_MAX;
    assert_int_equal(signal_write(&b, &s), -E2BIG);
    buf_printf(&b, "{\"type\":\"ping\",\"payload\":{\"t\":1},\"x\":\"");
    while (b.n < SIGNAL_MAX - 2)
        buf_add_str(&b, "y");
    buf_add_str(&b, "\"}");
    assert_int_equal(b.n, SIGNAL_MAX);
    assert_int_equal(signal_read(&got, buf_bytes(&b)), 0);
    signal_done(&got);
    buf_add_str(&b, " ");
    assert_int_equal(signal_read(&got, buf_bytes(&b)), -EBADMSG);
    signal_done(&got);
    buf_done(&b);
}

static void names_are_judged(void **state)
{
    static const char *const bad[] = {"", " x", "a\x01", "\xe2\x80\xae!"};
    struct signal s, got;
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        example(1, &s);
        snprintf(s.u.login.name, sizeof s.u.login.name, "%s", bad[i]);
        buf_clear(&b);
        assert_int_equal(signal_write(&b, &s), 0);
        assert_int_equal(signal_read(&got, buf_bytes(&b)), -EBADMSG);
        signal_done(&got);
    }
    /* Half a character in an error text does not spoil the message. */
    s = (struct signal){.type = SIGNAL_ERROR};
    strcpy(s.u.error.code, "x");
    strcpy(s.u.error.message, "caf\xc3");
    buf_clear(&b);
    assert_int_equal(signal_write(&b, &s), 0);
    assert_int_equal(signal_read(&got, buf_bytes(&b)), 0);
    assert_string_equal(got.u.error.message, "caf?");
    signal_done(&got);
    buf_done(&b);
}

static void codes_have_names(void **state)
{
    for (int e = 0; e < SIGERR_COUNT; e++) {
        assert_int_equal(signal_error_of(signal_error_code((enum signal_error)e)), e);
        assert_true(strlen(signal_error_text((enum signal_error)e)) > 10);
    }
    assert_int_equal(signal_error_of("target_offline"), SIGERR_TARGET_OFFLINE);
    assert_int_equal(signal_error_of("invite_expired"), SIGERR_COUNT);
    assert_string_equal(signal_type_name(SIGNAL_ICE_CANDIDATE), "ice-candidate");
    assert_string_equal(signal_type_name(SIGNAL_TYPE_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_comes_back),       cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(flips_do_no_harm),           cmocka_unit_test(hostile_json_is_refused),
        cmocka_unit_test(unknown_fields_are_ignored), cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(lengths_have_limits),        cmocka_unit_test(names_are_judged),
        cmocka_unit_test(codes_have_names),           cmocka_unit_test(welcomes_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
