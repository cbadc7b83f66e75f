/* Any bytes as an address: what is accepted is one SMTP word, in bounds, and stable. */
#include <assert.h>
#include <stdint.h>

#include "base/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address a;
    enum address_result result =
        address_parse((struct span){(const char *)data, size}, &a);
    assert((result == ADDRESS_BAD) == (a.why != NULL));
    if (result != ADDRESS_OK) {
        assert(a.n == 0 && a.text[0] == '\0');
        return 0;
    }
    assert(a.n <= ADDRESS_MAX && strlen(a.text) == a.n);
    assert(a.domain_at >= 2 && a.text[a.domain_at - 1] == '@');
    assert(a.domain_at - 1 <= ADDRESS_LOCAL_MAX);
    assert(a.n - a.domain_at <= ADDRESS_DOMAIN_MAX);
    for (int i = 0; i < a.n; i++)
        assert(a.text[i] > ' ' && a.text[i] < 0x7f);
    for (int i = a.domain_at; i < a.n; i++)
        assert(!strchr("@\"<>()[]:;,\\", a.text[i]) &&
               !(a.text[i] >= 'A' && a.text[i] <= 'Z'));
    struct address again;
    assert(address_parse((struct span){a.text, a.n}, &again) == ADDRESS_OK);
    assert(strcmp(again.text, a.text) == 0 && again.domain_at == a.domain_at);
    return 0;
}
