/* The hub's relay over WebSockets: two devices of one party, each a process of its own with the nodes' own
 * client, log in to a hub that runs. One sends relay frames, packed as a node packs them; the other counts
 * what comes. Each size is measured twice: with a bounded amount on its way, as transport protocols inside do
 * it, where nothing may be lost; and as a flood, where the hub drops what the receiver is too slow for.
 * Processor time is the hub's own, user and system, from /proc: divided by it the figures hardly depend on
 * what else the machine does. Prints JSON lines {"name", "value", "unit"} like bench_handshake. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "bench/relay_kit.h"
#include "crypto/init.h"
#include "crypto/rand.h"
#include "crypto/sign.h"
#include "io/ws_client.h"
#include "party/party.h"
#include "wire/relay.h"
#include "wire/signal.h"

#define PATH        "/api/v1/ws"
#define SETUP_S     30
#define WARM_MS     500
#define TURN_MS     2
#define OUTBOX      4
#define SECONDS     3
#define WINDOW      (256 * 1024)
#define MESSAGE_MAX 16368 /* as a node packs (node/hub_link.c) */

static const size_t sizes[] = {64, 512, 1400};

/* What both processes see. */
struct shared {
    _Atomic uint32_t relay; /* of the receiver; 0: not ready */
    _Atomic bool party_ready;
    uint8_t party[PARTY_ID_LEN];
    _Atomic uint64_t frames, bytes, dropped, sent;
    _Atomic bool waiting; /* the sender, for the receiver */
    int event;            /* that wakes it */
    pid_t receiver;
};

struct end {
    uv_loop_t loop;
    uv_timer_t turn;
    uv_poll_t news;
    struct ws_client *ws;
    struct rng rng;
    struct sign_key *key;
    uint8_t id[NODE_ID_LEN], binding[32];
    struct shared *shared;
    uint32_t relay;
    bool joined, acked;
    struct buf out[OUTBOX]; /* texts */
    size_t first, count;
    struct buf flood; /* one message of frames; empty: nothing is sent */
    size_t flood_frames;
    uint64_t window; /* bytes on their way at most; 0: no limit */
};

/* ---- a device ---- */

static void say(struct end *e, const struct signal *s)
{
    require(e->count < OUTBOX, "too much to say");
    struct buf *b = &e->out[(e->first + e->count++) % OUTBOX];
    buf_init(b, SIGNAL_MAX);
    require(signal_write(b, s) == 0, "no message");
    ws_client_want_write(e->ws);
}

static void on_up(void *arg, const uint8_t binding[32])
{
    memcpy(((struct end *)arg)->binding, binding, 32);
}

static void on_down(void *arg, const char *why)
{
    (void)arg;
    die(why);
}

static void log_in(struct end *e, const struct signal *challenge)
{
    struct signal *s = calloc(1, sizeof *s);
    uint8_t text[SIGNAL_NONCE_LEN + 32 + NODE_ID_LEN];
    struct wr w = wr_of(text, sizeof text);
    require(s != NULL, "no memory");
    s->type = SIGNAL_LOGIN;
    memcpy(s->u.login.node, e->id, NODE_ID_LEN);
    s->u.login.keys = *sign_key_public(e->key);
    snprintf(s->u.login.name, sizeof s->u.login.name, "bench");
    wr_copy(&w, challenge->u.challenge.nonce, SIGNAL_NONCE_LEN);
    wr_copy(&w, e->binding, 32);
    wr_copy(&w, e->id, NODE_ID_LEN);
    require(sign_make(e->key, "warren login v1", wr_done(&w), &e->rng, s->u.login.signature) == 0,
            "no signature");
    say(e, s);
    free(s);
}

static void on_text(void *arg, struct bytes text)
{
    struct end *e = arg;
    struct signal *s = calloc(1, sizeof *s);
    require(s && signal_read(s, text) == 0, "unreadable text from the hub");
    if (s->type == SIGNAL_CHALLENGE)
        log_in(e, s);
    else if (s->type == SIGNAL_WELCOME)
        e->relay = s->u.welcome.relay;
    else if (s->type == SIGNAL_LOG && s->u.log.op == LOG_OP_ACK)
        e->acked = true;
    else if (s->type == SIGNAL_PEER_LIST)
        e->joined = true;
    else if (s->type == SIGNAL_ERROR)
        die(s->u.error.message);
    signal_done(s);
    free(s);
}

static void on_binary(void *arg, uint8_t *p, size_t n)
{
    struct end *e = arg;
    struct rd r = rd_of(bytes_of(p, n));
    struct relay_frame f;
    uint64_t frames = 0, bytes = 0;
    int rc;
    while ((rc = relay_frame_read(&f, &r)) == 1) {
        struct rd payload = rd_of(f.payload);
        if (f.kind == RELAY_DATA) {
            frames++;
            bytes += f.payload.n;
        } else if (f.kind == RELAY_DROPPED) {
            atomic_fetch_add(&e->shared->dropped, rd_u32(&payload));
        }
    }
    require(rc == 0, "unreadable frames");
    atomic_fetch_add(&e->shared->frames, frames);
    atomic_fetch_add(&e->shared->bytes, bytes);
    if (atomic_exchange(&e->shared->waiting, false))
        require(write(e->shared->event, &(uint64_t){1}, 8) == 8, "no event");
}

static bool window_full(const struct end *e)
{
    struct shared *s = e->shared;
    uint64_t frames = atomic_load(&s->sent) - atomic_load(&s->frames) - atomic_load(&s->dropped);
    return e->window > 0 && (frames + e->flood_frames) * (e->flood.n / e->flood_frames) > e->window;
}

static bool on_take(void *arg, struct buf *out, bool *binary)
{
    struct end *e = arg;
    if (e->count > 0) {
        struct buf *b = &e->out[e->first];
        *binary = false;
        require(buf_add(out, buf_bytes(b)) == 0, "no memory");
        buf_done(b);
        e->first = (e->first + 1) % OUTBOX;
        e->count--;
        return true;
    }
    if (e->flood.n == 0)
        return false;
    if (window_full(e)) {
        atomic_store(&e->shared->waiting, true);
        if (window_full(e)) /* the receiver may have looked before we said so */
            return false;
    }
    *binary = true;
    atomic_fetch_add(&e->shared->sent, e->flood_frames);
    return buf_add(out, buf_bytes(&e->flood)) == 0;
}

static const struct ws_client_ops ops = {on_up, on_text, on_binary, on_down, on_take};

static void end_init(struct end *e, struct shared *shared)
{
    struct sign_seed seed;
    memset(e, 0, sizeof *e);
    e->rng = rng_system();
    e->shared = shared;
    sign_seed_new(&seed, &e->rng);
    e->key = sign_key_new(&seed);
    require(e->key != NULL, "no key");
    node_id_of(e->id, sign_key_public(e->key));
    buf_init(&e->flood, RELAY_MESSAGE_MAX);
}

static void on_turn(uv_timer_t *t)
{
    (void)t; /* wakes the loop, so that what the other process says is seen */
}

static void on_news(uv_poll_t *p, int status, int events)
{
    struct end *e = p->data;
    uint64_t n;
    (void)status, (void)events;
    if (read(e->shared->event, &n, sizeof n) == sizeof n)
        ws_client_want_write(e->ws);
}

static void turn_for(struct end *e, double seconds)
{
    for (double until = now_s() + seconds; now_s() < until;)
        uv_run(&e->loop, UV_RUN_ONCE);
}

static void await_bool(struct end *e, const bool *flag, const char *what)
{
    double until = now_s() + SETUP_S;
    while (!*flag) {
        require(now_s() < until, what);
        uv_run(&e->loop, UV_RUN_ONCE);
    }
}

static void come_in(struct end *e, const struct hub_address *hub)
{
    require(uv_loop_init(&e->loop) == 0, "no loop");
    uv_timer_init(&e->loop, &e->turn);
    uv_timer_start(&e->turn, on_turn, TURN_MS, TURN_MS);
    e->ws = ws_client_new(&e->loop, &ops, e);
    require(e->ws && ws_client_connect(e->ws, hub, PATH) == 0, "no connection");
    double until = now_s() + SETUP_S;
    while (e->relay == 0) {
        require(now_s() < until, "no login");
        uv_run(&e->loop, UV_RUN_ONCE);
    }
}

/* ---- the party ---- */

static void join(void *arg, const uint8_t party[PARTY_ID_LEN])
{
    struct end *e = arg;
    struct signal s = {.type = SIGNAL_JOIN, .u.join.since = 0};
    memcpy(s.u.join.party, party, PARTY_ID_LEN);
    say(e, &s);
    await_bool(e, &e->joined, "the party was not joined");
}

static void send_entry(void *arg, enum signal_log_op op, const struct party *p, struct buf *b)
{
    struct end *e = arg;
    struct signal s = {.type = SIGNAL_LOG, .u.log.op = op, .u.log.ref = 1, .u.log.count = 1};
    s.u.log.entries[0] = buf_bytes(b);
    memcpy(s.u.log.party, party_id(p), PARTY_ID_LEN);
    e->acked = false;
    say(e, &s);
    await_bool(e, &e->acked, "an entry was not acknowledged");
    buf_clear(b);
}

static void found_party(struct end *owner, const struct end *other)
{
    const struct founding f = {.owner = author_of(owner->key, owner->id, owner->rng),
                               .joiner = author_of(other->key, other->id, other->rng),
                               .entry = send_entry,
                               .join = join,
                               .arg = owner};
    found(&f, owner->shared->party);
    atomic_store(&owner->shared->party_ready, true);
}

static void receive_forever(struct end *e, const struct hub_address *hub)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    come_in(e, hub);
    while (!atomic_load(&e->shared->party_ready))
        uv_run(&e->loop, UV_RUN_ONCE);
    join(e, e->shared->party);
    atomic_store(&e->shared->relay, e->relay);
    uv_run(&e->loop, UV_RUN_DEFAULT);
}

/* ---- the measurement ---- */

struct reading {
    double at, cpu, sender, receiver;
    uint64_t frames, bytes, dropped, sent;
};

static struct reading read_all(const struct shared *s, pid_t hub)
{
    return (struct reading){.at = now_s(),
                            .cpu = cpu_of(hub),
                            .sender = cpu_of(getpid()),
                            .receiver = cpu_of(s->receiver),
                            .frames = atomic_load(&s->frames),
                            .bytes = atomic_load(&s->bytes),
                            .dropped = atomic_load(&s->dropped),
                            .sent = atomic_load(&s->sent)};
}

static void report(size_t size, bool flood, const char *what, double value, const char *unit)
{
    printf("{\"name\": \"relay websocket %zu B%s, %s\", \"value\": %.3f, \"unit\": \"%s\"}\n", size,
           flood ? " flooded" : "", what, value, unit);
    fflush(stdout);
}

static void fill(struct end *e, uint32_t to, size_t size)
{
    static const uint8_t payload[RELAY_PAYLOAD_MAX];
    buf_clear(&e->flood);
    for (e->flood_frames = 0; e->flood.n + RELAY_HEADER_LEN + size <= MESSAGE_MAX; e->flood_frames++) {
        uint8_t header[RELAY_HEADER_LEN];
        relay_header_write(header, RELAY_DATA, to, size);
        require(buf_add(&e->flood, bytes_of(header, sizeof header)) == 0 &&
                    buf_add(&e->flood, bytes_of(payload, size)) == 0,
                "no memory");
    }
}

static void measure(struct end *e, pid_t hub, size_t size, bool flood, double seconds)
{
    fill(e, atomic_load(&e->shared->relay), size);
    e->window = flood ? 0 : WINDOW;
    ws_client_want_write(e->ws);
    turn_for(e, WARM_MS / 1e3);
    struct reading a = read_all(e->shared, hub);
    turn_for(e, seconds);
    struct reading b = read_all(e->shared, hub);
    buf_clear(&e->flood);
    turn_for(e, WARM_MS / 1e3);
    double cpu = b.cpu - a.cpu, gbit = (double)(b.bytes - a.bytes) * 8 / 1e9;
    double frames = (double)(b.frames - a.frames), dropped = (double)(b.dropped - a.dropped);
    require(cpu > 0 && frames > 0, "nothing was relayed");
    report(size, flood, "per second of hub CPU", gbit / cpu, "Gbit/s");
    report(size, flood, "frames per second of hub CPU", frames / cpu, "1/s");
    report(size, flood, "delivered", gbit / (b.at - a.at), "Gbit/s");
    if (!flood) {
        report(size, flood, "per second of the sender's CPU", gbit / (b.sender - a.sender), "Gbit/s");
        report(size, flood, "per second of the receiver's CPU", gbit / (b.receiver - a.receiver), "Gbit/s");
    }
    report(size, flood, "dropped for the receiver", 100 * dropped / (frames + dropped), "%");
    report(size, flood, "hub CPU", 100 * cpu / (b.at - a.at), "%");
}

int main(int argc, char **argv)
{
    struct hub_address hub;
    double seconds = argc == 4 ? atof(argv[3]) : SECONDS;
    if (argc < 3 || argc > 4 || hub_address_read(&hub, argv[1]) < 0 || !hub.pinned || seconds <= 0) {
        fprintf(stderr, "usage: bench_relay_ws https://HOST:PORT#sha256:HEX HUB_PID [SECONDS]\n");
        return 2;
    }
    pid_t hub_pid = (pid_t)atol(argv[2]);
    crypto_init();
    signal(SIGPIPE, SIG_IGN);
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(shared != MAP_FAILED, "no memory");
    shared->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    require(shared->event >= 0, "no event");
    static struct end sender, receiver;
    end_init(&sender, shared);
    end_init(&receiver, shared);
    pid_t child = fork();
    require(child >= 0, "no process");
    if (child == 0) {
        receive_forever(&receiver, &hub);
        _exit(1);
    }
    shared->receiver = child;
    come_in(&sender, &hub);
    sender.news.data = &sender;
    uv_poll_init(&sender.loop, &sender.news, shared->event);
    uv_poll_start(&sender.news, UV_READABLE, on_news);
    found_party(&sender, &receiver);
    double until = now_s() + SETUP_S;
    while (atomic_load(&shared->relay) == 0) {
        require(now_s() < until && waitpid(child, NULL, WNOHANG) == 0, "the receiver did not come in");
        uv_run(&sender.loop, UV_RUN_ONCE);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flood = 0; flood < 2; flood++)
            measure(&sender, hub_pid, sizes[i], flood == 1, seconds);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}
