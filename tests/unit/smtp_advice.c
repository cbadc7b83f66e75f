/* Which pause a temporary reply asks for, in the words of many servers; and texts that
 * ask for none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtp/advice.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static const struct {
    const char *text;
    int64_t ms;
} texts[] = {
    {"4.7.1 Greylisting in action, please come back in 00:04:59", 299 * SECOND},
    {"4.7.1 Greylisting in action, please come back later", 0},
    {"4.2.0 <u@x.example>: Recipient address rejected: Greylisted for 300 seconds (see "
     "http://isg.ee.ethz.ch/tools/postgrey/help/x.html)",
     300 * SECOND},
    {"4.2.0 <u@x.example>: Recipient address rejected: Greylisted, see "
     "http://postgrey.schweikert.ch/help/x.example.html",
     0},
    {"4.7.1 <u@x.example>: Recipient address rejected: Greylisted for 5 minutes (4)",
     5 * MINUTE},
    {"greylisted, please try again in 5 minutes", 5 * MINUTE},
    {"4.7.0 Try again in 10 minutes.", 10 * MINUTE},
    {"Please try again after 1 hour", HOUR},
    {"Too many messages, please resend after 1 hour", HOUR},
    {"4.7.1 Retry-After: 600", 600 * SECOND},
    {"Retry-After=30", 30 * SECOND},
    {"4.7.0 retry in 300 seconds", 300 * SECOND},
    {"Rate limited (retry in 300s)", 300 * SECOND},
    {"4.7.1 Please wait 00:05:00", 5 * MINUTE},
    {"please wait at least 15 minutes before trying again", 15 * MINUTE},
    {"try again later in 1 hour and 30 minutes", 90 * MINUTE},
    {"Try again in 4 minutes 10 seconds", 250 * SECOND},
    {"4.3.2 Please try again in an hour", HOUR},
    {"Your IP is temporarily blocked for 2 hours", 2 * HOUR},
    {"4.7.1 Ratelimit exceeded; wait 2h", 2 * HOUR},
    {"WAIT 30 MINUTES", 30 * MINUTE},
    {"come back in 3 days", 24 * HOUR},
    {"retry in 0 seconds", 0},
    {"please retry after 1 second", SECOND},
    /* Seen in logs, on help pages, in what others test. */
    {"4.7.1 <u@x.example>: Recipient address rejected: Greylisted, try again in 500 "
     "seconds",
     500 * SECOND},
    {"4.7.1 greylisted, try again in 60s", MINUTE},
    {"4.2.0 <u@x.example>: Recipient address rejected: x.example greylisted for 60 "
     "seconds by ZEROSPAM",
     MINUTE},
    {"Greylisted for 5 minutes. Try again later.", 5 * MINUTE},
    {"4.2.0 Sender address rejected: Greylisted for 45 sec.", 45 * SECOND},
    {"Greylisted, see http://x.example/greylisted/ or wait 300 seconds", 5 * MINUTE},
    {"4.7.1 Greylisting in effect, please retry in 300 seconds", 5 * MINUTE},
    {"4.7.1 Greylisting in effect, please retry later", 0},
    {"Please try again in a few hours and reduce the sending rate.", 0},
    {"4.2.1 Sender ip address rejected: You sent to many mails from different domains "
     "in the last 10 minutes",
     0},
    {"5.7.1 Data command rejected: too many messages from sender in last 60 minutes",
     0},
    {"4.16.50. We encourage you to retry sending approximately 4 hours after you "
     "encounter this error",
     4 * HOUR},
    /* Not seen. */
    {"Your message was deferred. Please send it again after 10 minutes.", 10 * MINUTE},
    {"Please try again 30 minutes later", 30 * MINUTE},
    {"Please retry after 10 min.", 10 * MINUTE},
    {"try again in 0 hours 4 minutes", 4 * MINUTE},
    {"try again in 1 minute and 0 seconds", MINUTE},
    {"", 0},
    {"4.7.0 Try again later, closing connection. d2e1a72fcca58-5b6a4c", 0},
    {"Delivered in 2 seconds from host 10.0.0.5", 0},
    {"4.4.2 mx.example closing connection after 5 minutes of inactivity", 0},
    {"4.7.28 Gmail has detected an unusual rate of mail originating from your IP "
     "address 192.0.2.1. To protect our users, mail has been temporarily rate limited. "
     "For more information, go to https://support.google.com/mail/?p=X 7-20020a1s 3 m",
     0},
    {"4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP "
     "reputation. S775 [Name=Protocol Filter Agent][AGT=PFA] [MX.example "
     "2026-11-22T08:09:10.123Z 08DE23]",
     0},
    {"try again later. It took 5 minutes", 0},
    {"You tried again 5 minutes ago", 0},
    {"we waited for 30 seconds and gave up; retry", 0},
    {"wait 123456789012345678901234567890 seconds", 0},
    {"retry 10.0.0.5", 0},
    {"try again on 2026-11-22 08:00:00", 0},
    {"mailbox of user 5 minutes is full, try again later", 0},
    {"retry 25:61", 0},
    {"try again in a few minutes", 0},
    {"try again in 5-10 minutes", 0},
    {"wait 1x minutes", 0},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t ms = advice_wait_ms(span_of(texts[i].text));
        if (ms != texts[i].ms)
            fail_msg("\"%s\": %lld, not %lld", texts[i].text, (long long)ms,
                     (long long)texts[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
