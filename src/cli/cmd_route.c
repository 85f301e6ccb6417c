#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

const struct option route_options[] = {
    {"via", 0, "A,B,C", "over these members, the nearest first; one to three", false, false},
    {"auto", 0, NULL, "over members that the node chooses", false, false},
    {"off", 0, NULL, "over members only where nothing else works, as at first", false, false},
    {"party", 0, "PARTY", "in which party, where this node is in several", false, false},
    {0},
};

static void show_route(struct cli *c, const json_t *r)
{
    const char *route = json_text(r, "route"), *relays = json_text(r, "relays");
    fprintf(c->out, "route %s",
            strcmp(route, "off") == 0    ? "not chosen"
            : strcmp(route, "auto") == 0 ? "automatic"
                                         : "chosen");
    if (*relays) {
        fputs(", over ", c->out);
        put_escaped(c->out, relays);
        fputs(json_is_true(json_object_get(r, "up")) ? "" : " (being built)", c->out);
    }
    fputc('\n', c->out);
}

/* "A,B,C" as a list. */
static json_t *names(const char *text)
{
    json_t *list = json_array();
    for (;;) {
        size_t n = strcspn(text, ",");
        json_array_append_new(list, json_stringn(text, n));
        if (!text[n])
            return list;
        text += n + 1;
    }
}

int run_route(struct cli *c, const struct args *a)
{
    const char *via = args_value(a, "via");
    bool any = args_flag(a, "auto"), off = args_flag(a, "off");
    if ((via != NULL) + any + off > 1)
        return cli_usage(c, "--via, --auto and --off exclude each other");
    json_t *q = client_command("route");
    json_object_set_new(q, "peer", json_string(a->word[0]));
    if (via)
        json_object_set_new(q, "via", names(via));
    else if (any || off)
        json_object_set_new(q, "via", json_string(any ? "auto" : "off"));
    if (args_value(a, "party"))
        json_object_set_new(q, "party", json_string(args_value(a, "party")));
    return client_show(c, q, NULL, show_route);
}
