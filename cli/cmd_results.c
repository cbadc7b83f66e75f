#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/find.h"
#include "cli/past.h"

static void help(void)
{
    fputs(
        "Usage: hikyaku results JOB [OPTION]...\n"
        "Print one line for every row of the job's list, in list order: what became "
        "of\n"
        "it. JOB is a name under the spool, or a path to a job's directory. A running\n"
        "job may be asked at any time.\n"
        "\n"
        "Options:\n"
        "  -c, --config FILE            settings, for the spool (or HIKYAKU_CONFIG)\n"
        "      --format tsv|csv|jsonl   default: tsv\n"
        "      --only OUTCOME           delivered, error, absent or pending rows only\n"
        "      --codes VOCABULARY       native, five-digit or basic, for code and\n"
        "                               last_code (default: native)\n"
        "      --lang en|ja             add a column `meaning`: what the code means\n"
        "  -h, --help                   this text\n"
        "\n"
        "Outcomes: delivered; error; absent, the address is not there or refuses;\n"
        "pending, not final yet. docs/results.md explains every column.\n"
        "\n"
        "Exit status: 0; 64 usage; 66 the job cannot be opened; 74 I/O error; 78 bad\n"
        "settings.\n",
        stdout);
}

struct choices {
    const char *config;
    const char *job;
    struct results_print print;
};

/* The words that an option takes, in the order of its enum. */
static const char *const formats[] = {"tsv", "csv", "jsonl", NULL};
static const char *const vocabularies[] = {"native", "five-digit", "basic", NULL};
static const char *const languages[] = {"en", "ja", NULL};
static const char *const outcomes[] = {"delivered", "error", "absent", "pending", NULL};

static int index_of(const char *const *words, const char *word)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

/* false: not a word that the option takes. */
static bool take(int key, struct choices *out)
{
    int i = -1;
    switch (key) {
    case 'c':
        out->config = optarg;
        return true;
    case 'F':
        i = index_of(formats, optarg);
        out->print.format = (enum results_format)i;
        break;
    case 'C':
        i = index_of(vocabularies, optarg);
        out->print.codes = (enum code_vocabulary)i;
        break;
    case 'L':
        i = index_of(languages, optarg);
        out->print.meaning = (enum results_meaning)(MEANING_EN + i);
        break;
    case 'O':
        i = index_of(outcomes, optarg);
        out->print.only = optarg;
        break;
    default:
        break;
    }
    return i >= 0;
}

/* Returns -1 when the options are good, else the exit status. */
static int parse(int argc, char **argv, struct choices *out)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"format", required_argument, NULL, 'F'},
        {"only", required_argument, NULL, 'O'},
        {"codes", required_argument, NULL, 'C'},
        {"lang", required_argument, NULL, 'L'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    *out = (struct choices){0};
    opterr = 0;
    int which = -1;
    for (int key; (key = getopt_long(argc, argv, ":c:h", longs, &which)) != -1;) {
        if (key == 'h') {
            help();
            return 0;
        }
        if (key == ':')
            return usage_error(argv[0], "option %s needs a value", argv[optind - 1]);
        if (key == '?')
            return usage_error(argv[0], "unknown option %s", argv[optind - 1]);
        if (!take(key, out))
            return usage_error(argv[0], "--%s cannot be \"%s\"", longs[which].name,
                               optarg);
    }
    if (optind == argc)
        return usage_error(argv[0], "JOB is missing");
    if (optind + 1 < argc)
        return usage_error(argv[0], "unexpected \"%s\"", argv[optind + 1]);
    out->job = argv[optind];
    out->config = config_path(out->config);
    return -1;
}

/* Addresses of rows that have no line yet. */
struct addresses {
    const struct recipients *list;
    const char *to; /* of a proof; "" for none */
    struct recipient row;
    struct fault f;
};

static struct span email_of(void *arg, uint32_t row)
{
    struct addresses *a = arg;
    if (a->to[0])
        return span_of(a->to);
    if (a->f.code || !recipients_read(a->list, row, &a->row, &a->f))
        return (struct span){0};
    if (a->row.code == 0)
        return (struct span){a->row.address.text, a->row.address.n};
    return span_trim(a->row.raw);
}

static int print(struct results *results, const struct recipients *list,
                 const struct conf_job *job, const struct results_print *choice)
{
    struct addresses addresses = {.list = list, .to = job->to};
    struct results_print how = *choice;
    how.email = email_of;
    how.email_arg = &addresses;
    struct fault f = {0};
    int status = 0;
    if (!results_print(results, stdout, &how, &f))
        status = complain(&f);
    else if (addresses.f.code)
        status = complain(&addresses.f);
    recipient_finish(&addresses.row);
    if (results_damaged(results))
        fprintf(stderr,
                "hikyaku: results: damaged lines in attempts.tsv, passed over: %" PRIu64
                "\n",
                results_damaged(results));
    return status;
}

static int show(const char *dir, const struct results_print *choice)
{
    struct past past;
    int status = past_open(&past, dir);
    if (status < 0)
        status = print(past.results, past.list, &past.conf->job, choice);
    past_close(&past);
    return status;
}

int cmd_results(int argc, char **argv)
{
    struct choices choices;
    int status = parse(argc, argv, &choices);
    if (status >= 0)
        return status;
    struct buf dir = {0};
    status = find_job(choices.config, choices.job, &dir);
    if (status < 0)
        status = show(buf_cstr(&dir), &choices.print);
    buf_finish(&dir);
    return status;
}
