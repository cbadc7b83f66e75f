/* The sections source, pool and warmup once all settings are read: what only all
 * together can tell. */
#ifndef CONF_SOURCES_H
#define CONF_SOURCES_H

#include "conf/scan.h"

/* Give each source the hostname it lacks; false and -7 when an address is not given, a
 * name leads nowhere, or there are too many. */
bool sources_check(struct conf *c, const struct scan *scan, struct fault *f);

#endif
