/* Plays the files of tests/transcripts: whole, byte by byte and cut at random, in clear
 * and through TLS in memory. Their format is described in docs/session.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/transcript.h"
#include "smtp/session.h"
#include "smtp/tls.h"
#include "smtp/verdict.h"

enum {
    CUTS = 12,
    CUTS_TLS = 3,
    TRANSACTIONS = 16,
    RECIPIENTS = 128,
    PIECES = 64,
    BODY_MAX = 65536
};
enum cut { CUT_WHOLE, CUT_BYTES, CUT_RANDOM };

static struct tls_context *client_context, *server_context;

struct play {
    const char *file;
    int line;
    enum cut cut;
    bool in_clear;             /* about what is said without TLS */
    bool over_tls;             /* real pipes; else `secured` is a word */
    struct tls *ours, *theirs; /* NULL: in clear */
    struct rng rng;
    bool hold; /* in cut plays too, the client writes only behind the last S: line */

    struct smtp_params params;
    struct verdict_policy policy;
    char user[40], password[40], domain[40];
    struct smtp_wire wire; /* told before each receive, where the session asks */
    struct smtp_session *s;
    int64_t now_us;
    unsigned signals;
    struct buf body;
    struct iovec body_pieces[2];
    char sender[300];

    struct smtp_transaction transactions[TRANSACTIONS];
    int transactions_n;
    struct smtp_recipient recipients[RECIPIENTS];
    char addresses[RECIPIENTS][300];
    bool settled[RECIPIENTS], checked[RECIPIENTS];
    int recipients_n, submitted_n;

    struct buf server; /* S: lines not yet received */
    struct buf client; /* C: lines not yet compared */
    struct buf out;    /* what the client wrote, not yet compared */
    size_t room;       /* bytes the kernel will take */
};

static void complain(struct play *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void complain(struct play *p, const char *format, ...)
{
    static const char *const cuts[] = {"whole", "byte by byte", "cut at random"};
    char words[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    fail_msg("%s:%d (%s%s): %s", p->file, p->line, cuts[p->cut],
             p->over_tls ? ", TLS" : "", words);
}

/* What a transcript's text means (base/transcript.h); {body} is the body. */
static void unescape(struct play *p, struct buf *b, const char *text)
{
    const char *body = strstr(text, "{body}");
    size_t n = body ? (size_t)(body - text) : strlen(text);
    const char *wrong = transcript_unescape(b, (struct span){text, n});
    if (wrong)
        complain(p, "%s", wrong);
    if (body) {
        buf_add(b, p->body.p, p->body.n - 2);
        unescape(p, b, body + 6);
    }
}

static void fetch(struct play *p)
{
    unsigned signals;
    while ((signals = smtp_session_take(p->s))) {
        p->signals |= signals;
        struct smtp_transaction *t;
        while ((t = smtp_session_settled(p->s)))
            for (int i = 0; i < t->recipients_n; i++) {
                ptrdiff_t at = t->recipients + i - p->recipients;
                if (p->settled[at] || !t->recipients[i].done)
                    complain(p, "recipient %td settled twice or undecided", at + 1);
                p->settled[at] = true;
            }
    }
}

/* ---- TLS ---- */

/* What `from` has to say, in pieces of at most `most` bytes, to the other end. */
static void carry(struct tls *from, struct tls *to, size_t most)
{
    for (struct span out; (out = tls_output(from)).n > 0;) {
        size_t n = out.n < most ? out.n : most;
        char *copy = mem_alloc(n);
        memcpy(copy, out.p, n);
        tls_sent(from, n);
        tls_receive(to, copy, n);
        free(copy);
    }
}

static void shake_hands(struct play *p)
{
    p->ours = tls_client(client_context, "mx.x", false, 0);
    p->theirs = tls_server(server_context);
    size_t most = p->cut == CUT_WHOLE ? SIZE_MAX : p->cut == CUT_BYTES ? 1 : 100;
    for (int i = 0; i < 8 && (tls_state(p->ours) == TLS_HANDSHAKE ||
                              tls_state(p->theirs) == TLS_HANDSHAKE);
         i++) {
        carry(p->ours, p->theirs, most);
        carry(p->theirs, p->ours, most);
    }
    if (tls_state(p->ours) != TLS_OPEN || tls_state(p->theirs) != TLS_OPEN)
        complain(p, "no handshake: %s %s", tls_words(p->ours), tls_words(p->theirs));
}

static void add_plain(struct tls *t, struct buf *to)
{
    char plain[4096];
    for (size_t n; (n = tls_read(t, plain, sizeof plain)) > 0;)
        buf_add(to, plain, n);
}

/* How much of these bytes goes out. */
static size_t write_plain(struct play *p, const char *bytes, size_t n)
{
    if (!p->ours) {
        buf_add(&p->out, bytes, n);
        return n;
    }
    struct iovec iov = {(char *)(uintptr_t)bytes, n};
    size_t taken = tls_write(p->ours, &iov, 1);
    carry(p->ours, p->theirs, SIZE_MAX);
    add_plain(p->theirs, &p->out);
    return taken;
}

static void receive(struct play *p, const char *bytes, size_t n)
{
    /* A copy of its own size, so that a sanitizer sees a byte too far. */
    char *copy = mem_alloc(n);
    memcpy(copy, bytes, n);
    if (smtp_session_asks_wire(p->s))
        smtp_session_wire(p->s, p->wire);
    smtp_session_receive(p->s, copy, n, p->now_us);
    free(copy);
    fetch(p);
}

static void receive_through_tls(struct play *p, const char *bytes, size_t n)
{
    struct iovec iov = {(char *)(uintptr_t)bytes, n};
    while (iov.iov_len > 0) {
        size_t taken = tls_write(p->theirs, &iov, 1);
        if (taken == 0)
            complain(p, "the server's TLS is stuck");
        iov.iov_base = (char *)iov.iov_base + taken;
        iov.iov_len -= taken;
        struct buf plain = {0};
        carry(p->theirs, p->ours, p->cut == CUT_BYTES ? 1 : SIZE_MAX);
        add_plain(p->ours, &plain);
        if (plain.n > 0)
            receive(p, plain.p, plain.n);
        buf_finish(&plain);
    }
}

/* Let the client write; returns how many times it had something. */
static int pump(struct play *p)
{
    int batches = 0;
    for (;;) {
        struct iovec iov[PIECES];
        int max = p->cut == CUT_RANDOM ? 1 + (int)rng_below(&p->rng, 3) : PIECES;
        int n = smtp_session_output(p->s, iov, max, p->now_us);
        size_t taken = 0;
        for (int i = 0; i < n; i++) {
            size_t k = iov[i].iov_len;
            if (p->cut == CUT_RANDOM)
                k = 1 + rng_below(&p->rng, (uint32_t)k);
            k = k < p->room ? k : p->room;
            k = write_plain(p, iov[i].iov_base, k);
            p->room -= k;
            taken += k;
            if (k < iov[i].iov_len)
                break;
        }
        if (taken == 0)
            return batches;
        batches++;
        smtp_session_sent(p->s, taken, p->now_us);
        fetch(p);
    }
}

static void feed(struct play *p)
{
    size_t at = 0;
    while (at < p->server.n) {
        size_t n = p->server.n - at;
        if (p->cut == CUT_BYTES)
            n = 1;
        else if (p->cut == CUT_RANDOM)
            n = 1 + rng_below(&p->rng, (uint32_t)(n < 40 ? n : 40));
        if (p->ours)
            receive_through_tls(p, p->server.p + at, n);
        else
            receive(p, p->server.p + at, n);
        at += n;
        if (p->cut != CUT_WHOLE && !p->hold)
            pump(p);
    }
    buf_reset(&p->server);
}

static void compare(struct play *p)
{
    int batches = pump(p);
    if (p->cut == CUT_WHOLE && p->client.n > 0 && batches > 1)
        complain(p, "written in %d batches, not in one", batches);
    if (p->out.n != p->client.n ||
        (p->out.n && memcmp(p->out.p, p->client.p, p->out.n) != 0))
        complain(p, "client wrote\n%s\nexpected was\n%s", buf_cstr(&p->out),
                 buf_cstr(&p->client));
    buf_reset(&p->out);
    buf_reset(&p->client);
}

static enum smtp_stage find_stage(const char *word)
{
#define X(name, ...)                                                                   \
    if (strcmp(word, #name) == 0)                                                      \
        return SMTP_##name;
    SMTP_STAGES(X)
#undef X
    return SMTP_STAGE_COUNT;
}

static const char *const hows[] = {
    [SMTP_HOW_NONE] = "NONE",       [SMTP_HOW_REPLY] = "REPLY",
    [SMTP_HOW_LOST] = "LOST",       [SMTP_HOW_TIMEOUT] = "TIMEOUT",
    [SMTP_HOW_GARBAGE] = "GARBAGE", [SMTP_HOW_LOCAL_SIZE] = "SIZE",
    [SMTP_HOW_UNTRIED] = "UNTRIED", [SMTP_HOW_TLS] = "TLS",
    [SMTP_HOW_AUTH] = "NOAUTH",     [SMTP_HOW_SESSION_TIMEOUT] = "SESSION",
};

/* WORD CODE [in-doubt] [OUTCOME]: WORD is a stage for a reply, else how it ended. */
static void check_result(struct play *p, const struct smtp_result *r, char *words)
{
    char *rest;
    const char *word = strtok_r(words, " ", &rest);
    const char *code = strtok_r(NULL, " ", &rest);
    enum smtp_stage stage = find_stage(word ? word : "");
    bool right = stage != SMTP_STAGE_COUNT
                     ? r->how == SMTP_HOW_REPLY && r->stage == stage
                     : strcmp(word, hows[r->how]) == 0;
    if (r->how == SMTP_HOW_NONE) {
        if (!right)
            complain(p, "expected %s, got nothing", word);
        return;
    }
    struct verdict v = verdict_of_result(r, true, &p->policy);
    bool doubt = false, assumed = false;
    for (char *more; (more = strtok_r(NULL, " ", &rest));)
        if (strcmp(more, "in-doubt") == 0)
            doubt = true;
        else if (strcmp(more, "assumed") == 0)
            assumed = true;
        else
            right &= strcmp(more, outcome_word(v.outcome)) == 0;
    int got = r->how == SMTP_HOW_REPLY && v.code != 850 ? r->reply.code : v.code;
    right &=
        doubt == r->dot_left && assumed == v.assumed && (!code || atoi(code) == got);
    if (!right)
        complain(p, "expected %s %s, got %s at %s, %d%s, %s: %s", word,
                 code ? code : "", hows[r->how], smtp_stages[r->stage].key, got,
                 r->dot_left ? " in-doubt" : "", outcome_word(v.outcome),
                 r->reply.text);
    if (!utf8_valid(span_of(r->reply.text)) || strpbrk(r->reply.text, "\r\n\t"))
        complain(p, "a result's text is not clean");
    if (p->password[0] && strstr(r->reply.text, p->password))
        complain(p, "a password is in a result's text");
}

/* A body is written as it goes out. */
static size_t stuffed_dots(struct span body)
{
    size_t n = 0;
    for (size_t i = 0; i < body.n; i++)
        n += body.p[i] == '.' && (i == 0 || body.p[i - 1] == '\n');
    return n;
}

static void submit(struct play *p)
{
    if (!smtp_session_ready(p->s) || p->transactions_n == TRANSACTIONS)
        complain(p, "not ready");
    struct smtp_transaction *t = &p->transactions[p->transactions_n++];
    size_t half = p->body.n / 2;
    p->body_pieces[0] = (struct iovec){p->body.p, half};
    p->body_pieces[1] = (struct iovec){p->body.p + half, p->body.n - half};
    *t = (struct smtp_transaction){
        .sender = p->sender,
        .recipients = p->recipients + p->submitted_n,
        .recipients_n = p->recipients_n - p->submitted_n,
        .body = p->body_pieces,
        .body_n = 2,
        .body_size = p->body.n,
        .dotted = smtp_session_wants_dots(p->s),
    };
    t->dots = t->dotted ? stuffed_dots(buf_span(&p->body)) : 0;
    p->submitted_n = p->recipients_n;
    p->signals &= ~(unsigned)SMTP_READY;
    smtp_session_submit(p->s, t, p->now_us);
    fetch(p);
    bool ready = p->signals & SMTP_READY;
    if (ready != smtp_session_ready(p->s))
        complain(p, "READY is not signalled as it is");
}

static struct smtp_wire wire(const char *words)
{
    struct smtp_wire w = {0};
    const char *at = strstr(words, "unacked=");
    if (at)
        w.unacknowledged = strtoull(at + 8, NULL, 10);
    at = strstr(words, "unsent=");
    if (at)
        w.untransmitted = strtoull(at + 7, NULL, 10);
    return w;
}

static void pass_time(struct play *p, const char *words)
{
    double seconds = strtod(words, NULL);
    p->now_us += (int64_t)(seconds * 1e6);
    if (p->now_us >= smtp_session_deadline(p->s))
        smtp_session_expire(p->s, p->now_us, wire(words));
    fetch(p);
}

static void check_deadline(struct play *p, const char *words)
{
    int64_t deadline = smtp_session_deadline(p->s);
    int64_t expected = strcmp(words, "none") == 0
                           ? INT64_MAX
                           : p->now_us + (int64_t)(strtod(words, NULL) * 1e6);
    if (deadline != expected)
        complain(p, "deadline is in %.6f s", (double)(deadline - p->now_us) / 1e6);
}

static void set_body(struct play *p, const char *words)
{
    buf_reset(&p->body);
    unescape(p, &p->body, words);
    buf_add_str(&p->body, "\r\n");
}

/* Settings come before the first line that needs the session. */
static bool setting(struct play *p, const char *verb, char *words)
{
    if (strcmp(verb, "pipelining") == 0) {
        p->params.pipelining = strcmp(words, "off") == 0     ? SMTP_PIPELINING_OFF
                               : strcmp(words, "group") == 0 ? SMTP_PIPELINING_GROUP
                                                             : SMTP_PIPELINING_AUTO;
    } else if (strcmp(verb, "chunking") == 0) {
        p->params.chunking = strcmp(words, "off") != 0;
    } else if (strcmp(verb, "limit") == 0) {
        char *rest;
        enum smtp_stage stage = find_stage(strtok_r(words, " ", &rest));
        assert_true(stage != SMTP_STAGE_COUNT);
        p->params.limit_us[stage] = (int64_t)(strtod(rest, NULL) * 1e6);
    } else if (strcmp(verb, "session") == 0) {
        p->params.session_limit_us = (int64_t)(strtod(words, NULL) * 1e6);
    } else if (strcmp(verb, "starttls") == 0) {
        p->params.tls = strcmp(words, "may") == 0 ? SMTP_TLS_MAY : SMTP_TLS_REQUIRE;
    } else if (strcmp(verb, "auth") == 0) {
        p->params.auth_clear = strncmp(words, "clear ", 6) == 0;
        int n = sscanf(words + (p->params.auth_clear ? 6 : 0), "%39s %39s", p->user,
                       p->password);
        assert_int_equal(n, 2);
        p->params.auth_user = p->user;
        p->params.auth_password = p->password;
    } else if (strcmp(verb, "end_timeout") == 0) {
        p->policy.end_timeout = strcmp(words, "assume") == 0 ? DOUBT_ASSUME
                                : strcmp(words, "fail") == 0 ? DOUBT_FAIL
                                                             : DOUBT_RETRY;
    } else if (strcmp(verb, "domain") == 0) {
        snprintf(p->domain, sizeof p->domain, "%s", words);
        p->policy.domain = span_of(p->domain);
    } else if (strcmp(verb, "body") == 0) {
        set_body(p, words);
    } else if (strcmp(verb, "clear") == 0) {
        p->in_clear = true;
    } else if (strcmp(verb, "hold") == 0) {
        p->hold = true;
    } else if (strcmp(verb, "from") == 0) {
        snprintf(p->sender, sizeof p->sender, "%s",
                 strcmp(words, "<>") == 0 ? "" : words);
    } else {
        return false;
    }
    return true;
}

static bool check(struct play *p, const char *verb, char *words)
{
    if (strcmp(verb, "=") == 0) {
        char *rest;
        long n = strtol(words, &rest, 10);
        if (n < 1 || n > p->recipients_n || !p->settled[n - 1])
            complain(p, "recipient %ld is not settled", n);
        p->checked[n - 1] = true;
        check_result(p, &p->recipients[n - 1].result, rest);
    } else if (strcmp(verb, "fate") == 0) {
        check_result(p, smtp_session_fate(p->s), words);
    } else if (strcmp(verb, "epilogue") == 0) {
        check_result(p, smtp_session_epilogue(p->s), words);
    } else if (strcmp(verb, "group") == 0) {
        if (smtp_session_wants_group(p->s) != (strcmp(words, "yes") == 0))
            complain(p, "wants_group is not %s", words);
    } else if (strcmp(verb, "data") == 0) {
        if (smtp_session_wants_data(p->s) != (strcmp(words, "yes") == 0))
            complain(p, "wants_data is not %s", words);
    } else if (strcmp(verb, "ready") == 0) {
        if (smtp_session_ready(p->s) != (strcmp(words, "yes") == 0))
            complain(p, "ready is not %s", words);
    } else if (strcmp(verb, "stage") == 0) {
        if (smtp_session_stage(p->s) != find_stage(words))
            complain(p, "stage is %s", smtp_stages[smtp_session_stage(p->s)].key);
    } else if (strcmp(verb, "deadline") == 0) {
        check_deadline(p, words);
    } else if (strcmp(verb, "over") == 0 || strcmp(verb, "alive") == 0) {
        if (!(p->signals & SMTP_OVER) != (strcmp(verb, "alive") == 0))
            complain(p, "the session is not %s", verb);
    } else {
        return false;
    }
    return true;
}

static void act(struct play *p, const char *verb, char *words)
{
    if (strcmp(verb, "rcpt") == 0) {
        assert_true(p->recipients_n < RECIPIENTS);
        struct smtp_recipient *r = &p->recipients[p->recipients_n];
        int n = snprintf(p->addresses[p->recipients_n], sizeof p->addresses[0], "%s",
                         words);
        r->address = p->addresses[p->recipients_n++];
        r->address_n = (uint16_t)n;
    } else if (strcmp(verb, "submit") == 0) {
        submit(p);
    } else if (strcmp(verb, "finish") == 0) {
        smtp_session_finish(p->s, p->now_us);
    } else if (strcmp(verb, "stop") == 0) {
        smtp_session_stop(p->s, p->now_us);
        fetch(p);
    } else if (strcmp(verb, "take") == 0) {
        p->room = strcmp(words, "all") == 0 ? SIZE_MAX : strtoul(words, NULL, 10);
    } else if (strcmp(verb, "wire") == 0) {
        compare(p);
        p->wire = wire(words);
    } else if (strcmp(verb, "secured") == 0) {
        compare(p);
        if (!(p->signals & SMTP_WANTS_TLS))
            complain(p, "TLS is not asked for");
        if (p->over_tls)
            shake_hands(p);
        smtp_session_secured(p->s, p->now_us);
        fetch(p);
    } else if (strcmp(verb, "tls-failed") == 0) {
        compare(p);
        smtp_session_tls_failed(p->s, words, p->now_us);
        fetch(p);
    } else if (strcmp(verb, "T") == 0) {
        compare(p);
        pass_time(p, words);
    } else if (strcmp(verb, "X") == 0) {
        compare(p);
        smtp_session_lost(p->s, "connection reset by peer",
                          strncmp(words, "timeout", 7) == 0, wire(words), p->now_us);
        fetch(p);
    } else {
        complain(p, "unknown line \"%s\"", verb);
    }
}

static void begin(struct play *p)
{
    if (p->over_tls && p->params.tls == SMTP_TLS_NONE && !p->in_clear) {
        p->params.secured = true;
        shake_hands(p);
    }
    p->s = smtp_session_create(&p->params, p->now_us);
}

/* One line. S: lines are gathered and received together, C: lines are gathered and
 * compared together. */
static void play_line(struct play *p, char *line)
{
    bool server = strncmp(line, "S:", 2) == 0 || strncmp(line, "S>", 2) == 0;
    bool client = strncmp(line, "C:", 2) == 0 || strncmp(line, "C>", 2) == 0;
    if (!client && p->client.n > 0)
        compare(p);
    if (!server && p->server.n > 0)
        feed(p);
    if (server || client) {
        if (server && p->server.n == 0)
            compare(p); /* nothing may have been written meanwhile */
        struct buf *b = server ? &p->server : &p->client;
        const char *text = line + 2 + (line[2] == ' ');
        unescape(p, b, text);
        if (line[1] == ':')
            buf_add_str(b, "\r\n");
        return;
    }
    char *words = line + strcspn(line, " ");
    if (*words)
        *words++ = '\0';
    if (!p->s && setting(p, line, words))
        return;
    if (!p->s)
        begin(p);
    if (!setting(p, line, words) && !check(p, line, words))
        act(p, line, words);
}

static void play(const char *file, bool over_tls, enum cut cut, uint64_t seed)
{
    struct play *p = mem_zero(1, sizeof *p);
    p->file = strrchr(file, '/') + 1;
    p->cut = cut;
    p->over_tls = over_tls;
    p->rng.state = seed;
    p->now_us = 1000000;
    p->room = SIZE_MAX;
    p->params.helo_name = "me.example";
    p->params.chunking = true;
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        p->params.limit_us[i] = (int64_t)smtp_stages[i].limit_ms * 1000;
    snprintf(p->sender, sizeof p->sender, "a@me.example");
    char text[400] = "hello";
    buf_reserve(&p->body, BODY_MAX); /* it must not move under a transaction */
    set_body(p, text);

    FILE *f = fopen(file, "r");
    assert_non_null(f);
    while (fgets(text, sizeof text, f)) {
        p->line++;
        text[strcspn(text, "\n")] = '\0';
        if (text[0] == '\0' || text[0] == '#')
            continue;
        if (!p->s && (text[0] == 'S' || text[0] == 'C'))
            begin(p);
        play_line(p, text);
    }
    fclose(f);
    if (p->server.n > 0)
        feed(p);
    compare(p);
    for (int i = 0; i < p->recipients_n; i++)
        if (!p->checked[i])
            complain(p, "recipient %d is never checked", i + 1);
    smtp_session_destroy(p->s);
    tls_free(p->ours);
    tls_free(p->theirs);
    buf_finish(&p->body);
    buf_finish(&p->server);
    buf_finish(&p->client);
    buf_finish(&p->out);
    free(p);
}

static void play_every_way(void **state)
{
    const char *file = *state;
    for (int over_tls = 0; over_tls < 2; over_tls++) {
        play(file, over_tls, CUT_WHOLE, 0);
        play(file, over_tls, CUT_BYTES, 0);
        uint64_t cuts = over_tls ? CUTS_TLS : CUTS;
        for (uint64_t seed = 1; seed <= cuts; seed++)
            play(file, over_tls, CUT_RANDOM, seed);
    }
}

int main(void)
{
    glob_t files;
    if (glob(SOURCE_DIR "/tests/transcripts/*.txt", 0, NULL, &files) != 0)
        return 1;
    struct fault f = {0};
    struct tls_client_params anything = {.min_version = 12};
    client_context = tls_client_context(&anything);
    server_context = tls_server_context(NULL, NULL, "mx.x", &f);
    if (!client_context || !server_context)
        return 1;
    struct CMUnitTest *tests = mem_zero(files.gl_pathc, sizeof *tests);
    for (size_t i = 0; i < files.gl_pathc; i++)
        tests[i] = (struct CMUnitTest){
            .name = strrchr(files.gl_pathv[i], '/') + 1,
            .test_func = play_every_way,
            .initial_state = files.gl_pathv[i],
        };
    int failed =
        _cmocka_run_group_tests("transcripts", tests, files.gl_pathc, NULL, NULL);
    free(tests);
    tls_context_free(client_context);
    tls_context_free(server_context);
    globfree(&files);
    return failed;
}
