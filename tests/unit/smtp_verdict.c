/* What a result means: one line a case, and promises over every possible reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "smtp/verdict.h"

static struct smtp_result replied(enum smtp_stage stage, int code, int subject,
                                  int detail)
{
    struct smtp_result r = {.how = SMTP_HOW_REPLY, .stage = stage};
    r.reply.code = code;
    if (subject >= 0) {
        r.reply.enhanced[0] = (uint16_t)(code / 100);
        r.reply.enhanced[1] = (uint16_t)subject;
        r.reply.enhanced[2] = (uint16_t)detail;
    }
    return r;
}

/* clang-format off */
static const struct {
    enum smtp_stage stage;
    int code, subject, detail; /* subject -1: no enhanced code */
    enum outcome outcome;
    enum verdict_scope scope;
    bool next_host, about_us;
    const char *step, *status;
} replies[] = {
    {SMTP_END,     250, -1, 0, OUTCOME_DELIVERED, SCOPE_NONE,       false, false, "wait-end",     "2.0.0"},
    {SMTP_END,     250,  6, 0, OUTCOME_DELIVERED, SCOPE_NONE,       false, false, "wait-end",     "2.6.0"},
    {SMTP_OPENING, 421, -1, 0, OUTCOME_RETRY,     SCOPE_HOST,       true,  true,  "wait-opening", "4.3.2"},
    {SMTP_OPENING, 554, -1, 0, OUTCOME_RETRY,     SCOPE_SITE,       true,  true,  "wait-opening", "5.0.0"},
    {SMTP_HELO,    550,  1, 1, OUTCOME_RETRY,     SCOPE_SITE,       true,  true,  "wait-helo",    "5.1.1"},
    {SMTP_HELO,    451, -1, 0, OUTCOME_RETRY,     SCOPE_HOST,       true,  true,  "wait-helo",    NULL},
    {SMTP_STARTTLS,454, -1, 0, OUTCOME_RETRY,     SCOPE_HOST,       true,  false, "wait-helo",    "4.7.0"},
    {SMTP_STARTTLS,501, -1, 0, OUTCOME_RETRY,     SCOPE_SITE,       true,  false, "wait-helo",    "5.5.4"},
    {SMTP_AUTH,    535, -1, 0, OUTCOME_RETRY,     SCOPE_SITE,       true,  true,  "wait-helo",    "5.7.8"},
    {SMTP_AUTH,    454, -1, 0, OUTCOME_RETRY,     SCOPE_HOST,       true,  true,  "wait-helo",    "4.7.0"},
    {SMTP_MAIL,    530, -1, 0, OUTCOME_ERROR,     SCOPE_RECIPIENT,  true,  true,  "wait-from",    "5.7.0"},
    {SMTP_MAIL,    451, -1, 0, OUTCOME_RETRY,     SCOPE_RECIPIENT,  false, true,  "wait-from",    NULL},
    {SMTP_MAIL,    421, -1, 0, OUTCOME_RETRY,     SCOPE_CONNECTION, false, true,  "wait-from",    "4.3.2"},
    {SMTP_MAIL,    550,  1, 1, OUTCOME_ERROR,     SCOPE_RECIPIENT,  true,  true,  "wait-from",    "5.1.1"},
    {SMTP_RCPT,    550, -1, 0, OUTCOME_ABSENT,    SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.1.1"},
    {SMTP_RCPT,    550,  1, 1, OUTCOME_ABSENT,    SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.1.1"},
    {SMTP_RCPT,    550,  7, 1, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, true,  "wait-rcpt",    "5.7.1"},
    {SMTP_RCPT,    550,  2, 2, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.2.2"},
    {SMTP_RCPT,    552,  1,10, OUTCOME_ABSENT,    SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.1.10"},
    {SMTP_RCPT,    552, -1, 0, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.2.2"},
    {SMTP_RCPT,    501,  1, 3, OUTCOME_ABSENT,    SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.1.3"},
    {SMTP_RCPT,    503, -1, 0, OUTCOME_RETRY,     SCOPE_CONNECTION, false, true,  "wait-rcpt",    "5.5.1"},
    {SMTP_RCPT,    450, -1, 0, OUTCOME_RETRY,     SCOPE_RECIPIENT,  false, false, "wait-rcpt",    NULL},
    {SMTP_RCPT,    421,  7,28, OUTCOME_RETRY,     SCOPE_CONNECTION, false, false, "wait-rcpt",    "4.7.28"},
    {SMTP_RCPT,    559, -1, 0, OUTCOME_ABSENT,    SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.0.0"},
    {SMTP_RCPT,    559,  5, 0, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "5.5.0"},
    {SMTP_RCPT,    499, -1, 0, OUTCOME_RETRY,     SCOPE_RECIPIENT,  false, false, "wait-rcpt",    "4.0.0"},
    {SMTP_DATA,    554, -1, 0, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, false, "wait-data",    "5.0.0"},
    {SMTP_DATA,    550,  1, 1, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, false, "wait-data",    "5.1.1"},
    {SMTP_DATA,    559, -1, 0, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, false, "wait-data",    "5.0.0"},
    {SMTP_DATA,    451, -1, 0, OUTCOME_RETRY,     SCOPE_RECIPIENT,  false, false, "wait-data",    NULL},
    {SMTP_END,     550, -1, 0, OUTCOME_ABSENT,    SCOPE_RECIPIENT,  false, false, "reply-end",    NULL},
    {SMTP_END,     554,  7, 1, OUTCOME_ERROR,     SCOPE_RECIPIENT,  false, true,  "wait-end",     "5.7.1"},
    {SMTP_END,     559, -1, 0, OUTCOME_ABSENT,    SCOPE_RECIPIENT,  false, false, "wait-end",     "5.0.0"},
    {SMTP_END,     451, -1, 0, OUTCOME_RETRY,     SCOPE_RECIPIENT,  false, false, "wait-end",     NULL},
    {SMTP_RSET,    500, -1, 0, OUTCOME_EVENT,     SCOPE_CONNECTION, false, false, "wait-rset",    NULL},
    {SMTP_QUIT,    500, -1, 0, OUTCOME_EVENT,     SCOPE_CONNECTION, false, false, "wait-quit",    NULL},
};
/* clang-format on */

static void replies_mean_what_the_rules_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct smtp_result r = replied(replies[i].stage, replies[i].code,
                                       replies[i].subject, replies[i].detail);
        struct verdict v = verdict_of_result(&r, true, NULL);
        assert_int_equal(v.code, replies[i].code);
        assert_int_equal(v.outcome, replies[i].outcome);
        assert_int_equal(v.scope, replies[i].scope);
        assert_int_equal(v.next_host, replies[i].next_host);
        assert_int_equal(v.about_us, replies[i].about_us);
        assert_string_equal(v.step, replies[i].step);
        if (replies[i].status)
            assert_string_equal(v.status, replies[i].status);
        assert_true(v.counted);
    }
}

static void every_reply_has_a_verdict(void **state)
{
    (void)state;
    for (int stage = 0; stage < SMTP_STAGE_COUNT; stage++)
        for (int code = 400; code < 600; code++)
            for (int subject = -1; subject < 10; subject++) {
                struct smtp_result r =
                    replied((enum smtp_stage)stage, code, subject, 1);
                struct verdict v = verdict_of_result(&r, true, NULL);
                assert_int_not_equal(v.outcome, OUTCOME_DELIVERED);
                assert_true(v.class == CLASS_BE);
                assert_false(v.in_doubt);
                if (code < 500 && stage < SMTP_RSET)
                    assert_int_equal(v.outcome, OUTCOME_RETRY);
                if (v.outcome == OUTCOME_ABSENT)
                    assert_true(stage == SMTP_RCPT || stage == SMTP_BODY ||
                                stage == SMTP_END);
                if (code >= 500 && subject >= 3 && subject <= 7)
                    assert_int_not_equal(v.outcome, OUTCOME_ABSENT);
                v = verdict_of_result(&r, false, NULL);
                assert_true(v.class == CLASS_LE);
            }
    for (int code = 200; code < 300; code++) {
        struct smtp_result r = replied(SMTP_END, code, -1, 0);
        struct verdict v = verdict_of_result(&r, true, NULL);
        assert_int_equal(v.outcome, OUTCOME_DELIVERED);
        assert_int_equal(v.code, 250);
        assert_true(v.class == CLASS_NONE);
    }
}

static void every_break_has_its_code(void **state)
{
    (void)state;
    for (int stage = 0; stage < SMTP_STAGE_COUNT; stage++)
        for (int kind = 0; kind < 8; kind++) {
            bool lost = kind & 1, sending = kind & 2, doubt = kind & 4;
            const struct smtp_stage_line *l = &smtp_stages[stage];
            struct smtp_result r = {
                .how = lost ? SMTP_HOW_LOST : SMTP_HOW_TIMEOUT,
                .stage = (enum smtp_stage)stage,
                .sending = sending,
                .dot_left = doubt,
            };
            struct verdict v = verdict_of_result(&r, true, NULL);
            int code = lost && sending ? l->lost_sending
                       : lost          ? l->lost_waiting
                       : sending       ? l->timeout_sending
                                       : l->timeout_waiting;
            bool aside = stage == SMTP_RSET || stage == SMTP_QUIT;
            assert_int_equal(v.code, code);
            assert_false(v.generic);
            assert_int_equal(v.in_doubt, doubt);
            assert_int_equal(v.outcome, aside ? OUTCOME_EVENT : OUTCOME_RETRY);
            assert_int_equal(v.next_host, !aside && !doubt);
            assert_string_equal(v.step, sending ? l->sending : l->waiting);
            assert_string_equal(v.status, "4.4.2");
        }
}

static void what_is_no_dialogue(void **state)
{
    (void)state;
    struct smtp_result r = {
        .how = SMTP_HOW_GARBAGE, .stage = SMTP_END, .dot_left = true};
    struct verdict v = verdict_of_result(&r, true, NULL);
    assert_int_equal(v.code, 602);
    assert_string_equal(v.step, "protocol");
    assert_int_equal(v.outcome, OUTCOME_RETRY);
    assert_true(v.in_doubt && !v.next_host && v.class == CLASS_BE);

    r = (struct smtp_result){.how = SMTP_HOW_LOCAL_SIZE, .stage = SMTP_MAIL};
    v = verdict_of_result(&r, true, NULL);
    assert_int_equal(v.code, 552);
    assert_int_equal(v.outcome, OUTCOME_ERROR);
    assert_true(v.counted);

    r = (struct smtp_result){.how = SMTP_HOW_UNTRIED, .stage = SMTP_MAIL};
    v = verdict_of_result(&r, true, NULL);
    assert_false(v.counted);
    assert_int_equal(v.outcome, OUTCOME_RETRY);
}

static void tls_and_the_whole_session(void **state)
{
    (void)state;
    struct smtp_result r = {.how = SMTP_HOW_TLS, .stage = SMTP_STARTTLS};
    struct verdict v = verdict_of_result(&r, true, NULL);
    assert_int_equal(v.code, 602);
    assert_string_equal(v.step, "session");
    assert_int_equal(v.outcome, OUTCOME_RETRY);
    assert_int_equal(v.scope, SCOPE_HOST);
    assert_true(v.next_host && !v.in_doubt && !v.about_us);
    r.timed_out = true;
    v = verdict_of_result(&r, true, NULL);
    assert_int_equal(v.code, 610);
    assert_string_equal(v.step, "session-timeout");

    r = (struct smtp_result){
        .how = SMTP_HOW_SESSION_TIMEOUT, .stage = SMTP_END, .dot_left = true};
    v = verdict_of_result(&r, true, NULL);
    assert_int_equal(v.code, 610);
    assert_int_equal(v.scope, SCOPE_CONNECTION);
    assert_true(v.in_doubt && !v.next_host);

    r = (struct smtp_result){.how = SMTP_HOW_AUTH, .stage = SMTP_AUTH};
    v = verdict_of_result(&r, true, NULL);
    assert_int_equal(v.code, 535);
    assert_string_equal(v.step, "wait-helo");
    assert_int_equal(v.outcome, OUTCOME_RETRY);
    assert_int_equal(v.scope, SCOPE_SITE);
    assert_true(v.next_host && v.about_us && v.class == CLASS_BE);
}

static void a_relay_is_a_local_hop(void **state)
{
    (void)state;
    const struct verdict_policy relay = {.relay = true};
    struct smtp_result r = replied(SMTP_RCPT, 550, -1, 0);
    assert_true(verdict_of_result(&r, true, &relay).class == CLASS_LE);
    r = (struct smtp_result){.how = SMTP_HOW_LOST, .stage = SMTP_MAIL};
    assert_true(verdict_of_result(&r, true, &relay).class == CLASS_LE);
    r = replied(SMTP_END, 250, -1, 0);
    assert_true(verdict_of_result(&r, true, &relay).class == CLASS_NONE);
}

static void what_the_end_timeout_says(void **state)
{
    (void)state;
    struct verdict_policy assume = {.end_timeout = DOUBT_ASSUME};
    struct verdict_policy fail = {.end_timeout = DOUBT_FAIL};
    struct smtp_result r = {
        .how = SMTP_HOW_TIMEOUT, .stage = SMTP_END, .dot_left = true};
    struct verdict v = verdict_of_result(&r, true, &assume);
    assert_int_equal(v.code, 250);
    assert_int_equal(v.outcome, OUTCOME_DELIVERED);
    assert_string_equal(v.step, "wait-end-assumed");
    assert_string_equal(v.status, "2.4.2");
    assert_true(v.assumed && v.class == CLASS_NONE);
    v = verdict_of_result(&r, true, &fail);
    assert_int_equal(v.code, 645);
    assert_int_equal(v.outcome, OUTCOME_ERROR);
    assert_true(v.in_doubt && !v.next_host && !v.assumed);

    r.sending = true; /* not all is acknowledged */
    for (int i = 0; i < 2; i++) {
        v = verdict_of_result(&r, true, i ? &fail : &assume);
        assert_int_equal(v.code, 685);
        assert_int_equal(v.outcome, OUTCOME_RETRY);
        assert_true(v.in_doubt && !v.assumed);
    }
}

static void carriers_that_filter(void **state)
{
    (void)state;
    struct verdict_policy carrier = {.domain = SPAN("EZweb.ne.jp")};
    struct verdict_policy other = {.domain = SPAN("notezweb.ne.jp")};
    struct smtp_result r = replied(SMTP_END, 550, -1, 0);
    struct verdict v = verdict_of_result(&r, true, &carrier);
    assert_int_equal(v.code, 850);
    assert_int_equal(v.outcome, OUTCOME_ABSENT);
    assert_string_equal(v.status, "5.7.1");
    assert_int_equal(verdict_of_result(&r, true, &other).code, 550);
    r = replied(SMTP_END, 554, -1, 0);
    assert_int_equal(verdict_of_result(&r, true, &carrier).code, 554);
    r = replied(SMTP_RCPT, 550, -1, 0);
    assert_int_equal(verdict_of_result(&r, true, &carrier).code, 550);
    r = replied(SMTP_END, 550, 7, 1);
    v = verdict_of_result(&r, true, &carrier);
    assert_int_equal(v.code, 850);
    assert_int_equal(v.outcome, OUTCOME_ERROR);
}

/* clang-format off */
static const struct {
    int code; const char *stage; bool remote;
    enum outcome outcome; enum code_class class; enum verdict_scope scope;
} codes[] = {
    {601, "connect",         true,  OUTCOME_RETRY,  CLASS_BE, SCOPE_HOST},
    {601, "connect-timeout", false, OUTCOME_RETRY,  CLASS_LE, SCOPE_HOST},
    {606, "deadline",        true,  OUTCOME_ERROR,  CLASS_BE, SCOPE_RECIPIENT},
    {607, "retry-limit",     true,  OUTCOME_ERROR,  CLASS_BE, SCOPE_RECIPIENT},
    {608, "dns",             false, OUTCOME_RETRY,  CLASS_BE, SCOPE_US},
    {609, "socket",          false, OUTCOME_RETRY,  CLASS_LE, SCOPE_US},
    {611, "addr",            false, OUTCOME_ABSENT, CLASS_BE, SCOPE_RECIPIENT},
    {700, "dns",             false, OUTCOME_ABSENT, CLASS_BE, SCOPE_SITE},
    {710, "dns",             false, OUTCOME_RETRY,  CLASS_BE, SCOPE_SITE},
    {800, "addr",            false, OUTCOME_ABSENT, CLASS_BE, SCOPE_RECIPIENT},
    {-11, "run",             false, OUTCOME_ERROR,  CLASS_LE, SCOPE_US},
};
/* clang-format on */

static void doubt_is_the_settings_to_decide(void **state)
{
    (void)state;
    struct smtp_result timeout = {
        .how = SMTP_HOW_TIMEOUT, .stage = SMTP_END, .dot_left = true};
    struct smtp_result lost = {
        .how = SMTP_HOW_LOST, .stage = SMTP_END, .dot_left = true};
    struct smtp_result before = {.how = SMTP_HOW_LOST, .stage = SMTP_DATA};
    struct verdict_policy p = {.end_timeout = DOUBT_RETRY, .in_doubt = DOUBT_ASSUME};
    struct verdict v = verdict_of_result(&timeout, true, &p);
    assert_int_equal(v.code, 645);
    assert_int_equal(v.outcome, OUTCOME_RETRY);
    assert_true(v.in_doubt && !v.assumed);
    v = verdict_of_result(&lost, true, &p);
    assert_int_equal(v.code, 250);
    assert_string_equal(v.step, "wait-end-assumed");
    assert_int_equal(v.outcome, OUTCOME_DELIVERED);
    assert_true(v.in_doubt && v.assumed);
    v = verdict_of_result(&before, true, &p); /* no doubt: it was not delivered */
    assert_int_equal(v.code, 624);
    assert_int_equal(v.outcome, OUTCOME_RETRY);
    assert_false(v.in_doubt || v.assumed);

    p = (struct verdict_policy){.end_timeout = DOUBT_ASSUME, .in_doubt = DOUBT_FAIL};
    v = verdict_of_result(&timeout, true, &p);
    assert_true(v.assumed);
    assert_int_equal(v.outcome, OUTCOME_DELIVERED);
    timeout.sending = true; /* the peer has not got it all */
    v = verdict_of_result(&timeout, true, &p);
    assert_false(v.assumed);
    v = verdict_of_result(&lost, true, &p);
    assert_int_equal(v.code, 625);
    assert_int_equal(v.outcome, OUTCOME_ERROR);
    assert_true(v.in_doubt);
}

static void codes_without_a_dialogue(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct verdict v =
            verdict_of_code(codes[i].code, codes[i].stage, codes[i].remote);
        assert_int_equal(v.outcome, codes[i].outcome);
        assert_true(v.class == codes[i].class);
        assert_int_equal(v.scope, codes[i].scope);
        assert_string_equal(v.step, codes[i].stage);
        assert_false(v.generic);
    }
}

/* Silence and what was decided here tell nothing of the network. */
static void who_was_heard(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *stage;
        bool heard;
    } heard[] = {
        {250, "wait-end", true},          {421, "wait-mail", true},
        {554, "wait-opening", true},      {602, "session", true},
        {620, "wait-opening", true},      {664, "send-data", true},
        {601, "connect", false},          {601, "connect-timeout", false},
        {610, "session", false},          {640, "wait-opening", false},
        {645, "wait-end", false},         {684, "send-data", false},
        {609, "socket", false},           {730, "dns", false},
        {250, "wait-end-assumed", false},
    };
    for (size_t i = 0; i < sizeof heard / sizeof heard[0]; i++) {
        struct verdict v = verdict_of_code(heard[i].code, heard[i].stage, true);
        v.assumed = strcmp(heard[i].stage, "wait-end-assumed") == 0;
        if (verdict_heard(&v) != heard[i].heard)
            fail_msg("%d %s", heard[i].code, heard[i].stage);
        bool silent = i >= 6 && i < 12;
        if (verdict_silent(&v) != silent)
            fail_msg("%d %s", heard[i].code, heard[i].stage);
    }
}

/* Where a pair of sender address and recipient was seen, as a log tells it. */
static void a_log_tells_of_mail(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *step;
        bool past;
    } lines[] = {
        {421, "wait-opening", false},
        {601, "connect", false},
        {450, "wait-helo", false},
        {640, "wait-helo", false},
        {660, "send-helo", false},
        {661, "send-from", false},
        {642, "wait-from", false},
        {622, "wait-from", false},
        {609, "socket", false},
        {700, "dns", false},
        {0, "", false},
        {451, "wait-from", true},
        {450, "wait-rcpt", true},
        {623, "wait-rcpt", true},
        {662, "send-rcpt", true},
        {624, "wait-data", true},
        {664, "send-data", true},
        {645, "wait-end", true},
        {685, "send-dend", true},
        {550, "reply-end", true},
        {250, "wait-end", true},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (verdict_past_mail(lines[i].code, span_of(lines[i].step)) != lines[i].past)
            fail_msg("%d %s", lines[i].code, lines[i].step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_mean_what_the_rules_say),
        cmocka_unit_test(every_reply_has_a_verdict),
        cmocka_unit_test(every_break_has_its_code),
        cmocka_unit_test(what_is_no_dialogue),
        cmocka_unit_test(tls_and_the_whole_session),
        cmocka_unit_test(a_relay_is_a_local_hop),
        cmocka_unit_test(what_the_end_timeout_says),
        cmocka_unit_test(carriers_that_filter),
        cmocka_unit_test(doubt_is_the_settings_to_decide),
        cmocka_unit_test(codes_without_a_dialogue),
        cmocka_unit_test(who_was_heard),
        cmocka_unit_test(a_log_tells_of_mail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
