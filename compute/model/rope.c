/* rope.c - rotary frequencies and ALiBi slopes, the two ways in which a
 * position becomes a constant of a model.
 */
#include <math.h>

#include "compute/model/config.h"

/* Llama 3.1: long waves are slowed by the factor, short ones kept, those
 * between blended by where their wavelength lies.
 */
static double llama3(const struct rope_config *rope, double frequency)
{
	double wavelength = 2 * M_PI / frequency;
	double original = rope->original_positions;
	double low = rope->low_freq_factor, high = rope->high_freq_factor;
	double kept;

	if (wavelength > original / low)
		return frequency / rope->factor;
	if (wavelength < original / high)
		return frequency;
	kept = (original / wavelength - low) / (high - low);
	return (1 - kept) * frequency / rope->factor + kept * frequency;
}

void rope_frequencies(const struct rope_config *rope, float *out)
{
	for (uint32_t i = 0; i < rope->dims / 2; i++) {
		double frequency = pow(rope->theta, -2.0 * i / rope->dims);

		switch (rope->scaling) {
		case ROPE_PLAIN:
			break;
		case ROPE_LINEAR:
			frequency /= rope->factor;
			break;
		case ROPE_LLAMA3:
			frequency = llama3(rope, frequency);
			break;
		case ROPE_DIVISORS:
			frequency /= rope->divisors[i];
			break;
		}
		out[i] = (float)frequency;
	}
}

/* For a power of two n: 2^(-8/n), 2^(-16/n), ...  Otherwise the slopes of the
 * power of two below, then every other slope of the one above.
 */
void alibi_slopes(uint32_t heads, float *out)
{
	uint32_t below = 1;

	while (below <= heads / 2)
		below *= 2;
	for (uint32_t h = 0; h < heads; h++) {
		double step = h < below ? h + 1 : (2.0 * (h - below) + 1) / 2;

		out[h] = (float)exp2(-8.0 * step / below);
	}
}
