/* uring_setup.h - opens an io_uring as this kernel allows.
 *
 * Threads    With starts_disabled the ring belongs to the thread that later
 *            starts it (IORING_REGISTER_ENABLE_RINGS), else to nobody.
 * Ownership  io_uring_queue_exit() closes the ring.
 * Units      Operations that may be prepared at once.
 * Errors     -EPERM, -ENOSYS, -ENOMEM, ... with a sentence that says what to
 *            allow; a missing comfort is only logged.
 */
#ifndef PETALS_DATAPLANE_URING_SETUP_H
#define PETALS_DATAPLANE_URING_SETUP_H

#include <liburing.h>

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

int uring_setup(struct io_uring *ring, unsigned operations, bool *starts_disabled,
		struct error *e);

#endif
