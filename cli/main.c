#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"

static const struct {
    const char *name;
    command_fn *run;
    const char *words;
} commands[] = {
#define X(name, words) {#name, cmd_##name, words},
    COMMANDS(X)
#undef X
};
enum { COMMANDS_N = sizeof commands / sizeof commands[0] };

int exit_of_fault(const struct fault *f)
{
    switch (f->code) {
    case -3:
        return EX_OSERR;
    case -4:
    case -5:
    case -6:
    case -7:
        return EX_CONFIG;
    case -8:
        return EX_NOINPUT;
    case -9:
    case -10:
    case -21:
        return EX_DATAERR;
    default:
        return EX_IOERR;
    }
}

int complain(const struct fault *f)
{
    fprintf(stderr, "hikyaku: %d LE %s\n", f->code, f->words);
    return exit_of_fault(f);
}

int usage_error(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "hikyaku: %s: ", command);
    vfprintf(stderr, format, args);
    fprintf(stderr, "; see hikyaku %s --help\n", command);
    va_end(args);
    return EX_USAGE;
}

const char *config_path(const char *option)
{
    if (option)
        return option;
    const char *path = getenv("HIKYAKU_CONFIG");
    return path && *path ? path : NULL;
}

static void help(FILE *out)
{
    fputs("Usage: hikyaku COMMAND [OPTION]...\n"
          "Send a newsletter to every recipient's own mail server, and tell the truth "
          "about\n"
          "each one.\n\nCommands:\n",
          out);
    for (int i = 0; i < COMMANDS_N; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].words);
    fputs("\n`hikyaku COMMAND --help` tells more. Begin with:\n"
          "  hikyaku rehearse --list list.tsv --message message.eml\n",
          out);
}

/* What was printed must have arrived. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    perror("hikyaku: standard output");
    return status ? status : EX_IOERR;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        help(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help(stdout);
        return finish(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("hikyaku " HIKYAKU_VERSION);
        return finish(0);
    }
    for (int i = 0; i < COMMANDS_N; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return finish(commands[i].run(argc - 1, argv + 1));
    fprintf(stderr, "hikyaku: no command \"%s\"; see hikyaku --help\n", argv[1]);
    return EX_USAGE;
}
