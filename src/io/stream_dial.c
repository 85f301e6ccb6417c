#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "io/peer_stream_int.h"

#define RECORD_HEAD      5
#define RECORD_HANDSHAKE 0x16
#define CLIENT_HELLO     0x01
#define HELLO_MARK       (RECORD_HEAD + 1) /* bytes that tell a client's hello from all else */
#define RECORD_MAX       16384

static void try_connect(struct peer_stream *s);

static socklen_t sockaddr_of(struct sockaddr_storage *out, const struct net_addr *a)
{
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in = (void *)out;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(a->port);
    memcpy(&in->sin6_addr, a->ip, 16);
    return sizeof *in;
}

static struct net_addr addr_from(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        return net_addr4(ntohl(in->sin_addr.s_addr), ntohs(in->sin_port));
    }
    const struct sockaddr_in6 *in = (const void *)sa;
    return net_addr6(in->sin6_addr.s6_addr, ntohs(in->sin6_port));
}

static void say_failed(char why[STREAM_WHY], const struct net_addr *to, int error)
{
    char at[NET_ADDR_TEXT];
    net_addr_text(at, to);
    switch (error) {
    case UV_ECONNREFUSED:
        snprintf(why, STREAM_WHY, "connection refused at %s", at);
        break;
    case UV_ENETUNREACH:
    case UV_EHOSTUNREACH:
        snprintf(why, STREAM_WHY, "no route to %s", at);
        break;
    case UV_ETIMEDOUT:
        snprintf(why, STREAM_WHY, "no answer from %s", at);
        break;
    case UV_EADDRNOTAVAIL: /* the same two ports are connected already */
        snprintf(why, STREAM_WHY,
                 "a connection with %s stands already, or this machine has no address for it", at);
        break;
    default:
        snprintf(why, STREAM_WHY, "cannot connect to %s: %s", at, uv_strerror(error));
    }
}

static void on_again(uv_timer_t *t)
{
    try_connect(t->data);
}

static void on_give_up(uv_timer_t *t)
{
    struct peer_stream *s = t->data;
    stream_down(s, s->why);
}

static bool time_to_punch(const struct peer_stream *s)
{
    return s->punch && uv_now(s->all->loop) - s->began + PEER_STREAM_PUNCH_MS < PEER_STREAM_PUNCH_S * 1000;
}

/* Later, from the loop: the caller may be our owner. A refusal is no end while the other side's SYN may still
 * come: its NAT, or its host before it dials, sends resets. */
static void attempt_failed(struct peer_stream *s, int error)
{
    stream_attempt_drop(s);
    if (time_to_punch(s)) {
        /* Not in step with the other side: two SYNs meet only while both are under way. */
        uint64_t jitter = rng_below(&s->all->rng, PEER_STREAM_PUNCH_MS);
        uv_timer_start(&s->step, on_again, PEER_STREAM_PUNCH_MS / 2 + jitter, 0);
        return;
    }
    say_failed(s->why, &s->remote, error);
    uv_timer_start(&s->step, on_give_up, 0, 0);
}

/* ---- who is the client */

/* Both ends know both keys, and so the same answer. */
static bool begins(const struct peer_stream *s)
{
    return memcmp(tls_node_key(s->all->node), s->wanted, MLDSA_PUBLIC_LEN) <= 0;
}

static void on_role(uv_timer_t *t)
{
    struct peer_stream *s = t->data;
    if (s->stage != STAGE_ROLE)
        return;
    s->sniff = SNIFF_YIELD;
    struct bytes first = buf_bytes(&s->head);
    struct buf held = s->head;
    buf_init(&s->head, STREAM_HEAD);
    if (stream_tls_start(s, true) && first.n)
        stream_received(s, first);
    buf_done(&held);
}

static void connection_stands(struct peer_stream *s)
{
    if (!s->punch) {
        if (stream_tls_start(s, true))
            stream_wire_start(s);
        return;
    }
    stream_hurry(s);
    if (begins(s)) {
        s->sniff = SNIFF_SKIP;
        if (!stream_tls_start(s, true))
            return;
    } else {
        s->stage = STAGE_ROLE;
        uv_timer_start(&s->step, on_role, PEER_STREAM_ROLE_MS, 0);
    }
    stream_wire_start(s);
}

/* The first bytes, gathered until they can be judged; false: not yet. Afterwards *in is all that came. */
static bool gather(struct peer_stream *s, struct bytes *in)
{
    if (buf_add(&s->head, *in) < 0) {
        stream_down(s, "out of memory");
        return false;
    }
    *in = buf_bytes(&s->head);
    return in->n >= HELLO_MARK || in->p[0] != RECORD_HANDSHAKE;
}

static bool is_hello(struct bytes in)
{
    return in.n >= HELLO_MARK && in.p[0] == RECORD_HANDSHAKE && in.p[1] == 3 && in.p[5] == CLIENT_HELLO;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void skip_some(struct peer_stream *s, struct bytes *in)
{
    size_t n = least(s->skip, in->n);
    s->skip -= n;
    *in = bytes_of(in->p + n, in->n - n);
}

/* What was decided; the bytes that came so far go to TLS, or some of them. */
static bool decide(struct peer_stream *s, struct bytes *in)
{
    bool hello = is_hello(*in), waited = s->stage == STAGE_ROLE;
    enum stream_sniff sniff = s->sniff;
    s->sniff = SNIFF_NOTHING;
    if (waited || (sniff == SNIFF_YIELD && hello)) {
        uv_timer_stop(&s->step);
        tls_engine_free(s->tls);
        s->tls = NULL;
        return stream_tls_start(s, !hello);
    }
    if (sniff == SNIFF_SKIP && hello) {
        s->skip = RECORD_HEAD + least((size_t)in->p[3] << 8 | in->p[4], RECORD_MAX);
        skip_some(s, in);
    }
    return true;
}

bool stream_sniff(struct peer_stream *s, struct bytes *in)
{
    if (s->skip)
        skip_some(s, in);
    if (s->sniff == SNIFF_NOTHING && s->stage != STAGE_ROLE)
        return in->n > 0;
    if (!gather(s, in))
        return false;
    return decide(s, in) && in->n > 0;
}

/* ---- connecting */

static void on_connected(uv_connect_t *req, int status)
{
    struct stream_attempt *a = req->data;
    struct peer_stream *s = a->stream;
    if (!s)
        return;
    if (status)
        attempt_failed(s, status);
    else
        connection_stands(s);
}

/* The listener's port as the source: what a NAT has let out of it, it lets in. */
static int bind_punch(struct peer_stream *s)
{
    struct net_addr any = {.family = s->remote.family, .port = s->all->port};
    struct sockaddr_storage sa;
    uv_os_fd_t fd;
    int on = 1;
    sockaddr_of(&sa, &any);
    if (uv_fileno((uv_handle_t *)&s->attempt->tcp, &fd) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on))
        return UV_EIO;
    return uv_tcp_bind(&s->attempt->tcp, (struct sockaddr *)&sa, s->remote.family == 6 ? UV_TCP_IPV6ONLY : 0);
}

/* An attempt that gets no answer is left to the kernel, which repeats its SYN after 1 and 3 seconds: a new
 * one from the same port would have another sequence number, and kill what the other side has half opened. */
static void try_connect(struct peer_stream *s)
{
    struct sockaddr_storage to;
    sockaddr_of(&to, &s->remote);
    s->attempt = stream_attempt_new(s, to.ss_family);
    int rc = s->attempt ? 0 : UV_ENOMEM;
    if (!rc && s->punch)
        rc = bind_punch(s);
    if (!rc) {
        s->attempt->connect.data = s->attempt;
        rc = uv_tcp_connect(&s->attempt->connect, &s->attempt->tcp, (struct sockaddr *)&to, on_connected);
    }
    if (rc)
        attempt_failed(s, rc);
}

static void on_resolved(void *arg, const struct sockaddr *addr, const char *why)
{
    struct peer_stream *s = arg;
    s->dial = NULL;
    if (!addr) {
        stream_down(s, why);
        return;
    }
    s->remote = addr_from(addr);
    try_connect(s);
}

static void on_punched_out(uv_timer_t *t)
{
    struct peer_stream *s = t->data;
    char at[NET_ADDR_TEXT];
    net_addr_text(at, &s->remote);
    snprintf(s->why, sizeof s->why, "%s did not come through within %d seconds", at, PEER_STREAM_PUNCH_S);
    stream_down(s, s->why);
}

int stream_dial_start(struct peer_stream *s, const struct peer_dial *d)
{
    s->remote = d->to;
    s->punch = d->punch && d->kind == PEER_STREAM_PEER && s->all->port;
    if (d->key)
        memcpy(s->wanted, d->key, sizeof s->wanted);
    if (d->host)
        snprintf(s->host, sizeof s->host, "%s", d->host);
    else
        net_ip_text(s->host, &d->to);
    if (s->punch)
        uv_timer_start(&s->deadline, on_punched_out, PEER_STREAM_PUNCH_S * 1000, 0);
    if (d->to.family) {
        try_connect(s);
        return 0;
    }
    s->dial = dial_start(s->all->loop, d->host, d->port, on_resolved, s);
    return s->dial ? 0 : -ENOMEM;
}
