/* The settings: hikyaku.conf (libConfuse grammar) made into one immutable struct. One table
 * (conf/settings.def) makes struct members, parser, defaults, docs/settings.md and the
 * writer. confuse.h is included in conf/ only; conf.h in engine/ and cli/ only: the other
 * rooms take small params structs.
 *
 * Load in one thread at start; afterwards any thread may read. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

enum { CONF_STAGES_MAX = 16 };

struct conf_strings { /* a list of strings */
    char **items;
    int n;
};

struct conf_durations { /* a list of durations in ms */
    int64_t *ms;
    int n;
};

/* timeout { } : one member a key, in ms. */
struct conf_timeout {
    int64_t connect, greeting, helo, mail, rcpt, data, body, end, rset, quit;
};

enum conf_pipelining { CONF_PIPELINING_AUTO, CONF_PIPELINING_GROUP, CONF_PIPELINING_OFF };

struct conf_policy {
    struct conf_durations retry_interval; /* at least one; the last repeats */
    int64_t lifetime;                     /* ms */
    int64_t max_attempts;                 /* 0: as many as the lifetime allows */
    int64_t connections;
    int64_t messages_per_connection;      /* 0: no limit */
    int64_t port;
    enum conf_pipelining pipelining;
    struct conf_timeout timeout;
};

struct conf_resolver {
    struct conf_strings servers; /* "address:port", empty: resolv.conf */
    int64_t timeout;             /* ms, of one query to one server */
    int64_t tries;
    int64_t in_flight;
};

/* The job { } section: written into SPOOL/JOB/job.conf, never accepted in a user's file. */
struct conf_job {
    char *id;                  /* the job's name; "" in a user's settings */
    int64_t created_ms;        /* Unix time */
    char *secret;              /* hex: key of the Message-ID HMAC */
    char *address_column;
    char *from;                /* envelope sender */
    char *to;                  /* proof address, "" for none */
    int64_t first_row, last_row; /* --rows; 0, 0: all */
    bool allow_duplicates;
    bool rehearsal;
    int64_t list_size, message_size; /* bytes of the snapshots */
    char *list_crc, *message_crc;    /* CRC-32C, 8 hex digits */
};

struct conf {
    char *hostname;            /* default: the system's FQDN */
    char *spool;               /* default: $XDG_STATE_HOME/hikyaku or ~/.local/state/hikyaku */
    int64_t workers;           /* default: number of processors; 0: everything on one loop */
    struct conf_resolver resolver;
    struct conf_strings deny_destinations;
    struct conf_policy policy;
    struct conf_job job;
};

/* Read a settings file. path NULL: all defaults. A job { } section is allowed only with
 * `is_job`. On failure NULL and *f: -4 cannot be opened, -5 cannot be read or parsed, -6
 * unknown keyword (with the nearest known one), -7 bad value; words begin "FILE:LINE: ".
 * Relative paths in the file become absolute, relative to the file's folder. */
struct conf *conf_load(const char *path, bool is_job, struct fault *f);
void conf_free(struct conf *c); /* NULL is allowed */

/* The settings as they stand, every key with its value, as a file that conf_load(is_job)
 * reads back to the same struct. job may be NULL. */
void conf_write(struct buf *out, const struct conf *c, const struct conf_job *job);

/* docs/settings.md, made from the table. */
void conf_document(struct buf *out);

#endif
