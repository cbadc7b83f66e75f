#include "queue/list_table.h"

#include <errno.h>

#include "base/mem.h"
#include "queue/list_lines.h"
#include "queue/list_row.h"

static const char what[] = "exclude file";

static bool blame(const struct list_table *t, const char *why, struct fault *f)
{
    return fault_set(f, -10, "cannot understand %s \"%s\": %s", what, t->file.name,
                     why);
}

/* The first line decides what the file is. *header_out: it is no address itself. */
static bool begin(struct list_table *t, const struct list_line *line,
                  const char *address_column, bool *header_out, struct fault *f)
{
    *header_out = list_columns_named(line->text, address_column);
    if (*header_out)
        return list_columns_parse(&t->columns, line->text, address_column, what,
                                  t->file.name, f);
    if (memchr(line->text.p, '\0', line->text.n))
        return blame(t, "it holds a NUL byte; save it as UTF-8", f);
    if (memchr(line->text.p, '\t', line->text.n))
        return blame(t, "it has TABs, but no header with the address column", f);
    t->columns.n = 1;
    return true;
}

static bool add(struct list_table *t, const struct list_line *line, bool *added_out,
                struct fault *f)
{
    list_row_split(line->text, &t->columns, t->fields);
    struct address address;
    *added_out = address_parse(t->fields[t->columns.address], &address) == ADDRESS_OK;
    list_file_add(&t->file, line->offset, 0);
    t->file.size = line->offset + line->bytes;
    if (!*added_out)
        return true;
    struct list_key key;
    uint32_t row;
    list_key_make(&key, &address);
    if (!list_table_find(t, &key, &row, f))
        return false;
    if (row == 0)
        list_seen_add(&t->seen, t->file.rows, key.hash);
    return true;
}

static bool read_lines(struct list_table *t, const char *address_column,
                       struct list_lines *lines, struct list_excluded *out,
                       struct fault *f)
{
    struct list_line line;
    enum list_lines_result result;
    uint64_t number = 0;
    uint32_t good = 0;
    while ((result = list_lines_next(lines, &line)) == LIST_LINES_ONE) {
        number++;
        if (number == 1) {
            bool header;
            if (!begin(t, &line, address_column, &header, f))
                return false;
            t->fields = mem_zero((size_t)t->columns.n, sizeof *t->fields);
            if (header)
                continue;
        }
        if (lines->offset > LIST_FILE_MAX || t->file.rows == LIST_ROWS_MAX)
            return blame(t, "it is too large", f);
        bool added;
        if (!add(t, &line, &added, f))
            return false;
        good += added;
        if (!added && (line.too_long || span_trim(line.text).n > 0) &&
            out->ignored++ == 0)
            out->ignored_line = number;
    }
    if (result == LIST_LINES_ERROR)
        return fault_set(f, -20, "cannot read %s \"%s\": %s", what, t->file.name,
                         strerror(errno));
    if (out->ignored > good)
        return fault_set(
            f, -10,
            "cannot understand %s \"%s\": most of its lines are not addresses, "
            "the first is line %llu",
            what, t->file.name, (unsigned long long)out->ignored_line);
    return true;
}

bool list_exclude_open(struct list_table *t, const char *path,
                       const char *address_column, struct list_excluded *out,
                       struct fault *f)
{
    *t = (struct list_table){0};
    *out = (struct list_excluded){0};
    if (!list_file_open(&t->file, path, path, what, f))
        return false;
    struct list_lines lines = {.fd = t->file.fd};
    bool ok = read_lines(t, address_column, &lines, out, f);
    list_lines_finish(&lines);
    return ok;
}
