#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "party/party_kit_int.h"

#include "crypto/hash.h"

static struct kit kit;
static struct party *world;

/* The rule again, one attempt of it, by hand. */
static uint16_t host_by_hand(const uint8_t party[32], const uint8_t node[32], uint8_t attempt)
{
    uint8_t in[17 + 32 + 32 + 1], hash[32];
    memcpy(in, "warren address v1", 17);
    memcpy(in + 17, party, 32);
    memcpy(in + 49, node, 32);
    in[81] = attempt;
    struct bytes part = bytes_of(in, sizeof in);
    sha256(hash, &part, 1);
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | hash[i];
    return (uint16_t)(v % 65534 + 1);
}

static bool edge(uint16_t host)
{
    return host % 256 == 0 || host % 256 == 255;
}

static void plain_and_edges(void **state)
{
    static const uint8_t salt[32] = {9};
    struct rng_seeded s;
    struct rng rng = rng_seeded(&s, 5);
    size_t edges = 0, twice = 0;
    for (int i = 0; i < 40000; i++) {
        uint8_t node[32];
        rng_fill(&rng, node, sizeof node);
        uint16_t first = host_by_hand(salt, node, 0), second = host_by_hand(salt, node, 1);
        uint16_t got = party_address(NULL, salt, node);
        assert_false(edge(got));
        assert_int_equal(got, party_address(NULL, salt, node));
        if (!edge(first)) {
            assert_int_equal(got, first);
        } else if (!edge(second)) {
            edges++;
            assert_int_equal(got, second);
        } else {
            twice++;
            assert_int_equal(got, host_by_hand(salt, node, 2));
        }
    }
    /* 1 in 128 ends in 0 or 255; 1 in 16384 does so twice. */
    assert_in_range(edges, 200, 420);
    assert_in_range(twice, 1, 10);
}

/* Random nodes until 20 of them meet a member of the world at their first attempt. */
static void collisions_by_brute_force(void **state)
{
    struct rng_seeded s;
    struct rng rng = rng_seeded(&s, 6);
    const uint8_t *id = party_id(world);
    size_t met = 0;
    for (int i = 0; i < 1000000 && met < 20; i++) {
        uint8_t node[32];
        rng_fill(&rng, node, sizeof node);
        uint16_t first = host_by_hand(id, node, 0), second = host_by_hand(id, node, 1);
        if (!party_member_by_ip4(world, party_net4(world) | first))
            continue;
        met++;
        assert_false(edge(second));
        assert_int_equal(party_address(world, id, node), second);
        /* Without a party nobody is in the way. */
        assert_int_equal(party_address(NULL, id, node), first);
    }
    assert_int_equal(met, 20);
}

static void lease_to(struct party *p, int who, uint16_t host)
{
    struct entry e = kit_next(&kit, p, ENTRY_LEASE, OWNER);
    memcpy(e.u.lease.node, kit.ids[who], NODE_ID_LEN);
    e.u.lease.host = host;
    kit_must(kit_append(&kit, p, &e, kit.keys[OWNER], 0));
}

/* Members on the first three hosts of a newcomer; when they go elsewhere, the hosts are free again. */
static void a_newcomer_steps_aside(void **state)
{
    struct party *p = kit_world(&kit);
    const uint8_t *id = party_id(p);
    static const int in_the_way[] = {MEMBER, GUEST, ADMIN};
    uint16_t want[4], n = 0;
    for (uint8_t attempt = 0; n < 4; attempt++) {
        uint16_t host = host_by_hand(id, kit.ids[OUT], attempt);
        if (!edge(host) && !party_member_by_ip4(p, party_net4(p) | host))
            want[n++] = host;
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(party_address(p, id, kit.ids[OUT]), want[i]);
        lease_to(p, in_the_way[i], want[i]);
    }
    assert_int_equal(party_address(p, id, kit.ids[OUT]), want[3]);
    struct entry e = kit_next(&kit, p, ENTRY_ADMIT, OWNER);
    kit_fill_admit(&kit, p, &e, OUT, ROLE_GUEST);
    e.u.admit.host = want[0];
    assert_int_equal(kit_judge(&kit, p, &e, kit.keys[OWNER], 0), PARTY_BAD_ADDRESS);
    /* The first of them goes elsewhere, and its host is the newcomer's. */
    lease_to(p, MEMBER, 7);
    e = kit_next(&kit, p, ENTRY_ADMIT, OWNER);
    kit_fill_admit(&kit, p, &e, OUT, ROLE_GUEST);
    assert_int_equal(e.u.admit.host, want[0]);
    assert_int_equal(kit_append(&kit, p, &e, kit.keys[OWNER], 0), PARTY_OK);
    const struct party_member *m = party_member(p, kit.ids[OUT]);
    assert_int_equal(m->ip4, party_net4(p) | want[0]);
    assert_ptr_equal(party_member_by_ip4(p, m->ip4), m);
    assert_ptr_equal(party_member_by_ip4(p, party_net4(p) | 7), party_member(p, kit.ids[MEMBER]));
    party_free(p);
}

static void mac_and_ip6(void **state)
{
    uint8_t in[13 + 64], hash[32], mac[6], ip6[16];
    const struct party_member *m = party_member(world, kit.ids[GUEST]);
    memcpy(in + 13, party_id(world), 32);
    memcpy(in + 45, kit.ids[GUEST], 32);
    memcpy(in, "warren mac v1", 13);
    struct bytes part = bytes_of(in, sizeof in);
    sha256(hash, &part, 1);
    party_mac(mac, party_id(world), kit.ids[GUEST]);
    assert_int_equal(mac[0], 2);
    assert_memory_equal(mac + 1, hash, 5);
    assert_memory_equal(m->mac, mac, 6);
    memcpy(in, "warren ip6 v1", 13);
    sha256(hash, &part, 1);
    party_ip6(ip6, party_net6(world), party_id(world), kit.ids[GUEST]);
    assert_memory_equal(ip6, party_net6(world), 8);
    assert_memory_equal(ip6 + 8, hash, 8);
    assert_memory_equal(m->ip6, ip6, 16);
    assert_ptr_equal(party_member_by_mac(world, mac), m);
    assert_ptr_equal(party_member_by_ip6(world, ip6), m);
    mac[5] ^= 1;
    ip6[15] ^= 1;
    assert_null(party_member_by_mac(world, mac));
    assert_null(party_member_by_ip6(world, ip6));
}

/* 40 and 64 bits are more than a test can collide by force: the tables are told of a member that has them. */
static void a_taken_mac_or_interface_is_refused(void **state)
{
    uint8_t mac[6], ip6[16];
    struct entry e = kit_next(&kit, world, ENTRY_ADMIT, OWNER);
    kit_fill_admit(&kit, world, &e, OUT, ROLE_GUEST);
    party_mac(mac, party_id(world), kit.ids[OUT]);
    party_ip6(ip6, party_net6(world), party_id(world), kit.ids[OUT]);
    assert_int_equal(map_put(world->by_mac, mac, world), 0);
    assert_int_equal(kit_judge(&kit, world, &e, kit.keys[OWNER], 0), PARTY_BAD_ADDRESS);
    map_del(world->by_mac, mac);
    assert_int_equal(map_put(world->by_ip6, ip6, world), 0);
    assert_int_equal(kit_judge(&kit, world, &e, kit.keys[OWNER], 0), PARTY_BAD_ADDRESS);
    map_del(world->by_ip6, ip6);
    assert_int_equal(kit_judge(&kit, world, &e, kit.keys[OWNER], 0), PARTY_OK);
}

static void pools(void **state)
{
    static const struct {
        uint32_t net4;
        bool allowed;
    } rows[] = {
        {0x0a000000, true},  {0x0aff0000, true},  {0x09ff0000, false}, {0x0b000000, false},
        {0x0a000100, false}, {0x0a000001, false}, {0xac100000, true},  {0xac1f0000, true},
        {0xac0f0000, false}, {0xac200000, false}, {0xc0a80000, true},  {0xc0a70000, false},
        {0xc0a90000, false}, {0x64400000, true},  {0x647f0000, true},  {0x64800000, false},
        {0x643f0000, false}, {0xc6120000, true},  {0xc6130000, true},  {0xc6140000, false},
        {0x00000000, false}, {0x7f000000, false}, {0xa9fe0000, false}, {0xe0000000, false},
        {0xffff0000, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(party_net4_allowed(rows[i].net4), rows[i].allowed);
    bool seen[64] = {0};
    size_t count = 0;
    for (int i = 0; i < 2000; i++) {
        uint32_t net4 = party_pick_net4(&kit.rng);
        assert_int_equal(net4 >> 24, 10);
        assert_in_range(net4 >> 16 & 0xff, 64, 127);
        assert_int_equal(net4 & 0xffff, 0);
        count += !seen[(net4 >> 16 & 0xff) - 64];
        seen[(net4 >> 16 & 0xff) - 64] = true;
    }
    assert_int_equal(count, 64);
}

static int setup(void **state)
{
    kit_init(&kit, 2);
    world = kit_world(&kit);
    return 0;
}

static int teardown(void **state)
{
    party_free(world);
    kit_done(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_edges),
        cmocka_unit_test(collisions_by_brute_force),
        cmocka_unit_test(a_newcomer_steps_aside),
        cmocka_unit_test(mac_and_ip6),
        cmocka_unit_test(a_taken_mac_or_interface_is_refused),
        cmocka_unit_test(pools),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
