#include "io/peer_stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/rand.h"
#include "io/clock.h"
#include "io/peer_stream_int.h"

#define BACKLOG   64
#define TX_MAX    (1u << 20)
#define SAME_SITE 64 /* bits of an IPv6 address that one stranger has */

/* ---- memory: everything goes when its last handle is closed */

static void maybe_free_all(struct peer_streams *all)
{
    if (!all->freed || all->handles)
        return;
    buf_done(&all->plain);
    buf_done(&all->cipher);
    free(all);
}

static void own_closed(uv_handle_t *h)
{
    struct peer_streams *all = h->data;
    all->handles--;
    maybe_free_all(all);
}

static void listener_closed(uv_handle_t *h)
{
    struct peer_streams *all = h->data;
    free(h);
    all->handles--;
    maybe_free_all(all);
}

static void stream_free(struct peer_stream *s)
{
    struct peer_streams *all = s->all;
    if (s->ws)
        wslay_event_context_free(s->ws);
    tls_engine_free(s->tls);
    stream_queue_done(&s->queue);
    buf_done(&s->head);
    free(s);
    maybe_free_all(all);
}

static void timer_closed(uv_handle_t *h)
{
    struct peer_stream *s = h->data;
    s->all->handles--;
    if (!--s->handles)
        stream_free(s);
}

static void attempt_closed(uv_handle_t *h)
{
    struct stream_attempt *a = h->data;
    struct peer_streams *all = a->all;
    free(a);
    all->handles--;
    maybe_free_all(all);
}

struct stream_attempt *stream_attempt_new(struct peer_stream *s, int family)
{
    struct stream_attempt *a = calloc(1, sizeof *a);
    if (!a || uv_tcp_init_ex(s->all->loop, &a->tcp, (unsigned)family)) {
        free(a);
        return NULL;
    }
    a->all = s->all;
    a->tcp.data = a;
    a->stream = s;
    s->all->handles++;
    return a;
}

void stream_attempt_drop(struct peer_stream *s)
{
    if (!s->attempt)
        return;
    s->attempt->stream = NULL;
    uv_close((uv_handle_t *)&s->attempt->tcp, attempt_closed);
    s->attempt = NULL;
}

/* ---- the table */

static struct peer_stream *find(const struct peer_streams *all, uint32_t number)
{
    struct peer_stream *s = all->list;
    while (s && s->number != number)
        s = s->next;
    return s;
}

static void on_deadline(uv_timer_t *t);

static struct peer_stream *stream_new(struct peer_streams *all, uint32_t number, enum peer_stream_kind kind)
{
    struct peer_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->all = all;
    s->number = number;
    s->kind = kind;
    stream_queue_init(&s->queue);
    buf_init(&s->head, STREAM_HEAD);
    uv_timer_init(all->loop, &s->deadline);
    uv_timer_init(all->loop, &s->step);
    s->deadline.data = s->step.data = s;
    s->handles = 2;
    all->handles += 2;
    s->began = s->heard = uv_now(all->loop);
    stream_hurry(s);
    s->next = all->list;
    all->list = s;
    all->count++;
    return s;
}

void stream_hurry(struct peer_stream *s)
{
    uv_timer_start(&s->deadline, on_deadline, PEER_STREAM_OPEN_S * 1000, 0);
}

void stream_end(struct peer_stream *s)
{
    if (s->stage == STAGE_DEAD)
        return;
    struct peer_streams *all = s->all;
    struct peer_stream **at = &all->list;
    if (s->stage != STAGE_OPEN)
        all->stats.failed++;
    all->stats.dropped += s->queue.dropped;
    s->stage = STAGE_DEAD;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    all->count--;
    dial_cancel(s->dial);
    s->dial = NULL;
    stream_attempt_drop(s);
    uv_close((uv_handle_t *)&s->deadline, timer_closed);
    uv_close((uv_handle_t *)&s->step, timer_closed);
}

void stream_down(struct peer_stream *s, const char *why)
{
    if (s->stage == STAGE_DEAD)
        return;
    struct peer_streams *all = s->all;
    uint32_t number = s->number;
    bool tell = !s->accepted || s->stage == STAGE_OPEN;
    char copy[STREAM_WHY];
    snprintf(copy, sizeof copy, "%s", why);
    stream_end(s);
    if (tell)
        all->ops.down(all->arg, number, copy);
}

void stream_open(struct peer_stream *s)
{
    struct peer_streams *all = s->all;
    s->stage = STAGE_OPEN;
    s->heard = uv_now(all->loop);
    all->stats.opened++;
    if (s->kind == PEER_STREAM_PEER)
        uv_timer_start(&s->deadline, on_deadline, PEER_STREAM_PING_S * 1000, PEER_STREAM_PING_S * 1000);
    else
        uv_timer_stop(&s->deadline);
    all->ops.up(all->arg, s->number, &s->remote);
}

/* Not up in time; or, for one that is up, a look whether the other side still lives. */
static void on_deadline(uv_timer_t *t)
{
    struct peer_stream *s = t->data;
    uint64_t quiet = uv_now(s->all->loop) - s->heard;
    if (s->stage != STAGE_OPEN) {
        char why[100], at[NET_ADDR_TEXT];
        net_addr_text(at, &s->remote);
        snprintf(why, sizeof why, "no answer from %s within %d seconds", at, PEER_STREAM_OPEN_S);
        stream_down(s, why);
    } else if (quiet > PEER_STREAM_SILENT_S * 1000) {
        stream_down(s, "the other side is silent");
    } else if (quiet >= PEER_STREAM_PING_S * 1000 / 2) {
        stream_ping(s);
    }
}

/* ---- sending, once a turn of the loop: what was given meanwhile shares messages and records */

void stream_touch(struct peer_stream *s)
{
    s->dirty = s->all->dirty = true;
}

static void flush_all(struct peer_streams *all)
{
    while (all->dirty) {
        all->dirty = false;
        struct peer_stream *s = all->list;
        while (s && !s->dirty)
            s = s->next;
        if (!s)
            return;
        s->dirty = false;
        all->dirty = true; /* the list may be another one afterwards: looked through anew */
        stream_flush(s);
    }
}

static void on_prepare(uv_prepare_t *p)
{
    flush_all(p->data);
}

static void on_check(uv_check_t *c)
{
    flush_all(c->data);
}

/* ---- those that come */

static struct net_addr addr_of(const uv_tcp_t *tcp)
{
    struct sockaddr_storage sa;
    struct net_addr a = {0};
    int n = sizeof sa;
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&sa, &n))
        return a;
    if (sa.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&sa;
        a = net_addr4(ntohl(in->sin_addr.s_addr), ntohs(in->sin_port));
    } else if (sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)&sa;
        a = net_addr6(in->sin6_addr.s6_addr, ntohs(in->sin6_port));
        net_addr_unmap(&a);
    }
    return a;
}

static bool same_site(const struct net_addr *a, const struct net_addr *b)
{
    return a->family == 6 ? net_ip_common(a, b) >= SAME_SITE : net_ip_equal(a, b);
}

static bool within_limits(struct peer_streams *all, const struct peer_stream *new)
{
    size_t half_open = 0, from_there = 0, comers = 0;
    for (const struct peer_stream *s = all->list; s; s = s->next) {
        if (s == new || !s->accepted)
            continue;
        comers++;
        half_open += s->stage != STAGE_OPEN;
        from_there += same_site(&s->remote, &new->remote);
    }
    return all->count <= PEER_STREAMS_MAX && comers < PEER_STREAM_COMERS &&
           half_open < PEER_STREAM_HALF_OPEN && from_there < PEER_STREAM_PER_ADDRESS &&
           ratelimit_take(&all->accepts, 1, clock_now());
}

static uint32_t free_number(struct peer_streams *all)
{
    do {
        all->next_number = PEER_STREAM_ACCEPTED | (all->next_number + 1);
    } while (find(all, all->next_number));
    return all->next_number;
}

static void turn_away(struct peer_streams *all);

static void spare_closed(uv_handle_t *h)
{
    struct peer_streams *all = h->data;
    all->sparing = false;
    all->handles--;
    if (all->stalled && all->listener && !all->freed)
        turn_away(all);
    maybe_free_all(all);
}

/* A connection that nobody takes would keep libuv from looking for the next one. */
static void turn_away(struct peer_streams *all)
{
    all->stalled = all->sparing;
    if (all->sparing || uv_tcp_init(all->loop, &all->spare))
        return;
    all->spare.data = all;
    all->sparing = true;
    all->handles++;
    all->stats.refused++;
    uv_accept((uv_stream_t *)all->listener, (uv_stream_t *)&all->spare);
    uv_close((uv_handle_t *)&all->spare, spare_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct peer_streams *all = listener->data;
    if (status)
        return;
    struct peer_stream *s = stream_new(all, free_number(all), PEER_STREAM_PEER);
    if (s) {
        s->accepted = true;
        s->attempt = stream_attempt_new(s, AF_UNSPEC);
    }
    if (!s || !s->attempt) {
        if (s)
            stream_end(s);
        turn_away(all);
        return;
    }
    if (uv_accept(listener, (uv_stream_t *)&s->attempt->tcp)) {
        stream_end(s);
        return;
    }
    s->remote = addr_of(&s->attempt->tcp);
    if (!s->remote.family || !within_limits(all, s)) {
        all->stats.refused++;
        all->stats.failed--; /* it does not count as one that was tried */
        stream_end(s);
        return;
    }
    all->stats.accepted++;
    if (stream_tls_start(s, false))
        stream_wire_start(s);
}

/* 0 where nobody listens there: our own socket shares its port with those that dial from it, and so the
 * kernel would let a second daemon of this user share it, too. */
static int probe_port(int family, uint16_t port)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int rc = family == AF_INET6 ? bind(fd, (struct sockaddr *)&any6, sizeof any6)
                                : bind(fd, (struct sockaddr *)&any4, sizeof any4);
    rc = rc ? -errno : 0;
    close(fd);
    return rc;
}

static int open_listener(struct peer_streams *all, int family, uint16_t port)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    uv_os_fd_t fd;
    int on = 1;
    int rc = port ? probe_port(family, port) : 0;
    if (rc)
        return rc;
    uv_tcp_t *l = calloc(1, sizeof *l);
    rc = l ? uv_tcp_init_ex(all->loop, l, (unsigned)family) : UV_ENOMEM;
    if (rc) {
        free(l);
        return rc;
    }
    l->data = all;
    all->handles++;
    if (uv_fileno((uv_handle_t *)l, &fd) || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on))
        rc = UV_EIO;
    if (!rc)
        rc = uv_tcp_bind(l, family == AF_INET6 ? (struct sockaddr *)&any6 : (struct sockaddr *)&any4, 0);
    if (!rc)
        rc = uv_listen((uv_stream_t *)l, BACKLOG, on_connection);
    if (rc) {
        uv_close((uv_handle_t *)l, listener_closed);
        return rc;
    }
    all->listener = l;
    return 0;
}

static uint16_t port_of(const uv_tcp_t *tcp)
{
    struct sockaddr_storage sa;
    int n = sizeof sa;
    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&sa, &n))
        return 0;
    return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                          : ((struct sockaddr_in *)&sa)->sin_port);
}

int peer_streams_listen(struct peer_streams *all, uint16_t port, uint16_t *got)
{
    if (all->listener)
        uv_close((uv_handle_t *)all->listener, listener_closed);
    all->listener = NULL;
    all->port = 0;
    /* An IPv6 socket takes IPv4, too; a machine without IPv6 has no such sockets. */
    const uint16_t ports[] = {port, port, 0, 0};
    const int families[] = {AF_INET6, AF_INET, AF_INET6, AF_INET};
    int rc = 0;
    for (size_t i = port ? 0 : 2; i < 4 && !all->listener; i++)
        if (!(i & 1) || (rc != UV_EADDRINUSE && rc != UV_EACCES)) /* not to be had in either family */
            rc = open_listener(all, families[i], ports[i]);
    if (!all->listener)
        return rc;
    *got = all->port = port_of(all->listener);
    return 0;
}

/* ---- the verbs */

struct peer_streams *peer_streams_new(struct uv_loop_s *loop, const struct tls_node *node,
                                      const struct peer_streams_ops *ops, void *arg)
{
    struct peer_streams *all = calloc(1, sizeof *all);
    if (!all)
        return NULL;
    all->loop = loop;
    all->node = node;
    all->ops = *ops;
    all->arg = arg;
    all->rng = rng_system();
    ratelimit_init(&all->accepts, PEER_STREAM_ACCEPTS_PER_S, PEER_STREAM_ACCEPTS_PER_S, clock_now());
    buf_init(&all->plain, TX_MAX);
    buf_init(&all->cipher, TX_MAX);
    uv_prepare_init(loop, &all->prepare);
    uv_check_init(loop, &all->check);
    all->prepare.data = all->check.data = all;
    all->handles = 2;
    uv_prepare_start(&all->prepare, on_prepare);
    uv_check_start(&all->check, on_check);
    return all;
}

void peer_streams_free(struct peer_streams *all)
{
    if (!all)
        return;
    while (all->list) {
        struct peer_stream *s = all->list;
        stream_good_bye(s);
        stream_end(s);
    }
    if (all->listener)
        uv_close((uv_handle_t *)all->listener, listener_closed);
    uv_close((uv_handle_t *)&all->prepare, own_closed);
    uv_close((uv_handle_t *)&all->check, own_closed);
    all->freed = true;
}

static bool dial_makes_sense(const struct peer_dial *d)
{
    if (d->stream >= PEER_STREAM_ACCEPTED || (d->host && strlen(d->host) >= STREAM_HOST))
        return false;
    bool known = d->to.family == 4 || d->to.family == 6;
    return d->kind == PEER_STREAM_PEER ? known && d->to.port && d->key
                                       : (known && d->to.port) || (d->host && *d->host && d->port);
}

int peer_stream_dial(struct peer_streams *all, const struct peer_dial *d)
{
    if (!dial_makes_sense(d))
        return -EINVAL;
    if (find(all, d->stream))
        return -EEXIST;
    if (all->count >= PEER_STREAMS_MAX)
        return -ENOBUFS;
    struct peer_stream *s = stream_new(all, d->stream, d->kind);
    int rc = s ? stream_dial_start(s, d) : -ENOMEM;
    if (s && rc)
        stream_end(s);
    return rc;
}

int peer_stream_send(struct peer_streams *all, uint32_t stream, struct bytes datagram, bool keep)
{
    struct peer_stream *s = find(all, stream);
    if (!s || s->stage != STAGE_OPEN)
        return -ENOENT;
    stream_touch(s);
    return stream_queue_add(&s->queue, datagram, keep, PEER_STREAM_DATAGRAM_MAX);
}

void peer_stream_close(struct peer_streams *all, uint32_t stream)
{
    struct peer_stream *s = find(all, stream);
    if (!s)
        return;
    stream_good_bye(s);
    stream_end(s);
}

void peer_streams_stats(const struct peer_streams *all, struct peer_streams_stats *st)
{
    *st = all->stats;
    for (const struct peer_stream *s = all->list; s; s = s->next)
        st->dropped += s->queue.dropped;
}
