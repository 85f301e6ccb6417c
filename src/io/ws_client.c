#include "io/ws_client.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/log.h"
#include "base/text.h"
#include "crypto/tls.h"
#include "io/dial.h"
#include "io/lws_log.h"

#define SERVICE_BUFFER   16384 /* of libwebsockets: one TLS record */
#define SOCKETS          8     /* this connection, the dying one before it, the library's own pipe */
#define CLOSE_REASON_MAX 123   /* RFC 6455 section 5.5: a frame of 125 bytes, less the code */
#define FREE_TURNS       64    /* of the loop, far more than the handles need to close */

enum stage { IDLE, DIALING, TLS, UPGRADING, OPEN };

struct ws_client {
    uv_loop_t *loop;
    struct ws_client_ops ops;
    void *arg;
    struct lws_context *lws;
    struct lws_vhost *vhost; /* carries tls; both fit pinned and fingerprint */
    struct ssl_ctx_st *tls;
    bool pinned;
    uint8_t fingerprint[32];
    enum stage stage;
    unsigned turn; /* grows with every connection that was let go */
    struct lws *wsi;
    struct dial *dial;
    uv_timer_t timer;
    bool timer_closed;
    struct hub_address hub;
    struct net_addr addresses[WS_CLIENT_ADDRESSES_MAX]; /* of the hub, the one in use first */
    size_t address_count;
    char path[64];
    struct buf rx, tx; /* tx begins with LWS_PRE bytes for the library */
    char why[512];
};

/* "[::1]:443": what the Host header and messages need. */
static const char *where(const struct ws_client *w, char out[300])
{
    snprintf(out, 300, strchr(w->hub.host, ':') ? "[%s]:%u" : "%s:%u", w->hub.host, w->hub.port);
    return out;
}

/* Forgets the connection; what the library still says about it is ignored from now on. */
static void let_go(struct ws_client *w)
{
    dial_cancel(w->dial);
    w->dial = NULL;
    w->wsi = NULL;
    w->stage = IDLE;
    w->turn++;
    uv_timer_stop(&w->timer);
    buf_done(&w->rx);
    buf_done(&w->tx);
}

static void down(struct ws_client *w, const char *why)
{
    if (w->stage == IDLE)
        return;
    char copy[sizeof w->why];
    snprintf(copy, sizeof copy, "%s", why);
    let_go(w);
    w->ops.down(w->arg, copy);
}

/* The library closes the socket at its next turn; until then it may still call back for it. */
static void drop_socket(struct ws_client *w)
{
    struct lws *wsi = w->wsi;
    w->wsi = NULL;
    if (wsi)
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

/* Reported from the loop, because the caller is still inside one of our functions. */
static void down_later_cb(uv_timer_t *t)
{
    struct ws_client *w = t->data;
    down(w, w->why);
}

static void down_later(struct ws_client *w, const char *why)
{
    snprintf(w->why, sizeof w->why, "%s", why);
    uv_timer_start(&w->timer, down_later_cb, 0, 0);
}

static void deadline_cb(uv_timer_t *t)
{
    struct ws_client *w = t->data;
    char at[300], why[400];
    snprintf(why, sizeof why, "no answer from %s within %d seconds", where(w, at), WS_CLIENT_TIMEOUT_S);
    drop_socket(w);
    down(w, why);
}

static void failed_to_open(struct ws_client *w, struct lws *wsi, const char *said)
{
    char at[300], why[512];
    const char *tls = tls_last_error();
    if (w->stage == UPGRADING) {
        unsigned status = lws_http_client_http_response(wsi);
        if (status)
            snprintf(why, sizeof why, "%s does not serve a Warren hub (HTTP status %u)", where(w, at),
                     status);
        else
            snprintf(why, sizeof why, "%s closed the connection instead of opening a WebSocket",
                     where(w, at));
    } else if (tls && *tls) {
        snprintf(why, sizeof why, "%s", tls);
    } else {
        log_event(LOG_DEBUG, "no-tls", "library=%s", said ? said : "");
        snprintf(why, sizeof why, "%s does not speak TLS, or hung up", where(w, at));
    }
    down(w, why);
}

static int opened(struct ws_client *w, struct lws *wsi)
{
    uint8_t binding[TLS_BINDING_LEN];
    uv_timer_stop(&w->timer);
    if (tls_binding(lws_get_ssl(wsi), binding)) {
        w->wsi = NULL;
        down(w, "the TLS connection has no channel binding");
        return -1;
    }
    w->stage = OPEN;
    w->ops.up(w->arg, binding);
    return 0;
}

static void deliver(struct ws_client *w, struct lws *wsi, uint8_t *p, size_t n)
{
    if (lws_frame_is_binary(wsi))
        w->ops.binary(w->arg, p, n);
    else
        w->ops.text(w->arg, bytes_of(p, n));
}

static int received(struct ws_client *w, struct lws *wsi, uint8_t *p, size_t n)
{
    bool last = lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi);
    if (last && !w->rx.n) {
        deliver(w, wsi, p, n);
        return 0;
    }
    if (buf_add(&w->rx, bytes_of(p, n))) {
        w->wsi = NULL;
        down(w, "the hub sent a message that is too long");
        return -1;
    }
    if (!last)
        return 0;
    /* The owner may close the connection, and with it the buffer, while it looks at the message. */
    struct buf whole = w->rx;
    buf_init(&w->rx, WS_CLIENT_MESSAGE_MAX);
    deliver(w, wsi, whole.p, whole.n);
    buf_done(&whole);
    return 0;
}

static int writable(struct ws_client *w, struct lws *wsi)
{
    bool binary = false;
    buf_clear(&w->tx);
    if (!buf_room(&w->tx, LWS_PRE))
        return 0;
    buf_grow(&w->tx, LWS_PRE);
    if (!w->ops.take(w->arg, &w->tx, &binary)) {
        if (w->wsi == wsi)
            buf_done(&w->tx); /* idle connections keep no buffer */
        return 0;
    }
    if (w->wsi != wsi) /* closed by its owner meanwhile */
        return -1;
    size_t n = w->tx.n - LWS_PRE;
    if (lws_write(wsi, w->tx.p + LWS_PRE, n, binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < (int)n)
        return -1; /* reported by LWS_CALLBACK_CLIENT_CLOSED */
    lws_callback_on_writable(wsi);
    return 0;
}

static void closed(struct ws_client *w)
{
    char at[300], why[400];
    snprintf(why, sizeof why, "%s closed the connection", where(w, at));
    down(w, why);
}

/* A close frame of the hub says why in words ("another connection of this node", "shutting down"). */
static void closing(struct ws_client *w, const uint8_t *p, size_t n)
{
    static const char said[] = "the hub closed the connection";
    char why[sizeof said + 2 + CLOSE_REASON_MAX];
    if (n <= 2)
        return;
    struct bytes words = bytes_of(p + 2, n - 2);
    if (words.n <= CLOSE_REASON_MAX && utf8_valid(words) && !memchr(words.p, 0, words.n))
        snprintf(why, sizeof why, "%s: %.*s", said, (int)words.n, (const char *)words.p);
    else
        snprintf(why, sizeof why, "%s", said);
    w->wsi = NULL;
    down(w, why);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
    struct lws_context *context = lws_get_context(wsi);
    struct ws_client *w = context ? lws_context_user(context) : NULL;
    (void)user;
    if (!w || !w->wsi || wsi != w->wsi) /* the library's own, or a connection that was let go */
        return reason == LWS_CALLBACK_CLIENT_RECEIVE || reason == LWS_CALLBACK_CLIENT_WRITEABLE ? -1 : 0;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        w->stage = UPGRADING;
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        failed_to_open(w, wsi, in);
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        return opened(w, wsi);
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return received(w, wsi, in, n);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return writable(w, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        closing(w, in, n);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        closed(w);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "warren", .callback = on_event, .rx_buffer_size = SERVICE_BUFFER},
    {0},
};

static const struct lws_extension no_extensions[] = {{0}};

static void fill_info(const struct ws_client *w, struct lws_context_creation_info *info)
{
    memset(info, 0, sizeof *info);
    info->port = CONTEXT_PORT_NO_LISTEN;
    info->protocols = protocols;
    info->extensions = no_extensions;
    info->options =
        LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info->gid = (gid_t)-1;
    info->uid = (uid_t)-1;
    info->http_proxy_address = ""; /* not the one of the environment: the hub's pin speaks of the hub */
    info->timeout_secs = WS_CLIENT_TIMEOUT_S;
    info->connect_timeout_secs = WS_CLIENT_TIMEOUT_S;
    info->pt_serv_buf_size = SERVICE_BUFFER;
    info->fd_limit_per_thread = SOCKETS;
    info->ka_time = 30; /* a path that died without a word is noticed below the hub's own pings, too */
    info->ka_probes = 3;
    info->ka_interval = 10;
    info->user = (void *)w;
}

struct ws_client *ws_client_new(struct uv_loop_s *loop, const struct ws_client_ops *ops, void *arg)
{
    struct ws_client *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->loop = loop;
    w->ops = *ops;
    w->arg = arg;
    buf_init(&w->rx, WS_CLIENT_MESSAGE_MAX);
    buf_init(&w->tx, LWS_PRE + WS_CLIENT_MESSAGE_MAX);
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    lws_log_setup();
    struct lws_context_creation_info info;
    void *loops[] = {loop};
    fill_info(w, &info);
    info.foreign_loops = loops;
    info.pcontext = &w->lws;
    w->lws = lws_create_context(&info);
    if (!w->lws) {
        ws_client_free(w);
        return NULL;
    }
    return w;
}

static void timer_closed(uv_handle_t *h)
{
    ((struct ws_client *)h->data)->timer_closed = true;
}

void ws_client_free(struct ws_client *w)
{
    if (!w)
        return;
    drop_socket(w);
    let_go(w);
    uv_close((uv_handle_t *)&w->timer, timer_closed);
    /* Each step of the library's farewell waits for handles that close in the loop; it clears w->lws at the
     * last. */
    for (int turn = 0; turn < FREE_TURNS && (w->lws || !w->timer_closed); turn++) {
        if (w->lws && turn % 8 == 0)
            lws_context_destroy(w->lws);
        uv_run(w->loop, UV_RUN_NOWAIT);
    }
    tls_ctx_free(w->tls);
    free(w);
}

/* The library binds the TLS context to a virtual host: one for each way in which a certificate is judged. */
static int setup_tls(struct ws_client *w)
{
    const struct hub_address *hub = &w->hub;
    if (w->vhost && w->pinned == hub->pinned &&
        (!hub->pinned || !memcmp(w->fingerprint, hub->fingerprint, 32)))
        return 0;
    if (w->vhost)
        lws_vhost_destroy(w->vhost);
    w->vhost = NULL;
    tls_ctx_free(w->tls); /* connections that still end hold references of their own */
    w->tls = tls_client_ctx_new(hub->pinned ? hub->fingerprint : NULL);
    if (!w->tls)
        return -EIO;
    struct lws_context_creation_info info;
    fill_info(w, &info);
    info.vhost_name = "hub";
    info.provided_client_ssl_ctx = w->tls;
    w->vhost = lws_create_vhost(w->lws, &info);
    if (!w->vhost)
        return -EIO;
    w->pinned = hub->pinned;
    memcpy(w->fingerprint, hub->fingerprint, 32);
    return 0;
}

static void open_socket(struct ws_client *w, const char *numeric)
{
    char host[300];
    struct lws_client_connect_info info = {0};
    info.context = w->lws;
    info.vhost = w->vhost;
    info.address = numeric;
    info.port = w->hub.port;
    info.path = w->path;
    info.host = where(w, host);
    info.protocol = NULL;
    info.local_protocol_name = protocols[0].name;
    info.alpn = "http/1.1";
    info.pwsi = &w->wsi;
    info.ssl_connection = LCCSCF_USE_SSL;
    if (w->hub.pinned) /* the fingerprint alone decides, in the verify callback of our context */
        info.ssl_connection |= LCCSCF_ALLOW_SELFSIGNED | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK |
                               LCCSCF_ALLOW_EXPIRED | LCCSCF_ALLOW_INSECURE;
    w->stage = TLS;
    unsigned turn = w->turn;
    if (!lws_client_connect_via_info(&info) && w->turn == turn) {
        w->wsi = NULL;
        down_later(w, "cannot open a connection: out of memory or of descriptors");
    }
}

/* All that the name resolved to, the one that answered in front. */
static void keep_addresses(struct ws_client *w, const struct dial *dial, const char *numeric)
{
    struct net_addr used;
    w->address_count = dial_addresses(dial, w->addresses, WS_CLIENT_ADDRESSES_MAX);
    if (net_addr_read(&used, numeric))
        return;
    for (size_t i = 1; i < w->address_count; i++)
        if (net_ip_equal(&w->addresses[i], &used)) {
            struct net_addr first = w->addresses[i];
            memmove(&w->addresses[1], &w->addresses[0], i * sizeof first);
            w->addresses[0] = first;
        }
}

static void dialed(void *arg, const struct sockaddr *addr, const char *why)
{
    struct ws_client *w = arg;
    char numeric[64];
    struct dial *dial = w->dial;
    w->dial = NULL;
    if (!addr) {
        down(w, why);
        return;
    }
    socklen_t n = addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(addr, n, numeric, sizeof numeric, NULL, 0, NI_NUMERICHOST)) {
        down(w, "the hub's address cannot be read");
        return;
    }
    keep_addresses(w, dial, numeric);
    open_socket(w, numeric);
}

int ws_client_connect(struct ws_client *w, const struct hub_address *hub, const char *path)
{
    ws_client_close(w);
    w->hub = *hub;
    snprintf(w->path, sizeof w->path, "%s", path);
    int rc = setup_tls(w);
    if (rc)
        return rc;
    buf_init(&w->rx, WS_CLIENT_MESSAGE_MAX);
    buf_init(&w->tx, LWS_PRE + WS_CLIENT_MESSAGE_MAX);
    w->stage = DIALING;
    if (!hub->pinned && strchr(hub->host, ':')) {
        /* The library cuts the host name at the first colon, and would then check no name at all. */
        down_later(w, "a hub at an IPv6 address needs its certificate's fingerprint: "
                      "https://[ADDRESS]:PORT#sha256:HEX");
        return 0;
    }
    w->dial = dial_start(w->loop, hub->host, hub->port, dialed, w);
    if (!w->dial) {
        w->stage = IDLE;
        return -ENOMEM;
    }
    uv_timer_start(&w->timer, deadline_cb, WS_CLIENT_TIMEOUT_S * 1000, 0);
    return 0;
}

void ws_client_want_write(struct ws_client *w)
{
    if (w->stage == OPEN && w->wsi)
        lws_callback_on_writable(w->wsi);
}

void ws_client_close(struct ws_client *w)
{
    if (w->stage == IDLE)
        return;
    drop_socket(w);
    let_go(w);
}

bool ws_client_local_address(const struct ws_client *w, struct sockaddr_storage *out)
{
    socklen_t n = sizeof *out;
    return w->stage == OPEN && w->wsi && !getsockname(lws_get_socket_fd(w->wsi), (struct sockaddr *)out, &n);
}

size_t ws_client_addresses(const struct ws_client *w, struct net_addr *out, size_t cap)
{
    size_t n = w->address_count < cap ? w->address_count : cap;
    memcpy(out, w->addresses, n * sizeof *out);
    return n;
}
