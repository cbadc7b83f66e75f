/* The one place where threads meet: nothing is lost, nothing overtakes, nothing leaks.
 * Made for TSan and ASan as much as for its own checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/mailbox.h"

enum { SENDERS = 4, LETTERS = 20000, BOUNCES = 5000 };

struct letter {
    struct mail mail;
    int sender;
    int number;
};

static void post_letter(struct mailbox *to, int sender, int number)
{
    struct letter *letter = mem_alloc(sizeof *letter);
    *letter = (struct letter){.sender = sender, .number = number};
    mailbox_post(to, &letter->mail);
}

/* ---- one thread ---- */

struct reader {
    struct mailbox box;
    int got[SENDERS]; /* letters of each sender so far */
    int all, stop_at, wrong;
    int answers; /* posted to itself while it reads */
};

static void read_letter(void *owner, struct mail *mail)
{
    struct reader *r = owner;
    struct letter *letter = (struct letter *)(void *)mail;
    r->wrong += letter->number != r->got[letter->sender];
    r->got[letter->sender]++;
    if (r->answers > 0) {
        r->answers--;
        post_letter(&r->box, letter->sender, letter->number + 1);
    }
    if (++r->all == r->stop_at)
        mailbox_close(&r->box);
    free(letter);
}

static void test_in_order_on_one_loop(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct reader r = {.stop_at = LETTERS};
    assert_int_equal(uv_loop_init(&loop), 0);
    mailbox_init(&r.box, &loop, read_letter, &r);
    for (int i = 0; i < LETTERS; i++)
        post_letter(&r.box, i % SENDERS, i / SENDERS);
    assert_int_equal(r.all, 0); /* not delivered behind the owner's back */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(r.all, LETTERS);
    assert_int_equal(r.wrong, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* What is posted while mail is being delivered comes in the next turn, not never. */
static void test_posting_while_reading(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct reader r = {.stop_at = 2, .answers = 1};
    assert_int_equal(uv_loop_init(&loop), 0);
    mailbox_init(&r.box, &loop, read_letter, &r);
    post_letter(&r.box, 0, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(r.all, 2);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* Mail that nobody reads any more is freed with the box (ASan would tell). */
static void test_closed_with_mail_inside(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct reader r = {0};
    assert_int_equal(uv_loop_init(&loop), 0);
    mailbox_init(&r.box, &loop, read_letter, &r);
    for (int i = 0; i < 3; i++)
        post_letter(&r.box, 0, i);
    mailbox_close(&r.box);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(r.all, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- threads ---- */

struct sender {
    uv_thread_t thread;
    struct mailbox *to;
    int number;
};

static void send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++)
        post_letter(s->to, s->number, i);
}

static void test_many_senders(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct reader r = {.stop_at = SENDERS * LETTERS};
    struct sender senders[SENDERS];
    assert_int_equal(uv_loop_init(&loop), 0);
    mailbox_init(&r.box, &loop, read_letter, &r);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].to = &r.box;
        senders[i].number = i;
        assert_int_equal(uv_thread_create(&senders[i].thread, send_all, &senders[i]),
                         0);
    }
    uv_run(&loop, UV_RUN_DEFAULT); /* ends when the last letter closed the box */
    for (int i = 0; i < SENDERS; i++) {
        uv_thread_join(&senders[i].thread);
        assert_int_equal(r.got[i], LETTERS);
    }
    assert_int_equal(r.wrong, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* As scheduler and worker have it: each on its loop, the same piece of mail goes to and
 * fro, and what it holds is its holder's alone. The last one closes the worker's box,
 * and the worker's thread ends by itself. */
struct side {
    uv_loop_t loop;
    uv_thread_t thread;
    struct mailbox box;
    struct side *other;
    int seen;
};

static void bounce(void *owner, struct mail *mail)
{
    struct side *side = owner;
    struct letter *letter = (struct letter *)(void *)mail;
    side->seen++;
    if (letter->number == BOUNCES) {
        free(letter);
        mailbox_close(&side->box);
        return;
    }
    letter->number++;
    bool last = letter->number == BOUNCES;
    mailbox_post(&side->other->box, mail);
    if (last)
        mailbox_close(&side->box);
}

static void run_side(void *arg)
{
    struct side *side = arg;
    uv_run(&side->loop, UV_RUN_DEFAULT);
}

static void test_to_and_fro(void **state)
{
    (void)state;
    struct side sides[2] = {{.other = &sides[1]}, {.other = &sides[0]}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(uv_loop_init(&sides[i].loop), 0);
        mailbox_init(&sides[i].box, &sides[i].loop, bounce, &sides[i]);
    }
    post_letter(&sides[0].box, 0, 0);
    assert_int_equal(uv_thread_create(&sides[1].thread, run_side, &sides[1]), 0);
    uv_run(&sides[0].loop, UV_RUN_DEFAULT);
    uv_thread_join(&sides[1].thread);
    assert_int_equal(sides[0].seen + sides[1].seen, BOUNCES + 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(uv_loop_close(&sides[i].loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order_on_one_loop),
        cmocka_unit_test(test_posting_while_reading),
        cmocka_unit_test(test_closed_with_mail_inside),
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_to_and_fro),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
