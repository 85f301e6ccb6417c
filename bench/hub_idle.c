/* Many devices on one hub: connects COUNT WebSockets over TLS to a hub, logs each in as a device of its own, says `ready COUNT` and stays
 * until standard input ends. tools/bench measures the hub's memory before and after: the published figure is the growth per idle,
 * logged-in TLS client. All clients share one libwebsockets context: what they cost on this side is of no interest. */
#include <errno.h>
#include <libwebsockets.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/init.h"
#include "crypto/rand.h"
#include "crypto/sign.h"
#include "crypto/tls.h"
#include "wire/invite.h"
#include "wire/signal.h"

#define IDLE_POLL_MS 50
#define AT_ONCE 32 /* handshakes in flight: below the hub's accept queue */

struct client {
    struct lws *wsi;
    struct buf in, out;
    bool logged_in;
};

static struct {
    struct client *clients;
    size_t count, started, logged_in, failed;
    struct rng rng;
} bench;

/* Signs the challenge with a key made for this one login. */
static int log_in(struct client *c, const struct signal *challenge)
{
    struct sign_seed seed;
    sign_seed_new(&seed, &bench.rng);
    struct sign_key *key = sign_key_new(&seed);
    struct signal *m = calloc(1, sizeof *m);
    uint8_t binding[TLS_BINDING_LEN];
    int rc = -EIO;
    if (key && m && tls_binding((struct ssl_st *)lws_get_ssl(c->wsi), binding) == 0) {
        m->type = SIGNAL_LOGIN;
        node_id_of(m->u.login.node, sign_key_public(key));
        m->u.login.keys = *sign_key_public(key);
        snprintf(m->u.login.name, sizeof m->u.login.name, "idle");
        uint8_t text[SIGNAL_NONCE_LEN + TLS_BINDING_LEN + NODE_ID_LEN];
        struct wr w = wr_of(text, sizeof text);
        wr_copy(&w, challenge->u.challenge.nonce, SIGNAL_NONCE_LEN);
        wr_copy(&w, binding, sizeof binding);
        wr_copy(&w, m->u.login.node, NODE_ID_LEN);
        rc = sign_make(key, "warren login v1", wr_done(&w), &bench.rng, m->u.login.signature);
        if (rc == 0)
            rc = signal_write(&c->out, m);
    }
    free(m);
    sign_key_free(key);
    return rc;
}

static void take(struct client *c)
{
    struct signal *m = calloc(1, sizeof *m);
    if (m && signal_read(m, buf_bytes(&c->in)) == 0) {
        if (m->type == SIGNAL_CHALLENGE && log_in(c, m) == 0)
            lws_callback_on_writable(c->wsi);
        if (m->type == SIGNAL_WELCOME && !c->logged_in) {
            c->logged_in = true;
            bench.logged_in++;
        }
    }
    if (m)
        signal_done(m);
    free(m);
    buf_done(&c->in);
}

static int send_out(struct client *c)
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

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct client *c = lws_get_opaque_user_data(wsi);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
        bench.failed++;
        if (bench.failed == 1 && bench.logged_in < bench.count)
            fprintf(stderr, "hub_idle: a connection ended: %s\n", in ? (const char *)in : tls_last_error());
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        if (c && buf_add(&c->in, bytes_of(in, len)) == 0 && lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi))
            take(c);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return c ? send_out(c) : 0;
    default:
        return 0;
    }
}

static void connect_one(struct lws_context *context, const struct hub_address *hub)
{
    struct client *c = &bench.clients[bench.started++];
    buf_init(&c->in, SIGNAL_MAX);
    buf_init(&c->out, SIGNAL_MAX);
    struct lws_client_connect_info info = {
        .context = context,
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
        bench.failed++;
}

int main(int argc, char **argv)
{
    struct hub_address hub;
    if (argc != 3 || hub_address_read(&hub, argv[1]) < 0 || !hub.pinned || (bench.count = (size_t)atol(argv[2])) == 0) {
        fprintf(stderr, "usage: bench_hub_idle https://HOST:PORT#sha256:HEX COUNT\n");
        return 2;
    }
    crypto_init();
    bench.rng = rng_system();
    bench.clients = calloc(bench.count, sizeof *bench.clients);
    lws_set_log_level(0, NULL);
    static const struct lws_protocols protocols[] = {{"warren", on_event, 0, 4096, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .provided_client_ssl_ctx = tls_client_ctx_new(hub.fingerprint),
        .fd_limit_per_thread = (unsigned)bench.count + 64,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };
    struct lws_context *context = bench.clients ? lws_create_context(&info) : NULL;
    if (!context) {
        fprintf(stderr, "hub_idle: no memory, or too few descriptors (ulimit -n)\n");
        return 1;
    }
    while (bench.logged_in < bench.count && !bench.failed) {
        while (bench.started < bench.count && bench.started - bench.logged_in < AT_ONCE)
            connect_one(context, &hub);
        lws_service(context, 0);
    }
    if (bench.failed)
        return 1;
    printf("ready %zu\n", bench.logged_in);
    fflush(stdout);
    /* Stays connected, and answers pings, until the measuring side closes our standard input. */
    struct pollfd stdin_poll = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!bench.failed && poll(&stdin_poll, 1, IDLE_POLL_MS) == 0)
        lws_service(context, -1); /* what is ready, without waiting: standard input is not among its descriptors */
    lws_context_destroy(context);
    free(bench.clients);
    return bench.failed ? 1 : 0;
}
