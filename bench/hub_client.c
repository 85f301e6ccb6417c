#include "bench/hub_client.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/init.h"
#include "crypto/tls.h"

#define AT_ONCE 32 /* handshakes in flight: below the hub's accept queue */

int hub_client_say(struct hub_client *c, const struct signal *s)
{
    if (c->out.n)
        return -EBUSY;
    int rc = signal_write(&c->out, s);
    if (rc == 0)
        hub_client_want(c);
    return rc;
}

void hub_client_want(struct hub_client *c)
{
    lws_callback_on_writable(c->wsi);
}

/* Signs the challenge with a key made for this client. */
static int log_in(struct hub_client *c, const struct signal *challenge)
{
    struct sign_seed seed;
    uint8_t binding[TLS_BINDING_LEN];
    sign_seed_new(&seed, &c->swarm->rng);
    c->key = sign_key_new(&seed);
    struct signal *m = calloc(1, sizeof *m);
    int rc = -EIO;
    if (c->key && m && tls_binding((struct ssl_st *)lws_get_ssl(c->wsi), binding) == 0) {
        m->type = SIGNAL_LOGIN;
        node_id_of(c->id, sign_key_public(c->key));
        memcpy(m->u.login.node, c->id, NODE_ID_LEN);
        m->u.login.keys = *sign_key_public(c->key);
        snprintf(m->u.login.name, sizeof m->u.login.name, "bench");
        uint8_t text[SIGNAL_NONCE_LEN + TLS_BINDING_LEN + NODE_ID_LEN];
        struct wr w = wr_of(text, sizeof text);
        wr_copy(&w, challenge->u.challenge.nonce, SIGNAL_NONCE_LEN);
        wr_copy(&w, binding, sizeof binding);
        wr_copy(&w, m->u.login.node, NODE_ID_LEN);
        rc = sign_make(c->key, "warren login v1", wr_done(&w), &c->swarm->rng, m->u.login.signature);
        if (rc == 0)
            rc = hub_client_say(c, m);
    }
    free(m);
    return rc;
}

static void take(struct hub_client *c)
{
    struct hub_swarm *w = c->swarm;
    struct signal *m = calloc(1, sizeof *m);
    if (m && signal_read(m, buf_bytes(&c->in)) == 0) {
        if (m->type == SIGNAL_CHALLENGE && !c->key) {
            w->failed += log_in(c, m) < 0;
        } else if (m->type == SIGNAL_WELCOME && !c->logged_in) {
            c->logged_in = true;
            w->logged_in++;
        } else if (w->on_message) {
            w->on_message(c, m);
        }
    }
    if (m)
        signal_done(m);
    free(m);
    buf_done(&c->in);
}

static int send_out(struct hub_client *c)
{
    if (c->out.n == 0)
        return 0;
    uint8_t *p = malloc(LWS_PRE + c->out.n);
    if (!p)
        return -1;
    memcpy(p + LWS_PRE, c->out.p, c->out.n);
    int n = lws_write(c->wsi, p + LWS_PRE, c->out.n, LWS_WRITE_TEXT);
    free(p);
    buf_done(&c->out);
    return n < 0 ? -1 : 0;
}

static int writable(struct hub_client *c)
{
    if (c->out.n == 0 && c->swarm->on_writable)
        c->swarm->on_writable(c);
    return send_out(c);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct hub_client *c = lws_get_opaque_user_data(wsi);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
        if (c && c->swarm->failed++ == 0)
            fprintf(stderr, "bench: a connection ended: %s\n", in ? (const char *)in : tls_last_error());
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        if (c && buf_add(&c->in, bytes_of(in, len)) == 0 && lws_is_final_fragment(wsi) &&
            !lws_remaining_packet_payload(wsi))
            take(c);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return c ? writable(c) : 0;
    default:
        return 0;
    }
}

static void connect_one(struct hub_swarm *w, const struct hub_address *hub)
{
    struct hub_client *c = &w->clients[w->started];
    c->swarm = w;
    c->number = w->started++;
    buf_init(&c->in, SIGNAL_MAX);
    buf_init(&c->out, SIGNAL_MAX);
    struct lws_client_connect_info info = {
        .context = w->context,
        .address = hub->host,
        .host = hub->host,
        .origin = hub->host,
        .port = hub->port,
        .path = "/api/v1/ws",
        .local_protocol_name = "warren",
        .ssl_connection = LCCSCF_USE_SSL | LCCSCF_ALLOW_SELFSIGNED | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK |
                          LCCSCF_ALLOW_INSECURE,
        .opaque_user_data = c,
        .pwsi = &c->wsi,
    };
    if (!lws_client_connect_via_info(&info))
        w->failed++;
}

int swarm_open(struct hub_swarm *w, const struct hub_address *hub, size_t count)
{
    static const struct lws_protocols protocols[] = {{"warren", on_event, 0, 4096, 0, NULL, 0},
                                                     {NULL, NULL, 0, 0, 0, NULL, 0}};
    crypto_init();
    lws_set_log_level(0, NULL);
    w->rng = rng_system();
    w->count = count;
    w->clients = calloc(count, sizeof *w->clients);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .provided_client_ssl_ctx = tls_client_ctx_new(hub->fingerprint),
        .fd_limit_per_thread = (unsigned)count + 64,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };
    w->context = w->clients ? lws_create_context(&info) : NULL;
    return w->context ? 0 : -ENOMEM;
}

int swarm_log_in(struct hub_swarm *w, const struct hub_address *hub)
{
    while (w->logged_in < w->count && !w->failed) {
        while (w->started < w->count && w->started - w->logged_in < AT_ONCE)
            connect_one(w, hub);
        swarm_turn(w, false);
    }
    return w->failed ? -EIO : 0;
}

int swarm_turn(struct hub_swarm *w, bool now)
{
    lws_service(w->context, now ? -1 : 0);
    return w->failed ? -EIO : 0;
}

void swarm_close(struct hub_swarm *w)
{
    for (size_t i = 0; i < w->started; i++)
        lws_set_opaque_user_data(w->clients[i].wsi, NULL); /* their ends are ours now */
    lws_context_destroy(w->context);
    for (size_t i = 0; i < w->started; i++) {
        sign_key_free(w->clients[i].key);
        buf_done(&w->clients[i].in);
        buf_done(&w->clients[i].out);
    }
    free(w->clients);
}
