#include "sink/world.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

struct sink_world *sink_world_create(int record_fd, const char *keep_dir)
{
    struct sink_world *w = mem_zero(1, sizeof *w);
    w->record_fd = record_fd;
    w->keep_dir = keep_dir ? mem_strdup(keep_dir) : NULL;
    return w;
}

void sink_world_destroy(struct sink_world *w)
{
    if (!w)
        return;
    buf_finish(&w->record);
    map_finish(&w->seen);
    free(w->keep_dir);
    free(w);
}

void sink_world_set_wall(struct sink_world *w, int64_t unix_us_at_zero)
{
    w->wall_us = unix_us_at_zero;
}

struct sink_counts *sink_world_counts(struct sink_world *w)
{
    return &w->counts;
}

static bool write_all(int fd, struct span s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s.p += n;
        s.n -= (size_t)n;
    }
    return true;
}

bool sink_world_flush(struct sink_world *w)
{
    if (w->counts.record_failed)
        return false;
    if (w->record.n) {
        if (!write_all(w->record_fd, buf_span(&w->record))) {
            w->counts.record_failed = true;
            return false;
        }
        w->record_written += w->record.n;
        buf_reset(&w->record);
    }
    return true;
}

int64_t world_seen_ms(struct sink_world *w, struct span address, int64_t now_us)
{
    if (!w->seen.n)
        w->seen_from_us = now_us;
    int64_t now_ms = (now_us - w->seen_from_us) / 1000;
    uint32_t value = now_ms < UINT32_MAX - 1 ? (uint32_t)now_ms : UINT32_MAX - 1;
    bool added;
    uint32_t first = map_put(&w->seen, address, value, &added, NULL);
    return added ? -1 : (int64_t)value - first;
}

void world_record(struct sink_world *w, const struct world_message *m)
{
    enum { TEXT_MAX = 1024 };
    if (w->record_fd < 0)
        return;
    size_t before = w->record.n;
    const char *end = m->recipients.p + m->recipients.n;
    for (const char *p = m->recipients.p; p < end; p += strlen(p) + 1) {
        buf_add_i64(&w->record, (w->wall_us + m->now_us) / 1000);
        buf_add_char(&w->record, '\t');
        text_clean(&w->record, span_of(p), TEXT_MAX);
        buf_add_char(&w->record, '\t');
        text_clean(&w->record, m->sender, TEXT_MAX);
        buf_add_char(&w->record, '\t');
        text_clean(&w->record, m->message_id, TEXT_MAX);
        buf_add_char(&w->record, '\t');
        buf_add_u64(&w->record, m->bytes);
        buf_add_char(&w->record, '\t');
        buf_add_span(&w->record, m->peer);
        buf_add_char(&w->record, '\t');
        text_clean(&w->record, m->helo, TEXT_MAX);
        buf_add_char(&w->record, '\n');
    }
    w->record_added += w->record.n - before;
}

bool world_keep(struct sink_world *w, struct span message)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%llu.eml", w->keep_dir,
                     (unsigned long long)w->counts.messages + 1);
    if (n < 0 || (size_t)n >= sizeof path)
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write_all(fd, message);
    return close(fd) == 0 && good;
}
