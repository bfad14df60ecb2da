/* unicode_form.h - Unicode normalisation forms, in time linear in the text.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Bytes of valid UTF-8.
 * Errors     -ENOMEM.
 */
#ifndef PETALS_COMPUTE_TEXT_UNICODE_FORM_H
#define PETALS_COMPUTE_TEXT_UNICODE_FORM_H

#include "dataplane/base/buffer.h"

enum unicode_form { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD };

int unicode_form_append(struct buffer *out, const char *text, size_t bytes,
			enum unicode_form form);

#endif
