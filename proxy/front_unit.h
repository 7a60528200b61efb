/*
 * front_unit: how a command, or a response of SASL, is cut off what a client
 * has sent so far. Pure.
 */
#ifndef PROXY_FRONT_UNIT_H
#define PROXY_FRONT_UNIT_H

#include "proxy/front.h"
#include "proxy/imap_scan.h"

/* A line without its CRLF, of at most size_max octets with it. */
enum front_unit front_unit_line(
    struct slice *input, size_t size_max, struct slice *text, const char **why);
/* A command with its literals and its CRLF. On CONTINUE nothing is taken off.
 */
enum front_unit front_unit_scan(struct imap_scanner *scanner,
    struct slice *input, struct slice *text, const char **why);

/* Runs a command that is one line: its name, a space, its argument. */
enum front_action front_unit_run(
    struct front *front, struct slice line, struct buf *out);

#endif
