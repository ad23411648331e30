/* URLs of http and https, as text that is safe to put into a request, and what their paths say. */
#ifndef UPDRAFT_URL_H
#define UPDRAFT_URL_H

#include "refusal.h"

/* A URL has at most so many bytes. */
#define UPDRAFT_URL_BYTES 2048U
/* A version has at most so many bytes. */
#define UPDRAFT_VERSION_BYTES 64U

/* Whether bytes are an http or https URL: at most UPDRAFT_URL_BYTES of printable ASCII, with a host and without a user name. */
bool updraft_url_is_good(const char *bytes, size_t count);
/* Tells paths apart; the query does not count. */
uint32_t updraft_url_path_tag(const char *url);
/* The version in `…/releases/v{version}/firmware.bin`; empty where a URL has another form. */
void updraft_url_version(const char *url, char version[UPDRAFT_VERSION_BYTES + 1]);
/* Turns a URL into the one that a redirect leads to: absolute, or a path that begins with `/`. Never from https to http.
 * After a refusal `url` holds nothing of use. */
struct updraft_refusal updraft_url_follow(char url[UPDRAFT_URL_BYTES + 1], const char *location);
/* Whether two texts are one version: missing parts are 0, build metadata and words behind it do not count. Names that are none are compared as they
 * are. */
bool updraft_version_equals(const char *left, const char *right);
/* Copies a version of printable ASCII without quotes, less white space around it and one leading `v`; empty if it is none. */
void updraft_version_copy(char version[UPDRAFT_VERSION_BYTES + 1], const char *bytes, size_t count);

#endif
