#include "nat/mdns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat/mdns_int.h"

#define TXT_MAX 8 /* "t=65535" with its length */

static const usec_t early[] = {0, 1 * SEC, 3 * SEC, 9 * SEC}; /* queries, from the start */

static uint32_t all_own(const struct mdns *m)
{
    return (uint32_t)((UINT64_C(1) << m->own_count) - 1);
}

static bool announces(const struct mdns *m)
{
    return m->running && m->udp && m->own_count > 0;
}

/* ---- Beginnings. */

struct mdns *mdns_new(const struct rng *rng, usec_t now)
{
    struct mdns *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->rng = *rng;
    m->clock_at = now;
    m->day = 1; /* so that yesterday is one, too */
    (void)dns_name_set(&m->service, "_warren._udp.local");
    ratelimit_init(&m->unicast_rate, MDNS_UNICAST_RATE, MDNS_UNICAST_RATE, now);
    ratelimit_init(&m->event_rate, MDNS_EVENT_RATE, MDNS_EVENTS_MAX, now);
    for (size_t i = 0; i < LINKS; i++)
        m->links[i].query_at = m->links[i].announce_at = m->links[i].answer_at = USEC_NEVER;
    return m;
}

void mdns_free(struct mdns *m)
{
    if (!m)
        return;
    free(m->members);
    free(m->labels);
    free(m);
}

/* Twice, MDNS_AGAIN apart (RFC 6762 section 8.3). */
static void announce(struct mdns *m, uint32_t parties, usec_t now)
{
    for (size_t i = 0; i < LINKS && announces(m) && parties; i++) {
        m->links[i].announce |= parties;
        m->links[i].again = 1;
        m->links[i].announce_at = now;
    }
}

static uint64_t unix_now(const struct mdns *m, usec_t now)
{
    return m->clock_s + usec_since(now, m->clock_at) / SEC;
}

static void day_look(struct mdns *m, usec_t now)
{
    uint64_t day = unix_now(m, now) / DAY_S;
    if (day == 0)
        day = 1;
    if (day == m->day)
        return;
    m->day = day;
    mdns_relabel(m);
    announce(m, all_own(m), now);
}

void mdns_clock(struct mdns *m, usec_t now, uint64_t unix_s)
{
    m->clock_at = now;
    m->clock_s = unix_s;
    day_look(m, now);
}

static bool same_own(const struct own *a, const uint8_t *party, const uint8_t *node)
{
    return !memcmp(a->party, party, MDNS_ID_LEN) && !memcmp(a->node, node, MDNS_ID_LEN);
}

/* Those that are in `was` and not in the list of now are taken back; the mask of those that are new. */
static uint32_t own_compare(struct mdns *m, const struct own *was, size_t was_count)
{
    uint32_t fresh = all_own(m);
    if (m->left_sent[0] >= m->left_count && m->left_sent[1] >= m->left_count)
        m->left_count = 0;
    for (size_t k = 0; k < was_count; k++) {
        bool stays = false;
        for (size_t i = 0; i < m->own_count; i++) {
            if (same_own(&was[k], m->own[i].party, m->own[i].node)) {
                stays = true;
                fresh &= ~(UINT32_C(1) << i);
            }
        }
        if (!stays && m->left_count < MDNS_PARTIES_MAX && m->running && m->udp)
            m->left[m->left_count++] = was[k];
    }
    for (size_t i = 0; i < LINKS && m->left_count > 0; i++) {
        m->left_sent[i] = 0;
        m->links[i].goodbye = true;
    }
    return fresh;
}

int mdns_set_members(struct mdns *m, const struct mdns_member *members, size_t count, usec_t now)
{
    size_t others = 0, selves = 0, wish = 0;
    for (size_t i = 0; i < count; i++)
        wish += !members[i].self;
    size_t room = wish < MDNS_MEMBERS_MAX ? wish : MDNS_MEMBERS_MAX;
    struct mdns_member *made = calloc(room + 1, sizeof *made);
    struct label *labels = calloc((room + 1) * DAYS, sizeof *labels);
    if (!made || !labels) {
        free(made);
        free(labels);
        return -ENOMEM;
    }
    struct own was[MDNS_PARTIES_MAX];
    size_t was_count = m->own_count;
    memcpy(was, m->own, sizeof was);
    m->own_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!members[i].self && others < room) {
            made[others++] = members[i];
        } else if (members[i].self && selves++ < MDNS_PARTIES_MAX) {
            struct own *o = &m->own[m->own_count++];
            memcpy(o->party, members[i].party, MDNS_ID_LEN);
            memcpy(o->node, members[i].node, MDNS_ID_LEN);
        }
    }
    free(m->members);
    free(m->labels);
    m->members = made;
    m->labels = labels;
    m->member_count = others;
    mdns_relabel(m);
    mdns_found_prune(m);
    /* Places in the masks have changed: what was due is due for all. */
    uint32_t fresh = own_compare(m, was, was_count);
    for (size_t i = 0; i < LINKS; i++) {
        struct link *l = &m->links[i];
        l->announce = l->announce ? all_own(m) : 0;
        l->answer = l->answer ? all_own(m) : 0;
        l->sending = l->sending ? all_own(m) : 0;
    }
    m->unicast_count = 0;
    announce(m, fresh, now);
    return wish > room || selves > MDNS_PARTIES_MAX ? -ENOSPC : 0;
}

void mdns_ports(struct mdns *m, uint16_t udp, uint16_t tls, usec_t now)
{
    if (udp == m->udp && tls == m->tls)
        return;
    m->udp = udp;
    m->tls = tls;
    announce(m, all_own(m), now);
}

void mdns_start(struct mdns *m, usec_t now)
{
    m->running = true;
    m->found_count = 0;
    m->left_count = 0;
    for (size_t i = 0; i < LINKS; i++) {
        m->links[i].goodbye = false;
        m->links[i].queries = 0;
        m->links[i].query_at = now;
    }
    announce(m, all_own(m), now);
}

void mdns_stop(struct mdns *m, usec_t now)
{
    bool said = announces(m);
    m->running = false;
    m->unicast_count = 0;
    m->found_count = 0;
    m->left_count = said ? m->own_count : 0;
    memcpy(m->left, m->own, sizeof m->left);
    for (size_t i = 0; i < LINKS; i++) {
        struct link *l = &m->links[i];
        m->left_sent[i] = 0;
        *l = (struct link){.announce_at = USEC_NEVER,
                           .answer_at = USEC_NEVER,
                           .query_at = USEC_NEVER,
                           .last = l->last,
                           .goodbye = said};
    }
}

/* ---- What comes. */

/* Which of our parties a question asks for. */
static uint32_t asked_for(const struct mdns *m, const struct dns_question *q)
{
    uint32_t parties = 0;
    if (q->class != DNS_IN && q->class != DNS_CLASS_ANY)
        return 0;
    if (dns_name_equal(&q->name, &m->service))
        return q->type == DNS_PTR || q->type == DNS_ANY ? all_own(m) : 0;
    for (size_t i = 0; i < m->own_count; i++) {
        if ((q->type == DNS_SRV || q->type == DNS_TXT || q->type == DNS_ANY) &&
            dns_name_equal(&q->name, &m->own[i].instance))
            parties |= UINT32_C(1) << i;
    }
    return parties;
}

/* RFC 6762 section 7.1: what the asker knows for at least half its life need not be said. */
static uint32_t known(const struct mdns *m, const struct dns_message *in)
{
    uint32_t parties = 0;
    for (size_t k = 0; k < in->record_count; k++) {
        const struct dns_record *r = &in->records[k];
        if (r->section != DNS_ANSWER || r->type != DNS_PTR || r->class != DNS_IN || r->ttl < MDNS_TTL_S / 2 ||
            !dns_name_equal(&r->name, &m->service))
            continue;
        for (size_t i = 0; i < m->own_count; i++) {
            if (dns_name_equal(&r->target, &m->own[i].instance))
                parties |= UINT32_C(1) << i;
        }
    }
    return parties;
}

static bool answer_by_unicast(struct mdns *m, const struct link *l, const struct net_addr *from,
                              uint32_t parties, usec_t now)
{
    if (l->last == 0 || usec_since(now, l->last) >= MDNS_TTL_S * SEC / 4)
        return false; /* all are to hear it again (RFC 6762 section 5.4) */
    if (m->unicast_count < UNICASTS && ratelimit_take(&m->unicast_rate, 1, now))
        m->unicasts[m->unicast_count++] = (struct unicast){*from, parties};
    else
        m->counts.limited++;
    return true;
}

/* Legacy askers (RFC 6762 section 6.7), from other ports, get no answer: no Warren node is among them. */
static void query_came(struct mdns *m, struct link *l, const struct net_addr *from,
                       const struct dns_message *in, usec_t now)
{
    uint32_t parties = 0;
    bool unicast = true;
    for (size_t i = 0; i < in->question_count; i++) {
        uint32_t these = asked_for(m, &in->questions[i]);
        unicast = unicast && (!these || in->questions[i].unicast);
        parties |= these;
    }
    parties &= ~known(m, in);
    if (!parties || !announces(m) || from->port != MDNS_PORT)
        return;
    if (unicast && answer_by_unicast(m, l, from, parties, now))
        return;
    usec_t soon = now + 20 * MSEC + rng_below(&m->rng, 100 * MSEC + 1);
    usec_t allowed = l->last ? l->last + MDNS_AGAIN : 0;
    if (!l->answer)
        l->answer_at = soon > allowed ? soon : allowed;
    l->answer |= parties;
}

/* The value of "t=" as a port; 0 where there is none or it is no port. */
static uint16_t tls_of(const struct dns_record *txt)
{
    struct rd r = rd_of(txt->data);
    struct bytes text;
    while (dns_txt_next(&r, &text)) {
        uint32_t port = 0;
        size_t i = 2;
        if (text.n < 3 || text.n > 7 || (text.p[0] != 't' && text.p[0] != 'T') || text.p[1] != '=')
            continue;
        for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
            port = port * 10 + (text.p[i] - '0');
        return i == text.n && port <= UINT16_MAX ? (uint16_t)port : 0;
    }
    return 0;
}

static uint16_t tls_beside(const struct dns_message *in, const struct dns_name *instance)
{
    for (size_t i = 0; i < in->record_count; i++) {
        const struct dns_record *r = &in->records[i];
        if (r->type == DNS_TXT && r->class == DNS_IN && dns_name_equal(&r->name, instance))
            return tls_of(r);
    }
    return 0;
}

static bool is_own(const struct mdns *m, const struct dns_name *instance)
{
    for (size_t i = 0; i < m->own_count; i++) {
        if (dns_name_equal(&m->own[i].instance, instance))
            return true;
    }
    return false;
}

/* SRV says all but the TLS port; a PTR of no more life takes back as well. */
static void record_came(struct mdns *m, const struct dns_message *in, const struct dns_record *r,
                        const struct net_addr *from, usec_t now)
{
    const struct dns_name *instance = r->type == DNS_PTR ? &r->target : &r->name;
    struct dns_name rest;
    struct bytes label;
    if (r->class != DNS_IN || (r->type != DNS_SRV && !(r->type == DNS_PTR && r->ttl == 0)) ||
        (r->type == DNS_PTR && !dns_name_equal(&r->name, &m->service)) ||
        !dns_name_first(instance, &label, &rest) || !dns_name_equal(&rest, &m->service))
        return;
    const struct mdns_member *who = mdns_member_of(m, label);
    if (!who) {
        m->counts.strangers += !is_own(m, instance);
        return;
    }
    struct net_addr addr = *from;
    addr.port = r->port;
    if (r->ttl > 0 && r->port == 0)
        return;
    mdns_found_put(m, who, &addr, tls_beside(in, instance), r->ttl, now);
}

void mdns_input(struct mdns *m, uint8_t family, const struct net_addr *from, struct bytes in, usec_t now)
{
    struct dns_message *msg = &m->scratch;
    if (!m->running || (family != 4 && family != 6))
        return;
    if (in.n > MDNS_INPUT_MAX || dns_read(msg, in) != 0) {
        m->counts.malformed++;
        return;
    }
    if (msg->flags & (DNS_OPCODE_MASK | DNS_RCODE_MASK))
        return; /* RFC 6762 sections 18.3 and 18.11 */
    if (!(msg->flags & DNS_FLAG_RESPONSE)) {
        query_came(m, &m->links[family == 6], from, msg, now);
    } else if (from->port == MDNS_PORT && from->family == family) {
        for (size_t i = 0; i < msg->record_count; i++)
            record_came(m, msg, &msg->records[i], from, now);
    }
    mdns_tick(m, now);
}

/* ---- What goes. */

static void record_put(struct dns_writer *d, enum dns_section section, const struct dns_name *name,
                       uint16_t type, uint32_t ttl, struct dns_record *r)
{
    r->section = section;
    r->name = *name;
    r->type = type;
    r->class = DNS_IN;
    r->ttl = ttl;
    dns_put_record(d, r);
}

static void ptr_put(struct dns_writer *d, const struct mdns *m, const struct own *o, uint32_t ttl)
{
    struct dns_record r = {.target = o->instance};
    record_put(d, DNS_ANSWER, &m->service, DNS_PTR, ttl, &r);
}

/* Nobody else has these names, so what is cached of them may be replaced (RFC 6762 section 10.2). */
static void srv_txt_put(struct dns_writer *d, const struct mdns *m, const struct own *o, uint32_t ttl)
{
    uint8_t text[TXT_MAX + 1] = {0};
    struct dns_record srv = {.flush = true, .port = m->udp, .target = o->host}, txt = {.flush = true};
    int n = m->tls ? snprintf((char *)text + 1, sizeof text - 1, "t=%u", (unsigned)m->tls) : 0;
    text[0] = (uint8_t)n;
    txt.data = bytes_of(text, 1 + (size_t)n);
    record_put(d, DNS_ADDITIONAL, &o->instance, DNS_SRV, ttl, &srv);
    record_put(d, DNS_ADDITIONAL, &o->instance, DNS_TXT, ttl, &txt);
}

/* One response with the parties of the mask that fit; those are taken out of it. */
static struct bytes response_make(struct mdns *m, uint32_t *parties)
{
    const struct own *these[PER_DATAGRAM];
    struct dns_writer d;
    size_t n = 0;
    for (size_t i = 0; i < m->own_count && n < PER_DATAGRAM; i++) {
        if (*parties & UINT32_C(1) << i)
            these[n++] = &m->own[i];
        *parties &= ~(UINT32_C(1) << i);
    }
    dns_begin(&d, m->buf, sizeof m->buf, 0, DNS_FLAG_RESPONSE | DNS_FLAG_AUTHORITATIVE);
    for (size_t i = 0; i < n; i++)
        ptr_put(&d, m, these[i], MDNS_TTL_S);
    for (size_t i = 0; i < n; i++)
        srv_txt_put(&d, m, these[i], MDNS_TTL_S);
    return dns_end(&d);
}

static struct bytes goodbye_make(struct mdns *m, size_t *from)
{
    struct dns_writer d;
    dns_begin(&d, m->buf, sizeof m->buf, 0, DNS_FLAG_RESPONSE | DNS_FLAG_AUTHORITATIVE);
    for (size_t n = 0; n < PER_DATAGRAM && *from < m->left_count; n++)
        ptr_put(&d, m, &m->left[(*from)++], 0);
    return dns_end(&d);
}

/* Our own instances stand in it as known answers, so that we, who may hear it, do not answer. */
static struct bytes query_make(struct mdns *m)
{
    struct dns_writer d;
    struct dns_question q = {.name = m->service, .type = DNS_PTR, .class = DNS_IN};
    dns_begin(&d, m->buf, sizeof m->buf, 0, 0);
    dns_put_question(&d, &q);
    for (size_t i = 0; i < m->own_count && announces(m); i++)
        ptr_put(&d, m, &m->own[i], MDNS_TTL_S);
    return dns_end(&d);
}

static struct net_addr group(uint8_t family)
{
    static const uint8_t six[16] = {0xff, 2, [15] = 0xfb};
    return family == 4 ? net_addr4(0xE00000FB, MDNS_PORT) : net_addr6(six, MDNS_PORT);
}

static bool link_output(struct mdns *m, size_t which, usec_t now, struct mdns_out *out)
{
    struct link *l = &m->links[which];
    *out = (struct mdns_out){.family = which ? 6 : 4, .multicast = true};
    out->to = group(out->family);
    if (l->goodbye) {
        out->data = goodbye_make(m, &m->left_sent[which]);
        l->goodbye = m->left_sent[which] < m->left_count;
        m->counts.announcements++;
        return true;
    }
    if (l->sending) {
        out->data = response_make(m, &l->sending);
        l->last = now;
        return true;
    }
    if (m->running && now >= l->query_at) {
        l->queries++;
        l->query_at =
            now + (l->queries < sizeof early / sizeof *early ? early[l->queries] - early[l->queries - 1]
                                                             : MDNS_QUERY_EVERY);
        out->data = query_make(m);
        m->counts.queries++;
        return true;
    }
    return false;
}

/* What is due becomes what is being sent. */
static void link_due(struct mdns *m, struct link *l, usec_t now)
{
    if (!announces(m)) {
        l->announce = l->answer = l->sending = 0;
        return;
    }
    if (l->sending)
        return;
    bool announcing = l->announce && now >= l->announce_at;
    bool answering = l->answer && now >= l->answer_at;
    if ((!announcing && !answering) || (l->last && now < l->last + MDNS_AGAIN))
        return;
    m->counts.announcements += announcing;
    m->counts.answers += answering && !announcing;
    l->sending = (announcing ? l->announce : 0) | (answering ? l->answer : 0);
    l->answer &= ~l->sending;
    if (announcing && l->again > 0) {
        l->again--;
        l->announce_at = now + MDNS_AGAIN;
    } else if (announcing) {
        l->announce = 0;
    }
}

bool mdns_output(struct mdns *m, usec_t now, struct mdns_out *out)
{
    for (size_t i = 0; i < LINKS; i++) {
        link_due(m, &m->links[i], now);
        if (link_output(m, i, now, out))
            return true;
    }
    if (m->unicast_count == 0)
        return false;
    struct unicast *u = &m->unicasts[m->unicast_count - 1];
    *out = (struct mdns_out){.family = u->to.family, .to = u->to, .data = response_make(m, &u->parties)};
    m->unicast_count -= u->parties == 0;
    m->counts.answers++;
    return true;
}

static usec_t link_wake(const struct mdns *m, const struct link *l)
{
    usec_t at = l->query_at, due = USEC_NEVER;
    if (announces(m) && l->announce)
        due = l->announce_at;
    if (announces(m) && l->answer)
        due = usec_min(due, l->answer_at);
    if (due != USEC_NEVER && l->last && due < l->last + MDNS_AGAIN)
        due = l->last + MDNS_AGAIN;
    return usec_min(at, due);
}

usec_t mdns_wake(const struct mdns *m)
{
    usec_t at = mdns_found_wake(m);
    if (!m->running)
        return USEC_NEVER;
    for (size_t i = 0; i < LINKS; i++)
        at = usec_min(at, link_wake(m, &m->links[i]));
    if (m->own_count > 0 || m->member_count > 0)
        at = usec_min(at, m->clock_at + ((unix_now(m, m->clock_at) / DAY_S + 1) * DAY_S - m->clock_s) * SEC);
    return at;
}

/* The clock is moved along, so that the next midnight is counted from today. */
void mdns_tick(struct mdns *m, usec_t now)
{
    uint64_t s = usec_since(now, m->clock_at) / SEC;
    m->clock_s += s;
    m->clock_at += s * SEC;
    day_look(m, now);
    mdns_found_expire(m, now);
}

void mdns_counts(const struct mdns *m, struct mdns_counts *c)
{
    *c = m->counts;
    c->members = m->member_count;
    c->found = m->found_count;
}
