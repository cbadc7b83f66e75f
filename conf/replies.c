/* The sections reply: where they stand and what they say, for people. */
#include "base/text.h"
#include "conf/conf.h"
#include "conf/settings.h"

void conf_reply_place(struct buf *out, const struct conf_reply *r, const char *key)
{
    const struct setting *s = setting_find(SECTION_REPLY, span_of(key));
    const struct place *at = s ? &r->values->given[s - settings] : NULL;
    if (at && at->line)
        buf_printf(out, "%s:%d", at->file, at->line);
    else
        buf_add_str(out, r->place);
}

void conf_reply_print(struct buf *out, const struct conf_reply *r)
{
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        if (s->section != SECTION_REPLY || r->values->given[s - settings].line == 0)
            continue;
        buf_add_str(out, out->n ? " " : "");
        buf_printf(out, "%s = ", s->name);
        value_put(out, s, r->values);
    }
}

void conf_reply_what(struct buf *out, const struct conf_reply *r)
{
    const struct conf_reaction *values = &r->values->reply;
    value_put_action(out, &values->action);
    if (values->pause) {
        buf_add_str(out, " for ");
        duration_print(out, values->pause);
    }
    if (values->scope != CONF_SCOPE_AUTO) {
        buf_add_str(out, ", scope ");
        value_put(out, &settings[SETTING_REPLY_scope], r->values);
    }
    if (values->connections)
        buf_printf(out, ", then over %lld connection%s", (long long)values->connections,
                   values->connections > 1 ? "s" : "");
    if (values->text[0])
        buf_printf(out, ": %s", values->text);
}
