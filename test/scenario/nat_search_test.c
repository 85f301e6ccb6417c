/* When searches through hard NATs begin, when they do not, and what they leave behind. */
#include "nat/hard.h"
#include "test/scenario/nat_grid.h"

#define METRIC(of, name) metric((of), "warren_node_" name "_total")

static size_t sockets_of(const struct node_host *n)
{
    size_t count = 0;
    for (const struct udp_socket *u = n->host->sockets; u; u = u->next)
        count++;
    return count;
}

static struct site *place(size_t k, const char *name)
{
    return grid_site(&kinds[k], NULL, name);
}

/* In one party, known to each other and to what their NATs do, and silent. */
static void silent_pair(size_t a, size_t b)
{
    grid_pair(place(a, "home-a"), place(b, "home-b"));
    hush();
    *path_of(ann, bob) = *path_of(bob, ann) = (struct world_path){0};
    node_host_kill(bob);
    RUN(2 * SEC);
    node_host_start(bob);
    WITHIN(5 * SEC, connected(ann, bob) && connected(bob, ann));
}

static bool searched(void)
{
    return METRIC(ann, "searches_begun") + METRIC(bob, "searches_begun") > 0;
}

SCENARIO(nobody_searches_without_traffic)
{
    silent_pair(K_PORT, K_RANDOM);
    int64_t before = METRIC(ann, "searches_begun");
    RUN(40 * SEC);
    EXPECT(METRIC(ann, "searches_begun") == before && METRIC(bob, "searches_begun") == 0);
    EXPECT(!both_direct());
    grid_talk();
    WITHIN(13 * SEC, both_direct());
    EXPECT(METRIC(bob, "searches_found") == 1);
}

SCENARIO(a_ping_is_traffic)
{
    silent_pair(K_PORT, K_SEQ1);
    RUN(20 * SEC);
    EXPECT(!both_direct());
    node_host_ask(bob, "{\"cmd\":\"ping\",\"peer\":\"ann\",\"count\":30,\"interval_ms\":1000}");
    WITHIN(10 * SEC, both_direct());
}

SCENARIO(two_random_ones_do_not_search)
{
    grid_pair(place(K_RANDOM, "home-a"), place(K_RANDOM, "home-b"));
    RUN(40 * SEC);
    EXPECT(!searched());
    EXPECT(strstr(peer_text(ann, bob, "why"), "random") != NULL);
}

SCENARIO(who_switched_searches_off_is_not_searched_with)
{
    struct node_host_config c;
    world->searches_at_will = world->direct = world->reordering_allowed = true;
    node_host_config_default(&c);
    c.limits.search = 0;
    ann = founder_at(place(K_PORT, "home-a"), "ann");
    bob = machine_at(place(K_RANDOM, "home-b"), "bob", &c);
    create(ann, "lan");
    everybody_joins(ann);
    grid_talk();
    RUN(60 * SEC);
    EXPECT(METRIC(bob, "searches_begun") == 0);
    EXPECT(METRIC(ann, "searches_begun") == 1 && METRIC(ann, "searches_failed") == 1);
    EXPECT(!both_direct());
}

/* Nothing gets through between the homes. */
static bool only_hub(void *arg, struct host *h, struct packet *p)
{
    return p->proto != NAT_UDP || h == world->hub->host || net_ip_equal(&p->to, &world->hub->host->ip4);
}

SCENARIO(one_that_failed_is_not_repeated_for_half_an_hour)
{
    world->net->tap = only_hub;
    grid_pair(place(K_PORT, "home-a"), place(K_RANDOM, "home-b"));
    size_t before = sockets_of(bob);
    WITHIN(10 * SEC, sockets_of(bob) == before + HARD_SOCKETS_MAX);
    WITHIN(15 * SEC, sockets_of(bob) == before);
    RUN(1 * SEC);
    EXPECT(METRIC(bob, "searches_failed") == 1 && METRIC(ann, "searches_failed") == 1);
    hush();
    talk(ann, bob, 20 * SEC, 100);
    RUN(25 * MINUTE);
    EXPECT(METRIC(bob, "searches_begun") == 1 && METRIC(ann, "searches_begun") == 1);
    world->net->tap = NULL;
    WITHIN(10 * MINUTE, both_direct());
    EXPECT(METRIC(bob, "searches_begun") == 2);
}

SCENARIO(the_socket_that_was_found_lives_as_long_as_its_way)
{
    grid_pair(place(K_PORT, "home-a"), place(K_RANDOM, "home-b"));
    size_t before = sockets_of(bob);
    WITHIN(15 * SEC, both_direct());
    RUN(1 * SEC);
    EXPECT(sockets_of(bob) > before && sockets_of(bob) <= before + 3);
    STAYS(200 * SEC, both_direct());
    node_host_stop(ann);
    WITHIN(60 * SEC, sockets_of(bob) == before);
}

SCENARIO(a_move_ends_the_search)
{
    world->net->tap = only_hub;
    grid_pair(place(K_PORT, "home-a"), place(K_RANDOM, "home-b"));
    size_t before = sockets_of(bob);
    WITHIN(10 * SEC, sockets_of(bob) > before + 100);
    world->net->tap = NULL;
    node_host_move(bob, place(K_PORT, "home-c"), true);
    WITHIN(10 * SEC, both_direct());
    RUN(5 * SEC);
    EXPECT(sockets_of(bob) == before);
}

SCENARIO(a_peer_that_dies_ends_the_search)
{
    world->net->tap = only_hub;
    grid_pair(place(K_PORT, "home-a"), place(K_RANDOM, "home-b"));
    size_t before = sockets_of(bob);
    WITHIN(10 * SEC, sockets_of(bob) > before + 100);
    node_host_kill(ann);
    WITHIN(15 * SEC, sockets_of(bob) == before);
    world->net->tap = NULL;
    node_host_start(ann);
    grid_talk();
    WITHIN(20 * SEC, both_direct());
}

/* One after the other: a node searches with one peer at a time. */
SCENARIO(a_hard_one_among_many)
{
    enum { FRIENDS = 4 };
    struct node_host *friends[FRIENDS];
    char name[8];
    world->searches_at_will = world->direct = world->reordering_allowed = true;
    ann = founder_at(place(K_RANDOM, "home-a"), "ann");
    create(ann, "lan");
    RUN(5 * SEC);
    for (size_t i = 0; i < FRIENDS; i++) {
        snprintf(name, sizeof name, "bob%zu", i);
        friends[i] = machine_at(place(K_PORT, name), name, NULL);
    }
    everybody_joins(ann);
    for (size_t i = 0; i < FRIENDS; i++) {
        talk(ann, friends[i], 200 * MSEC, 100);
        talk(friends[i], ann, 200 * MSEC, 100);
    }
    for (usec_t until = world_age() + 60 * SEC; world_age() < until;) {
        size_t direct = 0;
        EXPECT(sockets_of(ann) < NODE_SOCKETS_MAX);
        for (size_t i = 0; i < FRIENDS; i++)
            direct += grid_direct(path_of(ann, friends[i])) && grid_direct(path_of(friends[i], ann));
        if (direct == FRIENDS)
            return;
        RUN(50 * MSEC);
    }
    EXPECT(!"all are direct within a minute");
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(nobody_searches_without_traffic),
        STORY(a_ping_is_traffic),
        STORY(two_random_ones_do_not_search),
        STORY(who_switched_searches_off_is_not_searched_with),
        STORY(one_that_failed_is_not_repeated_for_half_an_hour),
        STORY(the_socket_that_was_found_lives_as_long_as_its_way),
        STORY(a_move_ends_the_search),
        STORY(a_peer_that_dies_ends_the_search),
        STORY(a_hard_one_among_many),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
