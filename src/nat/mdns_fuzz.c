#include <stdlib.h>
#include <string.h>

#include "nat/mdns.h"
#include "wire/dns.h"

/* Bytes in a row: what | then a datagram, time, a change of ports or of members. What leaves is readable,
 * tables stay in their bounds. */

static struct dns_message msg;

static void pulled(struct mdns *m, usec_t now)
{
    struct mdns_out o;
    struct mdns_event ev;
    struct mdns_counts c;
    unsigned outs = 0, events = 0;
    while (mdns_output(m, now, &o)) {
        if (o.data.n > MDNS_DATAGRAM_MAX || dns_read(&msg, o.data) != 0 || ++outs > 64)
            abort();
    }
    while (mdns_event(m, &ev)) {
        if (ev.node[0] != 2 || ++events > MDNS_EVENTS_MAX)
            abort();
    }
    mdns_counts(m, &c);
    if (c.found > MDNS_FOUND_MAX)
        abort();
}

static void members_set(struct mdns *m, uint8_t parties, usec_t now)
{
    struct mdns_member all[2 * 20];
    size_t n = 0;
    for (uint8_t p = 0; p < parties % 20; p++) {
        for (uint8_t node = 1; node <= 2; node++) {
            all[n].self = node == 1;
            memset(all[n].party, p, MDNS_ID_LEN);
            memset(all[n++].node, node, MDNS_ID_LEN);
        }
    }
    mdns_set_members(m, all, n, now);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct rng_seeded state;
    struct rng rng = rng_seeded(&state, 1);
    struct rd r = rd_of(bytes_of(p, n));
    usec_t now = 1000 * SEC;
    struct mdns *m = mdns_new(&rng, now);
    if (!m)
        return 0;
    mdns_clock(m, now, 20000ull * 86400);
    members_set(m, 2, now);
    mdns_ports(m, 40000, 50000, now);
    mdns_start(m, now);
    while (rd_left(&r) > 0) {
        uint8_t what = rd_u8(&r);
        struct net_addr from = net_addr4(0x0a000000u | (what >> 4), what & 8 ? 1000 : MDNS_PORT);
        if ((what & 7) < 3)
            mdns_input(m, 4, &from, rd_block16(&r, MDNS_INPUT_MAX), now);
        else if ((what & 7) == 3)
            now += rd_u8(&r) * (50 * MSEC) << (what >> 5);
        else if ((what & 7) == 4)
            mdns_ports(m, rd_u8(&r), rd_u8(&r), now);
        else if ((what & 7) == 5)
            members_set(m, rd_u8(&r), now);
        else if ((what & 7) == 6)
            what & 16 ? mdns_stop(m, now) : mdns_start(m, now);
        else
            mdns_clock(m, now, rd_u64(&r));
        mdns_tick(m, now);
        pulled(m, now);
        if (mdns_wake(m) < 1000 * SEC)
            abort();
    }
    mdns_free(m);
    return 0;
}
