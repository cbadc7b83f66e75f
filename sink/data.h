/* Mail data as it arrives behind 354: where does it end, and how long is it really? RFC
 * 5321 4.1.1.4, 4.5.2. Pure; no allocation; nothing is stored. */
#ifndef SINK_DATA_H
#define SINK_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum data_at {
    DATA_LINE_START, /* behind CRLF, and at the very beginning */
    DATA_IN_LINE,
    DATA_AFTER_CR,
    DATA_AFTER_DOT,    /* behind a dot that opened a line */
    DATA_AFTER_DOT_CR, /* behind that dot and a CR */
};

enum { DATA_END_BYTES = 3 }; /* the dot's own line: ".\r\n" */

struct data_scan { /* zeroed at the start of each message */
    enum data_at at;
    bool bare;        /* a CR or LF stood alone */
    uint64_t bytes;   /* read so far; with the dot's line once ended */
    uint64_t stuffed; /* dots that only stuff */
};

/* Read on. Returns how many bytes belong to this message: all n, or up to the end of
 * the dot's line, and then *ended_out is true. */
size_t data_scan(struct data_scan *d, const char *data, size_t n, bool *ended_out);

/* Append data (whole lines from the start of a message, without the dot's line) to out
 * without the stuffing. */
void data_unstuff(struct buf *out, struct span data);

/* The Message-ID (with its <>) in a message's header, which may be cut anywhere; empty
 * if there is none. */
struct span data_message_id(struct span header);

#endif
