#include "engine/record.h"

/* With room for the row's text, which is used again for the next one. */
static bool take_in(const struct recipients *list, struct attempts *attempts,
                    uint32_t number, struct recipient *row, int64_t time_ms,
                    bool rehearsal, struct totals *totals, struct fault *f)
{
    if (!recipients_read(list, number, row, f))
        return false;
    struct verdict v =
        verdict_of_code(row->code, row->code == 801 ? "classify" : "addr", false);
    struct record r = {.now_ms = time_ms,
                       .row = number,
                       .verdict = &v,
                       .decision = {.final = true},
                       .words = span_of(row->words)};
    struct record_where where = {.email = span_trim(row->raw),
                                 .flags = rehearsal ? FLAG_REHEARSAL : 0};
    record_attempt(attempts, &r, &where);
    record_count(totals, &v, 0);
    return true;
}

static bool is_final(const struct results *known, uint32_t row)
{
    enum outcome outcome = results_row(known, row).outcome;
    return outcome != OUTCOME_RETRY && outcome != OUTCOME_EVENT;
}

bool engine_intake(const struct recipients *list, const struct results *known,
                   struct attempts *attempts, int64_t time_ms, bool rehearsal,
                   struct totals *totals, struct fault *f)
{
    struct recipient row = {0};
    bool good = true;
    *totals = (struct totals){0};
    uint32_t first = recipients_first(list), last = recipients_last(list);
    for (uint32_t n = first; good && n != 0 && n <= last; n++) {
        totals->rows++;
        if (recipients_domain(list, n) != RECIPIENTS_NO_DOMAIN)
            totals->pending++;
        else if (!known || !is_final(known, n))
            good = take_in(list, attempts, n, &row, time_ms, rehearsal, totals, f);
        if (n == UINT32_MAX)
            break;
    }
    recipient_finish(&row);
    return good;
}
