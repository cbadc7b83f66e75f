/* queue/board: places and slots, as several processes have them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "queue/board.h"
#include "tests/unit/queue_spool.h"

#define SECOND_US INT64_C(1000000)
static const char boot[] = "a boot", other_boot[] = "another";
static const int64_t now_us = 1000 * SECOND_US;
static struct board_now now = {1000 * SECOND_US, 5000 * SECOND_US};

enum { KEY = 77 };

static struct board *join(void)
{
    struct fault f = {0};
    bool full;
    struct board *b = board_join(job, boot, now, &full, &f);
    if (!b)
        fail_msg("%s", f.words);
    return b;
}

static uint32_t jobs(struct board *b)
{
    uint32_t before;
    return board_jobs(b, &before);
}

/* A process of its own that takes a place, and does what it is told to. */
static pid_t start(void (*work)(struct board *b))
{
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct fault f = {0};
        bool full;
        struct board *b = board_join(job, boot, now, &full, &f);
        if (!b)
            _exit(1);
        work(b);
        if (write(ready[1], "j", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- places ---- */

static void jobs_are_counted_in_an_order(void **state)
{
    (void)state;
    struct stat st;
    char path[80];
    uint32_t before;
    snprintf(path, sizeof path, "%s/.running", spool);
    assert_int_equal(board_look(spool), 0);
    assert_int_equal(stat(path, &st), -1); /* who looks makes nothing */
    struct board *a = join(), *b = join(), *c = join();
    assert_int_equal(board_jobs(a, &before), 3);
    assert_int_equal(before, 0);
    assert_int_equal(board_jobs(c, &before), 3);
    assert_int_equal(before, 2);
    assert_int_equal(board_look(spool), 3);
    board_leave(a);
    assert_int_equal(board_jobs(c, &before), 2);
    assert_int_equal(before, 1);
    a = join(); /* has the first place again */
    assert_int_equal(board_jobs(a, &before), 3);
    assert_int_equal(before, 0);
    board_leave(b);
    board_leave(c);
    assert_int_equal(jobs(a), 1);
    board_leave(a);
    board_leave(NULL);
    assert_int_equal(board_look(spool), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* One too many is not seen. */
static void only_so_many_have_a_place(void **state)
{
    (void)state;
    struct board *all[BOARD_JOBS_MAX];
    struct fault f = {0};
    bool full;
    for (int i = 0; i < BOARD_JOBS_MAX; i++)
        all[i] = join();
    assert_null(board_join(job, boot, now, &full, &f));
    assert_true(full);
    assert_int_equal(f.code, -20);
    assert_string_equal(f.words, "more than 32 jobs of this spool run");
    assert_int_equal(jobs(all[7]), BOARD_JOBS_MAX);
    for (int i = 0; i < BOARD_JOBS_MAX; i++)
        board_leave(all[i]);
}

static void a_file_that_cannot_be_had_is_told(void **state)
{
    (void)state;
    struct fault f = {0};
    bool full;
    char path[80];
    snprintf(path, sizeof path, "%s/.running", spool);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(board_join(job, boot, now, &full, &f));
    assert_false(full);
    assert_int_equal(f.code, -20);
    assert_string_equal(f.words,
                        "cannot use \".running\" of the spool: Is a directory");
}

/* Whoever may write into the spool must not have us write into something else. */
static void a_file_with_another_name_is_refused(void **state)
{
    (void)state;
    struct fault f = {0};
    bool full;
    char path[80], other[80];
    struct stat st;
    snprintf(path, sizeof path, "%s/.running", spool);
    snprintf(other, sizeof other, "%s/precious", spool);
    close(open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(link(other, path), 0);
    assert_null(board_join(job, boot, now, &full, &f));
    assert_string_equal(f.words,
                        "cannot use \".running\" of the spool: Too many links");
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_size, 0);
}

/* So that its owner can use it as well. */
static void a_file_that_root_makes_is_the_spools_owners(void **state)
{
    (void)state;
    struct stat st;
    char path[80];
    snprintf(path, sizeof path, "%s/.running", spool);
    if (geteuid() != 0 || chown(spool, 4711, 4712) != 0)
        skip();
    board_leave(join());
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 4711);
    assert_int_equal(st.st_gid, 4712);
}

static void a_file_that_was_deleted_is_noticed(void **state)
{
    (void)state;
    char path[80];
    snprintf(path, sizeof path, "%s/.running", spool);
    struct board *b = join();
    assert_false(board_is_gone(b));
    assert_int_equal(unlink(path), 0);
    assert_true(board_is_gone(b));
    board_leave(b);
}

/* Those that begin at the same moment, as after a start of the machine, all have one,
 * and on the clock of this boot. */
static void all_that_begin_at_once_have_a_place(void **state)
{
    (void)state;
    enum { ROUNDS = 20, AT_ONCE = 8 };
    struct board_now later = {20 * SECOND_US, now.wall_us + 60 * SECOND_US};
    struct fault f = {0};
    bool full;
    char path[80];
    snprintf(path, sizeof path, "%s/.running", spool);
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 2) { /* the file is of an earlier boot, or there is none */
            struct board *b = join();
            board_take(b, KEY, now_us)->closed_until_us = now_us + SECOND_US;
            board_leave(b);
        }
        int go[2];
        pid_t pids[AT_ONCE];
        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        for (int i = 0; i < AT_ONCE; i++) {
            pids[i] = fork();
            if (pids[i])
                continue;
            char byte;
            close(go[1]);
            if (read(go[0], &byte, 1) != 0) /* until it is closed */
                _exit(3);
            struct board *b = board_join(job, other_boot, later, &full, &f);
            struct board_slot *slot = b ? board_take(b, KEY, later.us) : NULL;
            _exit(!slot ? 1 : slot->closed_until_us > later.us ? 2 : 0);
        }
        close(go[0]);
        close(go[1]);
        for (int i = 0; i < AT_ONCE; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        assert_int_equal(unlink(path), 0);
    }
}

/* ---- connections ---- */

static struct sharing shared(struct board *b, struct board_slot *slot, int64_t at_us)
{
    struct limits limits = {.connections = 10};
    return board_share(b, slot, &limits, at_us);
}

static void open_two(struct board *b)
{
    struct board_slot *slot = board_take(b, KEY, now_us);
    if (!board_open(b, slot, 3, now_us) || !board_open(b, slot, 3, now_us))
        _exit(1);
}

static void all_jobs_together_have_so_many(void **state)
{
    (void)state;
    pid_t other = start(open_two);
    struct board *b = join();
    struct board_slot *slot = board_take(b, KEY, now_us);
    assert_int_equal(board_connections(b, slot), 2);
    assert_true(board_open(b, slot, 3, now_us));
    assert_false(board_open(b, slot, 3, now_us));
    assert_int_equal(board_connections(b, slot), 3);
    board_close(b, slot);
    assert_int_equal(board_connections(b, slot), 2);
    struct sharing share = shared(b, slot, now_us);
    assert_int_equal(share.jobs, 2);
    assert_int_equal(share.before, 1);
    /* The dead have nothing open, as soon as somebody looks. */
    end(other);
    assert_int_equal(jobs(b), 1);
    assert_int_equal(board_connections(b, slot), 0);
    board_leave(b);
}

/* While somebody changes slots the dead cannot lose theirs; they count as long as their
 * connections do. */
static void the_dead_count_as_long_as_their_connections(void **state)
{
    (void)state;
    pid_t other = start(open_two);
    struct board *b = join();
    struct board_slot *slot = board_take(b, KEY, now_us);
    char path[80];
    snprintf(path, sizeof path, "%s/.running", spool);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock pen = {.l_type = F_WRLCK, .l_start = BOARD_JOBS_MAX, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &pen), 0);
    end(other);
    assert_int_equal(jobs(b), 2);
    assert_int_equal(board_connections(b, slot), 2);
    assert_null(board_take(b, KEY, now_us));
    close(fd);
    assert_int_equal(jobs(b), 1);
    assert_int_equal(board_connections(b, slot), 0);
    assert_ptr_equal(board_take(b, KEY, now_us), slot);
    board_leave(b);
}

/* Who takes the place of a dead one does not have what that had. */
static void a_place_is_taken_over_empty(void **state)
{
    (void)state;
    struct board *b = join(); /* so that the next is not alone */
    end(start(open_two));
    struct board *c = join();
    struct board_slot *slot = board_take(b, KEY, now_us);
    assert_int_equal(board_connections(b, slot), 0);
    assert_int_equal(jobs(b), 2);
    board_leave(c);
    board_leave(b);
}

/* It has its place as long as its process is there; but who waits for its connections
 * does not do so for ever. */
static void a_job_that_was_stopped_blocks_nobody_for_ever(void **state)
{
    (void)state;
    const int64_t minute_us = 60 * SECOND_US;
    struct board *a = join(), *b = join();
    struct board_slot *slot = board_take(a, KEY, now_us);
    shared(a, slot, now_us);
    assert_true(board_open(a, slot, 1, now_us));
    assert_false(board_open(b, slot, 1, now_us + 29 * minute_us));
    assert_false(board_open(b, slot, 1, now_us - SECOND_US)); /* its turn began then */
    assert_true(board_open(b, slot, 1, now_us + 31 * minute_us));
    assert_int_equal(board_connections(b, slot), 2);
    board_close(b, slot);
    shared(a, slot, now_us + 32 * minute_us); /* it goes on */
    assert_false(board_open(b, slot, 1, now_us + 32 * minute_us));
    board_close(a, slot);
    assert_true(board_open(b, slot, 1, now_us + 32 * minute_us));
    board_close(b, slot);
    board_leave(a);
    board_leave(b);
}

/* Without connections one is counted as long as one wants them. */
static void those_who_want_share(void **state)
{
    (void)state;
    struct board *a = join(), *b = join();
    struct board_slot *slot = board_take(a, KEY, now_us);
    assert_ptr_equal(board_take(a, KEY, now_us), slot);
    struct board_slot *same = board_take(b, KEY, now_us);
    assert_int_equal(shared(a, slot, now_us).jobs, 1);
    assert_int_equal(shared(b, same, now_us).jobs, 2);
    assert_int_equal(shared(a, slot, now_us).jobs, 2);
    assert_int_equal(shared(b, same, now_us + 4 * SECOND_US).jobs, 1);
    assert_int_equal(shared(a, slot, now_us).turn + 1,
                     shared(a, slot, now_us + 30 * SECOND_US).turn);
    board_leave(a);
    board_leave(b);
}

/* Of jobs whose settings differ the least holds, as long as its job sends. */
static void the_least_holds_for_all(void **state)
{
    (void)state;
    struct board *a = join(), *b = join();
    struct board_slot *slot = board_take(a, KEY, now_us);
    const struct limits bold = {20, 0, 7200}, shy = {2, 600, 36000};
    struct limits mine = bold, yours = shy;
    board_share(a, slot, &mine, now_us);
    assert_memory_equal(&mine, &bold, sizeof bold);
    board_share(b, slot, &yours, now_us);
    mine = bold;
    board_share(a, slot, &mine, now_us + SECOND_US);
    for (int i = 0; i < 2; i++) {
        const struct limits *l = i ? &mine : &yours;
        assert_int_equal(l->connections, 2);
        assert_int_equal(l->message_rate, 600);
        assert_int_equal(l->connection_rate, 7200);
    }
    mine = bold;
    board_share(a, slot, &mine,
                now_us + 500 * SECOND_US); /* it may wait for its rate */
    assert_int_equal(mine.message_rate, 600);
    mine = bold;
    board_share(a, slot, &mine, now_us + 700 * SECOND_US);
    assert_memory_equal(&mine, &bold, sizeof bold);
    yours = shy;
    board_share(b, slot, &yours, now_us + 700 * SECOND_US);
    board_leave(b); /* who ends says nothing any more */
    board_share(a, slot, &mine, now_us + 701 * SECOND_US);
    assert_memory_equal(&mine, &bold, sizeof bold);
    board_leave(a);
}

/* ---- words ---- */

static void tell(struct board *b, struct board_slot *slot, int64_t until_us,
                 uint32_t allowed, const char *why)
{
    struct board_word word = {.closed_until_us = until_us, .allowed = allowed};
    snprintf(word.why, sizeof word.why, "%s", why);
    board_tell(b, slot, &word, now_us);
}

static void what_one_was_told_goes_for_all(void **state)
{
    (void)state;
    struct board *a = join(), *b = join();
    struct board_slot *mine = board_take(a, KEY, now_us);
    struct board_slot *yours = board_take(b, KEY, now_us);
    struct board_word word;
    uint32_t told = board_told(b);
    board_hear(b, yours, &word);
    assert_int_equal(word.allowed, UINT32_MAX);
    assert_true(word.closed_until_us <= now_us);
    tell(a, mine, now_us + 600 * SECOND_US, 1, "rule 4.7.28");
    assert_int_not_equal(board_told(b), told);
    board_hear(b, yours, &word);
    assert_int_equal(word.closed_until_us, now_us + 600 * SECOND_US);
    assert_int_equal(word.allowed, 1);
    assert_string_equal(word.why, "rule 4.7.28");
    /* What has no room is cut between characters. */
    char why[BOARD_WHY_MAX + 1];
    memset(why, 'x', sizeof why);
    memcpy(why + BOARD_WHY_MAX - 3, "\xe9\xa3\x9b", 4); /* it would end one too late */
    struct board_word cut = {.closed_until_us = now_us + 600 * SECOND_US, .allowed = 1};
    utf8_copy(cut.why, sizeof cut.why, why);
    assert_int_equal(strlen(cut.why), BOARD_WHY_MAX - 3);
    /* A word that is older takes nothing of it back. */
    tell(b, yours, now_us - 1, 5, "long ago");
    board_hear(a, mine, &word);
    assert_int_equal(word.closed_until_us, now_us + 600 * SECOND_US);
    assert_int_equal(word.allowed, 1);
    assert_string_equal(word.why, "rule 4.7.28");
    board_leave(a);
    board_leave(b);
}

/* One job's success is no answer to what another was told a moment later. */
static void success_takes_back_no_word(void **state)
{
    (void)state;
    struct board *a = join(), *b = join();
    struct board_slot *slot = board_take(a, KEY, now_us);
    struct board_word word;
    uint32_t told;
    tell(a, slot, now_us, 4, "half of it");
    told = board_told(b);
    assert_true(board_widen(b, slot, 4, 5, now_us));
    assert_int_not_equal(board_told(b), told);
    tell(a, slot, now_us, 2, "half again");
    assert_false(board_widen(b, slot, 5, 6, now_us));
    board_hear(a, slot, &word);
    assert_int_equal(word.allowed, 2);
    tell(a, slot, now_us + SECOND_US, 2, "closed");
    assert_false(board_widen(b, slot, 2, 3, now_us));
    assert_true(board_widen(b, slot, 2, 3, now_us + SECOND_US));
    board_leave(a);
    board_leave(b);
}

static void wide_words(void **state)
{
    (void)state;
    struct board *a = join(), *b = join();
    struct board_word word;
    assert_false(board_hear_wide(b, 5, now_us, &word));
    board_tell_wide(a, 5, now_us + 60 * SECOND_US, "a source", now_us);
    board_tell_wide(b, 5, now_us + 30 * SECOND_US, "less", now_us);
    assert_true(board_hear_wide(b, 5, now_us, &word));
    assert_int_equal(word.closed_until_us, now_us + 60 * SECOND_US);
    assert_string_equal(word.why, "a source");
    assert_false(board_hear_wide(b, 6, now_us, &word));
    assert_false(board_hear_wide(b, 5, now_us + 60 * SECOND_US, &word));
    board_leave(a);
    board_leave(b);
}

/* ---- what outlives its jobs ---- */

static void words_and_clocks_outlive_jobs(void **state)
{
    (void)state;
    struct board *b = join();
    struct board_slot *slot = board_take(b, KEY, now_us);
    tell(b, slot, now_us + 600 * SECOND_US, 1, "silence");
    slot->mails.full_ns = (now_us + 60 * SECOND_US) * 1000;
    assert_true(board_open(b, slot, 1, now_us));
    board_close(b, slot);
    board_leave(b);
    b = join();
    slot = board_take(b, KEY, now_us);
    struct board_word word;
    board_hear(b, slot, &word);
    assert_int_equal(word.closed_until_us, now_us + 600 * SECOND_US);
    assert_string_equal(word.why, "silence");
    assert_int_equal(slot->mails.full_ns, (now_us + 60 * SECOND_US) * 1000);
    board_leave(b);
}

/* The machine's clock begins anew, the wall's goes on. */
static void after_a_start_of_the_machine_times_are_moved(void **state)
{
    (void)state;
    struct fault f = {0};
    bool full;
    struct board *b = join();
    struct board_slot *slot = board_take(b, KEY, now_us);
    tell(b, slot, now_us + 600 * SECOND_US, 1, "silence");
    slot->mails.full_ns = (now_us + 60 * SECOND_US) * 1000;
    slot->connects.full_ns = (now_us - 60 * SECOND_US) * 1000;
    board_tell_wide(b, 5, now_us + 100 * SECOND_US, "a source", now_us);
    board_leave(b);
    struct board_now later = {20 * SECOND_US, now.wall_us + 40 * SECOND_US};
    b = board_join(job, other_boot, later, &full, &f);
    assert_non_null(b);
    slot = board_take(b, KEY, later.us);
    struct board_word word;
    board_hear(b, slot, &word);
    assert_int_equal(word.closed_until_us, later.us + 560 * SECOND_US);
    assert_int_equal(slot->mails.full_ns, (later.us + 20 * SECOND_US) * 1000);
    assert_int_equal(slot->connects.full_ns, 0);
    assert_true(board_hear_wide(b, 5, later.us + 59 * SECOND_US, &word));
    assert_int_equal(word.closed_until_us, later.us + 60 * SECOND_US);
    assert_false(board_hear_wide(b, 5, later.us + 60 * SECOND_US, &word));
    board_leave(b);
}

/* The wall clock went back, as on a machine that has none of its own until somebody
 * tells it: then no time has passed. What was over is not to come again. */
static void a_wall_clock_that_went_back_closes_nothing(void **state)
{
    (void)state;
    struct fault f = {0};
    bool full;
    struct board_word word;
    struct board *b = join();
    struct board_slot *slot = board_take(b, KEY, now_us);
    tell(b, slot, now_us - 5 * SECOND_US, UINT32_MAX, "over");
    slot->mails.full_ns = slot->connects.full_ns = (now_us - SECOND_US) * 1000;
    slot = board_take(b, KEY + 1, now_us);
    tell(b, slot, now_us + 600 * SECOND_US, 1, "silence");
    slot->mails.full_ns = (now_us + 60 * SECOND_US) * 1000;
    board_take(b, KEY, now_us + 20 * SECOND_US);
    board_leave(b);
    struct board_now earlier = {20 * SECOND_US, 1000 * SECOND_US};
    b = board_join(job, other_boot, earlier, &full, &f);
    assert_non_null(b);
    slot = board_take(b, KEY, earlier.us);
    board_hear(b, slot, &word);
    assert_true(word.closed_until_us <= earlier.us);
    assert_int_equal(slot->mails.full_ns, 0);
    assert_int_equal(slot->connects.full_ns, 0);
    slot = board_take(b, KEY + 1, earlier.us);
    board_hear(b, slot, &word);
    assert_int_equal(word.closed_until_us, earlier.us + 580 * SECOND_US);
    assert_int_equal(slot->mails.full_ns, (earlier.us + 40 * SECOND_US) * 1000);
    board_leave(b);
}

/* Whatever lies there. */
static void a_strange_file_is_begun_anew(void **state)
{
    (void)state;
    char path[80];
    snprintf(path, sizeof path, "%s/.running", spool);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 100000; i++)
        fputs("\xff\x7f rubbish", file);
    fclose(file);
    struct board *b = join();
    struct board_slot *slot = board_take(b, KEY, now_us);
    struct board_word word;
    assert_non_null(slot);
    board_hear(b, slot, &word);
    assert_int_equal(word.allowed, UINT32_MAX);
    assert_int_equal(board_connections(b, slot), 0);
    board_leave(b);
}

/* ---- room ---- */

/* Slots that say nothing any more are anybody's; those in use are not. */
static void slots_are_used_again(void **state)
{
    (void)state;
    struct board *b = join();
    struct board_slot *kept = board_take(b, KEY, now_us);
    assert_true(board_open(b, kept, 1, now_us));
    struct board_slot *told = board_take(b, KEY + 1, now_us);
    tell(b, told, now_us + 3600 * SECOND_US, UINT32_MAX, "for an hour");
    int without = 0;
    for (uint64_t i = 0; i < 2 * BOARD_SLOTS; i++) /* each a while later */
        without += !board_take(b, 1000 + i * 2654435761u,
                               now_us + (int64_t)i * SECOND_US / 20);
    assert_int_equal(without, 0);
    assert_int_equal(kept->key, KEY);
    assert_int_equal(told->key, KEY + 1);
    /* All at once: there is an end, and no harm. */
    for (uint64_t i = 0; i < 4 * BOARD_SLOTS; i++) {
        struct board_slot *slot = board_take(b, 1000 + i * 2654435761u, now_us);
        without += !slot;
        assert_ptr_not_equal(slot, kept);
        assert_ptr_not_equal(slot, told);
    }
    assert_true(without > 0);
    board_leave(b);
}

#define TEST(function)                                                                 \
    cmocka_unit_test_setup_teardown(function, make_spool, remove_spool)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_are_counted_in_an_order),
        TEST(only_so_many_have_a_place),
        TEST(a_file_that_cannot_be_had_is_told),
        TEST(a_file_with_another_name_is_refused),
        TEST(a_file_that_root_makes_is_the_spools_owners),
        TEST(a_file_that_was_deleted_is_noticed),
        TEST(all_that_begin_at_once_have_a_place),
        TEST(all_jobs_together_have_so_many),
        TEST(the_dead_count_as_long_as_their_connections),
        TEST(a_place_is_taken_over_empty),
        TEST(a_job_that_was_stopped_blocks_nobody_for_ever),
        TEST(those_who_want_share),
        TEST(the_least_holds_for_all),
        TEST(what_one_was_told_goes_for_all),
        TEST(success_takes_back_no_word),
        TEST(wide_words),
        TEST(words_and_clocks_outlive_jobs),
        TEST(after_a_start_of_the_machine_times_are_moved),
        TEST(a_wall_clock_that_went_back_closes_nothing),
        TEST(a_strange_file_is_begun_anew),
        TEST(slots_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
