/* A party is made, somebody is invited, and a moment later they are on one LAN. */
#include "sim/scenario.h"

SCENARIO(ping_within_a_second_of_joining)
{
    struct node_host *ann = founder("ann"), *bob = machine("bob");
    char text[INVITE_CAP];
    create(ann, "lan");
    invite(ann, 1, text);
    EXPECT(!bob->stream); /* it has never seen a hub */
    join(bob, text);
    WITHIN(1 * SEC, sees(bob, ann));
    WITHIN(1 * SEC, sees(ann, bob));
    EXPECT(path_kind(ann, bob) == PATH_WS_RELAY);
    EXPECT(member_count(ann) == 2 && member_count(bob) == 2);
    /* Four access lines of 8 ms and four of the hub's 2 ms there and back. */
    WITHIN(2 * SEC, peer_number(ann, bob, "rtt_ms") >= 36 && peer_number(ann, bob, "rtt_ms") <= 50);
}

SCENARIO(from_behind_any_box)
{
    static const struct nat_config boxes[] = {
        {.mapping = NAT_ENDPOINT, .filtering = NAT_ENDPOINT, .ports = NAT_PORT_KEEP},
        {.mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM},
        {.udp_blocked = true},
    };
    struct node_host *ann = founder("ann");
    create(ann, "lan");
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "guest%zu", i);
        machine_at(site_home(world->net, NULL, name, &boxes[i]), name, NULL);
    }
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
    talk(ann, world->nodes[2], 20 * MSEC, 500);
    talk(world->nodes[3], world->nodes[1], 20 * MSEC, 500);
    RUN(10 * SEC);
    hush();
    RUN(1 * SEC);
    EXPECT(frames_sent(ann, world->nodes[2]) == 501 && frames_lost(ann, world->nodes[2]) == 0);
    EXPECT(frames_lost(world->nodes[3], world->nodes[1]) == 0);
}

SCENARIO(three_modes)
{
    struct node_host *ann = founder("ann"), *bob = machine("bob");
    EXPECT(!create_as(ann, "packets", "tun"));
    everybody_joins(ann);
    WITHIN(1 * SEC, sees(bob, ann));
    EXPECT(!device_of(bob)->tap);
    EXPECT(device_of(bob)->ip4 >> 16 == device_of(ann)->ip4 >> 16);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(ping_within_a_second_of_joining),
        STORY(from_behind_any_box),
        STORY(three_modes),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
