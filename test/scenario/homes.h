/* Two homes with a router each, and a hand on the wires between them: what scenarios about paths share. */
#ifndef WARREN_SCENARIO_HOMES_H
#define WARREN_SCENARIO_HOMES_H

#include "sim/scenario.h"
#include "wire/data.h"

static const struct nat_config port_restricted = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP};

/* What happens to UDP on its way out of a host. */
struct wires {
    struct node_host *ann, *bob;
    struct site *home_a, *home_b;
    bool cut_a, cut_b;   /* direct packets of ann, of bob vanish */
    bool cut_hub_udp;    /* those of both for the hub vanish */
    bool cut_streams;    /* the streams to the hub stall */
    bool streams;        /* direct ones get through */
    usec_t slow;         /* direct packets are so much later */
    usec_t slow_hub_udp; /* those for the hub */
    bool (*each)(struct wires *w, struct node_host *from,
                 struct packet *p); /* direct packets; false: it vanishes; may be NULL */
};

static inline bool for_hub(const struct packet *p)
{
    return net_ip_equal(&p->to, p->to.family == 4 ? &world->hub->host->ip4 : &world->hub->host->ip6);
}

static inline bool wires_tap(void *arg, struct host *h, struct packet *p)
{
    struct wires *w = arg;
    bool is_ann = h == w->ann->host;
    if (!is_ann && h != w->bob->host)
        return true;
    if (p->proto != NAT_UDP) /* direct streams have scenarios of their own */
        return for_hub(p) ? !w->cut_streams : w->streams;
    if (for_hub(p)) {
        p->held += w->slow_hub_udp;
        return !w->cut_hub_udp;
    }
    if (is_ann ? w->cut_a : w->cut_b)
        return false;
    p->held += w->slow;
    return !w->each || w->each(w, is_ann ? w->ann : w->bob, p);
}

static inline void cut(struct wires *w, bool off)
{
    w->cut_a = w->cut_b = off;
}

/* The round trip between the two homes; the hub is half as far, so the relay's is the same and 4 ms. */
static inline void round_trip(struct wires *w, usec_t rtt)
{
    struct node_host *const all[] = {w->ann, w->bob};
    struct site *const homes[] = {w->home_a, w->home_b};
    for (size_t i = 0; i < 2; i++) {
        all[i]->host->up.config.delay = all[i]->host->down.config.delay = rtt / 8;
        homes[i]->up.config.delay = homes[i]->down.config.delay = rtt / 8;
    }
}

static inline bool direct(const struct wires *w)
{
    return path_of(w->ann, w->bob)->kind == PATH_UDP && path_of(w->bob, w->ann)->kind == PATH_UDP;
}

static inline bool relayed(const struct wires *w)
{
    enum path_kind a = path_of(w->ann, w->bob)->kind, b = path_of(w->bob, w->ann)->kind;
    return (a == PATH_UDP_RELAY || a == PATH_WS_RELAY) && (b == PATH_UDP_RELAY || b == PATH_WS_RELAY);
}

/* Ann and Bob, each at home behind a box of this kind, in one party, and what lies between them. */
static inline void two_homes(struct wires *w, const struct nat_config *a, const struct nat_config *b,
                             usec_t rtt)
{
    *w = (struct wires){0};
    world->direct = world->reordering_allowed = true;
    w->home_a = site_home(world->net, NULL, "home-a", a);
    w->home_b = site_home(world->net, NULL, "home-b", b);
    w->ann = founder_at(w->home_a, "ann");
    w->bob = machine_at(w->home_b, "bob", NULL);
    round_trip(w, rtt);
    world->net->tap = wires_tap;
    world->net->tap_arg = w;
    create(w->ann, "lan");
    everybody_joins(w->ann);
    WITHIN(5 * SEC, sees(w->ann, w->bob) && sees(w->bob, w->ann));
}

/* Figures of many times the same thing, in milliseconds where they are times. */
#define FIGURES_MAX 4096
struct figures {
    size_t n;
    usec_t t[FIGURES_MAX];
};

static inline void figure(struct figures *f, usec_t t)
{
    EXPECT(f->n < FIGURES_MAX);
    f->t[f->n++] = t;
}

static inline int usec_order(const void *a, const void *b)
{
    usec_t x = *(const usec_t *)a, y = *(const usec_t *)b;
    return (x > y) - (x < y);
}

static inline usec_t figures_at(struct figures *f, unsigned percent)
{
    EXPECT(f->n > 0);
    qsort(f->t, f->n, sizeof *f->t, usec_order);
    return f->t[(f->n - 1) * percent / 100];
}

static inline void figures_say(struct figures *f, const char *what)
{
    fprintf(stderr, "# %s: %zu times, median %.1f ms, p99 %.1f ms, most %.1f ms\n", what, f->n,
            (double)figures_at(f, 50) / MSEC, (double)figures_at(f, 99) / MSEC,
            (double)figures_at(f, 100) / MSEC);
}

#endif
