/* The settings as a file that reads back to the same, and their page in docs/. */
#include "conf/conf.h"
#include "conf/settings.h"

/* Its default is another one with a relay. */
static bool is_open(const struct setting *s, const struct conf *c)
{
    return s == &settings[SETTING_POLICY_connection_rate] &&
           c->given[s - settings].line == 0;
}

static void write_section(struct buf *out, const struct conf *c,
                          enum conf_section section, int indent)
{
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        if (s->section != section || is_open(s, c))
            continue;
        buf_printf(out, "%*s%s = ", indent, "", s->name);
        value_put(out, s, c);
        buf_add_char(out, '\n');
    }
    for (int i = SECTION_TOP + 1; i < SECTION_JOB; i++) {
        if (sections[i].parent != section || section_is_named((enum conf_section)i))
            continue;
        buf_printf(out, "%*s%s {\n", indent, "", sections[i].name);
        write_section(out, c, (enum conf_section)i, indent + 4);
        buf_printf(out, "%*s}\n", indent, "");
    }
}

/* Of a section with a name what it gives alone. */
static void write_named(struct buf *out, enum conf_section section, const char *name,
                        const struct conf *values)
{
    buf_printf(out, "%s '%s' {\n", sections[section].name, name);
    bool in_timeout = false;
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        if (values->given[s - settings].line == 0)
            continue;
        if (s->section == SECTION_TIMEOUT && !in_timeout) {
            in_timeout = true;
            buf_add_str(out, "    timeout {\n");
        }
        buf_printf(out, "%*s%s = ", in_timeout ? 8 : 4, "", s->name);
        value_put(out, s, values);
        buf_add_char(out, '\n');
    }
    buf_add_str(out, in_timeout ? "    }\n}\n" : "}\n");
}

static void write_reply(struct buf *out, const struct conf_reply *reply)
{
    struct buf keys = {0};
    conf_reply_print(&keys, reply);
    buf_printf(out, "reply '%s' { %s }\n", reply->title, buf_cstr(&keys));
    buf_finish(&keys);
}

void write_sources(struct buf *out, const struct conf *c)
{
    for (int i = 0; i < c->warmups_n; i++)
        write_named(out, SECTION_WARMUP, c->warmups[i].name, c->warmups[i].values);
    for (int i = 0; i < c->sources_n; i++)
        write_named(out, SECTION_SOURCE, c->sources[i].name, c->sources[i].values);
    for (int i = 0; i < c->pools_n; i++)
        write_named(out, SECTION_POOL, c->pools[i].name, c->pools[i].values);
}

void conf_write(struct buf *out, const struct conf *c, const struct conf_job *job)
{
    write_section(out, c, SECTION_TOP, 0);
    write_sources(out, c);
    for (int i = 0; i < c->rules_n; i++)
        write_named(out, c->rules[i].mx ? SECTION_MX : SECTION_DOMAIN,
                    c->rules[i].pattern, c->rules[i].values);
    for (int i = 0; i < c->replies_n; i++)
        if (!c->replies[i].shipped)
            write_reply(out, &c->replies[i]);
    if (!job)
        return;
    struct conf with_job = *c;
    with_job.job = *job;
    buf_add_str(out, "job {\n");
    write_section(out, &with_job, SECTION_JOB, 4);
    buf_add_str(out, "}\n");
}

static const char head[] =
    "# Settings\n"
    "\n"
    "A settings file holds `key = value` lines and sections, in the grammar of "
    "libConfuse.\n"
    "It is named with `--config FILE`, or in the environment variable "
    "`HIKYAKU_CONFIG`.\n"
    "Every key has a default; an empty file, or none, is a good one. This page is "
    "made\n"
    "from `conf/settings.def`.\n"
    "\n"
    "```\n"
    "hostname = mx1.example.jp      # a comment; // and /* */ are comments too\n"
    "policy {\n"
    "    retry_interval = {\"5m\", \"15m\", \"30m\"}\n"
    "    connections    = 10\n"
    "    timeout { connect = \"30s\" }\n"
    "}\n"
    "include(\"local.conf\")\n"
    "```\n"
    "\n"
    "- Whole numbers are decimal, without leading zeros. Durations are `500ms`, `5s`, "
    "`30m`,\n"
    "  `24h`, `2d` or `0`; rates are `\"5/s\"`, `\"100/min\"`, `\"500/h\"` or "
    "`\"0\"`. Lists stand\n"
    "  in braces, with commas.\n"
    "- A value of letters, digits and `_ . : / @ -` needs no quotes. In `'…'` only "
    "`\\'` and\n"
    "  `\\\\` are special. In `\"…\"` a backslash is written `\\\\`, and `${NAME}` is "
    "the\n"
    "  environment variable, `${NAME:-otherwise}` with a value for when it is not "
    "set.\n"
    "- `include(\"file\")` may stand wherever a key may; the file is looked for in the "
    "folder\n"
    "  of the file that includes it. Relative paths, too, count from the folder of "
    "their\n"
    "  file. A section must be closed in the file in which it was opened.\n"
    "- A key or a section may be given once, in all files together; one with a "
    "name once\n"
    "  for each name, but `reply` as often as you like. Whatever is not understood "
    "stops\n"
    "  the program before anything is sent\n"
    "  (exit status 78) with file and line: -4 the file cannot be opened, -5 it cannot "
    "be\n"
    "  read or parsed (also: a brace, quote or comment that is not closed), -6 "
    "unknown\n"
    "  keyword, -7 bad value.\n"
    "- `hikyaku reload JOB` takes changed settings into a running job, all but those "
    "of "
    "which\n"
    "  it says here that a running job keeps them; the command names those of them "
    "that "
    "were\n"
    "  changed.\n";

static void add_default(struct buf *out, const struct setting *s)
{
    if (s->fallback[0])
        buf_printf(out, "`%s`", s->fallback);
    else if (s->section == SECTION_SOURCE && s->kind == KIND_HOSTNAME)
        buf_add_str(out, "`hostname` outside the sections");
    else if (s->kind == KIND_HOSTNAME)
        buf_add_str(out, "this machine's full name");
    else if (s->kind == KIND_PATH)
        buf_add_str(out, "`$XDG_STATE_HOME/hikyaku`, else `~/.local/state/hikyaku`");
    else if (s->kind == KIND_WORKERS)
        buf_add_str(out, "the number of processors");
    else if (s->kind == KIND_ADDRESS || s->section == SECTION_POOL ||
             s->section == SECTION_WARMUP)
        buf_add_str(out, "it must be given");
    else
        buf_add_str(out, "none");
}

void conf_document(struct buf *out)
{
    buf_add_str(out, head);
    for (int i = SECTION_TOP; i < SECTION_JOB; i++) {
        buf_printf(out, "\n## %s\n\n%s\n", sections[i].title, sections[i].about);
        if ((int)section_keys((enum conf_section)i) != i)
            continue;
        buf_add_str(out, "\n| Key | Default | Range | What it is and why |\n"
                         "|---|---|---|---|\n");
        for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
            if ((int)s->section != i)
                continue;
            buf_printf(out, "| `%s` | ", s->name);
            add_default(out, s);
            buf_add_str(out, " | ");
            value_range(out, s);
            buf_printf(out, " | %s%s |\n", s->about,
                       setting_stays(s) ? " A running job keeps it." : "");
        }
    }
}
