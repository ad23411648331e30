/* What the agent's files have in common; nothing here is for applications. */
#ifndef UPDRAFT_INSIDE_H
#define UPDRAFT_INSIDE_H

#include "agent.h"

/* Several requests for the same thing are one. */
void updraft_say_report(struct updraft *agent);
void updraft_say_outcome(struct updraft *agent);
/* Says how far it is, at most once a second; `always` for the first of a phase. */
void updraft_say_progress(struct updraft *agent, const char *phase, uint32_t done, uint32_t total, bool always);
bool updraft_next_message(struct updraft *agent, struct updraft_action *action);

/* Saves the record; what cannot be saved is still said now, only the next boot will not know it. */
bool updraft_store(struct updraft *agent);
void updraft_start(struct updraft *agent, uint32_t after_ms);
bool updraft_is_due(const struct updraft *agent);

/* The attempt is over, in `result`; the record is saved and the outcome said. */
void updraft_conclude(struct updraft *agent, enum updraft_outcome result, const char *reason);
void updraft_succeed(struct updraft *agent);
void updraft_fail(struct updraft *agent, struct updraft_refusal refusal, const char *text);
/* The same, with the text that an image can be refused with: the version that the server named, or the running project's name. */
void updraft_refuse_image(struct updraft *agent, struct updraft_refusal refusal);
/* What runs is confirmed, or has reached the broker without a trial. */
void updraft_note_confirmed(struct updraft *agent);

/* fetch.c: what is fetched, and how long it is tried. */
void updraft_take_trigger(struct updraft *agent, const char *payload, size_t count);
/* Begins an attempt at the URL that was taken; the first one unless the application wants to be left alone. */
void updraft_begin_if_wanted(struct updraft *agent);
void updraft_begin_attempt(struct updraft *agent);
void updraft_fetch_now(struct updraft *agent);
void updraft_retry(struct updraft *agent, struct updraft_refusal refusal, const char *text);
void updraft_lose(struct updraft *agent, enum updraft_says says);
void updraft_ask_for_url(struct updraft *agent);

/* slot.c: the flash's side of a download. */
void updraft_slot_start_over(struct updraft *agent);
struct updraft_refusal updraft_slot_add(struct updraft *agent, const uint8_t *bytes, size_t count);
struct updraft_refusal updraft_slot_finish(struct updraft *agent);
/* Hashes on what an earlier attempt left; whether that is done. */
bool updraft_slot_resume(struct updraft *agent, struct updraft_refusal *refusal);

/* judge.c: whether an image is one for this device. */
struct updraft_refusal updraft_fits(const struct updraft *agent, const struct updraft_traits *traits);
void updraft_judge_tail(struct updraft *agent);
void updraft_begin_verification(struct updraft *agent);
void updraft_verify_on(struct updraft *agent);
/* Whether the target holds the very image, whole and signed. */
bool updraft_target_is(struct updraft *agent, const uint8_t *sha256);

/* trial.c: a new image that has to prove itself. */
void updraft_wake(struct updraft *agent);
void updraft_judge_trial(struct updraft *agent);
void updraft_reject(struct updraft *agent, struct updraft_refusal refusal, const char *text);

#endif
