/* bench_prose.c - the text that petals-bench quality reads unless told otherwise: English prose
 * written for it, bench_quality.txt beside this file, carried in the program.
 */
#include "tools/bench_prose.h"

__asm__(".section .rodata\n"
	".globl bench_prose, bench_prose_end\n"
	"bench_prose: .incbin \"tools/bench_quality.txt\"\n"
	"bench_prose_end: .byte 0\n"
	".previous\n");
