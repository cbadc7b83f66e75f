/* Standing still: pauses, a network that is down, and the end that was set for the job.
 */
#include "queue/inside.h"

static void stand(struct scheduler *s, int64_t now_us)
{
    if (!s->standing && !s->network_down)
        s->still_us = now_us;
}

/* We made the rows wait: their lifetime goes on from here. Their first attempt moves
 * with it, which nobody sees: the log has it. */
static void go_on(struct scheduler *s, int64_t now_us)
{
    if (s->standing || s->network_down)
        return;
    uint32_t stood = (uint32_t)((now_us - s->still_us) / 1000000);
    uint32_t now_s = (uint32_t)((now_us - s->params.epoch_us) / 1000000) + 1;
    uint32_t now_tick = scheduler_tick(s, now_us);
    for (uint32_t i = 1; stood && i <= s->rows_n; i++) {
        struct row *r = &s->rows[i];
        uint32_t waited = stood;
        if (r->state == ROW_READY || r->state == ROW_ASKING) {
            /* Its own wait is counted from here. */
            uint32_t own = (now_tick - r->due) / (1000000 / WHEEL_TICK_US);
            waited = own > stood ? own : stood;
            r->due = now_tick;
        }
        if (r->first_s)
            r->first_s = r->first_s + waited < now_s ? r->first_s + waited : now_s;
    }
}

void scheduler_pause(struct scheduler *s, bool pause, int64_t now_us)
{
    if (pause == s->standing)
        return;
    if (!pause) {
        s->standing = false;
        go_on(s, now_us);
        return;
    }
    stand(s, now_us);
    s->standing = true;
    /* They are ending: what they were lent in between would come back at once. */
    for (uint32_t i = 0; i < s->connections_used; i++) {
        struct connection_record *c = &s->connections[i];
        if (c->site) {
            c->last = true;
            link_remove(&c->hungry);
        }
    }
}

void scheduler_network(struct scheduler *s, bool down, int64_t now_us)
{
    if (down == s->network_down)
        return;
    if (down)
        stand(s, now_us);
    s->network_down = down;
    s->probe = NO_CONNECTION;
    s->probing_from_us = down ? now_us + PROBE_US : INT64_MAX;
    if (!down)
        go_on(s, now_us);
}

uint32_t scheduler_expire(struct scheduler *s, uint32_t *attempts_out)
{
    assert(s->stopped && s->lent == 0);
    s->expiring = true;
    while (s->expire_at < s->rows_n) {
        struct row *r = &s->rows[++s->expire_at];
        if (r->state == ROW_FINAL)
            continue;
        r->state = ROW_FINAL;
        s->pending--;
        *attempts_out = r->attempts;
        return s->expire_at + s->first_row - 1;
    }
    return 0;
}
