/* The forecast of a plan, as `check` shows it: when which provider would have its mail,
 * and what bounds it. */
#ifndef CLI_OUTLOOK_H
#define CLI_OUTLOOK_H

#include "cli/blast.h"
#include "cli/forecast.h"
#include "cli/plan.h"

/* Those whose mail shares one budget: the sites of a section of the settings, or one
 * site alone. */
struct provider {
    const char *name; /* the section's pattern, or the site's */
    uint32_t rows, sites;
    int64_t lifetime_ms; /* the least that a policy of them gives a row */
    struct forecast_group *expected;
};

struct outlook {
    struct provider *providers; /* most rows first */
    uint32_t providers_n;
    struct provider *last; /* to end; NULL: nothing is sent */
    int64_t begin_ms;
    uint32_t unreachable;    /* rows whose hosts no source of their pool can reach */
    uint32_t others;         /* jobs of the spool that run now */
    struct warmup *used;     /* what they and former ones have of today's caps; NULL */
    struct fault used_fault; /* why that is not known; its code is 0: it is */
    struct forecast forecast;
};

/* Of what b would do. Prints progress on standard error when it is a terminal and not
 * quiet. plan and policies are those of plan_make. */
void outlook_make(struct outlook *o, const struct blast *b, const struct plan *plan,
                  struct policies *policies, bool quiet);
void outlook_finish(struct outlook *o);

void outlook_print(const struct outlook *o, const struct blast *b);
/* A member "forecast" of an object, with the comma before it. */
void outlook_print_json(const struct outlook *o);

#endif
