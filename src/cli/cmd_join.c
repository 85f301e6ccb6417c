#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"
#include "crypto/secret.h"
#include "wire/invite.h"

static void show_joined(struct cli *c, const json_t *r)
{
    char name[4 * NAME_CAP];
    const char *device = json_text(r, "device"), *ip = json_text(r, "ip");
    text_escape(name, sizeof name, json_text(r, "party"));
    fprintf(c->out, "joined %s", name);
    if (*ip) {
        fputs(" as ", c->out);
        put_escaped(c->out, ip);
    }
    if (*device) {
        fputs(" on ", c->out);
        put_escaped(c->out, device);
    }
    fputc('\n', c->out);
}

static void show_progress(struct cli *c, const json_t *progress, void *arg)
{
    const char *text = json_text(progress, "text");
    (void)arg;
    if (!*text || c->verbosity < 0 || !is_terminal(c->err))
        return;
    put_escaped(c->err, text);
    fputc('\n', c->err);
}

/* A line of the input, without its end. 0 or an exit code. */
static int read_invite(struct cli *c, char *out, size_t cap)
{
    if (!fgets(out, (int)cap, c->in))
        return cli_error(c, "no invite came");
    if (!strchr(out, '\n') && !feof(c->in)) {
        wipe(out, cap);
        return cli_error(c, "%s", invite_error_text(INVITE_TOO_LONG));
    }
    return 0;
}

static int ask(struct cli *c, char *out, size_t cap)
{
    if (!is_terminal(c->in))
        return cli_usage(c, "no terminal to ask on: give the invite, or - to read it from standard input");
    fputs("invite: ", c->err);
    fflush(c->err);
    return read_invite(c, out, cap);
}

static int send_join(struct cli *c, const char *text)
{
    struct invite inv;
    enum invite_error e = invite_read(&inv, text);
    wipe(&inv, sizeof inv);
    if (e != INVITE_OK)
        return cli_error(c, "%s", invite_error_text(e));
    json_t *q = client_command("join"), *result = NULL;
    json_object_set_new(q, "invite", json_string(text));
    int rc = client_request(c, q, "joining", show_progress, NULL, &result);
    if (rc)
        return rc;
    if (c->json)
        put_json(c->out, result);
    else
        show_joined(c, result);
    json_decref(result);
    return 0;
}

/* Blanks around an invite come from copying it. */
static char *trimmed(char *s)
{
    s += strspn(s, " \t\r\n");
    size_t n = strlen(s);
    while (n && strchr(" \t\r\n", s[n - 1]))
        s[--n] = 0;
    return s;
}

int run_join(struct cli *c, const struct args *a)
{
    char text[INVITE_TEXT_MAX + 64] = "";
    int rc = 0;
    if (c->secret)
        rc = snprintf(text, sizeof text, "%s", c->secret) >= (int)sizeof text
                 ? cli_error(c, "%s", invite_error_text(INVITE_TOO_LONG))
                 : 0;
    else if (a->words)
        rc = read_invite(c, text, sizeof text);
    else
        rc = ask(c, text, sizeof text);
    if (!rc)
        rc = send_join(c, trimmed(text));
    wipe(text, sizeof text);
    return rc;
}
