#include "sink/mood.h"

/* docs/rehearsal.md describes the same moods; a test compares the names. */
/* clang-format off */
const struct mood sink_moods[] = {
    {.name = "accept", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "takes everything"},
    {.name = "distant", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "takes everything, 50 ms away",
     .delay_ms = 50},
    {.name = "picky", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "does not know 3 % of the recipients",
     .refuse_percent = 3, .refuse_reply = "550 5.1.1 no such user here"},
    {.name = "full", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "2 % of the mailboxes are full",
     .refuse_percent = 2, .refuse_reply = "552 5.2.2 mailbox full"},
    {.name = "greylist", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "greylists every recipient for 2 seconds",
     .greylist_s = 2},
    {.name = "tempfail", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "10 % of the recipients succeed only at the second try",
     .defer_percent = 10, .defer_reply = "451 4.3.0 local error, try again later"},
    {.name = "filter", .pipelining = true, .chunking = CHUNKING_STRICT, .spread = true,
     .meaning = "refuses 2 % of the messages after their end",
     .filter_percent = 2, .filter_reply = "550 5.7.1 message refused by the filter"},
    {.name = "closer", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "closes silently after 20 messages",
     .close_after = 20},
    {.name = "limited", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "answers 421 to the 11th message of a connection",
     .close_after = 10,
     .close_reply = "421 4.7.0 too many messages for this session, reconnect"},
    {.name = "narrow", .pipelining = true, .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "takes 3 connections at once, more get 421",
     .connections = 3},
    {.name = "plain", .spread = true, .chunking = CHUNKING_WORKS,
     .meaning = "does not offer PIPELINING"},
    {.name = "dots", .pipelining = true, .spread = true,
     .meaning = "does not offer CHUNKING"},
    {.name = "nobdat", .pipelining = true, .chunking = CHUNKING_UNKNOWN,
     .meaning = "offers CHUNKING and answers 502 to BDAT"},
    {.name = "old", .helo_only = true, .spread = true,
     .meaning = "knows HELO only"},
    {.name = "refuse", .chunking = CHUNKING_WORKS,
     .meaning = "greets everybody with 554",
     .greeting = "554 5.7.1 no mail from you"},
    {.name = "tls", .pipelining = true, .starttls = STARTTLS_WORKS, .chunking = CHUNKING_WORKS,
     .meaning = "offers STARTTLS, and PIPELINING only behind it"},
    {.name = "tlsonly", .starttls = STARTTLS_WORKS, .tls_needed = true, .chunking = CHUNKING_WORKS,
     .meaning = "takes mail under TLS only, and offers PIPELINING only before it"},
    {.name = "notls454", .pipelining = true, .starttls = STARTTLS_REFUSED, .chunking = CHUNKING_WORKS,
     .meaning = "offers STARTTLS and answers 454 to it"},
    {.name = "tlshang", .pipelining = true, .starttls = STARTTLS_SILENT, .chunking = CHUNKING_WORKS,
     .meaning = "answers 220 to STARTTLS and is silent then"},
    {.name = "tlsgarbage", .pipelining = true, .starttls = STARTTLS_CLEAR, .chunking = CHUNKING_WORKS,
     .meaning = "answers 220 to STARTTLS and goes on in clear"},
    {.name = "tlsinject", .pipelining = true, .starttls = STARTTLS_INJECTS, .chunking = CHUNKING_WORKS,
     .meaning = "sends a second reply behind the 220 to STARTTLS"},
    {.name = "auth", .pipelining = true, .starttls = STARTTLS_WORKS, .auth = true, .chunking = CHUNKING_WORKS,
     .meaning = "wants AUTH as user with password secret, behind STARTTLS"},
    {.name = "authclear", .pipelining = true, .auth = true, .chunking = CHUNKING_WORKS,
     .meaning = "wants AUTH as user with password secret, without TLS"},
    {.name = "smtps", .pipelining = true, .tls_at_once = true, .auth = true, .chunking = CHUNKING_WORKS,
     .meaning = "speaks TLS from the first byte, and wants AUTH as auth does"},
};
/* clang-format on */
const int sink_moods_n = sizeof sink_moods / sizeof sink_moods[0];

const struct mood *sink_mood_find(struct span name)
{
    for (int i = 0; i < sink_moods_n; i++) {
        if (span_equal(name, span_of(sink_moods[i].name)))
            return &sink_moods[i];
    }
    return NULL;
}
