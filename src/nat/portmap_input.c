/* What routers, and UPnP, answer. */
#include "nat/portmap_int.h"

#include <errno.h>
#include <string.h>

/* s; a mapping without an end is looked after as often as one of so much. */
#define UPNP_FOR_EVER 3600
/* A router that announces itself is asked again after a failure, but not more often than so. */
#define ANNOUNCED_GAP (10 * SEC)

/* -- what came -- */

/* RFC 6887 section 8.5: whether the router's clock says that it lost its state. */
static bool restarted(struct portmap_epoch *e, uint32_t server, usec_t now)
{
    struct portmap_epoch was = *e;
    *e = (struct portmap_epoch){.known = true, .server = server, .client = now};
    if (!was.known)
        return false;
    if ((uint64_t)server + 1 < was.server)
        return true;
    uint64_t s = server > was.server ? server - was.server : 0, c = usec_since(now, was.client) / SEC;
    return c + 2 < s - s / 16 || s + 2 < c - c / 16;
}

/* Everything is mapped again at once; a router whose clock jumps all the time does not make us ask all the
 * time. */
static void map_again(struct portmap *m, enum portmap_method method, usec_t now)
{
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        if (k->state != PORTMAP_MAPPED || k->method != method || k->trying)
            continue;
        usec_t soonest = k->mapped_at + PORTMAP_RENEW_MIN;
        k->renew_at = usec_min(k->renew_at, now > soonest ? now : soonest);
    }
}

/* A router that speaks up may have become one that answers. */
static void announced(struct portmap *m, usec_t now)
{
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        if (k->state == PORTMAP_FAILED && usec_since(now, k->began) >= ANNOUNCED_GAP)
            k->retry_at = usec_min(k->retry_at, now);
    }
}

static void pcp_outdated(struct portmap *m, usec_t now)
{
    m->pcp_unknown = true;
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        if (!k->pcp.active)
            continue;
        k->pcp.active = false;
        if (k->state == PORTMAP_ASKING)
            portmap_join_natpmp(m, k, now);
        portmap_judge(m, k, now);
    }
}

static void natpmp_unknown(struct portmap *m, usec_t now)
{
    m->address.active = false;
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        if (k->state != PORTMAP_ASKING || !k->natpmp_joined)
            continue;
        k->natpmp_out = true;
        k->natpmp.active = false;
        portmap_judge(m, k, now);
    }
}

static struct portmap_mapping *pcp_mapping(struct portmap *m, const struct pcp_message *in)
{
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        if (k->internal && memcmp(k->nonce, in->nonce, sizeof k->nonce) == 0 &&
            in->protocol == portmap_protocol_of(m, k) && in->internal_port == k->internal)
            return k;
    }
    return NULL;
}

static struct portmap_deletion *pcp_deletion(struct portmap *m, const struct pcp_message *in)
{
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_deletion *d = &m->mappings[i].old;
        if (d->request.active && d->method == PORTMAP_BY_PCP && in->has_map &&
            memcmp(d->nonce, in->nonce, sizeof d->nonce) == 0)
            return d;
    }
    return NULL;
}

static int pcp_failed(struct portmap *m, const struct pcp_message *in, usec_t now)
{
    int r = -ENOENT;
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        /* An error that is cut short cannot say whom it means. */
        if (!k->pcp.active || k->pcp.sends == 0 || (in->has_map && pcp_mapping(m, in) != k))
            continue;
        k->pcp.active = false;
        k->why = pcp_result_text(in->result);
        k->error_lifetime = in->lifetime;
        if (!k->natpmp_joined)
            k->natpmp_out = true; /* it would say the same */
        portmap_judge(m, k, now);
        r = 0;
    }
    return r;
}

static int pcp_input(struct portmap *m, struct bytes in, usec_t now)
{
    struct pcp_message msg;
    if (pcp_read(&msg, in) || !msg.response)
        return -EBADMSG;
    if (msg.result == PCP_UNSUPP_VERSION) {
        /* In our version it is an answer to NAT-PMP (RFC 6887 appendix A). */
        (msg.version == PCP_VERSION ? natpmp_unknown : pcp_outdated)(m, now);
        return 0;
    }
    if (restarted(&m->pcp_epoch, msg.epoch, now))
        map_again(m, PORTMAP_BY_PCP, now);
    if (msg.opcode == PCP_ANNOUNCE) {
        announced(m, now);
        return 0;
    }
    struct portmap_deletion *d = pcp_deletion(m, &msg);
    if (d) {
        d->request.active = false; /* also by an error: it will run out by itself */
        return 0;
    }
    if (msg.result != PCP_SUCCESS)
        return pcp_failed(m, &msg, now);
    struct portmap_mapping *k = pcp_mapping(m, &msg);
    if (!k || msg.lifetime == 0 || msg.external.port == 0 ||
        (k->state == PORTMAP_MAPPED && k->method != PORTMAP_BY_PCP))
        return -ENOENT;
    portmap_mapped(m, k, PORTMAP_BY_PCP, &msg.external, msg.lifetime, now);
    return 0;
}

static int natpmp_address(struct portmap *m, const struct natpmp_message *in, usec_t now)
{
    bool asked = m->address.active;
    m->address.active = false;
    if (in->result == NATPMP_SUCCESS) {
        m->address_known = true;
        m->natpmp_ip = in->ip;
    }
    for (size_t i = 0; i < PORTMAP_KINDS; i++) {
        struct portmap_mapping *k = &m->mappings[i];
        if (in->result == NATPMP_SUCCESS && k->state == PORTMAP_MAPPED && k->method == PORTMAP_BY_NATPMP &&
            net_addr_ip4(&k->external) != in->ip) {
            k->external = net_addr4(in->ip, k->external.port);
            k->why = portmap_address_text(&k->external);
            portmap_push(m, k, PORTMAP_EVENT_MAPPED, k->why);
        }
        if (!asked || k->state != PORTMAP_ASKING || !k->natpmp_joined)
            continue;
        if (in->result == NATPMP_SUCCESS) {
            portmap_request_begin(&k->natpmp, now);
        } else {
            k->natpmp_out = true;
            k->why = natpmp_result_text(in->result);
            portmap_judge(m, k, now);
        }
    }
    if (!asked)
        announced(m, now);
    return 0;
}

static int natpmp_mapping(struct portmap *m, const struct natpmp_message *in, usec_t now)
{
    struct portmap_mapping *k =
        &m->mappings[in->opcode == NATPMP_MAP_UDP ? PORTMAP_FOR_UDP : PORTMAP_FOR_TCP];
    struct portmap_deletion *d = &k->old;
    if (d->request.active && d->method == PORTMAP_BY_NATPMP && in->has_body &&
        in->internal_port == d->internal && in->lifetime == 0) {
        d->request.active = false;
        return 0;
    }
    if (!k->natpmp.active || k->natpmp.sends == 0 || (in->has_body && in->internal_port != k->internal))
        return -ENOENT;
    if (in->result != NATPMP_SUCCESS) {
        k->natpmp.active = false;
        k->natpmp_out = true;
        k->why = natpmp_result_text(in->result);
        portmap_judge(m, k, now);
        return 0;
    }
    if (in->lifetime == 0 || in->external_port == 0)
        return -ENOENT;
    struct net_addr external = net_addr4(m->natpmp_ip, in->external_port);
    portmap_mapped(m, k, PORTMAP_BY_NATPMP, &external, in->lifetime, now);
    return 0;
}

static int natpmp_input(struct portmap *m, struct bytes in, usec_t now)
{
    struct natpmp_message msg;
    if (natpmp_read(&msg, in) || !msg.response)
        return -EBADMSG;
    if (msg.result == NATPMP_UNSUPP_VERSION) {
        /* To a PCP request: the router is older. */
        pcp_outdated(m, now);
        return 0;
    }
    if (restarted(&m->natpmp_epoch, msg.epoch, now)) {
        map_again(m, PORTMAP_BY_NATPMP, now);
        if (msg.opcode != NATPMP_ADDRESS && !m->address.active)
            portmap_request_begin(&m->address, now); /* it may be another one now */
    }
    if (msg.opcode == NATPMP_ADDRESS)
        return natpmp_address(m, &msg, now);
    if (msg.opcode == NATPMP_MAP_UDP || msg.opcode == NATPMP_MAP_TCP)
        return natpmp_mapping(m, &msg, now);
    return -ENOENT;
}

int portmap_input(struct portmap *m, const struct net_addr *from, struct bytes in, usec_t now)
{
    if (!portmap_reachable(m) || !net_addr_equal(from, &m->gateway))
        return -EPERM;
    if (in.n == 0)
        return -EBADMSG;
    if (in.p[0] == NATPMP_VERSION)
        return m->gateway.family == 4 ? natpmp_input(m, in, now) : -EBADMSG;
    return pcp_input(m, in, now);
}

void portmap_upnp_result(struct portmap *m, enum portmap_kind kind, int error,
                         const struct net_addr *external, uint32_t lifetime, usec_t now)
{
    struct portmap_mapping *k = &m->mappings[kind];
    if (k->upnp_results)
        k->upnp_results--;
    bool latest = k->upnp_results == 0, pending = k->upnp_pending;
    if (latest)
        k->upnp_pending = false;
    bool mine = k->internal && latest && (k->state != PORTMAP_MAPPED || k->method == PORTMAP_BY_UPNP);
    if (error == 0 && mine) {
        portmap_mapped(m, k, PORTMAP_BY_UPNP, external, lifetime ? lifetime : UPNP_FOR_EVER, now);
    } else if (error == 0) {
        /* Another method was faster, or the port is no longer wanted. */
        struct portmap_event *ev;
        portmap_push(m, k, PORTMAP_EVENT_DROP_UPNP, "");
        ev = &m->events[(m->event_at + m->event_count - 1) % PORTMAP_EVENTS_MAX];
        ev->external = *external;
        ev->method = PORTMAP_BY_UPNP;
    } else if (pending && latest) {
        if (error != -ENODEV && !k->why)
            k->why = "the router speaks UPnP and refuses the mapping";
        portmap_judge(m, k, now);
    }
}
