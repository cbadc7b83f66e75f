/* attempts.tsv: one line for every attempt, for people and for replay. It is the journal:
 * append-only, CRC-32C a line, synced in groups. Format: docs/results.md.
 *
 * All but attempts_sync belong to one thread (the scheduler's); attempts_sync may run on
 * another thread, one at a time. */
#ifndef REPORT_ATTEMPTS_H
#define REPORT_ATTEMPTS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "codes/codes.h"
#include "smtp/stages.h"

#define ATTEMPTS_MAGIC "#hikyaku-attempts 1"

/* The columns, in order: one line each. The header line, writer and reader are made from it. */
/* clang-format off */
#define ATTEMPT_COLUMNS(X) \
    X(time) X(row) X(email) X(attempt) X(code) X(class) X(stage) X(outcome) X(next_attempt) \
    X(last_code) X(domain) X(site) X(mx_host) X(mx_address) X(source) X(tls) X(flags) \
    X(message_id) X(timings) X(status) X(message) X(crc)
/* clang-format on */

enum attempt_column {
#define X(name) ATTEMPT_##name,
    ATTEMPT_COLUMNS(X)
#undef X
        ATTEMPT_COLUMN_COUNT
};

enum attempt_flag { /* words in the flags column, comma-separated */
    FLAG_IN_DOUBT = 1 << 0,
    FLAG_ASSUMED = 1 << 1,
    FLAG_REUSED = 1 << 2,
    FLAG_REHEARSAL = 1 << 3,
};

enum { TIMING_DNS, TIMING_CONNECT, TIMING_STAGES, TIMING_COUNT = TIMING_STAGES + SMTP_STAGE_COUNT };

/* One line. Text is cleaned here, whatever it holds; spans may be empty. */
struct attempt {
    int64_t time_ms;             /* Unix */
    uint32_t row;                /* 0: event or lease */
    struct span email;
    uint32_t attempt;            /* 0: none was made */
    int code;                    /* 0: empty */
    enum code_class class;
    const char *stage;           /* NULL: empty */
    enum outcome outcome;
    int64_t next_attempt_ms;     /* 0: empty */
    int last_code;               /* 0: empty */
    struct span domain, site, mx_host, mx_address, source, tls;
    unsigned flags;
    struct span message_id;
    int32_t timings_us[TIMING_COUNT]; /* < 0: did not happen */
    const char *status;          /* "" or NULL: empty */
    struct span message;
};
void attempt_init(struct attempt *a); /* zero, with no timings */

struct attempts;

/* Make a new file (header lines) or open one to append. -20 in *f. */
struct attempts *attempts_create(const char *path, struct fault *f);
struct attempts *attempts_open(const char *path, struct fault *f);
/* Format a line into the buffer; nothing is written yet. */
void attempts_append(struct attempts *a, const struct attempt *line);
/* Write the buffer to the file. false: -20 in *f; the file must not be trusted further. */
bool attempts_write(struct attempts *a, struct fault *f);
/* fdatasync. Any thread, one at a time; touches nothing but the descriptor. Never call again after false. */
bool attempts_sync(struct attempts *a, struct fault *f);
uint64_t attempts_lines(const struct attempts *a);   /* appended by this object */
void attempts_close(struct attempts *a);             /* NULL is allowed; what is buffered is lost */

/* One line, read back. Spans point into the reader's buffer until the next call. */
struct attempt_line {
    struct span column[ATTEMPT_COLUMN_COUNT];
    uint32_t row;
    uint32_t attempt;
    int code;
    int last_code;
    enum outcome outcome;
    uint64_t offset;             /* of the line in the file */
};

enum attempts_read { ATTEMPTS_LINE, ATTEMPTS_END, ATTEMPTS_TORN /* last line incomplete */,
                     ATTEMPTS_DAMAGED /* CRC or form wrong; the line is skipped */, ATTEMPTS_IO };

struct attempts_reader;
/* -20 when the file cannot be opened or is no attempts log. */
struct attempts_reader *attempts_reader_open(const char *path, struct fault *f);
enum attempts_read attempts_reader_next(struct attempts_reader *r, struct attempt_line *out);
/* Read the line at an offset that a reader gave before. */
enum attempts_read attempts_reader_at(struct attempts_reader *r, uint64_t offset,
                                      struct attempt_line *out);
void attempts_reader_close(struct attempts_reader *r);

#endif
