/* ring.h - a bounded queue of pointers from one thread to another.
 *
 * Single producer, single consumer, lock-free.  Capacity is a power of two.
 *
 * Threads    Exactly one thread pushes, exactly one pops.
 * Ownership  A pushed pointer belongs to the ring until it is popped.
 * Units      Entries.
 * Errors     ring_push(): false when full.  ring_pop(): NULL when empty.
 */
#ifndef PETALS_BASE_RING_H
#define PETALS_BASE_RING_H

#include "dataplane/base/types.h"

struct ring;

int ring_open(struct ring **out, uint32_t capacity);   /* -ENOMEM, -EINVAL */
void ring_close(struct ring *r);                       /* NULL is fine */
bool ring_push(struct ring *r, void *entry);           /* entry != NULL */
void *ring_pop(struct ring *r);
uint32_t ring_length(const struct ring *r);            /* a moment's truth */

#endif
