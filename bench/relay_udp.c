/* The hub's relay over UDP, beside coturn with the same datagrams. Two devices of one party log in to a hub
 * that runs, with the nodes' own WebSocket client, and bind to its UDP relay; one floods the other, which
 * counts what comes. coturn (TURNSERVER in the environment, or turnserver in PATH; without it its figures are
 * left out) is started beside the hub, in the hub's network namespace; there one end has an allocation of our
 * own TURN client's and sends ChannelData, the other is the peer: one way through the server, as through the
 * hub.
 *
 * Every size is sent as runs (UDP_SEGMENT), as a Warren node does it, and datagram by datagram (sendmmsg), as
 * most programs do. Rounds of hub and coturn alternate; the medians are printed as JSON lines {"name",
 * "value", "unit"}. Processor time is that of the relaying process, user and system, from /proc: divided by
 * it the figures hardly depend on what else the machine does. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/relay_ends.h"
#include "bench/relay_kit.h"
#include "crypto/init.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define WARM_S       0.2
#define SECONDS      1.0
#define ROUNDS       3
#define SEGMENTS_MAX 64
#define RUN_MAX      65000
#define SINK_BATCH   16
#define DRAINS       4 /* batches that the sink takes between two sends */

static const size_t sizes[] = {64, 512, 1200};
#define SIZES (sizeof sizes / sizeof *sizes)

/* ---- the flood ---- */

/* Where datagrams go in, with which header, and where and behind which header they come out. */
struct way {
    const char *name;
    pid_t pid;
    int in, out;
    struct net_addr to;
    uint8_t head[UDP_RELAY_HEADER_LEN];
    size_t head_len, head_out;
};

struct tally {
    uint64_t sent, got, bytes, late, next;
};

static struct {
    uint8_t data[RUN_MAX];
    size_t segment, count; /* bytes of each datagram, datagrams */
    uint64_t number;
} load;

static struct {
    uint8_t data[SINK_BATCH][1 << 16];
    struct mmsghdr messages[SINK_BATCH];
    struct iovec parts[SINK_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[SINK_BATCH][64];
} sink;

static void load_fill(const struct way *w, size_t size)
{
    uint8_t head[UDP_RELAY_HEADER_LEN];
    memcpy(head, w->head, sizeof head);
    if (w->head_len == TURN_CHANNEL_OVERHEAD) { /* RFC 8656 section 12.4: the number, then the length */
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
    }
    load.segment = w->head_len + size;
    load.count =
        sizeof load.data / load.segment < SEGMENTS_MAX ? sizeof load.data / load.segment : SEGMENTS_MAX;
    for (size_t i = 0; i < load.count; i++) {
        uint8_t *p = load.data + i * load.segment;
        memcpy(p, head, w->head_len);
        memset(p + w->head_len, 4, size);
    }
}

static void load_number(const struct way *w)
{
    for (size_t i = 0; i < load.count; i++) {
        uint64_t number = load.number++;
        memcpy(load.data + i * load.segment + w->head_len, &number, sizeof number);
    }
}

static size_t send_as_run(const struct way *w, struct sockaddr_storage *to, socklen_t to_len)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec part = {load.data, load.segment * load.count};
    struct msghdr m = {.msg_name = to,
                       .msg_namelen = to_len,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    uint16_t segment = (uint16_t)load.segment;
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
    ssize_t n = sendmsg(w->in, &m, 0);
    require(n >= 0 || errno == EAGAIN || errno == ENOBUFS, "the kernel sends no runs");
    return n >= 0 ? load.count : 0;
}

static size_t send_one_by_one(const struct way *w, struct sockaddr_storage *to, socklen_t to_len)
{
    struct mmsghdr m[SEGMENTS_MAX];
    struct iovec part[SEGMENTS_MAX];
    for (size_t i = 0; i < load.count; i++) {
        part[i] = (struct iovec){load.data + i * load.segment, load.segment};
        m[i].msg_hdr =
            (struct msghdr){.msg_name = to, .msg_namelen = to_len, .msg_iov = &part[i], .msg_iovlen = 1};
    }
    int n = sendmmsg(w->in, m, (unsigned)load.count, 0);
    return n > 0 ? (size_t)n : 0;
}

static void count_run(const struct way *w, struct tally *t, const uint8_t *p, size_t n, size_t segment)
{
    for (size_t at = 0; at < n; at += segment) {
        size_t len = n - at < segment ? n - at : segment;
        uint64_t number;
        if (len < w->head_out + sizeof number)
            continue;
        memcpy(&number, p + at + w->head_out, sizeof number);
        t->got++;
        t->bytes += len - w->head_out;
        t->late += number < t->next;
        if (number >= t->next)
            t->next = number + 1;
    }
}

static size_t segment_of(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int segment;
        memcpy(&segment, CMSG_DATA(c), sizeof segment);
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO && segment > 0)
            return (size_t)segment;
    }
    return 1 << 16;
}

static void drain(const struct way *w, struct tally *t)
{
    for (int turn = 0; turn < DRAINS; turn++) {
        for (size_t i = 0; i < SINK_BATCH; i++) {
            sink.parts[i] = (struct iovec){sink.data[i], sizeof sink.data[i]};
            sink.messages[i].msg_hdr = (struct msghdr){.msg_iov = &sink.parts[i],
                                                       .msg_iovlen = 1,
                                                       .msg_control = sink.control[i],
                                                       .msg_controllen = sizeof sink.control[i]};
        }
        int n = recvmmsg(w->out, sink.messages, SINK_BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++)
            count_run(w, t, sink.data[i], sink.messages[i].msg_len, segment_of(&sink.messages[i].msg_hdr));
        if (n < SINK_BATCH)
            return;
    }
}

static void flood(const struct way *w, struct tally *t, bool runs, double seconds)
{
    struct sockaddr_storage to;
    socklen_t to_len = sockaddr_of(&to, &w->to);
    for (double until = now_s() + seconds; now_s() < until;) {
        load_number(w);
        t->sent += runs ? send_as_run(w, &to, to_len) : send_one_by_one(w, &to, to_len);
        drain(w, t);
    }
}

/* One sender is not faster than a relay where each datagram is a way through the kernel, and a relay that
 * waits for the next datagram is not measured at work: then a second process sends, too. */
static struct {
    pid_t pid;
    _Atomic uint64_t *sent; /* by it */
} helper;

static void helper_start(const struct way *w)
{
    struct sockaddr_storage to;
    socklen_t to_len = sockaddr_of(&to, &w->to);
    helper.pid = fork();
    require(helper.pid >= 0, "no process");
    if (helper.pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        load_number(w);
        atomic_fetch_add(helper.sent, send_one_by_one(w, &to, to_len));
    }
}

static void helper_end(void)
{
    kill(helper.pid, SIGKILL);
    waitpid(helper.pid, NULL, 0);
}

/* ---- the figures ---- */

struct figure {
    double packets, gbit, delivered, arrived; /* per second of CPU; the same; Gbit/s; % of what was offered */
};

static struct figure measure(const struct way *w, size_t size, bool runs, double seconds)
{
    struct tally t = {0};
    load_fill(w, size);
    if (!runs)
        helper_start(w);
    flood(w, &t, runs, WARM_S);
    t = (struct tally){0}; /* with what was still under way from before */
    uint64_t helped = atomic_load(helper.sent);
    double at = now_s(), cpu = cpu_of(w->pid);
    flood(w, &t, runs, seconds);
    cpu = cpu_of(w->pid) - cpu;
    at = now_s() - at;
    t.sent += atomic_load(helper.sent) - helped;
    if (!runs)
        helper_end();
    require(cpu > 0 && t.got > 0, "nothing was relayed");
    require(!runs || t.late == 0, "datagrams came out of order");
    return (struct figure){(double)t.got / cpu, (double)t.bytes * 8e-9 / cpu, (double)t.bytes * 8e-9 / at,
                           100.0 * (double)t.got / (double)t.sent};
}

static int by_packets(const void *a, const void *b)
{
    const struct figure *x = a, *y = b;
    return (x->packets > y->packets) - (x->packets < y->packets);
}

static void report(const char *who, size_t size, bool runs, const char *what, double value, const char *unit)
{
    printf("{\"name\": \"%s udp %zu B%s, %s\", \"value\": %.4g, \"unit\": \"%s\"}\n", who, size,
           runs ? "" : " sent one by one", what, value, unit);
    fflush(stdout);
}

static void report_figure(const char *who, size_t size, bool runs, const struct figure *f)
{
    report(who, size, runs, "datagrams per second of CPU", f->packets, "1/s");
    report(who, size, runs, "per second of CPU", f->gbit, "Gbit/s");
    report(who, size, runs, "delivered", f->delivered, "Gbit/s");
    report(who, size, runs, "arrived of a flood", f->arrived, "%");
}

static void compare(uv_loop_t *loop, const struct way *ways, size_t way_count, double seconds)
{
    for (size_t i = 0; i < 2 * SIZES; i++) {
        struct figure f[2][ROUNDS];
        size_t size = sizes[i / 2];
        bool runs = i % 2 == 0;
        for (size_t round = 0; round < ROUNDS; round++) {
            for (size_t k = 0; k < way_count; k++)
                f[k][round] = measure(&ways[k], size, runs, seconds);
            uv_run(loop, UV_RUN_NOWAIT); /* the hub wants to hear from us */
        }
        for (size_t k = 0; k < way_count; k++) {
            qsort(f[k], ROUNDS, sizeof **f, by_packets);
            report_figure(ways[k].name, size, runs, &f[k][ROUNDS / 2]);
        }
        if (way_count == 2)
            report("relay", size, runs, "datagrams per second of CPU, times coturn's",
                   f[0][ROUNDS / 2].packets / f[1][ROUNDS / 2].packets, "x");
    }
}

int main(int argc, char **argv)
{
    struct hub_address hub;
    double seconds = argc == 4 ? atof(argv[3]) : SECONDS;
    if (argc < 3 || argc > 4 || hub_address_read(&hub, argv[1]) < 0 || !hub.pinned || seconds <= 0) {
        fprintf(stderr, "usage: bench_relay_udp https://HOST:PORT#sha256:HEX HUB_PID [SECONDS]\n");
        return 2;
    }
    pid_t hub_pid = (pid_t)atol(argv[2]);
    uv_loop_t loop;
    static struct device from, to;
    crypto_init();
    signal(SIGPIPE, SIG_IGN);
    require(uv_loop_init(&loop) == 0, "no loop");
    helper.sent = mmap(NULL, sizeof *helper.sent, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(helper.sent != MAP_FAILED, "no memory");
    come_in(&from, &loop, &hub);
    come_in(&to, &loop, &hub);
    found_party(&from, &to);
    bind_to_relay(&from);
    bind_to_relay(&to);
    struct way ways[2] = {{.name = "relay",
                           .pid = hub_pid,
                           .in = from.fd,
                           .out = to.fd,
                           .to = from.udp,
                           .head_len = UDP_RELAY_HEADER_LEN,
                           .head_out = UDP_RELAY_HEADER_LEN}};
    udp_relay_header(ways[0].head, to.relay, from.token);
    static struct turner turner;
    bool both = turner_start(&turner, &from.udp, hub_pid);
    ways[1] = (struct way){.name = "coturn",
                           .pid = turner.pid,
                           .in = turner.fd,
                           .out = turner.peer_fd,
                           .to = turner.at,
                           .head_len = TURN_CHANNEL_OVERHEAD};
    memcpy(ways[1].head, turner.channel, sizeof turner.channel);
    if (!both)
        fprintf(stderr, "relay_udp: no turnserver in PATH or TURNSERVER: coturn's figures are left out\n");
    compare(&loop, ways, both ? 2 : 1, seconds);
    turner_end(&turner);
    return 0;
}
