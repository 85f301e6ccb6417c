/* What discover.c (transactions and their order) and discover_judge.c (what answers mean) share. */
#ifndef WARREN_NAT_DISCOVER_INT_H
#define WARREN_NAT_DISCOVER_INT_H

#include "nat/discover.h"
#include "wire/stun.h"

#define DISCOVER_TXID_OWN (STUN_TXID_LEN - 4) /* behind the prefix */
#define DISCOVER_SAMPLES  (1 + DISCOVER_SPARES_MAX + DISCOVER_SERVERS_MAX)

enum probe_kind {
    PROBE_SERVER,       /* data socket to server `index` */
    PROBE_REFRESH,      /* the same, later */
    PROBE_FILTER_BOTH,  /* CHANGE-REQUEST for the other address and port */
    PROBE_FILTER_PORT,  /* CHANGE-REQUEST for the other port */
    PROBE_MAP_ADDRESS,  /* data socket to the other address, same port */
    PROBE_MAP_BOTH,     /* data socket to the other address, other port */
    PROBE_MAP_PORT,     /* data socket to the same address, other port */
    PROBE_SPARE,        /* spare `index` to the server */
    PROBE_HAIRPIN,      /* to our own mapped address */
    PROBE_HAIRPIN_OPEN, /* from the data socket to the prober's, so that a filter lets the former in */
    PROBE_LIFE_BIND,    /* the last spare to the server */
    PROBE_LIFE_ASK,     /* data socket to the server, answer to the spare's mapping */
    PROBE_LIFE_CONTROL  /* data socket to the server, plain: silence means something only where this is
                           answered */
};
enum probe_state { PROBE_FREE, PROBE_OPEN, PROBE_ANSWERED, PROBE_REFUSED, PROBE_SILENT };

struct probe {
    enum probe_state state;
    enum probe_kind kind;
    uint8_t index;
    uint8_t txid[DISCOVER_TXID_OWN];
    uint32_t socket;
    struct net_addr to;
    uint32_t change;
    uint16_t response_port;
    unsigned sent, tries;
    usec_t first, next;
    struct net_addr mapped; /* answered */
    uint32_t came_on;       /* answered: the socket */
};

/* In the order of their turns, but that with spares FILTER comes behind PORTS; from BIND to ASK round and round. */
enum step {
    STEP_SERVERS,
    STEP_BLOCKED,
    STEP_FILTER,
    STEP_MAPPING,
    STEP_PORTS,
    STEP_HAIRPIN,
    STEP_BIND,
    STEP_WAIT,
    STEP_ASK,
    STEP_END
};

struct server {
    struct net_addr addr, other; /* other.family 0: none told */
    struct net_addr mapped;      /* family 0: did not answer */
};

struct sample {
    struct net_addr mapped;
    uint16_t local; /* port; 0: not known */
};

/* One family. */
struct half {
    bool on;
    struct discover_socket main, spares[DISCOVER_SPARES_MAX];
    size_t spare_count;
    struct server servers[DISCOVER_SERVERS_MAX];
    size_t server_count, primary /* answered first; refreshes go there */, test /* the tests' */;
    bool has_primary;
    enum step step;
    struct probe probes[DISCOVER_PROBES_MAX]; /* the first is the refresh's */
    struct nat_behaviour b, told;
    usec_t refresh_at, step_at, begun, retry;
    enum probe_state filter_both, filter_port;
    bool other_lives; /* the endpoint that the filter's tests are answered from answered the mapping's */
    struct sample samples[DISCOVER_SAMPLES]; /* in the order in which the mappings were made */
    size_t sample_count;
    size_t spare;    /* whose turn it is */
    size_t life;     /* step of the lifetime */
    bool life_again; /* RESPONSE-PORT does not work: compare mappings instead */
    struct net_addr life_mapped;
};

/* Where the tests go: the address and port asked, and what the server said is its other. */
static inline const struct server *half_server(const struct half *h)
{
    return &h->servers[h->test];
}

static inline bool half_has_other_address(const struct half *h)
{
    const struct server *s = half_server(h);
    return s->other.family && !net_ip_equal(&s->other, &s->addr);
}

const struct probe *half_probe(const struct half *h, enum probe_kind kind);
void half_sample(struct half *h, const struct net_addr *mapped, uint16_t local);

void judge_translated(struct half *h, const struct discover_config *c);
void judge_mapping(struct half *h);
void judge_filtering(struct half *h);
void judge_ports(struct half *h);
void judge_addresses(struct half *h);
bool behaviour_same(const struct nat_behaviour *a, const struct nat_behaviour *b);

#endif
