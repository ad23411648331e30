#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char context[256];

void trying(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
}

void check(bool is_true, const char *what, const char *file, int line) {
    if (!is_true) {
        fprintf(stderr, "%s:%d: %s: it does not hold: %s\n", file, line, context, what);
        exit(1);
    }
}

void check_text(const char *text, const char *part, const char *file, int line) {
    if (strstr(text, part) == NULL) {
        fprintf(stderr, "%s:%d: %s: \"%s\" does not have \"%s\"\n", file, line, context, text, part);
        exit(1);
    }
}
