#include <limits.h>
#include <string.h>

#include "cli/cli.h"
#include "hub/server.h"
#include "node/state.h"

const struct option hub_options[] = {
    {"listen", 0, "A:P", "address and port for HTTPS and WebSocket (default [::]:443)", true, false},
    {"udp", 0, "A:P", "address and port for STUN and the UDP relay, or none (default :3478)", true, false},
    {"udp2", 0, "A:P", "a second address, so that nodes find out more about their NATs", true, false},
    {"turn", 0, "URL", "a TURN server to tell nodes of: turn:HOST:PORT?transport=udp", true, false},
    {"turn-secret-file", 0, "FILE", "the secret shared with it", true, false},
    {"cert", 0, "FILE", "certificate (PEM) instead of one of its own making", true, false},
    {"key", 0, "FILE", "its private key (PEM)", true, false},
    {"store", 0, "URL", "where the hub remembers: sqlite:PATH (default STATE/hub.db)", true, false},
    {"bus", 0, "URL", "how several hubs talk: none", true, false},
    {"name", 0, "HOST", "host name or address by which nodes reach this hub", true, false},
    {"limit", 0, "NAME=VALUE", "sets a limit, may come again; the names are below", false, true},
    {0},
};

static int set(void *limits, const char *name, const char *value)
{
    return hub_limit_set(limits, name, value);
}

static const char *at(void *limits, size_t i, uint32_t *value, const char **what)
{
    return hub_limit_at(i, limits, value, what);
}

void hub_limits_help(FILE *out)
{
    struct hub_limits l;
    uint32_t value;
    const char *what, *name;
    hub_limits_default(&l);
    fputs("\nlimits (login-timeout-s is also set by $WARREN_HUB_LOGIN_TIMEOUT_S, and by `limit = "
          "login-timeout-s=VALUE` in the\n--config file):\n",
          out);
    for (size_t i = 0; (name = hub_limit_at(i, &l, &value, &what)); i++)
        fprintf(out, "  %-22s %10u  %s\n", name, value, what);
}

/* A hub keeps its own directory, so that it can run beside a node of the same user. */
static int hub_state(struct cli *c, char *out, size_t cap)
{
    char dir[PATH_MAX];
    if (c->state)
        return snprintf(out, cap, "%s", c->state) < (int)cap ? 0
                                                             : cli_error(c, "--state: the name is too long");
    if (state_default_dir(dir, sizeof dir) || snprintf(out, cap, "%s/hub", dir) >= (int)cap)
        return cli_error(c, "no home directory to keep state in: name one by --state DIR");
    return 0;
}

int run_hub(struct cli *c, const struct args *a)
{
    char state[PATH_MAX];
    struct hub_options o = {
        .listen = cli_setting(c, a, "listen"),
        .udp = cli_setting(c, a, "udp"),
        .udp2 = cli_setting(c, a, "udp2"),
        .turn = cli_setting(c, a, "turn"),
        .turn_secret = cli_setting(c, a, "turn-secret-file"),
        .cert = cli_setting(c, a, "cert"),
        .key = cli_setting(c, a, "key"),
        .store = cli_setting(c, a, "store"),
        .bus = cli_setting(c, a, "bus"),
        .name = cli_setting(c, a, "name"),
        .state = state,
    };
    if (!o.cert != !o.key)
        return cli_usage(c, "--cert and --key go together");
    hub_limits_default(&o.limits);
    const struct limit_table t = {.group = "HUB", .limits = &o.limits, .set = set, .at = at};
    int rc = cli_limits(c, a, &t);
    if (!rc)
        rc = hub_state(c, state, sizeof state);
    return rc ? rc : hub_serve(&o);
}
