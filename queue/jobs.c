/* Several jobs of one spool are one sender: what they share of a path, and what each of
 * them was told, on the board. */
#include "base/text.h"
#include "queue/inside.h"

#include <string.h>

enum key_kind { KEY_PATH = 1, KEY_SITE, KEY_SOURCE, KEY_BRAKE };

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
static bool hear(struct scheduler *s, const struct site *site, struct path *path,
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
        path_limit(path, &site->provider->limits);
    }
    if (closed) {
        path->closed_until_us = word.closed_until_us;
        restraint_stop(s, path, NULL, ANY_SOURCE, 0);
    }
    return changed;
}

static bool take_share(struct scheduler *s, const struct site *site, struct path *path,
                       int64_t now_us)
{
    struct limits common = site->provider->limits, known = path->common;
    struct sharing share = board_share(s->board, path->slot, &common, now_us);
    struct sharing before = path->share;
    path->share = share;
    path->common = common;
    bool other = !limits_equal(&common, &known);
    if (other || share.jobs != before.jobs)
        path_limit(path, &site->provider->limits);
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

static void hear_source(struct scheduler *s, uint8_t source, struct path *path,
                        int64_t now_us)
{
    struct board_word word;
    int64_t *until_us = &s->source_until_us[source];
    if (!board_hear_wide(s->board, key_of_source(s, source), now_us, &word) ||
        word.closed_until_us <= *until_us)
        return;
    *until_us = word.closed_until_us;
    words_set(&path->why, word.why);
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
                      struct path *path, int64_t now_us)
{
    hear_site(s, site, now_us);
    hear_source(s, source, path, now_us);
    hear_brake(s, site->provider, now_us);
}

void jobs_tell_site(struct scheduler *s, const struct site *site, int64_t now_us)
{
    if (s->board)
        board_tell_wide(s->board, key_of_site(site), site->closed_until_us,
                        site->why ? site->why : "", now_us);
}

void jobs_tell_source(struct scheduler *s, uint8_t source, const char *why,
                      int64_t now_us)
{
    if (s->board)
        board_tell_wide(s->board, key_of_source(s, source), s->source_until_us[source],
                        why, now_us);
}

void jobs_tell_brake(struct scheduler *s, const struct provider *p, int64_t now_us)
{
    if (s->board)
        board_tell_wide(s->board, key_of_brake(p), p->braked_until_us, "", now_us);
}

/* ---- meeting and parting ---- */

void jobs_meet(struct scheduler *s, struct site *site, uint8_t source,
               struct path *path, int64_t now_us)
{
    if (s->board && (site->connections == 0 || path->connections == 0))
        hear_wide(s, site, source, path, now_us);
    if (!s->board || path->connections > 0)
        return;
    uint64_t key = key_of(KEY_PATH, site->provider->key, source_key(s, source));
    path->slot = board_take(s->board, key, now_us);
    if (!path->slot)
        return;
    gate_share(&path->connects, &path->slot->connects);
    gate_share(&path->mails, &path->slot->mails);
    take_share(s, site, path, now_us);
    hear(s, site, path, now_us);
}

static void be_outdone(struct scheduler *s, struct path *path)
{
    path->outdone = s->heard;
    s->outdone = true;
}

void jobs_part(struct scheduler *s, const struct site *site, struct path *path)
{
    if (!path->slot || path->connections > 0)
        return;
    if (path_connections(path, &site->provider->limits) == 0)
        be_outdone(s, path);
    gate_share(&path->connects, NULL);
    gate_share(&path->mails, NULL);
    path->slot = NULL;
    path->share = s->share;
    limits_init(&path->common);
    path_limit(path, &site->provider->limits);
}

bool jobs_open(struct scheduler *s, const struct site *site, struct path *path,
               int64_t now_us)
{
    uint32_t most = path_whole(path, &site->provider->limits);
    if (path->slot && !board_open(s->board, path->slot, most, now_us)) {
        be_outdone(s, path);
        return false;
    }
    path->connections++;
    return true;
}

void jobs_close(struct scheduler *s, const struct site *site, struct path *path)
{
    path->connections--;
    path->outdone = 0;
    if (path->slot)
        board_close(s->board, path->slot);
    jobs_part(s, site, path);
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
    if (path->slot && hear(s, site, path, now_us))
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

void scheduler_hear(struct scheduler *s, uint32_t jobs, int64_t now_us)
{
    uint32_t told = board_told(s->board);
    bool news = told != s->told, changed = jobs != s->jobs;
    s->told = told;
    s->jobs = jobs;
    s->heard++;
    for (uint32_t i = 0; i < s->connections_used; i++) {
        struct connection_record *c = &s->connections[i];
        if (!c->site || !c->path->slot)
            continue;
        if (news && c->site->heard != s->heard)
            hear_site(s, c->site, now_us);
        c->site->heard = s->heard;
        if (c->path->heard == s->heard)
            continue;
        c->path->heard = s->heard;
        if (news) {
            hear_source(s, c->source, c->path, now_us);
            hear_brake(s, c->site->provider, now_us);
        }
        changed = take_share(s, c->site, c->path, now_us) || changed;
        changed = (news && hear(s, c->site, c->path, now_us)) || changed;
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
