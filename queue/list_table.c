#include "queue/list_table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/map.h"
#include "queue/list_row.h"

void list_key_make(struct list_key *key, const struct address *address)
{
    key->n = address->n;
    memcpy(key->text, address->text, address->n);
    for (size_t i = 0; i < address->domain_at; i++)
        if (key->text[i] >= 'A' && key->text[i] <= 'Z')
            key->text[i] = (char)(key->text[i] | 0x20);
    key->hash = (uint32_t)hash_bytes(key->text, key->n);
}

/* Does the row hold the address still? It was a good one when the row was added. */
static bool same(struct list_table *t, uint32_t row, const struct list_key *key,
                 bool *same_out, struct fault *f)
{
    struct span text;
    bool too_long;
    if (!list_file_read(&t->file, row, &t->line, &text, &too_long, f))
        return false;
    list_row_split(text, &t->columns, t->fields);
    struct address address;
    if (address_parse(t->fields[t->columns.address], &address) != ADDRESS_OK)
        return list_file_changed(&t->file, row, f);
    struct list_key other;
    list_key_make(&other, &address);
    *same_out = other.n == key->n && memcmp(other.text, key->text, key->n) == 0;
    return true;
}

bool list_table_find(struct list_table *t, const struct list_key *key,
                     uint32_t *row_out, struct fault *f)
{
    size_t probe = 0;
    bool found = false;
    *row_out = 0;
    while (!found) {
        uint32_t row = list_seen_next(&t->seen, key->hash, &probe);
        if (row == 0)
            return true;
        if (!same(t, row, key, &found, f))
            return false;
        *row_out = found ? row : 0;
    }
    return true;
}

void list_table_settle(struct list_table *t)
{
    list_seen_finish(&t->seen);
    buf_finish(&t->line);
    free(t->fields);
    t->fields = NULL;
}

void list_table_close(struct list_table *t)
{
    list_table_settle(t);
    list_columns_finish(&t->columns);
    list_file_close(&t->file);
}
