/*
 * web_request: the head of an HTTP request, as far as a server of a few small
 * documents needs it (RFC 9112). Pure.
 */
#ifndef ZONES_WEB_REQUEST_H
#define ZONES_WEB_REQUEST_H

#include "lib/slice.h"

#define WEB_REQUEST_SIZE_MAX 8192

enum web_request_result {
	WEB_REQUEST_MORE,
	WEB_REQUEST_DONE,
	WEB_REQUEST_BAD
};

/* Borrowed from the input. */
struct web_request {
	struct slice method, path;
	struct slice query; /* behind the question mark; may be empty */
	struct slice host;  /* without port; empty: none was named */
};

enum web_request_result web_request_parse(
    struct web_request *request, struct slice input);

/* The value of a field of the query, as it stands there; empty: none. */
struct slice web_request_field(
    const struct web_request *request, const char *name);

#endif
