/* The hub lies. What it can do is to be absent; everything else is found out by the first two nodes that
 * talk. */
#include "sim/scenario.h"

static struct node_host *ann, *bob, *cid;

static void three_friends(void)
{
    ann = founder("ann"), bob = machine("bob"), cid = machine("cid");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
}

static bool all_agree(size_t members)
{
    return member_count(ann) == members && member_count(bob) == members && member_count(cid) == members;
}

SCENARIO(it_adds_a_member)
{
    char text[INVITE_CAP];
    three_friends();
    struct hostile *hub = turn_hostile(NULL);
    hub->add = true;
    invite(ann, 1, text);
    RUN(5 * SEC);
    EXPECT(hub->added > 0);
    EXPECT(all_agree(3));
    EXPECT(metric(bob, "warren_node_entries_refused_total") > 0);
    EXPECT(alerted(bob, "hub_bad_entry"));
    WITHIN(1 * SEC, everybody_sees_everybody());
}

SCENARIO(it_puts_its_key_in_a_newcomers_place)
{
    three_friends();
    struct hostile *hub = turn_hostile(bob);
    hub->swap = true;
    struct node_host *dan = machine("dan");
    everybody_joins(ann);
    EXPECT(hub->swapped > 0);
    EXPECT(metric(bob, "warren_node_entries_refused_total") > 0);
    EXPECT(alerted(bob, "hub_bad_entry"));
    WITHIN(10 * SEC, sees(bob, dan) && sees(dan, bob)); /* the true entry came from a friend */
    EXPECT(member_count(bob) == 4);
}

SCENARIO(it_hides_a_removal)
{
    three_friends();
    struct hostile *hub = turn_hostile(bob);
    hub->hide = true;
    hub->hide_from = 3;
    kick(ann, "cid");
    WITHIN(5 * SEC, member_count(bob) == 2);
    EXPECT(hub->hidden > 0);
    WITHIN(1 * SEC, !sees(bob, cid) && sees(bob, ann));
    STAYS(2 * SEC, !sees(bob, cid) && sees(bob, ann));
}

/* The same for somebody who was away and has only the hub's word until the first handshake. */
SCENARIO(it_hides_from_one_who_comes_back)
{
    three_friends();
    node_host_kill(bob);
    kick(ann, "cid");
    RUN(1 * SEC);
    struct hostile *hub = turn_hostile(bob);
    hub->hide = true;
    hub->hide_from = 3;
    node_host_start(bob);
    WITHIN(5 * SEC, sees(bob, ann));
    WITHIN(5 * SEC, member_count(bob) == 2);
    STAYS(1 * SEC, !sees(bob, cid));
}

SCENARIO(it_rolls_back)
{
    three_friends();
    size_t before = journal_mark(world->hub->store);
    kick(ann, "cid");
    RUN(2 * SEC);
    hub_host_kill(world->hub);
    journal_rollback(world->hub->store, before);
    hub_host_start(world->hub);
    WITHIN(10 * SEC, sees(ann, bob) && sees(bob, ann));
    STAYS(3 * SEC, !sees(cid, ann) && !sees(cid, bob));
    EXPECT(member_count(ann) == 2 && member_count(bob) == 2);
    EXPECT(alerted(ann, "hub_rollback") || alerted(bob, "hub_rollback"));
    /* Members keep the log: they give the hub back what it lost, and life goes on. */
    struct node_host *dan = machine("dan");
    char text[INVITE_CAP];
    invite(ann, 1, text);
    join(dan, text);
    WITHIN(5 * SEC, sees(dan, bob));
    EXPECT(member_count(dan) == 3);
}

SCENARIO(it_shows_two_logs)
{
    char text[INVITE_CAP];
    three_friends();
    struct hostile *hub = turn_hostile(bob);
    hub->fork = true;
    invite(ann, 1, text);
    EXPECT(hub->secret.n > 0);
    WITHIN(15 * SEC, hub->forked > 0 &&
                         (alerted(ann, "log_fork") || alerted(bob, "log_fork") || alerted(cid, "log_fork")));
}

SCENARIO(it_names_the_wrong_sender)
{
    three_friends();
    struct hostile *hub = turn_hostile(bob);
    hub->wrong_sender = true;
    for (uint32_t index = 0; index < 8; index++) {
        hub->other_sender = index * index * index * 1000;
        for (int i = 0; i < 20; i++) {
            say(ann, bob, 100);
            RUN(20 * MSEC);
        }
    }
    EXPECT(hub->misnamed > 100);
    EXPECT(heard(bob, cid)->count == 0); /* nothing of ann's became cid's */
    hub->wrong_sender = false;
    WITHIN(15 * SEC, everybody_sees_everybody());
}

SCENARIO(it_repeats_and_changes_frames)
{
    three_friends();
    struct hostile *hub = turn_hostile(bob);
    hub->repeat = 0.2;
    hub->change = 0.1;
    talk(ann, bob, 5 * MSEC, 200);
    RUN(20 * SEC);
    hush();
    hub->repeat = hub->change = 0;
    RUN(1 * SEC);
    EXPECT(hub->repeated > 100 && hub->changed > 100);
    EXPECT(heard(bob, ann)->repeated == 0);
    EXPECT(frames_lost(ann, bob) > 0 && frames_lost(ann, bob) <= (int64_t)hub->changed);
    EXPECT(metric(bob, "warren_node_session_drops_total") >= (int64_t)hub->repeated / 2);
    uint64_t before = heard(bob, ann)->count;
    EXPECT(hostile_replay(hub) > 0);
    RUN(2 * SEC);
    EXPECT(heard(bob, ann)->count == before);
    WITHIN(10 * SEC, everybody_sees_everybody());
}

SCENARIO(it_shuffles_frames)
{
    three_friends();
    struct hostile *hub = turn_hostile(bob);
    world->reordering_allowed = true;
    hub->hold = 0.3;
    talk(ann, bob, 5 * MSEC, 200);
    RUN(20 * SEC);
    hub->hold = 0;
    RUN(1 * SEC);
    hush();
    RUN(1 * SEC);
    EXPECT(hub->held_back > 100);
    EXPECT(heard(bob, ann)->repeated == 0);
    EXPECT(frames_lost(ann, bob) == 0); /* the window takes them all */
}

SCENARIO(it_swallows_everything_for_one)
{
    three_friends();
    struct hostile *hub = turn_hostile(bob);
    hub->drop = 1;
    talk(ann, cid, 20 * MSEC, 100);
    talk(ann, bob, 20 * MSEC, 100);
    WITHIN(10 * SEC, !connected(ann, bob)); /* it does not say connected while nothing is answered */
    hub->drop = 0;
    WITHIN(70 * SEC, sees(ann, bob) && sees(bob, ann));
    hush();
    RUN(1 * SEC);
    EXPECT(frames_lost(ann, cid) == 0);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(it_adds_a_member),
        STORY(it_puts_its_key_in_a_newcomers_place),
        STORY(it_hides_a_removal),
        STORY(it_hides_from_one_who_comes_back),
        STORY(it_rolls_back),
        STORY(it_shows_two_logs),
        STORY(it_names_the_wrong_sender),
        STORY(it_repeats_and_changes_frames),
        STORY(it_shuffles_frames),
        STORY(it_swallows_everything_for_one),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
