/* Any bytes as a list: it opens or has a fault; rows = lines - 1; every row is readable
 * and says what it said at open; a usable address is one SMTP word; opening again gives
 * the same. The first byte chooses the parameters. */
#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "queue/recipients.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WITH_DUPLICATES = 1, WITH_PROOF = 2, WITH_RANGE = 4, WITH_EXCLUDE = 8 };

static char path[64];
static int file = -1;

static void put_file(const uint8_t *data, size_t size)
{
    if (file < 0) {
        file = memfd_create("list", MFD_CLOEXEC);
        assert(file >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    assert(ftruncate(file, 0) == 0);
    assert(pwrite(file, data, size, 0) == (ssize_t)size);
}

static uint32_t count_lines(const uint8_t *data, size_t size)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    return lines + (size > 0 && data[size - 1] != '\n');
}

static void check_address(const struct address *a)
{
    assert(a->n > 0 && a->n == strlen(a->text));
    for (int i = 0; i < a->n; i++)
        assert(a->text[i] > ' ' && a->text[i] < 0x7f);
    struct address again;
    assert(address_parse((struct span){a->text, a->n}, &again) == ADDRESS_OK);
    assert(strcmp(again.text, a->text) == 0);
}

static void check_row(const struct recipients *r, uint32_t row, struct recipient *p)
{
    struct fault f = {0};
    assert(recipients_read(r, row, p, &f));
    assert(p->code == 0 || p->code == 611 || p->code == 800 || p->code == 801);
    assert((p->code == 0) == (p->words[0] == '\0'));
    if (p->code == 0 || p->code == 801)
        check_address(&p->address);
    for (int i = 0; i < recipients_columns(r); i++) {
        struct span s = p->fields[i];
        assert(s.n == 0 || (!memchr(s.p, '\t', s.n) && !memchr(s.p, '\n', s.n)));
        assert(s.n == 0 || (s.p >= p->line.p && s.p + s.n <= p->line.p + p->line.n));
    }
    if (row < recipients_first(r) || row > recipients_last(r)) {
        assert(recipients_domain(r, row) == RECIPIENTS_NO_DOMAIN);
        return;
    }
    assert(recipients_code(r, row) == p->code);
    uint32_t domain = recipients_domain(r, row);
    assert((domain == RECIPIENTS_NO_DOMAIN) == (p->code != 0));
    if (p->code == 0)
        assert(strcmp(recipients_domain_name(r, domain),
                      p->address.text + p->address.domain_at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct recipients_params params = {
        .path = path,
        .allow_duplicates = data[0] & WITH_DUPLICATES,
        .to = data[0] & WITH_PROOF ? "me@proof.example" : NULL,
        .first_row = data[0] & WITH_RANGE ? data[0] >> 6 : 0,
        .last_row = data[0] & WITH_RANGE ? data[0] >> 4 : 0,
        .exclude = data[0] & WITH_EXCLUDE ? path : NULL,
    };
    data++;
    size--;
    put_file(data, size);
    struct fault f = {0};
    struct recipients *r = recipients_open(&params, &f);
    struct recipients *again = recipients_open(&params, &(struct fault){0});
    assert((r == NULL) == (again == NULL) && (r == NULL) == (f.code != 0));
    if (!r) {
        assert(f.code == -9 || f.code == -10);
        return 0;
    }
    assert(recipients_rows(r) == count_lines(data, size) - 1);
    assert(recipients_rows(again) == recipients_rows(r));
    assert(recipients_domains(again) == recipients_domains(r));
    struct recipient p = {0};
    for (uint32_t row = 1; row <= recipients_rows(r); row++) {
        check_row(r, row, &p);
        assert(recipients_domain(again, row) == recipients_domain(r, row));
    }
    recipient_finish(&p);
    recipients_free(r);
    recipients_free(again);
    return 0;
}
