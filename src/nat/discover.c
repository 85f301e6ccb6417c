#include <stdlib.h>
#include <string.h>

#include "nat/discover_int.h"

#define SERVER_TRIES  6 /* within DISCOVER_BLOCKED */
#define SPARE_TRIES   5
#define HAIRPIN_TRIES 4
#define RETRY_MAX     (5 * MINUTE) /* between searches for a server where UDP is blocked */
#define BEGIN_AGAIN   (1 * MINUTE) /* at least, between classifications begun because the address changed */
#define LIFE_STEPS    5

/* The first, at once, shows that RESPONSE-PORT works here. */
static const usec_t life_after[LIFE_STEPS] = {0, 10 * SEC, 30 * SEC, 60 * SEC, 120 * SEC};

struct discover {
    struct discover_config c;
    struct half halves[2]; /* IPv4, IPv6 */
    struct discover_event events[DISCOVER_EVENTS_MAX];
    size_t event_first, event_count;
    uint8_t out[DISCOVER_REQUEST6];
};

static void event_put(struct discover *d, const struct discover_event *e)
{
    if (d->event_count == DISCOVER_EVENTS_MAX) {
        d->event_first = (d->event_first + 1) % DISCOVER_EVENTS_MAX;
        d->event_count--;
    }
    d->events[(d->event_first + d->event_count++) % DISCOVER_EVENTS_MAX] = *e;
}

bool discover_event(struct discover *d, struct discover_event *e)
{
    if (d->event_count == 0)
        return false;
    *e = d->events[d->event_first];
    d->event_first = (d->event_first + 1) % DISCOVER_EVENTS_MAX;
    d->event_count--;
    return true;
}

static void tell(struct discover *d, struct half *h, enum discover_event_kind kind)
{
    event_put(d, &(struct discover_event){.kind = kind, .family = h->b.family});
}

static void tell_changes(struct discover *d, struct half *h)
{
    if (!behaviour_same(&h->b, &h->told))
        tell(d, h, DISCOVER_CHANGED);
    h->told = h->b;
}

/* Transactions. */

const struct probe *half_probe(const struct half *h, enum probe_kind kind)
{
    for (size_t i = 0; i < DISCOVER_PROBES_MAX; i++)
        if (h->probes[i].state != PROBE_FREE && h->probes[i].kind == kind)
            return &h->probes[i];
    return NULL;
}

static enum probe_state state_of(const struct half *h, enum probe_kind kind)
{
    const struct probe *p = half_probe(h, kind);
    return p ? p->state : PROBE_FREE;
}

static void probe_start(struct discover *d, struct probe *p, const struct probe *as, usec_t now)
{
    *p = *as;
    rng_fill(&d->c.rng, p->txid, sizeof p->txid);
    p->state = PROBE_OPEN;
    p->tries = as->tries ? as->tries : DISCOVER_TRIES;
    p->first = p->next = now;
}

/* A transaction of the step. The table is larger than what any step starts. */
static void ask(struct discover *d, struct half *h, const struct probe *as, usec_t now)
{
    for (size_t i = 1; i < DISCOVER_PROBES_MAX; i++)
        if (h->probes[i].state == PROBE_FREE) {
            probe_start(d, &h->probes[i], as, now);
            return;
        }
}

static bool any_open(const struct half *h)
{
    for (size_t i = 1; i < DISCOVER_PROBES_MAX; i++)
        if (h->probes[i].state == PROBE_OPEN)
            return true;
    return false;
}

/* After `sent` transmissions the next one, or the end, comes so much later. */
static usec_t rto(unsigned sent)
{
    usec_t t = DISCOVER_RTO << (sent > 0 && sent < 8 ? sent - 1 : 7);
    return usec_min(t, DISCOVER_RTO_MAX);
}

static bool probe_timed_out(const struct probe *p, usec_t now)
{
    bool server = p->kind == PROBE_SERVER || p->kind == PROBE_REFRESH;
    return p->state == PROBE_OPEN && ((p->sent >= p->tries && now >= p->next) ||
                                      (server && usec_since(now, p->first) >= DISCOVER_BLOCKED));
}

/* When something is to be done about it. */
static usec_t probe_wake(const struct probe *p)
{
    bool server = p->kind == PROBE_SERVER || p->kind == PROBE_REFRESH;
    if (p->state != PROBE_OPEN)
        return USEC_NEVER;
    return server ? usec_min(p->next, p->first + DISCOVER_BLOCKED) : p->next;
}

/* SOFTWARE is text that nobody has to understand: the padding that every server takes. (PADDING would make
 * others answer with as much as a packet holds.) */
static struct bytes probe_write(struct discover *d, const struct half *h, const struct probe *p)
{
    static const char text[] = "this request is padded so that the answer to it is never larger than the "
                               "request itself, whatever it tells";
    size_t want = h->b.family == 6 ? DISCOVER_REQUEST6 : DISCOVER_REQUEST4;
    uint8_t txid[STUN_TXID_LEN];
    struct stun_writer w;
    struct wr id = wr_of(txid, sizeof txid);
    wr_u32(&id, d->c.txid_prefix);
    wr_copy(&id, p->txid, sizeof p->txid);
    stun_begin(&w, d->out, sizeof d->out, STUN_REQUEST, STUN_BINDING, txid);
    if (p->change)
        stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, p->change);
    if (p->response_port)
        stun_put_u32(&w, STUN_ATTR_RESPONSE_PORT, (uint32_t)p->response_port << 16);
    _Static_assert(sizeof text > DISCOVER_REQUEST6 - STUN_HEADER_LEN - 4, "enough of it");
    size_t left = want - w.n - 4;
    stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of(text, left));
    return stun_end(&w);
}

bool discover_output(struct discover *d, struct discover_out *out, usec_t now)
{
    for (size_t i = 0; i < 2 * DISCOVER_PROBES_MAX; i++) {
        struct half *h = &d->halves[i / DISCOVER_PROBES_MAX];
        struct probe *p = &h->probes[i % DISCOVER_PROBES_MAX];
        if (p->state != PROBE_OPEN || p->next > now || p->sent >= p->tries)
            continue;
        *out = (struct discover_out){p->socket, p->to, probe_write(d, h, p)};
        p->sent++;
        p->next = now + rto(p->sent);
        return true;
    }
    return false;
}

/* Steps. Each begins with transactions (or none) and ends when none is open.
 *
 * What a search through a hard NAT has to know, mapping and ports, comes first: it takes a few round trips, while
 * the filter is known by silence. But where the filter has to be tested from the data socket, that goes before
 * the mapping, whose tests open it. */

static struct net_addr with_port(const struct net_addr *a, uint16_t port)
{
    struct net_addr b = *a;
    b.port = port;
    return b;
}

void half_sample(struct half *h, const struct net_addr *mapped, uint16_t local)
{
    if (h->sample_count < DISCOVER_SAMPLES && mapped->family)
        h->samples[h->sample_count++] = (struct sample){*mapped, local};
}

static void begin_servers(struct discover *d, struct half *h, usec_t now)
{
    h->has_primary = false;
    h->begun = now;
    h->sample_count = 0;
    for (size_t i = 0; i < h->server_count; i++) {
        h->servers[i].mapped = h->servers[i].other = (struct net_addr){0};
        ask(d, h,
            &(struct probe){.kind = PROBE_SERVER,
                            .index = (uint8_t)i,
                            .socket = h->main.socket,
                            .to = h->servers[i].addr,
                            .tries = SERVER_TRIES},
            now);
    }
}

/* A fresh socket shows the filter; the data socket only where nothing was sent to the other address from it.
 */
static bool filter_socket(const struct half *h, uint32_t *socket)
{
    const struct server *s = half_server(h);
    *socket = h->spare_count ? h->spares[0].socket : h->main.socket;
    for (size_t i = 0; i < h->server_count; i++)
        if (!h->spare_count && i != h->test && net_ip_equal(&h->servers[i].addr, &s->other))
            return false;
    return s->other.family != 0;
}

static void begin_filter(struct discover *d, struct half *h, usec_t now)
{
    struct probe p = {.to = half_server(h)->addr};
    h->filter_both = h->filter_port = PROBE_FREE;
    if (!filter_socket(h, &p.socket))
        return;
    p.kind = PROBE_FILTER_PORT;
    p.change = STUN_CHANGE_PORT;
    ask(d, h, &p, now);
    p.kind = PROBE_FILTER_BOTH;
    p.change = STUN_CHANGE_PORT | STUN_CHANGE_IP;
    if (half_has_other_address(h))
        ask(d, h, &p, now);
}

static void begin_mapping(struct discover *d, struct half *h, usec_t now)
{
    const struct server *s = half_server(h);
    struct probe p = {.socket = h->main.socket};
    if (!s->other.family)
        return;
    p.kind = half_has_other_address(h) ? PROBE_MAP_BOTH : PROBE_MAP_PORT;
    p.to = s->other;
    if (half_has_other_address(h)) {
        struct probe first = {
            .kind = PROBE_MAP_ADDRESS, .socket = h->main.socket, .to = with_port(&s->other, s->addr.port)};
        ask(d, h, &first, now);
    }
    ask(d, h, &p, now);
}

static void begin_ports(struct discover *d, struct half *h, usec_t now)
{
    if (h->spare < h->spare_count)
        ask(d, h,
            &(struct probe){.kind = PROBE_SPARE,
                            .index = (uint8_t)h->spare,
                            .socket = h->spares[h->spare].socket,
                            .to = half_server(h)->addr,
                            .tries = SPARE_TRIES},
            now);
}

/* Where the first spare is mapped to: the filter has to be opened for what comes back from there. */
static const struct net_addr *spare_mapped(const struct half *h)
{
    for (size_t i = 1; i < h->sample_count && h->spare_count; i++)
        if (h->samples[i].local && h->samples[i].local == h->spares[0].port)
            return &h->samples[i].mapped;
    return NULL;
}

static void begin_hairpin(struct discover *d, struct half *h, usec_t now)
{
    struct probe p = {.kind = PROBE_HAIRPIN, .to = half_server(h)->mapped, .tries = HAIRPIN_TRIES};
    p.socket = h->spare_count ? h->spares[0].socket : h->main.socket;
    if (h->b.translated == NAT_ANSWER_NO)
        return;
    ask(d, h, &p, now);
    p.kind = PROBE_HAIRPIN_OPEN;
    p.socket = h->main.socket;
    if (spare_mapped(h)) {
        p.to = *spare_mapped(h);
        ask(d, h, &p, now);
    }
}

static void begin_bind(struct discover *d, struct half *h, usec_t now)
{
    ask(d, h,
        &(struct probe){.kind = PROBE_LIFE_BIND,
                        .socket = h->spares[h->spare_count - 1].socket,
                        .to = half_server(h)->addr},
        now);
}

static void begin_ask(struct discover *d, struct half *h, usec_t now)
{
    struct probe p = {.kind = PROBE_LIFE_ASK,
                      .socket = h->main.socket,
                      .to = half_server(h)->addr,
                      .response_port = h->life_mapped.port};
    ask(d, h, &p, now);
    p.kind = PROBE_LIFE_CONTROL;
    p.response_port = 0;
    ask(d, h, &p, now);
}

static void step_begin(struct discover *d, struct half *h, enum step step, usec_t now)
{
    h->step = step;
    h->step_at = USEC_NEVER;
    memset(h->probes + 1, 0, sizeof h->probes - sizeof *h->probes);
    switch (step) {
    case STEP_SERVERS:
        begin_servers(d, h, now);
        break;
    case STEP_BLOCKED:
        h->step_at = now + h->retry;
        break;
    case STEP_FILTER:
        begin_filter(d, h, now);
        break;
    case STEP_MAPPING:
        begin_mapping(d, h, now);
        break;
    case STEP_PORTS:
        begin_ports(d, h, now);
        break;
    case STEP_HAIRPIN:
        begin_hairpin(d, h, now);
        break;
    case STEP_BIND:
        begin_bind(d, h, now);
        break;
    case STEP_WAIT:
        h->step_at = now + life_after[h->life];
        break;
    case STEP_ASK:
        begin_ask(d, h, now);
        break;
    case STEP_END:
        break;
    }
}

/* The tests go to a server that can do most: with a second address, else a second port, else the first that
 * answered. */
static void choose_test_server(struct half *h)
{
    int best = -1;
    for (size_t i = 0; i < h->server_count; i++) {
        const struct server *s = &h->servers[i];
        int worth = !s->mapped.family ? -1 : !s->other.family ? 0 : net_ip_equal(&s->other, &s->addr) ? 2 : 4;
        worth = worth >= 0 && i == h->primary ? worth + 1 : worth;
        if (worth > best) {
            best = worth;
            h->test = i;
        }
    }
}

static enum step end_servers(struct discover *d, struct half *h, usec_t now)
{
    if (h->has_primary) {
        choose_test_server(h);
        return h->spare_count ? STEP_MAPPING : STEP_FILTER;
    }
    if (h->b.udp != NAT_ANSWER_NO)
        tell(d, h, DISCOVER_UDP_BLOCKED);
    h->b.udp = NAT_ANSWER_NO;
    h->b.mapped = (struct net_addr){0}; /* so that it is told anew */
    h->retry = h->retry ? usec_min(2 * h->retry, RETRY_MAX) : usec_min(d->c.interval, RETRY_MAX);
    h->refresh_at = USEC_NEVER;
    return STEP_BLOCKED;
}

static enum step end_filter(struct half *h)
{
    h->filter_both = state_of(h, PROBE_FILTER_BOTH);
    h->filter_port = state_of(h, PROBE_FILTER_PORT);
    if (!h->spare_count)
        return STEP_MAPPING;
    judge_filtering(h);
    return STEP_HAIRPIN;
}

static enum step end_mapping(struct half *h)
{
    judge_mapping(h);
    h->other_lives = state_of(h, half_has_other_address(h) ? PROBE_MAP_BOTH : PROBE_MAP_PORT) == PROBE_ANSWERED;
    if (!h->spare_count)
        judge_filtering(h);
    half_sample(h, &half_server(h)->mapped, h->main.port);
    /* Without extra sockets the data socket's own mappings, in the order of their making, must do. */
    static const enum probe_kind kinds[] = {PROBE_MAP_ADDRESS, PROBE_MAP_BOTH, PROBE_MAP_PORT};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !h->spare_count; i++) {
        const struct probe *p = half_probe(h, kinds[i]);
        if (p && p->state == PROBE_ANSWERED && h->samples[h->sample_count - 1].mapped.port != p->mapped.port)
            half_sample(h, &p->mapped, h->main.port);
    }
    h->spare = 0;
    return STEP_PORTS;
}

static enum step end_ports(struct half *h)
{
    const struct probe *p = half_probe(h, PROBE_SPARE);
    if (p && p->state == PROBE_ANSWERED)
        half_sample(h, &p->mapped, h->spares[p->index].port);
    if (++h->spare < h->spare_count)
        return STEP_PORTS;
    judge_ports(h);
    judge_addresses(h);
    return h->spare_count ? STEP_FILTER : STEP_HAIRPIN;
}

static enum step end_hairpin(struct discover *d, struct half *h)
{
    const struct probe *p = half_probe(h, PROBE_HAIRPIN), *open = half_probe(h, PROBE_HAIRPIN_OPEN);
    if (p)
        h->b.hairpin = p->state == PROBE_ANSWERED || (open && open->state == PROBE_ANSWERED) ? NAT_ANSWER_YES
                                                                                             : NAT_ANSWER_NO;
    h->b.complete = true;
    tell_changes(d, h);
    tell(d, h, DISCOVER_COMPLETE);
    h->life = 0;
    h->life_again = false;
    h->life_mapped = (struct net_addr){0};
    h->b.lifetime_min = h->b.lifetime_max = 0;
    return h->spare_count && !d->c.no_lifetime ? STEP_BIND : STEP_END;
}

static enum step end_lifetime(struct half *h)
{
    h->b.lifetime_complete = true;
    return STEP_END;
}

/* Lived through the step. */
static enum step life_next(struct half *h, enum step then)
{
    h->b.lifetime_min = life_after[h->life];
    return ++h->life < LIFE_STEPS ? then : end_lifetime(h);
}

static enum step end_bind(struct half *h)
{
    const struct probe *p = half_probe(h, PROBE_LIFE_BIND);
    struct net_addr was = h->life_mapped;
    if (p->state != PROBE_ANSWERED)
        return end_lifetime(h);
    h->life_mapped = p->mapped;
    if (!h->life_again || !was.family)
        return STEP_WAIT;
    if (!net_addr_equal(&was, &p->mapped)) {
        h->b.lifetime_max = life_after[h->life];
        return end_lifetime(h);
    }
    return life_next(h, STEP_WAIT);
}

/* Where the server cannot answer to another port, the spare's own next request shows whether it got another
 * mapping. That says nothing where a new one would be the same as the old. */
static enum step life_compare(struct half *h)
{
    bool tells = h->b.translated == NAT_ANSWER_YES &&
                 (h->b.ports == NAT_CHOICE_SEQUENTIAL || h->b.ports == NAT_CHOICE_RANDOM);
    if (!tells || h->life > 0)
        return end_lifetime(h);
    h->life_again = true;
    h->life = 1;
    return STEP_WAIT;
}

static enum step end_ask(struct half *h)
{
    const struct probe *p = half_probe(h, PROBE_LIFE_ASK);
    bool there = p->state == PROBE_ANSWERED && p->came_on == h->spares[h->spare_count - 1].socket &&
                 p->came_on != h->main.socket;
    if (there)
        return life_next(h, STEP_BIND);
    if (p->state != PROBE_SILENT || h->life == 0)
        return life_compare(h);
    if (state_of(h, PROBE_LIFE_CONTROL) == PROBE_ANSWERED)
        h->b.lifetime_max = life_after[h->life];
    return end_lifetime(h);
}

static enum step step_end(struct discover *d, struct half *h, usec_t now)
{
    switch (h->step) {
    case STEP_SERVERS:
        return end_servers(d, h, now);
    case STEP_BLOCKED:
        return STEP_SERVERS;
    case STEP_FILTER:
        return end_filter(h);
    case STEP_MAPPING:
        return end_mapping(h);
    case STEP_PORTS:
        return end_ports(h);
    case STEP_HAIRPIN:
        return end_hairpin(d, h);
    case STEP_BIND:
        return end_bind(h);
    case STEP_WAIT:
        return h->life_again ? STEP_BIND : STEP_ASK;
    case STEP_ASK:
        return end_ask(h);
    case STEP_END:
        break;
    }
    return STEP_END;
}

static void advance(struct discover *d, struct half *h, usec_t now)
{
    while (h->on && h->step != STEP_END && !any_open(h) && (h->step_at == USEC_NEVER || now >= h->step_at)) {
        enum step next = step_end(d, h, now);
        tell_changes(d, h);
        step_begin(d, h, next, now);
    }
}

/* Answers. */

static void set_mapped(struct discover *d, struct half *h, const struct probe *p, usec_t now)
{
    bool moved = h->b.mapped.family && !net_ip_equal(&h->b.mapped, &p->mapped);
    bool changed = !net_addr_equal(&h->b.mapped, &p->mapped);
    h->b.udp = NAT_ANSWER_YES;
    h->b.mapped = p->mapped;
    h->retry = 0;
    h->refresh_at = d->c.interval == USEC_NEVER ? USEC_NEVER : now + d->c.interval;
    judge_translated(h, &d->c);
    if (changed)
        event_put(d, &(struct discover_event){.kind = DISCOVER_MAPPED,
                                              .family = h->b.family,
                                              .socket = h->main.socket,
                                              .mapped = p->mapped,
                                              .server = p->to,
                                              .rtt = p->sent == 1 ? usec_since(now, p->first) : 0});
    if (moved && p->kind == PROBE_REFRESH && usec_since(now, h->begun) >= BEGIN_AGAIN)
        step_begin(d, h, STEP_SERVERS, now);
}

/* An alternate that a server may aim us at: as public, or as private, as itself. */
static bool other_ok(const struct net_addr *other, const struct net_addr *server)
{
    return other->family == server->family && other->port &&
           net_addr_scope(other) == net_addr_scope(server) && !net_addr_equal(other, server);
}

static void server_answered(struct discover *d, struct half *h, const struct probe *p,
                            const struct stun_message *m, usec_t now)
{
    struct server *s = &h->servers[p->index];
    s->mapped = p->mapped;
    /* The tests need the other port, too. */
    if (other_ok(&m->other, &s->addr) && m->other.port != s->addr.port)
        s->other = m->other;
    if (h->has_primary)
        return;
    h->has_primary = true;
    h->primary = p->index;
    set_mapped(d, h, p, now);
}

/* Whether an answer may come from there. */
static bool source_ok(const struct half *h, const struct probe *p, const struct net_addr *from)
{
    const struct server *s = half_server(h);
    struct net_addr port = with_port(&s->addr, s->other.port);
    if (p->kind == PROBE_FILTER_BOTH)
        return net_addr_equal(from, &s->other);
    return net_addr_equal(from, p->kind == PROBE_FILTER_PORT ? &port : &p->to);
}

static bool mapped_ok(const struct half *h, const struct net_addr *a)
{
    return a->family == h->b.family && a->port && net_addr_scope(a) != NET_NONE;
}

static void answered(struct discover *d, struct half *h, struct probe *p, const struct stun_message *m,
                     usec_t now)
{
    p->state = PROBE_ANSWERED;
    p->mapped = m->mapped;
    if (p->kind == PROBE_SERVER)
        server_answered(d, h, p, m, now);
    else if (p->kind == PROBE_REFRESH)
        set_mapped(d, h, p, now);
    else if (p->kind == PROBE_FILTER_BOTH) /* there is no filter: the other question is moot */
        for (size_t i = 1; i < DISCOVER_PROBES_MAX; i++)
            if (h->probes[i].kind == PROBE_FILTER_PORT)
                h->probes[i].state = PROBE_FREE;
}

static void take(struct discover *d, struct half *h, struct probe *p, const struct stun_message *m,
                 uint32_t socket, const struct net_addr *from, usec_t now)
{
    bool hairpin = p->kind == PROBE_HAIRPIN || p->kind == PROBE_HAIRPIN_OPEN;
    p->came_on = socket;
    if (m->class == STUN_REQUEST) {
        /* Our own, back through the NAT. */
        for (size_t i = 1; i < DISCOVER_PROBES_MAX && hairpin; i++)
            if (h->probes[i].state == PROBE_OPEN)
                h->probes[i].state = PROBE_SILENT;
        if (hairpin)
            p->state = PROBE_ANSWERED;
    } else if (m->class == STUN_ERROR && net_addr_equal(from, &p->to) && p->state == PROBE_OPEN) {
        p->state = PROBE_REFUSED;
    } else if (m->class == STUN_SUCCESS && !hairpin && mapped_ok(h, &m->mapped)) {
        if (source_ok(h, p, from))
            answered(d, h, p, m, now);
        else if (net_addr_equal(from, &p->to))
            p->state = PROBE_REFUSED; /* it does not know what was asked for, and answered as ever */
    }
    tell_changes(d, h);
    advance(d, h, now);
}

/* An answer that is late is still one, as long as the transaction is remembered. */
static struct probe *find(struct discover *d, const struct stun_message *m, struct half **half)
{
    for (size_t i = 0; i < 2 * DISCOVER_PROBES_MAX; i++) {
        struct half *h = &d->halves[i / DISCOVER_PROBES_MAX];
        struct probe *p = &h->probes[i % DISCOVER_PROBES_MAX];
        *half = h;
        if ((p->state == PROBE_OPEN || p->state == PROBE_SILENT) && p->sent > 0 &&
            !memcmp(p->txid, m->txid + STUN_TXID_LEN - DISCOVER_TXID_OWN, DISCOVER_TXID_OWN))
            return p;
    }
    return NULL;
}

bool discover_input(struct discover *d, uint32_t socket, const struct net_addr *from, struct bytes in,
                    usec_t now)
{
    struct stun_message m;
    if (stun_read(&m, in) != 0 || m.method != STUN_BINDING)
        return false;
    struct rd id = rd_of(bytes_of(m.txid, sizeof m.txid));
    if (rd_u32(&id) != d->c.txid_prefix)
        return false;
    struct half *h;
    struct probe *p = find(d, &m, &h);
    if (p)
        take(d, h, p, &m, socket, from, now);
    return true; /* a stale one of ours otherwise */
}

/* Time. */

static void refresh(struct discover *d, struct half *h, usec_t now)
{
    h->refresh_at = d->c.interval == USEC_NEVER ? USEC_NEVER : now + d->c.interval;
    if (!h->has_primary || h->probes[0].state == PROBE_OPEN)
        return;
    probe_start(d, &h->probes[0],
                &(struct probe){.kind = PROBE_REFRESH,
                                .index = (uint8_t)h->primary,
                                .socket = h->main.socket,
                                .to = h->servers[h->primary].addr,
                                .tries = SERVER_TRIES},
                now);
}

static void half_tick(struct discover *d, struct half *h, usec_t now)
{
    for (size_t i = 0; i < DISCOVER_PROBES_MAX; i++)
        if (probe_timed_out(&h->probes[i], now))
            h->probes[i].state = PROBE_SILENT;
    /* The server that answered first is gone, or all of UDP: look at all of them again. */
    if (h->probes[0].state == PROBE_SILENT) {
        h->probes[0].state = PROBE_FREE;
        step_begin(d, h, STEP_SERVERS, now);
    }
    if (now >= h->refresh_at)
        refresh(d, h, now);
    advance(d, h, now);
}

void discover_tick(struct discover *d, usec_t now)
{
    for (size_t i = 0; i < 2; i++)
        if (d->halves[i].on)
            half_tick(d, &d->halves[i], now);
}

usec_t discover_wake(const struct discover *d)
{
    usec_t wake = USEC_NEVER;
    for (size_t i = 0; i < 2; i++) {
        const struct half *h = &d->halves[i];
        if (!h->on)
            continue;
        wake = usec_min(wake, usec_min(h->refresh_at, h->step_at));
        for (size_t k = 0; k < DISCOVER_PROBES_MAX; k++)
            wake = usec_min(wake, probe_wake(&h->probes[k]));
    }
    return wake;
}

static void half_start(struct discover *d, struct half *h, uint8_t family, usec_t now)
{
    const struct discover_config *c = &d->c;
    size_t spares = family == 6 ? c->spare6_count : c->spare4_count;
    memset(h, 0, sizeof *h);
    h->b.family = h->told.family = family;
    h->main = family == 6 ? c->main6 : c->main4;
    h->spare_count = spares < DISCOVER_SPARES_MAX ? spares : DISCOVER_SPARES_MAX;
    memcpy(h->spares, family == 6 ? c->spares6 : c->spares4, h->spare_count * sizeof *h->spares);
    for (size_t i = 0; i < c->server_count && i < 2 * DISCOVER_SERVERS_MAX; i++)
        if (c->servers[i].family == family && c->servers[i].port && h->server_count < DISCOVER_SERVERS_MAX)
            h->servers[h->server_count++].addr = c->servers[i];
    h->on = (family == 6 ? c->has6 : c->has4) && h->server_count > 0;
    h->refresh_at = h->step_at = USEC_NEVER;
    if (h->on)
        step_begin(d, h, STEP_SERVERS, now);
}

void discover_restart(struct discover *d, const struct discover_config *c, usec_t now)
{
    if (c)
        d->c = *c;
    if (d->c.interval == 0)
        d->c.interval = DISCOVER_INTERVAL;
    if (d->c.interval < DISCOVER_INTERVAL_MIN)
        d->c.interval = DISCOVER_INTERVAL_MIN;
    d->event_count = 0;
    half_start(d, &d->halves[0], 4, now);
    half_start(d, &d->halves[1], 6, now);
}

struct discover *discover_new(const struct discover_config *c, usec_t now)
{
    struct discover *d = calloc(1, sizeof *d);
    if (d)
        discover_restart(d, c, now);
    return d;
}

void discover_free(struct discover *d)
{
    free(d);
}

void discover_interval(struct discover *d, usec_t interval, usec_t now)
{
    d->c.interval = interval < DISCOVER_INTERVAL_MIN ? DISCOVER_INTERVAL_MIN : interval;
    for (size_t i = 0; i < 2; i++) {
        struct half *h = &d->halves[i];
        if (h->has_primary)
            h->refresh_at = interval == USEC_NEVER ? USEC_NEVER : now + d->c.interval;
    }
}

void discover_summary(const struct discover *d, uint8_t family, struct nat_behaviour *b)
{
    *b = d->halves[family == 6].b;
}
