/* Text that stands in one field of one line of attempts.tsv. Pure; any thread.
 *
 * The same as text_clean (base/text.h) but for one thing: a backslash stays as it is.
 * What comes here was mostly cleaned at the reader that met it, and must not be cleaned
 * twice; so making it safe a second time changes nothing. */
#ifndef REPORT_FIELD_H
#define REPORT_FIELD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Write text at `to`, which has room for max bytes: well-formed UTF-8 passes, a control
 * byte (C1 controls too), DEL or byte that is not UTF-8 becomes \xHH. What is over max
 * is cut, between characters. Returns the end of what was written. */
char *field_write(char *to, struct span text, size_t max);

/* Could field_write have made the line's fields? TAB may stand between them. */
bool field_line_good(struct span line);

#endif
