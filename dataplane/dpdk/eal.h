/* eal.h - DPDK's environment, started once in a process.
 *
 * Threads    Calls are made under the lock of port_dpdk_open(), or by the thread that
 *            closes the last port.
 * Ownership  Each successful eal_start() is matched by one eal_stop().
 * Units      None.
 * Errors     -errno with a sentence that says what to try.
 */
#ifndef PETALS_DATAPLANE_DPDK_EAL_H
#define PETALS_DATAPLANE_DPDK_EAL_H

#include "dataplane/base/error.h"

/* args as on a command line, words separated by blanks; NULL: none. */
int eal_start(const char *args, struct error *e);
void eal_stop(void);

#endif
