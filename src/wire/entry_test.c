#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/entry.h"

#include <errno.h>
#include <string.h>

#include "base/rng.h"
#include "crypto/hash.h"

#define HEADER  114 /* all before the body's length */
#define LONGEST "0123456789012345678901234567890123456789012345678901234567890123"

static void random_key(struct sign_public *key, const struct rng *rng)
{
    rng_fill(rng, key, sizeof *key);
}

static struct entry sample(uint8_t type)
{
    struct rng_seeded state;
    struct rng rng = rng_seeded(&state, 1000u + type);
    struct entry e = {.type = type, .seq = 7, .time = 1800000000};
    rng_fill(&rng, e.party, sizeof e.party);
    rng_fill(&rng, e.prev, sizeof e.prev);
    rng_fill(&rng, e.author, sizeof e.author);
    rng_fill(&rng, e.sig, sizeof e.sig);
    switch (type) {
    case ENTRY_GENESIS:
        e.u.genesis = (struct entry_genesis){.name = "Friday",
                                             .owner = "anna",
                                             .mode = MODE_TAP,
                                             .net4 = 0x0a4d0000,
                                             .host = 0x1234,
                                             .policy = {true, 200, 3}};
        random_key(&e.u.genesis.key, &rng);
        rng_fill(&rng, e.u.genesis.salt, 32);
        rng_fill(&rng, e.u.genesis.net6, 8);
        break;
    case ENTRY_ADMIT:
        e.u.admit = (struct entry_admit){.name = LONGEST, .role = ROLE_MEMBER, .host = 0x4321};
        random_key(&e.u.admit.key, &rng);
        rng_fill(&rng, e.u.admit.possession, SIGN_SIG_LEN);
        break;
    case ENTRY_REMOVE:
        rng_fill(&rng, e.u.remove.node, NODE_ID_LEN);
        break;
    case ENTRY_ROLE:
        rng_fill(&rng, e.u.role.node, NODE_ID_LEN);
        e.u.role.role = ROLE_OWNER;
        break;
    case ENTRY_LEASE:
        rng_fill(&rng, e.u.lease.node, NODE_ID_LEN);
        e.u.lease.host = 77;
        break;
    case ENTRY_INVITE:
        e.u.invite = (struct entry_invite){.uses = 5, .expires = 1800003600, .role = ROLE_GUEST};
        random_key(&e.u.invite.key, &rng);
        break;
    case ENTRY_REVOKE_INVITE:
        rng_fill(&rng, e.u.revoke.invite, INVITE_ID_LEN);
        break;
    case ENTRY_RENAME:
        rng_fill(&rng, e.u.rename.node, NODE_ID_LEN);
        memcpy(e.u.rename.name, "b\xc3\xb6rge", 7);
        break;
    case ENTRY_POLICY:
        e.u.policy = (struct party_policy){false, 0xfffffffe, 1};
        break;
    }
    return e;
}

static size_t put(uint8_t out[ENTRY_MAX], const struct entry *e)
{
    struct wr w = wr_of(out, ENTRY_MAX);
    entry_write(&w, e);
    assert_true(wr_ok(&w));
    return w.n;
}

static void lengths(void **state)
{
    static const size_t body[ENTRY_TYPE_COUNT] = {
        [ENTRY_GENESIS] = 2624 + 7 + 5 + 32 + 1 + 4 + 8 + 2 + 6,
        [ENTRY_ADMIT] = 2624 + 65 + 1 + 2 + 4691,
        [ENTRY_REMOVE] = 32,
        [ENTRY_ROLE] = 33,
        [ENTRY_LEASE] = 34,
        [ENTRY_INVITE] = 2624 + 4 + 8 + 1,
        [ENTRY_REVOKE_INVITE] = 32,
        [ENTRY_RENAME] = 32 + 7,
        [ENTRY_POLICY] = 6,
    };
    for (uint8_t t = 1; t < ENTRY_TYPE_COUNT; t++) {
        uint8_t out[ENTRY_MAX];
        struct entry e = sample(t);
        assert_int_equal(put(out, &e), HEADER + 2 + body[t] + SIGN_SIG_LEN);
        assert_int_equal(out[0], ENTRY_VERSION);
        assert_int_equal(out[1], t);
        assert_int_equal(out[HEADER] << 8 | out[HEADER + 1], body[t]);
    }
}

static void round_trip(void **state)
{
    for (uint8_t t = 1; t < ENTRY_TYPE_COUNT; t++) {
        uint8_t out[ENTRY_MAX], again[ENTRY_MAX];
        struct entry e = sample(t), back;
        size_t n = put(out, &e);
        assert_int_equal(entry_read(&back, bytes_of(out, n)), 0);
        assert_int_equal(put(again, &back), n);
        assert_memory_equal(again, out, n);
    }
}

static void every_truncation_and_addition(void **state)
{
    for (uint8_t t = 1; t < ENTRY_TYPE_COUNT; t++) {
        uint8_t out[ENTRY_MAX + 1] = {0};
        struct entry e = sample(t), back = {.seq = 99};
        size_t n = put(out, &e);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(entry_read(&back, bytes_of(out, cut)), -EBADMSG);
        assert_int_equal(entry_read(&back, bytes_of(out, n + 1)), -EBADMSG);
        assert_int_equal(entry_read(&back, bytes_of(out, ENTRY_MAX + 1)), -EBADMSG);
        assert_int_equal(back.seq, 99);
    }
}

static void the_key_alone(void **state)
{
    for (uint8_t t = 1; t < ENTRY_TYPE_COUNT; t++) {
        uint8_t out[ENTRY_MAX];
        struct entry e = sample(t);
        struct sign_public key = {{0}};
        size_t n = put(out, &e);
        const struct sign_public *want = t == ENTRY_GENESIS  ? &e.u.genesis.key
                                         : t == ENTRY_ADMIT  ? &e.u.admit.key
                                         : t == ENTRY_INVITE ? &e.u.invite.key
                                                             : NULL;
        assert_int_equal(entry_key(&key, bytes_of(out, n)), want ? 0 : -EBADMSG);
        if (!want)
            continue;
        assert_memory_equal(&key, want, sizeof key);
        assert_int_equal(entry_key(&key, bytes_of(out, ENTRY_KEY_END)), 0);
        for (size_t cut = 0; cut < ENTRY_KEY_END; cut++)
            assert_int_equal(entry_key(&key, bytes_of(out, cut)), -EBADMSG);
        out[0]++;
        assert_int_equal(entry_key(&key, bytes_of(out, n)), -EBADMSG);
        assert_memory_equal(&key, want, sizeof key);
    }
}

/* A flip is refused, or is read as something that is written as exactly these bytes. */
static void every_flip_is_canonical(void **state)
{
    for (uint8_t t = 1; t < ENTRY_TYPE_COUNT; t++) {
        uint8_t out[ENTRY_MAX], again[ENTRY_MAX];
        struct entry e = sample(t), back;
        size_t n = put(out, &e), refused = 0;
        for (size_t i = 0; i < n; i += i < n - SIGN_SIG_LEN ? 1 : 97) {
            out[i] ^= 0x80;
            if (entry_read(&back, bytes_of(out, n)) == 0) {
                assert_int_equal(put(again, &back), n);
                assert_memory_equal(again, out, n);
            } else {
                refused++;
            }
            out[i] ^= 0x80;
        }
        /* Version, type and the body's length at least. */
        assert_true(refused >= 4);
    }
}

static void bad_form(void **state)
{
    static const struct {
        const char *what;
        uint8_t type;
        size_t at; /* in the body */
        uint8_t value;
        int want;
    } rows[] = {
        {"control character in the party's name", ENTRY_GENESIS, 2624 + 1, '\n', -EBADMSG},
        {"NUL in the party's name", ENTRY_GENESIS, 2624 + 1, 0, -EBADMSG},
        {"space before the name", ENTRY_GENESIS, 2624 + 1, ' ', -EBADMSG},
        {"not UTF-8", ENTRY_GENESIS, 2624 + 1, 0xff, -EBADMSG},
        {"another letter", ENTRY_GENESIS, 2624 + 1, 'M', 0},
        {"mode 0", ENTRY_GENESIS, 2624 + 12 + 32, 0, -EBADMSG},
        {"mode 3", ENTRY_GENESIS, 2624 + 12 + 32, MODE_WIREGUARD, 0},
        {"mode 4", ENTRY_GENESIS, 2624 + 12 + 32, 4, -EBADMSG},
        {"bool 2", ENTRY_GENESIS, 2624 + 12 + 32 + 15, 2, -EBADMSG},
        {"no cipher", ENTRY_GENESIS, 2624 + 12 + 32 + 20, 0, -EBADMSG},
        {"unknown cipher", ENTRY_GENESIS, 2624 + 12 + 32 + 20, 4, -EBADMSG},
        {"admit as nothing", ENTRY_ADMIT, 2624 + 65, ROLE_NONE, -EBADMSG},
        {"admit as owner is form", ENTRY_ADMIT, 2624 + 65, ROLE_OWNER, 0},
        {"admit as more", ENTRY_ADMIT, 2624 + 65, ROLE_COUNT, -EBADMSG},
        {"role 0", ENTRY_ROLE, 32, 0, -EBADMSG},
        {"role 5", ENTRY_ROLE, 32, 5, -EBADMSG},
        {"invite role 0", ENTRY_INVITE, 2624 + 12, 0, -EBADMSG},
        {"invite role 5", ENTRY_INVITE, 2624 + 12, 5, -EBADMSG},
        {"policy bool", ENTRY_POLICY, 0, 0xff, -EBADMSG},
        {"policy ciphers", ENTRY_POLICY, 5, 0, -EBADMSG},
        {"policy ciphers both", ENTRY_POLICY, 5, 3, 0},
        {"empty name", ENTRY_RENAME, 32, 0, -EBADMSG},
        {"name shorter than its text", ENTRY_RENAME, 32, 5, -EBADMSG},
        {"name longer than its text", ENTRY_RENAME, 32, 7, -EBADMSG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[ENTRY_MAX];
        struct entry e = sample(rows[i].type), back;
        size_t n = put(out, &e);
        out[HEADER + 2 + rows[i].at] = rows[i].value;
        if (entry_read(&back, bytes_of(out, n)) != rows[i].want)
            fail_msg("%s", rows[i].what);
    }
    for (unsigned t = 0; t < 256; t++) {
        uint8_t out[ENTRY_MAX];
        struct entry e = sample(ENTRY_REMOVE), back;
        size_t n = put(out, &e);
        out[1] = (uint8_t)t;
        /* A body of 32 bytes also fits revoke-invite. */
        bool fits = t == ENTRY_REMOVE || t == ENTRY_REVOKE_INVITE;
        assert_int_equal(entry_read(&back, bytes_of(out, n)), fits ? 0 : -EBADMSG);
        out[1] = ENTRY_REMOVE;
        out[0] = (uint8_t)t;
        assert_int_equal(entry_read(&back, bytes_of(out, n)), t == ENTRY_VERSION ? 0 : -EBADMSG);
    }
}

/* A name of 65 bytes has no room anywhere. */
static void long_name(void **state)
{
    uint8_t out[ENTRY_MAX];
    struct entry e = sample(ENTRY_RENAME), back;
    memcpy(e.u.rename.name, LONGEST, NAME_CAP);
    size_t n = put(out, &e);
    assert_int_equal(entry_read(&back, bytes_of(out, n)), 0);
    uint8_t longer[ENTRY_MAX];
    size_t name = HEADER + 2 + 32;
    memcpy(longer, out, name + 1 + 64);
    longer[name + 1 + 64] = 'x';
    memcpy(longer + name + 1 + 65, out + name + 1 + 64, SIGN_SIG_LEN);
    longer[name] = 65;
    longer[HEADER + 1]++;
    assert_int_equal(entry_read(&back, bytes_of(longer, n + 1)), -EBADMSG);
}

static void the_hash_leaves_the_signature_out(void **state)
{
    for (uint8_t t = 1; t < ENTRY_TYPE_COUNT; t++) {
        uint8_t out[ENTRY_MAX], want[32], got[32];
        struct entry e = sample(t);
        size_t n = put(out, &e) - SIGN_SIG_LEN;
        struct bytes parts[] = {bytes_of("warren party entry v1", 21), bytes_of(out, n)};
        sha256(want, parts, 2);
        entry_hash(got, &e);
        assert_memory_equal(got, want, 32);
        e.sig[0] ^= 1;
        entry_hash(got, &e);
        assert_memory_equal(got, want, 32);
        e.time++;
        entry_hash(got, &e);
        assert_memory_not_equal(got, want, 32);
    }
}

static void writer_refuses(void **state)
{
    uint8_t out[ENTRY_MAX];
    struct entry e = sample(ENTRY_ADMIT);
    size_t n = put(out, &e);
    struct wr w = wr_of(out, n - 1);
    entry_write(&w, &e);
    assert_false(wr_ok(&w));
    const uint8_t unknown[] = {0, ENTRY_TYPE_COUNT, 255};
    for (size_t i = 0; i < 3; i++) {
        e.type = unknown[i];
        w = wr_of(out, sizeof out);
        entry_write(&w, &e);
        assert_false(wr_ok(&w));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(every_truncation_and_addition),
        cmocka_unit_test(the_key_alone),
        cmocka_unit_test(every_flip_is_canonical),
        cmocka_unit_test(bad_form),
        cmocka_unit_test(long_name),
        cmocka_unit_test(the_hash_leaves_the_signature_out),
        cmocka_unit_test(writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
