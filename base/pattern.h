/* Patterns of names, as settings hold them. Both sides in lower case. Pure; any thread.
 */
#ifndef BASE_PATTERN_H
#define BASE_PATTERN_H

#include "base/buf.h"

/* "name" is that very domain, "*.name" every one below it, and not name itself. */
bool pattern_is_domain(const char *pattern, struct span domain);
/* `*` stands for any characters, dots too, `?` for one. */
bool pattern_is_host(const char *pattern, struct span host);

#endif
