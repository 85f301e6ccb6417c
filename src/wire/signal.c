#include "wire/signal.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

#define NESTING_MAX 8

static const char *const type_names[SIGNAL_TYPE_COUNT] = {
    [SIGNAL_CHALLENGE] = "challenge",
    [SIGNAL_LOGIN] = "login",
    [SIGNAL_WELCOME] = "welcome",
    [SIGNAL_JOIN] = "join",
    [SIGNAL_LEAVE] = "leave",
    [SIGNAL_LOG] = "log",
    [SIGNAL_PRESENCE] = "presence",
    [SIGNAL_PEER_LIST] = "peer-list",
    [SIGNAL_PEER_JOINED] = "peer-joined",
    [SIGNAL_PEER_LEFT] = "peer-left",
    [SIGNAL_SIGNAL] = "signal",
    [SIGNAL_OFFER] = "offer",
    [SIGNAL_ANSWER] = "answer",
    [SIGNAL_ICE_CANDIDATE] = "ice-candidate",
    [SIGNAL_ERROR] = "error",
    [SIGNAL_PING] = "ping",
    [SIGNAL_PONG] = "pong",
};

static const char *const op_names[] = {
    [LOG_OP_GET] = "get",         [LOG_OP_APPEND] = "append", [LOG_OP_CREATE] = "create",
    [LOG_OP_ENTRIES] = "entries", [LOG_OP_ACK] = "ack",
};
#define OP_COUNT (sizeof op_names / sizeof *op_names)

static const struct {
    const char *code, *text;
} errors[SIGERR_COUNT] = {
    [SIGERR_BAD_MESSAGE] = {"bad_message",
                            "the hub could not read a message of this node; update the older of the two"},
    [SIGERR_NOT_LOGGED_IN] = {"not_logged_in", "log in first"},
    [SIGERR_LOGIN_FAILED] = {"login_failed",
                             "the hub refused the signature of this node; check that its state is whole"},
    [SIGERR_NOT_A_MEMBER] = {"not_a_member", "this node is not a member of the party; ask for an invite"},
    [SIGERR_TARGET_OFFLINE] = {"target_offline", "the other node is not connected to this hub now"},
    [SIGERR_RATE_LIMITED] = {"rate_limited", "too much at once; wait a little and try again"},
    [SIGERR_UNKNOWN_PARTY] = {"unknown_party",
                              "this hub does not know the party; check that the invite is for this hub"},
    [SIGERR_STALE_HEAD] = {"stale_head", "somebody else changed the party in this moment; try again"},
    [SIGERR_REFUSED] = {"refused", "the change breaks a rule of the party"},
    [SIGERR_TOO_LARGE] = {"too_large", "the message is larger than the hub takes"},
    [SIGERR_LIMIT] = {"limit", "a limit of this hub is reached; its operator can raise it"},
    [SIGERR_REPLACED] = {"replaced", "the same node has connected again from elsewhere"},
    [SIGERR_SHUTTING_DOWN] = {"shutting_down", "the hub is going down; this node will try again by itself"},
    [SIGERR_INTERNAL] = {"internal", "the hub could not do it; its log says why"},
};

const char *signal_error_code(enum signal_error e)
{
    return (unsigned)e < SIGERR_COUNT ? errors[e].code : "unknown";
}

const char *signal_error_text(enum signal_error e)
{
    return (unsigned)e < SIGERR_COUNT ? errors[e].text : "unknown error";
}

enum signal_error signal_error_of(const char *code)
{
    int e = 0;
    while (e < SIGERR_COUNT && strcmp(errors[e].code, code) != 0)
        e++;
    return e;
}

const char *signal_type_name(enum signal_type t)
{
    return (unsigned)t < SIGNAL_TYPE_COUNT ? type_names[t] : "unknown";
}

/* ---- reading ---- */

/* jansson recurses to its own, far larger depth: look before it does. */
static bool nesting_ok(struct bytes text)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > NESTING_MAX)
                return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

/* Fields of one JSON object; fails sticky, like struct rd. */
struct fields {
    const json_t *o;
    bool bad;
    bool no_memory; /* bad, and not by the sender's fault */
};

static const json_t *field(struct fields *f, const char *key)
{
    const json_t *v = json_object_get(f->o, key);
    if (!v)
        f->bad = true;
    return v;
}

static bool field_there(const struct fields *f, const char *key)
{
    return json_object_get(f->o, key) != NULL;
}

static uint64_t get_u64(struct fields *f, const char *key, uint64_t max)
{
    const json_t *v = field(f, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max) {
        f->bad = true;
        return 0;
    }
    return (uint64_t)json_integer_value(v);
}

static uint32_t get_u32(struct fields *f, const char *key)
{
    return (uint32_t)get_u64(f, key, UINT32_MAX);
}

static uint32_t get_u32_or_0(struct fields *f, const char *key)
{
    return field_there(f, key) ? get_u32(f, key) : 0;
}

static bool get_bool_or_false(struct fields *f, const char *key)
{
    const json_t *v = json_object_get(f->o, key);
    if (v && !json_is_boolean(v))
        f->bad = true;
    return json_is_true(v);
}

static const char *get_string(struct fields *f, const char *key, size_t *n)
{
    const json_t *v = field(f, key);
    if (!json_is_string(v)) {
        f->bad = true;
        *n = 0;
        return "";
    }
    *n = json_string_length(v);
    return json_string_value(v);
}

static void get_text(struct fields *f, const char *key, char *out, size_t cap)
{
    size_t n;
    const char *s = get_string(f, key, &n);
    if (n >= cap)
        f->bad = true;
    else
        memcpy(out, s, n + 1);
}

static void get_hex(struct fields *f, const char *key, uint8_t *out, size_t len)
{
    size_t n, got;
    const char *s = get_string(f, key, &n);
    if (n != HEX_LEN(len) || hex_get(out, len, &got, s, n) < 0)
        f->bad = true;
}

static void get_base64(struct fields *f, const char *key, uint8_t *out, size_t len)
{
    size_t n, got;
    const char *s = get_string(f, key, &n);
    if (base64url_get(out, len, &got, s, n) < 0 || got != len)
        f->bad = true;
}

/* Decodes a base64url string of at most max bytes into the arena, of which *left bytes are free at *at. */
static struct bytes decode(struct fields *f, const json_t *v, size_t max, uint8_t **at, size_t *left)
{
    size_t got = 0;
    if (!json_is_string(v) ||
        base64url_get(*at, *left < max ? *left : max, &got, json_string_value(v), json_string_length(v)) <
            0 ||
        got == 0) {
        f->bad = true;
        return bytes_of(NULL, 0);
    }
    struct bytes out = bytes_of(*at, got);
    *at += got;
    *left -= got;
    return out;
}

/* Memory for everything that a message of n characters can decode to. */
static uint8_t *arena(struct signal *s, struct fields *f, size_t n)
{
    s->owned = malloc(n);
    if (!s->owned)
        f->bad = f->no_memory = true;
    return s->owned;
}

static void read_login(struct signal *s, struct fields *f)
{
    uint8_t keys[MLDSA_PUBLIC_LEN + ED25519_PUBLIC_LEN] = {0};
    get_hex(f, "node", s->u.login.node, NODE_ID_LEN);
    get_base64(f, "keys", keys, sizeof keys);
    get_text(f, "name", s->u.login.name, sizeof s->u.login.name);
    get_base64(f, "signature", s->u.login.signature, SIGN_SIG_LEN);
    memcpy(s->u.login.keys.mldsa, keys, MLDSA_PUBLIC_LEN);
    memcpy(s->u.login.keys.ed25519, keys + MLDSA_PUBLIC_LEN, ED25519_PUBLIC_LEN);
    if (!f->bad && !name_valid(s->u.login.name))
        f->bad = true;
}

static void read_udp(struct signal *s, const json_t *o, struct fields *f)
{
    struct fields uf = {.o = o, .bad = !json_is_object(o)};
    get_base64(&uf, "key", s->u.welcome.udp_key, SIGNAL_UDP_KEY_LEN);
    const json_t *list = field(&uf, "addrs");
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > SIGNAL_UDP_MAX)
        uf.bad = true;
    for (size_t i = 0; !uf.bad && i < count; i++) {
        struct net_addr *a = &s->u.welcome.udp[s->u.welcome.udp_count++];
        const char *text = json_string_value(json_array_get(list, i));
        uf.bad = !text || net_addr_read(a, text) < 0 || a->port == 0;
    }
    s->u.welcome.has_udp = true;
    f->bad |= uf.bad;
}

static void read_turn(struct signal *s, const json_t *o, struct fields *f)
{
    struct fields tf = {.o = o, .bad = !json_is_object(o)};
    get_text(&tf, "url", s->u.welcome.turn_url, sizeof s->u.welcome.turn_url);
    get_text(&tf, "username", s->u.welcome.turn_user, sizeof s->u.welcome.turn_user);
    get_text(&tf, "password", s->u.welcome.turn_password, sizeof s->u.welcome.turn_password);
    s->u.welcome.turn_expires = get_u64(&tf, "expires", INT64_MAX);
    s->u.welcome.has_turn = true;
    f->bad |= tf.bad;
}

static void read_welcome(struct signal *s, struct fields *f)
{
    const json_t *udp = json_object_get(f->o, "udp"), *turn = json_object_get(f->o, "turn");
    get_text(f, "token", s->u.welcome.token, sizeof s->u.welcome.token);
    s->u.welcome.expires = get_u64(f, "expires", INT64_MAX);
    s->u.welcome.time = get_u64(f, "time", INT64_MAX);
    s->u.welcome.relay = get_u32(f, "relay");
    get_text(f, "seen", s->u.welcome.seen, sizeof s->u.welcome.seen);
    if (udp)
        read_udp(s, udp, f);
    if (turn)
        read_turn(s, turn, f);
}

static void read_join(struct signal *s, struct fields *f)
{
    get_hex(f, "party", s->u.join.party, PARTY_ID_LEN);
    s->u.join.since = get_u64(f, "since", INT64_MAX);
    s->u.join.has_invite = field_there(f, "invite");
    if (!s->u.join.has_invite)
        return;
    get_hex(f, "invite", s->u.join.invite, INVITE_ID_LEN);
    get_base64(f, "proof", s->u.join.proof, SIGN_SIG_LEN);
}

static void read_entries(struct signal *s, struct fields *f, size_t text_len)
{
    const json_t *list = field(f, "entries");
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > SIGNAL_ENTRIES_MAX)
        f->bad = true;
    uint8_t *at = f->bad ? NULL : arena(s, f, text_len);
    size_t left = text_len;
    for (size_t i = 0; !f->bad && i < count; i++)
        s->u.log.entries[s->u.log.count++] = decode(f, json_array_get(list, i), ENTRY_MAX, &at, &left);
}

static void read_entry(struct signal *s, struct fields *f, size_t text_len)
{
    const json_t *v = field(f, "entry");
    uint8_t *at = f->bad ? NULL : arena(s, f, text_len);
    size_t left = text_len;
    if (!f->bad)
        s->u.log.entries[s->u.log.count++] = decode(f, v, ENTRY_MAX, &at, &left);
}

static void read_log(struct signal *s, struct fields *f, size_t text_len)
{
    size_t n, op = 0;
    const char *name = get_string(f, "op", &n);
    while (op < OP_COUNT && strcmp(op_names[op], name) != 0)
        op++;
    if (op == OP_COUNT) {
        f->bad = true;
        return;
    }
    s->u.log.op = (enum signal_log_op)op;
    if (op != LOG_OP_CREATE)
        get_hex(f, "party", s->u.log.party, PARTY_ID_LEN);
    if (op == LOG_OP_GET || op == LOG_OP_ENTRIES || op == LOG_OP_ACK)
        s->u.log.seq = get_u64(f, op == LOG_OP_GET ? "since" : "seq", INT64_MAX);
    if (op == LOG_OP_APPEND || op == LOG_OP_CREATE || op == LOG_OP_ACK)
        s->u.log.ref = get_u32(f, "ref");
    if (op == LOG_OP_APPEND || op == LOG_OP_CREATE)
        read_entry(s, f, text_len);
    if (op == LOG_OP_ENTRIES) {
        s->u.log.more = get_bool_or_false(f, "more");
        read_entries(s, f, text_len);
    }
}

static void read_peer(struct fields *f, const json_t *v, struct signal_peer *p)
{
    struct fields pf = {.o = v, .bad = !json_is_object(v)};
    get_hex(&pf, "node", p->node, NODE_ID_LEN);
    p->relay = get_u32(&pf, "relay");
    p->seq = get_u64(&pf, "seq", INT64_MAX);
    get_hex(&pf, "head", p->head, ENTRY_HASH_LEN);
    if (pf.bad)
        f->bad = true;
}

static void read_peer_list(struct signal *s, struct fields *f)
{
    get_hex(f, "party", s->u.peer_list.party, PARTY_ID_LEN);
    s->u.peer_list.more = get_bool_or_false(f, "more");
    const json_t *list = field(f, "peers");
    size_t count = json_array_size(list);
    if (f->bad || !json_is_array(list) || count > SIGNAL_PEERS_MAX) {
        f->bad = true;
        return;
    }
    s->owned = s->u.peer_list.peers = calloc(count + 1, sizeof *s->u.peer_list.peers);
    if (!s->owned)
        f->bad = f->no_memory = true;
    for (size_t i = 0; !f->bad && i < count; i++)
        read_peer(f, json_array_get(list, i), &s->u.peer_list.peers[s->u.peer_list.count++]);
}

static void read_forward(struct signal *s, struct fields *f, size_t text_len)
{
    get_hex(f, "party", s->u.forward.party, PARTY_ID_LEN);
    const json_t *v = field(f, "data");
    uint8_t *at = f->bad ? NULL : arena(s, f, text_len);
    size_t left = text_len;
    if (!f->bad)
        s->u.forward.data = decode(f, v, SIGNAL_DATA_MAX, &at, &left);
}

static void read_error(struct signal *s, struct fields *f)
{
    get_text(f, "code", s->u.error.code, sizeof s->u.error.code);
    get_text(f, "message", s->u.error.message, sizeof s->u.error.message);
    s->u.error.ref = get_u32_or_0(f, "ref");
    s->u.error.has_party = field_there(f, "party");
    if (s->u.error.has_party)
        get_hex(f, "party", s->u.error.party, PARTY_ID_LEN);
}

static void read_payload(struct signal *s, struct fields *f, size_t text_len)
{
    switch (s->type) {
    case SIGNAL_CHALLENGE:
        get_base64(f, "nonce", s->u.challenge.nonce, SIGNAL_NONCE_LEN);
        s->u.challenge.version = get_u32(f, "version");
        break;
    case SIGNAL_LOGIN:
        read_login(s, f);
        break;
    case SIGNAL_WELCOME:
        read_welcome(s, f);
        break;
    case SIGNAL_JOIN:
        read_join(s, f);
        break;
    case SIGNAL_LEAVE:
        get_hex(f, "party", s->u.leave.party, PARTY_ID_LEN);
        break;
    case SIGNAL_LOG:
        read_log(s, f, text_len);
        break;
    case SIGNAL_PRESENCE:
        get_hex(f, "party", s->u.presence.party, PARTY_ID_LEN);
        s->u.presence.seq = get_u64(f, "seq", INT64_MAX);
        get_hex(f, "head", s->u.presence.head, ENTRY_HASH_LEN);
        break;
    case SIGNAL_PEER_LIST:
        read_peer_list(s, f);
        break;
    case SIGNAL_PEER_JOINED:
        get_hex(f, "party", s->u.peer_joined.party, PARTY_ID_LEN);
        read_peer(f, field(f, "peer"), &s->u.peer_joined.peer);
        break;
    case SIGNAL_PEER_LEFT:
        get_hex(f, "party", s->u.peer_left.party, PARTY_ID_LEN);
        get_hex(f, "node", s->u.peer_left.node, NODE_ID_LEN);
        s->u.peer_left.removed = get_bool_or_false(f, "removed");
        break;
    case SIGNAL_SIGNAL:
    case SIGNAL_OFFER:
    case SIGNAL_ANSWER:
    case SIGNAL_ICE_CANDIDATE:
        read_forward(s, f, text_len);
        break;
    case SIGNAL_ERROR:
        read_error(s, f);
        break;
    case SIGNAL_PING:
    case SIGNAL_PONG:
        s->u.ping.t = get_u64(f, "t", INT64_MAX);
        break;
    default:
        f->bad = true;
    }
}

static int read_top(struct signal *s, const json_t *root, size_t text_len)
{
    struct fields f = {.o = root, .bad = !json_is_object(root)};
    size_t n;
    const char *name = get_string(&f, "type", &n);
    s->type = SIGNAL_CHALLENGE;
    while (s->type < SIGNAL_TYPE_COUNT && strcmp(type_names[s->type], name) != 0)
        s->type++;
    s->has_from = field_there(&f, "from");
    if (s->has_from)
        get_hex(&f, "from", s->from, NODE_ID_LEN);
    s->has_to = field_there(&f, "to");
    if (s->has_to)
        get_hex(&f, "to", s->to, NODE_ID_LEN);
    struct fields payload = {.o = field(&f, "payload"), .bad = f.bad};
    if (!json_is_object(payload.o))
        payload.bad = true;
    if (!payload.bad && s->type < SIGNAL_TYPE_COUNT)
        read_payload(s, &payload, text_len);
    if (!payload.bad && s->type < SIGNAL_TYPE_COUNT)
        return 0;
    signal_done(s);
    s->type = SIGNAL_TYPE_COUNT;
    return payload.no_memory ? -ENOMEM : -EBADMSG;
}

int signal_read(struct signal *s, struct bytes text)
{
    memset(s, 0, sizeof *s);
    s->type = SIGNAL_TYPE_COUNT;
    if (text.n == 0 || text.n > SIGNAL_MAX || !nesting_ok(text))
        return -EBADMSG;
    json_t *root = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    if (!root)
        return -EBADMSG;
    int rc = read_top(s, root, text.n);
    json_decref(root);
    return rc;
}

void signal_done(struct signal *s)
{
    free(s->owned);
    wipe(s, sizeof *s); /* welcome brings keys */
}

/* ---- writing ---- */

/* Appends; fails sticky, keeping the first reason. */
struct json_out {
    struct buf *b;
    int rc;
    bool comma;
};

static void put(struct json_out *j, const char *s, size_t n)
{
    if (j->rc == 0)
        j->rc = buf_add(j->b, bytes_of(s, n));
}

static void put_str(struct json_out *j, const char *s)
{
    put(j, s, strlen(s));
}

static void put_quoted(struct json_out *j, const char *s)
{
    static const char hex[] = "0123456789abcdef";
    bool valid = utf8_valid(bytes_of_str(s));
    put(j, "\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        char esc[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        if (c == '"' || c == '\\') {
            put(j, (char[2]){'\\', (char)c}, 2);
        } else if (c < 0x20) {
            put(j, esc, sizeof esc);
        } else {
            /* Half a character of somebody's would make the whole message unreadable. */
            put(j, c >= 0x80 && !valid ? "?" : s, 1);
        }
    }
    put(j, "\"", 1);
}

static void put_key(struct json_out *j, const char *key)
{
    if (j->comma)
        put(j, ",", 1);
    j->comma = true;
    put(j, "\"", 1);
    put_str(j, key);
    put(j, "\":", 2);
}

static void put_open(struct json_out *j, char c)
{
    put(j, &c, 1);
    j->comma = false;
}

static void put_close(struct json_out *j, char c)
{
    put(j, &c, 1);
    j->comma = true;
}

static void put_text(struct json_out *j, const char *key, const char *s)
{
    put_key(j, key);
    put_quoted(j, s);
}

static void put_u64(struct json_out *j, const char *key, uint64_t v)
{
    put_key(j, key);
    if (j->rc == 0)
        j->rc = v > INT64_MAX ? -E2BIG : buf_printf(j->b, "%llu", (unsigned long long)v);
}

static void put_bool(struct json_out *j, const char *key, bool v)
{
    put_key(j, key);
    put_str(j, v ? "true" : "false");
}

static void put_id(struct json_out *j, const char *key, const uint8_t id[32])
{
    char hex[HEX_LEN(32) + 1];
    hex_put(hex, bytes_of(id, 32));
    put_key(j, key);
    put(j, "\"", 1);
    put_str(j, hex);
    put(j, "\"", 1);
}

/* base64url in slices of a multiple of three, so that no slice needs padding. */
static void put_base64_value(struct json_out *j, struct bytes in)
{
    char slice[BASE64_LEN(768) + 1];
    put(j, "\"", 1);
    while (in.n > 0) {
        size_t n = in.n < 768 ? in.n : 768;
        base64url_put(slice, bytes_of(in.p, n));
        put_str(j, slice);
        in = bytes_of(in.p + n, in.n - n);
    }
    put(j, "\"", 1);
}

static void put_base64(struct json_out *j, const char *key, struct bytes in)
{
    put_key(j, key);
    put_base64_value(j, in);
}

static void write_login(struct json_out *j, const struct signal *s)
{
    uint8_t keys[MLDSA_PUBLIC_LEN + ED25519_PUBLIC_LEN];
    memcpy(keys, s->u.login.keys.mldsa, MLDSA_PUBLIC_LEN);
    memcpy(keys + MLDSA_PUBLIC_LEN, s->u.login.keys.ed25519, ED25519_PUBLIC_LEN);
    put_id(j, "node", s->u.login.node);
    put_base64(j, "keys", bytes_of(keys, sizeof keys));
    put_text(j, "name", s->u.login.name);
    put_base64(j, "signature", bytes_of(s->u.login.signature, SIGN_SIG_LEN));
}

static void write_udp(struct json_out *j, const struct signal *s)
{
    char text[NET_ADDR_TEXT];
    put_key(j, "udp");
    put_open(j, '{');
    put_base64(j, "key", bytes_of(s->u.welcome.udp_key, SIGNAL_UDP_KEY_LEN));
    put_key(j, "addrs");
    put_open(j, '[');
    for (size_t i = 0; i < s->u.welcome.udp_count && i < SIGNAL_UDP_MAX; i++) {
        put(j, ",", i > 0);
        net_addr_text(text, &s->u.welcome.udp[i]);
        put_quoted(j, text);
    }
    put_close(j, ']');
    put_close(j, '}');
}

static void write_turn(struct json_out *j, const struct signal *s)
{
    put_key(j, "turn");
    put_open(j, '{');
    put_text(j, "url", s->u.welcome.turn_url);
    put_text(j, "username", s->u.welcome.turn_user);
    put_text(j, "password", s->u.welcome.turn_password);
    put_u64(j, "expires", s->u.welcome.turn_expires);
    put_close(j, '}');
}

static void write_welcome(struct json_out *j, const struct signal *s)
{
    put_text(j, "token", s->u.welcome.token);
    put_u64(j, "expires", s->u.welcome.expires);
    put_u64(j, "relay", s->u.welcome.relay);
    put_text(j, "seen", s->u.welcome.seen);
    put_u64(j, "time", s->u.welcome.time);
    if (s->u.welcome.has_udp)
        write_udp(j, s);
    if (s->u.welcome.has_turn)
        write_turn(j, s);
}

static void write_join(struct json_out *j, const struct signal *s)
{
    put_id(j, "party", s->u.join.party);
    put_u64(j, "since", s->u.join.since);
    if (s->u.join.has_invite) {
        put_id(j, "invite", s->u.join.invite);
        put_base64(j, "proof", bytes_of(s->u.join.proof, SIGN_SIG_LEN));
    }
}

static void write_log(struct json_out *j, const struct signal *s)
{
    enum signal_log_op op = s->u.log.op;
    bool one = op == LOG_OP_APPEND || op == LOG_OP_CREATE;
    if ((unsigned)op >= OP_COUNT || s->u.log.count > SIGNAL_ENTRIES_MAX || (one && s->u.log.count != 1)) {
        j->rc = -E2BIG;
        return;
    }
    put_text(j, "op", op_names[op]);
    if (op != LOG_OP_CREATE)
        put_id(j, "party", s->u.log.party);
    if (op == LOG_OP_GET || op == LOG_OP_ENTRIES || op == LOG_OP_ACK)
        put_u64(j, op == LOG_OP_GET ? "since" : "seq", s->u.log.seq);
    if (one || op == LOG_OP_ACK)
        put_u64(j, "ref", s->u.log.ref);
    if (one)
        put_base64(j, "entry", s->u.log.entries[0]);
    if (op != LOG_OP_ENTRIES)
        return;
    put_key(j, "entries");
    put_open(j, '[');
    for (size_t i = 0; i < s->u.log.count; i++) {
        put(j, ",", i > 0);
        put_base64_value(j, s->u.log.entries[i]);
    }
    put_close(j, ']');
    put_bool(j, "more", s->u.log.more);
}

static void write_peer(struct json_out *j, const struct signal_peer *p)
{
    put_open(j, '{');
    put_id(j, "node", p->node);
    put_u64(j, "relay", p->relay);
    put_u64(j, "seq", p->seq);
    put_id(j, "head", p->head);
    put_close(j, '}');
}

static void write_peer_list(struct json_out *j, const struct signal *s)
{
    if (s->u.peer_list.count > SIGNAL_PEERS_MAX) {
        j->rc = -E2BIG;
        return;
    }
    put_id(j, "party", s->u.peer_list.party);
    put_key(j, "peers");
    put_open(j, '[');
    for (size_t i = 0; i < s->u.peer_list.count; i++) {
        put(j, ",", i > 0);
        write_peer(j, &s->u.peer_list.peers[i]);
    }
    put_close(j, ']');
    put_bool(j, "more", s->u.peer_list.more);
}

static void write_error(struct json_out *j, const struct signal *s)
{
    put_text(j, "code", s->u.error.code);
    put_text(j, "message", s->u.error.message);
    put_u64(j, "ref", s->u.error.ref);
    if (s->u.error.has_party)
        put_id(j, "party", s->u.error.party);
}

static void write_payload(struct json_out *j, const struct signal *s)
{
    switch (s->type) {
    case SIGNAL_CHALLENGE:
        put_base64(j, "nonce", bytes_of(s->u.challenge.nonce, SIGNAL_NONCE_LEN));
        put_u64(j, "version", s->u.challenge.version);
        break;
    case SIGNAL_LOGIN:
        write_login(j, s);
        break;
    case SIGNAL_WELCOME:
        write_welcome(j, s);
        break;
    case SIGNAL_JOIN:
        write_join(j, s);
        break;
    case SIGNAL_LEAVE:
        put_id(j, "party", s->u.leave.party);
        break;
    case SIGNAL_LOG:
        write_log(j, s);
        break;
    case SIGNAL_PRESENCE:
        put_id(j, "party", s->u.presence.party);
        put_u64(j, "seq", s->u.presence.seq);
        put_id(j, "head", s->u.presence.head);
        break;
    case SIGNAL_PEER_LIST:
        write_peer_list(j, s);
        break;
    case SIGNAL_PEER_JOINED:
        put_id(j, "party", s->u.peer_joined.party);
        put_key(j, "peer");
        write_peer(j, &s->u.peer_joined.peer);
        break;
    case SIGNAL_PEER_LEFT:
        put_id(j, "party", s->u.peer_left.party);
        put_id(j, "node", s->u.peer_left.node);
        put_bool(j, "removed", s->u.peer_left.removed);
        break;
    case SIGNAL_SIGNAL:
    case SIGNAL_OFFER:
    case SIGNAL_ANSWER:
    case SIGNAL_ICE_CANDIDATE:
        put_id(j, "party", s->u.forward.party);
        put_base64(j, "data", s->u.forward.data);
        break;
    case SIGNAL_ERROR:
        write_error(j, s);
        break;
    case SIGNAL_PING:
    case SIGNAL_PONG:
        put_u64(j, "t", s->u.ping.t);
        break;
    default:
        j->rc = -E2BIG;
    }
}

int signal_write(struct buf *out, const struct signal *s)
{
    size_t start = out->n;
    struct json_out j = {.b = out};
    put_open(&j, '{');
    put_text(&j, "type", signal_type_name(s->type));
    if (s->has_from)
        put_id(&j, "from", s->from);
    if (s->has_to)
        put_id(&j, "to", s->to);
    put_key(&j, "payload");
    put_open(&j, '{');
    write_payload(&j, s);
    put_close(&j, '}');
    put_close(&j, '}');
    if (j.rc == 0 && out->n - start > SIGNAL_MAX)
        j.rc = -E2BIG;
    if (j.rc < 0)
        out->n = start;
    return j.rc;
}
