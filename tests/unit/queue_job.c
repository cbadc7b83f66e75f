/* queue/job: complete or not at all; one holder; what is left behind by the dead. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "queue/job.h"

#define X16 "xxxxxxxxxxxxxxxx"
#define X64 (X16 X16 X16 X16)
#define X65 (X16 X16 X16 X16 "x")

static const int64_t wall_ms = 1795337956123; /* 2026-11-22T08:59:16.123Z */

/* ---- a place for each test ---- */

static char root[64];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/hikyaku-job-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command); /* NOLINT(bugprone-command-processor,cert-env33-c) */
}

/* root/name in one of a few buffers. */
static const char *at(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static bool there(const char *name)
{
    struct stat st;
    return lstat(at(name), &st) == 0;
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(lstat(at(name), &st), 0);
    return st.st_mode & 07777;
}

static int count_entries(const char *name)
{
    DIR *d = opendir(at(name));
    if (!d)
        return -1;
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void check_content(const char *name, const char *want)
{
    char text[256] = "";
    int fd = open(at(name), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) >= 0);
    close(fd);
    assert_string_equal(text, want);
}

static void write_file(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void begin(struct job *job, const char *name)
{
    struct fault f = {0};
    if (job_begin(job, at("spool"), name, wall_ms, &f) != JOB_DONE)
        fail_msg("%s", f.words);
}

static void put(struct job *job, const char *file, const char *text)
{
    struct fault f = {0};
    if (job_put_text(job, file, span_of(text), NULL, &f) != JOB_DONE)
        fail_msg("%s", f.words);
}

static void commit(struct job *job)
{
    struct fault f = {0};
    if (job_commit(job, &f) != JOB_DONE)
        fail_msg("%s", f.words);
}

static void make_job(const char *name)
{
    struct job job;
    begin(&job, name);
    put(&job, "job.conf", "conf");
    put(&job, "list.tsv", "email\n");
    commit(&job);
    job_unlock(&job);
}

/* ---- names ---- */

static void names(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a", "news-1", "_x", "A.b", "20261122-083916-ab2c", X64};
    static const char *const bad[] = {"",    ".",   "..", ".new-a", "-a",    "a/b", "/",
                                      "a b", "a\n", "日", "a:b",    "a\x7f", X65};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(job_name_valid(span_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(job_name_valid(span_of(bad[i])));
        struct job job;
        struct fault f = {0};
        assert_int_equal(job_begin(&job, at("spool"), bad[i], wall_ms, &f),
                         JOB_BAD_NAME);
        assert_int_equal(f.code, -20);
    }
    assert_false(job_name_valid((struct span){"a\0b", 3}));
    assert_false(there("spool"));
}

static void the_default_name_is_the_time(void **state)
{
    (void)state;
    struct job one, two;
    begin(&one, NULL);
    begin(&two, NULL);
    assert_int_equal(strlen(one.name), strlen("20261122-085916-xxxx"));
    assert_memory_equal(one.name, "20261122-085916-", 16);
    assert_true(job_name_valid(span_of(one.name)));
    assert_string_not_equal(one.name, two.name);
    job_abandon(&one);
    job_abandon(&two);
}

/* ---- creation ---- */

static void created_complete(void **state)
{
    (void)state;
    mode_t old = umask(0); /* nothing may depend on it */
    struct job job;
    struct fault f = {0};
    begin(&job, "news");
    assert_int_equal(mode_of("spool"), 0700);
    assert_non_null(strstr(job.path, "/spool/.new-news-"));
    put(&job, "job.conf", "conf");
    struct job_file file;
    assert_int_equal(job_put_text(&job, "list.tsv", SPAN("123456789"), &file, &f),
                     JOB_DONE);
    assert_int_equal(file.size, 9);
    assert_int_equal(file.crc32c, 0xe3069283);
    assert_false(there("spool/news"));
    commit(&job);
    assert_string_equal(job.name, "news");
    assert_string_equal(job.path, at("spool/news"));
    assert_int_equal(count_entries("spool"), 1);
    assert_int_equal(count_entries("spool/news"), 3);
    assert_int_equal(mode_of("spool/news"), 0700);
    assert_int_equal(mode_of("spool/news/job.conf"), 0600);
    assert_int_equal(mode_of("spool/news/list.tsv"), 0600);
    assert_int_equal(mode_of("spool/news/lock"), 0600);
    check_content("spool/news/job.conf", "conf");
    check_content("spool/news/list.tsv", "123456789");
    job_unlock(&job);
    umask(old);
}

static void the_spool_is_made_with_its_parents(void **state)
{
    (void)state;
    struct job job;
    struct fault f = {0};
    assert_int_equal(job_begin(&job, at("a/b/c//"), "x", wall_ms, &f), JOB_DONE);
    assert_int_equal(mode_of("a"), 0700);
    assert_int_equal(mode_of("a/b/c"), 0700);
    job_abandon(&job);
    assert_false(there("a")); /* what was made for nothing is gone */
    assert_int_equal(mkdir(at("a"), 0755), 0);
    assert_int_equal(job_begin(&job, at("a/b"), "x", wall_ms, &f), JOB_DONE);
    job_abandon(&job);
    assert_int_equal(count_entries("a"), 0);
    assert_int_equal(mode_of("a"), 0755); /* not ours to change */

    assert_int_equal(chdir(root), 0);
    assert_int_equal(job_begin(&job, "rel/spool", "x", wall_ms, &f), JOB_DONE);
    assert_int_equal(chdir("/"), 0);
    put(&job, "job.conf", "");
    commit(&job);
    assert_string_equal(job.path, at("rel/spool/x"));
    job_unlock(&job);
}

static void a_spool_that_cannot_be_made(void **state)
{
    (void)state;
    struct job job;
    write_file("file", "");
    static const char *const spools[] = {"file", "file/spool", "/proc/nothing/spool",
                                         ""};
    for (size_t i = 0; i < sizeof spools / sizeof spools[0]; i++) {
        struct fault f = {0};
        bool absolute = spools[i][0] == '/' || spools[i][0] == '\0';
        assert_int_equal(
            job_begin(&job, absolute ? spools[i] : at(spools[i]), "x", wall_ms, &f),
            JOB_CANNOT_CREATE);
        assert_int_equal(f.code, -20);
        assert_non_null(strstr(f.words, "cannot create spool"));
    }
}

static void a_taken_name(void **state)
{
    (void)state;
    struct job one, two;
    struct fault f = {0};
    begin(&one, "news");
    begin(&two, "news"); /* nobody has it yet */
    put(&one, "job.conf", "one");
    put(&two, "job.conf", "two");
    commit(&one);
    assert_int_equal(job_commit(&two, &f), JOB_NAME_TAKEN);
    assert_int_equal(f.code, -20);
    assert_string_equal(
        f.words, "cannot create job \"news\": there is one already; resume that, or "
                 "choose another name");
    job_abandon(&two);
    check_content("spool/news/job.conf", "one");
    f = (struct fault){0};
    assert_int_equal(job_begin(&two, at("spool"), "news", wall_ms, &f), JOB_NAME_TAKEN);
    assert_int_equal(count_entries("spool"), 1);
    job_unlock(&one);
    /* An empty directory and a file of that name are no better. */
    assert_int_equal(mkdir(at("spool/empty"), 0700), 0);
    write_file("spool/file", "");
    f = (struct fault){0};
    assert_int_equal(job_begin(&two, at("spool"), "empty", wall_ms, &f),
                     JOB_NAME_TAKEN);
    assert_int_equal(job_begin(&two, at("spool"), "file", wall_ms, &f), JOB_NAME_TAKEN);
    begin(&two, "late");
    assert_int_equal(mkdir(at("spool/late"), 0700), 0);
    assert_int_equal(job_commit(&two, &f), JOB_NAME_TAKEN);
    job_abandon(&two);
    assert_int_equal(count_entries("spool/late"), 0);
}

static void given_up_leaves_nothing(void **state)
{
    (void)state;
    make_job("old"); /* so that the spool stays */
    for (int step = 0; step < 4; step++) {
        struct job job;
        struct fault f = {0};
        begin(&job, "news");
        if (step > 0)
            put(&job, "job.conf", "x");
        if (step > 1) /* a second file of that name */
            assert_int_equal(job_put_text(&job, "job.conf", SPAN("y"), NULL, &f),
                             JOB_IO);
        if (step > 2) { /* reading a directory fails */
            struct job_file file;
            int dir = open("/", O_RDONLY | O_CLOEXEC);
            f = (struct fault){0};
            assert_int_equal(job_put_copy(&job, "list.tsv", dir, "root", &file, &f),
                             JOB_IO);
            assert_string_equal(f.words, "cannot read \"root\": Is a directory");
            close(dir);
        }
        job_abandon(&job);
        assert_int_equal(count_entries("spool"), 1);
    }
    struct job none = {0};
    job_abandon(&none);
    job_unlock(&none);
}

/* A disk that is full: the file size limit plays it. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {4096, 4096};
        signal(SIGXFSZ, SIG_IGN);
        struct job job;
        struct job_file file;
        struct fault f = {0};
        int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        bool ok = setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                  job_begin(&job, at("spool"), "big", wall_ms, &f) == JOB_DONE &&
                  job_put_copy(&job, "list.tsv", zero, "zeros", &file, &f) == JOB_IO &&
                  strcmp(f.words, "cannot write \"list.tsv\": File too large") == 0;
        job_abandon(&job);
        _exit(ok ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(there("spool"));
}

/* ---- copying ---- */

static uint32_t crc_of(const char *p, size_t n)
{
    return crc32c(0, p, n);
}

static void check_copy(int fd, const char *want, size_t n)
{
    struct job job;
    struct fault f = {0};
    struct job_file file;
    begin(&job, "copy");
    if (job_put_copy(&job, "list.tsv", fd, "source", &file, &f) != JOB_DONE)
        fail_msg("%s", f.words);
    assert_int_equal(file.size, n);
    assert_int_equal(file.crc32c, crc_of(want, n));
    char *got = malloc(n + 1);
    assert_non_null(got);
    int copy = openat(job.dir, "list.tsv", O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(copy, got, n + 1), n);
    close(copy);
    assert_memory_equal(got, want, n);
    free(got);
    job_abandon(&job);
}

static void copies_whatever_it_comes_from(void **state)
{
    (void)state;
    enum { SIZE = 700001 };
    char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (int i = 0; i < SIZE; i++)
        bytes[i] = (char)(i % 251 ^ i >> 8);
    /* a file beside the spool: reflink or copy_file_range */
    int file = open(at("source"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(file, bytes, SIZE), SIZE);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    check_copy(file, bytes, SIZE);
    /* the rest of a file that somebody has begun to read */
    assert_int_equal(lseek(file, 1000, SEEK_SET), 1000);
    check_copy(file, bytes + 1000, SIZE - 1000);
    check_copy(file, bytes, 0); /* now at its end */
    close(file);
    /* a file on another file system */
    int memory = memfd_create("source", MFD_CLOEXEC);
    assert_int_equal(write(memory, bytes, SIZE), SIZE);
    assert_int_equal(lseek(memory, 0, SEEK_SET), 0);
    check_copy(memory, bytes, SIZE);
    close(memory);
    /* a pipe, written in pieces by another process */
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < SIZE;) {
            int n = SIZE - i < 12345 ? SIZE - i : 12345;
            ssize_t written = write(ends[1], bytes + i, (size_t)n);
            if (written < 0)
                _exit(1);
            i += (int)written;
        }
        _exit(0);
    }
    close(ends[1]);
    check_copy(ends[0], bytes, SIZE);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free(bytes);
    /* a file that says it is empty and is not */
    int version = open("/proc/version", O_RDONLY | O_CLOEXEC);
    char text[1024];
    ssize_t n = pread(version, text, sizeof text, 0);
    assert_true(n > 0);
    check_copy(version, text, (size_t)n);
    close(version);
}

static void the_copy_is_a_copy(void **state)
{
    (void)state;
    write_file("source", "before");
    int fd = open(at("source"), O_RDONLY | O_CLOEXEC);
    struct job job;
    struct job_file file;
    struct fault f = {0};
    begin(&job, "x");
    assert_int_equal(job_put_copy(&job, "list.tsv", fd, "source", &file, &f), JOB_DONE);
    close(fd);
    write_file("source", "after!");
    unlink(at("source"));
    commit(&job);
    job_unlock(&job);
    check_content("spool/x/list.tsv", "before");
}

/* ---- the lock ---- */

/* What another process is told. */
static int lock_elsewhere(const char *path, bool keep_until_killed, pid_t *child_out)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        struct job job;
        struct fault f = {0};
        char result = (char)job_lock(&job, path, &f);
        if (write(ends[1], &result, 1) != 1)
            _exit(1);
        if (keep_until_killed)
            for (;;)
                pause();
        _exit(0);
    }
    close(ends[1]);
    char result;
    assert_int_equal(read(ends[0], &result, 1), 1);
    close(ends[0]);
    if (child_out)
        *child_out = child;
    else
        waitpid(child, NULL, 0);
    return result;
}

static void one_holder(void **state)
{
    (void)state;
    struct job job, second;
    struct fault f = {0};
    begin(&job, "news");
    put(&job, "job.conf", "");
    commit(&job);
    assert_int_equal(lock_elsewhere(at("spool/news"), false, NULL), JOB_BUSY);
    assert_int_equal(job_lock(&second, at("spool/news"), &f), JOB_BUSY);
    char words[256];
    snprintf(words, sizeof words, "another process (%ld) holds job \"%s\"",
             (long)getpid(), at("spool/news"));
    assert_string_equal(f.words, words);
    assert_int_equal(f.code, -20);
    job_unlock(&second); /* a job that was not got is none */
    job_unlock(&job);
    assert_int_equal(lock_elsewhere(at("spool/news"), false, NULL), JOB_DONE);
}

/* Who only asks, all the time, keeps nobody out. */
static void asking_is_not_holding(void **state)
{
    (void)state;
    make_job("news");
    char path[256];
    snprintf(path, sizeof path, "%s", at("spool/news"));
    pid_t child = fork();
    if (child == 0)
        for (;;)
            job_held(path);
    int kept_out = 0;
    for (int i = 0; i < 500; i++) {
        struct job job;
        struct fault f = {0};
        kept_out += job_lock(&job, path, &f) != JOB_DONE;
        job_unlock(&job);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(kept_out, 0);
}

static void a_stale_lock_is_no_obstacle(void **state)
{
    (void)state;
    make_job("news");
    pid_t child;
    assert_int_equal(lock_elsewhere(at("spool/news"), true, &child), JOB_DONE);
    assert_int_equal(lock_elsewhere(at("spool/news"), false, NULL), JOB_BUSY);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(there("spool/news/lock"));
    struct job job;
    struct fault f = {0};
    assert_int_equal(job_lock(&job, at("spool/news"), &f), JOB_DONE);
    assert_string_equal(job.name, "news");
    job_unlock(&job);
    /* and a job that came from a backup without its lock */
    assert_int_equal(unlink(at("spool/news/lock")), 0);
    assert_int_equal(job_lock(&job, at("spool/news"), &f), JOB_DONE);
    job_unlock(&job);
}

static void nothing_to_lock(void **state)
{
    (void)state;
    struct job job;
    struct fault f = {0};
    assert_int_equal(job_lock(&job, at("spool/none"), &f), JOB_CANNOT_OPEN);
    assert_int_equal(f.code, -20);
    write_file("file", "");
    assert_int_equal(job_lock(&job, at("file"), &f), JOB_CANNOT_OPEN);
}

/* ---- what the dead leave ---- */

static void leftovers_of_the_dead_are_swept(void **state)
{
    (void)state;
    make_job("old");
    pid_t child = fork();
    if (child == 0) { /* dies half-way */
        struct job job;
        struct fault f = {0};
        job_begin(&job, at("spool"), "dead", wall_ms, &f);
        job_put_text(&job, "list.tsv", SPAN("email\n"), NULL, &f);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    assert_int_equal(mkdir(at("spool/.new-bare-aaaa"), 0700),
                     0); /* died before its lock */
    assert_int_equal(symlink("/tmp", at("spool/.new-link-aaaa")), 0);
    assert_int_equal(mkdir(at("spool/.other"), 0700), 0);
    assert_int_equal(count_entries("spool"), 5);
    struct job alive, job;
    begin(&alive, "alive"); /* sweeps */
    assert_int_equal(count_entries("spool"), 4);
    assert_false(there("spool/.new-bare-aaaa"));
    assert_true(there("spool/.new-link-aaaa")); /* no directory of ours */
    begin(&job, "next");                        /* leaves the living alone */
    put(&alive, "job.conf", "alive");
    commit(&alive);
    check_content("spool/alive/job.conf", "alive");
    job_unlock(&alive);
    job_abandon(&job);
    assert_true(there("spool/old/job.conf"));
}

/* ---- finding ---- */

static void jobs_are_found(void **state)
{
    (void)state;
    make_job("news");
    struct buf path = {0};
    struct fault f = {0};
    static const char *const found[] = {"news", "spool/news", "spool/news/",
                                        "spool/./news"};
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        buf_reset(&path);
        const char *name = i ? at(found[i]) : found[i];
        assert_int_equal(job_find(at("spool"), name, &path, &f), JOB_DONE);
        assert_string_equal(buf_cstr(&path), at("spool/news"));
    }
    assert_int_equal(chdir(at("spool")), 0);
    buf_reset(&path);
    assert_int_equal(job_find("/none", "./news", &path, &f), JOB_DONE);
    assert_string_equal(buf_cstr(&path), at("spool/news"));
    assert_int_equal(chdir("/"), 0);

    assert_int_equal(mkdir(at("spool/empty"), 0700), 0);
    static const char *const missing[] = {"none", "empty",    ".",       "..",
                                          "",     "../spool", "/none/x", "-x"};
    buf_reset(&path);
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        f = (struct fault){0};
        assert_int_equal(job_find(at("spool"), missing[i], &path, &f), JOB_CANNOT_OPEN);
        assert_int_equal(f.code, -20);
        assert_int_equal(path.n, 0);
    }
    assert_int_equal(job_find(at("nospool"), "news", &path, &f), JOB_CANNOT_OPEN);
    buf_finish(&path);
}

static void made_at(const char *list, time_t seconds)
{
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, at(list), times, 0), 0);
}

static void the_newest_job(void **state)
{
    (void)state;
    struct buf name = {0};
    struct fault f = {0};
    assert_int_equal(job_newest(at("spool"), &name, &f), JOB_CANNOT_OPEN);
    make_job("b");
    make_job("a");
    make_job("c");
    assert_int_equal(mkdir(at("spool/d"), 0700), 0); /* no job */
    made_at("spool/a/list.tsv", 300);
    made_at("spool/b/list.tsv", 200);
    made_at("spool/c/list.tsv", 100);
    f = (struct fault){0};
    assert_int_equal(job_newest(at("spool"), &name, &f), JOB_DONE);
    assert_string_equal(buf_cstr(&name), "a");
    made_at("spool/c/list.tsv", 300); /* in the same tick */
    buf_reset(&name);
    assert_int_equal(job_newest(at("spool"), &name, &f), JOB_DONE);
    assert_string_equal(buf_cstr(&name), "c");
    buf_finish(&name);
    assert_int_equal(mkdir(at("nothing"), 0700), 0);
    assert_int_equal(job_newest(at("nothing"), &name, &f), JOB_CANNOT_OPEN);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names),
        TEST(the_default_name_is_the_time),
        TEST(created_complete),
        TEST(the_spool_is_made_with_its_parents),
        TEST(a_spool_that_cannot_be_made),
        TEST(a_taken_name),
        TEST(given_up_leaves_nothing),
        TEST(a_full_disk_leaves_nothing),
        TEST(copies_whatever_it_comes_from),
        TEST(the_copy_is_a_copy),
        TEST(one_holder),
        TEST(asking_is_not_holding),
        TEST(a_stale_lock_is_no_obstacle),
        TEST(nothing_to_lock),
        TEST(leftovers_of_the_dead_are_swept),
        TEST(jobs_are_found),
        TEST(the_newest_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
