#include "cli/cli.h"
#include "node/daemon.h"

const struct option up_options[] = {
    {"hub", 0, "URL", "the hub, as `warren hub` printed it (default: the last one)", true, false},
    {"name", 0, "NAME", "what other members call this machine (default: the host's name)", true, false},
    {"device", 0, "none|NAME", "no network devices, or the name of the first (default warren0)", true, false},
    {"port", 0, "N", "UDP and TCP port for direct paths (default: a random one)", true, false},
    {"no-direct", 0, NULL, "everything goes over the hub", false, false},
    {"no-port-mapping", 0, NULL, "the router is not asked for a port", false, false},
    {"no-lan-discovery", 0, NULL, "members on this LAN are not looked for", false, false},
    {"relay-for-members", 0, NULL, "members of your parties may send through this node", false, false},
    {"limit", 0, "NAME=VALUE", "sets a limit, may come again; the names are below", false, true},
    {0},
};

static int set(void *limits, const char *name, const char *value)
{
    return node_limit_set(limits, name, value);
}

static const char *at(void *limits, size_t i, uint32_t *value, const char **what)
{
    return node_limit_at(i, limits, value, what);
}

void up_limits_help(FILE *out)
{
    struct node_limits l;
    uint32_t value;
    const char *what, *name;
    node_limits_default(&l);
    fputs(
        "\nlimits (mtu is also set by $WARREN_NODE_MTU, and by `limit = mtu=VALUE` in the --config file):\n",
        out);
    for (size_t i = 0; (name = node_limit_at(i, &l, &value, &what)); i++)
        fprintf(out, "  %-22s %10u  %s\n", name, value, what);
}

/* Options that are limits by another name; they have the last word. */
static int options_as_limits(struct cli *c, const struct args *a, struct node_limits *l)
{
    static const struct {
        const char *option, *limit, *value;
    } flags[] = {{"no-direct", "direct", "0"},
                 {"no-port-mapping", "port-mapping", "0"},
                 {"no-lan-discovery", "lan-discovery", "0"},
                 {"relay-for-members", "relay-for-members", "1"}};
    const char *port = cli_setting(c, a, "port");
    if (port && node_limit_set(l, "port", port))
        return cli_usage(c, "--port needs a number from 1 to 65535, or 0 for a random one");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (args_flag(a, flags[i].option) && node_limit_set(l, flags[i].limit, flags[i].value))
            return cli_error(c, "--%s cannot be set", flags[i].option);
    return 0;
}

int run_up(struct cli *c, const struct args *a)
{
    struct node_options o = {
        .state = c->state,
        .socket = c->socket,
        .hub = cli_setting(c, a, "hub"),
        .name = cli_setting(c, a, "name"),
        .device = cli_setting(c, a, "device"),
    };
    node_limits_default(&o.limits);
    const struct limit_table t = {.group = "NODE", .limits = &o.limits, .set = set, .at = at};
    int rc = cli_limits(c, a, &t);
    if (!rc)
        rc = options_as_limits(c, a, &o.limits);
    return rc ? rc : node_run(&o);
}
