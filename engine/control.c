#include "engine/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"

enum {
    LINE_MAX_BYTES = 64,
    CLIENTS_MAX = 16, /* one more, and the oldest has to go */
    BACKLOG = 16,
    ANSWER_SECONDS = 30, /* a reload may ask the DNS for our own name */
    READ_CHUNK = 4096,
};

static const char file[] = "control";

static bool parse_row(struct span text, uint32_t *row_out)
{
    uint64_t row = 0;
    for (size_t i = 0; i < text.n && row <= UINT32_MAX; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        row = row * 10 + (uint64_t)(text.p[i] - '0');
    }
    *row_out = (uint32_t)row;
    return text.n > 0 && row <= UINT32_MAX;
}

enum control_command control_parse(struct span line, uint32_t *row_out)
{
    static const char *const lines[] = {
#define X(name, text) text,
        CONTROL_COMMANDS(X)
#undef X
    };
    const struct span why = SPAN("why ");
    *row_out = 0;
    if (line.n > why.n && memcmp(line.p, why.p, why.n) == 0 &&
        parse_row((struct span){line.p + why.n, line.n - why.n}, row_out))
        return CONTROL_WHY;
    int i = 0;
    while (i < CONTROL_UNKNOWN && !span_equal(line, span_of(lines[i])))
        i++;
    return (enum control_command)i;
}

const char *control_line(enum control_command command)
{
    switch (command) {
#define X(name, line)                                                                  \
    case CONTROL_##name:                                                               \
        return line;
        CONTROL_COMMANDS(X)
#undef X
    case CONTROL_UNKNOWN:
        break;
    }
    return NULL;
}

/* A path that is too long for an address (unix(7): 107 bytes) is gone around by the
 * open directory. */
static struct sockaddr_un address_of(const char *path, int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", path, file);
    if ((size_t)n >= sizeof address.sun_path)
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", fd,
                 file);
    return address;
}

/* ---- the job's side ---- */

struct control {
    uv_pipe_t pipe;
    int directory; /* -1: closed */
    control_fn *fn;
    void *arg;
    struct link clients; /* the oldest first */
    int clients_n;
};

struct client {
    struct link link;
    uv_pipe_t pipe;
    struct control *control;
    char line[LINE_MAX_BYTES];
    size_t n;
    uv_write_t write;
    struct buf answer;
};

static void release(struct control *c)
{
    if (c->clients_n == 0 && c->directory < 0)
        free(c);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    struct control *control = client->control;
    control->clients_n--;
    buf_finish(&client->answer);
    free(client);
    release(control);
}

static void drop(struct client *client)
{
    link_remove(&client->link);
    if (!uv_is_closing((uv_handle_t *)&client->pipe))
        uv_close((uv_handle_t *)&client->pipe, on_client_closed);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    drop(write->data);
}

static void answer(struct client *client)
{
    uint32_t row;
    enum control_command command =
        control_parse((struct span){client->line, client->n}, &row);
    uv_read_stop((uv_stream_t *)&client->pipe);
    struct buf said = {0};
    if (command == CONTROL_UNKNOWN)
        buf_add_str(&client->answer, "no such command\n");
    else if (client->control->fn(client->control->arg, command, row, &said))
        buf_printf(&client->answer, "ok %zu\n%s", said.n, buf_cstr(&said));
    else
        buf_printf(&client->answer, "no %s\n", buf_cstr(&said));
    buf_finish(&said);
    uv_buf_t bytes = uv_buf_init(client->answer.p, (unsigned)client->answer.n);
    client->write.data = client;
    if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &bytes, 1, on_written))
        drop(client);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct client *client = handle->data;
    (void)suggested;
    *out = uv_buf_init(client->line + client->n,
                       (unsigned)(sizeof client->line - client->n));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *into)
{
    struct client *client = stream->data;
    (void)into;
    if (n == 0)
        return;
    if (n < 0) {
        drop(client);
        return;
    }
    client->n += (size_t)n;
    const char *end = memchr(client->line, '\n', client->n);
    if (end || client->n == sizeof client->line) {
        client->n = end ? (size_t)(end - client->line) : client->n;
        answer(client);
    }
}

/* Only this user, and root. */
static bool is_ours(uv_pipe_t *pipe)
{
    uv_os_fd_t fd;
    struct ucred who;
    socklen_t size = sizeof who;
    return uv_fileno((uv_handle_t *)pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct control *control = server->data;
    if (status < 0)
        return;
    if (!link_alone(&control->clients) && control->clients_n >= CLIENTS_MAX)
        drop(CONTAINER_OF(control->clients.next, struct client, link));
    struct client *client = mem_zero(1, sizeof *client);
    client->control = control;
    uv_pipe_init(server->loop, &client->pipe, 0);
    client->pipe.data = client;
    control->clients_n++;
    link_init(&client->link);
    link_append(&control->clients, &client->link);
    if (uv_accept(server, (uv_stream_t *)&client->pipe) || !is_ours(&client->pipe) ||
        uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read))
        drop(client);
}

static int bind_socket(const char *path, int fd)
{
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = address_of(path, fd);
    unlinkat(fd, file, 0); /* a dead one's: we hold the lock */
    /* The mode of the socket's file comes from the socket (less the umask). */
    if (s >= 0 && fchmod(s, 0600) == 0 &&
        bind(s, (struct sockaddr *)&address, sizeof address) == 0)
        return s;
    int error = errno;
    if (s >= 0)
        close(s);
    errno = error;
    return -1;
}

static void on_server_closed(uv_handle_t *handle)
{
    struct control *c = handle->data;
    c->directory = -1;
    release(c);
}

struct control *control_open(uv_loop_t *loop, const char *path, int fd, control_fn *fn,
                             void *arg, struct fault *f)
{
    int s = bind_socket(path, fd);
    if (s < 0) {
        fault_set(f, -20, "cannot make \"%s/%s\": %s", path, file, strerror(errno));
        return NULL;
    }
    struct control *c = mem_zero(1, sizeof *c);
    *c = (struct control){.directory = fd, .fn = fn, .arg = arg};
    link_init(&c->clients);
    uv_pipe_init(loop, &c->pipe, 0);
    c->pipe.data = c;
    int failed = uv_pipe_open(&c->pipe, s);
    if (failed)
        close(s);
    else
        failed = uv_listen((uv_stream_t *)&c->pipe, BACKLOG, on_connection);
    if (!failed)
        return c;
    fault_set(f, -20, "cannot listen at \"%s/%s\": %s", path, file,
              uv_strerror(failed));
    control_close(c);
    return NULL;
}

void control_close(struct control *c)
{
    if (!c)
        return;
    unlinkat(c->directory, file, 0);
    while (!link_alone(&c->clients))
        drop(CONTAINER_OF(c->clients.next, struct client, link));
    uv_close((uv_handle_t *)&c->pipe, on_server_closed);
}

/* ---- the other side ---- */

static int connect_to(const char *path, int directory)
{
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = address_of(path, directory);
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    if (s >= 0 &&
        setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        connect(s, (struct sockaddr *)&address, sizeof address) == 0)
        return s;
    int error = errno;
    if (s >= 0)
        close(s);
    errno = error;
    return -1;
}

/* All that comes, to the end. False with errno. */
static bool hear(int s, struct buf *out)
{
    ssize_t n;
    do {
        buf_reserve(out, READ_CHUNK);
        n = read(s, out->p + out->n, READ_CHUNK);
        out->n += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    return n == 0;
}

/* Behind the first line, or, refused, what stands on it behind "no ". */
static enum control_result understand(struct buf *heard, struct buf *answer)
{
    const char *end = heard->n ? memchr(heard->p, '\n', heard->n) : NULL;
    if (!end)
        return CONTROL_NOBODY; /* it ended while we asked */
    struct span line = {heard->p, (size_t)(end - heard->p)};
    size_t at = line.n < 3 ? line.n : 3, n = heard->n - line.n - 1;
    if (span_starts_nocase(line, SPAN("ok "))) {
        if (strtoull(line.p + at, NULL, 10) != n)
            return CONTROL_NOBODY;
        buf_add(answer, end + 1, n);
        return CONTROL_OK;
    }
    buf_add(answer, line.p + at, line.n - at);
    return CONTROL_REFUSED;
}

enum control_result control_ask(const char *path, enum control_command command,
                                uint32_t row, struct buf *answer, struct fault *f)
{
    struct buf heard = {0}, line = {0};
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int s = directory < 0 ? -1 : connect_to(path, directory);
    buf_printf(&line, command == CONTROL_WHY ? "%s %u\n" : "%s\n",
               control_line(command), row);
    enum control_result result = CONTROL_BROKEN;
    if (s < 0 && (errno == ECONNREFUSED || errno == ENOENT))
        result = CONTROL_NOBODY;
    else if (s < 0)
        fault_set(f, -20, "cannot connect to \"%s/%s\": %s", path, file,
                  strerror(errno));
    else if (send(s, line.p, line.n, MSG_NOSIGNAL) != (ssize_t)line.n ||
             !hear(s, &heard))
        fault_set(f, -20, "\"%s/%s\" does not answer: %s", path, file, strerror(errno));
    else
        result = understand(&heard, answer);
    if (s >= 0)
        close(s);
    if (directory >= 0)
        close(directory);
    buf_finish(&heard);
    buf_finish(&line);
    return result;
}
