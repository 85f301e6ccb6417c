#include "io/ws_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/map.h"
#include "crypto/rand.h"
#include "crypto/tls.h"
#include "io/lws_log.h"

#define SERVICE_BUFFER   16384 /* of libwebsockets, shared: one TLS record */
#define RX_BUFFER        4096  /* of libwebsockets, per WebSocket: an idle one has it, too */
#define TX_MAX           (WS_SERVER_BINARY_MAX + 16) /* what it hands to TLS at once: a message and its header */
#define UNSENT_MAX       131072 /* bytes that the kernel takes before what has been sent is known to have left */
#define HEADER_MAX       4096 /* of one request */
#define HTTP_CHUNK       16384
#define PATH_MAX_LEN     512
#define BACKLOG          1024
#define ACCEPTS_PER_TURN 64
#define FREE_TURNS       100000 /* of the loop, far more than the handles need to close */
#define IP_KEY_LEN       16
#define CLOSE_TOO_LARGE  1009
#define CLOSE_TRY_LATER  1013

/* Why a socket lives on: each one is closed that stays too long before WS_OPEN. */
enum stage { ARRIVED, REQUESTED, WS_OPEN };

/* Sockets of one address. */
struct ip_count {
    uint8_t key[IP_KEY_LEN];
    uint32_t n;
};

struct sock {
    struct ws_server *server;
    struct lws *wsi; /* NULL once libwebsockets has let go of it */
    struct ip_count *ip;
    struct net_addr remote;
    enum stage stage;
    uint64_t conn; /* 0: no WebSocket that the owner knows of */
    uint64_t deadline_ms;
    struct sock *prev, *next; /* in order of arrival, while not WS_OPEN: also the order of the deadlines */
    struct buf rx;            /* a message in fragments, or the answer to a request */
    size_t sent;              /* of the answer */
    bool close_wanted, close_said;
    uint16_t close_code;
    char close_reason[48];
};

struct ws_server {
    uv_loop_t *loop;
    struct ws_server_ops ops;
    void *arg;
    struct ws_server_config config;
    struct lws_context *lws;
    struct lws_vhost *vhost;
    int fd; /* that listens, or -1 */
    uint16_t port;
    uv_poll_t poll;
    uv_timer_t timer;
    int handles; /* of ours that are still open */
    bool polling;
    int tls_rc; /* of tls_server_setup */
    uint64_t last_conn;
    struct map *conns, *ips;
    struct sock *first, *last;
    struct buf tx; /* begins with LWS_PRE bytes for the library, which copies what the socket does not take */
    struct ws_server_stats stats;
};

static char why_text[256];

static const char *because(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *because(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why_text, sizeof why_text, fmt, ap);
    va_end(ap);
    return why_text;
}

/* ---- sockets ---- */

static void unqueue(struct sock *k)
{
    struct ws_server *s = k->server;
    if (k->prev)
        k->prev->next = k->next;
    else if (s->first == k)
        s->first = k->next;
    if (k->next)
        k->next->prev = k->prev;
    else if (s->last == k)
        s->last = k->prev;
    k->prev = k->next = NULL;
}

static void enqueue(struct sock *k)
{
    struct ws_server *s = k->server;
    k->deadline_ms = uv_now(s->loop) + WS_SERVER_TIMEOUT_S * 1000;
    k->prev = s->last;
    if (s->last)
        s->last->next = k;
    else
        s->first = k;
    s->last = k;
}

static void ip_key(uint8_t key[IP_KEY_LEN], const struct net_addr *a)
{
    memset(key, 0, IP_KEY_LEN);
    if (a->family == 6) {
        memcpy(key, a->ip, 8);
    } else {
        key[10] = key[11] = 0xff;
        memcpy(key + 12, a->ip, 4);
    }
}

static struct ip_count *ip_count_get(struct ws_server *s, const struct net_addr *a)
{
    uint8_t key[IP_KEY_LEN];
    ip_key(key, a);
    struct ip_count *c = map_get(s->ips, key);
    if (c)
        return c;
    c = calloc(1, sizeof *c);
    if (c && map_put(s->ips, key, c) < 0) {
        free(c);
        return NULL;
    }
    if (c)
        memcpy(c->key, key, sizeof key);
    return c;
}

static void ip_count_drop(struct ws_server *s, struct ip_count *c)
{
    if (--c->n > 0)
        return;
    map_del(s->ips, c->key);
    free(c);
}

/* The owner hears of the end once, and before the memory goes. */
static void sock_ended(struct sock *k)
{
    struct ws_server *s = k->server;
    uint64_t conn = k->conn;
    k->conn = 0;
    if (!conn)
        return;
    map_del(s->conns, &conn);
    s->ops.closed(s->arg, conn);
}

static void sock_free(struct sock *k)
{
    struct ws_server *s = k->server;
    sock_ended(k);
    unqueue(k);
    if (k->stage == ARRIVED)
        s->stats.tls_failed++;
    ip_count_drop(s, k->ip);
    buf_done(&k->rx);
    s->stats.sockets--;
    free(k);
}

/* An IPv4 address inside an IPv6 one becomes what it is. */
static void addr_of(struct net_addr *out, const struct sockaddr_storage *ss)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memset(out, 0, sizeof *out);
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)ss;
        const uint8_t *ip = in6->sin6_addr.s6_addr;
        bool v4 = memcmp(ip, mapped, sizeof mapped) == 0;
        out->family = v4 ? 4 : 6;
        memcpy(out->ip, v4 ? ip + 12 : ip, v4 ? 4 : 16);
        out->port = ntohs(in6->sin6_port);
    } else {
        const struct sockaddr_in *in = (const void *)ss;
        out->family = 4;
        memcpy(out->ip, &in->sin_addr, 4);
        out->port = ntohs(in->sin_port);
    }
}

/* A stranger's socket costs this much and no more until TLS stands. */
static struct sock *sock_new(struct ws_server *s, const struct net_addr *remote)
{
    struct ip_count *ip = ip_count_get(s, remote);
    struct sock *k = ip ? calloc(1, sizeof *k) : NULL;
    if (ip)
        ip->n++;
    if (!k) {
        if (ip)
            ip_count_drop(s, ip);
        return NULL;
    }
    k->server = s;
    k->ip = ip;
    k->remote = *remote;
    buf_init(&k->rx, WS_SERVER_BINARY_MAX);
    s->stats.sockets++;
    enqueue(k);
    return k;
}

static void adopt(struct ws_server *s, int fd, const struct net_addr *remote)
{
    struct sock *k = NULL;
    struct ip_count *ip = ip_count_get(s, remote);
    if (s->stats.sockets >= s->config.connections) {
        s->stats.refused_total++;
    } else if (ip && ip->n >= s->config.connections_per_ip) {
        s->stats.refused_ip++;
    } else {
        k = sock_new(s, remote);
    }
    if (!k) {
        if (ip && ip->n == 0) {
            ip->n = 1;
            ip_count_drop(s, ip);
        }
        close(fd);
        return;
    }
    int on = 1, unsent = UNSENT_MAX;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* What the kernel has taken can neither be dropped nor overtaken: it shall not hoard. */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    s->stats.accepted++;
    lws_adopt_desc_t d = {
        .vh = s->vhost, .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | LWS_ADOPT_ALLOW_SSL, .opaque = k};
    d.fd.sockfd = fd;
    struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&d);
    /* On failure the library closes the socket and, where it has come that far, tells of the end later
     * (on_event): until then the deadline keeps what is left. */
    if (wsi)
        k->wsi = wsi;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct ws_server *s = poll->data;
    (void)events;
    for (int i = 0; status == 0 && s->fd >= 0 && i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage ss;
        socklen_t n = sizeof ss;
        struct net_addr remote;
        int fd = accept4(s->fd, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            /* Out of descriptors the backlog stays readable: look again at the next tick of the timer. */
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                uv_poll_stop(&s->poll);
                s->polling = false;
            }
            return;
        }
        addr_of(&remote, &ss);
        adopt(s, fd, &remote);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct ws_server *s = t->data;
    uint64_t now = uv_now(s->loop);
    while (s->first && s->first->deadline_ms <= now) {
        struct sock *k = s->first;
        unqueue(k);
        if (k->wsi)
            lws_set_timeout(k->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        else
            sock_free(k); /* was never adopted */
    }
    if (s->fd >= 0 && !s->polling)
        s->polling = uv_poll_start(&s->poll, UV_READABLE, on_acceptable) == 0;
}

/* ---- requests ---- */

static const char *method_name(int method)
{
    bool get = method == LWSHUMETH_GET, head = method == LWSHUMETH_HEAD;
    return get ? "GET" : head ? "HEAD" : method == LWSHUMETH_POST ? "POST" : "OTHER";
}

/* "Bearer TOKEN" to TOKEN. */
static const char *bearer_of(struct lws *wsi, char *out, int cap)
{
    static const char scheme[] = "Bearer ";
    int n = lws_hdr_copy(wsi, out, cap, WSI_TOKEN_HTTP_AUTHORIZATION);
    if (n <= (int)sizeof scheme - 1 || strncasecmp(out, scheme, sizeof scheme - 1) != 0)
        return NULL;
    return out + sizeof scheme - 1;
}

static bool path_of(struct lws *wsi, char out[PATH_MAX_LEN], int *method)
{
    char *uri, query[PATH_MAX_LEN / 2];
    int len;
    *method = lws_http_get_uri_and_method(wsi, &uri, &len);
    if (*method < 0 || len <= 0 || len > PATH_MAX_LEN / 2)
        return false;
    int n = lws_hdr_copy(wsi, query, sizeof query, WSI_TOKEN_HTTP_URI_ARGS);
    if (n < 0)
        return false;
    snprintf(out, PATH_MAX_LEN, "%.*s%s%s", len, uri, n > 0 ? "?" : "", n > 0 ? query : "");
    return true;
}

static int add_header(struct lws *wsi, const char *name, const char *value, uint8_t **p, uint8_t *end)
{
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name, (const unsigned char *)value,
                                       (int)strlen(value), p, end);
}

static int send_head(struct lws *wsi, const struct ws_server_response *rs)
{
    uint8_t head[LWS_PRE + 1024], *start = head + LWS_PRE, *p = start, *end = head + sizeof head - 1;
    return lws_add_http_common_headers(wsi, (unsigned)rs->status, rs->content_type, rs->body.n, &p, end) ||
           add_header(wsi, "connection:", "close", &p, end) ||
           add_header(wsi, "cache-control:", "no-store", &p, end) ||
           add_header(wsi, "x-content-type-options:", "nosniff", &p, end) ||
           add_header(wsi, "content-security-policy:", "default-src 'none'", &p, end) ||
           lws_finalize_write_http_header(wsi, start, &p, end);
}

/* 0: the answer is on its way, -1: close. */
static int on_request(struct sock *k, struct lws *wsi)
{
    struct ws_server *s = k->server;
    char path[PATH_MAX_LEN], token[2048];
    int method;
    k->stage = REQUESTED;
    s->stats.requests++;
    if (!path_of(wsi, path, &method))
        return -1;
    struct ws_server_request rq = {.method = method_name(method),
                                   .path = path,
                                   .bearer = bearer_of(wsi, token, sizeof token),
                                   .remote = k->remote};
    struct ws_server_response rs = {.status = 500, .content_type = "text/plain"};
    s->ops.http(s->arg, &rq, &rs);
    explicit_bzero(token, sizeof token);
    bool failed = send_head(wsi, &rs);
    buf_done(&k->rx);
    k->rx = rs.body;
    k->sent = 0;
    if (failed)
        return -1;
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_request_writable(struct sock *k, struct lws *wsi)
{
    uint8_t chunk[LWS_PRE + HTTP_CHUNK];
    size_t n = k->rx.n - k->sent;
    if (n == 0)
        return -1; /* all of it has left */
    if (n > HTTP_CHUNK)
        n = HTTP_CHUNK;
    memcpy(chunk + LWS_PRE, k->rx.p + k->sent, n);
    bool last = k->sent + n == k->rx.n;
    if (lws_write(wsi, chunk + LWS_PRE, n, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < (int)n)
        return -1;
    k->sent += n;
    lws_callback_on_writable(wsi);
    return 0;
}

/* ---- WebSockets ---- */

static bool upgrade_allowed(struct sock *k, struct lws *wsi)
{
    char path[PATH_MAX_LEN];
    int method;
    return path_of(wsi, path, &method) && strcmp(path, WS_SERVER_PATH) == 0 && k->stage == ARRIVED;
}

static int close_with(struct lws *wsi, uint16_t code, const char *reason)
{
    lws_close_reason(wsi, (enum lws_close_status)code, (unsigned char *)(uintptr_t)reason, strlen(reason));
    return -1;
}

static int on_open(struct sock *k, struct lws *wsi)
{
    struct ws_server *s = k->server;
    uint8_t binding[TLS_BINDING_LEN];
    k->wsi = wsi;
    k->stage = WS_OPEN;
    unqueue(k);
    uint64_t conn = ++s->last_conn;
    if (tls_binding(lws_get_ssl(wsi), binding) < 0 || map_put(s->conns, &conn, k) < 0)
        return close_with(wsi, CLOSE_TRY_LATER, "try later");
    if (s->ops.open(s->arg, conn, &k->remote, binding) != 0) {
        map_del(s->conns, &conn);
        return close_with(wsi, CLOSE_TRY_LATER, "try later");
    }
    k->conn = conn;
    s->stats.upgrades++;
    /* What the owner wanted to say while it was opened. */
    lws_callback_on_writable(wsi);
    return 0;
}

static void deliver(struct sock *k, struct bytes message, bool binary)
{
    struct ws_server *s = k->server;
    if (binary)
        s->ops.binary(s->arg, k->conn, message);
    else
        s->ops.text(s->arg, k->conn, message);
}

static int on_receive(struct sock *k, struct lws *wsi, const uint8_t *p, size_t n)
{
    bool binary = lws_frame_is_binary(wsi);
    size_t max = binary ? WS_SERVER_BINARY_MAX : WS_SERVER_TEXT_MAX;
    bool whole = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
    if (!k->conn || k->close_wanted)
        return 0;
    size_t announced = n + lws_remaining_packet_payload(wsi);
    /* Refused by what is announced, before it is carried. */
    if (k->rx.n + announced > max) {
        k->server->stats.too_large++;
        return close_with(wsi, CLOSE_TOO_LARGE, "too large");
    }
    if (whole && k->rx.n == 0) {
        deliver(k, bytes_of(p, n), binary);
        return 0;
    }
    if (!buf_room(&k->rx, announced) || buf_add(&k->rx, bytes_of(p, n)) < 0)
        return close_with(wsi, CLOSE_TRY_LATER, "try later");
    if (!whole)
        return 0;
    struct buf message = k->rx;
    buf_init(&k->rx, WS_SERVER_BINARY_MAX);
    deliver(k, buf_bytes(&message), binary);
    buf_done(&message); /* idle connections keep no buffer */
    return 0;
}

/* Sends what the owner has as long as the socket has room, but not for ever: others wait, too. */
static int on_writable(struct sock *k, struct lws *wsi)
{
    struct ws_server *s = k->server;
    for (size_t sent = 0; k->conn && sent < WS_SERVER_TURN;) {
        bool binary = false;
        buf_clear(&s->tx);
        if (!buf_room(&s->tx, LWS_PRE))
            break;
        buf_grow(&s->tx, LWS_PRE);
        if (!s->ops.take(s->arg, k->conn, &s->tx, &binary)) {
            if (k->close_wanted && !k->close_said)
                lws_set_timer_usecs(wsi, 1); /* on_close_due */
            return 0;
        }
        size_t n = s->tx.n - LWS_PRE;
        if (lws_write(wsi, s->tx.p + LWS_PRE, n, binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < (int)n)
            return -1;
        sent += n;
        if (lws_send_pipe_choked(wsi))
            break;
    }
    if (k->conn)
        lws_callback_on_writable(wsi);
    return 0;
}

/* The library takes a refusal to go on writing for a broken socket and drops it without a close frame; told
 * so by a timer it says goodbye and waits for the answer. */
static int on_close_due(struct sock *k, struct lws *wsi)
{
    bool due = k->conn && k->close_wanted && !k->close_said;
    k->close_said |= due;
    return due ? close_with(wsi, k->close_code, k->close_reason) : 0;
}

void ws_server_want_write(struct ws_server *s, uint64_t conn)
{
    struct sock *k = map_get(s->conns, &conn);
    if (k && k->wsi)
        lws_callback_on_writable(k->wsi);
}

void ws_server_close(struct ws_server *s, uint64_t conn, uint16_t code, const char *reason)
{
    struct sock *k = map_get(s->conns, &conn);
    if (!k || k->close_wanted)
        return;
    k->close_wanted = true;
    k->close_code = code;
    snprintf(k->close_reason, sizeof k->close_reason, "%s", reason);
    enqueue(k); /* who does not take it in time is cut off */
    if (k->wsi)
        lws_callback_on_writable(k->wsi);
}

/* ---- the library's callback ---- */

static int on_destroy(struct sock *k, struct lws *wsi)
{
    lws_set_opaque_user_data(wsi, NULL);
    k->wsi = NULL;
    sock_free(k);
    return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
    (void)user;
    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {
        struct ws_server *s = lws_context_user(lws_get_context(wsi));
        s->tls_rc = tls_server_setup(user, s->config.mldsa_cert, s->config.mldsa_key, s->config.ecdsa_cert,
                                     s->config.ecdsa_key);
        return s->tls_rc < 0;
    }
    struct sock *k = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (!k) /* the library's own */
        return 0;
    switch (reason) {
    case LWS_CALLBACK_WSI_DESTROY:
        return on_destroy(k, wsi);
    case LWS_CALLBACK_HTTP:
        return on_request(k, wsi);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return on_request_writable(k, wsi);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return in && strcmp(in, "websocket") == 0 ? 0 : -1;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return !upgrade_allowed(k, wsi);
    case LWS_CALLBACK_ESTABLISHED:
        return on_open(k, wsi);
    case LWS_CALLBACK_RECEIVE:
        return on_receive(k, wsi, in, n);
    case LWS_CALLBACK_RECEIVE_PONG:
        if (k->conn)
            k->server->ops.alive(k->server->arg, k->conn);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(k, wsi);
    case LWS_CALLBACK_TIMER:
        return on_close_due(k, wsi);
    case LWS_CALLBACK_CLOSED:
        sock_ended(k);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "warren", .callback = on_event, .rx_buffer_size = RX_BUFFER, .tx_packet_size = TX_MAX},
    {0},
};

static const struct lws_extension no_extensions[] = {{0}};

/* ---- birth and death ---- */

int ws_server_listen_split(const char *listen, char *host, size_t cap, uint16_t *port)
{
    const char *colon = strrchr(listen, ':');
    char *end;
    if (!colon || colon[1] < '0' || colon[1] > '9')
        return -EINVAL;
    unsigned long p = strtoul(colon + 1, &end, 10);
    size_t n = (size_t)(colon - listen);
    if (*end || p > 65535)
        return -EINVAL;
    if (n > 0 && listen[0] == '[') {
        if (n < 3 || listen[n - 1] != ']')
            return -EINVAL;
        listen++;
        n -= 2;
    } else if (memchr(listen, ':', n)) {
        return -EINVAL; /* an IPv6 address needs its brackets */
    }
    if (n >= cap)
        return -EINVAL;
    memcpy(host, listen, n);
    host[n] = 0;
    *port = (uint16_t)p;
    return 0;
}

static int listen_on(const struct addrinfo *ai)
{
    int on = 1, off = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) /* both families behind [::] */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static const char *bind_error(int rc, const char *where)
{
    switch (-rc) {
    case EADDRINUSE:
        return because("%s is in use by another program; stop that or choose another port with --listen",
                       where);
    case EACCES:
        return because("no permission to listen on %s; ports below 1024 need root or CAP_NET_BIND_SERVICE, "
                       "or choose another one with --listen [::]:8443",
                       where);
    case EADDRNOTAVAIL:
        return because("this machine has no address %s; check --listen", where);
    default:
        return because("cannot listen on %s: %s", where, strerror(-rc));
    }
}

static int start_listening(struct ws_server *s, const char **why)
{
    char host[256], port_text[8];
    uint16_t port;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *ai;
    if (ws_server_listen_split(s->config.listen, host, sizeof host, &port) < 0) {
        *why =
            because("%s is no address to listen on; write HOST:PORT, [IPV6]:PORT or :PORT", s->config.listen);
        return -EINVAL;
    }
    snprintf(port_text, sizeof port_text, "%u", port);
    bool any = !host[0] || strcmp(host, "::") == 0;
    int rc = getaddrinfo(any ? "::" : host, port_text, &hints, &ai);
    if (rc != 0) {
        *why = because("cannot listen on %s: %s", s->config.listen, gai_strerror(rc));
        return -EINVAL;
    }
    s->fd = listen_on(ai);
    freeaddrinfo(ai);
    /* A kernel without IPv6. */
    if (s->fd == -EAFNOSUPPORT && any && getaddrinfo("0.0.0.0", port_text, &hints, &ai) == 0) {
        s->fd = listen_on(ai);
        freeaddrinfo(ai);
    }
    if (s->fd < 0) {
        *why = bind_error(s->fd, s->config.listen);
        return s->fd;
    }
    struct sockaddr_storage ss;
    struct net_addr bound;
    socklen_t n = sizeof ss;
    if (getsockname(s->fd, (struct sockaddr *)&ss, &n) < 0)
        return -errno;
    addr_of(&bound, &ss);
    s->port = bound.port;
    return 0;
}

static int start_lws(struct ws_server *s)
{
    void *loops[] = {s->loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .extensions = no_extensions,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .alpn = "http/1.1",
        .server_string = "warren",
        .timeout_secs = WS_SERVER_TIMEOUT_S,
        .keepalive_timeout = WS_SERVER_TIMEOUT_S,
        .max_http_header_data = HEADER_MAX,
        .pt_serv_buf_size = SERVICE_BUFFER,
        .ka_time = 60,
        .ka_probes = 3,
        .ka_interval = 10,
        .vhost_name = "hub",
        .foreign_loops = loops,
        .pcontext = &s->lws,
        .user = s,
    };
    lws_log_setup();
    s->lws = lws_create_context(&info);
    s->vhost = s->lws ? lws_create_vhost(s->lws, &info) : NULL;
    return s->vhost ? 0 : -EIO;
}

static void start_handles(struct ws_server *s)
{
    uv_timer_init(s->loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_timer, 1000, 1000);
    uv_poll_init(s->loop, &s->poll, s->fd);
    s->poll.data = s;
    s->polling = uv_poll_start(&s->poll, UV_READABLE, on_acceptable) == 0;
    s->handles = 2;
}

struct ws_server *ws_server_new(const struct ws_server_config *c, const struct ws_server_ops *ops, void *arg,
                                const char **why)
{
    struct ws_server *s = calloc(1, sizeof *s);
    struct rng rng = rng_system();
    *why = "out of memory";
    if (!s)
        return NULL;
    s->loop = c->loop;
    s->ops = *ops;
    s->arg = arg;
    s->config = *c;
    s->fd = -1;
    buf_init(&s->tx, LWS_PRE + WS_SERVER_BINARY_MAX);
    s->conns = map_new(sizeof(uint64_t), SIZE_MAX / 4, rng_u64(&rng));
    s->ips = map_new(IP_KEY_LEN, SIZE_MAX / 4, rng_u64(&rng));
    if (!s->conns || !s->ips || start_listening(s, why) < 0) {
        ws_server_free(s);
        return NULL;
    }
    if (start_lws(s) < 0) {
        *why = s->tls_rc < 0
                   ? "the certificate and its key cannot be used; check that they are PEM and belong together"
                   : "the TLS server does not start; run with -v to see why";
        ws_server_free(s);
        return NULL;
    }
    start_handles(s);
    return s;
}

uint16_t ws_server_port(const struct ws_server *s)
{
    return s->port;
}

void ws_server_stats(const struct ws_server *s, struct ws_server_stats *st)
{
    *st = s->stats;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct ws_server *s = h->data;
    s->handles--;
}

void ws_server_stop(struct ws_server *s)
{
    if (s->fd < 0)
        return;
    if (s->handles > 0)
        uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    close(s->fd);
    s->fd = -1;
}

void ws_server_free(struct ws_server *s)
{
    if (!s)
        return;
    ws_server_stop(s);
    if (s->handles > 0)
        uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    /* Each step of the library's farewell waits for handles that close in the loop; it clears s->lws at the
     * last. */
    for (int turn = 0; turn < FREE_TURNS && (s->lws || s->handles > 0); turn++) {
        if (s->lws && turn % 8 == 0)
            lws_context_destroy(s->lws);
        uv_run(s->loop, UV_RUN_NOWAIT);
    }
    while (s->first) /* sockets that the library never took */
        sock_free(s->first);
    map_free(s->conns);
    map_free(s->ips);
    buf_done(&s->tx);
    free(s);
}
