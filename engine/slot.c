#include "engine/slot.h"

#include <assert.h>
#include <string.h>

bool slot_prepare(struct slot *slot, const struct worker_params *params,
                  struct lent lent, int *code_out, struct fault *words_out)
{
    assert(slot->lent.row == 0);
    rendering_reset(&slot->rendering);
    /* Of a row that is settled before it is sent nothing may be told that belongs to
     * the slot's former one. */
    slot->transaction = (struct smtp_transaction){0};
    memset(&slot->transaction.timings, 0xff, sizeof slot->transaction.timings);
    if (!recipients_read(params->list, lent.row, &slot->fields, words_out)) {
        *code_out = words_out->code;
        return false;
    }
    assert(slot->fields.code == 0);
    const char *why;
    struct template_row fields = {lent.row, slot->fields.fields,
                                  slot->fields.address.text};
    if (!template_render(params->template, &fields, &slot->rendering, &why)) {
        *code_out = 800;
        return fault_set(words_out, 800, "%s", why);
    }
    slot->lent = lent;
    slot->marked = false;
    slot->recipient = (struct smtp_recipient){
        .address = slot->fields.address.text,
        .address_n = slot->fields.address.n,
    };
    slot->transaction = (struct smtp_transaction){
        .sender = params->sender,
        .recipients = &slot->recipient,
        .recipients_n = 1,
        .body = slot->rendering.pieces,
        .body_n = slot->rendering.pieces_n,
        .body_size = slot->rendering.size,
    };
    link_init(&slot->transaction.link);
    return true;
}

void slot_finish(struct slot *slot)
{
    rendering_finish(&slot->rendering);
    recipient_finish(&slot->fields);
}
