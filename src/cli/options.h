/* Options of a command line: "--name VALUE", "--name=VALUE", "-c VALUE", "-cVALUE", flags, "--" and words, in
 * any order. */
#ifndef WARREN_CLI_OPTIONS_H
#define WARREN_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#define OPTIONS_MAX  12 /* of one command */
#define REPEATED_MAX 64 /* values of an option that may come again */
#define WORDS_MAX    8

struct option {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* what its value is called in the help; NULL: a flag */
    const char *help;
    bool setting; /* also $WARREN_NAME and a line of the configuration file */
    bool repeats;
};

struct args {
    const struct option *options;
    const char *value[OPTIONS_MAX]; /* "" for a flag that was given; NULL: not given */
    const char *repeated[REPEATED_MAX];
    size_t repeated_count;
    const char *word[WORDS_MAX];
    int words;
};

/* Takes argv[*i] and what belongs to it as an option of the table, if it is one. 1: taken, *i is its last
 * argument; 0: no option of this table; -1: wrong, *why says how (valid until the next call). */
int option_take(struct args *a, const struct option *options, int argc, char **argv, int *i,
                const char **why);
/* The value given on the command line, or NULL. */
const char *args_value(const struct args *a, const char *name);
bool args_flag(const struct args *a, const char *name);
const struct option *option_find(const struct option *options, const char *name);

#endif
