/* fiber.h - a stack of one's own, switched to and from by hand; the sanitizer is told.
 *
 * A fiber runs `entry` over and over: each fiber_resume() goes on where the last
 * fiber_yield() was.
 *
 * Threads    One thread at a time runs fibers; which one may change between resumes.
 * Ownership  fiber_open() / fiber_close().
 * Units      None.
 * Errors     fiber_open(): -ENOMEM.
 */
#ifndef PETALS_TESTS_CUDA_FIBER_H
#define PETALS_TESTS_CUDA_FIBER_H

#ifdef __cplusplus
extern "C" {
#endif

struct fiber;

int fiber_open(struct fiber **out, void (*entry)(void *ctx), void *ctx);
void fiber_close(struct fiber *f);
void fiber_resume(struct fiber *f);
void fiber_yield(void);                 /* from within the running fiber */

#ifdef __cplusplus
}
#endif

#endif
