/* A hub that lies, forgets or hides, and members that find it out. */
#include "node/engine_harness.h"

static struct party *log_of(struct lab *l, int i)
{
    return l->hosts[i].n->parties[0]->log;
}

/* Hub 1 gets the party as host i has it, up to entry `last`. */
static void copy_log(struct lab *l, int i, uint64_t last)
{
    const struct party *p = log_of(l, i);
    const struct store *s = &l->store[1];
    struct entry *e = malloc(sizeof *e);
    uint8_t room[ENTRY_MAX];
    struct bytes entry;
    assert_int_equal(party_entry_read(p, 0, room, &entry), 0);
    assert_int_equal(s->ops->party_create(s->ctx, party_id(p), entry, LAB_UNIX), 0);
    for (uint64_t seq = 1; seq <= last; seq++) {
        struct store_invite made;
        assert_int_equal(party_entry_read(p, seq, room, &entry), 0);
        struct store_append a = {.party = party_id(p),
                                 .seq = seq,
                                 .hash = party_hash_at(p, seq),
                                 .entry = entry,
                                 .unix_s = LAB_UNIX};
        assert_int_equal(entry_read(e, a.entry), 0);
        if (e->type == ENTRY_INVITE) {
            made = (struct store_invite){.uses = e->u.invite.uses, .expires = e->u.invite.expires};
            node_id_of(made.id, &e->u.invite.key);
            a.invite = &made;
        }
        if (e->type == ENTRY_ADMIT && party_invite(p, e->author))
            a.redeem = e->author;
        assert_int_equal(s->ops->party_append(s->ctx, &a), 0);
    }
    free(e);
}

/* Every connection of host i is answered by that hub from now on, as if it had hub 0's name and key. */
static void move_host(struct lab *l, int i, int hub)
{
    host_disconnect(l, i, "connection reset");
    l->hosts[i].hub = hub;
}

static void old_backup(uint64_t missing)
{
    struct lab *l = lab_new(71);
    lab_party(l, 3);
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"name\":\"den\"}");
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"peer\":\"ben\",\"name\":\"benny\"}");
    lab_run(l, SEC);
    uint64_t head = party_seq(log_of(l, 0));
    copy_log(l, 0, head - missing);
    for (int i = 0; i < 3; i++)
        move_host(l, i, 1);
    lab_run(l, MINUTE);
    /* Nobody went back, somebody gave the hub its entries again, and people are told. */
    assert_int_equal(party_seq(log_of(l, 0)), head);
    assert_true(has_alert(l, 0, "hub_rollback") || has_alert(l, 1, "hub_rollback") ||
                has_alert(l, 2, "hub_rollback"));
    /* One does it; a second one may have begun before it saw that. */
    assert_in_range(counted(l, 0, COUNT_HEALED) + counted(l, 1, COUNT_HEALED) + counted(l, 2, COUNT_HEALED),
                    1, 2);
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"name\":\"fort\"}");
    lab_run(l, SEC);
    for (int i = 0; i < 3; i++)
        assert_int_equal(party_seq(log_of(l, i)), head + 1);
    send_frame(l, 0, 1, 0, 0x11, 50);
    lab_run(l, 100 * MSEC);
    assert_int_equal(frames_of(&l->hosts[1], 0x11), 1);
    assert_true(peer_is(l, 2, "benny", "connected"));
    lab_free(l);
}

static void test_hub_from_an_old_backup(void **state)
{
    for (uint64_t missing = 1; missing <= 3; missing++) /* with 3, the hub does not know one of the members */
        old_backup(missing);
}

/* The whole disk of the hub is lost: the creator brings the party back, the others' logins wait for that. */
static void test_hub_that_lost_everything(void **state)
{
    struct lab *l = lab_new(72);
    lab_party(l, 3);
    uint64_t head = party_seq(log_of(l, 0));
    for (int i = 1; i < 3; i++)
        move_host(l, i, 1);
    lab_run(l, 10 * SEC);
    assert_true(has_alert(l, 1, "hub_rollback"));
    assert_int_equal(party_seq(log_of(l, 1)), head);
    move_host(l, 0, 1);
    lab_run(l, 2 * MINUTE);
    assert_int_equal(counted(l, 0, COUNT_HEALED), 1);
    ask_ok(l, 0, "{\"cmd\":\"invite\"}");
    lab_run(l, SEC);
    for (int i = 0; i < 3; i++)
        assert_int_equal(party_seq(log_of(l, i)), head + 1);
    assert_true(peer_is(l, 1, "cleo", "connected"));
    lab_free(l);
}

/* Changes to messages of type log on their way to host 1. */
static bool (*change_log)(struct lab *l, struct signal *s);

static bool tamper_log(struct lab *l, int host, struct buf *m, bool binary)
{
    struct signal *s = malloc(sizeof *s);
    if (host != 1 || binary || signal_read(s, buf_bytes(m)) < 0) {
        free(s);
        return true;
    }
    bool keep = true;
    if (s->type == SIGNAL_LOG && s->u.log.op == LOG_OP_ENTRIES) {
        keep = change_log(l, s);
        buf_clear(m);
        assert_int_equal(signal_write(m, s), 0);
    } else if (s->type == SIGNAL_PRESENCE) {
        keep = false; /* a liar keeps quiet about heads, too */
    }
    signal_done(s);
    free(s);
    return keep;
}

static uint8_t forged[ENTRY_MAX];

static bool forge(struct lab *l, struct signal *s)
{
    if (s->u.log.count == 0 || s->u.log.seq == 0)
        return true;
    size_t n = s->u.log.entries[0].n;
    memcpy(forged, s->u.log.entries[0].p, n);
    forged[n - 1] ^= 1;
    s->u.log.entries[0].p = forged;
    l->counted++;
    return true;
}

static void test_forged_entry(void **state)
{
    struct lab *l = lab_new(73);
    lab_party(l, 2);
    uint64_t head = party_seq(log_of(l, 1));
    change_log = forge;
    l->tamper = tamper_log;
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"name\":\"den\"}");
    lab_run(l, SEC);
    assert_true(l->counted > 0);
    assert_int_equal(party_seq(log_of(l, 1)), head);
    assert_true(has_alert(l, 1, "hub_bad_entry"));
    assert_true(counted(l, 1, COUNT_ENTRIES_REFUSED) > 0);
    /* The member has the true one: it comes through the session. */
    lab_run(l, 10 * SEC);
    assert_int_equal(party_seq(log_of(l, 1)), head + 1);
    assert_true(has_alert(l, 1, "hub_withholds"));
    assert_string_equal(party_name(log_of(l, 1)), "den");
    lab_free(l);
}

static bool hide_from(struct lab *l, struct signal *s)
{
    uint64_t known = (uint64_t)l->counted;
    while (s->u.log.count > 0 && s->u.log.seq + s->u.log.count - 1 > known)
        s->u.log.count--;
    if (s->u.log.count == 0 && s->u.log.seq > known + 1)
        s->u.log.seq = known + 1;
    s->u.log.more = false;
    return true;
}

static bool say_nothing(struct lab *l, struct signal *s)
{
    return false;
}

/* The hub hides a removal: whoever was removed would still be talked to. */
static void test_hidden_removal(void **state)
{
    for (int way = 0; way < 2; way++) {
        struct lab *l = lab_new(74);
        lab_party(l, 3);
        l->counted = (int)party_seq(log_of(l, 1));
        change_log = way == 0 ? hide_from : say_nothing;
        l->tamper = tamper_log;
        assert_true(peer_is(l, 1, "cleo", "connected"));
        ask_ok(l, 0, "{\"cmd\":\"kick\",\"peer\":\"cleo\"}");
        lab_run(l, SEC);
        assert_non_null(status_peer(l, 1, "cleo"));
        lab_run(l, 5 * SEC);
        assert_null(status_peer(l, 1, "cleo"));
        assert_true(has_alert(l, 1, "hub_withholds"));
        assert_int_equal(counted(l, 1, COUNT_ENTRIES_FROM_PEERS), 1);
        assert_int_equal(l->hosts[1].n->peer_count, 1);
        lab_free(l);
    }
}

/* Many and large entries from a peer: admits have more than 12 kB and do not fit one message. */
static void test_hidden_admissions(void **state)
{
    struct lab *l = lab_new(75);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 2);
    l->counted = (int)party_seq(log_of(l, 1));
    change_log = hide_from;
    l->tamper = tamper_log;
    for (int i = 0; i < 12; i++)
        ask_ok(l, 0, "{\"cmd\":\"invite\"}");
    for (int i = 2; i < 6; i++) {
        lab_invite(l, 0, "", invite);
        host_up(l, i, -1);
        ask_ok(l, i, join_request(rq, invite));
    }
    lab_run(l, MINUTE);
    assert_int_equal(party_seq(log_of(l, 1)), party_seq(log_of(l, 0)));
    assert_int_equal(counted(l, 1, COUNT_ENTRIES_FROM_PEERS), 12 + 8);
    for (int i = 2; i < 6; i++)
        assert_true(peer_is(l, 1, l->hosts[i].name, "connected"));
    lab_free(l);
}

static void test_two_logs_by_two_hubs(void **state)
{
    struct lab *l = lab_new(76);
    lab_party(l, 3);
    ask_ok(l, 0, "{\"cmd\":\"role\",\"peer\":\"ben\",\"role\":\"admin\"}");
    lab_run(l, SEC);
    uint64_t head = party_seq(log_of(l, 0));
    copy_log(l, 0, head);
    move_host(l, 1, 1);
    lab_run(l, 5 * SEC);
    ask_ok(l, 0, "{\"cmd\":\"rename\",\"name\":\"left\"}");
    ask_ok(l, 1, "{\"cmd\":\"invite\"}");
    assert_int_equal(party_seq(log_of(l, 1)), head + 1);
    /* Back at the first hub, whose entry there is another one. */
    change_log = say_nothing;
    l->tamper = NULL;
    move_host(l, 1, 0);
    lab_run(l, 30 * SEC);
    assert_true(has_alert(l, 1, "log_fork"));
    assert_true(has_alert(l, 0, "log_fork"));
    assert_int_equal(party_seq(log_of(l, 1)), head + 1);
    assert_string_equal(party_name(log_of(l, 1)), "lan");
    assert_string_equal(party_name(log_of(l, 0)), "left");
    /* Cleo, too, is told by ben's head, and named who. */
    size_t at;
    json_t *a;
    bool named = false;
    char id[NODE_ID_TEXT_CAP];
    node_id_text(id, node_id(l->hosts[1].n));
    json_array_foreach(json_object_get(ask_ok(l, 2, "{\"cmd\":\"status\"}"), "alerts"), at, a) named |=
        strcmp(field(a, "source"), id) == 0 && strcmp(field(a, "code"), "log_fork") == 0;
    assert_true(named);
    /* An alert once is one alert. */
    lab_run(l, 5 * MINUTE);
    assert_true(l->hosts[2].n->alert_count <= 2);
    lab_free(l);
}

/* The fork is found by the heads in the sessions when the hub tells neither of the other's entries. */
static bool mute_logs(struct lab *l, int host, struct buf *m, bool binary)
{
    struct signal *s = malloc(sizeof *s);
    bool keep = true;
    if (!binary && signal_read(s, buf_bytes(m)) == 0) {
        keep = s->type != SIGNAL_PRESENCE &&
               !(s->type == SIGNAL_LOG && s->u.log.op == LOG_OP_ENTRIES && s->u.log.count > 0);
        signal_done(s);
    }
    free(s);
    return keep;
}

static void test_fork_found_in_the_session(void **state)
{
    struct lab *l = lab_new(77);
    lab_party(l, 2);
    ask_ok(l, 0, "{\"cmd\":\"role\",\"peer\":\"ben\",\"role\":\"admin\"}");
    lab_run(l, SEC);
    copy_log(l, 0, party_seq(log_of(l, 0)));
    move_host(l, 1, 1);
    lab_run(l, 5 * SEC);
    ask_ok(l, 0, "{\"cmd\":\"invite\"}");
    ask_ok(l, 1, "{\"cmd\":\"invite\"}");
    l->tamper = mute_logs;
    move_host(l, 1, 0);
    lab_run(l, 20 * SEC);
    assert_true(has_alert(l, 0, "log_fork"));
    assert_true(has_alert(l, 1, "log_fork"));
    lab_free(l);
}

static void test_parties_and_people_unknown(void **state)
{
    struct lab *l = lab_new(78);
    lab_party(l, 2);
    struct node *n = l->hosts[0].n;
    struct node_party *np = n->parties[0];
    /* Strangers at the door: remembered up to a bound, and nobody to talk to. */
    for (int i = 0; i < 1000; i++) {
        struct signal s = {.type = SIGNAL_PEER_JOINED};
        struct buf text;
        buf_init(&text, SIGNAL_MAX);
        memcpy(s.u.peer_joined.party, np->id, PARTY_ID_LEN);
        if (i % 3 == 0)
            s.u.peer_joined.party[0] ^= 1;
        rng_fill(&l->rng, s.u.peer_joined.peer.node, NODE_ID_LEN);
        s.u.peer_joined.peer.relay = (uint32_t)i + 1;
        assert_int_equal(signal_write(&text, &s), 0);
        node_hub_text(n, buf_bytes(&text), l->now);
        buf_done(&text);
    }
    assert_int_equal(np->stranger_count, STRANGERS_MAX);
    assert_int_equal(n->peer_count, 1);
    lab_run(l, SEC);
    assert_true(peer_is(l, 0, "ben", "connected"));
    lab_free(l);
}

/* Nobody who was removed while away gets back by asking the hub: it is shown the entry that removed it, and
 * closes its device. */
static void test_removed_while_away(void **state)
{
    struct lab *l = lab_new(79);
    lab_party(l, 2);
    host_kill(l, 1);
    ask_ok(l, 0, "{\"cmd\":\"kick\",\"peer\":\"ben\"}");
    host_up(l, 1, 0);
    lab_run(l, 2 * MINUTE);
    assert_int_equal(l->hosts[1].n->parties[0]->state, NP_REMOVED);
    assert_null(status_peer(l, 0, "ben"));
    assert_int_equal(counted(l, 0, COUNT_SESSIONS_UP), 1);
    assert_int_equal(l->hosts[1].n->alert_count, 0);
    ask_ok(l, 1, "{\"cmd\":\"party-leave\",\"force\":true}");
    lab_free(l);
}

/* Away while much happened: all of it is fetched, in several messages, and saved once, not for every message.
 */
static void test_catching_up(void **state)
{
    struct lab *l = lab_new(80);
    lab_party(l, 2);
    host_kill(l, 1);
    for (int i = 0; i < 40; i++)
        ask_ok(l, 0, "{\"cmd\":\"invite\"}");
    unsigned before = l->hosts[1].saves;
    host_up(l, 1, 0);
    lab_run(l, 2 * SEC);
    assert_int_equal(party_seq(log_of(l, 1)), party_seq(log_of(l, 0)));
    assert_in_range(l->hosts[1].saves - before, 1, 3); /* pieces of PARTY_PIECE_MAX */
    assert_int_equal(l->hosts[1].n->alert_count, 0);
    lab_free(l);
}

/* Entries and questions from a peer that wants to do harm. */
static void test_bad_messages_of_a_peer(void **state)
{
    struct lab *l = lab_new(81);
    lab_party(l, 2);
    struct node *ben = l->hosts[1].n, *anna = l->hosts[0].n;
    struct node_peer *to = peer_by_id(ben, node_id(anna));
    uint8_t bytes[6000];
    for (int type = 0; type < 10; type++) {
        for (size_t len = 0; len < sizeof bytes; len = len * 3 + 1) {
            rng_fill(&l->rng, bytes, len);
            if (len > PARTY_ID_LEN && len % 2)
                memcpy(bytes, anna->parties[0]->id, PARTY_ID_LEN);
            session_message(to->cur->s, (uint8_t)type, bytes_of(bytes, len), l->now);
            peer_touch(ben, to);
            lab_run(l, 10 * MSEC);
        }
    }
    assert_true(counted(l, 0, COUNT_PEER_BAD_MESSAGE) > 10);
    assert_int_equal(anna->alert_count, 0);
    /* A head that nobody has: asked for a while, then let be. */
    struct hs_head h;
    party_hs_head(log_of(l, 1), &h);
    h.seq += 5;
    h.hash[0] ^= 1;
    uint64_t before = counted(l, 1, COUNT_LOG_GETS_SERVED);
    for (int i = 0; i < 60; i++) {
        session_heads(to->cur->s, &h, 1, l->now);
        peer_touch(ben, to);
        lab_run(l, SEC);
    }
    assert_in_range(counted(l, 1, COUNT_LOG_GETS_SERVED) - before, 1, 40);
    assert_true(peer_is(l, 0, "ben", "connected"));
    lab_free(l);
}

static void test_log_gets_are_rated(void **state)
{
    struct lab *l = lab_new(82);
    lab_party(l, 2);
    struct node *ben = l->hosts[1].n;
    struct node_peer *to = peer_by_id(ben, node_id(l->hosts[0].n));
    for (int i = 0; i < 200; i++) {
        message_log_get(ben, to, ben->parties[0], l->now);
        peers_pump(ben, l->now);
    }
    lab_run(l, 50 * MSEC);
    assert_in_range(counted(l, 0, COUNT_LOG_GETS_SERVED), 8, 2 * LOG_GETS_PER_S + 1);
    lab_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hub_from_an_old_backup),
        cmocka_unit_test(test_hub_that_lost_everything),
        cmocka_unit_test(test_forged_entry),
        cmocka_unit_test(test_hidden_removal),
        cmocka_unit_test(test_hidden_admissions),
        cmocka_unit_test(test_two_logs_by_two_hubs),
        cmocka_unit_test(test_fork_found_in_the_session),
        cmocka_unit_test(test_parties_and_people_unknown),
        cmocka_unit_test(test_removed_while_away),
        cmocka_unit_test(test_catching_up),
        cmocka_unit_test(test_bad_messages_of_a_peer),
        cmocka_unit_test(test_log_gets_are_rated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
