/*
 * config_check: whether what the configuration says goes together, and what
 * follows from it.
 *
 * Used by config_read() alone, once all options have been read.
 */
#ifndef PROXY_CONFIG_CHECK_H
#define PROXY_CONFIG_CHECK_H

#include "lib/buf.h"
#include "proxy/config.h"

/* Fills in what is derived; adds "FILE:LINE: WHY" lines to errors. */
void config_check(struct config *config, struct buf *errors);

#endif
