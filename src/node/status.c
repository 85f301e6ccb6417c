/* What `status`, `peers` and `debug-dump` show (field names: doc/protocol/control.md). */
#include <stdio.h>
#include <string.h>

#include "node/whys_int.h"

void ip4_text(char out[16], uint32_t ip4)
{
    char text[NET_ADDR_TEXT];
    const struct net_addr a = net_addr4(ip4, 0);
    net_ip_text(text, &a);
    snprintf(out, 16, "%.15s", text);
}

void ip6_text(char out[46], const uint8_t ip6[16])
{
    char text[NET_ADDR_TEXT];
    const struct net_addr a = net_addr6(ip6, 0);
    net_ip_text(text, &a);
    snprintf(out, 46, "%.45s", text);
}

const char *role_name(enum party_role r)
{
    static const char *const names[ROLE_COUNT] = {"none", "guest", "member", "admin", "owner"};
    return r < ROLE_COUNT ? names[r] : "none";
}

bool role_of(const char *name, enum party_role *r)
{
    for (int i = ROLE_GUEST; i < ROLE_COUNT; i++) {
        if (strcmp(role_name((enum party_role)i), name) != 0)
            continue;
        *r = (enum party_role)i;
        return true;
    }
    return false;
}

const char *mode_name(enum party_mode m)
{
    return m == MODE_TUN ? "tun" : m == MODE_WIREGUARD ? "wireguard" : "tap";
}

json_t *ms_json(usec_t t)
{
    return t == 0 ? json_null() : json_real((double)t / 1000.0);
}

json_t *text_json(const char *s)
{
    size_t n = strlen(s);
    for (size_t cut = 0; cut < 4 && cut <= n; cut++) {
        json_t *o = json_stringn(s, n - cut);
        if (o)
            return o;
    }
    return json_string("?");
}

json_t *hub_json(const struct node *n)
{
    const struct link *l = &n->link;
    char url[HUB_HOST_MAX + 128];
    if (!l->have_hub)
        return json_pack("{s:n, s:b, s:n, s:n, s:s}", "url", "connected", 0, "rtt_ms", "seen", "error",
                         "no hub is known: `warren join` or `warren up --hub URL`");
    hub_address_write(url, sizeof url, &l->hub);
    bool ready = link_ready(n);
    return json_pack("{s:s, s:b, s:o, s:o, s:o}", "url", url, "connected", ready, "rtt_ms",
                     ms_json(ready ? l->rtt : 0), "seen",
                     ready && l->seen[0] ? text_json(l->seen) : json_null(), "error",
                     ready ? json_null() : text_json(l->why[0] ? l->why : "connecting"));
}

json_t *alerts_json(const struct node *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->alert_count; i++) {
        const struct alert *a = &n->alerts[i];
        char hex[HEX_LEN(PARTY_ID_LEN) + 1];
        hex_put(hex, bytes_of(a->party, PARTY_ID_LEN));
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I, s:s, s:I}", "party", hex, "code", a->code,
                                              "text", text_json(a->text), "since", (json_int_t)a->since,
                                              "source", a->source, "count", (json_int_t)a->count));
    }
    return list;
}

static json_t *path_mtu(const struct path_stats *st)
{
    return st->mtu > 0 ? json_integer(st->mtu) : json_null();
}

/* What status says of a path, for the one of the moment and for each of them. */
static void put_stats(json_t *o, const struct path_stats *st)
{
    json_object_set_new(o, "path", json_string(path_kind_name(st->kind)));
    json_object_set_new(o, "rtt_ms", ms_json(st->srtt));
    json_object_set_new(o, "jitter_ms", st->srtt ? json_real((double)st->jitter / 1000.0) : json_null());
    json_object_set_new(o, "loss", st->kind != PATH_NONE ? json_real(st->loss) : json_null());
    json_object_set_new(o, "mtu", path_mtu(st));
}

static json_t *paths_json(const struct node *n, const struct node_peer *p)
{
    json_t *list = json_array();
    struct path_stats st;
    for (size_t i = 0; p && p->cur && p->paths && i < paths_count(p->paths); i++) {
        if (!paths_stats_at(p->paths, i, &st))
            continue;
        const struct way *w = way_by_id(p, st.id);
        char at[WHY_TRIED_CAP / 2] = "";
        json_t *o = json_object();
        if (w)
            way_text(n, w, at, sizeof at);
        put_stats(o, &st);
        json_object_set_new(o, "endpoint", w ? text_json(at) : json_null());
        json_object_set_new(o, "alive", json_boolean(st.alive));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *tried_json(const struct node *n, const struct node_peer *p, usec_t now)
{
    char lines[WHY_TRIED_MAX][WHY_TRIED_CAP];
    json_t *list = json_array();
    size_t count = pair_tried(lines, n, p, now);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, text_json(lines[i]));
    return list;
}

/* The path of the moment; where none answers, the first of those that there are. */
static void put_path(json_t *o, const struct node *n, const struct node_peer *p)
{
    struct path_stats st = {0};
    uint32_t id = PATHS_NO_ID;
    enum path_kind kind = PATH_NONE;
    bool best = p && p->cur && p->paths && peer_best(p, &id, &kind) && paths_stats(p->paths, id, &st);
    bool any = best || (p && p->cur && p->paths && paths_stats_at(p->paths, 0, &st));
    const struct way *w = any ? way_by_id(p, st.id) : NULL;
    char at[WHY_TRIED_CAP / 2] = "";
    if (w)
        way_text(n, w, at, sizeof at);
    put_stats(o, &st);
    bool direct = path_is_direct(st.kind);
    json_object_set_new(o, "endpoint", w && direct ? text_json(at) : json_null());
    json_object_set_new(o, "relay", w && !direct ? text_json(at) : json_null());
    json_object_set_new(o, "since", best ? json_integer((json_int_t)node_unix(n, p->on_since)) : json_null());
    json_object_set_new(o, "paths", paths_json(n, p));
}

static void put_session(json_t *o, const struct node *n, const struct node_peer *p, usec_t now)
{
    struct peer_totals t = {0};
    struct session_info info;
    if (p)
        peer_traffic(p, &t);
    json_object_set_new(o, "tx_bytes", json_integer((json_int_t)t.tx_bytes));
    json_object_set_new(o, "rx_bytes", json_integer((json_int_t)t.rx_bytes));
    if (p && p->cur)
        session_info(p->cur->s, &info);
    bool up = p && p->cur;
    json_object_set_new(o, "cipher", up ? json_string(aead_name(info.cipher)) : json_null());
    json_object_set_new(o, "session_age_s",
                        up ? json_integer((json_int_t)(usec_since(now, info.up_since) / SEC)) : json_null());
    json_object_set_new(o, "rekeys", json_integer((json_int_t)t.rekeys));
    json_object_set_new(o, "last_seen",
                        p && p->seen ? json_integer((json_int_t)node_unix(n, p->seen)) : json_null());
}

static json_t *peer_json(const struct node *n, const struct party_member *m, usec_t now)
{
    char id[NODE_ID_TEXT_CAP], ip[16], ip6[46], why[WHY_CAP];
    struct pair_facts f;
    const struct node_peer *p = peer_by_id(n, m->id);
    enum peer_state state = p ? peer_state(p) : PEER_OFFLINE;
    node_id_text(id, m->id);
    ip4_text(ip, m->ip4);
    ip6_text(ip6, m->ip6);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "name", m->name, "role",
                          role_name(m->role), "ip", ip, "ip6", ip6, "state", peer_state_name(state));
    put_path(o, n, p);
    put_session(o, n, p, now);
    json_object_set_new(o, "tried", tried_json(n, p, now));
    pair_facts_collect(&f, n, p, m->name, now);
    pair_why(why, &f);
    json_object_set_new(o, "why", text_json(why));
    return o;
}

json_t *peers_json(const struct node *n, const struct node_party *np, usec_t now)
{
    json_t *list = json_array();
    for (size_t i = 0; np->state == NP_ACTIVE && i < party_member_count(np->log); i++) {
        const struct party_member *m = party_member_at(np->log, i);
        if (memcmp(m->id, n->id, NODE_ID_LEN) != 0)
            json_array_append_new(list, peer_json(n, m, now));
    }
    return list;
}

static json_t *device_error(const struct node *n, const struct node_party *np)
{
    if (np->state == NP_ACTIVE && party_mode(np->log) == MODE_WIREGUARD)
        return json_string("mode wireguard is not built in this version");
    return np->dev == DEV_FAILED ? text_json(np->dev_error) : json_null();
}

static json_t *party_json(const struct node *n, const struct node_party *np, usec_t now)
{
    char id[HEX_LEN(PARTY_ID_LEN) + 1], head[HEX_LEN(ENTRY_HASH_LEN) + 1], ip[16] = "", ip6[46] = "";
    const struct party_member *self = np_self(n, np);
    hex_put(id, bytes_of(np->id, PARTY_ID_LEN));
    hex_put(head, bytes_of(party_head(np->log), ENTRY_HASH_LEN));
    if (self) {
        ip4_text(ip, self->ip4);
        ip6_text(ip6, self->ip6);
    }
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "name", party_name(np->log), "mode",
                  mode_name(party_mode(np->log)), "state", np->state == NP_REMOVED ? "removed" : "active",
                  "device", np->dev == DEV_OPEN ? json_string(np->dev_name) : json_null());
    json_object_set_new(o, "device_error", device_error(n, np));
    json_object_set_new(o, "role", json_string(self ? role_name(self->role) : "none"));
    json_object_set_new(o, "ip", self ? json_string(ip) : json_null());
    json_object_set_new(o, "ip6", self ? json_string(ip6) : json_null());
    json_object_set_new(o, "mtu", json_integer(np->mtu ? np->mtu : n->limits.mtu));
    json_object_set_new(o, "log_head", json_string(head));
    json_object_set_new(o, "log_seq", json_integer((json_int_t)party_seq(np->log)));
    json_object_set_new(o, "synced", json_boolean(link_ready(n) && np->subscribed && !np->asking));
    json_object_set_new(o, "peers", peers_json(n, np, now));
    return o;
}

/* What sealing a packet of AEAD_SAMPLE bytes costs here, and what that makes this node ask its peers for. */
json_t *ciphers_json(const struct node *n)
{
    json_t *o = json_object(), *ns = json_object();
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++)
        json_object_set_new(ns, aead_name((enum aead_alg)alg),
                            n->speed.ns[alg] ? json_integer((json_int_t)n->speed.ns[alg]) : json_null());
    json_object_set_new(o, "prefer",
                        json_string(aead_name(n->prefer_aes ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305)));
    json_object_set_new(o, "ns_per_packet", ns);
    return o;
}

json_t *status_json(const struct node *n, usec_t now)
{
    char id[NODE_ID_TEXT_CAP];
    node_id_text(id, n->id);
    json_t *parties = json_array();
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->state != NP_JOINING)
            json_array_append_new(parties, party_json(n, n->parties[i], now));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "node", id, "name", n->name, "version",
                     WARREN_VERSION, "hub", hub_json(n), "ciphers", ciphers_json(n), "parties", parties,
                     "alerts", alerts_json(n));
}
