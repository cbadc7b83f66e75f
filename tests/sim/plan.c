/* What a seed makes of the world: servers of all characters, names that resolve or do
 * not, settings, and a list. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "world.h"

/* ---- drawing ---- */

static int64_t between(struct rng *r, int64_t least, int64_t most)
{
    return least + (int64_t)(rng_next(r) % (uint64_t)(most - least + 1));
}

static bool chance(struct rng *r, uint32_t percent)
{
    return rng_below(r, 100) < percent;
}

void machine_calm(struct machine *m, uint64_t seed)
{
    *m = (struct machine){
        .rng = {seed},
        .mood = {.name = "calm", .pipelining = true},
        .turn_us = NEVER,
        .latency_us = 5000,
        .window = 64 * 1024,
        .receive_buffer = 64 * 1024,
        .cut = 1460,
    };
    m->later_mood = m->mood;
}

/* Each character once; X(word, percent of places). The rest is calm. */
/* clang-format off */
#define CHARACTERS(X) \
    X(PICKY, 6) X(DEFERRING, 4) X(FILTERING, 4) X(GREYLISTING, 8) X(CLOSING, 5)        \
    X(LIMITING, 4) X(NARROW, 4) X(PLAIN, 3) X(OLD, 2) X(FAULTY, 14) X(STORMY, 4)       \
    X(REFUSING, 2) X(DEAD, 3) X(DROPPED, 2) X(SPEECHLESS, 2) X(RECOVERING, 5)          \
    X(TARPIT, 2) X(TINY, 4) X(DISTANT, 3) X(FLAKY, 3) X(DISTRUSTFUL, 3)
/* clang-format on */
enum character {
#define X(name, percent) name,
    CHARACTERS(X)
#undef X
        CALM
};
static const uint8_t percents[] = {
#define X(name, percent) percent,
    CHARACTERS(X)
#undef X
};

static enum character draw_character(struct rng *r)
{
    uint32_t at = rng_below(r, 100);
    for (int i = 0; i < CALM; i++) {
        if (at < percents[i])
            return (enum character)i;
        at -= percents[i];
    }
    return CALM;
}

static void trouble_bytes(struct machine *m, struct rng *r, int percent)
{
    m->fault_percent = percent;
    m->faults = (1u << FAULT_COUNT) - 2;
    if (chance(r, 50)) /* one kind alone, so that it is met often */
        m->faults = 1u << (1 + rng_below(r, FAULT_COUNT - 1));
    m->fault_bytes = chance(r, 50) ? 600 : 6000;
}

static void take_character(struct machine *m, enum character character, struct rng *r)
{
    struct mood *mood = &m->mood;
    int percent = (int)between(r, 1, 60);
    switch (character) {
    case PICKY:
        mood->refuse_percent = percent;
        mood->refuse_reply =
            chance(r, 50) ? "550 5.1.1 no such user" : "552 5.2.2 mailbox full";
        break;
    case DEFERRING:
        mood->defer_percent = percent;
        mood->defer_reply = "451 4.3.0 try again later";
        break;
    case FILTERING:
        mood->filter_percent = percent;
        mood->filter_reply = chance(r, 50) ? "550 5.7.1 filtered" : "451 4.7.1 later";
        if (chance(r, 50)) { /* another's 250 may slip into the refusal's place */
            trouble_bytes(m, r, 50);
            m->faults = 1u << FAULT_LOSE;
        }
        break;
    case GREYLISTING:
        mood->greylist_s = (int)between(r, 60, 3600);
        break;
    case CLOSING:
        mood->close_after = (int)between(r, 1, 20);
        break;
    case LIMITING:
        mood->close_after = (int)between(r, 1, 20);
        mood->close_reply = "421 4.7.0 too many messages";
        break;
    case NARROW:
        mood->connections = (int)between(r, 1, 4);
        break;
    case PLAIN:
        mood->pipelining = false;
        break;
    case OLD:
        mood->helo_only = true;
        break;
    case FAULTY:
        trouble_bytes(m, r, percent);
        break;
    case STORMY:
        m->later_mood = *mood;
        m->turn_us = between(r, 0, 5) * HOUR_US;
        mood->greeting = "421 4.7.0 not now";
        return;
    case REFUSING:
        mood->greeting = "554 5.7.1 no mail from you";
        break;
    case DEAD:
    case DROPPED:
    case SPEECHLESS:
        m->door = character == DEAD      ? DOOR_REFUSED
                  : character == DROPPED ? DOOR_DROPPED
                                         : DOOR_SPEECHLESS;
        m->door_until_us = NEVER;
        break;
    case RECOVERING:
        m->door = (enum door)between(r, DOOR_REFUSED, DOOR_SPEECHLESS);
        m->door_until_us = between(r, 0, 6 * 60) * MINUTE_US;
        break;
    case TARPIT:
        m->slow_us = between(r, 1, 10) * SECOND_US;
        break;
    case TINY:
        m->window = (uint32_t)between(r, 1, 200);
        m->receive_buffer = (uint32_t)between(r, 1, 200);
        trouble_bytes(m, r, chance(r, 50) ? percent : 0);
        break;
    case DISTANT:
        mood->delay_ms = (int)between(r, 1, 3000);
        break;
    case FLAKY:
        m->refuse_percent = percent;
        break;
    case DISTRUSTFUL: /* 530 to MAIL: about us, and the next host may differ */
        mood->auth = true;
        break;
    case CALM:
        break;
    }
    m->later_mood = *mood;
}

static void draw_machine(struct machine *m, enum character character, struct rng *r)
{
    machine_calm(m, rng_next(r));
    m->latency_us = chance(r, 20) ? between(r, 50000, 400000) : between(r, 100, 50000);
    m->cut = (uint32_t)(chance(r, 30) ? between(r, 1, 40) : between(r, 40, 1460));
    m->mood.pipelining = chance(r, 85);
    take_character(m, character, r);
    if (character != CALM && chance(r, 10))
        trouble_bytes(m, r, (int)between(r, 1, 60));
}

static void draw_places(struct plan *p, struct rng *r)
{
    p->places = mem_zero(p->places_n, sizeof *p->places);
    p->machines =
        mem_zero((size_t)p->places_n * SITE_MACHINES_MAX, sizeof *p->machines);
    for (uint32_t i = 0; i < p->places_n; i++) {
        struct place *place = &p->places[i];
        enum character character = draw_character(r);
        place->first = p->machines_n;
        place->machines_n = 1 + rng_below(r, SITE_MACHINES_MAX);
        place->good = character == CALM;
        for (uint32_t k = 0; k < place->machines_n; k++) {
            bool other = character != CALM && k > 0 && chance(r, 30);
            draw_machine(&p->machines[p->machines_n++],
                         other ? draw_character(r) : character, r);
        }
    }
}

static void draw_names(struct plan *p, struct rng *r)
{
    static const uint32_t ttls[] = {60, 300, 3600, 86400};
    p->names = mem_zero(p->names_n, sizeof *p->names);
    for (uint32_t i = 0; i < p->names_n; i++) {
        struct name *name = &p->names[i];
        name->place = i < p->places_n ? i : rng_below(r, p->places_n);
        name->ttl_s = ttls[rng_below(r, 4)];
        name->turn_us = between(r, 0, 5 * 60) * MINUTE_US;
        if (chance(r, 15))
            name->kind = (enum name_kind)between(r, NAME_UNKNOWN, NAME_UNUSABLE);
    }
}

static void draw_settings(struct plan *p, struct rng *r)
{
    static const int64_t intervals[4][3] = {{1800000, 1800000, 1800000},
                                            {300000, 900000, 1800000},
                                            {60000, 300000, 3600000},
                                            {1000, 60000, 600000}};
    memcpy(p->intervals_ms, intervals[rng_below(r, 4)], sizeof p->intervals_ms);
    p->policy = (struct scheduler_policy){
        .retry_interval_ms = p->intervals_ms,
        .retry_intervals = 3,
        .lifetime_ms = between(r, 1, 24) * 3600 * 1000,
        .max_attempts = chance(r, 30) ? (uint32_t)between(r, 1, 10) : 0,
        .connections = (uint32_t)between(r, 1, 20),
        .messages_per_connection = chance(r, 50) ? (uint32_t)between(r, 1, 100) : 0,
    };
    p->connections_total =
        (uint32_t)(chance(r, 30) ? between(r, 5, 40) : between(r, 100, 600));
    p->connect_limit_us = between(r, 5, 60) * SECOND_US;
    p->smtp = (struct smtp_params){.helo_name = "sender.example.com"};
    p->smtp.pipelining =
        chance(r, 70) ? SMTP_PIPELINING_AUTO : (enum smtp_pipelining)between(r, 1, 2);
    int64_t hurry = chance(r, 50) ? 1 : between(r, 2, 20);
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        p->smtp.limit_us[i] = smtp_stages[i].limit_ms * INT64_C(1000) / hurry;
    p->smtp.session_limit_us = chance(r, 60) ? between(r, 5, 120) * MINUTE_US : 0;
    if (chance(r, 40)) {
        p->verdict.end_timeout = (enum verdict_doubt)between(r, 0, 2);
        p->verdict.in_doubt = (enum verdict_doubt)between(r, 0, 2);
    }
    if (chance(r, 20)) {
        p->dead_from_us = between(r, 0, 120) * MINUTE_US;
        p->dead_until_us = p->dead_from_us + between(r, 1, 600) * MINUTE_US;
    }
    if (chance(r, 20)) {
        p->cut_from_us = between(r, 0, 120) * MINUTE_US;
        p->cut_until_us = p->cut_from_us + between(r, 1, 300) * MINUTE_US;
    }
    p->sync_us = chance(r, 30) ? 0 : between(r, 1, 50000);
    p->slow_syncs = chance(r, 20) ? 5 : 0;
    p->news_us = chance(r, 30) ? 0 : between(r, 1, 5000);
    p->no_sockets = chance(r, 10) ? (int)between(r, 1, 30) : 0;
    p->stops = chance(r, 40) ? (int)between(r, 1, 4) : 0;
}

/* Every third world speaks BDAT. Nothing of the others is drawn for it, so that the
 * worlds of tests/sim/seeds stay what they were. */
static void draw_chunking(struct plan *p)
{
    struct rng r = {p->seed ^ 0xbda7};
    if (p->seed % 3)
        return;
    p->smtp.chunking = true;
    for (uint32_t i = 0; i < p->places_n; i++)
        for (uint32_t k = 0; k < p->places[i].machines_n; k++) {
            struct machine *m = &p->machines[p->places[i].first + k];
            bool unknown = chance(&r, 5) && !p->places[i].good;
            m->mood.chunking = unknown ? CHUNKING_UNKNOWN
                                       : (enum mood_chunking)between(&r, CHUNKING_NONE,
                                                                     CHUNKING_STRICT);
            m->later_mood.chunking = m->mood.chunking;
        }
}

static void draw(struct plan *p, struct rng *r)
{
    draw_places(p, r);
    draw_names(p, r);
    draw_settings(p, r);
    draw_chunking(p);
}

void plan_draw(struct plan *p, uint64_t seed)
{
    struct rng r = {seed};
    *p = (struct plan){.seed = seed};
    p->places_n = (uint32_t)between(&r, 1, chance(&r, 20) ? 5 : 300);
    p->names_n = p->places_n + (uint32_t)between(&r, 0, p->places_n);
    p->rows = (uint32_t)between(&r, 1, 6 * p->names_n);
    draw(p, &r);
}

/* ---- limits ---- */

static int64_t draw_rate(struct rng *r)
{
    static const int64_t an_hour[] = {60, 240, 1800, 3600, 7200, 36000, 100000};
    return chance(r, 50) ? 0 : an_hour[rng_below(r, 7)];
}

static void draw_limits_of(struct plan *p, uint32_t number, struct rng *r)
{
    struct scheduler_policy *policy = number ? &p->others[number - 1] : &p->policy;
    *policy = p->policy;
    policy->provider = rng_below(r, PROVIDERS_MAX + 1);
    policy->key = policy->provider ? 100 + policy->provider : number;
    policy->connections = (uint32_t)between(r, 1, chance(r, 50) ? 4 : 20);
    policy->messages_per_connection = chance(r, 50) ? (uint32_t)between(r, 1, 30) : 0;
    policy->message_rate = draw_rate(r);
    policy->connection_rate = draw_rate(r);
    policy->unknown_percent = chance(r, 60) ? (uint32_t)between(r, 2, 40) : 0;
    policy->unknown_pause_ms = between(r, 1, 120) * 60000;
    for (uint32_t i = 0; i < number && policy->provider; i++) { /* one budget */
        const struct scheduler_policy *other = plan_policy(p, i);
        if (other->provider == policy->provider)
            *policy = *other;
    }
    policy->sources = p->sources[number];
    policy->sources_n = 0;
    for (int i = 1; i <= p->sources_n; i++)
        if (chance(r, 70))
            p->sources[number][policy->sources_n++] = (uint8_t)i;
}

/* What bounds several policies at once, beside what each of them says. */
static void draw_outer(struct plan *p, struct rng *r)
{
    if (chance(r, 50))
        return;
    for (uint32_t i = 1; i <= OUTER_MAX; i++)
        p->outer_limits[i] = (struct scheduler_policy){
            .connections = chance(r, 30)
                               ? UINT32_MAX
                               : (uint32_t)between(r, 1, chance(r, 50) ? 4 : 20),
            .message_rate = draw_rate(r),
            .connection_rate = draw_rate(r)};
    for (uint32_t number = 0; number <= p->others_n; number++) {
        struct scheduler_policy *policy = number ? &p->others[number - 1] : &p->policy;
        policy->outer = p->outer[number];
        for (uint32_t i = 1; i <= OUTER_MAX; i++)
            if (chance(r, 60))
                p->outer[number][policy->outer_n++] = (struct scheduler_budget){
                    .number = i,
                    .key = 200 + i,
                    .connections = p->outer_limits[i].connections,
                    .message_rate = p->outer_limits[i].message_rate,
                    .connection_rate = p->outer_limits[i].connection_rate};
    }
}

/* In turn it refuses us, breaks off, or is as calm as before. */
static void sour(struct machine *m, struct rng *r)
{
    m->later_mood = m->mood;
    m->burst_us = between(r, 1, 120) * MINUTE_US;
    switch (rng_below(r, 6)) {
    case 0:
        m->mood.greeting = "421 4.7.0 [TSS04] temporarily deferred";
        break;
    case 1:
        m->mood.refuse_percent = (int)between(r, 30, 100);
        m->mood.refuse_reply = "550 5.7.1 blocked";
        break;
    case 2:
        m->mood.close_after = (int)between(r, 1, 10);
        m->mood.close_reply = "421 4.7.0 too many messages";
        break;
    case 3:
        m->mood.auth = true; /* 530 to MAIL */
        break;
    case 4: /* a list that is old */
        m->mood.refuse_percent = m->later_mood.refuse_percent = (int)between(r, 20, 70);
        m->mood.refuse_reply = m->later_mood.refuse_reply = "550 5.1.1 no such user";
        break;
    default: /* at all times, as some do it without a word */
        m->mood.close_after = m->later_mood.close_after = (int)between(r, 2, 10);
    }
}

/* Recipients share messages, and some servers take fewer than that. */
static void draw_together(struct plan *p, struct rng *r)
{
    if (chance(r, 60))
        return;
    p->policy.recipients = (uint32_t)between(r, 2, TOGETHER_MAX);
    for (uint32_t i = 0; i < p->others_n; i++) /* one budget, one policy */
        p->others[i].recipients = p->policy.recipients;
    for (uint32_t i = 0; i < p->machines_n; i++)
        if (chance(r, 30))
            p->machines[i].mood.recipients = p->machines[i].later_mood.recipients =
                (int)between(r, 1, 6);
}

/* New sources, and hours in which some are left alone. */
static void draw_days(struct plan *p, struct rng *r)
{
    static const int64_t hour_ms = 3600 * 1000;
    p->begin_ms = between(r, 0, 365 * 24) * hour_ms;
    if (p->sources_n && chance(r, 40)) {
        for (int i = 0; i < 3; i++)
            p->caps[i] = between(r, i == 1 ? 0 : 1, 60);
        for (int i = 0; i < p->sources_n; i++)
            if (chance(r, 60))
                p->drawn_warmups[i] = (struct warmup_plan){
                    day_local(p->begin_ms) + (int32_t)between(r, -2, 1), p->caps, 3};
        p->warmups = p->drawn_warmups;
    }
    for (uint32_t i = 0; i <= p->others_n; i++) {
        int from = (int)between(r, 0, 1439), length = (int)between(r, 60, 720);
        if (chance(r, 20))
            p->hours[i] = (struct hours){from, (from + length) % 1440};
    }
}

void plan_draw_limited(struct plan *p, uint64_t seed)
{
    struct rng r = {seed ^ 0x11111};
    *p = (struct plan){.seed = seed, .limited = true, .boarded = seed % 2 == 0};
    p->places_n = (uint32_t)between(&r, 1, chance(&r, 40) ? 6 : 40);
    p->names_n = p->places_n + (uint32_t)between(&r, 0, p->places_n);
    p->rows = (uint32_t)between(&r, 20, 900);
    draw(p, &r);
    p->sources_n = (int)between(&r, 0, SOURCES_MAX);
    p->others_n = (uint32_t)between(&r, 0, OTHERS_MAX);
    for (uint32_t i = 0; i <= p->others_n; i++)
        draw_limits_of(p, i, &r);
    for (uint32_t i = 0; i < p->places_n; i++) {
        struct place *place = &p->places[i];
        place->policy = rng_below(&r, p->others_n + 1);
        if (!chance(&r, 25))
            continue;
        place->good = false;
        for (uint32_t k = 0; k < place->machines_n; k++)
            sour(&p->machines[place->first + k], &r);
    }
    p->refusals_max = chance(&r, 60) ? (uint32_t)between(&r, 2, 20) : 0;
    p->hands = chance(&r, 70) ? (int)between(&r, 1, 40) : 0;
    p->hands_us = chance(&r, 50) ? MINUTE_US : 20 * MINUTE_US;
    struct rng days = {seed ^ 0x22222};
    draw_together(p, &days);
    draw_days(p, &days);
    struct rng outer = {seed ^ 0x33333};
    draw_outer(p, &outer);
}

const struct scheduler_policy *plan_policy(const struct plan *p, uint32_t number)
{
    return number ? &p->others[number - 1] : &p->policy;
}

void plan_draw_day(struct plan *p, uint64_t seed, uint32_t places, uint32_t rows)
{
    static const int64_t half_hour_ms = 30 * 60 * 1000;
    struct rng r = {seed};
    *p = (struct plan){
        .seed = seed, .places_n = places, .names_n = 2 * places, .rows = rows};
    draw(p, &r);
    for (int i = 0; i < 3; i++)
        p->intervals_ms[i] = half_hour_ms;
    p->policy.lifetime_ms = 24 * 3600 * 1000;
    p->policy.max_attempts = 0;
    p->policy.connections = 20;
    p->policy.messages_per_connection = 100;
    p->connections_total = 1000;
    p->stops = 2;
}

void plan_draw_calm(struct plan *p, uint64_t seed, uint32_t places, uint32_t rows)
{
    static const int64_t half_hours[] = {1800000};
    *p = (struct plan){.seed = seed,
                       .rows = rows,
                       .names_n = places,
                       .places_n = places,
                       .machines_n = places,
                       .connections_total = 500,
                       .connect_limit_us = 30 * SECOND_US,
                       .sync_us = 5000,
                       .news_us = 500};
    p->intervals_ms[2] = half_hours[0];
    p->policy = (struct scheduler_policy){.retry_interval_ms = half_hours,
                                          .retry_intervals = 1,
                                          .lifetime_ms = 24 * 3600 * 1000,
                                          .connections = 20,
                                          .messages_per_connection = 100};
    p->smtp = (struct smtp_params){.helo_name = "sender.example.com"};
    p->smtp.session_limit_us = HOUR_US;
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        p->smtp.limit_us[i] = smtp_stages[i].limit_ms * INT64_C(1000);
    p->names = mem_zero(places, sizeof *p->names);
    p->places = mem_zero(places, sizeof *p->places);
    p->machines = mem_zero(places, sizeof *p->machines);
    for (uint32_t i = 0; i < places; i++) {
        p->names[i] = (struct name){.place = i, .ttl_s = 3600};
        p->places[i] = (struct place){.first = i, .machines_n = 1, .good = true};
        machine_calm(&p->machines[i], seed + i);
    }
}

void plan_make_list(struct plan *p)
{
    struct rng r = {p->seed + 1};
    struct buf text = {0};
    buf_add_str(&text, "email\n");
    for (uint32_t row = 1; row <= p->rows; row++) {
        /* Few names have most of the rows. */
        uint32_t some = 1 + rng_below(&r, p->names_n);
        uint32_t name = rng_below(&r, some);
        if (p->giant_percent)
            name = chance(&r, p->giant_percent) ? 0 : 1 + rng_below(&r, p->names_n - 1);
        buf_printf(&text, "r%u@d%u.example\n", row, name);
    }
    int fd = memfd_create("list", MFD_CLOEXEC);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
        abort();
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct fault f = {0};
    struct recipients_params params = {.path = path};
    p->list = recipients_open(&params, &f);
    if (!p->list) {
        fprintf(stderr, "%s\n", f.words);
        exit(1);
    }
    close(fd);
    buf_finish(&text);
}

void plan_free(struct plan *p)
{
    recipients_free(p->list);
    free(p->names);
    free(p->places);
    free(p->machines);
}

/* ---- names ---- */

static void machine_address(uint32_t machine, struct ip *out)
{
    char text[32];
    snprintf(text, sizeof text, "10.%u.%u.%u", machine >> 16 & 255, machine >> 8 & 255,
             machine & 255);
    bool good = ip_parse(text, out);
    assert(good);
    (void)good;
}

struct machine *plan_machine(struct plan *p, const struct ip *address)
{
    const uint8_t *b = address->bytes + 12;
    uint32_t number = (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    assert(number < p->machines_n);
    return &p->machines[number];
}

static void answer_mx(const struct plan *p, const struct name *name, int64_t now_us,
                      struct dns_answer *a)
{
    bool early = now_us < name->turn_us;
    a->result = name->kind == NAME_UNKNOWN             ? DNS_NO_NAME
                : name->kind == NAME_BARE              ? DNS_NO_DATA
                : name->kind == NAME_FAILING && early  ? DNS_SERVFAIL
                : name->kind == NAME_UNUSABLE && early ? DNS_UNUSABLE
                                                       : DNS_FOUND;
    a->null_mx = name->kind == NAME_NULL_MX;
    if (a->result != DNS_FOUND || a->null_mx)
        return;
    const struct place *place = &p->places[name->place];
    for (uint32_t i = 0; i < place->machines_n; i++) {
        struct dns_mx *mx = &a->mx[a->n++];
        mx->preference = (uint16_t)(10 * (1 + i / 2));
        snprintf(mx->name, sizeof mx->name, "mx%u.p%u.example", place->first + i,
                 name->place);
    }
}

static void answer(const struct plan *p, const struct name *name,
                   const struct mx_question *q, int64_t now_us, struct dns_answer *a)
{
    *a = (struct dns_answer){.result = DNS_NO_DATA, .why = "", .ttl_s = name->ttl_s};
    snprintf(a->name, sizeof a->name, "%s", q->name);
    if (now_us >= p->dead_from_us && now_us < p->dead_until_us) {
        a->result = DNS_DEAD;
        a->why = "no name server answers";
        return;
    }
    if (q->type == DNS_MX) {
        answer_mx(p, name, now_us, a);
        if (a->result == DNS_SERVFAIL || a->result == DNS_UNUSABLE)
            a->why = "the server says so";
        return;
    }
    if (q->type != DNS_A)
        return;
    unsigned machine = p->places[name->place].first;
    if (name->kind != NAME_BARE)
        sscanf(q->name, "mx%u.", &machine);
    a->result = DNS_FOUND;
    machine_address(machine, &a->addresses[a->n++]);
}

struct mx_set *plan_resolve(const struct plan *p, uint32_t name, int64_t now_us,
                            int64_t took_us)
{
    static struct dns_answer a;
    char domain[40];
    snprintf(domain, sizeof domain, "d%u.example", name);
    struct mx_query *q = mx_query_create(domain, NULL);
    struct mx_question question;
    while (!mx_query_done(q))
        while (mx_query_next(q, &question)) {
            answer(p, &p->names[name], &question, now_us, &a);
            mx_query_answer(q, question.id, &a, mx_answer_expires(&a, now_us));
        }
    return mx_query_finish(q, now_us, took_us);
}
