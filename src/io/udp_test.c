#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "io/udp.h"
#include "io/udp_int.h"

/* One end: a socket and what it has heard. */
struct end {
    struct udp *u;
    size_t count, drained, want;
    struct net_addr from, to;
    uint8_t last[UDP_DATAGRAM];
    size_t last_n;
    bool echo, close_at_once;
};

static void on_receive(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p,
                       size_t n, size_t room)
{
    struct end *e = arg;
    assert_true(room >= n && room == UDP_DATAGRAM);
    memset(p - UDP_HEAD, 0xee, UDP_HEAD); /* ours to write, as is what lies behind: the sanitizer watches */
    memset(p + n, 0xee, room - n);
    e->count++;
    e->from = *from;
    e->to = *to;
    e->last_n = n;
    memcpy(e->last, p, n);
    if (e->echo)
        assert_int_equal(udp_send(e->u, from, p, n), 0);
    if (e->close_at_once)
        udp_close(e->u);
}

static void on_drained(void *arg)
{
    struct end *e = arg;
    e->drained++;
}

static const struct udp_ops ops = {.receive = on_receive, .drained = on_drained};
static uv_loop_t loop;

static struct net_addr loopback(uint16_t port)
{
    return net_addr4(0x7f000001, port);
}

static void end_open(struct end *e, const char *at, unsigned flags)
{
    struct net_addr a;
    memset(e, 0, sizeof *e);
    assert_int_equal(net_addr_read(&a, at), 0);
    assert_int_equal(udp_open(&e->u, &loop, &a, flags, &ops, e), 0);
    assert_int_not_equal(udp_local(e->u).port, 0);
}

/* Turns the loop until e has heard so many datagrams; a datagram on loopback is there when sendmsg returns.
 */
static void hear(struct end *e, size_t count)
{
    for (int i = 0; i < 1000 && e->count < count; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(e->count, count);
}

static int setup(void **state)
{
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void there_and_back(void **state)
{
    struct end a, b;
    end_open(&a, "127.0.0.1", UDP_DONT_FRAGMENT);
    end_open(&b, "127.0.0.1", 0);
    b.echo = true;
    struct net_addr to = udp_local(b.u), from = udp_local(a.u);
    assert_int_equal(udp_send(a.u, &to, "hello", 5), 0);
    hear(&a, 1);
    assert_int_equal(b.count, 1);
    assert_true(net_addr_equal(&b.from, &from));
    assert_true(net_addr_equal(&b.to, &to));
    assert_true(net_addr_equal(&a.from, &to));
    assert_int_equal(a.last_n, 5);
    assert_memory_equal(a.last, "hello", 5);
    assert_int_equal(udp_send(a.u, &to, "", 0), 0);
    hear(&a, 2);
    assert_int_equal(a.last_n, 0);
    udp_close(a.u);
    udp_close(b.u);
    udp_close(NULL);
}

/* A dual-stack server on the wildcard address: everybody is answered from the address that was asked, and
 * IPv4 addresses look like IPv4 addresses. */
static void answers_come_from_where_was_asked(void **state)
{
    static const char *const asked[] = {"127.0.0.1", "127.0.0.2", "127.9.9.9", "[::1]"};
    static const char *const servers[] = {"[::]", "0.0.0.0"};
    for (size_t s = 0; s < 2; s++) {
        struct end server;
        end_open(&server, servers[s], UDP_ANSWER_FROM | UDP_DONT_FRAGMENT);
        server.echo = true;
        for (size_t i = 0; i < (s == 0 ? 4 : 3); i++) {
            struct end client;
            struct net_addr to;
            end_open(&client, i == 3 ? "[::]" : "0.0.0.0", 0);
            assert_int_equal(net_addr_read(&to, asked[i]), 0);
            to.port = udp_local(server.u).port;
            assert_int_equal(udp_send(client.u, &to, "who", 3), 0);
            hear(&client, 1);
            assert_true(net_addr_equal(&client.from, &to));
            assert_true(net_addr_equal(&server.to, &to));
            assert_int_equal(server.from.family, to.family);
            udp_close(client.u);
        }
        udp_close(server.u);
    }
}

static void batches_are_whole_and_in_order(void **state)
{
    struct end a, b;
    end_open(&a, "127.0.0.1", 0);
    end_open(&b, "127.0.0.1", 0);
    struct net_addr to = udp_local(b.u);
    for (uint8_t i = 0; i < 100; i++)
        assert_int_equal(udp_send(a.u, &to, &i, 1), 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    hear(&b, 100);
    assert_int_equal(b.last[0], 99);
    assert_true(b.drained >= 1 && b.drained <= 2);
    /* More than one wakeup takes: the rest comes with the next. */
    for (int i = 0; i < UDP_BATCH * UDP_BATCHES + 1; i++)
        assert_int_equal(udp_send(a.u, &to, "x", 1), 0);
    b.count = b.drained = 0;
    hear(&b, UDP_BATCH * UDP_BATCHES + 1);
    assert_true(b.drained >= 2);
    struct udp_stats st;
    udp_stats(b.u, &st);
    assert_int_equal(st.received, 100 + UDP_BATCH * UDP_BATCHES + 1);
    udp_stats(a.u, &st);
    assert_int_equal(st.sent, 100 + UDP_BATCH * UDP_BATCHES + 1);
    udp_close(a.u);
    udp_close(b.u);
}

static void too_long_is_dropped(void **state)
{
    static uint8_t big[70000];
    struct end a, b;
    struct udp_stats st;
    end_open(&a, "127.0.0.1", UDP_DONT_FRAGMENT);
    end_open(&b, "127.0.0.1", 0);
    struct net_addr to = udp_local(b.u);
    assert_int_equal(udp_send(a.u, &to, big, UDP_DATAGRAM + 1), 0);
    assert_int_equal(udp_send(a.u, &to, big, UDP_DATAGRAM), 0);
    hear(&b, 1);
    assert_int_equal(b.last_n, UDP_DATAGRAM);
    udp_stats(b.u, &st);
    assert_int_equal(st.received, 2);
    assert_int_equal(st.too_long, 1);
    assert_int_equal(udp_send(a.u, &to, big, sizeof big), -EMSGSIZE);
    udp_stats(a.u, &st);
    assert_int_equal(st.sent, 2);
    assert_int_equal(st.refused, 1);
    udp_close(a.u);
    udp_close(b.u);
}

static void a_receiver_may_close(void **state)
{
    struct end a, b;
    end_open(&a, "127.0.0.1", 0);
    end_open(&b, "127.0.0.1", 0);
    struct net_addr to = udp_local(b.u);
    b.close_at_once = true;
    for (int i = 0; i < 5; i++)
        assert_int_equal(udp_send(a.u, &to, "x", 1), 0);
    hear(&b, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.drained, 0);
    udp_close(a.u);
}

static void errors_have_names(void **state)
{
    struct end a, b;
    struct udp *u = NULL;
    struct net_addr at, six = {.family = 6, .ip = {[15] = 1}, .port = 9}, none = {0};
    end_open(&a, "127.0.0.1", 0);
    at = udp_local(a.u);
    assert_int_equal(udp_open(&u, &loop, &at, 0, &ops, &b), -EADDRINUSE);
    assert_int_equal(udp_open(&u, &loop, &none, 0, &ops, &b), -EAFNOSUPPORT);
    at = net_addr4(0xc0000201, 0); /* 192.0.2.1 is nobody's */
    assert_int_equal(udp_open(&u, &loop, &at, 0, &ops, &b), -EADDRNOTAVAIL);
    assert_null(u);
    assert_int_equal(udp_send(a.u, &six, "x", 1), -EAFNOSUPPORT);
    assert_int_equal(udp_send(a.u, &none, "x", 1), -EAFNOSUPPORT);
    udp_close(a.u);
    end_open(&a, "[::]", UDP_V6ONLY);
    at = loopback(9);
    assert_int_not_equal(udp_send(a.u, &at, "x", 1), 0);
    udp_close(a.u);
    /* Shared where both want it so. */
    end_open(&a, "127.0.0.1", UDP_REUSE);
    at = udp_local(a.u);
    assert_int_equal(udp_open(&u, &loop, &at, UDP_REUSE, &ops, &b), 0);
    udp_close(a.u);
    udp_close(u);
}

/* ---- runs ---- */

#define HEARD_MAX 512

/* What an end has heard, in order: of each datagram its length, its first two bytes as a number, and its
 * source; and how many runs it came in. */
struct log {
    struct end end;
    size_t count, runs;
    struct {
        size_t n, number;
        struct net_addr from;
    } heard[HEARD_MAX];
};

static void log_datagram(struct log *l, const struct net_addr *from, const uint8_t *p, size_t n)
{
    assert_true(l->count < HEARD_MAX);
    l->heard[l->count].n = n;
    l->heard[l->count].number = n >= 2 ? (size_t)(p[0] << 8 | p[1]) : SIZE_MAX;
    l->heard[l->count++].from = *from;
    for (size_t i = 2; i < n; i++)
        assert_int_equal(p[i], (uint8_t)(p[1] + i));
}

static void log_run(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p, size_t n,
                    size_t segment)
{
    struct log *l = arg;
    l->runs++;
    assert_true(n == 0 || segment > 0);
    assert_int_equal(to->port, udp_local(l->end.u).port);
    size_t at = 0;
    do {
        log_datagram(l, from, p + at, n - at < segment ? n - at : segment);
        at += segment;
    } while (at < n);
    memset(p - UDP_HEAD, 0xee, UDP_HEAD);
    memset(p, 0xee, n);
}

/* The same for those who know datagrams only; what is around each is written to. */
static void log_one(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p, size_t n,
                    size_t room)
{
    assert_true(room >= n && room <= UDP_DATAGRAM);
    log_datagram(arg, from, p, n);
    memset(p - UDP_HEAD, 0xee, UDP_HEAD);
    memset(p, 0xee, room);
}

static const struct udp_ops run_ops = {.receive = log_one, .receive_run = log_run},
                            one_ops = {.receive = log_one};

static struct log *log_open(unsigned flags, const struct udp_ops *with)
{
    struct net_addr a = loopback(0);
    struct log *l = calloc(1, sizeof *l);
    assert_non_null(l);
    assert_int_equal(udp_open(&l->end.u, &loop, &a, flags, with, l), 0);
    return l;
}

static void log_close(struct log *l)
{
    udp_close(l->end.u);
    free(l);
}

static void log_hear(struct log *l, size_t count)
{
    for (int i = 0; i < 1000 && l->count < count; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(l->count, count);
}

static struct udp_stats stats_of(const struct log *l)
{
    struct udp_stats s;
    udp_stats(l->end.u, &s);
    return s;
}

/* Datagrams number first, first + 1, ... of `segment` bytes in n bytes. */
static void fill(uint8_t *p, size_t n, size_t segment, size_t first)
{
    for (size_t i = 0; i < n; i++) {
        size_t number = first + i / segment, at = i % segment;
        p[i] = at == 0 ? (uint8_t)(number >> 8) : at == 1 ? (uint8_t)number : (uint8_t)(number + at);
    }
}

static void assert_run_heard(const struct log *l, size_t n, size_t segment)
{
    size_t count = (n + segment - 1) / segment;
    assert_int_equal(l->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(l->heard[i].number, i);
        assert_int_equal(l->heard[i].n, i + 1 < count ? segment : n - i * segment);
    }
}

static void runs_arrive_whole(void **state)
{
    static const struct {
        size_t n, segment, runs;
    } rows[] = {
        {1037, 100, 1},       {1000, 100, 1}, {64 * 1000, 1000, 1},  {65 * 100, 100, 2},
        {65 * 1000, 1000, 2}, {200, 200, 1},  {200 * 1000, 1000, 4}, {2, 2, 1},
        {5000, 2000, 1},
    };
    static uint8_t p[200 * 1000];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int kind = 0; kind < 3; kind++) {
            struct log *a = log_open(0, &run_ops);
            struct log *b = log_open(kind < 2 ? UDP_OFFLOAD : 0, kind == 0 ? &run_ops : &one_ops);
            struct net_addr to = udp_local(b->end.u);
            fill(p, rows[i].n, rows[i].segment, 0);
            assert_int_equal(udp_send_run(a->end.u, &to, p, rows[i].n, rows[i].segment), 0);
            size_t count = (rows[i].n + rows[i].segment - 1) / rows[i].segment;
            log_hear(b, count);
            assert_run_heard(b, rows[i].n, rows[i].segment);
            struct udp_stats sent = stats_of(a), got = stats_of(b);
            assert_int_equal(sent.sent, count);
            assert_int_equal(got.received, count);
            if (kind == 0 && sent.sends_runs && got.receives_runs)
                assert_int_equal(b->runs, rows[i].runs);
            if (kind == 2)
                assert_int_equal(got.runs_in, 0);
            log_close(a);
            log_close(b);
        }
    }
}

static void no_segment_is_one_datagram(void **state)
{
    uint8_t p[300];
    struct log *a = log_open(0, &run_ops), *b = log_open(UDP_OFFLOAD, &run_ops);
    struct net_addr to = udp_local(b->end.u);
    fill(p, sizeof p, sizeof p, 0);
    assert_int_equal(udp_send_run(a->end.u, &to, p, 300, 0), 0);
    assert_int_equal(udp_send_run(a->end.u, &to, p, 300, 300), 0);
    assert_int_equal(udp_send_run(a->end.u, &to, p, 300, 9999), 0);
    assert_int_equal(udp_send_run(a->end.u, &to, p, 0, 0), 0);
    log_hear(b, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(b->heard[i].n, i < 3 ? 300 : 0);
    assert_int_equal(stats_of(b).runs_in, 0);
    log_close(a);
    log_close(b);
}

static void too_long_ones_in_runs_are_dropped(void **state)
{
    static uint8_t p[9000];
    struct log *a = log_open(0, &run_ops), *b = log_open(UDP_OFFLOAD, &run_ops);
    struct net_addr to = udp_local(b->end.u);
    fill(p, sizeof p, 3000, 0);
    assert_int_equal(udp_send_run(a->end.u, &to, p, 9000, 3000), 0);
    assert_int_equal(udp_send(a->end.u, &to, p, 9000), 0);
    fill(p, 100, 100, 7);
    assert_int_equal(udp_send(a->end.u, &to, p, 100), 0);
    log_hear(b, 1);
    assert_int_equal(b->heard[0].number, 7);
    assert_int_equal(stats_of(b).too_long, 4);
    assert_int_equal(stats_of(b).received, 5);
    log_close(a);
    log_close(b);
}

static void without_offloads_all_is_the_same(void **state)
{
    static uint8_t p[64 * 100];
    struct log *a = log_open(UDP_OFFLOAD, &run_ops), *b = log_open(UDP_OFFLOAD, &run_ops);
    struct net_addr to = udp_local(b->end.u);
    udp_offload_off(a->end.u);
    udp_offload_off(b->end.u);
    fill(p, sizeof p, 100, 0);
    assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 100), 0);
    log_hear(b, 64);
    assert_run_heard(b, sizeof p, 100);
    assert_int_equal(stats_of(a).runs_out, 0);
    assert_int_equal(stats_of(b).runs_in, 0);
    fill(p, sizeof p, 100, 64);
    for (size_t i = 0; i < 64; i++)
        udp_send_later(a->end.u, &to, p + 100 * i, 100, 0);
    udp_flush(a->end.u);
    log_hear(b, 128);
    for (size_t i = 0; i < 128; i++)
        assert_int_equal(b->heard[i].number, i);
    log_close(a);
    log_close(b);
}

/* A kernel that says no: to runs, and to datagrams longer than so much. */
static struct {
    int no_runs, no_more; /* errno, or 0 */
    size_t longest, runs_asked, calls;
} kernel;

static ssize_t refusing(int fd, const struct msghdr *m, int flags)
{
    bool run = false;
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c))
        run = run || c->cmsg_level == IPPROTO_UDP;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        n += m->msg_iov[i].iov_len;
    kernel.calls++;
    kernel.runs_asked += run;
    errno = run ? kernel.no_runs : n > kernel.longest ? EMSGSIZE : kernel.no_more;
    return errno ? -1 : sendmsg(fd, m, flags);
}

static void refused_runs_are_sent_anyway(void **state)
{
    static const int errors[] = {EIO, EINVAL, ENOPROTOOPT};
    uint8_t p[1037];
    for (size_t i = 0; i < 3; i++) {
        struct log *a = log_open(UDP_OFFLOAD, &run_ops), *b = log_open(UDP_OFFLOAD, &run_ops);
        struct net_addr to = udp_local(b->end.u);
        memset(&kernel, 0, sizeof kernel);
        kernel.no_runs = errors[i];
        kernel.longest = SIZE_MAX;
        udp_sendmsg_set(a->end.u, refusing);
        assert_true(stats_of(a).sends_runs);
        fill(p, sizeof p, 100, 0);
        if (i == 0) { /* gathered */
            for (size_t at = 0; at < sizeof p; at += 100)
                udp_send_later(a->end.u, &to, p + at, sizeof p - at < 100 ? sizeof p - at : 100, 0);
            assert_int_equal(kernel.calls, 0);
            udp_flush(a->end.u);
        } else {
            assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 100), 0);
        }
        log_hear(b, 11);
        assert_run_heard(b, sizeof p, 100);
        struct udp_stats s = stats_of(a);
        assert_false(s.sends_runs);
        assert_int_equal(s.runs_refused, 1);
        assert_int_equal(s.sent, 11);
        assert_int_equal(s.refused, 0);
        assert_int_equal(kernel.runs_asked, 1);
        b->count = 0;
        assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 100), 0);
        log_hear(b, 11);
        assert_run_heard(b, sizeof p, 100);
        assert_int_equal(kernel.runs_asked, 1); /* never again */
        assert_int_equal(stats_of(a).runs_refused, 1);
        log_close(a);
        log_close(b);
    }
}

/* Whoever has a peer with a small MTU does not lose runs to all others. */
static void too_long_for_the_path_is_no_refusal(void **state)
{
    static const int errors[] = {EMSGSIZE, EINVAL};
    uint8_t p[1037];
    for (size_t i = 0; i < 2; i++) {
        struct log *a = log_open(0, &run_ops), *b = log_open(UDP_OFFLOAD, &run_ops);
        struct net_addr to = udp_local(b->end.u);
        memset(&kernel, 0, sizeof kernel);
        kernel.no_runs = errors[i];
        kernel.longest = 99;
        udp_sendmsg_set(a->end.u, refusing);
        fill(p, sizeof p, 100, 0);
        assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 100), -EMSGSIZE);
        log_hear(b, 1); /* the last is shorter */
        assert_int_equal(b->heard[0].number, 10);
        struct udp_stats s = stats_of(a);
        assert_true(s.sends_runs);
        assert_int_equal(s.sent, 1);
        assert_int_equal(s.refused, 10);
        assert_int_equal(s.full, 0);
        assert_int_equal(kernel.calls, 3); /* the run, the first, the last */
        kernel.no_runs = kernel.no_more = EAGAIN;
        assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 100), -EAGAIN);
        s = stats_of(a);
        assert_true(s.sends_runs);
        assert_int_equal(s.refused, 21);
        assert_int_equal(s.full, 11);
        assert_int_equal(kernel.calls, 4);
        kernel.longest = SIZE_MAX; /* a kernel that takes no runs, and has no room */
        kernel.no_runs = EIO;
        assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 100), -EAGAIN);
        assert_true(stats_of(a).sends_runs);
        assert_int_equal(kernel.calls, 6);
        log_close(a);
        log_close(b);
    }
}

static void gathering_keeps_the_order(void **state)
{
    /* Lengths of datagrams to one destination, and in how many runs or lone ones they go. */
    static const struct {
        size_t n[8], calls;
    } rows[] = {
        {{100, 100, 100, 100}, 1},      {{100, 100, 50, 100}, 2}, {{50, 100, 100}, 2},
        {{100, 50, 50, 50}, 2},         {{100, 0, 100}, 3},       {{7}, 1},
        {{100, 100, 2000, 2000, 3}, 2}, {{300, 200, 100, 50}, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static uint8_t p[8][2000];
        struct log *a = log_open(UDP_OFFLOAD, &run_ops), *b = log_open(UDP_OFFLOAD, &run_ops);
        struct net_addr to = udp_local(b->end.u);
        size_t count = 0;
        memset(&kernel, 0, sizeof kernel);
        kernel.longest = SIZE_MAX;
        udp_sendmsg_set(a->end.u, refusing);
        for (size_t k = 0; k < 8 && (rows[i].n[k] || (k + 1 < 8 && rows[i].n[k + 1])); k++, count++) {
            fill(p[k], rows[i].n[k], 2000, k);
            udp_send_later(a->end.u, &to, p[k], rows[i].n[k], 0);
        }
        udp_flush(a->end.u);
        udp_flush(a->end.u);
        log_hear(b, count);
        assert_int_equal(kernel.calls, rows[i].calls);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(b->heard[k].n, rows[i].n[k]);
            if (rows[i].n[k])
                assert_int_equal(b->heard[k].number, k);
        }
        log_close(a);
        log_close(b);
    }
}

/* Many destinations at once, more than are gathered for, and runs between datagrams. */
static void gathering_is_bounded(void **state)
{
    enum { ENDS = UDP_LATER + 3, EACH = 70 };
    static uint8_t p[ENDS][EACH * 100];
    struct log *a = log_open(UDP_OFFLOAD, &run_ops), *b[ENDS];
    struct net_addr to[ENDS];
    for (size_t k = 0; k < ENDS; k++) {
        b[k] = log_open(UDP_OFFLOAD, &run_ops);
        to[k] = udp_local(b[k]->end.u);
        fill(p[k], sizeof p[k], 100, 0);
    }
    for (size_t i = 0; i < EACH; i += 2) {
        for (size_t k = 0; k < ENDS; k++)
            udp_send_later(a->end.u, &to[k], p[k] + 100 * i, 200, 100);
    }
    udp_flush(a->end.u);
    for (size_t k = 0; k < ENDS; k++) {
        log_hear(b[k], EACH);
        assert_run_heard(b[k], sizeof p[k], 100);
    }
    assert_int_equal(stats_of(a).sent, ENDS * EACH);
    /* To few, gathered up to what a run may be. */
    uint64_t before = stats_of(a).runs_out;
    for (size_t k = 0; k < ENDS; k++)
        b[k]->count = 0;
    for (size_t i = 0; i < EACH; i++)
        for (size_t k = 0; k < 2; k++)
            udp_send_later(a->end.u, &to[k], p[k] + 100 * i, 100, 0);
    udp_flush(a->end.u);
    if (stats_of(a).sends_runs)
        assert_int_equal(stats_of(a).runs_out - before, 4); /* 64 and 6, for each */
    for (size_t k = 0; k < ENDS; k++) {
        log_hear(b[k], k < 2 ? EACH : 0);
        log_close(b[k]);
    }
    log_close(a);
}

static void lone_datagrams_go_before_the_runs_of_others(void **state)
{
    static uint8_t p[6000], lone[100];
    struct log *a = log_open(0, &run_ops), *c = log_open(0, &run_ops), *b = log_open(UDP_OFFLOAD, &run_ops);
    struct net_addr to = udp_local(b->end.u);
    fill(p, sizeof p, 1000, 0);
    fill(lone, 100, 100, 6);
    assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 1000), 0);
    assert_int_equal(udp_send(a->end.u, &to, lone, 100), 0);
    fill(lone, 100, 100, 77);
    assert_int_equal(udp_send(c->end.u, &to, lone, 100), 0);
    log_hear(b, 8);
    bool whole = stats_of(b).receives_runs && stats_of(a).sends_runs;
    assert_int_equal(b->heard[0].number, whole ? 77 : 0);
    for (size_t i = 0; whole && i < 7; i++)
        assert_int_equal(b->heard[i + 1].number, i);
    log_close(a);
    log_close(b);
    log_close(c);
}

static void what_the_buffer_had_no_room_for_is_counted(void **state)
{
    static uint8_t p[60 * 1000];
    struct log *a = log_open(0, &run_ops), *b = log_open(UDP_OFFLOAD, &one_ops);
    struct net_addr to = udp_local(b->end.u);
    const int small = 4096;
    int fd;
    assert_int_equal(uv_fileno((uv_handle_t *)b->end.u, &fd), 0); /* its first member */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    fill(p, sizeof p, 1000, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(udp_send(a->end.u, &to, p, 1000), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(udp_send_run(a->end.u, &to, p, sizeof p, 1000), 0);
    for (int i = 0; i < 10; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(b->count < 5 + 20 * 60);
    b->count = 0;
    assert_int_equal(udp_send(a->end.u, &to, p, 1000), 0); /* what comes next brings the count */
    log_hear(b, 1);
    assert_true(stats_of(b).lost > 0);
    log_close(a);
    log_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_come_from_where_was_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_are_whole_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_receiver_may_close, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_have_names, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_arrive_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(no_segment_is_one_datagram, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long_ones_in_runs_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(without_offloads_all_is_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_runs_are_sent_anyway, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long_for_the_path_is_no_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(gathering_keeps_the_order, setup, teardown),
        cmocka_unit_test_setup_teardown(gathering_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(lone_datagrams_go_before_the_runs_of_others, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_buffer_had_no_room_for_is_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
