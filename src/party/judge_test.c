#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "party/party_kit_int.h"

#include <stdio.h>

static struct kit kit;
static struct party *world; /* only judged, never changed */

static void is(enum party_verdict got, enum party_verdict want, const char *what)
{
    if (got != want)
        fail_msg("%s: %s, not %s", what, party_verdict_name(got), party_verdict_name(want));
}

static enum party_verdict judged(struct entry *e, int signer)
{
    return kit_judge(&kit, world, e, kit.keys[signer], e->time);
}

/* Who may do what to whom: a row of letters for each author, one letter for each subject in the order of the
 * people. */
static const int authors[] = {OWNER, ADMIN, MEMBER, GUEST, GONE, OUT};

static const struct {
    char letter;
    enum party_verdict verdict;
} letters[] = {
    {'y', PARTY_OK},         {'n', PARTY_NOT_ALLOWED},    {'-', PARTY_NO_MEMBER},
    {'L', PARTY_LAST_OWNER}, {'m', PARTY_ALREADY_MEMBER}, {'u', PARTY_INVITE_UNKNOWN},
};

static enum party_verdict verdict_of(char letter)
{
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].letter == letter)
            return letters[i].verdict;
    fail_msg("letter %c", letter);
    return PARTY_VERDICT_COUNT;
}

static void matrix(const char *what, const char *const rows[6], struct entry (*make)(int author, int subject))
{
    for (size_t a = 0; a < sizeof authors / sizeof *authors; a++)
        for (int s = 0; rows[a][s]; s++) {
            char text[64];
            struct entry e = make(authors[a], s);
            snprintf(text, sizeof text, "%s: author %d, subject %d", what, authors[a], s);
            is(judged(&e, authors[a]), verdict_of(rows[a][s]), text);
        }
}

static struct entry make_remove(int author, int subject)
{
    struct entry e = kit_next(&kit, world, ENTRY_REMOVE, author);
    memcpy(e.u.remove.node, kit.ids[subject], NODE_ID_LEN);
    return e;
}

/* Subjects: owner owner2 admin admin2 member member2 guest guest2 gone out */
static void remove_matrix(void **state)
{
    static const char *const rows[] = {
        "yyyyyyyy--", /* owner: itself too, for there is another */
        "nnynyyyy--", /* admin */
        "nnnnynnn--", /* member */
        "nnnnnnyn--", /* guest */
        "----------", /* gone */
        "----------", /* out */
    };
    matrix("remove", rows, make_remove);
}

static uint8_t role_to_give;

static struct entry make_role(int author, int subject)
{
    struct entry e = kit_next(&kit, world, ENTRY_ROLE, author);
    memcpy(e.u.role.node, kit.ids[subject], NODE_ID_LEN);
    e.u.role.role = role_to_give;
    return e;
}

static void role_matrix(void **state)
{
    static const char *const low[] = {
        "yyyyyyyy--", "nnnnyyyy--", "nnnnnnnn--", "nnnnnnnn--", "----------", "----------",
    };
    static const char *const high[] = {
        "yyyyyyyy--", "nnnnnnnn--", "nnnnnnnn--", "nnnnnnnn--", "----------", "----------",
    };
    for (role_to_give = ROLE_GUEST; role_to_give < ROLE_COUNT; role_to_give++)
        matrix("role", role_to_give <= ROLE_MEMBER ? low : high, make_role);
}

static struct entry make_lease(int author, int subject)
{
    struct entry e = kit_next(&kit, world, ENTRY_LEASE, author);
    memcpy(e.u.lease.node, kit.ids[subject], NODE_ID_LEN);
    e.u.lease.host = 0x0101;
    return e;
}

static void lease_matrix(void **state)
{
    static const char *const rows[] = {
        "yyyyyyyy--", "yyyyyyyy--", "nnnnnnnn--", "nnnnnnnn--", "----------", "----------",
    };
    assert_null(party_member_by_ip4(world, party_net4(world) | 0x0101));
    matrix("lease", rows, make_lease);
}

static void lease_hosts(void **state)
{
    const struct party_member *member = party_member(world, kit.ids[MEMBER]);
    const struct party_member *admin = party_member(world, kit.ids[ADMIN]);
    const struct {
        uint16_t host;
        enum party_verdict want;
    } rows[] = {
        {0, PARTY_BAD_ADDRESS},
        {65535, PARTY_BAD_ADDRESS},
        {0x0100, PARTY_BAD_ADDRESS},
        {0x01ff, PARTY_BAD_ADDRESS},
        {0x00ff, PARTY_BAD_ADDRESS},
        {0xff00, PARTY_BAD_ADDRESS},
        {1, PARTY_OK},
        {0xfffe, PARTY_OK},
        {0x01fe, PARTY_OK},
        {(uint16_t)admin->ip4, PARTY_BAD_ADDRESS},
        {(uint16_t)member->ip4, PARTY_BAD_ADDRESS}, /* its own: changes nothing */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct entry e = make_lease(OWNER, MEMBER);
        e.u.lease.host = rows[i].host;
        is(judged(&e, OWNER), rows[i].want, "lease host");
    }
}

static struct entry make_rename(int author, int subject)
{
    struct entry e = kit_next(&kit, world, ENTRY_RENAME, author);
    /* OUT2 stands for the party. */
    if (subject != OUT2)
        memcpy(e.u.rename.node, kit.ids[subject], NODE_ID_LEN);
    e.u.rename.name[0] = 'z';
    return e;
}

static void rename_matrix(void **state)
{
    static const char *const rows[] = {
        "yyyyyyyy--y", "yyyyyyyy--y", "nnnnynnn--n", "nnnnnnyn--n", "-----------", "-----------",
    };
    matrix("rename", rows, make_rename);
}

static struct entry make_policy(int author, int subject)
{
    struct entry e = kit_next(&kit, world, ENTRY_POLICY, author);
    e.u.policy = (struct party_policy){true, 1, 1};
    return e;
}

static void policy_matrix(void **state)
{
    static const char *const rows[] = {"y", "n", "n", "n", "-", "-"};
    matrix("policy", rows, make_policy);
}

static struct entry make_revoke(int author, int subject)
{
    struct entry e = kit_next(&kit, world, ENTRY_REVOKE_INVITE, author);
    memcpy(e.u.revoke.invite, subject ? kit.ids[OUT] : kit.invite, INVITE_ID_LEN);
    return e;
}

/* Subjects: the invite of the world, one that nobody made. */
static void revoke_matrix(void **state)
{
    static const char *const rows[] = {"yu", "yu", "nn", "nn", "--", "--"};
    matrix("revoke", rows, make_revoke);
}

static struct sign_key *fresh; /* of an invite to be */

static struct entry make_invite(int author, int role_less_one)
{
    struct entry e = kit_next(&kit, world, ENTRY_INVITE, author);
    e.u.invite = (struct entry_invite){*sign_key_public(fresh), 1, e.time + 1, (uint8_t)(role_less_one + 1)};
    return e;
}

/* Subjects: guest member admin owner */
static void invite_matrix(void **state)
{
    static const char *const rows[] = {"yynn", "yynn", "nnnn", "nnnn", "----", "----"};
    matrix("invite", rows, make_invite);
}

static void invite_terms(void **state)
{
    static const struct {
        uint32_t uses;
        int64_t life;
        enum party_verdict want;
    } rows[] = {
        {1, 1, PARTY_OK},
        {INVITE_USES_MAX, INVITE_LIFE_MAX, PARTY_OK},
        {0, 60, PARTY_MALFORMED},
        {INVITE_USES_MAX + 1, 60, PARTY_MALFORMED},
        {UINT32_MAX, 60, PARTY_MALFORMED},
        {1, 0, PARTY_BAD_TIME},
        {1, -1, PARTY_BAD_TIME},
        {1, INVITE_LIFE_MAX + 1, PARTY_BAD_TIME},
        {1, INT64_MAX - 2000000000, PARTY_BAD_TIME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct entry e = make_invite(ADMIN, 0);
        e.u.invite.uses = rows[i].uses;
        e.u.invite.expires = e.time + (uint64_t)rows[i].life;
        is(judged(&e, ADMIN), rows[i].want, "invite terms");
    }
    /* Keys that serve something else already. */
    struct entry e = make_invite(ADMIN, 0);
    e.u.invite.key = *sign_key_public(kit.keys[MEMBER]);
    is(judged(&e, ADMIN), PARTY_NOT_ALLOWED, "a member's key");
    e.u.invite.key = *sign_key_public(kit.keys[GONE]);
    is(judged(&e, ADMIN), PARTY_NOT_ALLOWED, "a removed node's key");
    assert_int_equal(key_read(world, party_invite(world, kit.invite)->entry, kit.invite, &e.u.invite.key), 0);
    is(judged(&e, ADMIN), PARTY_NOT_ALLOWED, "an invite's key");
}

/* Author x role for an outsider, for who was removed, and for who is in. */
static void admit_by_member(void **state)
{
    static const struct {
        int author, who;
        const char *roles; /* guest member admin owner */
    } rows[] = {
        {OWNER, OUT, "yyyn"},  {OWNER, GONE, "yyyn"},  {OWNER, GUEST, "mmmn"}, {ADMIN, OUT, "yynn"},
        {ADMIN, GONE, "yynn"}, {MEMBER, OUT, "nnnn"},  {GUEST, OUT, "nnnn"},   {GONE, OUT, "----"},
        {OUT2, OUT, "uuuu"},   {OWNER, OWNER, "mmmn"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int r = 0; r < 4; r++) {
            struct entry e = kit_next(&kit, world, ENTRY_ADMIT, rows[i].author);
            kit_fill_admit(&kit, world, &e, rows[i].who, (uint8_t)(r + 1));
            is(judged(&e, rows[i].author), verdict_of(rows[i].roles[r]), "admit");
        }
}

static struct entry join_entry(int who, uint8_t role)
{
    struct entry e = kit_next(&kit, world, ENTRY_ADMIT, OUT);
    memcpy(e.author, kit.invite, sizeof e.author);
    kit_fill_admit(&kit, world, &e, who, role);
    return e;
}

static void admit_by_invite(void **state)
{
    struct sign_key *key = kit_invite_key(kit.secret);
    uint64_t expires = party_invite(world, kit.invite)->expires;
    struct entry e = join_entry(OUT, ROLE_MEMBER);
    is(kit_judge(&kit, world, &e, key, e.time), PARTY_OK, "join");
    is(kit_judge(&kit, world, &e, kit.keys[OUT], e.time), PARTY_BAD_SIGNATURE, "signed by the joiner alone");
    is(kit_judge(&kit, world, &e, kit.keys[OWNER], e.time), PARTY_BAD_SIGNATURE, "signed by the owner");
    is(kit_judge(&kit, world, &e, key, expires), PARTY_OK, "the judge's clock at the last second");
    is(kit_judge(&kit, world, &e, key, expires + 1), PARTY_INVITE_EXPIRED, "the judge's clock after it");
    is(kit_judge(&kit, world, &e, key, 0), PARTY_OK, "history");
    e.time = expires;
    is(kit_judge(&kit, world, &e, key, 0), PARTY_OK, "history at the last second");
    e.time = expires + 1;
    is(kit_judge(&kit, world, &e, key, 0), PARTY_INVITE_EXPIRED, "history after it");
    for (uint8_t role = ROLE_GUEST; role <= ROLE_OWNER; role++) {
        e = join_entry(OUT, role);
        is(kit_judge(&kit, world, &e, key, e.time), role == ROLE_MEMBER ? PARTY_OK : PARTY_NOT_ALLOWED,
           "role");
    }
    e = join_entry(GONE, ROLE_MEMBER);
    is(kit_judge(&kit, world, &e, key, e.time), PARTY_WAS_REMOVED, "removed");
    e = join_entry(GUEST, ROLE_MEMBER);
    is(kit_judge(&kit, world, &e, key, e.time), PARTY_ALREADY_MEMBER, "already in");
    /* A node made of the invite's own key would be everybody's who has the invite. */
    e = join_entry(OUT, ROLE_MEMBER);
    e.u.admit.key = *sign_key_public(key);
    is(kit_judge(&kit, world, &e, key, e.time), PARTY_NOT_ALLOWED, "the invite's key as a node");
    e = join_entry(OUT, ROLE_MEMBER);
    e.u.admit.host ^= 1;
    is(kit_judge(&kit, world, &e, key, e.time), PARTY_BAD_ADDRESS, "another host");
    e = join_entry(OUT, ROLE_MEMBER);
    e.author[0] ^= 1;
    is(kit_judge(&kit, world, &e, key, e.time), PARTY_INVITE_UNKNOWN, "no such invite");
    sign_key_free(key);
    /* The right to let in is all that an invite's key has. */
    e = make_remove(OWNER, GUEST);
    memcpy(e.author, kit.invite, sizeof e.author);
    is(judged(&e, OWNER), PARTY_NO_MEMBER, "an invite removes nobody");
}

static void times(void **state)
{
    static const struct {
        int64_t entry, judge; /* from the head's time; judge INT64_MIN: no clock */
        enum party_verdict want;
    } rows[] = {
        {0, 0, PARTY_OK},
        {-1, 0, PARTY_BAD_TIME},
        {-1, INT64_MIN, PARTY_BAD_TIME},
        {0, INT64_MIN, PARTY_OK},
        {1000000000, INT64_MIN, PARTY_OK},
        {PARTY_SKEW_S, 0, PARTY_OK},
        {PARTY_SKEW_S + 1, 0, PARTY_BAD_TIME},
        {0, -PARTY_SKEW_S, PARTY_OK},
        {0, -PARTY_SKEW_S - 1, PARTY_BAD_TIME},
        {0, 1000000000, PARTY_OK},
        {1000000000000, 0, PARTY_BAD_TIME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct entry e = make_remove(OWNER, GUEST);
        e.time = world->time + (uint64_t)rows[i].entry;
        uint64_t now = rows[i].judge == INT64_MIN ? 0 : world->time + (uint64_t)rows[i].judge;
        is(kit_judge(&kit, world, &e, kit.keys[OWNER], now), rows[i].want, "time");
    }
}

static void put_back(uint8_t out[ENTRY_MAX], const struct entry *e, struct bytes *b)
{
    struct wr w = wr_of(out, ENTRY_MAX);
    entry_write(&w, e);
    *b = wr_done(&w);
}

static void each_half_of_each_signature(void **state)
{
    uint8_t out[ENTRY_MAX];
    struct bytes b;
    struct entry e = kit_next(&kit, world, ENTRY_ADMIT, OWNER);
    kit_fill_admit(&kit, world, &e, OUT, ROLE_MEMBER);
    is(judged(&e, OWNER), PARTY_OK, "good");
    const size_t at[] = {0, 100, MLDSA_SIG_LEN - 1, MLDSA_SIG_LEN, SIGN_SIG_LEN - 1};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        e.sig[at[i]] ^= 4;
        put_back(out, &e, &b);
        is(party_judge(world, b, 0), PARTY_BAD_SIGNATURE, "author's half");
        e.sig[at[i]] ^= 4;
        struct entry f = e;
        f.u.admit.possession[at[i]] ^= 4;
        is(judged(&f, OWNER), PARTY_BAD_SIGNATURE, "newcomer's half");
    }
    put_back(out, &e, &b);
    is(party_judge(world, b, 0), PARTY_OK, "good again");
    /* Agreed to be a guest, admitted as a member; under another name. */
    kit_fill_admit(&kit, world, &e, OUT, ROLE_GUEST);
    e.u.admit.role = ROLE_MEMBER;
    is(judged(&e, OWNER), PARTY_BAD_SIGNATURE, "another role than agreed");
    kit_fill_admit(&kit, world, &e, OUT, ROLE_MEMBER);
    e.u.admit.name[0] = 'Q';
    is(judged(&e, OWNER), PARTY_BAD_SIGNATURE, "another name than agreed");
}

/* No byte of a signed entry can be changed: sampled over keys and signatures, each one elsewhere. */
static void every_field_flipped(void **state)
{
    uint8_t out[ENTRY_MAX];
    struct bytes b;
    struct entry rows[] = {make_remove(OWNER, GUEST), make_role(OWNER, GUEST),   make_lease(OWNER, GUEST),
                           make_revoke(OWNER, 0),     make_rename(OWNER, GUEST), make_policy(OWNER, 0),
                           make_invite(OWNER, 0)};
    rows[1].u.role.role = ROLE_MEMBER;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        is(judged(&rows[r], OWNER), PARTY_OK, "unflipped");
        put_back(out, &rows[r], &b);
        for (size_t i = 0; i < b.n; i += i < 180 ? 1 : 61) {
            out[i] ^= 1;
            assert_int_not_equal(party_judge(world, b, 0), PARTY_OK);
            out[i] ^= 1;
        }
        for (size_t n = 0; n < b.n; n++)
            assert_int_equal(party_judge(world, bytes_of(out, n), 0), PARTY_MALFORMED);
        is(party_judge(world, b, 0), PARTY_OK, "restored");
    }
}

static void positions(void **state)
{
    uint64_t head = party_seq(world);
    const uint8_t other[32] = {1};
    const struct {
        const char *what;
        uint64_t seq;
        const uint8_t *prev;
        enum party_verdict live, history;
    } rows[] = {
        {"next", head + 1, party_head(world), PARTY_OK, PARTY_OK},
        {"next on a head that we never had", head + 1, other, PARTY_FORK, PARTY_FORK},
        {"next on an older head of ours", head + 1, party_hash_at(world, head - 1), PARTY_FORK, PARTY_FORK},
        {"one too far", head + 2, other, PARTY_GAP, PARTY_GAP},
        {"far too far", UINT64_MAX, other, PARTY_GAP, PARTY_GAP},
        {"in the head's place", head, party_hash_at(world, head - 1), PARTY_STALE, PARTY_FORK},
        {"in place of the first", 1, party_hash_at(world, 0), PARTY_STALE, PARTY_FORK},
        {"in place of the head, other chain", head, other, PARTY_FORK, PARTY_FORK},
        {"another at the beginning", 0, other, PARTY_MALFORMED, PARTY_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct entry e = make_remove(OWNER, GUEST);
        e.seq = rows[i].seq;
        memcpy(e.prev, rows[i].prev, sizeof e.prev);
        is(kit_judge(&kit, world, &e, kit.keys[OWNER], e.time), rows[i].live, rows[i].what);
        is(kit_judge(&kit, world, &e, kit.keys[OWNER], 0), rows[i].history, rows[i].what);
    }
    for (uint64_t s = 0; s <= head; s++)
        is(party_judge(world, party_entry(world, s), s % 2), PARTY_KNOWN, "what stands there");
    struct entry e = make_remove(OWNER, GUEST);
    e.party[0] ^= 1;
    is(judged(&e, OWNER), PARTY_OTHER, "another party's");
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    kit_genesis(&kit, &b);
    is(party_judge(world, buf_bytes(&b), 0), PARTY_OTHER, "another party's genesis");
    buf_done(&b);
}

static void full(void **state)
{
    struct entry leave = make_remove(GUEST, GUEST), rename_own = make_rename(MEMBER, MEMBER);
    struct entry by_owner = make_rename(OWNER, MEMBER), join = join_entry(OUT, ROLE_MEMBER);
    struct sign_key *key = kit_invite_key(kit.secret);
    const struct {
        uint64_t bytes;
        size_t members;
        enum party_verdict leave, rename_own, by_owner, join;
    } rows[] = {
        {PARTY_FILE_MAX / 8 * 7 - 20000, 8, PARTY_OK, PARTY_OK, PARTY_OK, PARTY_OK},
        {PARTY_FILE_MAX / 8 * 7 - 1000, 8, PARTY_OK, PARTY_FULL, PARTY_OK, PARTY_FULL},
        {PARTY_FILE_MAX - 4000, 8, PARTY_FULL, PARTY_FULL, PARTY_FULL, PARTY_FULL},
        {0, PARTY_MEMBERS_MAX, PARTY_OK, PARTY_OK, PARTY_OK, PARTY_FULL},
    };
    uint64_t bytes = world->bytes;
    size_t members = world->member_count;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        world->bytes = rows[i].bytes;
        world->member_count = rows[i].members;
        is(judged(&leave, GUEST), rows[i].leave, "leave");
        is(judged(&rename_own, MEMBER), rows[i].rename_own, "rename by a member");
        is(judged(&by_owner, OWNER), rows[i].by_owner, "rename by an owner");
        is(kit_judge(&kit, world, &join, key, join.time), rows[i].join, "join");
    }
    world->bytes = bytes;
    world->member_count = members;
    sign_key_free(key);
}

static void genesis_rules(void **state)
{
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    kit_genesis(&kit, &b);
    struct entry good, e;
    enum party_verdict v;
    assert_int_equal(entry_read(&good, buf_bytes(&b)), 0);
#define CHECK(change, want)                                                                                  \
    do {                                                                                                     \
        e = good;                                                                                            \
        change;                                                                                              \
        kit_sign(&kit, &b, &e, kit.keys[OWNER]);                                                             \
        struct party *p_ = party_open(buf_bytes(&b), KIT_TIME, &v);                                          \
        is(v, want, #change);                                                                                \
        assert_true((p_ != NULL) == (want == PARTY_OK));                                                     \
        party_free(p_);                                                                                      \
    } while (0)
    CHECK(e.seq = 0, PARTY_OK);
    CHECK(e.seq = 1, PARTY_MALFORMED);
    CHECK(e.party[31] = 1, PARTY_MALFORMED);
    CHECK(e.prev[0] = 1, PARTY_MALFORMED);
    CHECK(e.author[0] ^= 1, PARTY_NOT_ALLOWED);
    CHECK(e.u.genesis.key.ed25519[0] ^= 1, PARTY_NOT_ALLOWED);
    CHECK(e.time = KIT_TIME + PARTY_SKEW_S, PARTY_OK);
    CHECK(e.time = KIT_TIME + PARTY_SKEW_S + 1, PARTY_BAD_TIME);
    CHECK(e.u.genesis.host ^= 1, PARTY_BAD_ADDRESS);
    CHECK(e.u.genesis.salt[0] ^= 1, PARTY_BAD_ADDRESS);
    CHECK(e.u.genesis.net6[0] = 0xfe, PARTY_BAD_ADDRESS);
    CHECK(e.u.genesis.net4 |= 0x100, PARTY_BAD_ADDRESS);
    CHECK(e.u.genesis.net4 = 0x08080000, PARTY_BAD_ADDRESS);
    CHECK(e.u.genesis.net4 = 0xac200000, PARTY_BAD_ADDRESS);
    CHECK(e.u.genesis.net4 = 0xac1f0000, PARTY_OK);
    CHECK(e.u.genesis.net4 = 0xc0a80000, PARTY_OK);
#undef CHECK
    for (size_t at = 0; at < SIGN_SIG_LEN; at += SIGN_SIG_LEN - 1) {
        uint8_t out[ENTRY_MAX];
        struct bytes in;
        e = good;
        e.sig[at] ^= 1;
        put_back(out, &e, &in);
        assert_null(party_open(in, 0, &v));
        is(v, PARTY_BAD_SIGNATURE, "genesis signature");
    }
    struct entry other = make_remove(OWNER, GUEST);
    kit_sign(&kit, &b, &other, kit.keys[OWNER]);
    assert_null(party_open(buf_bytes(&b), 0, &v));
    is(v, PARTY_MALFORMED, "not a genesis");
    buf_done(&b);
}

static int setup(void **state)
{
    kit_init(&kit, 1);
    world = kit_world(&kit);
    fresh = kit_key(200);
    return 0;
}

static int teardown(void **state)
{
    sign_key_free(fresh);
    party_free(world);
    kit_done(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remove_matrix),
        cmocka_unit_test(role_matrix),
        cmocka_unit_test(lease_matrix),
        cmocka_unit_test(lease_hosts),
        cmocka_unit_test(rename_matrix),
        cmocka_unit_test(policy_matrix),
        cmocka_unit_test(revoke_matrix),
        cmocka_unit_test(invite_matrix),
        cmocka_unit_test(invite_terms),
        cmocka_unit_test(admit_by_member),
        cmocka_unit_test(admit_by_invite),
        cmocka_unit_test(times),
        cmocka_unit_test(positions),
        cmocka_unit_test(each_half_of_each_signature),
        cmocka_unit_test(full),
        cmocka_unit_test(every_field_flipped),
        cmocka_unit_test(genesis_rules),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
