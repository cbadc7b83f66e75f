/* The shell around lookups.c: c-ares and libuv. A server has two c-ares channels, one
 * for UDP and one for TCP: in c-ares a broken TCP connection ends all queries of its
 * channel, those on UDP as well. c-ares may call back from inside ares_query; callers
 * of resolver_lookup are only called from the kick timer, so that they may do anything.
 */
#include "resolver/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "resolver/lookups.h"

enum {
    EDNS_SIZE = 1232, /* what passes everywhere unfragmented: DNS flag day 2020 */
    RECEIVE_BUFFER_EACH = 4096, /* of kernel memory, for one answer */
    TICKS_A_TIMEOUT = 4,
    TICK_MAX_MS = 250,
    TICK_MIN_MS = 5,
    ADDRESS_TEXT_MAX = 128,
    DNS_PORT = 53,
};

struct server {
    struct resolver *r;
    int at; /* in r->servers */
    ares_channel udp;
    ares_channel tcp;
};

struct poll {
    uv_poll_t handle;
    struct resolver *r;
    ares_channel channel;
    ares_socket_t fd;
    struct link link; /* in r->polls */
};

struct resolver {
    uv_loop_t *loop;
    uv_timer_t kick; /* at once: answers to give, questions to send */
    uv_timer_t tick; /* while busy */
    int handles;     /* not yet closed */
    bool closing;
    uint64_t tick_ms;
    struct lookups *lookups;
    struct link polls;
    int servers_n;
    struct server servers[SERVERS_MAX];
};

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

/* ---- questions ---- */

struct flight { /* what c-ares carries for us */
    struct resolver *r;
    struct asking *token;
};

static void on_answer(void *arg, int status, int timeouts, unsigned char *packet, int n)
{
    struct flight flight = *(struct flight *)arg;
    (void)timeouts;
    free(arg);
    if (flight.r->closing)
        return;
    if (status == ARES_ENOMEM)
        die_oom();
    if (packet && n > 0)
        lookups_answered(flight.r->lookups, flight.token, packet, (size_t)n, now_us());
    else
        lookups_silent(flight.r->lookups, flight.token, now_us());
}

static void on_probe(void *arg, int status, int timeouts, unsigned char *packet, int n)
{
    struct server *s = arg;
    (void)status;
    (void)timeouts;
    if (!s->r->closing)
        lookups_probed(s->r->lookups, s->at, packet && n > 0, now_us());
}

static void on_kick(uv_timer_t *timer);
static void on_tick(uv_timer_t *timer);

static void kick(struct resolver *r)
{
    if (!uv_is_active((uv_handle_t *)&r->kick))
        uv_timer_start(&r->kick, on_kick, 0, 0);
}

/* Send all that may be sent. Never called from inside c-ares. */
static void start(struct resolver *r)
{
    struct lookups_question q;
    while (lookups_next(r->lookups, now_us(), &q)) {
        struct flight *flight = mem_alloc(sizeof *flight);
        *flight = (struct flight){r, q.token};
        struct server *s = &r->servers[q.server];
        ares_query(q.tcp ? s->tcp : s->udp, q.name, ns_c_in, (int)q.type, on_answer,
                   flight);
    }
    for (int at; (at = lookups_probe(r->lookups)) >= 0;)
        ares_query(r->servers[at].udp, ".", ns_c_in, ns_t_ns, on_probe,
                   &r->servers[at]);
    if (lookups_busy(r->lookups) && !uv_is_active((uv_handle_t *)&r->tick))
        uv_timer_start(&r->tick, on_tick, r->tick_ms, r->tick_ms);
    if (lookups_has_done(r->lookups))
        kick(r);
}

/* Call those whose answers are there. They may look up more, and may close us. */
static void on_kick(uv_timer_t *timer)
{
    struct resolver *r = timer->data;
    struct lookups_done done;
    while (lookups_done(r->lookups, &done)) {
        done.done(done.arg, done.set);
        if (r->closing)
            return;
    }
    start(r);
}

/* ---- sockets ---- */

/* Read what has come before judging that it is late: the loop may have been busy. */
static void process_late(struct resolver *r)
{
    for (int i = 0; i < r->servers_n; i++) {
        ares_socket_t fds[ARES_GETSOCK_MAXNUM];
        int set = ares_getsock(r->servers[i].udp, fds, ARES_GETSOCK_MAXNUM);
        ares_process_fd(r->servers[i].udp,
                        ARES_GETSOCK_READABLE(set, 0) ? fds[0] : ARES_SOCKET_BAD,
                        ARES_SOCKET_BAD);
        ares_process_fd(r->servers[i].tcp, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct resolver *r = timer->data;
    process_late(r);
    lookups_tick(r->lookups, now_us());
    start(r);
    if (!lookups_busy(r->lookups))
        uv_timer_stop(&r->tick);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poll *p = handle->data;
    struct resolver *r = p->r;
    ares_socket_t fd = p->fd;
    bool readable = status < 0 || (events & UV_READABLE);
    bool writable = status < 0 || (events & UV_WRITABLE);
    ares_process_fd(p->channel, readable ? fd : ARES_SOCKET_BAD,
                    writable ? fd : ARES_SOCKET_BAD); /* may close p */
    start(r);
}

static void on_closed(uv_handle_t *handle)
{
    struct resolver *r = handle->data;
    if (--r->handles == 0)
        free(r);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct poll *p = handle->data;
    struct resolver *r = p->r;
    free(p);
    if (--r->handles == 0)
        free(r);
}

static struct poll *find_poll(struct server *s, ares_socket_t fd)
{
    for (struct link *l = s->r->polls.next; l != &s->r->polls; l = l->next) {
        struct poll *p = CONTAINER_OF(l, struct poll, link);
        if (p->fd == fd)
            return p;
    }
    return NULL;
}

/* c-ares tells what it wants to know about a socket; neither: it closes it. */
static void on_socket(struct server *s, ares_channel channel, ares_socket_t fd,
                      int readable, int writable)
{
    struct resolver *r = s->r;
    struct poll *p = find_poll(s, fd);
    if (!readable && !writable) {
        if (!p)
            return;
        link_remove(&p->link);
        uv_close((uv_handle_t *)&p->handle, on_poll_closed);
        return;
    }
    if (!p) {
        p = mem_zero(1, sizeof *p);
        p->r = r;
        p->channel = channel;
        p->fd = fd;
        int failed = uv_poll_init(r->loop, &p->handle, fd);
        assert(!failed);
        p->handle.data = p;
        link_init(&p->link);
        link_append(&r->polls, &p->link);
        r->handles++;
    }
    uv_poll_start(&p->handle,
                  (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll);
}

static void on_udp_socket(void *data, ares_socket_t fd, int readable, int writable)
{
    struct server *s = data;
    on_socket(s, s->udp, fd, readable, writable);
}

static void on_tcp_socket(void *data, ares_socket_t fd, int readable, int writable)
{
    struct server *s = data;
    on_socket(s, s->tcp, fd, readable, writable);
}

/* ---- beginning and end ---- */

/* "address", "address:port" or "[v6]:port". */
static bool parse_server(const char *text, struct ares_addr_port_node *out)
{
    char address[ADDRESS_TEXT_MAX];
    const char *port = NULL;
    size_t n = strlen(text);
    if (text[0] == '[') {
        text++;
        n = strcspn(text, "]");
        if (text[n] != ']' || (text[n + 1] && text[n + 1] != ':'))
            return false;
        port = text[n + 1] ? text + n + 2 : NULL;
    } else if (strchr(text, ':') && strchr(text, ':') == strrchr(text, ':')) {
        n = strcspn(text, ":");
        port = text + n + 1;
    }
    struct ip ip;
    if (n >= sizeof address)
        return false;
    memcpy(address, text, n);
    address[n] = '\0';
    if (!ip_parse(address, &ip))
        return false;
    long number = DNS_PORT;
    if (port) {
        size_t digits = strspn(port, "0123456789");
        if (digits < 1 || digits > 5 || port[digits])
            return false;
        number = strtol(port, NULL, 10);
    }
    *out =
        (struct ares_addr_port_node){.udp_port = (int)number, .tcp_port = (int)number};
    if (ip_is_v4(&ip)) {
        out->family = AF_INET;
        memcpy(&out->addr.addr4, ip.bytes + 12, 4);
    } else {
        out->family = AF_INET6;
        memcpy(&out->addr.addr6, ip.bytes, 16);
    }
    return number > 0 && number <= UINT16_MAX;
}

/* The servers of resolv.conf, as c-ares reads it. Returns how many. */
static int system_servers(struct ares_addr_port_node out[SERVERS_MAX])
{
    ares_channel channel;
    struct ares_addr_port_node *found = NULL;
    int n = 0;
    if (ares_init(&channel) != ARES_SUCCESS)
        return 0;
    if (ares_get_servers_ports(channel, &found) == ARES_SUCCESS) {
        for (struct ares_addr_port_node *at = found; at && n < SERVERS_MAX;
             at = at->next) {
            out[n] = *at;
            out[n].udp_port = at->udp_port ? at->udp_port : DNS_PORT;
            out[n].tcp_port = at->tcp_port ? at->tcp_port : DNS_PORT;
            n++;
        }
        ares_free_data(found);
    }
    ares_destroy(channel);
    return n;
}

static int choose_servers(const struct resolver_params *params,
                          struct ares_addr_port_node out[SERVERS_MAX], struct fault *f)
{
    if (params->servers_n > SERVERS_MAX)
        return fault_set(f, -7, "resolver.servers: more than %d", SERVERS_MAX);
    for (int i = 0; i < params->servers_n; i++)
        if (!parse_server(params->servers[i], &out[i]))
            return fault_set(f, -7, "resolver.servers: \"%s\" is no address:port",
                             params->servers[i]);
    int n = params->servers_n ? params->servers_n : system_servers(out);
    if (n == 0)
        fault_set(f, -20, "no name server is known");
    return n;
}

static bool open_channel(struct server *s, ares_channel *out, int flags,
                         ares_sock_state_cb on_state,
                         const struct resolver_params *params,
                         const struct ares_addr_port_node *address)
{
    char none[] = "/dev/null"; /* all that resolv.conf says is given here */
    struct ares_options options = {
        .flags =
            flags | ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
        .timeout = (int)params->timeout_ms,
        .tries = 1,
        .socket_receive_buffer_size = params->in_flight * RECEIVE_BUFFER_EACH,
        .sock_state_cb = on_state,
        .sock_state_cb_data = s,
        .ednspsz = EDNS_SIZE,
        .resolvconf_path = none,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_DOMAINS |
               ARES_OPT_SOCK_RCVBUF | ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ |
               ARES_OPT_NOROTATE | ARES_OPT_RESOLVCONF;
    if (ares_init_options(out, &options, mask) != ARES_SUCCESS)
        return false;
    struct ares_addr_port_node one = *address;
    one.next = NULL;
    if (ares_set_servers_ports(*out, &one) == ARES_SUCCESS)
        return true;
    ares_destroy(*out);
    return false;
}

static bool open_server(struct server *s, const struct resolver_params *params,
                        const struct ares_addr_port_node *address)
{
    if (!open_channel(s, &s->udp, ARES_FLAG_IGNTC | ARES_FLAG_EDNS, on_udp_socket,
                      params, address))
        return false;
    if (open_channel(s, &s->tcp, ARES_FLAG_USEVC, on_tcp_socket, params, address))
        return true;
    ares_destroy(s->udp);
    return false;
}

static void close_servers(struct resolver *r, int n)
{
    for (int i = 0; i < n; i++) {
        ares_destroy(r->servers[i].udp);
        ares_destroy(r->servers[i].tcp);
    }
    ares_library_cleanup();
}

static uint64_t tick_of(int64_t timeout_ms)
{
    int64_t tick = timeout_ms / TICKS_A_TIMEOUT;
    if (tick < TICK_MIN_MS)
        return TICK_MIN_MS;
    return (uint64_t)(tick > TICK_MAX_MS ? TICK_MAX_MS : tick);
}

struct resolver *resolver_create(struct uv_loop_s *loop,
                                 const struct resolver_params *params, struct fault *f)
{
    assert(params->timeout_ms > 0 && params->timeout_ms <= INT32_MAX &&
           params->tries > 0 && params->in_flight > 0 &&
           params->in_flight <= RESOLVER_IN_FLIGHT_MAX);
    struct ares_addr_port_node addresses[SERVERS_MAX];
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        fault_set(f, -20, "c-ares cannot start");
        return NULL;
    }
    struct resolver *r = mem_zero(1, sizeof *r);
    int n = choose_servers(params, addresses, f);
    int opened = 0;
    for (; opened < n; opened++) {
        r->servers[opened].r = r;
        r->servers[opened].at = opened;
        if (!open_server(&r->servers[opened], params, &addresses[opened])) {
            fault_set(f, -20, "c-ares cannot start");
            break;
        }
    }
    if (opened < n || n == 0) {
        close_servers(r, opened);
        free(r);
        return NULL;
    }
    r->servers_n = n;
    r->lookups = lookups_create(&(struct lookups_params){
        .servers_n = n,
        .rounds = params->tries,
        .timeout_us = params->timeout_ms * 1000,
        .in_flight = params->in_flight,
        .cache = params->cache ? params->cache : RESOLVER_CACHE,
        .deny = params->deny,
    });
    r->loop = loop;
    r->tick_ms = tick_of(params->timeout_ms);
    link_init(&r->polls);
    uv_timer_init(loop, &r->kick);
    uv_timer_init(loop, &r->tick);
    r->kick.data = r->tick.data = r;
    r->handles = 2;
    return r;
}

void resolver_lookup(struct resolver *r, const char *domain, resolver_done_fn *done,
                     void *arg)
{
    assert(!r->closing);
    lookups_add(r->lookups, domain, done, arg, now_us());
    kick(r);
}

struct resolver_stats resolver_stats(const struct resolver *r)
{
    return lookups_stats(r->lookups);
}

void resolver_close(struct resolver *r)
{
    assert(!r->closing);
    r->closing = true;
    close_servers(r, r->servers_n); /* calls on_answer and on_socket for what is open */
    lookups_free(r->lookups);
    uv_close((uv_handle_t *)&r->kick, on_closed);
    uv_close((uv_handle_t *)&r->tick, on_closed);
}
