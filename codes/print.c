/* The table as people read it: `hikyaku codes` and docs/codes.md. */
#include "codes/codes.h"

#include <stdio.h>

static const char tsv_head[] =
    "code\tclass\tplace\tstage\tretry\toutcome\tweight\tbasic\t"
    "five_digit\tdsn\tdisable\tname\tmeaning_en\tmeaning_ja\t"
    "trigger\tnote\n";

/* In this table alone an event is called "keep": the recipient's state is kept. */
static const char *final_word(const struct code *c)
{
    return c->outcome == OUTCOME_EVENT ? "keep" : outcome_word(c->outcome);
}

static const char *retry_word(const struct code *c)
{
    return c->retry ? "yes" : "no";
}

static void add_weight(struct buf *out, int tenths)
{
    buf_add_i64(out, tenths / 10);
    if (tenths % 10)
        buf_printf(out, ".%d", tenths % 10);
}

static void add_tsv(struct buf *out)
{
    buf_add_str(out, tsv_head);
    for (const struct code *c = codes_table; c < codes_table + codes_count; c++) {
        buf_printf(out, "%d\t%s\t%s\t%s\t%s\t%s\t", c->code, code_class_word(c->class),
                   c->place, c->stage, retry_word(c), final_word(c));
        add_weight(out, c->weight_tenths);
        buf_printf(out, "\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c->basic,
                   c->five_digit, c->status, c->disable, c->name, c->meaning_en,
                   c->meaning_ja, c->trigger, c->note);
    }
}

static void add_text(struct buf *out, bool japanese)
{
    static const char form[] = "%5s %-5s  %-16s  %-9s  %-5s  %-6s  %s\n";
    buf_printf(out, form, "CODE", "CLASS", "STAGE", "OUTCOME", "RETRY", "STATUS",
               "MEANING");
    for (const struct code *c = codes_table; c < codes_table + codes_count; c++) {
        char number[12];
        snprintf(number, sizeof number, "%d", c->code);
        buf_printf(out, form, number, code_class_word(c->class), c->stage,
                   final_word(c), retry_word(c), c->status,
                   japanese ? c->meaning_ja : c->meaning_en);
    }
}

void codes_print(struct buf *out, enum codes_form form)
{
    if (form == CODES_TSV)
        add_tsv(out);
    else
        add_text(out, form == CODES_TEXT_JAPANESE);
}

void codes_document(struct buf *out)
{
    buf_add_str(out, "| Code | Class | Stage | Outcome | Retry | Weight | Basic | "
                     "Five-digit | Status | Disable | Meaning | 意味 | Arises when |\n"
                     "|---:|---|---|---|---|---:|---:|---:|---|---|---|---|---|\n");
    for (const struct code *c = codes_table; c < codes_table + codes_count; c++) {
        buf_printf(out, "| %d | %s | %s | %s | %s | ", c->code,
                   code_class_word(c->class), c->stage, final_word(c), retry_word(c));
        add_weight(out, c->weight_tenths);
        buf_printf(out, " | %d | %d | %s | %s | %s | %s | %s", c->basic, c->five_digit,
                   c->status, c->disable, c->meaning_en, c->meaning_ja, c->trigger);
        if (c->note[0])
            buf_printf(out, " (%s)", c->note);
        buf_add_str(out, " |\n");
    }
}
