#include "hub/hub_kit_int.h"

static void remove_entry(struct kit *k, int author, struct party *p, int who, struct buf *b)
{
    struct party_author a = kit_author(k, author);
    buf_clear(b);
    assert_int_equal(party_make_remove(b, p, &a, k->nodes[who].id), PARTY_OK);
}

static void a_joiner_gets_the_log_and_the_members(void **state)
{
    struct kit k;
    kit_init(&k, 1);
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    kit_hang_up(&k, 2);
    assert_false(kit_expect(&k, 0, SIGNAL_PEER_LEFT)->u.peer_left.removed);
    kit_expect(&k, 1, SIGNAL_PEER_LEFT);
    kit_login(&k, 2);
    kit_join_since(&k, 2, p, 0);
    struct signal *s = kit_expect(&k, 2, SIGNAL_LOG);
    assert_int_equal(s->u.log.op, LOG_OP_ENTRIES);
    assert_int_equal(s->u.log.seq, 0);
    assert_int_equal(s->u.log.count, party_seq(p) + 1);
    assert_false(s->u.log.more);
    for (size_t i = 0; i < s->u.log.count; i++)
        assert_true(bytes_equal(s->u.log.entries[i], party_entry(p, i)));
    s = kit_expect(&k, 2, SIGNAL_PEER_LIST);
    assert_int_equal(s->u.peer_list.count, 2);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(s->u.peer_list.peers[i].node, k.nodes[i].id, NODE_ID_LEN);
        assert_int_equal(s->u.peer_list.peers[i].relay, k.nodes[i].relay);
    }
    for (int i = 0; i < 2; i++) {
        s = kit_expect(&k, i, SIGNAL_PEER_JOINED);
        assert_memory_equal(s->u.peer_joined.peer.node, k.nodes[2].id, NODE_ID_LEN);
        assert_int_equal(s->u.peer_joined.peer.relay, k.nodes[2].relay);
        kit_expect_nothing(&k, i);
    }
    party_free(p);
    kit_done(&k);
}

static void a_long_log_comes_in_batches_and_in_order(void **state)
{
    struct kit k;
    struct buf b;
    kit_init(&k, 2);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    buf_init(&b, ENTRY_MAX);
    for (int i = 0; i < 20; i++) {
        char name[16];
        struct party_author a = kit_author(&k, 0);
        snprintf(name, sizeof name, "name %d", i);
        assert_int_equal(party_make_rename(&b, p, &a, k.nodes[0].id, name), PARTY_OK);
        kit_append(&k, 0, p, &b);
        kit_forget_all(&k);
    }
    kit_hang_up(&k, 1);
    kit_forget_all(&k);
    kit_login(&k, 1);
    k.nodes[1].stuck = true;
    kit_join_since(&k, 1, p, 1);
    /* An entry that is made while the log is on its way comes with the rest, once. */
    struct party_author a = kit_author(&k, 0);
    assert_int_equal(party_make_rename(&b, p, &a, k.nodes[0].id, "late"), PARTY_OK);
    kit_forget(&k, 0);
    kit_append(&k, 0, p, &b);
    kit_unstick(&k, 1);
    uint64_t next = 1;
    bool more = true;
    while (more) {
        struct signal *s = kit_expect(&k, 1, SIGNAL_LOG);
        assert_int_equal(s->u.log.seq, next);
        assert_true(s->u.log.count > 0);
        for (size_t i = 0; i < s->u.log.count; i++)
            assert_true(bytes_equal(s->u.log.entries[i], party_entry(p, next + i)));
        next += s->u.log.count;
        more = s->u.log.more;
    }
    assert_int_equal(next, party_seq(p) + 1);
    kit_expect(&k, 1, SIGNAL_PEER_LIST);
    kit_expect_nothing(&k, 1);
    buf_done(&b);
    party_free(p);
    kit_done(&k);
}

static void who_is_ahead_of_the_hub_learns_where_it_ends(void **state)
{
    struct kit k;
    kit_init(&k, 3);
    kit_start(&k);
    struct party *p = kit_world(&k, 1);
    kit_join_since(&k, 0, p, 900);
    struct signal *s = kit_expect(&k, 0, SIGNAL_LOG);
    assert_int_equal(s->u.log.seq, party_seq(p) + 1);
    assert_int_equal(s->u.log.count, 0);
    assert_false(s->u.log.more);
    party_free(p);
    kit_done(&k);
}

static void strangers_are_refused(void **state)
{
    struct kit k;
    kit_init(&k, 4);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    kit_login(&k, 5);
    kit_join_since(&k, 5, p, 0);
    kit_expect_error(&k, 5, "not_a_member");
    assert_true(k.got.u.error.has_party);
    assert_memory_equal(k.got.u.error.party, party_id(p), PARTY_ID_LEN);
    struct signal s = {.type = SIGNAL_JOIN};
    kit_say(&k, 5, &s);
    kit_expect_error(&k, 5, "unknown_party");
    s = (struct signal){.type = SIGNAL_LOG, .u.log.op = LOG_OP_GET};
    memcpy(s.u.log.party, party_id(p), PARTY_ID_LEN);
    kit_say(&k, 5, &s);
    kit_expect_error(&k, 5, "not_a_member");
    s = (struct signal){.type = SIGNAL_PRESENCE};
    memcpy(s.u.presence.party, party_id(p), PARTY_ID_LEN);
    kit_say(&k, 5, &s);
    kit_expect_error(&k, 5, "not_a_member");
    kit_send_entry(&k, 5, LOG_OP_APPEND, party_id(p), 4, party_entry(p, 1));
    kit_expect_error(&k, 5, "not_a_member");
    assert_int_equal(k.got.u.error.ref, 4);
    kit_expect_nothing(&k, 0);
    kit_expect_nothing(&k, 1);
    party_free(p);
    kit_done(&k);
}

static void an_invite_opens_the_log_and_nothing_else(void **state)
{
    struct kit k;
    struct buf b;
    uint8_t secret[32];
    kit_init(&k, 5);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    kit_invite(&k, 0, p, 2, secret);
    kit_forget_all(&k);
    kit_login(&k, 5);
    kit_join_by_invite(&k, 5, p, secret, 0);
    struct signal *s = kit_expect(&k, 5, SIGNAL_LOG);
    assert_int_equal(s->u.log.count, party_seq(p) + 1);
    kit_expect_nothing(&k, 5); /* no peer-list */
    kit_expect_nothing(&k, 0); /* nobody sees it */
    /* It may not speak to members, nor they to it, nor change the log but by admitting itself. */
    struct signal fwd = {.type = SIGNAL_SIGNAL, .has_to = true};
    memcpy(fwd.u.forward.party, party_id(p), PARTY_ID_LEN);
    memcpy(fwd.to, k.nodes[0].id, NODE_ID_LEN);
    fwd.u.forward.data = bytes_of_str("hello");
    kit_say(&k, 5, &fwd);
    kit_expect_error(&k, 5, "not_a_member");
    memcpy(fwd.to, k.nodes[5].id, NODE_ID_LEN);
    kit_say(&k, 0, &fwd);
    kit_expect_error(&k, 0, "not_a_member");
    buf_init(&b, ENTRY_MAX);
    struct party_author owner = kit_author(&k, 0);
    assert_int_equal(party_make_rename(&b, p, &owner, k.nodes[0].id, "x"), PARTY_OK);
    kit_send_entry(&k, 5, LOG_OP_APPEND, party_id(p), 1, buf_bytes(&b));
    kit_expect_error(&k, 5, party_verdict_name(PARTY_NOT_ALLOWED));
    /* Its own admit makes it a member: it is shown, and gets the list. */
    struct party_author a = kit_author(&k, 5);
    buf_clear(&b);
    assert_int_equal(party_make_join(&b, p, &a, secret, "five"), PARTY_OK);
    kit_append(&k, 5, p, &b);
    s = kit_expect(&k, 5, SIGNAL_LOG);
    assert_int_equal(s->u.log.seq, party_seq(p));
    assert_int_equal(s->u.log.count, 1);
    assert_int_equal(kit_expect(&k, 5, SIGNAL_PEER_LIST)->u.peer_list.count, 2);
    for (int i = 0; i < 2; i++) {
        s = kit_expect(&k, i, SIGNAL_LOG);
        assert_true(bytes_equal(s->u.log.entries[0], party_entry(p, party_seq(p))));
        s = kit_expect(&k, i, SIGNAL_PEER_JOINED);
        assert_memory_equal(s->u.peer_joined.peer.node, k.nodes[5].id, NODE_ID_LEN);
        assert_int_equal(s->u.peer_joined.peer.relay, k.nodes[5].relay);
    }
    buf_done(&b);
    party_free(p);
    kit_done(&k);
}

static void bad_invites_are_refused_by_name(void **state)
{
    struct kit k;
    uint8_t secret[32], other[32] = {1};
    kit_init(&k, 6);
    kit_start(&k);
    struct party *p = kit_world(&k, 1);
    kit_invite(&k, 0, p, 1, secret);
    kit_login(&k, 5);
    kit_join_by_invite(&k, 5, p, other, 0);
    kit_expect_error(&k, 5, party_verdict_name(PARTY_INVITE_UNKNOWN));
    /* The proof of another connection's challenge. */
    k.nodes[5].nonce[0] ^= 1;
    kit_join_by_invite(&k, 5, p, secret, 0);
    kit_expect_error(&k, 5, party_verdict_name(PARTY_BAD_SIGNATURE));
    k.nodes[5].nonce[0] ^= 1;
    for (int i = 0; i < 4000; i += 20) {
        kit_pass(&k, 20 * SEC);
        for (int n = 0; n < 6; n += 5)
            hub_alive(k.hub, k.nodes[n].conn, k.now);
        kit_forget_all(&k);
    }
    kit_join_by_invite(&k, 5, p, secret, 0);
    kit_expect_error(&k, 5, party_verdict_name(PARTY_INVITE_EXPIRED));
    assert_string_equal(k.got.u.error.message, party_verdict_text(PARTY_INVITE_EXPIRED));
    party_free(p);
    kit_done(&k);
}

/* Two hold the same single-use invite; both make their admit on the same head. */
static void one_use_admits_one(void **state)
{
    struct kit k;
    struct buf b[2];
    uint8_t secret[32];
    kit_init(&k, 7);
    kit_start(&k);
    struct party *p = kit_world(&k, 1);
    kit_invite(&k, 0, p, 1, secret);
    for (int i = 0; i < 2; i++) {
        struct party_author a = kit_author(&k, 5 + i);
        buf_init(&b[i], ENTRY_MAX);
        kit_login(&k, 5 + i);
        kit_join_by_invite(&k, 5 + i, p, secret, 0);
        kit_forget(&k, 5 + i);
        assert_int_equal(party_make_join(&b[i], p, &a, secret, "n"), PARTY_OK);
    }
    kit_append(&k, 5, p, &b[0]);
    kit_expect_error(&k, 6, party_verdict_name(PARTY_INVITE_USED_UP));
    assert_memory_equal(k.got.u.error.party, party_id(p), PARTY_ID_LEN);
    kit_send_entry(&k, 6, LOG_OP_APPEND, party_id(p), 3, buf_bytes(&b[1]));
    kit_expect_error(&k, 6, "not_a_member");
    assert_int_equal(k.got.u.error.ref, 3);
    kit_join_by_invite(&k, 6, p, secret, 0);
    kit_expect_error(&k, 6, party_verdict_name(PARTY_INVITE_USED_UP));
    buf_done(&b[0]);
    buf_done(&b[1]);
    party_free(p);
    kit_done(&k);
}

/* Two of three uses: the slower one makes its entry again on the new head. */
static void the_slower_of_two_joiners_tries_again(void **state)
{
    struct kit k;
    struct buf b[2];
    uint8_t secret[32];
    kit_init(&k, 21);
    kit_start(&k);
    struct party *p = kit_world(&k, 1);
    kit_invite(&k, 0, p, 3, secret);
    for (int i = 0; i < 2; i++) {
        struct party_author a = kit_author(&k, 5 + i);
        buf_init(&b[i], ENTRY_MAX);
        kit_login(&k, 5 + i);
        kit_join_by_invite(&k, 5 + i, p, secret, 0);
        kit_forget(&k, 5 + i);
        assert_int_equal(party_make_join(&b[i], p, &a, secret, "n"), PARTY_OK);
    }
    kit_append(&k, 5, p, &b[0]);
    kit_expect(&k, 6, SIGNAL_LOG);
    kit_send_entry(&k, 6, LOG_OP_APPEND, party_id(p), 3, buf_bytes(&b[1]));
    kit_expect_error(&k, 6, "stale_head");
    assert_int_equal(k.got.u.error.ref, 3);
    struct party_author a = kit_author(&k, 6);
    buf_clear(&b[1]);
    assert_int_equal(party_make_join(&b[1], p, &a, secret, "n"), PARTY_OK);
    kit_append(&k, 6, p, &b[1]);
    buf_done(&b[0]);
    buf_done(&b[1]);
    party_free(p);
    kit_done(&k);
}

/* What an invite has opened is closed with it: its holder neither hears nor asks more. */
static void an_invite_that_ends_ends_what_it_opened(void **state)
{
    for (int expires = 0; expires < 2; expires++) {
        struct kit k;
        struct buf b;
        uint8_t secret[32], id[INVITE_ID_LEN];
        kit_init(&k, 22);
        kit_start(&k);
        struct party *p = kit_world(&k, 1);
        kit_invite(&k, 0, p, 3, secret);
        kit_login(&k, 5);
        kit_join_by_invite(&k, 5, p, secret, 0);
        kit_forget_all(&k);
        if (expires) {
            for (int i = 0; i < 4000; i += 20) {
                kit_pass(&k, 20 * SEC);
                hub_alive(k.hub, k.nodes[0].conn, k.now);
                hub_alive(k.hub, k.nodes[5].conn, k.now);
                kit_forget_all(&k);
            }
            struct signal get = {.type = SIGNAL_LOG, .u.log.op = LOG_OP_GET};
            memcpy(get.u.log.party, party_id(p), PARTY_ID_LEN);
            kit_say(&k, 5, &get);
            kit_expect_error(&k, 5, party_verdict_name(PARTY_INVITE_EXPIRED));
        }
        buf_init(&b, ENTRY_MAX);
        struct party_author a = kit_author(&k, 0);
        party_invite_id(id, secret);
        assert_int_equal(party_make_revoke(&b, p, &a, id), PARTY_OK);
        kit_append(&k, 0, p, &b);
        if (!expires)
            kit_expect_error(&k, 5, party_verdict_name(PARTY_INVITE_REVOKED));
        kit_expect_nothing(&k, 5);
        kit_forget_all(&k);
        a = kit_author(&k, 0);
        buf_clear(&b);
        assert_int_equal(party_make_rename(&b, p, &a, k.nodes[0].id, "secret"), PARTY_OK);
        kit_append(&k, 0, p, &b);
        kit_expect_nothing(&k, 5);
        buf_done(&b);
        party_free(p);
        kit_done(&k);
    }
}

static void an_append_that_was_heard_is_acknowledged_again(void **state)
{
    struct kit k;
    struct buf b;
    kit_init(&k, 8);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    struct party_author a = kit_author(&k, 0);
    buf_init(&b, ENTRY_MAX);
    assert_int_equal(party_make_rename(&b, p, &a, k.nodes[0].id, "again"), PARTY_OK);
    for (int i = 0; i < 2; i++) {
        kit_send_entry(&k, 0, LOG_OP_APPEND, party_id(p), 5, buf_bytes(&b));
        struct signal *s = kit_expect(&k, 0, SIGNAL_LOG);
        assert_int_equal(s->u.log.op, LOG_OP_ACK);
        assert_int_equal(s->u.log.seq, party_seq(p) + 1);
        if (i == 0)
            kit_expect(&k, 0, SIGNAL_LOG);
    }
    kit_expect(&k, 1, SIGNAL_LOG);
    kit_expect_nothing(&k, 1);
    /* The genesis, too. */
    kit_send_entry(&k, 0, LOG_OP_CREATE, NULL, 6, party_entry(p, 0));
    assert_int_equal(kit_expect(&k, 0, SIGNAL_LOG)->u.log.op, LOG_OP_ACK);
    /* But not by somebody else. */
    kit_send_entry(&k, 1, LOG_OP_CREATE, NULL, 6, party_entry(p, 0));
    kit_expect_error(&k, 1, party_verdict_name(PARTY_NOT_ALLOWED));
    buf_done(&b);
    party_free(p);
    kit_done(&k);
}

static void spoilt_entries_are_refused_by_name(void **state)
{
    struct kit k;
    struct buf b;
    kit_init(&k, 9);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    struct party_author a = kit_author(&k, 1);
    buf_init(&b, ENTRY_MAX);
    kit_send_entry(&k, 1, LOG_OP_APPEND, party_id(p), 1, bytes_of_str("rubbish"));
    kit_expect_error(&k, 1, party_verdict_name(PARTY_MALFORMED));
    assert_int_equal(party_make_rename(&b, p, &a, k.nodes[1].id, "me"), PARTY_OK);
    b.p[b.n - 1] ^= 1;
    kit_send_entry(&k, 1, LOG_OP_APPEND, party_id(p), 2, buf_bytes(&b));
    kit_expect_error(&k, 1, party_verdict_name(PARTY_BAD_SIGNATURE));
    kit_expect_nothing(&k, 0);
    struct hub_stats st;
    hub_stats(k.hub, &st);
    assert_int_equal(st.refused, 2);
    buf_done(&b);
    party_free(p);
    kit_done(&k);
}

/* What a removed node gets when it asks: the log from `since` to the entry that removed it, and the refusal behind it. */
static void expect_removal_shown(struct kit *k, int i, uint64_t since, uint64_t removal)
{
    bool more = true;
    while (more) {
        struct signal *s = kit_expect(k, i, SIGNAL_LOG);
        assert_int_equal(s->u.log.op, LOG_OP_ENTRIES);
        assert_int_equal(s->u.log.seq, since);
        since += s->u.log.count;
        more = s->u.log.more;
    }
    assert_int_equal(since, removal + 1);
    kit_expect_error(k, i, party_verdict_name(PARTY_WAS_REMOVED));
    assert_string_equal(k->got.u.error.message, party_verdict_text(PARTY_WAS_REMOVED));
    kit_expect_nothing(k, i);
}

static void the_removed_are_out_at_once(void **state)
{
    struct kit k;
    struct buf b;
    uint8_t secret[32];
    kit_init(&k, 10);
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    kit_invite(&k, 0, p, 5, secret);
    kit_forget_all(&k);
    buf_init(&b, ENTRY_MAX);
    remove_entry(&k, 0, p, 2, &b);
    kit_append(&k, 0, p, &b);
    for (int i = 0; i < 3; i++) {
        kit_expect(&k, i, SIGNAL_LOG);
        struct signal *s = kit_expect(&k, i, SIGNAL_PEER_LEFT);
        assert_true(s->u.peer_left.removed);
        assert_memory_equal(s->u.peer_left.node, k.nodes[2].id, NODE_ID_LEN);
        kit_expect_nothing(&k, i);
    }
    /* No more relay, in either direction. */
    struct relay_frame f = {.kind = RELAY_DATA, .peer = k.nodes[0].relay, .payload = bytes_of_str("x")};
    uint8_t raw[64];
    struct wr w = wr_of(raw, sizeof raw);
    relay_frame_write(&w, &f);
    hub_binary(k.hub, k.nodes[2].conn, wr_done(&w), k.now);
    relay_header_write(raw, RELAY_DATA, k.nodes[2].relay, 1);
    hub_binary(k.hub, k.nodes[0].conn, wr_done(&w), k.now);
    kit_pump(&k);
    for (int i = 0; i < 3; i += 2) {
        struct buf got;
        bool binary;
        assert_true(kit_next(&k, i, &got, &binary));
        assert_true(binary);
        assert_int_equal(got.n, RELAY_HEADER_LEN);
        assert_int_equal(got.p[0], RELAY_GONE);
        buf_done(&got);
        kit_expect_nothing(&k, i);
    }
    /* It does not come back: not as a member, not by an invite. */
    uint64_t removal = party_seq(p);
    kit_invite(&k, 0, p, 5, secret); /* of what comes after its removal it hears nothing */
    kit_forget_all(&k);
    kit_join_since(&k, 2, p, 0);
    expect_removal_shown(&k, 2, 0, removal);
    kit_join_since(&k, 2, p, removal);
    expect_removal_shown(&k, 2, removal, removal);
    kit_join_by_invite(&k, 2, p, secret, 0);
    expect_removal_shown(&k, 2, 0, removal);
    kit_join_since(&k, 2, p, removal + 1);
    kit_expect_error(&k, 2, party_verdict_name(PARTY_WAS_REMOVED));
    kit_expect_nothing(&k, 0);
    buf_done(&b);
    party_free(p);
    kit_done(&k);
}

static void presence_goes_round_and_into_the_list(void **state)
{
    struct kit k;
    kit_init(&k, 11);
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    struct signal s = {.type = SIGNAL_PRESENCE, .has_from = true};
    memcpy(s.from, k.nodes[1].id, NODE_ID_LEN); /* a lie that the hub overwrites */
    memcpy(s.u.presence.party, party_id(p), PARTY_ID_LEN);
    memcpy(s.u.presence.head, party_head(p), ENTRY_HASH_LEN);
    s.u.presence.seq = party_seq(p);
    kit_say(&k, 0, &s);
    kit_say(&k, 0, &s); /* no news: not carried */
    for (int i = 1; i < 3; i++) {
        struct signal *got = kit_expect(&k, i, SIGNAL_PRESENCE);
        assert_true(got->has_from);
        assert_memory_equal(got->from, k.nodes[0].id, NODE_ID_LEN);
        assert_int_equal(got->u.presence.seq, party_seq(p));
        kit_expect_nothing(&k, i);
    }
    kit_expect_nothing(&k, 0);
    kit_join_since(&k, 2, p, party_seq(p) + 1);
    kit_expect(&k, 2, SIGNAL_LOG);
    struct signal *got = kit_expect(&k, 2, SIGNAL_PEER_LIST);
    assert_int_equal(got->u.peer_list.count, 2);
    assert_memory_equal(got->u.peer_list.peers[0].node, k.nodes[0].id, NODE_ID_LEN);
    assert_memory_equal(got->u.peer_list.peers[0].head, party_head(p), ENTRY_HASH_LEN);
    assert_int_equal(got->u.peer_list.peers[0].seq, party_seq(p));
    kit_expect_nothing(&k, 1); /* joining again is not news to others */
    party_free(p);
    kit_done(&k);
}

static void messages_between_members_are_stamped(void **state)
{
    static const enum signal_type types[] = {SIGNAL_SIGNAL, SIGNAL_OFFER, SIGNAL_ANSWER,
                                             SIGNAL_ICE_CANDIDATE};
    struct kit k;
    kit_init(&k, 12);
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    struct signal s = {.has_to = true, .has_from = true};
    memcpy(s.u.forward.party, party_id(p), PARTY_ID_LEN);
    memcpy(s.from, k.nodes[2].id, NODE_ID_LEN);
    s.u.forward.data = bytes_of_str("sealed");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        s.type = types[i];
        memcpy(s.to, k.nodes[1].id, NODE_ID_LEN);
        kit_say(&k, 0, &s);
        struct signal *got = kit_expect(&k, 1, types[i]);
        assert_memory_equal(got->from, k.nodes[0].id, NODE_ID_LEN);
        assert_memory_equal(got->to, k.nodes[1].id, NODE_ID_LEN);
        assert_true(bytes_equal(got->u.forward.data, bytes_of_str("sealed")));
        kit_expect_nothing(&k, 2);
    }
    kit_hang_up(&k, 1);
    kit_forget_all(&k);
    kit_say(&k, 0, &s);
    kit_expect_error(&k, 0, "target_offline");
    assert_memory_equal(k.got.from, k.nodes[1].id, NODE_ID_LEN);
    memcpy(s.to, k.nodes[7].id, NODE_ID_LEN);
    kit_say(&k, 0, &s);
    kit_expect_error(&k, 0, "not_a_member");
    s.has_to = false;
    kit_say(&k, 0, &s);
    kit_expect_error(&k, 0, "bad_message");
    party_free(p);
    kit_done(&k);
}

static void who_leaves_is_gone_for_the_others(void **state)
{
    struct kit k;
    kit_init(&k, 13);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    struct signal s = {.type = SIGNAL_LEAVE};
    memcpy(s.u.leave.party, party_id(p), PARTY_ID_LEN);
    kit_say(&k, 1, &s);
    struct signal *got = kit_expect(&k, 0, SIGNAL_PEER_LEFT);
    assert_memory_equal(got->u.peer_left.node, k.nodes[1].id, NODE_ID_LEN);
    assert_false(got->u.peer_left.removed);
    kit_expect_nothing(&k, 1);
    party_free(p);
    kit_done(&k);
}

static void logs_outlive_the_hub_and_the_cache(void **state)
{
    struct kit k;
    kit_init(&k, 14);
    k.limits.parties_cached = 1;
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    kit_hang_up(&k, 0);
    kit_hang_up(&k, 1);
    kit_login(&k, 3);
    party_free(kit_party(&k, 3)); /* pushes the first out of memory */
    party_free(kit_party(&k, 3));
    kit_forget_all(&k);
    kit_login(&k, 0);
    kit_join(&k, 0, p);
    hub_free(k.hub);
    kit_start(&k);
    kit_login(&k, 1);
    kit_join_since(&k, 1, p, 0);
    struct signal *s = kit_expect(&k, 1, SIGNAL_LOG);
    assert_int_equal(s->u.log.count, party_seq(p) + 1);
    struct hub_stats st;
    hub_stats(k.hub, &st);
    assert_int_equal(st.parties, 3);
    assert_int_equal(st.devices, 3);
    party_free(p);
    kit_done(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_joiner_gets_the_log_and_the_members),
        cmocka_unit_test(a_long_log_comes_in_batches_and_in_order),
        cmocka_unit_test(who_is_ahead_of_the_hub_learns_where_it_ends),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(an_invite_opens_the_log_and_nothing_else),
        cmocka_unit_test(bad_invites_are_refused_by_name),
        cmocka_unit_test(one_use_admits_one),
        cmocka_unit_test(the_slower_of_two_joiners_tries_again),
        cmocka_unit_test(an_invite_that_ends_ends_what_it_opened),
        cmocka_unit_test(an_append_that_was_heard_is_acknowledged_again),
        cmocka_unit_test(spoilt_entries_are_refused_by_name),
        cmocka_unit_test(the_removed_are_out_at_once),
        cmocka_unit_test(presence_goes_round_and_into_the_list),
        cmocka_unit_test(messages_between_members_are_stamped),
        cmocka_unit_test(who_leaves_is_gone_for_the_others),
        cmocka_unit_test(logs_outlive_the_hub_and_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
