#include "hub/hub_kit_int.h"

#include <errno.h>

#include "hub/token.h"

static void login_is_welcomed(void **state)
{
    struct kit k;
    kit_init(&k, 1);
    kit_start(&k);
    struct signal login;
    assert_int_equal(kit_open_from(&k, 0, kit_addr(0)), 0);
    struct signal *s = kit_expect(&k, 0, SIGNAL_CHALLENGE);
    assert_int_equal(s->u.challenge.version, 1);
    memcpy(k.nodes[0].nonce, s->u.challenge.nonce, 32);
    kit_login_message(&k, 0, &login);
    kit_say(&k, 0, &login);
    s = kit_expect(&k, 0, SIGNAL_WELCOME);
    assert_string_equal(s->u.welcome.seen, "192.0.2.1:4000");
    assert_int_not_equal(s->u.welcome.relay, 0);
    assert_int_equal(s->u.welcome.time, KIT_UNIX);
    assert_int_equal(s->u.welcome.expires, KIT_UNIX + 900);
    uint8_t secret[TOKEN_KEY_LEN];
    size_t n;
    assert_int_equal(k.store.ops->blob_get(k.store.ctx, "token-key", secret, sizeof secret, &n), 0);
    struct token_key *key = token_key_new(secret);
    struct token_claims c;
    assert_int_equal(token_check(key, s->u.welcome.token, KIT_UNIX, &c), 0);
    assert_memory_equal(c.node, k.nodes[0].id, NODE_ID_LEN);
    assert_int_equal(c.issued, KIT_UNIX);
    token_key_free(key);
    struct sign_public stored;
    assert_int_equal(k.store.ops->device_get(k.store.ctx, k.nodes[0].id, &stored), 0);
    assert_memory_equal(&stored, sign_key_public(k.nodes[0].key), sizeof stored);
    struct hub_stats st;
    hub_stats(k.hub, &st);
    assert_int_equal(st.connections, 1);
    assert_int_equal(st.logged_in, 1);
    assert_int_equal(st.devices, 1);
    kit_done(&k);
}

enum spoil { SPOIL_SIGNATURE, SPOIL_ID, SPOIL_KEYS, SPOIL_NONCE, SPOIL_BINDING, SPOIL_OTHER_ID };

static void login_must_prove_everything(void **state)
{
    for (int what = SPOIL_SIGNATURE; what <= SPOIL_OTHER_ID; what++) {
        struct kit k;
        struct signal login;
        kit_init(&k, 2);
        kit_start(&k);
        assert_int_equal(kit_open_from(&k, 0, kit_addr(0)), 0);
        kit_challenged(&k, 0);
        k.nodes[0].nonce[5] ^= what == SPOIL_NONCE;
        k.nodes[0].binding[31] ^= what == SPOIL_BINDING;
        kit_login_message(&k, 0, &login);
        login.u.login.signature[100] ^= what == SPOIL_SIGNATURE;
        login.u.login.node[0] ^= what == SPOIL_ID;
        login.u.login.keys.ed25519[0] ^= what == SPOIL_KEYS;
        if (what == SPOIL_OTHER_ID)
            memcpy(login.u.login.node, k.nodes[1].id, NODE_ID_LEN);
        kit_say(&k, 0, &login);
        kit_expect_error(&k, 0, "login_failed");
        assert_int_equal(k.nodes[0].closed, 1008);
        struct sign_public stored;
        assert_int_equal(k.store.ops->device_get(k.store.ctx, k.nodes[0].id, &stored), -ENOENT);
        kit_done(&k);
    }
}

static void a_login_cannot_be_replayed(void **state)
{
    struct kit k;
    struct signal login;
    kit_init(&k, 3);
    kit_start(&k);
    assert_int_equal(kit_open_from(&k, 0, kit_addr(0)), 0);
    kit_challenged(&k, 0);
    kit_login_message(&k, 0, &login);
    kit_say(&k, 0, &login);
    kit_expect(&k, 0, SIGNAL_WELCOME);
    kit_hang_up(&k, 0);
    assert_int_equal(kit_open_from(&k, 0, kit_addr(0)), 0);
    kit_challenged(&k, 0);
    kit_say(&k, 0, &login);
    kit_expect_error(&k, 0, "login_failed");
    kit_done(&k);
}

static void the_newer_connection_wins(void **state)
{
    struct kit k;
    kit_init(&k, 4);
    kit_start(&k);
    kit_login(&k, 0);
    kit_login(&k, 1);
    uint32_t relay = k.nodes[0].relay;
    /* Node 2 plays the same device on another connection. */
    struct sign_key *key = k.nodes[2].key;
    k.nodes[2].key = k.nodes[0].key;
    memcpy(k.nodes[2].id, k.nodes[0].id, NODE_ID_LEN);
    kit_login(&k, 2);
    k.nodes[2].key = key;
    kit_expect_error(&k, 0, "replaced");
    assert_int_equal(k.nodes[0].closed, 4001);
    assert_string_equal(k.nodes[0].reason, "replaced");
    assert_int_not_equal(k.nodes[2].relay, relay);
    assert_int_equal(k.nodes[1].closed, 0);
    struct hub_stats st;
    hub_stats(k.hub, &st);
    assert_int_equal(st.logged_in, 2);
    assert_int_equal(st.connections, 2);
    kit_done(&k);
}

static void nothing_goes_before_login(void **state)
{
#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    static const char *const texts[] = {
        "{\"type\":\"presence\",\"payload\":{\"party\":\"" ID "\",\"seq\":1,\"head\":\"" ID "\"}}",
        "{\"type\":\"leave\",\"payload\":{\"party\":\"" ID "\"}}",
        "{\"type\":\"join\",\"payload\":{\"party\":\"" ID "\",\"since\":0}}",
    };
#undef ID
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct kit k;
        kit_init(&k, 5);
        kit_start(&k);
        assert_int_equal(kit_open_from(&k, 0, kit_addr(0)), 0);
        kit_challenged(&k, 0);
        kit_say_raw(&k, 0, "{\"type\":\"ping\",\"payload\":{\"t\":77}}");
        assert_int_equal(kit_expect(&k, 0, SIGNAL_PONG)->u.ping.t, 77);
        kit_say_raw(&k, 0, texts[i]);
        kit_expect_error(&k, 0, "not_logged_in");
        assert_int_equal(k.nodes[0].closed, 1008);
        kit_done(&k);
    }
    struct kit k;
    kit_init(&k, 6);
    kit_start(&k);
    assert_int_equal(kit_open_from(&k, 0, kit_addr(0)), 0);
    kit_challenged(&k, 0);
    hub_binary(k.hub, k.nodes[0].conn, bytes_of("\1\0\0\0\0\0\0\1", 8), k.now);
    kit_pump(&k);
    kit_expect_error(&k, 0, "not_logged_in");
    assert_int_equal(k.nodes[0].closed, 1008);
    kit_done(&k);
}

static void who_does_not_log_in_is_closed(void **state)
{
    struct kit k;
    kit_init(&k, 7);
    kit_start(&k);
    assert_int_equal(kit_open_from(&k, 0, kit_addr(0)), 0);
    kit_challenged(&k, 0);
    kit_login(&k, 1);
    kit_pass(&k, 9 * SEC);
    assert_int_equal(k.nodes[0].closed, 0);
    kit_pass(&k, 2 * SEC);
    assert_int_equal(k.nodes[0].closed, 1008);
    assert_string_equal(k.nodes[0].reason, "login timeout");
    assert_int_equal(k.nodes[1].closed, 0);
    kit_done(&k);
}

static void the_silent_are_pinged_and_closed(void **state)
{
    struct kit k;
    kit_init(&k, 8);
    kit_start(&k);
    kit_login(&k, 0);
    kit_login(&k, 1);
    for (int i = 0; i < 5; i++) {
        kit_pass(&k, 15 * SEC);
        if (k.nodes[0].conn)
            hub_alive(k.hub, k.nodes[0].conn, k.now);
    }
    assert_int_equal(k.nodes[0].closed, 0);
    assert_int_equal(k.nodes[1].closed, 4002);
    assert_int_equal(kit_expect(&k, 0, SIGNAL_PING)->type, SIGNAL_PING);
    kit_expect(&k, 0, SIGNAL_PING);
    kit_expect_nothing(&k, 0);
    kit_expect(&k, 1, SIGNAL_PING);
    kit_done(&k);
}

static void a_second_login_on_one_connection_is_refused(void **state)
{
    struct kit k;
    struct signal login;
    kit_init(&k, 9);
    kit_start(&k);
    kit_login(&k, 0);
    kit_login_message(&k, 0, &login);
    kit_say(&k, 0, &login);
    kit_expect_error(&k, 0, "bad_message");
    assert_int_equal(k.nodes[0].closed, 0);
    kit_done(&k);
}

static void shutdown_says_goodbye(void **state)
{
    struct kit k;
    kit_init(&k, 10);
    kit_start(&k);
    kit_login(&k, 0);
    kit_login(&k, 1);
    k.nodes[1].stuck = true;
    hub_shutdown(k.hub, k.now);
    kit_pump(&k);
    kit_expect_error(&k, 0, "shutting_down");
    assert_int_equal(k.nodes[0].closed, 1001);
    /* Who does not read is closed all the same, a little later. */
    assert_int_equal(k.nodes[1].closed, 0);
    kit_pass(&k, 7 * SEC);
    assert_int_equal(k.nodes[1].closed, 1001);
    struct net_addr addr = kit_addr(3);
    assert_int_equal(hub_open(k.hub, 99, &addr, k.nodes[3].binding, k.now), -EMFILE);
    kit_done(&k);
}

static void the_token_key_outlives_the_hub(void **state)
{
    struct kit k;
    kit_init(&k, 11);
    kit_start(&k);
    kit_login(&k, 0);
    hub_free(k.hub);
    kit_start(&k);
    struct hub_response rs;
    struct hub_request rq = {
        .method = "GET", .path = "/api/v1/limits", .bearer = k.nodes[0].token, .remote = kit_addr(0)};
    hub_http(k.hub, &rq, &rs, k.now);
    assert_int_equal(rs.status, 200);
    buf_done(&rs.body);
    kit_done(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(login_is_welcomed),
        cmocka_unit_test(login_must_prove_everything),
        cmocka_unit_test(a_login_cannot_be_replayed),
        cmocka_unit_test(the_newer_connection_wins),
        cmocka_unit_test(nothing_goes_before_login),
        cmocka_unit_test(who_does_not_log_in_is_closed),
        cmocka_unit_test(the_silent_are_pinged_and_closed),
        cmocka_unit_test(a_second_login_on_one_connection_is_refused),
        cmocka_unit_test(shutdown_says_goodbye),
        cmocka_unit_test(the_token_key_outlives_the_hub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
