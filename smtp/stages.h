/* One line a stage of the SMTP dialogue. Everything that is known of a stage stands
 * here: enum, log words, configuration key, RFC 5321 4.5.3.2 time limit, hoped-for
 * digit, codes when the connection is lost or timed out while waiting or sending, and
 * who suffers.
 *
 * STARTTLS and AUTH belong to the step HELO: they have time limits of their own, but its
 * words and codes. STARTTLS' limit counts for the reply, and anew for the handshake.
 *
 * The waiting and the sending word, and the digit in 62x/64x against 66x/68x, differ:
 * 664 is the body, 665 the dot; 624 is the DATA command, 625 the dot. Of a message that
 * leaves as one chunk (BDAT) BODY is its line and its bytes, END its last byte. */
#ifndef SMTP_STAGES_H
#define SMTP_STAGES_H

/* clang-format off */
#define SMTP_STAGES(X)                                                                      \
    /* name      waiting word    sending word  conf key   ms      want lost tout  lost tout  blame */      \
    /*                                                                 waiting    sending       */      \
    X(OPENING,  "wait-opening", "connect",    greeting,  300000, 2,   620, 640,  620, 640,  HOST)        \
    X(HELO,     "wait-helo",    "send-helo",  helo,      300000, 2,   621, 641,  660, 680,  HOST)        \
    X(STARTTLS, "wait-helo",    "send-helo",  starttls,  120000, 2,   621, 641,  660, 680,  HOST)        \
    X(AUTH,     "wait-helo",    "send-helo",  auth,      300000, 2,   621, 641,  660, 680,  HOST)        \
    X(MAIL,     "wait-from",    "send-from",  mail,      300000, 2,   622, 642,  661, 681,  MESSAGE)     \
    X(RCPT,     "wait-rcpt",    "send-rcpt",  rcpt,      300000, 2,   623, 643,  662, 682,  RECIPIENT)   \
    X(DATA,     "wait-data",    "send-dcmd",  data,      120000, 3,   624, 644,  663, 683,  MESSAGE)     \
    X(BODY,     "wait-end",     "send-data",  body,      180000, 2,   625, 645,  664, 684,  MESSAGE)     \
    X(END,      "wait-end",     "send-dend",  end,       600000, 2,   625, 645,  665, 685,  MESSAGE)     \
    X(RSET,     "wait-rset",    "send-rset",  rset,       20000, 2,   627, 647,  667, 687,  NOBODY)      \
    X(QUIT,     "wait-quit",    "send-quit",  quit,       10000, 2,   626, 646,  666, 686,  NOBODY)
/* clang-format on */

enum smtp_stage {
#define X(name, ...) SMTP_##name,
    SMTP_STAGES(X)
#undef X
        SMTP_STAGE_COUNT
};

enum smtp_blame {
    SMTP_BLAME_HOST,
    SMTP_BLAME_MESSAGE,
    SMTP_BLAME_RECIPIENT,
    SMTP_BLAME_NOBODY
};

struct smtp_stage_line {
    const char *waiting; /* the step as logs spell it while its reply is awaited */
    const char *sending; /* the step while its bytes are not yet acknowledged */
    const char *key;     /* in timeout { } and in the timings column */
    int limit_ms;        /* default time limit */
    int want;            /* first digit of the reply that lets the dialogue go on */
    int lost_waiting, timeout_waiting, lost_sending, timeout_sending; /* native codes */
    enum smtp_blame blame;
};

extern const struct smtp_stage_line smtp_stages[SMTP_STAGE_COUNT];

#endif
