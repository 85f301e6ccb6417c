#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "nat/portmap.h"

#define START    (1000 * SEC)
#define OUTSIDE  0xcb007105u /* 203.0.113.5 */
#define INTERNAL 41641

/* A home router: what it speaks, what it answers, what it has mapped. */
struct router {
    bool pcp, natpmp, natpmp_old_only; /* natpmp_old_only: it tells PCP requests so */
    bool pcp_only;                     /* it tells NAT-PMP requests so */
    uint32_t lifetime, outside, epoch_base;
    uint8_t pcp_error;
    uint16_t natpmp_error;
    uint32_t error_lifetime;
    uint16_t give_port; /* 0: the one suggested */
    usec_t booted;
    unsigned pcp_requests, natpmp_requests, address_requests, deletions;
    uint32_t asked_lifetime;
    struct pcp_message last;
    bool mapped[PORTMAP_KINDS];
    uint8_t reply[PCP_MESSAGE_MAX];
    size_t n;
};

struct world {
    struct portmap *m;
    struct router r;
    struct rng_seeded seeded;
    usec_t now;
    struct net_addr gateway, local;
    bool lose;
    unsigned sent, seen[PORTMAP_EVENT_DROP_UPNP + 1];
    usec_t sent_at[32];
    struct portmap_event last[PORTMAP_EVENT_DROP_UPNP + 1];
};

static void init(struct world *w, bool upnp)
{
    memset(w, 0, sizeof *w);
    w->now = START;
    w->gateway = net_addr4(0xc0a80101, 0);
    w->local = net_addr4(0xc0a8010a, 0);
    w->r = (struct router){.lifetime = 3600, .outside = OUTSIDE, .booted = START - 500 * SEC};
    struct portmap_config c = {
        .gateway = w->gateway, .local = w->local, .upnp = upnp, .rng = rng_seeded(&w->seeded, 11)};
    w->m = portmap_new(&c);
    assert_non_null(w->m);
    w->gateway.port = PORTMAP_SERVER_PORT;
    assert_true(portmap_idle(w->m));
    assert_int_equal(portmap_wake(w->m), USEC_NEVER);
}

static void answer_pcp(struct router *r, const struct pcp_message *in, usec_t now)
{
    r->pcp_requests++;
    if (r->natpmp_old_only) {
        static const uint8_t old[] = {0, 0x81, 0, 1, 0, 0, 0, 9};
        memcpy(r->reply, old, sizeof old);
        r->n = sizeof old;
        return;
    }
    if (!r->pcp)
        return;
    struct pcp_message out = *in;
    int kind = in->protocol == PORTMAP_UDP ? PORTMAP_FOR_UDP : PORTMAP_FOR_TCP;
    r->last = *in;
    out.response = true;
    out.epoch = (uint32_t)((now - r->booted) / SEC) + r->epoch_base;
    out.result = r->pcp_error;
    if (r->pcp_error) {
        out.lifetime = r->error_lifetime;
    } else if (in->lifetime == 0) {
        r->deletions++;
        r->mapped[kind] = false;
    } else {
        r->mapped[kind] = true;
        r->asked_lifetime = in->lifetime;
        out.lifetime = r->lifetime;
        if (in->client.family == 4)
            out.external = net_addr4(r->outside, r->give_port ? r->give_port : in->external.port);
        else
            out.external = net_addr6(in->client.ip, in->internal_port);
    }
    r->n = pcp_write(r->reply, sizeof r->reply, &out);
}

static void answer_natpmp(struct router *r, const struct natpmp_message *in, usec_t now)
{
    *(in->opcode == NATPMP_ADDRESS ? &r->address_requests : &r->natpmp_requests) += 1;
    if (r->pcp_only) {
        struct pcp_message no = {.response = true, .opcode = in->opcode, .result = PCP_UNSUPP_VERSION};
        r->n = pcp_write(r->reply, sizeof r->reply, &no);
        return;
    }
    if (!r->natpmp)
        return;
    struct natpmp_message out = *in;
    int kind = in->opcode == NATPMP_MAP_UDP ? PORTMAP_FOR_UDP : PORTMAP_FOR_TCP;
    out.response = out.has_body = true;
    out.epoch = (uint32_t)((now - r->booted) / SEC) + r->epoch_base;
    if (in->opcode == NATPMP_ADDRESS) {
        out.ip = r->outside;
    } else if (r->natpmp_error) {
        out.result = r->natpmp_error;
        out.lifetime = 0;
    } else if (in->lifetime == 0) {
        r->deletions++;
        r->mapped[kind] = false;
        out.external_port = 0;
    } else {
        r->mapped[kind] = true;
        r->asked_lifetime = in->lifetime;
        out.lifetime = r->lifetime;
        out.external_port = r->give_port ? r->give_port : in->external_port;
    }
    r->n = natpmp_write(r->reply, sizeof r->reply, &out);
}

static void events(struct world *w)
{
    struct portmap_event ev;
    while (portmap_event(w->m, &ev)) {
        assert_non_null(ev.why);
        w->seen[ev.what]++;
        w->last[ev.what] = ev;
    }
}

static void pump(struct world *w)
{
    struct portmap_out out;
    struct portmap_status s;
    portmap_tick(w->m, w->now);
    events(w);
    for (int k = 0; k < PORTMAP_KINDS; k++) { /* there are words at every moment */
        portmap_status(w->m, (enum portmap_kind)k, w->now, &s);
        assert_true(strncmp(s.words, portmap_kind_name((enum portmap_kind)k), 3) == 0);
    }
    while (portmap_output(w->m, w->now, &out)) {
        assert_true(net_addr_equal(&out.to, &w->gateway));
        if (w->sent < 32)
            w->sent_at[w->sent] = w->now;
        w->sent++;
        if (w->lose)
            continue;
        struct pcp_message p;
        struct natpmp_message q;
        w->r.n = 0;
        if (pcp_read(&p, out.data) == 0)
            answer_pcp(&w->r, &p, w->now);
        else if (natpmp_read(&q, out.data) == 0)
            answer_natpmp(&w->r, &q, w->now);
        else
            fail();
        if (w->r.n)
            portmap_input(w->m, &w->gateway, bytes_of(w->r.reply, w->r.n), w->now);
        events(w);
        portmap_tick(w->m, w->now);
    }
}

static void run(struct world *w, usec_t time)
{
    usec_t end = w->now + time;
    for (unsigned i = 0; i < 10000; i++) {
        pump(w);
        usec_t wake = portmap_wake(w->m);
        if (wake > end) {
            w->now = end;
            return;
        }
        assert_true(wake > w->now);
        w->now = wake;
    }
    fail();
}

static const char *words(struct world *w, enum portmap_kind kind)
{
    static struct portmap_status s;
    portmap_status(w->m, kind, w->now, &s);
    return s.words;
}

#define UDP PORTMAP_FOR_UDP
#define TCP PORTMAP_FOR_TCP

static void want(struct world *w, enum portmap_kind kind, uint16_t port)
{
    portmap_want(w->m, kind, port, 0, w->now);
    pump(w);
}

static void pcp_at_once(void **state)
{
    struct world w;
    init(&w, true);
    w.r.pcp = w.r.natpmp = true;
    w.r.give_port = 50000;
    want(&w, UDP, INTERNAL);
    want(&w, TCP, 443);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 2);
    assert_int_equal(w.sent, 2);
    assert_int_equal(w.r.natpmp_requests + w.r.address_requests, 0);
    const struct portmap_event *ev = &w.last[PORTMAP_EVENT_MAPPED];
    assert_int_equal(ev->kind, TCP);
    assert_int_equal(ev->method, PORTMAP_BY_PCP);
    assert_int_equal(net_addr_ip4(&ev->external), OUTSIDE);
    assert_int_equal(ev->external.port, 50000);
    assert_int_equal(ev->internal, 443);
    assert_int_equal(ev->lifetime, 3600);
    assert_true(ev->usable);
    assert_true(net_ip_equal(&w.r.last.client, &w.local));
    assert_int_equal(w.r.last.protocol, PORTMAP_TCP);
    assert_int_equal(w.r.asked_lifetime, PORTMAP_LIFETIME);
    assert_string_equal(words(&w, UDP), "udp 41641 is 203.0.113.5:50000 outside (PCP, 3600 s left)");
    /* Half of the life later, not before, and again the same: no news. */
    run(&w, 1799 * SEC);
    assert_int_equal(w.r.pcp_requests, 2);
    run(&w, 452 * SEC);
    assert_int_equal(w.r.pcp_requests, 4);
    assert_int_equal(w.r.last.external.port, 50000);
    run(&w, 24 * HOUR);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 2);
    assert_int_equal(w.seen[PORTMAP_EVENT_LOST], 0);
    assert_in_range(w.r.pcp_requests, 2 * 38, 2 * 50);
    /* Deletion. */
    portmap_stop(w.m, w.now);
    assert_false(portmap_idle(w.m));
    assert_non_null(strstr(words(&w, UDP), "deleted"));
    pump(&w);
    assert_int_equal(w.r.deletions, 2);
    assert_false(w.r.mapped[UDP] || w.r.mapped[TCP]);
    assert_true(portmap_idle(w.m));
    assert_int_equal(portmap_wake(w.m), USEC_NEVER);
    assert_string_equal(words(&w, UDP), "udp: not wanted");
    portmap_free(w.m);
    portmap_free(NULL);
}

static void natpmp_when_the_router_is_older(void **state)
{
    /* Whether it says so or is silent to PCP. */
    for (int says = 0; says < 2; says++) {
        struct world w;
        init(&w, true);
        w.r.natpmp = true;
        w.r.natpmp_old_only = says;
        want(&w, UDP, INTERNAL);
        if (!says) {
            assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 0);
            run(&w, PORTMAP_NATPMP_AFTER);
            pump(&w);
        }
        assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
        assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].method, PORTMAP_BY_NATPMP);
        assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].external.port, INTERNAL);
        assert_int_equal(net_addr_ip4(&w.last[PORTMAP_EVENT_MAPPED].external), OUTSIDE);
        want(&w, TCP, 443);
        run(&w, PORTMAP_NATPMP_AFTER);
        pump(&w);
        assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 2);
        run(&w, 3 * HOUR);
        assert_in_range(w.r.natpmp_requests, 2 * 5, 2 * 7);
        assert_int_equal(w.seen[PORTMAP_EVENT_LOST] + w.seen[PORTMAP_EVENT_WANT_UPNP], 0);
        portmap_stop(w.m, w.now);
        pump(&w);
        assert_int_equal(w.r.deletions, 2);
        assert_true(portmap_idle(w.m));
        portmap_free(w.m);
    }
}

/* A router that speaks PCP only says so to NAT-PMP: that is no reason to leave PCP. */
static void pcp_only_behind_a_lost_first_request(void **state)
{
    struct world w;
    init(&w, false);
    w.r.pcp = w.r.pcp_only = true;
    w.lose = true;
    want(&w, UDP, INTERNAL);
    w.now += PORTMAP_NATPMP_AFTER;
    w.lose = false;
    w.r.pcp = false; /* its answer is lost, the other's is not */
    pump(&w);
    assert_int_equal(w.r.address_requests, 1);
    assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 0);
    w.r.pcp = true;
    run(&w, SEC);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].method, PORTMAP_BY_PCP);
    portmap_free(w.m);
}

static void nobody_answers(void **state)
{
    struct world w;
    init(&w, false);
    w.lose = true;
    want(&w, UDP, INTERNAL);
    run(&w, 3749 * MSEC);
    /* PCP at 0, 250, 750, 1750 ms, NAT-PMP's question at 250 after the first. */
    static const unsigned ms[] = {0, 250, 250, 500, 750, 1000, 1750, 2000};
    assert_int_equal(w.sent, 8);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal((w.sent_at[i] - START) / MSEC, ms[i]);
    assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 0);
    run(&w, 251 * MSEC);
    assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 1);
    assert_non_null(strstr(w.last[PORTMAP_EVENT_FAILED].why, "no answer"));
    assert_non_null(strstr(words(&w, UDP), "neither PCP nor NAT-PMP"));
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 0);
    /* Again each 15 minutes ... */
    w.sent = 0;
    run(&w, 14 * MINUTE);
    assert_int_equal(w.sent, 0);
    run(&w, MINUTE + SEC);
    assert_true(w.sent > 0);
    run(&w, MINUTE);
    assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 2);
    /* ... and when the network changed. */
    w.lose = false;
    w.r.pcp = true;
    w.gateway = net_addr4(0xc0a80201, 0);
    w.local = net_addr4(0xc0a8020a, 0);
    portmap_network(w.m, &w.gateway, &w.local, w.now);
    w.gateway.port = PORTMAP_SERVER_PORT;
    pump(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    assert_true(net_ip_equal(&w.r.last.client, &w.local));
    portmap_free(w.m);
}

static void no_network_at_first(void **state)
{
    struct world w;
    struct net_addr none = {0}, gateway, local;
    init(&w, true);
    gateway = w.gateway;
    local = w.local;
    portmap_network(w.m, &none, &local, w.now);
    want(&w, UDP, INTERNAL);
    assert_int_equal(w.sent, 0);
    assert_string_equal(words(&w, UDP), "udp 41641: no router is known");
    assert_int_equal(portmap_wake(w.m), USEC_NEVER);
    assert_int_equal(portmap_input(w.m, &w.gateway, bytes_of("\0\0", 2), w.now), -EPERM);
    w.r.pcp = true;
    portmap_network(w.m, &gateway, &local, w.now);
    pump(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    portmap_network(w.m, &none, &none, w.now);
    events(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_LOST], 1);
    assert_int_equal(w.last[PORTMAP_EVENT_LOST].external.port, INTERNAL);
    portmap_free(w.m);
}

static void upnp_by_the_owner(void **state)
{
    struct world w;
    init(&w, true);
    w.lose = true;
    want(&w, UDP, INTERNAL);
    run(&w, PORTMAP_UPNP_AFTER);
    pump(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 1);
    assert_int_equal(w.last[PORTMAP_EVENT_WANT_UPNP].internal, INTERNAL);
    assert_int_equal(w.last[PORTMAP_EVENT_WANT_UPNP].external.port, INTERNAL);
    assert_int_equal(w.last[PORTMAP_EVENT_WANT_UPNP].lifetime, PORTMAP_LIFETIME);
    run(&w, 5 * SEC);
    assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 0); /* it waits for the result */
    struct net_addr external = net_addr4(OUTSIDE, 40000);
    portmap_upnp_result(w.m, UDP, 0, &external, 1000, w.now);
    pump(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].method, PORTMAP_BY_UPNP);
    assert_non_null(strstr(words(&w, UDP), "UPnP"));
    unsigned sent = w.sent;
    run(&w, 630 * SEC);
    assert_int_equal(w.sent, sent); /* renewed by UPnP, too */
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 2);
    assert_int_equal(w.last[PORTMAP_EVENT_WANT_UPNP].external.port, 40000);
    portmap_upnp_result(w.m, UDP, 0, &external, 0, w.now); /* for ever: looked after every hour */
    run(&w, 29 * MINUTE);
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 2);
    run(&w, 10 * MINUTE);
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 3);
    /* Renewals that fail are repeated until it has run out. */
    portmap_upnp_result(w.m, UDP, -ECONNREFUSED, NULL, 0, w.now);
    for (int i = 0; i < 40 && !w.seen[PORTMAP_EVENT_LOST]; i++) {
        unsigned before = w.seen[PORTMAP_EVENT_WANT_UPNP];
        run(&w, MINUTE);
        if (w.seen[PORTMAP_EVENT_WANT_UPNP] > before)
            portmap_upnp_result(w.m, UDP, -ECONNREFUSED, NULL, 0, w.now);
    }
    assert_int_equal(w.seen[PORTMAP_EVENT_LOST], 1);
    assert_true(w.seen[PORTMAP_EVENT_WANT_UPNP] >= 6);
    portmap_free(w.m);
}

static void upnp_fails_too(void **state)
{
    static const struct {
        int error;
        const char *words;
    } rows[] = {{-ENODEV, "neither PCP nor NAT-PMP nor UPnP"}, {-EPERM, "refuses"}, {1, "nor UPnP"}};
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        init(&w, true);
        w.lose = true;
        want(&w, UDP, INTERNAL);
        run(&w, 2 * SEC);
        if (rows[i].error < 0)
            portmap_upnp_result(w.m, UDP, rows[i].error, NULL, 0, w.now);
        run(&w, 2 * SEC);
        assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], rows[i].error < 0); /* not before the others gave up */
        run(&w, PORTMAP_UPNP_PATIENCE); /* the third: no result ever came */
        assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 1);
        assert_non_null(strstr(words(&w, UDP), rows[i].words));
        portmap_free(w.m);
    }
}

static void upnp_was_slower(void **state)
{
    struct world w;
    init(&w, true);
    w.lose = true;
    want(&w, UDP, INTERNAL);
    run(&w, SEC);
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 1);
    w.lose = false;
    w.r.pcp = true;
    run(&w, SEC);
    assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].method, PORTMAP_BY_PCP);
    struct net_addr external = net_addr4(OUTSIDE, 40000);
    portmap_upnp_result(w.m, UDP, 0, &external, 1000, w.now);
    events(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_DROP_UPNP], 1);
    assert_int_equal(w.last[PORTMAP_EVENT_DROP_UPNP].external.port, 40000);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    portmap_free(w.m);

    /* A result for the port before is not taken for the one of now. */
    init(&w, true);
    w.lose = true;
    want(&w, UDP, INTERNAL);
    run(&w, SEC);
    want(&w, UDP, 5000);
    run(&w, SEC);
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 2);
    portmap_upnp_result(w.m, UDP, 0, &external, 1000, w.now);
    events(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 0);
    assert_int_equal(w.seen[PORTMAP_EVENT_DROP_UPNP], 1);
    external.port = 5000;
    portmap_upnp_result(w.m, UDP, 0, &external, 1000, w.now);
    events(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].internal, 5000);
    portmap_stop(w.m, w.now);
    events(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_DROP_UPNP], 2);
    assert_true(portmap_idle(w.m));
    portmap_free(w.m);
}

static void refusals(void **state)
{
    for (unsigned code = PCP_NOT_AUTHORIZED; code < PCP_RESULT_COUNT; code++) {
        struct world w;
        init(&w, code % 2);
        w.r.pcp = w.r.natpmp = true;
        w.r.pcp_error = (uint8_t)code;
        w.r.error_lifetime = 300;
        want(&w, UDP, INTERNAL);
        assert_int_equal(w.r.natpmp_requests + w.r.address_requests, 0);
        if (code % 2) {
            assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 1); /* at once */
            portmap_upnp_result(w.m, UDP, -ENODEV, NULL, 0, w.now);
            pump(&w);
        }
        assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 1);
        assert_string_equal(w.last[PORTMAP_EVENT_FAILED].why, pcp_result_text(code));
        assert_non_null(strstr(words(&w, UDP), pcp_result_text(code)));
        w.r.pcp_error = 0;
        run(&w, 299 * SEC);
        assert_int_equal(w.r.pcp_requests, 1);
        run(&w, 2 * SEC);
        assert_int_equal(w.r.pcp_requests, 2);
        assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
        portmap_free(w.m);
    }
    for (unsigned code = NATPMP_NOT_AUTHORIZED; code < NATPMP_RESULT_COUNT; code++) {
        struct world w;
        init(&w, false);
        w.r.natpmp = w.r.natpmp_old_only = true;
        w.r.natpmp_error = (uint16_t)code;
        want(&w, UDP, INTERNAL);
        want(&w, TCP, INTERNAL);
        assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 2);
        assert_non_null(strstr(words(&w, UDP), natpmp_result_text(code)));
        unsigned requests = w.r.natpmp_requests;
        run(&w, 14 * MINUTE); /* the two do not wake each other */
        assert_int_equal(w.r.natpmp_requests, requests);
        portmap_free(w.m);
    }
}

static void the_router_restarts(void **state)
{
    for (int pcp = 0; pcp < 2; pcp++) {
        struct world w;
        init(&w, false);
        w.r.pcp = pcp;
        w.r.natpmp = w.r.natpmp_old_only = !pcp;
        want(&w, UDP, INTERNAL);
        want(&w, TCP, 443);
        run(&w, 10 * MINUTE);
        unsigned before = w.r.pcp_requests + w.r.natpmp_requests;
        /* An announcement of the same life changes nothing; of a new one, everything is mapped again at once.
         */
        for (int again = 0; again < 2; again++) {
            if (again) {
                w.r.booted = w.now - 3 * SEC;
                w.r.mapped[UDP] = w.r.mapped[TCP] = false;
                w.r.outside++;
            }
            struct pcp_message a = {
                .response = true, .opcode = PCP_ANNOUNCE, .epoch = (uint32_t)((w.now - w.r.booted) / SEC)};
            struct natpmp_message b = {.response = true,
                                       .opcode = NATPMP_ADDRESS,
                                       .epoch = a.epoch,
                                       .has_body = true,
                                       .ip = w.r.outside};
            uint8_t out[64];
            size_t n = pcp ? pcp_write(out, sizeof out, &a) : natpmp_write(out, sizeof out, &b);
            assert_int_equal(portmap_input(w.m, &w.gateway, bytes_of(out, n), w.now), 0);
            pump(&w);
            assert_int_equal(w.r.pcp_requests + w.r.natpmp_requests, before + (again ? 2 : 0));
        }
        assert_true(w.r.mapped[UDP] && w.r.mapped[TCP]);
        assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 4);
        assert_int_equal(net_addr_ip4(&w.last[PORTMAP_EVENT_MAPPED].external), OUTSIDE + 1);
        assert_int_equal(w.seen[PORTMAP_EVENT_LOST], 0);
        portmap_free(w.m);
    }
}

static void epochs_that_jump(void **state)
{
    struct world w;
    init(&w, false);
    w.r.pcp = true;
    want(&w, UDP, INTERNAL);
    want(&w, TCP, 443);
    /* One mapping's renewal shows the restart: the other follows at once. */
    run(&w, 20 * MINUTE);
    w.r.booted = w.now;
    run(&w, 19 * MINUTE);
    assert_int_equal(w.r.pcp_requests, 4);
    /* A router whose clock stands still is asked again, but not all the time. */
    portmap_free(w.m);
    init(&w, false);
    w.r.pcp = true;
    w.r.booted = START - 100000 * SEC;
    want(&w, UDP, INTERNAL);
    want(&w, TCP, 443);
    for (int i = 0; i < 60; i++) {
        w.r.epoch_base = (uint32_t)(i * 7919 % 50000);
        run(&w, SEC);
    }
    assert_in_range(w.r.pcp_requests, 2, 2 + 2 * 15);
    portmap_free(w.m);
}

static void a_router_that_falls_silent(void **state)
{
    struct world w;
    init(&w, false);
    w.r.pcp = true;
    want(&w, UDP, INTERNAL);
    w.lose = true;
    run(&w, 3599 * SEC);
    assert_non_null(
        strstr(words(&w, UDP), "outside (PCP, 1 s left)")); /* also while a renewal is under way */
    assert_int_equal(w.seen[PORTMAP_EVENT_LOST], 0);
    assert_in_range(w.sent, 1 + 4 * 5, 1 + 4 * 13); /* halving what is left */
    run(&w, 2 * SEC);
    assert_int_equal(w.seen[PORTMAP_EVENT_LOST], 1);
    w.lose = false;
    run(&w, 16 * MINUTE);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 2);
    assert_int_equal(w.r.last.external.port, INTERNAL);
    portmap_free(w.m);
    /* An announcement wakes one that had failed. */
    init(&w, false);
    w.lose = true;
    want(&w, UDP, INTERNAL);
    run(&w, MINUTE);
    assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 1);
    w.lose = false;
    w.r.pcp = true;
    struct pcp_message a = {.response = true, .opcode = PCP_ANNOUNCE, .epoch = 1};
    uint8_t out[64];
    assert_int_equal(portmap_input(w.m, &w.gateway, bytes_of(out, pcp_write(out, sizeof out, &a)), w.now), 0);
    pump(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    portmap_free(w.m);
}

static void double_nat(void **state)
{
    static const struct {
        uint32_t outside;
        const char *words;
    } rows[] = {{0x0a000005, "private"}, {0x64400001, "carrier"}, {0, "no address outside"}};
    for (size_t i = 0; i < 6; i++) {
        struct world w;
        init(&w, false);
        w.r.pcp = i < 3;
        w.r.natpmp = w.r.natpmp_old_only = i >= 3;
        w.r.outside = rows[i % 3].outside;
        want(&w, UDP, INTERNAL);
        assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
        assert_false(w.last[PORTMAP_EVENT_MAPPED].usable);
        assert_non_null(strstr(w.last[PORTMAP_EVENT_MAPPED].why, rows[i % 3].words));
        assert_non_null(strstr(words(&w, UDP), rows[i % 3].words));
        assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].external.port, INTERNAL);
        portmap_free(w.m);
    }
}

/* Answers that are not to our question. */
static void wrong_answers(void **state)
{
    struct world w;
    init(&w, false);
    w.lose = true;
    want(&w, UDP, INTERNAL);
    struct portmap_out out;
    w.now += PORTMAP_RTO;
    portmap_tick(w.m, w.now);
    assert_true(portmap_output(w.m, w.now, &out));
    struct pcp_message req, res;
    assert_int_equal(pcp_read(&req, out.data), 0);
    res = req;
    res.response = true;
    res.lifetime = 100;
    res.external = net_addr4(OUTSIDE, 9);
    for (int i = 0; i < 6; i++) {
        struct pcp_message bad = res;
        struct net_addr from = w.gateway;
        int expect = -ENOENT;
        switch (i) {
        case 0:
            bad.nonce[3] ^= 1;
            break;
        case 1:
            bad.protocol = PORTMAP_TCP;
            break;
        case 2:
            bad.internal_port++;
            break;
        case 3:
            from.ip[3]++;
            expect = -EPERM;
            break;
        case 4:
            from.port++;
            expect = -EPERM;
            break;
        default:
            bad.response = false;
            expect = -EBADMSG;
        }
        uint8_t b[64];
        size_t n = pcp_write(b, sizeof b, &bad);
        assert_int_equal(portmap_input(w.m, &from, bytes_of(b, n), w.now), expect);
        bad.result = PCP_NO_RESOURCES; /* nor do such errors count */
        n = pcp_write(b, sizeof b, &bad);
        assert_int_equal(portmap_input(w.m, &from, bytes_of(b, n), w.now), expect);
    }
    uint8_t b[64];
    size_t n = pcp_write(b, sizeof b, &res);
    for (size_t k = 0; k < n; k++)
        assert_int_equal(portmap_input(w.m, &w.gateway, bytes_of(b, k), w.now), -EBADMSG);
    events(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED] + w.seen[PORTMAP_EVENT_FAILED], 0);
    assert_int_equal(portmap_input(w.m, &w.gateway, bytes_of(b, n), w.now), 0);
    events(&w);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    portmap_free(w.m);
}

static void another_port(void **state)
{
    struct world w;
    init(&w, false);
    w.r.pcp = true;
    want(&w, UDP, INTERNAL);
    want(&w, UDP, INTERNAL); /* the same: nothing happens */
    assert_int_equal(w.r.pcp_requests, 1);
    want(&w, UDP, 6000);
    assert_int_equal(w.r.pcp_requests, 3);
    assert_int_equal(w.r.deletions, 1);
    assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].internal, 6000);
    assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].external.port, 6000);
    portmap_want(w.m, UDP, 6001, 7001, w.now);
    pump(&w);
    assert_int_equal(w.last[PORTMAP_EVENT_MAPPED].external.port, 7001);
    /* A deletion that nobody answers is left. */
    w.lose = true;
    w.sent = 0;
    portmap_stop(w.m, w.now);
    run(&w, 5 * SEC);
    assert_int_equal(w.sent, PORTMAP_DELETE_SENDS);
    assert_true(portmap_idle(w.m));
    portmap_free(w.m);
}

static void ipv6_pinhole(void **state)
{
    struct world w;
    init(&w, true);
    uint8_t gateway[16] = {0xfe, 0x80, [15] = 1}, local[16] = {0x2a, 0x01, [15] = 7};
    w.gateway = net_addr6(gateway, 0);
    w.local = net_addr6(local, 0);
    w.r.pcp = true;
    portmap_network(w.m, &w.gateway, &w.local, w.now);
    w.gateway.port = PORTMAP_SERVER_PORT;
    want(&w, UDP, INTERNAL);
    assert_int_equal(w.seen[PORTMAP_EVENT_MAPPED], 1);
    assert_true(w.last[PORTMAP_EVENT_MAPPED].usable);
    assert_true(net_ip_equal(&w.last[PORTMAP_EVENT_MAPPED].external, &w.local));
    assert_int_equal(w.r.last.external.family, 6);
    portmap_free(w.m);
    init(&w, true); /* neither NAT-PMP nor UPnP is asked */
    w.gateway = net_addr6(gateway, 0);
    w.local = net_addr6(local, 0);
    portmap_network(w.m, &w.gateway, &w.local, w.now);
    w.gateway.port = PORTMAP_SERVER_PORT;
    w.lose = true;
    want(&w, UDP, INTERNAL);
    run(&w, 10 * SEC);
    assert_int_equal(w.sent, PORTMAP_SENDS);
    assert_int_equal(w.seen[PORTMAP_EVENT_WANT_UPNP], 0);
    assert_int_equal(w.seen[PORTMAP_EVENT_FAILED], 1);
    portmap_free(w.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pcp_at_once),
        cmocka_unit_test(natpmp_when_the_router_is_older),
        cmocka_unit_test(pcp_only_behind_a_lost_first_request),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(no_network_at_first),
        cmocka_unit_test(upnp_by_the_owner),
        cmocka_unit_test(upnp_fails_too),
        cmocka_unit_test(upnp_was_slower),
        cmocka_unit_test(refusals),
        cmocka_unit_test(the_router_restarts),
        cmocka_unit_test(epochs_that_jump),
        cmocka_unit_test(a_router_that_falls_silent),
        cmocka_unit_test(double_nat),
        cmocka_unit_test(wrong_answers),
        cmocka_unit_test(another_port),
        cmocka_unit_test(ipv6_pinhole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
