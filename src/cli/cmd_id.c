#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

static void show(struct cli *c, const json_t *r)
{
    put_escaped(c->out, *json_text(r, "node") ? json_text(r, "node") : json_text(r, "id"));
    if (*json_text(r, "name")) {
        fputs("  ", c->out);
        put_escaped(c->out, json_text(r, "name"));
    }
    fputc('\n', c->out);
}

int run_id(struct cli *c, const struct args *a)
{
    (void)a;
    return client_show(c, client_command("id"), NULL, show);
}
