/* model_list.h - /v1/models and /v1/models/NAME: the one model that a gateway serves.
 *
 * Threads    The HTTP server's.
 * Ownership  Each call answers the exchange it is given.
 * Units      created is in seconds since 1970.
 * Errors     Go to the client: 404 model_not_found.
 */
#ifndef PETALS_CONTROL_MODEL_LIST_H
#define PETALS_CONTROL_MODEL_LIST_H

#include "control/completion_request.h"

void model_list_all(const struct served_model *m, uint64_t created, struct http_exchange *x);
void model_list_one(const struct served_model *m, uint64_t created, const char *name,
		    struct http_exchange *x);

#endif
