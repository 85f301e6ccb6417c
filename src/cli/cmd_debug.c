#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

static void show(struct cli *c, const json_t *r)
{
    put_json(c->out, r);
}

int run_debug(struct cli *c, const struct args *a)
{
    if (strcmp(a->word[0], "dump"))
        return cli_usage(c, "debug does dump");
    return client_show(c, client_command("debug-dump"), NULL, show);
}
