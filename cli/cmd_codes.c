#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "codes/codes.h"

static void help(void)
{
    fputs(
        "Usage: hikyaku codes [OPTION]...\n"
        "Print the code table: what every result of this engine means.\n"
        "\n"
        "Options:\n"
        "      --lang en|ja             language of the meanings (default: en)\n"
        "      --format text|tsv        text to read, or every column, both languages\n"
        "                               (default: text)\n"
        "  -h, --help                   this text\n"
        "\n"
        "Columns of the text: CODE, CLASS (LE: our side; BE: the recipient's server; "
        "-:\n"
        "delivered), STAGE as the attempts log spells it (reply: any reply, reply-end: "
        "a\n"
        "reply to the final dot), OUTCOME when it is final, RETRY, STATUS (enhanced "
        "status\n"
        "code) and MEANING. docs/codes.md tells more.\n"
        "\n"
        "Exit status: 0; 64 usage; 74 standard output cannot be written.\n",
        stdout);
}

int cmd_codes(int argc, char **argv)
{
    static const struct option longs[] = {
        {"lang", required_argument, NULL, 'L'},
        {"format", required_argument, NULL, 'F'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool japanese = false, tsv = false;
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, ":h", longs, NULL)) != -1;) {
        switch (key) {
        case 'h':
            help();
            return 0;
        case 'L':
            japanese = strcmp(optarg, "ja") == 0;
            if (!japanese && strcmp(optarg, "en") != 0)
                return usage_error(argv[0], "--lang \"%s\" is not en or ja", optarg);
            break;
        case 'F':
            tsv = strcmp(optarg, "tsv") == 0;
            if (!tsv && strcmp(optarg, "text") != 0)
                return usage_error(argv[0], "--format \"%s\" is not text or tsv",
                                   optarg);
            break;
        case ':':
            return usage_error(argv[0], "option %s needs a value", argv[optind - 1]);
        default:
            return usage_error(argv[0], "unknown option %s", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return usage_error(argv[0], "unexpected \"%s\"", argv[optind]);
    struct buf out = {0};
    codes_print(&out, tsv        ? CODES_TSV
                      : japanese ? CODES_TEXT_JAPANESE
                                 : CODES_TEXT_ENGLISH);
    bool written = fwrite(out.p, 1, out.n, stdout) == out.n;
    buf_finish(&out);
    return written ? 0 : EX_IOERR;
}
