/* Ten thousand dialogues that go wrong: the replies of the transcripts, dropped, said
 * twice, swapped, said early or blown up. The server here knows the truth: which
 * messages it took, and which replies it really gave to their dots. Each dialogue has
 * its seed; a failure names it, and MUTATION=seed plays that one alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/transcript.h"
#include "smtp/session.h"
#include "smtp/verdict.h"

enum {
    DIALOGUES = 10000,
    LINES_MAX = 400, /* of one transcript */
    EACH = 3,        /* recipients of a transaction */
    MESSAGES = 4,
    SLACK = 64 * 1024, /* malloc keeps a few freed pieces as used */
    STEPS_MAX = 4000,  /* of one dialogue: more is a hang */
    ROOM_MAX = 60,     /* bytes that the kernel takes at once, when it is slow */
};

/* ---- what the transcripts' servers say ---- */

enum verb {
    OPENING,
    HELLO,
    STARTTLS,
    AUTH,
    MAIL,
    RCPT,
    DATA,
    DOT,
    CHUNK,
    RSET,
    QUIT,
    VERBS
};

static const char *const words[VERBS] = {
    "",     "EHLO ", "STARTTLS", "AUTH", "MAIL", "RCPT",
    "DATA", ".",     "BDAT ",    "RSET", "QUIT",
};
static const char *const usual[VERBS] = {
    "220 x\r\n",     "250-x\r\n250 PIPELINING\r\n",
    "220 go\r\n",    "235 ok\r\n",
    "250 ok\r\n",    "250 ok\r\n",
    "354 go\r\n",    "250 taken\r\n",
    "250 taken\r\n", "250 ok\r\n",
    "221 bye\r\n",
};

struct line {
    enum verb verb;
    struct span reply;
};

struct script {
    const char *name;
    struct line lines[LINES_MAX];
    int lines_n;
    bool tls, auth;
};

static struct arena texts;

/* VERBS: no command, but a line of a body or of AUTH. */
static enum verb verb_of(const char *command)
{
    if (strcmp(command, ".") == 0)
        return DOT;
    if (strncmp(command, "HELO ", 5) == 0)
        return HELLO;
    for (int i = HELLO; i < VERBS; i++)
        if (i != DOT && strncmp(command, words[i], strlen(words[i])) == 0)
            return (enum verb)i;
    return VERBS;
}

static void add_reply(struct script *s, enum verb verb, struct buf *reply)
{
    assert_true(s->lines_n < LINES_MAX);
    s->lines[s->lines_n++] =
        (struct line){verb, {arena_strndup(&texts, reply->p, reply->n), reply->n}};
    buf_reset(reply);
}

/* The k-th reply of a transcript is that to its k-th command. */
static void read_script(struct script *s, const char *file)
{
    enum verb owed[LINES_MAX] = {OPENING};
    int owed_n = 1, answered = 0;
    struct buf reply = {0};
    char text[400];
    s->name = strrchr(file, '/') + 1;
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    while (fgets(text, sizeof text, f)) {
        text[strcspn(text, "\n")] = '\0';
        s->tls |= strncmp(text, "starttls", 8) == 0;
        s->auth |= strncmp(text, "auth", 4) == 0;
        if (strncmp(text, "C: ", 3) == 0) {
            enum verb verb = verb_of(text + 3);
            if (verb != VERBS)
                owed[owed_n++] = verb;
        } else if (strncmp(text, "S: ", 3) == 0 || strncmp(text, "S> ", 3) == 0) {
            size_t begin = reply.n;
            assert_null(transcript_unescape(&reply, span_of(text + 3)));
            if (text[1] == ':')
                buf_add_str(&reply, "\r\n");
            bool more = reply.n - begin > 3 && reply.p[begin + 3] == '-';
            if (!more)
                add_reply(s, answered < owed_n ? owed[answered++] : VERBS, &reply);
        }
    }
    fclose(f);
    buf_finish(&reply);
}

/* ---- one dialogue ---- */

enum mutation { DROPPED, DOUBLED, SWAPPED, EARLY, OVERSIZED, MUTATIONS };

struct message {
    struct smtp_transaction t;
    struct smtp_recipient recipients[EACH];
    char body[40];
    struct iovec piece;
    bool settled;
    bool dot_heard; /* the server has body and dot, or the chunk */
    bool taken;     /* and its own reply to that dot, a 2xx, went out behind it */
};

struct dialogue {
    const struct script *script;
    uint64_t seed;
    struct rng rng;
    int cursor; /* in the script */
    int rate;   /* one reply of so many is mutated */
    struct smtp_params params;
    struct smtp_session *s;
    int64_t now_us;
    bool over, quiet;

    struct message messages[MESSAGES];
    int messages_n;

    struct buf wire;           /* from the client, not yet heard */
    struct buf line;           /* heard, not yet a line */
    struct buf replies;        /* from the server, not yet read */
    uint64_t read;             /* bytes of replies so far */
    uint64_t early_good_at;    /* in this stream, behind a 250 to a dot not heard */
    struct buf kept;           /* a reply that is said behind the next one */
    struct message *kept_good; /* it takes this message */
    bool mutated;           /* one reply missing and one too many would be none wrong */
    bool early_said[VERBS]; /* already, before the command */
    int body;               /* the message whose body is heard; -1 */
    bool chunk;             /* the next line is one */
    bool extra;             /* a reply too many was said */
};

static bool loud; /* one dialogue alone is written out */

static void trace(const char *what, const char *text, size_t n)
{
    if (!loud)
        return;
    struct buf b = {0};
    transcript_escape(&b, (struct span){text, n < 200 ? n : 200}, false);
    fprintf(stderr, "%s %s\n", what, buf_cstr(&b));
    buf_finish(&b);
}

static void complain(const struct dialogue *d, const char *what)
{
    fail_msg("MUTATION=%llu (%s): %s", (unsigned long long)d->seed, d->script->name,
             what);
}

static bool by_chance(struct dialogue *d, uint32_t of)
{
    return rng_below(&d->rng, of) == 0;
}

static struct span next_reply(struct dialogue *d, enum verb verb)
{
    const struct script *s = d->script;
    for (int i = d->cursor; i < s->lines_n; i++)
        if (s->lines[i].verb == verb) {
            d->cursor = i + 1;
            return s->lines[i].reply;
        }
    return span_of(usual[verb]);
}

/* Many words: within the parser's limits, or beyond them. */
static void say_oversized(struct dialogue *d, struct span reply)
{
    size_t n = by_chance(d, 2) ? 5000 : 70000;
    bool lines = by_chance(d, 2);
    buf_add(&d->replies, reply.p, 3);
    buf_add_char(&d->replies, lines ? '-' : ' ');
    for (size_t i = 0; i < n; i++) {
        buf_add_char(&d->replies, 'x');
        if (lines && i % 60 == 59) {
            buf_add_str(&d->replies, "\r\n");
            buf_add(&d->replies, reply.p, 3);
            buf_add_char(&d->replies, '-');
        }
    }
    buf_add_str(&d->replies, "\r\n");
    if (lines)
        buf_add_span(&d->replies, reply);
}

/* Say the reply to a command. Returns whether it goes out at all, and not before. */
static bool say(struct dialogue *d, enum verb verb, struct span reply)
{
    enum mutation how = MUTATIONS;
    if (!d->mutated && by_chance(d, (uint32_t)d->rate)) {
        how = rng_below(&d->rng, MUTATIONS);
        d->mutated = true;
        d->extra |= how == DOUBLED || how == EARLY;
    }
    bool said = true;
    switch (how) {
    case DROPPED:
        said = false;
        break;
    case DOUBLED:
        buf_add_span(&d->replies, reply);
        buf_add_span(&d->replies, reply);
        break;
    case SWAPPED:
        if (d->kept.n == 0) {
            buf_add_span(&d->kept, reply);
            return true;
        }
        buf_add_span(&d->replies, reply);
        break;
    case EARLY: /* and the next command's at once */
    {
        enum verb next = verb < DATA ? verb + 1 : verb == DATA ? DOT : MAIL;
        if (next == DATA && !smtp_session_wants_dots(d->s))
            next = CHUNK;
        buf_add_span(&d->replies, reply);
        if (d->early_said[next])
            break;
        struct span early = next_reply(d, next);
        buf_add_span(&d->replies, early);
        d->early_said[next] = true;
        if ((next == DOT || next == CHUNK) && early.n > 3 && early.p[0] == '2')
            d->early_good_at = d->read + d->replies.n;
        break;
    }
    case OVERSIZED:
        if (reply.n > 3)
            say_oversized(d, reply);
        break;
    case MUTATIONS:
        buf_add_span(&d->replies, reply);
        break;
    }
    buf_add_span(&d->replies, buf_span(&d->kept));
    buf_reset(&d->kept);
    return said;
}

/* The server hears a line. */
static void hear(struct dialogue *d, const char *text)
{
    if (strncmp(text, "body ", 5) == 0) {
        d->mutated = false; /* in the group that the dot opens, once again */
        d->body = atoi(text + 5);
        if (!d->chunk)
            return;
    }
    enum verb verb = d->chunk ? CHUNK : verb_of(text);
    if (verb == CHUNK && !d->chunk) { /* its reply comes behind its line */
        d->chunk = true;
        return;
    }
    d->chunk = false;
    if (verb == VERBS)
        verb = AUTH;
    struct message *m = NULL;
    if ((verb == DOT || verb == CHUNK) && d->body >= 0) {
        m = &d->messages[d->body];
        m->dot_heard = true;
        d->body = -1;
    }
    if (d->early_said[verb]) { /* if it is still on its way, no client can tell */
        if (m)
            m->taken = d->read < d->early_good_at;
        d->early_said[verb] = false;
        return;
    }
    struct span reply = next_reply(d, verb);
    bool good = m && reply.n > 3 && reply.p[0] == '2';
    struct message *kept = d->kept_good;
    bool was_kept = d->kept.n > 0;
    bool said = say(d, verb, reply);
    if (!was_kept && d->kept.n > 0)
        d->kept_good = good ? m : NULL;
    else if (good && said)
        m->taken = true;
    if (was_kept && d->kept.n == 0 && kept)
        kept->taken = true;
}

static void listen(struct dialogue *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = d->wire.p[i];
        if (c != '\n') {
            if (c != '\r')
                buf_add_char(&d->line, c);
            continue;
        }
        trace("hears", d->line.p, d->line.n);
        buf_cstr(&d->line);
        hear(d, d->line.p);
        buf_reset(&d->line);
    }
    memmove(d->wire.p, d->wire.p + n, d->wire.n - n);
    d->wire.n -= n;
}

static void check_settled(struct dialogue *d, struct message *m)
{
    if (m->settled)
        complain(d, "a message is settled twice");
    m->settled = true;
    for (int i = 0; i < m->t.recipients_n; i++) {
        const struct smtp_result *r = &m->recipients[i].result;
        if (!m->recipients[i].done || r->how == SMTP_HOW_NONE)
            complain(d, "a recipient is not decided");
        struct verdict v = verdict_of_result(r, true, NULL);
        trace(outcome_word(v.outcome), r->reply.text, r->reply.text_n);
        /* 250, then 421 to the next MAIL: that is how servers part. If it was 250 to
         * MAIL, and the dot's own reply dropped, nobody can know. */
        bool parted = smtp_session_fate(d->s)->reply.code == 421;
        /* Nor if one too many was said, and no 354 must come that would tell. */
        bool slipped = d->extra && !smtp_session_wants_dots(d->s);
        if (v.outcome == OUTCOME_DELIVERED && !m->taken && !parted && !slipped)
            complain(d, "delivered without a 250 to its own dot");
        if (r->dot_left && !m->dot_heard && d->wire.n == 0)
            complain(d, "in doubt without its dot");
        bool unknown = r->stage == SMTP_END && smtp_session_wants_data(d->s);
        if (r->how == SMTP_HOW_UNTRIED && r->stage != SMTP_RCPT && m->dot_heard &&
            !unknown)
            complain(d, "not tried, yet the server has it");
        bool broke = r->how != SMTP_HOW_REPLY && r->how != SMTP_HOW_UNTRIED;
        if (broke && m->taken && !r->dot_left)
            complain(d, "taken, yet there is no doubt");
    }
}

static void submit(struct dialogue *d)
{
    struct message *m = &d->messages[d->messages_n];
    int n = snprintf(m->body, sizeof m->body, "body %d\r\n", d->messages_n++);
    m->piece = (struct iovec){m->body, (size_t)n};
    for (int i = 0; i < EACH; i++)
        m->recipients[i] = (struct smtp_recipient){.address = "b@x", .address_n = 3};
    m->t = (struct smtp_transaction){
        .sender = "a@me.example",
        .recipients = m->recipients,
        .recipients_n = 1 + (int)rng_below(&d->rng, EACH),
        .body = &m->piece,
        .body_n = 1,
        .body_size = (size_t)n,
        .dotted = smtp_session_wants_dots(d->s),
    };
    smtp_session_submit(d->s, &m->t, d->now_us);
}

static void take_signals(struct dialogue *d)
{
    unsigned signals;
    do {
        signals = smtp_session_take(d->s);
        for (struct smtp_transaction *t; (t = smtp_session_settled(d->s)) != NULL;)
            check_settled(d, CONTAINER_OF(t, struct message, t));
        d->over |= (signals & SMTP_OVER) != 0;
        if (signals & SMTP_WANTS_TLS) {
            if (by_chance(d, 8))
                smtp_session_tls_failed(d->s, "no TLS", d->now_us);
            else if (d->replies.n == 0)
                smtp_session_secured(d->s, d->now_us);
            /* else what was injected is read first */
        }
        while ((d->params.paced ? smtp_session_idle(d->s) : smtp_session_ready(d->s)) &&
               d->messages_n < MESSAGES)
            submit(d);
        if (d->messages_n == MESSAGES && !d->over)
            smtp_session_finish(d->s, d->now_us);
    } while (signals);
}

static bool client_writes(struct dialogue *d)
{
    struct iovec iov[16];
    int n = smtp_session_output(d->s, iov, 16, d->now_us);
    size_t room = by_chance(d, 4) ? 1 + rng_below(&d->rng, ROOM_MAX) : SIZE_MAX;
    size_t taken = 0;
    for (int i = 0; i < n && taken < room; i++) {
        size_t k = iov[i].iov_len < room - taken ? iov[i].iov_len : room - taken;
        buf_add(&d->wire, iov[i].iov_base, k);
        taken += k;
    }
    smtp_session_sent(d->s, taken, d->now_us);
    return taken > 0;
}

static struct smtp_wire wire(const struct dialogue *d)
{
    return (struct smtp_wire){d->wire.n, d->wire.n};
}

static void client_reads(struct dialogue *d)
{
    size_t n = d->replies.n;
    if (by_chance(d, 4))
        n = 1 + rng_below(&d->rng, (uint32_t)n);
    char *copy = mem_alloc(n);
    memcpy(copy, d->replies.p, n);
    memmove(d->replies.p, d->replies.p + n, d->replies.n - n);
    d->replies.n -= n;
    d->read += n;
    if (smtp_session_asks_wire(d->s))
        smtp_session_wire(d->s, wire(d));
    trace("reads", copy, n);
    smtp_session_receive(d->s, copy, n, d->now_us);
    free(copy);
}

/* Nothing moves: time passes. */
static void wait(struct dialogue *d)
{
    int64_t deadline = smtp_session_deadline(d->s);
    if (deadline == INT64_MAX)
        complain(d, "nothing to do, and no deadline");
    if (deadline < d->now_us)
        complain(d, "a deadline in the past");
    d->now_us = deadline;
    trace("waits", "", 0);
    smtp_session_expire(d->s, d->now_us, wire(d));
}

static void play(const struct script *script, uint64_t seed)
{
    struct dialogue *d = mem_zero(1, sizeof *d);
    d->script = script;
    d->seed = seed;
    d->rng.state = seed;
    d->body = -1;
    d->rate = 3 + (int)rng_below(&d->rng, 12);
    d->params = (struct smtp_params){
        .helo_name = "me.example",
        .pipelining = rng_below(&d->rng, 3),
        .tls = script->tls ? SMTP_TLS_MAY : SMTP_TLS_NONE,
        .auth_user = script->auth ? "bob" : NULL,
        .auth_password = "s3cret",
        .auth_clear = true,
        .session_limit_us = by_chance(d, 8) ? 200000000 : 0,
        .paced = seed % 4 == 0,
        .chunking = seed % 3 > 0,
    };
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        d->params.limit_us[i] = (int64_t)smtp_stages[i].limit_ms * 1000;
    d->s = smtp_session_create(&d->params, 0);
    say(d, OPENING, next_reply(d, OPENING));
    int steps = 0;
    while (!d->over) {
        if (++steps > STEPS_MAX)
            complain(d, "no end");
        bool moved = client_writes(d);
        if (d->wire.n > 0 && !by_chance(d, 4)) {
            listen(d, by_chance(d, 4) ? 1 + rng_below(&d->rng, (uint32_t)d->wire.n)
                                      : d->wire.n);
            moved = true;
        }
        if (d->replies.n > 0 && !by_chance(d, 4)) {
            client_reads(d);
            moved = true;
        }
        take_signals(d);
        if (!moved && !d->over && d->wire.n == 0 && d->replies.n == 0) {
            wait(d);
            take_signals(d);
        }
    }
    for (int i = 0; i < d->messages_n; i++)
        if (!d->messages[i].settled)
            complain(d, "a message is never settled");
    smtp_session_destroy(d->s);
    buf_finish(&d->wire);
    buf_finish(&d->line);
    buf_finish(&d->replies);
    buf_finish(&d->kept);
    free(d);
}

static struct script *scripts;
static size_t scripts_n;

static void mutated_dialogues(void **state)
{
    (void)state;
    const char *one = getenv("MUTATION");
    loud = one != NULL;
    uint64_t seed = one ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one ? seed : DIALOGUES;
    size_t used = 0;
    for (; seed <= last; seed++) {
        play(&scripts[seed % scripts_n], seed);
        if (seed == DIALOGUES / 10)
            used = mallinfo2().uordblks;
    }
#if !defined(__SANITIZE_ADDRESS__)
    if (!one)
        assert_true(mallinfo2().uordblks < used + SLACK);
#endif
    (void)used;
}

int main(void)
{
    glob_t files;
    if (glob(SOURCE_DIR "/tests/transcripts/*.txt", 0, NULL, &files) != 0)
        return 1;
    scripts = mem_zero(files.gl_pathc, sizeof *scripts);
    scripts_n = files.gl_pathc;
    for (size_t i = 0; i < scripts_n; i++)
        read_script(&scripts[i], files.gl_pathv[i]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(mutated_dialogues)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(scripts);
    arena_finish(&texts);
    globfree(&files);
    return failed;
}
