/* Is the forecast true? The same list, names and policy are foretold (cli/forecast.h)
 * and then sent in a world of real sessions; both are told how far the receivers are.
 */
#include "cli/forecast.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "world.h"

enum { LATENCY_US = 25 * 1000, OFF_PERCENT = 15, HOUR_MS = 3600 * 1000 };
static const int64_t nine_pm_ms = INT64_C(20000) * 24 * 3600 * 1000 + 21 * 3600 * 1000;

/* What its receivers are like, and we: a machine of this world has no processor. */
static struct forecast_assumed assumed_of(const struct plan *p)
{
    const struct machine *m = &p->machines[0];
    int64_t delay_us = (int64_t)m->mood.delay_ms * 1000;
    return (struct forecast_assumed){
        .round_trip_us = 2 * m->latency_us + delay_us,
        /* connect, greeting, EHLO */
        .opening_us =
            2 * m->latency_us + m->latency_us + delay_us + 2 * m->latency_us + delay_us,
        .bytes_a_second = 1000 * 1000 * 1000,
        .lookup_us = 200 * 1000,
    };
}

static void expect(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    exit(1);
}

/* A forecast of the plan, whose list is made; `how` says when and within which hours.
 */
static void foretell(const struct plan *p, struct forecast_params how,
                     struct forecast *out)
{
    uint32_t domains = recipients_domains(p->list);
    struct mx_set **sets = mem_zero(domains, sizeof(struct mx_set *));
    uint32_t *groups = mem_zero(domains, sizeof *groups);
    for (uint32_t i = 0; i < domains; i++) {
        const char *name = recipients_domain_name(p->list, i);
        uint32_t number = (uint32_t)strtoul(name + 1, NULL, 10);
        groups[i] = p->policy.provider ? 0 : number; /* one budget, one group */
        sets[i] = plan_resolve(p, number, 0, 0);
    }
    how.list = p->list;
    how.sets = sets;
    how.groups = groups;
    how.groups_n = p->names_n;
    how.policy = p->policy;
    how.connections_total = p->connections_total;
    how.lookups = 100;
    how.sources_n = p->sources_n;
    if (!how.assumed.round_trip_us)
        how.assumed = assumed_of(p);
    forecast_make(out, &how);
    expect(out->sent + out->left == p->rows, "each row is sent or left");
    for (uint32_t i = 0; i < domains; i++)
        mx_set_unref(sets[i]);
    free(sets);
    free(groups);
}

static struct hours hours_of(void *hours, uint32_t number)
{
    (void)number;
    return *(const struct hours *)hours;
}

/* ---- against the truth ---- */

static void compare(const char *mix, struct plan *p, const char *bound)
{
    struct world w;
    struct forecast f;
    for (uint32_t i = 0; i < p->machines_n; i++)
        p->machines[i].latency_us = LATENCY_US;
    plan_make_list(p);
    foretell(p,
             (struct forecast_params){.begin_ms = p->begin_ms,
                                      .hours_of = hours_of,
                                      .policy_arg = &p->hours[0],
                                      .warmups = p->warmups},
             &f);
    world_run(&w, p);
    int64_t truth_ms = (w.good_done_us - SECOND_US) / 1000;
    int64_t foretold_ms = f.end_ms - p->begin_ms;
    int64_t off = (foretold_ms - truth_ms) * 100;
    const char *words = f.groups[f.last].bound;
    printf("%s: bounded by %s; %.1f s foretold, %.1f s in truth, %+.1f %%\n", mix,
           *words ? words : "the distance", (double)foretold_ms / 1e3,
           (double)truth_ms / 1e3, (double)off / (double)truth_ms);
    expect(f.left == 0, "all is foretold");
    expect(!bound || strcmp(f.groups[f.last].bound, bound) == 0, bound);
    expect(off <= OFF_PERCENT * truth_ms && off >= -OFF_PERCENT * truth_ms, mix);
    forecast_finish(&f);
    world_finish(&w);
    plan_free(p);
}

static void mix_giant(void)
{
    struct plan p;
    plan_draw_calm(&p, 1, 3, 20000);
    p.policy.message_rate = 100 * 3600;
    compare("a giant with a rate limit", &p, "rate");
}

static void mix_small(void)
{
    struct plan p;
    plan_draw_calm(&p, 2, 3000, 9000);
    p.connections_total = 60;
    compare("many small domains", &p, NULL);
}

static void mix_slow(void)
{
    struct plan p;
    plan_draw_calm(&p, 3, 2, 1500);
    p.policy.connections = 3;
    for (uint32_t i = 0; i < p.machines_n; i++)
        p.machines[i].mood.delay_ms = 800;
    compare("few connections to slow receivers", &p, "all connections in use");
}

static void mix_reconnecting(void)
{
    struct plan p;
    plan_draw_calm(&p, 4, 3, 4000);
    p.policy.messages_per_connection = 3;
    p.policy.connection_rate = 5 * 3600;
    compare("few messages a connection, and a rate of those", &p, "connection rate");
}

static void mix_sources(void)
{
    static const uint8_t sources[] = {1, 2};
    struct plan p;
    plan_draw_calm(&p, 5, 8, 20000);
    p.policy.sources = sources;
    p.policy.sources_n = p.sources_n = 2;
    p.policy.message_rate = 20 * 3600;
    compare("several providers, two sources", &p, "rate");
}

static void mix_together(void)
{
    struct plan p;
    plan_draw_calm(&p, 11, 4, 20000);
    p.policy.recipients = 10;
    p.policy.message_rate = 10 * 3600;
    compare("ten recipients a message", &p, "rate");
}

/* A section for forty sites, two sources, and most rows at a few of them. */
static void mix_budget(void)
{
    static const uint8_t sources[] = {1, 2};
    struct plan p;
    plan_draw_calm(&p, 12, 40, 8000);
    p.policy.sources = sources;
    p.policy.sources_n = p.sources_n = 2;
    p.policy.provider = 1;
    p.policy.connections = 3;
    for (uint32_t i = 0; i < p.machines_n; i++)
        p.machines[i].mood.delay_ms = 300;
    compare("a budget for forty sites, two sources", &p, "all connections in use");
}

/* Sites with more than their part of what a wider section gives. */
static void mix_within(int64_t message_rate, uint32_t connections, int delay_ms,
                       const char *bound)
{
    const struct scheduler_budget outer = {.number = 1,
                                           .key = 9,
                                           .connections = connections,
                                           .message_rate = message_rate};
    struct plan p;
    plan_draw_calm(&p, 14, 8, 4000);
    p.policy.message_rate = message_rate;
    p.policy.outer = &outer;
    p.policy.outer_n = 1;
    p.outer_limits[1] = (struct scheduler_policy){.connections = connections,
                                                  .message_rate = message_rate};
    for (uint32_t i = 0; i < p.machines_n; i++)
        p.machines[i].mood.delay_ms = delay_ms;
    compare("eight sites within one budget", &p, bound);
}

/* Two new sources, one a day behind the other; the last rows take hours of a day. */
static void mix_warmup(void)
{
    static const int64_t some[] = {50, 150, 400};
    static const uint8_t sources[] = {1, 2};
    const struct warmup_plan warmups[] = {{20000, some, 3}, {20001, some, 3}};
    struct plan p;
    plan_draw_calm(&p, 13, 3, 12000);
    p.begin_ms = nine_pm_ms;
    p.warmups = warmups;
    p.policy.sources = sources;
    p.policy.sources_n = p.sources_n = 2;
    p.policy.connections = 1;
    for (uint32_t i = 0; i < p.machines_n; i++)
        p.machines[i].mood.delay_ms = 1500;
    compare("two new sources, some days", &p, "warm-up");
}

/* Two days' worth of a rate in the hours that are left of them. */
static void mix_hours(void)
{
    struct plan p;
    plan_draw_calm(&p, 14, 3, 15000);
    p.begin_ms = nine_pm_ms;
    p.hours[0] = (struct hours){20 * 60, 8 * 60};
    p.policy.message_rate = 360;
    compare("a rate and quiet hours", &p, "quiet hours");
}

/* ---- hours, and what else bounds ---- */

/* A message a second over one connection, for three hours. */
static void draw_line(struct plan *p)
{
    plan_draw_calm(p, 6, 1, 3 * 3600);
    p->machines[0].latency_us = SECOND_US / 2;
    p->policy.connections = 1;
    p->policy.messages_per_connection = 0;
    plan_make_list(p);
}

static bool about(int64_t ms, int64_t expected_ms)
{
    return ms > expected_ms - 60000 && ms < expected_ms + 60000;
}

static void case_quiet_hours(void)
{
    struct hours night = {22 * 60, 7 * 60}, evening = {20 * 60, 22 * 60};
    struct plan p;
    struct forecast f;
    draw_line(&p);
    foretell(&p,
             (struct forecast_params){
                 .begin_ms = nine_pm_ms, .hours_of = hours_of, .policy_arg = &night},
             &f);
    expect(f.left == 0 && about(f.end_ms, nine_pm_ms + 12 * HOUR_MS),
           "an hour before the quiet ones, and two after them");
    expect(strcmp(f.groups[0].bound, "quiet hours") == 0, "quiet hours are the reason");
    forecast_finish(&f);
    foretell(&p,
             (struct forecast_params){
                 .begin_ms = nine_pm_ms, .hours_of = hours_of, .policy_arg = &evening},
             &f);
    expect(about(f.end_ms, nine_pm_ms + 4 * HOUR_MS), "begun within quiet hours");
    forecast_finish(&f);
    foretell(&p,
             (struct forecast_params){.begin_ms = nine_pm_ms + 2 * HOUR_MS,
                                      .until_ms = nine_pm_ms + 7 * HOUR_MS,
                                      .hours_of = hours_of,
                                      .policy_arg = &night},
             &f);
    expect(f.sent == 0, "all of its time is quiet");
    expect(strcmp(f.groups[0].bound, "quiet hours") == 0, "why nothing is sent");
    forecast_finish(&f);
    foretell(&p,
             (struct forecast_params){.begin_ms = nine_pm_ms,
                                      .until_ms = nine_pm_ms + 3 * HOUR_MS,
                                      .hours_of = hours_of,
                                      .policy_arg = &night},
             &f);
    expect(f.sent > 0 && f.left > 0, "an hour of it is not");
    expect(strcmp(f.groups[0].bound, "quiet hours") == 0, "why it is not done");
    forecast_finish(&f);
    foretell(&p, /* in time, but for its own limits */
             (struct forecast_params){.begin_ms = nine_pm_ms,
                                      .until_ms = nine_pm_ms + HOUR_MS - 1000,
                                      .hours_of = hours_of,
                                      .policy_arg = &night},
             &f);
    expect(f.left > 0 && strcmp(f.groups[0].bound, "quiet hours") != 0,
           "they had not begun");
    forecast_finish(&f);
    plan_free(&p);
}

/* ---- warm-ups ---- */

static const int64_t caps[] = {50, 100};
static const uint8_t both[] = {1, 2};

/* 300 rows from one new source, whose first day is the 20000th. */
static void draw_new(struct plan *p, struct warmup_plan warmups[2])
{
    plan_draw_calm(p, 9, 1, 300);
    p->policy.sources = both;
    p->policy.sources_n = 1;
    p->sources_n = 2;
    plan_make_list(p);
    warmups[0] = (struct warmup_plan){20000, caps, 2};
    warmups[1] = (struct warmup_plan){0};
}

static uint64_t used_of(void *arg, uint8_t source, uint32_t number, const char *site)
{
    (void)arg;
    expect(source == 1 && number == 0 && strncmp(site, "mx0.", 4) == 0, "who has used");
    return 30;
}

/* 50 of them today, 100 tomorrow, the rest on the day behind the last cap. */
static void case_warmup(void)
{
    struct warmup_plan warmups[2];
    struct plan p;
    struct forecast f;
    struct forecast_params how = {.begin_ms = nine_pm_ms, .warmups = warmups};
    draw_new(&p, warmups);
    foretell(&p, how, &f);
    expect(f.left == 0 && about(f.end_ms, nine_pm_ms + 27 * HOUR_MS), "two midnights");
    expect(strcmp(f.groups[0].bound, "warm-up") == 0, "warm-up is the reason");
    forecast_finish(&f);

    how.until_ms = nine_pm_ms + 26 * HOUR_MS;
    foretell(&p, how, &f);
    expect(f.sent == 150 && f.left == 150, "two days' caps before the end");
    forecast_finish(&f);
    how.used_of = used_of; /* today's, not tomorrow's */
    foretell(&p, how, &f);
    expect(f.sent == 120, "less what is used up already");
    forecast_finish(&f);
    how.used_of = NULL;

    warmups[0].start += 5;
    how.until_ms = nine_pm_ms + 5 * 24 * HOUR_MS;
    foretell(&p, how, &f);
    expect(f.sent == 50 && f.groups[0].end_ms > nine_pm_ms + 99 * HOUR_MS,
           "nothing before its first day");
    forecast_finish(&f);
    how.until_ms = nine_pm_ms + HOUR_MS;
    foretell(&p, how, &f);
    expect(f.sent == 0 && strcmp(f.groups[0].bound, "warm-up") == 0,
           "why nothing is sent at all");
    forecast_finish(&f);
    how.until_ms = 0;

    p.policy.sources_n = 2; /* the other one is known */
    foretell(&p, how, &f);
    expect(f.left == 0 && about(f.end_ms, nine_pm_ms), "it takes the rest at once");
    expect(strcmp(f.groups[0].bound, "warm-up") != 0, "and holds nothing up");
    forecast_finish(&f);
    plan_free(&p);
}

/* The day on which summer time ends has 25 hours: the 20751st, 2026-10-25. */
static void case_long_day(void)
{
    struct warmup_plan warmups[2];
    struct plan p;
    struct forecast f;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    int64_t begin_ms = (INT64_C(20751) * 24 - 5) * HOUR_MS; /* 21:00 of the 24th */
    draw_new(&p, warmups);
    warmups[0].start = 20750;
    foretell(&p, (struct forecast_params){.begin_ms = begin_ms, .warmups = warmups},
             &f);
    expect(f.left == 0 && about(f.end_ms, begin_ms + (3 + 25) * HOUR_MS),
           "midnights of a clock on the wall");
    forecast_finish(&f);
    plan_free(&p);
    setenv("TZ", "UTC", 1);
    tzset();
}

/* ---- shared messages ---- */

/* One message a second, for up to twenty rows of one domain. */
static void case_shared(void)
{
    struct plan p;
    struct forecast f;
    plan_draw_calm(&p, 10, 2, 2000);
    p.policy.recipients = 20;
    p.policy.message_rate = 3600;
    p.policy.messages_per_connection = 0;
    plan_make_list(&p);
    foretell(&p, (struct forecast_params){0}, &f);
    expect(f.left == 0 && f.end_ms < 100 * 1000, "no message a row");
    expect(f.end_ms > 70 * 1000, "and no more messages than the rate");
    forecast_finish(&f);
    plan_free(&p);
}

static void case_until(void)
{
    struct plan p;
    struct forecast f;
    draw_line(&p);
    foretell(&p,
             (struct forecast_params){.begin_ms = nine_pm_ms,
                                      .until_ms = nine_pm_ms + HOUR_MS},
             &f);
    expect(f.left > 7100 && f.left < 7300, "two of three hours' rows are left");
    expect(f.groups[0].sent == f.sent, "whose rows were sent");
    expect(f.end_ms <= nine_pm_ms + HOUR_MS, "nothing is sent after the end");
    forecast_finish(&f);
    plan_free(&p);
}

/* A tenth of a second of our processors for each message. */
static void case_own(void)
{
    struct plan p;
    struct forecast f;
    plan_draw_calm(&p, 7, 20, 3000);
    plan_make_list(&p);
    struct forecast_assumed slow = assumed_of(&p);
    slow.own_ns = 100 * 1000 * 1000;
    foretell(&p, (struct forecast_params){.assumed = slow}, &f);
    expect(about(f.end_ms, 300 * 1000), "3000 rows, ten a second");
    expect(strcmp(f.groups[f.last].bound, "our own throughput") == 0,
           "we are the reason");
    forecast_finish(&f);
    plan_free(&p);
}

/* Twenty connections could do 57 messages a second, and may do 50. */
static void case_rate(void)
{
    struct plan p;
    struct forecast f;
    plan_draw_calm(&p, 8, 1, 3000);
    p.machines[0].latency_us = 87500;
    p.policy.message_rate = 50 * 3600;
    plan_make_list(&p);
    foretell(&p, (struct forecast_params){0}, &f);
    expect(f.end_ms > 59000 && f.end_ms < 65000, "3000 rows, fifty a second");
    expect(strcmp(f.groups[0].bound, "rate") == 0, "a rate that is used up");
    forecast_finish(&f);
    plan_free(&p);
}

void forecast_run(void)
{
    setenv("TZ", "UTC", 1);
    mix_giant();
    mix_small();
    mix_slow();
    mix_reconnecting();
    mix_sources();
    mix_together();
    mix_budget();
    mix_within(40 * 3600, UINT32_MAX, 0, "rate");
    mix_within(0, 6, 200, "all connections in use");
    mix_warmup();
    mix_hours();
    case_quiet_hours();
    case_warmup();
    case_long_day();
    case_shared();
    case_until();
    case_own();
    case_rate();
}
