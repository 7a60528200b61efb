/*
 * handover: what one generation of the parent leaves to the next.
 *
 * Descriptors stay open over execve(2); a memfd, named in the environment, says
 * which is what, a line each. Text that cannot be read ends the new parent
 * before it has started anything.
 */
#ifndef PROXY_HANDOVER_H
#define PROXY_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/resolve.h"

enum child_role {
	CHILD_RELAY,
	CHILD_HEALTH,
	CHILD_AUTH,  /* writes votes */
	CHILD_VERIFY /* an auth process that answers relays */
};

struct child {
	enum child_role role;
	pid_t pid;
	uint32_t generation;
	int slot;      /* relays: their slot of the counters; else -1 */
	int parent_fd; /* owned: our end of its channel; closing it retires it
			*/
	int health_fd; /* owned: the health process's end of the channel of a
			  relay or an auth process; else -1 */
	int64_t started_ms; /* monotonic; 0 when it was handed over */
};

struct handover_listener {
	int fd;
	union address address;
};

struct handover {
	uint32_t generation;
	int stats_fd; /* -1: nothing was handed over */
	int control_fd;
	struct handover_listener *listeners; /* owned */
	size_t listener_count;
	struct child *children; /* owned */
	size_t child_count;
};

/* Adds to the arrays; dies without memory, which happens at start alone. */
void handover_add_listener(
    struct handover *handover, struct handover_listener listener);
void handover_add_child(struct handover *handover, struct child child);
void handover_free(struct handover *handover);

/*
 * Writes it to a memfd that the next program finds. 0; or -1 with *why.
 * Descriptors are not inherited until handover_keep() says so.
 */
int handover_write(const struct handover *handover, const char **why);
/* Lets every descriptor that it names survive execve(2), or not. */
void handover_keep(const struct handover *handover, bool keep);
/* Reads what was handed over; stats_fd is -1 when there was nothing. 0 or -1
 * with *why. */
int handover_read(struct handover *handover, const char **why);

#endif
