/* `netcheck`: what the network around this machine allows (field names: doc/protocol/control.md). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/underlay_int.h"

/* ---- What discovery found. */

static json_t *answer_json(enum nat_answer a)
{
    return a == NAT_ANSWER_UNKNOWN ? json_null() : json_boolean(a == NAT_ANSWER_YES);
}

static json_t *depends_json(enum nat_depends d)
{
    return d == NAT_DEPENDS_UNKNOWN ? json_null() : json_string(nat_depends_name(d));
}

static json_t *address_json(const struct net_addr *a)
{
    char text[NET_ADDR_TEXT];
    if (a->family == 0)
        return json_null();
    net_addr_text(text, a);
    return json_string(text);
}

static bool socket_open(const struct node *n, uint8_t family)
{
    return underlay_socket(n, family) != 0;
}

/* An address of this family that is good for more than the machine and its link. */
static bool has_family(const struct node *n, uint8_t family)
{
    const struct node_network *net = &n->underlay->net;
    for (size_t i = 0; i < net->count; i++) {
        const struct net_addr *a = &net->addrs[i].addr;
        enum net_scope scope = net_addr_scope(a);
        if (a->family == family && (scope == NET_PUBLIC || (family == 4 && scope >= NET_PRIVATE)))
            return true;
    }
    return false;
}

static json_t *family_json(const struct node *n, const struct nat_behaviour *b)
{
    char text[NAT_TEXT_MAX];
    if (!n->limits.direct)
        snprintf(text, sizeof text, "Direct paths are switched off here (--no-direct).");
    else if (!socket_open(n, b->family))
        snprintf(text, sizeof text, "IPv%u: no UDP socket could be opened.", b->family);
    else if (b->udp != NAT_ANSWER_YES && n->underlay->known && !has_family(n, b->family))
        snprintf(text, sizeof text, "IPv%u: this machine has no address for it.", b->family);
    else if (!n->underlay->discover)
        snprintf(text, sizeof text, "IPv%u: not known: there is no STUN server to ask.", b->family);
    else
        nat_behaviour_text(text, b);
    json_t *o = json_object();
    json_object_set_new(o, "mapped", address_json(&b->mapped));
    json_object_set_new(o, "translated", answer_json(b->translated));
    json_object_set_new(o, "mapping", depends_json(b->mapping));
    json_object_set_new(o, "filtering", depends_json(b->filtering));
    json_object_set_new(o, "ports",
                        b->ports == NAT_CHOICE_UNKNOWN ? json_null()
                                                       : json_string(nat_port_choice_name(b->ports)));
    json_object_set_new(o, "port_delta", b->port_delta ? json_integer(b->port_delta) : json_null());
    json_object_set_new(o, "hairpin", answer_json(b->hairpin));
    json_object_set_new(o, "lifetime_s",
                        b->lifetime_min ? json_integer((json_int_t)(b->lifetime_min / SEC)) : json_null());
    json_object_set_new(o, "complete", json_boolean(b->complete));
    json_object_set_new(o, "text", json_string(text));
    return o;
}

/* ---- Addresses, the router, relays. */

static json_t *addresses_json(const struct node *n)
{
    const struct underlay *u = n->underlay;
    json_t *list = json_array();
    for (size_t i = 0; i < u->candidate_count; i++) {
        const struct ice_candidate *c = &u->candidates[i];
        json_t *o = json_object();
        json_object_set_new(o, "address", address_json(&c->addr));
        json_object_set_new(o, "kind",
                            json_string(c->mapped                         ? "mapped"
                                        : c->type == ICE_HOST             ? "own"
                                        : c->type == ICE_SERVER_REFLEXIVE ? "outside"
                                                                          : "relayed"));
        json_array_append_new(list, o);
    }
    return list;
}

static void list_text(json_t *list, const char *text)
{
    size_t i;
    json_t *each;
    json_array_foreach(list, i, each) if (strcmp(json_string_value(each), text) == 0) return;
    json_array_append_new(list, text_json(text));
}

/* As others see this machine: over TCP the hub, over UDP STUN servers, and the router. */
static json_t *public_json(const struct node *n)
{
    const struct underlay *u = n->underlay;
    json_t *list = json_array();
    char text[NET_ADDR_TEXT];
    if (link_ready(n) && n->link.seen[0])
        list_text(list, n->link.seen);
    for (size_t i = 0; i < u->candidate_count; i++) {
        if (net_addr_scope(&u->candidates[i].addr) != NET_PUBLIC || u->candidates[i].type == ICE_RELAYED)
            continue;
        net_addr_text(text, &u->candidates[i].addr);
        list_text(list, text);
    }
    return list;
}

static json_t *port_mapping_json(const struct node *n, usec_t now)
{
    json_t *o = json_object();
    for (int k = 0; k < PORTMAP_KINDS; k++) {
        struct portmap_status st;
        const char *words = !n->limits.direct || !n->limits.port_mapping ? "switched off here"
                            : n->underlay->net.gateway4.family == 0      ? "no router is known"
                                                                         : "not asked for";
        bool any = mapping_status(n, (enum portmap_kind)k, now, &st) && st.state != PORTMAP_UNWANTED;
        json_object_set_new(o, portmap_kind_name((enum portmap_kind)k), text_json(any ? st.words : words));
    }
    return o;
}

static void relay_words(const struct node *n, char *out, size_t cap)
{
    const struct udp_bind *b = &n->underlay->bind;
    char seen[NET_ADDR_TEXT];
    net_addr_text(seen, &b->seen);
    if (!n->limits.direct)
        snprintf(out, cap, "switched off here");
    else if (b->state == BIND_BOUND)
        snprintf(out, cap, "bound at %s", seen);
    else if (!link_ready(n))
        snprintf(out, cap, "not known: the hub is not connected");
    else if (!b->have_key || b->server_count == 0)
        snprintf(out, cap, "this hub has none");
    else if (b->state == BIND_OFF)
        snprintf(out, cap, "not reachable");
    else
        snprintf(out, cap, "being asked for");
}

static json_t *relay_json(const char *name, const char *kind, usec_t rtt)
{
    return json_pack("{s:s, s:s, s:o}", "name", name, "kind", kind, "rtt_ms", ms_json(rtt));
}

/* Nearest first. */
static json_t *relays_json(const struct node *n)
{
    const struct udp_bind *b = &n->underlay->bind;
    json_t *list = json_array();
    if (link_ready(n))
        json_array_append_new(list, relay_json(n->link.label, "ws-relay", n->link.rtt));
    if (b->state == BIND_BOUND) {
        bool nearer = b->rtt != 0 && (!link_ready(n) || b->rtt < n->link.rtt);
        json_array_insert_new(list, nearer ? 0 : json_array_size(list),
                              relay_json(n->link.label, "udp-relay", b->rtt));
    }
    return list;
}

/* ---- What it means. */

struct saying {
    char text[1024];
    size_t n;
};

static void say(struct saying *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct saying *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s->text + s->n, sizeof s->text - s->n, fmt, ap);
    va_end(ap);
    if (n > 0)
        s->n = s->n + (size_t)n < sizeof s->text ? s->n + (size_t)n : sizeof s->text - 1;
}

static bool hard(const struct nat_behaviour *b)
{
    return b->translated == NAT_ANSWER_YES &&
           (b->mapping == NAT_DEPENDS_ADDRESS || b->mapping == NAT_DEPENDS_PORT);
}

/* Direct paths, as the second half of a sentence about the hub. */
static void say_direct(struct saying *s, const struct node *n, const struct nat_behaviour *b4,
                       const struct nat_behaviour *b6)
{
    const struct underlay *u = n->underlay;
    bool mapped = u->mapped.family != 0;
    if (!n->limits.direct)
        say(s,
            "direct paths are switched off here (--no-direct), so that everything goes over the hub's relay");
    else if (!socket_open(n, 4) && !socket_open(n, 6))
        say(s, "no UDP socket could be opened, so that only the hub's relay and TLS can work");
    else if (!u->discover)
        say(s, "it offers no STUN, so that UDP and NAT behaviour cannot be known; direct paths are tried all "
               "the same");
    else if (b6->udp == NAT_ANSWER_YES && b6->translated == NAT_ANSWER_NO)
        say(s, "IPv6 works%s: direct paths to everybody who has it, and over IPv4 %s",
            b6->filtering == NAT_DEPENDS_NOT ? "" : ", behind a firewall that answers can pass",
            b4->udp == NAT_ANSWER_NO ? "UDP is blocked"
            : hard(b4) && !mapped    ? "to peers with an easy NAT, IPv6 or a port mapping"
                                     : "to most peers");
    else if (b4->udp == NAT_ANSWER_NO)
        say(s, "UDP is blocked here, so that direct paths can only go over TLS, and else everything goes "
               "over the "
               "hub's relay");
    else if (b4->udp == NAT_ANSWER_UNKNOWN)
        say(s, "UDP has not been answered yet: ask again in a few seconds");
    else if (b4->translated == NAT_ANSWER_NO)
        say(s, "this machine has a public address: direct paths to everybody whose network lets UDP out");
    else if (mapped)
        say(s,
            "the router has mapped a port to this machine: direct paths to everybody whose network lets UDP "
            "out");
    else if (hard(b4))
        say(s,
            "the NAT here gives every peer another port (%s): direct paths to peers with an easy NAT, a port "
            "mapping or IPv6 only; the others stay on the hub's relay",
            b4->ports == NAT_CHOICE_UNKNOWN ? "symmetric" : nat_port_choice_name(b4->ports));
    else
        say(s, "the NAT here is an easy one: direct paths to most peers");
}

static void summary(struct saying *s, const struct node *n, const struct request *r,
                    const struct nat_behaviour *b4, const struct nat_behaviour *b6)
{
    const struct link *l = &n->link;
    if (!l->have_hub)
        say(s, "No hub is known yet: join a party, or start the node with --hub; without its STUN server UDP "
               "and NAT "
               "behaviour cannot be known");
    else if (!link_ready(n)) {
        say(s, "The hub %s cannot be reached (%s): ", l->label, l->why[0] ? l->why : "still connecting");
        if (b4->udp == NAT_ANSWER_YES || b6->udp == NAT_ANSWER_YES)
            say(s, "what is connected directly stays so, and nothing new comes about until it can");
        else
            say(s, "nothing but the LAN works until it can");
    } else if (!r->pong)
        say(s, "The hub %s is connected but did not answer a ping in time: the way to it is bad", l->label);
    else {
        say(s, "The hub %s answers in %.1f ms over TCP, so every party works; ", l->label,
            (double)l->rtt / 1000.0);
        say_direct(s, n, b4, b6);
    }
    say(s, ".");
}

/* ---- The answer. */

static void netcheck_reply(struct node *n, struct request *r, usec_t now)
{
    const struct link *l = &n->link;
    struct nat_behaviour b4, b6;
    struct saying s = {.n = 0};
    char relay[NET_ADDR_TEXT + 40];
    underlay_behaviour(n, 4, &b4);
    underlay_behaviour(n, 6, &b6);
    summary(&s, n, r, &b4, &b6);
    relay_words(n, relay, sizeof relay);
    bool reached = link_ready(n) && r->pong;
    json_t *hub = hub_json(n), *o = json_object();
    json_object_set_new(hub, "reachable", json_boolean(reached));
    json_object_set_new(hub, "udp_relay", json_string(relay));
    json_object_set_new(o, "hub", hub);
    json_object_set_new(o, "tcp",
                        json_pack("{s:o, s:b}", "port", l->have_hub ? json_integer(l->hub.port) : json_null(),
                                  "reachable", reached));
    json_object_set_new(o, "udp",
                        json_pack("{s:o, s:o}", "ipv4", answer_json(b4.udp), "ipv6", answer_json(b6.udp)));
    json_object_set_new(o, "ipv4", family_json(n, &b4));
    json_object_set_new(o, "ipv6", family_json(n, &b6));
    json_object_set_new(o, "mapping", depends_json(b4.mapping));
    json_object_set_new(o, "filtering", depends_json(b4.filtering));
    json_object_set_new(o, "hairpin", answer_json(b4.hairpin));
    json_object_set_new(o, "public_addresses", public_json(n));
    json_object_set_new(o, "addresses", addresses_json(n));
    json_object_set_new(o, "port_mapping", port_mapping_json(n, now));
    json_object_set_new(o, "tcp_listener",
                        n->underlay->tcp_port ? json_integer(n->underlay->tcp_port) : json_null());
    json_object_set_new(o, "turn", text_json(turning_words(n)));
    json_object_set_new(o, "relays", relays_json(n));
    json_object_set_new(o, "ciphers", ciphers_json(n));
    json_object_set_new(o, "text", text_json(s.text));
    json_object_set_new(o, "summary", text_json(s.text));
    request_ok(n, r, o);
}

/* Something is still being found out that will be known within a moment. */
static bool finding_out(const struct node *n)
{
    const struct underlay *u = n->underlay;
    struct nat_behaviour b;
    if (!n->limits.direct || !u->known)
        return false;
    if (u->bind.state == BIND_ASKED || u->bind.state == BIND_CONFIRMING)
        return true;
    for (unsigned family = 4; u->discover && family <= 6; family += 2) {
        underlay_behaviour(n, (uint8_t)family, &b);
        if (socket_open(n, (uint8_t)family) && has_family(n, (uint8_t)family) && b.udp != NAT_ANSWER_NO &&
            !b.complete)
            return true;
    }
    return false;
}

void netcheck_go_on(struct node *n, struct request *r, bool timed_out, usec_t now)
{
    r->pong |= link_ready(n) && r->token != 0 && n->link.ping_token == r->token && n->link.ping_sent == 0;
    if (timed_out || (r->pong && !finding_out(n)))
        netcheck_reply(n, r, now);
    else if (!r->pong && link_ready(n) && r->token != n->link.ping_token)
        r->token = link_ping(n, now);
}

void cmd_netcheck(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct request *r = request_new(n, id, REQUEST_NETCHECK, now);
    if (!r)
        return;
    r->deadline = now + NETCHECK_WAIT;
    node_due(n, r->deadline);
    link_try_now(n, now);
    if (n->link.have_hub)
        netcheck_go_on(n, r, false, now);
    else
        netcheck_reply(n, r, now);
}
