/*
 * observe: from the results of probes to what an observer holds of a host.
 *
 * Pure bookkeeping, one struct observed for each service of each host:
 *
 *   refused               down at once
 *   silent                suspect at once; down when a probe at least one
 *                         interval later is silent as well
 *   good, while suspect   what it was before
 *   good, while down      up after `good` of them in a row
 *
 * Silent is whatever is not refused and not good: no answer in time, a wrong
 * certificate, a failing login. A probe that could not be made for reasons of
 * ours is none. A host is what the worst of the services that count is: imap,
 * pop3, lmtp and sieve of a host that has them, submission and smtp only where
 * there is nothing else, since their failure is no reason to move anybody.
 */
#ifndef PROXY_OBSERVE_H
#define PROXY_OBSERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/cell.h"

enum probe_result {
	PROBE_GOOD,
	PROBE_REFUSED,
	PROBE_SILENT,
	PROBE_NONE /* not made */
};

enum opinion {
	OPINION_UNKNOWN,
	OPINION_UP,
	OPINION_SUSPECT,
	OPINION_DOWN,
	OPINION_COUNT
};

struct observe_settings {
	int64_t interval_ms; /* between two probes */
	unsigned good;       /* probes in a row until up */
};

/* All zeros at first. */
struct observed {
	enum opinion opinion;
	bool was_up;      /* SUSPECT: it was, before */
	bool silent;      /* DOWN, SUSPECT: not refused */
	unsigned good;    /* UNKNOWN, DOWN: good probes in a row */
	int64_t since_ms; /* when the opinion began */
};

/* Takes a result in. True when the opinion or `silent` changed. */
bool observe_result(struct observed *observed,
    const struct observe_settings *settings, enum probe_result result,
    int64_t now_ms);

/* Whether a service makes the host's health. */
bool observe_counts(const struct host *host, enum service_kind kind);

/*
 * The host as a whole; services: SERVICE_KIND_COUNT of them, by kind, of which
 * those count that the host has. UNKNOWN without any.
 */
struct observed observe_host(
    const struct host *host, const struct observed *services);

/* "unknown", "up", "suspect", "down"; static. */
const char *opinion_text(enum opinion opinion);

#endif
