#include "engine/mailbox.h"

#include <assert.h>
#include <stdlib.h>

static struct mail *take_all(struct mailbox *m)
{
    uv_mutex_lock(&m->mutex);
    struct mail *all = m->head;
    m->head = NULL;
    m->tail = &m->head;
    uv_mutex_unlock(&m->mutex);
    return all;
}

static void on_wake(uv_async_t *async)
{
    struct mailbox *m = async->data;
    struct mail *next;
    for (struct mail *mail = take_all(m); mail; mail = next) {
        next = mail->next;
        m->deliver(m->owner, mail);
    }
}

void mailbox_init(struct mailbox *m, uv_loop_t *loop, mailbox_deliver_fn *deliver,
                  void *owner)
{
    m->head = NULL;
    m->tail = &m->head;
    m->deliver = deliver;
    m->owner = owner;
    int failed = uv_mutex_init(&m->mutex) || uv_async_init(loop, &m->async, on_wake);
    assert(!failed);
    m->async.data = m;
}

void mailbox_post(struct mailbox *m, struct mail *mail)
{
    mail->next = NULL;
    uv_mutex_lock(&m->mutex);
    *m->tail = mail;
    m->tail = &mail->next;
    uv_mutex_unlock(&m->mutex);
    uv_async_send(&m->async);
}

void mailbox_close(struct mailbox *m)
{
    struct mail *next;
    for (struct mail *mail = take_all(m); mail; mail = next) {
        next = mail->next;
        free(mail);
    }
    uv_close((uv_handle_t *)&m->async, NULL);
    uv_mutex_destroy(&m->mutex);
}
