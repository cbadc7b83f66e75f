#include "resolver/servers.h"

#include <assert.h>

void servers_init(struct servers *s, int n, int rounds, int64_t timeout_us)
{
    assert(n > 0 && n <= SERVERS_MAX && rounds > 0);
    *s = (struct servers){.n = n, .rounds = rounds, .timeout_us = timeout_us};
    s->answered_us = INT64_MIN;
    s->waiting_since_us = INT64_MAX;
}

/* The first that this round has not asked; those put aside only if there are no others.
 */
static int pick(const struct servers *s, const struct servers_way *way, int64_t now_us)
{
    bool some_up = false;
    int aside = -1;
    for (int i = 0; i < s->n; i++) {
        bool up = s->each[i].aside_until_us <= now_us;
        bool taken = (way->asked | way->answered) >> i & 1;
        some_up = some_up || up;
        if (up && !taken)
            return i;
        if (!taken &&
            (aside < 0 || s->each[i].aside_until_us < s->each[aside].aside_until_us))
            aside = i;
    }
    return some_up ? -1 : aside;
}

int servers_next(const struct servers *s, struct servers_way *way, int64_t now_us)
{
    int rounds = s->dead ? 1 : s->rounds;
    int server = pick(s, way, now_us);
    while (server < 0 && way->asked && !way->answered && way->round + 1 < rounds) {
        way->round++;
        way->asked = 0;
        server = pick(s, way, now_us);
    }
    return server;
}

void servers_sent(struct servers *s, int64_t now_us)
{
    if (s->waiting_since_us == INT64_MAX)
        s->waiting_since_us = now_us;
}

static void count_silence(struct servers *s, int server, int64_t now_us)
{
    if (++s->each[server].silent >= SERVERS_SILENT)
        s->each[server].aside_until_us = now_us + SERVERS_ASIDE_US;
}

void servers_silent(struct servers *s, struct servers_way *way, int server, bool tcp,
                    int64_t now_us)
{
    way->asked = (uint8_t)(way->asked | 1 << server);
    if (!tcp)
        count_silence(s, server, now_us);
}

void servers_unreachable(struct servers *s, int server, int64_t now_us)
{
    s->each[server].unreachable = true;
    count_silence(s, server, now_us);
}

void servers_answered(struct servers *s, int server, int64_t now_us)
{
    s->each[server].silent = 0;
    s->each[server].unreachable = false;
    s->each[server].aside_until_us = 0;
    s->answered_us = now_us;
    s->waiting_since_us = INT64_MAX;
    s->dead = false;
}

void servers_idle(struct servers *s)
{
    s->waiting_since_us = INT64_MAX;
    for (int i = 0; i < s->n; i++)
        s->each[i].unreachable = false;
}

bool servers_died(struct servers *s, int64_t now_us)
{
    if (s->dead || s->waiting_since_us == INT64_MAX ||
        now_us - s->waiting_since_us < 2 * s->timeout_us)
        return false;
    for (int i = 0; i < s->n; i++)
        if (!s->each[i].unreachable)
            return false;
    s->dead = true;
    return true;
}
