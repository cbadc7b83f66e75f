#include "sink/spread.h"

#include <assert.h>

#include "base/map.h"
#include "sink/answers.h"

static const struct {
    struct span word;
    int group;
} dns_troubles[] = {
    {{"nxdomain", 8}, ANSWER_NXDOMAIN},
    {{"servfail", 8}, ANSWER_SERVFAIL},
    {{"nullmx", 6}, ANSWER_NULL_MX},
};

bool spread_init(struct spread *s, const char *const *names, int names_n,
                 struct fault *f)
{
    assert(sink_moods_n <= SPREAD_MOODS_MAX && names_n <= SPREAD_MOODS_MAX);
    *s = (struct spread){0};
    for (int i = 0; i < names_n; i++) {
        const struct mood *m = sink_mood_find(span_of(names[i]));
        if (!m)
            return fault_set(f, -7, "the receiver has no mood \"%s\"", names[i]);
        s->moods[s->n++] = (int)(m - sink_moods);
    }
    for (int i = 0; i < sink_moods_n && !names_n; i++) {
        if (sink_moods[i].spread)
            s->moods[s->n++] = i;
    }
    return true;
}

/* Alone in the domain's first label, or followed by a digit or a hyphen. */
static bool names(struct span domain, struct span word)
{
    if (domain.n < word.n || memcmp(domain.p, word.p, word.n) != 0)
        return false;
    char c = domain.n > word.n ? domain.p[word.n] : '.';
    return c == '.' || c == '-' || (c >= '0' && c <= '9');
}

int spread_group_of(void *arg, struct span domain)
{
    const struct spread *s = arg;
    for (size_t i = 0; i < sizeof dns_troubles / sizeof dns_troubles[0]; i++) {
        if (names(domain, dns_troubles[i].word))
            return dns_troubles[i].group;
    }
    for (int i = 0; i < sink_moods_n; i++) {
        if (names(domain, span_of(sink_moods[i].name)))
            return i;
    }
    return s->moods[hash_bytes(domain.p, domain.n) % (uint64_t)s->n];
}
