/* Our port mapper on real sockets, inside a home; portmap.py builds and drives it.
 *
 *     portmap_client GATEWAY LOCAL-IP udp|tcp PORT pcp|natpmp|none
 *
 * natpmp: PCP's requests are not sent, as if the router did not hear them; none: nor NAT-PMP's. Commands on
 * standard input: "jump SECONDS" lets time pass for the mapper alone, "upnp IP PORT SECONDS" and "upnp
 * -ERRNO" are what came of a want-upnp, "stop" deletes, "quit" ends. Prints one line an event, one a datagram
 * that came to PORT, and one a request that was sent. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "nat/portmap.h"

static struct {
    int asks, hears, service;
    struct portmap *m;
    enum portmap_kind kind;
    bool pcp, natpmp, idle_told;
    usec_t jumped;
} me;

static void die(const char *what)
{
    fprintf(stderr, "portmap_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static usec_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (usec_t)ts.tv_sec * SEC + (usec_t)ts.tv_nsec / 1000 + SEC + me.jumped;
}

static void chance(void *ctx, void *out, size_t n)
{
    (void)ctx;
    if (getentropy(out, n))
        die("getentropy");
}

static int udp_socket(uint32_t ip, uint16_t port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a))
        die("bind");
    return fd;
}

/* Where routers announce themselves. */
static int announcements(uint32_t local)
{
    int fd = udp_socket(INADDR_ANY, PORTMAP_CLIENT_PORT);
    struct ip_mreq join = {.imr_multiaddr.s_addr = inet_addr("224.0.0.1"),
                           .imr_interface.s_addr = htonl(local)};
    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join);
    return fd;
}

static void tell_events(void)
{
    static const char *const names[] = {"mapped", "lost", "failed", "want-upnp", "drop-upnp"};
    struct portmap_event ev;
    char text[NET_ADDR_TEXT];
    while (portmap_event(me.m, &ev)) {
        net_addr_text(text, &ev.external);
        printf("%s %s %s %s %u %u %s %s\n", names[ev.what], portmap_kind_name(ev.kind),
               portmap_method_name(ev.method), text, ev.internal, ev.lifetime,
               ev.usable ? "usable" : "useless", ev.why);
    }
}

static void work(void)
{
    struct portmap_out out;
    portmap_tick(me.m, now());
    tell_events();
    while (portmap_output(me.m, now(), &out)) {
        bool pcp = out.data.p[0] == PCP_VERSION;
        if (!(pcp ? me.pcp : me.natpmp))
            continue;
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(out.to.port),
                                 .sin_addr.s_addr = htonl(net_addr_ip4(&out.to))};
        if (sendto(me.asks, out.data.p, out.data.n, 0, (struct sockaddr *)&to, sizeof to) >= 0)
            printf("asked %s %zu\n", pcp ? "PCP" : "NAT-PMP", out.data.n);
    }
    if (portmap_idle(me.m) && !me.idle_told) {
        me.idle_told = true;
        printf("idle\n");
    }
    fflush(stdout);
}

static void hear(int fd)
{
    uint8_t in[PCP_MESSAGE_MAX + 1];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t n = recvfrom(fd, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
    if (n < 0)
        return;
    struct net_addr a = net_addr4(ntohl(from.sin_addr.s_addr), ntohs(from.sin_port));
    if (fd == me.service) {
        char text[NET_ADDR_TEXT];
        net_addr_text(text, &a);
        printf("datagram %.*s from %s\n", (int)n, (const char *)in, text);
        sendto(fd, in, (size_t)n, 0, (struct sockaddr *)&from, len);
        return;
    }
    int r = portmap_input(me.m, &a, bytes_of(in, (size_t)n), now());
    printf("%s %zd %d\n", fd == me.asks ? "answer" : "announcement", n, r);
}

static void upnp_result(const char *line)
{
    char ip[64];
    unsigned port = 0, lifetime = 0;
    struct net_addr external = {0};
    int error = atoi(line);
    if (error >= 0 && (sscanf(line, "%63s %u %u", ip, &port, &lifetime) != 3 || net_addr_read(&external, ip)))
        die("upnp");
    external.port = (uint16_t)port;
    portmap_upnp_result(me.m, me.kind, error < 0 ? error : 0, &external, lifetime, now());
}

static bool command(void)
{
    char line[128];
    if (!fgets(line, sizeof line, stdin) || strncmp(line, "quit", 4) == 0)
        return false;
    if (strncmp(line, "jump ", 5) == 0)
        me.jumped += (usec_t)atoi(line + 5) * SEC;
    else if (strncmp(line, "upnp ", 5) == 0)
        upnp_result(line + 5);
    else if (strncmp(line, "stop", 4) == 0)
        portmap_stop(me.m, now());
    else if (strncmp(line, "status", 6) == 0) {
        struct portmap_status s;
        portmap_status(me.m, me.kind, now(), &s);
        printf("status %s\n", s.words);
    }
    return true;
}

int main(int argc, char **argv)
{
    struct portmap_config c = {.upnp = true, .rng = {chance, NULL}};
    if (argc != 6 || net_addr_read(&c.gateway, argv[1]) || net_addr_read(&c.local, argv[2])) {
        fprintf(stderr, "portmap_client GATEWAY LOCAL-IP udp|tcp PORT pcp|natpmp|none\n");
        return 2;
    }
    me.kind = strcmp(argv[3], "udp") == 0 ? PORTMAP_FOR_UDP : PORTMAP_FOR_TCP;
    me.pcp = strcmp(argv[5], "pcp") == 0;
    me.natpmp = me.pcp || strcmp(argv[5], "natpmp") == 0;
    uint16_t port = (uint16_t)atoi(argv[4]);
    me.asks = udp_socket(net_addr_ip4(&c.local), 0);
    me.hears = announcements(net_addr_ip4(&c.local));
    me.service = udp_socket(net_addr_ip4(&c.local), port);
    setvbuf(stdin, NULL, _IONBF, 0);
    me.m = portmap_new(&c);
    if (!me.m)
        die("portmap_new");
    portmap_want(me.m, me.kind, port, 0, now());
    for (;;) {
        work();
        struct pollfd fds[] = {{.fd = 0, .events = POLLIN},
                               {.fd = me.asks, .events = POLLIN},
                               {.fd = me.hears, .events = POLLIN},
                               {.fd = me.service, .events = POLLIN}};
        usec_t wake = portmap_wake(me.m), t = now();
        usec_t wait = wake > t ? usec_min(wake - t, SEC) : 0;
        poll(fds, 4, (int)((wait + MSEC - 1) / MSEC));
        if (fds[0].revents && !command())
            break;
        for (int i = 1; i < 4; i++)
            if (fds[i].revents)
                hear(fds[i].fd);
    }
    portmap_free(me.m);
    return 0;
}
