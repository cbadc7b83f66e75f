/* bench_lending ROWS: what a row costs the scheduler, from its domain's answer to its
 * result, over one domain and over many, with limits of each site's own and with one
 * budget for all. Receivers that take everything; no wire, no log. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "queue/scheduler.h"

enum { TURN_US = 1000, A_TURN = 4, CONNECTIONS = 1000 };

struct lane {
    bool open, last;
    uint32_t left, n, at; /* left: messages it may still send */
    uint32_t rows[2 * LEASE_MAX];
};

static struct lane lanes[CONNECTIONS];

static struct recipients *make_list(uint32_t rows, uint32_t domains)
{
    struct buf text = {0};
    buf_add_str(&text, "email\n");
    for (uint32_t i = 0; i < rows; i++)
        buf_printf(&text, "r%u@d%u.example\n", i, i % domains);
    int fd = memfd_create("list", MFD_CLOEXEC);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
        abort();
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct fault f = {0};
    struct recipients *list =
        recipients_open(&(struct recipients_params){.path = path}, &f);
    if (!list)
        abort();
    close(fd);
    buf_finish(&text);
    return list;
}

/* What the resolver has made: not the scheduler's cost. */
static struct mx_set **make_answers(const struct recipients *list)
{
    struct ip ip;
    ip_parse("192.0.2.1", &ip);
    uint32_t n = recipients_domains(list);
    struct mx_set **sets = mem_alloc(n * sizeof *sets);
    for (uint32_t domain = 0; domain < n; domain++) {
        char *name = (char *)(uintptr_t)recipients_domain_name(list, domain);
        struct mx_host host = {.name = name, .addresses_n = 1, .addresses = &ip};
        struct mx_set set = {.site = name,
                             .key = name,
                             .hosts = &host,
                             .hosts_n = 1,
                             .expires_us = INT64_MAX};
        sets[domain] = mx_set_copy(&set);
    }
    return sets;
}

static void answer(struct scheduler *s, struct mx_set **sets, int64_t now)
{
    for (uint32_t domain; (domain = scheduler_ask(s)) != RECIPIENTS_NO_DOMAIN;)
        scheduler_resolved(s, domain, sets[domain], now);
}

static void take(const struct order *o)
{
    struct lane *lane = &lanes[o->connection];
    if (o->kind == ORDER_OPEN)
        *lane = (struct lane){.open = true, .left = o->messages};
    memmove(lane->rows, lane->rows + lane->at,
            (lane->n - lane->at) * sizeof lane->rows[0]);
    lane->n -= lane->at;
    lane->at = 0;
    memcpy(lane->rows + lane->n, o->rows, (size_t)o->rows_n * sizeof o->rows[0]);
    lane->n += (uint32_t)o->rows_n;
    lane->last = lane->last || o->last;
}

/* Each connection gets some rows through, or is over. */
static void go_on(struct scheduler *s, int64_t now)
{
    static const struct settlement good = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct lane *lane = &lanes[i];
        if (!lane->open)
            continue;
        for (int k = 0; k < A_TURN && lane->at < lane->n; k++, lane->left--)
            scheduler_settle(s, i, lane->rows[lane->at++], &good, now);
        if (lane->at == lane->n && (lane->last || lane->left == 0)) {
            lane->open = false;
            scheduler_closed(s, i, CLOSED_CLEAN, false, now);
        }
    }
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cost_us(uint32_t rows, uint32_t domains, uint32_t provider, int64_t rate)
{
    static const int64_t intervals[] = {1800000};
    static struct order order;
    struct recipients *list = make_list(rows, domains);
    int64_t now = 1;
    struct scheduler_params params = {
        .list = list,
        .policy = {.retry_interval_ms = intervals,
                   .retry_intervals = 1,
                   .lifetime_ms = 24 * 3600 * 1000,
                   .connections = 20,
                   .messages_per_connection = 100,
                   .provider = provider,
                   .message_rate = rate},
        .connections_total = CONNECTIONS,
        .now_us = now,
    };
    struct mx_set **sets = make_answers(list);
    double began = processor_seconds();
    struct scheduler *s = scheduler_create(&params);
    for (; !scheduler_done(s); now += TURN_US) {
        scheduler_advance(s, now);
        answer(s, sets, now);
        while (scheduler_recall(s, &order, now))
            ; /* nobody stalls */
        while (scheduler_next(s, &order, now) != ORDER_NONE)
            take(&order);
        go_on(s, now);
    }
    double took = processor_seconds() - began;
    memset(lanes, 0, sizeof lanes);
    scheduler_destroy(s);
    free(sets);
    recipients_free(list);
    return took * 1e6 / rows;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *words;
        uint32_t provider;
        int64_t rate;
    } cases[] = {{"limits of each site's own", 0, 0},
                 {"one budget for all", 1, 0},
                 {"one budget, 10,000 messages a second", 1, INT64_C(36000000)}};
    uint32_t rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 500000;
    printf("| | 1 domain | 1,000 domains | 50,000 domains |\n|---|---:|---:|---:|\n");
    for (int i = 0; i < 3; i++) {
        printf("| %s |", cases[i].words);
        for (uint32_t domains = 1; domains <= 50000;
             domains = domains == 1 ? 1000 : domains * 50) {
            printf(" %.2f µs |",
                   cost_us(rows, domains, cases[i].provider, cases[i].rate));
            fflush(stdout);
        }
        printf("\n");
    }
    return 0;
}
