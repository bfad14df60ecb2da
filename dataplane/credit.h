/* credit.h - how much one side of a connection may still send to the other,
 * in slots of one size.
 *
 * A receiver grants slots once, in its HELLO.  Each message uses one up at
 * the sender; when the receiver is done with it the slot is owed back, and
 * told in the credit fields of whatever goes that way next.
 *
 *   sender     available = granted to us - sent + told back
 *   receiver   allowance = granted by us - arrived + told back
 *
 * Threads    A struct credit belongs to its peer's thread.
 * Ownership  Plain storage.
 * Units      Slots.
 * Errors     false: the other side broke its word.
 */
#ifndef PETALS_DATAPLANE_CREDIT_H
#define PETALS_DATAPLANE_CREDIT_H

#include "dataplane/base/types.h"

enum credit_size { CREDIT_SMALL, CREDIT_LARGE, CREDIT_SIZES, CREDIT_NONE = CREDIT_SIZES };

struct credit {
	uint32_t granted_to_us, available;
	uint32_t granted_by_us, allowance;
	uint32_t owed;                  /* slots free again, not told yet */
};

/* As a sender. */
void credit_granted(struct credit *c, uint32_t slots);
bool credit_take(struct credit *c);                     /* false: none left */
void credit_untake(struct credit *c);                   /* it was not sent after all */
bool credit_returned(struct credit *c, uint32_t slots);

/* As a receiver. */
void credit_grant(struct credit *c, uint32_t slots);
bool credit_arrived(struct credit *c);
void credit_owe(struct credit *c);
/* Worth a message of its own: half the grant, or the sender has nothing left. */
bool credit_is_due(const struct credit *c);
uint8_t credit_tell(struct credit *c);                  /* for a credit field */
void credit_untell(struct credit *c, uint8_t told);     /* it never arrived */
void credit_unarrived(struct credit *c);                /* neither did the message */

#endif
