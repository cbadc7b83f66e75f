#include "base/when.h"

#include <stdio.h>
#include <time.h>

enum { DAY_MINUTES = 24 * 60, MINUTE_MS = 60 * 1000, DAY_S = 24 * 3600 };

/* Exactly n digits. */
static bool digits(struct span *text, size_t n, int *out)
{
    *out = 0;
    if (text->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text->p[i] < '0' || text->p[i] > '9')
            return false;
        *out = *out * 10 + text->p[i] - '0';
    }
    *text = (struct span){text->p + n, text->n - n};
    return true;
}

static bool sign(struct span *text, const char *any_of, char *out)
{
    if (text->n == 0 || !strchr(any_of, text->p[0]))
        return false;
    *out = text->p[0];
    *text = (struct span){text->p + 1, text->n - 1};
    return true;
}

/* "HH:MM" */
static bool minute_of_day(struct span *text, int *out)
{
    int hour, minute;
    char colon;
    if (!digits(text, 2, &hour) || !sign(text, ":", &colon) ||
        !digits(text, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *out = hour * 60 + minute;
    return true;
}

/* "Z", "+09:00": minutes east of Greenwich. */
static bool zone(struct span *text, int *east_out)
{
    char which;
    if (!sign(text, "Zz+-", &which))
        return false;
    *east_out = 0;
    if (which == 'Z' || which == 'z')
        return true;
    if (!minute_of_day(text, east_out))
        return false;
    if (which == '-')
        *east_out = -*east_out;
    return true;
}

/* ".123": the digits behind the third say nothing to us. */
static bool fraction(struct span *text, int *ms_out)
{
    char dot;
    int digit, worth = 100;
    *ms_out = 0;
    if (!sign(text, ".", &dot))
        return true;
    if (!digits(text, 1, &digit))
        return false;
    do {
        *ms_out += digit * worth;
        worth /= 10;
    } while (digits(text, 1, &digit));
    return true;
}

/* "2026-11-20". A day that no calendar has (February 30) is none. */
static bool calendar_day(struct span *text, int32_t *day_out)
{
    struct tm tm = {0}, real;
    char c;
    if (!digits(text, 4, &tm.tm_year) || !sign(text, "-", &c) ||
        !digits(text, 2, &tm.tm_mon) || !sign(text, "-", &c) ||
        !digits(text, 2, &tm.tm_mday))
        return false;
    int month = --tm.tm_mon, day = tm.tm_mday;
    tm.tm_year -= 1900;
    time_t midnight = timegm(&tm);
    gmtime_r(&midnight, &real);
    *day_out = (int32_t)(midnight / DAY_S);
    return real.tm_mon == month && real.tm_mday == day;
}

bool day_parse(struct span text, int32_t *day_out)
{
    return calendar_day(&text, day_out) && text.n == 0;
}

/* RFC 3339 5.6. */
static bool rfc3339(struct span text, int64_t *out)
{
    int32_t day;
    int minute, second, ms, east;
    char c;
    if (!calendar_day(&text, &day) || !sign(&text, "Tt ", &c) ||
        !minute_of_day(&text, &minute) || !sign(&text, ":", &c) ||
        !digits(&text, 2, &second) || second > 60 || !fraction(&text, &ms) ||
        !zone(&text, &east) || text.n)
        return false;
    *out = ((int64_t)day * DAY_S + (int64_t)(minute - east) * 60 + second) * 1000 + ms;
    return true;
}

/* The next time that a clock on the wall shows it. Where summer time leaves it out,
 * mktime takes the time that the clock would have shown. */
static bool next_of_day(struct span text, int64_t now_ms, int64_t *out)
{
    int minute;
    if (!minute_of_day(&text, &minute) || text.n)
        return false;
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    int today = tm.tm_mday;
    for (int day = 0; day <= 1; day++) {
        localtime_r(&now, &tm);
        tm.tm_mday = today + day;
        tm.tm_hour = minute / 60;
        tm.tm_min = minute % 60;
        tm.tm_sec = 0;
        tm.tm_isdst = -1;
        *out = (int64_t)mktime(&tm) * 1000;
        if (*out > now_ms)
            break;
    }
    return true;
}

bool when_parse(struct span text, int64_t now_ms, int64_t *unix_ms_out)
{
    return next_of_day(text, now_ms, unix_ms_out) || rfc3339(text, unix_ms_out);
}

bool hours_parse(struct span text, struct hours *out)
{
    char dash;
    *out = (struct hours){0};
    return text.n == 0 ||
           (minute_of_day(&text, &out->from) && sign(&text, "-", &dash) &&
            minute_of_day(&text, &out->to) && text.n == 0 && out->from != out->to);
}

void hours_print(const struct hours *h, char out[HOURS_TEXT_MAX])
{
    out[0] = '\0';
    if (h->from != h->to)
        snprintf(out, HOURS_TEXT_MAX, "%02d:%02d-%02d:%02d", h->from / 60 % 24,
                 h->from % 60, h->to / 60 % 24, h->to % 60);
}

bool hours_hold(const struct hours *h, int64_t unix_ms)
{
    time_t now = (time_t)(unix_ms / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    int minute = tm.tm_hour * 60 + tm.tm_min;
    int length = (h->to - h->from + DAY_MINUTES) % DAY_MINUTES;
    return (minute - h->from + DAY_MINUTES) % DAY_MINUTES < length;
}

int64_t hours_change_ms(const struct hours *h, int64_t unix_ms)
{
    if (h->from == h->to)
        return INT64_MAX;
    bool within = hours_hold(h, unix_ms);
    int64_t ms = unix_ms - unix_ms % MINUTE_MS;
    do
        ms += MINUTE_MS;
    while (hours_hold(h, ms) == within);
    return ms;
}

const char *when_local(int64_t unix_ms, char out[WHEN_LOCAL_MAX])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    strftime(out, WHEN_LOCAL_MAX, "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
    return out;
}

int32_t day_local(int64_t unix_ms)
{
    time_t now = (time_t)(unix_ms / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    return (int32_t)(timegm(&tm) / DAY_S);
}

int64_t day_end_ms(int64_t unix_ms)
{
    time_t now = (time_t)(unix_ms / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    tm.tm_mday++;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    return (int64_t)mktime(&tm) * 1000;
}
