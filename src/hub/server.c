#include "hub/server.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "crypto/rand.h"
#include "crypto/secret.h"
#include "hub/cert.h"
#include "hub/store_timed_int.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/udp.h"
#include "io/ws_server.h"
#include "nat/stun_server.h"
#include "wire/invite.h"

#define DEFAULT_LISTEN "[::]:443"
#define DEFAULT_UDP    3478 /* RFC 8489 section 8 */
#define TICK_MS        1000
#define GOODBYE_MS     700 /* for the last messages after SIGTERM */
#define FDS_RESERVED   64  /* store, log, library */

/* Sockets beyond the hub's own limit: requests over HTTP, and those that have not opened their WebSocket yet.
 */
#define SOCKETS_EXTRA 64

/* One of the UDP sockets: what its datagrams are given with. */
struct udp_door {
    struct server *s;
    struct udp *u; /* NULL: not there */
    uint32_t number;
};

struct server {
    struct hub *hub;
    struct udp_door udp[HUB_UDP_SOCKETS];
    bool udp_missed; /* the default port was not to be had */
    char turn_url[SIGNAL_TURN_URL_MAX + 1];
    uint8_t turn_secret[64];
    size_t turn_secret_len;
    uint64_t udp_unsent; /* answers for a socket that is not there */
    usec_t udp_now;      /* of the datagrams that one system call brought; 0: not read yet */
    uint64_t udp_lost;   /* datagrams that the kernel dropped, on both ways, when the hub was last told */
    struct ws_server *edge;
    struct store store;
    struct store_timed timed;
    struct hub_certs certs;
    struct hub_limits limits;
    uv_loop_t loop;
    uv_timer_t tick, goodbye;
    uv_signal_t sigint, sigterm;
    int lock; /* descriptor, or -1 */
    bool loop_open, handles_open, ending, few_descriptors;
    char why[512];
};

static int fail(struct server *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct server *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->why, sizeof s->why, fmt, ap);
    va_end(ap);
    return -1;
}

/* ---- the hub between the sockets ---- */

/* After whatever happened: who has something to write is asked, who is to be closed is closed, what is to be
 * logged is logged. */
static void pump(struct server *s)
{
    hub_conn c;
    uint16_t code;
    const char *reason;
    struct hub_event ev;
    while (hub_ready(s->hub, &c))
        ws_server_want_write(s->edge, c);
    while (hub_close_next(s->hub, &c, &code, &reason))
        ws_server_close(s->edge, c, code, reason);
    while (hub_event(s->hub, &ev))
        log_event((enum log_level)ev.level, ev.event, "%s", ev.text);
}

static int on_open(void *arg, uint64_t conn, const struct net_addr *remote, const uint8_t binding[32])
{
    struct server *s = arg;
    int rc = hub_open(s->hub, conn, remote, binding, clock_now());
    pump(s);
    return rc;
}

static void on_text(void *arg, uint64_t conn, struct bytes text)
{
    struct server *s = arg;
    hub_text(s->hub, conn, text, clock_now());
    pump(s);
}

static void on_binary(void *arg, uint64_t conn, struct bytes message)
{
    struct server *s = arg;
    hub_binary(s->hub, conn, message, clock_now());
    pump(s);
}

static void on_alive(void *arg, uint64_t conn)
{
    struct server *s = arg;
    hub_alive(s->hub, conn, clock_now());
}

static void on_closed(void *arg, uint64_t conn)
{
    struct server *s = arg;
    hub_closed(s->hub, conn, clock_now());
    pump(s);
}

static bool on_take(void *arg, uint64_t conn, struct buf *out, bool *binary)
{
    struct server *s = arg;
    bool took = hub_take(s->hub, conn, out, binary, clock_now());
    pump(s);
    return took;
}

/* What the hub relays stays in the memory that it came in until on_flush; its own answers do not. */
static void on_run(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p, size_t n,
                   size_t segment)
{
    struct udp_door *door = arg;
    struct server *s = door->s;
    const struct hub_udp_in in = {
        .socket = door->number, .from = *from, .local = *to, .p = p, .n = n, .segment = segment};
    struct hub_udp_out out;
    if (s->udp_now == 0)
        s->udp_now = clock_now();
    hub_udp_input(s->hub, &in, s->udp_now);
    while (hub_udp_next(s->hub, &out)) {
        struct udp *u = s->udp[out.socket].u;
        if (!u)
            s->udp_unsent++;
        else if (out.p >= p && out.p < p + n)
            udp_send_later(u, &out.to, out.p, out.n, out.segment);
        else
            (void)udp_send(u, &out.to, out.p, out.n);
    }
}

static void on_flush(void *arg)
{
    struct server *s = ((struct udp_door *)arg)->s;
    for (size_t i = 0; i < HUB_UDP_SOCKETS; i++)
        if (s->udp[i].u)
            udp_flush(s->udp[i].u);
    s->udp_now = 0;
}

/* All sockets' counts together. */
static struct udp_stats udp_sum(const struct server *s)
{
    struct udp_stats sum = {0}, one;
    for (size_t i = 0; i < HUB_UDP_SOCKETS; i++) {
        if (!s->udp[i].u)
            continue;
        udp_stats(s->udp[i].u, &one);
        sum.received += one.received;
        sum.too_long += one.too_long;
        sum.refused += one.refused;
        sum.full += one.full;
        sum.lost += one.lost;
        sum.runs_in += one.runs_in;
        sum.runs_out += one.runs_out;
    }
    return sum;
}

static void on_drained(void *arg)
{
    struct server *s = ((struct udp_door *)arg)->s;
    uint64_t lost = 0;
    for (size_t i = 0; i < HUB_UDP_SOCKETS; i++)
        lost += s->udp[i].u ? udp_losses(s->udp[i].u) : 0;
    if (lost != s->udp_lost)
        hub_udp_pressed(s->hub, clock_now());
    s->udp_lost = lost;
    pump(s);
}

static const struct udp_ops udp_edge_ops = {.receive_run = on_run, .flush = on_flush, .drained = on_drained};

static void edge_metrics(const struct server *s, struct buf *out)
{
    struct ws_server_stats st;
    struct rusage use;
    const struct udp_stats us = udp_sum(s);
    ws_server_stats(s->edge, &st);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"sockets", "gauge", "TCP connections open now.", st.sockets},
        {"sockets_accepted_total", "counter", "TCP connections accepted.", st.accepted},
        {"sockets_refused_total", "counter", "TCP connections refused for the limit on all.",
         st.refused_total},
        {"sockets_refused_ip_total", "counter", "TCP connections refused for the limit on one address.",
         st.refused_ip},
        {"tls_unfinished_total", "counter", "TCP connections that ended before a request.", st.tls_failed},
        {"messages_too_large_total", "counter", "WebSocket messages over the limit.", st.too_large},
        {"udp_received_total", "counter", "Datagrams received.", us.received},
        {"udp_too_long_total", "counter", "Datagrams longer than any of ours.", us.too_long},
        {"udp_unsent_total", "counter", "Datagrams that the kernel did not take.",
         s->udp_unsent + us.refused},
        {"udp_lost_total", "counter", "Datagrams, or runs of them, that the receive buffer had no room for.",
         us.lost},
        {"udp_runs_received_total", "counter", "Runs of two datagrams or more received in one.", us.runs_in},
        {"udp_runs_sent_total", "counter", "Runs of two datagrams or more sent in one.", us.runs_out},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        buf_printf(out, "# HELP warren_hub_%s %s\n# TYPE warren_hub_%s %s\nwarren_hub_%s %llu\n",
                   rows[i].name, rows[i].help, rows[i].name, rows[i].type, rows[i].name,
                   (unsigned long long)rows[i].value);
    if (getrusage(RUSAGE_SELF, &use) == 0)
        buf_printf(out,
                   "# HELP process_cpu_seconds_total Processor time used.\n# TYPE process_cpu_seconds_total "
                   "counter\n"
                   "process_cpu_seconds_total %.3f\n",
                   (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    store_timed_metrics(&s->timed, out);
}

static void on_http(void *arg, const struct ws_server_request *rq, struct ws_server_response *rs)
{
    struct server *s = arg;
    struct hub_request in = {
        .method = rq->method, .path = rq->path, .bearer = rq->bearer, .remote = rq->remote};
    struct hub_response out = {0};
    hub_http(s->hub, &in, &out, clock_now());
    if (out.status == 200 && strcmp(rq->path, "/metrics") == 0)
        edge_metrics(s, &out.body);
    rs->status = out.status;
    rs->content_type = out.content_type;
    rs->body = out.body;
    pump(s);
}

static const struct ws_server_ops edge_ops = {
    .open = on_open,
    .text = on_text,
    .binary = on_binary,
    .alive = on_alive,
    .closed = on_closed,
    .take = on_take,
    .http = on_http,
};

static void on_goodbye(uv_timer_t *t)
{
    struct server *s = t->data;
    uv_stop(&s->loop);
}

static void on_tick(uv_timer_t *t)
{
    struct server *s = t->data;
    hub_clock(s->hub, clock_now(), clock_unix_s());
    hub_tick(s->hub, clock_now());
    pump(s);
}

/* While it goes down, the end does not wait for the last second if everybody has left. */
static void on_leaving(uv_timer_t *t)
{
    struct server *s = t->data;
    struct hub_stats st;
    hub_stats(s->hub, &st);
    if (st.connections == 0)
        uv_stop(&s->loop);
}

static void on_signal(uv_signal_t *sig, int number)
{
    struct server *s = sig->data;
    if (s->ending) {
        uv_stop(&s->loop); /* asked twice */
        return;
    }
    s->ending = true;
    log_event(LOG_INFO, "hub-stopping", "signal=%d", number);
    ws_server_stop(s->edge);
    hub_shutdown(s->hub, clock_now());
    pump(s);
    uv_timer_start(&s->goodbye, on_goodbye, GOODBYE_MS, 0);
    uv_timer_start(&s->tick, on_leaving, 10, 20);
}

/* ---- start ---- */

static int check_options(struct server *s, const struct hub_options *o)
{
    if (o->bus && *o->bus && strcmp(o->bus, "none") != 0)
        return fail(
            s, "--bus %s: this version runs one hub alone and has no bus yet; leave --bus out or say none",
            o->bus);
    if (o->store && (strncmp(o->store, "postgres:", 9) == 0 || strncmp(o->store, "postgresql:", 11) == 0))
        return fail(s, "--store: this version stores in SQLite only; leave --store out or say sqlite:PATH");
    if (o->store && strncmp(o->store, "sqlite:", 7) != 0 && strstr(o->store, "://"))
        return fail(s,
                    "--store %s: not a store that this version knows; leave --store out or say sqlite:PATH",
                    o->store);
    return 0;
}

/* As many descriptors as we may have: one a connection. */
static void raise_limits(struct server *s)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) < 0 && getrlimit(RLIMIT_NOFILE, &r) < 0)
        return;
    rlim_t room = r.rlim_cur > FDS_RESERVED + SOCKETS_EXTRA ? r.rlim_cur - FDS_RESERVED - SOCKETS_EXTRA : 1;
    if (r.rlim_cur != RLIM_INFINITY && s->limits.connections > room) {
        s->limits.connections = (uint32_t)room;
        s->few_descriptors = true;
    }
}

static int open_state(struct server *s, const char *state)
{
    char path[PATH_MAX];
    long holder = 0;
    int rc = dir_make_private(state);
    if (rc == -EPERM)
        return fail(s,
                    "%s belongs to somebody else or others may write to it; run  chmod 700 %s  or use "
                    "another --state",
                    state, state);
    if (rc < 0)
        return fail(s, "cannot make the state directory %s: %s", state, strerror(-rc));
    if (snprintf(path, sizeof path, "%s/hub.lock", state) >= (int)sizeof path)
        return fail(s, "the name of the state directory is too long");
    s->lock = file_lock(path, &holder);
    if (s->lock == -EWOULDBLOCK)
        return fail(s, "another hub (process %ld) uses %s; stop it or give this one its own --state", holder,
                    state);
    if (s->lock < 0)
        return fail(s, "cannot write to the state directory %s: %s", state, strerror(-s->lock));
    return 0;
}

static int open_store(struct server *s, const struct hub_options *o)
{
    char path[PATH_MAX];
    const char *why;
    int n;
    if (!o->store)
        n = snprintf(path, sizeof path, "%s/hub.db", o->state);
    else
        n = snprintf(path, sizeof path, "%s", strncmp(o->store, "sqlite:", 7) == 0 ? o->store + 7 : o->store);
    if (n >= (int)sizeof path || n == 0)
        return fail(s, "--store: the path is too long or empty");
    if (store_sqlite_open(&s->store, path, &why) < 0)
        return fail(s, "%s: %s", path, why);
    return 0;
}

static void host_name(char *out, size_t cap, const struct hub_options *o)
{
    uint16_t port;
    if (o->name) {
        snprintf(out, cap, "%s", o->name);
        return;
    }
    bool any = ws_server_listen_split(o->listen ? o->listen : DEFAULT_LISTEN, out, cap, &port) < 0 ||
               !out[0] || strcmp(out, "::") == 0 || strcmp(out, "0.0.0.0") == 0;
    if (any && (gethostname(out, cap) < 0 || !memchr(out, 0, cap) || !out[0]))
        snprintf(out, cap, "localhost");
}

/* ---- UDP ---- */

/* "IP:PORT", "[IP6]:PORT", ":PORT". */
static int udp_address(struct server *s, const char *option, const char *text, struct net_addr *a)
{
    char host[NET_ADDR_TEXT];
    uint16_t port;
    if (ws_server_listen_split(text, host, sizeof host, &port) < 0 ||
        net_addr_read(a, host[0] ? host : "::") < 0)
        return fail(s, "%s %s: not an address; write IP:PORT, [IP6]:PORT or :PORT", option, text);
    a->port = port;
    return 0;
}

/* Where UDP goes when nobody said: beside the listener, unless that has a name. */
static void udp_default(const struct hub_options *o, struct net_addr *a)
{
    char host[NET_ADDR_TEXT];
    uint16_t port;
    if (ws_server_listen_split(o->listen ? o->listen : DEFAULT_LISTEN, host, sizeof host, &port) < 0 ||
        net_addr_read(a, host[0] ? host : "::") < 0)
        *a = net_addr6((uint8_t[16]){0}, 0);
    a->port = DEFAULT_UDP;
}

static bool unspecified(const struct net_addr *a)
{
    return memcmp(a->ip, (uint8_t[16]){0}, 16) == 0;
}

static int udp_open_at(struct server *s, uint32_t number, const struct net_addr *a)
{
    struct udp_door *door = &s->udp[number];
    struct net_addr four = net_addr4(0, a->port);
    const unsigned flags = UDP_DONT_FRAGMENT | UDP_ANSWER_FROM | UDP_OFFLOAD;
    door->s = s;
    door->number = number;
    int rc = udp_open(&door->u, &s->loop, a, flags, &udp_edge_ops, door);
    if (rc == -EAFNOSUPPORT && a->family == 6 && unspecified(a)) /* a kernel without IPv6 */
        rc = udp_open(&door->u, &s->loop, &four, flags, &udp_edge_ops, door);
    return rc;
}

/* The other port of an address: the next one, or any. Without it there is only less to find out about NATs.
 */
static void udp_open_beside(struct server *s, uint32_t number, uint16_t port)
{
    struct net_addr a = udp_local(s->udp[number ^ STUN_ENDPOINT_PORT2].u);
    a.port = port;
    if (port == 0 || udp_open_at(s, number, &a) < 0) {
        a.port = 0;
        (void)udp_open_at(s, number, &a);
    }
}

static int udp_failed(struct server *s, const char *option, const char *text, int rc)
{
    if (rc == -EADDRINUSE)
        return fail(
            s, "%s %s: the UDP port is in use by another program; stop that or say another port, or %s none",
            option, text, option);
    if (rc == -EADDRNOTAVAIL)
        return fail(s, "%s %s: this machine has no such address", option, text);
    return fail(s, "%s %s: %s", option, text, strerror(-rc));
}

static int open_udp2(struct server *s, const struct hub_options *o)
{
    struct net_addr a, first = udp_local(s->udp[0].u);
    if (net_addr_read(&a, o->udp2) < 0 || unspecified(&a) || unspecified(&first) || a.family != first.family)
        return fail(
            s, "--udp2 %s: write a second address of this machine, IP or IP:PORT, and the first one by --udp",
            o->udp2);
    if (a.port == 0)
        a.port = first.port;
    int rc = udp_open_at(s, 2, &a);
    if (rc < 0)
        return udp_failed(s, "--udp2", o->udp2, rc);
    udp_open_beside(s, 3, s->udp[1].u ? udp_local(s->udp[1].u).port : 0);
    return 0;
}

static int open_udp(struct server *s, const struct hub_options *o)
{
    struct net_addr a;
    if (o->udp && strcmp(o->udp, "none") == 0)
        return o->udp2 ? fail(s, "--udp2 needs --udp") : 0;
    if (o->udp && udp_address(s, "--udp", o->udp, &a) < 0)
        return -1;
    if (!o->udp)
        udp_default(o, &a);
    int rc = udp_open_at(s, 0, &a);
    if (rc < 0 && (o->udp || o->udp2))
        return udp_failed(s, "--udp", o->udp ? o->udp : "(default)", rc);
    s->udp_missed = rc < 0;
    if (rc < 0)
        return 0;
    uint16_t port = udp_local(s->udp[0].u).port;
    udp_open_beside(s, 1, a.port == 0 || port == 65535 ? 0 : (uint16_t)(port + 1));
    return o->udp2 ? open_udp2(s, o) : 0;
}

/* What nodes are told. An address that is not public may be another one outside (a 1:1 NAT, a container):
 * then the nodes stay with the address at which they have found the hub. */
static void tell_udp(const struct server *s, struct hub_config *c)
{
    c->udp = s->udp[0].u != NULL;
    for (uint32_t i = 0; i < HUB_UDP_SOCKETS; i++) {
        if (!s->udp[i].u)
            continue;
        struct net_addr a = udp_local(s->udp[i].u), four = net_addr4(0, a.port);
        bool any = unspecified(&a);
        c->udp_endpoints[i + (a.family == 6 ? STUN_ENDPOINT_IP6 : 0)] = a;
        if (any && a.family == 6)
            c->udp_endpoints[i] = four;
        if (i != 0)
            continue;
        if (any && a.family == 6)
            c->udp_addrs[c->udp_count++] = four;
        if (net_addr_scope(&a) != NET_PUBLIC)
            memset(a.ip, 0, sizeof a.ip);
        c->udp_addrs[c->udp_count++] = a;
    }
    _Static_assert(HUB_UDP_ADDRS >= 2, "both families");
}

/* ---- TURN ---- */

static int read_turn_secret(struct server *s, const char *path)
{
    struct buf b;
    buf_init(&b, sizeof s->turn_secret + 2);
    int rc = file_read(path, sizeof s->turn_secret + 2, &b);
    while (rc == 0 && b.n > 0 && (b.p[b.n - 1] == '\n' || b.p[b.n - 1] == '\r'))
        b.n--;
    if (rc == -EFBIG || (rc == 0 && (b.n == 0 || b.n > sizeof s->turn_secret)))
        rc = fail(s, "--turn-secret-file %s: a secret has 1 to %zu bytes", path, sizeof s->turn_secret);
    else if (rc < 0)
        rc = fail(s, "--turn-secret-file %s: %s", path, strerror(-rc));
    if (rc == 0) {
        memcpy(s->turn_secret, b.p, b.n);
        s->turn_secret_len = b.n;
    }
    if (b.p)
        wipe(b.p, b.cap);
    buf_done(&b);
    return rc;
}

static int open_turn(struct server *s, const struct hub_options *o)
{
    if (!o->turn && !o->turn_secret)
        return 0;
    if (!o->turn || !o->turn_secret)
        return fail(s, "--turn and --turn-secret-file go together");
    bool known = strncmp(o->turn, "turn:", 5) == 0 || strncmp(o->turn, "turns:", 6) == 0;
    if (!known || strlen(o->turn) > SIGNAL_TURN_URL_MAX || strpbrk(o->turn, " \t\r\n@\"\\"))
        return fail(s, "--turn %.300s: write turn:HOST:PORT?transport=udp, or tcp, or turns:HOST:PORT",
                    o->turn);
    snprintf(s->turn_url, sizeof s->turn_url, "%s", o->turn);
    return read_turn_secret(s, o->turn_secret);
}

static int open_hub(struct server *s)
{
    struct hub_config c = {
        .turn_secret_len = s->turn_secret_len,
        .limits = s->limits,
        .store = store_timed(&s->timed, s->store, clock_now),
        .rng = rng_system(),
        .unix_s = clock_unix_s(),
    };
    memcpy(c.turn_url, s->turn_url, sizeof c.turn_url);
    memcpy(c.turn_secret, s->turn_secret, sizeof c.turn_secret);
    tell_udp(s, &c);
    s->hub = hub_new(&c, clock_now());
    wipe(c.turn_secret, sizeof c.turn_secret);
    return s->hub ? 0 : fail(s, "the hub does not start: %s", strerror(errno));
}

static int open_edge(struct server *s, const struct hub_options *o)
{
    const char *why;
    struct ws_server_config c = {
        .loop = &s->loop,
        .listen = o->listen ? o->listen : DEFAULT_LISTEN,
        .mldsa_cert = buf_bytes(&s->certs.mldsa_cert),
        .mldsa_key = buf_bytes(&s->certs.mldsa_key),
        .ecdsa_cert = buf_bytes(&s->certs.ecdsa_cert),
        .ecdsa_key = buf_bytes(&s->certs.ecdsa_key),
        .connections = s->limits.connections + SOCKETS_EXTRA,
        .connections_per_ip = s->limits.connections_per_ip + SOCKETS_EXTRA,
    };
    s->edge = ws_server_new(&c, &edge_ops, s, &why);
    return s->edge ? 0 : fail(s, "%s", why);
}

static int open_loop(struct server *s)
{
    if (uv_loop_init(&s->loop) < 0)
        return fail(s, "no event loop: out of memory or of descriptors");
    s->loop_open = true;
    return 0;
}

static void open_handles(struct server *s)
{
    uv_timer_init(&s->loop, &s->tick);
    uv_timer_init(&s->loop, &s->goodbye);
    uv_signal_init(&s->loop, &s->sigint);
    uv_signal_init(&s->loop, &s->sigterm);
    s->tick.data = s->goodbye.data = s->sigint.data = s->sigterm.data = s;
    s->handles_open = true;
    uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    uv_signal_start(&s->sigint, on_signal, SIGINT);
    uv_signal_start(&s->sigterm, on_signal, SIGTERM);
}

static void say_ready(const struct server *s, const char *host)
{
    char line[HUB_HOST_MAX + 128];
    struct hub_address a = {.port = ws_server_port(s->edge), .pinned = true};
    snprintf(a.host, sizeof a.host, "%s", host);
    memcpy(a.fingerprint, s->certs.fingerprint, sizeof a.fingerprint);
    hub_address_write(line, sizeof line, &a);
    printf("hub ready %s\n", line);
    fflush(stdout);
    log_event(LOG_INFO, "hub-ready", "port=%u connections=%u", a.port, s->limits.connections);
    if (s->udp[0].u)
        log_event(LOG_INFO, "hub-udp", "port=%u other=%u", udp_local(s->udp[0].u).port,
                  s->udp[1].u ? udp_local(s->udp[1].u).port : 0);
    if (s->udp_missed)
        log_event(LOG_WARN, "no-udp",
                  "port=%u hint=\"the port is not free: nodes relay over TLS only; say --udp :PORT\"",
                  DEFAULT_UDP);
    if (s->few_descriptors)
        log_event(LOG_WARN, "few-descriptors",
                  "connections=%u hint=\"raise the limit of open files (ulimit -n)\"", s->limits.connections);
    if (s->certs.ecdsa_not_after < clock_unix_s() + 14 * 86400)
        log_event(LOG_WARN, "certificate-ends",
                  "not_after=%llu hint=\"renew the certificate that browsers see\"",
                  (unsigned long long)s->certs.ecdsa_not_after);
}

static int start(struct server *s, const struct hub_options *o)
{
    char host[HUB_HOST_MAX + 1];
    if (check_options(s, o) < 0 || open_state(s, o->state) < 0)
        return -1;
    raise_limits(s);
    host_name(host, sizeof host, o);
    if (hub_certs_open(&s->certs, o->state, host, o->cert, o->key, clock_unix_s(), s->why, sizeof s->why) < 0)
        return -1;
    if (open_turn(s, o) < 0 || open_store(s, o) < 0 || open_loop(s) < 0 || open_udp(s, o) < 0 ||
        open_hub(s) < 0 || open_edge(s, o) < 0)
        return -1;
    open_handles(s);
    say_ready(s, host);
    return 0;
}

static void stop(struct server *s)
{
    ws_server_free(s->edge);
    for (size_t i = 0; i < HUB_UDP_SOCKETS; i++)
        udp_close(s->udp[i].u);
    if (s->handles_open) {
        uv_close((uv_handle_t *)&s->tick, NULL);
        uv_close((uv_handle_t *)&s->goodbye, NULL);
        uv_close((uv_handle_t *)&s->sigint, NULL);
        uv_close((uv_handle_t *)&s->sigterm, NULL);
    }
    if (s->loop_open) {
        uv_run(&s->loop, UV_RUN_DEFAULT);
        uv_loop_close(&s->loop);
    }
    hub_free(s->hub);
    store_close(&s->store);
    hub_certs_done(&s->certs);
    if (s->lock >= 0)
        close(s->lock);
}

int hub_serve(const struct hub_options *o)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s) {
        fprintf(stderr, "warren: out of memory\n");
        return 1;
    }
    s->lock = -1;
    s->limits = o->limits;
    int rc = start(s, o);
    if (rc == 0)
        uv_run(&s->loop, UV_RUN_DEFAULT);
    else
        fprintf(stderr, "warren: %s\n", s->why);
    stop(s);
    wipe(s, sizeof *s);
    free(s);
    return rc == 0 ? 0 : 1;
}
