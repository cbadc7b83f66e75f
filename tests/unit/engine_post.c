/* Tasks and reports: one piece of memory each, and what was put in comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/post.h"

enum { ROUNDS = 200, EVENTS = 3000, TEXT_MAX = 3000 };

/* ---- tasks ---- */

static struct flight *open_flight(char path[static 32])
{
    struct fault f = {0};
    strcpy(path, "/tmp/engine_post.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    struct flight *flight = flight_create(path, "job", "boot", &f);
    assert_non_null(flight);
    return flight;
}

static void test_task_has_its_own_copy(void **state)
{
    (void)state;
    char path[32];
    struct flight *flight = open_flight(path);
    struct rng rng = {7};
    struct gate gates[6] = {0};
    struct gate *connects[] = {&gates[0], &gates[1], &gates[2]};
    struct gate *mails[] = {&gates[3], &gates[4], &gates[5]};
    for (int round = 0; round < ROUNDS; round++) {
        struct order order = {
            .kind = round % 2 ? ORDER_OPEN : ORDER_MORE,
            .connection = rng_below(&rng, 1000),
            .avoid = rng_below(&rng, 4),
            .last = rng_below(&rng, 2),
            .source = (uint8_t)rng_below(&rng, 256),
            .messages = rng_below(&rng, 100),
            .gates_n = (int)rng_below(&rng, 4),
            .connect_gates = connects,
            .mail_gates = mails,
            .dns_us = (int32_t)rng_below(&rng, 1000000),
            .targets_n = round % 2 ? 1 + (int)rng_below(&rng, MX_TARGETS_MAX) : 0,
            .rows_n = (int)rng_below(&rng, LEASE_MAX + 1),
        };
        char hosts[MX_TARGETS_MAX][80];
        for (int i = 0; i < order.targets_n; i++) {
            snprintf(hosts[i], sizeof hosts[i], "mx%d.%.*s.example", i,
                     (int)rng_below(&rng, 40),
                     "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr");
            order.targets[i].host = hosts[i];
            memset(order.targets[i].address.bytes, i + round,
                   sizeof order.targets[i].address.bytes);
        }
        for (int i = 0; i < order.rows_n; i++)
            order.rows[i] = 1 + rng_below(&rng, 1000000);

        struct task *task = task_from_order(&order, flight);
        struct order was = order;
        memset(&order, 0xff, sizeof order);
        assert_int_equal(task->kind, was.kind == ORDER_OPEN ? TASK_OPEN : TASK_MORE);
        assert_int_equal(task->connection, was.connection);
        assert_int_equal(task->avoid, was.avoid);
        assert_int_equal(task->last, was.last);
        assert_int_equal(task->source, was.source);
        assert_int_equal(task->messages, was.messages);
        assert_int_equal(task->gates_n, was.gates_n);
        for (int k = 0; k < was.gates_n; k++) {
            assert_ptr_equal(task->connect_gates[k], connects[k]);
            assert_ptr_equal(task->mail_gates[k], mails[k]);
        }
        assert_int_equal(task->dns_us, was.dns_us);
        assert_int_equal(task->rows_n, was.rows_n);
        for (int i = 0; i < was.rows_n; i++) {
            assert_int_equal(task->rows[i].row, was.rows[i]);
            assert_true(task->rows[i].entry < FLIGHT_ENTRIES);
            for (int k = 0; k < i && k < 5; k++) /* an entry has one row */
                assert_int_not_equal(task->rows[i].entry, task->rows[k].entry);
        }
        assert_int_equal(task->targets_n, was.targets_n);
        for (int i = 0; i < was.targets_n; i++) {
            char host[80];
            memcpy(host, hosts[i], sizeof host);
            memset(hosts[i], 'x', sizeof hosts[i] - 1);
            assert_string_equal(task->targets[i].host, host);
            assert_memory_equal(&task->targets[i].address, &was.targets[i].address,
                                sizeof was.targets[i].address);
        }
        for (int i = 0; i < task->rows_n; i++)
            flight_give_back(flight, task->rows[i].entry);
        free(task); /* one piece: ASan tells if not */
        assert_int_equal(flight_free_entries(flight), FLIGHT_ENTRIES);
    }
    flight_close(flight);
    unlink(path);
}

static void test_bare_tasks(void **state)
{
    (void)state;
    for (int kind = TASK_RECALL; kind <= TASK_END; kind++) {
        struct task *task = task_create((enum task_kind)kind);
        assert_int_equal(task->kind, kind);
        assert_int_equal(task->rows_n, 0);
        assert_int_equal(task->targets_n, 0);
        free(task);
    }
}

/* ---- reports ---- */

/* The same random event each time from the same generator. */
static struct event make_event(struct rng *rng, char *memory, struct event_texts *texts)
{
    struct event e = {
        .kind = (enum event_kind)rng_below(rng, EVENT_EPILOGUE + 1),
        .connection = rng_below(rng, 65536),
        .lent = {rng_below(rng, 1u << 31), rng_below(rng, FLIGHT_ENTRIES)},
        .target = (int)rng_below(rng, 6) - 1,
        .reused = rng_below(rng, 2),
        .verdict = {.code = (int)rng_below(rng, 900)},
        .dns_us = (int32_t)rng_below(rng, 1u << 30),
    };
    for (int i = 0; i < EVENT_TEXTS; i++) {
        size_t n = rng_below(rng, 4) ? rng_below(rng, 80) : rng_below(rng, TEXT_MAX);
        memset(memory, 'a' + (int)rng_below(rng, 26), n);
        texts->text[i] = (struct span){memory, n};
        memory += n;
    }
    return e;
}

static void test_report_keeps_all(void **state)
{
    (void)state;
    static char memory[EVENT_TEXTS * TEXT_MAX];
    struct report *report = NULL;
    struct rng rng = {11};
    struct event_texts texts;
    for (int i = 0; i < EVENTS; i++) {
        struct event e = make_event(&rng, memory, &texts);
        report_add(&report, &e, i % 10 ? &texts : NULL);
    }
    memset(memory, 0, sizeof memory);
    rng = (struct rng){11};
    int seen = 0;
    for (const struct event *e = NULL; (e = report_next(report, e)); seen++) {
        struct event was = make_event(&rng, memory, &texts);
        assert_int_equal((uintptr_t)e % _Alignof(struct event), 0);
        assert_int_equal(e->kind, was.kind);
        assert_int_equal(e->connection, was.connection);
        assert_int_equal(e->lent.row, was.lent.row);
        assert_int_equal(e->lent.entry, was.lent.entry);
        assert_int_equal(e->target, was.target);
        assert_int_equal(e->reused, was.reused);
        assert_int_equal(e->verdict.code, was.verdict.code);
        assert_int_equal(e->dns_us, was.dns_us);
        for (int i = 0; i < EVENT_TEXTS; i++) {
            struct span text = event_text(e, (enum event_text)i);
            assert_int_equal(text.n, seen % 10 ? texts.text[i].n : 0);
            if (text.n)
                assert_memory_equal(text.p, texts.text[i].p, text.n);
        }
    }
    assert_int_equal(seen, EVENTS);
    free(report);
}

/* The longest texts that an event can have do not disturb the next one. */
static void test_report_longest_text(void **state)
{
    (void)state;
    struct report *report = NULL;
    char *text = mem_alloc(UINT16_MAX);
    memset(text, 'x', UINT16_MAX);
    struct event first = {.connection = 1}, second = {.connection = 2};
    struct event_texts texts;
    for (int i = 0; i < EVENT_TEXTS; i++)
        texts.text[i] = (struct span){text, UINT16_MAX};
    report_add(&report, &first, &texts);
    report_add(&report, &second, NULL);
    const struct event *e = report_next(report, NULL);
    for (int i = 0; i < EVENT_TEXTS; i++) {
        assert_int_equal(event_text(e, (enum event_text)i).n, UINT16_MAX);
        assert_memory_equal(event_text(e, (enum event_text)i).p, text, UINT16_MAX);
    }
    e = report_next(report, e);
    assert_int_equal(e->connection, 2);
    assert_int_equal(event_text(e, EVENT_WORDS).n, 0);
    assert_null(report_next(report, e));
    free(text);
    free(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task_has_its_own_copy),
        cmocka_unit_test(test_bare_tasks),
        cmocka_unit_test(test_report_keeps_all),
        cmocka_unit_test(test_report_longest_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
