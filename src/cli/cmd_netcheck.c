#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

static void put_label(FILE *out, const char *label)
{
    fprintf(out, "%-13s ", label);
}

static void put_row(FILE *out, const char *label, const char *text)
{
    put_label(out, label);
    put_escaped(out, *text ? text : "not known");
    fputc('\n', out);
}

static const char *yes_no(const json_t *v, const char *yes, const char *no)
{
    return json_is_boolean(v) ? (json_is_true(v) ? yes : no) : "not known";
}

static void put_hub(FILE *out, const json_t *hub, const json_t *tcp)
{
    char ms[32];
    put_label(out, "hub");
    if (!*json_text(hub, "url")) {
        fputs("none yet\n", out);
        return;
    }
    put_escaped(out, json_text(hub, "url"));
    if (json_yes(hub, "reachable"))
        fprintf(out, "  answers in %s ms\n", json_ms(ms, hub, "rtt_ms"));
    else if (json_yes(hub, "connected"))
        fputs("  connected, but does not answer\n", out);
    else {
        fputs("  not connected", out);
        if (*json_text(hub, "error"))
            fputs(": ", out);
        put_escaped(out, json_text(hub, "error"));
        fputc('\n', out);
    }
    put_label(out, "TCP");
    fprintf(out, "port %.0f of the hub %s\n", json_number(tcp, "port", 0),
            json_yes(tcp, "reachable") ? "answers" : "does not answer");
}

static void put_udp(FILE *out, const json_t *udp)
{
    put_label(out, "UDP");
    fprintf(out, "IPv4 %s, IPv6 %s\n", yes_no(json_object_get(udp, "ipv4"), "works", "blocked"),
            yes_no(json_object_get(udp, "ipv6"), "works", "blocked"));
}

/* What discovery found out about one family, in its terms; only what it knows. */
static void put_family(FILE *out, const char *label, const json_t *f)
{
    static const char *const keys[] = {"mapping", "filtering", "ports"};
    const char *comma = "";
    put_row(out, label, json_text(f, "text"));
    if (!*json_text(f, "mapped"))
        return;
    put_label(out, "");
    fputs("outside ", out);
    put_escaped(out, json_text(f, "mapped"));
    fputs("; ", out);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = json_text(f, keys[i]);
        fprintf(out, "%s%s ", comma, keys[i]);
        put_escaped(out, *text ? text : "not known");
        if (i == 2 && json_number(f, "port_delta", 0) != 0)
            fprintf(out, " (%+.0f)", json_number(f, "port_delta", 0));
        comma = ", ";
    }
    fprintf(out, ", hairpin %s", yes_no(json_object_get(f, "hairpin"), "yes", "no"));
    if (json_number(f, "lifetime_s", 0) > 0)
        fprintf(out, ", an idle mapping lives at least %.0f s", json_number(f, "lifetime_s", 0));
    fputc('\n', out);
}

static void put_addresses(FILE *out, const json_t *list)
{
    const json_t *a;
    size_t i;
    put_label(out, "addresses");
    json_array_foreach(list, i, a)
    {
        fputs(i ? ", " : "", out);
        put_escaped(out, json_text(a, "address"));
        fputs(" (", out);
        put_escaped(out, json_text(a, "kind"));
        fputs(")", out);
    }
    fputs(json_array_size(list) ? "\n" : "none\n", out);
}

static void put_relays(FILE *out, const json_t *list)
{
    const json_t *r;
    size_t i;
    char ms[32];
    put_label(out, "relays");
    json_array_foreach(list, i, r)
    {
        fputs(i ? ", " : "", out);
        put_escaped(out, json_text(r, "name"));
        fputs(" ", out);
        put_escaped(out, json_text(r, "kind"));
        fprintf(out, " %s ms", json_ms(ms, r, "rtt_ms"));
    }
    fputs(json_array_size(list) ? "\n" : "none\n", out);
}

/* What sealing costs here, as measured when the node started. */
static void put_ciphers(FILE *out, const json_t *ciphers)
{
    const char *name, *comma = " (a packet: ";
    json_t *ns;
    if (!*json_text(ciphers, "prefer"))
        return;
    put_label(out, "cipher");
    put_escaped(out, json_text(ciphers, "prefer"));
    json_object_foreach(json_object_get(ciphers, "ns_per_packet"), name, ns)
    {
        if (!json_is_integer(ns))
            continue;
        fputs(comma, out);
        put_escaped(out, name);
        fprintf(out, " %.2f us", (double)json_integer_value(ns) / 1000);
        comma = ", ";
    }
    fputs(*comma == ',' ? ")\n" : "\n", out);
}

/* One line a fact; the sentence that says what they mean comes last. */
static void show(struct cli *c, const json_t *r)
{
    const json_t *hub = json_object_get(r, "hub"), *mapping = json_object_get(r, "port_mapping");
    put_hub(c->out, hub, json_object_get(r, "tcp"));
    put_row(c->out, "UDP relay", json_text(hub, "udp_relay"));
    put_row(c->out, "TURN", json_text(r, "turn"));
    put_udp(c->out, json_object_get(r, "udp"));
    put_family(c->out, "IPv4", json_object_get(r, "ipv4"));
    put_family(c->out, "IPv6", json_object_get(r, "ipv6"));
    put_addresses(c->out, json_object_get(r, "addresses"));
    put_row(c->out, "port mapping", json_text(mapping, "udp"));
    put_row(c->out, "", json_text(mapping, "tcp"));
    put_label(c->out, "TLS listener");
    if (json_number(r, "tcp_listener", 0) > 0)
        fprintf(c->out, "port %.0f\n", json_number(r, "tcp_listener", 0));
    else
        fputs("none\n", c->out);
    put_relays(c->out, json_object_get(r, "relays"));
    put_ciphers(c->out, json_object_get(r, "ciphers"));
    const char *text = *json_text(r, "text") ? json_text(r, "text") : json_text(r, "summary");
    if (!*text)
        return;
    fputc('\n', c->out);
    put_escaped(c->out, text);
    fputc('\n', c->out);
}

int run_netcheck(struct cli *c, const struct args *a)
{
    (void)a;
    return client_show(c, client_command("netcheck"), "looking at the network", show);
}
