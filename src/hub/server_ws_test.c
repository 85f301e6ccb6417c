/* Nodes' own WebSocket client against a hub in a child process: TLS, upgrade, login, relay, back-pressure,
 * limits, goodbye. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "crypto/rand.h"
#include "hub/server.h"
#include "io/udp.h"
#include "io/ws_client.h"
#include "party/party.h"
#include "wire/stun.h"
#include "wire/udp_relay.h"

#define PATIENCE_MS 60000
#define FRAMES      400
#define FRAME_SIZE  1300

struct world;

struct client {
    struct world *w;
    struct ws_client *ws;
    struct sign_key *key;
    uint8_t id[NODE_ID_LEN], binding[32], nonce[32];
    uint32_t relay;
    bool up, down, welcome, joined, acked;
    uint8_t udp_key[SIGNAL_UDP_KEY_LEN];
    struct net_addr hub_udp; /* on loopback */
    struct udp *udp;
    bool heard, turn;
    struct udp_relay got; /* the last message of the relay, or else */
    struct net_addr mapped;
    uint8_t datagram[2048];
    size_t datagram_n;
    struct net_addr heard_from;
    char why[256], error[64];
    struct buf out[8];
    bool out_binary[8];
    size_t out_first, out_count;
    uint64_t frames_in, frames_wrong, dropped;
};

struct world {
    uv_loop_t loop;
    uv_timer_t patience;
    bool too_late;
    char state[64];
    pid_t pid;
    int out;
    struct hub_address at;
    struct rng rng;
    struct client clients[3];
};

static void queue(struct client *c, struct bytes b, bool binary)
{
    assert_true(c->out_count < 8);
    size_t at = (c->out_first + c->out_count++) % 8;
    buf_init(&c->out[at], 1 << 17);
    assert_int_equal(buf_add(&c->out[at], b), 0);
    c->out_binary[at] = binary;
    ws_client_want_write(c->ws);
}

static void say(struct client *c, const struct signal *s)
{
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    assert_int_equal(signal_write(&b, s), 0);
    queue(c, buf_bytes(&b), false);
    buf_done(&b);
}

static bool on_take(void *arg, struct buf *out, bool *binary)
{
    struct client *c = arg;
    if (c->out_count == 0)
        return false;
    struct buf *b = &c->out[c->out_first];
    *binary = c->out_binary[c->out_first];
    assert_int_equal(buf_add(out, buf_bytes(b)), 0);
    buf_done(b);
    c->out_first = (c->out_first + 1) % 8;
    c->out_count--;
    return true;
}

static void on_up(void *arg, const uint8_t binding[32])
{
    struct client *c = arg;
    c->up = true;
    memcpy(c->binding, binding, 32);
}

static void on_down(void *arg, const char *why)
{
    struct client *c = arg;
    c->down = true;
    snprintf(c->why, sizeof c->why, "%s", why);
}

static void login(struct client *c)
{
    struct signal s = {.type = SIGNAL_LOGIN};
    uint8_t msg[96];
    memcpy(s.u.login.node, c->id, 32);
    s.u.login.keys = *sign_key_public(c->key);
    strcpy(s.u.login.name, "tester");
    memcpy(msg, c->nonce, 32);
    memcpy(msg + 32, c->binding, 32);
    memcpy(msg + 64, c->id, 32);
    assert_int_equal(
        sign_make(c->key, "warren login v1", bytes_of(msg, sizeof msg), &c->w->rng, s.u.login.signature), 0);
    say(c, &s);
}

static void on_text(void *arg, struct bytes text)
{
    struct client *c = arg;
    struct signal s;
    assert_int_equal(signal_read(&s, text), 0);
    if (s.type == SIGNAL_CHALLENGE) {
        memcpy(c->nonce, s.u.challenge.nonce, 32);
        login(c);
    } else if (s.type == SIGNAL_WELCOME) {
        c->welcome = true;
        c->relay = s.u.welcome.relay;
        c->turn = s.u.welcome.has_turn;
        memcpy(c->udp_key, s.u.welcome.udp_key, sizeof c->udp_key);
        /* The hub says "where you have found me". */
        for (size_t i = 0; i < s.u.welcome.udp_count; i++)
            if (s.u.welcome.udp[i].family == 4 && net_addr_ip4(&s.u.welcome.udp[i]) == 0)
                c->hub_udp = net_addr4(0x7f000001, s.u.welcome.udp[i].port);
    } else if (s.type == SIGNAL_LOG && s.u.log.op == LOG_OP_ACK) {
        c->acked = true;
    } else if (s.type == SIGNAL_PEER_LIST) {
        c->joined = true;
    } else if (s.type == SIGNAL_ERROR) {
        snprintf(c->error, sizeof c->error, "%s", s.u.error.code);
    }
    signal_done(&s);
}

static void on_binary(void *arg, uint8_t *p, size_t n)
{
    struct client *c = arg;
    struct rd r = rd_of(bytes_of(p, n));
    struct relay_frame f;
    while (relay_frame_read(&f, &r) == 1) {
        struct rd payload = rd_of(f.payload);
        if (f.kind == RELAY_DROPPED)
            c->dropped += rd_u32(&payload);
        else if (f.kind != RELAY_DATA || f.payload.n != FRAME_SIZE ||
                 rd_u32(&payload) != c->frames_in + c->dropped)
            c->frames_wrong++;
        else
            c->frames_in++;
    }
    assert_true(rd_ok(&r));
}

static const struct ws_client_ops ops = {on_up, on_text, on_binary, on_down, on_take};

static void on_patience(uv_timer_t *t)
{
    ((struct world *)t->data)->too_late = true;
}

/* Turns the loop until the flag is set. */
static void wait_for(struct world *w, const bool *flag)
{
    uv_timer_start(&w->patience, on_patience, PATIENCE_MS, 0);
    while (!*flag && !w->too_late)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_true(*flag);
}

static void start(struct world *w, const struct hub_options *base)
{
    int out[2];
    char line[512];
    size_t n = 0;
    memset(w, 0, sizeof *w);
    w->rng = rng_system();
    snprintf(w->state, sizeof w->state, "/tmp/warren-hub-ws-XXXXXX");
    assert_non_null(mkdtemp(w->state));
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0) {
        struct hub_options o = *base;
        o.state = w->state;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* not outlive a failed test */
        dup2(out[1], 1);
        _exit(hub_serve(&o));
    }
    close(out[1]);
    w->out = out[0];
    while (n + 1 < sizeof line && read(w->out, line + n, 1) == 1 && line[n] != '\n')
        n++;
    line[n] = 0;
    assert_memory_equal(line, "hub ready ", 10);
    assert_int_equal(hub_address_read(&w->at, line + 10), 0);
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->patience);
    w->patience.data = w;
    for (int i = 0; i < 3; i++) {
        struct sign_seed seed;
        memset(&seed, i + 1, sizeof seed);
        w->clients[i].w = w;
        w->clients[i].key = sign_key_new(&seed);
        node_id_of(w->clients[i].id, sign_key_public(w->clients[i].key));
        w->clients[i].ws = ws_client_new(&w->loop, &ops, &w->clients[i]);
        assert_non_null(w->clients[i].ws);
    }
}

static void stop(struct world *w)
{
    static const char *const files[] = {"hub.db",        "hub.db-wal",      "hub.db-shm",
                                        "hub.lock",      "hub-mldsa87.crt", "hub-mldsa87.key",
                                        "hub-ecdsa.crt", "hub-ecdsa.key"};
    int status;
    for (int i = 0; i < 3; i++) {
        ws_client_free(w->clients[i].ws);
        sign_key_free(w->clients[i].key);
        while (w->clients[i].out_count-- > 0)
            buf_done(&w->clients[i].out[w->clients[i].out_first++ % 8]);
    }
    uv_close((uv_handle_t *)&w->patience, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    kill(w->pid, SIGTERM);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    close(w->out);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", w->state, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(w->state), 0);
}

static struct hub_options options(void)
{
    struct hub_options o = {.listen = "127.0.0.1:0", .udp = ":0"};
    hub_limits_default(&o.limits);
    return o;
}

static void come_in(struct world *w, int i)
{
    struct client *c = &w->clients[i];
    assert_int_equal(ws_client_connect(c->ws, &w->at, "/api/v1/ws"), 0);
    wait_for(w, &c->welcome);
    assert_true(c->up);
    assert_int_not_equal(c->relay, 0);
}

static struct party_author author(struct world *w, int i)
{
    struct party_author a = {.key = w->clients[i].key, .rng = w->rng, .now_unix_s = (uint64_t)time(NULL)};
    memcpy(a.id, w->clients[i].id, NODE_ID_LEN);
    return a;
}

static void send_entry(struct world *w, int i, enum signal_log_op op, const struct party *p, struct buf *b)
{
    struct signal s = {.type = SIGNAL_LOG, .u.log.op = op, .u.log.count = 1};
    s.u.log.entries[0] = buf_bytes(b);
    memcpy(s.u.log.party, party_id(p), PARTY_ID_LEN);
    w->clients[i].acked = false;
    say(&w->clients[i], &s);
    wait_for(w, &w->clients[i].acked);
    buf_clear(b);
}

static void join(struct world *w, int i, const struct party *p)
{
    struct signal s = {.type = SIGNAL_JOIN, .u.join.since = party_seq(p) + 1};
    memcpy(s.u.join.party, party_id(p), PARTY_ID_LEN);
    w->clients[i].joined = false;
    say(&w->clients[i], &s);
}

/* Client 1 becomes a member of client 0's party, and both have joined. */
static struct party *two_members(struct world *w)
{
    struct buf b;
    uint8_t secret[32];
    enum party_verdict v;
    struct party_author a = author(w, 0), joiner = author(w, 1);
    struct party_genesis_args args = {"Friday", "owner", MODE_TAP, 0};
    buf_init(&b, ENTRY_MAX);
    assert_int_equal(party_make_genesis(&b, &a, &args), 0);
    struct party *p = party_open(buf_bytes(&b), a.now_unix_s, &v);
    assert_non_null(p);
    send_entry(w, 0, LOG_OP_CREATE, p, &b);
    join(w, 0, p);
    wait_for(w, &w->clients[0].joined);
    assert_int_equal(party_make_invite(&b, p, &a, 1, a.now_unix_s + 60, ROLE_MEMBER, secret), PARTY_OK);
    assert_int_equal(party_append(p, buf_bytes(&b), a.now_unix_s), PARTY_OK);
    send_entry(w, 0, LOG_OP_APPEND, p, &b);
    /* The owner's connection may carry the joiner's entry: what counts is who signed it. */
    assert_int_equal(party_make_join(&b, p, &joiner, secret, "joiner"), PARTY_OK);
    assert_int_equal(party_append(p, buf_bytes(&b), a.now_unix_s), PARTY_OK);
    send_entry(w, 0, LOG_OP_APPEND, p, &b);
    join(w, 1, p);
    wait_for(w, &w->clients[1].joined);
    buf_done(&b);
    return p;
}

static void frames_cross_the_hub(void **state)
{
    static uint8_t message[RELAY_MESSAGE_MAX], payload[FRAME_SIZE];
    struct world w;
    struct hub_options o = options();
    start(&w, &o);
    come_in(&w, 0);
    come_in(&w, 1);
    struct party *p = two_members(&w);
    struct client *from = &w.clients[0], *to = &w.clients[1];
    for (uint32_t n = 0; n < FRAMES;) {
        struct wr out = wr_of(message, sizeof message);
        for (int i = 0; i < 40; i++, n++) {
            struct wr head = wr_of(payload, sizeof payload);
            wr_u32(&head, n);
            struct relay_frame f = {RELAY_DATA, to->relay, bytes_of(payload, sizeof payload)};
            relay_frame_write(&out, &f);
        }
        assert_true(wr_ok(&out));
        queue(from, wr_done(&out), true);
        bool sent = false;
        while (!sent) {
            uv_run(&w.loop, UV_RUN_NOWAIT);
            sent = from->out_count < 4;
        }
    }
    uv_timer_start(&w.patience, on_patience, PATIENCE_MS, 0);
    while (to->frames_in + to->dropped < FRAMES && !w.too_late)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(to->frames_in, FRAMES); /* 520 kB is less than its queue holds: none may be lost */
    assert_int_equal(to->frames_wrong, 0);
    party_free(p);
    stop(&w);
}

/* ---- UDP ---- */

static void on_datagram(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p,
                        size_t n, size_t room)
{
    struct client *c = arg;
    struct stun_message m;
    memcpy(c->datagram, p, n);
    c->datagram_n = n;
    c->heard_from = *from;
    c->heard = true;
    if (stun_is(bytes_of(p, n)) && stun_read(&m, bytes_of(p, n)) == 0)
        c->mapped = m.mapped;
    else
        assert_int_equal(udp_relay_read(&c->got, bytes_of(c->datagram, n)), 0);
}

static const struct udp_ops udp_client_ops = {.receive = on_datagram};

static void hear(struct world *w, struct client *c)
{
    wait_for(w, &c->heard);
    c->heard = false;
    assert_true(net_addr_equal(&c->heard_from, &c->hub_udp));
}

static void ask_relay(struct world *w, struct client *c, struct udp_relay *m)
{
    uint8_t raw[UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX];
    size_t n = udp_relay_write(raw, sizeof raw, m, c->udp_key);
    assert_true(n > 0);
    assert_int_equal(udp_send(c->udp, &c->hub_udp, raw, n), 0);
}

static uint32_t bind_udp(struct world *w, struct client *c)
{
    struct net_addr here;
    struct udp_relay m = {.kind = UDP_RELAY_BIND, .index = c->relay, .time_ms = 1};
    ask_relay(w, c, &m);
    hear(w, c);
    assert_int_equal(c->got.kind, UDP_RELAY_CHALLENGE);
    assert_true(udp_relay_verify(&c->got, c->udp_key));
    m = c->got;
    m.kind = UDP_RELAY_CONFIRM;
    ask_relay(w, c, &m);
    hear(w, c);
    assert_int_equal(c->got.kind, UDP_RELAY_BOUND);
    assert_true(udp_relay_verify(&c->got, c->udp_key));
    here = udp_local(c->udp);
    assert_true(net_addr_equal(&c->got.seen, &here));
    assert_int_equal(c->got.lifetime_s, 120);
    return c->got.token;
}

static void datagrams_cross_the_hub(void **state)
{
    struct world w;
    struct hub_options o = options();
    uint32_t tokens[2];
    uint8_t raw[256], text[1200] = {4, 5, 6, [1199] = 7};
    struct stun_writer sw;
    start(&w, &o);
    come_in(&w, 0);
    come_in(&w, 1);
    struct party *p = two_members(&w);
    for (int i = 0; i < 2; i++) {
        struct client *c = &w.clients[i];
        struct net_addr here = net_addr4(0x7f000001, 0);
        assert_int_not_equal(c->hub_udp.port, 0);
        assert_false(c->turn);
        assert_int_equal(udp_open(&c->udp, &w.loop, &here, UDP_DONT_FRAGMENT, &udp_client_ops, c), 0);
        here = udp_local(c->udp);
        stun_begin(&sw, raw, sizeof raw, STUN_REQUEST, STUN_BINDING, (uint8_t[STUN_TXID_LEN]){9});
        stun_put(&sw, STUN_ATTR_SOFTWARE, bytes_of(text, 40));
        struct bytes request = stun_end(&sw);
        assert_int_equal(udp_send(c->udp, &c->hub_udp, request.p, request.n), 0);
        hear(&w, c);
        assert_true(net_addr_equal(&c->mapped, &here));
        tokens[i] = bind_udp(&w, c);
    }
    for (int i = 0; i < 2; i++) {
        struct client *from = &w.clients[i], *to = &w.clients[1 - i];
        struct udp_relay m = {.kind = UDP_RELAY_DATA, .index = to->relay, .token = tokens[i]};
        m.datagram = bytes_of(text, sizeof text);
        ask_relay(&w, from, &m);
        hear(&w, to);
        assert_int_equal(to->got.kind, UDP_RELAY_DATA);
        assert_int_equal(to->got.index, from->relay);
        assert_int_equal(to->got.datagram.n, sizeof text);
        assert_memory_equal(to->got.datagram.p, text, sizeof text);
    }
    /* Who hangs up is bound no more, and the other is told. */
    ws_client_close(w.clients[1].ws);
    struct udp_relay m = {.kind = UDP_RELAY_KEEP, .index = w.clients[1].relay, .token = tokens[1]};
    for (bool gone = false; !gone;) {
        ask_relay(&w, &w.clients[1], &m);
        hear(&w, &w.clients[1]);
        gone = w.clients[1].got.kind == UDP_RELAY_UNBOUND;
        assert_true(gone || w.clients[1].got.kind == UDP_RELAY_KEPT);
    }
    assert_int_equal(w.clients[1].got.code, UDP_RELAY_REBIND);
    m = (struct udp_relay){.kind = UDP_RELAY_DATA, .index = w.clients[1].relay, .token = tokens[0]};
    ask_relay(&w, &w.clients[0], &m);
    hear(&w, &w.clients[0]);
    assert_int_equal(w.clients[0].got.kind, UDP_RELAY_UNBOUND);
    assert_int_equal(w.clients[0].got.code, UDP_RELAY_PEER_GONE);
    udp_close(w.clients[0].udp);
    udp_close(w.clients[1].udp);
    party_free(p);
    stop(&w);
}

static void a_turn_server_is_told_of(void **state)
{
    struct world w;
    char path[] = "/tmp/warren-turn-XXXXXX";
    struct hub_options o = options();
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "north\n", 6), 6);
    close(fd);
    o.udp = "none";
    o.turn = "turns:turn.example.org:5349";
    o.turn_secret = path;
    start(&w, &o);
    come_in(&w, 0);
    assert_true(w.clients[0].turn);
    assert_int_equal(w.clients[0].hub_udp.family, 0);
    stop(&w);
    unlink(path);
}

static void limits_are_felt(void **state)
{
    struct world w;
    struct hub_options o = options();
    o.limits.connections_per_ip = 2;
    start(&w, &o);
    come_in(&w, 0);
    come_in(&w, 1);
    assert_int_equal(ws_client_connect(w.clients[2].ws, &w.at, "/api/v1/ws"), 0);
    wait_for(&w, &w.clients[2].down);
    assert_false(w.clients[2].welcome);
    assert_string_equal(w.clients[2].why, "the hub closed the connection: try later");
    assert_false(w.clients[0].down || w.clients[1].down);
    stop(&w);
}

static void a_wrong_path_or_pin_gets_nowhere(void **state)
{
    struct world w;
    struct hub_options o = options();
    start(&w, &o);
    assert_int_equal(ws_client_connect(w.clients[0].ws, &w.at, "/api/v1/other"), 0);
    wait_for(&w, &w.clients[0].down);
    assert_false(w.clients[0].up);
    struct hub_address other = w.at;
    other.fingerprint[0] ^= 1;
    assert_int_equal(ws_client_connect(w.clients[1].ws, &other, "/api/v1/ws"), 0);
    wait_for(&w, &w.clients[1].down);
    assert_false(w.clients[1].up);
    assert_non_null(strstr(w.clients[1].why, "certificate"));
    stop(&w);
}

static void the_second_connection_replaces_the_first(void **state)
{
    struct world w;
    struct hub_options o = options();
    start(&w, &o);
    come_in(&w, 0);
    struct sign_key *own = w.clients[1].key;
    w.clients[1].key = w.clients[0].key;
    memcpy(w.clients[1].id, w.clients[0].id, NODE_ID_LEN);
    come_in(&w, 1);
    wait_for(&w, &w.clients[0].down);
    assert_string_equal(w.clients[0].error, "replaced");
    assert_string_equal(w.clients[0].why, "the hub closed the connection: replaced");
    assert_false(w.clients[1].down);
    w.clients[1].key = own;
    stop(&w);
}

static void sigterm_says_goodbye(void **state)
{
    struct world w;
    struct hub_options o = options();
    start(&w, &o);
    come_in(&w, 0);
    assert_int_equal(kill(w.pid, SIGTERM), 0);
    wait_for(&w, &w.clients[0].down);
    assert_string_equal(w.clients[0].error, "shutting_down");
    assert_string_equal(w.clients[0].why, "the hub closed the connection: shutting down");
    stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_cross_the_hub),
        cmocka_unit_test(datagrams_cross_the_hub),
        cmocka_unit_test(a_turn_server_is_told_of),
        cmocka_unit_test(limits_are_felt),
        cmocka_unit_test(a_wrong_path_or_pin_gets_nowhere),
        cmocka_unit_test(the_second_connection_replaces_the_first),
        cmocka_unit_test(sigterm_says_goodbye),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
