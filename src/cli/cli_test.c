#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"

#define ARGS_MAX 12

static struct {
    char *out, *err;
    size_t out_n, err_n;
    char *argv[ARGS_MAX + 1];
} shell;

static void forget(void)
{
    free(shell.out);
    free(shell.err);
    shell.out = shell.err = NULL;
    for (size_t i = 0; i < ARGS_MAX; i++) {
        free(shell.argv[i]);
        shell.argv[i] = NULL;
    }
}

/* Runs one command line (words separated by single blanks) with `input` on its standard input. */
static int sh_in(const char *line, const char *input)
{
    int argc = 0;
    forget();
    char *copy = strdup(line), *save = NULL;
    for (char *w = strtok_r(copy, " ", &save); w && argc < ARGS_MAX; w = strtok_r(NULL, " ", &save))
        shell.argv[argc++] = strdup(w);
    free(copy);
    FILE *in = *input ? fmemopen((void *)input, strlen(input), "r") : fopen("/dev/null", "r");
    FILE *out = open_memstream(&shell.out, &shell.out_n), *err = open_memstream(&shell.err, &shell.err_n);
    assert_true(in && out && err);
    int rc = cli_main(argc, shell.argv, in, out, err);
    fclose(in);
    fclose(out);
    fclose(err);
    return rc;
}

static int sh(const char *line)
{
    return sh_in(line, "");
}

static void says(const char *text, const char *want)
{
    if (!strstr(text, want))
        fail_msg("\"%s\" does not say \"%s\"", text, want);
}

/* ---- the table */

static void test_every_command_explains_itself(void **state)
{
    (void)state;
    char line[100], want[100];
    size_t n = 0;
    for (const struct command *m = cli_commands(); m->name; m++, n++) {
        snprintf(line, sizeof line, "warren help %s", m->name);
        assert_int_equal(sh(line), 0);
        snprintf(want, sizeof want, "usage: warren %s", m->name);
        says(shell.out, want);
        snprintf(want, sizeof want, "warren %s", m->name); /* an example */
        assert_true(strstr(m->text, want) != NULL);
        for (const struct option *o = m->options; o && o->name; o++) {
            snprintf(want, sizeof want, "--%s", o->name);
            says(shell.out, want);
            assert_true(o - m->options < OPTIONS_MAX);
        }
        assert_string_equal(shell.err, "");
        char *by_help = strdup(shell.out);
        snprintf(line, sizeof line, "warren %s --help", m->name);
        assert_int_equal(sh(line), 0);
        assert_string_equal(shell.out, by_help);
        free(by_help);
        assert_int_equal(sh("warren help"), 0);
        says(shell.out, m->summary);
    }
    assert_int_equal(n, 17);
}

static void test_limits_are_listed(void **state)
{
    (void)state;
    assert_int_equal(sh("warren help hub"), 0);
    says(shell.out, "login-timeout-s");
    assert_int_equal(sh("warren help up"), 0);
    says(shell.out, "WARREN_NODE_MTU");
}

static void test_version(void **state)
{
    (void)state;
    assert_int_equal(sh("warren --version"), 0);
    assert_string_equal(shell.out, "warren " WARREN_VERSION "\n");
}

static void test_wrong_use_exits_2(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } row[] = {
        {"warren", "warren help"},
        {"warren stauts", "did you mean `status`?"},
        {"warren hlep", "did you mean `help`?"},
        {"warren pign x", "did you mean `ping`?"},
        {"warren qqqqqqq", "no command `qqqqqqq`"},
        {"warren help nothing", "no command"},
        {"warren status --wach", "did you mean --watch?"},
        {"warren --jsno status", "did you mean --json?"},
        {"warren status -x", "no option -x"},
        {"warren status now", "too much: now"},
        {"warren ping", "needs more"},
        {"warren ping a -c", "--count needs N"},
        {"warren ping a -c 0", "from 1 to"},
        {"warren ping a -c 4x", "from 1 to"},
        {"warren ping a --count=-1", "from 1 to"},
        {"warren ping a -i 1", "milliseconds"},
        {"warren status --watch=1", "takes no value"},
        {"warren --state", "--state needs DIR"},
        {"warren party", "needs more"},
        {"warren party frob", "create, list, log and leave"},
        {"warren party create", "needs a name"},
        {"warren party create x --mode ring", "tap or tun"},
        {"warren party list --mode tap", "go with party create"},
        {"warren party create x --cipher des", "aes-256-gcm, chacha20-poly1305 or any"},
        {"warren party list x", "create, list, log and leave"},
        {"warren invite --uses 0", "from 1 to"},
        {"warren invite --uses many", "from 1 to"},
        {"warren invite --expires tomorrow", "90s, 15m, 24h or 7d"},
        {"warren invite --role admin", "member or guest"},
        {"warren invite --list --qr", "stand alone"},
        {"warren role a king", "owner, admin, member or guest"},
        {"warren role a", "needs more"},
        {"warren debug", "needs more"},
        {"warren debug it", "dump"},
        {"warren join", "no terminal to ask on"},
        {"warren hub --cert x", "go together"},
        {"warren hub --limit nonsense=1", "no limit of that name"},
        {"warren hub --limit ping-s=soon", "not a value"},
        {"warren hub --limit ping-s", "NAME=VALUE"},
        {"warren up --limit nonsense=1", "no limit of that name"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (sh(row[i].line) != EXIT_USAGE)
            fail_msg("%s: exit code is not 2", row[i].line);
        says(shell.err, row[i].says);
        assert_string_equal(shell.out, "");
        assert_ptr_equal(strchr(shell.err, '\n'), shell.err + strlen(shell.err) - 1); /* one line */
    }
}

static void test_failures_exit_1(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } row[] = {
        {"warren --socket /nonexistent/x status", "no daemon: start one with `warren up`"},
        {"warren status --socket=/nonexistent/x", "no daemon"},
        {"warren --state /nonexistent/x peers", "no daemon"},
        {"warren party create x --mode wireguard", "not in this version"},
        {"warren join hello", "not an invite"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_int_equal(sh(row[i].line), 1);
        says(shell.err, row[i].says);
        assert_string_equal(shell.out, "");
    }
    assert_int_equal(sh_in("warren join -", "nonsense\n"), 1);
    says(shell.err, "not an invite");
    assert_int_equal(sh_in("warren join -", ""), 1);
    says(shell.err, "no invite came");
}

/* What strangers wrote does not reach the terminal as it is. */
static void test_errors_are_escaped(void **state)
{
    (void)state;
    assert_int_equal(sh("warren \033[2Jx"), EXIT_USAGE);
    assert_null(strchr(shell.err, '\033'));
    says(shell.err, "\\x1b[2Jx");
}

static void test_invite_leaves_the_arguments(void **state)
{
    (void)state;
    sh("warren --socket /nonexistent/x join warren://secret");
    assert_string_equal(shell.argv[0], "warren");
    assert_string_equal(shell.argv[4], "");
    for (size_t i = 0; i < strlen("warren://secret"); i++)
        assert_int_equal(shell.argv[4][i], 0);
    /* Also where the line is wrong, and never in a message. */
    assert_int_equal(sh("warren join warren://one warren://two"), EXIT_USAGE);
    assert_string_equal(shell.argv[2], "");
    assert_null(strstr(shell.err, "://"));
    assert_int_equal(sh("warren join warren://one --nonsense"), EXIT_USAGE);
    assert_string_equal(shell.argv[2], "");
}

static const char *words(size_t i)
{
    static const char *const list[] = {"status", "ping", "party", NULL};
    return list[i];
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(cli_nearest("statu", words), "status");
    assert_string_equal(cli_nearest("sttaus", words), "status");
    assert_string_equal(cli_nearest("pin", words), "ping");
    assert_string_equal(cli_nearest("prty", words), "party");
    assert_null(cli_nearest("up", words));
    assert_null(cli_nearest("completely-different", words));
    assert_null(cli_nearest("a-word-that-is-much-longer-than-all-of-them", words));
}

/* ---- options and settings */

static const struct option sample[] = {
    {"name", 'n', "N", "", true, false},
    {"many", 0, "M", "", true, true},
    {"flag", 'f', NULL, "", false, false},
    {0},
};

#define W(text) ((char[]){text}) /* arguments may be written to */

static void test_options(void **state)
{
    (void)state;
    char *argv[] = {W("-n"),     W("a"), W("-nb"),      W("--name"), W("c"),      W("--name=d=e"),
                    W("--many"), W("1"), W("--many=2"), W("-f"),     W("--name=")};
    const char *const want[] = {"a", NULL, "b", "c", NULL, "d=e", NULL, NULL, NULL, NULL, ""};
    struct args a = {0};
    const char *why = NULL;
    int argc = sizeof argv / sizeof *argv;
    for (int i = 0; i < argc; i++) {
        int at = i;
        assert_int_equal(option_take(&a, sample, argc, argv, &i, &why), 1);
        if (want[at])
            assert_string_equal(args_value(&a, "name"), want[at]);
    }
    assert_int_equal(a.repeated_count, 2);
    assert_string_equal(a.repeated[1], "2");
    assert_true(args_flag(&a, "flag"));
    char *none[] = {W("-x"), W("--nam"), W("-"), W("word"), W("-fx")};
    for (int i = 0; i < 5; i++) {
        int at = i;
        assert_int_equal(option_take(&a, sample, 5, none, &at, &why), 0);
        assert_int_equal(at, i);
    }
    char *wrong[] = {W("--name")};
    int at = 0;
    assert_int_equal(option_take(&a, sample, 1, wrong, &at, &why), -1);
}

static bool known(const char *key)
{
    return !strcmp(key, "listen") || !strcmp(key, "name") || !strcmp(key, "limit");
}

static void test_config_file(void **state)
{
    (void)state;
    static struct config c;
    char why[CONFIG_WHY_CAP];
    static const char good[] =
        "# comment\n\n listen = :1 \r\nname=\" x \"\nlisten = [::]:2\nlimit = a=b\nname = \"\"";
    assert_int_equal(config_parse(&c, "F", bytes_of_str(good), known, why), 0);
    assert_int_equal(c.count, 5);
    assert_string_equal(config_get(&c, "listen"), "[::]:2"); /* the last one counts */
    assert_string_equal(c.line[1].value, " x ");
    assert_string_equal(config_get(&c, "name"), "");
    assert_string_equal(config_get(&c, "limit"), "a=b");
    assert_null(config_get(&c, "other"));
    config_done(&c);
    assert_int_equal(config_parse(&c, "F", bytes_of("", 0), known, why), 0);
    config_done(&c);
    static const struct {
        const char *text, *why;
        size_t n;
    } bad[] = {
        {"listen = 1\nlisen = 2\n", "F:2: lisen: there is no such setting", 0},
        {"listen\n", "F:1: listen: needs `key = value`", 0},
        {"= x\n", "needs `key = value`", 0},
        {"name = a\0b", "is not a text file", 10},
        {"name = \xff\n", "is not a text file", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t n = bad[i].n ? bad[i].n : strlen(bad[i].text);
        assert_int_equal(config_parse(&c, "F", bytes_of(bad[i].text, n), known, why), -1);
        says(why, bad[i].why);
    }
}

/* Flag before environment before file. */
static void test_precedence(void **state)
{
    (void)state;
    static struct cli c;
    struct args given = {.options = sample}, none = {.options = sample};
    char why[CONFIG_WHY_CAP];
    given.value[0] = "flag";
    unsetenv("WARREN_NAME");
    assert_null(cli_setting(&c, &none, "name"));
    assert_int_equal(config_parse(&c.config, "F", bytes_of_str("name = file\n"), known, why), 0);
    assert_string_equal(cli_setting(&c, &none, "name"), "file");
    setenv("WARREN_NAME", "environment", 1);
    assert_string_equal(cli_setting(&c, &none, "name"), "environment");
    assert_string_equal(cli_setting(&c, &given, "name"), "flag");
    setenv("WARREN_NAME", "", 1); /* empty is not set */
    assert_string_equal(cli_setting(&c, &none, "name"), "file");
    unsetenv("WARREN_NAME");
    config_done(&c.config);
}

static struct {
    uint32_t one, two;
} knobs;

static int knob_set(void *limits, const char *name, const char *value)
{
    (void)limits;
    uint32_t *k = !strcmp(name, "knob-one") ? &knobs.one : !strcmp(name, "knob-two") ? &knobs.two : NULL;
    if (!k)
        return -ENOENT;
    char *end;
    unsigned long v = strtoul(value, &end, 10);
    if (!*value || *end)
        return -EINVAL;
    *k = (uint32_t)v;
    return 0;
}

static const char *knob_at(void *limits, size_t i, uint32_t *value, const char **what)
{
    static const char *const names[] = {"knob-one", "knob-two", NULL};
    (void)limits;
    *value = 0;
    *what = "";
    return names[i];
}

static void test_limit_precedence(void **state)
{
    (void)state;
    static struct cli c;
    struct args none = {.options = sample},
                given = {.options = sample, .repeated = {"knob-one=30"}, .repeated_count = 1};
    const struct limit_table t = {"TEST", NULL, knob_set, knob_at};
    char why[CONFIG_WHY_CAP];
    c.err = fopen("/dev/null", "w");
    assert_int_equal(
        config_parse(&c.config, "F", bytes_of_str("limit = knob-one = 10\nlimit=knob-two=11"), known, why),
        0);
    assert_int_equal(cli_limits(&c, &none, &t), 0);
    assert_int_equal(knobs.one, 10);
    assert_int_equal(knobs.two, 11);
    setenv("WARREN_TEST_KNOB_ONE", "20", 1);
    assert_int_equal(cli_limits(&c, &none, &t), 0);
    assert_int_equal(knobs.one, 20);
    assert_int_equal(knobs.two, 11);
    assert_int_equal(cli_limits(&c, &given, &t), 0);
    assert_int_equal(knobs.one, 30);
    setenv("WARREN_TEST_KNOB_ONE", "lots", 1);
    assert_int_equal(cli_limits(&c, &none, &t), EXIT_USAGE);
    unsetenv("WARREN_TEST_KNOB_ONE");
    config_done(&c.config);
    fclose(c.err);
}

/* ---- output */

static char *table_text(void)
{
    static const char *const titles[] = {"NAME", ">N", NULL};
    char *text = NULL;
    size_t n;
    struct table t;
    FILE *f = open_memstream(&text, &n);
    table_init(&t, titles);
    table_cell(&t, "a\033[31m");
    table_cellf(&t, "%d", 5);
    table_cell(&t, "\xc3\xa4\xc3\xb6\xe2\x80\xae"); /* umlauts, and a direction override */
    table_cell(&t, "12345");
    table_print_all(&t, f, "  ");
    table_done(&t);
    fclose(f);
    return text;
}

static void test_table(void **state)
{
    (void)state;
    char *text = table_text();
    assert_null(strchr(text, '\033'));
    assert_null(strstr(text, "\xe2\x80\xae"));
    /* Every line is as wide as the others, in characters. */
    size_t width = 0;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (width)
            assert_int_equal(text_width(line), width);
        width = text_width(line);
        assert_int_equal(strncmp(line, "  ", 2), 0);
    }
    assert_true(width > 0);
    free(text);
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *want;
    } bytes[] =
        {{0, "0 B"},           {1023, "1023 B"},     {1024, "1.0 KiB"},       {1536, "1.5 KiB"},
         {1048575, "1.0 MiB"}, {1048576, "1.0 MiB"}, {5368709120, "5.0 GiB"}, {UINT64_MAX, "16.0 EiB"}},
      seconds[] = {{0, "0 s"},        {119, "119 s"}, {120, "2 min"},
                   {7199, "119 min"}, {7200, "2 h"},  {172800, "2 d"}};
    char out[32];
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        assert_string_equal(human_bytes(out, bytes[i].n), bytes[i].want);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        assert_string_equal(human_seconds(out, seconds[i].n), seconds[i].want);
}

static void test_qr(void **state)
{
    (void)state;
    for (int color = 0; color < 2; color++) {
        char *text = NULL, *save = NULL;
        size_t n, lines = 0, width = 0;
        FILE *f = open_memstream(&text, &n);
        assert_int_equal(put_qr(f, "warren://example", color), 0);
        fclose(f);
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++)
            width = text_width(line);
        assert_int_equal(lines, (21 + 4 + 4) / 2 -
                                    (21 + 4 + 4) % 2); /* version 1 has 21 modules, and 2 of quiet around */
        if (!color)
            assert_int_equal(width, 25);
        free(text);
    }
    char big[4000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_int_equal(put_qr(stderr, big, false), -1);
}

/* ---- against a daemon that says what it was told to say */

static struct {
    int listener;
    char dir[64], path[100], asked[4096];
    const char *answers, *then; /* then: of a second connection, or NULL */
    pthread_t thread;
} fake;

static void serve_one(const char *answers)
{
    int fd = accept(fake.listener, NULL, NULL);
    size_t n = 0;
    while (n < sizeof fake.asked - 1 && !memchr(fake.asked, '\n', n)) {
        ssize_t got = read(fd, fake.asked + n, sizeof fake.asked - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    fake.asked[n] = 0;
    send(fd, answers, strlen(answers), MSG_NOSIGNAL);
    close(fd);
}

static void *serve(void *arg)
{
    (void)arg;
    serve_one(fake.answers);
    if (fake.then)
        serve_one(fake.then);
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(fake.dir, sizeof fake.dir, "/tmp/warren-cli-test.XXXXXX");
    if (!mkdtemp(fake.dir))
        return -1;
    snprintf(fake.path, sizeof fake.path, "%s/s", fake.dir);
    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", fake.path);
    fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(fake.listener, (struct sockaddr *)&a, sizeof a) || listen(fake.listener, 4);
}

static int teardown(void **state)
{
    (void)state;
    close(fake.listener);
    unlink(fake.path);
    return rmdir(fake.dir);
}

/* `rest` is the command line behind "warren --socket PATH". */
static int with_daemon(const char *rest, const char *input, const char *answers)
{
    char line[300];
    fake.answers = answers;
    snprintf(line, sizeof line, "warren --socket %s %s", fake.path, rest);
    assert_int_equal(pthread_create(&fake.thread, NULL, serve, NULL), 0);
    int rc = sh_in(line, input);
    pthread_join(fake.thread, NULL);
    return rc;
}

/* The request as the daemon got it has these members and no others. */
static void asked(const char *want)
{
    json_t *got = json_loads(fake.asked, 0, NULL), *need = json_loads(want, 0, NULL);
    assert_true(got && need);
    if (!json_equal(got, need))
        fail_msg("asked %s, not %s", fake.asked, want);
    json_decref(got);
    json_decref(need);
}

#define OK "{\"ok\":true,\"result\":{}}\n"

static void test_requests(void **state)
{
    (void)state;
    static const struct {
        const char *line, *request;
    } row[] = {
        {"status", "{\"cmd\":\"status\"}"},
        {"peers", "{\"cmd\":\"peers\"}"},
        {"id", "{\"cmd\":\"id\"}"},
        {"metrics", "{\"cmd\":\"metrics\"}"},
        {"debug dump", "{\"cmd\":\"debug-dump\"}"},
        {"netcheck", "{\"cmd\":\"netcheck\"}"},
        {"party list", "{\"cmd\":\"party-list\"}"},
        {"party log", "{\"cmd\":\"party-log\"}"},
        {"party log home", "{\"cmd\":\"party-log\",\"party\":\"home\"}"},
        {"party leave home", "{\"cmd\":\"party-leave\",\"party\":\"home\"}"},
        {"party create home", "{\"cmd\":\"party-create\",\"name\":\"home\",\"mode\":\"tap\"}"},
        {"party create a --mode tun --net 10.9.0.0/16 --cipher chacha20-poly1305",
         "{\"cmd\":\"party-create\",\"name\":\"a\",\"mode\":\"tun\",\"net\":\"10.9.0.0/16\",\"ciphers\":2}"},
        {"invite", "{\"cmd\":\"invite\",\"uses\":1,\"expires_s\":86400,\"role\":\"member\"}"},
        {"invite home --uses 3 --expires 15m --role guest",
         "{\"cmd\":\"invite\",\"party\":\"home\",\"uses\":3,\"expires_s\":900,\"role\":\"guest\"}"},
        {"invite --list", "{\"cmd\":\"invite-list\"}"},
        {"invite --revoke abc", "{\"cmd\":\"invite-revoke\",\"id\":\"abc\"}"},
        {"kick anna", "{\"cmd\":\"kick\",\"peer\":\"anna\"}"},
        {"kick anna --party home", "{\"cmd\":\"kick\",\"peer\":\"anna\",\"party\":\"home\"}"},
        {"role anna admin", "{\"cmd\":\"role\",\"peer\":\"anna\",\"role\":\"admin\"}"},
        {"rename attic", "{\"cmd\":\"rename\",\"name\":\"attic\"}"},
        {"rename attic --peer x --party home",
         "{\"cmd\":\"rename\",\"name\":\"attic\",\"peer\":\"x\",\"party\":\"home\"}"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_int_equal(with_daemon(row[i].line, "", OK), 0);
        asked(row[i].request);
        assert_null(strstr(shell.err, "warren: "));
    }
}

static void test_answers(void **state)
{
    (void)state;
    assert_int_equal(with_daemon("party create x", "",
                                 "{\"ok\":true,\"result\":{\"party\":\"x\",\"party_id\":\"abc\"}}\n"),
                     0);
    assert_string_equal(shell.out, "abc\n"); /* just the thing made */
    assert_int_equal(with_daemon("invite", "", "{\"ok\":true,\"result\":{\"invite\":\"warren://h/p#s\"}}\n"),
                     0);
    assert_string_equal(shell.out, "warren://h/p#s\n");
    assert_int_equal(with_daemon("--json id", "", "{\"ok\":true,\"result\":{\"name\":\"\xc3\xa4\"}}\n"), 0);
    assert_string_equal(shell.out, "{\n  \"name\": \"\\u00E4\"\n}\n");
    assert_int_equal(
        with_daemon("kick x", "", "{\"ok\":false,\"error\":\"nobody\\u001b[1m here\",\"code\":\"c\"}\n"), 1);
    assert_string_equal(shell.err, "warren: nobody\\x1b[1m here\n");
    assert_string_equal(shell.out, "");
    static const char *const broken[] = {"", "{\"ok\":tr", "rubbish\n", "{\"progress\":{}}\n"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_int_equal(with_daemon("id", "", broken[i]), 1);
        says(shell.err, "without an answer");
    }
}

static void test_ping_output(void **state)
{
    (void)state;
    static const char answers[] = "{\"progress\":{\"seq\":1,\"rtt_ms\":1.5,\"path\":\"ws-relay\"}}\n"
                                  "{\"progress\":{\"seq\":2,\"rtt_ms\":null}}\n"
                                  "{\"ok\":true,\"result\":{\"sent\":2,\"received\":1,\"rtt_min_ms\":1.5,"
                                  "\"rtt_avg_ms\":1.5,\"rtt_max_ms\":1.5}}\n";
    assert_int_equal(with_daemon("ping anna -c 2 -i 50", "", answers), 0);
    asked("{\"cmd\":\"ping\",\"peer\":\"anna\",\"count\":2,\"interval_ms\":50}");
    assert_string_equal(shell.out, "seq 1  1.5 ms  by ws-relay\nseq 2  no answer\n"
                                   "2 sent, 1 answered, 50% lost, min/avg/max 1.5/1.5/1.5 ms\n");
    assert_int_equal(with_daemon("ping anna", "", "{\"ok\":true,\"result\":{\"sent\":4,\"received\":0}}\n"),
                     1);
}

/* A relay turns into a direct path, and that into another one. */
static void test_ping_shows_changes(void **state)
{
    (void)state;
    static const char answers[] =
        "{\"progress\":{\"seq\":1,\"rtt_ms\":40,\"path\":\"ws-relay\",\"endpoint\":\"hub:443\",\"path_after_"
        "ms\":0}}\n"
        "{\"progress\":{\"seq\":2,\"timeout\":true,\"rtt_ms\":null,\"path\":\"none\",\"endpoint\":null}}\n"
        "{\"progress\":{\"seq\":3,\"rtt_ms\":20,\"path\":\"udp\",\"endpoint\":\"192.0.2.7:41641\","
        "\"path_after_ms\":280.5}}\n"
        "{\"progress\":{\"seq\":4,\"rtt_ms\":20,\"path\":\"udp\",\"endpoint\":\"192.0.2.7:41641\","
        "\"path_after_ms\":280.5}}\n"
        "{\"progress\":{\"seq\":5,\"rtt_ms\":21,\"path\":\"udp\",\"endpoint\":\"[2001:db8::1]:9\"}}\n"
        "{\"ok\":true,\"result\":{\"sent\":5,\"received\":4,\"rtt_min_ms\":20,\"rtt_avg_ms\":25.25,"
        "\"rtt_max_ms\":40}}\n";
    assert_int_equal(with_daemon("ping anna -c 5", "", answers), 0);
    assert_string_equal(shell.out, "seq 1  40.0 ms  by ws-relay hub:443\n"
                                   "seq 2  no answer\n"
                                   "path changed: ws-relay -> udp 192.0.2.7:41641 (after 0.28 s)\n"
                                   "seq 3  20.0 ms  by udp 192.0.2.7:41641\n"
                                   "seq 4  20.0 ms  by udp 192.0.2.7:41641\n"
                                   "path changed: udp -> udp [2001:db8::1]:9\n"
                                   "seq 5  21.0 ms  by udp [2001:db8::1]:9\n"
                                   "5 sent, 4 answered, 20% lost, min/avg/max 20.0/25.2/40.0 ms\n");
    assert_int_equal(with_daemon("--json ping anna -c 5", "", answers), 0);
    assert_null(strstr(shell.out, "changed"));
    says(shell.out, "\"path_after_ms\":280.5");
}

static void test_netcheck_output(void **state)
{
    (void)state;
    static const char answer[] =
        "{\"ok\":true,\"result\":{\"hub\":{\"url\":\"https://h:443\",\"connected\":true,\"reachable\":true,"
        "\"rtt_ms\":20,\"udp_relay\":\"bound at 198.51.100.1:7\"},\"tcp\":{\"port\":443,\"reachable\":true},"
        "\"udp\":{\"ipv4\":true,\"ipv6\":null},"
        "\"ipv4\":{\"mapped\":\"198.51.100.1:7\",\"mapping\":\"endpoint-independent\",\"filtering\":null,"
        "\"ports\":\"sequential\",\"port_delta\":2,\"hairpin\":false,\"lifetime_s\":90,\"text\":\"a NAT.\"},"
        "\"ipv6\":{\"mapped\":null,\"text\":\"IPv6: this machine has no address for it.\"},"
        "\"addresses\":[{\"address\":\"10.0.0.2:7\",\"kind\":\"own\"},"
        "{\"address\":\"198.51.100.1:7\",\"kind\":\"outside\"}],"
        "\"port_mapping\":{\"udp\":\"udp: no answer\",\"tcp\":\"tcp: no answer\"},\"tcp_listener\":8443,"
        "\"turn\":\"the hub names no TURN server\",\"relays\":[{\"name\":\"h:443\",\"kind\":\"udp-relay\","
        "\"rtt_ms\":12.5},{\"name\":\"h:443\",\"kind\":\"ws-relay\",\"rtt_ms\":20}],"
        "\"ciphers\":{\"prefer\":\"a\",\"ns_per_packet\":{\"a\":310,\"b\":920,\"c\":null}},"
        "\"text\":\"All \\u001b[1mis well.\"}}\n";
    assert_int_equal(with_daemon("netcheck", "", answer), 0);
    assert_string_equal(
        shell.out,
        "hub           https://h:443  answers in 20.0 ms\n"
        "TCP           port 443 of the hub answers\n"
        "UDP relay     bound at 198.51.100.1:7\n"
        "TURN          the hub names no TURN server\n"
        "UDP           IPv4 works, IPv6 not known\n"
        "IPv4          a NAT.\n"
        "              outside 198.51.100.1:7; mapping endpoint-independent, filtering not known, ports "
        "sequential (+2), hairpin no, an idle mapping lives at least 90 s\n"
        "IPv6          IPv6: this machine has no address for it.\n"
        "addresses     10.0.0.2:7 (own), 198.51.100.1:7 (outside)\n"
        "port mapping  udp: no answer\n"
        "              tcp: no answer\n"
        "TLS listener  port 8443\n"
        "relays        h:443 udp-relay 12.5 ms, h:443 ws-relay 20.0 ms\n"
        "cipher        a (a packet: a 0.31 us, b 0.92 us)\n\nAll \\x1b[1mis well.\n");
    static const char nothing[] =
        "{\"ok\":true,\"result\":{\"hub\":{\"url\":null,\"connected\":false},\"text\":\"No hub.\"}}\n";
    assert_int_equal(with_daemon("netcheck", "", nothing), 0);
    says(shell.out, "hub           none yet\n");
    says(shell.out, "UDP           IPv4 not known, IPv6 not known\n");
    says(shell.out, "relays        none\n");
    says(shell.out, "\nNo hub.\n");
    assert_int_equal(with_daemon("netcheck", "", OK), 0);
}

static void test_log_comes_in_parts(void **state)
{
    (void)state;
    static const char more[] =
        "{\"ok\":true,\"result\":{\"party\":\"home\",\"entries\":[{\"seq\":0}],\"more\":true}}\n";
    fake.then = "{\"ok\":true,\"result\":{\"party\":\"home\",\"entries\":[{\"seq\":1}],\"more\":false}}\n";
    assert_int_equal(with_daemon("--json party log home", "", more), 0);
    fake.then = NULL;
    asked("{\"cmd\":\"party-log\",\"party\":\"home\",\"since\":1}");
    json_t *whole = json_loads(shell.out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(whole, "entries")), 2);
    assert_null(json_object_get(whole, "more"));
    json_decref(whole);
    static const char all[] = "{\"ok\":true,\"result\":{\"party\":\"home\",\"more\":false,\"entries\":["
                              "{\"seq\":0,\"type\":\"genesis\",\"time\":86400,\"author\":\"wn-aaa\",\"name\":"
                              "\"home\",\"mode\":\"tap\"},"
                              "{\"seq\":1,\"type\":\"admit\",\"time\":86401,\"author\":\"wn-inv\",\"node\":"
                              "\"wn-bbb\",\"name\":\"bo\\u001bb\",\"role\":\"member\"},"
                              "{\"seq\":2,\"type\":\"role\",\"time\":86402,\"author\":\"wn-aaa\",\"node\":"
                              "\"wn-bbb\",\"role\":\"admin\"}]}}\n";
    assert_int_equal(with_daemon("party log", "", all), 0);
    assert_string_equal(shell.out, "0  1970-01-02 00:00:00  genesis  wn-aaa     name home, tap\n"
                                   "1  1970-01-02 00:00:01  admit    an invite  bo\\x1bb, member\n"
                                   "2  1970-01-02 00:00:02  role     wn-aaa     bo\\x1bb, admin\n");
}

static void test_status_output(void **state)
{
    (void)state;
    static const char answer[] = "{\"ok\":true,\"result\":{\"node\":\"wn-abc\",\"name\":\"me\",\"hub\":{"
                                 "\"url\":\"https://h:1\",\"connected\":true,\"rtt_ms\":2.25},"
                                 "\"parties\":[{\"id\":\"p\",\"name\":\"home\\u202e\",\"mode\":\"tap\","
                                 "\"device\":\"warren0\",\"ip\":\"10.1.2.3\",\"mtu\":1380,"
                                 "\"peers\":[{\"name\":\"anna\",\"ip\":\"10.1.9.9\",\"role\":\"member\","
                                 "\"state\":\"connected\",\"path\":\"ws-relay\","
                                 "\"rtt_ms\":12,\"loss\":0.25,\"tx_bytes\":2048,\"rx_bytes\":0}]}]}}\n";
    assert_int_equal(with_daemon("status", "", answer), 0);
    static const char *const want[] = {"me  wn-abc", "https://h:1  connected, 2.2 ms",
                                       "home",       "warren0",
                                       "mtu 1380",   "anna",
                                       "25%",        "2.0 KiB",
                                       "ws-relay"};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        says(shell.out, want[i]);
    assert_null(strstr(shell.out, "\xe2\x80\xae"));
    static const char two[] =
        "{\"ok\":true,\"result\":{\"parties\":[{\"name\":\"home\",\"peers\":["
        "{\"name\":\"anna\",\"why\":\"on the relay: x\\u001b\",\"tried\":[\"UDP, round 1\"],\"paths\":["
        "{\"path\":\"ws-relay\",\"endpoint\":\"h:1\",\"alive\":true,\"rtt_ms\":12,\"loss\":0.5,\"mtu\":65535}"
        "]},"
        "{\"name\":\"ben\",\"why\":\"on the relay: x\\u001b\"},"
        "{\"name\":\"cleo\",\"why\":\"direct\"}]}]}}\n";
    assert_int_equal(with_daemon("status", "", two), 0);
    says(shell.out, "  anna, ben: on the relay: x\\x1b\n  cleo: direct\n");
    assert_null(strstr(shell.out, "tried"));
    assert_int_equal(with_daemon("-v status", "", two), 0);
    says(shell.out, "x\\x1b\n    path ws-relay h:1  alive, 12.0 ms, 50% lost, mtu 65535\n"
                    "    tried UDP, round 1\n  cleo: direct\n");
    assert_int_equal(with_daemon("status", "", OK), 0); /* of another version: nothing to say is no crash */
    says(shell.out, "no parties");
}

int main(void)
{
    static const char *const clean[] = {"WARREN_STATE", "WARREN_SOCKET", "WARREN_CONFIG",
                                        "WARREN_LIMIT", "WARREN_HUB",    "WARREN_NAME"};
    for (size_t i = 0; i < sizeof clean / sizeof *clean; i++)
        unsetenv(clean[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_explains_itself),
        cmocka_unit_test(test_limits_are_listed),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_wrong_use_exits_2),
        cmocka_unit_test(test_failures_exit_1),
        cmocka_unit_test(test_errors_are_escaped),
        cmocka_unit_test(test_invite_leaves_the_arguments),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_config_file),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_limit_precedence),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_qr),
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ping_output, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ping_shows_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_netcheck_output, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_comes_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_output, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    forget();
    return failed;
}
