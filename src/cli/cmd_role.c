#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"

const struct option role_options[] = {
    {"party", 0, "PARTY", "in which party, where this node is in several", false, false},
    {0},
};

static void show_nothing(struct cli *c, const json_t *r)
{
    (void)c, (void)r;
}

int run_role(struct cli *c, const struct args *a)
{
    static const char *const roles[] = {"owner", "admin", "member", "guest"};
    size_t i = 0;
    while (i < sizeof roles / sizeof *roles && strcmp(roles[i], a->word[1]))
        i++;
    if (i == sizeof roles / sizeof *roles)
        return cli_usage(c, "a role is owner, admin, member or guest");
    json_t *q = client_command("role");
    json_object_set_new(q, "peer", json_string(a->word[0]));
    json_object_set_new(q, "role", json_string(a->word[1]));
    if (args_value(a, "party"))
        json_object_set_new(q, "party", json_string(args_value(a, "party")));
    return client_show(c, q, "changing the role", show_nothing);
}
