/* angle.h - sine and cosine that have the same bits on every host.
 *
 * The C library picks its own by processor and version; a rotation that differed
 * in the last bit between two hosts would break the identity promise.
 *
 * Threads    Pure function; safe anywhere.
 * Ownership  None.
 * Units      Radians, |angle| up to 2^30.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_ANGLE_H
#define PETALS_COMPUTE_CPU_ANGLE_H

/* Within 1e-9 of the exact values before they are rounded to f32. */
void angle_cos_sin(double angle, float *cosine, float *sine);

#endif
