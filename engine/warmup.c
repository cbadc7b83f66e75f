/* How many messages a new source may send today: its cap, less what all jobs of the
 * spool have drawn. */
#include "queue/warmup.h"

#include "engine/inside.h"
#include "engine/record.h"

enum {
    DRAW_PART = 16, /* of a cap are drawn at a time: what a job leaves is lost today */
    LATER_US = 20 * 1000,
    BROKEN_US = 60 * 1000 * 1000, /* nothing is sent unless it can be written down */
};

static uint32_t draw(struct engine *e, const struct warmup_ask *ask, int64_t now_us,
                     int64_t *until_us)
{
    uint32_t n;
    struct fault f = {0};
    switch (warmup_draw(e->warmup, ask, &n, &f)) {
    case WARMUP_DRAWN:
    case WARMUP_USED_UP:
        break;
    case WARMUP_LATER:
        *until_us = now_us + LATER_US;
        break;
    case WARMUP_BROKEN:
        *until_us = now_us + BROKEN_US;
        record_note(e->params->attempts, engine_wall_ms(e, now_us), f.words);
        break;
    }
    return n;
}

uint32_t warmup_allow(void *engine, uint8_t source, uint32_t policy, const char *site,
                      int64_t now_us, int64_t *until_us)
{
    struct engine *e = engine;
    const char *budget = e->policies[policy].budget;
    int64_t now_ms = engine_clock_ms();
    *until_us = now_us + (day_end_ms(now_ms) - now_ms) * 1000;
    int32_t day = day_local(now_ms);
    uint32_t cap = warmup_cap(&e->params->warmups[source - 1], day);
    if (cap == 0 || cap == UINT32_MAX)
        return cap;
    struct warmup_ask ask = {.day = day,
                             .source = e->params->worker.sources[source - 1].name,
                             .provider = budget ? budget : site,
                             .cap = cap,
                             .want = cap < DRAW_PART ? 1 : cap / DRAW_PART};
    return draw(e, &ask, now_us, until_us);
}
