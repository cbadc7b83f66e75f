#include "message/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"

enum { NAME_MAX_OCTETS = 40 };

static const iconv_t CLOSED = (iconv_t)-1;

bool charset_is_utf8(struct span name)
{
    return span_equal_nocase(name, SPAN("utf-8")) ||
           span_equal_nocase(name, SPAN("utf8"));
}

bool charset_is_ascii(struct span name)
{
    return span_equal_nocase(name, SPAN("us-ascii")) ||
           span_equal_nocase(name, SPAN("ascii"));
}

/* iconv's own suffixes (//TRANSLIT) would lose characters silently. */
static bool name_copy(char out[NAME_MAX_OCTETS + 1], struct span name)
{
    if (name.n == 0 || name.n > NAME_MAX_OCTETS || memchr(name.p, '/', name.n))
        return false;
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    return true;
}

static iconv_t open_to_utf8(struct span name)
{
    char from[NAME_MAX_OCTETS + 1];
    return name_copy(from, name) ? iconv_open("UTF-8", from) : CLOSED;
}

static iconv_t open_from_utf8(struct span name)
{
    char to[NAME_MAX_OCTETS + 1];
    return name_copy(to, name) ? iconv_open(to, "UTF-8") : CLOSED;
}

bool charset_known(struct span name)
{
    const iconv_t to = open_to_utf8(name), from = open_from_utf8(name);
    const bool known = to != CLOSED && from != CLOSED;
    if (to != CLOSED)
        iconv_close(to);
    if (from != CLOSED)
        iconv_close(from);
    return known;
}

/* One whole text through cd, from its first state back to it. */
static bool run(iconv_t cd, struct buf *out, struct span text)
{
    char *in = (char *)(uintptr_t)text.p; /* iconv's prototype lacks a const */
    size_t in_left = text.n;
    iconv(cd, NULL, NULL, NULL, NULL);
    for (bool flush = text.n == 0;;) {
        buf_reserve(out, in_left + 32);
        char *p = out->p + out->n;
        size_t left = out->cap - out->n;
        const size_t r = flush ? iconv(cd, NULL, NULL, &p, &left)
                               : iconv(cd, &in, &in_left, &p, &left);
        out->n = (size_t)(p - out->p);
        if (r == (size_t)-1 && errno == E2BIG) {
            buf_reserve(out, 2 * (out->cap - out->n) + 64);
            continue;
        }
        if (r != 0) /* an error, or characters that iconv replaced */
            return false;
        if (flush)
            return true;
        flush = true;
    }
}

bool charset_to_utf8(struct buf *out, struct span name, struct span text)
{
    if (charset_is_utf8(name)) {
        buf_add_span(out, text);
        return utf8_valid(text);
    }
    const iconv_t cd = open_to_utf8(name);
    if (cd == CLOSED)
        return false;
    const bool good = run(cd, out, text);
    iconv_close(cd);
    return good;
}

bool charset_from_utf8(struct buf *out, struct span name, struct span text)
{
    const iconv_t cd = open_from_utf8(name);
    if (cd == CLOSED)
        return false;
    const bool good = run(cd, out, text);
    iconv_close(cd);
    return good;
}

bool charset_holds_ascii(struct span name)
{
    const iconv_t cd = open_from_utf8(name);
    if (cd == CLOSED)
        return false;
    struct buf out = {0};
    bool same = true;
    for (int c = 1; c < 128 && same; c++) {
        if (c == 0x0e || c == 0x0f || c == 0x1b) /* shifts and escape */
            continue;
        const char one = (char)c;
        buf_reset(&out);
        same = run(cd, &out, (struct span){&one, 1}) && out.n == 1 && *out.p == one;
    }
    buf_finish(&out);
    iconv_close(cd);
    return same;
}

struct converters {
    struct converters *next;
    iconv_t cd;
    char name[NAME_MAX_OCTETS + 1];
};

bool converters_run(struct converters **c, const char *name, struct buf *out,
                    struct span text)
{
    struct converters *one = *c;
    while (one && strcmp(one->name, name) != 0)
        one = one->next;
    if (!one) {
        const iconv_t cd = open_from_utf8(span_of(name));
        if (cd == CLOSED)
            return false;
        one = mem_zero(1, sizeof *one);
        one->cd = cd;
        memcpy(one->name, name, strlen(name) + 1);
        one->next = *c;
        *c = one;
    }
    return run(one->cd, out, text);
}

void converters_finish(struct converters **c)
{
    while (*c) {
        struct converters *next = (*c)->next;
        iconv_close((*c)->cd);
        free(*c);
        *c = next;
    }
}
