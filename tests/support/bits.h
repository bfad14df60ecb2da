/* bits.h - the identity promise, as a test asks for it: the bits of one sequence, however
 * it is chunked, batched and cut.
 *
 * Threads    A test's.
 * Ownership  mem_free() the numbers.
 * Units      Rows are tokens.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_BITS_H
#define PETALS_TESTS_BITS_H

#include "dataplane/base/random.h"
#include "tests/support/rig.h"

enum { BITS_TOKENS = 60 };

/* All rows' states, then the last row's logits. */
struct bits { float *numbers; size_t bytes; };

/* BITS_TOKENS tokens in chunks of `chunk`; 0: in chunks of any size, among other
 * sequences that are at positions of their own.
 */
struct bits bits_run(const struct rig_options *o, struct random *random, const uint32_t *tokens,
		     uint32_t chunk);
/* For tests that run the sequence themselves: room, then the logits of the last state. */
struct bits bits_open(const struct rig *r);
void bits_finish(struct rig *r, struct bits *out);

#endif
