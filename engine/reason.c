#include "engine/reason.h"

#include "report/field.h"

static const struct span by = {"rule ", 5}, after = {"after ", 6};

void reason_add(struct buf *out, const char *rule, int code, struct span words,
                size_t words_max)
{
    if (rule)
        buf_printf(out, "rule %s ", rule);
    buf_printf(out, "after %d", code);
    if (words.n == 0)
        return;
    buf_add_char(out, ' ');
    buf_reserve(out, words_max);
    out->n = (size_t)(field_write(out->p + out->n, words, words_max) - out->p);
}

static struct span behind(struct span text, size_t n)
{
    return (struct span){text.p + n, text.n - n};
}

static bool starts(struct span text, struct span with)
{
    return text.n >= with.n && memcmp(text.p, with.p, with.n) == 0;
}

/* "after 421", and a space or the end. */
static bool is_reply(struct span text)
{
    static const char digits[] = "0123456789";
    char code[5] = "";
    if (!starts(text, after))
        return false;
    text = behind(text, after.n);
    memcpy(code, text.p, text.n < sizeof code ? text.n : sizeof code - 1);
    return strspn(code, digits) == 3 && (code[3] == ' ' || code[3] == '\0');
}

struct reason reason_split(const char *why)
{
    struct reason reason = {0};
    struct span rest = why ? span_of(why) : (struct span){0};
    if (starts(rest, by)) {
        rest = behind(rest, by.n);
        size_t n = 0;
        while (n < rest.n && !(rest.p[n] == ' ' && is_reply(behind(rest, n + 1))))
            n++;
        reason.rule = (struct span){rest.p, n};
        rest = behind(rest, n < rest.n ? n + 1 : n);
    }
    if (is_reply(rest))
        reason.reply = behind(rest, after.n);
    return reason;
}
