/* Our TURN client on real sockets against a server that is not ours; run_turn builds and runs it.
 *
 *     turn_client SCENARIO udp|tcp|tls SERVER-IP PORT USER PASSWORD PEER-IP [CA.pem]
 *
 * Prints what happened, exits 0 when everything was as it has to be. The core's clock is ours: where a
 * renewal is due in minutes we let the minutes pass for the core alone. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "nat/turn.h"

#define DATAGRAMS 1000
#define WINDOW    16
#define PATIENCE  (20 * SEC)
#define IDLE      (20 * SEC) /* a request under way is due earlier, the keepalive later */

static struct {
    int server, peer; /* sockets */
    SSL *ssl;
    bool stream;
    struct net_addr server_addr, peer_addr, relayed;
    const char *user, *password, *ca;
    struct turn *t;
    usec_t jumped;
    unsigned events[TURN_EVENT_RELEASED + 1];
    struct turn_event last;
    uint32_t received, wrong; /* datagrams of the peer's that came back, and other ones */
} me = {.server = -1, .peer = -1};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "turn_client: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static void check(bool truth, const char *what)
{
    if (!truth)
        die("not so: %s", what);
}

static usec_t real_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (usec_t)ts.tv_sec * SEC + (usec_t)ts.tv_nsec / 1000 + SEC;
}

static usec_t now(void)
{
    return real_now() + me.jumped;
}

static void chance(void *ctx, void *out, size_t n)
{
    (void)ctx;
    check(RAND_bytes(out, (int)n) == 1, "there is randomness");
}

static struct sockaddr_in system_addr(const struct net_addr *a)
{
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    s.sin_addr.s_addr = htonl(net_addr_ip4(a));
    return s;
}

static struct net_addr our_addr(const struct sockaddr_in *s)
{
    return net_addr4(ntohl(s->sin_addr.s_addr), ntohs(s->sin_port));
}

/* -- the way to the server -- */

static void tls_begin(const char *ca)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    check(ctx && SSL_CTX_load_verify_locations(ctx, ca, NULL) == 1, "the CA can be read");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    me.ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_fd(me.ssl, me.server);
    if (SSL_connect(me.ssl) != 1) {
        ERR_print_errors_fp(stderr);
        die("no TLS");
    }
}

static void connect_server(const char *transport, const char *ca)
{
    struct sockaddr_in to = system_addr(&me.server_addr);
    me.stream = strcmp(transport, "udp") != 0;
    if (me.ssl) {
        SSL_free(me.ssl);
        me.ssl = NULL;
        close(me.server);
    }
    me.server = socket(AF_INET, me.stream ? SOCK_STREAM : SOCK_DGRAM, 0);
    int one = 1;
    if (me.stream)
        setsockopt(me.server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(me.server, (struct sockaddr *)&to, sizeof to))
        die("connect: %s", strerror(errno));
    if (strcmp(transport, "tls") == 0)
        tls_begin(ca);
    fcntl(me.server, F_SETFL, fcntl(me.server, F_GETFL) | O_NONBLOCK);
}

static void to_server(struct bytes data)
{
    while (data.n > 0) {
        ssize_t n =
            me.ssl ? SSL_write(me.ssl, data.p, (int)data.n) : send(me.server, data.p, data.n, MSG_NOSIGNAL);
        if (n > 0) {
            data = bytes_of(data.p + n, data.n - (size_t)n);
            continue;
        }
        bool again = me.ssl ? SSL_get_error(me.ssl, (int)n) == SSL_ERROR_WANT_WRITE
                            : errno == EAGAIN || errno == ECONNREFUSED;
        if (!again)
            die("send: %s", strerror(errno));
        poll(&(struct pollfd){.fd = me.server, .events = POLLOUT}, 1, 100);
    }
}

static ssize_t from_server(uint8_t *in, size_t cap)
{
    if (!me.ssl)
        return recv(me.server, in, cap, 0);
    int n = SSL_read(me.ssl, in, (int)cap);
    return n > 0 ? n : SSL_get_error(me.ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

/* -- datagrams with a number and a pattern, of many lengths -- */

static size_t make_datagram(uint8_t *out, uint32_t i)
{
    size_t n = 4 + (i * 37) % (TURN_DATAGRAM_MAX - 300);
    for (size_t k = 0; k < n; k++)
        out[k] = k < 4 ? (uint8_t)(i >> 8 * k) : (uint8_t)(i + k * 7);
    return n;
}

static void take_datagram(const struct turn_event *ev)
{
    uint8_t want[TURN_DATAGRAM_MAX];
    size_t n = make_datagram(want, me.received);
    bool right = net_addr_equal(&ev->peer, &me.peer_addr) && bytes_equal(ev->data, bytes_of(want, n));
    *(right ? &me.received : &me.wrong) += 1;
}

/* The peer sends back what comes. */
static void peer_turn(void)
{
    uint8_t in[2048];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t n;
    while ((n = recvfrom(me.peer, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &len)) >= 0) {
        struct net_addr a = our_addr(&from);
        check(net_addr_equal(&a, &me.relayed), "the peer sees the relayed address");
        sendto(me.peer, in, (size_t)n, 0, (struct sockaddr *)&from, len);
        len = sizeof from;
    }
}

static void drain_events(void)
{
    struct turn_event ev;
    while (turn_event(me.t, &ev)) {
        me.events[ev.kind]++;
        if (ev.kind == TURN_EVENT_DATA)
            take_datagram(&ev);
        else
            me.last = ev;
        if (ev.kind == TURN_EVENT_ALLOCATED)
            me.relayed = ev.relayed;
    }
}

static void drain_output(void)
{
    struct turn_out out;
    turn_tick(me.t, now());
    drain_events();
    while (turn_output(me.t, now(), &out))
        to_server(out.data);
}

/* One round: sends what is due, waits for something to come, takes it. */
static void turn_round(void)
{
    uint8_t in[4096];
    drain_output();
    struct pollfd fds[] = {{.fd = me.server, .events = POLLIN}, {.fd = me.peer, .events = POLLIN}};
    usec_t wake = turn_wake(me.t), t = now();
    usec_t wait = wake > t ? usec_min(wake - t, 100 * MSEC) : 0;
    if (!me.ssl || !SSL_pending(me.ssl))
        poll(fds, 2, (int)((wait + MSEC - 1) / MSEC));
    ssize_t n;
    while ((n = from_server(in, sizeof in)) > 0) {
        turn_input(me.t, bytes_of(in, (size_t)n), now());
        drain_events();
    }
    if (n == 0 && me.stream) {
        turn_disconnected(me.t, now());
        drain_events();
    }
    peer_turn();
    drain_output();
}

static void until(bool (*done)(void), const char *what)
{
    usec_t end = real_now() + PATIENCE;
    while (!done()) {
        if (real_now() > end)
            die("not within %u s: %s (%s; last: %s)", (unsigned)(PATIENCE / SEC), what,
                turn_state_name(turn_state(me.t)), me.last.why ? me.last.why : "nothing");
        turn_round();
    }
}

static bool is_ready(void)
{
    return turn_state(me.t) == TURN_READY;
}

static bool is_ended(void)
{
    return turn_state(me.t) == TURN_ENDED;
}

static bool is_refused(void)
{
    return me.events[TURN_EVENT_REFUSED] > 0;
}

static bool is_quiet(void)
{
    usec_t wake = turn_wake(me.t);
    return is_ended() || wake > now() + IDLE;
}

static void begin(void)
{
    struct turn_config c = {.transport = me.stream ? TURN_STREAM : TURN_UDP,
                            .server = me.server_addr,
                            .username = me.user,
                            .password = me.password,
                            .txid_prefix = 0x77617272,
                            .rng = {chance, NULL}};
    me.t = turn_new(&c);
    check(me.t, "a client");
    check(turn_start(me.t, now()) == 0, "started");
}

static int send_one(const uint8_t *data, size_t n, const struct net_addr *peer)
{
    uint8_t room[TURN_DATAGRAM_MAX + TURN_HEADROOM + TURN_TAILROOM];
    memcpy(room + TURN_HEADROOM, data, n);
    struct turn_packet p = {room + TURN_HEADROOM, n, TURN_HEADROOM, TURN_TAILROOM};
    struct turn_out out;
    int r = turn_send(me.t, peer, p, now(), &out);
    if (r)
        return r;
    drain_output(); /* the permission's request goes first */
    to_server(out.data);
    return 0;
}

/* There and back, so many at once; none is to be lost, for the window is small. */
static void exchange(uint32_t count)
{
    uint8_t data[TURN_DATAGRAM_MAX];
    usec_t end = real_now() + PATIENCE;
    uint32_t sent = me.received = 0;
    while (me.received < count) {
        if (real_now() > end)
            die("%u of %u datagrams came back, %u wrong ones", me.received, count, me.wrong);
        while (sent < count && sent < me.received + WINDOW) {
            int r = send_one(data, make_datagram(data, sent), &me.peer_addr);
            if (r)
                die("turn_send: %s", strerror(-r));
            sent++;
        }
        turn_round();
    }
    check(me.wrong == 0, "every datagram came back as it went");
}

static void release(void)
{
    turn_release(me.t, now());
    until(is_ended, "released");
    check(me.last.kind == TURN_EVENT_RELEASED, "released");
}

/* -- scenarios -- */

static void relay(void)
{
    struct turn_counts c;
    begin();
    until(is_ready, "allocated");
    exchange(1); /* brings up the channel */
    until(is_quiet, "the channel stands");
    usec_t start = real_now();
    exchange(DATAGRAMS);
    usec_t took = real_now() - start;
    turn_counts(me.t, &c);
    check(c.channels == 1 && c.permissions == 1, "one channel, one permission");
    check(c.sent_channel == DATAGRAMS && c.received_channel >= DATAGRAMS,
          "all but the first through the channel");
    check(c.sent_indication == 1, "the first as an indication");
    check(c.discarded == 0 && c.unproven == 0, "nothing was discarded");
    printf("# %u datagrams there and back in %llu ms\n", DATAGRAMS, (unsigned long long)(took / MSEC));
    /* An hour, nine minutes at a time: refreshes and renewals. */
    uint64_t before = c.requests;
    for (int i = 0; i < 60 / 9; i++) {
        me.jumped += 239 * SEC;
        exchange(10);
        me.jumped += 301 * SEC;
        until(is_quiet, "renewed");
        exchange(10);
    }
    turn_counts(me.t, &c);
    check(is_ready() && c.requests >= before + 12, "refreshed and renewed");
    check(c.channels == 1, "the channel was renewed");
    release();
}

/* Whether the port that was ours at the server is closed: the system then refuses what comes to it. */
static bool relay_is_closed(void)
{
    static int probe = -1;
    struct sockaddr_in to = system_addr(&me.relayed);
    if (probe < 0) {
        probe = socket(AF_INET, SOCK_DGRAM, 0);
        check(connect(probe, (struct sockaddr *)&to, sizeof to) == 0, "a probe");
    }
    return send(probe, "x", 1, 0) < 0 && errno == ECONNREFUSED;
}

static void again(void)
{
    begin();
    until(is_ready, "allocated");
    check(!relay_is_closed(), "the relayed port is open");
    release();
    until(relay_is_closed, "the relayed port is closed");
    if (me.stream) /* the server closes it */
        connect_server(me.ssl ? "tls" : "tcp", me.ca);
    check(turn_start(me.t, now()) == 0, "started again");
    until(is_ready, "allocated again");
    exchange(3);
    release();
}

/* A process that died left its allocation; the next one at the same address clears it. */
static void leftover(void)
{
    struct turn_counts c;
    begin();
    until(is_ready, "allocated");
    turn_free(me.t);
    begin();
    until(is_ready, "allocated over the old one");
    turn_counts(me.t, &c);
    check(c.requests >= 4, "the old one was in the way");
    exchange(3);
    release();
}

/* The one allocation that this server has is taken. */
static void quota(void)
{
    begin();
    until(is_ready, "allocated");
    turn_free(me.t);
    close(me.server);
    connect_server("udp", "");
    begin();
    until(is_ended, "refused");
    check(me.events[TURN_EVENT_FAILED] == 1 && me.last.code == 486, "refused for the quota");
}

static void refused(void)
{
    begin();
    until(is_ended, "refused");
    check(me.events[TURN_EVENT_FAILED] == 1, "failed once");
    printf("%u %s\n", me.last.code, me.last.why);
}

static void denied_peer(void)
{
    begin();
    until(is_ready, "allocated");
    struct net_addr denied = me.peer_addr;
    denied.ip[3] = 66;
    check(send_one((const uint8_t *)"x", 1, &denied) == 0, "sent");
    until(is_refused, "refused");
    check(me.last.code == 403 && net_ip_equal(&me.last.peer, &denied), "403 for that peer");
    check(send_one((const uint8_t *)"x", 1, &denied) == -EACCES, "and no more is sent to it");
    exchange(3);
    release();
}

/* The server's nonces live a second: requests go on until some of them were stale. */
static bool saw_stale(void)
{
    struct turn_counts c;
    turn_counts(me.t, &c);
    if (c.stale_nonces < 2 && is_quiet())
        me.jumped += 30 * SEC; /* less than the refresh is early */
    return c.stale_nonces >= 2 || is_ended();
}

static void stale(void)
{
    begin();
    until(is_ready, "allocated");
    exchange(3);
    until(saw_stale, "stale nonces");
    until(is_quiet, "answered");
    check(is_ready(), "still allocated");
    exchange(10);
    release();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {{"relay", relay},        {"again", again}, {"leftover", leftover}, {"refused", refused},
                     {"denied", denied_peer}, {"stale", stale}, {"quota", quota}};
    if (argc < 8)
        die("SCENARIO udp|tcp|tls SERVER-IP PORT USER PASSWORD PEER-IP [CA.pem]");
    check(net_addr_read(&me.server_addr, argv[3]) == 0 && net_addr_read(&me.peer_addr, argv[7]) == 0,
          "addresses");
    me.server_addr.port = (uint16_t)atoi(argv[4]);
    me.user = argv[5];
    me.password = argv[6];
    me.ca = argc > 8 ? argv[8] : "";
    me.peer = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in at = system_addr(&me.peer_addr);
    socklen_t len = sizeof at;
    if (bind(me.peer, (struct sockaddr *)&at, len) || getsockname(me.peer, (struct sockaddr *)&at, &len))
        die("bind: %s", strerror(errno));
    me.peer_addr = our_addr(&at);
    connect_server(argv[2], me.ca);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(scenarios[i].name, argv[1]) == 0) {
            scenarios[i].run();
            turn_free(me.t);
            SSL_free(me.ssl);
            close(me.server);
            close(me.peer);
            return 0;
        }
    die("no such scenario: %s", argv[1]);
}
