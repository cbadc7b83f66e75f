#include "base/transcript.h"

#include "base/text.h"

static int hex(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* One escape behind its backslash; returns its bytes, 0: there is no such one. */
static size_t escape_of(const char *p, size_t n, char *out)
{
    static const char from[] = "rnt\\", to[] = "\r\n\t\\";
    if (n >= 3 && p[0] == 'x') {
        int high = hex(p[1]), low = hex(p[2]);
        *out = (char)(high * 16 + low);
        return high < 0 || low < 0 ? 0 : 3;
    }
    const char *at = n ? memchr(from, p[0], sizeof from - 1) : NULL;
    if (!at)
        return 0;
    *out = to[at - from];
    return 1;
}

static const char *plain(struct buf *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '\\') {
            size_t used = escape_of(p + i + 1, n - i - 1, &c);
            if (!used)
                return "unknown escape";
            i += used;
        }
        buf_add_char(out, c);
    }
    return NULL;
}

/* {COUNT*text} at p; how long it is comes out. */
static const char *repeat(struct buf *out, const char *p, size_t n, size_t *used)
{
    const char *close = memchr(p, '}', n);
    const char *at = p + 1;
    size_t count = 0;
    while (close && at < close && *at >= '0' && *at <= '9' &&
           count < TRANSCRIPT_TEXT_MAX)
        count = count * 10 + (size_t)(*at++ - '0');
    if (!close || at == p + 1 || *at != '*')
        return "a repetition is {COUNT*text}";
    size_t before = out->n;
    const char *wrong = plain(out, at + 1, (size_t)(close - at - 1));
    size_t each = out->n - before;
    if (wrong)
        return wrong;
    if (count && each > TRANSCRIPT_TEXT_MAX / count)
        return "too many bytes";
    out->n = before;
    buf_reserve(out, each * count + each);
    for (size_t i = 1; i < count; i++)
        memcpy(out->p + before + i * each, out->p + before, each);
    out->n += each * count;
    *used = (size_t)(close + 1 - p);
    return NULL;
}

const char *transcript_unescape(struct buf *out, struct span text)
{
    const char *end = text.p + text.n;
    for (const char *p = text.p; p < end;) {
        const char *brace = memchr(p, '{', (size_t)(end - p));
        const char *stop = brace ? brace : end;
        const char *wrong = plain(out, p, (size_t)(stop - p));
        size_t used = 0;
        if (!wrong && brace)
            wrong = repeat(out, brace, (size_t)(end - brace), &used);
        if (wrong)
            return wrong;
        p = stop + used;
    }
    return NULL;
}

void transcript_escape(struct buf *out, struct span text, bool pattern)
{
    struct buf clean = {0};
    text_clean(&clean, text, SIZE_MAX);
    for (size_t i = 0; i < clean.n; i++) {
        char c = clean.p[i];
        if (c == '{')
            buf_add_str(out, "\\x7b");
        else if (c == '*' && pattern)
            buf_add_str(out, "\\x2a");
        else
            buf_add_char(out, c);
    }
    buf_finish(&clean);
}

/* Greedy with one step back to the last star: linear enough for lines. */
bool transcript_match(struct span pattern, struct span line)
{
    size_t i = 0, k = 0;
    size_t star = SIZE_MAX, star_k = 0;
    while (k < line.n) {
        char c = i < pattern.n ? pattern.p[i] : '\0';
        size_t used = 1;
        if (i < pattern.n && c == '*') {
            star = i++;
            star_k = k;
            continue;
        }
        if (i < pattern.n && c == '\\')
            used += escape_of(pattern.p + i + 1, pattern.n - i - 1, &c);
        if (i < pattern.n && c == line.p[k]) {
            i += used;
            k++;
        } else if (star != SIZE_MAX) {
            i = star + 1;
            k = ++star_k;
        } else {
            return false;
        }
    }
    while (i < pattern.n && pattern.p[i] == '*')
        i++;
    return i == pattern.n;
}
