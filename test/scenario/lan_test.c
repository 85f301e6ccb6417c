/* What a LAN does, and what this one refuses to do. */
#include "sim/scenario.h"

static struct node_host *ann, *bob, *eve;

static void three_friends(void)
{
    ann = founder("ann"), bob = machine("bob"), eve = machine("eve");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
}

SCENARIO(unicast_broadcast_multicast)
{
    three_friends();
    for (int i = 0; i < 50; i++) {
        say(ann, bob, 1200);
        RUN(5 * MSEC);
    }
    RUN(1 * SEC);
    EXPECT(frames_sent(ann, bob) == 50 && frames_lost(ann, bob) == 0);
    EXPECT(heard(eve, ann)->count == 0); /* not meant for her */
    for (uint64_t i = 1; i <= 20; i++) {
        device_broadcast(device_of(ann), i);
        device_multicast(device_of(ann), i);
        node_host_pump(ann);
        RUN(50 * MSEC);
    }
    RUN(1 * SEC);
    EXPECT(heard(bob, ann)->broadcasts == 40 && heard(eve, ann)->broadcasts == 40);
    EXPECT(device_of(bob)->multicast_in == 20);
    EXPECT(heard(ann, ann)->broadcasts == 0); /* no echo */
}

SCENARIO(arp_is_answered_at_home)
{
    three_friends();
    struct device *a = device_of(ann), *b = device_of(bob);
    device_forget_arp(a);
    uint64_t asked = b->arp_requests_in + device_of(eve)->arp_requests_in;
    device_arp(a, b->ip4);
    node_host_pump(ann);
    EXPECT(device_knows(a, b->ip4)); /* no time has passed */
    uint64_t replies = a->arp_replies_in;
    device_arp(a, a->net4 | 0x1234); /* nobody's, or almost surely so */
    node_host_pump(ann);
    RUN(1 * SEC);
    EXPECT(a->arp_replies_in == replies);
    EXPECT(b->arp_requests_in + device_of(eve)->arp_requests_in <=
           asked + 2); /* an unknown address may be asked for, once each */
}

SCENARIO(storms_are_capped)
{
    three_friends();
    uint64_t before = heard(bob, ann)->broadcasts;
    for (uint64_t i = 1; i <= 4000; i++) {
        device_broadcast(device_of(ann), i);
        node_host_pump(ann);
        RUN(500); /* 2000 a second */
    }
    RUN(1 * SEC);
    uint64_t got = heard(bob, ann)->broadcasts - before;
    EXPECT(got >= 400 && got <= 900); /* 200 a second for two seconds and a burst of 400 */
    WITHIN(1 * SEC, sees(ann, bob));  /* unicast does not suffer */
}

SCENARIO(nobody_speaks_for_another)
{
    three_friends();
    struct device *a = device_of(ann), *b = device_of(bob), *e = device_of(eve);
    uint64_t before = a->frames_in;
    RUN(2 * SEC);
    before = a->frames_in;
    device_spoof(e, a->ip4, b->mac, b->ip4, 1); /* as bob altogether */
    device_spoof(e, a->ip4, e->mac, b->ip4, 2); /* bob's IP address behind her own MAC */
    device_spoof(e, a->ip4, b->mac, e->ip4, 3);
    device_claim(e, b->ip4);
    node_host_pump(eve);
    RUN(2 * SEC);
    EXPECT(a->frames_in == before);
    EXPECT(heard(ann, eve)->count == 0);
    say(eve, ann, 100); /* in her own name she may */
    RUN(1 * SEC);
    EXPECT(heard(ann, eve)->count == 1);
}

SCENARIO(no_dhcp_from_strangers_and_mss_fits)
{
    three_friends();
    device_dhcp_discover(device_of(eve));
    device_tcp_syn(device_of(eve), device_of(ann)->ip4, 8960);
    node_host_pump(eve);
    RUN(1 * SEC);
    EXPECT(device_of(ann)->dhcp_in == 0 && device_of(bob)->dhcp_in == 0);
    EXPECT(device_of(ann)->last_mss == device_of(ann)->mtu - 40);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(unicast_broadcast_multicast),
        STORY(arp_is_answered_at_home),
        STORY(storms_are_capped),
        STORY(nobody_speaks_for_another),
        STORY(no_dhcp_from_strangers_and_mss_fits),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
