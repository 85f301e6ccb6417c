#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "party/party_kit_int.h"

#include <errno.h>

static struct kit kit;

static void is(enum party_verdict got, enum party_verdict want)
{
    if (got != want)
        fail_msg("%s, not %s", party_verdict_name(got), party_verdict_name(want));
}

static void genesis_state(void **state)
{
    struct buf b;
    enum party_verdict v;
    uint8_t hash[32];
    struct entry e;
    buf_init(&b, ENTRY_MAX);
    struct party_author a = kit_author(&kit, OWNER, KIT_TIME);
    struct party_genesis_args args = {"LAN party", "anna", MODE_TUN, 0xc0a80000};
    assert_int_equal(party_make_genesis(&b, &a, &args), 0);
    struct party *p = party_open(buf_bytes(&b), KIT_TIME, &v);
    is(v, PARTY_OK);
    assert_int_equal(entry_read(&e, buf_bytes(&b)), 0);
    entry_hash(hash, &e);
    assert_memory_equal(party_id(p), hash, 32);
    assert_memory_equal(party_head(p), hash, 32);
    assert_int_equal(party_tag(p), (uint32_t)hash[0] << 24 | hash[1] << 16 | hash[2] << 8 | hash[3]);
    assert_string_equal(party_name(p), "LAN party");
    assert_int_equal(party_mode(p), MODE_TUN);
    assert_int_equal(party_net4(p), 0xc0a80000);
    assert_int_equal(party_net6(p)[0], 0xfd);
    assert_int_equal(party_seq(p), 0);
    assert_false(party_policy(p)->allow_dhcp);
    assert_int_equal(party_policy(p)->broadcast_pps, 200);
    assert_int_equal(party_policy(p)->ciphers, 3);
    assert_true(bytes_equal(party_entry(p, 0), buf_bytes(&b)));
    assert_int_equal(party_entry(p, 1).n, 0);
    assert_null(party_hash_at(p, 1));
    assert_int_equal(party_member_count(p), 1);
    const struct party_member *m = party_member_at(p, 0);
    assert_null(party_member_at(p, 1));
    assert_memory_equal(m->id, kit.ids[OWNER], 32);
    assert_string_equal(m->name, "anna");
    assert_int_equal(m->role, ROLE_OWNER);
    assert_int_equal(m->since, KIT_TIME);
    assert_int_equal(m->ip4, 0xc0a80000 | party_address(NULL, e.u.genesis.salt, kit.ids[OWNER]));
    struct sign_public key;
    assert_int_equal(party_key(p, kit.ids[OWNER], &key), 0);
    assert_memory_equal(&key, sign_key_public(kit.keys[OWNER]), sizeof key);
    assert_int_equal(party_key(p, kit.ids[OUT], &key), -ENOENT);
    party_free(p);
    buf_done(&b);
}

static void world_state(void **state)
{
    struct party *p = kit_world(&kit);
    static const int in[] = {OWNER, OWNER2, ADMIN, ADMIN2, MEMBER, MEMBER2, GUEST, GUEST2};
    static const uint8_t roles[] = {4, 4, 3, 3, 2, 2, 1, 1};
    assert_int_equal(party_member_count(p), 8);
    for (size_t i = 0; i < 8; i++) {
        const struct party_member *m = party_member_at(p, i);
        assert_memory_equal(m->id, kit.ids[in[i]], 32);
        assert_int_equal(m->role, roles[i]);
        assert_ptr_equal(party_member(p, m->id), m);
        assert_ptr_equal(party_member_by_ip4(p, m->ip4), m);
        assert_ptr_equal(party_member_by_ip6(p, m->ip6), m);
        assert_ptr_equal(party_member_by_mac(p, m->mac), m);
    }
    assert_null(party_member(p, kit.ids[GONE]));
    assert_true(party_was_removed(p, kit.ids[GONE]));
    assert_false(party_was_removed(p, kit.ids[OUT]));
    assert_false(party_was_removed(p, kit.ids[GUEST]));
    assert_int_equal(party_invite_count(p), 1);
    const struct party_invite *i = party_invite_at(p, 0);
    assert_null(party_invite_at(p, 1));
    assert_ptr_equal(party_invite(p, kit.invite), i);
    assert_memory_equal(i->author, kit.ids[OWNER], 32);
    assert_int_equal(i->uses, 3);
    assert_int_equal(i->used, 0);
    assert_int_equal(party_seq(p), 11);
    struct hs_head h;
    party_hs_head(p, &h);
    assert_memory_equal(h.party, party_id(p), 32);
    assert_memory_equal(h.hash, party_head(p), 32);
    assert_int_equal(h.seq, 11);
    party_free(p);
}

static enum party_verdict join(struct party *p, int who, const uint8_t secret[32], uint64_t now)
{
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    struct party_author a = kit_author(&kit, who, now);
    enum party_verdict v = party_make_join(&b, p, &a, secret, "newcomer");
    if (v == PARTY_OK)
        v = party_append(p, buf_bytes(&b), a.now_unix_s);
    buf_done(&b);
    return v;
}

static void invites_live_and_die(void **state)
{
    struct party *p = kit_open(&kit);
    uint8_t two[32], late[32], dead[32], id[32];
    kit_invite(&kit, p, 2, 100, ROLE_GUEST, two);
    kit_invite(&kit, p, 9, 50, ROLE_MEMBER, late);
    kit_invite(&kit, p, 9, 9999, ROLE_MEMBER, dead);
    uint64_t now = KIT_TIME + 10;
    is(join(p, GUEST, two, now), PARTY_OK);
    party_invite_id(id, two);
    assert_int_equal(party_invite(p, id)->used, 1);
    const struct party_member *m = party_member(p, kit.ids[GUEST]);
    assert_int_equal(m->role, ROLE_GUEST);
    assert_memory_equal(m->invite, id, 32);
    assert_string_equal(m->name, "newcomer");
    assert_int_equal(m->since, now);
    is(join(p, GUEST, two, now), PARTY_ALREADY_MEMBER);
    is(party_invite_state(p, id, now), PARTY_OK);
    is(join(p, GUEST2, two, now), PARTY_OK);
    is(party_invite_state(p, id, now), PARTY_INVITE_USED_UP);
    is(join(p, MEMBER, two, now), PARTY_INVITE_USED_UP);
    /* A departure gives no use back. */
    kit_remove(&kit, p, GUEST2, GUEST2);
    is(join(p, GUEST2, two, now), PARTY_INVITE_USED_UP);
    party_invite_id(id, late);
    is(party_invite_state(p, id, KIT_TIME + 52), PARTY_OK);
    is(party_invite_state(p, id, KIT_TIME + 53), PARTY_INVITE_EXPIRED);
    is(join(p, MEMBER, late, KIT_TIME + 53), PARTY_INVITE_EXPIRED);
    is(join(p, MEMBER, late, KIT_TIME + 52), PARTY_OK);
    struct entry e = kit_next(&kit, p, ENTRY_REVOKE_INVITE, OWNER);
    party_invite_id(e.u.revoke.invite, dead);
    is(join(p, MEMBER2, dead, now), PARTY_OK);
    e = kit_next(&kit, p, ENTRY_REVOKE_INVITE, OWNER);
    party_invite_id(e.u.revoke.invite, dead);
    is(kit_append(&kit, p, &e, kit.keys[OWNER], 0), PARTY_OK);
    is(join(p, OUT, dead, now), PARTY_INVITE_REVOKED);
    is(party_invite_state(p, e.u.revoke.invite, 0), PARTY_INVITE_REVOKED);
    struct entry again = kit_next(&kit, p, ENTRY_REVOKE_INVITE, OWNER);
    party_invite_id(again.u.revoke.invite, dead);
    is(kit_append(&kit, p, &again, kit.keys[OWNER], 0), PARTY_INVITE_REVOKED);
    /* Who came by a revoked invite stays. */
    assert_non_null(party_member(p, kit.ids[MEMBER2]));
    id[0] ^= 1;
    is(party_invite_state(p, id, now), PARTY_INVITE_UNKNOWN);
    /* Without a clock the head's time counts. */
    party_invite_id(id, late);
    e = kit_next(&kit, p, ENTRY_POLICY, OWNER);
    e.u.policy = *party_policy(p);
    e.time = KIT_TIME + 100;
    is(kit_append(&kit, p, &e, kit.keys[OWNER], 0), PARTY_OK);
    is(party_invite_state(p, id, 0), PARTY_INVITE_EXPIRED);
    party_free(p);
}

/* Leaving and being removed, and the two ways back. */
static void departures(void **state)
{
    struct party *p = kit_world(&kit);
    uint64_t now = p->time;
    uint32_t ip4 = party_member(p, kit.ids[MEMBER])->ip4;
    kit_remove(&kit, p, MEMBER, MEMBER);
    assert_null(party_member(p, kit.ids[MEMBER]));
    assert_null(party_member_by_ip4(p, ip4));
    assert_false(party_was_removed(p, kit.ids[MEMBER]));
    is(join(p, MEMBER, kit.secret, now), PARTY_OK);
    assert_int_equal(party_member(p, kit.ids[MEMBER])->ip4, ip4);
    assert_memory_equal(party_member_at(p, 7)->id, kit.ids[MEMBER], 32);
    kit_remove(&kit, p, MEMBER, ADMIN);
    assert_true(party_was_removed(p, kit.ids[MEMBER]));
    is(join(p, MEMBER, kit.secret, now), PARTY_WAS_REMOVED);
    kit_admit(&kit, p, MEMBER, ROLE_GUEST);
    assert_false(party_was_removed(p, kit.ids[MEMBER]));
    assert_int_equal(party_member(p, kit.ids[MEMBER])->role, ROLE_GUEST);
    kit_remove(&kit, p, MEMBER, MEMBER);
    is(join(p, MEMBER, kit.secret, now), PARTY_OK);
    party_free(p);
}

/* What an owner or admin has let in stops being good when it stops being one. */
static void invites_fall_with_their_author(void **state)
{
    static const struct {
        int type;
        bool falls;
        enum party_role role;
        bool by_itself;
    } rows[] = {
        {ENTRY_REMOVE, true, 0, false},         {ENTRY_REMOVE, true, 0, true},
        {ENTRY_ROLE, true, ROLE_MEMBER, false}, {ENTRY_ROLE, true, ROLE_GUEST, false},
        {ENTRY_ROLE, false, ROLE_OWNER, false}, {ENTRY_ROLE, false, ROLE_ADMIN, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct party *p = kit_world(&kit);
        struct buf b;
        uint8_t secret[32], id[32];
        buf_init(&b, ENTRY_MAX);
        struct party_author a = kit_author(&kit, ADMIN, p->time);
        is(party_make_invite(&b, p, &a, 5, p->time + 1000, ROLE_GUEST, secret), PARTY_OK);
        is(party_append(p, buf_bytes(&b), 0), PARTY_OK);
        party_invite_id(id, secret);
        is(party_invite_state(p, id, 0), PARTY_OK);
        if (rows[i].type == ENTRY_REMOVE)
            kit_remove(&kit, p, ADMIN, rows[i].by_itself ? ADMIN : OWNER);
        else
            kit_role(&kit, p, ADMIN, (uint8_t)rows[i].role);
        is(party_invite_state(p, id, 0), rows[i].falls ? PARTY_INVITE_REVOKED : PARTY_OK);
        is(join(p, OUT, secret, p->time), rows[i].falls ? PARTY_INVITE_REVOKED : PARTY_OK);
        is(party_invite_state(p, kit.invite, 0), PARTY_OK);
        buf_done(&b);
        party_free(p);
    }
}

static void the_last_owner(void **state)
{
    struct party *p = kit_open(&kit);
    struct entry leave = kit_next(&kit, p, ENTRY_REMOVE, OWNER), down = kit_next(&kit, p, ENTRY_ROLE, OWNER);
    memcpy(leave.u.remove.node, kit.ids[OWNER], 32);
    memcpy(down.u.role.node, kit.ids[OWNER], 32);
    down.u.role.role = ROLE_ADMIN;
    /* Alone: may go, may not be nothing. */
    is(kit_judge(&kit, p, &leave, kit.keys[OWNER], 0), PARTY_OK);
    is(kit_judge(&kit, p, &down, kit.keys[OWNER], 0), PARTY_LAST_OWNER);
    kit_admit(&kit, p, GUEST, ROLE_GUEST);
    struct entry n = kit_next(&kit, p, ENTRY_REMOVE, OWNER);
    memcpy(n.u.remove.node, kit.ids[OWNER], 32);
    is(kit_judge(&kit, p, &n, kit.keys[OWNER], 0), PARTY_LAST_OWNER);
    kit_role(&kit, p, GUEST, ROLE_OWNER);
    n = kit_next(&kit, p, ENTRY_ROLE, OWNER);
    memcpy(n.u.role.node, kit.ids[OWNER], 32);
    n.u.role.role = ROLE_GUEST;
    is(kit_append(&kit, p, &n, kit.keys[OWNER], 0), PARTY_OK);
    n = kit_next(&kit, p, ENTRY_REMOVE, GUEST);
    memcpy(n.u.remove.node, kit.ids[GUEST], 32);
    is(kit_judge(&kit, p, &n, kit.keys[GUEST], 0), PARTY_LAST_OWNER);
    kit_remove(&kit, p, OWNER, OWNER);
    kit_remove(&kit, p, GUEST, GUEST);
    assert_int_equal(party_member_count(p), 0);
    /* And nothing can come after that. */
    n = kit_next(&kit, p, ENTRY_ADMIT, GUEST);
    kit_fill_admit(&kit, p, &n, OUT, ROLE_MEMBER);
    is(kit_judge(&kit, p, &n, kit.keys[GUEST], 0), PARTY_INVITE_UNKNOWN);
    party_free(p);
}

static void changes_take_effect(void **state)
{
    struct party *p = kit_world(&kit);
    struct entry e = kit_next(&kit, p, ENTRY_RENAME, GUEST);
    memcpy(e.u.rename.node, kit.ids[GUEST], 32);
    memcpy(e.u.rename.name, "new name", 9);
    is(kit_append(&kit, p, &e, kit.keys[GUEST], 0), PARTY_OK);
    assert_string_equal(party_member(p, kit.ids[GUEST])->name, "new name");
    e = kit_next(&kit, p, ENTRY_RENAME, ADMIN);
    memcpy(e.u.rename.name, "Saturday", 9);
    is(kit_append(&kit, p, &e, kit.keys[ADMIN], 0), PARTY_OK);
    assert_string_equal(party_name(p), "Saturday");
    e = kit_next(&kit, p, ENTRY_POLICY, OWNER2);
    e.u.policy = (struct party_policy){true, 77, 2};
    is(kit_append(&kit, p, &e, kit.keys[OWNER2], 0), PARTY_OK);
    assert_true(party_policy(p)->allow_dhcp);
    assert_int_equal(party_policy(p)->broadcast_pps, 77);
    assert_int_equal(party_policy(p)->ciphers, 2);
    is(kit_append(&kit, p, &e, kit.keys[OWNER2], 0), PARTY_KNOWN);
    party_free(p);
}

/* At the limit the oldest closed invite is forgotten; open ones stay and bar the way. */
static void invites_are_bounded(void **state)
{
    struct party *p = kit_open(&kit);
    uint8_t secret[32], first[32], second[32], open_one[32];
    kit_invite(&kit, p, 1, 100000, ROLE_GUEST, open_one);
    kit_invite(&kit, p, 1, 100000, ROLE_GUEST, first);
    kit_invite(&kit, p, 1, 100000, ROLE_GUEST, second);
    is(join(p, GUEST, first, p->time), PARTY_OK);
    while (party_invite_count(p) < PARTY_INVITES_MAX)
        kit_invite(&kit, p, 1, 100000, ROLE_GUEST, secret);
    is(join(p, GUEST2, first, p->time), PARTY_INVITE_USED_UP);
    kit_invite(&kit, p, 1, 100000, ROLE_GUEST, secret);
    assert_int_equal(party_invite_count(p), PARTY_INVITES_MAX);
    is(join(p, GUEST2, first, p->time), PARTY_INVITE_UNKNOWN);
    struct entry e = kit_next(&kit, p, ENTRY_INVITE, OWNER);
    memset(secret, 77, 32);
    struct sign_key *key = kit_invite_key(secret);
    e.u.invite = (struct entry_invite){*sign_key_public(key), 1, e.time + 9, ROLE_GUEST};
    is(kit_append(&kit, p, &e, kit.keys[OWNER], 0), PARTY_FULL);
    /* Expiry by the new entry's own time makes room. */
    e.time = KIT_TIME + 100000 + 4;
    e.u.invite.expires = e.time + 9;
    is(kit_append(&kit, p, &e, kit.keys[OWNER], 0), PARTY_OK);
    assert_int_equal(party_invite_count(p), PARTY_INVITES_MAX);
    uint8_t id[32];
    party_invite_id(id, open_one);
    is(party_invite_state(p, id, 0), PARTY_INVITE_UNKNOWN);
    party_invite_id(id, second);
    is(party_invite_state(p, id, 0), PARTY_INVITE_EXPIRED);
    sign_key_free(key);
    party_free(p);
}

static void compare(void **state)
{
    struct party *p = kit_world(&kit);
    struct hs_head ours;
    party_hs_head(p, &ours);
    const uint8_t other[32] = {1};
    const struct {
        const uint8_t *party;
        uint64_t seq;
        const uint8_t *hash;
        enum party_verdict peer, source;
    } rows[] = {
        {party_id(p), ours.seq, party_head(p), PARTY_KNOWN, PARTY_KNOWN},
        {party_id(p), 0, party_hash_at(p, 0), PARTY_KNOWN, PARTY_ROLLBACK},
        {party_id(p), ours.seq - 1, party_hash_at(p, ours.seq - 1), PARTY_KNOWN, PARTY_ROLLBACK},
        {party_id(p), ours.seq - 1, party_head(p), PARTY_FORK, PARTY_FORK},
        {party_id(p), ours.seq, other, PARTY_FORK, PARTY_FORK},
        {party_id(p), 0, other, PARTY_FORK, PARTY_FORK},
        {party_id(p), ours.seq + 1, other, PARTY_GAP, PARTY_GAP},
        {party_id(p), UINT64_MAX, party_head(p), PARTY_GAP, PARTY_GAP},
        {other, ours.seq, party_head(p), PARTY_OTHER, PARTY_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hs_head h = {.seq = rows[i].seq};
        memcpy(h.party, rows[i].party, 32);
        memcpy(h.hash, rows[i].hash, 32);
        is(party_compare(p, &h), rows[i].peer);
        is(party_compare_source(p, &h), rows[i].source);
    }
    party_free(p);
}

static void same_party(const struct party *a, const struct party *b)
{
    assert_memory_equal(party_id(a), party_id(b), 32);
    assert_int_equal(party_seq(a), party_seq(b));
    assert_memory_equal(party_head(a), party_head(b), 32);
    assert_string_equal(party_name(a), party_name(b));
    assert_int_equal(party_member_count(a), party_member_count(b));
    for (size_t i = 0; i < party_member_count(a); i++) {
        const struct party_member *x = party_member_at(a, i), *y = party_member_at(b, i);
        assert_memory_equal(x->id, y->id, 32);
        assert_int_equal(x->role, y->role);
        assert_int_equal(x->ip4, y->ip4);
    }
    assert_int_equal(party_invite_count(a), party_invite_count(b));
    for (size_t i = 0; i < party_invite_count(a); i++)
        assert_int_equal(party_invite_at(a, i)->used, party_invite_at(b, i)->used);
}

static void save_and_load(void **state)
{
    struct party *p = kit_world(&kit);
    is(join(p, OUT, kit.secret, p->time), PARTY_OK);
    struct buf b, again;
    enum party_verdict v;
    buf_init(&b, PARTY_FILE_MAX);
    buf_init(&again, PARTY_FILE_MAX);
    assert_int_equal(party_save(p, &b), 0);
    assert_int_equal(b.n, p->bytes);
    struct party *q = party_load(buf_bytes(&b), &v);
    is(v, PARTY_OK);
    same_party(p, q);
    assert_true(party_was_removed(q, kit.ids[GONE]));
    assert_int_equal(party_save(q, &again), 0);
    assert_true(bytes_equal(buf_bytes(&b), buf_bytes(&again)));
    party_free(q);
    /* Cut: at a boundary it is a shorter log, anywhere else it is damaged. */
    size_t last = 4 + party_entry(p, party_seq(p)).n;
    q = party_load(bytes_of(b.p, b.n - last), &v);
    assert_int_equal(party_seq(q), party_seq(p) - 1);
    party_free(q);
    static const size_t cuts[] = {1, 2, 100, 4000, 6000};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_null(party_load(bytes_of(b.p, b.n - cuts[i]), &v));
        is(v, PARTY_MALFORMED);
    }
    for (size_t n = 0; n < 200; n++) {
        assert_null(party_load(bytes_of(b.p, n), &v));
        is(v, PARTY_MALFORMED);
    }
    b.p[b.n - 1] ^= 1;
    assert_null(party_load(buf_bytes(&b), &v));
    is(v, PARTY_BAD_SIGNATURE);
    b.p[b.n - 1] ^= 1;
    /* The same entry twice. */
    assert_int_equal(buf_add(&again, bytes_of(b.p + b.n - last, last)), 0);
    assert_null(party_load(buf_bytes(&again), &v));
    is(v, PARTY_MALFORMED);
    struct buf small;
    buf_init(&small, b.n - 1);
    assert_int_equal(buf_add_str(&small, "x"), 0);
    assert_int_equal(party_save(p, &small), -E2BIG);
    assert_int_equal(small.n, 1);
    buf_done(&small);
    buf_done(&b);
    buf_done(&again);
    party_free(p);
}

/* Two honest nodes write at once; the hub takes the first. Then a hub that shows another log. */
struct kept {
    const struct party *p;
    int calls, answer;
    uint64_t seq_then;
    uint8_t hash[ENTRY_HASH_LEN];
};

static int keep(void *arg, const struct entry *e, const uint8_t hash[ENTRY_HASH_LEN])
{
    struct kept *k = arg;
    k->calls++;
    k->seq_then = party_seq(k->p);
    memcpy(k->hash, hash, ENTRY_HASH_LEN);
    assert_int_equal(e->seq, k->seq_then + 1);
    return k->answer;
}

static void kept_between_judgement_and_change(void **state)
{
    struct kit k;
    struct buf b;
    kit_init(&k, 31);
    struct party *p = kit_world(&k);
    uint64_t seq = party_seq(p);
    struct kept kept = {.p = p, .answer = -5};
    struct party_keeper keeper = {.keep = keep, .arg = &kept};
    struct entry e = kit_next(&k, p, ENTRY_RENAME, OWNER);
    memcpy(e.u.rename.node, k.ids[OWNER], NODE_ID_LEN);
    strcpy(e.u.rename.name, "kept");
    buf_init(&b, ENTRY_MAX);
    /* What is no good is kept by nobody. */
    kit_sign(&k, &b, &e, k.keys[ADMIN]);
    is(party_append_kept(p, buf_bytes(&b), 0, &keeper), PARTY_BAD_SIGNATURE);
    assert_int_equal(kept.calls, 0);
    assert_int_equal(keeper.rc, -ECANCELED);
    /* What was not kept changes nothing. */
    kit_sign(&k, &b, &e, k.keys[OWNER]);
    is(party_append_kept(p, buf_bytes(&b), 0, &keeper), PARTY_OK);
    assert_int_equal(kept.calls, 1);
    assert_int_equal(keeper.rc, -5);
    assert_int_equal(party_seq(p), seq);
    assert_string_not_equal(party_member(p, k.ids[OWNER])->name, "kept");
    kept.answer = 0;
    is(party_append_kept(p, buf_bytes(&b), 0, &keeper), PARTY_OK);
    assert_int_equal(keeper.rc, 0);
    assert_int_equal(kept.seq_then, seq);
    assert_int_equal(party_seq(p), seq + 1);
    assert_memory_equal(party_head(p), kept.hash, ENTRY_HASH_LEN);
    assert_string_equal(party_member(p, k.ids[OWNER])->name, "kept");
    is(party_append_kept(p, buf_bytes(&b), 0, &keeper), PARTY_KNOWN);
    assert_int_equal(kept.calls, 2);
    buf_done(&b);
    party_free(p);
    kit_done(&k);
}

/* Replaying believes signatures and nothing else. */
static void replayed(void **state)
{
    struct kit k;
    struct party *q = NULL, *r = NULL;
    uint8_t spoilt[ENTRY_MAX];
    kit_init(&k, 32);
    struct party *p = kit_world(&k);
    for (uint64_t i = 0; i <= party_seq(p); i++) {
        struct bytes e = party_entry(p, i);
        memcpy(spoilt, e.p, e.n);
        spoilt[e.n - 1] ^= 1; /* of the signature */
        if (q)
            is(party_append(q, bytes_of(spoilt, e.n), 0), PARTY_BAD_SIGNATURE);
        is(party_replay(&r, bytes_of(spoilt, e.n)), PARTY_OK);
        spoilt[e.n - 1] ^= 1;
        spoilt[34] ^= 1; /* of seq, or of a genesis' empty party id */
        struct party *before = q;
        assert_int_not_equal(party_replay(&q, bytes_of(spoilt, e.n)), PARTY_OK);
        assert_ptr_equal(q, before);
        is(party_replay(&q, e), PARTY_OK);
    }
    same_party(p, q);
    assert_memory_equal(party_head(p), party_head(r), ENTRY_HASH_LEN);
    struct entry e = kit_next(&k, p, ENTRY_RENAME, OUT);
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    strcpy(e.u.rename.name, "x");
    kit_sign(&k, &b, &e, k.keys[OUT]);
    is(party_replay(&q, buf_bytes(&b)), PARTY_NO_MEMBER);
    e = kit_next(&k, p, ENTRY_RENAME, OWNER);
    memset(e.prev, 7, sizeof e.prev);
    strcpy(e.u.rename.name, "x");
    kit_sign(&k, &b, &e, k.keys[OWNER]);
    is(party_replay(&q, buf_bytes(&b)), PARTY_FORK);
    buf_done(&b);
    party_free(p);
    party_free(q);
    party_free(r);
    kit_done(&k);
}

static void races_and_forks(void **state)
{
    struct party *p = kit_world(&kit), *q;
    struct buf file, one, two;
    enum party_verdict v;
    buf_init(&file, PARTY_FILE_MAX);
    buf_init(&one, ENTRY_MAX);
    buf_init(&two, ENTRY_MAX);
    assert_int_equal(party_save(p, &file), 0);
    q = party_load(buf_bytes(&file), &v);
    struct party_author a = kit_author(&kit, GUEST, p->time), b = kit_author(&kit, MEMBER, p->time);
    is(party_make_rename(&one, p, &a, kit.ids[GUEST], "first"), PARTY_OK);
    is(party_make_rename(&two, p, &b, kit.ids[MEMBER], "second"), PARTY_OK);
    is(party_append(p, buf_bytes(&one), p->time), PARTY_OK);
    is(party_append(p, buf_bytes(&two), p->time), PARTY_STALE);
    is(party_append(p, buf_bytes(&two), 0), PARTY_FORK);
    is(party_append(p, buf_bytes(&one), p->time), PARTY_KNOWN);
    is(party_append(q, buf_bytes(&two), q->time), PARTY_OK);
    struct hs_head h;
    party_hs_head(q, &h);
    is(party_compare(p, &h), PARTY_FORK);
    is(party_make_rename(&two, q, &b, kit.ids[MEMBER], "third"), PARTY_OK);
    is(party_append(p, buf_bytes(&two), p->time), PARTY_FORK);
    is(party_append(q, buf_bytes(&two), q->time), PARTY_OK);
    is(party_append(p, party_entry(q, party_seq(q)), p->time), PARTY_FORK);
    is(party_append(p, bytes_of(two.p, two.n - 1), 0), PARTY_MALFORMED);
    assert_string_equal(party_member(p, kit.ids[GUEST])->name, "first");
    assert_int_equal(party_seq(p), 12);
    buf_done(&file);
    buf_done(&one);
    buf_done(&two);
    party_free(p);
    party_free(q);
}

/* ---- Entries that are somewhere else. */

static struct {
    struct buf bytes;
    bool fails;
    unsigned reads;
} shelf;

static int shelf_read(void *arg, uint64_t at, uint8_t *p, size_t n)
{
    assert_ptr_equal(arg, &shelf);
    shelf.reads++;
    if (shelf.fails || at + n > shelf.bytes.n)
        return -EIO;
    memcpy(p, shelf.bytes.p + at, n);
    return 0;
}

static void shelve_all(struct party *p)
{
    const struct party_store store = {.read = shelf_read, .arg = &shelf};
    if (party_stored_count(p) == 0)
        party_store_use(p, &store);
    for (uint64_t seq = party_stored_count(p); seq <= party_seq(p); seq++) {
        uint64_t at = shelf.bytes.n;
        assert_int_equal(buf_add(&shelf.bytes, party_entry(p, seq)), 0);
        party_stored(p, at);
    }
    assert_int_equal(party_stored_count(p), party_seq(p) + 1);
    party_stored(p, 0); /* nothing is left to be named */
    assert_int_equal(party_stored_count(p), party_seq(p) + 1);
}

static void entries_in_a_store(void **state)
{
    struct party *q = kit_world(&kit), *p = kit_world(&kit);
    uint8_t room[ENTRY_MAX], challenge[32] = {7}, proof[SIGN_SIG_LEN];
    struct bytes view;
    struct sign_public key;
    buf_init(&shelf.bytes, PARTY_FILE_MAX);
    for (int who = OWNER; who < GONE; who++)
        assert_int_equal(party_key(p, kit.ids[who], &key), 0);
    shelve_all(p);
    for (uint64_t seq = 0; seq <= party_seq(p); seq++) {
        struct entry e;
        uint8_t hash[ENTRY_HASH_LEN];
        assert_int_equal(party_entry(p, seq).n, 0);
        assert_int_equal(party_entry_read(p, seq, room, &view), 0);
        assert_ptr_equal(view.p, room);
        assert_int_equal(entry_read(&e, view), 0);
        entry_hash(hash, &e);
        assert_memory_equal(hash, party_hash_at(p, seq), sizeof hash);
    }
    assert_int_equal(party_entry_read(p, party_seq(p) + 1, room, &view), -ENOENT);
    assert_int_equal(party_entry_read(q, 0, room, &view), 0);
    assert_ptr_not_equal(view.p, room); /* in memory it is seen where it is */
    for (int who = OWNER; who < GONE; who++) {
        assert_int_equal(party_key(p, kit.ids[who], &key), 0);
        assert_memory_equal(&key, sign_key_public(kit.keys[who]), sizeof key);
    }
    assert_int_equal(party_key(p, kit.ids[GONE], &key), -ENOENT);
    /* Made and judged as before, by a member's key and by an invite's. */
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    struct party_author a = kit_author(&kit, MEMBER, p->time), joiner = kit_author(&kit, OUT, p->time);
    is(party_make_rename(&b, p, &a, kit.ids[MEMBER], "moved"), PARTY_OK);
    b.p[b.n - 1] ^= 1;
    is(party_append(p, buf_bytes(&b), 0), PARTY_BAD_SIGNATURE);
    b.p[b.n - 1] ^= 1;
    is(party_append(p, buf_bytes(&b), 0), PARTY_OK);
    assert_int_equal(party_entry(p, party_seq(p)).n, b.n); /* until it is put away, too */
    is(party_append(p, buf_bytes(&b), 0), PARTY_KNOWN);
    is(party_make_join(&b, p, &joiner, kit.secret, "late"), PARTY_OK);
    is(party_append(p, buf_bytes(&b), 0), PARTY_OK);
    shelve_all(p);
    assert_int_equal(party_key(p, kit.ids[OUT], &key), 0);
    assert_memory_equal(&key, sign_key_public(kit.keys[OUT]), sizeof key);
    assert_int_equal(
        party_invite_prove(proof, kit.secret, bytes_of(challenge, 32), party_id(p), kit.ids[OUT], &kit.rng),
        0);
    assert_true(party_invite_proven(p, kit.invite, bytes_of(challenge, 32), kit.ids[OUT], proof));
    /* A store that fails, or gives other bytes: nothing is believed, nothing changes. */
    is(party_make_rename(&b, p, &a, kit.ids[MEMBER], "again"), PARTY_OK);
    uint64_t before = party_seq(p);
    shelf.fails = true;
    is(party_append(p, buf_bytes(&b), 0), PARTY_UNREADABLE);
    assert_int_equal(party_key(p, kit.ids[OUT], &key), -EIO);
    assert_false(party_invite_proven(p, kit.invite, bytes_of(challenge, 32), kit.ids[OUT], proof));
    assert_int_equal(party_entry_read(p, 0, room, &view), -EIO);
    shelf.fails = false;
    uint64_t at = p->slots[party_member(p, kit.ids[MEMBER])->entry].at + ENTRY_KEY_END - 1;
    shelf.bytes.p[at] ^= 1;
    is(party_append(p, buf_bytes(&b), 0), PARTY_UNREADABLE);
    assert_int_equal(party_key(p, kit.ids[MEMBER], &key), -EIO);
    shelf.bytes.p[at] ^= 1;
    assert_int_equal(party_seq(p), before);
    is(party_append(p, buf_bytes(&b), 0), PARTY_OK);
    buf_done(&b);
    buf_done(&shelf.bytes);
    party_free(p);
    party_free(q);
}

static void verdicts_have_names(void **state)
{
    for (int i = 0; i < PARTY_VERDICT_COUNT; i++) {
        const char *name = party_verdict_name((enum party_verdict)i),
                   *text = party_verdict_text((enum party_verdict)i);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        assert_int_equal(text[strlen(text) - 1], '.');
        for (int j = 0; j < i; j++)
            assert_string_not_equal(name, party_verdict_name((enum party_verdict)j));
    }
    assert_string_equal(party_verdict_name(PARTY_INVITE_EXPIRED), "invite_expired");
    assert_string_equal(party_verdict_name(PARTY_VERDICT_COUNT), "unknown");
    party_free(NULL);
}

static int setup(void **state)
{
    kit_init(&kit, 3);
    return 0;
}

static int teardown(void **state)
{
    kit_done(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(genesis_state),
        cmocka_unit_test(world_state),
        cmocka_unit_test(invites_live_and_die),
        cmocka_unit_test(departures),
        cmocka_unit_test(the_last_owner),
        cmocka_unit_test(invites_fall_with_their_author),
        cmocka_unit_test(changes_take_effect),
        cmocka_unit_test(invites_are_bounded),
        cmocka_unit_test(compare),
        cmocka_unit_test(save_and_load),
        cmocka_unit_test(kept_between_judgement_and_change),
        cmocka_unit_test(replayed),
        cmocka_unit_test(races_and_forks),
        cmocka_unit_test(entries_in_a_store),
        cmocka_unit_test(verdicts_have_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
