/* The hub's UDP when memory fails: a datagram is lost, as datagrams are; who asks again is answered, nobody
 * is told a falsehood, and the WebSocket does not notice. */
#include "torture.h"

#include "hub/core.h"

static struct hub *sick_new(const struct hub_config *c, usec_t now)
{
    torture_on();
    struct hub *h = hub_new(c, now);
    torture_off();
    if (!h) {
        assert_true(torture_hit());
        assert_int_equal(errno, ENOMEM);
        torture_heal();
        h = hub_new(c, now);
    }
    return h;
}

static void sick_udp(struct hub *h, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t n,
                     usec_t now)
{
    torture_on();
    hub_udp(h, socket, from, p, n, now);
    torture_off();
}

#define hub_new sick_new
#define hub_udp sick_udp
#include "hub/udp_kit_int.h"

static struct udp_kit u;

/* BIND and CONFIRM until BOUND, as a node does. */
static unsigned binds(int node)
{
    unsigned tries = 0;
    for (bool bound = false; !bound && tries < 4; tries++) {
        struct net_addr from = udp_addr(node);
        struct udp_relay m = bind_of(&u, node);
        if (say_relay(&u, node, &from, &m)->n != UDP_RELAY_CHALLENGE_LEN)
            continue;
        m = confirm_of(&u);
        bound = say_relay(&u, node, &from, &m)->n == UDP_RELAY_BOUND_LEN;
        if (bound)
            u.tokens[node] = u.r.m.token;
        else
            torture_heal();
    }
    return tries;
}

static void relays(void)
{
    udp_begin(&u, 21);
    udp_start(&u, 3);
    for (int i = 0; i < 3; i++) {
        unsigned tries = binds(i);
        assert_true(tries == 1 || (tries == 2 && torture_hit()));
    }
    for (int i = 0; i < 3; i++) {
        data(&u, i, (i + 1) % 3);
        assert_relayed(&u, i, (i + 1) % 3);
    }
    /* Another address for the same device: the old one holds until the new one stands. */
    struct net_addr other = net_addr4(0xcb007150, 999);
    challenge(&u, 0, other);
    struct udp_relay m = confirm_of(&u);
    if (say_relay(&u, 0, &other, &m)->n == 0) {
        assert_true(torture_hit());
        data(&u, 0, 1);
        assert_relayed(&u, 0, 1);
    } else {
        assert_int_equal(u.r.m.kind, UDP_RELAY_BOUND);
        send_data(&u, other, u.k.nodes[1].relay, u.r.m.token);
        assert_int_equal(u.r.m.kind, UDP_RELAY_DATA);
    }
    for (int i = 0; i < 3; i++)
        assert_int_not_equal(u.k.nodes[i].conn, 0);
    udp_done(&u);
}

static void test_udp(void **state)
{
    torture("the hub's UDP relay", TORTURE_MEMORY, 1, relays);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_udp, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
