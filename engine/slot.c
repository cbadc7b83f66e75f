#include "engine/slot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void make_room(struct slot *slot, int rows)
{
    if (rows <= slot->rows_cap)
        return;
    slot->rows = mem_resize(slot->rows, (size_t)rows, sizeof *slot->rows);
    slot->recipients =
        mem_resize(slot->recipients, (size_t)rows, sizeof *slot->recipients);
    for (int i = slot->rows_cap; i < rows; i++) {
        slot->rows[i] = (struct slot_row){0};
        slot->recipients[i] = (struct smtp_recipient){0};
    }
    slot->rows_cap = rows;
}

static bool read_row(struct slot *slot, int i, const struct worker_params *params,
                     struct lent lent, struct fault *f)
{
    struct slot_row *row = &slot->rows[i];
    row->lent = lent;
    if (!recipients_read(params->list, lent.row, &row->fields, f))
        return false;
    assert(row->fields.code == 0);
    slot->recipients[i] = (struct smtp_recipient){
        .address = row->fields.address.text,
        .address_n = row->fields.address.n,
    };
    return true;
}

bool slot_prepare(struct slot *slot, const struct worker_params *params,
                  struct lent lent, int rows_max, bool dotted, int *code_out,
                  struct fault *words_out)
{
    assert(slot->rows_n == 0 && rows_max >= 1 && rows_max <= SMTP_RECIPIENTS_MAX);
    rendering_reset(&slot->rendering);
    /* Of a row that is settled before it is sent nothing may be told that belongs to
     * the slot's former one. */
    slot->transaction = (struct smtp_transaction){0};
    memset(&slot->transaction.timings, 0xff, sizeof slot->transaction.timings);
    slot->told = false;
    make_room(slot, rows_max);
    if (!read_row(slot, 0, params, lent, words_out)) {
        *code_out = words_out->code;
        return false;
    }
    const struct recipient *fields = &slot->rows[0].fields;
    const char *why;
    struct template_row row = {.row = rows_max > 1 ? 0 : lent.row,
                               .fields = fields->fields,
                               .to = fields->address.text,
                               .dotted = dotted};
    if (!template_render(params->template, &row, &slot->rendering, &why)) {
        *code_out = 800;
        return fault_set(words_out, 800, "%s", why);
    }
    slot->rows_n = 1;
    slot->marked = false;
    slot->transaction = (struct smtp_transaction){
        .sender = params->sender,
        .recipients = slot->recipients,
        .recipients_n = 1,
        .body = slot->rendering.pieces,
        .body_n = slot->rendering.pieces_n,
        .body_size = slot->rendering.size,
        .dots = slot->rendering.dots,
        .dotted = dotted,
    };
    link_init(&slot->transaction.link);
    return true;
}

bool slot_join(struct slot *slot, const struct worker_params *params, struct lent lent)
{
    struct fault ignored = {0};
    int i = slot->rows_n;
    assert(i > 0);
    if (i == slot->rows_cap ||
        recipients_domain(params->list, lent.row) !=
            recipients_domain(params->list, slot->rows[0].lent.row) ||
        !read_row(slot, i, params, lent, &ignored))
        return false; /* what cannot be read says so when its turn comes */
    slot->rows_n = slot->transaction.recipients_n = i + 1;
    return true;
}

void slot_finish(struct slot *slot)
{
    rendering_finish(&slot->rendering);
    for (int i = 0; i < slot->rows_cap; i++)
        recipient_finish(&slot->rows[i].fields);
    free(slot->rows);
    free(slot->recipients);
}
