/* log.h - lines for operators: when, how grave, which part, what.
 *
 *	2026-11-23T14:02:11.204Z info  session  hop 2 of 3a91 lost: connection reset
 *
 * Threads    Safe from any thread; a line is written by one write().
 * Ownership  None.
 * Units      None.
 * Errors     None; a line that cannot be written is dropped.
 */
#ifndef PETALS_BASE_LOG_H
#define PETALS_BASE_LOG_H

#include "dataplane/base/types.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* Process-wide.  `json` prints one object per line instead. */
void log_configure(enum log_level least, bool json);
enum log_level log_least(void);

void log_line(enum log_level level, const char *part, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_debug(part, ...) log_at(LOG_DEBUG, part, __VA_ARGS__)
#define log_info(part, ...)  log_at(LOG_INFO, part, __VA_ARGS__)
#define log_warn(part, ...)  log_at(LOG_WARN, part, __VA_ARGS__)
#define log_error(part, ...) log_at(LOG_ERROR, part, __VA_ARGS__)
#define log_at(level, part, ...)                              \
	do {                                                  \
		if ((level) >= log_least())                   \
			log_line(level, part, __VA_ARGS__);   \
	} while (0)

#endif
