#include "queue/recipients.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "queue/list_lines.h"
#include "queue/list_row.h"
#include "queue/list_table.h"

/* What list_file holds for each row: the number of its domain, or one of these. */
#define VALUE_800         0x7ffffffcu
#define VALUE_611         0x7ffffffdu
#define VALUE_EXCLUDED    0x7ffffffeu
#define VALUE_OUTSIDE     0x7fffffffu /* not in the job */
#define VALUE_DUPLICATE   0x80000000u /* with the number of the first row */
#define VALUE_DOMAINS_MAX VALUE_800

enum { LINE_KEPT_MAX = 1 << 20 }; /* a giant line must not stay in memory for ever */

static const char what[] = "list";

struct recipients {
    struct list_table list;
    struct map domains;
    const char **domain_names; /* owned by the map */
    uint32_t domain_names_cap;
    uint32_t first, last;
    bool proof;
    struct address to; /* if proof */
    struct list_excluded excluded;
};

/* What is needed only while the list is read. */
struct reading {
    struct recipients *r;
    const struct recipients_params *params;
    struct list_lines lines;
    struct list_table exclude;
    struct fault *fault;
};

static uint32_t number_domain(struct recipients *r, const struct address *a)
{
    bool added;
    const char *name;
    struct span domain = {a->text + a->domain_at, a->n - (size_t)a->domain_at};
    uint32_t number = map_put(&r->domains, domain, r->domains.n, &added, &name);
    if (added) {
        if (number == r->domain_names_cap) {
            r->domain_names_cap = r->domain_names_cap ? r->domain_names_cap * 2 : 64;
            r->domain_names = mem_resize(r->domain_names, r->domain_names_cap,
                                         sizeof *r->domain_names);
        }
        r->domain_names[number] = name;
    }
    assert(number < VALUE_DOMAINS_MAX);
    return number;
}

/* The value of a row whose address is good. */
static bool classify(struct reading *g, uint32_t row, const struct address *address,
                     uint32_t *value_out)
{
    struct recipients *r = g->r;
    struct list_key key;
    uint32_t found;
    list_key_make(&key, address);
    if (!list_table_find(&g->exclude, &key, &found, g->fault))
        return false;
    if (found) {
        *value_out = VALUE_EXCLUDED;
        return true;
    }
    if (r->proof) {
        *value_out = 0;
        return true;
    }
    if (!g->params->allow_duplicates) {
        if (!list_table_find(&r->list, &key, &found, g->fault))
            return false;
        if (found) {
            *value_out = VALUE_DUPLICATE | found;
            return true;
        }
        list_seen_add(&r->list.seen, row, key.hash);
    }
    *value_out = number_domain(r, address);
    return true;
}

static bool add_row(struct reading *g, const struct list_line *line)
{
    struct recipients *r = g->r;
    struct list_file *file = &r->list.file;
    if (g->lines.offset > LIST_FILE_MAX || file->rows == LIST_ROWS_MAX)
        return fault_set(g->fault, -8, "cannot open %s \"%s\": %s", what, file->name,
                         strerror(EFBIG));
    uint32_t row = file->rows + 1;
    uint32_t value = VALUE_OUTSIDE;
    if (row >= r->first && row <= r->last) {
        struct list_row judged;
        list_row_judge(&judged, line->text, line->too_long, &r->list.columns,
                       r->list.fields);
        int code = list_row_code(judged.verdict);
        value = code == 800 ? VALUE_800 : VALUE_611;
        if (code == 0 && !classify(g, row, &judged.address, &value))
            return false;
    }
    list_file_add(file, line->offset, value);
    file->size = line->offset + line->bytes;
    return true;
}

static bool read_header(struct reading *g)
{
    struct list_table *t = &g->r->list;
    struct list_line line;
    enum list_lines_result result = list_lines_next(&g->lines, &line);
    if (result != LIST_LINES_ONE)
        return fault_set(
            g->fault, -9, "cannot read header of %s \"%s\": %s", what, t->file.name,
            result == LIST_LINES_END ? "the file is empty" : strerror(errno));
    if (line.too_long)
        return fault_set(
            g->fault, -10,
            "cannot understand header of %s \"%s\": it is longer than %d MiB", what,
            t->file.name, LIST_LINE_MAX >> 20);
    if (!list_columns_parse(&t->columns, line.text, g->params->address_column, what,
                            t->file.name, g->fault))
        return false;
    t->file.size = line.bytes;
    t->fields = mem_zero((size_t)t->columns.n, sizeof *t->fields);
    return true;
}

static bool read_rows(struct reading *g)
{
    struct list_line line;
    enum list_lines_result result;
    while ((result = list_lines_next(&g->lines, &line)) == LIST_LINES_ONE)
        if (!add_row(g, &line))
            return false;
    if (result == LIST_LINES_ERROR)
        return fault_set(g->fault, -20, "cannot read %s \"%s\": %s", what,
                         g->r->list.file.name, strerror(errno));
    return true;
}

static bool read_all(struct reading *g)
{
    struct recipients *r = g->r;
    const struct recipients_params *params = g->params;
    const char *name = params->name ? params->name : params->path;
    if (!list_file_open(&r->list.file, params->path, name, what, g->fault))
        return false;
    g->lines.fd = r->list.file.fd;
    if (!read_header(g))
        return false;
    if (params->exclude &&
        !list_exclude_open(&g->exclude, params->exclude, params->address_column,
                           &r->excluded, g->fault))
        return false;
    return read_rows(g);
}

struct recipients *recipients_open(const struct recipients_params *params,
                                   struct fault *f)
{
    struct recipients *r = mem_zero(1, sizeof *r);
    r->list.file.fd = -1;
    r->first = params->first_row ? params->first_row : 1;
    r->last = params->last_row ? params->last_row : LIST_ROWS_MAX;
    r->proof = params->to != NULL;
    if (r->proof) {
        enum address_result good = address_parse(span_of(params->to), &r->to);
        assert(good == ADDRESS_OK);
        number_domain(r, &r->to);
    }
    struct reading g = {.r = r, .params = params, .fault = f};
    g.exclude.file.fd = -1;
    bool ok = read_all(&g);
    list_lines_finish(&g.lines);
    list_table_close(&g.exclude);
    list_table_settle(&r->list);
    if (!ok) {
        recipients_free(r);
        return NULL;
    }
    if (r->last > r->list.file.rows)
        r->last = r->list.file.rows;
    return r;
}

void recipients_free(struct recipients *r)
{
    if (!r)
        return;
    list_table_close(&r->list);
    map_finish(&r->domains);
    free(r->domain_names);
    free(r);
}

uint32_t recipients_rows(const struct recipients *r)
{
    return r->list.file.rows;
}

uint32_t recipients_first(const struct recipients *r)
{
    return r->first;
}

uint32_t recipients_last(const struct recipients *r)
{
    return r->last;
}

int recipients_columns(const struct recipients *r)
{
    return r->list.columns.n;
}

const char *const *recipients_column_names(const struct recipients *r)
{
    return r->list.columns.names;
}

int recipients_address_column(const struct recipients *r)
{
    return r->list.columns.address;
}

uint32_t recipients_exclude_ignored(const struct recipients *r, uint64_t *line_out)
{
    if (line_out)
        *line_out = r->excluded.ignored_line;
    return r->excluded.ignored;
}

uint32_t recipients_domains(const struct recipients *r)
{
    return r->domains.n;
}

const char *recipients_domain_name(const struct recipients *r, uint32_t domain)
{
    assert(domain < r->domains.n);
    return r->domain_names[domain];
}

uint32_t recipients_domain(const struct recipients *r, uint32_t row)
{
    uint32_t value = list_file_value(&r->list.file, row);
    return value < VALUE_DOMAINS_MAX ? value : RECIPIENTS_NO_DOMAIN;
}

int recipients_code(const struct recipients *r, uint32_t row)
{
    uint32_t value = list_file_value(&r->list.file, row);
    assert(value != VALUE_OUTSIDE);
    return value < VALUE_DOMAINS_MAX ? 0
           : value == VALUE_800      ? 800
           : value == VALUE_611      ? 611
                                     : 801;
}

/* Is a row that was judged anew the one that was there at open? */
static bool unchanged(const struct recipients *r, uint32_t value,
                      const struct list_row *row)
{
    int code = list_row_code(row->verdict);
    if (value == VALUE_OUTSIDE)
        return true;
    if (value == VALUE_800 || value == VALUE_611)
        return code == (value == VALUE_800 ? 800 : 611);
    if (code != 0)
        return false;
    if (value == VALUE_EXCLUDED || value & VALUE_DUPLICATE || r->proof)
        return true;
    return strcmp(row->address.text + row->address.domain_at, r->domain_names[value]) ==
           0;
}

static void prepare(const struct recipients *r, struct recipient *out)
{
    int columns = r->list.columns.n;
    if (out->fields_cap < columns) {
        out->fields = mem_resize(out->fields, (size_t)columns, sizeof *out->fields);
        out->fields_cap = columns;
    }
    if (out->line.cap > LINE_KEPT_MAX)
        buf_finish(&out->line);
}

bool recipients_read(const struct recipients *r, uint32_t row, struct recipient *out,
                     struct fault *f)
{
    const struct list_table *t = &r->list;
    prepare(r, out);
    struct span text;
    bool too_long;
    if (!list_file_read(&t->file, row, &out->line, &text, &too_long, f))
        return false;
    struct list_row judged;
    list_row_judge(&judged, text, too_long, &t->columns, out->fields);
    uint32_t value = list_file_value(&t->file, row);
    if (!unchanged(r, value, &judged))
        return list_file_changed(&t->file, row, f);
    out->raw = out->fields[t->columns.address];
    out->address = judged.address;
    out->code = list_row_code(judged.verdict);
    list_row_words(&judged, &t->columns, out->words, sizeof out->words);
    if (value == VALUE_EXCLUDED) {
        out->code = 801;
        snprintf(out->words, sizeof out->words, "excluded");
    } else if (value & VALUE_DUPLICATE) {
        out->code = 801;
        snprintf(out->words, sizeof out->words, "duplicate of row %u",
                 value & ~VALUE_DUPLICATE);
    } else if (r->proof && out->code == 0) {
        out->address = r->to;
    }
    return true;
}

void recipient_finish(struct recipient *r)
{
    buf_finish(&r->line);
    free(r->fields);
    *r = (struct recipient){0};
}
