/* fiber.c - owns the stacks; the switch itself is a handful of instructions. */
#include "tests/cuda/fiber.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cuda/asan.h"

#ifndef __x86_64__
#error "the CUDA tests switch stacks by hand; add this processor's registers here"
#endif

enum { STACK_BYTES = 256 << 10, GUARD_BYTES = 4096, HEAD_BYTES = 4096 };

struct fiber {
	uint8_t *stack;                 /* GUARD_BYTES, STACK_BYTES, then this struct */
	void *at;                       /* stack pointer while it does not run */
	void (*entry)(void *ctx);
	void *ctx;
	void *fake_stack;               /* AddressSanitizer's */
};

static struct {
	struct fiber *fiber;            /* that runs */
	void *at;                       /* of who resumed it */
	void *fake_stack;
	const void *bottom;
	size_t bytes;
} running;

#ifdef __SANITIZE_ADDRESS__
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t bytes);
void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *bytes);
#define start_switch __sanitizer_start_switch_fiber
#define finish_switch __sanitizer_finish_switch_fiber
#else
static void start_switch(void **save, const void *bottom, size_t bytes)
{
}

static void finish_switch(void *save, const void **bottom, size_t *bytes)
{
}
#endif

/* Leaves the registers that a callee keeps on this stack, and its address in *save; takes
 * those of the other.
 */
void fiber_swap(void **save, void *other);
__asm__(".text\n"
	".hidden fiber_swap\n"
	".globl fiber_swap\n"
	".type fiber_swap, @function\n"
	"fiber_swap:\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n"
	"	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n"
	"	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	ret\n");

static void begin(void)
{
	struct fiber *f = running.fiber;

	finish_switch(NULL, &running.bottom, &running.bytes);
	for (;;) {
		f->entry(f->ctx);
		fiber_yield();
	}
}

int fiber_open(struct fiber **out, void (*entry)(void *ctx), void *ctx)
{
	uint8_t *stack = mmap(NULL, GUARD_BYTES + STACK_BYTES + HEAD_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct fiber *f;
	uint64_t *top;

	if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE) < 0)
		return -ENOMEM;
	f = (struct fiber *)(stack + GUARD_BYTES + STACK_BYTES);
	f->stack = stack;
	f->entry = entry;
	f->ctx = ctx;
	/* As if begin() had been called and were about to be entered: six registers, its
	 * address, and a return address that is never used.
	 */
	top = (uint64_t *)(f->stack + GUARD_BYTES + STACK_BYTES);
	memset(top - 8, 0, 8 * sizeof(*top));
	top[-2] = (uint64_t)(uintptr_t)begin;
	f->at = top - 8;
	*out = f;
	return 0;
}

void fiber_close(struct fiber *f)
{
	uint8_t *stack = f->stack;

	/* What frames have shut would stay so for whoever maps the place next. */
	memory_open(stack, GUARD_BYTES + STACK_BYTES + HEAD_BYTES);
	munmap(stack, GUARD_BYTES + STACK_BYTES + HEAD_BYTES);
}

void fiber_resume(struct fiber *f)
{
	running.fiber = f;
	start_switch(&running.fake_stack, f->stack + GUARD_BYTES, STACK_BYTES);
	fiber_swap(&running.at, f->at);
	finish_switch(running.fake_stack, NULL, NULL);
}

void fiber_yield(void)
{
	struct fiber *f = running.fiber;

	start_switch(&f->fake_stack, running.bottom, running.bytes);
	fiber_swap(&f->at, running.at);
	finish_switch(f->fake_stack, &running.bottom, &running.bytes);
}
