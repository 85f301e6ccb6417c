#include "nat/turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "nat/turn_int.h"

#define LIFETIME_MAX     (24 * 3600) /* s; a longer one is refreshed as if it were this */
#define NONCE_COOKIE     "obMatJos2" /* RFC 8489 section 9.2 */
#define NONCE_FEATURES   4           /* base64 characters behind it */
#define PROTOCOL_UDP     17u
#define ALGORITHM_MD5    1u
#define ALGORITHM_SHA256 2u
#define TX_COUNT         (1 + 2 * TURN_PEERS_MAX)
#define EVENTS_KEPT      8 /* room for what must not be lost */

const char *turn_state_name(enum turn_state s)
{
    static const char *const names[] = {"new", "allocating", "ready", "releasing", "ended"};
    return names[s];
}

const char *turn_code_text(uint16_t code)
{
    static const struct {
        uint16_t code;
        const char *text;
    } texts[] = {
        {0, "no answer"},
        {300, "the server sends us to another one, again"},
        {400, "the server did not understand the request"},
        {401, "wrong or expired credentials"},
        {403, "the server forbids it"},
        {420, "the server does not know an attribute"},
        {437, "the server has no such allocation, or another one of this address"},
        {438, "the server calls every nonce of its own stale"},
        {440, "the server has no addresses of this family"},
        {441, "the allocation belongs to other credentials"},
        {442, "the server does not relay UDP"},
        {443, "the peer's address is of another family"},
        {486, "this user's quota of allocations is used up"},
        {500, "the server failed"},
        {508, "the server has no capacity left"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].code == code)
            return texts[i].text;
    return code >= 500 ? "the server failed" : "the server refused";
}

struct turn *turn_new(const struct turn_config *c)
{
    size_t user = c->username ? strlen(c->username) : 0, pass = c->password ? strlen(c->password) : 0;
    if (user == 0 || user > TURN_USERNAME_MAX || pass == 0 || pass > TURN_PASSWORD_MAX)
        return NULL;
    if (c->family != 0 && c->family != 4 && c->family != 6)
        return NULL;
    if (c->transport == TURN_UDP && (net_addr_scope(&c->server) == NET_NONE || c->server.port == 0))
        return NULL;
    struct turn *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->transport = c->transport;
    t->configured = t->server = c->server;
    memcpy(t->username, c->username, user + 1);
    memcpy(t->password, c->password, pass + 1);
    t->family = c->family;
    t->rng = c->rng;
    uint32_t prefix = c->txid_prefix ? c->txid_prefix : rng_u32(&t->rng);
    struct wr w = wr_of(t->prefix, sizeof t->prefix);
    wr_u32(&w, prefix);
    t->rto = TURN_RTO_MIN;
    t->next_channel = TURN_CHANNEL_FIRST;
    buf_init(&t->stream, TURN_STREAM_MAX);
    return t;
}

void turn_free(struct turn *t)
{
    if (!t)
        return;
    buf_done(&t->stream);
    wipe(t, sizeof *t);
    free(t);
}

/* -- events -- */

void turn_push(struct turn *t, const struct turn_event *ev)
{
    size_t room = TURN_EVENTS_MAX - t->event_count;
    if (room == 0 || (ev->kind == TURN_EVENT_REFUSED && room <= EVENTS_KEPT)) {
        t->counts.events_lost++;
        return;
    }
    t->events[(t->event_at + t->event_count++) % TURN_EVENTS_MAX] = *ev;
}

static void push_simple(struct turn *t, enum turn_event_kind kind, uint16_t code, const char *why)
{
    struct turn_event ev = {.kind = kind, .code = code, .why = why, .server = t->server};
    turn_push(t, &ev);
}

static void end(struct turn *t, enum turn_event_kind kind, uint16_t code, const char *why)
{
    t->state = TURN_ENDED;
    t->tx.active = false;
    t->has_data = false;
    t->refresh_at = t->expires = USEC_NEVER;
    turn_peers_stop(t);
    push_simple(t, kind, code, why);
}

static void fail(struct turn *t, uint16_t code, const char *why)
{
    end(t, TURN_EVENT_FAILED, code, why);
}

void turn_lose(struct turn *t, uint16_t code, const char *why)
{
    end(t, TURN_EVENT_LOST, code, why);
}

/* Whatever the state: it cannot go on. */
static void give_up(struct turn *t, uint16_t code, const char *why)
{
    if (t->state == TURN_ALLOCATING)
        fail(t, code, why);
    else if (t->state == TURN_READY)
        turn_lose(t, code, why);
    else if (t->state == TURN_RELEASING)
        end(t, TURN_EVENT_RELEASED, 0, "");
}

/* -- transactions -- */

void turn_tx_begin(struct turn *t, struct turn_tx *x, usec_t now)
{
    x->active = true;
    x->sends = 0;
    x->unproven = 0;
    x->odd = false;
    x->due = now;
    memcpy(x->txid, t->prefix, sizeof t->prefix);
    rng_fill(&t->rng, x->txid + sizeof t->prefix, sizeof x->txid - sizeof t->prefix);
}

static void ask(struct turn *t, enum turn_ask what, usec_t now)
{
    t->ask = what;
    t->tx.challenges = 0;
    turn_tx_begin(t, &t->tx, now);
}

/* All transactions in a row: ours, the permissions', the channels'. */
static struct turn_tx *tx_at(struct turn *t, size_t i)
{
    if (i == 0)
        return &t->tx;
    i--;
    return i < TURN_PEERS_MAX ? &t->permissions[i].tx : &t->peers[i - TURN_PEERS_MAX].tx;
}

static unsigned sends_of(const struct turn *t, size_t i)
{
    if (t->transport == TURN_STREAM)
        return 1;
    return i == 0 && t->ask == TURN_ASK_RELEASE ? TURN_RELEASE_SENDS : TURN_SENDS;
}

static usec_t wait_of(const struct turn *t, size_t i, unsigned sends)
{
    if (t->transport == TURN_STREAM)
        return TURN_STREAM_TIMEOUT;
    if (sends < sends_of(t, i))
        return t->rto << (sends - 1);
    return i == 0 && t->ask == TURN_ASK_RELEASE ? t->rto : t->rto * TURN_LAST_WAIT;
}

static void write_allocation_ask(struct turn *t, struct stun_writer *w)
{
    bool allocate = t->ask == TURN_ASK_ALLOCATE;
    stun_begin(w, t->request, sizeof t->request, STUN_REQUEST, allocate ? STUN_ALLOCATE : STUN_REFRESH,
               t->tx.txid);
    if (allocate) {
        stun_put_u32(w, STUN_ATTR_REQUESTED_TRANSPORT, PROTOCOL_UDP << 24);
        if (t->family)
            stun_put_u32(w, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, (t->family == 6 ? 2u : 1u) << 24);
    }
    bool ends = t->ask == TURN_ASK_RELEASE || t->ask == TURN_ASK_CLEAR;
    stun_put_u32(w, STUN_ATTR_LIFETIME, ends ? 0 : TURN_LIFETIME);
}

static void write_credentials(const struct turn *t, struct stun_writer *w)
{
    stun_put(w, STUN_ATTR_USERNAME, bytes_of_str(t->username));
    stun_put(w, STUN_ATTR_REALM, bytes_of(t->realm, t->realm_len));
    stun_put(w, STUN_ATTR_NONCE, bytes_of(t->nonce, t->nonce_len));
    if (t->algorithms_len) {
        stun_put(w, STUN_ATTR_PASSWORD_ALGORITHMS, bytes_of(t->algorithms, t->algorithms_len));
        stun_put_u32(w, STUN_ATTR_PASSWORD_ALGORITHM, (t->sha256 ? ALGORITHM_SHA256 : ALGORITHM_MD5) << 16);
    }
    (t->integrity256 ? stun_put_integrity256 : stun_put_integrity)(w, bytes_of(t->key, t->key_len));
}

static struct bytes write_ask(struct turn *t, size_t i)
{
    struct stun_writer w;
    struct turn_tx *x = tx_at(t, i);
    if (i == 0) {
        write_allocation_ask(t, &w);
    } else if (i <= TURN_PEERS_MAX) {
        stun_begin(&w, t->request, sizeof t->request, STUN_REQUEST, STUN_CREATE_PERMISSION, x->txid);
        stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &t->permissions[i - 1].ip);
    } else {
        const struct turn_peer *p = &t->peers[i - 1 - TURN_PEERS_MAX];
        stun_begin(&w, t->request, sizeof t->request, STUN_REQUEST, STUN_CHANNEL_BIND, x->txid);
        stun_put_u32(&w, STUN_ATTR_CHANNEL_NUMBER, (uint32_t)p->number << 16);
        stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &p->addr);
    }
    x->proving = t->has_key;
    if (t->has_key)
        write_credentials(t, &w);
    stun_put_fingerprint(&w);
    return stun_end(&w);
}

static struct bytes write_keepalive(struct turn *t)
{
    uint8_t txid[STUN_TXID_LEN];
    memcpy(txid, t->prefix, sizeof t->prefix);
    rng_fill(&t->rng, txid + sizeof t->prefix, sizeof txid - sizeof t->prefix);
    struct stun_writer w;
    stun_begin(&w, t->request, sizeof t->request, STUN_INDICATION, STUN_BINDING, txid);
    stun_put_fingerprint(&w);
    return stun_end(&w);
}

bool turn_output(struct turn *t, usec_t now, struct turn_out *out)
{
    out->to = t->server;
    for (size_t i = 0; i < TX_COUNT; i++) {
        struct turn_tx *x = tx_at(t, i);
        if (!x->active || x->due > now || x->sends >= sends_of(t, i))
            continue;
        out->data = write_ask(t, i);
        if (x->sends++ == 0)
            x->began = now;
        else
            t->counts.retransmissions++;
        t->counts.requests++;
        x->due = now + wait_of(t, i, x->sends);
        t->sent_at = now;
        return true;
    }
    if (t->state == TURN_READY && usec_since(now, t->sent_at) >= TURN_KEEPALIVE) {
        out->data = write_keepalive(t);
        t->sent_at = now;
        return true;
    }
    return false;
}

static void main_failed(struct turn *t, uint16_t code, usec_t now);

/* The i-th request got an error, or (code 0) no answer. */
static void ask_failed(struct turn *t, size_t i, uint16_t code, usec_t now)
{
    tx_at(t, i)->active = false;
    if (i == 0)
        main_failed(t, code, now);
    else if (code == 437 || code == 441)
        turn_lose(t, code, turn_code_text(code));
    else if (i <= TURN_PEERS_MAX)
        turn_permission_failed(t, &t->permissions[i - 1], code, now);
    else
        turn_peer_failed(t, &t->peers[i - 1 - TURN_PEERS_MAX], code, now);
}

/* -- the allocation -- */

int turn_start(struct turn *t, usec_t now)
{
    if (t->state != TURN_NEW && t->state != TURN_ENDED)
        return -EALREADY;
    if (t->state == TURN_ENDED) {
        t->server = t->configured;
        t->redirected = false;
    }
    t->has_key = false;
    t->mismatches = 0;
    t->stream.n = t->stream_at = 0;
    t->state = TURN_ALLOCATING;
    t->refresh_at = t->expires = USEC_NEVER;
    ask(t, TURN_ASK_ALLOCATE, now);
    return 0;
}

void turn_release(struct turn *t, usec_t now)
{
    if (t->state == TURN_READY) {
        turn_peers_stop(t);
        t->state = TURN_RELEASING;
        t->refresh_at = t->expires = USEC_NEVER;
        ask(t, TURN_ASK_RELEASE, now);
    } else if (t->state == TURN_NEW || t->state == TURN_ALLOCATING) {
        end(t, TURN_EVENT_RELEASED, 0, "");
    }
}

void turn_disconnected(struct turn *t, usec_t now)
{
    (void)now;
    t->stream.n = t->stream_at = 0;
    give_up(t, 0, "the connection to the server ended");
}

static void set_lifetime(struct turn *t, uint32_t lifetime, usec_t now)
{
    usec_t life = (lifetime < LIFETIME_MAX ? lifetime : LIFETIME_MAX) * SEC;
    t->expires = now + life;
    t->refresh_at = now + (life > 2 * TURN_REFRESH_EARLY ? life - TURN_REFRESH_EARLY : life / 2);
}

static void allocated(struct turn *t, const struct stun_message *m, usec_t now)
{
    if (m->relayed.port == 0 || net_addr_scope(&m->relayed) == NET_NONE || m->lifetime == 0) {
        fail(t, 0, "the server's answer has no relayed address or no lifetime");
        return;
    }
    if (m->relayed.family != (t->family ? t->family : m->relayed.family)) {
        fail(t, 0, "the server gave an address of another family");
        return;
    }
    t->state = TURN_READY;
    t->relayed = m->relayed;
    t->mapped = m->mapped;
    set_lifetime(t, m->lifetime, now);
    struct turn_event ev = {.kind = TURN_EVENT_ALLOCATED,
                            .relayed = t->relayed,
                            .mapped = t->mapped,
                            .server = t->server,
                            .lifetime = m->lifetime,
                            .why = ""};
    turn_push(t, &ev);
    turn_peers_start(t, now);
}

static void main_done(struct turn *t, const struct stun_message *m, usec_t now)
{
    t->tx.active = false;
    switch (t->ask) {
    case TURN_ASK_ALLOCATE:
        allocated(t, m, now);
        break;
    case TURN_ASK_REFRESH:
        if (m->has_lifetime && m->lifetime > 0)
            set_lifetime(t, m->lifetime, now);
        else
            turn_lose(t, 0, "the server ended the allocation");
        break;
    case TURN_ASK_CLEAR:
        ask(t, TURN_ASK_ALLOCATE, now);
        break;
    case TURN_ASK_RELEASE:
        end(t, TURN_EVENT_RELEASED, 0, "");
        break;
    }
}

/* 437 to Allocate: what an earlier run of ours left at this address goes first. Servers take a while to
 * forget it (coturn a second or two), so it is asked for again and again. */
static void mismatched(struct turn *t, usec_t now)
{
    if (t->mismatches++ == 0) {
        ask(t, TURN_ASK_CLEAR, now);
        return;
    }
    ask(t, TURN_ASK_ALLOCATE, now);
    t->tx.due = now + TURN_MISMATCH_WAIT;
}

static void main_failed(struct turn *t, uint16_t code, usec_t now)
{
    switch (t->ask) {
    case TURN_ASK_ALLOCATE:
        if (code == 437 && t->mismatches < TURN_MISMATCHES_MAX)
            mismatched(t, now);
        else
            fail(t, code, turn_code_text(code));
        break;
    case TURN_ASK_REFRESH:
        if (code == 0 || code >= 500)
            t->refresh_at = now + TURN_RETRY;
        else
            turn_lose(t, code, turn_code_text(code));
        break;
    case TURN_ASK_CLEAR:
        if (code == 437)
            mismatched(t, now);
        else
            fail(t, code ? code : 437, turn_code_text(code ? code : 437));
        break;
    case TURN_ASK_RELEASE:
        end(t, TURN_EVENT_RELEASED, code, "");
        break;
    }
}

/* 300 (RFC 8489 section 10): once, and only in answer to Allocate. */
static void redirected(struct turn *t, const struct stun_message *m, usec_t now)
{
    bool usable = m->alternate.port && net_addr_scope(&m->alternate) != NET_NONE;
    if (t->transport == TURN_UDP && m->alternate.family != t->server.family)
        usable = false;
    if (t->ask != TURN_ASK_ALLOCATE || t->redirected || !usable) {
        ask_failed(t, 0, 300, now);
        return;
    }
    t->redirected = true;
    t->server = m->alternate;
    t->has_key = false;
    if (t->transport == TURN_UDP) {
        ask(t, TURN_ASK_ALLOCATE, now);
        return;
    }
    t->tx.active = false;
    t->state = TURN_NEW;
    push_simple(t, TURN_EVENT_ALTERNATE, 300, "the server sends us to another one");
}

/* -- answers -- */

/* The value of PASSWORD-ALGORITHMS, which has to be sent back as it came; empty: none. The message was read,
 * so it is well formed. */
static struct bytes algorithms_of(const struct stun_message *m)
{
    struct rd r = rd_of(m->whole);
    rd_bytes(&r, STUN_HEADER_LEN);
    while (rd_left(&r) > 0) {
        uint16_t type = rd_u16(&r);
        struct bytes value = rd_block16(&r, UINT16_MAX);
        rd_bytes(&r, (4 - value.n % 4) % 4);
        if (rd_ok(&r) && type == STUN_ATTR_PASSWORD_ALGORITHMS)
            return value;
    }
    return bytes_of(NULL, 0);
}

/* Whether the nonce says that the server sends PASSWORD-ALGORITHMS: bit 0 of the 24 behind the cookie, the
 * highest of the first base64 character, so that nobody on the way can take the attribute out. */
static bool nonce_has_algorithms(struct bytes nonce)
{
    size_t n = strlen(NONCE_COOKIE);
    if (nonce.n < n + NONCE_FEATURES || memcmp(nonce.p, NONCE_COOKIE, n) != 0)
        return false;
    uint8_t c = nonce.p[n];
    return (c >= 'g' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Takes realm and nonce. 0, or -EBADMSG: a challenge that cannot be honest, or that we have no room for. */
static int take_challenge(struct turn *t, const struct stun_message *m)
{
    struct bytes algorithms = algorithms_of(m);
    bool weaker = t->has_key && t->sha256 && !m->password_sha256;
    if (!m->realm.p || !m->nonce.p || m->realm.n > TURN_REALM_MAX || m->nonce.n > TURN_NONCE_MAX ||
        algorithms.n > TURN_ALGORITHMS_MAX || weaker)
        return -EBADMSG;
    if (nonce_has_algorithms(m->nonce) && algorithms.n == 0)
        return -EBADMSG;
    t->realm_len = m->realm.n;
    memcpy(t->realm, m->realm.p, m->realm.n);
    t->nonce_len = m->nonce.n;
    memcpy(t->nonce, m->nonce.p, m->nonce.n);
    t->algorithms_len = algorithms.n;
    if (algorithms.n)
        memcpy(t->algorithms, algorithms.p, algorithms.n);
    t->integrity256 = algorithms.n > 0;
    t->sha256 = m->password_sha256;
    stun_long_term_key(t->key, &t->key_len, t->sha256, bytes_of_str(t->username), m->realm,
                       bytes_of_str(t->password));
    t->has_key = true;
    return 0;
}

/* 401 and 438. A 401 to what was signed means that the credentials are not good. */
static void challenged(struct turn *t, size_t i, const struct stun_message *m, usec_t now)
{
    struct turn_tx *x = tx_at(t, i);
    if (m->error == 401 && x->proving) {
        x->active = false;
        if (t->ask == TURN_ASK_RELEASE)
            end(t, TURN_EVENT_RELEASED, 401, "");
        else
            give_up(t, 401, turn_code_text(401));
        return;
    }
    if (x->challenges >= TURN_CHALLENGES_MAX) {
        x->challenges = 0;
        ask_failed(t, i, m->error, now);
        return;
    }
    if (take_challenge(t, m)) {
        x->odd = true;
        t->counts.discarded++;
        return;
    }
    t->counts.stale_nonces += m->error == 438;
    x->challenges++;
    turn_tx_begin(t, x, now);
}

static void measure(struct turn *t, const struct turn_tx *x, usec_t now)
{
    if (x->sends != 1) /* else one cannot tell which was answered */
        return;
    usec_t rto = usec_since(now, x->began) * 3 / 2;
    t->rto = rto < TURN_RTO_MIN ? TURN_RTO_MIN : usec_min(rto, TURN_RTO_MAX);
}

static void answered(struct turn *t, size_t i, const struct stun_message *m, usec_t now)
{
    struct turn_tx *x = tx_at(t, i);
    bool challenge = m->class == STUN_ERROR && (m->error == 401 || m->error == 438);
    if (x->proving && !challenge && !stun_verify(m, bytes_of(t->key, t->key_len), t->integrity256)) {
        x->unproven = m->error;
        t->counts.unproven++;
        return;
    }
    measure(t, x, now);
    if (challenge) {
        challenged(t, i, m, now);
    } else if (m->class == STUN_ERROR && m->error == 300 && i == 0) {
        redirected(t, m, now);
    } else if (m->class == STUN_ERROR) {
        ask_failed(t, i, m->error ? m->error : 400, now);
    } else {
        x->active = false;
        x->challenges = 0;
        if (i == 0)
            main_done(t, m, now);
        else if (i <= TURN_PEERS_MAX)
            turn_permission_done(t, &t->permissions[i - 1], now);
        else
            turn_peer_done(t, &t->peers[i - 1 - TURN_PEERS_MAX], now);
    }
}

static uint16_t method_of(const struct turn *t, size_t i)
{
    if (i == 0)
        return t->ask == TURN_ASK_ALLOCATE ? STUN_ALLOCATE : STUN_REFRESH;
    return i <= TURN_PEERS_MAX ? STUN_CREATE_PERMISSION : STUN_CHANNEL_BIND;
}

/* true: ev is data. */
static bool input_stun(struct turn *t, const struct stun_message *m, usec_t now, struct turn_event *ev)
{
    if (m->class == STUN_INDICATION && t->state == TURN_READY && turn_indication(t, m, now, ev))
        return true;
    if ((m->class == STUN_SUCCESS || m->class == STUN_ERROR) && m->unknown_count == 0)
        for (size_t i = 0; i < TX_COUNT; i++) {
            struct turn_tx *x = tx_at(t, i);
            if (x->active && x->sends > 0 && memcmp(x->txid, m->txid, sizeof x->txid) == 0 &&
                m->method == method_of(t, i)) {
                answered(t, i, m, now);
                return false;
            }
        }
    t->counts.discarded++;
    return false;
}

/* One message of either kind; 0, 1: ev is data, or -EBADMSG. */
static int input_one(struct turn *t, struct bytes in, usec_t now, struct turn_event *ev)
{
    if (in.n > 0 && in.p[0] >> 4 == 4) {
        if (t->state == TURN_READY && turn_channel_data(t, in, now, ev))
            return 1;
        t->counts.discarded++;
        return t->state == TURN_READY ? -EBADMSG : 0;
    }
    struct stun_message m;
    if (stun_read(&m, in)) {
        t->counts.discarded++;
        return -EBADMSG;
    }
    return input_stun(t, &m, now, ev);
}

bool turn_is(const struct turn *t, const struct net_addr *from, struct bytes in)
{
    if (!net_addr_equal(from, &t->server))
        return false;
    struct rd r = rd_of(in);
    uint16_t type = rd_u16(&r);
    if (type >> 12 == 4)
        return true;
    if (!stun_is(in))
        return false;
    bool indication = type == (STUN_DATA | 0x0010), response = type & 0x0100;
    return indication ||
           (response && memcmp(in.p + STUN_HEADER_LEN - STUN_TXID_LEN, t->prefix, sizeof t->prefix) == 0);
}

int turn_input(struct turn *t, struct bytes in, usec_t now)
{
    t->has_data = false;
    t->stream_now = now;
    if (t->transport == TURN_UDP) {
        int r = input_one(t, in, now, &t->data);
        t->has_data = r == 1;
        return r < 0 ? r : 0;
    }
    if (t->state == TURN_NEW || t->state == TURN_ENDED)
        return 0;
    buf_eat(&t->stream, t->stream_at);
    t->stream_at = 0;
    if (buf_add(&t->stream, in) == 0)
        return 0;
    give_up(t, 0, "more came from the server than there is memory for");
    return -EBADMSG;
}

/* The next whole message of the stream: 1, 0: not there yet, -EBADMSG: not a message. */
static int next_frame(struct turn *t, struct bytes *frame)
{
    struct bytes all = buf_bytes(&t->stream);
    if (t->stream_at >= all.n)
        return 0;
    struct rd r = rd_of(bytes_of(all.p + t->stream_at, all.n - t->stream_at));
    const uint8_t *start = r.p;
    size_t have = rd_left(&r), whole;
    uint16_t type = rd_u16(&r), n = rd_u16(&r);
    if (!rd_ok(&r))
        return 0;
    if (type >> 12 == 4)
        whole = TURN_CHANNEL_OVERHEAD + ((n + 3u) & ~3u);
    else if (type >> 14 == 0 && n % 4 == 0)
        whole = STUN_HEADER_LEN + (size_t)n;
    else
        return -EBADMSG;
    if (type >> 14 == 0 && rd_u32(&r) != STUN_COOKIE && rd_ok(&r))
        return -EBADMSG;
    if (whole > have)
        return 0;
    *frame = bytes_of(start, whole);
    t->stream_at += whole;
    return 1;
}

/* Reads the stream until there is data (in *ev), something happened, or nothing whole is left. */
static bool stream_event(struct turn *t, struct turn_event *ev)
{
    struct bytes frame = {0};
    while (t->state != TURN_ENDED && t->state != TURN_NEW && t->event_count == 0) {
        int r = next_frame(t, &frame);
        if (r < 0)
            give_up(t, 0, "what the server sends is not TURN");
        if (r <= 0)
            return false;
        if (input_one(t, frame, t->stream_now, ev) == 1)
            return true;
    }
    return false;
}

bool turn_event(struct turn *t, struct turn_event *ev)
{
    if (t->transport == TURN_STREAM && t->event_count == 0 && stream_event(t, ev))
        return true;
    if (t->event_count > 0) {
        *ev = t->events[t->event_at];
        t->event_at = (t->event_at + 1) % TURN_EVENTS_MAX;
        t->event_count--;
        return true;
    }
    if (!t->has_data)
        return false;
    t->has_data = false;
    *ev = t->data;
    return true;
}

/* -- time -- */

usec_t turn_wake(const struct turn *t)
{
    usec_t wake = t->tx.active ? t->tx.due : USEC_NEVER;
    if (t->state != TURN_READY)
        return wake;
    if (!t->tx.active)
        wake = t->refresh_at;
    wake = usec_min(wake, usec_min(t->expires, t->sent_at + TURN_KEEPALIVE));
    return usec_min(wake, turn_peers_wake(t));
}

/* An error that nobody signed may be anybody's: it names a failure, it does not make one. */
static void timed_out(struct turn *t, size_t i, usec_t now)
{
    const struct turn_tx *x = tx_at(t, i);
    uint16_t unproven = x->unproven;
    if (i == 0 && t->ask == TURN_ASK_ALLOCATE && x->odd)
        fail(t, 0, "the server's challenge cannot be used: too long, or weakened on the way");
    else if (i == 0 && t->ask == TURN_ASK_ALLOCATE && unproven)
        fail(t, unproven, turn_code_text(unproven));
    else
        ask_failed(t, i, 0, now);
}

void turn_tick(struct turn *t, usec_t now)
{
    for (size_t i = 0; i < TX_COUNT; i++) {
        struct turn_tx *x = tx_at(t, i);
        if (x->active && x->due <= now && x->sends >= sends_of(t, i))
            timed_out(t, i, now);
    }
    if (t->state != TURN_READY)
        return;
    if (t->expires <= now) {
        turn_lose(t, 0, "the allocation ran out, for the server does not answer");
        return;
    }
    if (!t->tx.active && t->refresh_at <= now)
        ask(t, TURN_ASK_REFRESH, now);
    turn_peers_tick(t, now);
}

/* -- what people ask -- */

enum turn_state turn_state(const struct turn *t)
{
    return t->state;
}

bool turn_relayed(const struct turn *t, struct net_addr *relayed)
{
    if (t->state == TURN_READY)
        *relayed = t->relayed;
    return t->state == TURN_READY;
}

void turn_counts(const struct turn *t, struct turn_counts *c)
{
    *c = t->counts;
    for (size_t i = 0; i < TURN_PEERS_MAX; i++) {
        c->permissions += t->permissions[i].used && t->permissions[i].until != 0;
        c->channels += t->peers[i].used && t->peers[i].until != 0;
    }
}
