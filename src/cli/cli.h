/* The command line: one table of commands (cli.c), one file a command (cmd_*.c). main.c calls cli_main with
 * the process's streams, tests call it with their own. */
#ifndef WARREN_CLI_CLI_H
#define WARREN_CLI_CLI_H

#include <stdio.h>

#include "cli/config.h"
#include "cli/options.h"

#define EXIT_USAGE 2

struct cli {
    FILE *in, *out, *err;
    const char *state, *socket; /* as given, or NULL */
    bool json;
    int verbosity; /* -1: -q, 0, 1: -v */
    struct config config;
    const struct command *command; /* the one that runs */
    char *
        secret; /* the argument of a command that takes_secret, NULL where none was given; wiped at the end */
};

struct command {
    const char *name;
    const char *usage;            /* what follows the name, "[PARTY] [--uses N]" */
    const char *summary;          /* one line of `warren help` */
    const char *text;             /* paragraphs and examples of `warren help NAME` */
    const struct option *options; /* ends with a NULL name; or NULL */
    int min_words, max_words;     /* positional arguments; max -1: any number */
    bool takes_secret;            /* its first positional is taken out of argv before anything else */
    int (*run)(struct cli *c, const struct args *a);
};

int cli_main(int argc, char **argv, FILE *in, FILE *out, FILE *err);

/* The table, ended by a NULL name. */
const struct command *cli_commands(void);
const struct command *cli_find(const char *name);
/* The name of the table that is nearest to a mistyped one, or NULL where nothing is near. next gives the
 * names. */
const char *cli_nearest(const char *word, const char *(*next)(size_t i));

/* "warren: TEXT\n" on the error stream; return 1 and EXIT_USAGE, the latter with a hint at the help. */
int cli_error(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_usage(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A hint for people where there is nothing to show: on the error stream, and not with -q. */
void cli_note(struct cli *c, const char *text);
/* The value of an option of the running command: the flag, $WARREN_NAME, the configuration file, or NULL. */
const char *cli_setting(struct cli *c, const struct args *a, const char *name);
/* Sets limits from $WARREN_<group>_NAME, the file's `limit = NAME=VALUE` lines and --limit flags. 0 or
 * EXIT_USAGE. */
struct limit_table {
    const char *group; /* "HUB", "NODE" */
    void *limits;
    int (*set)(void *limits, const char *name, const char *value);
    const char *(*at)(void *limits, size_t i, uint32_t *value, const char **what); /* NULL at the end */
};
int cli_limits(struct cli *c, const struct args *a, const struct limit_table *t);

int run_help(struct cli *c, const struct args *a);
int run_hub(struct cli *c, const struct args *a);
int run_up(struct cli *c, const struct args *a);
int run_party(struct cli *c, const struct args *a);
int run_invite(struct cli *c, const struct args *a);
int run_join(struct cli *c, const struct args *a);
int run_kick(struct cli *c, const struct args *a);
int run_role(struct cli *c, const struct args *a);
int run_rename(struct cli *c, const struct args *a);
int run_status(struct cli *c, const struct args *a);
int run_peers(struct cli *c, const struct args *a);
int run_ping(struct cli *c, const struct args *a);
int run_route(struct cli *c, const struct args *a);
int run_netcheck(struct cli *c, const struct args *a);
int run_id(struct cli *c, const struct args *a);
int run_metrics(struct cli *c, const struct args *a);
int run_debug(struct cli *c, const struct args *a);

extern const struct option hub_options[], up_options[], party_options[], invite_options[], kick_options[],
    role_options[], rename_options[], status_options[], ping_options[], route_options[];
/* The limits of `hub` and `up` for their help. */
void hub_limits_help(FILE *out);
void up_limits_help(FILE *out);

#endif
