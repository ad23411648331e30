/* Text of bounded length, written piece by piece: what does not fit is dropped whole characters at a time. */
#ifndef UPDRAFT_TEXT_H
#define UPDRAFT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where text is written to; a zero always ends it. */
struct updraft_text {
    char *begin;
    size_t room;
    size_t length;
};

/* Begins an empty text in a buffer of at least one byte. */
struct updraft_text updraft_text_in(char *buffer, size_t buffer_bytes);
/* Appends text; control characters become spaces. */
void updraft_text_add(struct updraft_text *text, const char *more);
/* Appends the text that a JSON string holds, without its quotes. */
void updraft_text_add_json(struct updraft_text *text, const char *more);
void updraft_text_add_number(struct updraft_text *text, uint32_t number);
/* Appends a number to base 16 behind `0x`, without leading zeros. */
void updraft_text_add_hex(struct updraft_text *text, uint32_t number);
/* Appends two lower-case digits for each byte. */
void updraft_text_add_bytes(struct updraft_text *text, const uint8_t *bytes, size_t count);
/* Cuts to at most so many bytes, at a character, and takes spaces off the end. */
void updraft_text_cut(struct updraft_text *text, size_t bytes);
/* Copies text that fits, and empties the copy where it does not; whether it fits. */
bool updraft_text_copy(char *to, size_t to_bytes, const char *from);
/* Copies the first `length` bytes of it likewise. */
bool updraft_text_copy_part(char *to, size_t to_bytes, const char *from, size_t length);

#endif
