#include "sink/command.h"

#include "sink/server.h"

bool command_word(struct span *s, struct span word)
{
    if (!span_starts_nocase(*s, word))
        return false;
    s->p += word.n;
    s->n -= word.n;
    return true;
}

void command_spaces(struct span *s)
{
    while (s->n && *s->p == ' ') {
        s->p++;
        s->n--;
    }
}

bool command_path(struct span *s, struct span *path_out)
{
    bool quoted = false;
    if (!s->n || s->p[0] != '<')
        return false;
    for (size_t i = 1; i < s->n; i++) {
        unsigned char c = (unsigned char)s->p[i];
        if (c < ' ' || c > '~' || (c == ' ' && !quoted))
            return false;
        if (c == '\\' && quoted) {
            i++; /* the quoted byte is looked at below */
            if (i == s->n || s->p[i] < ' ' || s->p[i] > '~')
                return false;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == '>' && !quoted) {
            *path_out = (struct span){s->p + 1, i - 1};
            s->p += i + 1;
            s->n -= i + 1;
            return true;
        }
    }
    return false;
}

bool command_address_good(struct span a)
{
    enum { PATH_MAX_BYTES = 254 }; /* RFC 5321 4.5.3.1.3, without the brackets */
    const char *at = a.n ? memrchr(a.p, '@', a.n) : NULL;
    return at && at > a.p && at + 1 < a.p + a.n && a.n <= PATH_MAX_BYTES;
}

const char *command_mail_parameters(struct span rest, bool extended)
{
    while (rest.n) {
        if (*rest.p != ' ')
            return "501 5.5.4 syntax: MAIL FROM:<address> [parameters]";
        command_spaces(&rest);
        const char *space = rest.n ? memchr(rest.p, ' ', rest.n) : NULL;
        struct span word = {rest.p, space ? (size_t)(space - rest.p) : rest.n};
        rest.p += word.n;
        rest.n -= word.n;
        if (!word.n)
            break;
        if (!extended)
            return "555 5.5.4 no parameters after HELO";
        if (span_equal_nocase(word, SPAN("BODY=7BIT")) ||
            span_equal_nocase(word, SPAN("BODY=8BITMIME")))
            continue;
        if (!command_word(&word, SPAN("SIZE=")) || !word.n || word.n > 20)
            return "555 5.5.4 parameter not known";
        uint64_t size = 0;
        for (; word.n && *word.p >= '0' && *word.p <= '9'; word.p++, word.n--) {
            if (size <= SINK_SIZE_MAX)
                size = size * 10 + (uint64_t)(*word.p - '0');
        }
        if (word.n)
            return "501 5.5.4 SIZE is a number";
        if (size > SINK_SIZE_MAX)
            return "552 5.3.4 message too big";
    }
    return NULL;
}
