/* The least of a test harness: a check that fails says where and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>

#define CHECK(what) check((what), #what, __FILE__, __LINE__)
#define CHECK_TEXT(text, part) check_text((text), (part), __FILE__, __LINE__)

/* What is being tried, to be said if it fails. */
void trying(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check(bool is_true, const char *what, const char *file, int line);
/* Whether a text has a part. */
void check_text(const char *text, const char *part, const char *file, int line);

#endif
