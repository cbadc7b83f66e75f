#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "sink/receiver.h"

enum { LISTEN_MAX = 32, REPORT_MS = 1000 };

static const char words[] =
    "Usage: hikyaku sink [OPTION]... --listen ADDR:PORT[=MOOD]...\n"
    "The built-in receiver by itself: an SMTP server that takes mail, counts it and "
    "forgets\n"
    "it. Each --listen may have its own mood. It prints what it counted once a second "
    "while\n"
    "something changes, and at the end (SIGINT, SIGTERM).\n"
    "\n"
    "Options:\n"
    "  -L, --listen ADDR:PORT[=MOOD]  listen there ([v6]:port for IPv6; default mood "
    "accept)\n"
    "  -R, --record FILE              append a line for each recipient accepted, "
    "before its\n"
    "                                 mail is: time, recipient, sender, Message-ID, "
    "bytes\n"
    "  -K, --keep DIR                 keep each message there as N.eml\n"
    "  -q, --quiet                    print the counts only at the end\n"
    "  -h, --help                     this text\n";

struct sink_run {
    uv_loop_t loop;
    uv_signal_t interrupt, terminate;
    uv_timer_t timer;
    struct sink_world *world;
    struct receiver *receiver;
    struct sink_counts shown;
    bool quiet;
};

static void print_counts(const struct sink_counts *c)
{
    printf("connections %" PRIu64 " (open %d, refused %" PRIu64 ")  messages %" PRIu64
           "  recipients %" PRIu64 "  refused %" PRIu64 "  deferred %" PRIu64
           "  bytes %" PRIu64 "\n",
           c->connections, c->open, c->refused_connections, c->messages, c->recipients,
           c->refused, c->deferred, c->bytes);
    fflush(stdout);
}

static void stop(struct sink_run *run)
{
    if (uv_is_closing((uv_handle_t *)&run->timer))
        return;
    receiver_close(run->receiver);
    uv_close((uv_handle_t *)&run->timer, NULL);
    uv_close((uv_handle_t *)&run->interrupt, NULL);
    uv_close((uv_handle_t *)&run->terminate, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    stop(handle->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct sink_run *run = timer->data;
    const struct sink_counts *now = sink_world_counts(run->world);
    if (now->record_failed) {
        stop(run);
        return;
    }
    if (!run->quiet && memcmp(now, &run->shown, sizeof *now) != 0)
        print_counts(now);
    run->shown = *now;
}

/* "127.0.0.1:2525=distant" or "[::1]:2525". */
static bool listen_at(struct sink_run *run, char *text)
{
    const struct mood *mood = sink_mood_find(SPAN("accept"));
    char *equals = strchr(text, '=');
    if (equals) {
        *equals = '\0';
        mood = sink_mood_find(span_of(equals + 1));
        if (!mood) {
            fprintf(stderr, "hikyaku: sink: no mood \"%s\"; there are:\n", equals + 1);
            for (int i = 0; i < sink_moods_n; i++)
                fprintf(stderr, "  %-10s %s\n", sink_moods[i].name,
                        sink_moods[i].meaning);
            return false;
        }
    }
    char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == text || end == colon + 1 || *end || port > 65535) {
        fprintf(stderr, "hikyaku: sink: \"%s\" is not ADDR:PORT\n", text);
        return false;
    }
    *colon = '\0';
    size_t n = strlen(text);
    bool bracketed = n > 2 && text[0] == '[' && text[n - 1] == ']';
    if (bracketed) {
        text[n - 1] = '\0';
        text++;
    }
    int got = receiver_listen(run->receiver, text, (int)port, mood);
    if (got < 0) {
        fprintf(stderr, "hikyaku: sink: cannot listen at %s port %lu: %s\n", text, port,
                strerror(-got));
        return false;
    }
    printf("listening at %s port %d, mood %s\n", text, got, mood->name);
    fflush(stdout);
    return true;
}

static int run_sink(struct sink_run *run, char **listen, int listen_n, int record,
                    const char *keep)
{
    if (uv_loop_init(&run->loop) != 0)
        return EX_OSERR;
    run->world = sink_world_create(record, keep);
    run->receiver = receiver_create(&run->loop, run->world);
    uv_timer_init(&run->loop, &run->timer);
    uv_signal_init(&run->loop, &run->interrupt);
    uv_signal_init(&run->loop, &run->terminate);
    run->timer.data = run->interrupt.data = run->terminate.data = run;
    bool good = true;
    for (int i = 0; good && i < listen_n; i++)
        good = listen_at(run, listen[i]);
    if (good) {
        uv_timer_start(&run->timer, on_timer, REPORT_MS, REPORT_MS);
        uv_signal_start(&run->interrupt, on_signal, SIGINT);
        uv_signal_start(&run->terminate, on_signal, SIGTERM);
    } else {
        stop(run);
    }
    uv_run(&run->loop, UV_RUN_DEFAULT);
    uv_loop_close(&run->loop);
    struct sink_counts counts = *sink_world_counts(run->world);
    if (good)
        print_counts(&counts);
    sink_world_destroy(run->world);
    if (counts.record_failed) {
        fprintf(stderr, "hikyaku: sink: the record cannot be written\n");
        return EX_IOERR;
    }
    return good ? 0 : EX_UNAVAILABLE;
}

int cmd_sink(int argc, char **argv)
{
    static const struct option longs[] = {
        {"listen", required_argument, NULL, 'L'},
        {"record", required_argument, NULL, 'R'},
        {"keep", required_argument, NULL, 'K'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct sink_run run = {0};
    char *listen[LISTEN_MAX];
    int listen_n = 0, record = -1;
    const char *keep = NULL;
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, "L:R:K:qh", longs, NULL)) != -1;) {
        switch (key) {
        case 'L':
            if (listen_n == LISTEN_MAX)
                return usage_error(argv[0], "at most %d times --listen", LISTEN_MAX);
            listen[listen_n++] = optarg;
            break;
        case 'R':
            record = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            if (record < 0) {
                fprintf(stderr, "hikyaku: sink: cannot open \"%s\": %s\n", optarg,
                        strerror(errno));
                return EX_CANTCREAT;
            }
            break;
        case 'K':
            keep = optarg;
            break;
        case 'q':
            run.quiet = true;
            break;
        case 'h':
            fputs(words, stdout);
            return 0;
        default:
            return usage_error(argv[0], "bad option %s", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return usage_error(argv[0], "unexpected \"%s\"", argv[optind]);
    if (listen_n == 0)
        return usage_error(argv[0], "--listen is missing");
    return run_sink(&run, listen, listen_n, record, keep);
}
