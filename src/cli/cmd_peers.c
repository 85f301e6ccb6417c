#include <time.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

static const char *seen(char out[32], const json_t *p)
{
    double at = json_number(p, "last_seen", 0), now = (double)time(NULL);
    if (at <= 0)
        return "never";
    return human_seconds(out, now > at ? (uint64_t)(now - at) : 0);
}

static void show(struct cli *c, const json_t *r)
{
    static const char *const titles[] = {"PEER",    "ID",    "PARTY",    "ROLE",   "IP",
                                         "STATE",   "PATH",  "ENDPOINT", "CIPHER", ">SESSION",
                                         ">REKEYS", ">SEEN", NULL};
    const json_t *list = json_is_array(r) ? r : json_object_get(r, "peers"), *p;
    size_t i;
    struct table t;
    if (!json_array_size(list)) {
        cli_note(c, "no peers yet: `warren invite` lets somebody in");
        return;
    }
    table_init(&t, titles);
    json_array_foreach(list, i, p)
    {
        char id[32], age[32], ago[32];
        double session = json_number(p, "session_age_s", -1);
        table_cell(&t, json_text(p, "name"));
        table_cell(&t, short_id(id, json_text(p, "id")));
        table_cell(&t, *json_text(p, "party_name") ? json_text(p, "party_name") : json_text(p, "party"));
        table_cell(&t, json_text(p, "role"));
        table_cell(&t, json_text(p, "ip"));
        table_cell(&t, json_text(p, "state"));
        table_cell(&t, json_text(p, "path"));
        table_cell(&t, *json_text(p, "endpoint") ? json_text(p, "endpoint")
                       : *json_text(p, "relay")  ? json_text(p, "relay")
                                                 : "-");
        table_cell(&t, *json_text(p, "cipher") ? json_text(p, "cipher") : "-");
        table_cell(&t, session < 0 ? "-" : human_seconds(age, (uint64_t)session));
        table_cellf(&t, "%.0f", json_number(p, "rekeys", 0));
        table_cell(&t, seen(ago, p));
    }
    table_print(&t, c->out, "");
    table_done(&t);
}

int run_peers(struct cli *c, const struct args *a)
{
    (void)a;
    return client_show(c, client_command("peers"), NULL, show);
}
