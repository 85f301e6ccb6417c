/* A NAT box and a bad line for real machines: what the simulator's models (sim/nat.h, sim/link.h) say happens
 * to real packets between two TUN devices. For the kinds of NAT that nftables cannot make, and for delay and
 * loss where the kernel has no netem.
 *
 *     natbox INSIDE-DEVICE OUTSIDE-DEVICE OUTSIDE-IP [NAME=VALUE ...]
 *
 *     mapping, filtering   endpoint, address, port: on what of the destination they depend (port)
 *     ports                keep, sequential, random (keep); step: of sequential ones (1)
 *     lifetime             of a UDP mapping, seconds (120); hairpin: 0 or 1 (0)
 *     delay, jitter        milliseconds in each direction; reorder-by: how long a packet is held back (5)
 *     loss, duplicate, reorder   percent in each direction
 *     seed                 of all chance (1)
 *
 * Prints "ready" when both devices are there. UDP and TCP only; fragments are dropped. A line on standard
 * input makes it forget all mappings, as a reboot does; its end ends the box. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "sim/link.h"
#include "sim/nat.h"

#define PACKET_MAX   2048
#define BATCH        64    /* packets of one device before the other has its turn */
#define UNDER_WAY    20000 /* packets on the line at once */
#define TCP_CHECKSUM 16
#define UDP_CHECKSUM 6

enum { INSIDE, OUTSIDE, SIDES };

struct packet {
    struct sim_timer timer;
    int to;
    size_t len;
    uint8_t bytes[];
};

static struct {
    int fd[SIDES];
    struct nat nat;
    struct link line[SIDES]; /* towards that side */
    struct sim sim;
    size_t under_way;
} box;

static void die(const char *what)
{
    fprintf(stderr, "natbox: %s: %s\n", what, strerror(errno));
    exit(1);
}

static usec_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (usec_t)ts.tv_sec * SEC + (usec_t)ts.tv_nsec / 1000 + SIM_START;
}

static int tun_open(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
        die(name);
    return fd;
}

/* ---- The line. */

static void packet_drop(void *arg)
{
    box.under_way--;
    free(arg);
}

static void packet_arrive(void *arg)
{
    struct packet *p = arg;
    /* A full device drops, as a wire does. */
    if (write(box.fd[p->to], p->bytes, p->len) < 0 && errno != EAGAIN && errno != EIO && errno != EINVAL)
        die("write");
    packet_drop(p);
}

static void packet_send(int to, const uint8_t *bytes, size_t len)
{
    usec_t at[2];
    size_t copies = link_pass(&box.line[to], &box.sim.rng, len, box.sim.now, at);
    for (size_t i = 0; i < copies && box.under_way < UNDER_WAY; i++) {
        struct packet *p = sim_alloc(sizeof *p + len);
        p->timer = (struct sim_timer){.fire = packet_arrive, .drop = packet_drop, .arg = p};
        p->to = to;
        p->len = len;
        memcpy(p->bytes, bytes, len);
        box.under_way++;
        sim_arm(&box.sim, &p->timer, at[i]);
    }
}

/* ---- Headers. */

struct flow {
    enum nat_proto proto;
    struct net_addr from, to;
    uint8_t *ip, *ports, *sum; /* in the packet; sum: the checksum of UDP or TCP */
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static bool flow_read(struct flow *f, uint8_t *p, size_t len)
{
    size_t head = len > 0 ? (size_t)(p[0] & 15) * 4 : 0;
    if (len < 20 || p[0] >> 4 != 4 || head < 20 || len < head + 20 - (p[9] == IPPROTO_UDP ? 12 : 0) ||
        (get16(p + 6) & 0x3fff) != 0 || (p[9] != IPPROTO_UDP && p[9] != IPPROTO_TCP))
        return false;
    bool udp = p[9] == IPPROTO_UDP;
    *f = (struct flow){.proto = udp ? NAT_UDP : NAT_STREAM, .ip = p, .ports = p + head};
    f->sum = p + head + (udp ? UDP_CHECKSUM : TCP_CHECKSUM);
    f->from = (struct net_addr){.family = 4, .port = get16(f->ports)};
    f->to = (struct net_addr){.family = 4, .port = get16(f->ports + 2)};
    memcpy(f->from.ip, p + 12, 4);
    memcpy(f->to.ip, p + 16, 4);
    return true;
}

/* RFC 1624: one 16-bit word of what the checksum covers becomes another. */
static void sum_change(uint8_t *sum, uint16_t was, uint16_t is)
{
    uint32_t s = (uint32_t)(uint16_t)~get16(sum) + (uint16_t)~was + is;
    s = (s & 0xffff) + (s >> 16);
    put16(sum, (uint16_t) ~(s + (s >> 16)));
}

static void field_put(const struct flow *f, uint8_t *at, uint16_t v, bool of_ip)
{
    uint16_t was = get16(at);
    put16(at, v);
    if (of_ip)
        sum_change(f->ip + 10, was, v);
    if (f->proto == NAT_STREAM || get16(f->sum) != 0) /* UDP over IPv4 may go without */
        sum_change(f->sum, was, v);
}

static void address_put(const struct flow *f, size_t at, size_t port_at, const struct net_addr *a)
{
    field_put(f, f->ip + at, get16(a->ip), true);
    field_put(f, f->ip + at + 2, get16(a->ip + 2), true);
    field_put(f, f->ports + port_at, a->port, false);
}

/* ---- The box. */

static void packet_in(struct flow *f, size_t len)
{
    struct net_addr to = f->to;
    if (nat_in(&box.nat, f->proto, &f->from, &to, box.sim.now) != NAT_PASS)
        return;
    address_put(f, 16, 2, &to);
    packet_send(INSIDE, f->ip, len);
}

static void packet_out(struct flow *f, size_t len)
{
    if (nat_out(&box.nat, &box.sim.rng, f->proto, &f->from, &f->to, box.sim.now) != NAT_PASS)
        return;
    address_put(f, 12, 0, &f->from);
    if (net_ip_equal(&f->to, &box.nat.outside)) {
        if (box.nat.config.hairpin)
            packet_in(f, len);
        return;
    }
    packet_send(OUTSIDE, f->ip, len);
}

static void device_read(int side)
{
    uint8_t p[PACKET_MAX];
    struct flow f;
    for (int i = 0; i < BATCH; i++) {
        ssize_t n = read(box.fd[side], p, sizeof p);
        if (n <= 0)
            return;
        if (!flow_read(&f, p, (size_t)n))
            continue;
        if (side == INSIDE)
            packet_out(&f, (size_t)n);
        else
            packet_in(&f, (size_t)n);
    }
}

/* ---- Options. */

static bool word_of(const char *v, const char *const *words, int *out)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(v, words[i]) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static bool option(struct nat_config *n, struct link_config *l, const char *name, const char *v)
{
    static const char *const kinds[] = {"endpoint", "address", "port", NULL};
    static const char *const ports[] = {"keep", "sequential", "random", NULL};
    int word = 0;
    double x = atof(v);
    if (strcmp(name, "mapping") == 0 && word_of(v, kinds, &word))
        n->mapping = (enum nat_kind)word;
    else if (strcmp(name, "filtering") == 0 && word_of(v, kinds, &word))
        n->filtering = (enum nat_kind)word;
    else if (strcmp(name, "ports") == 0 && word_of(v, ports, &word))
        n->ports = (enum nat_ports)word;
    else if (strcmp(name, "step") == 0)
        n->step = atoi(v);
    else if (strcmp(name, "lifetime") == 0)
        n->lifetime = (usec_t)(x * SEC);
    else if (strcmp(name, "hairpin") == 0)
        n->hairpin = x != 0;
    else if (strcmp(name, "delay") == 0)
        l->delay = (usec_t)(x * MSEC);
    else if (strcmp(name, "jitter") == 0)
        l->jitter = (usec_t)(x * MSEC);
    else if (strcmp(name, "loss") == 0)
        l->loss = x / 100;
    else if (strcmp(name, "duplicate") == 0)
        l->duplicate = x / 100;
    else if (strcmp(name, "reorder") == 0)
        l->reorder = x / 100;
    else if (strcmp(name, "reorder-by") == 0)
        l->reorder_by = (usec_t)(x * MSEC);
    else if (strcmp(name, "seed") == 0)
        box.sim.seed = strtoull(v, NULL, 0);
    else
        return false;
    return true;
}

static void configure(int argc, char **argv)
{
    struct nat_config n = {.mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT};
    struct link_config l = {.reorder_by = 5 * MSEC};
    struct net_addr outside = {.family = 4};
    box.sim.seed = 1;
    bool good = argc >= 4 && inet_pton(AF_INET, argv[3], outside.ip) == 1;
    for (int i = 4; good && i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            *value++ = '\0';
        good = value && option(&n, &l, argv[i], value);
        if (!good)
            fprintf(stderr, "natbox: %s: no such option or value\n", argv[i]);
    }
    if (!good) {
        fprintf(stderr, "natbox INSIDE-DEVICE OUTSIDE-DEVICE OUTSIDE-IP [NAME=VALUE ...]\n");
        exit(2);
    }
    sim_init(&box.sim, box.sim.seed);
    nat_init(&box.nat, &n, &outside);
    box.line[INSIDE].config = box.line[OUTSIDE].config = l;
}

static struct timespec until_next(void)
{
    usec_t t = now(), at = box.sim.n > 0 ? box.sim.heap[0]->at : t + SEC;
    usec_t wait = at > t ? at - t : 0;
    return (struct timespec){.tv_sec = (time_t)(wait / SEC), .tv_nsec = (long)(wait % SEC * 1000)};
}

static bool told(void)
{
    char line[64];
    if (read(0, line, sizeof line) <= 0)
        return false;
    nat_reboot(&box.nat, NULL);
    return true;
}

int main(int argc, char **argv)
{
    configure(argc, argv);
    for (int i = 0; i < SIDES; i++)
        box.fd[i] = tun_open(argv[1 + i]);
    printf("ready\n");
    fflush(stdout);
    struct pollfd fds[] = {{.fd = box.fd[INSIDE], .events = POLLIN},
                           {.fd = box.fd[OUTSIDE], .events = POLLIN},
                           {.fd = 0, .events = POLLIN}};
    while (fds[2].revents == 0 || told()) {
        struct timespec wait = until_next();
        if (ppoll(fds, 3, &wait, NULL) < 0)
            die("poll");
        sim_run(&box.sim, now());
        for (int i = 0; i < SIDES; i++)
            if (fds[i].revents)
                device_read(i);
        sim_run(&box.sim, now());
    }
    sim_done(&box.sim);
    nat_done(&box.nat);
    return 0;
}
