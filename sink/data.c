#include "sink/data.h"

/* Inside a line, nothing matters but CR and LF: both are found by memchr, which is what
 * makes a 10 kB message cost little. Stops behind the line's CRLF, or behind a CR that
 * ends the data. Returns how far it came. */
static const char *scan_line(struct data_scan *d, const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    const char *stop = lf ? lf : end;
    for (;;) {
        const char *cr = memchr(p, '\r', (size_t)(stop - p));
        if (!cr)
            break;
        if (cr + 1 == stop) {
            d->at = lf ? DATA_LINE_START : DATA_AFTER_CR;
            return lf ? lf + 1 : end;
        }
        d->bare = true;
        p = cr + 1;
    }
    if (!lf)
        return end;
    d->bare = true; /* a LF alone ends no line */
    return lf + 1;
}

/* The few bytes around a line's end, one at a time. */
static void step(struct data_scan *d, char c)
{
    bool behind_cr = d->at == DATA_AFTER_CR || d->at == DATA_AFTER_DOT_CR;
    if (c == '\n') {
        d->bare |= !behind_cr;
        d->at = behind_cr ? DATA_LINE_START : DATA_IN_LINE;
    } else if (c == '\r') {
        d->bare |= behind_cr;
        d->at = d->at == DATA_AFTER_DOT ? DATA_AFTER_DOT_CR : DATA_AFTER_CR;
    } else {
        d->bare |= behind_cr;
        d->at = c == '.' && d->at == DATA_LINE_START ? DATA_AFTER_DOT : DATA_IN_LINE;
    }
}

size_t data_scan(struct data_scan *d, const char *data, size_t n, bool *ended_out)
{
    const char *p = data;
    const char *end = data + n;
    *ended_out = false;
    while (p < end) {
        if (d->at == DATA_IN_LINE) {
            p = scan_line(d, p, end);
            continue;
        }
        enum data_at was = d->at;
        step(d, *p++);
        if (was == DATA_AFTER_DOT_CR && p[-1] == '\n') {
            *ended_out = true;
            break;
        }
        /* RFC 5321 4.5.2: a dot that opens a longer line is taken off. */
        if ((was == DATA_AFTER_DOT && p[-1] != '\r') || was == DATA_AFTER_DOT_CR)
            d->stuffed++;
    }
    d->bytes += (uint64_t)(p - data);
    return (size_t)(p - data);
}

void data_unstuff(struct buf *out, struct span data)
{
    const char *p = data.p;
    const char *end = data.p + data.n;
    while (p < end) {
        if (*p == '.')
            p++;
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        while (lf && (lf == p || lf[-1] != '\r'))
            lf = memchr(lf + 1, '\n', (size_t)(end - lf - 1));
        const char *next = lf ? lf + 1 : end;
        buf_add(out, p, (size_t)(next - p));
        p = next;
    }
}

struct span data_message_id(struct span header)
{
    struct span name = SPAN("message-id:");
    if (!header.n)
        return (struct span){"", 0};
    const char *end = header.p + header.n;
    for (const char *p = header.p; p < end;) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *next = lf ? lf + 1 : end;
        if (span_starts_nocase((struct span){p, (size_t)(next - p)}, name)) {
            /* The value may stand on the next, folded line. */
            if (next < end && (*next == ' ' || *next == '\t')) {
                lf = memchr(next, '\n', (size_t)(end - next));
                next = lf ? lf + 1 : end;
            }
            const char *open = memchr(p, '<', (size_t)(next - p));
            const char *close = open ? memchr(open, '>', (size_t)(next - open)) : NULL;
            if (close)
                return (struct span){open, (size_t)(close + 1 - open)};
        }
        p = next;
    }
    return (struct span){"", 0};
}
