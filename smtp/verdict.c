#include "smtp/verdict.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Whose trouble a code is that no dialogue made; all others are the recipient's own. */
static const struct {
    const char *stage;
    enum verdict_scope scope;
} scopes[] = {
    {"connect", SCOPE_HOST},
    {"connect-timeout", SCOPE_HOST},
    {"session", SCOPE_CONNECTION},
    {"session-timeout", SCOPE_CONNECTION},
    {"protocol", SCOPE_CONNECTION},
    {"dns", SCOPE_SITE},
    {"socket", SCOPE_US},
    {"queue", SCOPE_US},
    {"run", SCOPE_US},
};
enum { SCOPES = sizeof scopes / sizeof scopes[0] };

/* Rule 9: these say 550 to the dot when the recipient's filter refuses the sender. */
static const char *const filtering[] = {
    "docomo.ne.jp", "ezweb.ne.jp", "au.com", "icloud.com", "me.com", "mac.com",
};
enum { FILTERING = sizeof filtering / sizeof filtering[0] };

static bool is_filtering(struct span domain)
{
    for (int i = 0; i < FILTERING; i++)
        if (span_equal_nocase(span_of(filtering[i]), domain))
            return true;
    return false;
}

static const char *step_of(const struct smtp_result *r)
{
    const struct smtp_stage_line *line = &smtp_stages[r->stage];
    bool unanswered = r->how == SMTP_HOW_LOST || r->how == SMTP_HOW_TIMEOUT;
    return unanswered && r->sending ? line->sending : line->waiting;
}

/* What the code table says; where it has no line, the first digit decides (rule 7). */
static struct verdict look_up(int code, const char *step)
{
    struct verdict v = {
        .code = code,
        .class = CLASS_BE,
        .outcome = code / 100 == 4 ? OUTCOME_RETRY : OUTCOME_ERROR,
        .scope = SCOPE_RECIPIENT,
        .counted = true,
        .generic = true,
        .step = step,
    };
    const struct code *line = codes_find(code, step);
    if (!line) {
        snprintf(v.status, sizeof v.status, "%c.0.0", code / 100 == 4 ? '4' : '5');
        return v;
    }
    v.generic = false;
    v.class = line->class;
    bool again = line->retry && line->outcome == OUTCOME_ERROR;
    v.outcome = again ? OUTCOME_RETRY : line->outcome;
    size_t status_size = strlen(line->status) + 1;
    assert(status_size <= sizeof v.status);
    memcpy(v.status, line->status, status_size);
    return v;
}

/* Rule 7: the enhanced code of a 5xx that is about the address or the message. The
 * parser has dropped one whose class contradicts the code. */
static void refine(struct verdict *v, const struct smtp_result *r)
{
    int subject = r->reply.enhanced[1], detail = r->reply.enhanced[2];
    bool has = r->reply.enhanced[0] == 5;
    bool full = has && subject == 2 && detail == 2;
    bool policy = has && subject >= 3 && subject <= 7;
    bool no_such_address =
        has && ((subject == 1 && (detail == 1 || detail == 2 || detail == 3 ||
                                  detail == 6 || detail == 10)) ||
                (subject == 2 && detail == 1));
    if (full || policy)
        v->outcome = OUTCOME_ERROR;
    else if (no_such_address || v->generic)
        v->outcome = OUTCOME_ABSENT;
    if (full || policy || no_such_address)
        v->generic = false;
}

/* Rules 8, 18, 19: what a refusal means depends on what it refuses. */
static void weigh_refusal(struct verdict *v, const struct smtp_result *r)
{
    bool final = r->reply.code >= 500;
    if (final && r->reply.enhanced[0] == 5 && r->reply.enhanced[1] == 7)
        v->about_us = true;
    switch (r->stage) {
    case SMTP_OPENING:
    case SMTP_HELO:
        v->outcome = OUTCOME_RETRY;
        v->scope = final ? SCOPE_SITE : SCOPE_HOST;
        v->next_host = true;
        v->about_us = true;
        break;
    case SMTP_STARTTLS: /* belong to HELO (rule 3); the first is not about us */
    case SMTP_AUTH:
        v->outcome = OUTCOME_RETRY;
        v->scope = final ? SCOPE_SITE : SCOPE_HOST;
        v->next_host = true;
        v->about_us = r->stage == SMTP_AUTH;
        break;
    case SMTP_MAIL:
        v->outcome = final ? OUTCOME_ERROR : OUTCOME_RETRY;
        v->next_host = final; /* once, says the scheduler */
        v->about_us = true;
        break;
    case SMTP_RCPT:
        if (r->reply.code == 503) {
            v->outcome = OUTCOME_RETRY;
            v->scope = SCOPE_CONNECTION;
            v->about_us = true;
        } else if (final) {
            refine(v, r);
        }
        break;
    case SMTP_DATA:
        if (final)
            v->outcome = OUTCOME_ERROR;
        break;
    case SMTP_BODY:
    case SMTP_END:
        if (final)
            refine(v, r);
        break;
    case SMTP_RSET:
    case SMTP_QUIT:
        v->outcome = OUTCOME_EVENT;
        v->scope = SCOPE_CONNECTION;
        break;
    case SMTP_STAGE_COUNT:
        assert(false);
    }
    if (r->reply.code == 421 && v->scope == SCOPE_RECIPIENT)
        v->scope = SCOPE_CONNECTION;
}

static struct verdict of_reply(const struct smtp_result *r, struct span domain)
{
    int code = r->reply.code;
    struct verdict v;
    if (code < 400) { /* the only good reply that ends something: rule 6 */
        assert(r->stage == SMTP_END && code < 300);
        v = look_up(250, step_of(r));
        v.scope = SCOPE_NONE;
    } else {
        bool refused_at_end = code == 550 && r->stage == SMTP_END;
        if (refused_at_end && is_filtering(domain))
            v = look_up(850, step_of(r));
        else
            v = look_up(code, refused_at_end ? "reply-end" : step_of(r));
        weigh_refusal(&v, r);
    }
    if (r->reply.enhanced[0])
        snprintf(v.status, sizeof v.status, "%u.%u.%u", r->reply.enhanced[0] % 10u,
                 r->reply.enhanced[1] % 1000u, r->reply.enhanced[2] % 1000u);
    return v;
}

/* Lost, timed out, or not to be understood. A row in doubt never goes to the next host
 * at once (rule 4). */
static struct verdict of_break(const struct smtp_result *r)
{
    const struct smtp_stage_line *line = &smtp_stages[r->stage];
    struct verdict v;
    if (r->how == SMTP_HOW_GARBAGE)
        v = look_up(602, "protocol");
    else if (r->how == SMTP_HOW_SESSION_TIMEOUT || r->timed_out)
        v = look_up(610, "session-timeout");
    else if (r->how == SMTP_HOW_TLS)
        v = look_up(602, "session");
    else if (r->how == SMTP_HOW_LOST)
        v = look_up(r->sending ? line->lost_sending : line->lost_waiting, step_of(r));
    else
        v = look_up(r->sending ? line->timeout_sending : line->timeout_waiting,
                    step_of(r));
    if (line->blame == SMTP_BLAME_NOBODY) /* rule 5 */
        v.outcome = OUTCOME_EVENT;
    v.scope = line->blame == SMTP_BLAME_HOST ? SCOPE_HOST : SCOPE_CONNECTION;
    v.in_doubt = r->dot_left;
    v.next_host = v.outcome == OUTCOME_RETRY && !r->dot_left;
    return v;
}

/* Rule 4: the dot was not answered in time. */
static struct verdict of_end_timeout(const struct smtp_result *r,
                                     enum verdict_doubt end_timeout)
{
    struct verdict v = of_break(r);
    bool has_all = r->dot_left && !r->sending; /* the peer's kernel */
    switch (end_timeout) {
    case DOUBT_ASSUME:
        if (has_all) {
            v = look_up(250, "wait-end-assumed");
            v.scope = SCOPE_NONE;
            v.assumed = true;
        }
        break;
    case DOUBT_FAIL:
        if (v.code == 645) {
            v.outcome = OUTCOME_ERROR;
            v.next_host = false;
        }
        break;
    case DOUBT_RETRY:
        break;
    }
    return v;
}

static struct verdict of_doubt(struct verdict v, enum verdict_doubt in_doubt)
{
    if (in_doubt == DOUBT_ASSUME) {
        v = look_up(250, "wait-end-assumed");
        v.scope = SCOPE_NONE;
        v.assumed = v.in_doubt = true;
    } else if (in_doubt == DOUBT_FAIL) {
        v.outcome = OUTCOME_ERROR;
        v.next_host = false;
    }
    return v;
}

struct verdict verdict_of_result(const struct smtp_result *r, bool remote,
                                 const struct verdict_policy *policy)
{
    static const struct verdict_policy defaults;
    policy = policy ? policy : &defaults;
    struct verdict v = {0};
    switch (r->how) {
    case SMTP_HOW_REPLY:
        v = of_reply(r, policy->domain);
        break;
    case SMTP_HOW_TIMEOUT:
        v = r->stage == SMTP_END ? of_end_timeout(r, policy->end_timeout) : of_break(r);
        break;
    case SMTP_HOW_LOST:
    case SMTP_HOW_GARBAGE:
    case SMTP_HOW_TLS:
    case SMTP_HOW_SESSION_TIMEOUT:
        v = of_break(r);
        break;
    case SMTP_HOW_AUTH: /* 535 without having asked: the same trouble, the same cure */
        v = look_up(535, step_of(r));
        v.outcome = OUTCOME_RETRY;
        v.scope = SCOPE_SITE;
        v.next_host = v.about_us = true;
        break;
    case SMTP_HOW_LOCAL_SIZE:
        v = look_up(552, smtp_stages[SMTP_MAIL].sending);
        break;
    case SMTP_HOW_UNTRIED:
        v.code = r->reply.code;
        v.class = CLASS_EITHER;
        v.outcome = OUTCOME_RETRY;
        v.scope = SCOPE_CONNECTION;
        v.step = step_of(r);
        break;
    case SMTP_HOW_NONE:
        assert(false); /* not decided yet */
    }
    if (v.in_doubt && v.outcome == OUTCOME_RETRY && v.code != 645)
        v = of_doubt(v, policy->in_doubt);
    /* Whoever spoke with us without being the recipient's MX was our own relay. */
    if (v.class != CLASS_NONE)
        v.class = !remote || policy->relay  ? CLASS_LE
                  : v.class == CLASS_EITHER ? CLASS_BE
                                            : v.class;
    return v;
}

/* Only RCPT and the dot can tell of an address. */
static bool tells_of_address(const char *step)
{
    return strcmp(step, "wait-rcpt") == 0 || strcmp(step, "wait-end") == 0 ||
           strcmp(step, "reply-end") == 0;
}

void verdict_treat_as(struct verdict *v, int code)
{
    struct verdict as = look_up(code, v->step);
    v->outcome = as.outcome == OUTCOME_ABSENT && !tells_of_address(v->step)
                     ? OUTCOME_ERROR
                     : as.outcome;
    v->next_host = v->generic = false;
    if (code == 850 && tells_of_address(v->step))
        v->code = code;
}

struct verdict verdict_of_code(int code, const char *stage, bool remote)
{
    struct verdict v = look_up(code, stage);
    for (int i = 0; i < SCOPES; i++)
        if (strcmp(scopes[i].stage, stage) == 0)
            v.scope = scopes[i].scope;
    if (code == 608) /* no name server answers anybody: rule 12 */
        v.scope = SCOPE_US;
    v.next_host = v.scope == SCOPE_HOST;
    if (v.class == CLASS_EITHER)
        v.class = remote ? CLASS_BE : CLASS_LE;
    return v;
}

bool verdict_is_reply(const struct verdict *v)
{
    return v->code >= 200 && v->code < 600 && !v->assumed;
}

bool verdict_heard(const struct verdict *v)
{
    enum { NO_TLS = 602, LOST_WAITING = 62, LOST_SENDING = 66 };
    int kind = v->code / 10;
    return verdict_is_reply(v) || v->code == NO_TLS || kind == LOST_WAITING ||
           kind == LOST_SENDING;
}

bool verdict_past_mail(int code, struct span step)
{
    enum { NATIVE_FIRST = 600 };
    if (span_equal(step, SPAN("reply-end")))
        return true;
    for (int i = SMTP_MAIL; i <= SMTP_END; i++) {
        bool waiting = span_equal(step, span_of(smtp_stages[i].waiting));
        if (waiting && i == SMTP_MAIL)
            return code < NATIVE_FIRST;
        if (waiting || span_equal(step, span_of(smtp_stages[i].sending)))
            return i > SMTP_MAIL;
    }
    return false;
}

bool verdict_silent(const struct verdict *v)
{
    enum { NOT_CONNECTED = 601, SESSION_TIMEOUT = 610, WAITING = 64, SENDING = 68 };
    int kind = v->code / 10;
    return v->code == NOT_CONNECTED || v->code == SESSION_TIMEOUT || kind == WAITING ||
           kind == SENDING;
}
