/* queue/scheduler, where recipients share messages: what is counted in messages is, and
 * a worker folds rows as the scheduler reckons. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "tests/unit/queue_world.h"

/* ---- one site for all domains ---- */

static void resolve_together(struct world *w)
{
    uint32_t domain;
    struct ip ip;
    ip_parse("192.0.2.1", &ip);
    while ((domain = scheduler_ask(w->s)) != RECIPIENTS_NO_DOMAIN) {
        struct mx_host host = {.name = "mx.all", .addresses_n = 1, .addresses = &ip};
        struct mx_set model = {.site = "mx.all",
                               .key = "mx.all",
                               .hosts = &host,
                               .hosts_n = 1,
                               .expires_us = INT64_MAX};
        scheduler_resolved(w->s, domain, mx_set_copy(&model), w->now);
    }
}

static void turn(struct world *w)
{
    scheduler_advance(w->s, w->now);
    resolve_together(w);
    take_orders(w);
}

/* The next message of a connection, as engine/messages.c folds it; how many rows. */
static int send_message(struct world *w, uint32_t number, int together,
                        struct settlement what)
{
    struct lane *lane = &w->lanes[number];
    if (!lane->open || lane->n == 0)
        return 0;
    uint32_t domain = recipients_domain(w->list, lane->rows[0]);
    int n = 1;
    while (n < together && n < lane->n &&
           recipients_domain(w->list, lane->rows[n]) == domain)
        n++;
    for (int i = 0; i < n; i++) {
        what.joined = i > 0;
        assert_true(settle(w, number, what));
    }
    return n;
}

/* All that may be sent now, and nothing is lent for long; how many messages. */
static int send_all(struct world *w, int together)
{
    int messages = 0;
    for (bool more = true; more;) {
        more = false;
        turn(w);
        for (uint32_t i = 0; i < CONNECTIONS; i++)
            if (send_message(w, i, together, good)) {
                messages++;
                more = true;
            }
    }
    return messages;
}

/* ---- warm-up ---- */

enum { CAP = 10 };
static const uint8_t one[] = {1};

static uint32_t allow(void *drawn, uint8_t source, uint32_t policy, const char *site,
                      int64_t now_us, int64_t *until_us)
{
    (void)source, (void)policy, (void)site;
    *until_us = now_us + 60 * minute_us;
    uint32_t left = CAP - *(uint32_t *)drawn, n = left < 3 ? left : 3;
    *(uint32_t *)drawn += n;
    return n;
}

static void begin_warm(struct world *w, uint32_t *drawn, int rows, int domains)
{
    struct scheduler_policy policy = {
        .connections = 3, .recipients = 5, .sources = one, .sources_n = 1};
    begin(w, rows, domains, policy);
    scheduler_destroy(w->s);
    *drawn = 0;
    struct scheduler_params params = {.list = w->list,
                                      .policy = whole_life(policy),
                                      .connections_total = CONNECTIONS,
                                      .sources_n = 1,
                                      .seed = 1,
                                      .now_us = w->now,
                                      .allow = allow,
                                      .allow_arg = drawn};
    w->s = scheduler_create(&params);
}

static void a_cap_is_of_messages(void **state)
{
    (void)state;
    struct world w;
    uint32_t drawn;
    begin_warm(&w, &drawn, 100, 1);
    assert_int_equal(send_all(&w, 5), CAP);
    assert_in_range(w.delivered, 40, 50); /* first leases are small */
    finish(&w);
    begin_warm(&w, &drawn, 100, 100); /* nobody has one of his own to join */
    assert_int_equal(send_all(&w, 5), CAP);
    assert_int_equal(w.delivered, CAP);
    finish(&w);
}

/* What comes back was not sent, but for a message that we broke off. */
static void what_comes_back_is_allowed_again(void **state)
{
    (void)state;
    struct world w;
    uint32_t drawn;
    begin_warm(&w, &drawn, 100, 1);
    for (int i = 0; i < 30; i++) {
        turn(&w);
        for (uint32_t k = 0; k < CONNECTIONS; k++)
            if (w.lanes[k].open)
                end_lane(&w, k, CLOSED_CLEAN);
    }
    turn(&w);
    scheduler_spent(w.s, 0);
    end_lane(&w, 0, CLOSED_CLEAN);
    assert_int_equal(send_all(&w, 5), CAP - 1);
    finish(&w);
}

/* Also when it was the last of the day, and others have been told so. */
static void the_last_of_a_day_comes_back(void **state)
{
    (void)state;
    struct world w;
    uint32_t drawn;
    begin_warm(&w, &drawn, 100, 100); /* one row a message */
    int sent = 0;
    while (sent < CAP / 2) {
        turn(&w);
        sent += send_message(&w, 0, 5, good) > 0;
    }
    while (drawn < CAP || (view(&w).lacks & LACK_WARMUP) == 0) {
        turn(&w);
        for (uint32_t i = 1; i < CONNECTIONS; i++)
            if (w.lanes[i].open && w.lanes[i].n > 1 && drawn < CAP)
                sent += send_message(&w, i, 5, good) > 0;
    }
    assert_in_range(sent, CAP / 2, CAP - 1);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (w.lanes[i].open)
            end_lane(&w, i, CLOSED_CLEAN);
    assert_int_equal(sent + send_all(&w, 5), CAP);
    finish(&w);
}

/* A worker that makes more messages of it than we reckoned with takes them from what
 * is left. */
static void more_messages_than_reckoned(void **state)
{
    (void)state;
    struct world w;
    uint32_t drawn;
    begin_warm(&w, &drawn, 100, 1);
    /* What was on its way when the cap was reached, and not five for each. */
    assert_in_range(send_all(&w, 1), CAP, 4 * CAP);
    finish(&w);
}

/* ---- limits of a connection, rates, refusals ---- */

static void a_silent_limit_is_of_messages(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 400, 1, (struct scheduler_policy){.connections = 1, .recipients = 4});
    for (int round = 0; round < 2; round++) {
        turn(&w);
        for (int i = 0; i < 3; i++) {
            assert_true(send_message(&w, 0, 4, good) > 0);
            turn(&w);
        }
        end_lane(&w, 0, CLOSED_ENOUGH);
    }
    static struct order o;
    assert_int_equal(scheduler_next(w.s, &o, w.now), ORDER_OPEN);
    assert_int_equal(o.messages, 2);
    for (int i = 0; i < o.rows_n; i++)
        scheduler_settle(w.s, o.connection, o.rows[i], &good, w.now);
    scheduler_closed(w.s, o.connection, CLOSED_CLEAN, false, w.now);
    finish(&w);
}

/* A token is for what is one message, and no more is lent for it. */
static void a_token_is_for_a_message(void **state)
{
    (void)state;
    struct world w;
    for (int domains = 1; domains <= 100; domains += 99) {
        begin(&w, 100, domains,
              (struct scheduler_policy){
                  .connections = 5, .recipients = 20, .message_rate = 3600});
        turn(&w);
        int rows = 0;
        for (uint32_t i = 0; i < CONNECTIONS; i++)
            rows += w.lanes[i].open ? w.lanes[i].n : 0;
        assert_int_equal(rows, domains == 1 ? 20 : 1);
        turn(&w);
        assert_int_equal(w.open, 1);
        finish(&w);
    }
}

/* Twenty rows that wait for the turn of their one message are no stalled lease. */
static void a_message_may_wait_for_its_turn(void **state)
{
    (void)state;
    static struct order o;
    struct world w;
    begin(&w, 100, 1,
          (struct scheduler_policy){
              .connections = 1, .recipients = 20, .message_rate = 60});
    turn(&w);
    assert_int_equal(w.lanes[0].n, 20);
    w.now += minute_us;
    assert_false(scheduler_recall(w.s, &o, w.now));
    finish(&w);
}

/* One message, refused to twenty, is one refusal: twenty of those close a path. */
static void a_message_is_refused_once(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000, 1, (struct scheduler_policy){.connections = 1, .recipients = 20});
    int messages = 0;
    for (turn(&w); w.open && messages < 100; turn(&w))
        messages += send_message(&w, 0, 20, refused) > 0;
    assert_int_equal(messages, 20);
    finish(&w);
}

/* One message, taken for twenty, is one of those that open the way back by one more
 * connection; also when the first of the twenty is unknown. */
static void a_message_is_brought_through_once(void **state)
{
    (void)state;
    static const struct settlement gone = {
        .outcome = OUTCOME_ABSENT, .counted = true, .worked = true, .absent = true};
    for (int absent = 0; absent <= 1; absent++) {
        struct world w;
        struct suspension pause = {.reach = REACH_PATH,
                                   .for_us = minute_us,
                                   .connections = 1,
                                   .why = "slower"};
        begin(&w, 1000, 1,
              (struct scheduler_policy){
                  .connections = 9, .recipients = 20, .message_rate = 36000});
        turn(&w);
        scheduler_suspend(w.s, 0, &pause, w.now);
        turn(&w); /* it is told to end */
        w.now += minute_us;
        int messages = 0;
        for (turn(&w); w.open == 1 && messages < 30; turn(&w)) {
            uint32_t open = 0;
            while (!w.lanes[open].open)
                open++;
            for (int i = 0, n = w.lanes[open].n; i < n; i++) {
                struct settlement what = i == 0 && absent ? gone : good;
                what.joined = i > 0;
                assert_true(settle(&w, open, what));
            }
            messages++;
            w.now += SECOND_US;
        }
        assert_int_equal(messages, 5);
        finish(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cap_is_of_messages),
        cmocka_unit_test(what_comes_back_is_allowed_again),
        cmocka_unit_test(the_last_of_a_day_comes_back),
        cmocka_unit_test(more_messages_than_reckoned),
        cmocka_unit_test(a_silent_limit_is_of_messages),
        cmocka_unit_test(a_token_is_for_a_message),
        cmocka_unit_test(a_message_may_wait_for_its_turn),
        cmocka_unit_test(a_message_is_refused_once),
        cmocka_unit_test(a_message_is_brought_through_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
