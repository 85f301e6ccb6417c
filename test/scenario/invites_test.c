/* Who gets in: uses, time, revocation, slips of the pen, and hubs that are not the one. */
#include "sim/scenario.h"

static struct node_host *ann;
static char text[INVITE_CAP];

static void a_party(void)
{
    ann = founder("ann");
    create(ann, "lan");
}

static bool refused_as(struct node_host *n, const char *invite_text, const char *code)
{
    const char *got = try_join(n, invite_text);
    if (got && strcmp(got, code) == 0)
        return true;
    print_error("wanted %s, got %s\n", code, got ? world->refusal : "in");
    return false;
}

SCENARIO(two_uses_let_two_in)
{
    a_party();
    struct node_host *bob = machine("bob"), *cid = machine("cid"), *dan = machine("dan");
    invite(ann, 2, text);
    join(bob, text);
    join(cid, text);
    EXPECT(refused_as(dan, text, "invite_used_up"));
    EXPECT(member_count(ann) == 3);
    WITHIN(2 * SEC, sees(bob, cid));
}

/* Five at once for three seats: the hub orders them, and three get in. */
SCENARIO(a_run_on_the_last_seats)
{
    a_party();
    struct node_host *crowd[5];
    uint32_t asked[5];
    invite(ann, 3, text);
    json_t *request = json_pack("{s:s,s:s}", "cmd", "join", "invite", text);
    char *json = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    for (size_t i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "guest%zu", i);
        crowd[i] = machine(name);
        asked[i] = node_host_ask(crowd[i], json);
    }
    free(json);
    RUN(40 * SEC);
    int in = 0, late = 0;
    for (size_t i = 0; i < 5; i++) {
        char *answer = node_host_answer(crowd[i], asked[i]);
        EXPECT(answer != NULL);
        in += strstr(answer, "\"ok\":true") != NULL;
        late += strstr(answer, "invite_used_up") != NULL;
        free(answer);
    }
    EXPECT(in == 3 && late == 2);
    EXPECT(member_count(ann) == 4);
}

SCENARIO(yesterdays_invite)
{
    a_party();
    struct node_host *bob = machine("bob"), *cid = machine("cid");
    EXPECT(!try_invite(ann, 5, "1h", text));
    RUN(59 * MINUTE);
    join(bob, text);
    RUN(2 * MINUTE);
    EXPECT(refused_as(cid, text, "invite_expired"));
    WITHIN(2 * SEC, sees(ann, bob));
}

SCENARIO(revoked)
{
    a_party();
    struct node_host *bob = machine("bob");
    invite(ann, 5, text);
    struct invite inv;
    EXPECT(invite_read(&inv, text) == INVITE_OK);
    uint8_t id[INVITE_ID_LEN];
    char hex[2 * INVITE_ID_LEN + 1];
    party_invite_id(id, inv.secret);
    hex_put(hex, bytes_of(id, sizeof id));
    EXPECT(!ask(ann, json_pack("{s:s,s:s,s:s}", "cmd", "invite-revoke", "party", "lan", "id", hex), NULL));
    EXPECT(refused_as(bob, text, "invite_revoked"));
}

SCENARIO(mistyped)
{
    a_party();
    struct node_host *bob = machine("bob");
    invite(ann, 5, text);
    size_t at = strlen(text) - 20;
    text[at] = text[at] == 'A' ? 'B' : 'A';
    EXPECT(try_join(bob, text) != NULL);
    EXPECT(strstr(world->refusal, "mistyped") || strstr(world->refusal, "copied"));
    EXPECT(bob->hub_connects == 0); /* found out at home */
    EXPECT(try_join(bob, "let me in") != NULL);
    EXPECT(bob->hub_connects == 0);
}

SCENARIO(another_hub)
{
    a_party();
    struct node_host *bob = machine("bob"), *cid = machine("cid");
    struct invite inv;
    char other[INVITE_CAP];
    invite(ann, 5, text);
    EXPECT(invite_read(&inv, text) == INVITE_OK);
    inv.hub.fingerprint[3] ^= 1; /* somebody sits where the hub should be */
    EXPECT(invite_write(other, &inv) == 0);
    EXPECT(try_join(bob, other) != NULL);
    EXPECT(strstr(world->refusal, "certificate"));
    inv.hub.fingerprint[3] ^= 1;
    snprintf(inv.hub.host, sizeof inv.hub.host, "nowhere.test");
    EXPECT(invite_write(other, &inv) == 0);
    EXPECT(try_join(cid, other) != NULL);
    join(cid, text); /* neither wrong try spoiled anything */
    join(bob, text);
    WITHIN(2 * SEC, sees(cid, bob));
}

SCENARIO(a_party_that_is_not_there)
{
    a_party();
    struct node_host *bob = machine("bob");
    struct invite inv;
    char other[INVITE_CAP];
    invite(ann, 5, text);
    EXPECT(invite_read(&inv, text) == INVITE_OK);
    inv.party[0] ^= 1;
    EXPECT(invite_write(other, &inv) == 0);
    EXPECT(refused_as(bob, other, "unknown_party"));
    EXPECT(invite_read(&inv, text) == INVITE_OK);
    inv.secret[0] ^= 1; /* well typed, never given out */
    EXPECT(invite_write(other, &inv) == 0);
    EXPECT(try_join(bob, other) != NULL);
    EXPECT(member_count(ann) == 1);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(two_uses_let_two_in),
        STORY(a_run_on_the_last_seats),
        STORY(yesterdays_invite),
        STORY(revoked),
        STORY(mistyped),
        STORY(another_hub),
        STORY(a_party_that_is_not_there),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
