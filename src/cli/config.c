#include "cli/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "io/file.h"

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = 0;
    return s;
}

/* NULL, or what is wrong. Quotes around a value are for values with blanks at their ends. */
static const char *take_line(struct config *c, char *s, bool (*known)(const char *key))
{
    s = trim(s);
    if (!*s || *s == '#')
        return NULL;
    char *equals = strchr(s, '=');
    if (!equals || equals == s)
        return "needs `key = value`";
    *equals = 0;
    char *key = trim(s), *value = trim(equals + 1);
    size_t n = strlen(value);
    if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
        value[n - 1] = 0;
        value++;
    }
    if (!known(key))
        return "there is no such setting";
    if (c->count == CONFIG_LINES_MAX)
        return "too many settings";
    c->line[c->count++] = (struct config_line){key, value};
    return NULL;
}

int config_parse(struct config *c, const char *name, struct bytes text, bool (*known)(const char *key),
                 char why[CONFIG_WHY_CAP])
{
    *c = (struct config){0};
    if (!utf8_valid(text) || memchr(text.p ? (const char *)text.p : "", 0, text.n)) {
        snprintf(why, CONFIG_WHY_CAP, "%s: is not a text file", name);
        return -1;
    }
    c->text = strndup(text.p ? (const char *)text.p : "", text.n);
    if (!c->text) {
        snprintf(why, CONFIG_WHY_CAP, "out of memory");
        return -1;
    }
    unsigned number = 0;
    for (char *s = c->text, *next; s; s = next) {
        next = strchr(s, '\n');
        if (next)
            *next++ = 0;
        number++;
        const char *wrong = take_line(c, s, known);
        if (!wrong)
            continue;
        char shown[160];
        text_escape(shown, sizeof shown, trim(s));
        snprintf(why, CONFIG_WHY_CAP, "%s:%u: %s: %s", name, number, shown, wrong);
        config_done(c);
        return -1;
    }
    return 0;
}

int config_read(struct config *c, const char *path, bool (*known)(const char *key), char why[CONFIG_WHY_CAP])
{
    struct buf text;
    *c = (struct config){0};
    buf_init(&text, CONFIG_MAX);
    int rc = file_read(path, CONFIG_MAX, &text);
    if (rc) {
        snprintf(why, CONFIG_WHY_CAP, "cannot read %s: %s", path, strerror(-rc));
        rc = -1;
    } else {
        rc = config_parse(c, path, buf_bytes(&text), known, why);
    }
    buf_done(&text);
    return rc;
}

const char *config_get(const struct config *c, const char *key)
{
    for (size_t i = c->count; i > 0; i--)
        if (!strcmp(c->line[i - 1].key, key))
            return c->line[i - 1].value;
    return NULL;
}

void config_done(struct config *c)
{
    free(c->text);
    *c = (struct config){0};
}
