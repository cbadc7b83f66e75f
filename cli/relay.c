#include "cli/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "host:port" to "[host]" and a port; the settings have made sure of the form. */
static void take_host(struct relay *r, const char *text)
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
    r->host = b.p;
    r->port = (uint16_t)strtoul(colon + 1, NULL, 10);
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

/* The password must not cross in clear, nor mail that must not. */
static bool agrees(const struct conf_policy *p, struct fault *f)
{
    bool clear = p->relay_tls == CONF_RELAY_TLS_NONE;
    if (clear && (p->tls == CONF_TLS_ENCRYPT || p->tls == CONF_TLS_VERIFY))
        return fault_set(f, -7,
                         "policy.relay_tls = none: tls = %s forbids mail in clear",
                         p->tls == CONF_TLS_ENCRYPT ? "encrypt" : "verify");
    if (!p->relay_user[0])
        return true;
    if (clear && !p->relay_auth_clear)
        return fault_set(f, -7,
                         "policy.relay_tls = none: the password would cross in clear, "
                         "which relay_auth_clear forbids");
    if (!p->relay_password_file[0])
        return fault_set(f, -7, "policy.relay_user: relay_password_file is not set");
    return true;
}

bool relay_open(struct relay *r, const struct conf *conf, struct fault *f)
{
    const struct conf_policy *p = &conf->policy;
    *r = (struct relay){0};
    if (!p->relay[0])
        return true;
    if (!agrees(p, f))
        return false;
    take_host(r, p->relay);
    if (!p->relay_user[0])
        return true;
    r->user = p->relay_user;
    const char *why = read_password(p->relay_password_file, r->password);
    return !why || fault_set(f, -7, "policy.relay_password_file: \"%s\": %s",
                             p->relay_password_file, why);
}

void relay_close(struct relay *r)
{
    free(r->host);
    explicit_bzero(r, sizeof *r);
}

void relay_apply(const struct relay *r, struct engine_params *e)
{
    if (!r->host)
        return;
    e->relay = r->host;
    e->resolver.deny = e->worker.deny = NULL; /* the user named it */
}

void relay_speak(const struct relay *r, const struct conf_policy *p,
                 struct destination *d)
{
    if (!r->host)
        return;
    d->port = r->port;
    d->smtp.tls =
        p->relay_tls == CONF_RELAY_TLS_STARTTLS ? SMTP_TLS_REQUIRE : SMTP_TLS_NONE;
    d->smtp.secured = p->relay_tls == CONF_RELAY_TLS_IMPLICIT;
    d->smtp.auth_user = r->user;
    d->smtp.auth_password = r->user ? r->password : NULL;
    d->smtp.auth_clear = p->relay_auth_clear;
}

void relay_print(const struct relay *r, const struct conf *conf, struct buf *out)
{
    static const char *const tls[] = {
        [CONF_RELAY_TLS_STARTTLS] = "STARTTLS",
        [CONF_RELAY_TLS_IMPLICIT] = "TLS from the first byte",
        [CONF_RELAY_TLS_NONE] = "in clear",
    };
    size_t n = strlen(r->host);
    buf_printf(out, "%.*s port %u, %s", (int)n - 2, r->host + 1, r->port,
               tls[conf->policy.relay_tls]);
    if (r->user)
        buf_printf(out, ", as %s", r->user);
}
