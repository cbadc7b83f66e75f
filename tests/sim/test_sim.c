/* test_sim [-v] SEED …           these worlds, -v: with their logs
 * test_sim --seeds FROM N        so many worlds
 * test_sim --limited FROM N      so many with limits, sources and what receivers tell
 * test_sim --seeds-file FILE     worlds that once broke a promise
 * test_sim --cases               the worlds that ask one question
 * test_sim --forecast          forecasts of worlds, and what became of them
 * test_sim --day                 100,000 rows, a simulated day */
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

static struct world run(struct plan *p)
{
    struct world w;
    world_run(&w, p);
    world_finish(&w);
    return w;
}

typedef void draw_fn(struct plan *p, uint64_t seed);

static struct world run_seed(draw_fn *draw, uint64_t seed, bool trace)
{
    struct plan p;
    draw(&p, seed);
    p.trace = trace;
    plan_make_list(&p);
    struct world w = run(&p);
    plan_free(&p);
    w.plan = NULL;
    return w;
}

static void mixed(draw_fn *draw, uint64_t seed, bool trace)
{
    struct world w = run_seed(draw, seed, trace);
    if (seed % 8 == 0) {
        struct world again = run_seed(draw, seed, false);
        if (again.hash != w.hash) {
            fprintf(stderr, "seed %" PRIu64 ": the same seed, another log\n", seed);
            exit(1);
        }
    }
    if (trace)
        printf("events %" PRIu64 " attempts %" PRIu64 " delivered %" PRIu64
               " errors %" PRIu64 " in doubt %" PRIu64 " twice %" PRIu64
               " hours %.1f\n",
               w.taken, w.attempts, w.delivered, w.errors, w.doubts, w.twice,
               (double)w.now_us / HOUR_US);
}

/* One seed a line, with a word why behind it. */
static int seeds_of(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        return 1;
    }
    char line[200];
    while (fgets(line, sizeof line, f))
        if (line[0] >= '0' && line[0] <= '9')
            mixed(plan_draw, strtoull(line, NULL, 10), false);
    fclose(f);
    return 0;
}

int main(int argc, char **argv)
{
    setenv("TZ", "UTC", 1); /* the same days and hours everywhere */
    bool trace = argc > 1 && strcmp(argv[1], "-v") == 0;
    if (argc == 2 && strcmp(argv[1], "--cases") == 0) {
        cases_run();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--forecast") == 0) {
        forecast_run();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--day") == 0) {
        cases_day();
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--seeds-file") == 0)
        return seeds_of(argv[2]);
    bool limited = argc > 1 && strcmp(argv[1], "--limited") == 0;
    if (argc == 4 && (limited || strcmp(argv[1], "--seeds") == 0)) {
        uint64_t from = strtoull(argv[2], NULL, 10), n = strtoull(argv[3], NULL, 10);
        for (uint64_t seed = from; seed < from + n; seed++)
            mixed(limited ? plan_draw_limited : plan_draw, seed, false);
        return 0;
    }
    int i = 1 + trace;
    limited = i < argc && strcmp(argv[i], "--limited") == 0;
    for (i += limited; i < argc; i++)
        mixed(limited ? plan_draw_limited : plan_draw, strtoull(argv[i], NULL, 10),
              trace);
    return 0;
}
