/* The node's figures as Prometheus text (exposition format 0.0.4). No names or addresses of members: figures
 * may be scraped. */
#include <string.h>

#include "node/dataplane_int.h"

/* ---- Moves. */

/* Upper ends of the buckets of the time from the first message that proved a path to its carrying. */
static const struct {
    usec_t most;
    const char *text;
} move_bucket[MOVE_BUCKETS] = {
    {10 * MSEC, "0.01"},  {25 * MSEC, "0.025"}, {50 * MSEC, "0.05"}, {100 * MSEC, "0.1"},
    {250 * MSEC, "0.25"}, {500 * MSEC, "0.5"},  {1 * SEC, "1"},      {2500 * MSEC, "2.5"},
    {5 * SEC, "5"},       {10 * SEC, "10"},
};

static void move_took(struct node_moves *m, usec_t took)
{
    size_t i = 0;
    while (i < MOVE_BUCKETS && took > move_bucket[i].most)
        i++;
    m->took[i]++;
    m->took_sum += took;
}

void move_made(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    struct path_stats st;
    bool first = w && !w->moved;
    if (w)
        w->moved = true;
    if (!w || p->on == PATH_NONE)
        return;
    /* The path before is gone, or silent: the new one was not chosen for being better. How long that took is
     * not the new path's matter, and it may have waited for hours to be needed. */
    if (!way_by_id(p, p->on_way) || !paths_stats(p->paths, p->on_way, &st) || !st.alive)
        n->moves.fallbacks++;
    else if (first && w->asked_at != 0)
        move_took(&n->moves, usec_since(now, w->asked_at));
}

const char *counter_name(enum node_counter c)
{
    static const char *const names[COUNT_END] = {
        [COUNT_HUB_CONNECTS] = "hub_connects",
        [COUNT_HUB_LOST] = "hub_lost",
        [COUNT_HUB_BAD_TEXT] = "hub_bad_texts",
        [COUNT_HUB_BAD_BINARY] = "hub_bad_binaries",
        [COUNT_HUB_ERRORS] = "hub_errors",
        [COUNT_TEXT_OVERFLOW] = "hub_text_overflows",
        [COUNT_TX_DATA_DROPPED] = "tx_data_dropped",
        [COUNT_TX_CONTROL_DROPPED] = "tx_control_dropped",
        [COUNT_TX_NO_LINK] = "tx_without_link",
        [COUNT_RELAY_GONE] = "relay_gone",
        [COUNT_RELAY_DROPPED] = "relay_dropped",
        [COUNT_HELLO_RATE] = "hello_over_rate",
        [COUNT_HELLO_UNKNOWN] = "hello_unknown",
        [COUNT_HELLO_FULL] = "hello_table_full",
        [COUNT_HELLO_REFUSED] = "hello_refused",
        [COUNT_UNKNOWN_INDEX] = "rx_unknown_index",
        [COUNT_BAD_DATAGRAM] = "rx_bad_datagram",
        [COUNT_UNKNOWN_PARTY] = "rx_unknown_party",
        [COUNT_WRONG_KIND] = "rx_wrong_kind",
        [COUNT_NO_DEVICE] = "rx_no_device",
        [COUNT_NO_PEER] = "tx_no_peer",
        [COUNT_NO_SESSION] = "tx_no_session",
        [COUNT_SEAL_FAILED] = "tx_seal_failed",
        [COUNT_WAIT_EXPIRED] = "tx_wait_expired",
        [COUNT_FRAMES_OUT_FULL] = "device_queue_full",
        [COUNT_DATAGRAMS_OUT_FULL] = "socket_queue_full",
        [COUNT_TX_NO_WAY] = "tx_without_way",
        [COUNT_TX_COPIES] = "tx_copies",
        [COUNT_RX_NO_WAY] = "rx_without_way",
        [COUNT_STUN_UNKNOWN] = "rx_unknown_stun",
        [COUNT_DIRECT_TRIES] = "direct_tries",
        [COUNT_DIRECT_PROVEN] = "direct_proven",
        [COUNT_DIRECT_FAILED] = "direct_failed",
        [COUNT_STREAMS_DIALLED] = "streams_dialled",
        [COUNT_STREAMS_UP] = "streams_up",
        [COUNT_STREAMS_REFUSED] = "streams_refused",
        [COUNT_STREAMS_MALFORMED] = "streams_malformed",
        [COUNT_LAN_FOUND] = "lan_found",
        [COUNT_RELAY_BINDS] = "relay_binds",
        [COUNT_RELAY_BOUND] = "relay_bound",
        [COUNT_SEARCHES_BEGUN] = "searches_begun",
        [COUNT_SEARCHES_FOUND] = "searches_found",
        [COUNT_SEARCHES_FAILED] = "searches_failed",
        [COUNT_CIRCUITS_BUILT] = "circuits_built",
        [COUNT_CIRCUITS_FAILED] = "circuits_failed",
        [COUNT_CIRCUITS_INCOMING] = "circuits_incoming",
        [COUNT_CELLS_RELAYED] = "cells_relayed",
        [COUNT_CELL_BYTES_RELAYED] = "cell_bytes_relayed",
        [COUNT_CELLS_DROPPED] = "cells_dropped",
        [COUNT_CELLS_NO_WAY] = "cells_without_way",
        [COUNT_CELLS_REFUSED] = "cells_refused",
        [COUNT_MOVES_DIRECT] = "moves_to_direct",
        [COUNT_MOVES_RELAY] = "moves_to_relay",
        [COUNT_MOVES_OTHER] = "moves_other",
        [COUNT_HANDSHAKES_BEGUN] = "handshakes_begun",
        [COUNT_HANDSHAKES_ANSWERED] = "handshakes_answered",
        [COUNT_SESSIONS_UP] = "sessions_up",
        [COUNT_SESSIONS_DOWN] = "sessions_down",
        [COUNT_RESUMES_BEGUN] = "resumes_begun",
        [COUNT_RESUMES_PROVEN] = "resumes_proven",
        [COUNT_RESUMES_FAILED] = "resumes_failed",
        [COUNT_REKEYS] = "rekeys",
        [COUNT_PATHS_DEAD] = "paths_dead",
        [COUNT_PEER_BAD_MESSAGE] = "peer_bad_messages",
        [COUNT_PEER_BAD_ENTRY] = "peer_bad_entries",
        [COUNT_ENTRIES_TAKEN] = "entries_taken",
        [COUNT_ENTRIES_REFUSED] = "entries_refused",
        [COUNT_ENTRIES_FROM_PEERS] = "entries_from_peers",
        [COUNT_LOG_GETS_SERVED] = "log_gets_served",
        [COUNT_ALERTS] = "alerts",
        [COUNT_LOGS_LOST] = "log_lines_lost",
        [COUNT_REQUESTS] = "requests",
        [COUNT_REQUESTS_FAILED] = "requests_failed",
        [COUNT_SAVES_FAILED] = "saves_failed",
        [COUNT_HEALED] = "hub_healed",
    };
    return names[c];
}

static void gauge(struct buf *out, const char *name, const char *help, unsigned long long value)
{
    buf_printf(out, "# HELP warren_node_%s %s\n# TYPE warren_node_%s gauge\nwarren_node_%s %llu\n", name,
               help, name, name, value);
}

static void put_peers(const struct node *n, struct buf *out)
{
    unsigned long long by[PEER_STATE_COUNT][PATH_KIND_COUNT] = {{0}};
    for (size_t i = 0; i < n->peer_slots; i++) {
        const struct node_peer *p = n->peers[i];
        uint32_t id;
        enum path_kind kind = PATH_NONE;
        if (!p || p->doomed)
            continue;
        if (p->cur && p->paths && !paths_best(p->paths, &id, &kind))
            kind = PATH_NONE;
        by[peer_state(p)][kind]++;
    }
    buf_printf(
        out, "# HELP warren_peers Members of all parties other than this node.\n# TYPE warren_peers gauge\n");
    for (int s = 0; s < PEER_STATE_COUNT; s++)
        for (int k = 0; k < PATH_KIND_COUNT; k++)
            if (by[s][k] > 0 || k == PATH_NONE)
                buf_printf(out, "warren_peers{state=\"%s\",path=\"%s\"} %llu\n",
                           peer_state_name((enum peer_state)s), path_kind_name((enum path_kind)k), by[s][k]);
}

static void put_drops(const struct node *n, struct buf *out)
{
    uint64_t drops[DROP_COUNT], lan[VNET_DROP_COUNT] = {0};
    memcpy(drops, n->session_drops, sizeof drops);
    for (size_t i = 0; i < n->peer_slots; i++) {
        const struct node_peer *p = n->peers[i];
        const struct peer_session *all[3] = {p ? p->cur : NULL, p ? p->next : NULL, p ? p->old : NULL};
        for (size_t k = 0; k < 3; k++) {
            struct session_info info;
            if (!all[k])
                continue;
            session_info(all[k]->s, &info);
            for (int d = 0; d < DROP_COUNT; d++)
                drops[d] += info.drops[d];
        }
    }
    for (int d = 0; d < DROP_COUNT; d++)
        drops[d] += dataplane_drops(n, (enum session_drop)d);
    for (size_t i = 0; i < n->party_count; i++) {
        struct vnet_stats st;
        if (!n->parties[i]->vnet)
            continue;
        vnet_stats(n->parties[i]->vnet, &st);
        for (int d = 0; d < VNET_DROP_COUNT; d++)
            lan[d] += st.drops[d];
    }
    buf_printf(out, "# HELP warren_node_session_drops_total Packets that sessions refused.\n# TYPE "
                    "warren_node_session_drops_total counter\n");
    for (int d = DROP_NONE + 1; d < DROP_COUNT; d++)
        buf_printf(out, "warren_node_session_drops_total{reason=\"%s\"} %llu\n",
                   session_drop_name((enum session_drop)d), (unsigned long long)drops[d]);
    buf_printf(out, "# HELP warren_node_lan_drops_total Frames that the virtual LAN refused.\n# TYPE "
                    "warren_node_lan_drops_total counter\n");
    for (int d = VNET_OK + 1; d < VNET_DROP_COUNT; d++)
        buf_printf(out, "warren_node_lan_drops_total{reason=\"%s\"} %llu\n",
                   vnet_drop_name((enum vnet_drop)d), (unsigned long long)lan[d]);
    buf_printf(out, "# HELP warren_node_refused_entries_total Log entries refused.\n# TYPE "
                    "warren_node_refused_entries_total counter\n");
    for (int v = PARTY_OK + 1; v < PARTY_VERDICT_COUNT; v++)
        if (n->refused[v] > 0)
            buf_printf(out, "warren_node_refused_entries_total{reason=\"%s\"} %llu\n",
                       party_verdict_name((enum party_verdict)v), (unsigned long long)n->refused[v]);
}

static void put_traffic(const struct node *n, struct buf *out)
{
    struct peer_totals sum = {0};
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct peer_totals t;
        if (!n->peers[i])
            continue;
        peer_traffic(n->peers[i], &t);
        sum.tx_bytes += t.tx_bytes;
        sum.rx_bytes += t.rx_bytes;
    }
    buf_printf(
        out,
        "# HELP warren_node_peer_bytes Payload exchanged with present members.\n# TYPE "
        "warren_node_peer_bytes gauge\n"
        "warren_node_peer_bytes{direction=\"tx\"} %llu\nwarren_node_peer_bytes{direction=\"rx\"} %llu\n",
        (unsigned long long)sum.tx_bytes, (unsigned long long)sum.rx_bytes);
}

/* ---- Direct paths: warren_p2p_*. */

static void p2p_head(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_printf(out, "# HELP warren_p2p_%s %s\n# TYPE warren_p2p_%s %s\n", name, help, name, kind);
}

static void p2p_count(struct buf *out, const char *name, const char *help, uint64_t value)
{
    p2p_head(out, name, "counter", help);
    buf_printf(out, "warren_p2p_%s %llu\n", name, (unsigned long long)value);
}

/* Sums over all living paths of a kind. */
struct kind_sum {
    uint64_t connections, paths, measured;
    double rtt, loss;
};

static void kinds_sum(const struct node *n, struct kind_sum sum[PATH_KIND_COUNT])
{
    struct path_stats st;
    enum path_kind kind;
    for (size_t i = 0; i < n->peer_slots; i++) {
        const struct node_peer *p = n->peers[i];
        if (!p || p->doomed || !p->cur || !p->paths)
            continue;
        if (peer_best(p, &(uint32_t){0}, &kind))
            sum[kind].connections++;
        for (size_t k = 0; k < paths_count(p->paths); k++) {
            if (!paths_stats_at(p->paths, k, &st) || !st.alive)
                continue;
            sum[st.kind].paths++;
            sum[st.kind].loss += st.loss;
            sum[st.kind].measured += st.srtt > 0;
            sum[st.kind].rtt += (double)st.srtt / SEC;
        }
    }
}

static void put_kinds(const struct node *n, struct buf *out)
{
    struct kind_sum sum[PATH_KIND_COUNT] = {{0}};
    kinds_sum(n, sum);
    p2p_head(out, "connections", "gauge", "Members by the path that carries.");
    for (int k = PATH_NONE + 1; k < PATH_KIND_COUNT; k++)
        buf_printf(out, "warren_p2p_connections{path=\"%s\"} %llu\n", path_kind_name((enum path_kind)k),
                   (unsigned long long)sum[k].connections);
    p2p_head(out, "paths", "gauge", "Living paths, those in reserve included.");
    for (int k = PATH_NONE + 1; k < PATH_KIND_COUNT; k++)
        buf_printf(out, "warren_p2p_paths{path=\"%s\"} %llu\n", path_kind_name((enum path_kind)k),
                   (unsigned long long)sum[k].paths);
    p2p_head(out, "path_rtt_seconds", "gauge", "Mean round trip over living paths.");
    for (int k = PATH_NONE + 1; k < PATH_KIND_COUNT; k++)
        if (sum[k].measured > 0)
            buf_printf(out, "warren_p2p_path_rtt_seconds{path=\"%s\"} %.6f\n",
                       path_kind_name((enum path_kind)k), sum[k].rtt / (double)sum[k].measured);
    p2p_head(out, "path_loss", "gauge", "Mean loss of probes over living paths, 0 to 1.");
    for (int k = PATH_NONE + 1; k < PATH_KIND_COUNT; k++)
        if (sum[k].paths > 0)
            buf_printf(out, "warren_p2p_path_loss{path=\"%s\"} %.4f\n", path_kind_name((enum path_kind)k),
                       sum[k].loss / (double)sum[k].paths);
}

static void put_moves(const struct node *n, struct buf *out)
{
    const struct node_moves *m = &n->moves;
    const struct {
        const char *outcome;
        uint64_t value;
    } moves[] = {{"direct", n->counts[COUNT_MOVES_DIRECT]},
                 {"relay", n->counts[COUNT_MOVES_RELAY]},
                 {"other", n->counts[COUNT_MOVES_OTHER]},
                 {"failed", m->failed}};
    p2p_head(out, "migrations_total", "counter",
             "Moves to another path; failed: its proof was not answered.");
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        buf_printf(out, "warren_p2p_migrations_total{outcome=\"%s\"} %llu\n", moves[i].outcome,
                   (unsigned long long)moves[i].value);
    p2p_count(out, "fallbacks_total", "Moves off a path that had died.", m->fallbacks);
    p2p_head(out, "retries_total", "counter", "Rounds for a direct path after the first of a session.");
    buf_printf(out,
               "warren_p2p_retries_total{outcome=\"proven\"} %llu\n"
               "warren_p2p_retries_total{outcome=\"failed\"} %llu\n",
               (unsigned long long)m->retries_proven, (unsigned long long)m->retries_failed);
    p2p_head(out, "migration_seconds", "histogram",
             "From the first message that proved a better path to its carrying, at the end that asked.");
    uint64_t sum = 0;
    for (size_t i = 0; i <= MOVE_BUCKETS; i++) {
        sum += m->took[i];
        buf_printf(out, "warren_p2p_migration_seconds_bucket{le=\"%s\"} %llu\n",
                   i < MOVE_BUCKETS ? move_bucket[i].text : "+Inf", (unsigned long long)sum);
    }
    buf_printf(out, "warren_p2p_migration_seconds_sum %.6f\nwarren_p2p_migration_seconds_count %llu\n",
               (double)m->took_sum / SEC, (unsigned long long)sum);
}

/* Those of the counters above that are about direct paths, under the name that people look for. */
static void put_p2p(const struct node *n, struct buf *out)
{
    put_kinds(n, out);
    put_moves(n, out);
    p2p_count(out, "rounds_total", "Rounds for a direct path that were begun.",
              n->counts[COUNT_DIRECT_TRIES]);
    p2p_count(out, "rounds_failed_total", "Rounds in which no check over UDP was answered.",
              n->counts[COUNT_DIRECT_FAILED]);
    p2p_count(out, "proven_total", "Direct paths proved.", n->counts[COUNT_DIRECT_PROVEN]);
    p2p_count(out, "copies_total", "Packets that went a second way as well, the first being in doubt.",
              n->counts[COUNT_TX_COPIES]);
    p2p_count(out, "stun_unknown_total", "STUN datagrams that were for nobody here.",
              n->counts[COUNT_STUN_UNKNOWN]);
    p2p_count(out, "relay_binds_total", "Bindings asked for at the hub's UDP relay.",
              n->counts[COUNT_RELAY_BINDS]);
    p2p_count(out, "relay_bound_total", "Bindings that the hub's UDP relay gave.",
              n->counts[COUNT_RELAY_BOUND]);
}

int metrics_text(const struct node *n, struct buf *out)
{
    put_peers(n, out);
    put_p2p(n, out);
    gauge(out, "hub_connected", "1 while logged in at the hub.", link_ready(n));
    gauge(out, "hub_rtt_us", "Round trip to the hub; 0 unknown.", n->link.rtt);
    gauge(out, "parties", "Parties of this node.", n->party_count);
    gauge(out, "handshakes_begun_now", "Handshakes of ours under way.", n->begun);
    gauge(out, "handshakes_half_open", "Handshakes of others under way.", n->half_open);
    gauge(out, "alerts_now", "Alerts that status shows.", n->alert_count);
    gauge(out, "tx_queue_bytes", "Data waiting for the hub.", n->link.data.used);
    put_traffic(n, out);
    for (int c = 0; c < COUNT_END; c++)
        buf_printf(out, "# TYPE warren_node_%s_total counter\nwarren_node_%s_total %llu\n",
                   counter_name((enum node_counter)c), counter_name((enum node_counter)c),
                   (unsigned long long)n->counts[c]);
    put_drops(n, out);
    dataplane_metrics(n, out);
    return 0;
}
