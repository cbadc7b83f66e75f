#include "cli/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"

/* "host:port" to "[host]" and a port; the settings have made sure of the form. */
static struct relay make_relay(const char *text)
{
    const char *colon = strrchr(text, ':');
    struct span host = {text, (size_t)(colon - text)};
    if (host.p[0] == '[')
        host = (struct span){host.p + 1, host.n - 2};
    struct buf b = {0};
    buf_add_char(&b, '[');
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        buf_add_char(&b, c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c);
    }
    buf_add_char(&b, ']');
    buf_cstr(&b);
    return (struct relay){.text = text,
                          .host = b.p,
                          .name = mem_strndup(b.p + 1, b.n - 2),
                          .port = (uint16_t)strtoul(colon + 1, NULL, 10)};
}

static void free_relay(struct relay *r)
{
    free(r->host);
    free(r->name);
}

/* As much as there is, at most `max` bytes; -1 with errno. */
static ssize_t read_head(const char *path, char *out, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    size_t n = 0;
    ssize_t got = 1;
    while (n < max && got > 0) {
        got = read(fd, out + n, max - n);
        n += got > 0 ? (size_t)got : 0;
    }
    int error = errno;
    close(fd);
    errno = error;
    return got < 0 ? -1 : (ssize_t)n;
}

/* The first line, without its end. What is wrong with it, or NULL. */
static const char *read_password(const char *path, char out[SMTP_CREDENTIAL_MAX + 1])
{
    char
        head[SMTP_CREDENTIAL_MAX + 2]; /* a line of the longest password, and its end */
    ssize_t got = read_head(path, head, sizeof head);
    if (got < 0)
        return strerror(errno);
    const char *end = memchr(head, '\n', (size_t)got);
    size_t n = end ? (size_t)(end - head) : (size_t)got;
    const char *why = NULL;
    if (n > 0 && head[n - 1] == '\r')
        n--;
    if (n == 0)
        why = "its first line is empty";
    else if (n > SMTP_CREDENTIAL_MAX)
        why = "its first line is too long for a password";
    else if (memchr(head, '\0', n)) /* RFC 4616 2 */
        why = "a password cannot hold a NUL";
    else
        memcpy(out, head, n);
    out[why ? 0 : n] = '\0';
    explicit_bzero(head, sizeof head);
    return why;
}

/* from: the settings, or the values of a section. */
static void take_relay(struct relays *r, const struct conf *from)
{
    const char *text = from->policy.relay;
    if (text && text[0] && relays_find(r, text) < 0)
        r->list[r->n++] = make_relay(text);
}

static struct password *find_password(const struct relays *r, const char *path)
{
    for (int i = 0; i < r->passwords_n; i++)
        if (strcmp(r->passwords[i].path, path) == 0)
            return &r->passwords[i];
    return NULL;
}

static bool take_password(struct relays *r, const struct conf *from, struct fault *f)
{
    const char *path = from->policy.relay_password_file;
    if (!path || !path[0] || find_password(r, path))
        return true;
    struct password *to = &r->passwords[r->passwords_n++];
    to->path = path;
    const char *why = read_password(path, to->words);
    if (!why)
        return true;
    struct buf place = {0};
    conf_place(&place, from, "relay_password_file");
    fault_set(f, -7, "%s: relay_password_file: \"%s\": %s", buf_cstr(&place), path,
              why);
    buf_finish(&place);
    return false;
}

/* Policy { } and then each section. */
static const struct conf *values_of(const struct conf *c, int i)
{
    return i == 0 ? c : c->rules[i - 1].values;
}

bool relays_open(struct relays *r, const struct conf *conf, struct fault *f)
{
    bool users = false;
    size_t most = (size_t)conf->rules_n + 1;
    *r = (struct relays){.list = mem_zero(most, sizeof *r->list),
                         .passwords = mem_zero(most, sizeof *r->passwords)};
    for (int i = 0; i <= conf->rules_n; i++) {
        const char *user = values_of(conf, i)->policy.relay_user;
        users = users || (user && user[0]);
        take_relay(r, values_of(conf, i));
    }
    for (int i = 0; users && r->n && i <= conf->rules_n; i++)
        if (!take_password(r, values_of(conf, i), f))
            return false;
    return true;
}

void relays_close(struct relays *r)
{
    for (int i = 0; i < r->n; i++)
        free_relay(&r->list[i]);
    free(r->list);
    if (r->passwords_n)
        explicit_bzero(r->passwords, (size_t)r->passwords_n * sizeof *r->passwords);
    free(r->passwords);
    *r = (struct relays){0};
}

int relays_find(const struct relays *r, const char *text)
{
    for (int i = 0; i < r->n; i++)
        if (strcasecmp(r->list[i].text, text) == 0)
            return i;
    return -1;
}

void relay_speak(const struct relays *r, const struct conf_policy *p, bool fits,
                 struct destination *d)
{
    const struct password *password = find_password(r, p->relay_password_file);
    bool starts = p->relay_tls == CONF_RELAY_TLS_STARTTLS;
    bool clear = p->relay_tls == CONF_RELAY_TLS_NONE;
    d->port = r->list[relays_find(r, p->relay)].port;
    d->verdict.relay = true;
    d->smtp.tls = starts || (clear && !fits) ? SMTP_TLS_REQUIRE : SMTP_TLS_NONE;
    d->smtp.secured = p->relay_tls == CONF_RELAY_TLS_IMPLICIT;
    if (!p->relay_user[0] || !fits || !password)
        return;
    d->smtp.auth_user = p->relay_user;
    d->smtp.auth_password = password->words;
    d->smtp.auth_clear = p->relay_auth_clear;
}

void relay_print(const struct conf_policy *p, struct buf *out)
{
    static const char *const tls[] = {
        [CONF_RELAY_TLS_STARTTLS] = "STARTTLS",
        [CONF_RELAY_TLS_IMPLICIT] = "TLS from the first byte",
        [CONF_RELAY_TLS_NONE] = "in clear",
    };
    struct relay r = make_relay(p->relay);
    buf_printf(out, "%s port %u, %s", r.name, r.port, tls[p->relay_tls]);
    if (p->relay_user[0])
        buf_printf(out, ", as %s", p->relay_user);
    free_relay(&r);
}
