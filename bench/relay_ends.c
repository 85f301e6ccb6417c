#include "bench/relay_ends.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/relay_kit.h"
#include "crypto/rand.h"
#include "io/ws_client.h"
#include "party/party.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define WS_PATH     "/api/v1/ws"
#define SETUP_S     20
#define BUFFER      (8 << 20)
#define TURN_PORT   34780
#define TURN_USER   "bench"
#define TURN_SECRET "bench"

static usec_t now_us(void)
{
    return (usec_t)(now_s() * 1e6) + 1;
}

/* ---- sockets ---- */

socklen_t sockaddr_of(struct sockaddr_storage *out, const struct net_addr *a)
{
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    memcpy(&in6.sin6_addr, a->ip, 16);
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

static struct net_addr local_of(int fd)
{
    struct sockaddr_storage s;
    socklen_t n = sizeof s;
    require(getsockname(fd, (struct sockaddr *)&s, &n) == 0, "getsockname");
    if (s.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&s;
        struct net_addr a = {.family = 4, .port = ntohs(in->sin_port)};
        memcpy(a.ip, &in->sin_addr, 4);
        return a;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&s;
    return net_addr6(in6->sin6_addr.s6_addr, ntohs(in6->sin6_port));
}

/* Bound to any port of the address with which this machine reaches `to`. */
static int socket_towards(const struct net_addr *to)
{
    struct sockaddr_storage s;
    const int size = BUFFER, on = 1;
    socklen_t n = sockaddr_of(&s, to);
    int probe = socket(s.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    require(probe >= 0 && connect(probe, (struct sockaddr *)&s, n) == 0, "no way to the relay");
    struct net_addr at = local_of(probe);
    close(probe);
    at.port = 0;
    n = sockaddr_of(&s, &at);
    int fd = socket(s.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    require(fd >= 0 && bind(fd, (struct sockaddr *)&s, n) == 0, "no socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    return fd;
}

static void send_to(int fd, const struct net_addr *to, const void *p, size_t n)
{
    struct sockaddr_storage s;
    socklen_t len = sockaddr_of(&s, to);
    (void)!sendto(fd, p, n, 0, (struct sockaddr *)&s, len);
}

/* The next datagram within so many ms; 0: none. */
static size_t receive_within(int fd, void *p, size_t cap, int ms)
{
    struct pollfd f = {.fd = fd, .events = POLLIN};
    if (poll(&f, 1, ms) <= 0)
        return 0;
    ssize_t n = recv(fd, p, cap, MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

/* ---- a device of the hub ---- */

static void say(struct device *d, const struct signal *s)
{
    require(d->count < RELAY_OUTBOX, "too much to say");
    struct buf *b = &d->out[(d->first + d->count++) % RELAY_OUTBOX];
    buf_init(b, SIGNAL_MAX);
    require(signal_write(b, s) == 0, "no message");
    ws_client_want_write(d->ws);
}

static bool on_take(void *arg, struct buf *out, bool *binary)
{
    struct device *d = arg;
    if (d->count == 0)
        return false;
    struct buf *b = &d->out[d->first];
    *binary = false;
    require(buf_add(out, buf_bytes(b)) == 0, "no memory");
    buf_done(b);
    d->first = (d->first + 1) % RELAY_OUTBOX;
    d->count--;
    return true;
}

static void log_in(struct device *d, const struct signal *challenge)
{
    struct signal *s = calloc(1, sizeof *s);
    uint8_t text[SIGNAL_NONCE_LEN + 32 + NODE_ID_LEN];
    struct wr w = wr_of(text, sizeof text);
    require(s != NULL, "no memory");
    s->type = SIGNAL_LOGIN;
    memcpy(s->u.login.node, d->id, NODE_ID_LEN);
    s->u.login.keys = *sign_key_public(d->key);
    snprintf(s->u.login.name, sizeof s->u.login.name, "bench");
    wr_copy(&w, challenge->u.challenge.nonce, SIGNAL_NONCE_LEN);
    wr_copy(&w, d->binding, 32);
    wr_copy(&w, d->id, NODE_ID_LEN);
    require(sign_make(d->key, "warren login v1", wr_done(&w), &d->rng, s->u.login.signature) == 0,
            "no signature");
    say(d, s);
    free(s);
}

/* The relay's address of the family by which the hub was reached. */
static void welcomed(struct device *d, const struct signal *s)
{
    static const uint8_t zero[16];
    struct net_addr hub;
    require(s->u.welcome.has_udp && ws_client_addresses(d->ws, &hub, 1) == 1, "the hub has no UDP");
    for (size_t i = 0; i < s->u.welcome.udp_count && d->udp.family == 0; i++)
        if (s->u.welcome.udp[i].family == hub.family)
            d->udp = s->u.welcome.udp[i];
    require(d->udp.family != 0, "the hub has no UDP for this family");
    if (memcmp(d->udp.ip, zero, sizeof zero) == 0)
        memcpy(d->udp.ip, hub.ip, sizeof hub.ip);
    d->relay = s->u.welcome.relay;
    memcpy(d->udp_key, s->u.welcome.udp_key, sizeof d->udp_key);
    d->welcome = true;
}

static void on_text(void *arg, struct bytes text)
{
    struct device *d = arg;
    struct signal *s = calloc(1, sizeof *s);
    require(s && signal_read(s, text) == 0, "unreadable text from the hub");
    if (s->type == SIGNAL_CHALLENGE)
        log_in(d, s);
    else if (s->type == SIGNAL_WELCOME)
        welcomed(d, s);
    else if (s->type == SIGNAL_LOG && s->u.log.op == LOG_OP_ACK)
        d->acked = true;
    else if (s->type == SIGNAL_PEER_LIST)
        d->joined = true;
    else if (s->type == SIGNAL_ERROR)
        die(s->u.error.message);
    signal_done(s);
    free(s);
}

static void on_up(void *arg, const uint8_t binding[32])
{
    memcpy(((struct device *)arg)->binding, binding, 32);
}

static void on_binary(void *arg, uint8_t *p, size_t n)
{
    (void)arg, (void)p, (void)n;
}

static void on_down(void *arg, const char *why)
{
    (void)arg;
    die(why);
}

static const struct ws_client_ops ops = {on_up, on_text, on_binary, on_down, on_take};

static void await(struct device *d, const bool *flag, const char *what)
{
    double until = now_s() + SETUP_S;
    while (!*flag) {
        require(now_s() < until, what);
        uv_run(d->loop, UV_RUN_ONCE);
    }
}

void come_in(struct device *d, uv_loop_t *loop, const struct hub_address *hub)
{
    struct sign_seed seed;
    memset(d, 0, sizeof *d);
    d->loop = loop;
    d->rng = rng_system();
    sign_seed_new(&seed, &d->rng);
    d->key = sign_key_new(&seed);
    require(d->key != NULL, "no key");
    node_id_of(d->id, sign_key_public(d->key));
    d->ws = ws_client_new(loop, &ops, d);
    require(d->ws && ws_client_connect(d->ws, hub, WS_PATH) == 0, "no connection");
    await(d, &d->welcome, "no login");
}

static void join(void *arg, const uint8_t party[PARTY_ID_LEN])
{
    struct device *d = arg;
    struct signal s = {.type = SIGNAL_JOIN};
    memcpy(s.u.join.party, party, PARTY_ID_LEN);
    say(d, &s);
    await(d, &d->joined, "the party was not joined");
}

static void send_entry(void *arg, enum signal_log_op op, const struct party *p, struct buf *b)
{
    struct device *d = arg;
    struct signal s = {.type = SIGNAL_LOG, .u.log.op = op, .u.log.ref = 1, .u.log.count = 1};
    s.u.log.entries[0] = buf_bytes(b);
    memcpy(s.u.log.party, party_id(p), PARTY_ID_LEN);
    d->acked = false;
    say(d, &s);
    await(d, &d->acked, "an entry was not acknowledged");
    buf_clear(b);
}

void found_party(struct device *owner, struct device *other)
{
    uint8_t id[PARTY_ID_LEN];
    const struct founding f = {.owner = author_of(owner->key, owner->id, owner->rng),
                               .joiner = author_of(other->key, other->id, other->rng),
                               .entry = send_entry,
                               .join = join,
                               .arg = owner};
    found(&f, id);
    join(other, id);
}

/* One question to the relay until it is answered by that kind. */
static void ask(struct device *d, struct udp_relay *m, enum udp_relay_kind want)
{
    uint8_t out[UDP_RELAY_BIND_LEN], in[2048];
    struct udp_relay got = {0};
    for (int i = 0; i < 10 && got.kind != want; i++) {
        if (m->kind == UDP_RELAY_BIND)
            m->time_ms = now_us();
        send_to(d->fd, &d->udp, out, udp_relay_write(out, sizeof out, m, d->udp_key));
        size_t n = receive_within(d->fd, in, sizeof in, 300);
        if (udp_relay_read(&got, bytes_of(in, n)) < 0)
            got.kind = 0;
    }
    require(got.kind == want, "the relay does not answer");
    *m = got;
}

void bind_to_relay(struct device *d)
{
    struct udp_relay m = {.kind = UDP_RELAY_BIND, .index = d->relay};
    d->fd = socket_towards(&d->udp);
    rng_fill(&d->rng, m.nonce, sizeof m.nonce);
    ask(d, &m, UDP_RELAY_CHALLENGE);
    m.kind = UDP_RELAY_CONFIRM;
    ask(d, &m, UDP_RELAY_BOUND);
    d->token = m.token;
}

/* ---- coturn ---- */

static bool same_net(pid_t pid, int *ns)
{
    char path[64];
    struct stat own, other;
    snprintf(path, sizeof path, "/proc/%ld/ns/net", (long)pid);
    *ns = open(path, O_RDONLY | O_CLOEXEC);
    return *ns < 0 || fstat(*ns, &other) < 0 || stat("/proc/self/ns/net", &own) < 0 ||
           own.st_ino == other.st_ino;
}

static void exec_turnserver(const struct turner *t, pid_t hub)
{
    const char *program = getenv("TURNSERVER");
    char ip[NET_ADDR_TEXT], port[16], log[64], pidfile[64], db[64];
    int ns;
    net_ip_text(ip, &t->at);
    snprintf(port, sizeof port, "%u", t->at.port);
    snprintf(log, sizeof log, "%s/log", t->dir);
    snprintf(pidfile, sizeof pidfile, "%s/pid", t->dir);
    snprintf(db, sizeof db, "%s/db", t->dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!same_net(hub, &ns) && setns(ns, CLONE_NEWNET) < 0)
        _exit(126);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    const char *const args[] = {"turnserver",
                                "-n",
                                "-L",
                                ip,
                                "-E",
                                ip,
                                "-p",
                                port,
                                "-m",
                                "1",
                                "--lt-cred-mech",
                                "-u",
                                TURN_USER ":" TURN_SECRET,
                                "-r",
                                "bench",
                                "--no-tls",
                                "--no-dtls",
                                "--no-tcp",
                                "--no-cli",
                                "--no-rfc5780",
                                "--allow-loopback-peers",
                                "--simple-log",
                                "-l",
                                log,
                                "--pidfile",
                                pidfile,
                                "-b",
                                db,
                                NULL};
    execvp(program ? program : "turnserver", (char *const *)args);
    _exit(127);
}

/* What the client has to say, and what came for it. */
static void turner_pump(struct turner *t, struct turn_event *ev, bool *got)
{
    struct turn_out out;
    uint8_t in[2048];
    while (turn_output(t->turn, now_us(), &out))
        send_to(t->fd, &out.to, out.data.p, out.data.n);
    size_t n = receive_within(t->fd, in, sizeof in, 20);
    if (n > 0 && turn_is(t->turn, &t->at, bytes_of(in, n)))
        (void)turn_input(t->turn, bytes_of(in, n), now_us());
    if (turn_wake(t->turn) <= now_us())
        turn_tick(t->turn, now_us());
    *got = turn_event(t->turn, ev);
}

static bool turner_allocate(struct turner *t)
{
    const struct turn_config c = {
        .server = t->at, .username = TURN_USER, .password = TURN_SECRET, .rng = rng_system()};
    struct turn_event ev;
    bool got;
    t->turn = turn_new(&c);
    require(t->turn && turn_start(t->turn, now_us()) == 0, "no TURN client");
    for (double until = now_s() + SETUP_S; now_s() < until && turn_state(t->turn) != TURN_READY;) {
        turner_pump(t, &ev, &got);
        if (got && ev.kind == TURN_EVENT_FAILED) /* it may not have started yet */
            (void)turn_start(t->turn, now_us());
        if (waitpid(t->pid, NULL, WNOHANG) != 0) {
            t->pid = 0; /* there is none */
            return false;
        }
    }
    require(turn_state(t->turn) == TURN_READY, "coturn gives no allocation");
    return true;
}

/* Datagrams to the peer until there is a channel for them. */
static void turner_bind(struct turner *t)
{
    struct turn_counts counts;
    struct turn_out out;
    struct turn_event ev;
    bool got;
    uint8_t p[128];
    for (double until = now_s() + SETUP_S;;) {
        memset(p, 0, sizeof p);
        const struct turn_packet packet = {p + TURN_HEADROOM, 64, TURN_HEADROOM,
                                           sizeof p - TURN_HEADROOM - 64};
        require(now_s() < until, "coturn binds no channel");
        turn_counts(t->turn, &counts);
        if (turn_send(t->turn, &t->peer, packet, now_us(), &out) == 0) {
            uint64_t before = counts.sent_channel;
            turn_counts(t->turn, &counts);
            memcpy(t->channel, out.data.p, sizeof t->channel);
            if (counts.sent_channel > before)
                return;
            send_to(t->fd, &out.to, out.data.p, out.data.n);
        }
        do
            turner_pump(t, &ev, &got);
        while (got);
    }
}

/* False: there is no coturn. */
bool turner_start(struct turner *t, const struct net_addr *hub, pid_t hub_pid)
{
    t->at = *hub;
    t->at.port = TURN_PORT;
    snprintf(t->dir, sizeof t->dir, "/tmp/relay_udp.XXXXXX");
    require(mkdtemp(t->dir), "no directory for coturn");
    t->pid = fork();
    require(t->pid >= 0, "no process");
    if (t->pid == 0)
        exec_turnserver(t, hub_pid);
    t->fd = socket_towards(&t->at);
    t->peer_fd = socket_towards(&t->at);
    t->peer = local_of(t->peer_fd);
    if (!turner_allocate(t))
        return false;
    turner_bind(t);
    return true;
}

void turner_end(struct turner *t)
{
    static const char *const files[] = {"log", "pid", "db"};
    char path[64];
    if (t->pid > 0 && kill(t->pid, SIGTERM) == 0)
        waitpid(t->pid, NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", t->dir, files[i]);
        unlink(path);
    }
    rmdir(t->dir);
    turn_free(t->turn);
}
