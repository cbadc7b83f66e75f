#include "queue/list_columns.h"

#include "base/map.h"
#include "base/text.h"
#include "queue/recipients.h"

static const char default_column[] = "email";

enum { WORDS_NAME_MAX = 60 }; /* of a name that a fault quotes */

/* Where a fault was found. */
struct place {
    const char *what;
    const char *path;
    struct fault *fault;
};

static bool blame(const struct place *p, const char *why)
{
    return fault_set(p->fault, -10, "cannot understand header of %s \"%s\": %s",
                     p->what, p->path, why);
}

static bool blame_column(const struct place *p, int column, struct span name,
                         const char *why)
{
    int n = (int)(name.n < WORDS_NAME_MAX ? name.n : WORDS_NAME_MAX);
    return fault_set(p->fault, -10,
                     "cannot understand header of %s \"%s\": column %d \"%.*s\" %s",
                     p->what, p->path, column + 1, n, name.p, why);
}

static struct span trim(struct span s)
{
    while (s.n && s.p[0] == ' ') {
        s.p++;
        s.n--;
    }
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

/* Cut the next name off the line. false: there is none left. */
static bool next_name(struct span *line, struct span *name)
{
    if (!line->p)
        return false;
    const char *tab = memchr(line->p, '\t', line->n);
    size_t n = tab ? (size_t)(tab - line->p) : line->n;
    *name = trim((struct span){line->p, n});
    *line =
        tab ? (struct span){line->p + n + 1, line->n - n - 1} : (struct span){NULL, 0};
    return true;
}

/* Spreadsheets like to save "Unicode text" as UTF-16: its letters come with NUL bytes.
 */
static bool looks_like_utf16(struct span line)
{
    return line.n >= 2 &&
           (memcmp(line.p, "\xff\xfe", 2) == 0 || memcmp(line.p, "\xfe\xff", 2) == 0 ||
            line.p[0] == '\0' || line.p[1] == '\0');
}

static bool check_line(struct span line, const struct place *p)
{
    if (looks_like_utf16(line))
        return blame(p, "it looks like UTF-16; save the list as UTF-8");
    if (memchr(line.p, '\0', line.n))
        return blame(p, "it holds a NUL byte");
    if (!utf8_valid(line))
        return blame(p, "it is not UTF-8; save the list as UTF-8");
    if (memchr(line.p, '\r', line.n))
        return blame(p, "it holds a CR; lines must end in LF or CRLF");
    if (trim(line).n == 0)
        return blame(p, "the first line is blank");
    bool comma = memchr(line.p, ',', line.n) || memchr(line.p, ';', line.n);
    if (comma && !memchr(line.p, '\t', line.n))
        return blame(
            p, "it has no TAB; a list of comma-separated values must be converted");
    return true;
}

/* Letters, digits, "_", "-", "." and spaces inside; outside ASCII everything that is
 * not a control character, for letters of any script are more than we care to list. */
static bool name_allowed(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool alnum =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool c1 = c == 0xc2 && (unsigned char)name.p[i + 1] < 0xa0; /* U+0080-009F */
        if (c1 || (c < 0x80 && !alnum && c != ' ' && c != '_' && c != '-' && c != '.'))
            return false;
    }
    return true;
}

static bool check_name(struct span name, int column, struct map *seen,
                       const struct place *p)
{
    if (name.n == 0)
        return blame_column(p, column, name, "has no name");
    if (name.n > LIST_NAME_MAX)
        return blame_column(p, column, name, "has a name longer than 255 octets");
    if (!name_allowed(name))
        return blame_column(
            p, column, name,
            "may only hold letters, digits, spaces, \"_\", \"-\" and \".\"");
    bool added;
    map_put(seen, name, (uint32_t)column, &added, NULL);
    if (!added)
        return blame_column(p, column, name, "is there twice");
    return true;
}

/* The index of the address column, -1: there is none, -2: several could be it. A name
 * that was asked for may be told from others by its case. */
static int find_address(struct span line, const char *asked)
{
    struct span wanted = span_of(asked ? asked : default_column);
    int found = -1;
    int column = 0;
    struct span name;
    for (; next_name(&line, &name); column++) {
        if (asked && span_equal(name, wanted))
            return column;
        if (span_equal_nocase(name, wanted))
            found = found == -1 ? column : -2;
    }
    return found;
}

static bool choose_address(struct list_columns *c, struct span line, const char *asked,
                           const struct place *p)
{
    c->address = find_address(line, asked);
    if (c->address >= 0)
        return true;
    return fault_set(
        p->fault, -10, "cannot understand header of %s \"%s\": %s column \"%.*s\"",
        p->what, p->path, c->address == -1 ? "there is no" : "there is more than one",
        WORDS_NAME_MAX, asked ? asked : default_column);
}

bool list_columns_named(struct span line, const char *address_column)
{
    return find_address(line, address_column) != -1;
}

bool list_columns_parse(struct list_columns *c, struct span line,
                        const char *address_column, const char *what, const char *path,
                        struct fault *f)
{
    const struct place place = {what, path, f};
    if (!check_line(line, &place))
        return false;
    c->names = arena_alloc(&c->arena, RECIPIENTS_COLUMNS_MAX * sizeof *c->names);
    struct map seen = {0};
    struct span rest = line;
    struct span name;
    bool ok = true;
    while (ok && next_name(&rest, &name)) {
        if (c->n == RECIPIENTS_COLUMNS_MAX)
            ok = blame(&place, "it has more than 1000 columns");
        else
            ok = check_name(name, c->n, &seen, &place);
        if (ok)
            c->names[c->n++] = arena_strndup(&c->arena, name.p, name.n);
    }
    map_finish(&seen);
    return ok && choose_address(c, line, address_column, &place);
}

void list_columns_finish(struct list_columns *c)
{
    arena_finish(&c->arena);
    *c = (struct list_columns){0};
}
