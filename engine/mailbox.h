/* The only place where threads meet. Anyone may post; the owner is woken on its loop
 * and takes the whole list at once. What is posted belongs to the receiver: the sender
 * has forgotten it. The one mutex of the program lives here. */
#ifndef ENGINE_MAILBOX_H
#define ENGINE_MAILBOX_H

#include <uv.h>

struct mail { /* first member of everything that is posted; made with mem_alloc */
    struct mail *next;
};

/* Gets one piece of mail, oldest first, on the owner's loop; owns it from then on. */
typedef void mailbox_deliver_fn(void *owner, struct mail *mail);

struct mailbox {
    uv_async_t async;
    uv_mutex_t mutex;
    struct mail *head, **tail;
    mailbox_deliver_fn *deliver;
    void *owner;
};

/* On the owner's thread, or before it starts. */
void mailbox_init(struct mailbox *m, uv_loop_t *loop, mailbox_deliver_fn *deliver,
                  void *owner);
void mailbox_post(struct mailbox *m, struct mail *mail); /* any thread */
/* On the owner's loop. Mail that is still inside is freed; the async handle closes with
 * the loop's next turn. Nobody may post any more. */
void mailbox_close(struct mailbox *m);

#endif
