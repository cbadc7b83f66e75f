#include "sink/command.h"
#include "sink/inside.h"

/* The list is another one before STARTTLS than behind it, so that a client that does
 * not forget is found out (RFC 3207 4.2). */
bool opening_offers_pipelining(const struct sink_server *s)
{
    bool other = s->mood->starttls == STARTTLS_WORKS && !s->secured;
    return s->mood->pipelining != other;
}

static bool offers_starttls(const struct sink_server *s)
{
    return s->mood->starttls != STARTTLS_NONE && !s->secured;
}

static bool offers_auth(const struct sink_server *s)
{
    return s->mood->auth && !offers_starttls(s);
}

static void greet(struct sink_server *s, struct span name, bool extended)
{
    s->greeted = true;
    s->extended = extended;
    buf_reset(&s->helo);
    buf_add_span(&s->helo, span_trim(name));
}

void opening_ehlo(struct sink_server *s, struct span rest)
{
    if (s->mood->helo_only) {
        server_reply(s, "502 5.5.1 command not implemented");
        return;
    }
    if (!span_trim(rest).n) {
        server_reply_bad(s, "501 5.5.4 syntax: EHLO name");
        return;
    }
    server_forget_transaction(s); /* RFC 5321 4.1.4 */
    greet(s, rest, true);
    buf_add_str(&s->out, "250-");
    buf_add_str(&s->out, s->mood->name);
    buf_add_str(&s->out, ".invalid greets you\r\n");
    if (opening_offers_pipelining(s))
        server_reply(s, "250-PIPELINING");
    if (s->mood->chunking != CHUNKING_NONE)
        server_reply(s, "250-CHUNKING");
    if (offers_starttls(s))
        server_reply(s, "250-STARTTLS");
    if (offers_auth(s))
        server_reply(s, "250-AUTH PLAIN LOGIN");
    buf_add_str(&s->out, "250-SIZE ");
    buf_add_u64(&s->out, SINK_SIZE_MAX);
    server_reply(s, "\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES");
}

void opening_helo(struct sink_server *s, struct span rest)
{
    if (!span_trim(rest).n) {
        server_reply_bad(s, "501 5.5.4 syntax: HELO name");
        return;
    }
    server_forget_transaction(s);
    greet(s, rest, false);
    buf_add_str(&s->out, "250 ");
    buf_add_str(&s->out, s->mood->name);
    server_reply(s, ".invalid");
}

void opening_starttls(struct sink_server *s, struct span rest)
{
    static const struct {
        const char *reply;
        enum state state;
    } ways[] = {
        [STARTTLS_WORKS] = {"220 2.0.0 ready to start TLS", STATE_TLS},
        [STARTTLS_REFUSED] = {"454 4.7.0 TLS is not available now", STATE_COMMAND},
        [STARTTLS_SILENT] = {"220 2.0.0 ready to start TLS", STATE_SILENT},
        [STARTTLS_CLEAR] = {"220 2.0.0 ready to start TLS", STATE_DEAF},
        [STARTTLS_INJECTS] = {"220 go\r\n250 injected", STATE_TLS},
    };
    if (s->mood->starttls == STARTTLS_NONE) {
        server_reply_bad(s, "502 5.5.1 command not implemented");
        return;
    }
    if (span_trim(rest).n) {
        server_reply_bad(s, "501 5.5.4 STARTTLS takes no words");
        return;
    }
    if (s->secured || !s->greeted || s->mail_open) {
        server_reply_bad(s, s->secured    ? "503 5.5.1 TLS stands already"
                            : !s->greeted ? "503 5.5.1 EHLO first"
                                          : "503 5.5.1 not within a transaction");
        return;
    }
    s->state = ways[s->mood->starttls].state;
    server_reply(s, ways[s->mood->starttls].reply);
}

static void say_auth(struct sink_server *s, const char *words)
{
    server_reply(s, words);
    s->world->counts.authenticated += s->auth.done;
}

void opening_auth(struct sink_server *s, struct span rest)
{
    if (!s->mood->auth) {
        server_reply_bad(s, "502 5.5.1 command not implemented");
    } else if (!offers_auth(s)) {
        server_reply(s, "538 5.7.11 encryption is required for AUTH");
    } else if (!s->extended || s->mail_open || s->auth.done) {
        server_reply_bad(s, s->auth.done ? "503 5.5.1 AUTH already done"
                                         : "503 5.5.1 AUTH belongs behind EHLO");
    } else {
        say_auth(s, auth_begin(&s->auth, span_trim(rest)));
    }
}

void opening_auth_line(struct sink_server *s, struct span line)
{
    say_auth(s, auth_continue(&s->auth, line));
}
