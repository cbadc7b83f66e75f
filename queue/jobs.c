/* Several jobs of one spool are one sender: what they share of a path, and what each of
 * them was told, on the board. */
#include "base/text.h"
#include "queue/inside.h"

#include <string.h>

enum key_kind { KEY_PATH = 1, KEY_SITE, KEY_SOURCE, KEY_BRAKE, KEY_OUTER };

static uint64_t key_of(enum key_kind kind, uint64_t first, uint64_t second)
{
    uint64_t parts[] = {kind, first, second};
    uint64_t key = hash_bytes(parts, sizeof parts);
    return key ? key : 1;
}

static uint64_t source_key(const struct scheduler *s, uint8_t source)
{
    return s->params.source_keys ? s->params.source_keys[source] : source;
}

static uint64_t key_of_site(const struct site *site)
{
    return key_of(KEY_SITE, hash_bytes(site->set->key, strlen(site->set->key)), 0);
}

static uint64_t key_of_source(const struct scheduler *s, uint8_t source)
{
    return key_of(KEY_SOURCE, source_key(s, source), 0);
}

static uint64_t key_of_brake(const struct provider *p)
{
    return key_of(KEY_BRAKE, p->key, 0);
}

/* ---- one path ---- */

static void tell(struct scheduler *s, struct path *path, int64_t now_us)
{
    struct board_word word = {.closed_until_us = path->closed_until_us,
                              .allowed = path->allowed,
                              .slow = path->slow,
                              .slow_until_us = path->slow_until_us};
    if (path->why)
        utf8_copy(word.why, sizeof word.why, path->why);
    board_tell(s->board, path->slot, &word, now_us);
}

/* What was last said of it to any job goes for all. True: something has changed. */
static bool hear(struct scheduler *s, const struct provider *p, struct path *path,
                 int64_t now_us)
{
    struct board_word word;
    board_hear(s->board, path->slot, &word);
    if (path->closed_until_us > now_us &&
        path->closed_until_us > word.closed_until_us) {
        tell(s, path, now_us); /* it was said before we had a place */
        return false;
    }
    bool closed =
        word.closed_until_us > now_us && word.closed_until_us != path->closed_until_us;
    bool slow = word.slow_until_us > now_us && word.slow >= path->slow &&
                word.slow_until_us != path->slow_until_us;
    bool changed = closed || slow || path->allowed != word.allowed;
    if (changed)
        path->good = 0;
    path->allowed = word.allowed;
    if (closed || slow)
        words_set(&path->why, word.why);
    if (slow) {
        path->slow = word.slow;
        path->slow_until_us = word.slow_until_us;
        path_limit(path, &p->limits);
    }
    if (closed) {
        path->closed_until_us = word.closed_until_us;
        restraint_stop(s, path, NULL, ANY_SOURCE, 0);
    }
    return changed;
}

static bool take_share(struct scheduler *s, const struct provider *p, struct path *path,
                       int64_t now_us)
{
    struct limits common = p->limits, known = path->common;
    struct sharing share = board_share(s->board, path->slot, &common, now_us);
    struct sharing before = path->share;
    path->share = share;
    path->common = common;
    bool other = !limits_equal(&common, &known);
    if (other || share.jobs != before.jobs)
        path_limit(path, &p->limits);
    return other || share.jobs != before.jobs || share.before != before.before ||
           share.turn != before.turn;
}

/* ---- what is wider than a path ---- */

static void hear_site(struct scheduler *s, struct site *site, int64_t now_us)
{
    struct board_word word;
    if (!board_hear_wide(s->board, key_of_site(site), now_us, &word) ||
        word.closed_until_us <= site->closed_until_us)
        return;
    restraint_close_site(site, word.closed_until_us, word.why);
    restraint_stop(s, NULL, site, ANY_SOURCE, 0);
}

static void hear_source(struct scheduler *s, uint8_t source, int64_t now_us)
{
    struct board_word word;
    if (!board_hear_wide(s->board, key_of_source(s, source), now_us, &word) ||
        word.closed_until_us <= s->source_until_us[source])
        return;
    restraint_close_source(s, source, word.closed_until_us, word.why);
    restraint_stop(s, NULL, NULL, source, 0);
}

static void hear_brake(struct scheduler *s, struct provider *p, int64_t now_us)
{
    struct board_word word;
    if (!board_hear_wide(s->board, key_of_brake(p), now_us, &word) ||
        word.closed_until_us <= p->braked_until_us)
        return;
    restraint_brake(s, p, word.closed_until_us);
}

static void hear_wide(struct scheduler *s, struct site *site, uint8_t source,
                      int64_t now_us)
{
    hear_site(s, site, now_us);
    hear_source(s, source, now_us);
    hear_brake(s, site->provider, now_us);
}

void jobs_tell_site(struct scheduler *s, const struct site *site, int64_t now_us)
{
    if (s->board)
        board_tell_wide(s->board, key_of_site(site), site->closed_until_us,
                        site->why ? site->why : "", now_us);
}

void jobs_tell_source(struct scheduler *s, uint8_t source, int64_t now_us)
{
    if (s->board)
        board_tell_wide(s->board, key_of_source(s, source), s->source_until_us[source],
                        s->source_why[source], now_us);
}

void jobs_tell_brake(struct scheduler *s, const struct provider *p, int64_t now_us)
{
    if (s->board)
        board_tell_wide(s->board, key_of_brake(p), p->braked_until_us, "", now_us);
}

/* ---- meeting and parting ---- */

/* What the others know of a path without connections; false: nobody does, or cares. */
static bool meet(struct scheduler *s, enum key_kind kind, struct provider *p,
                 uint8_t source, int64_t now_us)
{
    struct path *path = p->paths[source];
    if (path->connections > 0)
        return false;
    path->slot =
        board_take(s->board, key_of(kind, p->key, source_key(s, source)), now_us);
    if (!path->slot)
        return false;
    gate_share(&path->connects, &path->slot->connects);
    gate_share(&path->mails, &path->slot->mails);
    take_share(s, p, path, now_us);
    return true;
}

static void be_outdone(struct scheduler *s, struct path *path)
{
    path->outdone = s->heard;
    s->outdone = true;
}

void jobs_meet(struct scheduler *s, struct site *site, uint8_t source, int64_t now_us)
{
    struct outer *o = site->outer;
    struct path *path = site->provider->paths[source];
    if (!s->board)
        return;
    if (site->connections == 0 || path->connections == 0)
        hear_wide(s, site, source, now_us);
    if (meet(s, KEY_PATH, site->provider, source, now_us))
        hear(s, site->provider, path, now_us);
    for (int i = 0; i < outer_n(o); i++)
        meet(s, KEY_OUTER, o->budgets[i], source, now_us);
}

static void part(struct scheduler *s, const struct provider *p, uint8_t source)
{
    struct path *path = p->paths[source];
    if (!path->slot || path->connections > 0)
        return;
    if (path_connections(path, &p->limits) == 0)
        be_outdone(s, path);
    gate_share(&path->connects, NULL);
    gate_share(&path->mails, NULL);
    path->slot = NULL;
    path->share = s->share;
    limits_init(&path->common);
    path_limit(path, &p->limits);
}

void jobs_part(struct scheduler *s, const struct site *site, uint8_t source)
{
    const struct outer *o = site->outer;
    if (!s->board)
        return;
    part(s, site->provider, source);
    for (int i = 0; i < outer_n(o); i++)
        part(s, o->budgets[i], source);
}

static bool open_one(struct scheduler *s, const struct provider *p, uint8_t source,
                     int64_t now_us)
{
    struct path *path = p->paths[source];
    uint32_t most = path_whole(path, &p->limits);
    if (path->slot && !board_open(s->board, path->slot, most, now_us)) {
        be_outdone(s, path);
        return false;
    }
    path->connections++;
    return true;
}

static void close_one(struct scheduler *s, const struct provider *p, uint8_t source)
{
    struct path *path = p->paths[source];
    path->connections--;
    path->outdone = 0;
    if (path->slot)
        board_close(s->board, path->slot);
}

bool jobs_open(struct scheduler *s, const struct site *site, uint8_t source,
               int64_t now_us)
{
    const struct outer *o = site->outer;
    if (!open_one(s, site->provider, source, now_us))
        return false;
    for (int i = 0; i < outer_n(o); i++) {
        if (open_one(s, o->budgets[i], source, now_us))
            continue;
        while (i > 0)
            close_one(s, o->budgets[--i], source);
        close_one(s, site->provider, source);
        return false;
    }
    return true;
}

void jobs_close(struct scheduler *s, const struct site *site, uint8_t source)
{
    const struct outer *o = site->outer;
    close_one(s, site->provider, source);
    for (int i = 0; i < outer_n(o); i++)
        close_one(s, o->budgets[i], source);
    jobs_part(s, site, source);
}

uint32_t jobs_connections(const struct scheduler *s, const struct path *path)
{
    return path->slot ? board_connections(s->board, path->slot) : path->connections;
}

void jobs_tell(struct scheduler *s, struct path *path, int64_t now_us)
{
    if (path->slot)
        tell(s, path, now_us);
}

void jobs_hear(struct scheduler *s, const struct site *site, struct path *path,
               int64_t now_us)
{
    if (path->slot && hear(s, site->provider, path, now_us))
        restraint_stop_surplus(s);
}

void jobs_widen(struct scheduler *s, const struct site *site, struct path *path,
                uint32_t was, int64_t now_us)
{
    if (path->slot && !board_widen(s->board, path->slot, was, path->allowed, now_us))
        jobs_hear(s, site, path, now_us);
}

void scheduler_join(struct scheduler *s, struct board *board)
{
    assert(board || s->connections_n == 0);
    s->board = board;
    s->share = (struct sharing){.jobs = 1};
    s->jobs = 1;
    s->heard++;
    s->told = board ? board_told(board) - 1 : 0;
}

/* ---- hearing ---- */

/* Is the path met for the first time in this turn? */
static bool is_news(const struct scheduler *s, struct path *path)
{
    bool news = path->slot && path->heard != s->heard;
    path->heard = s->heard;
    return news;
}

/* Our shares of what bounds the connection beside its provider. True: they are others.
 */
static bool hear_outer(struct scheduler *s, const struct connection_record *c,
                       int64_t now_us)
{
    const struct outer *o = c->site->outer;
    bool changed = false;
    for (int i = 0; i < outer_n(o); i++) {
        struct path *path = outer_path(o, i, c->source);
        if (is_news(s, path))
            changed = take_share(s, o->budgets[i], path, now_us) || changed;
    }
    return changed;
}

void scheduler_hear(struct scheduler *s, uint32_t jobs, int64_t now_us)
{
    uint32_t told = board_told(s->board);
    bool news = told != s->told, changed = jobs != s->jobs;
    s->told = told;
    s->jobs = jobs;
    s->heard++;
    for (uint32_t i = 0; i < s->connections_used; i++) {
        struct connection_record *c = &s->connections[i];
        if (!c->site)
            continue;
        if (news && c->site->heard != s->heard)
            hear_site(s, c->site, now_us);
        c->site->heard = s->heard;
        changed = hear_outer(s, c, now_us) || changed;
        if (!is_news(s, c->path))
            continue;
        const struct provider *p = c->site->provider;
        if (news) {
            hear_source(s, c->source, now_us);
            hear_brake(s, c->site->provider, now_us);
        }
        changed = take_share(s, p, c->path, now_us) || changed;
        changed = (news && hear(s, p, c->path, now_us)) || changed;
    }
    if (changed)
        restraint_stop_surplus(s);
    if (!changed && !s->outdone)
        return;
    s->outdone = false;
    /* Those who wait for what others had. */
    for (uint32_t i = 0; i < s->shared_n; i++)
        if (s->shared[i])
            restraint_offer(s, s->shared[i]);
    for (uint32_t i = 0; i < s->sites_n; i++)
        if (policy_of(s, s->sites[i])->provider == 0)
            restraint_offer(s, s->sites[i]->provider);
}
