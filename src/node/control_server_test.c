#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "io/line.h"
#include "node/control_server.h"

#define ASKED_MAX 64

static struct desk {
    uv_loop_t loop;
    struct control_server *server;
    char dir[64], path[100];
    char asked[ASKED_MAX][64];
    uint32_t id[ASKED_MAX];
    int count, gone;
    uint32_t gone_id;
    bool echo; /* answers at once */
} d;

static void on_request(void *arg, uint32_t id, struct bytes json)
{
    struct desk *k = arg;
    assert_true(k->count < ASKED_MAX);
    snprintf(k->asked[k->count], sizeof k->asked[0], "%.*s", (int)json.n, (const char *)json.p);
    k->id[k->count++] = id;
    if (k->echo)
        control_server_reply(k->server, id, json, true);
}

static void on_gone(void *arg, uint32_t id)
{
    struct desk *k = arg;
    k->gone++;
    k->gone_id = id;
}

static const struct control_ops ops = {on_request, on_gone};

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        uv_run(&d.loop, UV_RUN_NOWAIT);
}

static struct control_server *serve(uid_t owner, uid_t starter, char why[CONTROL_WHY_CAP])
{
    struct control_config c = {.loop = &d.loop, .path = d.path, .owner = owner, .starter = starter};
    return control_server_new(&c, &ops, &d, why);
}

static int setup_dir(void **state)
{
    (void)state;
    memset(&d, 0, sizeof d);
    uv_loop_init(&d.loop);
    snprintf(d.dir, sizeof d.dir, "/tmp/warren-control-test.XXXXXX");
    if (!mkdtemp(d.dir))
        return -1;
    snprintf(d.path, sizeof d.path, "%s/control.sock", d.dir);
    return 0;
}

static int setup(void **state)
{
    char why[CONTROL_WHY_CAP] = "";
    if (setup_dir(state))
        return -1;
    d.server = serve(geteuid(), geteuid(), why);
    return d.server ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    control_server_free(d.server);
    turn();
    if (uv_loop_close(&d.loop))
        return -1;
    return nftw(d.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int client(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", d.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    turn();
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    turn();
}

static void hears(int fd, const char *want)
{
    char got[256] = "";
    ssize_t n = read(fd, got, sizeof got - 1);
    assert_int_equal(n, (ssize_t)strlen(want));
    assert_string_equal(got, want);
}

static void hears_nothing(int fd)
{
    char c;
    assert_int_equal(read(fd, &c, 1), -1);
    assert_int_equal(errno, EAGAIN);
}

static void is_closed(int fd)
{
    char c;
    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
}

static void reply(uint32_t id, const char *text, bool final)
{
    control_server_reply(d.server, id, bytes_of_str(text), final);
    turn();
}

static void test_mode_and_removal(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(lstat(d.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    control_server_free(d.server);
    d.server = NULL;
    assert_int_equal(lstat(d.path, &st), -1);
}

static void test_progress_then_answer(void **state)
{
    (void)state;
    int fd = client();
    say(fd, "{\"cmd\":\"pi");
    assert_int_equal(d.count, 0);
    say(fd, "ng\"}\n");
    assert_int_equal(d.count, 1);
    assert_string_equal(d.asked[0], "{\"cmd\":\"ping\"}");
    reply(d.id[0], "{\"progress\":1}", false);
    hears(fd, "{\"progress\":1}\n");
    reply(d.id[0], "{\"ok\":true}", true);
    hears(fd, "{\"ok\":true}\n");
    reply(d.id[0], "too late", true); /* the number is gone */
    hears_nothing(fd);
    close(fd);
    turn();
    assert_int_equal(d.gone, 0);
}

/* Requests of one client take turns; each gets its own number. */
static void test_one_at_a_time(void **state)
{
    (void)state;
    int fd = client();
    say(fd, "one\ntwo\nthree\n");
    assert_int_equal(d.count, 1);
    reply(d.id[0], "1", true);
    assert_int_equal(d.count, 2);
    assert_string_equal(d.asked[1], "two");
    assert_int_not_equal(d.id[0], d.id[1]);
    reply(d.id[0], "not yours", true);
    reply(d.id[1], "2", true);
    reply(d.id[2], "3", true);
    hears(fd, "1\n2\n3\n");
    close(fd);
}

static void test_many_answered_from_inside(void **state)
{
    (void)state;
    d.echo = true;
    int fd = client();
    say(fd, "a\nb\nc\nd\ne\n");
    assert_int_equal(d.count, 5);
    hears(fd, "a\nb\nc\nd\ne\n");
    close(fd);
}

static void test_asker_leaves(void **state)
{
    (void)state;
    int fd = client();
    say(fd, "ping\n");
    close(fd);
    turn();
    assert_int_equal(d.gone, 1);
    assert_int_equal(d.gone_id, d.id[0]);
    reply(d.id[0], "nobody hears it", true);
}

static void test_line_too_long(void **state)
{
    (void)state;
    int fd = client();
    char *text = malloc(LINE_MAX_BYTES + 2);
    assert_non_null(text);
    memset(text, ' ', LINE_MAX_BYTES + 1);
    text[LINE_MAX_BYTES + 1] = 0;
    for (size_t at = 0; at < LINE_MAX_BYTES + 1;) {
        ssize_t n = send(fd, text + at, LINE_MAX_BYTES + 1 - at, MSG_NOSIGNAL);
        if (n < 0)
            break;
        at += (size_t)n;
        turn();
    }
    free(text);
    turn();
    assert_int_equal(d.count, 0);
    is_closed(fd);
}

/* A client that does not read is cut off; the others are served. */
static void test_slow_client(void **state)
{
    (void)state;
    int slow = client(), other = client();
    say(slow, "dump\n");
    char *big = malloc(LINE_MAX_BYTES);
    assert_non_null(big);
    memset(big, 'x', LINE_MAX_BYTES);
    int given = 0;
    while (!d.gone && given < 1000) {
        control_server_reply(d.server, d.id[0], bytes_of(big, LINE_MAX_BYTES), false);
        turn();
        given++;
    }
    free(big);
    assert_int_equal(d.gone, 1);
    assert_in_range(given, CONTROL_QUEUE_MAX / LINE_MAX_BYTES, CONTROL_QUEUE_MAX / LINE_MAX_BYTES + 16);
    say(other, "still here\n");
    assert_int_equal(d.count, 2);
    close(slow);
    close(other);
}

static void test_too_many_clients(void **state)
{
    (void)state;
    int fd[CONTROL_CLIENTS_MAX];
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        fd[i] = client();
    is_closed(client());
    close(fd[3]);
    turn();
    fd[3] = client();
    say(fd[3], "in again\n");
    assert_int_equal(d.count, 1);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        close(fd[i]);
}

static void test_stale_socket(void **state)
{
    (void)state;
    char why[CONTROL_WHY_CAP] = "";
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", d.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd); /* as a daemon that was killed leaves it */
    d.server = serve(geteuid(), geteuid(), why);
    assert_string_equal(why, "");
    assert_non_null(d.server);
    /* A second daemon does not take it away. */
    assert_null(serve(geteuid(), geteuid(), why));
    assert_non_null(strstr(why, "another daemon serves"));
    close(client());
}

static void test_not_a_socket(void **state)
{
    (void)state;
    char why[CONTROL_WHY_CAP] = "";
    FILE *f = fopen(d.path, "w");
    assert_non_null(f);
    fclose(f);
    assert_null(serve(geteuid(), geteuid(), why));
    assert_non_null(strstr(why, "is not a socket"));
    char longer[200];
    snprintf(longer, sizeof longer, "%s/%0110d", d.dir, 0);
    struct control_config c = {.loop = &d.loop, .path = longer, .owner = geteuid(), .starter = geteuid()};
    assert_null(control_server_new(&c, &ops, &d, why));
    assert_non_null(strstr(why, "longer than"));
}

/* The kernel's word counts: somebody who is neither root nor one of the two is sent away though the file let
 * him in. */
static void test_stranger(void **state)
{
    (void)state;
    char why[CONTROL_WHY_CAP] = "";
    if (geteuid() != 0)
        skip(); /* only root can be somebody else */
    d.server = serve(geteuid(), 4711, why);
    assert_non_null(d.server);
    struct stat st;
    assert_int_equal(lstat(d.path, &st), 0);
    assert_int_equal(st.st_uid, 4711); /* so that the one who called sudo gets in */
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(chmod(d.path, 0666), 0);
    assert_int_equal(chmod(d.dir, 0755), 0);
    d.echo = true;
    static const struct {
        uid_t uid;
        bool served;
    } who[] = {{4711, true}, {4712, false}, {0, true}};
    for (size_t i = 0; i < sizeof who / sizeof *who; i++) {
        assert_int_equal(seteuid(who[i].uid), 0);
        int fd = client();
        assert_int_equal(seteuid(0), 0);
        if (!who[i].served) {
            is_closed(fd);
            continue;
        }
        say(fd, "hello\n");
        hears(fd, "hello\n");
        close(fd);
    }
    assert_int_equal(d.count, 2);
}

static void test_starter(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uid_t uid;
    } row[] = {{"1000", true, 1000},    {"0", true, 0},    {"", false, 0},
               {"x", false, 0},         {"10x", false, 0}, {"99999999999", false, 0},
               {"4294967295", false, 0}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        setenv("SUDO_UID", row[i].text, 1);
        assert_int_equal(control_starter(), row[i].good && geteuid() == 0 ? row[i].uid : geteuid());
    }
    unsetenv("SUDO_UID");
    assert_int_equal(control_starter(), geteuid());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mode_and_removal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progress_then_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_answered_from_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asker_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_line_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_client, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_socket, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_socket, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_stranger, setup_dir, teardown),
        cmocka_unit_test(test_starter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
