/* The pass over the settings files that comes before libConfuse: it joins included
 * files into one text and refuses what libConfuse lets pass in silence. Values stay as
 * they are: they are libConfuse's. */
#ifndef CONF_SCAN_H
#define CONF_SCAN_H

#include "conf/settings.h"

struct scan {
    struct buf text;   /* the tokens of all files, line by line, without comments */
    struct buf lines;  /* struct place of each line of text */
    struct buf values; /* struct scan_value, in the order of the files */
    struct place keys[SETTING_COUNT];     /* where each is given; line 0: it is not */
    struct place sections[SECTION_COUNT]; /* likewise */
    struct buf rules; /* struct scan_rule, in the order of the files */
    int files;
    struct arena names; /* of files, for the places */
};

struct scan_value {
    const struct setting *setting;
    struct place at;
    int rule; /* its number; -1: none */
};

struct scan_rule { /* a section with a name */
    enum conf_section section;
    char *pattern; /* as in struct conf_rule, or its name or title; in scan->names */
    struct place at;
    struct place keys[SETTING_COUNT];
    struct place timeout; /* its section timeout { } */
    size_t values;        /* where its own begin in scan->values, in bytes */
};

/* Read path and what it includes. false: *f is set. Either way scan_finish; places live
 * until then. s begins zeroed. */
bool scan_read(struct scan *s, const char *path, bool is_job, struct fault *f);
/* The same of a text that is a file of that name for people. */
bool scan_read_text(struct scan *s, const char *name, struct span text,
                    struct fault *f);
void scan_finish(struct scan *s);

/* Where line n of the text (from 1) comes from. */
struct place scan_line(const struct scan *s, int n);
/* Where value i of a setting stands, in this rule (NULL: outside of any). */
struct place scan_value_place(const struct scan *s, const struct scan_rule *rule,
                              const struct setting *of, int i);
int scan_rules(const struct scan *s);
struct scan_rule *scan_rule(const struct scan *s, int i);

#endif
