/* real_directory.h - a directory's node and registrar on loopback, turned by a thread of its own,
 * for tests of what blocks.
 *
 * Threads    The test's; its own turns the node.
 * Ownership  real_directory_open() / real_directory_close().
 * Units      None.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_REAL_DIRECTORY_H
#define PETALS_TESTS_REAL_DIRECTORY_H

#include <pthread.h>
#include <stdatomic.h>

#include "control/registrar.h"

struct real_directory {
	char *folder;                   /* the CA is in folder/ca */
	struct ca *ca;                  /* the thread's */
	struct identity *identity;
	struct node *node;
	struct rpc *rpc;
	struct registrar *registrar;
	struct address address;
	json_t *lie;
	atomic_uint views;              /* how often "view" was asked for */
	pthread_t thread;
};

/* roles: of its certificate; insecure: without any. */
void real_directory_open(struct real_directory *d, uint32_t roles, bool insecure);
/* Answers enrol with whatever the caller says (a reference is taken). */
void real_directory_open_lying(struct real_directory *d, json_t *answer);
void real_directory_close(struct real_directory *d);

#endif
