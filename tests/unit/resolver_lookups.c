/* The lookups machine with false servers and a false clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver/cache.h"
#include "resolver/lookups.h"
#include "resolver_packet.h"

#define S INT64_C(1000000)
enum { TIMEOUT_S = 5 };

enum mood { ANSWERS, SILENT, REFUSES, FAILS, TRUNCATES, FORMERRS };

static const char world[] =
    "a.test MX 10 mx.test\n b.test MX 10 mx.test\n c.test MX 10 mx2.test\n"
    "mx.test A 8.0.0.1\n mx2.test A 8.0.0.2\n e.test A 8.0.0.5\n"
    "n1.test A 8.0.1.1\n n2.test A 8.0.1.2\n n3.test A 8.0.1.3\n";

struct bench {
    struct lookups *l;
    int64_t now;
    enum mood moods[SERVERS_MAX];
    bool tcp_works;
    int asked[SERVERS_MAX];
    int asked_tcp;
    int probes;
    int hold; /* questions left without any answer, until they are let go */
    int held_n;
    struct lookups_question held[64];
    char lame[40]; /* servers are silent about this name */
};

static struct bench *begin(int servers, int in_flight)
{
    static struct bench b;
    b = (struct bench){.now = 1000 * S, .tcp_works = true};
    b.l = lookups_create(&(struct lookups_params){.servers_n = servers,
                                                  .rounds = 3,
                                                  .timeout_us = TIMEOUT_S * S,
                                                  .in_flight = in_flight,
                                                  .cache = 1000});
    return &b;
}

static void on_done(void *arg, struct mx_set *set)
{
    *(struct mx_set **)arg = set;
}

static void add(struct bench *b, const char *domain, struct mx_set **out)
{
    *out = NULL;
    lookups_add(b->l, domain, on_done, out, b->now);
}

static void answer(struct bench *b, const struct lookups_question *q, unsigned flags)
{
    static struct packet k;
    if (flags)
        packet_begin(&k, 1, PACKET_ANSWER | flags, q->name, q->type);
    else
        world_answer(world, 1, q->name, q->type, false, &k);
    lookups_answered(b->l, q->token, k.p, k.n, b->now);
}

static void serve(struct bench *b, const struct lookups_question *q)
{
    b->asked[q->server]++;
    b->asked_tcp += q->tcp;
    enum mood mood = b->moods[q->server];
    if (q->tcp)
        mood = b->tcp_works ? ANSWERS : SILENT;
    if (strcmp(q->name, b->lame) == 0)
        mood = SILENT;
    static const unsigned flags[] = {
        [REFUSES] = 5, [FAILS] = 2, [FORMERRS] = 1, [TRUNCATES] = PACKET_TRUNCATED};
    if (mood == SILENT) {
        b->now += TIMEOUT_S * S;
        lookups_silent(b->l, q->token, b->now);
    } else {
        answer(b, q, mood == ANSWERS ? 0 : flags[mood]);
    }
}

/* Tell those who are done. Returns how many. */
static int tell(struct bench *b)
{
    struct lookups_done done;
    int n = 0;
    assert_true(lookups_has_done(b->l) || !lookups_done(b->l, &done));
    while (lookups_done(b->l, &done)) {
        done.done(done.arg, done.set);
        n++;
    }
    return n;
}

static void probe(struct bench *b)
{
    for (int s; (s = lookups_probe(b->l)) >= 0;) {
        b->probes++;
        lookups_probed(b->l, s, b->moods[s] != SILENT, b->now);
    }
}

/* Until nothing moves any more. */
static void run(struct bench *b)
{
    struct lookups_question q;
    for (int turn = 0; turn < 1000; turn++) {
        while (lookups_next(b->l, b->now, &q)) {
            if (b->held_n < b->hold) {
                b->held[b->held_n++] = q;
                continue;
            }
            serve(b, &q);
            probe(b);
            lookups_tick(b->l, b->now);
        }
        probe(b);
        tell(b);
        if (!lookups_busy(b->l) || b->held_n > 0)
            return;
        b->now += S;
        lookups_tick(b->l, b->now);
    }
    fail_msg("it never comes to rest");
}

static int code(struct mx_set **s)
{
    if (!*s) {
        fail_msg("nobody was told");
        return -1;
    }
    int code = (*s)->code;
    mx_set_unref(*s);
    *s = NULL;
    return code;
}

static void end(struct bench *b)
{
    struct resolver_stats stats = lookups_stats(b->l);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.queries, stats.answers + stats.timeouts);
    lookups_free(b->l);
}

static void one_query_a_name(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *sets[6];
    add(b, "a.test", &sets[0]);
    add(b, "a.test", &sets[1]);
    add(b, "b.test", &sets[2]);
    run(b);
    assert_int_equal(b->asked[0],
                     4); /* two MX; one A and one AAAA of the common host */
    assert_ptr_equal(sets[0], sets[1]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(code(&sets[i]), 0);

    add(b, "a.test", &sets[3]); /* known, but never from inside lookups_add */
    assert_null(sets[3]);
    assert_int_equal(tell(b), 1);
    assert_int_equal(code(&sets[3]), 0);
    assert_int_equal(lookups_stats(b->l).cache_hits, 1);
    assert_int_equal(b->asked[0], 4);

    b->now += 3601 * S; /* TTL over: all anew */
    add(b, "a.test", &sets[4]);
    run(b);
    assert_int_equal(code(&sets[4]), 0);
    assert_int_equal(b->asked[0], 7);
    end(b);
}

/* A host is another name than the domain of the same letters; an address needs nobody.
 */
static void hosts_in_brackets(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *sets[5];
    add(b, "[mx.test]", &sets[0]);
    add(b, "[mx.test]", &sets[1]);
    add(b, "[192.0.2.1]", &sets[2]);
    add(b, "[192.0.2.1]", &sets[3]);
    run(b);
    assert_int_equal(b->asked[0], 2); /* A and AAAA */
    assert_ptr_equal(sets[0], sets[1]);
    assert_string_equal(sets[0]->key, "mx.test");
    assert_string_equal(sets[2]->hosts[0].name, "192.0.2.1");
    add(b, "mx.test", &sets[4]);
    run(b);
    assert_int_equal(b->asked[0], 3); /* its MX; the addresses are known */
    for (int i = 0; i < 5; i++)
        assert_int_equal(code(&sets[i]), 0);
    end(b);
}

static void callers_in_order(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *sets[3];
    for (int i = 0; i < 3; i++)
        add(b, "a.test", &sets[i]);
    struct lookups_question q;
    struct lookups_done done;
    while (lookups_next(b->l, b->now, &q))
        serve(b, &q);
    for (int i = 0; i < 3; i++) {
        assert_true(lookups_done(b->l, &done));
        assert_ptr_equal(done.arg, &sets[i]);
        mx_set_unref(done.set);
    }
    end(b);
}

static void negative_answers_are_kept(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *s;
    add(b, "none.test", &s);
    run(b);
    assert_int_equal(code(&s), 700);
    b->now += 299 * S;
    add(b, "none.test", &s);
    run(b);
    assert_int_equal(code(&s), 700);
    assert_int_equal(b->asked[0], 1);
    b->now += 2 * S;
    add(b, "none.test", &s);
    run(b);
    assert_int_equal(code(&s), 700);
    assert_int_equal(b->asked[0], 2);
    end(b);
}

static void in_flight_is_bounded(void **state)
{
    (void)state;
    struct bench *b = begin(1, 3);
    struct mx_set *sets[40];
    char names[40][20];
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "x%d.test", i);
        add(b, names[i], &sets[i]);
    }
    b->hold = 3;
    run(b);
    assert_int_equal(b->held_n, 3);
    assert_int_equal(lookups_stats(b->l).in_flight, 3);
    assert_int_equal(lookups_stats(b->l).waiting, 37);
    struct lookups_question q;
    assert_false(lookups_next(b->l, b->now, &q));
    b->hold = 0;
    for (int i = 0; i < b->held_n; i++)
        answer(b, &b->held[i], 0);
    b->held_n = 0;
    run(b);
    for (int i = 0; i < 40; i++)
        assert_int_equal(code(&sets[i]), 700);
    end(b);
}

/* Lookups that only wait for somebody else's question take no place on the wire, but
 * memory: they are bounded too. */
static void waiting_for_one_host_is_bounded(void **state)
{
    (void)state;
    struct bench *b = begin(1, 2);
    struct mx_set *sets[2];
    struct lookups_question q[4];
    add(b, "a.test", &sets[0]);
    assert_true(lookups_next(b->l, b->now, &q[0]));
    answer(b, &q[0], 0);
    assert_true(lookups_next(b->l, b->now, &q[0])); /* A */
    assert_true(lookups_next(b->l, b->now, &q[1])); /* AAAA */
    add(b, "b.test", &sets[1]);
    assert_false(lookups_next(b->l, b->now, &q[2]));
    answer(b, &q[0], 0);
    assert_true(lookups_next(b->l, b->now, &q[2])); /* MX of b */
    answer(b, &q[2], 0);                            /* its AAAA is already on its way */
    assert_false(lookups_next(b->l, b->now, &q[3]));
    answer(b, &q[1], 0);
    assert_int_equal(tell(b), 2);
    assert_int_equal(code(&sets[0]), 0);
    assert_int_equal(code(&sets[1]), 0);
    end(b);
}

static void failover(void **state)
{
    (void)state;
    static const struct {
        enum mood first, second;
        int code;
    } rows[] = {
        {SILENT, ANSWERS, 0},   {REFUSES, ANSWERS, 0},     {FAILS, ANSWERS, 0},
        {FAILS, FAILS, 710},    {REFUSES, REFUSES, 711},   {REFUSES, FAILS, 710},
        {FAILS, REFUSES, 710},  {SILENT, REFUSES, 711},    {SILENT, FAILS, 710},
        {FORMERRS, ANSWERS, 0}, {FORMERRS, FORMERRS, 711}, {SILENT, SILENT, 608},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench *b = begin(2, 10);
        struct mx_set *s;
        b->moods[0] = rows[i].first;
        b->moods[1] = rows[i].second;
        add(b, "a.test", &s);
        run(b);
        int got = code(&s);
        if (got != rows[i].code)
            fail_msg("row %zu: %d, not %d", i, got, rows[i].code);
        end(b);
    }
}

static void bad_answers_are_asked_once_of_each(void **state)
{
    (void)state;
    struct bench *b = begin(3, 10);
    struct mx_set *s;
    b->moods[0] = FAILS;
    b->moods[1] = REFUSES;
    b->moods[2] = FAILS;
    add(b, "a.test", &s);
    run(b);
    assert_int_equal(code(&s), 710);
    for (int i = 0; i < 3; i++)
        assert_int_equal(b->asked[i], 1);
    end(b);
}

/* FORMERR to EDNS: c-ares leaves EDNS out from then on, so the same server is asked
 * once more. */
static void formerr_is_asked_again(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *s;
    struct lookups_question q;
    add(b, "none.test", &s);
    assert_true(lookups_next(b->l, b->now, &q));
    answer(b, &q, 1);
    run(b);
    assert_int_equal(code(&s), 700);
    end(b);
}

static void truncation(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *s;
    b->moods[0] = TRUNCATES;
    add(b, "a.test", &s);
    run(b);
    assert_int_equal(code(&s), 0);
    assert_int_equal(b->asked_tcp, 3);
    b->tcp_works = false; /* the UDP side speaks, so that it is not 608 */
    add(b, "c.test", &s);
    run(b);
    assert_int_equal(code(&s), 710);
    end(b);
}

static void a_dead_server_is_left_alone(void **state)
{
    (void)state;
    struct bench *b = begin(2, 10);
    struct mx_set *s;
    b->moods[0] = SILENT;
    const char *names[] = {"a.test", "n1.test", "n2.test", "n3.test"};
    for (int i = 0; i < 4; i++) {
        add(b, names[i], &s);
        run(b);
        assert_int_equal(code(&s), 0);
    }
    int asked = b->asked[0]; /* probes count as well */
    assert_in_range(asked, 1, SERVERS_SILENT);
    b->now += SERVERS_ASIDE_US;
    b->moods[0] = ANSWERS; /* and is found again when it is back */
    b->moods[1] = SILENT;
    add(b, "none.test", &s);
    run(b);
    assert_int_equal(code(&s), 700);
    assert_int_equal(b->asked[0], asked + 1);
    end(b);
}

/* One domain without an answer is not a resolver without answers: the probe tells. */
static void a_lame_domain_alone(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *s;
    strcpy(b->lame, "lame.test");
    add(b, "lame.test", &s);
    run(b);
    assert_int_equal(code(&s), 710);
    assert_int_equal(b->asked[0], 3); /* rounds */
    assert_true(b->probes > 0);
    assert_false(lookups_stats(b->l).dead);
    end(b);
}

static void nobody_answers(void **state)
{
    (void)state;
    struct bench *b = begin(2, 2);
    struct mx_set *sets[20];
    char names[20][20];
    b->moods[0] = b->moods[1] = SILENT;
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "x%d.test", i);
        add(b, names[i], &sets[i]);
    }
    run(b);
    for (int i = 0; i < 20; i++)
        assert_int_equal(code(&sets[i]), 608);
    assert_true(lookups_stats(b->l).dead);
    int asked = b->asked[0] + b->asked[1];
    assert_true(asked < 20); /* not each of them was tried to the end */

    add(b, names[0], &sets[0]); /* 608 is not remembered: this asks each server once */
    run(b);
    assert_int_equal(code(&sets[0]), 608);
    assert_int_equal(b->asked[0] + b->asked[1], asked + 2);

    b->moods[1] = ANSWERS;
    add(b, "a.test", &sets[0]);
    run(b);
    assert_int_equal(code(&sets[0]), 0);
    assert_false(lookups_stats(b->l).dead);
    end(b);
}

/* The port is closed: every query fails at once. Nothing may be lost before twice the
 * timeout is over, and when the server comes back in time all get their answers. */
static void restart_of_the_server(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *sets[30];
    char names[30][20];
    struct lookups_question q;
    for (int i = 0; i < 30; i++) {
        snprintf(names[i], sizeof names[i], "x%d.test", i);
        add(b, names[i], &sets[i]);
    }
    while (lookups_next(b->l, b->now, &q))
        lookups_silent(b->l, q.token, b->now); /* no time passes */
    assert_int_equal(tell(b), 0);
    assert_int_equal(lookups_stats(b->l).waiting, 30); /* parked */
    b->now += S;
    lookups_tick(b->l, b->now);
    assert_int_equal(lookups_probe(b->l), 0);
    lookups_probed(b->l, 0, true, b->now);
    run(b);
    for (int i = 0; i < 30; i++)
        assert_int_equal(code(&sets[i]), 700);

    b->now += S; /* and when it does not come back: 608 */
    for (int i = 0; i < 30; i++) {
        names[i][0] = 'y';
        add(b, names[i], &sets[i]);
    }
    while (lookups_next(b->l, b->now, &q))
        lookups_silent(b->l, q.token, b->now);
    b->moods[0] = SILENT;
    run(b);
    for (int i = 0; i < 30; i++)
        assert_int_equal(code(&sets[i]), 608);
    end(b);
}

/* A silence of long ago does not make the next question's server dead at once. */
static void an_old_silence_is_forgotten(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *s;
    strcpy(b->lame, "lame.test");
    add(b, "lame.test", &s);
    run(b);
    assert_int_equal(code(&s), 710);
    lookups_tick(b->l, b->now);
    b->now += 3600 * S;
    struct lookups_question q;
    add(b, "a.test", &s);
    assert_true(lookups_next(b->l, b->now, &q));
    b->now += S;
    lookups_tick(b->l, b->now);
    assert_false(lookups_stats(b->l).dead);
    answer(b, &q, 0);
    run(b);
    assert_int_equal(code(&s), 0);
    end(b);
}

static void garbled_answers(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *s;
    struct lookups_question q;
    add(b, "a.test", &s);
    assert_true(lookups_next(b->l, b->now, &q));
    lookups_answered(b->l, q.token, (const uint8_t *)"\0\1\x81\x80garbage", 11, b->now);
    run(b);
    assert_int_equal(code(&s), 711);
    end(b);
}

static void names_that_cannot_be(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    struct mx_set *s;
    add(b, "not a name", &s);
    run(b);
    assert_int_equal(code(&s), 700);
    assert_int_equal(b->asked[0], 0);
    end(b);
}

static void freed_in_the_middle(void **state)
{
    (void)state;
    struct bench *b = begin(1, 2);
    struct mx_set *sets[5];
    struct lookups_question q;
    add(b, "e.test", &sets[0]);
    run(b);
    assert_int_equal(code(&sets[0]), 0);
    add(b, "e.test", &sets[0]); /* ready, not told */
    add(b, "a.test", &sets[1]); /* waits for addresses */
    assert_true(lookups_next(b->l, b->now, &q));
    answer(b, &q, 0);
    assert_true(lookups_next(b->l, b->now, &q));
    add(b, "b.test", &sets[2]);
    add(b, "c.test", &sets[3]);
    lookups_silent(b->l, q.token, b->now);
    lookups_free(b->l);
}

/* ---- the cache by itself ---- */

struct thing {
    struct cache_entry entry;
    char name[16];
};

static int freed;

static void free_thing(struct cache_entry *e)
{
    freed++;
    free(CONTAINER_OF(e, struct thing, entry));
}

static struct thing *add_thing(struct cache *c, int i, unsigned type)
{
    struct thing *t = calloc(1, sizeof *t);
    snprintf(t->name, sizeof t->name, "n%d", i);
    t->entry.name = t->name;
    t->entry.type = (uint16_t)type;
    cache_add(c, &t->entry);
    return t;
}

static void cache_forgets_the_least_used(void **state)
{
    (void)state;
    struct cache c;
    freed = 0;
    cache_init(&c, 100, free_thing);
    struct thing *awake = add_thing(&c, -1, 1);
    for (int i = 0; i < 1000; i++) {
        struct thing *t = add_thing(&c, i, 1);
        cache_rest(&c, &t->entry);
        struct cache_entry *used = cache_find(&c, 1, "n0");
        assert_non_null(used);
        cache_rest(&c, used); /* used again and again */
    }
    assert_int_equal(c.n, 100);
    assert_int_equal(freed, 901);
    assert_non_null(cache_find(&c, 1, "n0"));
    assert_null(cache_find(&c, 1, "n1"));
    assert_null(cache_find(&c, 2, "n0")); /* another type is another name */
    assert_non_null(cache_find(&c, 1, "n999"));
    assert_ptr_equal(cache_find(&c, 1, "n-1"), &awake->entry);
    cache_drop(&c, &awake->entry);
    assert_null(cache_find(&c, 1, "n-1"));
    cache_finish(&c);
    assert_int_equal(freed, 1001);
}

static void a_small_cache_still_answers(void **state)
{
    (void)state;
    struct bench *b = begin(1, 10);
    lookups_free(b->l);
    b->l = lookups_create(&(struct lookups_params){
        .servers_n = 1, .rounds = 1, .timeout_us = S, .in_flight = 10, .cache = 1});
    struct mx_set *sets[6];
    static const char *const names[] = {"a.test", "b.test",  "c.test",
                                        "e.test", "n1.test", "none.test"};
    for (int i = 0; i < 6; i++)
        add(b, names[i], &sets[i]);
    run(b);
    for (int i = 0; i < 6; i++)
        assert_int_equal(code(&sets[i]), i == 5 ? 700 : 0);
    end(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_query_a_name),
        cmocka_unit_test(hosts_in_brackets),
        cmocka_unit_test(callers_in_order),
        cmocka_unit_test(negative_answers_are_kept),
        cmocka_unit_test(in_flight_is_bounded),
        cmocka_unit_test(waiting_for_one_host_is_bounded),
        cmocka_unit_test(failover),
        cmocka_unit_test(bad_answers_are_asked_once_of_each),
        cmocka_unit_test(formerr_is_asked_again),
        cmocka_unit_test(truncation),
        cmocka_unit_test(a_dead_server_is_left_alone),
        cmocka_unit_test(a_lame_domain_alone),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(restart_of_the_server),
        cmocka_unit_test(an_old_silence_is_forgotten),
        cmocka_unit_test(garbled_answers),
        cmocka_unit_test(names_that_cannot_be),
        cmocka_unit_test(freed_in_the_middle),
        cmocka_unit_test(cache_forgets_the_least_used),
        cmocka_unit_test(a_small_cache_still_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
