#include "node/control_server.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "io/line.h"

#define READ_CHUNK 4096

struct client {
    struct control_server *server; /* NULL: closing */
    uv_pipe_t pipe;
    struct line_reader lines;
    uint32_t request; /* unanswered, or 0 */
    bool working;     /* inside next_request */
};

struct control_server {
    uv_pipe_t listener;
    struct control_ops ops;
    void *arg;
    uid_t owner, starter;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    dev_t dev;
    ino_t ino;
    struct client *clients[CONTROL_CLIENTS_MAX];
    uint32_t last_request;
};

struct answer {
    uv_write_t req;
    size_t n;
    char text[];
};

static void client_freed(uv_handle_t *h)
{
    struct client *c = h->data;
    line_done(&c->lines);
    free(c);
}

static void client_close(struct client *c)
{
    struct control_server *s = c->server;
    if (!s)
        return;
    c->server = NULL;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (s->clients[i] == c)
            s->clients[i] = NULL;
    uint32_t request = c->request;
    c->request = 0;
    uv_close((uv_handle_t *)&c->pipe, client_freed);
    if (request)
        s->ops.gone(s->arg, request);
}

static void allocate(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    static char chunk[READ_CHUNK]; /* one loop, one read at a time */
    (void)h, (void)suggested;
    *out = uv_buf_init(chunk, sizeof chunk);
}

/* Takes the next line where none is at work. Reading goes on meanwhile, to notice a client that leaves; the
 * line reader bounds what waits. */
static void next_request(struct client *c)
{
    struct bytes line;
    if (c->working)
        return;
    c->working = true;
    while (c->server && !c->request && line_next(&c->lines, &line)) {
        struct control_server *s = c->server;
        if (!++s->last_request)
            s->last_request = 1;
        c->request = s->last_request;
        s->ops.request(s->arg, c->request, line);
    }
    c->working = false;
}

static void got(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    if (n == 0 || !c->server)
        return;
    int rc = n < 0 ? (int)n : line_feed(&c->lines, bytes_of(buf->base, (size_t)n));
    if (n > 0)
        explicit_bzero(buf->base, (size_t)n);
    if (rc)
        client_close(c);
    else
        next_request(c);
}

static void written(uv_write_t *req, int status)
{
    struct client *c = req->handle->data;
    explicit_bzero(((struct answer *)req)->text, ((struct answer *)req)->n);
    free(req);
    if (status < 0 && c->server)
        client_close(c);
}

static struct client *client_of(struct control_server *s, uint32_t id)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (s->clients[i] && id && s->clients[i]->request == id)
            return s->clients[i];
    return NULL;
}

void control_server_reply(struct control_server *s, uint32_t id, struct bytes json, bool final)
{
    struct client *c = client_of(s, id);
    if (!c)
        return;
    if (final)
        c->request = 0;
    struct answer *a = malloc(sizeof *a + json.n + 1);
    if (!a || uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) + json.n > CONTROL_QUEUE_MAX) {
        free(a);
        client_close(c);
        return;
    }
    a->n = json.n + 1;
    memcpy(a->text, json.p, json.n);
    a->text[json.n] = '\n';
    uv_buf_t b = uv_buf_init(a->text, (unsigned)a->n);
    if (uv_write(&a->req, (uv_stream_t *)&c->pipe, &b, 1, written)) {
        free(a);
        client_close(c);
        return;
    }
    if (final)
        next_request(c);
}

static bool allowed(const struct control_server *s, uv_pipe_t *pipe)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)pipe, &fd) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n))
        return false;
    if (peer.uid == 0 || peer.uid == s->owner || peer.uid == s->starter)
        return true;
    log_event(LOG_WARN, "control-refused", "uid=%u pid=%d", (unsigned)peer.uid, (int)peer.pid);
    return false;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct control_server *s = listener->data;
    struct client *c = status ? NULL : calloc(1, sizeof *c);
    if (!c)
        return;
    uv_pipe_init(listener->loop, &c->pipe, 0);
    c->pipe.data = c;
    line_init(&c->lines);
    size_t slot = 0;
    while (slot < CONTROL_CLIENTS_MAX && s->clients[slot])
        slot++;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) || slot == CONTROL_CLIENTS_MAX ||
        !allowed(s, &c->pipe)) {
        uv_close((uv_handle_t *)&c->pipe, client_freed);
        return;
    }
    c->server = s;
    s->clients[slot] = c;
    uv_read_start((uv_stream_t *)&c->pipe, allocate, got);
}

/* 0: the way is free. A socket that answers belongs to another daemon; one that refuses was left behind. */
static int clear_stale(const struct sockaddr_un *a, char why[CONTROL_WHY_CAP])
{
    struct stat st;
    if (lstat(a->sun_path, &st))
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(why, CONTROL_WHY_CAP, "%s exists and is not a socket: name another one by --socket",
                 a->sun_path);
        return -EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, (const struct sockaddr *)a, sizeof *a) ? -errno : 0;
    close(fd);
    if (rc != -ECONNREFUSED) {
        snprintf(why, CONTROL_WHY_CAP, "another daemon serves %s: name another one by --socket", a->sun_path);
        return -EADDRINUSE;
    }
    return unlink(a->sun_path) && errno != ENOENT ? -errno : 0;
}

/* Only the last directory, and never one in a place that others may write (then it would be there already).
 */
static void make_directory(const char *path)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir)
        return;
    *slash = 0;
    mkdir(dir, 0755);
}

/* Bound with no rights for others from its first moment, then given to who may use it. */
static int bind_socket(struct control_server *s, const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    mode_t before = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)a, sizeof *a) ? -errno : 0;
    umask(before);
    struct stat st;
    if (!rc && s->starter != s->owner && lchown(a->sun_path, s->starter, (gid_t)-1))
        rc = -errno;
    if (!rc && lstat(a->sun_path, &st))
        rc = -errno;
    if (rc) {
        close(fd);
        return rc;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    return fd;
}

static int open_socket(struct control_server *s, const struct control_config *c, char why[CONTROL_WHY_CAP])
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(a.sun_path, sizeof a.sun_path, "%s", c->path) >= sizeof a.sun_path) {
        snprintf(why, CONTROL_WHY_CAP,
                 "the control socket's name is longer than %zu bytes: give a shorter one by --socket",
                 sizeof a.sun_path - 1);
        return -ENAMETOOLONG;
    }
    memcpy(s->path, a.sun_path, sizeof s->path);
    why[0] = 0;
    make_directory(s->path);
    int rc = clear_stale(&a, why);
    int fd = rc ? rc : bind_socket(s, &a);
    if (fd < 0 && !why[0])
        snprintf(why, CONTROL_WHY_CAP, "cannot make the control socket %s: %s", s->path, strerror(-fd));
    return fd;
}

static void listener_closed(uv_handle_t *h)
{
    free(h->data);
}

struct control_server *control_server_new(const struct control_config *c, const struct control_ops *ops,
                                          void *arg, char why[CONTROL_WHY_CAP])
{
    struct control_server *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(why, CONTROL_WHY_CAP, "out of memory");
        return NULL;
    }
    s->ops = *ops;
    s->arg = arg;
    s->owner = c->owner;
    s->starter = c->starter;
    int fd = open_socket(s, c, why);
    if (fd < 0) {
        free(s);
        return NULL;
    }
    uv_pipe_init(c->loop, &s->listener, 0);
    s->listener.data = s;
    int rc = uv_pipe_open(&s->listener, fd);
    if (rc)
        close(fd);
    else
        rc = uv_listen((uv_stream_t *)&s->listener, CONTROL_CLIENTS_MAX, on_connection);
    if (!rc)
        return s;
    snprintf(why, CONTROL_WHY_CAP, "cannot serve the control socket %s: %s", s->path, uv_strerror(rc));
    control_server_free(s);
    return NULL;
}

void control_server_free(struct control_server *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (!s->clients[i])
            continue;
        s->clients[i]->request = 0; /* nobody is told any more */
        client_close(s->clients[i]);
    }
    /* Another daemon may have put its own socket there meanwhile. */
    struct stat st;
    if (!lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
        unlink(s->path);
    uv_close((uv_handle_t *)&s->listener, listener_closed);
}

uid_t control_starter(void)
{
    const char *text = getenv("SUDO_UID");
    char *end;
    if (geteuid() != 0 || !text || !*text)
        return geteuid();
    errno = 0;
    unsigned long uid = strtoul(text, &end, 10);
    return errno || *end || uid > UINT32_MAX - 1 ? geteuid() : (uid_t)uid;
}
