#include "io/ws_client.h"

#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/text.h"
#include "crypto/rand.h"
#include "crypto/tls.h"
#include "io/dial.h"
#include "io/lws_log.h"
#include "io/ws_frame.h"

#define SERVICE_BUFFER   16384  /* of libwebsockets */
#define RX_BUFFER        1024   /* of libwebsockets, which reads no message */
#define RECORD           16384  /* bytes of a TLS record */
#define READS_A_TURN     8      /* records */
#define TX_TURN          131072 /* bytes written in a turn */
#define UNSENT_MAX       131072 /* bytes that the kernel takes before what has been sent is known to have left */
#define SOCKETS          8      /* this connection, the dying one before it, the library's own pipe */
#define CLOSE_REASON_MAX 123    /* RFC 6455 section 5.5: a frame of 125 bytes, less the code */
#define FREE_TURNS       64     /* of the loop, far more than the handles need to close */

enum stage { IDLE, DIALING, TLS, UPGRADING, OPEN };

/* The open connection's socket, seen by a descriptor of our own. libwebsockets dials, makes TLS and the
 * upgrade; then it is told to read no more and we read, write and frame ourselves: its client looks at every
 * byte alone, which costs several times what TLS does. The SSL object stays its property: it is never touched
 * again once the connection was let go. Lives until libuv has closed it. */
struct wire {
    uv_poll_t poll;
    int fd;
    struct ws_client *client;
    struct ssl_st *ssl; /* NULL: let go */
};

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
    struct wire *wire; /* while OPEN */
    struct dial *dial;
    uv_timer_t timer;
    int handles; /* of ours that are not closed yet */
    struct rng rng;
    struct hub_address hub;
    struct net_addr addresses[WS_CLIENT_ADDRESSES_MAX]; /* of the hub, the one in use first */
    size_t address_count;
    char path[64];
    struct buf rx;      /* what came, from the beginning of a frame */
    struct buf message; /* of which some frames came and others did not */
    bool fragmented, binary;
    struct buf tx; /* a frame that TLS does not take yet, from tx_start on */
    size_t tx_start;
    uint8_t pong[WS_CONTROL_MAX]; /* what the last ping said */
    size_t pong_len;
    bool pong_due;
    char why[512];
};

/* "[::1]:443": what the Host header and messages need. */
static const char *where(const struct ws_client *w, char out[300])
{
    snprintf(out, 300, strchr(w->hub.host, ':') ? "[%s]:%u" : "%s:%u", w->hub.host, w->hub.port);
    return out;
}

static void wire_closed(uv_handle_t *h)
{
    struct wire *wire = h->data;
    wire->client->handles--;
    free(wire);
}

static void wire_close(struct wire *wire)
{
    if (!wire)
        return;
    wire->ssl = NULL;
    uv_close((uv_handle_t *)&wire->poll, wire_closed);
    close(wire->fd);
}

/* Forgets the connection; what the library still says about it is ignored from now on. */
static void let_go(struct ws_client *w)
{
    wire_close(w->wire);
    w->wire = NULL;
    dial_cancel(w->dial);
    w->dial = NULL;
    w->wsi = NULL;
    w->stage = IDLE;
    w->turn++;
    uv_timer_stop(&w->timer);
    buf_done(&w->rx);
    buf_done(&w->tx);
    buf_done(&w->message);
    w->fragmented = w->pong_due = false;
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
    if (!wsi)
        return;
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_cancel_service(
        w->lws); /* it looks at its timeouts when something happens, and to this socket nothing will */
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

/* ---- the open connection ---- */

static void broken(struct ws_client *w, const char *why)
{
    drop_socket(w);
    down(w, why);
}

static void closed(struct ws_client *w)
{
    char at[300], why[400];
    snprintf(why, sizeof why, "%s closed the connection", where(w, at));
    broken(w, why);
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct ws_client *w, int events)
{
    if (uv_poll_start(&w->wire->poll, events, on_ready) < 0)
        uv_poll_stop(
            &w->wire->poll); /* cannot fail for a descriptor that was taken once; the hub's pings end it */
}

/* A close frame of the hub says why in words ("another connection of this node", "shutting down"). It is
 * answered where nothing stands half written. */
static void closing(struct ws_client *w, const uint8_t *p, size_t n)
{
    static const char said[] = "the hub closed the connection";
    char why[sizeof said + 2 + CLOSE_REASON_MAX];
    uint8_t answer[WS_HEAD_MAX + 2];
    struct ws_head head = {.opcode = WS_CLOSE, .final = true, .masked = true, .length = n < 2 ? 0 : 2};
    rng_fill(&w->rng, head.mask, sizeof head.mask);
    size_t at = ws_head_write(answer, &head);
    memcpy(answer + at, p, head.length);
    ws_mask(answer + at, head.length, head.mask);
    if (w->tx.n == 0)
        (void)tls_write(w->wire->ssl, answer, at + head.length); /* lost: the hub's patience is short */
    struct bytes words = n > 2 ? bytes_of(p + 2, n - 2) : bytes_of(NULL, 0);
    if (words.n > 0 && utf8_valid(words) && !memchr(words.p, 0, words.n))
        snprintf(why, sizeof why, "%s: %.*s", said, (int)words.n, (const char *)words.p);
    else
        snprintf(why, sizeof why, "%s", said);
    broken(w, why);
}

static void deliver(struct ws_client *w, uint8_t *p, size_t n)
{
    if (w->binary)
        w->ops.binary(w->arg, p, n);
    else
        w->ops.text(w->arg, bytes_of(p, n));
}

static void data(struct ws_client *w, const struct ws_head *h, uint8_t *p)
{
    size_t n = (size_t)h->length;
    if ((h->opcode == WS_CONTINUATION) != w->fragmented) {
        broken(w, "the hub sent a message in pieces that do not fit together");
        return;
    }
    if (!w->fragmented)
        w->binary = h->opcode == WS_BINARY;
    if (h->final && !w->fragmented) {
        deliver(w, p, n);
        return;
    }
    w->fragmented = !h->final;
    if (buf_add(&w->message, bytes_of(p, n)) < 0) {
        broken(w, "the hub sent a message that is too long");
    } else if (h->final) {
        /* The owner may close the connection, and with it the buffer, while it looks at the message. */
        struct buf whole = w->message;
        buf_init(&w->message, WS_CLIENT_MESSAGE_MAX);
        deliver(w, whole.p, whole.n);
        buf_done(&whole);
    }
}

static void frame(struct ws_client *w, const struct ws_head *h, uint8_t *p)
{
    switch (h->opcode) {
    case WS_CLOSE:
        closing(w, p, (size_t)h->length);
        return;
    case WS_PING: /* RFC 6455 section 5.5.3: of several the last alone is answered */
        memcpy(w->pong, p, (size_t)h->length);
        w->pong_len = (size_t)h->length;
        w->pong_due = true;
        watch(w, UV_READABLE | UV_WRITABLE);
        return;
    case WS_PONG:
        return;
    default:
        data(w, h, p);
    }
}

/* Looks at each whole frame in what came and keeps the rest. Frames are handed on where they lie. */
static void frames(struct ws_client *w)
{
    struct ws_head h;
    struct buf in = w->rx; /* ours, should the owner close the connection */
    size_t at = 0;
    unsigned turn = w->turn;
    int n = 0;
    buf_init(&w->rx, in.max);
    while (w->turn == turn && (n = ws_head_read(&h, bytes_of(in.p + at, in.n - at))) > 0) {
        if (h.masked) {
            n = -EBADMSG; /* section 5.1 */
            break;
        }
        if (h.length > WS_CLIENT_MESSAGE_MAX) {
            broken(w, "the hub sent a message that is too long");
            break;
        }
        if (in.n - at - (size_t)n < h.length)
            break;
        frame(w, &h, in.p + at + n);
        at += (size_t)n + (size_t)h.length;
    }
    if (w->turn == turn && n == -EBADMSG)
        broken(w, "the hub sent what is no WebSocket frame");
    if (w->turn != turn || at == in.n) {
        buf_done(&in); /* idle connections keep no buffer */
        return;
    }
    buf_eat(&in, at);
    w->rx = in;
}

static void readable(struct ws_client *w)
{
    unsigned turn = w->turn;
    for (int i = 0; i < READS_A_TURN && w->turn == turn; i++) {
        uint8_t *to = buf_room(&w->rx, RECORD);
        int n = to ? tls_read(w->wire->ssl, to, RECORD) : -ENOMEM;
        if (n < 0) {
            closed(w);
            return;
        }
        if (n == 0)
            break;
        buf_grow(&w->rx, (size_t)n);
        frames(w);
    }
    if (w->turn == turn && w->rx.n == 0)
        buf_done(&w->rx);
}

/* Makes the payload behind the first WS_HEAD_MAX bytes of tx a frame. */
static void wrap(struct ws_client *w, enum ws_opcode opcode)
{
    uint8_t raw[WS_HEAD_MAX];
    struct ws_head head = {.opcode = opcode, .final = true, .masked = true, .length = w->tx.n - WS_HEAD_MAX};
    rng_fill(&w->rng, head.mask, sizeof head.mask);
    size_t n = ws_head_write(raw, &head);
    w->tx_start = WS_HEAD_MAX - n;
    memcpy(w->tx.p + w->tx_start, raw, n);
    ws_mask(w->tx.p + WS_HEAD_MAX, (size_t)head.length, head.mask);
}

/* The next frame into tx. False: nothing to say, no memory, or closed by its owner meanwhile. */
static bool next_frame(struct ws_client *w)
{
    bool binary = false;
    unsigned turn = w->turn;
    if (!buf_room(&w->tx, WS_HEAD_MAX))
        return false;
    buf_grow(&w->tx, WS_HEAD_MAX);
    if (w->pong_due) {
        w->pong_due = false;
        if (buf_add(&w->tx, bytes_of(w->pong, w->pong_len)) < 0)
            return false;
        wrap(w, WS_PONG);
        return true;
    }
    if (!w->ops.take(w->arg, &w->tx, &binary) || w->turn != turn)
        return false;
    wrap(w, binary ? WS_BINARY : WS_TEXT);
    return true;
}

static void writable(struct ws_client *w)
{
    unsigned turn = w->turn;
    for (size_t sent = 0; sent < TX_TURN;) {
        if (w->tx.n == 0 && !next_frame(w)) {
            if (w->turn != turn)
                return;
            buf_done(&w->tx); /* idle connections keep no buffer */
            watch(w, UV_READABLE);
            return;
        }
        size_t n = w->tx.n - w->tx_start;
        int took = tls_write(w->wire->ssl, w->tx.p + w->tx_start, n);
        if (took < 0)
            closed(w);
        if (took <= 0)
            return;
        sent += n;
        buf_clear(&w->tx);
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct wire *wire = poll->data;
    struct ws_client *w = wire->client;
    if (wire->ssl && (status < 0 || events & UV_READABLE))
        readable(w); /* finds out what is wrong */
    if (wire->ssl && events & UV_WRITABLE)
        writable(w);
}

/* Takes the socket over from the library. What the hub sends next stands in a record behind its answer to the
 * upgrade, so that nothing of it was read. */
static bool take_over(struct ws_client *w, struct lws *wsi)
{
    int unsent = UNSENT_MAX;
    struct wire *wire = calloc(1, sizeof *wire);
    int fd = wire ? fcntl(lws_get_socket_fd(wsi), F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0 || lws_rx_flow_control(wsi, 0) < 0 || uv_poll_init(w->loop, &wire->poll, fd) < 0) {
        if (fd >= 0)
            close(fd);
        free(wire);
        return false;
    }
    /* What the kernel has taken can neither be dropped nor overtaken: it shall not hoard. */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    wire->poll.data = wire;
    wire->fd = fd;
    wire->client = w;
    wire->ssl = lws_get_ssl(wsi);
    w->wire = wire;
    w->handles++;
    watch(w, UV_READABLE);
    return true;
}

static int opened(struct ws_client *w, struct lws *wsi)
{
    uint8_t binding[TLS_BINDING_LEN];
    const char *why = NULL;
    uv_timer_stop(&w->timer);
    if (tls_binding(lws_get_ssl(wsi), binding))
        why = "the TLS connection has no channel binding";
    else if (!take_over(w, wsi))
        why = "cannot open a connection: out of memory or of descriptors";
    if (why) {
        w->wsi = NULL;
        down(w, why);
        return -1;
    }
    w->stage = OPEN;
    w->ops.up(w->arg, binding);
    return 0;
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
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        w->wsi = NULL;
        closed(w);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "warren", .callback = on_event, .rx_buffer_size = RX_BUFFER},
    {0},
};

static const struct lws_extension no_extensions[] = {{0}};

/* The library hears nothing of an open connection: it is not to judge whether that lives. */
static const lws_retry_bo_t no_idle_policy;

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

static void init_buffers(struct ws_client *w)
{
    buf_init(&w->rx, WS_CLIENT_MESSAGE_MAX + WS_HEAD_MAX + RECORD);
    buf_init(&w->message, WS_CLIENT_MESSAGE_MAX);
    buf_init(&w->tx, WS_HEAD_MAX + WS_CLIENT_MESSAGE_MAX);
}

struct ws_client *ws_client_new(struct uv_loop_s *loop, const struct ws_client_ops *ops, void *arg)
{
    struct ws_client *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->loop = loop;
    w->ops = *ops;
    w->arg = arg;
    w->rng = rng_system();
    init_buffers(w);
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    w->handles = 1;
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
    ((struct ws_client *)h->data)->handles--;
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
    for (int turn = 0; turn < FREE_TURNS && (w->lws || w->handles > 0); turn++) {
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
    info.retry_and_idle_policy = &no_idle_policy;
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
    init_buffers(w);
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
    if (w->stage == OPEN && w->wire)
        watch(w, UV_READABLE | UV_WRITABLE);
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
