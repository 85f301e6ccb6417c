#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"

const struct option rename_options[] = {
    {"peer", 0, "PEER", "whom, instead of this node", false, false},
    {"party", 0, "PARTY", "in which party, where this node is in several", false, false},
    {0},
};

static void show_nothing(struct cli *c, const json_t *r)
{
    (void)c, (void)r;
}

int run_rename(struct cli *c, const struct args *a)
{
    if (!name_valid(a->word[0]))
        return cli_usage(c, "a name has 1 to 64 bytes, no control characters and no blanks at its ends");
    json_t *q = client_command("rename");
    json_object_set_new(q, "name", json_string(a->word[0]));
    if (args_value(a, "peer"))
        json_object_set_new(q, "peer", json_string(args_value(a, "peer")));
    if (args_value(a, "party"))
        json_object_set_new(q, "party", json_string(args_value(a, "party")));
    return client_show(c, q, "renaming", show_nothing);
}
