#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

#define USES_MAX 1000

const struct option invite_options[] = {
    {"uses", 0, "N", "how many may join with it (default 1)", false, false},
    {"expires", 0, "24h", "how long it is good for: 90s, 15m, 24h, 7d (default 24h)", false, false},
    {"role", 0, "ROLE", "what they become: member (default) or guest", false, false},
    {"qr", 0, NULL, "draw it as a QR code, too", false, false},
    {"list", 0, NULL, "show the invites that are open", false, false},
    {"revoke", 0, "ID", "make an invite useless", false, false},
    {0},
};

static void add_party(json_t *q, const struct args *a)
{
    if (a->words)
        json_object_set_new(q, "party", json_string(a->word[0]));
}

static void show_list(struct cli *c, const json_t *r)
{
    static const char *const titles[] = {"ID", "STATE", "ROLE", ">USED", ">USES", "EXPIRES IN", "BY", NULL};
    const json_t *list = json_is_array(r) ? r : json_object_get(r, "invites"), *v;
    size_t i;
    struct table t;
    if (!json_array_size(list)) {
        cli_note(c, "no invites");
        return;
    }
    table_init(&t, titles);
    json_array_foreach(list, i, v)
    {
        char left[32], by[32];
        double expires = json_number(v, "expires", 0) - (double)time(NULL);
        table_cellf(&t, "%.16s", json_text(v, "id"));
        table_cell(&t, json_text(v, "state"));
        table_cell(&t, json_text(v, "role"));
        table_cellf(&t, "%.0f", json_number(v, "used", 0));
        table_cellf(&t, "%.0f", json_number(v, "uses", 0));
        table_cell(&t, expires > 0 ? human_seconds(left, (uint64_t)expires) : "-");
        table_cell(&t, short_id(by, json_text(v, "by")));
    }
    table_print(&t, c->out, "");
    table_done(&t);
}

static void show_nothing(struct cli *c, const json_t *r)
{
    (void)c, (void)r;
}

static void show_invite(struct cli *c, const json_t *r)
{
    put_escaped(c->out, json_text(r, "invite"));
    fputc('\n', c->out);
}

static void show_invite_qr(struct cli *c, const json_t *r)
{
    show_invite(c, r);
    if (put_qr(c->out, json_text(r, "invite"), is_terminal(c->out)))
        cli_error(c, "the invite does not fit into a QR code");
}

static int make(struct cli *c, const struct args *a)
{
    const char *uses = args_value(a, "uses"), *expires = args_value(a, "expires"),
               *role = args_value(a, "role");
    char *end = NULL;
    unsigned long n = uses ? strtoul(uses, &end, 10) : 1;
    uint64_t seconds = 24 * 3600;
    if (uses && (!*uses || *end || n < 1 || n > USES_MAX || *uses == '-'))
        return cli_usage(c, "--uses is a number from 1 to %d", USES_MAX);
    if (expires && duration_get(&seconds, expires))
        return cli_usage(c, "--expires is a time like 90s, 15m, 24h or 7d");
    if (role && strcmp(role, "member") && strcmp(role, "guest"))
        return cli_usage(c, "--role is member or guest (`warren role` makes a member an admin)");
    json_t *q = client_command("invite");
    add_party(q, a);
    json_object_set_new(q, "uses", json_integer((json_int_t)n));
    json_object_set_new(q, "expires_s", json_integer((json_int_t)seconds));
    json_object_set_new(q, "role", json_string(role ? role : "member"));
    return client_show(c, q, "writing the invite into the party's log",
                       args_flag(a, "qr") ? show_invite_qr : show_invite);
}

int run_invite(struct cli *c, const struct args *a)
{
    const char *revoke = args_value(a, "revoke");
    bool list = args_flag(a, "list"), making = args_flag(a, "uses") || args_flag(a, "expires") ||
                                               args_flag(a, "role") || args_flag(a, "qr");
    if ((list && revoke) || ((list || revoke) && making))
        return cli_usage(c, "--list and --revoke stand alone");
    if (!list && !revoke)
        return make(c, a);
    json_t *q = client_command(list ? "invite-list" : "invite-revoke");
    add_party(q, a);
    if (revoke)
        json_object_set_new(q, "id", json_string(revoke));
    return client_show(c, q, revoke ? "revoking" : NULL, list ? show_list : show_nothing);
}
