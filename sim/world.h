/* The vocabulary of scenarios: one world with a hub, machines with nodes, a party, and words for what people
 * do and see.
 *
 *     SCENARIO(a_kick_takes_effect_within_a_second)
 *     {
 *         struct node_host *ann = founder("ann"), *bob = machine("bob"), *eve = machine("eve");
 *         create(ann, "lan");
 *         everybody_joins(ann);
 *         WITHIN(5 * SEC, sees(ann, eve) && sees(bob, eve));
 *         kick(ann, "eve");
 *         WITHIN(1 * SEC, !sees(ann, eve) && !sees(bob, eve));
 *         STAYS(5 * SEC, !sees(eve, ann) && sees(ann, bob));
 *     }
 *
 * There is one world at a time (it is the test's whole universe), made and ended by STORY's fixture
 * (scenario.h); a failure prints its seed, and WARREN_SEED repeats it; WARREN_SIM_LOG=1 shows what nodes and
 * hub log; WARREN_SIM_PUMP=0 leaves the pump out of the nodes. While time passes these are watched: no test
 * frame is delivered twice or out of order, and none from a node that is no member (a second after its
 * removal, at receivers that are at the hub). */
#ifndef WARREN_SIM_WORLD_H
#define WARREN_SIM_WORLD_H

#include <jansson.h>

#include "sim/hostile.h"
#include "sim/hub_host.h"
#include "sim/node_host.h"

#define WORLD_NODES_MAX   DEVICE_PEERS_MAX
#define WORLD_PARTIES_MAX 8
#define WORLD_FLOWS_MAX   512
#define WORLD_STEP        (5 * MSEC)
#define INVITE_CAP        (INVITE_TEXT_MAX + 1)

struct world_party {
    char name[NAME_CAP], id[2 * PARTY_ID_LEN + 1];
    uint32_t net4;
    uint32_t ip4[WORLD_NODES_MAX];      /* last known */
    bool member[WORLD_NODES_MAX];       /* by the model, not by what anybody says */
    usec_t removed_at[WORLD_NODES_MAX]; /* 0: never */
};

struct flow {
    struct sim_timer timer;
    struct world_party *party;
    struct node_host *from, *to;
    usec_t every;
    size_t size;
};

/* The path on which a node sends to another, as its log says. */
struct world_path {
    enum path_kind kind;
    usec_t since, up_at; /* up_at: when a path to it was last proven */
    uint64_t changes;
    unsigned mtu; /* of the path of that kind that was measured last */
    enum path_kind mtu_of;
};

struct world {
    struct sim sim;
    struct net *net;
    struct hub_host *hub;
    struct hostile *hostile; /* NULL until turn_hostile */
    struct node_host *nodes[WORLD_NODES_MAX];
    size_t node_count;
    struct world_party parties[WORLD_PARTIES_MAX], *party; /* party: the one that is spoken of */
    size_t party_count;
    struct flow flows[WORLD_FLOWS_MAX];
    size_t flow_count;
    uint64_t sent[WORLD_PARTIES_MAX][WORLD_NODES_MAX][WORLD_NODES_MAX]; /* test frames handed to the device */
    usec_t pinged[WORLD_PARTIES_MAX][WORLD_NODES_MAX][WORLD_NODES_MAX];
    uint64_t pings;
    usec_t looked_at; /* by everybody_connected, and what it saw */
    bool all_connected;
    struct world_path path[WORLD_NODES_MAX][WORLD_NODES_MAX]; /* from, to */
    uint64_t moves;        /* of all of them, but for the first path of a session */
    bool direct;           /* machines look for direct paths; false: everything stays on the relay */
    bool pump;             /* nodes move packets by the pump's code; false: all pass through the engine */
    bool searches_at_will; /* as many searches through hard NATs, one behind the other, as there are pairs */
    bool reordering_allowed; /* a scenario whose hub shuffles frames says so */
    char violation[256];
    char refusal[256]; /* of the last request: "code: sentence", or "" */
};
extern struct world *world; /* the one there is */

void world_begin(void);
void world_end(void);
extern void (*world_fails)(const char *file,
                           int line); /* how the test's framework is told; does not return */

/* ---- Time. */
void world_run(usec_t t, const char *file, int line);
usec_t world_age(void); /* since the beginning */
_Noreturn void world_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define RUN(t) world_run((t), __FILE__, __LINE__)
#define AT(t)  world_run(usec_since((t), world_age()), __FILE__, __LINE__)
#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            world_fail(__FILE__, __LINE__, "not so: %s", #condition);                                        \
    } while (0)
/* The condition comes true before t is over; it is asked every WORLD_STEP. */
#define WITHIN(t, condition)                                                                                 \
    do {                                                                                                     \
        usec_t until_ = world_age() + (t);                                                                   \
        while (!(condition)) {                                                                               \
            if (world_age() >= until_)                                                                       \
                world_fail(__FILE__, __LINE__, "not within %s: %s", #t, #condition);                         \
            world_run(WORLD_STEP, __FILE__, __LINE__);                                                       \
        }                                                                                                    \
    } while (0)
/* It is true all the time for t. */
#define STAYS(t, condition)                                                                                  \
    do {                                                                                                     \
        usec_t until_ = world_age() + (t);                                                                   \
        while (world_age() < until_) {                                                                       \
            if (!(condition))                                                                                \
                world_fail(__FILE__, __LINE__, "not for the whole of %s: %s", #t, #condition);               \
            world_run(WORLD_STEP, __FILE__, __LINE__);                                                       \
        }                                                                                                    \
    } while (0)

/* ---- Machines. */
/* A machine on the public Internet that knows the hub, or one that has never seen it (and learns it by
 * joining). */
struct node_host *founder(const char *name);
struct node_host *founder_at(struct site *where, const char *name);
struct node_host *machine(const char *name);
struct node_host *machine_at(struct site *where, const char *name, const struct node_host_config *c);
/* Its line, both directions. */
void line(struct node_host *n, struct link_config both);
bool at_hub(const struct node_host *n);
/* The hub begins to lie to this node (NULL: to all). */
struct hostile *turn_hostile(struct node_host *victim);

/* ---- What people do. Each waits for the answer (30 s and some at most); NULL or the error's code. */
const char *ask(struct node_host *n, json_t *request,
                json_t **result); /* request is taken over; result may be NULL */
const char *create_as(struct node_host *n, const char *name, const char *mode);
void create(struct node_host *n, const char *name); /* becomes the party that is spoken of */
const char *try_invite(struct node_host *n, unsigned uses, const char *expires, char out[INVITE_CAP]);
void invite(struct node_host *n, unsigned uses, char out[INVITE_CAP]);
const char *try_join(struct node_host *n, const char *invite);
void join(struct node_host *n, const char *invite);
/* Everybody who is in no party joins by one invite of n's, one after the other. */
void everybody_joins(struct node_host *n);
const char *try_kick(struct node_host *n, const char *whom);
void kick(struct node_host *n, const char *whom);
const char *try_role(struct node_host *n, const char *whom, const char *role);
const char *try_leave(struct node_host *n);
void speak_of(const char *party); /* the following words mean this party */

/* ---- What one sees. */
struct device *device_of(struct node_host *n); /* NULL: none, or closed */
/* a pings b all the while it is asked; an answer came within the last 250 ms. */
bool sees(struct node_host *a, struct node_host *b);
bool everybody_sees_everybody(void); /* members by the model */
/* The same as path_kind, but cheap, and not aware of the loss of the last path. */
struct world_path *path_of(struct node_host *a, struct node_host *b);
enum path_kind path_kind(struct node_host *a, struct node_host *b);
/* A field of b in a's status: "state", "path", "role", "cipher" ...; "" where there is none. Valid until
 * asked again. */
const char *peer_text(struct node_host *a, struct node_host *b, const char *field);
int64_t peer_number(struct node_host *a, struct node_host *b, const char *field);
bool connected(struct node_host *a, struct node_host *b);
bool everybody_connected(void); /* looked at every 100 ms of virtual time: it asks all for their status */
void world_explain(void);       /* which members are not connected to which, and why, to standard error */
size_t member_count(struct node_host *n); /* by its log, itself included */
int64_t metric(struct node_host *n,
               const char *name); /* sum over labels of a counter in the node's metrics; -1: no such */
bool alerted(struct node_host *n, const char *code);

/* ---- Test traffic. */
void talk(struct node_host *from, struct node_host *to, usec_t every, size_t size);
void hush(void); /* ends all of it */
void say(struct node_host *from, struct node_host *to, size_t size);
void say6(struct node_host *from, struct node_host *to, size_t size); /* over IPv6 */
uint64_t frames_sent(struct node_host *from, struct node_host *to);
uint64_t frames_got(struct node_host *from, struct node_host *to);
int64_t frames_lost(struct node_host *from, struct node_host *to); /* what is under way counts as lost */
struct device_heard *heard(struct node_host *by, struct node_host *from);

#endif
