/* folder.h - a folder for one test, gone with everything in it afterwards.
 *
 * Threads    The test's.
 * Ownership  test_folder_open() / test_folder_close().
 * Units      None.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_FOLDER_H
#define PETALS_TESTS_FOLDER_H

#include "dataplane/base/types.h"

char *test_folder_open(void);
void test_folder_close(char *folder);
/* Whole files in it; text: mem_free(). */
void test_folder_write(const char *folder, const char *name, const char *text);
char *test_folder_read(const char *folder, const char *name);
unsigned test_folder_count(const char *folder);          /* what is in it */
unsigned test_folder_mode(const char *folder, const char *name);

#endif
