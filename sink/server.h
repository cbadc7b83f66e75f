/* The receiver's side of one SMTP connection, sans-IO: bytes in, bytes out, a deadline.
 * RFC 5321, 2920. One holder, no locks, no clock. Used by demo, rehearse, tests and bench. */
#ifndef SINK_SERVER_H
#define SINK_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "sink/mood.h"

enum { SINK_COMMAND_MAX = 2048 };

/* Shared by all connections of one receiver; belongs to one thread. */
struct sink_counts {
    uint64_t connections, refused_connections, messages, recipients, refused, bytes;
    int open;
};

struct sink_world;
/* record_fd >= 0: one line "UNIXMS\tRCPT\tSENDER\tMESSAGE-ID\tBYTES\n" for each accepted recipient is
 * written before its 250 leaves. keep_dir: NULL, or a folder where each message is stored (tests). */
struct sink_world *sink_world_create(int record_fd, const char *keep_dir);
void sink_world_destroy(struct sink_world *w);
struct sink_counts *sink_world_counts(struct sink_world *w);

struct sink_server;
/* open_on_mood: connections open at this mood's listener, this one included. */
struct sink_server *sink_server_create(struct sink_world *w, const struct mood *mood,
                                       int open_on_mood, int64_t now_us);
void sink_server_destroy(struct sink_server *s);
void sink_server_receive(struct sink_server *s, const char *data, size_t n, int64_t now_us);
/* What may leave now; replies that a mood delays come when their time has come. */
struct span sink_server_output(struct sink_server *s, int64_t now_us);
void sink_server_sent(struct sink_server *s, size_t n);
int64_t sink_server_deadline(const struct sink_server *s); /* when output may have more; INT64_MAX: never */
bool sink_server_over(const struct sink_server *s); /* close once output is empty */

#endif
