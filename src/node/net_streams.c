#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "crypto/tls_engine.h"
#include "io/clock.h"
#include "io/peer_stream.h"
#include "io/upnp.h"
#include "node/net_edge.h"

_Static_assert(PEER_STREAM_ACCEPTED == NODE_STREAM_ACCEPTED &&
                   PEER_STREAM_MESSAGE_MAX == NODE_STREAM_MESSAGE_MAX,
               "the engine and the sockets count alike");

struct net_streams {
    struct net_edge_config c;
    struct tls_node *tls;
    struct peer_streams *streams;
    struct upnp *upnp; /* NULL until the engine wants one */
    uint16_t port;
};

/* ---- streams */

static void stream_up(void *arg, uint32_t stream, const struct net_addr *remote)
{
    struct net_streams *s = arg;
    node_stream_up(s->c.node, stream, remote, clock_now());
    s->c.pump(s->c.arg);
}

static void stream_message(void *arg, uint32_t stream, uint8_t *p, size_t n)
{
    struct net_streams *s = arg;
    node_stream_message(s->c.node, stream, p, n, clock_now());
    s->c.pump(s->c.arg);
}

static void stream_down(void *arg, uint32_t stream, const char *why)
{
    struct net_streams *s = arg;
    node_stream_down(s->c.node, stream, why, clock_now());
    s->c.pump(s->c.arg);
}

static const struct peer_streams_ops stream_ops = {stream_up, stream_message, stream_down};

static void listen_at(struct net_streams *s, uint16_t port)
{
    uint16_t got = 0;
    int rc = peer_streams_listen(s->streams, port, &got);
    s->port = rc ? 0 : got;
    node_stream_listening(s->c.node, s->port, rc ? uv_strerror(rc) : NULL, clock_now());
}

static enum peer_stream_kind kind_of(enum node_stream_kind kind)
{
    return kind == NODE_STREAM_TURN_TCP   ? PEER_STREAM_TCP
           : kind == NODE_STREAM_TURN_TLS ? PEER_STREAM_TLS
                                          : PEER_STREAM_PEER;
}

static void dial(struct net_streams *s, const struct node_out *out)
{
    uint32_t stream = out->stream;
    struct peer_dial d = {.stream = stream,
                          .kind = kind_of(out->stream_kind),
                          .to = out->to,
                          .key = out->key ? out->key->mldsa : NULL,
                          .punch = out->punch};
    if (!out->to.family) {
        d.host = out->hub.host;
        d.port = out->hub.port;
    }
    int rc = peer_stream_dial(s->streams, &d);
    if (rc)
        node_stream_down(s->c.node, stream, rc == -ENOBUFS ? "too many connections at once" : strerror(-rc),
                         clock_now());
}

/* ---- the router */

static void mapped(void *arg, const struct net_addr *outside, uint32_t lifetime_s, const char *error)
{
    struct net_streams *s = arg;
    const struct net_addr none = {0};
    node_upnp_mapped(s->c.node, outside ? outside : &none, lifetime_s, error, clock_now());
    s->c.pump(s->c.arg);
}

static void map(struct net_streams *s, uint16_t port, uint32_t lifetime_s)
{
    const struct net_addr none = {0};
    if (!s->upnp && lifetime_s)
        s->upnp = upnp_new(s->c.loop, NULL, mapped, s);
    if (s->upnp)
        upnp_map(s->upnp, port, s->port, lifetime_s);
    else if (lifetime_s)
        node_upnp_mapped(s->c.node, &none, 0, "out of memory", clock_now());
}

/* ---- the verbs */

struct net_streams *net_streams_new(const struct net_edge_config *c)
{
    struct net_streams *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->c = *c;
    s->c.seed = NULL;
    s->tls = tls_node_new(c->seed->mldsa);
    s->streams = s->tls ? peer_streams_new(c->loop, s->tls, &stream_ops, s) : NULL;
    if (s->streams)
        return s;
    tls_node_free(s->tls);
    free(s);
    return NULL;
}

bool net_streams_output(struct net_streams *s, const struct node_out *out, uint16_t port)
{
    switch (out->kind) {
    case NODE_STREAM_LISTEN:
        listen_at(s, out->port ? out->port : port);
        return true;
    case NODE_STREAM_DIAL:
        dial(s, out);
        return true;
    case NODE_STREAM_SEND:
        peer_stream_send(s->streams, out->stream, out->data, out->final);
        return true;
    case NODE_STREAM_CLOSE:
        peer_stream_close(s->streams, out->stream);
        return true;
    case NODE_UPNP_MAP:
        map(s, out->port, out->lifetime_s);
        return true;
    default:
        return false;
    }
}

uint16_t net_streams_port(const struct net_streams *s)
{
    return s->port;
}

void net_streams_free(struct net_streams *s)
{
    struct peer_streams_stats st;
    if (!s)
        return;
    peer_streams_stats(s->streams, &st);
    if (st.dropped || st.refused)
        log_event(LOG_INFO, "streams", "refused=%llu dropped=%llu", (unsigned long long)st.refused,
                  (unsigned long long)st.dropped);
    upnp_free(s->upnp);
    peer_streams_free(s->streams); /* says good-bye with what TLS still needs */
    tls_node_free(s->tls);
    free(s);
}
