/* The code table: what every result of this engine means. One line of codes.def is one
 * (code, stage); from it come lookup, `hikyaku codes`, docs/codes.md and the Japanese
 * meanings. Constant data; any thread. */
#ifndef CODES_CODES_H
#define CODES_CODES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum code_class {
    CLASS_NONE,   /* "-": delivered */
    CLASS_LE,     /* the local hop or our own relay */
    CLASS_BE,     /* the recipient's own server */
    CLASS_EITHER, /* "LE/BE": BE once an address of the recipient's MX was tried */
};

/* What a line of attempts.tsv says, and what `results` prints. EVENT is the table's
 * "keep": an event that never changes a recipient. */
enum outcome {
    OUTCOME_NONE, /* not decided: no result may ever be this */
    OUTCOME_DELIVERED,
    OUTCOME_ERROR,
    OUTCOME_ABSENT,
    OUTCOME_RETRY,
    OUTCOME_EVENT,
    OUTCOME_LEASE,
};

struct code {
    int code; /* native number */
    enum code_class class;
    const char *place; /* "user", "system", "-" */
    const char *stage; /* as logs spell it, or "reply", "reply-end" … */
    bool retry;
    enum outcome outcome; /* DELIVERED, ERROR, ABSENT or EVENT */
    int weight_tenths; /* what one such final result adds to an address's error count */
    int basic;         /* the same in two other vocabularies */
    int five_digit;
    const char *status;  /* enhanced status code, "4.4.2" */
    const char *disable; /* "now", "count", "consec", "none" */
    const char *name;    /* "WAIT_END_CLOSED" */
    const char *meaning_en;
    const char *meaning_ja;
    const char *trigger; /* what makes it, in words */
    const char *note;    /* may be "" */
};

extern const struct code codes_table[];
extern const size_t codes_count;

/* The line for a code at a stage: exact (code, stage) first; at "wait-end" next (code,
 * "reply-end"); else (code, "reply"); else, for a code that has one line only, that
 * line; NULL if the table has none. The first lines of the table are found quickest. */
const struct code *codes_find(int code, const char *stage);

const char *code_class_word(enum code_class c); /* "-", "LE", "BE", "LE/BE" */
const char *outcome_word(enum outcome o);       /* "delivered" … "event", "lease" */

enum code_vocabulary { CODES_NATIVE, CODES_FIVE_DIGIT, CODES_BASIC };
/* The number of (code, stage) in a vocabulary; a code without a line stays as it is. */
int codes_number(int code, const char *stage, enum code_vocabulary v);

enum codes_form {
    CODES_TSV,          /* every column, both languages */
    CODES_TEXT_ENGLISH, /* for reading on a terminal */
    CODES_TEXT_JAPANESE,
};
/* Append the whole table: what `hikyaku codes` prints. */
void codes_print(struct buf *out, enum codes_form form);

/* Append the table of docs/codes.md. */
void codes_document(struct buf *out);

#endif
