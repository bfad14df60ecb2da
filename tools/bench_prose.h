/* bench_prose.h - a text of about 4,000 tokens on several subjects, within the program.
 *
 * Threads    Constant.
 * Ownership  None.
 * Units      Bytes of UTF-8; [bench_prose, bench_prose_end), then a NUL.
 * Errors     None.
 */
#ifndef PETALS_TOOLS_BENCH_PROSE_H
#define PETALS_TOOLS_BENCH_PROSE_H

extern const char bench_prose[], bench_prose_end[];

#endif
