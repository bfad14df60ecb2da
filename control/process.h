/* process.h - what the operating system knows of this process, as Prometheus text: memory,
 * CPU time, descriptors, when it started, what it is.
 *
 * Threads    Any.
 * Ownership  Appends to the caller's buffer.
 * Units      Bytes, seconds.
 * Errors     What cannot be read is left out.
 */
#ifndef PETALS_CONTROL_PROCESS_H
#define PETALS_CONTROL_PROCESS_H

#include "dataplane/base/buffer.h"

void process_print(const char *program, struct buffer *out);

#endif
