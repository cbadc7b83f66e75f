/* From what happened to what it means: (stage, how, reply) → code, class, outcome, who
 * is concerned. A pure function; any thread. Rules: docs/codes.md. Everything above
 * asks the verdict and never looks at reply digits again. */
#ifndef SMTP_VERDICT_H
#define SMTP_VERDICT_H

#include "codes/codes.h"
#include "smtp/session.h"

/* Whose trouble it is: what should be kept from trying again at once. */
enum verdict_scope {
    SCOPE_NONE,       /* delivered */
    SCOPE_RECIPIENT,  /* this row alone */
    SCOPE_CONNECTION, /* this connection; another one may do */
    SCOPE_HOST,       /* this MX address: try the next one within the attempt */
    SCOPE_SITE,       /* the whole site (every host refused or failed) */
    SCOPE_US,         /* our own machine: socket, resolver */
};

struct verdict {
    int code;              /* native */
    enum code_class class; /* CLASS_NONE, _LE or _BE: resolved, never EITHER */
    enum outcome outcome;  /* DELIVERED, ERROR, ABSENT, RETRY, EVENT */
    enum verdict_scope scope;
    bool counted;     /* is it an attempt of the row? false for UNTRIED */
    bool next_host;   /* another address or MX should be tried in this attempt */
    bool about_us;    /* a refusal that is about the sender (codes rules 8 and 14) */
    bool generic;     /* only the generic row for its digit matched (rule 11) */
    bool in_doubt;    /* may have been delivered although we do not know */
    bool assumed;     /* delivered because the settings say so: nobody confirmed it */
    const char *step; /* the stage column */
    char status[16];  /* enhanced status code "5.1.1" */
};

/* What becomes of a message that may have been delivered (codes rule 4). */
enum verdict_doubt {
    DOUBT_RETRY,
    DOUBT_ASSUME, /* delivered */
    DOUBT_FAIL,
};

/* What the settings say of a result. */
struct verdict_policy {
    enum verdict_doubt
        end_timeout;             /* 645; ASSUME only if the peer's kernel has it all */
    enum verdict_doubt in_doubt; /* every other end after the dot */
    bool relay;                  /* the host is our own relay: class LE */
    struct span domain;          /* the recipient's, for rule 9; may be empty */
};

/* remote: an address of the recipient's own MX was tried (decides LE/BE). policy: NULL
 * for the defaults. */
struct verdict verdict_of_result(const struct smtp_result *r, bool remote,
                                 const struct verdict_policy *policy);

/* The verdict on a reply, as if its code had been another one (rule 11): 400-599, or
 * 850 to RCPT or the dot. What becomes of the row follows that code; code, class and
 * status stay the server's, but 850 is ours to say. */
void verdict_treat_as(struct verdict *v, int code);

/* For a code that no dialogue made (601, 606, 607, 608, 609, 611, 700 …): outcome,
 * class and status from the table. stage picks the row ("connect", "dns", "addr" …). */
struct verdict verdict_of_code(int code, const char *stage, bool remote);

/* The other side's reply, not what we make of silence. */
bool verdict_is_reply(const struct verdict *v);
/* Did the other side say anything just now, or end the connection? */
bool verdict_heard(const struct verdict *v);
/* By the code and the step that a log has of it: was MAIL answered? */
bool verdict_past_mail(int code, struct span step);
/* Nobody could be connected to, or nothing came in time: when our network is down that
 * is what connections which stood end with, for hours. */
bool verdict_silent(const struct verdict *v);

#endif
