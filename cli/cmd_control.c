/* pause, continue, cancel, reload: one line to a running job. */
#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/find.h"
#include "engine/control.h"

static const struct {
    const char *name;
    const char *words;
} helps[] = {
    [CONTROL_PAUSE] = {"pause",
                       "Begin nothing new: what is in flight ends, the process stays. "
                       "The time until\n`continue` does not count for the lifetime of "
                       "rows.\n"},
    [CONTROL_CONTINUE] = {"continue", "Go on with a job that was paused.\n"},
    [CONTROL_CANCEL] = {"cancel",
                        "End the job: what is in flight ends, all that is left becomes "
                        "-11. `resume\n--retry-cancelled` sends it after all.\n"},
    [CONTROL_RELOAD] =
        {"reload", "Read the settings file anew, as SIGHUP does. Keys that a "
                   "running job does not\ntake (tls*, relay*, port, hostname and a "
                   "few more) are named, with file and line.\nList, message and "
                   "sender stay; so do sections source, pool and warmup, and which\n"
                   "domain and mx sections there are: when these differ, nothing is "
                   "taken.\nConnections that stand keep the limits of their "
                   "dialogue.\n"},
};

static void print_help(enum control_command command)
{
    printf("Usage: hikyaku %s JOB [OPTION]...\n%s\n"
           "JOB is a name under the spool, or a path.\n\n"
           "Options:\n"
           "  -c, --config FILE  settings, for the spool (or HIKYAKU_CONFIG)\n"
           "  -h, --help         this text\n\n"
           "Exit status: 0 it is done, or begun; 64 usage; 66 no such job; 69 the job "
           "does not\n"
           "run, or is ending; 74 I/O error; 78 bad settings.\n",
           helps[command].name, helps[command].words);
}

static int say(const char *path, enum control_command command, const char *job)
{
    struct buf answer = {0};
    struct fault f = {0};
    int status = 0;
    switch (control_ask(path, command, 0, &answer, &f)) {
    case CONTROL_OK:
        if (answer.n)
            fprintf(stderr, "hikyaku: %s: a running job does not take %s\n",
                    helps[command].name, buf_cstr(&answer));
        break;
    case CONTROL_REFUSED:
        fprintf(stderr, "hikyaku: %s\n", buf_cstr(&answer));
        /* A reason with a code is that of bad settings. */
        status = buf_cstr(&answer)[0] == '-' ? EX_CONFIG : EX_UNAVAILABLE;
        break;
    case CONTROL_NOBODY:
        fprintf(stderr, "hikyaku: %s: job \"%s\" does not run\n", helps[command].name,
                job);
        status = EX_UNAVAILABLE;
        break;
    case CONTROL_BROKEN:
        status = complain(&f);
        break;
    }
    buf_finish(&answer);
    return status;
}

static int control(enum control_command command, int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *config = NULL;
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
        switch (key) {
        case 'c':
            config = optarg;
            break;
        case 'h':
            print_help(command);
            return 0;
        default:
            return usage_error(argv[0], "bad option %s", argv[optind - 1]);
        }
    }
    if (optind + 1 != argc)
        return usage_error(argv[0], "one JOB is needed");
    struct buf path = {0};
    int status = find_job(config, argv[optind], &path);
    if (status < 0)
        status = say(buf_cstr(&path), command, argv[optind]);
    buf_finish(&path);
    return status;
}

int cmd_pause(int argc, char **argv)
{
    return control(CONTROL_PAUSE, argc, argv);
}

int cmd_continue(int argc, char **argv)
{
    return control(CONTROL_CONTINUE, argc, argv);
}

int cmd_cancel(int argc, char **argv)
{
    return control(CONTROL_CANCEL, argc, argv);
}

int cmd_reload(int argc, char **argv)
{
    return control(CONTROL_RELOAD, argc, argv);
}
