/* Several jobs of one spool send to the same receivers, under a false clock: what these
 * see is one sender's, whoever comes, is ended, resumed or told to wait. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/rng.h"
#include "queue/board.h"
#include "queue_world.h"

enum {
    JOBS = 3,
    STEP_US = 50 * 1000,
    HEAR_STEPS = 10,        /* twice a second */
    HEARD_US = 1000 * 1000, /* then all know what one was told */
};

static int board_fd;

static int make_board(void **state)
{
    (void)state;
    board_fd = memfd_create("board", MFD_CLOEXEC);
    return board_fd < 0 ? -1 : 0;
}

static int drop_board(void **state)
{
    (void)state;
    close(board_fd);
    return 0;
}

struct job {
    struct world w;
    struct board *board; /* NULL: it does not run */
};

static void run_job(struct job *job, int64_t now, int rows, int domains,
                    struct scheduler_policy policy)
{
    char path[40];
    bool full;
    struct fault f = {0};
    begin(&job->w, 1, 1, policy);
    finish(&job->w);
    job->w.now = now;
    job->w.list = make_list(rows, domains);
    struct scheduler_params params = {
        .list = job->w.list,
        .policy = whole_life(policy),
        .connections_total = CONNECTIONS,
        .sources_n = 8,
        .seed = 1,
        .now_us = now,
    };
    job->w.s = scheduler_create(&params);
    snprintf(path, sizeof path, "/proc/self/fd/%d", board_fd);
    job->board = board_join_file(open(path, O_RDWR | O_CLOEXEC), "boot",
                                 (struct board_now){now, now}, &full, &f);
    assert_non_null(job->board);
    scheduler_join(job->w.s, job->board);
}

/* Its connections break off. */
static void end_job(struct job *job)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (job->w.lanes[i].open)
            end_lane(&job->w, i, CLOSED_CLEAN);
    finish(&job->w);
    board_leave(job->board);
    job->board = NULL;
}

static void hear(struct job *job)
{
    uint32_t before, jobs = board_jobs(job->board, &before);
    scheduler_hear(job->w.s, jobs, job->w.now);
}

/* ---- a receiver ---- */

struct meter { /* a bucket that leaks */
    int64_t level_us, at_us;
};

struct seen { /* of one path: all domains are one provider, from one source */
    struct meter connects, mails;
    int open, most, messages;
    int64_t closed_until_us, told_us;
};

static void came(struct meter *m, int64_t now, int64_t per_hour)
{
    if (per_hour == 0)
        return;
    int64_t interval = INT64_C(3600) * SECOND_US / per_hour;
    int64_t left = m->level_us - (now - m->at_us);
    m->level_us = (left > 0 ? left : 0) + interval;
    m->at_us = now;
    assert_true(m->level_us <= (interval > SECOND_US ? interval : SECOND_US));
}

/* One step of a job: connects and messages that may leave do, and some are answered. */
static void step(struct job *job, struct seen *seen, struct rng *rng,
                 const struct scheduler_policy *policy)
{
    struct world *w = &job->w;
    int64_t again;
    int before = w->open;
    take_orders(w);
    seen->open += w->open - before;
    seen->most = seen->open > seen->most ? seen->open : seen->most;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct lane *lane = &w->lanes[i];
        if (!lane->open)
            continue;
        if (!lane->connected) {
            lane->connected = gates_pass(lane->connects, lane->gates_n, w->now, &again);
            if (lane->connected)
                came(&seen->connects, w->now, policy->connection_rate);
            continue;
        }
        if (lane->n == 0 || rng_below(rng, 4) ||
            !gates_pass(lane->mails, lane->gates_n, w->now, &again))
            continue;
        came(&seen->mails, w->now, policy->message_rate);
        seen->messages++;
        assert_true(w->now >= seen->closed_until_us ||
                    w->now < seen->told_us + HEARD_US);
        settle(w, i, good);
        lane->served++;
        if (lane->n == 0 && (lane->last || lane->served == lane->messages)) {
            end_lane(w, i, CLOSED_CLEAN);
            seen->open--;
        }
    }
}

static void suspend(struct job *job, struct seen *seen, struct rng *rng)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        if (!job->w.lanes[i].open || !job->w.lanes[i].connected)
            continue;
        struct suspension what = {.reach = (enum reach)rng_below(rng, 3),
                                  .for_us =
                                      (int64_t)(2 + rng_below(rng, 20)) * SECOND_US,
                                  .connections = rng_below(rng, 2),
                                  .why = "a rule"};
        if (what.reach == REACH_SITE)
            what.reach = REACH_PATH; /* it is one site of the provider */
        scheduler_suspend(job->w.s, i, &what, job->w.now);
        if (job->w.now + what.for_us > seen->closed_until_us)
            seen->closed_until_us = job->w.now + what.for_us;
        seen->told_us = job->w.now;
        return;
    }
}

static struct scheduler_policy draw_policy(struct rng *rng)
{
    static const int64_t rates[] = {0, 0, 120, 1800, 3600, 18000, 72000};
    return (struct scheduler_policy){
        .connections = 1 + rng_below(rng, 12),
        .messages_per_connection = rng_below(rng, 2) ? 1 + rng_below(rng, 20) : 0,
        .message_rate = rates[rng_below(rng, 7)],
        .connection_rate = rates[rng_below(rng, 7)],
        .provider = 1,
        .key = 7,
    };
}

/* The limits are those of the provider that all jobs send to; or, with `outer`, of what
 * bounds the providers of each of them. */
static struct scheduler_policy policy_of(const struct scheduler_policy *limits,
                                         struct scheduler_budget *outer, uint64_t job)
{
    struct scheduler_policy own = *limits;
    if (!outer)
        return own;
    *outer = (struct scheduler_budget){.number = 1,
                                       .key = limits->key,
                                       .connections = limits->connections,
                                       .message_rate = limits->message_rate,
                                       .connection_rate = limits->connection_rate};
    own.key = 100 + job;
    own.connections = 20;
    own.message_rate = own.connection_rate = 0;
    own.outer = outer;
    own.outer_n = 1;
    return own;
}

static void begin_or_end(struct job *jobs, int64_t now, struct rng *rng,
                         struct seen *seen, const struct scheduler_policy *limits,
                         struct scheduler_budget *outer)
{
    uint32_t number = rng_below(rng, JOBS);
    struct job *job = &jobs[number];
    if (!job->board) {
        run_job(job, now, 600, 3, policy_of(limits, outer, number));
        return;
    }
    seen->open -= job->w.open;
    end_job(job);
}

/* 200 seeds: no limit is ever exceeded, and what one was told all obey, also those that
 * come later. */
static void receivers_see_one_sender(void **state)
{
    (void)state;
    int messages = 0, full = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rng rng = {.state = seed};
        struct scheduler_policy policy = draw_policy(&rng);
        struct seen seen = {0};
        static struct job jobs[JOBS];
        memset(jobs, 0, sizeof jobs);
        int64_t now = 1000000;
        struct scheduler_budget budget, *outer = seed % 2 ? &budget : NULL;
        assert_int_equal(ftruncate(board_fd, 0), 0);
        run_job(&jobs[0], now, 600, 3, policy_of(&policy, outer, 0));
        run_job(&jobs[1], now, 600, 3, policy_of(&policy, outer, 1));
        for (int i = 0; i < 3000; i++, now += STEP_US) {
            for (int k = 0; k < JOBS; k++) {
                if (!jobs[k].board)
                    continue;
                jobs[k].w.now = now;
                if ((i + 3 * k) % HEAR_STEPS == 0)
                    hear(&jobs[k]);
                step(&jobs[k], &seen, &rng, &policy);
                if (rng_below(&rng, 400) == 0 && !outer) /* the others would not obey */
                    suspend(&jobs[k], &seen, &rng);
            }
            assert_true(seen.open <= (int)policy.connections);
            if (rng_below(&rng, 200) == 0)
                begin_or_end(jobs, now, &rng, &seen, &policy, outer);
        }
        for (int k = 0; k < JOBS; k++)
            if (jobs[k].board)
                end_job(&jobs[k]);
        messages += seen.messages;
        full += seen.most == (int)policy.connections;
    }
    assert_true(messages > 20000); /* and they did send, */
    assert_true(full > 50);        /* as much as they may */
}

/* Where others had the place after all, nothing of what was tried before is kept. */
static void who_gets_no_place_has_lost_none(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 5, .connections = 2},
        {.number = 2, .key = 6, .connections = 1}};
    const struct scheduler_policy policy = {
        .connections = 2, .provider = 1, .key = 7, .outer = outer, .outer_n = 2};
    static struct job jobs[2];
    int64_t now = 1000000;
    assert_int_equal(ftruncate(board_fd, 0), 0);
    run_job(&jobs[0], now, 600, 1, policy);
    take_orders(&jobs[0].w); /* and hears of nothing then */
    assert_int_equal(jobs[0].w.open, 1);
    run_job(&jobs[1], now, 600, 1, policy);
    for (int i = 0; i < 300; i++) {
        now += SECOND_US;
        jobs[1].w.now = now;
        hear(&jobs[1]);
        take_orders(&jobs[1].w);
        assert_int_equal(jobs[1].w.open, 0);
    }
    end_job(&jobs[0]);
    for (int i = 0; i < 10 && jobs[1].w.open == 0; i++) {
        now += SECOND_US;
        jobs[1].w.now = now;
        hear(&jobs[1]);
        take_orders(&jobs[1].w);
    }
    assert_int_equal(jobs[1].w.open, 1);
    end_job(&jobs[1]);
}

/* ---- fairness ---- */

static void run(struct job *jobs, int n, int64_t *now, int steps, struct seen *seen,
                const struct scheduler_policy *policy)
{
    struct rng rng = {.state = 5};
    for (int i = 0; i < steps; i++, *now += STEP_US)
        for (int k = 0; k < n; k++) {
            jobs[k].w.now = *now;
            if ((i + 3 * k) % HEAR_STEPS == 0)
                hear(&jobs[k]);
            step(&jobs[k], seen, &rng, policy);
        }
}

/* Two that send have half each, of whatever there is; who has nothing to send there
 * takes nothing away. */
static void those_who_send_share_alike(void **state)
{
    (void)state;
    static const struct scheduler_policy policies[] = {
        {.connections = 8, .provider = 1, .key = 7},
        {.connections = 5, .provider = 1, .key = 7, .messages_per_connection = 10},
        {.connections = 1, .provider = 1, .key = 7},
        {.connections = 20, .provider = 1, .key = 7, .message_rate = 36000},
        {.connections = 4, .provider = 1, .key = 7, .message_rate = 1800},
        {.connections = 4,
         .provider = 1,
         .key = 7,
         .connection_rate = 7200,
         .messages_per_connection = 1},
    };
    for (size_t i = 0; i < 2 * sizeof policies / sizeof policies[0]; i++) {
        const struct scheduler_policy *p = &policies[i / 2];
        struct scheduler_budget budget, *outer = i % 2 ? &budget : NULL;
        static struct job jobs[2];
        struct seen seen = {0};
        int64_t now = 1000000;
        assert_int_equal(ftruncate(board_fd, 0), 0);
        /* One by itself, for as long as two beside each other. */
        enum { STEPS = 4 * 60 * 20 };
        run_job(&jobs[0], now, 60000, 1, policy_of(p, outer, 0));
        run(jobs, 1, &now, STEPS, &seen, p);
        int alone = jobs[0].w.delivered;
        run_job(&jobs[1], now, 60000, 1, policy_of(p, outer, 1));
        run(jobs, 2, &now, STEPS, &seen, p);
        int first = jobs[0].w.delivered - alone, second = jobs[1].w.delivered;
        assert_in_range(first, second * 3 / 4, second * 4 / 3 + 1);
        assert_in_range(first + second, alone * 8 / 10, alone * 11 / 10 + 2);
        assert_true(seen.most <= (int)p->connections);
        /* The second one is done there: all is the first one's again. */
        seen.open -= jobs[1].w.open;
        end_job(&jobs[1]);
        run_job(&jobs[1], now, 0, 1, policy_of(p, outer, 1));
        int before = jobs[0].w.delivered;
        run(jobs, 2, &now, STEPS, &seen, p);
        assert_in_range(jobs[0].w.delivered - before, alone * 8 / 10,
                        alone * 11 / 10 + 2);
        end_job(&jobs[0]);
        end_job(&jobs[1]);
    }
}

/* Somebody had the only connection in the meantime, and is gone before we count jobs
 * again: whoever waited for it does not do so for ever. */
/* The bolder one does not leave the other without: as long as both send, both keep to
 * the lesser limit, and have half of it. */
static void settings_that_differ_starve_nobody(void **state)
{
    (void)state;
    static const struct scheduler_policy pairs[][2] = {
        {{.connections = 20, .provider = 1, .key = 7},
         {.connections = 2, .provider = 1, .key = 7}},
        {{.connections = 20, .provider = 1, .key = 7, .message_rate = 36000},
         {.connections = 20, .provider = 1, .key = 7, .message_rate = 3600}},
        {{.connections = 20, .provider = 1, .key = 7},
         {.connections = 20, .provider = 1, .key = 7, .message_rate = 720}},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        static struct job jobs[2];
        struct seen seen = {0}, none = {0};
        int64_t now = 1000000;
        assert_int_equal(ftruncate(board_fd, 0), 0);
        run_job(&jobs[0], now, 60000, 1, pairs[i][0]);
        run(jobs, 1, &now, 20 * 20, &none, &pairs[i][0]);
        run_job(&jobs[1], now, 60000, 1, pairs[i][1]);
        run(jobs, 2, &now, 20 * 20, &none, &(struct scheduler_policy){0});
        int before[] = {jobs[0].w.delivered, jobs[1].w.delivered};
        seen.open = jobs[0].w.open + jobs[1].w.open;
        run(jobs, 2, &now, 4 * 60 * 20, &seen, &pairs[i][1]);
        int first = jobs[0].w.delivered - before[0];
        int second = jobs[1].w.delivered - before[1];
        assert_true(second > 15);
        assert_in_range(first, second * 3 / 4, second * 4 / 3 + 1);
        assert_true(seen.most <= (int)pairs[i][1].connections);
        end_job(&jobs[0]);
        end_job(&jobs[1]);
    }
}

static void a_job_that_came_and_went_leaves_nobody_waiting(void **state)
{
    (void)state;
    struct scheduler_policy policy = {
        .connections = 1, .provider = 1, .key = 7, .messages_per_connection = 1};
    static struct job jobs[2];
    struct seen seen = {0};
    int64_t now = 31 * SECOND_US; /* it is the second one's turn */
    run_job(&jobs[0], now, 10, 1, policy);
    run(jobs, 1, &now, 11, &seen, &policy); /* it has just counted */
    end_lane(&jobs[0].w, 0, CLOSED_CLEAN);
    run_job(&jobs[1], now, 1, 1, policy);
    take_orders(&jobs[1].w);
    assert_int_equal(jobs[1].w.open, 1);
    take_orders(&jobs[0].w);
    assert_int_equal(jobs[0].w.open, 0);
    end_job(&jobs[1]);
    int before = jobs[0].w.delivered;
    run(jobs, 1, &now, 20 * 20, &seen, &policy);
    assert_true(jobs[0].w.delivered > before);
    end_job(&jobs[0]);
}

static uint32_t some_lane(const struct job *job)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (job->w.lanes[i].open)
            return i;
    fail();
    return 0;
}

/* Half of the connections are left of what all had, though the other job, which has not
 * heard it yet, has success and was on its way to more. */
static void success_takes_back_no_word(void **state)
{
    (void)state;
    struct scheduler_policy policy = {.connections = 20, .provider = 1, .key = 7};
    struct suspension what = {
        .reach = REACH_PATH, .for_us = SECOND_US, .connections = 10, .why = "a rule"};
    static struct job jobs[2];
    struct seen seen = {0};
    int64_t now = SECOND_US;
    run_job(&jobs[0], now, 6000, 1, policy);
    run_job(&jobs[1], now, 6000, 1, policy);
    run(jobs, 2, &now, 60 * 20, &seen, &policy);
    scheduler_suspend(jobs[0].w.s, some_lane(&jobs[0]), &what, now);
    run(jobs, 2, &now, 3 * 20, &seen, &policy);
    assert_int_equal(jobs[0].w.open + jobs[1].w.open, 10);
    what.slow = true;
    scheduler_suspend(jobs[0].w.s, some_lane(&jobs[0]), &what, now);
    for (int i = 0; i < 13; i++) { /* enough for one more of ten */
        settle_all(&jobs[1].w, good);
        take_orders(&jobs[1].w);
    }
    for (int i = 0; i < 2; i++) {
        hear(&jobs[i]);
        take_orders(&jobs[i].w);
    }
    assert_true(jobs[0].w.open + jobs[1].w.open <= 7);
    for (int i = 0; i < 2; i++)
        end_job(&jobs[i]);
}

/* Two are told to wait, one behind the other before it has heard of that: what the
 * first was told of the time after it holds. */
static void a_longer_pause_takes_back_no_way_back(void **state)
{
    (void)state;
    struct scheduler_policy policy = {.connections = 20, .provider = 1, .key = 7};
    struct suspension what = {
        .reach = REACH_PATH, .for_us = SECOND_US, .connections = 2, .why = "a rule"};
    static struct job jobs[2];
    struct seen seen = {0};
    int64_t now = SECOND_US;
    run_job(&jobs[0], now, 6000, 1, policy);
    run_job(&jobs[1], now, 6000, 1, policy);
    run(jobs, 2, &now, 60 * 20, &seen, &policy);
    scheduler_suspend(jobs[0].w.s, some_lane(&jobs[0]), &what, now);
    what.for_us = 2 * SECOND_US;
    what.connections = 0;
    scheduler_suspend(jobs[1].w.s, some_lane(&jobs[1]), &what, now);
    for (int i = 0; i < 5; i++) {
        now += SECOND_US;
        for (int k = 0; k < 2; k++) {
            jobs[k].w.now = now;
            hear(&jobs[k]);
            take_orders(&jobs[k].w);
        }
    }
    assert_int_equal(jobs[0].w.open + jobs[1].w.open, 2);
    for (int i = 0; i < 2; i++)
        end_job(&jobs[i]);
}

/* ---- words ---- */

/* A source that was suspended in one job says why in the other, at all of its sites. */
static void the_words_of_a_source_are_heard(void **state)
{
    (void)state;
    static const uint8_t one[] = {1};
    static const struct scheduler_policy policy = {
        .connections = 4, .key = 7, .sources = one, .sources_n = 1};
    static struct job jobs[2];
    int64_t now = 1000000;
    struct suspension listed = {
        .reach = REACH_SOURCE, .for_us = 10 * minute_us, .why = "listed"};
    run_job(&jobs[0], now, 100, 1, policy);
    run_job(&jobs[1], now, 100, 4, policy);
    take_orders(&jobs[0].w);
    take_orders(&jobs[1].w);
    scheduler_suspend(jobs[0].w.s, 0, &listed, now);
    jobs[1].w.now += HEARD_US;
    hear(&jobs[1]);
    take_orders(&jobs[1].w);
    struct site_view out[4];
    assert_int_equal(scheduler_slowest(jobs[1].w.s, out, 4, jobs[1].w.now), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(out[i].lacks, LACK_PATH);
        assert_int_equal(out[i].until_us, now + 10 * minute_us);
        assert_string_equal(out[i].why, "listed");
    }
    end_job(&jobs[0]);
    end_job(&jobs[1]);
}

/* What a job was told of a source goes for the paths that another has there, and for
 * those that it has itself without a connection, when it has one again. */
static void a_slow_source_is_heard(void **state)
{
    (void)state;
    static const uint8_t one[] = {1};
    static const struct scheduler_policy policy = {.connections = 8,
                                                   .key = 7,
                                                   .sources = one,
                                                   .sources_n = 1,
                                                   .message_rate = 3600};
    static struct job jobs[2];
    int64_t now = 1000000;
    struct suspension slow = {
        .reach = REACH_SOURCE, .slow = true, .for_us = 10 * minute_us, .why = "busy"};
    run_job(&jobs[0], now, 100, 2, policy);
    take_orders(&jobs[0].w);
    assert_int_equal(jobs[0].w.open, 2);
    end_lane(&jobs[0].w, 1, CLOSED_CLEAN); /* its path stays for a while */
    scheduler_suspend(jobs[0].w.s, 0, &slow, now);
    run_job(&jobs[1], now, 100, 2, policy);
    for (int i = 0; i < 2; i++) {
        struct world *w = &jobs[1 - i].w; /* the other one first */
        w->now = now + SECOND_US;
        hear(&jobs[1 - i]);
        take_orders(w);
        struct site_view out[2];
        assert_int_equal(scheduler_slowest(w->s, out, 2, w->now), 2);
        assert_string_equal(out[0].why, "busy");
        assert_string_equal(out[1].why, "busy");
    }
    end_job(&jobs[0]);
    end_job(&jobs[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(receivers_see_one_sender, make_board,
                                        drop_board),
        cmocka_unit_test_setup_teardown(who_gets_no_place_has_lost_none, make_board,
                                        drop_board),
        cmocka_unit_test_setup_teardown(those_who_send_share_alike, make_board,
                                        drop_board),
        cmocka_unit_test_setup_teardown(settings_that_differ_starve_nobody, make_board,
                                        drop_board),
        cmocka_unit_test_setup_teardown(success_takes_back_no_word, make_board,
                                        drop_board),
        cmocka_unit_test_setup_teardown(a_longer_pause_takes_back_no_way_back,
                                        make_board, drop_board),
        cmocka_unit_test_setup_teardown(a_job_that_came_and_went_leaves_nobody_waiting,
                                        make_board, drop_board),
        cmocka_unit_test_setup_teardown(a_slow_source_is_heard, make_board, drop_board),
        cmocka_unit_test_setup_teardown(the_words_of_a_source_are_heard, make_board,
                                        drop_board),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
