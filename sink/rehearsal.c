#include "sink/rehearsal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "base/mem.h"
#include "sink/receiver.h"
#include "sink/spread.h"

enum {
    PORT_TRIES = 20,
    FIRST_HOST = 2, /* 127.0.0.2 is the first mood's address */
};

struct rehearsal {
    pid_t pid;
    int control; /* one socket: the child says ready, we close our side, it says counts
                  */
    int dns_port;
    int smtp_port;
};

/* What the child says first. */
struct ready {
    int dns_port; /* negative errno: what failed */
    int smtp_port;
};

/* The child's own. */
struct child {
    uv_loop_t loop;
    uv_poll_t control;
    struct sink_world *world;
    struct receiver *receiver;
    struct answers answers;
    struct spread spread;
    uint8_t addresses[SPREAD_MOODS_MAX][4];
};

static bool send_all(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, void *p, size_t n)
{
    char *at = p;
    while (n) {
        ssize_t got = recv(fd, at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

/* ---- the child ---- */

/* Nothing of the parent's may live on here: not its locks, not its terminal. */
static void forget_parent(int control, int record)
{
    int low = record < 0 || control < record ? control : record;
    int high = control < record ? record : control;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    if (low > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, (unsigned)low - 1, 0);
    if (high > low + 1)
        close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    close_range((unsigned)high + 1, ~0u, 0);

    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    sigset_t none;
    sigemptyset(&none);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, NULL);

    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Each mood at its address, all on the port that the first one got; 0 or negative
 * errno. */
static int listen_moods(struct child *c, int *port_out)
{
    int port = 0;
    for (int i = 0; i < sink_moods_n; i++) {
        char address[32];
        snprintf(address, sizeof address, "127.0.0.%d", FIRST_HOST + i);
        port = receiver_listen(c->receiver, address, port, &sink_moods[i]);
        if (port < 0)
            return port;
    }
    *port_out = port;
    return 0;
}

static int listen_all(struct child *c, struct ready *out)
{
    int error = -EADDRINUSE;
    for (int i = 0; i < PORT_TRIES && error == -EADDRINUSE; i++) {
        c->receiver = receiver_create(&c->loop, c->world);
        error = listen_moods(c, &out->smtp_port);
        if (!error)
            break;
        receiver_close(c->receiver);
        uv_run(&c->loop, UV_RUN_NOWAIT);
    }
    if (error)
        return error;
    for (int i = 0; i < sink_moods_n; i++)
        memcpy(c->addresses[i], (uint8_t[]){127, 0, 0, (uint8_t)(FIRST_HOST + i)}, 4);
    c->answers = (struct answers){
        .group_of = spread_group_of,
        .arg = &c->spread,
        .addresses = (const uint8_t(*)[4])c->addresses,
        .groups = sink_moods_n,
    };
    out->dns_port = receiver_listen_dns(c->receiver, "127.0.0.1", 0, &c->answers);
    return out->dns_port < 0 ? out->dns_port : 0;
}

/* The parent never writes: something to read is its end, wanted or not. */
static void on_control(uv_poll_t *poll, int status, int events)
{
    struct child *c = poll->data;
    uv_os_fd_t fd;
    (void)status;
    (void)events;
    sink_world_flush(c->world);
    if (uv_fileno((uv_handle_t *)poll, &fd) == 0)
        send_all(fd, sink_world_counts(c->world), sizeof(struct sink_counts));
    _exit(0);
}

static _Noreturn void be_child(int control, int record, const struct spread *spread,
                               pid_t parent)
{
    static struct child c;
    struct ready ready = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    forget_parent(control, record);
    c.spread = *spread;
    c.world = sink_world_create(record, NULL);
    int error = uv_loop_init(&c.loop);
    if (!error)
        error = listen_all(&c, &ready);
    if (!error)
        error = uv_poll_init(&c.loop, &c.control, control);
    if (error)
        ready.dns_port = error;
    if (!send_all(control, &ready, sizeof ready) || error)
        _exit(1);
    c.control.data = &c;
    uv_poll_start(&c.control, UV_READABLE, on_control);
    uv_run(&c.loop, UV_RUN_DEFAULT);
    _exit(1);
}

/* ---- the parent ---- */

struct rehearsal *rehearsal_start(const struct rehearsal_params *params,
                                  struct fault *f)
{
    struct spread spread;
    int ends[2];
    int record = -1;
    if (!spread_init(&spread, params->moods, params->moods_n, f))
        return NULL;
    if (params->record) {
        record = open(params->record,
                      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        if (record < 0) {
            fault_set(f, -20, "cannot make the receiver's record \"%s\": %s",
                      params->record, strerror(errno));
            return NULL;
        }
    }
    pid_t parent = getpid();
    pid_t pid = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
        pid = fork();
        if (pid == 0)
            be_child(ends[1], record, &spread, parent);
        close(ends[1]);
        if (pid < 0)
            close(ends[0]);
    }
    int error = errno;
    if (record >= 0)
        close(record);
    if (pid < 0) {
        fault_set(f, 609, "cannot start the receiver: %s", strerror(error));
        return NULL;
    }
    struct rehearsal *r = mem_zero(1, sizeof *r);
    struct ready ready = {.dns_port = -ECHILD};
    r->pid = pid;
    r->control = ends[0];
    receive_all(r->control, &ready, sizeof ready);
    if (ready.dns_port < 0) {
        fault_set(f, 609, "the receiver cannot listen on loopback: %s",
                  strerror(-ready.dns_port));
        rehearsal_stop(r, &(struct sink_counts){0});
        return NULL;
    }
    r->dns_port = ready.dns_port;
    r->smtp_port = ready.smtp_port;
    return r;
}

int rehearsal_dns_port(const struct rehearsal *r)
{
    return r->dns_port;
}

int rehearsal_smtp_port(const struct rehearsal *r)
{
    return r->smtp_port;
}

bool rehearsal_stop(struct rehearsal *r, struct sink_counts *counts_out)
{
    *counts_out = (struct sink_counts){0};
    shutdown(r->control, SHUT_WR);
    struct sink_counts counts;
    bool alive = receive_all(r->control, &counts, sizeof counts);
    if (alive)
        *counts_out = counts;
    close(r->control);
    while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free(r);
    return alive;
}
