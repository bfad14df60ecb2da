/* angle.c - reduction by quarter turns, then the two series, in plain f64.
 *
 * pi / 2 is split into parts of 22 bits, so that a whole number of quarter turns below
 * 2^30 times a part is exact and the reduction loses nothing that matters.
 */
#include "compute/cpu/angle.h"

#include <stdint.h>

/* 1/3!, 1/5!, ... and 1/2!, 1/4!, ... with alternating signs. */
static const double sine_terms[] = { -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880,
				     -1.0 / 39916800, 1.0 / 6227020800 };
static const double cosine_terms[] = { -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320,
				       -1.0 / 3628800, 1.0 / 479001600 };
enum { TERMS = 6 };

static double series(const double *terms, double square)
{
	double sum = terms[TERMS - 1];

	for (int i = TERMS - 2; i >= 0; i--)
		sum = sum * square + terms[i];
	return sum * square;
}

void angle_cos_sin(double angle, float *cosine, float *sine)
{
	const double quarters_per_radian = 0x1.45f306dc9c883p-1, round = 0x1.8p52;
	const double part1 = 0x1.921fb00000000p+0, part2 = 0x1.5110b00000000p-22;
	const double part3 = 0x1.18469898cc517p-44;
	double quarters = angle * quarters_per_radian + round - round;
	double r = angle - quarters * part1 - quarters * part2 - quarters * part3;
	double s = r + r * series(sine_terms, r * r), c = 1 + series(cosine_terms, r * r);

	switch ((int64_t)quarters & 3) {
	case 0:
		*cosine = (float)c;
		*sine = (float)s;
		break;
	case 1:
		*cosine = (float)-s;
		*sine = (float)c;
		break;
	case 2:
		*cosine = (float)-c;
		*sine = (float)-s;
		break;
	default:
		*cosine = (float)s;
		*sine = (float)-c;
		break;
	}
}
