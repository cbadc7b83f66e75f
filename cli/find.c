#include "cli/find.h"

#include <string.h>

#include "cli/blast.h"
#include "cli/cli.h"

int find_job(const char *config, const char *job, struct buf *path)
{
    struct fault f = {0};
    struct conf *conf = NULL;
    if (!strchr(job, '/')) { /* a path needs no spool, and so no settings */
        conf = conf_load(config_path(config), false, &f);
        if (!conf)
            return complain(&f);
    }
    enum job_result found = job_find(conf ? conf->spool : "", job, path, &f);
    conf_free(conf);
    if (found == JOB_DONE)
        return -1;
    complain(&f);
    return exit_of_job(found);
}
