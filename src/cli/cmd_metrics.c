#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

/* Names come from the daemon's own table; nothing in them is a stranger's. */
static void show(struct cli *c, const json_t *r)
{
    const char *key, *text = json_text(r, "text");
    json_t *v;
    if (*text) {
        fputs(text, c->out);
        return;
    }
    json_object_foreach((json_t *)r, key, v)
    {
        if (json_is_number(v))
            fprintf(c->out, "%s %.17g\n", key, json_number_value(v));
    }
}

int run_metrics(struct cli *c, const struct args *a)
{
    (void)a;
    return client_show(c, client_command("metrics"), NULL, show);
}
