/* Why something was refused or went wrong: a sentence and the numbers in its gaps; it becomes text only where it is sent. */
#ifndef UPDRAFT_REFUSAL_H
#define UPDRAFT_REFUSAL_H

#include "sentences.h"
#include "text.h"

/* A reason has at most so many bytes of UTF-8. */
#define UPDRAFT_REASON_BYTES 200U

enum updraft_says {
    UPDRAFT_SAYS_NOTHING = 0,
#define SENTENCE(name, code, text) UPDRAFT_SAYS_##name,
    UPDRAFT_SENTENCES(SENTENCE)
#undef SENTENCE
    UPDRAFT_SAYS_END
};

struct updraft_refusal {
    enum updraft_says says;
    uint32_t numbers[3];
};

/* That nothing was refused. */
struct updraft_refusal updraft_fine(void);
struct updraft_refusal updraft_refuse(enum updraft_says says);
struct updraft_refusal updraft_refuse1(enum updraft_says says, uint32_t first);
struct updraft_refusal updraft_refuse2(enum updraft_says says, uint32_t first, uint32_t second);
struct updraft_refusal updraft_refuse3(enum updraft_says says, uint32_t first, uint32_t second, uint32_t third);
/* Whether something was refused. */
bool updraft_is_refused(const struct updraft_refusal *refusal);

/* What a program reads in place of the sentence, such as `wrong_chip`. */
const char *updraft_code(enum updraft_says says);
/* Appends the sentence, with a text in its gap for one. */
void updraft_tell(struct updraft_text *out, const struct updraft_refusal *refusal, const char *text);
/* The sentence, cut to what fits, and the code in brackets, which is never cut. */
void updraft_reason(char out[UPDRAFT_REASON_BYTES + 1], const struct updraft_refusal *refusal, const char *text);
/* Whether a reason has this very code. */
bool updraft_is_coded(const char *reason, const char *code);
/* A chip's name, such as `esp32s3`. */
const char *updraft_chip_name(uint32_t id);

#endif
