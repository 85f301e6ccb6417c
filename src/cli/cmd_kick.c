#include "cli/cli.h"
#include "cli/client.h"

const struct option kick_options[] = {
    {"party", 0, "PARTY", "in which party, where this node is in several", false, false},
    {0},
};

static void show_nothing(struct cli *c, const json_t *r)
{
    (void)c, (void)r;
}

int run_kick(struct cli *c, const struct args *a)
{
    json_t *q = client_command("kick");
    json_object_set_new(q, "peer", json_string(a->word[0]));
    if (args_value(a, "party"))
        json_object_set_new(q, "party", json_string(args_value(a, "party")));
    return client_show(c, q, "removing", show_nothing);
}
