#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

static void put_value(FILE *out, const json_t *v);

static void put_members(FILE *out, const json_t *object)
{
    const char *key, *comma = "";
    json_t *v;
    json_object_foreach((json_t *)object, key, v)
    {
        if (json_is_null(v))
            continue;
        fprintf(out, "%s%s ", comma, key);
        put_value(out, v);
        comma = ", ";
    }
}

static void put_value(FILE *out, const json_t *v)
{
    const json_t *e;
    size_t i;
    if (json_is_string(v))
        put_escaped(out, json_string_value(v));
    else if (json_is_boolean(v))
        fputs(json_is_true(v) ? "yes" : "no", out);
    else if (json_is_number(v))
        fprintf(out, "%.10g", json_number_value(v));
    else if (json_is_object(v))
        put_members(out, v);
    else if (!json_is_array(v))
        fputs("not measured", out);
    else if (!json_array_size(v))
        fputs("none", out);
    json_array_foreach(v, i, e)
    {
        fputs(i ? "; " : "", out);
        put_value(out, e);
    }
}

/* The daemon names what it found; the sentence that explains it comes last. */
static void show(struct cli *c, const json_t *r)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)r, key, v)
    {
        if (!strcmp(key, "summary"))
            continue;
        char label[40];
        snprintf(label, sizeof label, "%.39s", key);
        for (char *p = label; *p; p++)
            if (*p == '_')
                *p = ' ';
        fprintf(c->out, "%-17s ", label);
        put_value(c->out, v);
        fputc('\n', c->out);
    }
    if (*json_text(r, "summary")) {
        fputc('\n', c->out);
        put_escaped(c->out, json_text(r, "summary"));
        fputc('\n', c->out);
    }
}

int run_netcheck(struct cli *c, const struct args *a)
{
    (void)a;
    return client_show(c, client_command("netcheck"), "looking at the network", show);
}
