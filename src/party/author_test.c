#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "party/party_kit_int.h"

#include <errno.h>

static struct kit kit;
static struct party *world;
static struct buf out;
static unsigned drawn; /* how often chance was asked: once a signature */

static void counting_fill(void *ctx, void *to, size_t n)
{
    drawn++;
    rng_fill(ctx, to, n);
}

static struct party_author author(int who)
{
    struct party_author a = kit_author(&kit, who, KIT_TIME + 100);
    a.rng = (struct rng){counting_fill, &kit.rng};
    drawn = 0;
    return a;
}

/* A maker's verdict: where it is good, so is the entry; where not, nothing was signed or written. */
static void made(enum party_verdict got, enum party_verdict want)
{
    if (got != want)
        fail_msg("%s, not %s", party_verdict_name(got), party_verdict_name(want));
    if (want == PARTY_OK) {
        assert_int_equal(party_judge(world, buf_bytes(&out), KIT_TIME + 100), PARTY_OK);
    } else {
        assert_int_equal(drawn, 0);
        assert_int_equal(out.n, 3);
    }
    buf_clear(&out);
    assert_int_equal(buf_add_str(&out, "old"), 0);
    drawn = 0;
}

static void each_maker(void **state)
{
    struct party_author a = author(ADMIN);
    struct party_policy policy = {true, 5, 1}, none = {true, 5, 0};
    static const uint8_t party[32];
    made(party_make_remove(&out, world, &a, kit.ids[GUEST]), PARTY_OK);
    made(party_make_role(&out, world, &a, kit.ids[GUEST], ROLE_MEMBER), PARTY_OK);
    made(party_make_lease(&out, world, &a, kit.ids[GUEST], 9), PARTY_OK);
    made(party_make_revoke(&out, world, &a, kit.invite), PARTY_OK);
    made(party_make_rename(&out, world, &a, kit.ids[GUEST], "g"), PARTY_OK);
    made(party_make_rename(&out, world, &a, party, "Sunday"), PARTY_OK);
    a = author(OWNER);
    made(party_make_policy(&out, world, &a, &policy), PARTY_OK);
    made(party_make_policy(&out, world, &a, &none), PARTY_MALFORMED);
    made(party_make_role(&out, world, &a, kit.ids[GUEST], ROLE_NONE), PARTY_MALFORMED);
    made(party_make_rename(&out, world, &a, kit.ids[GUEST], ""), PARTY_MALFORMED);
    made(party_make_rename(&out, world, &a, kit.ids[GUEST], "\x1b[2J"), PARTY_MALFORMED);
    made(party_make_lease(&out, world, &a, kit.ids[GUEST], 256), PARTY_BAD_ADDRESS);
    a = author(MEMBER);
    made(party_make_remove(&out, world, &a, kit.ids[GUEST]), PARTY_NOT_ALLOWED);
    made(party_make_role(&out, world, &a, kit.ids[MEMBER], ROLE_OWNER), PARTY_NOT_ALLOWED);
    made(party_make_lease(&out, world, &a, kit.ids[MEMBER], 9), PARTY_NOT_ALLOWED);
    made(party_make_revoke(&out, world, &a, kit.invite), PARTY_NOT_ALLOWED);
    made(party_make_policy(&out, world, &a, &policy), PARTY_NOT_ALLOWED);
    a = author(OUT);
    made(party_make_remove(&out, world, &a, kit.ids[GUEST]), PARTY_NO_MEMBER);
}

static void invites(void **state)
{
    uint8_t secret[32] = {1}, zero[32] = {0}, id[32];
    struct party_author a = author(ADMIN);
    made(party_make_invite(&out, world, &a, 4, KIT_TIME + 5000, ROLE_GUEST, secret), PARTY_OK);
    assert_memory_not_equal(secret, zero, 32);
    a = author(ADMIN);
    assert_int_equal(party_make_invite(&out, world, &a, 4, KIT_TIME + 5000, ROLE_GUEST, secret), PARTY_OK);
    struct entry e;
    assert_int_equal(entry_read(&e, buf_bytes(&out)), 0);
    party_invite_id(id, secret);
    uint8_t of_key[32];
    node_id_of(of_key, &e.u.invite.key);
    assert_memory_equal(id, of_key, 32);
    assert_int_equal(e.u.invite.uses, 4);
    assert_int_equal(e.u.invite.expires, KIT_TIME + 5000);
    /* A refused one leaves no secret behind. */
    const struct {
        int who;
        uint32_t uses;
        uint64_t expires;
        enum party_role role;
        enum party_verdict want;
    } rows[] = {
        {MEMBER, 1, KIT_TIME + 5000, ROLE_GUEST, PARTY_NOT_ALLOWED},
        {ADMIN, 0, KIT_TIME + 5000, ROLE_GUEST, PARTY_MALFORMED},
        {ADMIN, 1, KIT_TIME + 5000, ROLE_ADMIN, PARTY_NOT_ALLOWED},
        {ADMIN, 1, KIT_TIME, ROLE_GUEST, PARTY_BAD_TIME},
        {OUT, 1, KIT_TIME + 5000, ROLE_GUEST, PARTY_NO_MEMBER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        a = author(rows[i].who);
        assert_int_equal(
            party_make_invite(&out, world, &a, rows[i].uses, rows[i].expires, rows[i].role, secret),
            rows[i].want);
        assert_memory_equal(secret, zero, 32);
        assert_int_equal(drawn, 1); /* the secret itself */
    }
}

static void joins(void **state)
{
    struct party_author a = author(OUT);
    uint8_t wrong[32] = {1};
    made(party_make_join(&out, world, &a, kit.secret, "newcomer"), PARTY_OK);
    a = author(OUT);
    made(party_make_join(&out, world, &a, wrong, "newcomer"), PARTY_INVITE_UNKNOWN);
    made(party_make_join(&out, world, &a, kit.secret, " newcomer"), PARTY_MALFORMED);
    a.now_unix_s = KIT_TIME + 5000;
    made(party_make_join(&out, world, &a, kit.secret, "newcomer"), PARTY_INVITE_EXPIRED);
    a = author(GONE);
    made(party_make_join(&out, world, &a, kit.secret, "newcomer"), PARTY_WAS_REMOVED);
    a = author(GUEST);
    made(party_make_join(&out, world, &a, kit.secret, "newcomer"), PARTY_ALREADY_MEMBER);
}

static void admits(void **state)
{
    struct party_newcomer who = {
        .key = *sign_key_public(kit.keys[GONE]), .name = "back", .role = ROLE_MEMBER};
    struct party_author a = author(ADMIN);
    made(party_make_admit(&out, world, &a, &who), PARTY_BAD_SIGNATURE);
    assert_int_equal(party_possession(&who, party_id(world), kit.keys[GONE], &kit.rng), 0);
    made(party_make_admit(&out, world, &a, &who), PARTY_OK);
    a = author(MEMBER);
    made(party_make_admit(&out, world, &a, &who), PARTY_NOT_ALLOWED);
    a = author(OWNER);
    who.role = ROLE_ADMIN;
    made(party_make_admit(&out, world, &a, &who), PARTY_BAD_SIGNATURE);
    assert_int_equal(party_possession(&who, party_id(world), kit.keys[GONE], &kit.rng), 0);
    made(party_make_admit(&out, world, &a, &who), PARTY_OK);
    /* Agreed to another party. */
    assert_int_equal(party_possession(&who, kit.ids[0], kit.keys[GONE], &kit.rng), 0);
    a = author(OWNER);
    made(party_make_admit(&out, world, &a, &who), PARTY_BAD_SIGNATURE);
    who.name[0] = '\n';
    assert_int_equal(party_possession(&who, party_id(world), kit.keys[GONE], &kit.rng), -EINVAL);
}

static void a_slow_clock_is_raised(void **state)
{
    struct party_author a = author(ADMIN);
    struct entry e;
    const uint64_t clocks[] = {0, 1, KIT_TIME - 100000, world->time, world->time + 7};
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        a.now_unix_s = clocks[i];
        assert_int_equal(party_make_remove(&out, world, &a, kit.ids[GUEST]), PARTY_OK);
        assert_int_equal(entry_read(&e, buf_bytes(&out)), 0);
        assert_int_equal(e.time, clocks[i] > world->time ? clocks[i] : world->time);
        assert_int_equal(party_judge(world, buf_bytes(&out), world->time), PARTY_OK);
    }
}

static void genesis(void **state)
{
    static const struct {
        struct party_genesis_args args;
        int want;
    } rows[] = {
        {{"P", "o", MODE_TAP, 0, 0}, 0},
        {{"P", "o", MODE_WIREGUARD, 0xac100000, 0}, 0},
        {{"P", "o", MODE_TAP, 0, 2}, 0},
        {{"P", "o", MODE_TAP, 0, 4}, -EINVAL},
        {{"", "o", MODE_TAP, 0, 0}, -EINVAL},
        {{"P", "", MODE_TAP, 0, 0}, -EINVAL},
        {{"P", "o\n", MODE_TAP, 0, 0}, -EINVAL},
        {{"P", "o", (enum party_mode)0, 0, 0}, -EINVAL},
        {{"P", "o", (enum party_mode)4, 0, 0}, -EINVAL},
        {{"P", "o", MODE_TAP, 0x08080000, 0}, -EINVAL},
        {{"P", "o", MODE_TAP, 0x0a000100, 0}, -EINVAL},
    };
    struct party_author a = author(OWNER);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum party_verdict v;
        int rc = party_make_genesis(&out, &a, &rows[i].args);
        assert_int_equal(rc, rows[i].want);
        if (rc < 0)
            continue;
        struct party *p = party_open(buf_bytes(&out), a.now_unix_s, &v);
        assert_int_equal(v, PARTY_OK);
        assert_int_equal(party_policy(p)->ciphers, rows[i].args.ciphers ? rows[i].args.ciphers : 3);
        if (rows[i].args.net4)
            assert_int_equal(party_net4(p), rows[i].args.net4);
        else
            assert_in_range(party_net4(p), 0x0a400000, 0x0a7f0000);
        /* RFC 4193: subnet 0. */
        assert_int_equal(party_net6(p)[6] | party_net6(p)[7], 0);
        party_free(p);
    }
    struct buf small;
    buf_init(&small, 100);
    assert_int_equal(buf_add_str(&small, "old"), 0);
    assert_int_equal(party_make_genesis(&small, &a, &rows[0].args), -E2BIG);
    assert_int_equal(small.n, 3);
    buf_done(&small);
}

static void proofs(void **state)
{
    uint8_t sig[SIGN_SIG_LEN], challenge[PARTY_CHALLENGE_MAX + 1] = {5};
    const uint8_t *id = party_id(world), *node = kit.ids[OUT];
    struct bytes c = bytes_of(challenge, 32);
    assert_int_equal(party_invite_prove(sig, kit.secret, c, id, node, &kit.rng), 0);
    assert_true(party_invite_proven(world, kit.invite, c, node, sig));
    assert_false(party_invite_proven(world, kit.invite, c, kit.ids[OUT2], sig));
    assert_false(party_invite_proven(world, kit.ids[OUT], c, node, sig));
    assert_false(party_invite_proven(world, kit.invite, bytes_of(challenge, 31), node, sig));
    challenge[0] ^= 1;
    assert_false(party_invite_proven(world, kit.invite, c, node, sig));
    challenge[0] ^= 1;
    const size_t at[] = {0, MLDSA_SIG_LEN - 1, MLDSA_SIG_LEN, SIGN_SIG_LEN - 1};
    for (size_t i = 0; i < 4; i++) {
        sig[at[i]] ^= 1;
        assert_false(party_invite_proven(world, kit.invite, c, node, sig));
        sig[at[i]] ^= 1;
    }
    assert_int_equal(party_invite_prove(sig, kit.secret, c, kit.ids[0], node, &kit.rng), 0);
    assert_false(party_invite_proven(world, kit.invite, c, node, sig));
    assert_int_equal(party_invite_prove(sig, kit.secret, bytes_of(challenge, 0), id, node, &kit.rng),
                     -EINVAL);
    assert_int_equal(
        party_invite_prove(sig, kit.secret, bytes_of(challenge, sizeof challenge), id, node, &kit.rng),
        -EINVAL);
    assert_false(party_invite_proven(world, kit.invite, bytes_of(challenge, 0), node, sig));
    assert_false(party_invite_proven(world, kit.invite, bytes_of(challenge, sizeof challenge), node, sig));
}

static int setup(void **state)
{
    kit_init(&kit, 4);
    world = kit_world(&kit);
    buf_init(&out, ENTRY_MAX);
    return buf_add_str(&out, "old");
}

static int teardown(void **state)
{
    buf_done(&out);
    party_free(world);
    kit_done(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_maker), cmocka_unit_test(invites), cmocka_unit_test(joins),
        cmocka_unit_test(admits),     cmocka_unit_test(genesis), cmocka_unit_test(a_slow_clock_is_raised),
        cmocka_unit_test(proofs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
