#include "node/whys_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/relays_int.h"
#include "node/underlay_int.h"

#define LOOKING_FIRST (3 * SEC)  /* of a round, before reasons are given for its having found nothing */
#define DIED_LATELY   (30 * SEC) /* a path that died so long ago is still worth a word */

/* Days since 1970-01-01 to the calendar: 400 years are 146097 days, and years are counted from March, so that
 * the leap day is the last one. */
void time_text(char out[WHY_TIME_CAP], uint64_t unix_s)
{
    uint64_t day = unix_s / 86400 + 719468, second = unix_s % 86400;
    uint64_t era = day / 146097, of_era = day % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (unsigned)((5 * of_year + 2) / 153),
             date = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    snprintf(out, WHY_TIME_CAP, "%04u-%02u-%02u %02u:%02u:%02u UTC", (unsigned)(year % 10000), month, date,
             (unsigned)(second / 3600), (unsigned)(second / 60 % 60), (unsigned)(second % 60));
}

/* ---- Collecting. */

static enum why_udp udp_here(const struct node *n)
{
    const struct underlay *u = n->underlay;
    struct nat_behaviour b4, b6;
    underlay_behaviour(n, 4, &b4);
    underlay_behaviour(n, 6, &b6);
    if (b4.udp == NAT_ANSWER_YES || b6.udp == NAT_ANSWER_YES || u->bind.state == BIND_BOUND)
        return WHY_UDP_WORKS;
    return b4.udp == NAT_ANSWER_NO || b6.udp == NAT_ANSWER_NO ? WHY_UDP_BLOCKED : WHY_UDP_UNKNOWN;
}

static enum hard_mapping nat_there(const struct direct_message *m)
{
    if (m->mapping == DIRECT_MAPPING_UNKNOWN)
        return HARD_UNKNOWN;
    if (m->mapping == DIRECT_MAPPING_ENDPOINT)
        return HARD_EASY;
    return m->ports == DIRECT_PORTS_KEPT         ? HARD_PRESERVING
           : m->ports == DIRECT_PORTS_SEQUENTIAL ? HARD_SEQUENTIAL
                                                 : HARD_RANDOM;
}

static bool global_six(const struct net_addr *a)
{
    return a->family == 6 && net_addr_scope(a) == NET_PUBLIC;
}

static bool both_six(const struct underlay *u, const struct direct_message *theirs)
{
    bool here = false, there = false;
    for (size_t i = 0; i < u->candidate_count; i++)
        here |= global_six(&u->candidates[i].addr);
    for (size_t i = 0; i < theirs->count; i++)
        there |= global_six(&theirs->candidates[i].addr);
    return here && there;
}

static void collect_ways(struct pair_facts *f, const struct node_peer *p, usec_t now)
{
    struct path_stats st;
    f->died = USEC_NEVER;
    for (size_t i = 0; p->ways && i < WAYS_MAX; i++) {
        const struct way *w = &p->ways[i];
        if (w->id == 0 || !path_is_direct(w->kind))
            continue;
        f->proving |= w->asking && !w->proven;
        f->answers |= w->proven && p->paths && paths_stats(p->paths, w->id, &st) && st.alive;
        if (w->dead_since != 0)
            f->died = usec_min(f->died, usec_since(now, w->dead_since));
    }
}

/* Streams and searches say in the same place what went wrong last. */
static bool of_stream(const char *why)
{
    return strncmp(why, "TCP to ", 7) == 0;
}

static void collect_direct(struct pair_facts *f, const struct node *n, const struct node_peer *p, usec_t now)
{
    const struct underlay *u = n->underlay;
    const struct direct *d = p->direct;
    struct nat_behaviour b;
    f->pinned = p->indirect && p->indirect->pin == PIN_VIA;
    f->off_here = !n->limits.direct;
    f->known = u->known;
    f->socket = u->main4.port != 0 || u->main6.port != 0;
    f->search_off = !n->limits.search;
    f->udp_here = udp_here(n);
    underlay_behaviour(n, 4, &b);
    f->nat_here = hard_nat_of(&b).mapping;
    if (!d)
        return;
    f->begun = d->attempts > 0;
    f->heard = d->heard;
    f->told = usec_since(now, d->began_at);
    f->retry = d->retry_at == USEC_NEVER ? USEC_NEVER : usec_since(d->retry_at, now);
    f->checking = d->ice && !d->failed && ice_state(d->ice) != ICE_IS_FAILED;
    f->tls_tried = d->dial.count > 0;
    f->tls_under_way = streams_dialling(n, p) || (d->heard && d->dial.at != USEC_NEVER && d->dial.at != 0);
    f->tls_could = u->tcp_port != 0;
    f->searching = search_runs(n, p);
    f->search_refused = d->no_search;
    f->search_failed = d->searches > 0;
    if (!of_stream(d->why))
        snprintf(f->search, sizeof f->search, "%s", d->why);
    if (!d->heard)
        return;
    f->off_there = (d->theirs.flags & DIRECT_OFF) != 0;
    f->udp_there = d->theirs.flags & DIRECT_UDP_BLOCKED ? WHY_UDP_BLOCKED : WHY_UDP_UNKNOWN;
    f->nat_there = nat_there(&d->theirs);
    f->six = both_six(u, &d->theirs);
    f->tls_could |= d->theirs.tcp_port != 0;
}

void pair_facts_collect(struct pair_facts *f, const struct node *n, const struct node_peer *p,
                        const char *name, usec_t now)
{
    struct path_stats st;
    uint32_t id;
    *f = (struct pair_facts){.again = USEC_NEVER, .retry = USEC_NEVER, .died = USEC_NEVER};
    snprintf(f->name, sizeof f->name, "%s", name);
    f->hub = link_ready(n);
    if (!p)
        return;
    f->state = peer_state(p);
    f->shaking = p->next != NULL;
    f->resuming = p->resuming;
    f->tries = p->tries;
    f->again = p->start_at == USEC_NEVER ? USEC_NEVER : usec_since(p->start_at, now);
    f->since = node_unix(n, p->on_since);
    if (p->paths && peer_best(p, &id, &f->kind) && paths_stats(p->paths, id, &st)) {
        const struct way *w = way_by_id(p, id);
        f->loss = st.loss;
        f->family = w ? w->at.addr.family : 0;
    }
    collect_ways(f, p, now);
    collect_direct(f, n, p, now);
}

/* ---- Saying. */

struct saying {
    char *out;
    size_t n;
};

static void say(struct saying *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct saying *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s->out + s->n, WHY_CAP - s->n, fmt, ap);
    va_end(ap);
    if (n > 0)
        s->n = s->n + (size_t)n < WHY_CAP ? s->n + (size_t)n : WHY_CAP - 1;
}

static void say_again(struct saying *s, usec_t in, const char *what)
{
    if (in != USEC_NEVER)
        say(s, "; %s in %llu s", what, (unsigned long long)((in + SEC - 1) / SEC));
}

static void say_connecting(struct saying *s, const struct pair_facts *f)
{
    if (f->shaking && f->tries == 0)
        say(s, "the handshake is under way");
    else if (f->resuming)
        say(s, "the keys of the session are being proved anew");
    else if (f->tries > 0) {
        say(s, "the handshake was not answered");
        if (f->shaking)
            say(s, "; it is being tried again");
        else
            say_again(s, f->again, "tried again");
    } else
        say(s, "a handshake begins when there is traffic, or when %s begins it", f->name);
}

/* "UDP is blocked at bob's end"; nothing where it is blocked at neither. */
static bool say_blocked(struct saying *s, const struct pair_facts *f)
{
    bool here = f->udp_here == WHY_UDP_BLOCKED, there = f->udp_there == WHY_UDP_BLOCKED;
    if (here && there)
        say(s, "UDP is blocked at both ends");
    else if (here)
        say(s, "UDP is blocked at this end");
    else if (there)
        say(s, "UDP is blocked at %s's end", f->name);
    return here || there;
}

static void say_direct(struct saying *s, const struct pair_facts *f)
{
    char since[WHY_TIME_CAP];
    time_text(since, f->since);
    if (f->kind == PATH_LAN)
        say(s, "direct in the same network since %s", since);
    else if (f->kind == PATH_UDP)
        say(s, "direct over UDP (%s) since %s", f->family == 6 ? "IPv6" : "IPv4", since);
    else {
        say(s, "direct over TLS since %s: ", since);
        if (!say_blocked(s, f))
            say(s, "%s", f->checking ? "UDP is still being tried" : "UDP did not get through");
    }
}

static bool hard(enum hard_mapping m)
{
    return m != HARD_UNKNOWN && m != HARD_EASY;
}

static const char *ports_word(enum hard_mapping m)
{
    return m == HARD_RANDOM       ? " (random)"
           : m == HARD_SEQUENTIAL ? " (one after the other)"
                                  : " (the same where it is free)";
}

static void say_search(struct saying *s, const struct pair_facts *f)
{
    if (f->searching)
        say(s, "; a search for the right one is under way");
    else if (f->search_off)
        say(s, "; searches are switched off here (search=0)");
    else if (f->search_refused)
        say(s, "; %s allows no searches", f->name);
    else if (f->search[0])
        say(s, "; %s%s", f->search_failed ? "the last search failed: " : "", f->search);
    else
        say(s, "; a search for the right one begins when there is traffic");
}

/* Mappings that depend on the destination: ordinary checks cannot meet. */
static bool say_nats(struct saying *s, const struct pair_facts *f)
{
    enum hard_mapping a = f->nat_here, b = f->nat_there;
    if (!hard(a) && !hard(b))
        return false;
    if (hard(a) && hard(b)) {
        bool random = a == HARD_RANDOM || b == HARD_RANDOM;
        say(s, "both ends' NATs give every destination another port%s",
            a == b   ? ports_word(a)
            : random ? " (one of them by chance)"
                     : "");
        if (random)
            say(s, ": only a port mapping%s would help", f->six ? "" : " or IPv6");
        else
            say_search(s, f);
    } else {
        if (hard(a))
            say(s, "this end's NAT gives every destination another port%s", ports_word(a));
        else
            say(s, "%s's NAT gives every destination another port%s", f->name, ports_word(b));
        say_search(s, f);
    }
    return true;
}

static void say_tls(struct saying *s, const struct pair_facts *f)
{
    say(s, "; TLS %s",
        f->tls_under_way ? "is being tried"
        : f->tls_tried   ? "did not get through either"
        : f->tls_could   ? "is tried next"
                         : "needs a port at one of the ends, and neither has one");
}

/* Why no direct path is looked for. */
static bool say_not_looking(struct saying *s, const struct pair_facts *f)
{
    if (f->off_here)
        say(s, "direct paths are switched off here (--no-direct)");
    else if (f->off_there)
        say(s, "the other end wants no direct paths");
    else if (!f->known)
        say(s, "the networks of this machine are not known yet");
    else if (!f->socket)
        say(s, "no UDP socket could be opened here");
    else
        return false;
    return true;
}

static void say_looking(struct saying *s, const struct pair_facts *f)
{
    if (!f->begun)
        say(s, "still looking: nothing was sent yet");
    else
        say(s, "still looking: candidates were sent %.1f s ago", (double)f->told / SEC);
}

static void say_died(struct saying *s, const struct pair_facts *f)
{
    say(s, "the direct path died %llu s ago", (unsigned long long)(f->died / SEC));
    if (f->checking)
        say(s, "; it is being looked for again");
    else
        say_again(s, f->retry, "looked for again");
}

static void say_relayed(struct saying *s, const struct pair_facts *f)
{
    say(s, "%s: ",
        f->kind == PATH_TURN        ? "on a TURN server"
        : f->kind == PATH_MULTI_HOP ? "over another member"
                                    : "on the relay");
    if (f->pinned && f->kind == PATH_MULTI_HOP)
        say(s, "somebody chose this way (warren route)");
    else if (say_not_looking(s, f))
        return;
    else if (f->answers)
        say(s, "a direct path answers and is taken as soon as it has proved better");
    else if (f->proving)
        say(s, "a direct path was found, and the keys are being proved over it");
    else if (say_blocked(s, f))
        say_tls(s, f);
    else if (f->died <= DIED_LATELY)
        say_died(s, f);
    else if (!f->begun || (f->checking && f->told < LOOKING_FIRST))
        say_looking(s, f);
    else if (say_nats(s, f))
        return;
    else if (f->checking)
        say_looking(s, f);
    else {
        if (f->heard)
            say(s, "no direct path answered, so a firewall must lie between");
        else
            say(s, "%s does not say where it may be reached", f->name);
        say_again(s, f->retry, "tried again");
    }
}

void pair_why(char out[WHY_CAP], const struct pair_facts *f)
{
    struct saying s = {.out = out};
    out[0] = '\0';
    if (f->state == PEER_OFFLINE)
        say(&s, f->hub ? "%s is not at the hub" : "the hub is not connected, and no other path leads to %s",
            f->name);
    else if (f->state == PEER_CONNECTING)
        say_connecting(&s, f);
    else if (f->kind == PATH_NONE)
        say(&s, "no path answers; all are being tried");
    else if (f->state == PEER_DEGRADED)
        say(&s, "%.0f%% of the probes over %s are lost, and no better path is known", 100 * f->loss,
            path_kind_name(f->kind));
    else if (path_is_direct(f->kind))
        say_direct(&s, f);
    else
        say_relayed(&s, f);
}

/* ---- Where ways lead. */

void way_text(const struct node *n, const struct way *w, char *out, size_t cap)
{
    if (w->at.via != PATH_MULTI_HOP || !circuit_relays_text(n, w->at.number, out, cap))
        origin_text(n, &w->at, out, cap);
}

/* ---- What was tried. */

struct lines {
    char (*out)[WHY_TRIED_CAP];
    size_t n;
};

static void line_put(struct lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line_put(struct lines *l, const char *fmt, ...)
{
    va_list ap;
    if (l->n == WHY_TRIED_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(l->out[l->n++], WHY_TRIED_CAP, fmt, ap);
    va_end(ap);
}

static void tried_udp(struct lines *l, const struct node *n, const struct direct *d)
{
    struct ice_counts c = {0};
    if (d->ice)
        ice_counts(d->ice, &c);
    const char *came = d->failed ? "nothing answered"
                       : d->ice && (ice_state(d->ice) == ICE_COMPLETED || ice_state(d->ice) == ICE_CONNECTED)
                           ? "answered"
                       : d->ice ? "under way"
                                : "over";
    line_put(l, "UDP, round %u: %zu addresses here, %zu there, %llu checks sent, %llu answered: %s",
             d->attempts, n->underlay->candidate_count, d->theirs.count, (unsigned long long)c.checks_sent,
             (unsigned long long)c.checks_answered, came);
}

static void tried_tls(struct lines *l, const struct node *n, const struct node_peer *p)
{
    const struct direct *d = p->direct;
    char at[NET_ADDR_TEXT];
    for (size_t i = 0; i < d->dial.count && i < STREAM_DIALS_MAX; i++) {
        net_addr_text(at, &d->dial.tried[i]);
        line_put(l, "TLS to %s", at);
        if (i == 2 && d->dial.count > 3) {
            line_put(l, "TLS to %zu more addresses", d->dial.count - 3);
            break;
        }
    }
    if (of_stream(d->why))
        line_put(l, "%s", d->why);
    else if (streams_dialling(n, p))
        line_put(l, "TLS: under way");
    if (search_runs(n, p))
        line_put(l, "search: under way");
    else if (d->why[0] && !of_stream(d->why))
        line_put(l, "search: %s", d->why);
}

static void tried_circuit(struct lines *l, const struct node *n, const struct indirect *r)
{
    char over[WHY_TRIED_CAP / 2];
    if (!r || (r->circuit == 0 && r->failures == 0))
        return;
    if (r->circuit != 0 && circuit_relays_text(n, r->circuit, over, sizeof over))
        line_put(l, "over %s: %s", over, r->way != 0 ? "works" : "being built");
    else
        line_put(l, "over other members: %s", r->circuit != 0 ? "being built" : "failed");
}

static void tried_relay(struct lines *l, const struct node *n, const struct node_peer *p)
{
    const struct way *w = way_by_id(p, WAY_UDP_RELAY);
    if (n->underlay->bind.server_count > 0 && !udp_bound(n))
        line_put(l, "the hub's UDP relay: not reachable");
    else if (w)
        line_put(l, "the hub's UDP relay: %s", w->proven ? "works" : "being proved");
    else if (udp_bound(n))
        line_put(l, "the hub's UDP relay: %s",
                 p->relay != 0 ? "the other end is not there" : "the other end is not at the hub");
}

size_t pair_tried(char out[WHY_TRIED_MAX][WHY_TRIED_CAP], const struct node *n, const struct node_peer *p,
                  usec_t now)
{
    struct lines l = {.out = out};
    struct portmap_status st;
    if (!p || !p->cur)
        return 0;
    if (p->direct && p->direct->attempts > 0) {
        tried_udp(&l, n, p->direct);
        tried_tls(&l, n, p);
    }
    for (int k = 0; k < PORTMAP_KINDS; k++)
        if (mapping_status(n, (enum portmap_kind)k, now, &st) && st.state != PORTMAP_UNWANTED)
            line_put(&l, "port mapping: %s", st.words);
    tried_relay(&l, n, p);
    tried_circuit(&l, n, p->indirect);
    if (p->direct && !direct_alive(p))
        line_put(&l, "TURN: %s", turning_words(n));
    return l.n;
}
