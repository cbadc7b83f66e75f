#include "cli/past.h"

#include <sysexits.h>

#include "cli/cli.h"

static struct recipients *open_list(const char *path, const struct conf_job *job,
                                    struct fault *f)
{
    struct recipients_params params = {
        .path = path,
        .address_column = job->address_column[0] ? job->address_column : NULL,
        .allow_duplicates = true,
        .first_row = (uint32_t)job->first_row,
        .last_row = (uint32_t)job->last_row,
    };
    return recipients_open(&params, f);
}

int past_open(struct past *past, const char *dir)
{
    struct fault f = {0};
    struct buf path = {0};
    *past = (struct past){0};
    buf_printf(&path, "%s/job.conf", dir);
    past->conf = conf_load(buf_cstr(&path), true, &f);
    buf_reset(&path);
    buf_printf(&path, "%s/list.tsv", dir);
    if (past->conf)
        past->list = open_list(buf_cstr(&path), &past->conf->job, &f);
    buf_reset(&path);
    buf_printf(&path, "%s/attempts.tsv", dir);
    if (past->list)
        past->results = results_load(buf_cstr(&path), recipients_first(past->list),
                                     recipients_last(past->list), &f);
    buf_finish(&path);
    if (past->results)
        return -1;
    complain(&f);
    return EX_NOINPUT;
}

void past_close(struct past *past)
{
    results_free(past->results);
    recipients_free(past->list);
    conf_free(past->conf);
    *past = (struct past){0};
}
