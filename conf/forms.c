#include "conf/forms.h"

#include <arpa/inet.h>
#include <string.h>

enum { LABEL_MAX = 63, HOSTNAME_MAX = 253 };

bool form_digits(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

bool form_number(struct span s, int64_t *out)
{
    if (!form_digits(s) || (s.p[0] == '0' && s.n > 1))
        return false;
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, s.p[i] - '0', &v))
            return false;
    *out = v;
    return true;
}

static bool number_between(struct span s, int64_t least, int64_t most)
{
    int64_t v;
    return form_number(s, &v) && v >= least && v <= most;
}

static bool ip_good(int family, struct span s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (s.n == 0 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(family, text, bytes) == 1;
}

/* RFC 5321 2.3.5: labels of letters, digits and inner hyphens (RFC 1123 2.1). */
static bool dns_name_good(struct span s)
{
    if (s.n > HOSTNAME_MAX)
        return false;
    size_t label = 0;
    for (size_t i = 0; i <= s.n; i++) {
        if (i == s.n || s.p[i] == '.') {
            if (i == label || i - label > LABEL_MAX || s.p[label] == '-' ||
                s.p[i - 1] == '-')
                return false;
            label = i + 1;
        } else if (!strchr("abcdefghijklmnopqrstuvwxyz"
                           "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-",
                           s.p[i])) {
            return false;
        }
    }
    return !ip_good(AF_INET, s);
}

bool form_hostname(struct span s)
{
    if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return dns_name_good(s);
    struct span inner = {s.p + 1, s.n - 2};
    if (span_starts_nocase(inner, SPAN("IPv6:")))
        return ip_good(AF_INET6, (struct span){inner.p + 5, inner.n - 5});
    return ip_good(AF_INET, inner);
}

bool form_server(struct span s)
{
    if (ip_good(AF_INET, s) || ip_good(AF_INET6, s))
        return true;
    int family = AF_INET;
    const char *end = memchr(s.p, ':', s.n);
    struct span address = {s.p, end ? (size_t)(end - s.p) : s.n};
    if (s.n && s.p[0] == '[') {
        family = AF_INET6;
        end = memchr(s.p, ']', s.n);
        if (!end)
            return false;
        address = (struct span){s.p + 1, (size_t)(end - s.p) - 1};
        end++;
    }
    if (!end || !ip_good(family, address))
        return false;
    struct span port = {end, (size_t)(s.p + s.n - end)};
    if (port.n == 0)
        return true;
    return port.p[0] == ':' &&
           number_between((struct span){port.p + 1, port.n - 1}, 1, UINT16_MAX);
}

bool form_network(const char *text)
{
    size_t n = strcspn(text, "/");
    char address[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (n >= sizeof address)
        return false;
    memcpy(address, text, n);
    address[n] = '\0';
    int64_t most = inet_pton(AF_INET, address, bytes) == 1 ? 32 : 128, bits = most;
    if (most == 128 && inet_pton(AF_INET6, address, bytes) != 1)
        return false;
    if (text[n] && (!form_number(span_of(text + n + 1), &bits) || bits > most))
        return false;
    for (int64_t i = bits; i < most; i++)
        if (bytes[i / 8] & (0x80 >> i % 8))
            return false;
    return true;
}

bool form_relay(struct span s)
{
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    if (!colon)
        return false;
    struct span host = {s.p, (size_t)(colon - s.p)};
    struct span port = {colon + 1, (size_t)(s.p + s.n - colon - 1)};
    if (!number_between(port, 1, UINT16_MAX))
        return false;
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return ip_good(AF_INET6, (struct span){host.p + 1, host.n - 2});
    return dns_name_good(host) || ip_good(AF_INET, host);
}

bool form_address(struct span s)
{
    static const char zeros[] = "0.:";
    bool any = true;
    for (size_t i = 0; i < s.n; i++)
        any = any && strchr(zeros, s.p[i]);
    return !any && (ip_good(AF_INET, s) || ip_good(AF_INET6, s));
}
