/* The NAT grid: every pair of places that the Internet has, and the class of the route between them. The
 * result is kept in doc/nat-matrix.md; WARREN_UPDATE=1 writes it anew. */
#include "test/scenario/nat_grid.h"

#define SETTLE  (15 * SEC)
#define SAMPLES 3

/* What physics allows, cell by cell. D: direct over UDP. T: direct over TLS only. R: through the hub.
 *
 * D wherever at least one end maps one address for all, or can be predicted: ordinary checks where the
 * other's filter lets them in (open, full cone, address-restricted against all; port-restricted against those
 * that map one address), else a search (port-restricted against symmetric; symmetric against symmetric, as
 * long as none of the two chooses ports by chance: two random ones would have to try some 100 000 pairs of
 * ports). A port mapping makes every NAT an open one. T where one end gets no UDP out: it dials the other. A
 * dial at the same time from both ends passes NATs that keep one port for a socket's streams, as RFC 5382
 * wants it and as those that keep ports do, but not the other symmetric ones. Where only port 443 passes
 * there is nothing to dial: nodes do not listen there. IPv6 only: direct to IPv6, that is to the open one,
 * which has it, and to its like; NAT64 makes the rest of the Internet a matter of the NAT64's own box, which
 * is a port-restricted one. TCP through it is not tried. */
static const char *const expected[KINDS] = {
    /* clang-format off */
    /*                   open full addr port +1 +2 keep rnd dbl carr map rmap noudp 443 v6 n64 */
    [K_OPEN] =          "D    D    D    D    D  D  D    D   D   D    D   D    T     R   D  D",
    [K_FULL] =          "D    D    D    D    D  D  D    D   D   D    D   D    T     R   R  D",
    [K_ADDRESS] =       "D    D    D    D    D  D  D    D   D   D    D   D    T     R   R  D",
    [K_PORT] =          "D    D    D    D    D  D  D    D   D   D    D   D    T     R   R  D",
    [K_SEQ1] =          "D    D    D    D    D  D  D    R   D   D    D   D    R     R   R  D",
    [K_SEQ2] =          "D    D    D    D    D  D  D    R   D   D    D   D    R     R   R  D",
    [K_KEEP] =          "D    D    D    D    D  D  D    R   D   D    D   D    T     R   R  D",
    [K_RANDOM] =        "D    D    D    D    R  R  R    R   D   D    D   D    R     R   R  D",
    [K_DOUBLE] =        "D    D    D    D    D  D  D    D   D   D    D   D    T     R   R  D",
    [K_CARRIER] =       "D    D    D    D    D  D  D    D   D   D    D   D    T     R   R  D",
    [K_MAPPED] =        "D    D    D    D    D  D  D    D   D   D    D   D    T     R   R  D",
    [K_RANDOM_MAPPED] = "D    D    D    D    D  D  D    D   D   D    D   D    T     R   R  D",
    [K_NO_UDP] =        "T    T    T    T    R  R  T    R   T   T    T   T    T     R   R  R",
    [K_ONLY_443] =      "R    R    R    R    R  R  R    R   R   R    R   R    R     R   R  R",
    [K_V6] =            "D    R    R    R    R  R  R    R   R   R    R   R    R     R   D  D",
    [K_NAT64] =         "D    D    D    D    D  D  D    D   D   D    D   D    R     R   D  D",
    /* clang-format on */
};

static char expected_at(size_t a, size_t b)
{
    const char *at = expected[a];
    for (size_t i = 0; *at; at++)
        if (*at != ' ' && i++ == b)
            return *at;
    return '?';
}

static char class_of(const struct world_path *p)
{
    switch (p->kind) {
    case PATH_LAN:
        return 'L';
    case PATH_UDP:
        return 'D';
    case PATH_TLS:
        return 'T';
    case PATH_UDP_RELAY:
    case PATH_WS_RELAY:
        return 'R';
    default:
        return '-';
    }
}

static bool is(char ann_to_bob, char bob_to_ann)
{
    return class_of(path_of(ann, bob)) == ann_to_bob && class_of(path_of(bob, ann)) == bob_to_ann;
}

/* Settles, and stays so. What is to be D or L may come at any time, what is not must not come to the end. */
static bool settles(char a, char b)
{
    usec_t from = world->sim.now;
    bool best = a == 'D' || a == 'L';
    while (world->sim.now - from < SETTLE && !(best && is(a, b)))
        RUN(5 * MSEC);
    RUN(1 * SEC);
    return is(a, b);
}

/* ---- The grid. */

static usec_t took[KINDS][KINDS]; /* median; 0: never direct */

static int usec_order(const void *a, const void *b)
{
    usec_t x = *(const usec_t *)a, y = *(const usec_t *)b;
    return (x > y) - (x < y);
}

static bool cell(size_t a, size_t b)
{
    char want = expected_at(a, b);
    usec_t times[SAMPLES];
    size_t direct = 0;
    bool good = true;
    grid_begin(a * KINDS + b);
    grid_pair(grid_site(&kinds[a], NULL, "home-a"), grid_site(&kinds[b], NULL, "home-b"));
    for (size_t i = 0; i < SAMPLES && good; i++) {
        if (i > 0 && want != 'D')
            break; /* once is enough to see that nothing comes; and boxes remember streams of old for hours */
        if (i > 0)
            grid_restart(2 * SEC);
        usec_t t = want == 'R' ? USEC_NEVER : grid_until_direct(SETTLE);
        if (t != USEC_NEVER)
            times[direct++] = t;
        good = settles(want, want);
    }
    qsort(times, direct, sizeof *times, usec_order);
    took[a][b] = took[b][a] = direct ? times[direct / 2] : 0;
    if (!good)
        fprintf(stderr, "# %s - %s: %c and %c, not %c\n", kinds[a].name, kinds[b].name,
                class_of(path_of(ann, bob)), class_of(path_of(bob, ann)), want);
    world_end();
    return good;
}

/* ---- Neighbours: pairs that have a box in common. */

struct neighbours {
    const char *name, *why;
    struct nat_config common; /* the box around both */
    bool carrier;             /* it is a carrier's, and each has a home of its own behind it */
    bool ann_outside;         /* hers is not */
    bool portmap;             /* the homes' boxes give port mappings */
    char a, b;
};
#define HAIRPIN(filter)                                                                                      \
    {                                                                                                        \
        .mapping = NAT_ENDPOINT, .filtering = filter, .ports = NAT_PORT_KEEP, .hairpin = true                \
    }
static const struct neighbours neighbours[] = {
    {"one LAN, no hairpin", "host candidates: the box is not in between", EIM(NAT_ADDRESS_PORT), false, false,
     false, 'L', 'L'},
    {"one LAN, hairpin", "host candidates are better than the box", HAIRPIN(NAT_ADDRESS_PORT), false, false,
     false, 'L', 'L'},
    {"one LAN, symmetric box", "host candidates", SYMMETRIC(NAT_PORT_RANDOM, 1), false, false, false, 'L',
     'L'},
    {"one LAN, UDP blocked",
     "the box blocks what passes it, and this does not",
     {.udp_blocked = true},
     false,
     false,
     false,
     'L',
     'L'},
    {"one carrier, hairpin", "the addresses outside the carrier, which it turns round",
     HAIRPIN(NAT_ADDRESS_PORT), true, false, false, 'D', 'D'},
    {"one carrier, no hairpin", "nobody knows the addresses between home and carrier", EIM(NAT_ADDRESS_PORT),
     true, false, false, 'R', 'R'},
    {"one carrier, no hairpin, ports mapped", "the homes' routers tell their addresses there",
     EIM(NAT_ADDRESS_PORT), true, false, true, 'D', 'D'},
    {"one before, one behind a second box", "the inner one reaches the outer one's host candidate",
     EIM(NAT_ADDRESS_PORT), true, true, false, 'L', 'D'},
};
#define NEIGHBOURS (sizeof neighbours / sizeof *neighbours)
static char found[NEIGHBOURS][2];

static bool neighbour_cell(size_t i)
{
    const struct neighbours *c = &neighbours[i];
    const struct kind around = {"around", HOME, c->common, false},
                      home = {"home", HOME, EIM(NAT_ADDRESS_PORT), c->portmap};
    grid_begin(0x10000 + i);
    struct site *common = grid_site(&around, NULL, "around"), *a = common, *b = common;
    if (c->carrier) {
        common->config.net4 = 0x64400000;
        a = c->ann_outside ? common : grid_site(&home, common, "home-a");
        b = grid_site(&home, common, "home-b");
        b->config.net4 = 0xc0a80200;
    }
    grid_pair(a, b);
    bool good = settles(c->a, c->b);
    found[i][0] = class_of(path_of(ann, bob));
    found[i][1] = class_of(path_of(bob, ann));
    if (!good)
        fprintf(stderr, "# %s: %c and %c, not %c and %c\n", c->name, found[i][0], found[i][1], c->a, c->b);
    world_end();
    return good;
}

/* ---- The words. */

static const char *class_word(char c)
{
    return c == 'L' ? "lan" : c == 'D' ? "udp" : c == 'T' ? "tls" : "relay";
}

static void put_head(struct buf *out, const char *corner)
{
    buf_printf(out, "| %s |", corner);
    for (size_t i = 0; i < KINDS; i++)
        buf_printf(out, " %s |", kinds[i].name);
    buf_printf(out, "\n|---|");
    for (size_t i = 0; i < KINDS; i++)
        buf_printf(out, "---|");
    buf_printf(out, "\n");
}

static void put_classes(struct buf *out)
{
    buf_printf(out,
               "# Which route a pair gets\n\n"
               "Made by `test/scenario/nat_grid_test.c`, which asserts every cell and says why, in the "
               "simulator with real\n"
               "nodes and a real hub: lan and udp are direct, tls is direct over TCP, relay goes through the "
               "hub, end-to-end\n"
               "encrypted as well. The class is the one 15 s after both are online, with light traffic.\n\n");
    put_head(out, "");
    for (size_t a = 0; a < KINDS; a++) {
        buf_printf(out, "| **%s** |", kinds[a].name);
        for (size_t b = 0; b < KINDS; b++)
            buf_printf(out, " %s |", class_word(expected_at(a, b)));
        buf_printf(out, "\n");
    }
    buf_printf(out, "\n## Pairs with a box in common\n\n| place | route | why |\n|---|---|---|\n");
    for (size_t i = 0; i < NEIGHBOURS; i++)
        buf_printf(out, "| %s | %s%s%s | %s |\n", neighbours[i].name, class_word(found[i][0]),
                   found[i][0] == found[i][1] ? "" : " / ",
                   found[i][0] == found[i][1] ? "" : class_word(found[i][1]), neighbours[i].why);
}

static void put_times(struct buf *out)
{
    buf_printf(out,
               "\n## Seconds from being online to the direct path\n\n"
               "Median of %d, at 50 ms round trip. From the login of the second at the hub; the first sample "
               "of each from its\n"
               "joining. These figures are as of the last `WARREN_UPDATE=1` and not compared by the test;\n"
               "`test/scenario/nat_times_test.c` asserts what must hold of them.\n\n",
               SAMPLES);
    put_head(out, "");
    for (size_t a = 0; a < KINDS; a++) {
        buf_printf(out, "| **%s** |", kinds[a].name);
        for (size_t b = 0; b < KINDS; b++)
            if (took[a][b])
                buf_printf(out, " %.2f |", (double)took[a][b] / SEC);
            else
                buf_printf(out, " |");
        buf_printf(out, "\n");
    }
}

static void kept_file(char path[1024])
{
    const char *root = getenv("WARREN_SOURCE_ROOT");
    snprintf(path, 1024, "%s/doc/nat-matrix.md", root ? root : ".");
}

static void keep(const struct buf *classes, const struct buf *times)
{
    char path[1024];
    kept_file(path);
    FILE *f = fopen(path, "w");
    if (!f)
        fail_msg("%s cannot be written", path);
    fwrite(classes->p, 1, classes->n, f);
    fwrite(times->p, 1, times->n, f);
    assert_int_equal(fclose(f), 0);
}

static void compare(const struct buf *classes)
{
    char path[1024];
    kept_file(path);
    FILE *f = fopen(path, "r");
    char *kept = calloc(1, classes->n + 1);
    assert_non_null(kept);
    size_t n = f ? fread(kept, 1, classes->n, f) : 0;
    bool same = n == classes->n && memcmp(kept, classes->p, n) == 0;
    if (f)
        fclose(f);
    free(kept);
    if (!same)
        fail_msg("%s is not what was found: run again with WARREN_UPDATE=1", path);
}

static void the_grid(void **state)
{
    struct buf classes, times;
    size_t wrong = 0;
    world_fails = _fail;
    for (size_t a = 0; a < KINDS; a++)
        for (size_t b = 0; b < KINDS; b++) {
            assert_int_equal(expected_at(a, b), expected_at(b, a));
            if (b >= a)
                wrong += !cell(a, b);
        }
    for (size_t i = 0; i < NEIGHBOURS; i++)
        wrong += !neighbour_cell(i);
    assert_int_equal(wrong, 0);
    buf_init(&classes, 1 << 20);
    buf_init(&times, 1 << 20);
    put_classes(&classes);
    put_times(&times);
    fprintf(stderr, "%s%s", buf_str(&classes), buf_str(&times));
    if (getenv("WARREN_UPDATE"))
        keep(&classes, &times);
    else
        compare(&classes);
    buf_done(&classes);
    buf_done(&times);
}

int main(void)
{
    const struct CMUnitTest stories[] = {cmocka_unit_test(the_grid)};
    return cmocka_run_group_tests(stories, NULL, NULL);
}
