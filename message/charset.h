/* Charsets by iconv: iconv.h is included in charset.c and nowhere else. */
#ifndef MESSAGE_CHARSET_H
#define MESSAGE_CHARSET_H

#include <stdbool.h>

#include "base/buf.h"

bool charset_is_utf8(struct span name);
bool charset_is_ascii(struct span name);
bool charset_known(struct span name);
/* Does each ASCII character stand for itself, from the first byte on, in this charset?
 * (Shift_JIS and ISO-2022-JP: yes, UTF-16, UTF-7, HZ: no.) */
bool charset_holds_ascii(struct span name);

/* Append text as UTF-8. False: unknown charset or bytes that it does not have. */
bool charset_to_utf8(struct buf *out, struct span name, struct span text);
/* Append UTF-8 text in this charset, beginning and ending in its first state (RFC 1468:
 * ASCII), so that such pieces can be joined. False: it cannot hold the text. */
bool charset_from_utf8(struct buf *out, struct span name, struct span text);

/* Converters from UTF-8 that stay open for one thread, found by name. NULL is empty. */
struct converters;
bool converters_run(struct converters **c, const char *name, struct buf *out,
                    struct span text);
void converters_finish(struct converters **c);

#endif
