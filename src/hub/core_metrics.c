#include "hub/core_int.h"

#include <string.h>

/* Prometheus text exposition format, version 0.0.4. A line that does not fit is left out, never cut. */
static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP warren_hub_%s %s\n# TYPE warren_hub_%s %s\n", name, help, name, type);
}

static void one(struct buf *out, const char *name, const char *type, const char *help, uint64_t v)
{
    head(out, name, type, help);
    buf_printf(out, "warren_hub_%s %llu\n", name, (unsigned long long)v);
}

static void row(struct buf *out, const char *name, const char *label, const char *value, uint64_t v)
{
    buf_printf(out, "warren_hub_%s{%s=\"%s\"} %llu\n", name, label, value, (unsigned long long)v);
}

static void gauges(const struct hub *h, struct buf *out)
{
    one(out, "connections", "gauge", "WebSockets open now.", map_count(h->conns));
    one(out, "devices_online", "gauge", "Devices logged in now.", h->logged_in);
    one(out, "devices", "gauge", "Devices known.", h->devices);
    one(out, "parties", "gauge", "Parties stored.", h->party_total);
    one(out, "parties_in_memory", "gauge", "Party logs in memory.", map_count(h->parties));
    one(out, "queue_bytes", "gauge", "Memory of messages that wait for connections.", h->held);
    one(out, "addresses", "gauge", "Addresses remembered for rate limits.", iptable_count(h->ips));
}

static void connections(const struct counters *n, struct buf *out)
{
    one(out, "opened_total", "counter", "WebSockets opened.", n->opened);
    head(out, "refused_total", "counter", "WebSockets refused, by reason.");
    row(out, "refused_total", "reason", "connections", n->refused_total);
    row(out, "refused_total", "reason", "connections_per_ip", n->refused_ip);
    row(out, "refused_total", "reason", "memory", n->refused_memory);
    head(out, "closed_total", "counter", "WebSockets closed by the hub, by reason.");
    row(out, "closed_total", "reason", "silent", n->closed_silent);
    row(out, "closed_total", "reason", "slow_reader", n->closed_slow);
    row(out, "closed_total", "reason", "flood", n->closed_flood);
    head(out, "logins_total", "counter", "Logins, by result.");
    row(out, "logins_total", "result", "ok", n->login_ok);
    row(out, "logins_total", "result", "failed", n->login_failed);
    row(out, "logins_total", "result", "rate_limited", n->login_limited);
    row(out, "logins_total", "result", "timeout", n->login_timeout);
    row(out, "logins_total", "result", "replaced_older", n->login_replaced);
}

static void messages(const struct counters *n, struct buf *out)
{
    head(out, "messages_total", "counter", "Text messages read, by type.");
    for (int t = 0; t < SIGNAL_TYPE_COUNT; t++) {
        if (n->texts[t] > 0)
            row(out, "messages_total", "type", signal_type_name((enum signal_type)t), n->texts[t]);
    }
    row(out, "messages_total", "type", "unreadable", n->texts_unreadable);
    row(out, "messages_total", "type", "over_rate", n->texts_flood);
    head(out, "errors_total", "counter", "Errors answered, by code.");
    for (int e = 0; e < SIGERR_COUNT; e++)
        row(out, "errors_total", "code", signal_error_code((enum signal_error)e), n->errors[e]);
    head(out, "log_refused_total", "counter",
         "Entries and joins refused by the rules of the party, by verdict.");
    for (int v = PARTY_MALFORMED; v < PARTY_VERDICT_COUNT; v++) {
        if (n->verdicts[v] > 0)
            row(out, "log_refused_total", "verdict", party_verdict_name((enum party_verdict)v),
                n->verdicts[v]);
    }
    one(out, "log_entries_total", "counter", "Entries appended to logs.", n->entries);
    one(out, "parties_created_total", "counter", "Parties created.", n->parties_created);
    one(out, "parties_loaded_total", "counter", "Logs read from the store.", n->parties_loaded);
    one(out, "store_errors_total", "counter", "Calls to the store that failed.", n->store_errors);
}

static void relay(const struct counters *n, struct buf *out)
{
    one(out, "relay_frames_total", "counter", "Relay frames forwarded.", n->relay_frames);
    one(out, "relay_bytes_total", "counter", "Bytes of relay frames forwarded, with headers.",
        n->relay_bytes);
    head(out, "relay_dropped_total", "counter", "Relay frames dropped, by reason.");
    row(out, "relay_dropped_total", "reason", "slow_receiver", n->dropped_data);
    row(out, "relay_dropped_total", "reason", "slow_receiver_control", n->dropped_control);
    row(out, "relay_dropped_total", "reason", "sender_quota", n->dropped_quota);
    row(out, "relay_dropped_total", "reason", "gone", n->relay_gone);
    row(out, "relay_dropped_total", "reason", "unreadable", n->relay_bad);
}

static void udp(const struct hub *h, struct buf *out)
{
    static const char *const reasons[UDP_REFUSAL_COUNT] = {
        [UDP_UNREADABLE] = "unreadable",
        [UDP_UNKNOWN_INDEX] = "unknown_index",
        [UDP_BAD_MAC] = "mac",
        [UDP_REPLAYED] = "replayed",
        [UDP_STALE] = "stale",
        [UDP_BAD_COOKIE] = "cookie",
        [UDP_OVER_RATE] = "rate",
        [UDP_NO_BINDING] = "no_binding",
        [UDP_BAD_TOKEN] = "token",
        [UDP_PEER_IS_GONE] = "peer_gone",
        [UDP_PEER_NOT_BOUND] = "peer_unbound",
        [UDP_SENDER_QUOTA] = "sender_quota",
        [UDP_NO_MEMORY] = "memory",
        [UDP_OVER_SHARE] = "share",
    };
    const struct counters *n = &h->count;
    if (!h->udp)
        return;
    one(out, "udp_bindings", "gauge", "Devices bound to the UDP relay now.", udp_binding_count(h));
    one(out, "udp_bound_total", "counter", "Bindings made.", n->udp_bound);
    one(out, "udp_expired_total", "counter", "Bindings that ended in silence.", n->udp_expired);
    one(out, "udp_frames_total", "counter", "Datagrams relayed.", n->udp_frames);
    one(out, "udp_bytes_total", "counter", "Bytes of datagrams relayed, with headers.", n->udp_bytes);
    one(out, "udp_unbound_total", "counter", "Notices that a way is not there.", n->udp_told);
    head(out, "udp_refused_total", "counter", "Datagrams neither answered nor relayed, by reason.");
    for (size_t i = 0; i < UDP_REFUSAL_COUNT; i++)
        row(out, "udp_refused_total", "reason", reasons[i], n->udp_refused[i]);
    head(out, "stun_total", "counter", "STUN requests, and what is neither STUN nor ours, by verdict.");
    for (int v = 0; v < STUN_VERDICT_COUNT; v++)
        row(out, "stun_total", "verdict", stun_verdict_name((enum stun_verdict)v),
            udp_stun_count(h, (enum stun_verdict)v));
}

void metrics_write(const struct hub *h, struct buf *out)
{
    static const char *const classes[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    gauges(h, out);
    connections(&h->count, out);
    messages(&h->count, out);
    relay(&h->count, out);
    udp(h, out);
    head(out, "http_requests_total", "counter", "HTTP requests, by class of status.");
    for (size_t i = 2; i < sizeof classes / sizeof *classes; i++)
        row(out, "http_requests_total", "status", classes[i], h->count.http[i]);
}
