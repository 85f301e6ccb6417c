#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "nat/mdns.h"
#include "wire/dns.h"

#define START  (50 * SEC)
#define DAY    20000u
#define NOON   ((uint64_t)DAY * 86400 + 43200)
#define NODES  4
#define PARTY  0x70
#define EVENTS 256
#define SENT   256

/* A link with some instances on it; everybody hears what is multicast, the sender too. */
struct seen {
    usec_t at;
    int who;
    bool multicast;
    uint8_t family;
    size_t len;
    uint8_t data[MDNS_DATAGRAM_MAX];
};
static struct {
    struct rng_seeded state;
    struct rng rng;
    usec_t now;
    struct mdns *nodes[NODES];
    bool cut[NODES]; /* off the link */
    struct mdns_event events[NODES][EVENTS];
    size_t event_count[NODES];
    struct seen sent[SENT];
    size_t sent_count;
} l;

static struct dns_message msg;

static struct net_addr addr_of(int who, uint8_t family)
{
    uint8_t six[16] = {0xfe, 0x80, [15] = (uint8_t)(10 + who)};
    return family == 4 ? net_addr4(0xC0A8010Au + (uint32_t)who, MDNS_PORT) : net_addr6(six, MDNS_PORT);
}

static struct mdns_member member(uint8_t party, uint8_t node, bool self)
{
    struct mdns_member m = {.self = self};
    memset(m.party, party, sizeof m.party);
    memset(m.node, node, sizeof m.node);
    return m;
}

static uint8_t node_of(int who)
{
    return (uint8_t)(0x11 * (who + 1));
}

/* Node `who` in a party of `size` nodes. */
static void join(int who, uint8_t party, int size)
{
    struct mdns_member all[NODES];
    for (int i = 0; i < size; i++)
        all[i] = member(party, node_of(i), i == who);
    assert_int_equal(mdns_set_members(l.nodes[who], all, (size_t)size, l.now), 0);
}

static void make(int who)
{
    l.nodes[who] = mdns_new(&l.rng, l.now);
    assert_non_null(l.nodes[who]);
    mdns_clock(l.nodes[who], l.now, NOON);
    mdns_ports(l.nodes[who], (uint16_t)(40000 + who), (uint16_t)(50000 + who), l.now);
}

static int setup(void **state)
{
    memset(&l, 0, sizeof l);
    l.rng = rng_seeded(&l.state, 7);
    l.now = START;
    return 0;
}

static int teardown(void **state)
{
    for (int i = 0; i < NODES; i++)
        mdns_free(l.nodes[i]);
    return 0;
}

static void pump(int who)
{
    struct mdns_out o;
    while (mdns_output(l.nodes[who], l.now, &o)) {
        uint8_t data[MDNS_DATAGRAM_MAX];
        struct net_addr from = addr_of(who, o.family);
        assert_in_range(o.data.n, DNS_HEADER_LEN, MDNS_DATAGRAM_MAX);
        assert_int_equal(o.to.port, MDNS_PORT);
        memcpy(data, o.data.p, o.data.n);
        if (l.sent_count < SENT) {
            struct seen *s = &l.sent[l.sent_count++];
            *s = (struct seen){l.now, who, o.multicast, o.family, o.data.n, {0}};
            memcpy(s->data, data, o.data.n);
        }
        for (int i = 0; i < NODES; i++) {
            struct net_addr theirs = addr_of(i, o.family);
            if (l.nodes[i] && !l.cut[i] && !l.cut[who] && (o.multicast || net_addr_equal(&theirs, &o.to)))
                mdns_input(l.nodes[i], o.family, &from, bytes_of(data, o.data.n), l.now);
        }
    }
    while (l.event_count[who] < EVENTS && mdns_event(l.nodes[who], &l.events[who][l.event_count[who]]))
        l.event_count[who]++;
}

static void run(usec_t until)
{
    for (int turns = 0;; turns++) {
        assert_true(turns < 20000);
        usec_t next = USEC_NEVER;
        for (int i = 0; i < NODES; i++) {
            if (l.nodes[i])
                pump(i);
        }
        for (int i = 0; i < NODES; i++) {
            if (l.nodes[i])
                pump(i);
            next = l.nodes[i] ? usec_min(next, mdns_wake(l.nodes[i])) : next;
        }
        if (next > until)
            break;
        assert_true(next > l.now);
        l.now = next;
        for (int i = 0; i < NODES; i++) {
            if (l.nodes[i])
                mdns_tick(l.nodes[i], l.now);
        }
    }
    l.now = until;
}

static const struct mdns_event *event_of(int who, enum mdns_event_kind kind, int other, uint8_t family)
{
    for (size_t i = 0; i < l.event_count[who]; i++) {
        const struct mdns_event *ev = &l.events[who][i];
        if (ev->kind == kind && ev->node[0] == node_of(other) && ev->addr.family == family)
            return ev;
    }
    return NULL;
}

static void forget(void)
{
    memset(l.event_count, 0, sizeof l.event_count);
    l.sent_count = 0;
}

static void three(void)
{
    for (int i = 0; i < 3; i++) {
        make(i);
        join(i, PARTY, 3);
        mdns_start(l.nodes[i], l.now);
    }
}

/* ---- Finding. */

static void labels_are_as_written_down(void **state)
{
    char label[MDNS_LABEL_CAP];
    struct mdns_member m = member(PARTY, 0x11, false);
    mdns_label(label, m.party, m.node, DAY);
    assert_string_equal(label, "23iqqjed6fq5j2el");
    mdns_label(label, m.party, m.node, DAY + 1);
    assert_string_equal(label, "oxq6hbtnus7knl2e");
}

static void three_members_find_each_other(void **state)
{
    three();
    run(START + 12 * SEC);
    for (int a = 0; a < 3; a++) {
        assert_int_equal(l.event_count[a], 4); /* two others, two families, once */
        for (int b = 0; b < 3; b++) {
            for (uint8_t f = 4; f <= 6 && a != b; f = (uint8_t)(f + 2)) {
                const struct mdns_event *ev = event_of(a, MDNS_FOUND, b, f);
                struct net_addr expect = addr_of(b, f);
                assert_non_null(ev);
                assert_true(net_ip_equal(&ev->addr, &expect));
                assert_int_equal(ev->addr.port, 40000 + b);
                assert_int_equal(ev->tls_port, 50000 + b);
                assert_int_equal(ev->party[31], PARTY);
                assert_int_equal(ev->node[31], node_of(b));
            }
        }
    }
}

static void who_comes_later_is_found_at_once(void **state)
{
    three();
    l.cut[2] = true;
    run(START + 60 * SEC);
    assert_null(event_of(0, MDNS_FOUND, 2, 4));
    l.cut[2] = false;
    mdns_start(l.nodes[2], l.now); /* its network changed */
    run(l.now + 200 * MSEC);
    assert_non_null(event_of(0, MDNS_FOUND, 2, 4));
    assert_non_null(event_of(2, MDNS_FOUND, 0, 4));
    assert_non_null(event_of(2, MDNS_FOUND, 1, 6));
}

static void strangers_are_not_recognised(void **state)
{
    struct mdns_counts c;
    three();
    make(3);
    struct mdns_member other[] = {member(0x71, node_of(3), true), member(0x71, node_of(0), false)};
    assert_int_equal(mdns_set_members(l.nodes[3], other, 2, l.now), 0);
    mdns_start(l.nodes[3], l.now);
    run(START + 12 * SEC);
    assert_int_equal(l.event_count[3], 0);
    assert_null(event_of(0, MDNS_FOUND, 3, 4));
    assert_int_equal(l.event_count[0], 4);
    mdns_counts(l.nodes[0], &c);
    assert_true(c.strangers > 0);
    assert_int_equal(c.found, 4);
    mdns_counts(l.nodes[3], &c);
    assert_true(c.strangers > 0);
    assert_int_equal(c.found, 0);
}

static void nothing_sent_names_anybody(void **state)
{
    three();
    run(START + 12 * SEC);
    for (size_t i = 0; i < l.sent_count; i++) {
        uint8_t run_of[8];
        memset(run_of, PARTY, sizeof run_of);
        assert_null(memmem(l.sent[i].data, l.sent[i].len, run_of, sizeof run_of));
        memset(run_of, node_of(l.sent[i].who), sizeof run_of);
        assert_null(memmem(l.sent[i].data, l.sent[i].len, run_of, sizeof run_of));
    }
}

static void the_days_of_others_may_differ(void **state)
{
    three();
    uint64_t midnight = (uint64_t)(DAY + 1) * 86400;
    mdns_clock(l.nodes[0], l.now, midnight - 5);
    mdns_clock(l.nodes[1], l.now, midnight + 100);
    mdns_clock(l.nodes[2], l.now, midnight - 3600);
    run(START + 1 * SEC);
    assert_non_null(event_of(0, MDNS_FOUND, 1, 4));
    assert_non_null(event_of(1, MDNS_FOUND, 0, 4));
    forget();
    run(START + 8 * SEC); /* midnight came for the first */
    size_t said = 0;
    for (size_t i = 0; i < l.sent_count; i++) {
        const struct seen *s = &l.sent[i];
        struct bytes label;
        if (s->who != 0 || s->family != 4 || !(s->data[2] & 0x80) || s->at < START + 5 * SEC)
            continue;
        assert_int_equal(dns_read(&msg, bytes_of(s->data, s->len)), 0);
        assert_true(dns_name_first(&msg.records[0].target, &label, NULL));
        assert_true(bytes_equal(label, bytes_of_str("oxq6hbtnus7knl2e")));
        said++;
    }
    assert_in_range(said, 2, 3); /* announced twice, and perhaps asked */
    assert_int_equal(l.event_count[1] + l.event_count[2], 0);
}

/* ---- Changes. */

static void goodbye_is_heard(void **state)
{
    three();
    run(START + 12 * SEC);
    forget();
    mdns_stop(l.nodes[1], l.now);
    run(l.now + 1 * SEC);
    for (uint8_t f = 4; f <= 6; f = (uint8_t)(f + 2)) {
        assert_non_null(event_of(0, MDNS_GONE, 1, f));
        assert_non_null(event_of(2, MDNS_GONE, 1, f));
    }
    assert_int_equal(l.event_count[0], 2);
    assert_int_equal(mdns_wake(l.nodes[1]), USEC_NEVER);
    forget();
    mdns_start(l.nodes[1], l.now);
    run(l.now + 2 * SEC);
    assert_non_null(event_of(0, MDNS_FOUND, 1, 4));
}

static void silence_ends_it(void **state)
{
    three();
    run(START + 12 * SEC);
    forget();
    run(l.now + 3600 * SEC); /* queries keep everybody alive */
    assert_int_equal(l.event_count[0], 0);
    l.cut[1] = true;
    run(l.now + (MDNS_TTL_S + 1) * SEC);
    assert_non_null(event_of(0, MDNS_GONE, 1, 4));
    assert_non_null(event_of(2, MDNS_GONE, 1, 6));
    assert_null(event_of(0, MDNS_GONE, 2, 4));
}

static void new_ports_are_told(void **state)
{
    three();
    run(START + 12 * SEC);
    forget();
    mdns_ports(l.nodes[0], 40100, 0, l.now);
    run(l.now + 3 * SEC);
    const struct mdns_event *ev = event_of(1, MDNS_FOUND, 0, 4);
    assert_non_null(ev);
    assert_int_equal(ev->addr.port, 40100);
    assert_int_equal(ev->tls_port, 0);
    assert_int_equal(l.event_count[1], 2);
}

static void hasty_changes_are_announced_once_a_second(void **state)
{
    size_t said = 0;
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    run(START + 20 * SEC);
    forget();
    for (uint16_t i = 0; i < 40; i++) {
        mdns_ports(l.nodes[0], (uint16_t)(100 + i), 0, l.now);
        run(l.now + 50 * MSEC);
    }
    run(l.now + 5 * SEC);
    for (size_t i = 0; i < l.sent_count; i++)
        said += l.sent[i].family == 4 && l.sent[i].data[2] & 0x80;
    assert_int_equal(said, 4); /* at 0, 1, 2 and 3 s */
}

static void a_party_that_is_left_is_taken_back(void **state)
{
    three();
    run(START + 12 * SEC);
    forget();
    assert_int_equal(mdns_set_members(l.nodes[0], NULL, 0, l.now), 0);
    run(l.now + 5 * SEC);
    assert_non_null(event_of(1, MDNS_GONE, 0, 4));
    assert_int_equal(l.event_count[0], 0);
    for (size_t i = 0; i < l.sent_count; i++)
        assert_true(l.sent[i].who != 0 || l.sent[i].at < START + 12 * SEC + MDNS_AGAIN);
    join(0, PARTY, 3);
    run(l.now + 5 * SEC);
    assert_non_null(event_of(1, MDNS_FOUND, 0, 4));
}

/* ---- Asking and answering. */

static void questions_and_announcements_have_their_times(void **state)
{
    static const usec_t asks[] = {0, 1 * SEC, 3 * SEC, 9 * SEC, 309 * SEC, 609 * SEC};
    size_t asked = 0, said = 0;
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    run(START + 610 * SEC);
    for (size_t i = 0; i < l.sent_count; i++) {
        const struct seen *s = &l.sent[i];
        assert_true(s->multicast);
        if (s->family != 4)
            continue;
        if (s->data[2] & 0x80)
            assert_int_equal(s->at - START, said++ * MDNS_AGAIN);
        else
            assert_int_equal(s->at - START, asks[asked++]);
    }
    assert_int_equal(asked, 6);
    assert_int_equal(said, 2); /* its own questions, heard, are not answered */
}

static size_t query(uint8_t *out, bool unicast, const char *known_label)
{
    struct dns_writer d;
    struct dns_question q = {.type = DNS_PTR, .class = DNS_IN, .unicast = unicast};
    assert_int_equal(dns_name_set(&q.name, "_warren._udp.LOCAL"), 0);
    dns_begin(&d, out, 512, 0, 0);
    dns_put_question(&d, &q);
    if (known_label) {
        struct dns_record r = {.name = q.name, .type = DNS_PTR, .class = DNS_IN, .ttl = MDNS_TTL_S};
        assert_int_equal(dns_name_prefix(&r.target, bytes_of_str(known_label), &q.name), 0);
        dns_put_record(&d, &r);
    }
    return dns_end(&d).n;
}

/* Asks node 0, which has just announced at START and START + 1 s; what it sends in the second after. */
static size_t asked(usec_t at, uint8_t *q, size_t n, uint16_t port)
{
    struct net_addr from = addr_of(3, 4);
    from.port = port;
    run(at);
    forget();
    mdns_input(l.nodes[0], 4, &from, bytes_of(q, n), l.now);
    run(at + 1100 * MSEC);
    return l.sent_count;
}

static void queries_are_answered(void **state)
{
    uint8_t q[512];
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    assert_int_equal(asked(START + 20 * SEC, q, query(q, false, NULL), MDNS_PORT), 1);
    assert_true(l.sent[0].multicast);
    assert_in_range(l.sent[0].at, START + 20 * SEC + 20 * MSEC, START + 20 * SEC + 120 * MSEC);
    assert_int_equal(asked(START + 30 * SEC, q, query(q, true, NULL), MDNS_PORT), 1);
    assert_false(l.sent[0].multicast);
    assert_int_equal(l.sent[0].at, START + 30 * SEC);
    assert_int_equal(asked(START + 40 * SEC, q, query(q, false, "23iqqjed6fq5j2el"), MDNS_PORT), 0);
    assert_int_equal(asked(START + 50 * SEC, q, query(q, false, "oxq6hbtnus7knl2e"), MDNS_PORT), 1);
    assert_int_equal(asked(START + 60 * SEC, q, query(q, false, NULL), 40000), 0);
    /* So long after the last multicast all are to hear it. */
    assert_int_equal(asked(START + 300 * SEC, q, query(q, true, NULL), MDNS_PORT), 1);
    assert_true(l.sent[0].multicast);
}

static void the_answer_is_well_formed(void **state)
{
    uint8_t q[512];
    char text[DNS_NAME_TEXT];
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    assert_int_equal(asked(START + 20 * SEC, q, query(q, false, NULL), MDNS_PORT), 1);
    assert_int_equal(dns_read(&msg, bytes_of(l.sent[0].data, l.sent[0].len)), 0);
    assert_int_equal(msg.id, 0);
    assert_int_equal(msg.flags, DNS_FLAG_RESPONSE | DNS_FLAG_AUTHORITATIVE);
    assert_int_equal(msg.question_count, 0);
    assert_int_equal(msg.record_count, 3);
    assert_int_equal(msg.records[0].type, DNS_PTR);
    assert_int_equal(msg.records[0].section, DNS_ANSWER);
    assert_false(msg.records[0].flush); /* shared */
    dns_name_text(text, &msg.records[0].target);
    assert_string_equal(text, "23iqqjed6fq5j2el._warren._udp.local");
    assert_int_equal(msg.records[1].type, DNS_SRV);
    assert_true(msg.records[1].flush);
    assert_int_equal(msg.records[1].port, 40000);
    assert_int_equal(msg.records[1].ttl, MDNS_TTL_S);
    assert_true(dns_name_equal(&msg.records[1].name, &msg.records[0].target));
    dns_name_text(text, &msg.records[1].target);
    assert_string_equal(text, "23iqqjed6fq5j2el.local");
    assert_int_equal(msg.records[2].type, DNS_TXT);
    assert_true(bytes_equal(msg.records[2].data, bytes_of_str("\007t=50000")));
}

static void floods_of_queries_get_one_answer_a_second(void **state)
{
    uint8_t q[512];
    struct net_addr from = addr_of(3, 4);
    size_t n = query(q, false, NULL), multicast = 0, unicast = 0;
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    run(START + 20 * SEC);
    forget();
    for (int i = 0; i < 5000; i++) {
        query(q, i % 2, NULL);
        mdns_input(l.nodes[0], 4, &from, bytes_of(q, n), l.now);
        run(l.now + MSEC);
    }
    for (size_t i = 0; i < l.sent_count; i++) {
        multicast += l.sent[i].multicast;
        unicast += !l.sent[i].multicast;
    }
    assert_in_range(multicast, 4, 5);
    assert_in_range(unicast, 5 * MDNS_UNICAST_RATE, 6 * MDNS_UNICAST_RATE);
}

static void nothing_is_said_without_a_port_or_before_the_start(void **state)
{
    uint8_t q[512];
    make(0);
    join(0, PARTY, 3);
    run(START + 5 * SEC);
    assert_int_equal(l.sent_count, 0);
    mdns_ports(l.nodes[0], 0, 0, l.now);
    mdns_start(l.nodes[0], l.now);
    assert_int_equal(asked(START + 20 * SEC, q, query(q, false, NULL), MDNS_PORT), 0);
    mdns_stop(l.nodes[0], l.now);
    run(l.now + 5 * SEC);
    assert_int_equal(l.sent_count, 0); /* no goodbye either */
}

/* ---- Strangers' bytes and limits. */

static struct bytes announcement(uint8_t *out, uint8_t party, uint8_t node, uint16_t port, const char *txt,
                                 size_t txt_len)
{
    char label[MDNS_LABEL_CAP];
    struct dns_writer d;
    struct dns_name service;
    struct mdns_member m = member(party, node, false);
    struct dns_record srv = {.type = DNS_SRV, .class = DNS_IN, .ttl = 120, .port = port};
    struct dns_record text = {.type = DNS_TXT, .class = DNS_IN, .ttl = 120, .data = bytes_of(txt, txt_len)};
    mdns_label(label, m.party, m.node, DAY);
    assert_int_equal(dns_name_set(&service, "_warren._udp.local"), 0);
    assert_int_equal(dns_name_set(&srv.target, "x.local"), 0);
    assert_int_equal(dns_name_prefix(&srv.name, bytes_of_str(label), &service), 0);
    text.name = srv.name;
    dns_begin(&d, out, 512, 0, DNS_FLAG_RESPONSE);
    dns_put_record(&d, &srv);
    dns_put_record(&d, &text);
    return dns_end(&d);
}

static void the_tls_port_is_read_with_care(void **state)
{
    static const struct {
        const char *txt;
        size_t n;
        uint16_t tls;
    } cases[] = {
        {"\007t=50001", 8, 50001}, {"\003t=1", 4, 1}, {"\007T=65535", 8, 65535}, {"\007t=65536", 8, 0},
        {"\010t=050001", 9, 0},    {"\002t=", 3, 0},  {"\004t=1x", 5, 0},        {"\003u=5", 4, 0},
        {"\003u=5\003t=7", 8, 7},  {"\000", 1, 0},    {"\003t=8\003t=9", 8, 8},  {"\004t=-1", 5, 0},
    };
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t buf[512];
        struct net_addr from = addr_of(1, 4);
        struct bytes a = announcement(buf, PARTY, node_of(1), (uint16_t)(100 + i), cases[i].txt, cases[i].n);
        run(l.now + 1 * SEC);
        forget();
        mdns_input(l.nodes[0], 4, &from, a, l.now);
        run(l.now);
        assert_int_equal(l.event_count[0], 1);
        assert_int_equal(l.events[0][0].addr.port, 100 + i);
        assert_int_equal(l.events[0][0].tls_port, cases[i].tls);
    }
}

static void what_is_not_a_response_from_5353_finds_nobody(void **state)
{
    uint8_t buf[512];
    struct net_addr from = addr_of(1, 4), six = addr_of(1, 6);
    struct bytes a = announcement(buf, PARTY, node_of(1), 100, "\000", 1);
    struct mdns_counts c;
    make(0);
    join(0, PARTY, 3);
    mdns_input(l.nodes[0], 4, &from, a, l.now); /* not started */
    mdns_start(l.nodes[0], l.now);
    from.port = 1234;
    mdns_input(l.nodes[0], 4, &from, a, l.now);
    mdns_input(l.nodes[0], 4, &six, a, l.now);
    from.port = MDNS_PORT;
    buf[2] = 0; /* a query */
    mdns_input(l.nodes[0], 4, &from, a, l.now);
    buf[2] = 0x88; /* another opcode */
    mdns_input(l.nodes[0], 4, &from, a, l.now);
    buf[2] = 0x80;
    buf[3] = 3; /* an error */
    mdns_input(l.nodes[0], 4, &from, a, l.now);
    run(l.now);
    mdns_counts(l.nodes[0], &c);
    assert_int_equal(c.found, 0);
    buf[3] = 0;
    mdns_input(l.nodes[0], 4, &from, a, l.now);
    mdns_counts(l.nodes[0], &c);
    assert_int_equal(c.found, 1);
}

static void mangled_packets_are_survived(void **state)
{
    uint8_t buf[512];
    struct net_addr from = addr_of(1, 4);
    struct mdns_counts c;
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    struct bytes a = announcement(buf, PARTY, node_of(1), 100, "\003t=1", 4);
    for (size_t n = 0; n < a.n; n++)
        mdns_input(l.nodes[0], 4, &from, bytes_of(buf, n), l.now);
    mdns_counts(l.nodes[0], &c);
    assert_int_equal(c.malformed, a.n);
    assert_int_equal(c.found, 0);
    for (size_t i = 0; i < a.n * 8; i++) {
        buf[i / 8] ^= (uint8_t)(1 << i % 8);
        mdns_input(l.nodes[0], 4, &from, a, l.now);
        buf[i / 8] ^= (uint8_t)(1 << i % 8);
        run(l.now + 100 * MSEC);
    }
    mdns_counts(l.nodes[0], &c);
    assert_true(c.found <= 1);
    for (size_t i = 0; i < l.event_count[0]; i++)
        assert_int_equal(l.events[0][i].node[0], node_of(1));
}

static void liars_are_bounded(void **state)
{
    uint8_t buf[512];
    struct mdns_counts c;
    make(0);
    join(0, PARTY, 3);
    mdns_start(l.nodes[0], l.now);
    run(START + 20 * SEC);
    forget();
    for (uint32_t i = 0; i < 1000; i++) {
        struct net_addr from = net_addr4(0x0A000000u + i, MDNS_PORT);
        mdns_input(l.nodes[0], 4, &from, announcement(buf, PARTY, node_of(1), 100, "\000", 1), l.now);
        run(l.now + MSEC);
    }
    mdns_counts(l.nodes[0], &c);
    assert_int_equal(c.found, MDNS_ADDRS_MAX);
    size_t found = 0;
    for (size_t i = 0; i < l.event_count[0]; i++)
        found += l.events[0][i].kind == MDNS_FOUND;
    assert_in_range(found, MDNS_EVENTS_MAX, MDNS_EVENTS_MAX + MDNS_EVENT_RATE);
    assert_true(c.limited >= 1000 - found);
}

static void tables_are_bounded(void **state)
{
    static struct mdns_member all[MDNS_MEMBERS_MAX + 40];
    struct mdns_counts c;
    size_t n = 0, datagrams = 0, records = 0;
    make(0);
    for (uint8_t p = 0; p < MDNS_PARTIES_MAX; p++)
        all[n++] = member(p, node_of(0), true);
    for (size_t i = 0; i < MDNS_MEMBERS_MAX; i++) {
        all[n] = member(1, 0, false);
        all[n].node[0] = (uint8_t)(i >> 8);
        all[n++].node[1] = (uint8_t)i;
    }
    assert_int_equal(mdns_set_members(l.nodes[0], all, n, l.now), 0);
    mdns_start(l.nodes[0], l.now);
    run(START + 500 * MSEC);
    for (size_t i = 0; i < l.sent_count; i++) {
        if (l.sent[i].family != 4 || !(l.sent[i].data[2] & 0x80))
            continue;
        datagrams++;
        assert_int_equal(dns_read(&msg, bytes_of(l.sent[i].data, l.sent[i].len)), 0);
        records += msg.record_count;
    }
    assert_int_equal(datagrams, 3);
    assert_int_equal(records, 3 * MDNS_PARTIES_MAX);
    for (uint32_t i = 0; i < 300; i++) {
        uint8_t buf[512];
        char label[MDNS_LABEL_CAP];
        struct net_addr from = net_addr4(0x0A000000u + i, MDNS_PORT);
        struct dns_writer d;
        struct dns_name service;
        struct dns_record srv = {.type = DNS_SRV, .class = DNS_IN, .ttl = 4000000000u, .port = 9};
        mdns_label(label, all[MDNS_PARTIES_MAX + i].party, all[MDNS_PARTIES_MAX + i].node, DAY);
        assert_int_equal(dns_name_set(&service, "_warren._udp.local"), 0);
        assert_int_equal(dns_name_prefix(&srv.name, bytes_of_str(label), &service), 0);
        srv.target = service;
        dns_begin(&d, buf, sizeof buf, 0, DNS_FLAG_RESPONSE);
        dns_put_record(&d, &srv);
        mdns_input(l.nodes[0], 4, &from, dns_end(&d), l.now);
        run(l.now + 60 * MSEC);
    }
    mdns_counts(l.nodes[0], &c);
    assert_int_equal(c.members, MDNS_MEMBERS_MAX);
    assert_int_equal(c.found, MDNS_FOUND_MAX);
    assert_int_equal(c.limited, 300 - MDNS_FOUND_MAX);
    run(l.now + MDNS_TTL_MAX_S * SEC); /* however long a life they claim */
    mdns_counts(l.nodes[0], &c);
    assert_int_equal(c.found, 0);
    all[n] = member(1, 0xee, false);
    assert_int_equal(mdns_set_members(l.nodes[0], all, n + 1, l.now), -ENOSPC);
    all[n] = member(0xee, node_of(0), true);
    assert_int_equal(mdns_set_members(l.nodes[0], all, n + 1, l.now), -ENOSPC);
}

#define WITH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(labels_are_as_written_down),
        WITH(three_members_find_each_other),
        WITH(who_comes_later_is_found_at_once),
        WITH(strangers_are_not_recognised),
        WITH(nothing_sent_names_anybody),
        WITH(the_days_of_others_may_differ),
        WITH(goodbye_is_heard),
        WITH(silence_ends_it),
        WITH(new_ports_are_told),
        WITH(hasty_changes_are_announced_once_a_second),
        WITH(a_party_that_is_left_is_taken_back),
        WITH(questions_and_announcements_have_their_times),
        WITH(queries_are_answered),
        WITH(the_answer_is_well_formed),
        WITH(floods_of_queries_get_one_answer_a_second),
        WITH(nothing_is_said_without_a_port_or_before_the_start),
        WITH(the_tls_port_is_read_with_care),
        WITH(what_is_not_a_response_from_5353_finds_nobody),
        WITH(mangled_packets_are_survived),
        WITH(liars_are_bounded),
        WITH(tables_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
