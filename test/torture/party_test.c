/* The membership log when memory fails: an entry that was refused for want of memory was not taken in part,
 * and is taken when it comes again. */
#include "torture.h"

#include "crypto/hash.h"
#include "party/party_kit_int.h"

#define ENTRIES_KEPT 48

static struct kit kit;
static struct buf entries[ENTRIES_KEPT];
static size_t entry_count;
static struct buf log_file; /* the whole log that the entries make */

/* ---- everything that can be asked of a party, as one hash ---- */

static void hash_member(struct buf *b, const struct party *p, const struct party_member *m)
{
    struct party_member copy = {.role = m->role, .ip4 = m->ip4, .since = m->since};
    memcpy(copy.id, m->id, sizeof copy.id);
    memcpy(copy.name, m->name, sizeof copy.name);
    memcpy(copy.ip6, m->ip6, sizeof copy.ip6);
    memcpy(copy.mac, m->mac, sizeof copy.mac);
    memcpy(copy.invite, m->invite, sizeof copy.invite);
    assert_int_equal(
        buf_printf(b, "%d %u %llu %s ", (int)copy.role, copy.ip4, (unsigned long long)copy.since, copy.name),
        0);
    assert_int_equal(buf_add(b, bytes_of(copy.id, sizeof copy.id)), 0);
    assert_int_equal(buf_add(b, bytes_of(copy.invite, sizeof copy.invite)), 0);
    assert_ptr_equal(party_member(p, m->id), m);
    assert_ptr_equal(party_member_by_ip4(p, m->ip4), m);
    assert_ptr_equal(party_member_by_ip6(p, m->ip6), m);
    assert_ptr_equal(party_member_by_mac(p, m->mac), m);
}

static void hash_invite(struct buf *b, const struct party_invite *i)
{
    assert_int_equal(buf_printf(b, "%u/%u %llu %d %d ", i->used, i->uses, (unsigned long long)i->expires,
                                (int)i->role, i->revoked),
                     0);
    assert_int_equal(buf_add(b, bytes_of(i->id, sizeof i->id)), 0);
}

static void fingerprint(uint8_t out[SHA256_LEN], const struct party *p)
{
    struct buf b;
    struct party_policy policy = *party_policy(p);
    buf_init(&b, PARTY_FILE_MAX);
    assert_int_equal(party_save(p, &b), 0);
    assert_int_equal(buf_printf(&b, "%s %u %d %u %u ", party_name(p), party_net4(p), policy.allow_dhcp,
                                policy.broadcast_pps, policy.ciphers),
                     0);
    for (size_t i = 0; i < party_member_count(p); i++)
        hash_member(&b, p, party_member_at(p, i));
    for (size_t i = 0; i < party_invite_count(p); i++)
        hash_invite(&b, party_invite_at(p, i));
    for (int i = 0; i < KIT_PEOPLE; i++)
        assert_int_equal(buf_printf(&b, "%d", party_was_removed(p, kit.ids[i])), 0);
    assert_int_equal(buf_printf(&b, " %zu %zu", map_count(p->by_ip4), map_count(p->removed)), 0);
    struct bytes all = buf_bytes(&b);
    sha256(out, &all, 1);
    buf_done(&b);
}

/* ---- the log that everything is tried with ---- */

static void keep(struct party *p)
{
    struct bytes e = party_entry(p, party_seq(p));
    assert_true(entry_count < ENTRIES_KEPT);
    buf_init(&entries[entry_count], ENTRY_MAX);
    assert_int_equal(buf_add(&entries[entry_count++], e), 0);
}

static void take(struct party *p, enum party_verdict v, struct buf *b)
{
    assert_int_equal(v, PARTY_OK);
    assert_int_equal(party_append(p, buf_bytes(b), 0), PARTY_OK);
    keep(p);
}

/* Leases wear the address tables out, renames make the log long enough to grow. */
static void lengthen(struct party *p, struct buf *b)
{
    struct party_author a = kit_author(&kit, OWNER, KIT_TIME + 100);
    char name[16];
    for (int i = 0; i < 5; i++) {
        uint16_t host = (uint16_t)(0x1203 + 256 * i);
        snprintf(name, sizeof name, "round %d", i);
        take(p, party_make_lease(b, p, &a, kit.ids[MEMBER], host), b);
        take(p, party_make_rename(b, p, &a, kit.ids[MEMBER2], name), b);
    }
}

static void rest_of_log(struct party *p, struct buf *b)
{
    uint8_t secret[32], id[INVITE_ID_LEN];
    struct party_author a = kit_author(&kit, OWNER, KIT_TIME + 100),
                        joiner = kit_author(&kit, OUT, KIT_TIME + 100);
    struct party_policy policy = {.allow_dhcp = true, .broadcast_pps = 77, .ciphers = 3};
    take(p, party_make_join(b, p, &joiner, kit.secret, "joined"), b);
    take(p, party_make_invite(b, p, &a, 2, KIT_TIME + 5000, ROLE_GUEST, secret), b);
    party_invite_id(id, secret);
    take(p, party_make_revoke(b, p, &a, id), b);
    take(p, party_make_role(b, p, &a, kit.ids[ADMIN], ROLE_MEMBER), b);
    take(p, party_make_policy(b, p, &a, &policy), b);
    take(p, party_make_remove(b, p, &a, kit.ids[GUEST]), b);
    lengthen(p, b);
}

static int setup(void **state)
{
    struct buf b;
    kit_init(&kit, 5);
    struct party *p = kit_world(&kit);
    for (uint64_t seq = 0; seq <= party_seq(p); seq++) {
        buf_init(&entries[entry_count], ENTRY_MAX);
        assert_int_equal(buf_add(&entries[entry_count++], party_entry(p, seq)), 0);
    }
    buf_init(&b, ENTRY_MAX);
    rest_of_log(p, &b);
    buf_done(&b);
    buf_init(&log_file, PARTY_FILE_MAX);
    assert_int_equal(party_save(p, &log_file), 0);
    party_free(p);
    return 0;
}

static int teardown(void **state)
{
    while (entry_count > 0)
        buf_done(&entries[--entry_count]);
    buf_done(&log_file);
    kit_done(&kit);
    return 0;
}

/* ---- stories ---- */

static struct party *open_first(void)
{
    enum party_verdict v;
    torture_on();
    struct party *p = party_open(buf_bytes(&entries[0]), 0, &v);
    torture_off();
    if (!p) {
        assert_int_equal(v, PARTY_NO_MEMORY);
        torture_heal();
        p = party_open(buf_bytes(&entries[0]), 0, &v);
    }
    assert_non_null(p);
    assert_int_equal(v, PARTY_OK);
    return p;
}

static void append_one(struct party *p, struct bytes entry)
{
    uint8_t before[SHA256_LEN], after[SHA256_LEN];
    bool well = torture_hit();
    if (!well)
        fingerprint(before, p);
    torture_on();
    enum party_verdict v = party_append(p, entry, 0);
    torture_off();
    if (v == PARTY_OK)
        return;
    assert_int_equal(v, PARTY_NO_MEMORY);
    if (!well) {
        fingerprint(after, p);
        assert_memory_equal(after, before, sizeof after);
    }
    torture_heal();
    assert_int_equal(party_append(p, entry, 0), PARTY_OK);
}

static void same_file(const struct party *p)
{
    struct buf b;
    buf_init(&b, PARTY_FILE_MAX);
    assert_int_equal(party_save(p, &b), 0);
    assert_true(bytes_equal(buf_bytes(&b), buf_bytes(&log_file)));
    buf_done(&b);
}

static void appends(void)
{
    struct party *p = open_first();
    for (size_t i = 1; i < entry_count; i++)
        append_one(p, buf_bytes(&entries[i]));
    same_file(p);
    party_free(p);
}

static void loads(void)
{
    enum party_verdict v;
    torture_on();
    struct party *p = party_load(buf_bytes(&log_file), &v);
    torture_off();
    if (p)
        same_file(p);
    else
        assert_int_equal(v, PARTY_NO_MEMORY);
    assert_true(p || torture_hit());
    party_free(p);
}

static struct party *whole; /* for the stories that only read it */

static void saves(void)
{
    struct buf b;
    buf_init(&b, PARTY_FILE_MAX);
    assert_int_equal(buf_add_str(&b, "old"), 0);
    torture_on();
    int rc = party_save(whole, &b);
    torture_off();
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(b.n, 3);
        torture_heal();
        assert_int_equal(party_save(whole, &b), 0);
    }
    assert_int_equal(b.n, 3 + log_file.n);
    assert_memory_equal(b.p, "old", 3);
    assert_memory_equal(b.p + 3, log_file.p, log_file.n);
    buf_done(&b);
}

/* The makers: a failed one leaves what was in out. */
struct made {
    struct buf out;
    uint8_t secret[32];
    struct party_author owner, joiner;
};

static enum party_verdict make_genesis(struct made *m)
{
    struct party_genesis_args args = {"Friday", "owner", MODE_TAP, 0};
    int rc = party_make_genesis(&m->out, &m->owner, &args);
    assert_true(rc == 0 || rc == -ENOMEM || rc == -EIO);
    return rc == 0 ? PARTY_OK : PARTY_NO_MEMORY;
}

static enum party_verdict make_invite(struct made *m)
{
    memset(m->secret, 0xaa, sizeof m->secret);
    enum party_verdict v =
        party_make_invite(&m->out, whole, &m->owner, 3, KIT_TIME + 9999, ROLE_MEMBER, m->secret);
    static const uint8_t zeros[32];
    assert_int_equal(memcmp(m->secret, zeros, 32) == 0, v != PARTY_OK);
    return v;
}

static enum party_verdict make_join(struct made *m)
{
    return party_make_join(&m->out, whole, &m->joiner, kit.secret, "second");
}

static enum party_verdict make_remove(struct made *m)
{
    return party_make_remove(&m->out, whole, &m->owner, kit.ids[MEMBER]);
}

static enum party_verdict (*maker)(struct made *m);

static void makes(void)
{
    struct made m = {.owner = kit_author(&kit, OWNER, KIT_TIME + 100),
                     .joiner = kit_author(&kit, OUT2, KIT_TIME + 100)};
    buf_init(&m.out, ENTRY_MAX);
    assert_int_equal(buf_add_str(&m.out, "old"), 0);
    torture_on();
    enum party_verdict v = maker(&m);
    torture_off();
    if (v != PARTY_OK) {
        assert_int_equal(v, PARTY_NO_MEMORY);
        assert_true(torture_hit());
        assert_int_equal(m.out.n, 3);
        assert_memory_equal(m.out.p, "old", 3);
        torture_heal();
        assert_int_equal(maker(&m), PARTY_OK);
    }
    if (maker != make_genesis)
        assert_int_equal(party_judge(whole, buf_bytes(&m.out), KIT_TIME + 100), PARTY_OK);
    buf_done(&m.out);
}

/* A holder's proof: made, or an error; never one that does not hold. */
static void proofs(void)
{
    uint8_t sig[SIGN_SIG_LEN];
    struct bytes challenge = bytes_of_str("challenge");
    torture_on();
    int rc = party_invite_prove(sig, kit.secret, challenge, party_id(whole), kit.ids[OUT2], &kit.rng);
    torture_off();
    if (rc < 0) {
        assert_int_equal(rc, -EIO);
        assert_true(torture_hit());
        return;
    }
    torture_on();
    bool holds = party_invite_proven(whole, kit.invite, challenge, kit.ids[OUT2], sig);
    torture_off();
    assert_true(holds);
}

static void test_append(void **state)
{
    torture("party_open and party_append", TORTURE_MEMORY, 1, appends);
}

static void test_file(void **state)
{
    enum party_verdict v;
    torture("party_load", TORTURE_MEMORY, 2, loads);
    whole = party_load(buf_bytes(&log_file), &v);
    assert_non_null(whole);
    torture("party_save", TORTURE_MEMORY, 1, saves);
    party_free(whole);
}

static void test_make(void **state)
{
    static const struct {
        const char *name;
        enum party_verdict (*make)(struct made *m);
    } rows[] = {{"party_make_genesis", make_genesis},
                {"party_make_invite", make_invite},
                {"party_make_join", make_join},
                {"party_make_remove", make_remove}};
    enum party_verdict v;
    whole = party_load(buf_bytes(&log_file), &v);
    assert_non_null(whole);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        maker = rows[i].make;
        torture(rows[i].name, TORTURE_MEMORY, 1, makes);
    }
    torture("party_invite_prove", TORTURE_MEMORY, 1, proofs);
    party_free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_append, torture_report),
        cmocka_unit_test_teardown(test_file, torture_report),
        cmocka_unit_test_teardown(test_make, torture_report),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
