#include "cli/options.h"

#include <stdio.h>
#include <string.h>

const struct option *option_find(const struct option *options, const char *name)
{
    for (const struct option *o = options; o && o->name; o++)
        if (!strcmp(o->name, name))
            return o;
    return NULL;
}

static int keep(struct args *a, const struct option *options, const struct option *o, const char *value,
                const char **why)
{
    if (!o->repeats) {
        a->value[o - options] = value;
        return 1;
    }
    if (a->repeated_count == REPEATED_MAX) {
        *why = "too many of them";
        return -1;
    }
    a->repeated[a->repeated_count++] = value;
    return 1;
}

static int take_value(struct args *a, const struct option *options, const struct option *o, int argc,
                      char **argv, int *i, const char **why)
{
    static char text[100];
    if (*i + 1 < argc)
        return keep(a, options, o, argv[++*i], why);
    snprintf(text, sizeof text, "--%s needs %s", o->name, o->value);
    *why = text;
    return -1;
}

static int take_long(struct args *a, const struct option *options, int argc, char **argv, int *i,
                     const char **why)
{
    static char text[100];
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    for (const struct option *o = options; o && o->name; o++) {
        if (strlen(o->name) != n || strncmp(o->name, name, n))
            continue;
        if (!o->value && equals) {
            snprintf(text, sizeof text, "--%s takes no value", o->name);
            *why = text;
            return -1;
        }
        if (!o->value)
            return keep(a, options, o, "", why);
        return equals ? keep(a, options, o, equals + 1, why) : take_value(a, options, o, argc, argv, i, why);
    }
    return 0;
}

static int take_short(struct args *a, const struct option *options, int argc, char **argv, int *i,
                      const char **why)
{
    const char *s = argv[*i];
    for (const struct option *o = options; o && o->name; o++) {
        if (!o->letter || o->letter != s[1])
            continue;
        if (!o->value)
            return s[2] ? 0 : keep(a, options, o, "", why);
        return s[2] ? keep(a, options, o, s + 2, why) : take_value(a, options, o, argc, argv, i, why);
    }
    return 0;
}

int option_take(struct args *a, const struct option *options, int argc, char **argv, int *i, const char **why)
{
    const char *s = argv[*i];
    if (s[0] != '-' || !s[1])
        return 0;
    a->options = options;
    return s[1] == '-' ? take_long(a, options, argc, argv, i, why)
                       : take_short(a, options, argc, argv, i, why);
}

const char *args_value(const struct args *a, const char *name)
{
    const struct option *o = option_find(a->options, name);
    return o ? a->value[o - a->options] : NULL;
}

bool args_flag(const struct args *a, const char *name)
{
    return args_value(a, name) != NULL;
}
