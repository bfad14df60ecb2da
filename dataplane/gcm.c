/* gcm.c - the table of back ends, best first. */
#include "dataplane/gcm.h"

const struct gcm_ops *const gcm_backends[] = { &gcm_mb, &gcm_evp, NULL };

const struct gcm_ops *gcm_best(void)
{
	for (const struct gcm_ops *const *row = gcm_backends; *row; row++)
		if ((*row)->usable())
			return *row;
	return &gcm_evp;
}
