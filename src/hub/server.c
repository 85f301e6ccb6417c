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
#include "hub/cert.h"
#include "hub/store_timed_int.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/ws_server.h"
#include "wire/invite.h"

#define DEFAULT_LISTEN "[::]:443"
#define TICK_MS        1000
#define GOODBYE_MS     700 /* for the last messages after SIGTERM */
#define FDS_RESERVED   64  /* store, log, library */

/* Sockets beyond the hub's own limit: requests over HTTP, and those that have not opened their WebSocket yet.
 */
#define SOCKETS_EXTRA 64

struct server {
    struct hub *hub;
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

static void edge_metrics(const struct server *s, struct buf *out)
{
    struct ws_server_stats st;
    struct rusage use;
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
    if (o->udp && *o->udp)
        return fail(
            s, "--udp: this version has no UDP relay and no STUN yet; leave --udp out, nodes relay over TLS");
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

static int open_hub(struct server *s)
{
    struct hub_config c = {
        .limits = s->limits,
        .store = store_timed(&s->timed, s->store, clock_now),
        .rng = rng_system(),
        .unix_s = clock_unix_s(),
    };
    s->hub = hub_new(&c, clock_now());
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
    if (uv_loop_init(&s->loop) < 0)
        return fail(s, "no event loop: out of memory or of descriptors");
    s->loop_open = true;
    s->edge = ws_server_new(&c, &edge_ops, s, &why);
    return s->edge ? 0 : fail(s, "%s", why);
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
    if (open_store(s, o) < 0 || open_hub(s) < 0 || open_edge(s, o) < 0)
        return -1;
    open_handles(s);
    say_ready(s, host);
    return 0;
}

static void stop(struct server *s)
{
    ws_server_free(s->edge);
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
    free(s);
    return rc == 0 ? 0 : 1;
}
