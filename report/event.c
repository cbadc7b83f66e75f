#include <assert.h>

#include "report/attempts.h"

enum { CODE_CANCELLED = -11 };

static const struct span stage = {"run", 3};

/* clang-format off */
static const struct span words[] = {
    [RUN_RESUMED]  = {"run resumed", 11},
    [RUN_STOPPED]  = {"run stopped", 11},
    [RUN_FINISHED] = {"run finished", 12},
    [RUN_RETRY]    = {"cancelled rows are pending again", 32},
};
/* clang-format on */

void attempts_event(struct attempts *a, int64_t now_ms, enum run_event what,
                    struct span reason)
{
    assert(what != RUN_NONE && (what == RUN_CANCELLED || reason.n == 0));
    struct attempt line;
    attempt_init(&line);
    line.time_ms = now_ms;
    line.stage = stage.p;
    line.outcome = OUTCOME_EVENT;
    line.message = words[what];
    if (what == RUN_CANCELLED) {
        line.code = CODE_CANCELLED;
        line.class = CLASS_LE;
        line.message = reason;
    }
    attempts_append(a, &line);
}

bool attempts_end(struct attempts *a, int64_t now_ms, enum run_event what,
                  struct fault *f)
{
    assert(what == RUN_STOPPED || what == RUN_FINISHED);
    if (!attempts_write(a, f) || !attempts_sync(a, f))
        return false;
    attempts_event(a, now_ms, what, (struct span){0});
    return attempts_write(a, f) && attempts_sync(a, f);
}

enum run_event attempt_run_event(const struct attempt_line *line)
{
    if (line->row != 0 || line->outcome != OUTCOME_EVENT)
        return RUN_NONE;
    if (line->code == CODE_CANCELLED)
        return RUN_CANCELLED;
    if (line->code != 0 || !span_equal(line->column[ATTEMPT_stage], stage))
        return RUN_NONE;
    for (int e = RUN_RESUMED; e <= RUN_RETRY; e++)
        if (words[e].n && span_equal(line->column[ATTEMPT_message], words[e]))
            return (enum run_event)e;
    return RUN_NONE;
}
