/* Small text matters that every room shares: durations and rates as people write them,
 * times as RFC 3339 prints them, UTF-8, and the cleaning of strangers' text. Pure; any
 * thread; no clock is read here. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* "500ms", "5s", "30m", "24h", "2d", and "0"; false if it is none or does not fit. */
bool duration_parse(struct span text, int64_t *ms_out);
/* The shortest of those forms that is exact. */
void duration_print(struct buf *b, int64_t ms);

/* For people: "40 seconds", "1 minute", "3 hours"; what is below the unit is dropped.
 */
void duration_say(struct buf *b, int64_t ms);

/* "5/s", "100/min", "500/h", and "0": no limit; false if it is none or does not fit. */
bool rate_parse(struct span text, int64_t *per_hour_out);
/* The shortest of those forms that is exact. */
void rate_print(struct buf *b, int64_t per_hour);

enum { RFC3339_MS_LEN = 24, RFC5322_DATE_MAX = 40 };
/* "2026-11-22T08:39:16.123Z" (24 bytes, no NUL) of milliseconds since 1970, UTC. */
void time_rfc3339_ms(int64_t unix_ms, char out[RFC3339_MS_LEN]);
/* The reverse, for that very form; false if it is not. */
bool time_rfc3339_ms_parse(struct span text, int64_t *unix_ms_out);
/* "Sun, 22 Nov 2026 08:39:16 +0000" with a NUL: RFC 5322 3.3. */
void time_rfc5322(int64_t unix_ms, char out[RFC5322_DATE_MAX]);

/* Is it well-formed UTF-8 (no surrogates, no overlong forms, up to U+10FFFF)? */
bool utf8_valid(struct span text);
/* Bytes of the well-formed UTF-8 sequence at the start of text, 0 if there is none. */
size_t utf8_sequence(struct span text);
/* What of a string has room, with a NUL; a cut falls between characters. room: at least
 * 1. */
void utf8_copy(char *out, size_t room, const char *text);

/* Append text so that it can stand in one field of one line of a log: well-formed UTF-8
 * passes, every control byte (also C1 controls U+0080-009F), TAB, CR, LF, DEL and byte
 * that is not UTF-8 becomes \xHH, backslash becomes \\. At most `max` bytes are added;
 * a cut falls between characters. */
void text_clean(struct buf *b, struct span text, size_t max);

#endif
