/* How soon pairs are direct, over many runs: easy NATs, and hard ones against easy ones with the search. 50
 * ms round trip; the clock runs from the second one's login at the hub. */
#include "test/scenario/nat_grid.h"

#define FIGURES_MAX 512
static usec_t figures[FIGURES_MAX];
static size_t figure_count;

static int usec_order(const void *a, const void *b)
{
    usec_t x = *(const usec_t *)a, y = *(const usec_t *)b;
    return (x > y) - (x < y);
}

static void say_figures(const char *what)
{
    qsort(figures, figure_count, sizeof *figures, usec_order);
    fprintf(stderr, "# %s: %zu runs, p50 %.0f ms, p95 %.0f ms, p99 %.0f ms, most %.0f ms\n", what,
            figure_count, (double)figures[figure_count / 2] / MSEC,
            (double)figures[figure_count * 95 / 100] / MSEC, (double)figures[figure_count * 99 / 100] / MSEC,
            (double)figures[figure_count - 1] / MSEC);
}

/* Bob comes `runs` times, after he was off for so long; how long it took each time. What took longer than 10
 * s is not among the figures. */
static void runs_of(const size_t pair[2], size_t world_number, size_t runs, usec_t off)
{
    grid_begin(world_number);
    grid_pair(grid_site(&kinds[pair[0]], NULL, "home-a"), grid_site(&kinds[pair[1]], NULL, "home-b"));
    RUN(3 * SEC);
    for (size_t i = 0; i < runs; i++) {
        grid_restart(off);
        usec_t t = grid_until_direct(10 * SEC);
        if (t != USEC_NEVER && figure_count < FIGURES_MAX)
            figures[figure_count++] = t;
    }
    world_end();
}

static void easy_pairs(void **state)
{
    static const size_t easy[] = {K_OPEN, K_FULL, K_ADDRESS, K_PORT, K_DOUBLE, K_CARRIER, K_MAPPED};
    size_t n = sizeof easy / sizeof *easy, runs = 0;
    world_fails = _fail;
    figure_count = 0;
    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++, runs += 8)
            runs_of((size_t[]){easy[a], easy[b]}, 1000 + a * n + b, 8, 2 * SEC);
    say_figures("easy pairs");
    assert_true(runs >= 200);
    assert_int_equal(figure_count, runs);
    assert_true(figures[figure_count * 95 / 100] < 300 * MSEC);
}

static void hard_pairs(size_t hard)
{
    char what[96];
    size_t runs = 0;
    world_fails = _fail;
    figure_count = 0;
    /* The hard end is the one that came first, or the other. The box has room for 1024 mappings and keeps
     * them for two minutes; a birthday search takes 256. */
    for (size_t i = 0; i < 10; i++, runs += 10)
        runs_of((size_t[]){i % 2 ? hard : K_PORT, i % 2 ? K_PORT : hard}, 2000 + hard * 100 + i, 10,
                125 * SEC);
    snprintf(what, sizeof what, "%s against port-restricted, within 10 s", kinds[hard].name);
    say_figures(what);
    assert_int_equal(runs, 100);
    assert_true(figure_count * 100 >= runs * 98);
}

static void sequential_1(void **state)
{
    hard_pairs(K_SEQ1);
}
static void sequential_2(void **state)
{
    hard_pairs(K_SEQ2);
}
static void preserving(void **state)
{
    hard_pairs(K_KEEP);
}
static void by_chance(void **state)
{
    hard_pairs(K_RANDOM);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        cmocka_unit_test(easy_pairs), cmocka_unit_test(sequential_1), cmocka_unit_test(sequential_2),
        cmocka_unit_test(preserving), cmocka_unit_test(by_chance),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
