/* The whole resolver on a loop against scripted name servers on the same loop, which do
 * what real ones should not. The first label of a name says how its questions are
 * treated. Timeouts are short; what is asserted is results, never times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uv.h>

#include "resolver/resolver.h"
#include "resolver_packet.h"

enum { TIMEOUT_MS = 200, GUARD_MS = 60000, PEERS = 3 };

static const char *const world =
    "good.test MX 10 mx.test\n mx.test A 8.0.0.1\n mx.test AAAA 2a00::1\n"
    "other.test MX 20 mx.test\n plain.test A 8.0.0.2\n null.test MX 0 .\n"
    "tc.test MX 10 mx.test\n tcpclosed.test MX 10 mx.test\n tcphang.test MX 10 "
    "mx.test\n"
    "tcpcut.test MX 10 mx.test\n edns.test MX 10 mx.test\n edns2.test MX 10 mx.test\n"
    "wrongid.test A 8.0.0.3\n wrongquestion.test A 8.0.0.3\n othersource.test A "
    "8.0.0.3\n"
    "zero.test A 8.0.0.3\n garbage.test A 8.0.0.3\n twice.test A 8.0.0.3\n"
    "late.test A 8.0.0.3\n halfdead.test MX 10 silent.test\n"
    "halfdead.test MX 20 mx.test\n";
static const char *const poison =
    "wrongid.test A 6.6.6.6\n othersource.test A 6.6.6.6\n"
    "wrongquestion.test A 6.6.6.6\n";

struct peer {
    uv_udp_t udp;
    uv_udp_t stranger; /* another source port */
    uv_tcp_t tcp;
    bool no_tcp;
    const char *mood; /* treats every question like this first label; NULL: by name */
    int questions, tcp_questions, with_edns;
    int rebinds;
    char text[40];
};

struct peer_connection {
    uv_tcp_t tcp;
    struct peer *peer;
    uint8_t in[2000];
    size_t n;
};

struct question {
    unsigned id;
    unsigned type;
    bool edns;
    char name[300];
};

static uv_loop_t loop;
static struct peer peers[PEERS];

static bool read_question(const uint8_t *p, size_t n, struct question *out)
{
    size_t at = 12;
    size_t text = 0;
    if (n < 17)
        return false;
    while (at < n && p[at]) {
        if (at + p[at] + 6 > n || text + p[at] + 2 > sizeof out->name)
            return false;
        if (text)
            out->name[text++] = '.';
        memcpy(out->name + text, p + at + 1, p[at]);
        text += p[at];
        at += (size_t)p[at] + 1;
    }
    out->name[text] = '\0';
    out->id = (unsigned)p[0] << 8 | p[1];
    out->type = (unsigned)p[at + 1] << 8 | p[at + 2];
    out->edns = p[11] > 0;
    return true;
}

static void send_udp(uv_udp_t *from, const struct sockaddr *to, const void *p, size_t n)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)p, (unsigned)n);
    uv_udp_try_send(from, &buf, 1, to);
}

static bool treated(const char *how, const struct question *q, const char *label)
{
    if (how)
        return strcmp(how, label) == 0;
    size_t n = strlen(label);
    return strncmp(q->name, label, n) == 0 && q->name[n] == '.';
}

static void on_question(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags)
{
    struct peer *peer = udp->data;
    struct question q = {0};
    static struct packet k;
    (void)flags;
    if (n <= 0 || !read_question((const uint8_t *)buf->base, (size_t)n, &q))
        return;
    peer->questions++;
    peer->with_edns += q.edns;
    const char *how = peer->mood;
    static const struct {
        const char *label;
        unsigned code;
    } codes[] = {{"servfail", 2}, {"refused", 5}, {"notimp", 4}, {"formerr", 1}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (treated(how, &q, codes[i].label)) {
            packet_begin(&k, q.id, PACKET_ANSWER | codes[i].code, q.name, q.type);
            send_udp(udp, from, k.p, k.n);
            return;
        }
    }
    if (treated(how, &q, "silent"))
        return;
    if (treated(how, &q, "garbageonly")) {
        send_udp(udp, from, "\1\2\3", 3);
        return;
    }
    if (treated(how, &q, "broken")) { /* the question matches, the rest is rubbish */
        packet_begin(&k, q.id, PACKET_ANSWER, q.name, q.type);
        k.p[7] = 3;
        memcpy(k.p + k.n, "\xc0\xff\xc0", 3);
        send_udp(udp, from, k.p, k.n + 3);
        return;
    }
    if (q.edns && (treated(how, &q, "edns") || treated(how, &q, "edns2"))) {
        packet_begin(&k, q.id, PACKET_ANSWER | 1, q.name, q.type);
        send_udp(udp, from, k.p, k.n);
        return;
    }
    if (treated(how, &q, "tc") || treated(how, &q, "tcpclosed") ||
        treated(how, &q, "tcphang") || treated(how, &q, "tcpcut")) {
        packet_begin(&k, q.id, PACKET_ANSWER | PACKET_TRUNCATED, q.name, q.type);
        send_udp(udp, from, k.p, k.n);
        return;
    }
    if (treated(how, &q, "zero"))
        send_udp(udp, from, "", 0);
    if (treated(how, &q, "garbage"))
        for (size_t i = 1; i < 40; i++)
            send_udp(udp, from,
                     "\0\0\x81\x80\0\1\0\1\0\0\0\0\377\300\14\300\f\0\0\0\0\0",
                     i < 22 ? i : 22);
    if (treated(how, &q, "wrongid")) {
        world_answer(poison, q.id ^ 1, q.name, q.type, false, &k);
        send_udp(udp, from, k.p, k.n);
    }
    if (treated(how, &q, "wrongquestion")) {
        world_answer(poison, q.id, "wrongquestion.text", q.type, false, &k);
        packet_address(&k, "wrongquestion.test", 60, "6.6.6.6");
        send_udp(udp, from, k.p, k.n);
    }
    if (treated(how, &q, "othersource")) {
        world_answer(poison, q.id, q.name, q.type, false, &k);
        send_udp(&peer->stranger, from, k.p, k.n);
    }
    if (treated(how, &q, "rebind")) { /* first public, then private, TTL 0 */
        packet_begin(&k, q.id, PACKET_ANSWER, q.name, q.type);
        if (q.type == DNS_A)
            packet_address(&k, q.name, 0,
                           peer->rebinds++ == 0 ? "8.8.8.8" : "10.0.0.1");
        send_udp(udp, from, k.p, k.n);
        return;
    }
    world_answer(world, q.id, q.name, q.type, false, &k);
    send_udp(udp, from, k.p, k.n);
    if (treated(how, &q, "twice"))
        send_udp(udp, from, k.p, k.n);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char memory[70000];
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(memory, sizeof memory);
}

static void free_connection(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_connection(struct peer_connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, free_connection);
}

static void on_tcp_question(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer_connection *c = stream->data;
    struct question q = {0};
    static struct packet k;
    if (n < 0 || c->n + (size_t)(n > 0 ? n : 0) > sizeof c->in) {
        close_connection(c);
        return;
    }
    memcpy(c->in + c->n, buf->base, (size_t)n);
    c->n += (size_t)n;
    while (c->n > 2) {
        size_t length = (size_t)c->in[0] << 8 | c->in[1];
        if (c->n < length + 2)
            return;
        if (!read_question(c->in + 2, length, &q)) {
            close_connection(c);
            return;
        }
        memmove(c->in, c->in + 2 + length, c->n - 2 - length);
        c->n -= 2 + length;
        c->peer->tcp_questions++;
        if (treated(NULL, &q, "tcphang"))
            continue;
        world_answer(world, q.id, q.name, q.type, false, &k);
        uint8_t head[2] = {(uint8_t)(k.n >> 8), (uint8_t)k.n};
        uv_buf_t bufs[2] = {uv_buf_init((char *)head, 2),
                            uv_buf_init((char *)k.p, (unsigned)k.n)};
        if (treated(NULL, &q, "tcpcut")) { /* half of it, and the end */
            bufs[1].len /= 2;
            uv_try_write(stream, bufs, 2);
            close_connection(c);
            return;
        }
        uv_try_write(stream, bufs, 2);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct peer *peer = listener->data;
    if (status < 0)
        return;
    struct peer_connection *c = calloc(1, sizeof *c);
    c->peer = peer;
    uv_tcp_init(&loop, &c->tcp);
    c->tcp.data = c;
    uv_accept(listener, (uv_stream_t *)&c->tcp);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_tcp_question);
}

/* UDP and TCP on the same port, whichever is free for both. */
static void open_peer(struct peer *p)
{
    struct sockaddr_in any;
    struct sockaddr_in got;
    *p = (struct peer){0};
    bool open = false;
    for (int tries = 0; tries < 50; tries++) {
        uv_ip4_addr("127.0.0.1", 0, &any);
        uv_tcp_init(&loop, &p->tcp);
        uv_udp_init(&loop, &p->udp);
        uv_udp_init(&loop, &p->stranger);
        p->tcp.data = p->udp.data = p->stranger.data = p;
        assert_int_equal(uv_udp_bind(&p->stranger, (struct sockaddr *)&any, 0), 0);
        assert_int_equal(uv_udp_bind(&p->udp, (struct sockaddr *)&any, 0), 0);
        int n = sizeof got;
        uv_udp_getsockname(&p->udp, (struct sockaddr *)&got, &n);
        uv_tcp_bind(&p->tcp, (struct sockaddr *)&got, 0);
        open = uv_listen((uv_stream_t *)&p->tcp, 20, on_connection) == 0;
        if (open)
            break;
        uv_close((uv_handle_t *)&p->tcp, NULL);
        uv_close((uv_handle_t *)&p->udp, NULL);
        uv_close((uv_handle_t *)&p->stranger, NULL);
        uv_run(&loop, UV_RUN_NOWAIT); /* closes them; the other peers stay */
    }
    assert_true(open);
    snprintf(p->text, sizeof p->text, "127.0.0.1:%d", ntohs(got.sin_port));
    uv_udp_recv_start(&p->udp, on_alloc, on_question);
}

static void close_tcp(struct peer *p)
{
    p->no_tcp = true;
    uv_close((uv_handle_t *)&p->tcp, NULL);
}

static int set_up(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    for (int i = 0; i < PEERS; i++)
        open_peer(&peers[i]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS; i++) {
        if (!peers[i].no_tcp)
            uv_close((uv_handle_t *)&peers[i].tcp, NULL);
        uv_close((uv_handle_t *)&peers[i].udp, NULL);
        uv_close((uv_handle_t *)&peers[i].stranger, NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT); /* all connections end with their clients */
    return uv_loop_close(&loop);
}

/* ---- the resolver's side ---- */

static struct deny *deny;

static struct resolver *resolver_at(int peers_n, int in_flight)
{
    const char *servers[PEERS];
    struct fault f = {0};
    for (int i = 0; i < peers_n; i++)
        servers[i] = peers[i].text;
    static const char *const words[] = {"private", "loopback"};
    deny = deny_create(words, 2, NULL, 0, &f);
    struct resolver *r =
        resolver_create(&loop,
                        &(struct resolver_params){.servers = servers,
                                                  .servers_n = peers_n,
                                                  .timeout_ms = TIMEOUT_MS,
                                                  .tries = 2,
                                                  .in_flight = in_flight,
                                                  .deny = deny},
                        &f);
    assert_non_null(r);
    return r;
}

static void finish(struct resolver *r)
{
    resolver_close(r);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    deny_free(deny);
}

struct outcome {
    const char *domain;
    struct mx_set *set;
    int *left;
};

static bool inside_lookup;

static void on_done(void *arg, struct mx_set *set)
{
    struct outcome *o = arg;
    assert_false(inside_lookup);
    assert_null(o->set);
    o->set = set;
    --*o->left;
}

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("a lookup never ends");
}

/* Look them all up at once and wait for all. */
static void resolve(struct resolver *r, struct outcome *outcomes, int n)
{
    uv_timer_t guard;
    int left = n;
    uv_timer_init(&loop, &guard);
    uv_timer_start(&guard, on_guard, GUARD_MS, 0);
    inside_lookup = true;
    for (int i = 0; i < n; i++) {
        outcomes[i].left = &left;
        outcomes[i].set = NULL;
        resolver_lookup(r, outcomes[i].domain, on_done, &outcomes[i]);
    }
    inside_lookup = false;
    while (left > 0)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static int resolve_one(struct resolver *r, const char *domain)
{
    struct outcome o = {.domain = domain};
    resolve(r, &o, 1);
    int code = o.set->code;
    mx_set_unref(o.set);
    return code;
}

static void moods(void **state)
{
    (void)state;
    static const struct {
        const char *domain;
        int code;
        const char *first; /* address of the first host */
    } rows[] = {
        {"good.test", 0, "8.0.0.1"},
        {"plain.test", 0, "8.0.0.2"},
        {"other.test", 0, "8.0.0.1"},
        {"null.test", 720, NULL},
        {"none.test", 700, NULL},
        {"servfail.test", 710, NULL},
        {"refused.test", 711, NULL},
        {"notimp.test", 711, NULL},
        {"formerr.test", 711, NULL},
        {"silent.test", 710, NULL},
        {"garbageonly.test", 710, NULL},
        {"broken.test", 711, NULL},
        {"edns.test", 0, "8.0.0.1"},
        {"edns2.test", 0, "8.0.0.1"},
        {"tc.test", 0, "8.0.0.1"},
        {"tcphang.test", 710, NULL},
        {"tcpcut.test", 710, NULL},
        {"wrongid.test", 0, "8.0.0.3"},
        {"wrongquestion.test", 0, "8.0.0.3"},
        {"othersource.test", 0, "8.0.0.3"},
        {"zero.test", 0, "8.0.0.3"},
        {"garbage.test", 0, "8.0.0.3"},
        {"twice.test", 0, "8.0.0.3"},
        {"halfdead.test", 0, "8.0.0.1"},
    };
    enum { N = sizeof rows / sizeof *rows };
    struct resolver *r = resolver_at(1, 100);
    struct outcome outcomes[N] = {0};
    for (int i = 0; i < N; i++)
        outcomes[i].domain = rows[i].domain;
    resolve(r, outcomes, N);
    for (int i = 0; i < N; i++) {
        struct mx_set *s = outcomes[i].set;
        if (s->code != rows[i].code)
            fail_msg("%s: %d (%s), not %d", rows[i].domain, s->code, s->words,
                     rows[i].code);
        if (rows[i].first) {
            char text[IP_TEXT_MAX];
            ip_print(&s->hosts[0].addresses[0], text);
            assert_string_equal(text, rows[i].first);
        }
        mx_set_unref(s);
    }
    struct resolver_stats stats = resolver_stats(r);
    assert_int_equal(stats.lookups, N);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.queries, stats.answers + stats.timeouts);
    assert_false(stats.dead);
    finish(r);
}

static void edns_is_used_until_it_is_refused(void **state)
{
    (void)state;
    struct resolver *r = resolver_at(1, 1);
    assert_int_equal(resolve_one(r, "good.test"), 0);
    assert_int_equal(peers[0].with_edns, peers[0].questions);
    assert_int_equal(resolve_one(r, "edns.test"), 0);
    int before = peers[0].with_edns;
    assert_int_equal(resolve_one(r, "plain.test"), 0);
    assert_int_equal(peers[0].with_edns, before);
    finish(r);
}

static void tcp_closed(void **state)
{
    (void)state;
    struct resolver *r = resolver_at(1, 100);
    close_tcp(&peers[0]);
    /* queries on UDP at the same time are not harmed by it */
    struct outcome outcomes[] = {
        {.domain = "tcpclosed.test"}, {.domain = "good.test"}, {.domain = "none.test"}};
    resolve(r, outcomes, 3);
    static const int codes[] = {710, 0, 700};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(outcomes[i].set->code, codes[i]);
        mx_set_unref(outcomes[i].set);
    }
    finish(r);
}

static void next_server(void **state)
{
    (void)state;
    static const char *const bad[] = {"silent", "servfail", "refused", "garbageonly",
                                      "formerr"};
    struct resolver *r = resolver_at(3, 100);
    peers[1].mood = "silent";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char domain[40];
        peers[0].mood = bad[i];
        snprintf(domain, sizeof domain, "none%zu.test", i);
        assert_int_equal(resolve_one(r, domain),
                         700); /* which only the third one says */
    }
    assert_int_equal(resolve_one(r, "good.test"), 0);
    assert_false(resolver_stats(r).dead);
    finish(r);
}

static void all_dead_and_back(void **state)
{
    (void)state;
    enum { N = 50 };
    struct resolver *r = resolver_at(2, 10);
    peers[0].mood = peers[1].mood = "silent";
    struct outcome outcomes[N] = {0};
    static char names[N][20];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "x%d.test", i);
        outcomes[i].domain = names[i];
    }
    resolve(r, outcomes, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(outcomes[i].set->code, 608);
        mx_set_unref(outcomes[i].set);
    }
    assert_true(resolver_stats(r).dead);
    peers[1].mood = NULL;
    assert_int_equal(resolve_one(r, "good.test"), 0);
    assert_false(resolver_stats(r).dead);
    finish(r);
}

/* Nobody listens: the kernel says so at once, and still it is 608, not 710. */
static void port_closed(void **state)
{
    (void)state;
    struct peer gone;
    open_peer(&gone);
    uv_close((uv_handle_t *)&gone.tcp, NULL);
    uv_close((uv_handle_t *)&gone.udp, NULL);
    uv_close((uv_handle_t *)&gone.stranger, NULL);
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    struct fault f = {0};
    const char *servers[] = {gone.text};
    struct resolver *r = resolver_create(&loop,
                                         &(struct resolver_params){.servers = servers,
                                                                   .servers_n = 1,
                                                                   .timeout_ms = 50,
                                                                   .tries = 1,
                                                                   .in_flight = 5},
                                         &f);
    assert_non_null(r);
    struct outcome outcomes[20] = {0};
    for (int i = 0; i < 20; i++)
        outcomes[i].domain = i % 2 ? "good.test" : "none.test";
    resolve(r, outcomes, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(outcomes[i].set->code, 608);
        mx_set_unref(outcomes[i].set);
    }
    deny = NULL;
    finish(r);
}

/* The address that a set carries was checked; a later answer is checked again. */
static void rebinding(void **state)
{
    (void)state;
    struct resolver *r = resolver_at(1, 100);
    assert_int_equal(resolve_one(r, "rebind.test"), 0);
    assert_int_equal(resolve_one(r, "rebind.test"), 0); /* from the cache */
    assert_int_equal(peers[0].rebinds, 1);
    finish(r);
    r = resolver_at(1, 100);
    assert_int_equal(resolve_one(r, "rebind.test"), 730);
    finish(r);
}

static void coalescing(void **state)
{
    (void)state;
    struct resolver *r = resolver_at(1, 100);
    struct outcome outcomes[200] = {0};
    for (int i = 0; i < 200; i++)
        outcomes[i].domain = i % 2 ? "good.test" : "other.test";
    resolve(r, outcomes, 200);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(outcomes[i].set->code, 0);
        mx_set_unref(outcomes[i].set);
    }
    assert_int_equal(peers[0].questions, 4); /* two MX, one A, one AAAA */
    finish(r);
}

struct closer {
    struct resolver *r;
    int calls;
};

static void on_done_close(void *arg, struct mx_set *set)
{
    struct closer *c = arg;
    mx_set_unref(set);
    if (c->calls++ == 0)
        resolver_close(c->r);
}

static void closed_from_a_callback(void **state)
{
    (void)state;
    struct closer c = {.r = resolver_at(1, 2)};
    resolver_lookup(c.r, "silent.test", on_done_close, &c);
    for (int i = 0; i < 10; i++)
        resolver_lookup(c.r, "good.test", on_done_close, &c);
    resolver_lookup(c.r, "none.test", on_done_close, &c);
    uv_timer_t guard;
    uv_timer_init(&loop, &guard);
    uv_timer_start(&guard, on_guard, GUARD_MS, 0);
    while (c.calls == 0)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&guard, NULL);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(c.calls, 1);
    deny_free(deny);
}

static void closed_at_once(void **state)
{
    (void)state;
    struct closer c = {.r = resolver_at(2, 2), .calls = 1};
    resolver_lookup(c.r, "good.test", on_done_close, &c);
    finish(c.r);
    assert_int_equal(c.calls, 1);
}

/* An idle resolver lets the loop end. */
static void idle(void **state)
{
    (void)state;
    uv_loop_t own;
    struct fault f = {0};
    uv_loop_init(&own);
    struct resolver *r = resolver_create(
        &own, &(struct resolver_params){.timeout_ms = 50, .tries = 1, .in_flight = 5},
        &f);
    assert_non_null(r); /* servers of resolv.conf */
    assert_int_equal(uv_run(&own, UV_RUN_DEFAULT), 0);
    resolver_close(r);
    uv_run(&own, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&own), 0);
}

static void servers_as_text(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1", "127.0.0.1:53", "[::1]:5300",
                                       "[::1]",     "2001:db8::1",  "192.0.2.1:65535"};
    static const char *const bad[] = {"",
                                      "localhost",
                                      "127.0.0.1:",
                                      "127.0.0.1:0",
                                      "127.0.0.1:65536",
                                      "[::1",
                                      "[::1]x",
                                      "[::1]:",
                                      "127.0.0.1:5 3",
                                      "127.0.0.1:+53",
                                      "::1:53:zz",
                                      "127.0.0.1:53:1",
                                      "ns.example:53",
                                      "[]:53",
                                      "1.2.3:53"};
    struct resolver_params params = {.timeout_ms = 50, .tries = 1, .in_flight = 5};
    params.servers_n = 1;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct fault f = {0};
        params.servers = &good[i];
        struct resolver *r = resolver_create(&loop, &params, &f);
        if (!r)
            fail_msg("%s: %s", good[i], f.words);
        resolver_close(r);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fault f = {0};
        params.servers = &bad[i];
        if (resolver_create(&loop, &params, &f))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(f.code, -7);
    }
    const char *many[9] = {good[0], good[0], good[0], good[0], good[0],
                           good[0], good[0], good[0], good[0]};
    struct fault f = {0};
    params.servers = many;
    params.servers_n = 9;
    assert_null(resolver_create(&loop, &params, &f));
    assert_int_equal(f.code, -7);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(moods),
        TEST(edns_is_used_until_it_is_refused),
        TEST(tcp_closed),
        TEST(next_server),
        TEST(all_dead_and_back),
        TEST(port_closed),
        TEST(rebinding),
        TEST(coalescing),
        TEST(closed_from_a_callback),
        TEST(closed_at_once),
        TEST(idle),
        TEST(servers_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
