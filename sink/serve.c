#include "sink/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <uv.h>

#include "base/mem.h"
#include "sink/receiver.h"

static void on_signal(uv_signal_t *s, int number)
{
    (void)number;
    uv_stop(s->loop);
}

static bool listen_all(struct receiver *r, const struct serve_params *p,
                       struct fault *f)
{
    int *ports = mem_zero((size_t)p->listens_n, sizeof *ports);
    bool good = true;
    for (int i = 0; i < p->listens_n && good; i++) {
        const struct serve_listen *l = &p->listens[i];
        ports[i] = receiver_listen(r, l->address, l->port, l->mood);
        if (ports[i] < 0)
            good = fault_set(f, 609, "cannot listen at %s port %d: %s", l->address,
                             l->port, strerror(-ports[i]));
    }
    for (int i = 0; i < p->listens_n && good && p->on_listening; i++)
        p->on_listening(p->arg, &p->listens[i], ports[i]);
    free(ports);
    return good;
}

/* Closing handles call back once more: what they need must still be there. */
static void serve_loop(uv_loop_t *loop, struct sink_world *w,
                       const struct serve_params *p, struct fault *f)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    uv_signal_t signals[2];
    struct receiver *r = receiver_create(loop, w);
    for (int i = 0; i < 2; i++) {
        uv_signal_init(loop, &signals[i]);
        uv_signal_start(&signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&signals[i]); /* a receiver that stops ends the loop */
    }
    if ((!p->cert || receiver_use_certificate(r, p->cert, p->key, f)) &&
        listen_all(r, p, f))
        uv_run(loop, UV_RUN_DEFAULT);
    if (sink_world_counts(w)->record_failed)
        fault_set(f, -20, "the receiver's record cannot be written");
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&signals[i], NULL);
    receiver_close(r);
    uv_run(loop, UV_RUN_DEFAULT);
}

bool sink_serve(const struct serve_params *p, struct sink_counts *counts_out,
                struct fault *f)
{
    uv_loop_t loop;
    int record = -1;
    *counts_out = (struct sink_counts){0};
    if (p->record) {
        record =
            open(p->record, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        if (record < 0)
            return fault_set(f, -20, "cannot make the record \"%s\": %s", p->record,
                             strerror(errno));
    }
    int error = uv_loop_init(&loop);
    if (error) {
        fault_set(f, 609, "cannot start the receiver: %s", uv_strerror(error));
    } else {
        struct sink_world *w = sink_world_create(record, p->keep_dir);
        serve_loop(&loop, w, p, f);
        uv_loop_close(&loop);
        *counts_out = *sink_world_counts(w);
        sink_world_destroy(w);
    }
    if (record >= 0)
        close(record);
    return !f->code;
}
