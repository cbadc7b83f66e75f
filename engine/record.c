#include "engine/record.h"

#include <assert.h>

static void fill(struct attempt *a, int64_t now_ms, const struct verdict *v,
                 const struct record_where *where, struct span words)
{
    attempt_init(a);
    a->time_ms = now_ms;
    a->email = where->email;
    a->code = v->code;
    bool by_relay = where->flags & FLAG_RELAY && v->class != CLASS_NONE;
    a->class = by_relay ? CLASS_LE : v->class; /* whatever the table says: codes.md */
    a->stage = v->step;
    a->outcome = v->outcome;
    a->domain = where->domain;
    a->site = where->site;
    a->mx_host = where->mx_host;
    a->mx_address = where->mx_address;
    a->source = where->source;
    a->tls = where->tls;
    a->flags = where->flags | (v->in_doubt ? FLAG_IN_DOUBT : 0) |
               (v->assumed ? FLAG_ASSUMED : 0);
    a->message_id = where->message_id;
    a->status = v->status;
    a->message = words;
}

void record_attempt(struct attempts *log, const struct record *r,
                    const struct record_where *where)
{
    struct attempt a;
    fill(&a, r->now_ms, r->verdict, where, r->words);
    a.row = r->row;
    a.attempt = r->decision.attempt;
    a.next_attempt_ms = r->next_ms;
    a.last_code = r->verdict->outcome == OUTCOME_RETRY ? r->verdict->code : 0;
    if (r->timings_us)
        memcpy(a.timings_us, r->timings_us, sizeof a.timings_us);
    attempts_append(log, &a);
    if (!r->decision.ended)
        return;
    struct verdict end = verdict_of_code(
        r->decision.ended, r->decision.ended == 606 ? "deadline" : "retry-limit", true);
    fill(&a, r->now_ms, &end, where, r->words);
    a.row = r->row;
    a.attempt = r->decision.attempt;
    a.last_code = r->verdict->code;
    attempts_append(log, &a);
}

void record_event(struct attempts *log, int64_t now_ms, const struct verdict *verdict,
                  const struct record_where *where, struct span words)
{
    struct attempt a;
    fill(&a, now_ms, verdict, where, words);
    a.outcome = OUTCOME_EVENT;
    attempts_append(log, &a);
}

void record_note(struct attempts *log, int64_t now_ms, const char *words)
{
    struct attempt a;
    attempt_init(&a);
    a.time_ms = now_ms;
    a.stage = "run";
    a.outcome = OUTCOME_EVENT;
    a.message = span_of(words);
    attempts_append(log, &a);
}

void record_count(struct totals *totals, const struct verdict *verdict, int ended)
{
    enum outcome outcome =
        ended ? verdict_of_code(ended, ended == 606 ? "deadline" : "retry-limit", true)
                    .outcome
              : verdict->outcome;
    if (outcome == OUTCOME_DELIVERED) {
        assert(verdict->code >= 200 && verdict->code < 300);
        totals->delivered++;
    } else if (outcome == OUTCOME_ABSENT)
        totals->absent++;
    else if (outcome == OUTCOME_ERROR)
        totals->error++;
    else
        assert(false); /* only a final result is counted */
}
