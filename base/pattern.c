#include "base/pattern.h"

#include <fnmatch.h>

bool pattern_is_domain(const char *pattern, struct span domain)
{
    struct span tail = span_of(pattern + (pattern[0] == '*')); /* with its dot */
    if (pattern[0] != '*')
        return span_equal(tail, domain);
    return domain.n > tail.n &&
           memcmp(domain.p + domain.n - tail.n, tail.p, tail.n) == 0;
}

bool pattern_is_host(const char *pattern, struct span host)
{
    char name[256]; /* a host name is shorter: RFC 1035 2.3.4 */
    size_t n = host.n < sizeof name - 1 ? host.n : sizeof name - 1;
    memcpy(name, host.p, n);
    name[n] = '\0';
    return fnmatch(pattern, name, 0) == 0;
}
