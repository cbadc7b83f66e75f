#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "sink/receiver_scenario.h"
#include "sink/serve.h"

enum { LISTEN_MAX = 32, SCENARIOS_MAX = 250 };

static const char words[] =
    "Usage: hikyaku sink --listen ADDR:PORT[=MOOD]... [OPTION]...\n"
    "The built-in receiver by itself: an SMTP server that takes mail, counts it and "
    "forgets\n"
    "it. Each --listen may have its own mood. It ends with SIGINT or SIGTERM and "
    "prints what\n"
    "it counted.\n"
    "\n"
    "Options:\n"
    "  -L, --listen ADDR:PORT[=MOOD]  listen there ([v6]:port for IPv6, port 0: any)\n"
    "  -R, --record FILE              write a line for each recipient accepted, before "
    "its\n"
    "                                 250: time, recipient, sender, Message-ID, bytes\n"
    "  -K, --keep DIR                 keep each message there as N.eml\n"
    "  -T, --cert FILE                certificate for moods with TLS, PEM; else they "
    "sign\n"
    "                                 one themselves\n"
    "  -Y, --key FILE                 its key, when that is not in the same file\n"
    "  -S, --scenario FILE            play what the file says instead, once for each "
    "file at\n"
    "                                 the next address: docs/scenarios.md\n"
    "  -E, --starttls                 play scenarios under TLS, with STARTTLS before "
    "them\n"
    "  -C, --cut HOW                  cut what scenarios say: whole, bytes, random\n"
    "  -h, --help                     this text\n"
    "\n"
    "Moods:\n";

static void help(void)
{
    fputs(words, stdout);
    for (int i = 0; i < sink_moods_n; i++)
        printf("  %-10s %s\n", sink_moods[i].name, sink_moods[i].meaning);
}

static void on_listening(void *arg, const struct serve_listen *l, int port)
{
    (void)arg;
    printf("listening at %s port %d, mood %s\n", l->address, port, l->mood->name);
    fflush(stdout);
}

static void on_scenario(void *arg, const char *name, const char *address, int port)
{
    (void)arg;
    printf("listening at %s port %d, scenario %s\n", address, port, name);
    fflush(stdout);
}

static void on_complaint(void *arg, const char *said)
{
    (void)arg;
    printf("complaint: %s\n", said);
    fflush(stdout);
}

static bool parse_cut(const char *text, enum scenario_cut *out)
{
    static const char *const cuts[] = {
        [SCENARIO_WHOLE] = "whole",
        [SCENARIO_BYTES] = "bytes",
        [SCENARIO_RANDOM] = "random",
    };
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, cuts[i]) == 0) {
            *out = (enum scenario_cut)i;
            return true;
        }
    }
    return false;
}

static int play_scenarios(struct scenario_params *params,
                          const struct serve_params *listen)
{
    struct scenario_counts c;
    struct fault f = {0};
    params->address = listen->listens[0].address;
    params->port = listen->listens[0].port;
    params->on_listening = on_scenario;
    params->on_complaint = on_complaint;
    if (!scenario_serve(params, &c, &f))
        return complain(&f);
    printf("scenarios %d  connections %" PRIu64 "  complaints %" PRIu64 "\n",
           params->files_n, c.connections, c.complaints);
    return c.complaints ? EX_PROTOCOL : 0;
}

/* "127.0.0.1:2525=distant" or "[::1]:2525"; cuts the text into pieces when it is good.
 */
static bool parse_listen(char *text, struct serve_listen *out)
{
    char *equals = strchr(text, '=');
    char *stop = equals ? equals : text + strlen(text);
    out->mood = sink_mood_find(span_of(equals ? equals + 1 : "accept"));
    char *colon = memrchr(text, ':', (size_t)(stop - text));
    if (!out->mood || !colon || colon == text || colon[1] < '0' || colon[1] > '9')
        return false;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end != stop || port > 65535)
        return false;
    *colon = '\0';
    size_t n = strlen(text);
    if (text[0] == '[' && text[n - 1] == ']') {
        text[n - 1] = '\0';
        text++;
    }
    out->address = text;
    out->port = (int)port;
    return true;
}

static int serve(const struct serve_params *params)
{
    struct sink_counts c;
    struct fault f = {0};
    bool good = sink_serve(params, &c, &f);
    if (good || c.connections)
        printf("connections %" PRIu64 " (refused %" PRIu64 ")  messages %" PRIu64
               "  recipients %" PRIu64 "  refused %" PRIu64 "  deferred %" PRIu64
               "  bytes %" PRIu64 "  bare %" PRIu64 "  early %" PRIu64
               "  bad-commands %" PRIu64 "  secured %" PRIu64 "  authenticated %" PRIu64
               "\n",
               c.connections, c.refused_connections, c.messages, c.recipients,
               c.refused, c.deferred, c.bytes, c.bare, c.early, c.bad_commands,
               c.secured, c.authenticated);
    return good ? 0 : complain(&f);
}

int cmd_sink(int argc, char **argv)
{
    static const struct option longs[] = {
        {"listen", required_argument, NULL, 'L'},
        {"record", required_argument, NULL, 'R'},
        {"keep", required_argument, NULL, 'K'},
        {"cert", required_argument, NULL, 'T'},
        {"key", required_argument, NULL, 'Y'},
        {"scenario", required_argument, NULL, 'S'},
        {"cut", required_argument, NULL, 'C'},
        {"starttls", no_argument, NULL, 'E'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct serve_listen listens[LISTEN_MAX];
    struct serve_params params = {.listens = listens, .on_listening = on_listening};
    const char *files[SCENARIOS_MAX];
    struct scenario_params scenarios = {.files = files};
    opterr = 0;
    for (int key;
         (key = getopt_long(argc, argv, "L:R:K:T:Y:S:C:Eh", longs, NULL)) != -1;) {
        switch (key) {
        case 'L':
            if (params.listens_n == LISTEN_MAX)
                return usage_error(argv[0], "at most %d times --listen", LISTEN_MAX);
            if (!parse_listen(optarg, &listens[params.listens_n++]))
                return usage_error(argv[0], "\"%s\" is not ADDR:PORT[=MOOD]", optarg);
            break;
        case 'R':
            params.record = optarg;
            break;
        case 'K':
            params.keep_dir = optarg;
            break;
        case 'T':
            params.cert = optarg;
            break;
        case 'Y':
            params.key = optarg;
            break;
        case 'S':
            if (scenarios.files_n == SCENARIOS_MAX)
                return usage_error(argv[0], "at most %d scenarios", SCENARIOS_MAX);
            files[scenarios.files_n++] = optarg;
            break;
        case 'E':
            scenarios.secure = true;
            break;
        case 'C':
            if (!parse_cut(optarg, &scenarios.cut))
                return usage_error(argv[0], "--cut is whole, bytes or random");
            break;
        case 'h':
            help();
            return 0;
        default:
            return usage_error(argv[0], "bad option %s", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return usage_error(argv[0], "unexpected \"%s\"", argv[optind]);
    if (params.listens_n == 0)
        return usage_error(argv[0], "--listen is missing");
    if (params.key && !params.cert)
        return usage_error(argv[0], "--key belongs to --cert");
    if (scenarios.files_n)
        return play_scenarios(&scenarios, &params);
    return serve(&params);
}
