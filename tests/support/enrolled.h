/* enrolled.h - a CA on disk and a directory with a registrar, on a simulated network, and
 * programs with certificates from it.
 *
 * Threads    The test's.
 * Ownership  enrolled_open() / enrolled_close(); programs likewise.
 * Units      _s seconds of life of a certificate.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_ENROLLED_H
#define PETALS_TESTS_ENROLLED_H

#include "control/registrar.h"
#include "tests/support/sim_program.h"

struct enrolled {
	struct sim_network *network;
	char *folder;                   /* the CA is in it, and everybody's credentials */
	struct ca *ca;                  /* the directory's hold on it */
	struct identity *identity;      /* the directory's */
	struct sim_program directory;   /* at sim:1 */
	struct registrar *registrar;
};

void enrolled_open(struct enrolled *x);
void enrolled_close(struct enrolled *x);
struct address enrolled_address(void);

struct enrolled_program {
	struct sim_program program;
	struct identity *identity;
	uint32_t peer;                  /* the directory */
};

/* Credentials in folder/NAME, linked to the directory. */
void enrolled_program_open(struct enrolled *x, struct enrolled_program *p, const char *name,
			   uint32_t roles, int64_t life_s);
/* One without a certificate. */
void enrolled_stranger_open(struct enrolled *x, struct enrolled_program *p);
void enrolled_program_close(struct enrolled_program *p);

#endif
