/* When to come again, as a temporary reply says it in words: "greylisted for 5
 * minutes", "try again in 300 seconds", "Retry-After: 600", "come back in 00:04:59".
 * RFC 5321 has no field for it. Pure; any thread. */
#ifndef SMTP_ADVICE_H
#define SMTP_ADVICE_H

#include "base/buf.h"

enum { ADVICE_LEAST_MS = 1000, ADVICE_MOST_MS = 24 * 60 * 60 * 1000 };

/* The pause that the text asks for, at least and at most these; 0: it asks for none. A
 * time that stands behind no such request ("in 2 seconds from host …") is none. */
int64_t advice_wait_ms(struct span text);

#endif
