#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"
#include "crypto/aead.h"

const struct option party_options[] = {
    {"mode", 0, "tap|tun", "create: a LAN with broadcast (tap, the default) or addresses only (tun)", false,
     false},
    {"net", 0, "CIDR", "create: the party's IPv4 addresses, a private /16 (default: chosen by chance)", false,
     false},
    {"cipher", 0, "NAME", "create: allow aes-256-gcm or chacha20-poly1305 alone (default: any)", false,
     false},
    {0},
};

static void show_made(struct cli *c, const json_t *r)
{
    put_escaped(c->out, json_text(r, "party_id"));
    fputc('\n', c->out);
}

/* The mask of a policy, bit n: enum aead_alg n; 0: not a name. */
static int ciphers_of(const char *name)
{
    if (!strcmp(name, "any"))
        return (1 << AEAD_ALG_COUNT) - 1;
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++)
        if (!strcmp(name, aead_name((enum aead_alg)alg)))
            return 1 << alg;
    return 0;
}

static int create(struct cli *c, const struct args *a)
{
    const char *mode = args_value(a, "mode"), *net = args_value(a, "net"), *cipher = args_value(a, "cipher");
    if (a->words != 2)
        return cli_usage(c, "party create needs a name");
    if (!name_valid(a->word[1]))
        return cli_usage(c,
                         "a party's name has 1 to 64 bytes, no control characters and no blanks at its ends");
    if (mode && !strcmp(mode, "wireguard"))
        return cli_error(
            c, "--mode wireguard is not in this version: use --mode tun for a party of IP packets only");
    if (mode && strcmp(mode, "tap") && strcmp(mode, "tun"))
        return cli_usage(c, "--mode is tap or tun");
    if (cipher && !ciphers_of(cipher))
        return cli_usage(c, "--cipher is aes-256-gcm, chacha20-poly1305 or any");
    json_t *q = client_command("party-create");
    json_object_set_new(q, "name", json_string(a->word[1]));
    json_object_set_new(q, "mode", json_string(mode ? mode : "tap"));
    if (net)
        json_object_set_new(q, "net", json_string(net));
    if (cipher)
        json_object_set_new(q, "ciphers", json_integer(ciphers_of(cipher)));
    return client_show(c, q, "making the party", show_made);
}

static void show_list(struct cli *c, const json_t *r)
{
    static const char *const titles[] = {"NAME", "ID", "MODE", "DEVICE", "IP", ">MEMBERS", "STATE", NULL};
    const json_t *list = json_is_array(r) ? r : json_object_get(r, "parties"), *p;
    char id[32];
    size_t i;
    struct table t;
    if (!json_array_size(list)) {
        cli_note(c, "no parties: make one with `warren party create NAME`, or `warren join` one");
        return;
    }
    table_init(&t, titles);
    json_array_foreach(list, i, p)
    {
        table_cell(&t, json_text(p, "name"));
        table_cell(&t, short_id(id, json_text(p, "id")));
        table_cell(&t, json_text(p, "mode"));
        table_cell(&t, *json_text(p, "device") ? json_text(p, "device") : "-");
        table_cell(&t, *json_text(p, "ip") ? json_text(p, "ip") : "-");
        table_cellf(&t, "%.0f", json_number(p, "members", 0));
        table_cell(&t, *json_text(p, "state") ? json_text(p, "state") : "active");
    }
    table_print(&t, c->out, "");
    table_done(&t);
}

/* Names as the log itself gives them, by id: what a member was called at that entry. */
static void learn_name(json_t *names, const json_t *e)
{
    const char *type = json_text(e, "type"), *node = json_text(e, "node");
    if (*node && *json_text(e, "name") && (!strcmp(type, "admit") || !strcmp(type, "rename")))
        json_object_set(names, node, json_object_get(e, "name"));
}

/* An admission that no member signed was signed by an invite. */
static void put_author(struct table *t, const json_t *names, const json_t *e, const char *founder)
{
    char id[32];
    const char *author = json_text(e, "author"), *name = json_text(names, author);
    if (*name)
        table_cell(t, name);
    else if (!strcmp(json_text(e, "type"), "admit") && strcmp(author, founder))
        table_cell(t, "an invite");
    else
        table_cell(t, short_id(id, author));
}

static void add_part(char *out, size_t cap, const char *label, const char *text)
{
    size_t n = strlen(out);
    if (*text)
        snprintf(out + n, cap - n, "%s%s%s%.80s", n ? ", " : "", label, *label ? " " : "", text);
}

static void put_details(struct table *t, const json_t *names, const json_t *e)
{
    char text[400] = "", id[32], number[32];
    const char *node = json_text(e, "node"), *name = json_text(names, node);
    if (strcmp(json_text(e, "type"), "genesis"))
        add_part(text, sizeof text, "", *name ? name : short_id(id, node));
    if (strcmp(json_text(e, "name"), name) || !*name)
        add_part(text, sizeof text, "name", json_text(e, "name"));
    add_part(text, sizeof text, "", json_text(e, "role"));
    add_part(text, sizeof text, "", json_text(e, "mode"));
    snprintf(number, sizeof number, "%.16s", json_text(e, "invite"));
    add_part(text, sizeof text, "id", number);
    if (json_number(e, "uses", 0) > 0) {
        snprintf(number, sizeof number, "%.0f", json_number(e, "uses", 0));
        add_part(text, sizeof text, "uses", number);
    }
    table_cell(t, text);
}

static void put_time(struct table *t, const json_t *e)
{
    char when[32] = "-";
    time_t s = (time_t)json_number(e, "time", 0);
    struct tm tm;
    if (s && gmtime_r(&s, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    table_cell(t, when);
}

static void show_log(struct cli *c, const json_t *entries)
{
    static const char *const titles[] = {">SEQ", "TIME (UTC)", "WHAT", "BY", "DETAILS", NULL};
    json_t *names = json_object();
    const json_t *e;
    size_t i;
    struct table t;
    table_init(&t, titles);
    json_array_foreach(entries, i, e)
    {
        learn_name(names, e);
        table_cellf(&t, "%.0f", json_number(e, "seq", 0));
        put_time(&t, e);
        table_cell(&t, json_text(e, "type"));
        put_author(&t, names, e, json_text(json_array_get(entries, 0), "author"));
        put_details(&t, names, e);
    }
    table_print(&t, c->out, "");
    table_done(&t);
    json_decref(names);
}

/* The daemon gives a long log in parts. */
static int log_of(struct cli *c, const struct args *a)
{
    json_t *all = NULL, *part = NULL, *entries = json_array();
    int rc = 0;
    bool more = true;
    while (!rc && more) {
        json_t *q = client_command("party-log");
        if (a->words == 2)
            json_object_set_new(q, "party", json_string(a->word[1]));
        if (json_array_size(entries))
            json_object_set_new(q, "since", json_integer((json_int_t)json_array_size(entries)));
        rc = client_request(c, q, "reading the log", NULL, NULL, &part);
        if (rc)
            break;
        more = json_yes(part, "more") && json_array_size(json_object_get(part, "entries"));
        json_array_extend(entries, json_object_get(part, "entries"));
        json_decref(all);
        all = part;
    }
    if (!rc && c->json) {
        json_object_del(all, "more");
        json_object_set(all, "entries", entries);
        put_json(c->out, all);
    } else if (!rc) {
        show_log(c, entries);
    }
    json_decref(all);
    json_decref(entries);
    return rc;
}

static void show_nothing(struct cli *c, const json_t *r)
{
    (void)c, (void)r;
}

static int leave(struct cli *c, const struct args *a)
{
    json_t *q = client_command("party-leave");
    if (a->words == 2)
        json_object_set_new(q, "party", json_string(a->word[1]));
    return client_show(c, q, "leaving", show_nothing);
}

int run_party(struct cli *c, const struct args *a)
{
    const char *verb = a->word[0];
    if (!strcmp(verb, "create"))
        return create(c, a);
    if (args_flag(a, "mode") || args_flag(a, "net") || args_flag(a, "cipher"))
        return cli_usage(c, "--mode, --net and --cipher go with party create");
    if (!strcmp(verb, "list") && a->words == 1)
        return client_show(c, client_command("party-list"), NULL, show_list);
    if (!strcmp(verb, "log"))
        return log_of(c, a);
    if (!strcmp(verb, "leave"))
        return leave(c, a);
    return cli_usage(c, "party does create, list, log and leave");
}
