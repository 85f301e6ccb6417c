#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/peer_stream_int.h"

/* One write until the kernel has taken it. */
struct stream_write {
    uv_write_t req;
    struct stream_attempt *attempt;
    uint8_t p[];
};

/* ---- out */

static void on_written(uv_write_t *req, int status)
{
    struct stream_write *w = req->data;
    struct peer_stream *s = w->attempt->stream;
    free(w);
    if (!s)
        return;
    if (status)
        stream_down(s, "the connection broke");
    else
        stream_touch(s);
}

static bool write_out(struct peer_stream *s, struct bytes b)
{
    struct stream_write *w = malloc(sizeof *w + b.n);
    if (!w)
        return false;
    memcpy(w->p, b.p, b.n);
    w->attempt = s->attempt;
    w->req.data = w;
    uv_buf_t part = uv_buf_init((char *)w->p, (unsigned)b.n);
    if (uv_write(&w->req, (uv_stream_t *)&s->attempt->tcp, &part, 1, on_written) == 0)
        return true;
    free(w);
    return false;
}

/* What TLS has made of it goes to the kernel. */
static bool send_cipher(struct peer_stream *s)
{
    struct buf *out = &s->all->cipher;
    bool ok = !s->tls || tls_engine_pull(s->tls, out) == 0;
    if (ok && out->n)
        ok = write_out(s, buf_bytes(out));
    buf_clear(out);
    return ok && uv_stream_get_write_queue_size((uv_stream_t *)&s->attempt->tcp) <= PEER_STREAM_UNSENT_MAX;
}

/* all->plain, of a stream that is open or upgrading, into TLS (or straight out). */
static bool send_plain(struct peer_stream *s)
{
    struct buf *plain = &s->all->plain;
    bool ok = true;
    if (plain->n && s->tls)
        ok = tls_engine_write(s->tls, buf_bytes(plain)) == 0;
    else if (plain->n)
        ok = write_out(s, buf_bytes(plain));
    buf_clear(plain);
    return ok && send_cipher(s);
}

static ssize_t ws_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags, void *arg)
{
    struct peer_stream *s = arg;
    (void)flags;
    if (buf_add(&s->all->plain, bytes_of(p, n)) == 0)
        return (ssize_t)n;
    wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

/* Packs what waits into one message of all->plain; false: nothing waits, or it failed. */
static bool next_message(struct peer_stream *s)
{
    struct buf *plain = &s->all->plain;
    if (s->kind != PEER_STREAM_PEER)
        return stream_queue_pack(&s->queue, plain, PEER_STREAM_PACK, false) > 0;
    int n = stream_queue_pack(&s->queue, plain, PEER_STREAM_PACK, true);
    if (n <= 0)
        return false;
    const struct wslay_event_msg m = {WSLAY_BINARY_FRAME, plain->p, plain->n};
    int rc = wslay_event_queue_msg(s->ws, &m); /* copied */
    buf_clear(plain);
    return rc == 0 && wslay_event_send(s->ws) == 0;
}

/* Enough is with the kernel: what waits may still be dropped, or share a message. */
static bool stalls(const struct peer_stream *s)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&s->attempt->tcp) > PEER_STREAM_PACK;
}

void stream_flush(struct peer_stream *s)
{
    if (s->stage == STAGE_DEAD || !s->attempt)
        return;
    bool ok = true;
    if (s->stage == STAGE_OPEN && s->ws && wslay_event_want_write(s->ws))
        ok = wslay_event_send(s->ws) == 0 && send_plain(s);
    while (ok && s->stage == STAGE_OPEN && s->queue.count && !stalls(s))
        ok = next_message(s) && send_plain(s);
    if (ok)
        ok = send_cipher(s);
    buf_clear(&s->all->plain);
    if (!ok)
        stream_down(s, "the other side does not read, or memory is short");
}

void stream_ping(struct peer_stream *s)
{
    const struct wslay_event_msg m = {WSLAY_PING, NULL, 0};
    if (s->ws && wslay_event_queue_msg(s->ws, &m) == 0)
        stream_touch(s);
}

/* All that waits is given to the kernel, which takes what it has room for. */
void stream_good_bye(struct peer_stream *s)
{
    if (s->stage != STAGE_OPEN || !s->attempt)
        return;
    bool ok = true;
    while (ok && s->queue.count)
        ok = next_message(s) && send_plain(s);
    if (ok && s->ws && wslay_event_queue_close(s->ws, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0 &&
        wslay_event_send(s->ws) == 0)
        ok = send_plain(s);
    buf_clear(&s->all->plain);
    if (s->tls)
        tls_engine_close(s->tls);
    if (ok)
        send_cipher(s);
}

/* ---- WebSocket */

static ssize_t ws_receive(wslay_event_context_ptr ctx, uint8_t *p, size_t cap, int flags, void *arg)
{
    struct peer_stream *s = arg;
    size_t n = s->in.n < cap ? s->in.n : cap;
    (void)flags;
    if (!n || s->stage == STAGE_DEAD) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(p, s->in.p, n);
    s->in = bytes_of(s->in.p + n, s->in.n - n);
    return (ssize_t)n;
}

static int ws_mask(wslay_event_context_ptr ctx, uint8_t *p, size_t n, void *arg)
{
    struct peer_stream *s = arg;
    (void)ctx;
    rng_fill(&s->all->rng, p, n);
    return 0;
}

static void ws_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
    struct peer_stream *s = arg;
    struct peer_streams *all = s->all;
    if (s->stage == STAGE_DEAD)
        return;
    if (m->opcode == WSLAY_TEXT_FRAME) {
        s->broken = "the other side sent text, which nodes do not";
        wslay_event_queue_close(ctx, WSLAY_CODE_UNSUPPORTED_DATA, NULL, 0);
        return;
    }
    if (m->opcode != WSLAY_BINARY_FRAME || m->msg_length > sizeof all->message)
        return;
    memcpy(all->message, m->msg, m->msg_length);
    all->ops.message(all->arg, s->number, all->message, m->msg_length);
}

static bool ws_start(struct peer_stream *s)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = ws_receive,
        .send_callback = ws_send,
        .genmask_callback = ws_mask,
        .on_msg_recv_callback = ws_message,
    };
    int rc = s->client ? wslay_event_context_client_init(&s->ws, &callbacks, s)
                       : wslay_event_context_server_init(&s->ws, &callbacks, s);
    if (rc) {
        s->ws = NULL;
        stream_down(s, "out of memory");
        return false;
    }
    wslay_event_config_set_max_recv_msg_length(s->ws, PEER_STREAM_MESSAGE_MAX);
    return true;
}

static void ws_feed(struct peer_stream *s, struct bytes in)
{
    s->in = in;
    int rc = wslay_event_recv(s->ws);
    s->in = bytes_of(NULL, 0);
    if (s->stage == STAGE_DEAD)
        return;
    stream_touch(s);
    if (!rc && !s->broken && wslay_event_get_read_enabled(s->ws))
        return;
    const char *why = s->broken                               ? s->broken
                      : wslay_event_get_close_received(s->ws) ? "the other side closed the connection"
                                                              : "the other side broke the rules of WebSocket";
    stream_flush(s); /* the answer to its close, or ours that says what is wrong */
    if (s->stage == STAGE_DEAD)
        return;
    tls_engine_close(s->tls);
    send_cipher(s);
    stream_down(s, why);
}

/* ---- the upgrade */

static void upgrade_ask(struct peer_stream *s)
{
    char host[NET_ADDR_TEXT], text[WS_UPGRADE_MAX];
    uint8_t random[16];
    net_addr_text(host, &s->remote);
    rng_fill(&s->all->rng, random, sizeof random);
    ws_upgrade_key(s->key, random);
    int n = ws_upgrade_request(text, sizeof text, host, s->key);
    if (n < 0 || tls_engine_write(s->tls, bytes_of(text, (size_t)n)) < 0)
        stream_down(s, "cannot ask for a WebSocket");
}

static void refuse(struct peer_stream *s)
{
    tls_engine_write(s->tls, bytes_of_str(WS_UPGRADE_REFUSAL));
    tls_engine_close(s->tls);
    send_cipher(s);
    stream_down(s, s->client ? "the other side opens no WebSocket" : "the other side asked for no WebSocket");
}

/* Number of bytes that the other side's half takes; 0: more is needed. */
static int upgrade_judge(struct peer_stream *s)
{
    char text[WS_UPGRADE_MAX];
    if (s->client)
        return ws_upgrade_read_answer(buf_bytes(&s->head), s->key);
    int n = ws_upgrade_read_request(buf_bytes(&s->head), s->key);
    if (n <= 0)
        return n;
    int m = ws_upgrade_answer(text, sizeof text, s->key);
    return m < 0 || tls_engine_write(s->tls, bytes_of(text, (size_t)m)) < 0 ? -EIO : n;
}

static void upgrade_feed(struct peer_stream *s, struct bytes in)
{
    int n = buf_add(&s->head, in) == 0 ? upgrade_judge(s) : -ENOMEM;
    if (n < 0) {
        refuse(s);
        return;
    }
    if (n == 0 || !ws_start(s))
        return;
    struct buf head = s->head;
    buf_init(&s->head, STREAM_HEAD);
    stream_open(s);
    if (s->stage == STAGE_OPEN && head.n > (size_t)n)
        ws_feed(s, bytes_of(head.p + n, head.n - (size_t)n));
    buf_done(&head);
}

/* ---- in */

static void plain_feed(struct peer_stream *s, uint8_t *p, size_t n)
{
    if (s->kind != PEER_STREAM_PEER)
        s->all->ops.message(s->all->arg, s->number, p, n);
    else if (s->stage == STAGE_OPEN)
        ws_feed(s, bytes_of(p, n));
    else
        upgrade_feed(s, bytes_of(p, n));
}

static void tls_failed(struct peer_stream *s)
{
    char why[STREAM_WHY];
    snprintf(why, sizeof why, "%s", tls_engine_error(s->tls));
    send_cipher(s); /* its alert */
    stream_down(s, why);
}

static void tls_opened(struct peer_stream *s)
{
    if (s->kind == PEER_STREAM_TLS) {
        stream_open(s);
        return;
    }
    s->stage = STAGE_UPGRADE;
    buf_clear(&s->head);
    if (s->client)
        upgrade_ask(s);
}

static void tls_drain(struct peer_stream *s)
{
    int n = 0;
    while (s->stage != STAGE_DEAD && (n = tls_engine_read(s->tls, s->all->text, STREAM_PLAIN)) > 0)
        plain_feed(s, s->all->text, (size_t)n);
    if (s->stage == STAGE_DEAD)
        return;
    if (n < 0)
        tls_failed(s);
    else if (tls_engine_state(s->tls) == TLS_CLOSED)
        stream_down(s, "the other side closed the connection");
}

void stream_received(struct peer_stream *s, struct bytes in)
{
    stream_touch(s);
    s->heard = uv_now(s->all->loop);
    if (!stream_sniff(s, &in))
        return;
    if (tls_engine_feed(s->tls, in) < 0) {
        tls_failed(s);
        return;
    }
    if (s->stage == STAGE_TLS && tls_engine_state(s->tls) == TLS_OPEN)
        tls_opened(s);
    if (s->stage == STAGE_UPGRADE || s->stage == STAGE_OPEN)
        tls_drain(s);
}

static void on_room(uv_handle_t *h, size_t wish, uv_buf_t *b)
{
    struct stream_attempt *a = (struct stream_attempt *)h;
    (void)wish;
    *b = a->stream ? uv_buf_init((char *)a->stream->all->rx, STREAM_READ) : uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
    struct stream_attempt *a = (struct stream_attempt *)h;
    struct peer_stream *s = a->stream;
    if (!s || !n)
        return;
    if (n < 0)
        stream_down(s, n == UV_EOF ? "the other side closed the connection" : "the connection broke");
    else if (s->kind == PEER_STREAM_TCP)
        s->all->ops.message(s->all->arg, s->number, (uint8_t *)b->base, (size_t)n);
    else
        stream_received(s, bytes_of(b->base, (size_t)n));
}

bool stream_tls_start(struct peer_stream *s, bool client)
{
    s->client = client;
    s->stage = STAGE_TLS;
    if (s->kind == PEER_STREAM_TCP)
        return true;
    if (s->kind == PEER_STREAM_TLS)
        s->tls = tls_engine_public(s->host);
    else if (client)
        s->tls = tls_engine_client(s->all->node, s->wanted);
    else
        s->tls = tls_engine_server(s->all->node, s->accepted ? NULL : s->wanted);
    if (!s->tls) {
        stream_down(s, "cannot set up TLS");
        return false;
    }
    stream_touch(s);
    return true;
}

void stream_wire_start(struct peer_stream *s)
{
    uv_tcp_nodelay(&s->attempt->tcp, 1);
    if (uv_read_start((uv_stream_t *)&s->attempt->tcp, on_room, on_read))
        stream_down(s, "the connection broke");
    else if (s->kind == PEER_STREAM_TCP)
        stream_open(s);
}
