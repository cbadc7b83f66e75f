#include "base/text.h"

#include <stdio.h>
#include <time.h>

static const struct {
    const char *unit;
    int64_t ms;
} units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
enum { UNITS = sizeof units / sizeof units[0] };

static const struct {
    const char *unit;
    int64_t per_hour;
} rates[] = {{"/s", 3600}, {"/min", 60}, {"/h", 1}};
enum { RATES = sizeof rates / sizeof rates[0] };

/* The number that text begins with; *unit is what follows it. */
static bool number_before(struct span text, int64_t *out, struct span *unit)
{
    int64_t v = 0;
    size_t i = 0;
    for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, text.p[i] - '0', &v))
            return false;
    *out = v;
    *unit = (struct span){text.p + i, text.n - i};
    return i > 0;
}

bool duration_parse(struct span text, int64_t *ms_out)
{
    int64_t v;
    struct span unit;
    if (!number_before(text, &v, &unit))
        return false;
    if (unit.n == 0 && v == 0) {
        *ms_out = 0;
        return true;
    }
    for (int u = 0; u < UNITS; u++)
        if (span_equal(unit, span_of(units[u].unit)))
            return !__builtin_mul_overflow(v, units[u].ms, ms_out);
    return false;
}

void duration_print(struct buf *b, int64_t ms)
{
    if (ms == 0) {
        buf_add_char(b, '0');
        return;
    }
    int u = 0;
    while (ms % units[u].ms)
        u++;
    /* "24h" and "90m" read better than "1d" of a day that people count in hours. */
    if (u == 0 && ms < 2 * units[0].ms)
        u = 1;
    buf_add_i64(b, ms / units[u].ms);
    buf_add_str(b, units[u].unit);
}

void duration_say(struct buf *b, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *name;
    } words[] = {{3600000, "hour"}, {60000, "minute"}, {1000, "second"}};
    size_t i = 0;
    while (i < 2 && ms < 2 * words[i].ms)
        i++;
    int64_t n = ms / words[i].ms;
    buf_add_i64(b, n);
    buf_printf(b, " %s%s", words[i].name, n == 1 ? "" : "s");
}

bool rate_parse(struct span text, int64_t *per_hour_out)
{
    int64_t v;
    struct span unit;
    if (!number_before(text, &v, &unit))
        return false;
    *per_hour_out = 0;
    if (unit.n == 0)
        return v == 0;
    for (int u = 0; u < RATES; u++)
        if (span_equal(unit, span_of(rates[u].unit)))
            return v > 0 && /* 0/s: nothing at all, or no limit? */
                   !__builtin_mul_overflow(v, rates[u].per_hour, per_hour_out);
    return false;
}

void rate_print(struct buf *b, int64_t per_hour)
{
    if (per_hour == 0) {
        buf_add_char(b, '0');
        return;
    }
    int u = 0;
    while (per_hour % rates[u].per_hour)
        u++;
    buf_add_i64(b, per_hour / rates[u].per_hour);
    buf_add_str(b, rates[u].unit);
}

static void two(char *p, int v)
{
    p[0] = (char)('0' + v / 10 % 10);
    p[1] = (char)('0' + v % 10);
}

void time_rfc3339_ms(int64_t unix_ms, char out[RFC3339_MS_LEN])
{
    int64_t ms = unix_ms % 1000;
    if (ms < 0)
        ms += 1000;
    time_t seconds = (time_t)((unix_ms - ms) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    int year = tm.tm_year + 1900;
    two(out, year / 100);
    two(out + 2, year % 100);
    out[4] = '-';
    two(out + 5, tm.tm_mon + 1);
    out[7] = '-';
    two(out + 8, tm.tm_mday);
    out[10] = 'T';
    two(out + 11, tm.tm_hour);
    out[13] = ':';
    two(out + 14, tm.tm_min);
    out[16] = ':';
    two(out + 17, tm.tm_sec);
    out[19] = '.';
    out[20] = (char)('0' + ms / 100);
    two(out + 21, (int)(ms % 100));
    out[23] = 'Z';
}

static int number(const char *p, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

bool time_rfc3339_ms_parse(struct span text, int64_t *unix_ms_out)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    if (text.n != RFC3339_MS_LEN)
        return false;
    for (int i = 0; i < RFC3339_MS_LEN; i++)
        if (form[i] == 'd' ? text.p[i] < '0' || text.p[i] > '9' : text.p[i] != form[i])
            return false;
    struct tm tm = {
        .tm_year = number(text.p, 4) - 1900,
        .tm_mon = number(text.p + 5, 2) - 1,
        .tm_mday = number(text.p + 8, 2),
        .tm_hour = number(text.p + 11, 2),
        .tm_min = number(text.p + 14, 2),
        .tm_sec = number(text.p + 17, 2),
    };
    *unix_ms_out = (int64_t)timegm(&tm) * 1000 + number(text.p + 20, 3);
    return true;
}

void time_rfc5322(int64_t unix_ms, char out[RFC5322_DATE_MAX])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm); /* strftime would ask the locale */
    snprintf(out, RFC5322_DATE_MAX, "%.3s, %d %.3s %04d %02d:%02d:%02d +0000",
             days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
             (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

size_t utf8_sequence(struct span text)
{
    if (text.n == 0)
        return 0;
    const unsigned char *s = (const unsigned char *)text.p;
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] < 0xc2   ? 0
               : s[0] < 0xe0 ? 2
               : s[0] < 0xf0 ? 3
               : s[0] < 0xf5 ? 4
                             : 0;
    if (n == 0 || text.n < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

bool utf8_valid(struct span text)
{
    while (text.n) {
        uint64_t word; /* most text has long stretches of ASCII: eight at a time */
        if (text.n >= sizeof word) {
            memcpy(&word, text.p, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                text.p += sizeof word;
                text.n -= sizeof word;
                continue;
            }
        }
        size_t n = utf8_sequence(text);
        if (n == 0)
            return false;
        text.p += n;
        text.n -= n;
    }
    return true;
}

void utf8_copy(char *out, size_t room, const char *text)
{
    struct span rest = span_of(text);
    size_t n = 0;
    while (rest.n > 0) {
        size_t one = utf8_sequence(rest);
        one = one ? one : 1; /* what is no UTF-8 is copied as it is */
        if (n + one >= room)
            break;
        memcpy(out + n, rest.p, one);
        n += one;
        rest = (struct span){rest.p + one, rest.n - one};
    }
    out[n] = '\0';
}

/* Most text is printable ASCII: bytes that pass as they are. */
static size_t plain_run(struct span text)
{
    size_t n = 0;
    while (n < text.n && text.p[n] >= 0x20 && text.p[n] < 0x7f && text.p[n] != '\\')
        n++;
    return n;
}

void text_clean(struct buf *b, struct span text, size_t max)
{
    while (text.n) {
        size_t run = plain_run(text);
        run = run < max ? run : max;
        if (run) {
            buf_add(b, text.p, run);
            max -= run;
            text.p += run;
            text.n -= run;
            continue;
        }
        size_t n = utf8_sequence(text);
        unsigned char c = (unsigned char)text.p[0];
        bool c1 = n == 2 && c == 0xc2 && (unsigned char)text.p[1] < 0xa0;
        if (n == 0 || c < 0x20 || c == 0x7f || c1) {
            n = n ? n : 1;
            if (max < 4 * n)
                return;
            for (size_t i = 0; i < n; i++) {
                unsigned char byte = (unsigned char)text.p[i];
                char hex[4] = {'\\', 'x', "0123456789abcdef"[byte >> 4],
                               "0123456789abcdef"[byte & 15]};
                buf_add(b, hex, 4);
            }
            max -= 4 * n;
        } else if (c == '\\') {
            if (max < 2)
                return;
            buf_add(b, "\\\\", 2);
            max -= 2;
        } else {
            if (max < n)
                return;
            buf_add(b, text.p, n);
            max -= n;
        }
        text.p += n;
        text.n -= n;
    }
}
