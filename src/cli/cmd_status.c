#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

const struct option status_options[] = {
    {"watch", 'w', NULL, "draw it anew every second", false, false},
    {0},
};

static void put_hub(FILE *out, const json_t *hub)
{
    char ms[32];
    const char *url = json_text(hub, "url");
    if (!*url) {
        fputs("hub    none yet: `warren join` an invite, or start with `warren up --hub URL`\n", out);
        return;
    }
    fputs("hub    ", out);
    put_escaped(out, url);
    if (json_yes(hub, "connected")) {
        fprintf(out, "  connected, %s ms\n", json_ms(ms, hub, "rtt_ms"));
        return;
    }
    fputs("  not connected", out);
    if (*json_text(hub, "error")) {
        fputs(": ", out);
        put_escaped(out, json_text(hub, "error"));
    }
    fputc('\n', out);
}

static void put_peers(FILE *out, const json_t *peers)
{
    static const char *const titles[] = {"PEER",    "IP",    "ROLE",  "STATE",     "PATH",
                                         ">RTT ms", ">LOSS", ">SENT", ">RECEIVED", NULL};
    const json_t *p;
    size_t i;
    struct table t;
    table_init(&t, titles);
    json_array_foreach(peers, i, p)
    {
        char ms[32], tx[32], rx[32];
        double loss = json_number(p, "loss", -1);
        table_cell(&t, json_text(p, "name"));
        table_cell(&t, json_text(p, "ip"));
        table_cell(&t, json_text(p, "role"));
        table_cell(&t, json_text(p, "state"));
        table_cell(&t, json_text(p, "path"));
        table_cell(&t, json_ms(ms, p, "rtt_ms"));
        if (loss < 0)
            table_cell(&t, "-");
        else
            table_cellf(&t, "%.0f%%", 100 * loss);
        table_cell(&t, human_bytes(tx, (uint64_t)json_number(p, "tx_bytes", 0)));
        table_cell(&t, human_bytes(rx, (uint64_t)json_number(p, "rx_bytes", 0)));
    }
    table_print_all(&t, out, "  ");
    table_done(&t);
}

/* With -v: what was tried for a direct path, and the paths in reserve. */
static void put_details(FILE *out, const json_t *peer)
{
    const json_t *v;
    size_t i;
    char ms[32];
    if (*json_text(peer, "cipher")) {
        fputs("    cipher ", out);
        put_escaped(out, json_text(peer, "cipher"));
        fputc('\n', out);
    }
    json_array_foreach(json_object_get(peer, "paths"), i, v)
    {
        fputs("    path ", out);
        put_escaped(out, json_text(v, "path"));
        fputs(" ", out);
        put_escaped(out, json_text(v, "endpoint"));
        fprintf(out, "  %s, %s ms, %.0f%% lost, mtu %.0f\n", json_yes(v, "alive") ? "alive" : "dead",
                json_ms(ms, v, "rtt_ms"), 100 * json_number(v, "loss", 0), json_number(v, "mtu", 0));
    }
    json_array_foreach(json_object_get(peer, "tried"), i, v)
    {
        fputs("    tried ", out);
        put_escaped(out, json_is_string(v) ? json_string_value(v) : "");
        fputc('\n', out);
    }
}

/* Why peers are on the paths that they are on, said once for all whom it concerns. */
static void put_reasons(FILE *out, const json_t *peers, bool details)
{
    const json_t *p, *q;
    size_t i, k;
    json_array_foreach(peers, i, p)
    {
        const char *why = json_text(p, "why"), *comma = "";
        bool first = *why;
        json_array_foreach(peers, k, q)
        {
            if (k < i && !strcmp(json_text(q, "why"), why))
                first = false;
        }
        if (!first)
            continue;
        fputs("  ", out);
        json_array_foreach(peers, k, q)
        {
            if (strcmp(json_text(q, "why"), why))
                continue;
            fputs(comma, out);
            put_escaped(out, json_text(q, "name"));
            comma = ", ";
        }
        fputs(": ", out);
        put_escaped(out, why);
        fputc('\n', out);
        json_array_foreach(peers, k, q)
        {
            if (details && !strcmp(json_text(q, "why"), why))
                put_details(out, q);
        }
    }
}

static void put_field(FILE *out, const char *before, const json_t *o, const char *key)
{
    const char *text = json_text(o, key);
    if (!*text)
        return;
    fputs(before, out);
    put_escaped(out, text);
}

static void put_party(FILE *out, const json_t *p, bool details)
{
    fputs("\nparty  ", out);
    put_escaped(out, json_text(p, "name"));
    put_field(out, "  ", p, "mode");
    put_field(out, "  ", p, "device");
    put_field(out, "  ", p, "ip");
    put_field(out, "  ", p, "ip6");
    if (json_number(p, "mtu", 0) > 0)
        fprintf(out, "  mtu %.0f", json_number(p, "mtu", 0));
    if (strcmp(json_text(p, "state"), "active"))
        put_field(out, "  ", p, "state");
    fputc('\n', out);
    if (*json_text(p, "device_error")) {
        put_field(out, "  no device: ", p, "device_error");
        fputc('\n', out);
    }
    const json_t *peers = json_object_get(p, "peers");
    if (json_array_size(peers)) {
        put_peers(out, peers);
        put_reasons(out, peers, details);
    } else {
        fputs("  nobody else is here yet: `warren invite` lets somebody in\n", out);
    }
}

static void put_alerts(FILE *out, const json_t *alerts)
{
    const json_t *v;
    size_t i;
    json_array_foreach(alerts, i, v)
    {
        fputs("\nALERT  ", out);
        put_escaped(out, json_is_string(v) ? json_string_value(v) : json_text(v, "text"));
        fputc('\n', out);
    }
}

static void show(struct cli *c, const json_t *r)
{
    const json_t *parties = json_object_get(r, "parties"), *p;
    size_t i;
    fputs("node   ", c->out);
    put_escaped(c->out, json_text(r, "name"));
    put_field(c->out, "  ", r, "node");
    fputc('\n', c->out);
    put_hub(c->out, json_object_get(r, "hub"));
    json_array_foreach(parties, i, p)
    {
        put_party(c->out, p, c->verbosity > 0);
    }
    if (!json_array_size(parties))
        fputs("\nno parties: make one with `warren party create NAME`, or `warren join` one\n", c->out);
    put_alerts(c->out, json_object_get(r, "alerts"));
}

/* How many lines of a terminal `width` columns wide a text takes. Bytes stand for columns: names are mostly
 * ASCII, and one line too many only costs a blank one. */
static size_t lines_of(const char *text, size_t width)
{
    size_t lines = 0, column = 0;
    for (; *text; text++) {
        if (*text == '\n' || ++column > width) {
            lines++;
            column = *text != '\n';
        }
    }
    return lines;
}

static size_t terminal_width(FILE *out)
{
    struct winsize size;
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void put_result(struct cli *c, json_t *result)
{
    if (!c->json) {
        show(c, result);
        return;
    }
    json_dumpf(result, c->out, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', c->out);
}

/* One picture over the last one, so that what stands above it on the terminal (an invite) stays. lines: of
 * the last one. */
static int redraw(struct cli *c, json_t *result, size_t *lines)
{
    char *text = NULL;
    size_t n;
    FILE *out = c->out;
    c->out = open_memstream(&text, &n);
    if (c->out) {
        put_result(c, result);
        fclose(c->out);
    }
    c->out = out;
    if (!text)
        return 1;
    if (*lines > 0)
        fprintf(out, "\033[%zuF\033[J", *lines);
    fputs(text, out);
    *lines = lines_of(text, terminal_width(out));
    free(text);
    return 0;
}

static int watch(struct cli *c)
{
    bool terminal = is_terminal(c->out) && !c->json;
    size_t lines = 0;
    for (;;) {
        json_t *result = NULL;
        int rc = client_request(c, client_command("status"), NULL, NULL, NULL, &result);
        if (rc)
            return rc;
        if (terminal)
            rc = redraw(c, result, &lines);
        else
            put_result(c, result);
        json_decref(result);
        if (rc)
            return rc;
        if (!terminal && !c->json)
            fputs("\n", c->out);
        if (fflush(c->out))
            return 1;
        sleep(1);
    }
}

int run_status(struct cli *c, const struct args *a)
{
    if (args_flag(a, "watch"))
        return watch(c);
    return client_show(c, client_command("status"), NULL, show);
}
