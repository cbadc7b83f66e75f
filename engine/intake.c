#include "engine/record.h"

bool engine_intake(const struct recipients *list, struct attempts *attempts,
                   int64_t time_ms, bool rehearsal, struct totals *totals,
                   struct fault *f)
{
    struct recipient row = {0};
    bool good = true;
    *totals = (struct totals){0};
    uint32_t first = recipients_first(list), last = recipients_last(list);
    for (uint32_t n = first; good && n != 0 && n <= last; n++) {
        totals->rows++;
        if (recipients_domain(list, n) != RECIPIENTS_NO_DOMAIN) {
            totals->pending++;
            continue;
        }
        good = recipients_read(list, n, &row, f);
        if (!good)
            break;
        struct verdict v =
            verdict_of_code(row.code, row.code == 801 ? "classify" : "addr", false);
        struct record r = {.now_ms = time_ms,
                           .row = n,
                           .verdict = &v,
                           .decision = {.final = true},
                           .words = span_of(row.words)};
        struct record_where where = {.email = span_trim(row.raw),
                                     .flags = rehearsal ? FLAG_REHEARSAL : 0};
        record_attempt(attempts, &r, &where);
        record_count(totals, &v, 0);
        if (n == UINT32_MAX)
            break;
    }
    recipient_finish(&row);
    return good;
}
