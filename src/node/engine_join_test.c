/* Creating, inviting, joining, leaving, and what may go wrong with each. */
#include "node/engine_harness.h"

#define CREATE "{\"cmd\":\"party-create\",\"name\":\"lan\"}"

static void test_create_invite_join(void **state)
{
    struct lab *l = lab_new(1);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    host_up(l, 0, 0);
    json_t *made = ask_ok(l, 0, "{\"cmd\":\"party-create\",\"name\":\"lan\",\"net\":\"10.77.0.0/16\"}");
    assert_string_equal(field(made, "party"), "lan");
    assert_string_equal(field(made, "mode"), "tap");
    assert_string_equal(field(made, "role"), "owner");
    assert_string_equal(field(made, "device"), "warren0");
    assert_int_equal(strncmp(field(made, "ip"), "10.77.", 6), 0);
    const struct node_device *d = &l->hosts[0].devices[0].config;
    assert_true(d->tap && d->prefix4 == 16 && d->prefix6 == 64 && d->mtu == 1380 && d->net4 == 0x0a4d0000);
    assert_int_equal(d->ip4 >> 16, 0x0a4d);

    json_t *inv = ask_ok(l, 0, "{\"cmd\":\"invite\"}");
    assert_int_equal(json_integer_value(json_object_get(inv, "uses")), 1);
    assert_int_equal(json_integer_value(json_object_get(inv, "expires")), LAB_UNIX + l->now / SEC + 86400);
    assert_string_equal(field(inv, "role"), "member");
    snprintf(invite, sizeof invite, "%s", field(inv, "invite"));
    assert_int_equal(strncmp(invite, "warren://hub0.example", 21), 0);

    host_up(l, 1, -1);
    assert_int_equal(l->hosts[1].connects, 0);
    json_t *joined = ask_ok(l, 1, join_request(rq, invite));
    assert_string_equal(field(joined, "party"), "lan");
    assert_string_equal(field(joined, "device"), "warren0");
    assert_string_equal(field(joined, "role"), "member");
    assert_true(json_array_size(l->hosts[1].replies) >= 4); /* hub, log, device, admit, and the end */
    assert_string_equal(field(json_object_get(json_array_get(l->hosts[1].replies, 0), "progress"), "step"),
                        "hub");
    assert_non_null(host_file(&l->hosts[1], "hub"));
    assert_true(
        bytes_equal(buf_bytes(&host_file(&l->hosts[1], "hub")->bytes),
                    bytes_of_str("https://hub0.example:443#sha256:"
                                 "4040404040404040404040404040404040404040404040404040404040404040")));

    /* The newcomer begins at once; nobody waits three seconds. */
    lab_run(l, 200 * MSEC);
    assert_true(peer_is(l, 0, "ben", "connected"));
    assert_true(peer_is(l, 1, "anna", "connected"));
    assert_int_equal(counted(l, 1, COUNT_HANDSHAKES_BEGUN), 1);
    assert_int_equal(counted(l, 0, COUNT_HANDSHAKES_BEGUN), 0);
    lab_run(l, 10 * SEC);
    assert_int_equal(counted(l, 0, COUNT_HANDSHAKES_BEGUN) + counted(l, 1, COUNT_HANDSHAKES_BEGUN), 1);
    lab_free(l);
}

static void refuse_join(struct lab *l, int i, const char *code, const char *invite)
{
    char rq[INVITE_TEXT_MAX + 64];
    unsigned files = 0;
    ask_fails(l, i, code, join_request(rq, invite));
    for (int f = 0; f < LAB_FILES; f++)
        files += strncmp(l->hosts[i].files[f].name, "party-", 6) == 0;
    assert_int_equal(files, 0);
    assert_int_equal(l->hosts[i].n->party_count, 0);
    assert_int_equal(l->hosts[i].n->request_count, 0);
    for (int d = 0; d < LAB_DEVICES; d++)
        assert_int_equal(l->hosts[i].devices[d].party_ref, 0);
}

static void test_invites_that_are_no_good(void **state)
{
    struct lab *l = lab_new(2);
    char used[INVITE_TEXT_MAX + 1], late[INVITE_TEXT_MAX + 1], gone[INVITE_TEXT_MAX + 1],
        bad[INVITE_TEXT_MAX + 1];
    char rq[INVITE_TEXT_MAX + 64], id[80];
    lab_party(l, 1);
    lab_invite(l, 0, ",\"uses\":1", used);
    lab_invite(l, 0, ",\"expires_s\":600", late);
    lab_invite(l, 0, "", gone);
    host_up(l, 1, -1);
    ask_ok(l, 1, join_request(rq, used));
    host_up(l, 2, -1);
    refuse_join(l, 2, "invite_used_up", used);
    /* A hub that was learned from an invite that came to nothing with it is kept: it did log us in. */
    assert_true(l->hosts[2].n->link.have_hub);

    size_t at;
    json_t *row;
    json_array_foreach(json_object_get(ask_ok(l, 0, "{\"cmd\":\"invite-list\"}"), "invites"), at, row)
    {
        if (json_integer_value(json_object_get(row, "expires")) - (json_int_t)(LAB_UNIX + l->now / SEC) <
                80000 ||
            json_integer_value(json_object_get(row, "uses")) != 1 || strcmp(field(row, "state"), "open") != 0)
            continue;
        snprintf(id, sizeof id, "%.20s", field(row, "id"));
    }
    snprintf(rq, sizeof rq, "{\"cmd\":\"invite-revoke\",\"id\":\"%s\"}", id);
    ask_ok(l, 0, rq);
    refuse_join(l, 2, "invite_revoked", gone);

    lab_run(l, 700 * SEC);
    refuse_join(l, 2, "invite_expired", late);

    snprintf(bad, sizeof bad, "%s", used);
    bad[60] = bad[60] == 'a' ? 'b' : 'a';
    refuse_join(l, 2, "invite_mistyped", bad);
    refuse_join(l, 2, "invite_bad", "warren:nothing");
    ask_fails(l, 2, "invite_bad", "{\"cmd\":\"join\"}");
    ask_fails(l, 1, "already_member", join_request(rq, used));
    ask_fails(l, 0, "no_invite", "{\"cmd\":\"invite-revoke\",\"id\":\"ffff\"}");
    ask_fails(l, 0, "bad_request", "{\"cmd\":\"invite\",\"uses\":0}");
    ask_fails(l, 0, "bad_request", "{\"cmd\":\"invite\",\"role\":\"owner\"}");
    ask_fails(l, 0, "bad_request", "{\"cmd\":\"invite\",\"expires_s\":\"1h\"}");
    /* A member may not invite unless its role says so. */
    ask_fails(l, 1, "not_allowed", "{\"cmd\":\"invite\"}");
    lab_free(l);
}

static void test_another_hub(void **state)
{
    struct lab *l = lab_new(3);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 1);
    lab_invite(l, 0, "", invite);
    host_up(l, 1, 1);
    const char *text = ask_fails(l, 1, "other_hub", join_request(rq, invite));
    assert_non_null(strstr(text, "hub0.example"));
    assert_non_null(strstr(text, "hub1.example"));
    /* The same certificate under another name is the same hub. */
    struct node_config c = host_config(l, 2);
    c.have_hub = true;
    c.hub = lab_hub_address(0);
    snprintf(c.hub.host, sizeof c.hub.host, "127.0.0.1");
    host_boot(l, 2, &c);
    ask_ok(l, 2, join_request(rq, invite));
    lab_free(l);
}

static void test_no_hub_there(void **state)
{
    struct lab *l = lab_new(4);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 1);
    lab_invite(l, 0, "", invite);
    host_up(l, 1, -1);
    l->hosts[1].cut = true;
    usec_t before = l->now;
    const char *text = ask_fails(l, 1, "hub_unreachable", join_request(rq, invite));
    assert_non_null(strstr(text, "hub0.example:443"));
    assert_non_null(strstr(text, "connection refused"));
    assert_true(l->now - before < 10 * SEC);
    assert_false(l->hosts[1].n->link.have_hub);
    lab_run(l, 60 * SEC);
    assert_int_equal(l->hosts[1].connects, HUB_TRIES); /* a hub that was never reached is forgotten */
    ask_fails(l, 1, "no_hub", CREATE);
    l->hosts[1].cut = false;
    ask_ok(l, 1, join_request(rq, invite));

    host_up(l, 2, 0);
    l->hosts[2].cut = true;
    before = l->now;
    text = ask_fails(l, 2, "hub_unreachable", CREATE);
    assert_non_null(strstr(text, "connection refused"));
    assert_true(l->now - before <= l->limits.request_s * SEC);
    /* A hub that takes connections and says nothing. */
    lab_hub_stop(l, 0);
    l->hosts[2].cut = false;
    text = ask_fails(l, 2, "hub_unreachable", CREATE);
    lab_free(l);
}

static void test_the_hub_comes_while_one_waits(void **state)
{
    struct lab *l = lab_new(5);
    host_up(l, 0, 0);
    l->hosts[0].cut = true;
    lab_run(l, 300 * MSEC);
    node_request(l->hosts[0].n, 77, bytes_of_str(CREATE), l->now);
    lab_run(l, 100 * MSEC);
    l->hosts[0].cut = false;
    lab_run(l, 5 * SEC);
    assert_int_equal(l->hosts[0].n->party_count, 1);
    assert_int_equal(l->hosts[0].opened, 1);
    lab_free(l);
}

static void test_no_device_no_use(void **state)
{
    struct lab *l = lab_new(6);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 1);
    lab_invite(l, 0, "", invite);
    host_up(l, 1, -1);
    l->hosts[1].device_error = "the party's network 10.77.0.0/16 overlaps a route of this machine";
    assert_non_null(strstr(ask_fails(l, 1, "device", join_request(rq, invite)), "overlaps a route"));
    assert_int_equal(l->hosts[1].n->party_count, 0);
    host_up(l, 2, -1); /* the one use is still there */
    ask_ok(l, 2, join_request(rq, invite));
    host_up(l, 3, 0);
    l->hosts[3].device_error = "making network devices needs root";
    assert_non_null(strstr(ask_fails(l, 3, "device", CREATE), "root"));
    assert_int_equal(l->hosts[3].n->party_count, 0);
    lab_free(l);
}

static void test_without_devices(void **state)
{
    struct lab *l = lab_new(7);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 1);
    lab_invite(l, 0, "", invite);
    struct node_config c = host_config(l, 1);
    c.no_device = true;
    host_boot(l, 1, &c);
    json_t *device = json_object_get(ask_ok(l, 1, join_request(rq, invite)), "device");
    assert_true(json_is_null(device));
    assert_int_equal(l->hosts[1].opened, 0);
    lab_run(l, SEC);
    assert_true(peer_is(l, 0, "ben", "connected"));
    lab_free(l);
}

/* The hub restarts while the newcomer is between two steps, at every message of the way. */
static void test_hub_restarts_during_join(void **state)
{
    for (int step = 0; step < 24; step++) {
        struct lab *l = lab_new(8);
        char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
        lab_party(l, 1);
        lab_invite(l, 0, "", invite);
        host_up(l, 1, -1);
        struct host *h = &l->hosts[1];
        json_decref(h->replies);
        h->replies = json_array();
        h->awaited = h->request = 5;
        node_request(h->n, 5, bytes_of_str(join_request(rq, invite)), l->now);
        for (int i = 0; i < step; i++)
            lab_step(l, l->now + 2 * MSEC);
        lab_hub_stop(l, 0);
        lab_hub_start(l, 0);
        lab_run(l, 15 * SEC);
        assert_true(h->final);
        assert_true(
            json_is_true(json_object_get(json_array_get(h->replies, json_array_size(h->replies) - 1), "ok")));
        assert_true(peer_is(l, 0, "ben", "connected"));
        assert_int_equal(party_member_count(l->hosts[0].n->parties[0]->log), 2);
        lab_free(l);
    }
}

static void test_hub_restarts_during_create_and_invite(void **state)
{
    for (int step = 0; step < 16; step++) {
        struct lab *l = lab_new(9);
        struct host *h = &l->hosts[0];
        host_up(l, 0, 0);
        for (int what = 0; what < 2; what++) {
            json_decref(h->replies);
            h->replies = json_array();
            h->awaited = ++h->request;
            h->final = false;
            node_request(h->n, h->awaited, bytes_of_str(what == 0 ? CREATE : "{\"cmd\":\"invite\"}"), l->now);
            for (int i = 0; i < step; i++)
                lab_step(l, l->now + 2 * MSEC);
            lab_hub_stop(l, 0);
            lab_hub_start(l, 0);
            lab_run(l, 15 * SEC);
            assert_true(h->final);
            assert_true(json_is_true(
                json_object_get(json_array_get(h->replies, json_array_size(h->replies) - 1), "ok")));
        }
        assert_int_equal(party_seq(h->n->parties[0]->log), 1); /* nothing twice */
        lab_free(l);
    }
}

static void test_bad_arguments(void **state)
{
    static const struct {
        const char *rq, *code;
    } t[] = {
        {"", "bad_request"},
        {"[]", "bad_request"},
        {"{}", "bad_request"},
        {"{\"cmd\":7}", "bad_request"},
        {"{\"cmd\":\"dance\"}", "unknown_command"},
        {"{\"cmd\":\"party-create\"}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"a\\u0007b\"}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"mode\":\"wireguard\"}", "mode"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"mode\":\"bridge\"}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"net\":\"10.1.2.0/16\"}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"net\":\"8.8.0.0/16\"}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"net\":\"10.1.0.0/24\"}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"net\":\"10.1.0.0/16 \"}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"ciphers\":0}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"x\",\"ciphers\":4}", "bad_request"},
        {"{\"cmd\":\"party-create\",\"name\":\"lan\"}", "name_taken"},
        {"{\"cmd\":\"invite\",\"party\":\"nowhere\"}", "no_party"},
        {"{\"cmd\":\"kick\"}", "bad_request"},
        {"{\"cmd\":\"kick\",\"peer\":\"nobody\"}", "no_peer"},
        {"{\"cmd\":\"kick\",\"peer\":\"anna\"}", "bad_request"},
        {"{\"cmd\":\"role\",\"peer\":\"ben\",\"role\":\"king\"}", "bad_request"},
        {"{\"cmd\":\"rename\",\"name\":\"\"}", "bad_request"},
        {"{\"cmd\":\"lease\",\"peer\":\"ben\"}", "bad_request"},
        {"{\"cmd\":\"ping\",\"peer\":\"anna\"}", "bad_request"},
        {"{\"cmd\":\"ping\",\"peer\":\"ben\",\"interval_ms\":1}", "bad_request"},
        {"{\"cmd\":\"status\",\"cmd\":\"status\"}", "bad_request"},
    };
    struct lab *l = lab_new(10);
    lab_party(l, 2);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        ask_fails(l, 0, t[i].code, t[i].rq);
    assert_int_equal(l->hosts[0].n->request_count, 0);
    /* A request too long, and one that is no text. */
    char big[REQUEST_MAX + 2];
    memset(big, ' ', sizeof big);
    big[sizeof big - 1] = '\0';
    ask_fails(l, 0, "bad_request", big);
    ask_fails(l, 0, "bad_request", "{\"cmd\":\"\xff\"}");
    lab_free(l);
}

static void test_leave_and_come_back(void **state)
{
    struct lab *l = lab_new(11);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 2);
    ask_fails(l, 0, "last_owner", "{\"cmd\":\"party-leave\"}");
    ask_ok(l, 1, "{\"cmd\":\"party-leave\"}");
    assert_int_equal(l->hosts[1].n->party_count, 0);
    assert_int_equal(l->hosts[1].closed, 1);
    for (int f = 0; f < LAB_FILES; f++)
        assert_true(strncmp(l->hosts[1].files[f].name, "party-", 6) != 0);
    lab_run(l, SEC);
    assert_int_equal(party_member_count(l->hosts[0].n->parties[0]->log), 1);
    assert_null(status_peer(l, 0, "ben"));
    assert_int_equal(l->hosts[0].n->peer_count, 0);
    assert_int_equal(l->hosts[1].n->peer_count, 0);
    ask_fails(l, 1, "no_party", "{\"cmd\":\"party-log\"}");
    lab_invite(l, 0, "", invite);
    ask_ok(l, 1, join_request(rq, invite));
    lab_run(l, SEC);
    assert_true(peer_is(l, 1, "anna", "connected"));
    /* The last one turns off the light. */
    ask_ok(l, 1, "{\"cmd\":\"party-leave\"}");
    ask_ok(l, 0, "{\"cmd\":\"party-leave\"}");
    assert_int_equal(l->hosts[0].n->party_count, 0);
    lab_free(l);
}

static void test_kick(void **state)
{
    struct lab *l = lab_new(12);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 3);
    lab_invite(l, 0, "", invite);
    ask_fails(l, 1, "not_allowed", "{\"cmd\":\"kick\",\"peer\":\"cleo\"}");
    ask_ok(l, 0, "{\"cmd\":\"kick\",\"peer\":\"cleo\"}");
    assert_null(status_peer(l, 0, "cleo"));
    lab_run(l, 100 * MSEC);
    assert_null(status_peer(l, 1, "cleo"));
    assert_int_equal(l->hosts[1].n->peer_count, 1);
    /* The one who was removed hears it, loses the device and says so. */
    json_t *s = ask_ok(l, 2, "{\"cmd\":\"status\"}");
    json_t *party = json_array_get(json_object_get(s, "parties"), 0);
    assert_string_equal(field(party, "state"), "removed");
    assert_true(json_is_null(json_object_get(party, "device")));
    assert_int_equal(l->hosts[2].closed, 1);
    assert_int_equal(l->hosts[2].n->peer_count, 0);
    ask_fails(l, 2, "removed", "{\"cmd\":\"invite\"}");
    ask_fails(l, 2, "was_removed", join_request(rq, invite));
    /* It stays so after a restart, and goes when it is forgotten. */
    host_kill(l, 2);
    host_up(l, 2, 0);
    lab_run(l, 2 * SEC);
    assert_int_equal(l->hosts[2].n->parties[0]->state, NP_REMOVED);
    ask_ok(l, 2, "{\"cmd\":\"party-leave\"}");
    ask_fails(l, 2, "was_removed", join_request(rq, invite));
    lab_free(l);
}

static void test_roles_and_names(void **state)
{
    struct lab *l = lab_new(13);
    lab_party(l, 3);
    ask_fails(l, 1, "not_allowed", "{\"cmd\":\"invite\"}");
    ask_ok(l, 0, "{\"cmd\":\"role\",\"peer\":\"ben\",\"role\":\"admin\"}");
    lab_run(l, 100 * MSEC);
    ask_ok(l, 1, "{\"cmd\":\"invite\"}");
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"peer\":\"cleo\",\"name\":\"ben\"}");
    lab_run(l, 100 * MSEC);
    const char *text = ask_fails(l, 1, "ambiguous", "{\"cmd\":\"kick\",\"peer\":\"ben\"}");
    assert_non_null(strstr(text, "wn-"));
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"name\":\"den\"}");
    assert_string_equal(field(ask_ok(l, 0, "{\"cmd\":\"invite\",\"party\":\"den\"}"), "party"), "den");
    /* By address and by the beginning of an id. */
    char rq[160], id[NODE_ID_TEXT_CAP], ip[16];
    node_id_text(id, node_id(l->hosts[2].n));
    snprintf(rq, sizeof rq, "{\"cmd\":\"rename\",\"peer\":\"%.12s\",\"name\":\"cleo\"}", id);
    ask_ok(l, 0, rq);
    ip4_text(ip, l->hosts[2].devices[0].config.ip4);
    snprintf(rq, sizeof rq, "{\"cmd\":\"kick\",\"peer\":\"%s\"}", ip);
    ask_ok(l, 0, rq);
    assert_int_equal(party_member_count(l->hosts[0].n->parties[0]->log), 2);
    lab_free(l);
}

/* Two admins change the log at the same moment: one head moves under the other's feet. */
static void test_stale_heads(void **state)
{
    struct lab *l = lab_new(14);
    lab_party(l, 3);
    ask_ok(l, 0, "{\"cmd\":\"role\",\"peer\":\"ben\",\"role\":\"admin\"}");
    ask_ok(l, 0, "{\"cmd\":\"role\",\"peer\":\"cleo\",\"role\":\"admin\"}");
    lab_run(l, 100 * MSEC);
    uint64_t before = party_seq(l->hosts[0].n->parties[0]->log);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++)
            node_request(l->hosts[i].n, (uint32_t)(900 + k), bytes_of_str("{\"cmd\":\"invite\"}"), l->now);
    lab_run(l, 3 * SEC);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(party_seq(l->hosts[i].n->parties[0]->log), before + 6);
        assert_int_equal(counted(l, i, COUNT_REQUESTS_FAILED), 0);
        assert_int_equal(l->hosts[i].n->request_count, 0);
    }
    lab_free(l);
}

static void test_several_parties(void **state)
{
    struct lab *l = lab_new(15);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    l->limits.parties = 3;
    lab_party(l, 2);
    ask_ok(l, 0, "{\"cmd\":\"party-create\",\"name\":\"two\",\"mode\":\"tun\"}");
    const char *text = ask_fails(l, 0, "ambiguous", "{\"cmd\":\"invite\"}");
    assert_non_null(strstr(text, "lan"));
    assert_non_null(strstr(text, "two"));
    lab_invite(l, 0, ",\"party\":\"two\"", invite);
    ask_ok(l, 1, join_request(rq, invite));
    lab_run(l, SEC);
    /* One machine, one session, two parties. */
    assert_int_equal(l->hosts[0].n->peer_count, 1);
    assert_int_equal(counted(l, 0, COUNT_SESSIONS_UP), 1);
    ask_fails(l, 0, "ambiguous", "{\"cmd\":\"kick\",\"peer\":\"ben\"}");
    ask_ok(l, 0, "{\"cmd\":\"kick\",\"peer\":\"ben\",\"party\":\"lan\"}");
    lab_run(l, SEC);
    assert_int_equal(l->hosts[0].n->peer_count, 1);
    assert_true(peer_is(l, 0, "ben", "connected"));
    assert_int_equal(counted(l, 0, COUNT_SESSIONS_UP), 1);
    ask_ok(l, 0, "{\"cmd\":\"kick\",\"peer\":\"ben\",\"party\":\"two\"}");
    lab_run(l, SEC);
    assert_int_equal(l->hosts[0].n->peer_count, 0);
    ask_ok(l, 0, "{\"cmd\":\"party-create\",\"name\":\"three\"}");
    ask_fails(l, 0, "limit", "{\"cmd\":\"party-create\",\"name\":\"four\"}");
    lab_free(l);
}

static void test_the_disk_is_full(void **state)
{
    struct lab *l = lab_new(16);
    lab_party(l, 1);
    l->hosts[0].save_fails = true;
    const char *text = ask_fails(l, 0, "save_failed", "{\"cmd\":\"invite\"}");
    assert_non_null(strstr(text, "no space left"));
    assert_true(has_alert(l, 0, "save_failed"));
    unsigned before = l->hosts[0].saves;
    l->hosts[0].save_fails = false;
    lab_run(l, 40 * SEC); /* tried again by itself */
    assert_true(l->hosts[0].saves > before);
    host_kill(l, 0);
    host_up(l, 0, 0);
    assert_int_equal(party_seq(l->hosts[0].n->parties[0]->log), 2);
    lab_free(l);
}

static void test_asker_goes_away(void **state)
{
    struct lab *l = lab_new(17);
    lab_party(l, 1);
    node_request(l->hosts[0].n, 500, bytes_of_str("{\"cmd\":\"invite\"}"), l->now);
    node_request_gone(l->hosts[0].n, 500);
    node_request_gone(l->hosts[0].n, 501);
    lab_run(l, SEC);
    assert_int_equal(l->hosts[0].n->request_count, 0);
    assert_int_equal(party_seq(l->hosts[0].n->parties[0]->log), 2);
    /* Many at once are refused, not kept. */
    l->hosts[0].cut = true;
    host_disconnect(l, 0, "gone");
    for (uint32_t i = 0; i < REQUESTS_MAX; i++)
        node_request(l->hosts[0].n, 600 + i, bytes_of_str("{\"cmd\":\"invite\"}"), l->now);
    assert_int_equal(l->hosts[0].n->request_count, REQUESTS_MAX);
    ask_fails(l, 0, "busy", "{\"cmd\":\"invite\"}");
    lab_free(l);
}

static void test_saved_files_that_are_bad(void **state)
{
    struct lab *l = lab_new(18);
    lab_party(l, 2);
    host_kill(l, 0);
    struct lab_file *f = NULL;
    for (int i = 0; i < LAB_FILES; i++)
        if (strncmp(l->hosts[0].files[i].name, "party-", 6) == 0)
            f = &l->hosts[0].files[i];
    assert_non_null(f);
    struct node_config c = host_config(l, 0);
    size_t whole = f->bytes.n, loaded = 0;
    const char *why = NULL;
    /* Cut anywhere: a shorter log, which the hub will make whole, or nothing while this node is not in it. */
    for (size_t cut = 0; cut < whole; cut += cut < 32 ? 1 : 97) {
        f->bytes.n = cut;
        struct node *n = node_new(&c, l->now);
        int rc = node_load_party(n, f->name, l->now, &why);
        loaded += rc == 0;
        assert_int_equal(n->party_count, rc == 0);
        assert_true(rc == 0 || rc == -EBADMSG);
        assert_non_null(why);
        node_free(n);
    }
    assert_true(loaded > 100);
    f->bytes.n = whole;
    /* A bit flipped anywhere: what stands before is good. */
    loaded = 0;
    for (size_t at = 0; at < whole; at += at < 64 ? 1 : 211) {
        struct node *n = node_new(&c, l->now);
        f->bytes.p[at] ^= 0x10;
        if (node_load_party(n, f->name, l->now, &why) == 0) {
            loaded++;
            assert_true(party_seq(n->parties[0]->log) < 2);
        }
        f->bytes.p[at] ^= 0x10;
        node_free(n);
    }
    assert_true(loaded > 50);
    struct node *n = node_new(&c, l->now);
    char name[sizeof f->name];
    memcpy(name, f->name, sizeof name);
    assert_int_equal(node_load_party(n, name, l->now, &why), 0);
    assert_int_equal(party_seq(n->parties[0]->log), 2);
    assert_int_equal(node_load_party(n, name, l->now, &why), -EBADMSG); /* twice */
    node_free(n);
    n = node_new(&c, l->now);
    f->name[6] = f->name[6] == '0' ? '1' : '0'; /* another party's name */
    assert_int_equal(node_load_party(n, f->name, l->now, &why), -EBADMSG);
    assert_int_equal(node_load_party(n, "party-00", l->now, &why), -EBADMSG);
    node_free(n);
    lab_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_invite_join),
        cmocka_unit_test(test_invites_that_are_no_good),
        cmocka_unit_test(test_another_hub),
        cmocka_unit_test(test_no_hub_there),
        cmocka_unit_test(test_the_hub_comes_while_one_waits),
        cmocka_unit_test(test_no_device_no_use),
        cmocka_unit_test(test_without_devices),
        cmocka_unit_test(test_hub_restarts_during_join),
        cmocka_unit_test(test_hub_restarts_during_create_and_invite),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_leave_and_come_back),
        cmocka_unit_test(test_kick),
        cmocka_unit_test(test_roles_and_names),
        cmocka_unit_test(test_stale_heads),
        cmocka_unit_test(test_several_parties),
        cmocka_unit_test(test_the_disk_is_full),
        cmocka_unit_test(test_asker_goes_away),
        cmocka_unit_test(test_saved_files_that_are_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
