#include "nat/portmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat/portmap_int.h"

const char *portmap_kind_name(enum portmap_kind k)
{
    return k == PORTMAP_FOR_UDP ? "udp" : "tcp";
}

const char *portmap_method_name(enum portmap_method m)
{
    static const char *const names[] = {"none", "PCP", "NAT-PMP", "UPnP"};
    return names[m];
}

enum portmap_kind portmap_kind_of(const struct portmap *m, const struct portmap_mapping *k)
{
    return (enum portmap_kind)(k - m->mappings);
}

uint8_t portmap_protocol_of(const struct portmap *m, const struct portmap_mapping *k)
{
    return portmap_kind_of(m, k) == PORTMAP_FOR_UDP ? PORTMAP_UDP : PORTMAP_TCP;
}

bool portmap_reachable(const struct portmap *m)
{
    return m->gateway.family && m->gateway.family == m->local.family;
}

static bool usable(const struct net_addr *external)
{
    return net_addr_scope(external) == NET_PUBLIC && external->port;
}

const char *portmap_address_text(const struct net_addr *external)
{
    switch (net_addr_scope(external)) {
    case NET_PUBLIC:
        return "";
    case NET_SHARED:
        return "the router's outside address is a carrier's shared one: another NAT stands before it";
    case NET_PRIVATE:
        return "the router's outside address is private: another NAT stands before it";
    default:
        return "the router has no address outside";
    }
}

/* -- events -- */

void portmap_push(struct portmap *m, const struct portmap_mapping *k, enum portmap_event_kind what,
                  const char *why)
{
    if (m->event_count == PORTMAP_EVENTS_MAX) /* nobody listens: the newest are what counts */
    {
        m->event_at = (m->event_at + 1) % PORTMAP_EVENTS_MAX;
        m->event_count--;
    }
    struct portmap_event *ev = &m->events[(m->event_at + m->event_count++) % PORTMAP_EVENTS_MAX];
    *ev = (struct portmap_event){.what = what,
                                 .kind = portmap_kind_of(m, k),
                                 .method = k->method,
                                 .external = k->external,
                                 .internal = k->internal,
                                 .lifetime = k->lifetime,
                                 .usable = usable(&k->external),
                                 .why = why};
}

bool portmap_event(struct portmap *m, struct portmap_event *ev)
{
    if (m->event_count == 0)
        return false;
    *ev = m->events[m->event_at];
    m->event_at = (m->event_at + 1) % PORTMAP_EVENTS_MAX;
    m->event_count--;
    return true;
}

/* -- attempts -- */

void portmap_request_begin(struct portmap_request *r, usec_t now)
{
    *r = (struct portmap_request){.active = true, .due = now};
}

/* Whether it is to be sent now; counts the sending. */
static bool request_take(struct portmap_request *r, unsigned limit, usec_t now)
{
    if (!r->active || r->sends >= limit || r->due > now)
        return false;
    r->due = now + (PORTMAP_RTO << r->sends++);
    return true;
}

/* UPnP is for IPv4 only, as NAT-PMP. */
static bool upnp_possible(const struct portmap *m)
{
    return m->upnp && m->gateway.family == 4;
}

static void ask_upnp(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    k->upnp_asked = k->upnp_pending = true;
    k->upnp_until = now + PORTMAP_UPNP_PATIENCE;
    k->upnp_results++;
    portmap_push(m, k, PORTMAP_EVENT_WANT_UPNP, "");
    struct portmap_event *ev = &m->events[(m->event_at + m->event_count - 1) % PORTMAP_EVENTS_MAX];
    ev->external.port = k->external.port ? k->external.port : k->suggested;
    ev->lifetime = PORTMAP_LIFETIME;
    ev->method = PORTMAP_BY_UPNP;
}

void portmap_join_natpmp(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    if (k->natpmp_joined || k->natpmp_out || m->gateway.family != 4)
        return;
    k->natpmp_joined = true;
    if (m->address_known)
        portmap_request_begin(&k->natpmp, now);
    else if (!m->address.active)
        portmap_request_begin(&m->address, now);
}

static void attempt_end(struct portmap_mapping *k)
{
    k->trying = k->natpmp_joined = k->natpmp_out = k->upnp_asked = k->upnp_pending = false;
    k->pcp.active = k->natpmp.active = false;
}

static void attempt_begin(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    attempt_end(k);
    k->trying = true;
    k->began = now;
    k->why = NULL;
    k->error_lifetime = 0;
}

/* From nothing: every method there is. */
static void ask(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    attempt_begin(m, k, now);
    k->state = PORTMAP_ASKING;
    k->method = PORTMAP_BY_NONE;
    m->address_known = false; /* it may be old */
    if (!m->pcp_unknown)
        portmap_request_begin(&k->pcp, now);
    else
        portmap_join_natpmp(m, k, now);
}

/* By the method that worked. */
static void renew(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    attempt_begin(m, k, now);
    k->renew_at = USEC_NEVER;
    if (k->method == PORTMAP_BY_PCP) {
        portmap_request_begin(&k->pcp, now);
    } else if (k->method == PORTMAP_BY_NATPMP) {
        k->natpmp_joined = true;
        portmap_request_begin(&k->natpmp, now);
    } else {
        ask_upnp(m, k, now);
    }
}

static void renew_later(struct portmap_mapping *k, usec_t now)
{
    usec_t left = k->expires > now ? (k->expires - now) / 2 : 0;
    k->renew_at = now + (left > PORTMAP_RENEW_MIN ? left : PORTMAP_RENEW_MIN);
}

static void fail(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    usec_t wait = PORTMAP_RETRY;
    if (k->error_lifetime) {
        wait = k->error_lifetime * SEC;
        wait = wait < PORTMAP_ERROR_MIN ? PORTMAP_ERROR_MIN : usec_min(wait, PORTMAP_ERROR_MAX);
    }
    const char *silence = m->gateway.family == 6 ? "no answer: the router does not speak PCP"
                          : upnp_possible(m) ? "no answer: the router speaks neither PCP nor NAT-PMP nor UPnP"
                                             : "no answer: the router speaks neither PCP nor NAT-PMP";
    if (!k->why)
        k->why = silence;
    attempt_end(k);
    k->state = PORTMAP_FAILED;
    k->retry_at = now + wait;
    portmap_push(m, k, PORTMAP_EVENT_FAILED, k->why);
}

/* Whether a request of this attempt may still be answered, or is still to be made. */
static bool natpmp_open(const struct portmap *m, const struct portmap_mapping *k)
{
    if (k->state == PORTMAP_MAPPED)
        return k->natpmp.active;
    if (k->natpmp_out || m->gateway.family != 4)
        return false;
    return !k->natpmp_joined || m->address.active || k->natpmp.active;
}

/* After something failed: what is left to try? */
void portmap_judge(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    if (!k->trying || k->pcp.active || natpmp_open(m, k))
        return;
    if (k->state == PORTMAP_MAPPED) {
        if (k->upnp_pending)
            return;
        attempt_end(k);
        renew_later(k, now);
        return;
    }
    if (upnp_possible(m) && !k->upnp_asked)
        ask_upnp(m, k, now);
    if (!k->upnp_pending)
        fail(m, k, now);
}

void portmap_mapped(struct portmap *m, struct portmap_mapping *k, enum portmap_method method,
                    const struct net_addr *external, uint32_t lifetime, usec_t now)
{
    bool news = k->state != PORTMAP_MAPPED || !net_addr_equal(&k->external, external) || k->method != method;
    attempt_end(k);
    k->state = PORTMAP_MAPPED;
    k->method = method;
    k->external = *external;
    k->lifetime = lifetime < PORTMAP_LIFETIME_MAX ? lifetime : PORTMAP_LIFETIME_MAX;
    k->why = portmap_address_text(external);
    k->mapped_at = now;
    usec_t life = k->lifetime * SEC;
    k->expires = now + life;
    /* Between 1/2 and 5/8 (RFC 6887 section 11.2.1), so that not all of a home ask at once. */
    k->renew_at = now + life / 2 + rng_below(&m->rng, life / 8 + 1);
    if (news)
        portmap_push(m, k, PORTMAP_EVENT_MAPPED, k->why);
}

static void lost(struct portmap *m, struct portmap_mapping *k, const char *why)
{
    portmap_push(m, k, PORTMAP_EVENT_LOST, why);
    attempt_end(k);
    k->method = PORTMAP_BY_NONE;
}

/* -- deletion -- */

/* Whether the router has, or may have, something of ours. */
static enum portmap_method trace(const struct portmap_mapping *k)
{
    if (k->state == PORTMAP_MAPPED)
        return k->method;
    if (k->state != PORTMAP_ASKING)
        return PORTMAP_BY_NONE;
    return k->pcp.sends ? PORTMAP_BY_PCP : k->natpmp.sends ? PORTMAP_BY_NATPMP : PORTMAP_BY_NONE;
}

static void forget(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    enum portmap_method method = trace(k);
    if (method == PORTMAP_BY_UPNP)
        portmap_push(m, k, PORTMAP_EVENT_DROP_UPNP, "");
    if (method == PORTMAP_BY_PCP || method == PORTMAP_BY_NATPMP) {
        k->old = (struct portmap_deletion){.method = method, .internal = k->internal};
        memcpy(k->old.nonce, k->nonce, sizeof k->nonce);
        portmap_request_begin(&k->old.request, now);
    }
    attempt_end(k);
    k->internal = 0;
    k->method = PORTMAP_BY_NONE;
    k->external = (struct net_addr){0};
    k->state = PORTMAP_UNWANTED;
}

/* -- the owner's wishes -- */

struct portmap *portmap_new(const struct portmap_config *c)
{
    struct portmap *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->upnp = c->upnp;
    m->rng = c->rng;
    portmap_network(m, &c->gateway, &c->local, 0);
    return m;
}

void portmap_free(struct portmap *m)
{
    free(m);
}

static void start(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    rng_fill(&m->rng, k->nonce, sizeof k->nonce);
    k->external = (struct net_addr){0};
    if (portmap_reachable(m)) {
        ask(m, k, now);
        return;
    }
    k->state = PORTMAP_FAILED;
    k->retry_at = USEC_NEVER; /* portmap_network will tell */
    k->why = "no router is known";
    portmap_push(m, k, PORTMAP_EVENT_FAILED, k->why);
}

void portmap_want(struct portmap *m, enum portmap_kind kind, uint16_t internal, uint16_t external, usec_t now)
{
    struct portmap_mapping *k = &m->mappings[kind];
    if (internal == k->internal)
        return;
    if (k->internal)
        forget(m, k, now);
    if (internal == 0)
        return;
    k->internal = internal;
    k->suggested = external ? external : internal;
    start(m, k, now);
}

void portmap_network(struct portmap *m, const struct net_addr *gateway, const struct net_addr *local,
                     usec_t now)
{
    m->gateway = *gateway;
    m->local = *local;
    if (m->gateway.port == 0)
        m->gateway.port = PORTMAP_SERVER_PORT;
    m->pcp_unknown = m->address_known = m->address.active = false;
    m->pcp_epoch = m->natpmp_epoch = (struct portmap_epoch){0};
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        k->old.request.active = false;
        if (k->state == PORTMAP_MAPPED)
            lost(m, k, "the network changed");
        if (k->internal)
            start(m, k, now);
    }
}

void portmap_stop(struct portmap *m, usec_t now)
{
    for (size_t i = 0; i < PORTMAP_KINDS; i++)
        portmap_want(m, (enum portmap_kind)i, 0, 0, now);
}

bool portmap_idle(const struct portmap *m)
{
    for (size_t i = 0; i < PORTMAP_KINDS; i++)
        if (m->mappings[i].internal || m->mappings[i].old.request.active)
            return false;
    return true;
}

/* -- what goes -- */

static struct bytes write_pcp(struct portmap *m, const struct portmap_mapping *k,
                              const struct portmap_deletion *d)
{
    struct pcp_message req = {.opcode = PCP_MAP,
                              .client = m->local,
                              .has_map = true,
                              .protocol = portmap_protocol_of(m, k),
                              .lifetime = d ? 0 : PORTMAP_LIFETIME,
                              .internal_port = d ? d->internal : k->internal};
    memcpy(req.nonce, d ? d->nonce : k->nonce, sizeof req.nonce);
    req.external.family = m->local.family; /* all zeros: any */
    if (!d && k->external.family == m->local.family)
        req.external = k->external;
    if (!d && req.external.port == 0)
        req.external.port = k->suggested;
    return bytes_of(m->out, pcp_write(m->out, sizeof m->out, &req));
}

static struct bytes write_natpmp(struct portmap *m, const struct portmap_mapping *k,
                                 const struct portmap_deletion *d)
{
    struct natpmp_message req = {.opcode = NATPMP_ADDRESS};
    if (k) {
        req.opcode = portmap_kind_of(m, k) == PORTMAP_FOR_UDP ? NATPMP_MAP_UDP : NATPMP_MAP_TCP;
        req.has_body = true;
        req.internal_port = d ? d->internal : k->internal;
        req.external_port = d ? 0 : k->external.port ? k->external.port : k->suggested;
        req.lifetime = d ? 0 : PORTMAP_LIFETIME;
    }
    return bytes_of(m->out, natpmp_write(m->out, sizeof m->out, &req));
}

bool portmap_output(struct portmap *m, usec_t now, struct portmap_out *out)
{
    out->to = m->gateway;
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        struct portmap_deletion *d = &k->old;
        if (request_take(&d->request, PORTMAP_DELETE_SENDS, now)) {
            out->data = d->method == PORTMAP_BY_PCP ? write_pcp(m, k, d) : write_natpmp(m, k, d);
            return true;
        }
        if (request_take(&k->pcp, PORTMAP_SENDS, now)) {
            out->data = write_pcp(m, k, NULL);
            return true;
        }
        if (request_take(&k->natpmp, PORTMAP_SENDS, now)) {
            out->data = write_natpmp(m, k, NULL);
            return true;
        }
    }
    if (!request_take(&m->address, PORTMAP_SENDS, now))
        return false;
    out->data = write_natpmp(m, NULL, NULL);
    return true;
}

/* -- time -- */

/* Whether it was sent often enough and waited for long enough. */
static bool request_over(struct portmap_request *r, unsigned limit, usec_t now)
{
    if (!r->active || r->sends < limit || r->due > now)
        return false;
    r->active = false;
    return true;
}

static void trying_tick(struct portmap *m, struct portmap_mapping *k, usec_t now)
{
    request_over(&k->pcp, PORTMAP_SENDS, now);
    request_over(&k->natpmp, PORTMAP_SENDS, now);
    if (k->state == PORTMAP_ASKING) {
        if (now >= k->began + PORTMAP_NATPMP_AFTER)
            portmap_join_natpmp(m, k, now);
        if (now >= k->began + PORTMAP_UPNP_AFTER && upnp_possible(m) && !k->upnp_asked)
            ask_upnp(m, k, now);
    }
    if (k->upnp_pending && now >= k->upnp_until) {
        k->upnp_pending = false;
        k->upnp_results = 0;
    }
    portmap_judge(m, k, now);
}

static usec_t trying_wake(const struct portmap *m, const struct portmap_mapping *k)
{
    usec_t wake = USEC_NEVER;
    if (k->pcp.active)
        wake = usec_min(wake, k->pcp.due);
    if (k->natpmp.active)
        wake = usec_min(wake, k->natpmp.due);
    if (k->upnp_pending)
        wake = usec_min(wake, k->upnp_until);
    if (k->state != PORTMAP_ASKING)
        return wake;
    if (!k->natpmp_joined && !k->natpmp_out && m->gateway.family == 4)
        wake = usec_min(wake, k->began + PORTMAP_NATPMP_AFTER);
    if (upnp_possible(m) && !k->upnp_asked)
        wake = usec_min(wake, k->began + PORTMAP_UPNP_AFTER);
    return wake;
}

usec_t portmap_wake(const struct portmap *m)
{
    usec_t wake = m->address.active ? m->address.due : USEC_NEVER;
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        const struct portmap_mapping *k = &m->mappings[i];
        if (k->old.request.active)
            wake = usec_min(wake, k->old.request.due);
        if (k->trying)
            wake = usec_min(wake, trying_wake(m, k));
        if (k->state == PORTMAP_MAPPED)
            wake = usec_min(wake, k->trying ? k->expires : usec_min(k->expires, k->renew_at));
        if (k->state == PORTMAP_FAILED)
            wake = usec_min(wake, k->retry_at);
    }
    return wake;
}

void portmap_tick(struct portmap *m, usec_t now)
{
    request_over(&m->address, PORTMAP_SENDS, now);
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        request_over(&k->old.request, PORTMAP_DELETE_SENDS, now);
        if (k->state == PORTMAP_MAPPED && k->expires <= now) {
            lost(m, k, "the router no longer answers, and the mapping ran out");
            m->pcp_unknown = false; /* it may be another router by now, and so below */
            ask(m, k, now);
        } else if (k->state == PORTMAP_MAPPED && !k->trying && k->renew_at <= now) {
            renew(m, k, now);
        } else if (k->state == PORTMAP_FAILED && k->retry_at <= now) {
            m->pcp_unknown = false;
            ask(m, k, now);
        }
        if (k->trying)
            trying_tick(m, k, now);
    }
}

/* -- words -- */

void portmap_status(const struct portmap *m, enum portmap_kind kind, usec_t now, struct portmap_status *s)
{
    const struct portmap_mapping *k = &m->mappings[kind];
    *s = (struct portmap_status){.state = k->state, .internal = k->internal};
    const char *name = portmap_kind_name(kind);
    char text[NET_ADDR_TEXT];
    net_addr_text(text, &k->external);
    const char *flaw = portmap_address_text(&k->external); /* not k->why: a renewal may be under way */
    if (k->state == PORTMAP_UNWANTED && k->old.request.active)
        s->state = PORTMAP_DELETING;
    switch (s->state) {
    case PORTMAP_UNWANTED:
        snprintf(s->words, sizeof s->words, "%s: not wanted", name);
        break;
    case PORTMAP_DELETING:
        snprintf(s->words, sizeof s->words, "%s: being deleted", name);
        break;
    case PORTMAP_ASKING:
        snprintf(s->words, sizeof s->words, "%s %u: asking the router", name, k->internal);
        break;
    case PORTMAP_FAILED:
        snprintf(s->words, sizeof s->words, "%s %u: %s", name, k->internal, k->why);
        break;
    case PORTMAP_MAPPED:
        s->method = k->method;
        s->external = k->external;
        s->usable = usable(&k->external);
        s->expires = (uint32_t)(usec_since(k->expires, now) / SEC);
        snprintf(s->words, sizeof s->words, "%s %u is %s outside (%s, %u s left)%s%s", name, k->internal,
                 text, portmap_method_name(k->method), s->expires, *flaw ? "; " : "", flaw);
        break;
    }
}
