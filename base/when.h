/* Points in time and hours of the day as people write them. Local time is that of TZ;
 * no clock is read here. */
#ifndef BASE_WHEN_H
#define BASE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* RFC 3339 ("2026-11-22T08:30:00Z", "…+09:00", seconds with a fraction if one likes),
 * or "HH:MM": the next time that a clock on the wall shows it, at most a day from now.
 * False if it is neither. */
bool when_parse(struct span text, int64_t now_ms, int64_t *unix_ms_out);

/* From one minute of the day to before another, over midnight if need be. Equal: never.
 */
struct hours {
    int from, to;
};
enum { HOURS_TEXT_MAX = 24 };
/* "22:00-07:00", or "": never. False of two equal times, too: who writes them means a
 * whole day. */
bool hours_parse(struct span text, struct hours *out);
void hours_print(const struct hours *h, char out[HOURS_TEXT_MAX]);
/* Is that time within them, on a local clock? */
bool hours_hold(const struct hours *h, int64_t unix_ms);
/* When they begin or end next: the minute of the wall's clock at which it changes.
 * INT64_MAX: never. */
int64_t hours_change_ms(const struct hours *h, int64_t unix_ms);

/* "2026-11-20": a day of the calendar, in days since 1970-01-01. */
bool day_parse(struct span text, int32_t *day_out);
/* The day that a local clock shows, and when its next one begins. */
int32_t day_local(int64_t unix_ms);
int64_t day_end_ms(int64_t unix_ms);

enum { WHEN_LOCAL_MAX = 32 };
/* "2026-11-22 17:39:16" on a local clock. Returns out. */
const char *when_local(int64_t unix_ms, char out[WHEN_LOCAL_MAX]);

#endif
