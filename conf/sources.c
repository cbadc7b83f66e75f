#include "conf/sources.h"

#include "base/mem.h"

static int find(const struct conf_named *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return i;
    return -1;
}

static int find_source(const struct conf *c, const char *name)
{
    return find(c->sources, c->sources_n, name);
}

static struct place place_of(const struct conf_named *named)
{
    return (struct place){named->file, named->line};
}

static bool check_source(const struct conf *c, struct conf_named *source,
                         struct fault *f)
{
    struct conf_source *s = &source->values->source;
    if (source - c->sources == CONF_SOURCES_MAX)
        return place_fault(f, -7, place_of(source), "more than %d sources",
                           CONF_SOURCES_MAX);
    if (!s->address)
        return place_fault(f, -7, place_of(source), "source \"%s\" has no address",
                           source->name);
    for (const struct conf_named *other = c->sources; other < source; other++)
        if (strcmp(other->values->source.address, s->address) == 0)
            return place_fault(f, -7, place_of(source),
                               "source \"%s\" has the address of source \"%s\" at "
                               "%s:%d",
                               source->name, other->name, other->file, other->line);
    if (!s->hostname)
        s->hostname = mem_strdup(c->hostname);
    if (s->warmup && s->warmup[0] && !conf_warmup_of(c, source))
        return place_fault(f, -7, source->values->given[SETTING_SOURCE_warmup],
                           "there is no warmup \"%s\"", s->warmup);
    return true;
}

static bool check_warmup(const struct conf_named *warmup, struct fault *f)
{
    const struct conf_warmup *w = &warmup->values->warmup;
    return (w->start && w->caps.n) ||
           place_fault(f, -7, place_of(warmup), "warmup \"%s\" has no %s", warmup->name,
                       w->start ? "caps" : "start");
}

static bool check_pool(const struct conf *c, const struct conf_named *pool,
                       const struct scan *scan, const struct scan_rule *from,
                       struct fault *f)
{
    const struct conf_strings *names = &pool->values->pool.sources;
    int same = find_source(c, pool->name);
    if (same >= 0)
        return place_fault(f, -7, place_of(pool),
                           "pool \"%s\" has the name of the source at %s:%d",
                           pool->name, c->sources[same].file, c->sources[same].line);
    if (names->n == 0)
        return place_fault(f, -7, place_of(pool), "pool \"%s\" has no sources",
                           pool->name);
    for (int i = 0; i < names->n; i++) {
        struct place at =
            scan_value_place(scan, from, &settings[SETTING_POOL_sources], i);
        if (find_source(c, names->items[i]) < 0)
            return place_fault(f, -7, at, "pool \"%s\": there is no source \"%s\"",
                               pool->name, names->items[i]);
        for (int k = 0; k < i; k++)
            if (strcmp(names->items[k], names->items[i]) == 0)
                return place_fault(f, -7, at, "pool \"%s\" names source \"%s\" twice",
                                   pool->name, names->items[i]);
    }
    return true;
}

/* The key pool of a policy { }, domain or mx. */
static bool check_key(const struct conf *c, const struct conf *in, struct fault *f)
{
    struct place at = in->given[SETTING_POLICY_pool];
    const char *name = in->policy.pool;
    if (at.line == 0 || name[0] == '\0' || find_source(c, name) >= 0 ||
        find(c->pools, c->pools_n, name) >= 0)
        return true;
    return place_fault(f, -7, at, "there is no pool or source \"%s\"", name);
}

bool sources_check(struct conf *c, const struct scan *scan, struct fault *f)
{
    bool good = true;
    for (int i = 0; good && i < c->warmups_n; i++)
        good = check_warmup(&c->warmups[i], f);
    for (int i = 0; good && i < c->sources_n; i++)
        good = check_source(c, &c->sources[i], f);
    for (int i = 0, pool = 0; good && i < scan_rules(scan); i++)
        if (scan_rule(scan, i)->section == SECTION_POOL)
            good = check_pool(c, &c->pools[pool++], scan, scan_rule(scan, i), f);
    good = good && check_key(c, c, f);
    for (int i = 0; good && i < c->rules_n; i++)
        good = check_key(c, c->rules[i].values, f);
    return good;
}

int conf_sources_of(const struct conf *c, const char *pool, uint8_t *out)
{
    int n = 0;
    int found = find(c->pools, c->pools_n, pool);
    if (found >= 0) {
        const struct conf_strings *names = &c->pools[found].values->pool.sources;
        for (; n < names->n; n++)
            out[n] = (uint8_t)(find_source(c, names->items[n]) + 1);
    } else if (pool[0]) {
        out[n++] = (uint8_t)(find_source(c, pool) + 1);
    } else {
        for (; n < c->sources_n; n++)
            out[n] = (uint8_t)(n + 1);
    }
    return n;
}

const struct conf_warmup *conf_warmup_of(const struct conf *c,
                                         const struct conf_named *source)
{
    const char *name = source->values->source.warmup;
    int found = name ? find(c->warmups, c->warmups_n, name) : -1;
    return found < 0 ? NULL : &c->warmups[found].values->warmup;
}

bool conf_same_sources(const struct conf *a, const struct conf *b)
{
    struct buf x = {0}, y = {0};
    write_sources(&x, a);
    write_sources(&y, b);
    bool same = span_equal(buf_span(&x), buf_span(&y));
    buf_finish(&x);
    buf_finish(&y);
    return same;
}
