/* The commands. Each is a function of its own file; argv[0] is the command's name. It
 * prints what the user asked for on standard output, trouble on standard error, and
 * returns the exit status (docs/operations.md). */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/fault.h"

typedef int command_fn(int argc, char **argv);

/* name, function, one line for `hikyaku --help`. */
/* clang-format off */
#define COMMANDS(X)                                                                        \
    X(send,     "send a newsletter to every recipient of a list")                          \
    X(check,    "dry run: parse all, resolve every domain, show the plan, send nothing")   \
    X(rehearse, "the whole blast against the built-in receiver; nothing leaves the machine") \
    X(resume,   "go on with a job that was stopped or killed")                             \
    X(status,   "how a job stands, while it runs and afterwards")                          \
    X(pause,    "begin nothing new in a running job")                                      \
    X(continue, "go on with a job that is paused")                                         \
    X(cancel,   "end a running job: all that is left becomes -11")                         \
    X(reload,   "let a running job read its settings anew")                                \
    X(results,  "one result for every row of a job's list")                                \
    X(why,      "the whole story of one recipient, and what it waits for now")             \
    X(codes,    "the code table")                                                          \
    X(sink,     "the built-in receiver by itself")
/* clang-format on */

#define X(name, words) command_fn cmd_##name;
COMMANDS(X)
#undef X

enum {
    EXIT_PENDING = 3,   /* stopped by a signal with rows still pending */
    EXIT_CANCELLED = 4, /* by somebody, or by the error storm: the rest is -11 */
};

/* The exit status for a fault of ours: sysexits.h by native code. */
int exit_of_fault(const struct fault *f);

/* "hikyaku: CODE CLASS WORDS" on standard error; returns exit_of_fault. */
int complain(const struct fault *f);

/* "hikyaku: send: words; see hikyaku send --help" on standard error; returns EX_USAGE.
 */
int usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --config, else HIKYAKU_CONFIG, else NULL: all defaults. */
const char *config_path(const char *option);

#endif
