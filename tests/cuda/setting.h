/* setting.h - what kind of host the stand-in plays, as PETALS_CUDA_STAND_IN="devices=2 memory=1000"
 * says.
 *
 *   lt_version     of cuBLASLt                  130100
 *   lt_candidates  it proposes                  3
 *   lt_wrong       one that computes nonsense   none
 *   lt_fast        one, the others being slow   none
 *   devices   GPUs there are                    1
 *   version   CUDA version of the driver        13000
 *   memory    bytes of each device              8 GiB
 *   major     compute capability                9
 *   shared    bytes of a thread block           227 KiB
 *
 * Threads    Reads the environment; as getenv().
 * Ownership  None.
 * Units      As above.
 * Errors     Unknown names are ignored.
 */
#ifndef PETALS_TESTS_CUDA_SETTING_H
#define PETALS_TESTS_CUDA_SETTING_H

#include <stdint.h>

uint64_t setting(const char *name, uint64_t otherwise);

#endif
