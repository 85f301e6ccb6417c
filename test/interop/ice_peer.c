/* Our ICE agent on real sockets, for the interoperation tests.
 *
 *     ice_peer [--controlling] [--no-consent] [--no-candidates] ADDRESS...
 *
 * One UDP socket for each address. Commands on standard input, results on standard output, a line each
 * (test/interop/run_ice): credentials UFRAG PWD | candidate SDP-TEXT | done | restart | send TEXT | counts |
 * quit credentials UFRAG PWD | candidate SDP-TEXT | done | event KIND [PAIR] | state NAME | received TEXT |
 * counts NAME=N... */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "crypto/rand.h"
#include "nat/ice.h"
#include "wire/candidate.h"

#define BASES_MAX 8
#define LINE_CAP  2048

struct peer {
    struct ice *a;
    bool controlling, consent, mute;
    int fds[BASES_MAX];
    struct net_addr addrs[BASES_MAX];
    size_t count;
    char line[LINE_CAP];
    size_t line_len;
    enum ice_state state;
    bool quit;
};

static void die(const char *what)
{
    fprintf(stderr, "ice_peer: %s: %s\n", what, strerror(errno));
    exit(2);
}

static usec_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (usec_t)t.tv_sec * SEC + (usec_t)t.tv_nsec / 1000;
}

/* ---- Addresses. */

static socklen_t to_system(struct sockaddr_storage *out, const struct net_addr *a)
{
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in *s = (struct sockaddr_in *)out;
        s->sin_family = AF_INET;
        s->sin_port = htons(a->port);
        memcpy(&s->sin_addr, a->ip, 4);
        return sizeof *s;
    }
    struct sockaddr_in6 *s = (struct sockaddr_in6 *)out;
    s->sin6_family = AF_INET6;
    s->sin6_port = htons(a->port);
    memcpy(&s->sin6_addr, a->ip, 16);
    return sizeof *s;
}

static struct net_addr from_system(const struct sockaddr_storage *in)
{
    struct net_addr a = {0};
    if (in->ss_family == AF_INET) {
        const struct sockaddr_in *s = (const struct sockaddr_in *)in;
        a.family = 4;
        a.port = ntohs(s->sin_port);
        memcpy(a.ip, &s->sin_addr, 4);
    } else if (in->ss_family == AF_INET6) {
        const struct sockaddr_in6 *s = (const struct sockaddr_in6 *)in;
        a.family = 6;
        a.port = ntohs(s->sin6_port);
        memcpy(a.ip, &s->sin6_addr, 16);
    }
    return a;
}

static void socket_add(struct peer *p, const char *text)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    struct net_addr a;
    if (p->count == BASES_MAX || net_addr_read(&a, text))
        die(text);
    int fd = socket(a.family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, to_system(&at, &a)) ||
        getsockname(fd, (struct sockaddr *)&at, &n))
        die(text);
    p->addrs[p->count] = from_system(&at);
    p->fds[p->count++] = fd;
}

/* ---- What the agent says. */

static void credentials_make(struct ice_credentials *c)
{
    struct rng rng = rng_system();
    uint8_t bytes[20];
    rng_fill(&rng, bytes, sizeof bytes);
    base32_put(c->ufrag, bytes_of(bytes, 5));
    base32_put(c->pwd, bytes_of(bytes + 5, 15));
}

static const enum candidate_type TYPES[ICE_TYPE_COUNT] = {
    [ICE_HOST] = CANDIDATE_HOST,
    [ICE_PEER_REFLEXIVE] = CANDIDATE_PRFLX,
    [ICE_SERVER_REFLEXIVE] = CANDIDATE_SRFLX,
    [ICE_RELAYED] = CANDIDATE_RELAY,
};

static void say_candidates(const struct peer *p)
{
    struct ice_candidate c;
    for (size_t i = 0; !p->mute && ice_local_at(p->a, i, &c); i++) {
        struct candidate out = {.component = 1, .priority = c.priority, .addr = c.addr, .related = c.related};
        char text[CANDIDATE_TEXT];
        out.type = TYPES[c.type];
        memcpy(out.foundation, c.foundation, sizeof out.foundation);
        if (candidate_write(text, sizeof text, &out) == 0)
            printf("candidate %s\n", text);
    }
    printf("done\n");
}

static void say_credentials(const struct ice_credentials *c)
{
    printf("credentials %s %s\n", c->ufrag, c->pwd);
}

static void say_event(const struct ice_event *e)
{
    static const char *const kinds[] = {"valid", "selected", "failed", "consent-lost", "role"};
    char local[NET_ADDR_TEXT], remote[NET_ADDR_TEXT];
    printf("event %s", kinds[e->kind]);
    if (e->pair.remote.family) {
        net_addr_text(local, &e->pair.local);
        net_addr_text(remote, &e->pair.remote);
        printf(" %s %s > %s %s rtt %llu", ice_type_name(e->pair.local_type), local,
               ice_type_name(e->pair.remote_type), remote, (unsigned long long)e->pair.rtt);
    }
    printf("\n");
}

static void say_counts(const struct peer *p)
{
    struct ice_counts c;
    ice_counts(p->a, &c);
    printf("counts sent=%llu answered=%llu failed=%llu requests=%llu requests_refused=%llu "
           "responses_refused=%llu pairs=%zu\n",
           (unsigned long long)c.checks_sent, (unsigned long long)c.checks_answered,
           (unsigned long long)c.checks_failed, (unsigned long long)c.requests,
           (unsigned long long)c.requests_refused, (unsigned long long)c.responses_refused, c.pairs);
}

static void drain(struct peer *p)
{
    struct ice_out o;
    struct ice_event e;
    struct sockaddr_storage to;
    while (ice_output(p->a, now_us(), &o)) {
        socklen_t n = to_system(&to, &o.to);
        (void)sendto(p->fds[o.base], o.data.p, o.data.n, 0, (struct sockaddr *)&to, n); /* lost is lost */
    }
    while (ice_event(p->a, &e))
        say_event(&e);
    if (ice_state(p->a) != p->state) {
        p->state = ice_state(p->a);
        printf("state %s\n", ice_state_name(p->state));
    }
    fflush(stdout);
}

/* ---- What it is told. */

static void take_candidate(struct peer *p, const char *text)
{
    struct candidate c;
    int r = candidate_read(&c, bytes_of_str(text));
    if (r || c.transport != CANDIDATE_UDP || c.component != 1 || c.name[0])
        return; /* TCP and names are none of ours */
    struct ice_candidate in = {.addr = c.addr, .related = c.related, .priority = c.priority};
    memcpy(in.foundation, c.foundation, sizeof in.foundation);
    for (unsigned t = 0; t < ICE_TYPE_COUNT; t++)
        if (TYPES[t] == c.type)
            in.type = (enum ice_type)t;
    r = ice_add_remote(p->a, &in, now_us());
    if (r && r != -EEXIST)
        fprintf(stderr, "ice_peer: candidate %s: %s\n", text, strerror(-r));
}

static void take_credentials(struct peer *p, const char *text)
{
    struct ice_credentials c = {{0}, {0}};
    int r =
        sscanf(text, "%32s %64s", c.ufrag, c.pwd) == 2 ? ice_remote_credentials(p->a, &c, now_us()) : -EINVAL;
    if (r)
        fprintf(stderr, "ice_peer: credentials: %s\n", strerror(-r));
}

static void restart(struct peer *p)
{
    struct ice_credentials c;
    credentials_make(&c);
    ice_restart(p->a, &c, now_us());
    say_credentials(&c);
    say_candidates(p);
}

static void send_text(struct peer *p, const char *text)
{
    struct ice_pair pair;
    struct sockaddr_storage to;
    if (!ice_selected(p->a, &pair))
        return;
    socklen_t n = to_system(&to, &pair.remote);
    (void)sendto(p->fds[pair.base], text, strlen(text), 0, (struct sockaddr *)&to, n);
}

static const char *after(const char *line, const char *word)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && (line[n] == ' ' || !line[n]) ? line + n + (line[n] == ' ') : NULL;
}

static void take_line(struct peer *p, const char *line)
{
    const char *rest;
    if ((rest = after(line, "credentials")))
        take_credentials(p, rest);
    else if ((rest = after(line, "candidate")))
        take_candidate(p, rest);
    else if ((rest = after(line, "send")))
        send_text(p, rest);
    else if (after(line, "done"))
        ice_remote_done(p->a, now_us());
    else if (after(line, "restart"))
        restart(p);
    else if (after(line, "counts"))
        say_counts(p);
    else if (after(line, "quit"))
        p->quit = true;
}

static void take_input(struct peer *p)
{
    ssize_t n = read(STDIN_FILENO, p->line + p->line_len, sizeof p->line - p->line_len - 1);
    if (n <= 0) {
        p->quit = true;
        return;
    }
    p->line_len += (size_t)n;
    p->line[p->line_len] = 0;
    char *end;
    while ((end = strchr(p->line, '\n'))) {
        *end = 0;
        take_line(p, p->line);
        p->line_len -= (size_t)(end + 1 - p->line);
        memmove(p->line, end + 1, p->line_len + 1);
    }
    p->quit |= p->line_len == sizeof p->line - 1;
}

static void take_datagrams(struct peer *p, size_t base)
{
    uint8_t data[2048];
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    ssize_t n;
    while ((n = recvfrom(p->fds[base], data, sizeof data - 1, 0, (struct sockaddr *)&at, &len)) >= 0) {
        struct net_addr from = from_system(&at);
        if (stun_is(bytes_of(data, (size_t)n))) {
            ice_input(p->a, (uint32_t)base, &from, bytes_of(data, (size_t)n), now_us());
        } else if (n > 0 && data[0] >= 20 && data[0] <= 63) {
            printf("received-dtls %zd\n", n);
        } else {
            data[n] = 0;
            printf("received %s\n", (const char *)data);
        }
        len = sizeof at;
    }
}

static int until(usec_t wake)
{
    usec_t now = now_us();
    return wake == USEC_NEVER ? -1 : wake <= now ? 0 : (int)usec_min((wake - now + 999) / 1000, 60000);
}

static void loop(struct peer *p)
{
    struct pollfd polls[BASES_MAX + 1];
    for (size_t i = 0; i < p->count; i++)
        polls[i] = (struct pollfd){.fd = p->fds[i], .events = POLLIN};
    polls[p->count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    while (!p->quit) {
        drain(p);
        if (poll(polls, p->count + 1, until(ice_wake(p->a))) < 0 && errno != EINTR)
            die("poll");
        for (size_t i = 0; i < p->count; i++)
            if (polls[i].revents)
                take_datagrams(p, i);
        if (polls[p->count].revents)
            take_input(p);
        ice_tick(p->a, now_us());
    }
}

int main(int argc, char **argv)
{
    struct peer p = {.consent = true};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--controlling"))
            p.controlling = true;
        else if (!strcmp(argv[i], "--no-consent"))
            p.consent = false;
        else if (!strcmp(argv[i], "--no-candidates"))
            p.mute = true;
        else
            socket_add(&p, argv[i]);
    }
    struct ice_config c = {.controlling = p.controlling, .consent = p.consent, .rng = rng_system()};
    credentials_make(&c.local);
    p.a = ice_new(&c, now_us());
    if (!p.a)
        die("ice_new");
    say_credentials(&c.local);
    for (size_t i = 0; i < p.count; i++) {
        struct ice_candidate host = {
            .type = ICE_HOST, .addr = p.addrs[i], .base = (uint32_t)i, .preference = (uint16_t)(65535 - i)};
        if (ice_add_local(p.a, &host, now_us()))
            die("ice_add_local");
    }
    ice_local_done(p.a, now_us());
    say_candidates(&p);
    loop(&p);
    ice_free(p.a);
    return 0;
}
