/* angle_test.c - against the C library's f64 functions. */
#include "compute/cpu/angle.h"

#include <math.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

/* Goal: cosines and sines of small, quarter and large angles are right to the last bit of
 * f32 but for ties.
 */
TEST(angle_cos_sin__agrees_with_the_library)
{
	struct random r;
	int differ = 0;

	random_seed(&r, test_seed());
	for (int i = 0; i < 200000; i++) {
		double scale = pow(10, (double)(i % 9) - 2), angle = random_unit(&r) * scale;
		float c, s;

		if (i % 7 == 0)
			angle = (double)(i / 7) * M_PI_4;
		if (i % 2)
			angle = -angle;
		angle_cos_sin(angle, &c, &s);
		CHECK_NEAR(c, cos(angle), 6e-8);
		CHECK_NEAR(s, sin(angle), 6e-8);
		differ += c != (float)cos(angle) || s != (float)sin(angle);
	}
	CHECK(differ <= 2);
}

/* Goal: zero is exact. */
TEST(angle_cos_sin__zero)
{
	float c, s;

	angle_cos_sin(0, &c, &s);
	CHECK(c == 1 && s == 0);
}
