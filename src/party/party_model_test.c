/* Random entries, good and bad, against a twin that keeps plain lists and knows the rules of
 * doc/protocol/party.md section 4 as prose: the verdict on each, and after each who is in, as what, where,
 * and which invites stand. WARREN_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "party/party_kit_int.h"

#include <errno.h>

#include <stdio.h>

#include "crypto/hash.h"

#define STEPS       500
#define INVITES_MAX 200

struct twin_member {
    int who;
    int role;
    uint16_t host;
    char name[NAME_CAP];
};

struct twin_invite {
    uint8_t secret[32], id[32];
    int role, author;
    uint32_t uses, used;
    uint64_t expires;
    bool revoked;
};

struct twin {
    struct twin_member members[KIT_PEOPLE];
    int member_count;
    bool removed[KIT_PEOPLE];
    struct twin_invite invites[INVITES_MAX];
    int invite_count;
    uint64_t time;
    char name[NAME_CAP];
    uint32_t pps;
};

/* What happens in one step, in words that the twin understands. */
struct op {
    int type;
    int author;  /* a person, or -1: invite number `invite` */
    int invite;  /* an index, or -1: one that nobody made */
    int subject; /* a person, or -1: the party */
    int role;
    uint16_t host;
    uint32_t uses;
    int64_t life;
    uint64_t time, now;
    char name[2];
};

static struct kit kit;
static struct party *party;
static struct twin twin;

static int below(int bound)
{
    return (int)rng_below(&kit.rng, (uint64_t)bound);
}

static struct twin_member *in(int who)
{
    for (int i = 0; i < twin.member_count; i++)
        if (twin.members[i].who == who)
            return &twin.members[i];
    return NULL;
}

static int owners(void)
{
    int n = 0;
    for (int i = 0; i < twin.member_count; i++)
        n += twin.members[i].role == ROLE_OWNER;
    return n;
}

static bool taken(uint16_t host)
{
    for (int i = 0; i < twin.member_count; i++)
        if (twin.members[i].host == host)
            return true;
    return false;
}

static uint16_t host_of(int who)
{
    for (int attempt = 0; attempt < 256; attempt++) {
        uint8_t hash[32], a = (uint8_t)attempt;
        struct bytes parts[] = {bytes_of_str("warren address v1"), bytes_of(party_id(party), 32),
                                bytes_of(kit.ids[who], 32), bytes_of(&a, 1)};
        sha256(hash, parts, 4);
        uint64_t v = 0;
        for (int i = 0; i < 8; i++)
            v = v << 8 | hash[i];
        uint16_t host = (uint16_t)(1 + v % 65534);
        if (host % 256 != 0 && host % 256 != 255 && !taken(host))
            return host;
    }
    return 0;
}

static enum party_verdict twin_admit(const struct op *o)
{
    if (o->author < 0) {
        if (o->invite < 0)
            return PARTY_INVITE_UNKNOWN;
        const struct twin_invite *i = &twin.invites[o->invite];
        if (i->revoked)
            return PARTY_INVITE_REVOKED;
        if (o->time > i->expires || (o->now && o->now > i->expires))
            return PARTY_INVITE_EXPIRED;
        if (i->used == i->uses)
            return PARTY_INVITE_USED_UP;
        if (o->role != i->role)
            return PARTY_NOT_ALLOWED;
        if (twin.removed[o->subject])
            return PARTY_WAS_REMOVED;
    } else {
        int mine = in(o->author)->role;
        if (mine < ROLE_ADMIN || o->role >= mine)
            return PARTY_NOT_ALLOWED;
    }
    if (in(o->subject))
        return PARTY_ALREADY_MEMBER;
    return o->host == host_of(o->subject) ? PARTY_OK : PARTY_BAD_ADDRESS;
}

static enum party_verdict twin_about_member(const struct op *o, int mine)
{
    const struct twin_member *m = in(o->subject);
    if (!m)
        return PARTY_NO_MEMBER;
    bool self = o->author == o->subject;
    bool staff = mine >= ROLE_ADMIN, lower = m->role <= ROLE_MEMBER;
    bool last = m->role == ROLE_OWNER && owners() == 1;
    switch (o->type) {
    case ENTRY_REMOVE:
        if (!self && mine != ROLE_OWNER && !(mine == ROLE_ADMIN && lower))
            return PARTY_NOT_ALLOWED;
        return last && twin.member_count > 1 ? PARTY_LAST_OWNER : PARTY_OK;
    case ENTRY_ROLE:
        if (mine != ROLE_OWNER && !(mine == ROLE_ADMIN && lower && o->role <= ROLE_MEMBER))
            return PARTY_NOT_ALLOWED;
        return last && o->role != ROLE_OWNER ? PARTY_LAST_OWNER : PARTY_OK;
    case ENTRY_LEASE:
        if (!staff)
            return PARTY_NOT_ALLOWED;
        return o->host % 256 == 0 || o->host % 256 == 255 || taken(o->host) ? PARTY_BAD_ADDRESS : PARTY_OK;
    default:
        return staff || self ? PARTY_OK : PARTY_NOT_ALLOWED;
    }
}

static enum party_verdict twin_judge(const struct op *o)
{
    if (o->author >= 0 && !in(o->author)) {
        /* An unknown author of an admit is taken for an invite, unless it was thrown out. */
        if (o->type != ENTRY_ADMIT || twin.removed[o->author])
            return PARTY_NO_MEMBER;
    }
    if (o->time < twin.time || (o->now && o->time > o->now + PARTY_SKEW_S))
        return PARTY_BAD_TIME;
    if (o->type == ENTRY_ADMIT)
        return o->author >= 0 && !in(o->author) ? PARTY_INVITE_UNKNOWN : twin_admit(o);
    int mine = in(o->author)->role;
    switch (o->type) {
    case ENTRY_INVITE:
        if (mine < ROLE_ADMIN || o->role > ROLE_MEMBER)
            return PARTY_NOT_ALLOWED;
        if (o->uses < 1 || o->uses > 1000)
            return PARTY_MALFORMED;
        return o->life < 1 || o->life > 366 * 86400 ? PARTY_BAD_TIME : PARTY_OK;
    case ENTRY_REVOKE_INVITE:
        if (mine < ROLE_ADMIN)
            return PARTY_NOT_ALLOWED;
        if (o->invite < 0)
            return PARTY_INVITE_UNKNOWN;
        return twin.invites[o->invite].revoked ? PARTY_INVITE_REVOKED : PARTY_OK;
    case ENTRY_POLICY:
        return mine == ROLE_OWNER ? PARTY_OK : PARTY_NOT_ALLOWED;
    case ENTRY_RENAME:
        if (o->subject < 0)
            return mine >= ROLE_ADMIN ? PARTY_OK : PARTY_NOT_ALLOWED;
    }
    return twin_about_member(o, mine);
}

static void twin_drop_invites(int author)
{
    for (int i = 0; i < twin.invite_count; i++)
        if (twin.invites[i].author == author)
            twin.invites[i].revoked = true;
}

static void twin_remove(const struct op *o)
{
    int at = (int)(in(o->subject) - twin.members);
    for (int i = at; i + 1 < twin.member_count; i++)
        twin.members[i] = twin.members[i + 1];
    twin.member_count--;
    twin.removed[o->subject] = o->author != o->subject;
    twin_drop_invites(o->subject);
}

static void twin_apply(const struct op *o, const uint8_t secret[32])
{
    struct twin_member *m = o->subject >= 0 ? in(o->subject) : NULL;
    twin.time = o->time;
    switch (o->type) {
    case ENTRY_ADMIT:
        m = &twin.members[twin.member_count++];
        *m = (struct twin_member){.who = o->subject, .role = o->role, .host = o->host};
        memcpy(m->name, o->name, sizeof o->name);
        twin.removed[o->subject] = false;
        if (o->author < 0)
            twin.invites[o->invite].used++;
        break;
    case ENTRY_REMOVE:
        twin_remove(o);
        break;
    case ENTRY_ROLE:
        m->role = o->role;
        if (o->role < ROLE_ADMIN)
            twin_drop_invites(o->subject);
        break;
    case ENTRY_LEASE:
        m->host = o->host;
        break;
    case ENTRY_INVITE: {
        struct twin_invite *i = &twin.invites[twin.invite_count++];
        *i = (struct twin_invite){.role = o->role, .author = o->author, .uses = o->uses};
        i->expires = o->time + (uint64_t)o->life;
        memcpy(i->secret, secret, 32);
        party_invite_id(i->id, secret);
        break;
    }
    case ENTRY_REVOKE_INVITE:
        twin.invites[o->invite].revoked = true;
        break;
    case ENTRY_RENAME:
        memcpy(m ? m->name : twin.name, o->name, sizeof o->name);
        break;
    case ENTRY_POLICY:
        twin.pps = o->uses;
        break;
    }
}

/* Mostly somebody who is in, so that the log gets somewhere. */
static int somebody(void)
{
    return twin.member_count > 0 && below(4) ? twin.members[below(twin.member_count)].who : below(KIT_PEOPLE);
}

/* Often somebody who may do a thing. */
static int some_author(void)
{
    int who = somebody();
    for (int i = 0; i < 6 && below(8) && !(in(who) && in(who)->role >= ROLE_ADMIN); i++)
        who = somebody();
    return who;
}

/* An invite that may still be good, any, or none. */
static int some_invite(void)
{
    if (twin.invite_count == 0 || below(12) == 0)
        return -1;
    int i = below(3) ? twin.invite_count - 1 - below(5) : below(twin.invite_count);
    return i < 0 ? 0 : i;
}

static struct op random_op(void)
{
    static const uint8_t types[] = {
        ENTRY_ADMIT,  ENTRY_ADMIT,  ENTRY_ADMIT,         ENTRY_ADMIT,  ENTRY_ADMIT, ENTRY_REMOVE,
        ENTRY_ROLE,   ENTRY_ROLE,   ENTRY_ROLE,          ENTRY_LEASE,  ENTRY_LEASE, ENTRY_INVITE,
        ENTRY_INVITE, ENTRY_INVITE, ENTRY_REVOKE_INVITE, ENTRY_RENAME, ENTRY_POLICY};
    struct op o = {.type = types[below((int)sizeof types)],
                   .author = some_author(),
                   .subject = somebody(),
                   .invite = some_invite()};
    if (o.type == ENTRY_ADMIT) {
        o.subject = below(KIT_PEOPLE);
        o.author = below(3) ? -1 : o.author;
    }
    if (o.type == ENTRY_REMOVE && below(3) == 0)
        o.subject = o.author = somebody();
    /* An empty party is an end; not too soon. */
    if (o.type == ENTRY_REMOVE && twin.member_count == 1 && below(10))
        o.subject = OUT;
    if (o.type == ENTRY_RENAME && below(3) == 0)
        o.subject = -1;
    o.role = 1 + below(below(2) ? 2 : 4);
    if (o.type == ENTRY_ADMIT && o.author < 0 && o.invite >= 0 && below(8))
        o.role = twin.invites[o.invite].role;
    o.host = o.type == ENTRY_ADMIT ? host_of(o.subject) : (uint16_t)below(65536);
    if (below(20) == 0)
        o.host ^= 1;
    if (o.type == ENTRY_LEASE && twin.member_count > 0 && below(5) == 0)
        o.host = twin.members[below(twin.member_count)].host;
    o.uses = below(8) ? 1 + (uint32_t)below(4) : (uint32_t)below(2) * 1001;
    o.life = below(12) ? 1 + below(3000) : below(2) ? 366 * 86400 + 1 : 0;
    o.time = twin.time + (uint64_t)below(60);
    if (below(25) == 0)
        o.time -= 1 + (uint64_t)below(60);
    o.now = below(4) == 0 ? 0 : o.time + (uint64_t)below(200) - (below(25) == 0 ? 500 : 100);
    o.name[0] = (char)('a' + below(26));
    return o;
}

/* The entry that the operation means, with a fresh secret where it makes an invite. */
static void write_entry(const struct op *o, struct buf *out, const uint8_t secret[32])
{
    struct entry e = kit_next(&kit, party, (uint8_t)o->type, o->author < 0 ? 0 : o->author);
    struct sign_key *made = NULL, *invite = NULL;
    e.time = o->time;
    static const uint8_t nobody[32] = {0xee};
    if (o->type == ENTRY_ADMIT && o->author < 0) {
        invite = kit_invite_key(o->invite < 0 ? nobody : twin.invites[o->invite].secret);
        node_id_of(e.author, sign_key_public(invite));
    }
    switch (o->type) {
    case ENTRY_ADMIT: {
        uint8_t scratch[POSSESSION_MAX];
        e.u.admit.key = *sign_key_public(kit.keys[o->subject]);
        e.u.admit.role = (uint8_t)o->role;
        e.u.admit.host = o->host;
        memcpy(e.u.admit.name, o->name, 2);
        struct bytes msg =
            possession_message(scratch, party_id(party), kit.ids[o->subject], o->name, e.u.admit.role);
        assert_int_equal(sign_make(kit.keys[o->subject], CONTEXT_JOIN, msg, &kit.rng, e.u.admit.possession),
                         0);
        break;
    }
    case ENTRY_INVITE:
        made = kit_invite_key(secret);
        e.u.invite = (struct entry_invite){*sign_key_public(made), o->uses, o->time + (uint64_t)o->life,
                                           (uint8_t)o->role};
        break;
    case ENTRY_REVOKE_INVITE:
        memcpy(e.u.revoke.invite, o->invite < 0 ? nobody : twin.invites[o->invite].id, 32);
        break;
    case ENTRY_POLICY:
        e.u.policy = (struct party_policy){false, o->uses, 3};
        break;
    case ENTRY_RENAME:
        memcpy(e.u.rename.name, o->name, 2);
        if (o->subject >= 0)
            memcpy(e.u.rename.node, kit.ids[o->subject], 32);
        break;
    case ENTRY_ROLE:
        e.u.role.role = (uint8_t)o->role;
        memcpy(e.u.role.node, kit.ids[o->subject], 32);
        break;
    case ENTRY_LEASE:
        e.u.lease.host = o->host;
        memcpy(e.u.lease.node, kit.ids[o->subject], 32);
        break;
    case ENTRY_REMOVE:
        memcpy(e.u.remove.node, kit.ids[o->subject], 32);
        break;
    }
    kit_sign(&kit, out, &e, invite ? invite : kit.keys[o->author]);
    sign_key_free(made);
    sign_key_free(invite);
}

static void same_members(const struct party *p)
{
    assert_int_equal(party_member_count(p), twin.member_count);
    for (int i = 0; i < twin.member_count; i++) {
        const struct party_member *m = party_member_at(p, (size_t)i);
        const struct twin_member *t = &twin.members[i];
        assert_memory_equal(m->id, kit.ids[t->who], 32);
        assert_int_equal(m->role, t->role);
        assert_int_equal(m->ip4, party_net4(p) | t->host);
        assert_string_equal(m->name, t->name);
        assert_ptr_equal(party_member_by_ip4(p, m->ip4), m);
        assert_ptr_equal(party_member_by_ip6(p, m->ip6), m);
        assert_ptr_equal(party_member_by_mac(p, m->mac), m);
    }
    for (int who = 0; who < KIT_PEOPLE; who++) {
        assert_int_equal(party_member(p, kit.ids[who]) != NULL, in(who) != NULL);
        assert_int_equal(party_was_removed(p, kit.ids[who]), twin.removed[who]);
    }
    assert_int_equal(map_count(p->by_ip4), twin.member_count);
    assert_int_equal(map_count(p->by_mac), twin.member_count);
    assert_int_equal(p->owner_count, owners());
}

static void same_invites(const struct party *p)
{
    assert_int_equal(party_invite_count(p), twin.invite_count);
    for (int i = 0; i < twin.invite_count; i++) {
        const struct party_invite *v = party_invite_at(p, (size_t)i);
        const struct twin_invite *t = &twin.invites[i];
        assert_memory_equal(v->id, t->id, 32);
        assert_memory_equal(v->author, kit.ids[t->author], 32);
        assert_int_equal(v->uses, t->uses);
        assert_int_equal(v->used, t->used);
        assert_int_equal(v->role, t->role);
        assert_int_equal(v->expires, t->expires);
        assert_int_equal(v->revoked, t->revoked);
    }
}

static void same(const struct party *p)
{
    same_members(p);
    same_invites(p);
    assert_string_equal(party_name(p), twin.name);
    assert_int_equal(party_policy(p)->broadcast_pps, twin.pps);
}

static void start(uint64_t seed)
{
    party_free(party);
    kit.rng = rng_seeded(&kit.state, seed);
    party = kit_open(&kit);
    memset(&twin, 0, sizeof twin);
    twin.members[0] =
        (struct twin_member){OWNER, ROLE_OWNER, (uint16_t)party_member_at(party, 0)->ip4, "owner"};
    twin.member_count = 1;
    twin.time = KIT_TIME;
    twin.pps = 200;
    memcpy(twin.name, "Friday", 7);
    same(party);
}

static void step(uint64_t seed, int number, struct buf *b, size_t tally[PARTY_VERDICT_COUNT])
{
    struct op o = random_op();
    uint8_t secret[32];
    rng_fill(&kit.rng, secret, sizeof secret);
    if (o.type == ENTRY_INVITE && twin.invite_count == INVITES_MAX)
        return;
    write_entry(&o, b, secret);
    enum party_verdict want = twin_judge(&o), got = party_append(party, buf_bytes(b), o.now);
    if (got != want)
        fail_msg("WARREN_SEED=%llu step %d type %d: %s, the twin says %s", (unsigned long long)seed, number,
                 o.type, party_verdict_name(got), party_verdict_name(want));
    tally[want]++;
    if (want == PARTY_OK)
        twin_apply(&o, secret);
    same(party);
}

/* Every second party is one whose entries go to a store, some soon, some late. */
static struct buf shelf;

static int shelf_read(void *arg, uint64_t at, uint8_t *p, size_t n)
{
    if (at + n > shelf.n)
        return -EIO;
    memcpy(p, shelf.p + at, n);
    return 0;
}

static void shelve(void)
{
    const struct party_store store = {.read = shelf_read};
    uint64_t have = party_stored_count(party);
    if (have == 0) {
        buf_clear(&shelf);
        party_store_use(party, &store);
    }
    for (uint64_t left = rng_below(&kit.rng, 4); left > 0 && have <= party_seq(party); left--, have++) {
        uint64_t at = shelf.n;
        assert_int_equal(buf_add(&shelf, party_entry(party, have)), 0);
        party_stored(party, at);
        assert_int_equal(party_entry(party, have).n, 0);
    }
}

static void survives_a_file(void)
{
    struct buf file;
    enum party_verdict v;
    buf_init(&file, PARTY_FILE_MAX);
    assert_int_equal(party_save(party, &file), 0);
    struct party *p = party_load(buf_bytes(&file), &v);
    assert_int_equal(v, PARTY_OK);
    same(p);
    assert_memory_equal(party_head(p), party_head(party), 32);
    party_free(p);
    buf_done(&file);
}

static void against_the_twin(void **state)
{
    const char *given = getenv("WARREN_SEED");
    uint64_t first = given ? strtoull(given, NULL, 0) : 1, count = given ? 1 : 4;
    size_t tally[PARTY_VERDICT_COUNT] = {0};
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    buf_init(&shelf, PARTY_FILE_MAX);
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("# WARREN_SEED=%llu\n", (unsigned long long)seed);
        start(seed);
        for (int i = 0; i < STEPS && twin.member_count > 0; i++) {
            step(seed, i, &b, tally);
            if (seed % 2 == 0)
                shelve();
        }
        survives_a_file();
    }
    buf_done(&b);
    buf_done(&shelf);
    for (int i = 0; i < PARTY_VERDICT_COUNT; i++)
        if (tally[i])
            print_message("# %s %zu\n", party_verdict_name((enum party_verdict)i), tally[i]);
    /* A run that never meets a rule proves nothing about it. */
    static const enum party_verdict met[] = {PARTY_OK,
                                             PARTY_BAD_TIME,
                                             PARTY_NOT_ALLOWED,
                                             PARTY_NO_MEMBER,
                                             PARTY_BAD_ADDRESS,
                                             PARTY_ALREADY_MEMBER,
                                             PARTY_INVITE_UNKNOWN,
                                             PARTY_INVITE_REVOKED,
                                             PARTY_INVITE_EXPIRED,
                                             PARTY_INVITE_USED_UP,
                                             PARTY_LAST_OWNER,
                                             PARTY_WAS_REMOVED,
                                             PARTY_MALFORMED};
    for (size_t i = 0; !given && i < sizeof met / sizeof *met; i++)
        assert_true(tally[met[i]] > 0);
}

static int setup(void **state)
{
    kit_init(&kit, 1);
    return 0;
}

static int teardown(void **state)
{
    party_free(party);
    kit_done(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_the_twin)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
