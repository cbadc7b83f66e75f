#include "base/trace.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/transcript.h"

enum {
    PAUSE_US = 100 * 1000, /* a shorter one is not worth a line */
    LINE_MAX_BYTES = 4096, /* a longer one is cut in pieces */
};

static const char *const names[] = {
#define X(name, word) word,
    TRACES(X)
#undef X
};

/* Written by trace_begin and trace_end alone, while there is one thread. */
static unsigned traces_on;
static int trace_fd = -1;

bool trace_parse(struct span words, unsigned *traces_out)
{
    *traces_out = 0;
    for (;;) {
        const char *comma = memchr(words.p, ',', words.n);
        struct span word = {words.p, comma ? (size_t)(comma - words.p) : words.n};
        int i = 0;
        while (i < TRACE_COUNT && !span_equal(word, span_of(names[i])))
            i++;
        if (i == TRACE_COUNT)
            return false;
        *traces_out |= 1u << i;
        if (!comma)
            return true;
        words = (struct span){comma + 1, words.n - word.n - 1};
    }
}

bool trace_begin(unsigned traces, const char *file, struct fault *f)
{
    assert(trace_fd < 0);
    int fd = file ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                  : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return fault_set(f, -20, "cannot open trace \"%s\": %s", file ? file : "stderr",
                         strerror(errno));
    trace_fd = fd;
    traces_on = traces;
    return true;
}

bool trace_on(enum trace what)
{
    return traces_on & what;
}

void trace_end(void)
{
    if (trace_fd >= 0)
        close(trace_fd);
    trace_fd = -1;
    traces_on = 0;
}

/* ---- a talk ---- */

/* What the client's next bytes are. */
enum saying { SAYING_COMMANDS, SAYING_BODY, SAYING_CHUNK, SAYING_SECRET };

struct trace_talk {
    uint32_t connection;
    int64_t last_us;
    struct buf out;   /* lines of this call */
    struct buf heard; /* of an unfinished line */
    struct buf said; /* commands go out whole: what is left at the end was never sent */
    enum saying saying;
    int end_seen; /* bytes of CRLF.CRLF so far; a body begins behind a CRLF */
    uint64_t body_n;
    uint64_t chunk_n; /* bytes of it */
};

static void begin_line(struct trace_talk *t, const char *verb)
{
    buf_printf(&t->out, "[%u] %s", t->connection, verb);
}

static void line(struct trace_talk *t, const char *verb, struct span text, bool pattern)
{
    begin_line(t, verb);
    if (text.n)
        buf_add_char(&t->out, ' ');
    transcript_escape(&t->out, text, pattern);
    buf_add_char(&t->out, '\n');
}

/* A trace that cannot be written is no reason to stop the mail. */
static void flush(struct trace_talk *t)
{
    if (t->out.n)
        (void)!write(trace_fd, t->out.p, t->out.n);
    buf_reset(&t->out);
}

static void pause_line(struct trace_talk *t, int64_t now_us)
{
    if (now_us - t->last_us >= PAUSE_US) {
        begin_line(t, "T");
        buf_printf(&t->out, " %.3f\n", (double)(now_us - t->last_us) / 1e6);
    }
    t->last_us = now_us;
}

/* ---- heard ---- */

static void flush_heard(struct trace_talk *t)
{
    if (t->heard.n)
        line(t, "S>", buf_span(&t->heard), false);
    buf_reset(&t->heard);
}

/* 354 and its like begin the message, 334 asks for a secret (RFC 4954). */
static void mind_reply(struct trace_talk *t, struct span reply)
{
    if (reply.n < 3 || reply.p[0] != '3' || (reply.n > 3 && reply.p[3] == '-'))
        return;
    t->saying = memcmp(reply.p, "334", 3) == 0 ? SAYING_SECRET : SAYING_BODY;
    t->end_seen = 2;
    t->body_n = 0;
}

static void heard_line(struct trace_talk *t)
{
    struct span text = buf_span(&t->heard);
    bool crlf = text.n >= 2 && text.p[text.n - 2] == '\r';
    mind_reply(t, text);
    if (crlf)
        text.n -= 2;
    line(t, crlf ? "S:" : "S>", text, false);
    buf_reset(&t->heard);
}

void trace_talk_heard(struct trace_talk *t, const char *data, size_t n, int64_t now_us)
{
    if (!t)
        return;
    pause_line(t, now_us);
    for (size_t i = 0; i < n; i++) {
        buf_add_char(&t->heard, data[i]);
        if (data[i] == '\n')
            heard_line(t);
        else if (t->heard.n == LINE_MAX_BYTES)
            flush_heard(t);
    }
    flush(t);
}

/* ---- said ---- */

/* RFC 3030 2: so many bytes follow. */
static void mind_chunk(struct trace_talk *t, struct span line)
{
    if (!span_starts_nocase(line, SPAN("BDAT ")))
        return;
    t->chunk_n = 0;
    for (size_t i = 5; i < line.n && line.p[i] >= '0' && line.p[i] <= '9'; i++)
        t->chunk_n = t->chunk_n * 10 + (uint64_t)(line.p[i] - '0');
    t->body_n = 0;
    if (t->chunk_n)
        t->saying = SAYING_CHUNK;
}

static void said_line(struct trace_talk *t)
{
    struct span text = buf_span(&t->said);
    text.n -= 2;
    if (t->saying == SAYING_SECRET) {
        line(t, "C: *", (struct span){0}, false);
        t->saying = SAYING_COMMANDS;
    } else if (span_starts_nocase(text, SPAN("AUTH "))) {
        const char *space = memchr(text.p + 5, ' ', text.n - 5);
        if (space)
            text.n = (size_t)(space - text.p);
        begin_line(t, "C: ");
        transcript_escape(&t->out, text, true);
        buf_add_str(&t->out, space ? " *\n" : "\n");
    } else {
        line(t, "C:", text, true);
        mind_chunk(t, text);
    }
    buf_reset(&t->said);
}

/* Only the end of a body is looked for: RFC 5321 4.1.1.4. */
static void said_body_byte(struct trace_talk *t, char c)
{
    static const char end[] = "\r\n.\r\n";
    enum { END = sizeof end - 1, DOT = 3 };
    t->body_n++;
    if (c == end[t->end_seen])
        t->end_seen++;
    else
        t->end_seen = c == '\r';
    if (t->end_seen < END)
        return;
    if (t->body_n > DOT)
        begin_line(t, "C> {body}\n");
    begin_line(t, "C: .\n");
    t->saying = SAYING_COMMANDS;
}

static void said_byte(struct trace_talk *t, char c)
{
    if (t->saying == SAYING_BODY) {
        said_body_byte(t, c);
        return;
    }
    if (t->saying == SAYING_CHUNK) {
        if (++t->body_n == t->chunk_n) {
            begin_line(t, "C> {body}\n");
            t->saying = SAYING_COMMANDS;
        }
        return;
    }
    buf_add_char(&t->said, c);
    if (c == '\n' && t->said.n >= 2)
        said_line(t);
}

void trace_talk_said(struct trace_talk *t, const struct iovec *pieces, size_t n,
                     int64_t now_us)
{
    if (!t || !n)
        return;
    flush_heard(t);
    pause_line(t, now_us);
    for (; n; pieces++) {
        const char *p = pieces->iov_base;
        size_t k = pieces->iov_len < n ? pieces->iov_len : n;
        for (size_t i = 0; i < k; i++)
            said_byte(t, p[i]);
        n -= k;
    }
    flush(t);
}

/* ---- begin and end ---- */

struct trace_talk *trace_talk_begin(uint32_t connection, const char *host,
                                    const char *address, int64_t now_us)
{
    if (!trace_on(TRACE_SMTP))
        return NULL;
    struct trace_talk *t = mem_zero(1, sizeof *t);
    t->connection = connection;
    t->last_us = now_us;
    begin_line(t, "# ");
    buf_printf(&t->out, "%s %s\n", host, address);
    flush(t);
    return t;
}

void trace_talk_secured(struct trace_talk *t, const char *words, int64_t now_us)
{
    if (!t)
        return;
    pause_line(t, now_us);
    line(t, "tls", (struct span){0}, false);
    line(t, "#", span_of(words), false);
    flush(t);
}

void trace_talk_end(struct trace_talk *t, const char *how, int64_t now_us)
{
    if (!t)
        return;
    flush_heard(t);
    pause_line(t, now_us);
    if ((t->saying == SAYING_BODY || t->saying == SAYING_CHUNK) && t->body_n) {
        begin_line(t, "# in the body");
        buf_printf(&t->out, ", %llu bytes\n", (unsigned long long)t->body_n);
    }
    if (how)
        line(t, "X", span_of(how), false);
    else
        line(t, "# closed by us", (struct span){0}, false);
    flush(t);
    buf_finish(&t->out);
    buf_finish(&t->heard);
    buf_finish(&t->said);
    free(t);
}
