/* The face of a running blast: a bar on a terminal, plain lines elsewhere, JSON
 * objects, or nothing. And the sum at the end. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>

#include "engine/engine.h"

enum progress_style { PROGRESS_BAR, PROGRESS_LINES, PROGRESS_JSON, PROGRESS_QUIET };

struct progress {
    enum progress_style style;
    bool utf8;       /* the terminal shows block characters */
    int drawn;       /* lines of the picture that stands on the terminal */
    int64_t last_us; /* lines: when the last one was printed */
    double rate;     /* settled rows a second, smoothed */
    uint64_t rate_settled;
    int64_t rate_us;
};

/* The style for this run: standard error is a terminal or not. */
void progress_init(struct progress *p, bool quiet, bool json);
/* engine_params.tick: arg is the struct progress. */
void progress_tick(void *arg, const struct engine_stats *stats);
int progress_tick_ms(const struct progress *p);
/* Take the picture away and print the sum on standard output. */
void progress_end(struct progress *p, const struct engine_stats *stats,
                  const char *job);

#endif
