/*
 * plan: which records a zone is to hold, made of the cell map, the
 * configuration and the moment. Pure.
 *
 * Liveness comes from the directory alone. Of a host holds the last
 * transition whose TIME has passed, else its wish. Ramps move accounts, not
 * hosts, and do not matter here.
 *
 *   up       published; one that comes back from `failed` only after
 *            return_delay, times its failures of the last minutes
 *   failed   not published, unless the wish is drain or down: drain beats
 *            health, and such a host counts as drained
 *   drain    not published, and neither is weight 0
 *   down     not published
 *
 * Fail open: where fewer than fail_open percent of the undrained hosts of an
 * RRset are up, all undrained ones are published, for then it is likelier
 * that the eyes are bad than the hosts. Where all are drained the draining
 * ones are published, which still work, and at last those that are down: a
 * set is never empty. Where the cell has no host at all for a generic name or
 * an MX, what the zone has is kept.
 *
 * A host has the addresses that its section in the configuration gives, else
 * those that its service URLs name. Where it says of itself, or most observers
 * say, `NAME/ipv4 down` or `NAME/ipv6 down` (lib/vote.h), its addresses of that
 * family are left out while another one has some.
 *
 * Records: RFC 2782, 6186 and 8314 (SRV), 5321 (MX), 4120 section 7.2.3
 * (Kerberos), 6698 and 7671 (TLSA).
 */
#ifndef ZONES_PLAN_H
#define ZONES_PLAN_H

#include <stdint.h>

#include "daemon/addresses.h"
#include "lib/buf.h"
#include "lib/cell.h"
#include "zones/config.h"
#include "zones/rrsets.h"
#include "zones/scope.h"

#define PLAN_NOTES_MAX     65536
#define PLAN_MX_PREFERENCE 10
#define PLAN_NEVER         INT64_MAX
#define PLAN_MEMORY_US     INT64_C(600000000) /* of failures */
#define PLAN_ALIVE_US      INT64_C(60000000)  /* that a vote outlives */
#define PLAN_DELAYS_MAX    10                 /* times return_delay */

enum plan_health {
	PLAN_UP,
	PLAN_FAILED,
	PLAN_DRAINED,
	PLAN_DOWN
};

struct plan_input {
	const struct config *config;
	const struct config_zone *zone;
	const struct cell *cell;
	const struct addresses *addresses;
	const struct rrsets *tlsa; /* of all zones, tlsa_read() */
	int64_t now_us;
};

struct plan {
	struct rrsets set;
	struct scope_items kept;    /* RRsets that stay as they are */
	struct scope_items unknown; /* host names to look up; type A */
	struct buf notes;           /* for people: a line each */
	int64_t next_us; /* when time alone may change it; or PLAN_NEVER */
};

/* Never fails, but for memory, of which it dies. */
struct plan plan_make(const struct plan_input *input);
void plan_free(struct plan *plan);

/*
 * The plan's set with what is to be kept taken from `current`, which holds
 * what is ours in the zone now. 0, or -1 without memory.
 */
int plan_merge(struct rrsets *desired, const struct plan *plan,
    const struct rrsets *current);

/*
 * What holds of a host, and its weight. *next_us is lowered to the moment at
 * which time alone will change it.
 */
enum plan_health plan_health(const struct host *host, int64_t now_us,
    int64_t return_delay_us, uint32_t *weight, int64_t *next_us);
/* "up", "failed", "drained", "down"; static. */
const char *plan_health_text(enum plan_health health);

#endif
