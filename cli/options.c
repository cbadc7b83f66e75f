#include "cli/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "cli/cli.h"

enum { OPTIONS_MAX = 32, ALL = BLAST_SEND | BLAST_CHECK | BLAST_REHEARSE };

/* short, long, value's name (NULL: none), commands, help. The order is that of --help.
 */
/* clang-format off */
#define BLAST_OPTIONS(X)                                                                    \
    X('c', "config",           "FILE",   ALL, "settings (or HIKYAKU_CONFIG; default: all defaults)") \
    X('l', "list",             "FILE",   ALL, "recipients, tab-separated with a header line; - is standard input") \
    X('m', "message",          "FILE",   ALL, "the message, with {{column}} placeholders")  \
    X('j', "job",              "NAME",   BLAST_SEND | BLAST_REHEARSE, "the job's name (default: made from the time)") \
    X('f', "from",             "ADDR",   ALL, "envelope sender (default: the address in From:)") \
    X('a', "address-column",   "NAME",   ALL, "the column that holds the addresses (default: email)") \
    X('x', "exclude",          "FILE",   ALL, "addresses that get no mail (result 801)")    \
    X('D', "allow-duplicates", NULL,     ALL, "send to an address as often as it is in the list") \
    X('r', "rows",             "N[-M]",  ALL, "only these rows")                            \
    X('t', "to",               "ADDR",   ALL, "send all mail to this address instead (a proof)") \
    X('S', "start",            "TIME",   ALL, "begin then: HH:MM, or like 2026-11-22T08:30:00+09:00") \
    X('U', "until",            "TIME",   ALL, "end then: what is left gets 606") \
    X('e', "explain",          "ADDR",   BLAST_CHECK, "only show how this address or domain is treated, and by which line of the settings; needs no list and no message") \
    X('q', "quiet",            NULL,     ALL, "no progress, only the sum at the end")       \
    X('J', "json",             NULL,     ALL, "progress and sum as JSON, one object a line") \
    X('T', "trace",            "WHAT",   BLAST_SEND | BLAST_REHEARSE, "smtp: every dialogue on standard error, in the lines of a transcript") \
    X('h', "help",             NULL,     ALL, "this text")
/* clang-format on */

static const struct {
    char key;
    const char *name;
    const char *value;
    int commands;
    const char *words;
} table[] = {
#define X(key, name, value, commands, words) {key, name, value, commands, words},
    BLAST_OPTIONS(X)
#undef X
};
enum { TABLE_N = sizeof table / sizeof table[0] };
_Static_assert((int)TABLE_N < (int)OPTIONS_MAX, "one more is needed for the end mark");

static const struct {
    enum blast_command command;
    const char *name;
    const char *words;
} heads[] = {
    {BLAST_SEND, "send",
     "Send the message to every recipient of the list, each through the mail servers "
     "of\n"
     "the recipient's own domain. Every attempt is one line of "
     "SPOOL/JOB/attempts.tsv;\n"
     "`hikyaku results JOB` prints one result for every row. A job that cannot start\n"
     "prints one line, leaves nothing behind and sends nothing.\n"},
    {BLAST_CHECK, "check",
     "Dry run: read settings, list and message, resolve every domain, and show what "
     "would\n"
     "be sent where, when each provider would have it and what bounds that, with one\n"
     "message as it would go out. The forecast takes it that every message is accepted "
     "at\n"
     "the first attempt. Nothing is sent and no job is made.\n"},
    {BLAST_REHEARSE, "rehearse",
     "The whole blast against the built-in receiver: the real list, message, DNS "
     "lookups\n"
     "and SMTP dialogues, but every domain is answered for on this machine, and "
     "nothing\n"
     "leaves it. The receiver has moods (it is far away, greylists, refuses some rows, "
     "\n"
     "closes early), spread over the domains; see docs/rehearsal.md.\n"},
};

static void help(enum blast_command command)
{
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (heads[i].command == command)
            printf("Usage: hikyaku %s --list FILE --message FILE [OPTION]...\n%s\n",
                   heads[i].name, heads[i].words);
    puts("Options:");
    for (int i = 0; i < TABLE_N; i++) {
        if (!(table[i].commands & (int)command))
            continue;
        char left[40];
        const char *value = table[i].value;
        snprintf(left, sizeof left, "-%c, --%s%s%s", table[i].key, table[i].name,
                 value ? " " : "", value ? value : "");
        printf("  %-28s %s\n", left, table[i].words);
    }
    if (command == BLAST_CHECK) {
        puts("\nExit status: 0; 64 usage; 65 bad list or message; 66 list or message "
             "cannot be\n"
             "opened; 78 bad settings.");
        return;
    }
    puts("\nExit status: 0 every row has its final result; 3 stopped by a signal, rows "
         "are\n"
         "pending; 4 cancelled, or ended by the error storm; 64 usage; 65 bad list or "
         "message; 66 list or message cannot be "
         "opened; 73\n"
         "the spool cannot be created or the job's name is taken; 74 I/O error; 75 "
         "another\n"
         "process holds the job; 78 bad settings.");
}

/* "7" or "7-20". */
static bool parse_rows(const char *text, struct blast_options *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long first = strtoul(text, &end, 10), last = first;
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        last = strtoul(end + 1, &end, 10);
    if (*end || first < 1 || last < first || last > UINT32_MAX)
        return false;
    out->first_row = (uint32_t)first;
    out->last_row = (uint32_t)last;
    return true;
}

static bool take(int key, struct blast_options *out)
{
    switch (key) {
    case 'c':
        out->config = optarg;
        return true;
    case 'l':
        out->list = optarg;
        return true;
    case 'm':
        out->message = optarg;
        return true;
    case 'j':
        out->job = optarg;
        return true;
    case 'f':
        out->from = optarg;
        return true;
    case 'a':
        out->address_column = optarg;
        return true;
    case 'x':
        out->exclude = optarg;
        return true;
    case 'D':
        out->allow_duplicates = true;
        return true;
    case 'r':
        return parse_rows(optarg, out);
    case 't':
        out->to = optarg;
        return true;
    case 'S':
        out->start = optarg;
        return true;
    case 'U':
        out->until = optarg;
        return true;
    case 'q':
        out->quiet = true;
        return true;
    case 'T':
        return trace_parse(span_of(optarg), &out->traces);
    case 'e':
        out->explain = optarg;
        return true;
    case 'J':
        out->json = true;
        return true;
    default:
        return false;
    }
}

static void make_getopt(enum blast_command command, struct option *longs, char *shorts)
{
    int n = 0;
    *shorts++ = ':'; /* tell a missing value from an unknown option */
    for (int i = 0; i < TABLE_N; i++) {
        if (!(table[i].commands & (int)command))
            continue;
        longs[n++] = (struct option){table[i].name,
                                     table[i].value ? required_argument : no_argument,
                                     NULL, table[i].key};
        *shorts++ = table[i].key;
        if (table[i].value)
            *shorts++ = ':';
    }
    longs[n] = (struct option){0};
    *shorts = '\0';
}

int options_parse(enum blast_command command, int argc, char **argv,
                  struct blast_options *out)
{
    struct option longs[OPTIONS_MAX];
    char shorts[2 * OPTIONS_MAX + 2];
    make_getopt(command, longs, shorts);
    *out = (struct blast_options){.rehearsal = command == BLAST_REHEARSE};
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (key == 'h') {
            help(command);
            return 0;
        }
        if (key == ':')
            return usage_error(argv[0], "option %s needs a value", argv[optind - 1]);
        if (key == '?')
            return usage_error(argv[0], "unknown option %s", argv[optind - 1]);
        if (take(key, out))
            continue;
        if (key == 'T')
            return usage_error(argv[0], "--trace cannot be \"%s\"", optarg);
        return usage_error(argv[0], "--rows \"%s\" is not N or N-M", optarg);
    }
    if (optind < argc)
        return usage_error(argv[0], "unexpected \"%s\"", argv[optind]);
    if (out->explain && out->json)
        return usage_error(argv[0], "--explain and --json exclude each other");
    if (out->explain) {
        out->config = config_path(out->config);
        return -1;
    }
    if (!out->list)
        return usage_error(argv[0], "--list is missing");
    if (!out->message)
        return usage_error(argv[0], "--message is missing");
    if (out->quiet && out->json)
        return usage_error(argv[0], "--quiet and --json exclude each other");
    struct fault f = {0};
    if (out->traces && !trace_begin(out->traces, NULL, &f))
        return complain(&f);
    out->config = config_path(out->config);
    return -1;
}
