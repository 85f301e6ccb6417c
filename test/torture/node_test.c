/* A node when memory fails: one of two members of a party, its neighbour and the hub well. Whatever was lost,
 * when there is memory again it is connected and its LAN works; a request is answered, or can be made again.
 */
#include "torture.h"

#include "node/engine.h"

/* The node that is ill; the harness's own memory and the others' never fail. */
static struct node *ill;

static void sick_on(const struct node *n)
{
    if (n && n == ill)
        torture_on();
}

static void sick_off(const struct node *n)
{
    if (n && n == ill)
        torture_off();
}

static void sick_hub_up(struct node *n, const uint8_t binding[32], usec_t now)
{
    sick_on(n);
    node_hub_up(n, binding, now);
    sick_off(n);
}

static void sick_hub_text(struct node *n, struct bytes text, usec_t now)
{
    sick_on(n);
    node_hub_text(n, text, now);
    sick_off(n);
}

static void sick_hub_binary(struct node *n, uint8_t *message, size_t len, usec_t now)
{
    sick_on(n);
    node_hub_binary(n, message, len, now);
    sick_off(n);
}

static void sick_hub_down(struct node *n, const char *why, usec_t now)
{
    sick_on(n);
    node_hub_down(n, why, now);
    sick_off(n);
}

static bool sick_hub_take(struct node *n, struct buf *out, bool *binary, usec_t now)
{
    sick_on(n);
    bool took = node_hub_take(n, out, binary, now);
    sick_off(n);
    return took;
}

static void sick_device_frame(struct node *n, uint32_t party_ref, uint8_t *p, size_t len, usec_t now)
{
    sick_on(n);
    node_device_frame(n, party_ref, p, len, now);
    sick_off(n);
}

static void sick_device_opened(struct node *n, uint32_t party_ref, const char *name, const char *error,
                               usec_t now)
{
    sick_on(n);
    node_device_opened(n, party_ref, name, error, now);
    sick_off(n);
}

static void sick_request(struct node *n, uint32_t id, struct bytes json, usec_t now)
{
    sick_on(n);
    node_request(n, id, json, now);
    sick_off(n);
}

static bool sick_output(struct node *n, usec_t now, struct node_out *out)
{
    sick_on(n);
    bool more = node_output(n, now, out);
    sick_off(n);
    return more;
}

static void sick_tick(struct node *n, usec_t now)
{
    sick_on(n);
    node_tick(n, now);
    sick_off(n);
}

#define node_hub_up        sick_hub_up
#define node_hub_text      sick_hub_text
#define node_hub_binary    sick_hub_binary
#define node_hub_down      sick_hub_down
#define node_hub_take      sick_hub_take
#define node_device_frame  sick_device_frame
#define node_device_opened sick_device_opened
#define node_request       sick_request
#define node_output        sick_output
#define node_tick          sick_tick
#include "node/engine_harness.h"

static struct lab *lab;
static char invite[INVITE_TEXT_MAX + 1], join_text[INVITE_TEXT_MAX + 64];

/* Asks without the demand that an answer comes; the answer stays the host's. NULL: none in 60 s. */
static json_t *ask_ill(int i, const char *json)
{
    struct host *h = &lab->hosts[i];
    usec_t until = lab->now + 60 * SEC;
    json_decref(h->replies);
    h->replies = json_array();
    h->final = false;
    h->awaited = ++h->request;
    node_request(h->n, h->awaited, bytes_of_str(json), lab->now);
    lab_settle(lab);
    while (!h->final && lab->now < until)
        lab_step(lab, until);
    return h->final ? json_array_get(h->replies, json_array_size(h->replies) - 1) : NULL;
}

static bool is_ok(const json_t *answer)
{
    return answer && json_is_true(json_object_get(answer, "ok"));
}

static size_t party_count_of(int i)
{
    return json_array_size(json_object_get(ask_ok(lab, i, "{\"cmd\":\"status\"}"), "parties"));
}

/* Both see each other and a frame gets through in both directions. */
static void lan_works(void)
{
    torture_heal();
    lab_run(lab, 120 * SEC);
    assert_true(peer_is(lab, 0, "ben", "connected"));
    assert_true(peer_is(lab, 1, "anna", "connected"));
    for (int i = 0; i < 2; i++) {
        lab->hosts[!i].frame_count = 0;
        send_frame(lab, i, !i, 0, 0x77, 100);
        lab_run(lab, SEC);
        assert_int_equal(frames_of(&lab->hosts[!i], 0x77), 1);
    }
}

static void lab_end(void)
{
    ill = NULL;
    lab_free(lab);
    lab = NULL;
}

/* ---- stories ---- */

static void births(void)
{
    lab = lab_new(3);
    struct node_config c = host_config(lab, 0);
    torture_on();
    lab->hosts[0].n = node_new(&c, lab->now);
    torture_off();
    assert_true(lab->hosts[0].n || torture_hit());
    lab_end();
}

/* A saved party is loaded whole or refused with a reason. */
static void loads(void)
{
    const char *why = NULL;
    lab = lab_new(4);
    lab_party(lab, 2);
    host_kill(lab, 1);
    struct node_config c = host_config(lab, 1);
    struct lab_file *file = NULL;
    for (int f = 0; f < LAB_FILES; f++)
        if (strncmp(lab->hosts[1].files[f].name, "party-", 6) == 0)
            file = &lab->hosts[1].files[f];
    assert_non_null(file);
    c.have_hub = true;
    c.hub = lab_hub_address(0);
    lab->hosts[1].n = node_new(&c, lab->now);
    assert_non_null(lab->hosts[1].n);
    torture_on();
    int rc = node_load_party(lab->hosts[1].n, file->name, lab->now, &why);
    torture_off();
    torture_heal();
    if (rc < 0) {
        assert_true(torture_hit());
        assert_non_null(why);
        assert_int_equal(node_load_party(lab->hosts[1].n, file->name, lab->now, &why), 0);
    }
    node_start(lab->hosts[1].n, lab->now);
    lan_works();
    lab_end();
}

/* The link breaks and is made again, sessions are opened, frames flow: all of it ill. */
static void days(void)
{
    lab = lab_new(5);
    lab_party(lab, 2);
    ill = lab->hosts[1].n;
    host_disconnect(lab, 1, "connection reset");
    lab_run(lab, 5 * SEC);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++)
            send_frame(lab, i, !i, 0, 0x55, 100);
        lab_run(lab, 2 * SEC);
    }
    lan_works();
    lab_end();
}

static void joins(void)
{
    lab = lab_new(6);
    host_up(lab, 0, 0);
    ask_ok(lab, 0, "{\"cmd\":\"party-create\",\"name\":\"lan\"}");
    lab_invite(lab, 0, ",\"uses\":100", invite);
    host_up(lab, 1, -1);
    ill = lab->hosts[1].n;
    json_t *answer = ask_ill(1, join_request(join_text, invite));
    assert_true(is_ok(answer) || torture_hit());
    torture_heal();
    lab_run(lab, 60 * SEC);
    if (party_count_of(1) == 0)
        ask_ok(lab, 1, join_text);
    lan_works();
    lab_end();
}

static void creates(void)
{
    lab = lab_new(7);
    host_up(lab, 1, 0);
    ill = lab->hosts[1].n;
    json_t *answer = ask_ill(1, "{\"cmd\":\"party-create\",\"name\":\"lan\"}");
    bool made = is_ok(answer);
    assert_true(made || torture_hit());
    torture_heal();
    lab_run(lab, 60 * SEC);
    if (made)
        assert_int_equal(party_count_of(1), 1);
    else if (party_count_of(1) == 0)
        ask_ok(lab, 1, "{\"cmd\":\"party-create\",\"name\":\"lan\"}");
    lab_invite(lab, 1, ",\"uses\":100", invite);
    host_up(lab, 0, -1);
    ask_ok(lab, 0, join_request(join_text, invite));
    lan_works();
    lab_end();
}

/* ---- the tests ---- */

static void test_birth(void **state)
{
    torture("node_new", TORTURE_MEMORY, 1, births);
    torture("node_load_party", TORTURE_MEMORY, 3, loads);
}

static void test_day(void **state)
{
    torture("a day with a broken link", TORTURE_MEMORY, 12, days);
}

static void test_request(void **state)
{
    torture("party-create", TORTURE_MEMORY, 5, creates);
    torture("join", TORTURE_MEMORY, 12, joins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_birth, torture_report),
        cmocka_unit_test_teardown(test_day, torture_report),
        cmocka_unit_test_teardown(test_request, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
