/* send and rehearse: make the job, run it, say the sum. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/run.h"

/* A job that is being made and run. */
struct making {
    struct blast blast;
    struct job job;
    struct totals totals;
    bool rehearsing;
};

/* The snapshot of the list. */
static int copy_list(struct making *m, struct job_file *out)
{
    struct fault f = {0};
    const char *list = m->blast.options->list;
    bool standard_input = strcmp(list, "-") == 0;
    /* Not to wait for a writer: a pipe is read with --list -. */
    int fd =
        standard_input ? STDIN_FILENO : open(list, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    bool good = fd >= 0 && fstat(fd, &st) == 0;
    if (!good || !(standard_input || S_ISREG(st.st_mode))) {
        fault_set(&f, -8, "cannot open list \"%s\": %s", list,
                  !good                 ? strerror(errno)
                  : S_ISDIR(st.st_mode) ? strerror(EISDIR)
                                        : "Not a regular file");
        if (fd > STDIN_FILENO)
            close(fd);
        return complain(&f);
    }
    enum job_result r = job_put_copy(&m->job, "list.tsv", fd,
                                     standard_input ? "standard input" : list, out, &f);
    if (!standard_input)
        close(fd);
    return r == JOB_DONE ? -1 : job_fault(&f, r);
}

/* Excluded addresses must stay so when the job goes on later. */
static int copy_exclude(struct making *m)
{
    struct fault f = {0};
    struct job_file ignored;
    const char *exclude = m->blast.options->exclude;
    if (!exclude)
        return -1;
    int fd = open(exclude, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fault_set(&f, -8, "cannot open exclude file \"%s\": %s", exclude,
                  strerror(errno));
        return complain(&f);
    }
    enum job_result r = job_put_copy(&m->job, "exclude.tsv", fd, exclude, &ignored, &f);
    close(fd);
    return r == JOB_DONE ? -1 : job_fault(&f, r);
}

static void hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static int put_settings(struct making *m, const struct job_file *list,
                        const struct job_file *message)
{
    const struct blast *b = &m->blast;
    char secret[2 * BLAST_SECRET + 1], list_crc[9], message_crc[9];
    hex(b->secret, BLAST_SECRET, secret);
    snprintf(list_crc, sizeof list_crc, "%08x", list->crc32c);
    snprintf(message_crc, sizeof message_crc, "%08x", message->crc32c);
    const char *column =
        recipients_column_names(b->list)[recipients_address_column(b->list)];
    struct conf_job job = {
        .id = m->job.name,
        .created_ms = b->created_ms,
        .secret = secret,
        .address_column = (char *)(uintptr_t)column,
        .from = (char *)(uintptr_t)b->from.text,
        .to = (char *)(uintptr_t)(b->to.n ? b->to.text : ""),
        .start_ms = b->start_ms,
        .until_ms = b->until_ms,
        .first_row = b->options->first_row,
        .last_row = b->options->last_row,
        .allow_duplicates = b->options->allow_duplicates,
        .rehearsal = m->rehearsing,
        .list_size = (int64_t)list->size,
        .message_size = (int64_t)message->size,
        .list_crc = list_crc,
        .message_crc = message_crc,
    };
    struct buf text = {0};
    struct fault f = {0};
    conf_write(&text, b->conf, &job);
    enum job_result r = job_put_text(&m->job, "job.conf", buf_span(&text), NULL, &f);
    buf_finish(&text);
    return r == JOB_DONE ? -1 : job_fault(&f, r);
}

/* attempts.tsv with a line for each row that is final from the start. */
static int begin_log(struct making *m)
{
    struct fault f = {0};
    char *path = run_path(&m->job, "attempts.tsv");
    struct attempts *log = attempts_create(path, &f);
    free(path);
    bool good = log &&
                engine_intake(m->blast.list, NULL, log, m->blast.created_ms,
                              m->rehearsing, &m->totals, &f) &&
                attempts_write(log, &f);
    attempts_close(log);
    return good ? -1 : complain(&f);
}

/* The whole job directory, aside; nothing of it stays when a step fails. */
static int make_job(struct making *m)
{
    struct fault f = {0};
    struct job_file list = {0}, message = {0};
    struct blast *b = &m->blast;
    enum job_result r =
        job_begin(&m->job, b->conf->spool, b->options->job, b->created_ms, &f);
    if (r != JOB_DONE)
        return job_fault(&f, r);
    int status = copy_list(m, &list);
    if (status < 0) {
        char *path = run_path(&m->job, "list.tsv");
        status = blast_open_list(b, path);
        free(path);
    }
    if (status < 0)
        status = blast_compile(b);
    if (status < 0)
        status = copy_exclude(m);
    if (status < 0) {
        r = job_put_text(&m->job, "message.eml", buf_span(&b->message), &message, &f);
        status = r == JOB_DONE ? -1 : job_fault(&f, r);
    }
    if (status < 0)
        status = put_settings(m, &list, &message);
    if (status < 0)
        status = begin_log(m);
    if (status < 0) {
        run_hold_signals();
        r = job_commit(&m->job, &f);
        status = r == JOB_DONE ? -1 : job_fault(&f, r);
    }
    if (status >= 0)
        job_abandon(&m->job);
    return status;
}

static int blast_away(enum blast_command command, int argc, char **argv)
{
    struct blast_options options;
    int status = options_parse(command, argc, argv, &options);
    if (status >= 0)
        return status;
    struct making m = {.rehearsing = command == BLAST_REHEARSE};
    status = blast_open(&m.blast, &options, argv[0]);
    if (status < 0)
        status = make_job(&m);
    if (status < 0) {
        struct run run = {.blast = &m.blast,
                          .job = &m.job,
                          .totals = m.totals,
                          .rehearsing = m.rehearsing,
                          .record = "received.tsv"};
        status = run_job(&run);
        job_unlock(&m.job);
    }
    blast_close(&m.blast);
    return status;
}

int cmd_send(int argc, char **argv)
{
    return blast_away(BLAST_SEND, argc, argv);
}

int cmd_rehearse(int argc, char **argv)
{
    return blast_away(BLAST_REHEARSE, argc, argv);
}
