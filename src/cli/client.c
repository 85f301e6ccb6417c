#include "cli/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/output.h"
#include "io/clock.h"
#include "node/state.h"

#define ANSWER_MAX (64u * 1024 * 1024) /* a debug dump of a large party is long */
#define SPIN_MS    120

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(a.sun_path, sizeof a.sun_path, "%s", path) >= sizeof a.sun_path)
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (!connect(fd, (struct sockaddr *)&a, sizeof a))
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

static int open_daemon(struct cli *c)
{
    char path[PATH_MAX];
    int rc = state_socket_path(path, sizeof path, c->state, c->socket);
    int fd = rc ? rc : connect_to(path);
    /* A daemon that was started by sudo serves this user at the system's place. */
    if ((fd == -ENOENT || fd == -ECONNREFUSED) && !c->state && !c->socket && !getenv("WARREN_STATE")) {
        int system = connect_to(STATE_SYSTEM_SOCKET);
        if (system >= 0 || system == -EACCES || system == -EPERM)
            fd = system;
    }
    if (fd >= 0)
        return fd;
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        cli_error(c, "no daemon: start one with `warren up`");
    else if (fd == -EACCES || fd == -EPERM)
        cli_error(c, "the daemon belongs to another user: run as that user, or with sudo");
    else
        cli_error(c, "cannot reach the daemon at %s: %s", path, strerror(-fd));
    return -1;
}

static int send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        p += sent;
        n -= (size_t)sent;
    }
    return 0;
}

static int send_request(int fd, json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t n = text ? strlen(text) : 0;
    int rc = text ? send_all(fd, text, n) : -1;
    if (!rc)
        rc = send_all(fd, "\n", 1);
    if (text)
        explicit_bzero(text, n); /* a join carries an invite */
    free(text);
    return rc;
}

/* The line that says that we wait, on a terminal only and not before a second has passed. */
struct spinner {
    FILE *err;
    const char *what;
    usec_t since;
    unsigned turn;
    bool shown;
};

static void spin(struct spinner *s)
{
    static const char *const mark[] = {"|", "/", "-", "\\"};
    if (!s->what || clock_now() - s->since < SEC)
        return;
    fprintf(s->err, "\r%s %s ... ", mark[s->turn++ % 4], s->what);
    fflush(s->err);
    s->shown = true;
}

static void spin_clear(struct spinner *s)
{
    if (s->shown)
        fprintf(s->err, "\r\033[K");
    s->shown = false;
}

/* Waits for more bytes of the answer. 0, or -1 at its end. */
static int read_more(int fd, struct buf *in, struct spinner *s)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint8_t chunk[16384];
    for (;;) {
        int ready = poll(&p, 1, s->what ? SPIN_MS : -1);
        if (ready < 0 && errno != EINTR)
            return -1;
        if (ready <= 0) {
            spin(s);
            continue;
        }
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        int rc = n > 0 ? buf_add(in, bytes_of(chunk, (size_t)n)) : -1;
        explicit_bzero(chunk, n > 0 ? (size_t)n : 0); /* it may be an invite */
        return rc;
    }
}

/* The next line as JSON, or NULL. */
static json_t *read_answer(int fd, struct buf *in, struct spinner *s)
{
    size_t seen = 0;
    for (;;) {
        const uint8_t *end = in->n > seen ? memchr(in->p + seen, '\n', in->n - seen) : NULL;
        if (end) {
            size_t n = (size_t)(end - in->p);
            json_t *j = json_loadb((const char *)in->p, n, 0, NULL);
            buf_eat(in, n + 1);
            return j;
        }
        seen = in->n;
        if (read_more(fd, in, s))
            return NULL;
    }
}

static int finish(struct cli *c, json_t *answer, json_t **result)
{
    if (json_yes(answer, "ok")) {
        json_t *r = json_object_get(answer, "result");
        *result = r ? json_incref(r) : json_object();
        return 0;
    }
    const char *error = json_text(answer, "error");
    fputs("warren: ", c->err);
    put_escaped(c->err, *error ? error : "the daemon refused without saying why");
    fputc('\n', c->err);
    return 1;
}

static int converse(struct cli *c, int fd, struct spinner *s, client_progress *each, void *arg,
                    json_t **result)
{
    struct buf in;
    buf_init(&in, ANSWER_MAX);
    int rc = -1;
    while (rc < 0) {
        json_t *answer = read_answer(fd, &in, s);
        if (!answer)
            break;
        json_t *progress = json_object_get(answer, "progress");
        spin_clear(s);
        if (!progress)
            rc = finish(c, answer, result);
        else if (each)
            each(c, progress, arg);
        json_decref(answer);
    }
    if (in.p)
        explicit_bzero(in.p, in.cap);
    buf_done(&in);
    return rc < 0 ? cli_error(c, "the daemon closed the connection without an answer") : rc;
}

int client_request(struct cli *c, json_t *request, const char *what, client_progress *each, void *arg,
                   json_t **result)
{
    int fd = request ? open_daemon(c) : cli_error(c, "out of memory") - 2;
    if (fd < 0) {
        json_decref(request);
        return 1;
    }
    struct spinner s = {.err = c->err, .since = clock_now(), .what = is_terminal(c->err) ? what : NULL};
    int rc = send_request(fd, request);
    json_decref(request);
    rc = rc ? cli_error(c, "the daemon closed the connection") : converse(c, fd, &s, each, arg, result);
    spin_clear(&s);
    close(fd);
    return rc;
}

int client_show(struct cli *c, json_t *request, const char *what,
                void (*show)(struct cli *c, const json_t *result))
{
    json_t *result = NULL;
    int rc = client_request(c, request, what, NULL, NULL, &result);
    if (rc)
        return rc;
    if (c->json)
        put_json(c->out, result);
    else
        show(c, result);
    json_decref(result);
    return 0;
}

json_t *client_command(const char *cmd)
{
    return json_pack("{s:s}", "cmd", cmd);
}
