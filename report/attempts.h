/* attempts.tsv: one line for every attempt, for people and for replay. It is the
 * journal: append-only, CRC-32C a line, synced in groups. Format: docs/results.md.
 *
 * A writer belongs to one thread (the scheduler's), but attempts_sync may run on
 * another thread, one at a time. A reader belongs to whoever opened it. */
#ifndef REPORT_ATTEMPTS_H
#define REPORT_ATTEMPTS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "codes/codes.h"
#include "smtp/stages.h"

#define ATTEMPTS_MAGIC "#hikyaku-attempts 1"

/* The columns, in order: one line each. The header line, writer and reader are made
 * from it. */
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

extern const char *const attempt_column_names[ATTEMPT_COLUMN_COUNT];

/* Words in the flags column, comma-separated. */
enum attempt_flag {
    FLAG_IN_DOUBT = 1 << 0,
    FLAG_ASSUMED = 1 << 1,
    FLAG_REUSED = 1 << 2,
    FLAG_REHEARSAL = 1 << 3,
    FLAG_RELAY = 1 << 4,
};
enum { ATTEMPT_FLAGS_MAX = 40 }; /* bytes of all words together, commas included */
/* Write the words at `to`; returns their end. */
char *attempt_flags_write(char *to, unsigned flags);
unsigned attempt_flags_parse(struct span text); /* words of nobody are passed over */

enum {
    ATTEMPT_TEXT_MAX = 1024,     /* bytes of one text field; the rest is cut */
    ATTEMPT_MESSAGE_MAX = 16384, /* a lease's row ranges must fit */
    ATTEMPT_LINE_MAX = 32768,    /* of one line with its newline */
    ATTEMPT_CODE_MAX = 9999,     /* and -9999 */
};

enum {
    TIMING_DNS,
    TIMING_CONNECT,
    TIMING_STAGES,
    TIMING_COUNT = TIMING_STAGES + SMTP_STAGE_COUNT
};

/* One line. Text is made safe here, whatever it holds (report/field.h); spans may be
 * empty. */
struct attempt {
    int64_t time_ms; /* Unix */
    uint32_t row;    /* 0: event or lease */
    struct span email;
    uint32_t attempt;      /* 0: none was made */
    int code;              /* 0: empty */
    enum code_class class; /* NONE, LE or BE: resolved */
    const char *stage;     /* NULL: empty */
    enum outcome outcome;
    int64_t next_attempt_ms; /* 0: empty */
    int last_code;           /* 0: empty */
    struct span domain, site, mx_host, mx_address, source, tls;
    unsigned flags;
    struct span message_id;
    int32_t timings_us[TIMING_COUNT]; /* < 0: did not happen */
    const char *status;               /* "" or NULL: empty */
    struct span message;
};
void attempt_init(struct attempt *a); /* zero, with no timings */

struct attempts;

/* Append the first two lines of every attempts file. */
void attempts_header(struct buf *out);

/* Make a new file (header lines), mode 0600; it must not exist. */
struct attempts *attempts_create(const char *path, struct fault *f);
/* Open one to append: its header must be right; an unfinished last line is cut off.
 * Both give NULL and -20 in *f. */
struct attempts *attempts_open(const char *path, struct fault *f);
/* Format a line into the buffer; nothing is written yet. */
void attempts_append(struct attempts *a, const struct attempt *line);
/* Write the buffer to the file. false: -20 in *f, and the file must not be trusted
 * further: every later write and sync is false too. It is also false when the file was
 * renamed, removed, cut or added to by somebody else. */
bool attempts_write(struct attempts *a, struct fault *f);
/* Is there room for `bytes` more behind what is written and buffered? Space is taken
 * from the file system now, where it can be, so that lines of rows that are on their
 * way find theirs. False: the disk is full; nothing has failed, ask again later. */
bool attempts_reserve(struct attempts *a, uint64_t bytes);
/* fdatasync. Any thread, one at a time; touches nothing but the descriptor. After false
 * nothing is written any more: a failed sync is never tried again and believed. */
bool attempts_sync(struct attempts *a, struct fault *f);
uint64_t attempts_lines(const struct attempts *a); /* appended by this object */

/* Events of the whole job: row 0, outcome `event`, stage "run". */
enum run_event {
    RUN_NONE,
    RUN_RESUMED,  /* what the former run left open was judged: each row in doubt has its
                     line, before this one; no other row that was lent had left */
    RUN_STOPPED,  /* a clean end with rows pending: no row is lent any more */
    RUN_FINISHED, /* a clean end, no row is pending */
    RUN_CANCELLED, /* code -11: every row that is pending here ends; message: why */
    RUN_RETRY,     /* its opposite: those rows are pending again, as they were */
};
/* Append the line. reason is for CANCELLED alone. */
void attempts_event(struct attempts *a, int64_t now_ms, enum run_event what,
                    struct span reason);
/* A clean end, STOPPED or FINISHED: write and sync what there is, and only then append,
 * write and sync the event. So whoever finds it as the last line knows that every line
 * before it was synced. */
bool attempts_end(struct attempts *a, int64_t now_ms, enum run_event what,
                  struct fault *f);
void attempts_close(struct attempts *a); /* NULL is allowed; what is buffered is lost */

/* One line, read back. Spans point into the reader's memory until its next call. */
struct attempt_line {
    struct span column[ATTEMPT_COLUMN_COUNT];
    uint32_t row;
    uint32_t attempt;
    int code;
    int last_code;
    enum outcome outcome;
    int64_t time_ms;
    int64_t next_attempt_ms; /* 0: empty */
    uint64_t offset;  /* of the line in the file; set with TORN and DAMAGED too */
    uint64_t size;    /* its bytes, without the newline; the same */
    struct span text; /* DAMAGED: the line, empty when it is too long for one */
};
/* Which event of the whole job this line is. */
enum run_event attempt_run_event(const struct attempt_line *line);

enum attempts_read {
    ATTEMPTS_LINE,
    ATTEMPTS_END,
    ATTEMPTS_TORN,    /* the last line has no newline; ATTEMPTS_END comes next */
    ATTEMPTS_DAMAGED, /* CRC or form wrong, or too long; the line is skipped */
    ATTEMPTS_IO,      /* errno says why */
};

struct attempts_reader;
/* NULL and -20 when the file cannot be opened or is no attempts log. */
struct attempts_reader *attempts_reader_open(const char *path, struct fault *f);
enum attempts_read attempts_reader_next(struct attempts_reader *r,
                                        struct attempt_line *out);
/* Read the line at an offset that a reader gave before. next is not disturbed. */
enum attempts_read attempts_reader_at(struct attempts_reader *r, uint64_t offset,
                                      struct attempt_line *out);
/* Bytes of the file as they are. False and errno if it has not so many. */
bool attempts_reader_raw(const struct attempts_reader *r, uint64_t offset, char *p,
                         size_t n);
/* What a damaged line seems to say: columns, row, code and outcome, its CRC unseen. */
bool attempt_form(struct span text, struct attempt_line *out);
void attempts_reader_close(struct attempts_reader *r); /* NULL is allowed */

/* For resume, under the job's lock, before the log is opened.
 *
 * After a failed sync the kernel shows lines that may never reach the disk, and a
 * second sync of the same pages proves nothing. So unless the last line is a clean end,
 * the whole log is copied to a new file beside it (without a torn tail), which is
 * synced and renamed over it, and the directory is synced: about three seconds a
 * gigabyte, and nothing has to be known of what was synced when. A kill at any point
 * leaves the one or the other. *renewed_out (may be NULL): was there need. False: -20,
 * the log is as it was. */
bool attempts_renew(const char *path, bool *renewed_out, struct fault *f);

#endif
