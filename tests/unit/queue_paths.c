/* Budgets, sources and what restrains a path, one question at a time, under a false
 * clock: connections stand as long as the test lets them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "queue_world.h"

static struct row_view view_row(struct world *w, uint32_t row)
{
    struct row_view out;
    scheduler_view_row(w->s, row, &out, w->now);
    return out;
}

/* ---- limits ---- */

static void sites_of_a_section_share_its_connections(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4000, DOMAINS,
          (struct scheduler_policy){.connections = 6, .provider = 1});
    for (int i = 0; i < 30; i++) {
        take_orders(&w);
        settle_all(&w, good);
        w.now += SECOND_US / 10;
    }
    assert_int_equal(w.most, 6);
    assert_true(view(&w).lacks & LACK_CONNECTIONS);
    finish(&w);
}

static void without_a_section_each_site_has_its_own(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4000, DOMAINS, (struct scheduler_policy){.connections = 6});
    for (int i = 0; i < 30; i++) {
        take_orders(&w);
        settle_all(&w, good);
        w.now += SECOND_US / 10;
    }
    assert_int_equal(w.most, 6 * DOMAINS);
    finish(&w);
}

/* Fast servers, and as many connections as one likes: the rate alone holds. Leases are
 * two seconds ahead of the gates that workers pass. */
static void a_rate_paces_what_is_lent(void **state)
{
    (void)state;
    static const int64_t rates[] = {10 * 3600, 3600, 120};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        struct world w;
        begin(&w, 4000, DOMAINS,
              (struct scheduler_policy){
                  .connections = 20, .provider = 1, .message_rate = rates[r]});
        int64_t until = w.now + 5 * minute_us;
        while (w.now < until) {
            take_orders(&w);
            settle_all(&w, good);
            w.now += SECOND_US / 50;
        }
        int64_t expected = rates[r] / 12;
        assert_true(w.delivered <= expected + 2 * rates[r] / 3600 + 1);
        assert_true(w.delivered >= expected * 9 / 10);
        finish(&w);
    }
}

/* At one a minute nobody holds a connection open meanwhile. */
static void a_slow_rate_holds_no_connection(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 40, 1, (struct scheduler_policy){.connections = 5, .message_rate = 60});
    take_orders(&w);
    assert_int_equal(w.open, 1);
    settle_all(&w, good);
    end_lane(&w, 0, CLOSED_CLEAN); /* it was told that no more comes */
    take_orders(&w);
    assert_int_equal(w.open, 0);
    struct site_view v = view(&w);
    assert_int_equal(v.lacks, LACK_RATE);
    int64_t wake = scheduler_wake(w.s);
    assert_in_range(wake, 1000000 + minute_us, 1000000 + minute_us + SECOND_US);
    w.now = wake;
    take_orders(&w);
    assert_int_equal(w.open, 1);
    finish(&w);
}

/* All connections are in use, but it is the rate that they wait for: for more rows, or
 * with what they have been lent. */
static void a_rate_is_named_and_not_connections_that_wait_for_it(void **state)
{
    (void)state;
    struct world w;
    struct lane *lane = &w.lanes[0];
    int64_t again;
    begin(&w, 4000, 1,
          (struct scheduler_policy){.connections = 1, .message_rate = 5 * 3600});
    take_orders(&w);
    assert_int_equal(w.open, 1);
    assert_int_equal(view(&w).lacks, LACK_CONNECTIONS);
    while (gates_pass(lane->mails, lane->gates_n, w.now, &again))
        ;
    assert_int_equal(view(&w).lacks, LACK_RATE);
    w.now = again;
    assert_int_equal(view(&w).lacks, LACK_CONNECTIONS);
    for (int i = 0; i < 200; i++) { /* ten seconds */
        settle_all(&w, good);
        take_orders(&w);
        w.now += SECOND_US / 20;
    }
    assert_int_equal(w.open, 1);
    assert_int_equal(view(&w).lacks, LACK_RATE);
    finish(&w);
}

static void connections_are_opened_at_their_rate(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4000, 1,
          (struct scheduler_policy){.connections = 50, .connection_rate = 2 * 3600});
    int opened = 0;
    for (int i = 0; i < 100; i++) { /* ten seconds; each ends at once */
        take_orders(&w);
        settle_all(&w, good);
        for (uint32_t k = 0; k < CONNECTIONS; k++)
            if (w.lanes[k].open) {
                opened++;
                end_lane(&w, k, CLOSED_CLEAN);
            }
        w.now += SECOND_US / 10;
    }
    assert_in_range(opened, 19, 25);
    finish(&w);
}

static void jobs_share(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4000, 1, (struct scheduler_policy){.connections = 8});
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 8);
    scheduler_share(w.s, &(struct sharing){.jobs = 3, .before = 2});
    take_orders(&w);
    assert_int_equal(w.stopped, 6);
    assert_int_equal(w.open, 2);
    assert_int_equal(view(&w).window, 2);
    assert_int_equal(view(&w).lacks, LACK_CONNECTIONS);
    scheduler_share(w.s, &(struct sharing){.jobs = 1});
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 8);
    finish(&w);
}

static void a_job_that_stands_says_so(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 400, 1, (struct scheduler_policy){.connections = 2});
    take_orders(&w);
    scheduler_pause(w.s, true, w.now);
    settle_all(&w, good);
    take_orders(&w);
    assert_int_equal(view(&w).lacks, LACK_JOB);
    scheduler_pause(w.s, false, w.now);
    take_orders(&w);
    assert_int_not_equal(view(&w).lacks, LACK_JOB);
    finish(&w);
}

/* ---- sources ---- */

static const uint8_t three[] = {1, 2, 3};

static void connections_go_round_and_retries_keep_their_source(void **state)
{
    (void)state;
    struct world w;
    begin(
        &w, 200, 1,
        (struct scheduler_policy){.connections = 2, .sources = three, .sources_n = 3});
    uint8_t from[201] = {0};
    int used[4] = {0};
    for (int i = 0; i < 300; i++) {
        take_orders(&w);
        for (uint32_t k = 0; k < CONNECTIONS; k++)
            if (w.lanes[k].open && w.lanes[k].n) {
                uint32_t row = w.lanes[k].rows[0];
                assert_true(from[row] == 0 || from[row] == w.lanes[k].source);
                bool again = from[row] != 0;
                from[row] = w.lanes[k].source;
                used[from[row]]++;
                settle(&w, k, again ? good : later);
            }
        w.now += i == 150 ? interval_us : SECOND_US / 10;
    }
    assert_int_equal(w.delivered, 200);
    assert_true(w.most <= 6);
    for (int i = 1; i <= 3; i++)
        assert_true(used[i] > 50);
    finish(&w);
}

/* Who was refused before MAIL has shown the receiver no pair of sender address and
 * recipient. */
static void only_an_answered_mail_binds_a_row(void **state)
{
    (void)state;
    struct world w;
    struct settlement greeting = later;
    greeting.worked = false;
    begin(
        &w, 3, 1,
        (struct scheduler_policy){.connections = 1, .sources = three, .sources_n = 3});
    take_orders(&w);
    uint8_t source = w.lanes[0].source;
    uint32_t row = w.lanes[0].rows[0];
    settle(&w, 0, greeting);
    assert_int_equal(view_row(&w, row).source, 0);
    end_lane(&w, 0, CLOSED_CLEAN);
    w.now += interval_us;
    for (int i = 0; view_row(&w, row).source == 0 && i < 20; i++) {
        take_orders(&w);
        for (uint32_t k = 0; k < CONNECTIONS; k++) {
            struct lane *lane = &w.lanes[k];
            bool it = lane->open && lane->n && lane->rows[0] == row;
            if (it)
                source = lane->source;
            settle(&w, k, it ? later : good);
        }
    }
    assert_int_equal(view_row(&w, row).source, source);
    w.now += interval_us;
    take_orders(&w); /* and stays bound, whatever comes later */
    for (uint32_t k = 0; k < CONNECTIONS; k++)
        settle(&w, k, greeting);
    assert_int_equal(view_row(&w, row).source, source);
    finish(&w);
}

static void a_suspended_source_leaves_fresh_mail_to_others(void **state)
{
    (void)state;
    struct world w;
    begin(
        &w, 2000, 2,
        (struct scheduler_policy){.connections = 2, .sources = three, .sources_n = 3});
    for (int i = 0; i < 10; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    uint32_t one = 0;
    while (!w.lanes[one].open || w.lanes[one].source != 2)
        one++;
    struct suspension pause = {
        .reach = REACH_SOURCE, .for_us = minute_us, .why = "listed"};
    scheduler_suspend(w.s, one, &pause, w.now);
    int before = w.delivered;
    for (int i = 0; i < 10; i++) {
        take_orders(&w);
        for (uint32_t k = 0; k < CONNECTIONS; k++)
            assert_false(w.lanes[k].open && w.lanes[k].source == 2);
        settle_all(&w, good);
    }
    assert_true(w.delivered > before);
    w.now += minute_us;
    bool back = false;
    for (int i = 0; i < 40; i++) {
        take_orders(&w);
        for (uint32_t k = 0; k < CONNECTIONS; k++)
            back |= w.lanes[k].open && w.lanes[k].source == 2;
        settle_all(&w, good);
        for (uint32_t k = 0; k < CONNECTIONS; k++)
            if (w.lanes[k].open && i % 5 == 0)
                end_lane(&w, k, CLOSED_CLEAN);
    }
    assert_true(back);
    finish(&w);
}

/* ---- suspensions ---- */

/* Gmail's 4.7.28: silence, one connection, then one more at a time. */
static void after_a_suspension_connections_come_back_one_by_one(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4000, 2, (struct scheduler_policy){.connections = 6, .provider = 1});
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 6);
    struct suspension pause = {.reach = REACH_PATH,
                               .for_us = 10 * minute_us,
                               .connections = 1,
                               .why = "4.7.28"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    assert_int_equal(w.stopped, 6);
    struct site_view v = view(&w);
    assert_int_equal(v.lacks, LACK_PATH);
    assert_string_equal(v.why, "4.7.28");
    assert_int_equal(v.until_us, w.now + 10 * minute_us);
    assert_int_equal(scheduler_wake(w.s), w.now + 10 * minute_us);
    w.now += 10 * minute_us - 1;
    take_orders(&w);
    assert_int_equal(w.open, 0);
    w.now++;
    int was = 0;
    for (int i = 0; i < 400 && w.open < 6; i++) {
        take_orders(&w);
        assert_in_range(w.open, was, was + 1);
        was = w.open;
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 6);
    finish(&w);
}

/* The same reply from another site of the provider tells nothing new of its path. */
static void a_suspension_meets_more_than_a_site(void **state)
{
    (void)state;
    static const uint8_t one[] = {1};
    struct world w;
    begin(&w, 400, 2,
          (struct scheduler_policy){
              .connections = 2, .provider = 1, .sources = one, .sources_n = 1});
    take_orders(&w);
    assert_string_not_equal(w.lanes[0].site, w.lanes[1].site);
    static const struct {
        struct suspension what;
        bool both;
    } meets[] = {
        {{.reach = REACH_PATH}, true},
        {{.reach = REACH_SITE}, false},
        {{.reach = REACH_SOURCE}, true},
        {{.reach = REACH_PATH, .slow = true}, true},
        {{.reach = REACH_SITE, .slow = true}, true}, /* it is its provider's */
        {{.reach = REACH_SOURCE, .slow = true}, true},
    };
    for (size_t i = 0; i < sizeof meets / sizeof meets[0]; i++)
        assert_int_equal(scheduler_reached(w.s, 0, &meets[i].what) ==
                             scheduler_reached(w.s, 1, &meets[i].what),
                         meets[i].both);
    finish(&w);
}

/* Sites that a source's suspension holds up say so with its words, whatever else was
 * said of their own paths. */
static void a_suspended_source_says_why_everywhere(void **state)
{
    (void)state;
    static const uint8_t one[] = {1};
    struct world w;
    begin(&w, 400, 3,
          (struct scheduler_policy){
              .connections = 2, .sources = one, .sources_n = 1, .message_rate = 3600});
    take_orders(&w);
    uint32_t at[3] = {0};
    for (uint32_t k = 0; k < CONNECTIONS; k++)
        if (w.lanes[k].open)
            at[w.lanes[k].site[4] - '0'] = k;
    struct suspension slow = {
        .reach = REACH_PATH, .slow = true, .for_us = 60 * minute_us, .why = "busy"};
    scheduler_suspend(w.s, at[1], &slow, w.now);
    struct suspension listed = {
        .reach = REACH_SOURCE, .for_us = 10 * minute_us, .why = "listed"};
    scheduler_suspend(w.s, at[0], &listed, w.now);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    struct site_view out[3];
    assert_int_equal(scheduler_slowest(w.s, out, 3, w.now), 3);
    for (int i = 0; i < 3; i++) {
        assert_true(out[i].lacks & LACK_PATH);
        assert_int_equal(out[i].until_us, w.now + 10 * minute_us);
        assert_string_equal(out[i].why, "listed");
    }
    assert_string_equal(view_row(&w, 300).site.why, "listed");
    w.now += 10 * minute_us;
    take_orders(&w);
    assert_int_equal(scheduler_slowest(w.s, out, 3, w.now), 3);
    for (int i = 0; i < 3; i++)
        if (strcmp(out[i].name, "mx.d1") == 0)
            assert_string_equal(out[i].why, "busy");
        else
            assert_null(out[i].why);
    finish(&w);
}

/* What is told later but ends sooner is not what it waits for. */
static void the_longest_suspension_is_told(void **state)
{
    (void)state;
    static const enum reach reaches[] = {REACH_PATH, REACH_SITE, REACH_SOURCE};
    for (int i = 0; i < 9; i++) {
        static const uint8_t one[] = {1};
        struct world w;
        begin(&w, 400, 1,
              (struct scheduler_policy){
                  .connections = 2, .sources = one, .sources_n = 1});
        take_orders(&w);
        struct suspension more = {
            .reach = reaches[i / 3], .for_us = 20 * minute_us, .why = "more"};
        struct suspension less = {
            .reach = reaches[i % 3], .for_us = 10 * minute_us, .why = "less"};
        scheduler_suspend(w.s, 0, &more, w.now);
        scheduler_suspend(w.s, 0, &less, w.now);
        take_orders(&w);
        assert_string_equal(view(&w).why, "more");
        assert_int_equal(view(&w).until_us, w.now + 20 * minute_us);
        finish(&w);
    }
}

static void slow_means_half(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 40000, 1,
          (struct scheduler_policy){.connections = 8, .message_rate = 100 * 3600});
    for (int i = 0; i < 500; i++) {
        take_orders(&w);
        settle_all(&w, good);
        w.now += SECOND_US / 100;
    }
    int open = w.open, before = w.delivered;
    struct suspension slow = {
        .reach = REACH_PATH, .slow = true, .for_us = minute_us, .why = "busy"};
    uint32_t one = 0;
    while (!w.lanes[one].open)
        one++;
    scheduler_suspend(w.s, one, &slow, w.now);
    take_orders(&w);
    assert_true(w.open <= (open + 1) / 2);
    for (int i = 0; i < 1000; i++) { /* ten seconds at fifty a second */
        take_orders(&w);
        settle_all(&w, good);
        w.now += SECOND_US / 100;
    }
    assert_in_range(w.delivered - before, 450, 560);
    finish(&w);
}

/* It was to be slow for an hour: another word, for a minute, makes that no shorter. */
static void slow_lasts_as_long_as_the_longest(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 40000, 1,
          (struct scheduler_policy){.connections = 8, .message_rate = 100 * 3600});
    struct suspension slow = {
        .reach = REACH_PATH, .slow = true, .for_us = 60 * minute_us, .why = "busy"};
    take_orders(&w);
    scheduler_suspend(w.s, 0, &slow, w.now);
    slow.for_us = minute_us;
    scheduler_suspend(w.s, 0, &slow, w.now);
    int before = 0;
    for (int times = 0; times < 3; times++) { /* time enough for two steps back */
        w.now += 11 * minute_us;
        before = w.delivered;
        for (int i = 0; i < 1000; i++) { /* ten seconds */
            take_orders(&w);
            settle_all(&w, good);
            w.now += SECOND_US / 100;
        }
    }
    assert_in_range(w.delivered - before, 200, 560);
    finish(&w);
}

/* What ends behind a suspension may be told to slow down besides: that is no way to
 * more connections. */
static void slow_opens_nothing(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4000, 1, (struct scheduler_policy){.connections = 8});
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 8);
    struct suspension what = {
        .reach = REACH_PATH, .for_us = minute_us, .connections = 1, .why = "listed"};
    scheduler_suspend(w.s, 0, &what, w.now);
    what.slow = true;
    scheduler_suspend(w.s, 1, &what, w.now);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    w.now += minute_us;
    take_orders(&w);
    assert_int_equal(w.open, 1);
    finish(&w);
}

/* Half of what the reply was about, and of nothing else: by site and source. */
static void slow_reaches_what_it_says(void **state)
{
    (void)state;
    static const uint8_t two[] = {1, 2};
    static const struct {
        enum reach reach;
        bool together; /* both sites are of one provider */
        bool slow[2][2];
    } cases[] = {
        {REACH_PATH, false, {{true, false}, {false, false}}},
        {REACH_SITE, false, {{true, true}, {false, false}}},
        {REACH_SITE, true, {{true, true}, {true, true}}},
        {REACH_SOURCE, false, {{true, false}, {true, false}}},
        {REACH_SOURCE, true, {{true, false}, {true, false}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        begin(&w, 40000, 2,
              (struct scheduler_policy){.connections = 8,
                                        .provider = cases[i].together,
                                        .message_rate = 100 * 3600,
                                        .sources = two,
                                        .sources_n = 2});
        int sent[2][2] = {0};
        for (int step = 0; step < 1500; step++) { /* after five seconds for ten */
            take_orders(&w);
            uint32_t one = CONNECTIONS;
            for (uint32_t k = 0; k < CONNECTIONS; k++) {
                struct lane *lane = &w.lanes[k];
                if (!lane->open)
                    continue;
                int site = lane->site[4] - '0', source = lane->source - 1;
                one = site == 0 && source == 0 ? k : one;
                sent[site][source] += settle(&w, k, good) && step >= 500;
            }
            struct suspension slow = {.reach = cases[i].reach,
                                      .slow = true,
                                      .for_us = minute_us,
                                      .why = "busy"};
            if (step == 499)
                scheduler_suspend(w.s, one, &slow, w.now);
            w.now += SECOND_US / 100;
        }
        for (int source = 0; source < 2; source++) {
            const bool(*is)[2] = cases[i].slow;
            int all = sent[0][source] + sent[1][source];
            for (int site = 0; site < 2; site++) {
                int whole = cases[i].together ? all : sent[site][source];
                if (is[site][source])
                    assert_in_range(whole, 450, 560);
                else
                    assert_in_range(whole, 900, 1050);
            }
        }
        finish(&w);
    }
}

/* From a source that has no connection yet too. */
static void a_slow_site_has_half_of_what_was_never_used(void **state)
{
    (void)state;
    static const uint8_t two[] = {1, 2};
    struct world w;
    begin(&w, 4000, 1,
          (struct scheduler_policy){.connections = 8, .sources = two, .sources_n = 2});
    take_orders(&w);
    assert_int_equal(w.open, 1);
    struct suspension slow = {
        .reach = REACH_SITE, .slow = true, .for_us = minute_us, .why = "busy"};
    scheduler_suspend(w.s, 0, &slow, w.now);
    assert_int_equal(view(&w).window, 1);
    for (int i = 0; i < 4; i++) {
        settle_all(&w, good);
        take_orders(&w);
    }
    assert_int_equal(w.open, 1 + 4);
    assert_string_equal(view(&w).why, "busy");
    finish(&w);
}

/* A receiver that refuses us is left alone, for longer each time, with one probe. */
static void refusals_close_a_path_for_longer_each_time(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4000, 1, (struct scheduler_policy){.connections = 4});
    take_orders(&w);
    settle_all(&w, good);
    int refusals = 0;
    w.last.notice = NOTICE_NONE;
    while (!w.last.notice) {
        take_orders(&w);
        for (uint32_t k = 0; k < CONNECTIONS && !w.last.notice; k++)
            refusals += settle(&w, k, refused);
    }
    assert_int_equal(refusals, 20);
    for (int round = 0; round < 7; round++) {
        int64_t pause = interval_us << (round < 4 ? round : 4);
        assert_int_equal(w.last.notice, NOTICE_REFUSALS);
        assert_int_equal(w.last.notice_us, w.now + pause);
        take_orders(&w);
        assert_int_equal(w.open, 0);
        w.now += pause;
        take_orders(&w);
        assert_int_equal(w.open, 1);
        settle_all(&w, refused);
    }
    /* One success, and it is as before. */
    w.now += interval_us << 4;
    take_orders(&w);
    settle_all(&w, good);
    settle_all(&w, refused);
    assert_int_equal(w.last.notice, NOTICE_NONE);
    finish(&w);
}

static void too_many_unknown_addresses_stop_a_provider(void **state)
{
    (void)state;
    struct settlement absent = {
        .outcome = OUTCOME_ABSENT, .counted = true, .worked = true, .absent = true};
    struct world w;
    begin(&w, 4000, 2,
          (struct scheduler_policy){.connections = 2,
                                    .provider = 1,
                                    .unknown_percent = 10,
                                    .unknown_pause_ms = 60000});
    int answers = 0;
    while (w.last.notice == NOTICE_NONE && answers < 1000) {
        take_orders(&w);
        for (uint32_t k = 0; k < CONNECTIONS && !w.last.notice; k++)
            if (w.lanes[k].open && w.lanes[k].n)
                settle(&w, k, ++answers % 8 ? good : absent);
    }
    assert_int_equal(w.last.notice, NOTICE_UNKNOWN);
    assert_int_equal(answers, 104); /* the first absent one behind a hundred */
    take_orders(&w);
    assert_int_equal(w.open, 0);
    assert_true(view(&w).lacks & LACK_BRAKE);
    w.now += minute_us;
    take_orders(&w);
    assert_true(w.open > 0);
    finish(&w);
}

static void a_server_that_closes_after_three_gets_two(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 400, 1, (struct scheduler_policy){.connections = 1});
    for (int round = 0; round < 2; round++) {
        take_orders(&w);
        for (int i = 0; i < 3; i++)
            assert_true(settle(&w, 0, good));
        end_lane(&w, 0, CLOSED_ENOUGH);
    }
    static struct order o;
    assert_int_equal(scheduler_next(w.s, &o, w.now), ORDER_OPEN);
    assert_int_equal(o.messages, 2);
    assert_int_equal(o.rows_n, 2);
    for (int i = 0; i < o.rows_n; i++)
        scheduler_settle(w.s, o.connection, o.rows[i], &good, w.now);
    scheduler_closed(w.s, o.connection, CLOSED_CLEAN, false, w.now);
    finish(&w);
}

static void a_receiver_says_when_to_come_back(void **state)
{
    (void)state;
    struct settlement soon = later;
    soon.wait_us = 5 * minute_us;
    struct world w;
    begin(&w, 1, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    settle_all(&w, soon);
    assert_int_equal(w.last.next_us, w.now + 5 * minute_us);
    finish(&w);

    /* When it would be too late then, it comes as usual. */
    soon.wait_us = 30 * 24 * 60 * minute_us;
    begin(&w, 1, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    settle_all(&w, soon);
    assert_int_equal(w.last.ended, 0);
    assert_int_equal(w.last.next_us, w.now + interval_us);
    finish(&w);
}

/* Hours in which a path was closed are none of a row's lifetime. */
static void our_own_waiting_is_not_lifetime(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    settle_all(&w, later);
    settle_all(&w, later);
    w.now += interval_us; /* both are due; the site takes nothing for three days */
    take_orders(&w);
    struct suspension pause = {
        .reach = REACH_SITE, .for_us = 3 * 24 * 60 * minute_us, .why = "no"};
    uint32_t one = w.lanes[0].open ? 0 : 1;
    scheduler_suspend(w.s, one, &pause, w.now);
    take_orders(&w);
    w.now += pause.for_us;
    take_orders(&w);
    settle_all(&w, later);
    assert_false(w.last.final); /* half an hour of its day is over */
    finish(&w);
}

/* Connections end, nothing is begun, and three days of it are none of a lifetime. */
static void quiet_hours(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 20, 1, (struct scheduler_policy){.connections = 2});
    take_orders(&w);
    settle_all(&w, later);
    uint32_t tried = 1;
    assert_int_equal(view_row(&w, tried).state, ROW_WAITING);
    int64_t over = w.now + 3 * 24 * 60 * minute_us;
    scheduler_quiet(w.s, 0, over);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    assert_int_equal(w.stopped, 1);
    w.now += interval_us; /* what is due waits with the others */
    take_orders(&w);
    assert_int_equal(w.open, 0);
    assert_int_equal(view(&w).lacks, LACK_QUIET);
    assert_int_equal(view(&w).until_us, over);
    assert_int_equal(view_row(&w, tried).state, ROW_READY);
    struct scheduler_policy other = {.connections = 1,
                                     .retry_interval_ms = interval_ms,
                                     .retry_intervals = 1,
                                     .lifetime_ms = 24 * 3600 * 1000};
    scheduler_set_policies(w.s, &other,
                           1); /* hours are told by scheduler_quiet alone */
    take_orders(&w);
    assert_int_equal(w.open, 0);
    w.now += 24 * 60 * minute_us;
    scheduler_pause(w.s, true, w.now); /* a pause beside them counts once */
    w.now += 24 * 60 * minute_us;
    scheduler_pause(w.s, false, w.now);
    w.now = over;
    take_orders(&w);
    assert_int_equal(w.open, 0);
    scheduler_quiet(w.s, 0, 0);
    take_orders(&w);
    assert_int_equal(w.open, 1);
    while (view_row(&w, tried).state != ROW_LENT) {
        settle_all(&w, good);
        take_orders(&w);
    }
    for (int i = 0; i < 20 && view_row(&w, tried).state == ROW_LENT; i++)
        settle_all(&w, w.lanes[0].rows[0] == tried ? later : good);
    assert_int_equal(view_row(&w, tried).state, ROW_WAITING); /* not 606 */
    finish(&w);
}

/* ---- warm-up ---- */

/* Of source 2 so many a day; the others have no limit. */
struct allowance {
    uint32_t cap, drawn, chunk;
    int64_t day_ends_us;
    int asked;
};

static uint32_t allow(void *arg, uint8_t source, uint32_t policy, const char *site,
                      int64_t now_us, int64_t *until_us)
{
    struct allowance *a = arg;
    assert_int_equal(policy, 0);
    assert_string_equal(site, "mx.d0");
    if (now_us >= a->day_ends_us) {
        a->day_ends_us += 24 * 60 * minute_us;
        a->drawn = 0;
    }
    *until_us = a->day_ends_us;
    if (source != 2)
        return UINT32_MAX;
    uint32_t left = a->cap - a->drawn;
    uint32_t n = left < a->chunk ? left : a->chunk;
    a->drawn += n;
    a->asked++;
    return n;
}

static void begin_warm(struct world *w, struct allowance *a, int rows,
                       struct scheduler_policy policy)
{
    begin(w, rows, 1, policy);
    scheduler_destroy(w->s);
    *a = (struct allowance){.cap = 10, .chunk = 4, .day_ends_us = 60 * minute_us};
    policy.retry_interval_ms = interval_ms;
    policy.retry_intervals = 1;
    policy.lifetime_ms = 24 * 3600 * 1000;
    struct scheduler_params params = {
        .list = w->list,
        .policy = policy,
        .connections_total = CONNECTIONS,
        .sources_n = 3,
        .seed = 1,
        .now_us = w->now,
        .allow = allow,
        .allow_arg = a,
    };
    w->s = scheduler_create(&params);
}

static const uint8_t two[] = {2};

static void a_new_source_sends_its_cap(void **state)
{
    (void)state;
    struct world w;
    struct allowance a;
    begin_warm(
        &w, &a, 40,
        (struct scheduler_policy){.connections = 3, .sources = two, .sources_n = 1});
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.delivered, 10);
    assert_int_equal(w.open, 0); /* who may send no more today, ends */
    assert_in_range(a.asked, 3, 6);
    assert_int_equal(view(&w).lacks, LACK_WARMUP);
    assert_int_equal(view(&w).until_us, a.day_ends_us);
    w.now = a.day_ends_us; /* the next day it goes on by itself */
    assert_true(scheduler_wake(w.s) <= w.now);
    take_orders(&w);
    assert_true(w.open > 0);
    /* What comes back was not sent; what is under way at midnight is of the new day. */
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (w.lanes[i].open)
            end_lane(&w, i, CLOSED_CLEAN);
    take_orders(&w);
    int under_way = 0;
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        under_way += w.lanes[i].open ? w.lanes[i].n : 0;
    assert_true(under_way > 0);
    w.now = a.day_ends_us;
    a.cap = 12;
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.delivered, 10 + 12);
    finish(&w);
}

/* The cap is reached while a connection is busy, and then that is told to end: its site
 * is asked again when the suspension is over, and at midnight. */
static void a_cap_and_a_suspension(void **state)
{
    (void)state;
    struct world w;
    struct allowance a;
    begin_warm(
        &w, &a, 40,
        (struct scheduler_policy){.connections = 1, .sources = two, .sources_n = 1});
    a.cap = a.chunk = 4;
    take_orders(&w);
    settle(&w, 0, good);
    settle(&w, 0, good);
    take_orders(&w);
    assert_int_equal(w.lanes[0].n, 2);
    struct suspension pause = {.reach = REACH_PATH, .for_us = minute_us, .why = "no"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    w.now += minute_us;
    assert_true(scheduler_wake(w.s) <= w.now);
    for (int i = 0; i < 5; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.delivered, 4);
    w.now = a.day_ends_us;
    assert_true(scheduler_wake(w.s) <= w.now);
    finish(&w);
}

static void fresh_mail_goes_by_others(void **state)
{
    (void)state;
    struct world w;
    struct allowance a;
    begin_warm(
        &w, &a, 60,
        (struct scheduler_policy){.connections = 2, .sources = three, .sources_n = 3});
    a.cap = 4;
    take_orders(&w);
    uint32_t bound = 0;
    for (int i = 0; i < 40; i++) {
        for (uint32_t k = 0; k < CONNECTIONS; k++) {
            bool is_two = w.lanes[k].open && w.lanes[k].source == 2 && w.lanes[k].n;
            if (is_two && !bound)
                bound = w.lanes[k].rows[0];
            settle(&w, k, is_two && bound == w.lanes[k].rows[0] ? later : good);
        }
        take_orders(&w);
    }
    assert_int_equal(w.delivered, 59);
    assert_int_not_equal(bound, 0);
    a.day_ends_us = w.now + 2 * interval_us; /* as the path was told: in an hour */
    w.now += interval_us;
    take_orders(&w);
    struct row_view waits = view_row(&w, bound);
    assert_int_equal(waits.state, ROW_READY);
    assert_true(waits.site.lacks & LACK_WARMUP);
    finish(&w);
}

/* ---- what a row waits for ---- */

static void a_row_tells_what_it_waits_for(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 6, 1, (struct scheduler_policy){.connections = 1, .message_rate = 60});
    assert_int_equal(view_row(&w, 1).state, ROW_ASKING);
    assert_false(view_row(&w, 1).asked);
    assert_null(view_row(&w, 1).site.name);
    assert_int_equal(scheduler_ask(w.s), 0);
    assert_true(view_row(&w, 1).asked);
    struct mx_set mute = {.code = 608};
    mute.words = mute.site = mute.key = (char *)(uintptr_t) "no";
    scheduler_resolved(w.s, 0, mx_set_copy(&mute), w.now);
    assert_int_equal(view_row(&w, 1).due_us, w.now + UNREACHABLE_RESOLVER_US);
    w.now += UNREACHABLE_RESOLVER_US;
    take_orders(&w); /* one is lent, at one a minute */
    assert_int_equal(view_row(&w, 1).state, ROW_LENT);
    struct row_view second = view_row(&w, 2);
    assert_int_equal(second.state, ROW_READY);
    assert_string_equal(second.site.name, "mx.d0");
    assert_int_equal(second.site.waiting, 6);
    settle_all(&w, later);
    end_lane(&w, 0, CLOSED_CLEAN);
    take_orders(&w);
    second = view_row(&w, 2);
    assert_int_equal(second.site.lacks & LACK_RATE, LACK_RATE);
    assert_in_range(second.site.until_us, w.now + 1, w.now + 2 * minute_us);
    struct row_view first = view_row(&w, 1);
    assert_int_equal(first.state, ROW_WAITING);
    assert_in_range(first.due_us, w.now + interval_us, w.now + interval_us + SECOND_US);
    assert_int_equal(first.site.until_us, 0);
    assert_int_equal(scheduler_stats(w.s).due_us, first.due_us);
    w.now += 2 * minute_us;
    take_orders(&w);
    settle_all(&w, good);
    assert_int_equal(view_row(&w, 2).state, ROW_FINAL);
    finish(&w);
}

/* A retry is bound to its source: that one's suspension is what it waits for. */
static void a_row_tells_of_its_own_source(void **state)
{
    (void)state;
    struct world w;
    begin(
        &w, 9, 1,
        (struct scheduler_policy){.connections = 1, .sources = three, .sources_n = 3});
    take_orders(&w);
    uint8_t source = w.lanes[0].source;
    uint32_t row = w.lanes[0].rows[0];
    settle(&w, 0, later);
    struct suspension pause = {
        .reach = REACH_SOURCE, .for_us = 2 * interval_us, .why = "listed"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    take_orders(&w);
    struct row_view bound = view_row(&w, row);
    assert_int_equal(bound.state, ROW_WAITING);
    assert_int_equal(bound.source, source);
    assert_int_equal(bound.site.lacks, LACK_PATH);
    assert_int_equal(bound.site.until_us, w.now + 2 * interval_us);
    assert_string_equal(bound.site.why, "listed");
    w.now += interval_us;
    take_orders(&w);
    settle_all(&w, good);
    bound = view_row(&w, row);
    assert_int_equal(bound.state, ROW_READY);
    assert_true(bound.site.lacks & LACK_PATH);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sites_of_a_section_share_its_connections),
        cmocka_unit_test(without_a_section_each_site_has_its_own),
        cmocka_unit_test(a_rate_paces_what_is_lent),
        cmocka_unit_test(a_slow_rate_holds_no_connection),
        cmocka_unit_test(a_rate_is_named_and_not_connections_that_wait_for_it),
        cmocka_unit_test(connections_are_opened_at_their_rate),
        cmocka_unit_test(jobs_share),
        cmocka_unit_test(a_job_that_stands_says_so),
        cmocka_unit_test(connections_go_round_and_retries_keep_their_source),
        cmocka_unit_test(only_an_answered_mail_binds_a_row),
        cmocka_unit_test(a_suspended_source_leaves_fresh_mail_to_others),
        cmocka_unit_test(after_a_suspension_connections_come_back_one_by_one),
        cmocka_unit_test(a_suspension_meets_more_than_a_site),
        cmocka_unit_test(a_suspended_source_says_why_everywhere),
        cmocka_unit_test(the_longest_suspension_is_told),
        cmocka_unit_test(slow_means_half),
        cmocka_unit_test(slow_lasts_as_long_as_the_longest),
        cmocka_unit_test(slow_opens_nothing),
        cmocka_unit_test(slow_reaches_what_it_says),
        cmocka_unit_test(a_slow_site_has_half_of_what_was_never_used),
        cmocka_unit_test(refusals_close_a_path_for_longer_each_time),
        cmocka_unit_test(too_many_unknown_addresses_stop_a_provider),
        cmocka_unit_test(a_server_that_closes_after_three_gets_two),
        cmocka_unit_test(a_receiver_says_when_to_come_back),
        cmocka_unit_test(our_own_waiting_is_not_lifetime),
        cmocka_unit_test(quiet_hours),
        cmocka_unit_test(a_new_source_sends_its_cap),
        cmocka_unit_test(a_cap_and_a_suspension),
        cmocka_unit_test(fresh_mail_goes_by_others),
        cmocka_unit_test(a_row_tells_what_it_waits_for),
        cmocka_unit_test(a_row_tells_of_its_own_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
