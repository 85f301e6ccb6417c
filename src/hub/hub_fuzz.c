/* A script of connections, messages and time against the hub's core. Three devices can log in with real
 * signatures and are members of a party, so that what lies behind the login is reached. After each step the
 * books must balance. */
#include <stdlib.h>
#include <string.h>

#include "hub/core.h"
#include "party/party.h"
#include "wire/udp_relay.h"

#define DEVICES 3
#define CONNS   6
#define UNIX    1800000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once: keys cost too much for every input. */
static struct {
    bool made;
    struct sign_key *keys[DEVICES];
    uint8_t ids[DEVICES][NODE_ID_LEN];
    struct buf
        log[2 * DEVICES]; /* genesis, invite, admits; the last one is kept back for the script to append */
    size_t log_count;
    uint8_t party[PARTY_ID_LEN];
    struct rng_seeded seeded;
    struct rng rng;
} world;

struct run {
    struct store store;
    struct hub *hub;
    usec_t now;
    hub_conn last;
    struct {
        hub_conn id;
        uint8_t nonce[SIGNAL_NONCE_LEN];
        uint32_t relay, token;
        uint8_t key[UDP_RELAY_KEY_LEN];
        bool bound; /* its address has been proven once */
    } conns[CONNS];
    uint64_t time_ms;
    uint64_t in, out; /* bytes that came from an address, and that went back to it */
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static struct buf *log_next(void)
{
    struct buf *b = &world.log[world.log_count++];
    buf_init(b, ENTRY_MAX);
    return b;
}

static void make_world(void)
{
    enum party_verdict v;
    uint8_t secret[32];
    struct party_author a[DEVICES];
    world.rng = rng_seeded(&world.seeded, 1);
    for (int i = 0; i < DEVICES; i++) {
        struct sign_seed seed;
        memset(&seed, i + 1, sizeof seed);
        world.keys[i] = sign_key_new(&seed);
        must(world.keys[i]);
        node_id_of(world.ids[i], sign_key_public(world.keys[i]));
        a[i] = (struct party_author){.key = world.keys[i], .rng = world.rng, .now_unix_s = UNIX};
        memcpy(a[i].id, world.ids[i], NODE_ID_LEN);
    }
    struct party_genesis_args args = {"fuzz", "owner", MODE_TAP, 0};
    struct buf *b = log_next();
    must(party_make_genesis(b, &a[0], &args) == 0);
    struct party *p = party_open(buf_bytes(b), UNIX, &v);
    must(p);
    memcpy(world.party, party_id(p), PARTY_ID_LEN);
    b = log_next();
    must(party_make_invite(b, p, &a[0], 5, UNIX + 3600, ROLE_MEMBER, secret) == PARTY_OK);
    must(party_append(p, buf_bytes(b), UNIX) == PARTY_OK);
    for (int i = 1; i < DEVICES; i++) {
        b = log_next();
        must(party_make_join(b, p, &a[i], secret, "joiner") == PARTY_OK);
        must(party_append(p, buf_bytes(b), UNIX) == PARTY_OK);
    }
    b = log_next();
    must(party_make_remove(b, p, &a[0], world.ids[2]) == PARTY_OK);
    party_free(p);
    world.made = true;
}

static void fill_store(struct store *s)
{
    must(s->ops->party_create(s->ctx, world.party, buf_bytes(&world.log[0]), UNIX) == 0);
    for (size_t i = 1; i + 1 < world.log_count; i++) {
        struct store_append a = {
            .party = world.party, .seq = i, .hash = world.party, .entry = buf_bytes(&world.log[i])};
        must(s->ops->party_append(s->ctx, &a) == 0);
    }
}

static int conn_at(const struct run *r, hub_conn id)
{
    for (int i = 0; i < CONNS; i++) {
        if (r->conns[i].id == id)
            return i;
    }
    return -1;
}

/* What the hub says must be readable; challenges are kept for logins. */
static void check_message(struct run *r, hub_conn id, struct bytes m, bool binary)
{
    if (binary) {
        struct rd rd = rd_of(m);
        struct relay_frame f;
        while (relay_frame_read(&f, &rd) == 1)
            ;
        must(rd_ok(&rd) && m.n <= RELAY_MESSAGE_MAX);
        return;
    }
    struct signal s;
    int at = conn_at(r, id);
    must(signal_read(&s, m) == 0);
    if (s.type == SIGNAL_CHALLENGE && at >= 0)
        memcpy(r->conns[at].nonce, s.u.challenge.nonce, SIGNAL_NONCE_LEN);
    if (s.type == SIGNAL_WELCOME && at >= 0) {
        must(s.u.welcome.has_udp && s.u.welcome.udp_count == 1 && s.u.welcome.has_turn);
        r->conns[at].relay = s.u.welcome.relay;
        memcpy(r->conns[at].key, s.u.welcome.udp_key, UDP_RELAY_KEY_LEN);
    }
    signal_done(&s);
}

static void take_all(struct run *r, hub_conn id)
{
    struct buf b;
    bool binary;
    buf_init(&b, RELAY_MESSAGE_MAX);
    while (hub_take(r->hub, id, &b, &binary, r->now)) {
        check_message(r, id, buf_bytes(&b), binary);
        buf_clear(&b);
    }
    buf_done(&b);
}

static void pump(struct run *r)
{
    hub_conn id;
    uint16_t code;
    const char *reason;
    struct hub_event ev;
    while (hub_ready(r->hub, &id))
        take_all(r, id);
    while (hub_close_next(r->hub, &id, &code, &reason)) {
        int at = conn_at(r, id);
        must(code >= 1000 && reason && at >= 0);
        r->conns[at].id = 0;
        hub_closed(r->hub, id, r->now);
    }
    while (hub_event(r->hub, &ev))
        must(ev.event && memchr(ev.text, 0, sizeof ev.text));
}

static void open_conn(struct run *r, int at)
{
    static const uint8_t binding[32] = {1};
    struct net_addr a = {.family = at % 2 ? 6 : 4, .ip = {10, 0, 0, (uint8_t)at}, .port = 1};
    if (r->conns[at].id)
        return;
    r->conns[at].id = ++r->last;
    if (hub_open(r->hub, r->last, &a, binding, r->now) != 0)
        r->conns[at].id = 0;
    else
        take_all(r, r->last);
}

static void say(struct run *r, int at, const struct signal *s)
{
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    if (signal_write(&b, s) == 0)
        hub_text(r->hub, r->conns[at].id, buf_bytes(&b), r->now);
    buf_done(&b);
}

static void login(struct run *r, int at, int device)
{
    struct signal s = {.type = SIGNAL_LOGIN};
    uint8_t msg[96] = {0};
    memcpy(s.u.login.node, world.ids[device], NODE_ID_LEN);
    s.u.login.keys = *sign_key_public(world.keys[device]);
    strcpy(s.u.login.name, "fuzz");
    memcpy(msg, r->conns[at].nonce, 32);
    msg[32] = 1;
    memcpy(msg + 64, world.ids[device], 32);
    must(sign_make(world.keys[device], "warren login v1", bytes_of(msg, sizeof msg), &world.rng,
                   s.u.login.signature) == 0);
    say(r, at, &s);
}

static void join(struct run *r, int at, uint8_t since)
{
    struct signal s = {.type = SIGNAL_JOIN, .u.join.since = since};
    memcpy(s.u.join.party, world.party, PARTY_ID_LEN);
    say(r, at, &s);
}

static void append_last(struct run *r, int at)
{
    struct signal s = {.type = SIGNAL_LOG, .u.log.op = LOG_OP_APPEND, .u.log.count = 1};
    memcpy(s.u.log.party, world.party, PARTY_ID_LEN);
    s.u.log.entries[0] = buf_bytes(&world.log[world.log_count - 1]);
    say(r, at, &s);
}

/* A message whose kind comes from the script and whose fields are right. */
static void well_formed(struct run *r, int at, struct rd *in)
{
    struct signal s = {.type = (enum signal_type)(rd_u8(in) % SIGNAL_TYPE_COUNT)};
    s.has_to = true;
    memcpy(s.to, world.ids[rd_u8(in) % DEVICES], NODE_ID_LEN);
    switch (s.type) {
    case SIGNAL_LEAVE:
        memcpy(s.u.leave.party, world.party, PARTY_ID_LEN);
        break;
    case SIGNAL_PRESENCE:
        memcpy(s.u.presence.party, world.party, PARTY_ID_LEN);
        s.u.presence.seq = rd_u8(in);
        break;
    case SIGNAL_LOG:
        s.u.log.op = LOG_OP_GET;
        memcpy(s.u.log.party, world.party, PARTY_ID_LEN);
        s.u.log.seq = rd_u8(in);
        break;
    case SIGNAL_SIGNAL:
    case SIGNAL_OFFER:
    case SIGNAL_ANSWER:
    case SIGNAL_ICE_CANDIDATE:
        memcpy(s.u.forward.party, world.party, PARTY_ID_LEN);
        s.u.forward.data = rd_bytes(in, 4);
        break;
    default:
        break;
    }
    say(r, at, &s);
}

static struct net_addr udp_addr(int at)
{
    return net_addr4(0xcb007100u + (uint32_t)at, (uint16_t)(1000 + at));
}

/* One datagram. An answer is not longer, but STUN's to small requests, which are paid for; and nothing goes
 * to an address that has neither asked nor been proven. The answer, if it is the relay's, into *m. */
static void udp_say(struct run *r, int at, uint32_t socket, struct bytes some, struct udp_relay *m)
{
    static uint8_t answer[2048];
    struct net_addr from = udp_addr(at);
    struct hub_udp_out out;
    uint8_t *p = malloc(some.n + !some.n);
    must(p);
    if (some.n > 0)
        memcpy(p, some.p, some.n);
    hub_udp(r->hub, socket, &from, p, some.n, r->now);
    r->in += some.n;
    memset(m, 0, sizeof *m);
    if (hub_udp_next(r->hub, &out)) {
        must(out.n > 0 && out.n <= sizeof answer && out.socket < HUB_UDP_SOCKETS);
        memcpy(answer, out.p, out.n);
        if (answer[0] == WIRE_UDP_RELAY)
            must(udp_relay_read(m, bytes_of(answer, out.n)) == 0);
        if (m->kind == UDP_RELAY_DATA) {
            int to = (int)out.to.port - 1000;
            must(out.n == some.n && to >= 0 && to < CONNS && r->conns[to].bound && r->conns[at].bound);
        } else {
            must(net_ip_equal(&out.to, &from)); /* STUN's RESPONSE-PORT names another port */
            must(answer[0] != WIRE_UDP_RELAY || out.n <= some.n);
            r->out += out.n;
        }
    }
    must(!hub_udp_next(r->hub, &out));
    free(p);
}

static void udp_bind(struct run *r, int at)
{
    uint8_t raw[UDP_RELAY_BIND_LEN];
    struct udp_relay m = {.kind = UDP_RELAY_BIND, .index = r->conns[at].relay, .time_ms = ++r->time_ms};
    udp_say(r, at, 0, bytes_of(raw, udp_relay_write(raw, sizeof raw, &m, r->conns[at].key)), &m);
    if (m.kind != UDP_RELAY_CHALLENGE)
        return;
    must(udp_relay_verify(&m, r->conns[at].key));
    m.kind = UDP_RELAY_CONFIRM;
    udp_say(r, at, 0, bytes_of(raw, udp_relay_write(raw, sizeof raw, &m, r->conns[at].key)), &m);
    if (m.kind != UDP_RELAY_BOUND)
        return;
    must(udp_relay_verify(&m, r->conns[at].key));
    r->conns[at].token = m.token;
    r->conns[at].bound = true;
}

/* What the hub made of a run: relayed where it lies, and then to a device that is bound, or an answer no
 * longer than a datagram of the run. */
static void udp_run_out(struct run *r, int at, const struct hub_udp_in *in, const struct hub_udp_out *out)
{
    struct udp_relay m;
    size_t step = out->segment > 0 ? out->segment : out->n;
    bool in_place = out->p >= in->p && out->p < in->p + in->n;
    must(out->n > 0 && out->socket < HUB_UDP_SOCKETS);
    must(out->segment == 0 || (out->segment == in->segment && out->n > out->segment && in_place));
    for (size_t i = 0; i < out->n; i += step) {
        size_t n = out->n - i < step ? out->n - i : step;
        must(udp_relay_read(&m, bytes_of(out->p + i, n)) == 0);
        must(in_place == (m.kind == UDP_RELAY_DATA));
    }
    if (in_place) {
        int to = (int)out->to.port - 1000;
        must(out->p + out->n <= in->p + in->n);
        must(to >= 0 && to < CONNS && r->conns[to].bound && r->conns[at].bound);
    } else {
        must(out->n <= in->segment && net_addr_equal(&out->to, &in->from));
        r->out += out->n;
    }
}

static void udp_run(struct run *r, int at, struct rd *script)
{
    size_t count = 1 + rd_u8(script) % 16, segment = UDP_RELAY_HEADER_LEN + rd_u8(script) % 64;
    struct hub_udp_in in = {.from = udp_addr(at), .segment = segment};
    struct hub_udp_out out;
    in.n = segment * count - rd_u8(script) % segment;
    uint8_t *whole = calloc(count, segment);
    in.p = malloc(in.n);
    must(whole && in.p);
    for (size_t i = 0; i < count; i++) {
        uint8_t k = rd_u8(script), *p = whole + i * segment;
        udp_relay_header(p, r->conns[k % CONNS].relay, r->conns[at].token ^ k >> 7);
        if (k & 0x40)
            p[1] = k % 10;
        if (k & 0x20)
            p[k % UDP_RELAY_HEADER_LEN] ^= k;
    }
    memcpy(in.p, whole, in.n);
    r->in += in.n;
    hub_udp_input(r->hub, &in, r->now);
    while (hub_udp_next(r->hub, &out))
        udp_run_out(r, at, &in, &out);
    if (rd_u8(script) & 1)
        hub_udp_pressed(r->hub, r->now);
    free(whole);
    free(in.p);
}

static void udp_data(struct run *r, int at, struct rd *in)
{
    uint8_t raw[64] = {0};
    struct udp_relay m;
    uint8_t to = rd_u8(in);
    if (to & 0x20) {
        udp_run(r, at, in);
        return;
    }
    udp_relay_header(raw, r->conns[to % CONNS].relay, r->conns[at].token);
    if (to & 0x40)
        raw[1] = UDP_RELAY_KEEP;
    udp_say(r, at, to >> 7, bytes_of(raw, to & 0x40 ? UDP_RELAY_SMALL_LEN : sizeof raw), &m);
}

static void step(struct run *r, struct rd *in)
{
    struct udp_relay m;
    uint8_t op = rd_u8(in);
    int at = op % CONNS;
    struct bytes some;
    switch (op / CONNS % 14) {
    case 0:
        open_conn(r, at);
        break;
    case 1:
        some = rd_block16(in, 2000);
        hub_text(r->hub, r->conns[at].id, some, r->now);
        break;
    case 2:
        some = rd_block16(in, 4000);
        hub_binary(r->hub, r->conns[at].id, some, r->now);
        break;
    case 3:
        if (r->conns[at].id)
            hub_closed(r->hub, r->conns[at].id, r->now);
        r->conns[at].id = 0;
        break;
    case 4:
        open_conn(r, at);
        login(r, at, rd_u8(in) % DEVICES);
        break;
    case 5:
        join(r, at, rd_u8(in));
        break;
    case 6:
        well_formed(r, at, in);
        break;
    case 7:
        append_last(r, at);
        break;
    case 8:
        r->now += (usec_t)rd_u8(in) * SEC;
        hub_tick(r->hub, r->now);
        break;
    case 9:
        hub_alive(r->hub, r->conns[at].id, r->now);
        return; /* nobody reads for once */
    case 10:
        if (rd_u8(in) == 0)
            hub_shutdown(r->hub, r->now);
        break;
    case 11:
        some = rd_block16(in, 2000);
        udp_say(r, at, rd_u8(in) % (HUB_UDP_SOCKETS + 1), some, &m);
        break;
    case 12:
        udp_bind(r, at);
        break;
    default:
        udp_data(r, at, in);
    }
    if (op < 200)
        pump(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = {.now = 1000 * SEC};
    struct hub_config c = {.unix_s = UNIX};
    struct rng_seeded seeded;
    struct hub_stats st;
    if (!world.made)
        make_world();
    must(store_memory_open(&r.store) == 0);
    fill_store(&r.store);
    hub_limits_default(&c.limits);
    c.limits.relay_queue_bytes = 16384;
    c.store = r.store;
    c.rng = rng_seeded(&seeded, 7);
    c.udp = true;
    c.udp_addrs[c.udp_count++] = net_addr4(0, 3478);
    for (uint32_t i = 0; i < HUB_UDP_SOCKETS; i++)
        c.udp_endpoints[i] = net_addr4(0xc0000201 + i / 2, (uint16_t)(3478 + i % 2));
    strcpy(c.turn_url, "turn:192.0.2.1:3478");
    c.turn_secret[0] = 1;
    c.turn_secret_len = 1;
    r.hub = hub_new(&c, r.now);
    must(r.hub);
    struct rd in = rd_of(bytes_of(data, size));
    for (int n = 0; n < 200 && rd_left(&in) > 0; n++) {
        step(&r, &in);
        hub_stats(r.hub, &st);
        must(st.logged_in <= st.connections && st.connections <= CONNS);
        must(st.udp_bindings <= st.logged_in);
        /* In bytes of UDP: each request of 20 bytes brought 28 of IP, and STUN has a little to spare. */
        must(r.out <= r.in + 28 * (r.in / 20) + 64 + 2 * (r.now / SEC - 1000));
    }
    pump(&r);
    hub_free(r.hub);
    store_close(&r.store);
    return 0;
}
