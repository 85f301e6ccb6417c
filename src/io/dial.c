#include "io/dial.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define STAGGER_MS 250

struct attempt {
    uv_tcp_t tcp;
    uv_connect_t req;
    struct dial *dial;
    bool open; /* the handle is in the loop */
};

struct dial {
    uv_loop_t *loop;
    dial_cb *cb; /* NULL once it was called or cancelled */
    void *arg;
    char where[300];
    uint16_t port;
    uv_getaddrinfo_t lookup;
    bool looking;
    uv_timer_t timer;
    struct sockaddr_storage addr[DIAL_ADDRESSES_MAX];
    size_t count, next, failed;
    struct attempt attempt[DIAL_ADDRESSES_MAX];
    int last_error;
    unsigned handles;
};

static void maybe_free(struct dial *d)
{
    if (!d->handles && !d->looking)
        free(d);
}

static void handle_closed(uv_handle_t *h)
{
    struct dial *d = h->data;
    d->handles--;
    maybe_free(d);
}

static void close_handle(uv_handle_t *h)
{
    if (!uv_is_closing(h))
        uv_close(h, handle_closed);
}

static void end(struct dial *d)
{
    d->cb = NULL;
    if (d->looking)
        uv_cancel((uv_req_t *)&d->lookup);
    close_handle((uv_handle_t *)&d->timer);
    for (size_t i = 0; i < d->next; i++)
        if (d->attempt[i].open)
            close_handle((uv_handle_t *)&d->attempt[i].tcp);
}

static void finish(struct dial *d, const struct sockaddr *addr, const char *why)
{
    dial_cb *cb = d->cb;
    void *arg = d->arg;
    struct sockaddr_storage copy = {0};
    if (addr)
        memcpy(&copy, addr,
               addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    end(d);
    if (cb)
        cb(arg, addr ? (struct sockaddr *)&copy : NULL, why);
}

static void fail(struct dial *d)
{
    char why[400];
    switch (d->last_error) {
    case UV_ECONNREFUSED:
        snprintf(why, sizeof why, "connection refused at %s", d->where);
        break;
    case UV_ENETUNREACH:
    case UV_EHOSTUNREACH:
    case UV_EADDRNOTAVAIL:
        snprintf(why, sizeof why, "no route to %s", d->where);
        break;
    case UV_ETIMEDOUT:
        snprintf(why, sizeof why, "no answer from %s", d->where);
        break;
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
        snprintf(why, sizeof why, "the name in %s is not known to the name servers", d->where);
        break;
    case UV_EAI_AGAIN:
        snprintf(why, sizeof why, "no name server answers for %s", d->where);
        break;
    default:
        snprintf(why, sizeof why, "cannot connect to %s: %s", d->where, uv_strerror(d->last_error));
    }
    finish(d, NULL, why);
}

static void try_next(struct dial *d);

static void attempt_failed(struct dial *d, int error)
{
    d->last_error = error;
    d->failed++;
    if (d->failed == d->count)
        fail(d);
    else if (d->next < d->count)
        try_next(d);
}

static void connected(uv_connect_t *req, int status)
{
    struct attempt *a = req->data;
    struct dial *d = a->dial;
    if (status == UV_ECANCELED || !d->cb)
        return;
    if (!status) {
        finish(d, (struct sockaddr *)&d->addr[a - d->attempt], NULL);
        return;
    }
    close_handle((uv_handle_t *)&a->tcp);
    attempt_failed(d, status);
}

static void stagger(uv_timer_t *t)
{
    struct dial *d = t->data;
    if (d->cb && d->next < d->count)
        try_next(d);
}

static void try_next(struct dial *d)
{
    size_t i = d->next++;
    struct attempt *a = &d->attempt[i];
    a->dial = d;
    uv_timer_start(&d->timer, stagger, STAGGER_MS, 0);
    int rc = uv_tcp_init(d->loop, &a->tcp);
    if (!rc) {
        a->tcp.data = d;
        a->req.data = a;
        a->open = true;
        d->handles++;
        rc = uv_tcp_connect(&a->req, &a->tcp, (struct sockaddr *)&d->addr[i], connected);
        if (rc)
            close_handle((uv_handle_t *)&a->tcp);
    }
    if (rc)
        attempt_failed(d, rc);
}

/* The resolver's order, but the families in turn. */
static void keep_addresses(struct dial *d, const struct addrinfo *list)
{
    int want = list ? list->ai_family : AF_UNSPEC;
    const struct addrinfo *of[2] = {list, list}; /* where each family's search stands: [0] the first one's */
    while (d->count < DIAL_ADDRESSES_MAX && (of[0] || of[1])) {
        bool other = d->count & 1;
        if (!of[other])
            other = !other;
        const struct addrinfo *a = of[other];
        while (a && (a->ai_family == want) == other)
            a = a->ai_next;
        of[other] = a ? a->ai_next : NULL;
        if (!a || a->ai_addrlen > sizeof d->addr[0] || (a->ai_family != AF_INET && a->ai_family != AF_INET6))
            continue;
        struct sockaddr_storage *to = &d->addr[d->count++];
        memcpy(to, a->ai_addr, a->ai_addrlen);
        if (a->ai_family == AF_INET)
            ((struct sockaddr_in *)to)->sin_port = htons(d->port);
        else
            ((struct sockaddr_in6 *)to)->sin6_port = htons(d->port);
    }
}

static void looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct dial *d = req->data;
    d->looking = false;
    if (d->cb) {
        if (!status)
            keep_addresses(d, list);
        d->last_error = status ? status : UV_EAI_NODATA;
        if (d->count)
            try_next(d);
        else
            fail(d);
    } else {
        maybe_free(d);
    }
    uv_freeaddrinfo(list);
}

static void begin(uv_timer_t *t)
{
    struct dial *d = t->data;
    if (!d->cb)
        return;
    if (d->count)
        try_next(d);
    else
        fail(d);
}

/* Literals are not for the resolver's threads. */
static bool literal(struct dial *d, const char *host, uint16_t port)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&d->addr[0]) &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&d->addr[0]))
        return false;
    d->count = 1;
    return true;
}

struct dial *dial_start(struct uv_loop_s *loop, const char *host, uint16_t port, dial_cb *cb, void *arg)
{
    struct dial *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->loop = loop;
    d->cb = cb;
    d->arg = arg;
    d->port = port;
    snprintf(d->where, sizeof d->where, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    d->handles = 1;
    if (!literal(d, host, port)) {
        const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        d->lookup.data = d;
        d->last_error = uv_getaddrinfo(loop, &d->lookup, looked_up, host, NULL, &hints);
        d->looking = !d->last_error;
    }
    if (!d->looking)
        uv_timer_start(&d->timer, begin, 0, 0);
    return d;
}

void dial_cancel(struct dial *d)
{
    if (d && d->cb)
        end(d);
}

static struct net_addr plain(const struct sockaddr_storage *sa)
{
    struct net_addr a = {0};
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        a = net_addr4(ntohl(in->sin_addr.s_addr), ntohs(in->sin_port));
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;
        a = net_addr6(in->sin6_addr.s6_addr, ntohs(in->sin6_port));
        net_addr_unmap(&a);
    }
    return a;
}

size_t dial_addresses(const struct dial *d, struct net_addr *out, size_t cap)
{
    size_t n = d->count < cap ? d->count : cap;
    for (size_t i = 0; i < n; i++)
        out[i] = plain(&d->addr[i]);
    return n;
}
