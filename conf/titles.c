/* The names of sections: what each kind must look like, and how it is kept. */
#include "base/address.h"
#include "conf/settings.h"

enum {
    REPLY_TITLE_MAX = 20,
    PLAIN_NAME_MAX = 63, /* of a source or pool */
};

/* Of a domain "name" or "*.name"; A-labels as in an address. */
bool pattern_of_domain(struct span text, struct buf *out)
{
    struct span name = text;
    if (span_starts_nocase(text, SPAN("*."))) {
        buf_add_str(out, "*.");
        name = (struct span){text.p + 2, text.n - 2};
    }
    struct buf email = {0};
    struct address a;
    buf_add_str(&email, "x@");
    buf_add_span(&email, name);
    bool good = address_parse(buf_span(&email), &a) == ADDRESS_OK;
    if (good)
        buf_add_str(out, a.text + a.domain_at);
    buf_finish(&email);
    return good;
}

bool pattern_of_hosts(struct span text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (!c || !strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.*?", c))
            return false;
        buf_add_char(out, c);
    }
    return text.n > 0 && text.n <= ADDRESS_MAX;
}

static bool reply_title(struct span text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++)
        if (!text.p[i] || !strchr("0123456789xX. ", text.p[i]))
            return false;
    buf_add_span(out, text);
    return text.n > 0 && text.n <= REPLY_TITLE_MAX;
}

static bool in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-_.", c));
}

static bool plain_name(struct span text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++)
        if (!in_name(text.p[i]))
            return false;
    buf_add_span(out, text);
    return text.n > 0 && text.n <= PLAIN_NAME_MAX;
}

static const struct {
    bool (*take)(struct span text, struct buf *out);
    const char *form;
} titles[SECTION_COUNT] = {
    [SECTION_SOURCE] = {plain_name, "a name of letters, digits, - _ and ."},
    [SECTION_POOL] = {plain_name, "a name of letters, digits, - _ and ."},
    [SECTION_WARMUP] = {plain_name, "a name of letters, digits, - _ and ."},
    [SECTION_DOMAIN] = {pattern_of_domain, "a domain, or *. and a domain"},
    [SECTION_MX] = {pattern_of_hosts, "a pattern of host names, with * and ?"},
    [SECTION_REPLY] = {reply_title, "a code such as 421, 4.7.28 or 550 5.7.1"},
};

bool title_take(enum conf_section section, struct span text, struct buf *out)
{
    return titles[section].take(text, out);
}

const char *title_form(enum conf_section section)
{
    return titles[section].form;
}
