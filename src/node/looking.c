/* Commands that look and change nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

void cmd_status(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    reply_ok(n, id, status_json(n, now), 0);
}

void cmd_id(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    char text[NODE_ID_TEXT_CAP], hex[HEX_LEN(NODE_ID_LEN) + 1], ml[HEX_LEN(SHA256_LEN) + 1],
        ed[HEX_LEN(ED25519_PUBLIC_LEN) + 1];
    const struct sign_public *pub = sign_key_public(n->key);
    uint8_t digest[SHA256_LEN];
    node_id_text(text, n->id);
    hex_put(hex, bytes_of(n->id, NODE_ID_LEN));
    struct bytes key = bytes_of(pub->mldsa, MLDSA_PUBLIC_LEN);
    sha256(digest, &key, 1);
    hex_put(ml, bytes_of(digest, sizeof digest));
    hex_put(ed, bytes_of(pub->ed25519, ED25519_PUBLIC_LEN));
    reply_ok(n, id,
             json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", text, "id_hex", hex, "name", n->name,
                       "mldsa87_sha256", ml, "ed25519", ed, "version", WARREN_VERSION),
             0);
}

static json_t *party_row(const struct node *n, const struct node_party *np)
{
    char hex[HEX_LEN(PARTY_ID_LEN) + 1], ip[16];
    const struct party_member *self = np_self(n, np);
    hex_put(hex, bytes_of(np->id, PARTY_ID_LEN));
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "id", hex, "name", party_name(np->log), "mode",
        mode_name(party_mode(np->log)), "state", np->state == NP_REMOVED ? "removed" : "active", "role",
        self ? role_name(self->role) : "none", "members", (json_int_t)party_member_count(np->log), "device",
        np->dev == DEV_OPEN ? json_string(np->dev_name) : json_null());
    ip4_text(ip, self ? self->ip4 : 0);
    json_object_set_new(o, "ip", self ? json_string(ip) : json_null());
    ip4_text(ip, party_net4(np->log));
    char net[24];
    snprintf(net, sizeof net, "%s/16", ip);
    json_object_set_new(o, "net", json_string(net));
    json_object_set_new(o, "log_seq", json_integer((json_int_t)party_seq(np->log)));
    return o;
}

void cmd_party_list(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->state != NP_JOINING)
            json_array_append_new(list, party_row(n, n->parties[i]));
    reply_ok(n, id, json_pack("{s:o}", "parties", list), 0);
}

/* ---- The log, for people. */

static const char *entry_name(uint8_t type)
{
    static const char *const names[ENTRY_TYPE_COUNT] = {
        "none", "genesis", "admit", "remove", "role", "lease", "invite", "revoke-invite", "rename", "policy"};
    return type < ENTRY_TYPE_COUNT ? names[type] : "unknown";
}

static void put_id(json_t *o, const char *key, const uint8_t id[NODE_ID_LEN])
{
    char text[NODE_ID_TEXT_CAP];
    node_id_text(text, id);
    json_object_set_new(o, key, json_string(text));
}

static void put_hex(json_t *o, const char *key, const uint8_t id[32])
{
    char hex[65];
    hex_put(hex, bytes_of(id, 32));
    json_object_set_new(o, key, json_string(hex));
}

static void put_key_id(json_t *o, const char *key, const struct sign_public *pub)
{
    uint8_t id[NODE_ID_LEN];
    node_id_of(id, pub);
    put_id(o, key, id);
}

static void put_body(json_t *o, const struct entry *e)
{
    uint8_t id[INVITE_ID_LEN];
    switch (e->type) {
    case ENTRY_GENESIS:
        json_object_set_new(o, "name", json_string(e->u.genesis.name));
        json_object_set_new(o, "mode", json_string(mode_name(e->u.genesis.mode)));
        put_key_id(o, "node", &e->u.genesis.key);
        break;
    case ENTRY_ADMIT:
        put_key_id(o, "node", &e->u.admit.key);
        json_object_set_new(o, "name", json_string(e->u.admit.name));
        json_object_set_new(o, "role", json_string(role_name(e->u.admit.role)));
        break;
    case ENTRY_REMOVE:
        put_id(o, "node", e->u.remove.node);
        break;
    case ENTRY_ROLE:
        put_id(o, "node", e->u.role.node);
        json_object_set_new(o, "role", json_string(role_name(e->u.role.role)));
        break;
    case ENTRY_LEASE:
        put_id(o, "node", e->u.lease.node);
        json_object_set_new(o, "host", json_integer(e->u.lease.host));
        break;
    case ENTRY_INVITE:
        node_id_of(id, &e->u.invite.key);
        put_hex(o, "invite", id);
        json_object_set_new(o, "uses", json_integer(e->u.invite.uses));
        json_object_set_new(o, "expires", json_integer((json_int_t)e->u.invite.expires));
        json_object_set_new(o, "role", json_string(role_name(e->u.invite.role)));
        break;
    case ENTRY_REVOKE_INVITE:
        put_hex(o, "invite", e->u.revoke.invite);
        break;
    case ENTRY_RENAME:
        put_id(o, "node", e->u.rename.node);
        json_object_set_new(o, "name", json_string(e->u.rename.name));
        break;
    case ENTRY_POLICY:
        json_object_set_new(o, "allow_dhcp", json_boolean(e->u.policy.allow_dhcp));
        json_object_set_new(o, "broadcast_pps", json_integer(e->u.policy.broadcast_pps));
        json_object_set_new(o, "ciphers", json_integer(e->u.policy.ciphers));
        break;
    default:
        break;
    }
}

#define PARTY_LOG_MAX 1000 /* entries in one answer */

/* NULL: it cannot be read; e is scratch. */
static json_t *log_entry_json(const struct party *log, uint64_t seq, struct entry *e)
{
    uint8_t room[ENTRY_MAX], hash[ENTRY_HASH_LEN];
    struct bytes entry;
    if (party_entry_read(log, seq, room, &entry) < 0 || entry_read(e, entry) < 0)
        return NULL;
    entry_hash(hash, e);
    if (memcmp(hash, party_hash_at(log, seq), sizeof hash) != 0)
        return NULL; /* the disk says something else than it did */
    json_t *o = json_pack("{s:I, s:s, s:I}", "seq", (json_int_t)seq, "type", entry_name(e->type), "time",
                          (json_int_t)e->time);
    put_id(o, "author", e->author);
    put_hex(o, "hash", hash);
    put_body(o, e);
    return o;
}

void cmd_party_log(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    json_int_t since, limit;
    struct node_party *np = choose_party(n, id, arg_text(rq, "party"));
    if (!np || !arg_number(n, id, rq, "since", (json_int_t[]){0, PARTY_ENTRIES_MAX, 0}, &since) ||
        !arg_number(n, id, rq, "limit", (json_int_t[]){1, PARTY_LOG_MAX, PARTY_LOG_MAX}, &limit))
        return;
    struct entry *e = malloc(sizeof *e);
    json_t *list = json_array(), *o = NULL;
    uint64_t seq = (uint64_t)since, end = party_seq(np->log);
    for (; e && seq <= end && seq - (uint64_t)since < (uint64_t)limit; seq++) {
        o = log_entry_json(np->log, seq, e);
        if (!o)
            break;
        json_array_append_new(list, o);
    }
    bool failed = e && !o && (uint64_t)since <= end;
    free(e);
    if (failed) {
        json_decref(list);
        reply_error(n, id, party_verdict_name(PARTY_UNREADABLE), "%s", party_verdict_text(PARTY_UNREADABLE));
        return;
    }
    reply_ok(n, id,
             json_pack("{s:s, s:o, s:b}", "party", party_name(np->log), "entries", list, "more", seq <= end),
             0);
}

void cmd_peers(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    const char *arg = arg_text(rq, "party");
    struct node_party *only = arg ? choose_party(n, id, arg) : NULL;
    if (arg && !only)
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        if (np->state != NP_ACTIVE || (only && only != np))
            continue;
        json_t *peers = peers_json(n, np, now), *peer;
        size_t at;
        json_array_foreach(peers, at, peer)
            json_object_set_new(peer, "party", json_string(party_name(np->log)));
        json_array_extend(list, peers);
        json_decref(peers);
    }
    reply_ok(n, id, json_pack("{s:o}", "peers", list), 0);
}

void cmd_metrics(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct buf out;
    buf_init(&out, 1024 * 1024);
    metrics_text(n, &out);
    reply_ok(n, id, json_pack("{s:s}", "text", buf_str(&out)), 0);
    buf_done(&out);
}

/* ---- Everything that is no secret, for a report of a fault. */

static json_t *dump_peer(const struct node_peer *p, usec_t now)
{
    json_t *o = json_object();
    const struct peer_session *all[3] = {p->cur, p->next, p->old};
    static const char *const slots[3] = {"current", "handshake", "old"};
    put_id(o, "id", p->id);
    json_object_set_new(o, "relay_index", json_integer(p->relay));
    json_object_set_new(o, "resuming", json_boolean(p->resuming));
    json_object_set_new(o, "tries", json_integer(p->tries));
    json_object_set_new(o, "waiting_frames", json_integer((json_int_t)p->wait_count));
    json_object_set_new(o, "next_try_ms",
                        p->start_at == USEC_NEVER
                            ? json_null()
                            : json_integer((json_int_t)(usec_since(p->start_at, now) / MSEC)));
    for (size_t i = 0; i < 3; i++) {
        struct session_info info;
        if (!all[i])
            continue;
        session_info(all[i]->s, &info);
        json_object_set_new(o, slots[i],
                            json_pack("{s:i, s:b, s:s, s:I, s:I, s:I, s:I}", "state",
                                      (int)session_state(all[i]->s), "initiator", info.initiator, "cipher",
                                      aead_name(info.cipher), "epoch", (json_int_t)info.epoch, "rekeys",
                                      (json_int_t)info.rekeys, "tx_packets", (json_int_t)info.tx_packets,
                                      "rx_packets", (json_int_t)info.rx_packets));
    }
    return o;
}

static json_t *dump_limits(const struct node *n)
{
    json_t *o = json_object();
    const char *what, *name;
    uint32_t value;
    for (size_t i = 0; (name = node_limit_at(i, &n->limits, &value, &what)); i++)
        json_object_set_new(o, name, json_integer(value));
    return o;
}

void cmd_debug_dump(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    json_t *counters = json_object(), *peers = json_array();
    for (int c = 0; c < COUNT_END; c++)
        json_object_set_new(counters, counter_name((enum node_counter)c),
                            json_integer((json_int_t)n->counts[c]));
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i])
            json_array_append_new(peers, dump_peer(n->peers[i], now));
    const struct link *l = &n->link;
    json_t *link = json_pack("{s:i, s:i, s:I, s:I, s:I}", "state", (int)l->state, "failures",
                             (int)l->failures, "text_bytes", (json_int_t)l->text_bytes, "control_bytes",
                             (json_int_t)l->control.n, "data_bytes", (json_int_t)l->data.used);
    reply_ok(n, id,
             json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "status", status_json(n, now), "link",
                       link, "circuits", circuits_json(n, now), "peers", peers, "counters", counters,
                       "limits", dump_limits(n), "uptime_s",
                       (json_int_t)(usec_since(now, n->started_at) / SEC), "requests",
                       (json_int_t)n->request_count),
             0);
}
