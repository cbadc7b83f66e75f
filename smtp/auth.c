#include <assert.h>

#include "base/text.h"
#include "smtp/inside.h"

/* RFC 4648 4. */
static char *put_base64(char *p, const char *text, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)(unsigned char)text[i] << 16;
        if (i + 1 < n)
            v |= (uint32_t)(unsigned char)text[i + 1] << 8;
        if (i + 2 < n)
            v |= (unsigned char)text[i + 2];
        *p++ = digits[v >> 18];
        *p++ = digits[v >> 12 & 63];
        *p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *p++ = i + 2 < n ? digits[v & 63] : '=';
    }
    return p;
}

/* RFC 4616 2: no authorisation identity, the user, the password. */
static char *put_plain(const struct smtp_params *params, char *p)
{
    char both[2 * SMTP_CREDENTIAL_MAX + 2];
    size_t user_n = strlen(params->auth_user);
    size_t password_n = strlen(params->auth_password);
    assert(user_n <= SMTP_CREDENTIAL_MAX && password_n <= SMTP_CREDENTIAL_MAX);
    both[0] = both[user_n + 1] = '\0';
    memcpy(both + 1, params->auth_user, user_n);
    memcpy(both + user_n + 2, params->auth_password, password_n);
    return put_base64(p, both, user_n + password_n + 2);
}

static char *put_words(char *p, const char *words)
{
    return mempcpy(p, words, strlen(words));
}

static bool is_short(const struct smtp_params *params)
{
    /* RFC 4954 4: an initial response only where it fits a line of 512 bytes. */
    size_t n = strlen(params->auth_user) + strlen(params->auth_password) + 2;
    return sizeof "AUTH PLAIN \r\n" - 1 + (n + 2) / 3 * 4 <= 512;
}

char *session_put_auth(const struct smtp_session *s, char *p)
{
    const struct smtp_params *params = s->params;
    const char *user = params->auth_user, *password = params->auth_password;
    assert(strlen(user) <= SMTP_CREDENTIAL_MAX &&
           strlen(password) <= SMTP_CREDENTIAL_MAX);
    if (!s->offers.auth_plain) {
        if (s->auth_line == 0)
            return put_words(p, "AUTH LOGIN");
        const char *said = s->auth_line == 1 ? user : password;
        return put_base64(p, said, strlen(said));
    }
    if (s->auth_line > 0)
        return put_plain(params, p);
    p = put_words(p, "AUTH PLAIN");
    if (!is_short(params))
        return p;
    *p++ = ' ';
    return put_plain(params, p);
}

bool session_auth_goes_on(const struct smtp_session *s)
{
    int lines = !s->offers.auth_plain ? 3 : is_short(s->params) ? 1 : 2;
    return s->auth_line < lines;
}

/* Is the secret in the text, or so much of its beginning that a cut may have taken the
 * rest? */
static bool is_in(const char *text, const char *secret, size_t n)
{
    enum { ENOUGH = 8 };
    char start[ENOUGH + 1];
    if (n == 0)
        return false;
    n = n < ENOUGH ? n : ENOUGH;
    memcpy(start, secret, n);
    start[n] = '\0';
    return strcasestr(text, start) != NULL;
}

void session_hide_credentials(const struct smtp_session *s, struct reply *r)
{
    if (!s->params->auth_user || s->greeted)
        return;
    char coded[AUTH_LINE_MAX];
    const char *password = s->params->auth_password;
    struct buf clean = {0};
    text_clean(&clean, span_of(password), SIZE_MAX); /* as the reader cleans replies */
    bool found = is_in(r->text, clean.p, clean.n);
    found |= is_in(r->text, coded,
                   (size_t)(put_base64(coded, password, strlen(password)) - coded));
    found |= is_in(r->text, coded, (size_t)(put_plain(s->params, coded) - coded));
    buf_finish(&clean);
    if (!found)
        return;
    int code = r->code;
    uint16_t enhanced[3];
    memcpy(enhanced, r->enhanced, sizeof enhanced);
    reply_words(r, "(the server's words repeat our credentials)");
    r->code = code;
    memcpy(r->enhanced, enhanced, sizeof enhanced);
}
