#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

static const struct option global_options[] = {
    {"state", 0, "DIR", "directory of this node's (or hub's) key and parties", true, false},
    {"socket", 0, "PATH", "control socket of the daemon", true, false},
    {"config", 0, "FILE", "settings, one `key = value` a line, keys named like the flags", false, false},
    {"json", 0, NULL, "answer in JSON", false, false},
    {"verbose", 'v', NULL, "log more", false, false},
    {"quiet", 'q', NULL, "log errors only", false, false},
    {"help", 'h', NULL, "this help, or that of a command", false, false},
    {"version", 0, NULL, "the version", false, false},
    {0},
};

static const struct command commands[] = {
    {"hub", "[--listen A:P] [--name HOST] ...", "run a hub for your parties",
     "Runs the hub in the foreground: nodes find each other through it and it relays their encrypted\n"
     "packets. It reads none of them. When it serves, it prints one line with its address and the\n"
     "fingerprint of its certificate:\n\n"
     "  $ warren hub --listen :8443 --name hub.example.org\n"
     "  hub ready https://hub.example.org:8443#sha256:...\n\n"
     "Without --cert and --key it makes a certificate of its own; invites carry its fingerprint.\n",
     hub_options, 0, 0, false, run_hub},
    {"up", "[--hub URL] [--name NAME] [--device none|NAME]", "run this machine's node",
     "Runs the node in the foreground and serves the other commands. It needs root to make network\n"
     "devices, or --device none to run without them. A node that has never seen a hub learns it from\n"
     "its first `join`.\n\n"
     "  $ sudo warren up\n"
     "  node ready wn-...\n\n"
     "A URL with #sha256:HEX pins the hub's certificate, one without uses the system's authorities.\n",
     up_options, 0, 0, false, run_up},
    {"party", "create NAME [--mode tap|tun] [--net CIDR] [--cipher NAME] | list | log [PARTY] | leave PARTY",
     "make, list and leave parties",
     "A party is a private network. `create` prints the new party's id, `list` the parties of this node,\n"
     "`log` who was let in by whom; `leave` takes this node out of one.\n\n"
     "  $ warren party create friends\n"
     "  $ warren party create office --mode tun --net 10.77.0.0/16\n",
     party_options, 1, 2, false, run_party},
    {"invite", "[PARTY] [--uses N] [--expires 24h] [--role member] [--qr] | --list | --revoke ID",
     "let somebody in",
     "Prints an invite: whoever has it may join, as often as --uses says, until it expires. Hand it over\n"
     "in private. The party may be left out where this node has only one.\n\n"
     "  $ warren invite --uses 3 --expires 7d\n"
     "  $ warren invite friends --qr\n",
     invite_options, 0, 1, false, run_invite},
    {"join", "[INVITE]", "join a party with an invite",
     "Returns when this node is in the party and its network device is up. Without an argument it asks\n"
     "for the invite; `-` reads it from standard input, which keeps it out of the shell's history.\n\n"
     "  $ warren join\n"
     "  $ warren join - <invite.txt\n",
     NULL, 0, 1, true, run_join},
    {"kick", "PEER [--party PARTY]", "remove a member",
     "Takes a member out of the party for good; sessions to it close at once. PEER is its id, the\n"
     "beginning of it, or its name.\n\n"
     "  $ warren kick old-laptop\n",
     kick_options, 1, 1, false, run_kick},
    {"role", "PEER ROLE [--party PARTY]", "change what a member may do",
     "ROLE is owner, admin, member or guest. Owners and admins may invite and remove.\n\n"
     "  $ warren role anna admin\n",
     role_options, 2, 2, false, run_role},
    {"rename", "NAME [--peer PEER] [--party PARTY]", "change a member's name",
     "Changes what a party calls this node, or with --peer another member (owners and admins). Names\n"
     "are labels for people; the id stays.\n\n"
     "  $ warren rename attic-server\n",
     rename_options, 1, 1, false, run_rename},
    {"status", "[--watch]", "show hub, parties and peers",
     "The whole picture: the link to the hub, each party with its device and addresses, and each peer\n"
     "with the path that its packets take. --watch draws it anew every second.\n\n"
     "  $ warren status\n"
     "  $ warren --json status\n",
     status_options, 0, 0, false, run_status},
    {"peers", "", "list peers in detail",
     "One line for each member of each party: id, role, address, cipher, session and when it was last\n"
     "seen.\n\n"
     "  $ warren peers\n",
     NULL, 0, 0, false, run_peers},
    {"ping", "PEER [-c N] [-i MS]", "measure a peer and show the path of every reply",
     "Sends small packets through the encrypted session. PEER is an id, the beginning of one, or a\n"
     "name.\n\n"
     "  $ warren ping anna -c 5\n",
     ping_options, 1, 1, false, run_ping},
    {"route", "PEER [--via A,B,C | --auto | --off] [--party PARTY]", "send to a peer over other members",
     "Packets to PEER go over the members named with --via (one to three, the nearest to us first), or with\n"
     "--auto over those that the node finds best, even where there is a better path. They have to run with\n"
     "the limit relay-for-members, and learn nothing but who their neighbours on the way are. --off ends\n"
     "it; without any of them the command shows what is chosen.\n\n"
     "  $ warren route anna --via bob,carl\n",
     route_options, 1, 1, false, run_route},
    {"netcheck", "", "find out what this network allows",
     "Tells how the hub sees this machine and what that means for direct connections.\n\n"
     "  $ warren netcheck\n",
     NULL, 0, 0, false, run_netcheck},
    {"id", "", "show this node's id and name", "  $ warren id\n", NULL, 0, 0, false, run_id},
    {"metrics", "", "show the daemon's counters",
     "In Prometheus' text form; with --json as an object.\n\n  $ warren metrics\n", NULL, 0, 0, false,
     run_metrics},
    {"debug", "dump", "show the daemon's inner state, without secrets", "  $ warren debug dump\n", NULL, 1, 1,
     false, run_debug},
    {"help", "[COMMAND]", "this help, or that of a command", "  $ warren help invite\n", NULL, 0, 1, false,
     run_help},
    {0},
};

const struct command *cli_commands(void)
{
    return commands;
}

const struct command *cli_find(const char *name)
{
    for (const struct command *m = commands; m->name; m++)
        if (!strcmp(m->name, name))
            return m;
    return NULL;
}

int cli_error(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("warren: ", c->err);
    vfprintf(c->err, fmt, ap);
    fputc('\n', c->err);
    va_end(ap);
    return 1;
}

int cli_usage(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("warren: ", c->err);
    vfprintf(c->err, fmt, ap);
    va_end(ap);
    if (c->command)
        fprintf(c->err, " (usage: warren %s %s)\n", c->command->name, c->command->usage);
    else
        fputs(" (`warren help` lists the commands)\n", c->err);
    return EXIT_USAGE;
}

void cli_note(struct cli *c, const char *text)
{
    if (c->verbosity >= 0)
        fprintf(c->err, "%s\n", text);
}

/* ---- nearest name */

/* Edits between two words, a swap of neighbours counting once (optimal string alignment); long words count as
 * far. */
static unsigned edits(const char *a, const char *b)
{
    unsigned d[24][24];
    size_t n = strlen(a), m = strlen(b);
    if (n >= 24 || m >= 24)
        return 24;
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            unsigned best = (unsigned)(i ? j ? d[i - 1][j - 1] + (a[i - 1] != b[j - 1]) : i : j);
            if (i && d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (j && d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *cli_nearest(const char *word, const char *(*next)(size_t i))
{
    const char *best = NULL, *name;
    unsigned least = strlen(word) > 4 ? 3 : 2; /* one slip in a short word, two in a long one */
    for (size_t i = 0; (name = next(i)); i++) {
        unsigned far = edits(word, name);
        if (far < least) {
            least = far;
            best = name;
        }
    }
    return best;
}

static const char *command_name(size_t i)
{
    return commands[i].name;
}

static int unknown_command(struct cli *c, const char *word)
{
    char shown[80];
    text_escape(shown, sizeof shown, word);
    const char *near = cli_nearest(word, command_name);
    if (near)
        return cli_usage(c, "there is no command `%s`; did you mean `%s`?", shown, near);
    return cli_usage(c, "there is no command `%s`", shown);
}

/* ---- help */

static void put_options(FILE *out, const struct option *options)
{
    for (const struct option *o = options; o && o->name; o++) {
        char left[64], letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        fprintf(out, "  %-26s %s%s\n", left, o->help, o->setting ? " *" : "");
    }
}

static void put_settings_note(FILE *out, const struct option *options)
{
    while (options && options->name && !options->setting)
        options++;
    if (options && options->name) {
        char var[40];
        snprintf(var, sizeof var, "%s", options->name);
        for (char *p = var; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        fprintf(out, "\n* also set by $WARREN_%s or a line `%s = %s` of the --config file, and so on.\n", var,
                options->name, options->value);
    }
}

static void put_command_help(FILE *out, const struct command *m)
{
    fprintf(out, "warren %s: %s\n\nusage: warren %s%s%s\n\n%s", m->name, m->summary, m->name,
            *m->usage ? " " : "", m->usage, m->text);
    if (m->options) {
        fputs("\noptions:\n", out);
        put_options(out, m->options);
    }
    put_settings_note(out, m->options);
    if (m->run == run_hub)
        hub_limits_help(out);
    if (m->run == run_up)
        up_limits_help(out);
}

static void put_help(FILE *out)
{
    fputs("warren: one private network over all your machines, hosted by you\n\n"
          "usage: warren [--state DIR] [--socket PATH] [--config FILE] [--json] [-v|-q] COMMAND "
          "...\n\ncommands:\n",
          out);
    for (const struct command *m = commands; m->name; m++)
        fprintf(out, "  %-10s %s\n", m->name, m->summary);
    fputs("\noptions:\n", out);
    put_options(out, global_options);
    fputs("\nfirst steps:\n"
          "  warren hub --listen :8443          on a machine that everybody reaches\n"
          "  sudo warren up --hub URL           on yours, with the URL that the hub printed\n"
          "  warren party create friends        then `warren invite`, and give the invite to a friend\n"
          "  sudo warren up                     on the friend's machine, and in another terminal: warren "
          "join\n\n"
          "`warren help COMMAND` says more about each.\n",
          out);
}

int run_help(struct cli *c, const struct args *a)
{
    const struct command *m = a->words ? cli_find(a->word[0]) : NULL;
    if (a->words && !m) {
        c->command = NULL;
        return unknown_command(c, a->word[0]);
    }
    if (m)
        put_command_help(c->out, m);
    else
        put_help(c->out);
    return 0;
}

/* ---- settings */

static bool is_setting(const char *key)
{
    const struct option *o = option_find(global_options, key);
    if (o && o->setting)
        return true;
    if (!strcmp(key, "limit"))
        return true;
    for (const struct command *m = commands; m->name; m++) {
        o = option_find(m->options, key);
        if (o && o->setting)
            return true;
    }
    return false;
}

/* "store" -> WARREN_STORE; "ping-s" in group HUB -> WARREN_HUB_PING_S. */
static const char *environment(const char *group, const char *name)
{
    char var[80];
    size_t n = (size_t)snprintf(var, sizeof var, "WARREN_%s%s%s", group, *group ? "_" : "", name);
    if (n >= sizeof var)
        return NULL;
    for (char *p = var; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    const char *value = getenv(var);
    return value && *value ? value : NULL;
}

static const char *setting(const struct cli *c, const char *given, const char *name)
{
    if (given)
        return given;
    const char *value = environment("", name);
    return value ? value : config_get(&c->config, name);
}

const char *cli_setting(struct cli *c, const struct args *a, const char *name)
{
    return setting(c, args_value(a, name), name);
}

static int set_limit(struct cli *c, const struct limit_table *t, const char *text, const char *from)
{
    char name[48];
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : sizeof name;
    while (n && n < sizeof name && strchr(" \t", text[n - 1]))
        n--;
    if (n >= sizeof name)
        return cli_usage(c, "%s needs NAME=VALUE", from);
    memcpy(name, text, n);
    name[n] = 0;
    const char *value = equals + 1 + strspn(equals + 1, " \t");
    int rc = t->set(t->limits, name, value);
    if (!rc)
        return 0;
    char shown[80];
    text_escape(shown, sizeof shown, text);
    return cli_usage(
        c, rc == -ENOENT ? "%s: there is no limit of that name: %s" : "%s: not a value for this limit: %s",
        from, shown);
}

static int limits_from_environment(struct cli *c, const struct limit_table *t)
{
    uint32_t value;
    const char *what, *name;
    for (size_t i = 0; (name = t->at(t->limits, i, &value, &what)); i++) {
        const char *text = environment(t->group, name);
        if (text && t->set(t->limits, name, text))
            return cli_usage(c, "$WARREN_%s_...: not a value for the limit %s", t->group, name);
    }
    return 0;
}

int cli_limits(struct cli *c, const struct args *a, const struct limit_table *t)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < c->config.count; i++)
        if (!strcmp(c->config.line[i].key, "limit"))
            rc = set_limit(c, t, c->config.line[i].value, "limit");
    if (!rc)
        rc = limits_from_environment(c, t);
    for (size_t i = 0; !rc && i < a->repeated_count; i++)
        rc = set_limit(c, t, a->repeated[i], "--limit");
    return rc;
}

/* ---- reading the command line */

struct parsed {
    struct args global, own;
    bool only_words; /* after "--" */
};

static const char *option_name(size_t i)
{
    return global_options[i].name;
}

static int unknown_option(struct cli *c, const char *word)
{
    char shown[80], name[80];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    text_escape(shown, sizeof shown, name);
    const char *near = NULL;
    unsigned least = 3;
    for (const struct option *o = c->command ? c->command->options : NULL;
         o && o->name && !strncmp(word, "--", 2); o++)
        if (edits(name + 2, o->name) < least) {
            least = edits(name + 2, o->name);
            near = o->name;
        }
    if (!near && !strncmp(word, "--", 2))
        near = cli_nearest(name + 2, option_name);
    if (near)
        return cli_usage(c, "there is no option %s; did you mean --%s?", shown, near);
    return cli_usage(c, "there is no option %s", shown);
}

static int take_word(struct cli *c, struct parsed *p, char *word)
{
    if (!c->command) {
        c->command = cli_find(word);
        if (!c->command)
            return unknown_command(c, word);
        p->own.options = c->command->options;
        return 0;
    }
    int max = c->command->max_words;
    if (c->secret || p->own.words == WORDS_MAX || (max >= 0 && p->own.words == max)) {
        char shown[80];
        text_escape(shown, sizeof shown, c->command->takes_secret ? "another word" : word);
        return cli_usage(c, "too much: %s", shown);
    }
    p->own.word[p->own.words++] = word;
    if (!c->command->takes_secret || !strcmp(word, "-"))
        return 0;
    /* Everybody may read a process's arguments; from here on they find blanks. */
    c->secret = strdup(word);
    explicit_bzero(word, strlen(word));
    p->own.words = 0;
    return c->secret ? 0 : cli_error(c, "out of memory");
}

static int take_argument(struct cli *c, struct parsed *p, int argc, char **argv, int *i)
{
    const char *why = NULL;
    if (p->only_words || argv[*i][0] != '-' || !argv[*i][1])
        return take_word(c, p, argv[*i]);
    if (!strcmp(argv[*i], "--")) {
        p->only_words = true;
        return 0;
    }
    int took = c->command ? option_take(&p->own, c->command->options, argc, argv, i, &why) : 0;
    if (!took)
        took = option_take(&p->global, global_options, argc, argv, i, &why);
    if (took < 0)
        return cli_usage(c, "%s", why);
    return took ? 0 : unknown_option(c, argv[*i]);
}

static int parse(struct cli *c, struct parsed *p, int argc, char **argv)
{
    p->global.options = global_options;
    for (int i = 1; i < argc; i++) {
        int rc = take_argument(c, p, argc, argv, &i);
        if (rc)
            return rc;
    }
    c->json = args_flag(&p->global, "json");
    c->verbosity = args_flag(&p->global, "quiet") ? -1 : args_flag(&p->global, "verbose");
    return 0;
}

static int load_settings(struct cli *c, const struct args *global)
{
    char why[CONFIG_WHY_CAP];
    const char *file = args_value(global, "config");
    if (!file)
        file = environment("", "config");
    if (file && config_read(&c->config, file, is_setting, why))
        return cli_error(c, "%s", why), EXIT_USAGE;
    /* $WARREN_STATE is left to node/state.h, which must tell it from --state. */
    c->state = args_value(global, "state");
    if (!c->state && !environment("", "state"))
        c->state = config_get(&c->config, "state");
    c->socket = setting(c, args_value(global, "socket"), "socket");
    return 0;
}

static int run(struct cli *c, struct parsed *p)
{
    if (args_flag(&p->global, "version")) {
        fprintf(c->out, "warren %s\n", WARREN_VERSION);
        return 0;
    }
    if (args_flag(&p->global, "help")) {
        if (c->command)
            put_command_help(c->out, c->command);
        else
            put_help(c->out);
        return 0;
    }
    if (!c->command)
        return cli_usage(c, "what shall I do?");
    if (p->own.words < c->command->min_words)
        return cli_usage(c, "%s needs more", c->command->name);
    int rc = load_settings(c, &p->global);
    if (rc)
        return rc;
    log_set_level(c->verbosity > 0 ? LOG_DEBUG : c->verbosity < 0 ? LOG_ERROR : LOG_INFO);
    return c->command->run(c, &p->own);
}

int cli_main(int argc, char **argv, FILE *in, FILE *out, FILE *err)
{
    struct cli c = {.in = in, .out = out, .err = err};
    struct parsed p = {0};
    int rc = parse(&c, &p, argc, argv);
    if (!rc)
        rc = run(&c, &p);
    if (c.secret)
        explicit_bzero(c.secret, strlen(c.secret));
    free(c.secret);
    config_done(&c.config);
    if (fflush(out) && !rc)
        rc = cli_error(&c, "cannot write the answer: standard output is closed or full");
    return rc;
}
