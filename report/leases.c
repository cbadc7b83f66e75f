#include "report/leases.h"

#include <stdlib.h>

#include "base/mem.h"
#include "report/fold.h"

enum { LEASES_FIRST = 4096 };

static bool row_number(struct span *text, uint32_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
        v = v * 10 + (uint64_t)(text->p[i] - '0');
        if (v > UINT32_MAX)
            return false;
    }
    text->p += i;
    text->n -= i;
    *out = (uint32_t)v;
    return v > 0;
}

static bool range(struct span text, struct row_range *out)
{
    if (!row_number(&text, &out->from))
        return false;
    out->to = out->from;
    if (text.n == 0)
        return true;
    if (text.p[0] != '-')
        return false;
    text.p++;
    text.n--;
    return row_number(&text, &out->to) && text.n == 0 && out->to >= out->from;
}

bool row_range_next(struct span *text, struct row_range *out, bool *good_out)
{
    while (text->n) {
        const char *comma = memchr(text->p, ',', text->n);
        struct span one = {text->p, comma ? (size_t)(comma - text->p) : text->n};
        size_t used = one.n + (comma != NULL);
        text->p += used;
        text->n -= used;
        if (range(one, out))
            return true;
        *good_out = false;
    }
    return false;
}

/* Forget the rows that came back. */
static void sweep(struct leases *l, const struct row *rows)
{
    size_t kept = 0, marked = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (!(rows[l->index[i]].marks & ROW_LEASED))
            continue;
        l->index[kept++] = l->index[i];
        if (i < l->marked)
            marked = kept;
    }
    l->n = kept;
    l->marked = marked;
}

void leases_add(struct leases *l, struct row *rows, uint32_t index)
{
    if (rows[index].marks & ROW_LEASED)
        return;
    if (l->n == l->cap) {
        sweep(l, rows);
        if (l->n >= l->cap / 2) {
            l->cap = l->cap ? 2 * l->cap : LEASES_FIRST;
            l->index = mem_resize(l->index, l->cap, sizeof *l->index);
        }
    }
    rows[index].marks |= ROW_LEASED;
    l->index[l->n++] = index;
}

void leases_damage(struct leases *l, struct row *rows)
{
    for (; l->marked < l->n; l->marked++)
        if (rows[l->index[l->marked]].marks & ROW_LEASED)
            rows[l->index[l->marked]].marks |= ROW_DAMAGED;
}

void leases_end(struct leases *l, struct row *rows)
{
    for (size_t i = 0; i < l->n; i++) {
        uint8_t *marks = &rows[l->index[i]].marks;
        if (!(*marks & ROW_DAMAGED))
            *marks &= (uint8_t)~ROW_LEASED;
    }
    sweep(l, rows);
}

void leases_finish(struct leases *l)
{
    free(l->index);
    *l = (struct leases){0};
}
