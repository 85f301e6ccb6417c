/* The configuration file: `key = value` lines, # comments, keys named like the flags. */
#ifndef WARREN_CLI_CONFIG_H
#define WARREN_CLI_CONFIG_H

#include "base/bytes.h"

#define CONFIG_MAX       65536 /* bytes */
#define CONFIG_LINES_MAX 256
#define CONFIG_WHY_CAP   512

struct config_line {
    char *key, *value;
};

struct config {
    struct config_line line[CONFIG_LINES_MAX];
    size_t count;
    char *text; /* what the lines point into */
};

/* Reads the file. known decides about keys. 0, or -1 and why: "FILE:LINE: ..." for a person. */
int config_read(struct config *c, const char *path, bool (*known)(const char *key), char why[CONFIG_WHY_CAP]);
/* The same from memory, name for messages. */
int config_parse(struct config *c, const char *name, struct bytes text, bool (*known)(const char *key),
                 char why[CONFIG_WHY_CAP]);
/* The last value of a key, or NULL. */
const char *config_get(const struct config *c, const char *key);
void config_done(struct config *c);

#endif
