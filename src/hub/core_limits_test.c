#include "hub/hub_kit_int.h"

#include <errno.h>

static void every_limit_has_a_name(void **state)
{
    struct hub_limits l, zero;
    uint32_t value;
    const char *what, *name;
    size_t n = 0;
    hub_limits_default(&l);
    for (; (name = hub_limit_at(n, &l, &value, &what)); n++) {
        char text[16];
        assert_true(strlen(what) > 5);
        snprintf(text, sizeof text, "%u", value);
        assert_int_equal(hub_limit_set(&l, name, text), 0);
    }
    assert_int_equal(n * sizeof(uint32_t), sizeof l);
    hub_limits_default(&zero);
    assert_memory_equal(&l, &zero, sizeof l);
    assert_int_equal(hub_limit_set(&l, "ping-s", "7"), 0);
    assert_int_equal(l.ping_s, 7);
    assert_int_equal(hub_limit_set(&l, "nothing", "7"), -ENOENT);
    static const char *const bad[] = {"",    "x", "-1", "1x", " 1", "0", "4294967296", "99999999999999999999",
                                      "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hub_limit_set(&l, "ping-s", bad[i]), -EINVAL);
    assert_int_equal(l.ping_s, 7);
    assert_int_equal(hub_limit_set(&l, "relay-bytes-per-s", "0"), 0);
}

static struct net_addr v6(uint8_t net, uint8_t host)
{
    return (struct net_addr){.family = 6, .ip = {0x20, 1, 0xd, 0xb8, 0, 0, 0, net, [15] = host}, .port = 1};
}

static void connections_are_counted(void **state)
{
    struct kit k;
    kit_init(&k, 1);
    k.limits.connections = 5;
    k.limits.connections_per_ip = 2;
    kit_start(&k);
    assert_int_equal(kit_open_from(&k, 0, v6(1, 1)), 0);
    assert_int_equal(kit_open_from(&k, 1, v6(1, 2)), 0);
    assert_int_equal(kit_open_from(&k, 2, v6(1, 3)), -EAGAIN); /* the same /64 */
    assert_int_equal(kit_open_from(&k, 2, v6(2, 1)), 0);
    struct net_addr plain = kit_addr(0), mapped = {.family = 6, .port = 9};
    mapped.ip[10] = mapped.ip[11] = 0xff;
    memcpy(mapped.ip + 12, plain.ip, 4);
    assert_int_equal(kit_open_from(&k, 3, plain), 0);
    assert_int_equal(kit_open_from(&k, 4, mapped), 0); /* the same address */
    assert_int_equal(kit_open_from(&k, 5, kit_addr(7)), -EMFILE);
    kit_hang_up(&k, 0);
    assert_int_equal(kit_open_from(&k, 5, plain), -EAGAIN);
    assert_int_equal(kit_open_from(&k, 5, v6(1, 9)), 0);
    kit_done(&k);
}

static void logins_of_one_address_are_limited(void **state)
{
    struct kit k;
    struct signal login;
    kit_init(&k, 2);
    k.limits.logins_per_minute_ip = 3;
    kit_start(&k);
    for (int i = 0; i < 3; i++)
        kit_login_from(&k, i, kit_addr(0));
    assert_int_equal(kit_open_from(&k, 3, kit_addr(0)), 0);
    kit_challenged(&k, 3);
    kit_login_message(&k, 3, &login);
    kit_say(&k, 3, &login);
    kit_expect_error(&k, 3, "rate_limited");
    assert_int_equal(k.nodes[3].closed, 1013);
    kit_login_from(&k, 4, kit_addr(1));
    kit_pass(&k, 21 * SEC);
    kit_login_from(&k, 3, kit_addr(0));
    kit_done(&k);
}

static void a_flood_is_slowed_and_then_cut(void **state)
{
    struct kit k;
    kit_init(&k, 3);
    k.limits.messages_per_s = 10;
    kit_start(&k);
    kit_login(&k, 0);
    int answered = 0;
    for (int i = 0; i < 100; i++)
        kit_say_raw(&k, 0, "{\"type\":\"ping\",\"payload\":{\"t\":1}}");
    while (k.nodes[0].count > 1) {
        kit_expect(&k, 0, SIGNAL_PONG);
        answered++;
    }
    assert_int_equal(answered, 19); /* the burst of twenty, less the login */
    kit_expect_error(&k, 0, "rate_limited");
    kit_pass(&k, 1 * SEC);
    kit_say_raw(&k, 0, "{\"type\":\"ping\",\"payload\":{\"t\":2}}");
    assert_int_equal(kit_expect(&k, 0, SIGNAL_PONG)->u.ping.t, 2);
    for (int i = 0; i < 600; i++)
        kit_say_raw(&k, 0, "{\"type\":\"ping\",\"payload\":{\"t\":3}}");
    assert_int_equal(k.nodes[0].closed, 1008);
    kit_forget_all(&k);
    kit_done(&k);
}

/* Ten a second are fine and thirty are not, however they are spread. */
static void a_steady_flood_is_cut_too(void **state)
{
    struct kit k;
    kit_init(&k, 13);
    k.limits.messages_per_s = 10;
    kit_start(&k);
    kit_login(&k, 0);
    for (int i = 0; i < 3000 && !k.nodes[0].closed; i++) {
        kit_say_raw(&k, 0, "{\"type\":\"ping\",\"payload\":{\"t\":1}}");
        kit_pass(&k, SEC / 30);
        kit_forget(&k, 0);
    }
    assert_int_equal(k.nodes[0].closed, 1008);
    assert_string_equal(k.nodes[0].reason, "too many messages");
    kit_login(&k, 1);
    for (int i = 0; i < 3000; i++) {
        kit_say_raw(&k, 1, "{\"type\":\"ping\",\"payload\":{\"t\":1}}");
        kit_pass(&k, SEC / 10);
        kit_forget(&k, 1);
    }
    assert_int_equal(k.nodes[1].closed, 0);
    kit_done(&k);
}

static void unreadable_messages_end_a_connection(void **state)
{
    struct kit k;
    kit_init(&k, 4);
    kit_start(&k);
    assert_int_equal(kit_open_from(&k, 1, kit_addr(1)), 0);
    kit_challenged(&k, 1);
    kit_say_raw(&k, 1, "rubbish");
    kit_expect_error(&k, 1, "bad_message");
    assert_int_equal(k.nodes[1].closed, 1008);
    kit_login(&k, 0);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(k.nodes[0].closed, 0);
        kit_say_raw(&k, 0, i % 2 ? "rubbish" : "{\"type\":\"welcome\",\"payload\":{}}");
        kit_expect_error(&k, 0, "bad_message");
    }
    assert_int_equal(k.nodes[0].closed, 1008);
    static char big[SIGNAL_MAX + 2];
    memset(big, ' ', sizeof big - 1);
    kit_login(&k, 2);
    kit_say_raw(&k, 2, big);
    kit_expect_error(&k, 2, "too_large");
    assert_int_equal(k.nodes[2].closed, 1008);
    kit_done(&k);
}

static void who_does_not_read_is_cut_off(void **state)
{
    struct kit k;
    static uint8_t data[SIGNAL_DATA_MAX];
    kit_init(&k, 5);
    k.limits.text_queue_bytes = 131072;
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    struct signal s = {.type = SIGNAL_OFFER, .has_to = true};
    memcpy(s.u.forward.party, party_id(p), PARTY_ID_LEN);
    memcpy(s.to, k.nodes[1].id, NODE_ID_LEN);
    s.u.forward.data = bytes_of(data, sizeof data);
    k.nodes[1].stuck = true;
    for (int i = 0; i < 5; i++)
        kit_say(&k, 0, &s);
    assert_int_equal(k.nodes[1].closed, 0);
    kit_say(&k, 0, &s);
    assert_int_equal(k.nodes[1].closed, 1013);
    kit_expect(&k, 0, SIGNAL_PEER_LEFT);
    kit_say(&k, 0, &s);
    kit_expect_error(&k, 0, "target_offline");
    kit_expect(&k, 2, SIGNAL_PEER_LEFT);
    party_free(p);
    kit_done(&k);
}

/* What one does not read, others must not pay for. */
static void memory_is_taken_from_who_holds_most(void **state)
{
    struct kit k;
    static uint8_t data[SIGNAL_DATA_MAX];
    kit_init(&k, 15);
    k.limits.text_queue_bytes = 64 << 20;
    k.limits.queue_memory_mib = 8;
    k.limits.messages_per_s = 100000;
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    struct signal s = {.type = SIGNAL_OFFER, .has_to = true};
    memcpy(s.u.forward.party, party_id(p), PARTY_ID_LEN);
    s.u.forward.data = bytes_of(data, sizeof data);
    memcpy(s.to, k.nodes[1].id, NODE_ID_LEN);
    k.nodes[1].stuck = true;
    for (int i = 0; i < 375; i++)
        kit_say(&k, 0, &s);
    assert_int_equal(k.nodes[1].closed, 0);
    memcpy(s.to, k.nodes[2].id, NODE_ID_LEN);
    k.nodes[2].stuck = true;
    for (int i = 0; i < 20; i++)
        kit_say(&k, 0, &s);
    assert_int_equal(k.nodes[1].closed, 1013);
    assert_int_equal(k.nodes[2].closed, 0);
    assert_int_equal(k.nodes[0].closed, 0);
    kit_unstick(&k, 2);
    assert_true(k.nodes[2].count >= 20);
    kit_forget_all(&k);
    party_free(p);
    kit_done(&k);
}

static void one_address_changes_only_so_much(void **state)
{
    struct kit k;
    struct buf b;
    kit_init(&k, 16);
    k.limits.entries_per_minute_ip = 2;
    kit_start(&k);
    for (int i = 0; i < 2; i++)
        kit_login_from(&k, i, kit_addr(0));
    kit_login(&k, 2);
    party_free(kit_party(&k, 0));
    party_free(kit_party(&k, 1));
    buf_init(&b, ENTRY_MAX);
    struct party_author a = kit_author(&k, 1);
    struct party_genesis_args args = {"third", "owner", MODE_TAP, 0};
    assert_int_equal(party_make_genesis(&b, &a, &args), 0);
    kit_send_entry(&k, 1, LOG_OP_CREATE, NULL, 3, buf_bytes(&b));
    kit_expect_error(&k, 1, "rate_limited");
    party_free(kit_party(&k, 2));
    kit_pass(&k, 31 * SEC);
    kit_forget_all(&k);
    kit_send_entry(&k, 1, LOG_OP_CREATE, NULL, 4, buf_bytes(&b));
    assert_int_equal(kit_expect(&k, 1, SIGNAL_LOG)->u.log.op, LOG_OP_ACK);
    buf_done(&b);
    kit_done(&k);
}

static void parties_and_entries_are_limited(void **state)
{
    struct kit k;
    struct buf b;
    kit_init(&k, 6);
    k.limits.parties_per_device = 2;
    k.limits.entries_per_minute = 6;
    kit_start(&k);
    kit_login(&k, 0);
    struct party *p = kit_party(&k, 0), *q = kit_party(&k, 0);
    buf_init(&b, ENTRY_MAX);
    struct party_author a = kit_author(&k, 0);
    struct party_genesis_args args = {"third", "owner", MODE_TAP, 0};
    assert_int_equal(party_make_genesis(&b, &a, &args), 0);
    kit_send_entry(&k, 0, LOG_OP_CREATE, NULL, 3, buf_bytes(&b));
    kit_expect_error(&k, 0, "limit");
    assert_int_equal(k.got.u.error.ref, 3);
    kit_join(&k, 0, p);
    kit_join(&k, 0, q);
    buf_clear(&b);
    for (int i = 0; i < 3; i++) {
        a = kit_author(&k, 0);
        assert_int_equal(party_make_rename(&b, p, &a, k.nodes[0].id, i % 2 ? "odd" : "even"), PARTY_OK);
        kit_append(&k, 0, p, &b);
        kit_forget(&k, 0);
    }
    assert_int_equal(party_make_rename(&b, p, &a, k.nodes[0].id, "no"), PARTY_OK);
    kit_send_entry(&k, 0, LOG_OP_APPEND, party_id(p), 4, buf_bytes(&b));
    kit_expect_error(&k, 0, "rate_limited");
    kit_pass(&k, 11 * SEC);
    kit_append(&k, 0, p, &b);
    buf_done(&b);
    party_free(p);
    party_free(q);
    kit_done(&k);
}

static void http(struct kit *k, const char *path, const char *bearer, int status, const char *word)
{
    struct hub_request rq = {.method = "GET", .path = path, .bearer = bearer, .remote = kit_addr(0)};
    struct hub_response rs;
    hub_http(k->hub, &rq, &rs, k->now);
    if (rs.status != status || !strstr(buf_str(&rs.body), word))
        fail_msg("%s: %d %.1000s", path, rs.status, buf_str(&rs.body));
    buf_done(&rs.body);
}

static void http_answers_members(void **state)
{
    struct kit k;
    char path[256], hex[65];
    kit_init(&k, 7);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    kit_login(&k, 3);
    hex_put(hex, bytes_of(party_id(p), 32));
    snprintf(path, sizeof path, "/api/v1/parties/%s/log", hex);
    http(&k, path, NULL, 401, "not_logged_in");
    http(&k, path, "a.b.c", 401, "not_logged_in");
    http(&k, path, k.nodes[3].token, 403, "not_a_member");
    http(&k, path, k.nodes[1].token, 200, "\"seq\":0,\"entries\":[\"");
    snprintf(path, sizeof path, "/api/v1/parties/%s/log?since=900", hex);
    http(&k, path, k.nodes[1].token, 200, "\"entries\":[],\"more\":false");
    snprintf(path, sizeof path, "/api/v1/parties/%s/log?since=x", hex);
    http(&k, path, k.nodes[1].token, 404, "not_found");
    hex[0] = hex[0] == '0' ? '1' : '0';
    snprintf(path, sizeof path, "/api/v1/parties/%s/log", hex);
    http(&k, path, k.nodes[1].token, 403, "not_a_member"); /* as for a party that is not theirs */
    http(&k, "/api/v1/parties/../log", k.nodes[1].token, 404, "not_found");
    http(&k, "/api/v1/limits", k.nodes[0].token, 200, "\"parties_created\":1");
    http(&k, "/metrics", NULL, 200, "warren_hub_logins_total{result=\"ok\"} 3\n");
    http(&k, "/metrics", NULL, 200, "warren_hub_log_entries_total 2\n");
    kit_pass(&k, 901 * SEC);
    http(&k, path, k.nodes[1].token, 401, "token_expired");
    kit_forget_all(&k);
    party_free(p);
    kit_done(&k);
}

static void http_is_limited(void **state)
{
    struct kit k;
    kit_init(&k, 8);
    k.limits.http_per_minute_ip = 5;
    kit_start(&k);
    for (int i = 0; i < 5; i++)
        http(&k, "/health", NULL, 200, "ok");
    http(&k, "/health", NULL, 429, "rate_limited");
    kit_pass(&k, 13 * SEC);
    http(&k, "/health", NULL, 200, "ok");
    kit_done(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_limit_has_a_name),
        cmocka_unit_test(connections_are_counted),
        cmocka_unit_test(logins_of_one_address_are_limited),
        cmocka_unit_test(a_flood_is_slowed_and_then_cut),
        cmocka_unit_test(a_steady_flood_is_cut_too),
        cmocka_unit_test(memory_is_taken_from_who_holds_most),
        cmocka_unit_test(one_address_changes_only_so_much),
        cmocka_unit_test(unreadable_messages_end_a_connection),
        cmocka_unit_test(who_does_not_read_is_cut_off),
        cmocka_unit_test(parties_and_entries_are_limited),
        cmocka_unit_test(http_answers_members),
        cmocka_unit_test(http_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
