#include "cli/blast.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "engine/stream.h"

enum {
    START_LATE_MS = 3600 * 1000, /* longer ago is a mistake in the date */
    MESSAGE_MAX = 100 * 1024 * 1024,
    OWN_ADDRESSES_MAX = 256,
    MESSAGE_CHUNK = 64 * 1024
};

int exit_of_job(enum job_result result)
{
    switch (result) {
    case JOB_DONE:
        return 0;
    case JOB_BAD_NAME:
        return EX_USAGE;
    case JOB_CANNOT_OPEN:
        return EX_NOINPUT;
    case JOB_CANNOT_CREATE:
    case JOB_NAME_TAKEN:
        return EX_CANTCREAT;
    case JOB_BUSY:
        return EX_TEMPFAIL;
    case JOB_IO:
        break;
    }
    return EX_IOERR;
}

static int complain_as(const struct fault *f, int status)
{
    complain(f);
    return status;
}

static int read_message(struct blast *b)
{
    const char *path = b->options->message;
    struct fault f = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && b->message.n <= MESSAGE_MAX) {
        buf_reserve(&b->message, MESSAGE_CHUNK);
        n = read(fd, b->message.p + b->message.n, MESSAGE_CHUNK);
        if (n > 0)
            b->message.n += (size_t)n;
    }
    if (n < 0)
        fault_set(&f, -20, "cannot open message \"%s\": %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return complain_as(&f, EX_NOINPUT);
    if (b->message.n > MESSAGE_MAX) {
        fault_set(&f, -21, "%s:1: larger than %d bytes", path, MESSAGE_MAX);
        return complain(&f);
    }
    return -1;
}

static int parse_option(const char *command, const char *name, const char *text,
                        struct address *out)
{
    if (!text || address_parse(span_of(text), out) == ADDRESS_OK)
        return -1;
    return usage_error(command, "%s \"%s\": %s", name, text,
                       out->why ? out->why : "no address");
}

/* The addresses of this machine, for the word "self". */
static int own_addresses(struct ip *out)
{
    struct ifaddrs *all;
    int n = 0;
    if (getifaddrs(&all) != 0)
        return 0;
    for (struct ifaddrs *i = all; i && n < OWN_ADDRESSES_MAX; i = i->ifa_next) {
        if (!i->ifa_addr)
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
            memcpy(out[n].bytes, mapped, sizeof mapped);
            memcpy(out[n].bytes + 12,
                   &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, 4);
            n++;
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            memcpy(out[n].bytes,
                   &((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr, 16);
            n++;
        }
    }
    freeifaddrs(all);
    return n;
}

static int make_deny(struct blast *b)
{
    struct ip own[OWN_ADDRESSES_MAX];
    int own_n = own_addresses(own);
    struct fault f = {0};
    const struct conf_strings *words = &b->conf->deny_destinations;
    b->deny = deny_create((const char *const *)words->items, words->n, own, own_n, &f);
    return b->deny ? -1 : complain(&f);
}

static int make_trust(struct blast *b)
{
    struct fault f = {0};
    return trust_open(&b->trust, b->conf, &f) ? -1 : complain(&f);
}

static int make_relays(struct blast *b)
{
    struct fault f = {0};
    return relays_open(&b->relays, b->conf, &f) ? -1 : complain(&f);
}

static int make_replies(struct blast *b)
{
    struct fault f = {0};
    return replies_open(&b->replies, b->conf, &f) ? -1 : complain(&f);
}

static void make_warmups(struct blast *b)
{
    const struct conf *c = b->conf;
    if (c->warmups_n == 0)
        return;
    b->warmups = mem_zero((size_t)c->sources_n, sizeof *b->warmups);
    for (int i = 0; i < c->sources_n; i++) {
        const struct conf_warmup *from = conf_warmup_of(c, &c->sources[i]);
        struct warmup_plan *to = &b->warmups[i];
        if (!from)
            continue;
        bool good = day_parse(span_of(from->start), &to->start);
        assert(good);
        to->caps = from->caps.items;
        to->caps_n = from->caps.n;
    }
}

/* An address that is not ours is told before anything is sent. */
static int make_sources(struct blast *b)
{
    const struct conf *c = b->conf;
    struct fault f = {0};
    if (b->options->rehearsal)
        return -1;
    b->sources = mem_zero((size_t)c->sources_n, sizeof *b->sources);
    make_warmups(b);
    for (; b->sources_n < c->sources_n; b->sources_n++) {
        const struct conf_named *from = &c->sources[b->sources_n];
        struct worker_source *to = &b->sources[b->sources_n];
        to->name = from->name;
        to->helo_name = from->values->source.hostname;
        bool good = ip_parse(from->values->source.address, &to->address);
        assert(good);
        int error = stream_try_bind(&to->address);
        if (error) {
            fault_set(&f, -7, "%s:%d: source \"%s\": cannot send from %s: %s",
                      from->file, from->line, from->name, from->values->source.address,
                      stream_words(error));
            return complain(&f);
        }
    }
    return -1;
}

int blast_ready(struct blast *b)
{
    int status = make_deny(b);
    if (status < 0)
        status = make_relays(b);
    if (status < 0)
        status = make_replies(b);
    if (status < 0)
        status = make_sources(b);
    if (status < 0)
        status = make_trust(b);
    return status >= 0 ? status : read_message(b);
}

/* "06:00" as --until is the one after the start. */
static int parse_times(struct blast *b, const char *command)
{
    const struct blast_options *o = b->options;
    static const char form[] = "is neither HH:MM nor like 2026-11-22T08:30:00+09:00";
    if (o->start && !when_parse(span_of(o->start), b->created_ms, &b->start_ms))
        return usage_error(command, "--start \"%s\" %s", o->start, form);
    if (b->start_ms && b->start_ms < b->created_ms - START_LATE_MS)
        return usage_error(command, "--start \"%s\" was more than an hour ago",
                           o->start);
    int64_t start_ms = b->start_ms > b->created_ms ? b->start_ms : b->created_ms;
    if (o->until && !when_parse(span_of(o->until), start_ms, &b->until_ms))
        return usage_error(command, "--until \"%s\" %s", o->until, form);
    if (o->until && b->until_ms <= start_ms)
        return usage_error(command, "--until \"%s\" is not after the start", o->until);
    return -1;
}

int blast_open(struct blast *b, const struct blast_options *options,
               const char *command)
{
    *b = (struct blast){.options = options};
    b->created_ms = engine_clock_ms();
    if (getrandom(b->secret, sizeof b->secret, 0) != sizeof b->secret)
        die_oom();
    int status = parse_option(command, "--from", options->from, &b->from);
    if (status < 0)
        status = parse_option(command, "--to", options->to, &b->to);
    if (status < 0)
        status = parse_times(b, command);
    if (status >= 0)
        return status;
    struct fault f = {0};
    b->conf = conf_load(options->config, false, &f);
    if (!b->conf)
        return complain(&f);
    return blast_ready(b);
}

int blast_open_list(struct blast *b, const char *path)
{
    struct fault f = {0};
    struct recipients_params params = {
        .path = path,
        .name =
            strcmp(b->options->list, "-") == 0 ? "standard input" : b->options->list,
        .address_column = b->options->address_column,
        .exclude = b->options->exclude,
        .allow_duplicates = b->options->allow_duplicates,
        .first_row = b->options->first_row,
        .last_row = b->options->last_row,
        .to = b->to.n ? b->to.text : NULL,
    };
    b->list = recipients_open(&params, &f);
    return b->list ? -1 : complain(&f);
}

bool blast_may_share(const struct blast *b, const struct conf *conf, struct fault *f)
{
    struct buf place = {0};
    bool wrong = !template_is_common(b->template) && conf_shares_messages(conf, &place);
    if (wrong)
        fault_set(f, -7,
                  "%s: recipients_per_message: %s is not the same for all recipients: "
                  "it must have a To of its own, and no placeholder",
                  buf_cstr(&place), b->options->message);
    buf_finish(&place);
    return !wrong;
}

int blast_compile(struct blast *b)
{
    struct fault f = {0};
    struct template_params params = {
        .file = b->options->message,
        .columns = recipients_column_names(b->list),
        .columns_n = recipients_columns(b->list),
        .address_column = recipients_address_column(b->list),
        .hostname = b->conf->hostname,
        .secret = b->secret,
        .secret_n = sizeof b->secret,
        .created_ms = b->created_ms,
    };
    b->template = template_compile(buf_span(&b->message), &params, &f);
    if (!b->template)
        return complain(&f);
    if (!blast_may_share(b, b->conf, &f))
        return complain(&f);
    if (b->from.n)
        return -1;
    if (address_parse(span_of(template_from(b->template)), &b->from) == ADDRESS_OK)
        return -1;
    fault_set(&f, -21, "%s: From: is no envelope sender (%s); use --from",
              b->options->message, b->from.why ? b->from.why : "no address");
    return complain(&f);
}

void blast_close(struct blast *b)
{
    template_free(b->template);
    recipients_free(b->list);
    deny_free(b->deny);
    relays_close(&b->relays);
    trust_close(&b->trust);
    replies_close(&b->replies);
    free(b->sources);
    free(b->warmups);
    conf_free(b->conf);
    buf_finish(&b->message);
}

struct resolver_params blast_resolver(const struct blast *b)
{
    return (struct resolver_params){
        .servers = (const char *const *)b->conf->resolver.servers.items,
        .servers_n = b->conf->resolver.servers.n,
        .timeout_ms = b->conf->resolver.timeout,
        .tries = (int)b->conf->resolver.tries,
        .in_flight = (int)b->conf->resolver.in_flight,
        .deny = b->deny,
    };
}

struct engine_params blast_engine(const struct blast *b)
{
    struct engine_params e = {
        .list = b->list,
        .created_ms = b->created_ms,
        .start_ms = b->start_ms,
        .until_ms = b->until_ms,
        .workers = (int)b->conf->workers,
        .warmups = b->warmups,
        .worker =
            {
                .template = b->template,
                .deny = b->deny,
                .sender = b->from.text,
                .sources = b->sources,
                .sources_n = b->sources_n,
                .tls = b->trust.kinds,
                .tls_n = b->trust.kinds_n,
            },
        .resolver = blast_resolver(b),
        .reactions = b->replies.compiled,
        .storm = {(uint32_t)b->conf->storm.window, (uint32_t)b->conf->storm.min,
                  (uint32_t)b->conf->storm.failures,
                  (uint32_t)b->conf->storm.consecutive},
        .network_silence_us = b->conf->network_silence * 1000,
    };
    memcpy(&e.seed, b->secret, sizeof e.seed);
    return e;
}
