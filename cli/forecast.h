/* When would this list be sent? The real scheduler under a false clock, with receivers
 * that take every message at the first try, as fast as is assumed of them and within
 * the limits. Pure: no clock, no I/O; it costs a microsecond or two a row, and the
 * memory of a scheduler. */
#ifndef CLI_FORECAST_H
#define CLI_FORECAST_H

#include "base/when.h"
#include "queue/scheduler.h"
#include "queue/warmup.h"

struct forecast_assumed {
    int64_t lookup_us;      /* of a domain, its MX hosts and their addresses */
    int64_t round_trip_us;  /* a group of commands and its answers */
    int64_t opening_us;     /* from connect() to where MAIL may be said */
    int64_t accept_us;      /* the receiver's, from the dot to its 250 */
    int64_t bytes_a_second; /* of one connection */
    int64_t own_ns;         /* of our processors, for one message; 0: nothing */
};

struct forecast_params {
    const struct recipients *list;
    struct mx_set *const *sets; /* of each domain; with a code: nothing goes there */
    const uint32_t *groups;     /* of each domain with a set: whom its rows count for */
    uint32_t groups_n;
    struct scheduler_policy policy; /* as in scheduler_params */
    scheduler_policy_fn *policy_of;
    void *policy_arg;
    /* The quiet hours of policy 0, or one that policy_of has returned; NULL: none. */
    struct hours (*hours_of)(void *policy_arg, uint32_t number);
    int sources_n;                     /* as in scheduler_params */
    const struct warmup_plan *warmups; /* of each source; NULL: none has one */
    /* What is used up of a source's cap for a provider on the day of begin_ms;
     * provider: that of a policy, or, when that is one site alone, `site`. NULL:
     * nothing. */
    uint64_t (*used_of)(void *policy_arg, uint8_t source, uint32_t number,
                        const char *site);
    uint32_t connections_total;
    uint32_t lookups;      /* at once, at least one */
    uint64_t message_size; /* bytes */
    int64_t begin_ms;      /* Unix time */
    int64_t until_ms;      /* Unix time; 0: to the end */
    struct forecast_assumed assumed;
    void (*tick)(void *arg, uint64_t sent); /* now and then; NULL: nobody looks */
    void *tick_arg;
};

struct forecast_group {
    uint32_t sent;
    int64_t end_ms;    /* of its last message, Unix time; valid if sent > 0 */
    const char *bound; /* what held it up for the longest time; "": nothing did, but
                          the distance. Lives as long as the forecast */
};

enum { FORECAST_REASONS = 32 };

struct forecast {
    struct forecast_group *groups;
    uint64_t sent;
    uint64_t left;  /* rows that until_ms, or a year, was too short for */
    int64_t end_ms; /* of the last message; begin_ms if there was none */
    uint32_t last;  /* the group that it was for; valid if sent > 0 */
    char *reasons[FORECAST_REASONS]; /* what bound points to */
    int reasons_n;
};

void forecast_make(struct forecast *f, const struct forecast_params *params);
void forecast_finish(struct forecast *f);

#endif
