#include "queue/list_row.h"

#include <stdio.h>

#include "base/text.h"
#include "queue/list_lines.h"

/* Is every byte ASCII and not NUL? Most rows are; eight bytes at a time. */
static bool plain(struct span s)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t tops = 0x8080808080808080u;
    uint64_t word;
    for (; s.n >= sizeof word; s.p += sizeof word, s.n -= sizeof word) {
        memcpy(&word, s.p, sizeof word);
        if ((word | (word - ones)) & tops)
            return false;
    }
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)(s.p[i] - 1) >= 0x7f)
            return false;
    return true;
}

int list_row_split(struct span line, const struct list_columns *columns,
                   struct span *fields)
{
    int n = 0;
    for (;;) {
        if (n == columns->n)
            return n + 1;
        const char *tab = memchr(line.p, '\t', line.n);
        size_t length = tab ? (size_t)(tab - line.p) : line.n;
        fields[n++] = (struct span){line.p, length};
        if (!tab)
            break;
        line.p += length + 1;
        line.n -= length + 1;
    }
    for (int i = n; i < columns->n; i++)
        fields[i] = SPAN("");
    return n;
}

static enum list_verdict judge(struct list_row *row, struct span line,
                               const struct list_columns *columns, struct span *fields)
{
    row->fields_n = list_row_split(line, columns, fields);
    if (line.n == 0)
        return LIST_BLANK;
    if (!plain(line)) {
        if (memchr(line.p, '\0', line.n))
            return LIST_NUL;
        if (!utf8_valid(line))
            return LIST_NOT_UTF8;
    }
    if (row->fields_n != columns->n)
        return LIST_FIELDS;
    switch (address_parse(fields[columns->address], &row->address)) {
    case ADDRESS_OK:
        return LIST_GOOD;
    case ADDRESS_EMPTY:
        return LIST_NO_ADDRESS;
    case ADDRESS_BAD:
        break;
    }
    return LIST_BAD_ADDRESS;
}

void list_row_judge(struct list_row *row, struct span line, bool too_long,
                    const struct list_columns *columns, struct span *fields)
{
    row->verdict = judge(row, line, columns, fields);
    if (too_long)
        row->verdict = LIST_TOO_LONG;
}

int list_row_code(enum list_verdict v)
{
    return v == LIST_GOOD ? 0 : v == LIST_BAD_ADDRESS ? 611 : 800;
}

void list_row_words(const struct list_row *row, const struct list_columns *columns,
                    char *out, size_t size)
{
    switch (row->verdict) {
    case LIST_GOOD:
        out[0] = '\0';
        break;
    case LIST_BLANK:
        snprintf(out, size, "the line is blank");
        break;
    case LIST_TOO_LONG:
        snprintf(out, size, "the line is longer than %d MiB", LIST_LINE_MAX >> 20);
        break;
    case LIST_NUL:
        snprintf(out, size, "a NUL byte stands in the line");
        break;
    case LIST_NOT_UTF8:
        snprintf(out, size, "the line is not UTF-8");
        break;
    case LIST_FIELDS:
        if (row->fields_n > columns->n)
            snprintf(out, size, "more fields than the header's %d", columns->n);
        else
            snprintf(out, size, "%d fields instead of %d", row->fields_n, columns->n);
        break;
    case LIST_NO_ADDRESS:
        snprintf(out, size, "the address is empty");
        break;
    case LIST_BAD_ADDRESS:
        snprintf(out, size, "%s", row->address.why);
        break;
    }
}
