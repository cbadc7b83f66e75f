/* Any bytes as a settings file: either settings that write and read back to the same,
 * or a fault from -4 to -7 that names the file. */
#undef NDEBUG /* here assertions are the point */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[64];
static int fd = -1;

/* include() is relative to /proc/self/fd/: what stands there is this file, the standard
 * streams and the fuzzer's own. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("HOME", "/home/x", 1);
    setenv("X", "'\"\\${Y}\n", 1);
    FILE *in = freopen("/dev/null", "r", stdin); /* include("0") would wait there */
    assert(in);
    fd = memfd_create("settings", MFD_CLOEXEC);
    assert(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return 0;
}

static void put(struct span text)
{
    int good = ftruncate(fd, 0);
    assert(good == 0);
    ssize_t n = pwrite(fd, text.p, text.n, 0);
    assert(n == (ssize_t)text.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = {0};
    /* The machine's name is not the matter here; most inputs do not set their own. */
    static const char head[] = "hostname = h.example ";
    bool is_job = size && (data[0] & 1);
    if (size && data[0] & 2)
        buf_add_str(&text, head);
    if (size && data[0] & 4) /* the same rules each time, and they take theirs */
        buf_add_str(&text, "receivers = no ");
    if (size)
        buf_add(&text, data + 1, size - 1);
    put(buf_span(&text));
    struct fault f = {0};
    struct conf *c = conf_load(path, is_job, &f);
    if (!c) {
        assert(f.code <= -4 && f.code >= -7);
        assert(strncmp(f.words, "/", 1) == 0);
        assert(strstr(f.words, ": "));
        assert(!strchr(f.words, '\n'));
        buf_finish(&text);
        return 0;
    }
    assert(f.code == 0);
    assert(is_job || c->job.id[0] == '\0');
    struct buf once = {0}, again = {0};
    conf_write(&once, c, &c->job);
    put(buf_span(&once));
    struct conf *back = conf_load(path, true, &f);
    assert(back);
    conf_write(&again, back, &back->job);
    assert(span_equal(buf_span(&once), buf_span(&again)));
    conf_free(c);
    conf_free(back);
    buf_finish(&once);
    buf_finish(&again);
    buf_finish(&text);
    return 0;
}
