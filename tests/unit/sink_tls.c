/* STARTTLS and AUTH on the receiver's side: the server by itself with words instead of
 * TLS, the receiver on sockets with our own client pipe, and with Python's smtplib. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <uv.h>

#include "sink/auth.h"
#include "sink/receiver.h"
#include "smtp/tls.h"

static const char python[] = "/usr/bin/python3";

/* ---- the server by itself ---- */

#define ENVELOPE "MAIL FROM:<a@me.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"

static void say(struct sink_server *s, const char *in, struct buf *out)
{
    sink_server_receive(s, in, strlen(in), 0);
    struct span o = sink_server_output(s, 0);
    buf_add_span(out, o);
    sink_server_sent(s, o.n);
}

static struct sink_server *begin(struct sink_world *w, const char *mood)
{
    const struct mood *m = sink_mood_find(span_of(mood));
    assert_non_null(m);
    struct sink_server *s = sink_server_create(w, m, 1, 0);
    struct buf greeting = {0};
    say(s, "", &greeting);
    assert_memory_equal(greeting.p, "220 ", 4);
    buf_finish(&greeting);
    return s;
}

static void expect(struct sink_server *s, const char *in, const char *out)
{
    struct buf got = {0};
    say(s, in, &got);
    assert_string_equal(buf_cstr(&got), out);
    buf_finish(&got);
}

/* The keywords of the answer to EHLO, without the others' SIZE, 8BITMIME … */
static void expect_offers(struct sink_server *s, bool pipelining, bool starttls,
                          bool auth)
{
    struct buf got = {0};
    say(s, "EHLO me.example\r\n", &got);
    const char *text = buf_cstr(&got);
    assert_int_equal(!!strstr(text, "\r\n250-PIPELINING\r\n"), pipelining);
    assert_int_equal(!!strstr(text, "\r\n250-STARTTLS\r\n"), starttls);
    assert_int_equal(!!strstr(text, "\r\n250-AUTH PLAIN LOGIN\r\n"), auth);
    buf_finish(&got);
}

#define READY "220 2.0.0 ready to start TLS\r\n"

static void test_starttls_begins_anew(void **state)
{
    (void)state;
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_counts *c = sink_world_counts(w);
    struct sink_server *s = begin(w, "tls");
    expect(s, "STARTTLS\r\n", "503 5.5.1 EHLO first\r\n");
    expect_offers(s, false, true, false);
    expect(s, "STARTTLS now\r\n", "501 5.5.4 STARTTLS takes no words\r\n");
    expect(s, "MAIL FROM:<>\r\nSTARTTLS\r\nRSET\r\n",
           "250 2.1.0 sender ok\r\n503 5.5.1 not within a transaction\r\n"
           "250 2.0.0 ok\r\n");
    uint64_t early = c->early;
    assert_false(sink_server_wants_tls(s));
    /* TLS may begin when the 220 is out; what was glued to STARTTLS is nobody's. */
    sink_server_receive(s, "starttls\r\nEHLO glued\r\n", 22, 0);
    assert_false(sink_server_wants_tls(s));
    expect(s, "", READY);
    assert_true(sink_server_wants_tls(s));
    assert_int_equal(c->early, early + 1);
    sink_server_secured(s);
    assert_false(sink_server_wants_tls(s));
    assert_int_equal(c->secured, 1);
    expect(s, "MAIL FROM:<>\r\n", "503 5.5.1 EHLO or HELO first\r\n");
    expect_offers(s, true, false, false);
    expect(s, "STARTTLS\r\n", "503 5.5.1 TLS stands already\r\n");
    expect(s, ENVELOPE,
           "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n"
           "354 end data with <CR><LF>.<CR><LF>\r\n");
    assert_int_equal(c->early, early + 1);
    expect(s, ".\r\n", "250 2.0.0 accepted as 1\r\n");
    sink_server_destroy(s);
    s = begin(w, "accept");
    expect(
        s, "EHLO me\r\nSTARTTLS\r\nAUTH PLAIN\r\n",
        "250-accept.invalid greets you\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE "
        "52428800\r\n"
        "250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
        "502 5.5.1 command not implemented\r\n502 5.5.1 command not implemented\r\n");
    sink_server_destroy(s);
    sink_world_destroy(w);
}

/* A client that pipelines because the list before STARTTLS allowed it is counted. */
static void test_what_was_offered_before_is_void(void **state)
{
    (void)state;
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_server *s = begin(w, "tlsonly");
    expect_offers(s, true, true, false);
    expect(s, "MAIL FROM:<>\r\n", "530 5.7.0 Must issue STARTTLS first\r\n");
    expect(s, "STARTTLS\r\n", READY);
    sink_server_secured(s);
    expect_offers(s, false, false, false);
    assert_int_equal(sink_world_counts(w)->early, 0);
    struct buf out = {0};
    say(s, ENVELOPE, &out);
    assert_int_equal(sink_world_counts(w)->early, 2);
    buf_finish(&out);
    sink_server_destroy(s);
    sink_world_destroy(w);
}

static void test_faults_of_starttls(void **state)
{
    (void)state;
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_server *s = begin(w, "notls454");
    expect_offers(s, true, true, false);
    expect(s, "STARTTLS\r\n", "454 4.7.0 TLS is not available now\r\n");
    expect(s, "MAIL FROM:<>\r\n", "250 2.1.0 sender ok\r\n");
    assert_false(sink_server_wants_tls(s));
    sink_server_destroy(s);

    s = begin(w, "tlshang");
    expect_offers(s, true, true, false);
    expect(s, "STARTTLS\r\n", READY);
    expect(s, "\x16\x03\x01 ClientHello\r\nQUIT\r\n", "");
    assert_false(sink_server_wants_tls(s));
    assert_false(sink_server_over(s));
    assert_int_equal(sink_server_deadline(s), INT64_MAX);
    sink_server_destroy(s);

    s = begin(w, "tlsgarbage");
    expect_offers(s, true, true, false);
    expect(s, "STARTTLS\r\n", READY);
    assert_false(sink_server_wants_tls(s));
    assert_false(sink_server_over(s));
    expect(s, "\x16", "500 5.5.2 command not recognized\r\n");
    assert_true(sink_server_over(s));
    sink_server_destroy(s);

    s = begin(w, "tlsinject");
    expect_offers(s, true, true, false);
    expect(s, "STARTTLS\r\n", "220 go\r\n250 injected\r\n");
    assert_true(sink_server_wants_tls(s));
    sink_server_destroy(s);
    assert_int_equal(sink_world_counts(w)->secured, 0);
    sink_world_destroy(w);
}

static void test_auth(void **state)
{
    (void)state;
#define GOOD "235 2.7.0 welcome\r\n"
#define BAD  "535 5.7.8 credentials are wrong\r\n"
    static const char *const cases[][2] = {
        {"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", GOOD},
        {"auth plain dXNlcgB1c2VyAHNlY3JldA==\r\n", GOOD},
        {"AUTH PLAIN\r\nAHVzZXIAc2VjcmV0\r\n", "334 \r\n" GOOD},
        {"AUTH LOGIN\r\ndXNlcg==\r\nc2VjcmV0\r\n",
         "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n" GOOD},
        {"AUTH LOGIN dXNlcg==\r\nc2VjcmV0\r\n", "334 UGFzc3dvcmQ6\r\n" GOOD},
        {"AUTH PLAIN AHVzZXIAc2VjcmV1\r\n", BAD},
        {"AUTH LOGIN\r\ndXNlcg==\r\ndXNlcg==\r\n",
         "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n" BAD},
        {"AUTH LOGIN\r\nc2VjcmV0\r\nc2VjcmV0\r\n",
         "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n" BAD},
        {"AUTH PLAIN\r\n*\r\n", "334 \r\n501 5.7.0 cancelled\r\n"},
        {"AUTH LOGIN\r\n?\r\n", "334 VXNlcm5hbWU6\r\n501 5.5.2 that is no base64\r\n"},
        {"AUTH CRAM-MD5\r\n", "504 5.5.4 mechanism not known\r\n"},
        {"AUTH PLAINER\r\n", "504 5.5.4 mechanism not known\r\n"},
    };
    struct sink_world *w = sink_world_create(-1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sink_server *s = begin(w, i % 2 ? "authclear" : "smtps");
        uint64_t before = sink_world_counts(w)->authenticated;
        bool good = strstr(cases[i][1], "235") != NULL;
        expect_offers(s, true, false, true);
        expect(s, "MAIL FROM:<>\r\n", "530 5.7.0 Authentication required\r\n");
        expect(s, cases[i][0], cases[i][1]);
        expect(s, "MAIL FROM:<>\r\n",
               good ? "250 2.1.0 sender ok\r\n"
                    : "530 5.7.0 Authentication required\r\n");
        expect(s, "RSET\r\n", "250 2.0.0 ok\r\n");
        if (good)
            expect(s, cases[0][0], "503 5.5.1 AUTH already done\r\n");
        else /* a second try is allowed */
            expect(s, cases[0][0], GOOD);
        assert_int_equal(sink_world_counts(w)->authenticated, before + 1);
        sink_server_destroy(s);
    }
    /* Never before STARTTLS, where there is one. */
    struct sink_server *s = begin(w, "auth");
    expect_offers(s, false, true, false);
    expect(s, cases[0][0], "538 5.7.11 encryption is required for AUTH\r\n");
    expect(s, "STARTTLS\r\n", READY);
    sink_server_secured(s);
    expect(s, cases[0][0], "503 5.5.1 AUTH belongs behind EHLO\r\n");
    expect_offers(s, true, false, true);
    expect(s, cases[0][0], GOOD);
    sink_server_destroy(s);
    sink_world_destroy(w);
}

/* The constants of auth.c are what they say. */
static void test_the_credentials(void **state)
{
    (void)state;
    static const char plain[] = "\0" SINK_AUTH_USER "\0" SINK_AUTH_PASSWORD;
    unsigned char text[64];
    struct auth a = {0};
    EVP_EncodeBlock(text, (const unsigned char *)plain, sizeof plain - 1);
    assert_string_equal(auth_begin(&a, SPAN("PLAIN")), "334 ");
    assert_memory_equal(auth_continue(&a, span_of((char *)text)), "235", 3);
    a = (struct auth){0};
    assert_memory_equal(auth_begin(&a, SPAN("LOGIN")), "334", 3);
    EVP_EncodeBlock(text, (const unsigned char *)SINK_AUTH_USER,
                    sizeof SINK_AUTH_USER - 1);
    assert_memory_equal(auth_continue(&a, span_of((char *)text)), "334", 3);
    EVP_EncodeBlock(text, (const unsigned char *)SINK_AUTH_PASSWORD,
                    sizeof SINK_AUTH_PASSWORD - 1);
    assert_memory_equal(auth_continue(&a, span_of((char *)text)), "235", 3);
    assert_true(a.done);
}

/* ---- on sockets ---- */

struct stage {
    uv_loop_t loop;
    struct sink_world *world;
    struct receiver *receiver;
    struct tls_context *context; /* our client's */
    int64_t status;
    bool exited;
};

static void stage_open(struct stage *s)
{
    *s = (struct stage){0};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    s->world = sink_world_create(-1, NULL);
    s->receiver = receiver_create(&s->loop, s->world);
    s->context = tls_client_context(&(struct tls_client_params){.min_version = 12});
    assert_non_null(s->context);
}

static void stage_close(struct stage *s)
{
    receiver_close(s->receiver);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    sink_world_destroy(s->world);
    tls_context_free(s->context);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

static int listen_as(struct stage *s, const char *mood)
{
    int port =
        receiver_listen(s->receiver, "127.0.0.1", 0, sink_mood_find(span_of(mood)));
    assert_in_range(port, 1, 65535);
    return port;
}

/* A client in the same thread: the loop is turned until what is waited for has come. */
struct client {
    struct stage *stage;
    int fd;
    struct tls *tls; /* NULL: in clear */
    struct buf heard;
    bool ended;
};

static struct client dial(struct stage *s, int port)
{
    struct client c = {.stage = s};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(c.fd >= 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(c.fd, F_SETFL, O_NONBLOCK), 0);
    return c;
}

static void hang_up(struct client *c)
{
    close(c->fd);
    tls_free(c->tls);
    buf_finish(&c->heard);
}

/* One turn of both sides. */
static void turn(struct client *c)
{
    char bytes[4096];
    if (c->tls) {
        struct span o = tls_output(c->tls);
        ssize_t n = o.n ? send(c->fd, o.p, o.n, MSG_NOSIGNAL) : 0;
        tls_sent(c->tls, n > 0 ? (size_t)n : 0);
    }
    uv_run(&c->stage->loop, UV_RUN_NOWAIT);
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    c->ended = c->ended || n == 0 || (n < 0 && errno != EAGAIN);
    if (n > 0 && !c->tls)
        buf_add(&c->heard, bytes, (size_t)n);
    if (n > 0 && c->tls) {
        tls_receive(c->tls, bytes, (size_t)n);
        for (size_t got; (got = tls_read(c->tls, bytes, sizeof bytes));)
            buf_add(&c->heard, bytes, got);
    }
}

enum { TURNS_MAX = 1000000 };

static void wait_for(struct client *c, const char *words)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        if (strstr(buf_cstr(&c->heard), words))
            return;
        if (c->ended)
            break;
        turn(c);
    }
    fail_msg("\"%s\" did not come, but \"%s\" (%s)", words, buf_cstr(&c->heard),
             c->tls ? tls_words(c->tls) : "in clear");
}

static void wait_for_end(struct client *c)
{
    for (int i = 0; i < TURNS_MAX && !c->ended; i++)
        turn(c);
    assert_true(c->ended);
}

static void shake(struct client *c, bool verify)
{
    c->tls = tls_client(c->stage->context, "mx.example", verify, 0);
    for (int i = 0; i < TURNS_MAX && tls_state(c->tls) == TLS_HANDSHAKE && !c->ended;
         i++)
        turn(c);
    assert_string_equal(tls_words(c->tls), "");
    assert_int_equal(tls_state(c->tls), TLS_OPEN);
}

static void tell(struct client *c, const char *text, size_t n)
{
    buf_reset(&c->heard);
    for (size_t at = 0; at < n; turn(c)) {
        struct iovec v = {(char *)(uintptr_t)text + at, n - at};
        ssize_t taken = c->tls ? (ssize_t)tls_write(c->tls, &v, 1)
                               : send(c->fd, v.iov_base, v.iov_len, MSG_NOSIGNAL);
        assert_true(taken >= 0);
        at += (size_t)taken;
    }
}

static void ask(struct client *c, const char *words, const char *answer)
{
    tell(c, words, strlen(words));
    wait_for(c, answer);
}

static void start_tls(struct client *c, bool verify)
{
    wait_for(c, "220 ");
    ask(c, "EHLO me\r\n", "250 ENHANCEDSTATUSCODES\r\n");
    ask(c, "STARTTLS\r\n", READY);
    shake(c, verify);
}

static void test_a_message_over_tls(void **state)
{
    (void)state;
    enum { BODY = 300 * 1000 };
    struct stage s;
    stage_open(&s);
    int port = listen_as(&s, "tls");
    char *body = malloc(BODY + 3);
    assert_non_null(body);
    memset(body, 'x', BODY);
    for (int i = 0; i + 70 < BODY; i += 70)
        memcpy(body + i, "\r\n", 2);
    memcpy(body + BODY - 2, "\r\n.\r\n", 5);
    for (int i = 0; i < 2; i++) {
        struct client c = dial(&s, port);
        start_tls(&c, false);
        assert_int_equal(tls_resumed(c.tls), i > 0);
        ask(&c, "EHLO me\r\n", "250-PIPELINING\r\n");
        ask(&c, ENVELOPE, "354 ");
        tell(&c, body, BODY + 3);
        wait_for(&c, "250 2.0.0 accepted as ");
        ask(&c, "QUIT\r\n", "221 2.0.0 bye\r\n");
        wait_for_end(&c);
        assert_int_equal(tls_state(c.tls), TLS_CLOSED); /* it said close_notify */
        hang_up(&c);
    }
    struct sink_counts *c = sink_world_counts(s.world);
    assert_int_equal(c->messages, 2);
    assert_int_equal(c->bytes, 2 * BODY);
    assert_int_equal(c->secured, 2);
    assert_int_equal(c->early + c->bad_commands + c->bare, 0);
    free(body);
    stage_close(&s);
}

static void test_tls_from_the_first_byte(void **state)
{
    (void)state;
    struct stage s;
    stage_open(&s);
    struct client c = dial(&s, listen_as(&s, "smtps"));
    shake(&c, false);
    wait_for(&c, "220 smtps.invalid ESMTP\r\n");
    ask(&c, "EHLO me\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\n", "\r\n235 2.7.0 welcome\r\n");
    ask(&c, ENVELOPE "x\r\n.\r\nQUIT\r\n", "221 2.0.0 bye\r\n");
    wait_for_end(&c);
    hang_up(&c);
    assert_int_equal(sink_world_counts(s.world)->messages, 1);
    assert_int_equal(sink_world_counts(s.world)->secured, 1);
    stage_close(&s);
}

/* Handshakes that fail, and connections that end in one: the receiver goes on. */
static void test_clients_that_are_no_good(void **state)
{
    (void)state;
    struct stage s;
    stage_open(&s);
    int port = listen_as(&s, "tls");
    for (int how = 0; how < 4; how++) {
        struct client c = dial(&s, port);
        wait_for(&c, "220 ");
        ask(&c, "EHLO me\r\n", "250 ENHANCEDSTATUSCODES\r\n");
        ask(&c, "STARTTLS\r\n", READY);
        switch (how) {
        case 0: /* it goes on in clear */
            tell(&c, "EHLO me\r\n", 9);
            wait_for_end(&c);
            break;
        case 1: { /* it goes away within the handshake */
            struct tls *t = tls_client(s.context, "mx.example", false, 0);
            struct span o = tls_output(t);
            tell(&c, o.p, o.n);
            tls_free(t);
            break;
        }
        case 2: /* it says no more */
            shutdown(c.fd, SHUT_WR);
            wait_for_end(&c);
            break;
        default: { /* it does not like the certificate */
            c.tls = tls_client(s.context, "mx.example", true, 0);
            wait_for_end(&c);
            assert_string_equal(tls_words(c.tls),
                                "certificate: self-signed certificate");
        }
        }
        hang_up(&c);
    }
    for (int i = 0; i < TURNS_MAX && sink_world_counts(s.world)->open; i++)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(sink_world_counts(s.world)->open, 0);
    assert_int_equal(sink_world_counts(s.world)->messages, 0);
    struct client c = dial(&s, port);
    start_tls(&c, false);
    ask(&c, "EHLO me\r\n", "250-PIPELINING\r\n");
    /* close_notify without QUIT ends the connection. */
    tls_close(c.tls);
    wait_for_end(&c);
    hang_up(&c);
    stage_close(&s);
}

static void test_files_with_a_certificate(void **state)
{
    (void)state;
    struct stage s;
    struct fault f = {0};
    stage_open(&s);
    assert_false(receiver_use_certificate(s.receiver, "/nowhere.pem", NULL, &f));
    assert_int_equal(f.code, -7);
    stage_close(&s);
}

/* ---- a foreign client ---- */

static void on_exit_of(uv_process_t *p, int64_t status, int signal)
{
    struct stage *s = p->data;
    s->status = signal ? -signal : status;
    s->exited = true;
    uv_close((uv_handle_t *)p, NULL);
}

static int run(struct stage *s, const char **argv)
{
    uv_process_t process = {.data = s};
    uv_stdio_container_t io[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {
        .file = argv[0],
        .args = (char **)(uintptr_t)argv,
        .stdio = io,
        .stdio_count = 3,
        .exit_cb = on_exit_of,
    };
    assert_int_equal(uv_spawn(&s->loop, &process, &options), 0);
    while (!s->exited || uv_is_active((uv_handle_t *)&process))
        uv_run(&s->loop, UV_RUN_ONCE);
    uv_run(&s->loop, UV_RUN_NOWAIT); /* process' close callback */
    return (int)s->status;
}

static const char smtplib_client[] =
    "import smtplib, ssl, sys\n"
    "any = ssl.create_default_context()\n"
    "any.check_hostname = False\n"
    "any.verify_mode = ssl.CERT_NONE\n"
    "body = 'Subject: x\\r\\n\\r\\n' + 'line\\r\\n' * 5000\n"
    "for mechanism in ('auth_plain', 'auth_login'):\n"
    "    c = smtplib.SMTP('127.0.0.1', int(sys.argv[1]))\n"
    "    c.starttls(context=any)\n"
    "    c.ehlo()\n"
    "    c.user, c.password = 'user', 'secret'\n"
    "    c.auth(mechanism[5:].upper(), getattr(c, mechanism))\n"
    "    for i in range(3):\n"
    "        c.sendmail('a@me.example', ['b@x.example'], body)\n"
    "    c.quit()\n"
    "c = smtplib.SMTP_SSL('127.0.0.1', int(sys.argv[2]), context=any)\n"
    "try:\n"
    "    c.login('user', 'wrong')\n"
    "    sys.exit(1)\n"
    "except smtplib.SMTPAuthenticationError:\n"
    "    pass\n"
    "c.login('user', 'secret')\n"
    "c.sendmail('a@me.example', ['b@x.example'], body)\n"
    "c.quit()\n"
    "c = smtplib.SMTP('127.0.0.1', int(sys.argv[1]))\n"
    "try:\n"
    "    c.starttls(context=ssl.create_default_context())\n"
    "    sys.exit(2)\n"
    "except ssl.SSLCertVerificationError:\n"
    "    pass\n";

static void test_smtplib(void **state)
{
    (void)state;
    if (access(python, X_OK))
        skip();
    struct stage s;
    char ports[2][16];
    stage_open(&s);
    snprintf(ports[0], sizeof ports[0], "%d", listen_as(&s, "auth"));
    snprintf(ports[1], sizeof ports[1], "%d", listen_as(&s, "smtps"));
    const char *argv[] = {python, "-c", smtplib_client, ports[0], ports[1], NULL};
    assert_int_equal(run(&s, argv), 0);
    struct sink_counts *c = sink_world_counts(s.world);
    assert_int_equal(c->messages, 7);
    assert_int_equal(c->bytes, 7 * (14 + 6 * 5000));
    assert_int_equal(c->authenticated, 3);
    assert_int_equal(c->early + c->bad_commands + c->bare, 0);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starttls_begins_anew),
        cmocka_unit_test(test_what_was_offered_before_is_void),
        cmocka_unit_test(test_faults_of_starttls),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_the_credentials),
        cmocka_unit_test(test_a_message_over_tls),
        cmocka_unit_test(test_tls_from_the_first_byte),
        cmocka_unit_test(test_clients_that_are_no_good),
        cmocka_unit_test(test_files_with_a_certificate),
        cmocka_unit_test(test_smtplib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
