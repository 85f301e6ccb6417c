#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

#define COUNT_MAX    100000
#define INTERVAL_MIN 10
#define INTERVAL_MAX 60000

const struct option ping_options[] = {
    {"count", 'c', "N", "how many (default 4)", false, false},
    {"interval", 'i', "MS", "milliseconds between two (default 1000)", false, false},
    {0},
};

static bool number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
    char *end;
    if (!text)
        return true;
    *out = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *out >= min && *out <= max;
}

/* The path that the last reply took. */
struct took {
    bool any;
    char path[32], endpoint[128];
};

static void put_way(FILE *out, const char *path, const char *endpoint)
{
    put_escaped(out, *path ? path : "?");
    if (*endpoint)
        fputs(" ", out);
    put_escaped(out, endpoint);
}

/* "path changed: ws-relay -> udp 192.0.2.7:41641 (after 0.28 s)" */
static void show_change(struct cli *c, const json_t *p, struct took *last)
{
    const char *path = json_text(p, "path"), *endpoint = json_text(p, "endpoint");
    double after = json_number(p, "path_after_ms", -1);
    if (last->any && (strcmp(last->path, path) != 0 || strcmp(last->endpoint, endpoint) != 0)) {
        fputs("path changed: ", c->out);
        put_escaped(c->out, *last->path ? last->path : "?");
        fputs(" -> ", c->out);
        put_way(c->out, path, endpoint);
        if (after >= 0)
            fprintf(c->out, " (after %.2f s)", after / 1000);
        fputc('\n', c->out);
    }
    last->any = true;
    snprintf(last->path, sizeof last->path, "%s", path);
    snprintf(last->endpoint, sizeof last->endpoint, "%s", endpoint);
}

static void show_reply(struct cli *c, const json_t *p, void *arg)
{
    char ms[32];
    if (c->json) {
        json_dumpf(p, c->out, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', c->out);
    } else if (!json_object_get(p, "seq")) { /* "connecting" and the like */
        put_escaped(c->err, json_text(p, "text"));
        fputc('\n', c->err);
    } else if (json_number(p, "rtt_ms", -1) < 0) {
        fprintf(c->out, "seq %.0f  no answer\n", json_number(p, "seq", 0));
    } else {
        show_change(c, p, arg);
        fprintf(c->out, "seq %.0f  %s ms  by ", json_number(p, "seq", 0), json_ms(ms, p, "rtt_ms"));
        put_way(c->out, json_text(p, "path"), json_text(p, "endpoint"));
        fputc('\n', c->out);
    }
    fflush(c->out);
}

static int summary(struct cli *c, const json_t *r)
{
    char min[32], avg[32], max[32];
    double sent = json_number(r, "sent", 0), got = json_number(r, "received", 0);
    if (c->json) {
        json_dumpf(r, c->out, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', c->out);
    } else {
        fprintf(c->out, "%.0f sent, %.0f answered, %.0f%% lost", sent, got,
                sent > 0 ? 100 * (sent - got) / sent : 0);
        if (got > 0)
            fprintf(c->out, ", min/avg/max %s/%s/%s ms", json_ms(min, r, "rtt_min_ms"),
                    json_ms(avg, r, "rtt_avg_ms"), json_ms(max, r, "rtt_max_ms"));
        fputc('\n', c->out);
    }
    return got > 0 ? 0 : 1;
}

int run_ping(struct cli *c, const struct args *a)
{
    unsigned long count = 4, interval = 1000;
    if (!number(args_value(a, "count"), 1, COUNT_MAX, &count))
        return cli_usage(c, "-c is a number from 1 to %d", COUNT_MAX);
    if (!number(args_value(a, "interval"), INTERVAL_MIN, INTERVAL_MAX, &interval))
        return cli_usage(c, "-i is a number of milliseconds from %d to %d", INTERVAL_MIN, INTERVAL_MAX);
    json_t *q = client_command("ping"), *result = NULL;
    json_object_set_new(q, "peer", json_string(a->word[0]));
    json_object_set_new(q, "count", json_integer((json_int_t)count));
    json_object_set_new(q, "interval_ms", json_integer((json_int_t)interval));
    struct took last = {.any = false};
    int rc = client_request(c, q, NULL, show_reply, &last, &result);
    if (rc)
        return rc;
    rc = summary(c, result);
    json_decref(result);
    return rc;
}
