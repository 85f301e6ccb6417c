/* One request to the daemon over its control socket (doc/protocol/control.md). */
#ifndef WARREN_CLI_CLIENT_H
#define WARREN_CLI_CLIENT_H

#include <jansson.h>

#include "cli/cli.h"

/* Called for each {"progress": ...}. */
typedef void client_progress(struct cli *c, const json_t *progress, void *arg);

/* Sends request (its reference is taken) and waits for the last answer.
 * 0 and *result (owned by the caller), or 1 after one line on the error stream. what: for the waiting line of
 * a terminal when it takes more than a second, or NULL. */
int client_request(struct cli *c, json_t *request, const char *what, client_progress *each, void *arg,
                   json_t **result);
/* The plain case: result printed as JSON with --json, otherwise handed to show. */
int client_show(struct cli *c, json_t *request, const char *what,
                void (*show)(struct cli *c, const json_t *result));
/* {"cmd": cmd} to be filled. */
json_t *client_command(const char *cmd);

#endif
