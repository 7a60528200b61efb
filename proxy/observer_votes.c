#include <errno.h>
#include <sys/socket.h>

#include "proxy/auth_votes.h"
#include "proxy/observer_state.h"
#include "replica/clock.h"

/*
 * A silent host is voted down that much later than due: whoever was struck
 * by the same fault and is probed in the same round is announced by then.
 */
#define OBSERVER_LINGER_MS 150

void
observer_speak_soon(struct observer *observer, int64_t after_ms)
{
	struct timeval after = { after_ms / 1000, after_ms % 1000 * 1000 };
	struct timeval due, now;

	/* An earlier appointment stands. */
	if (evtimer_pending(observer->speak, &due)) {
		event_base_gettimeofday_cached(observer->base, &now);
		timeradd(&now, &after, &now);
		if (timercmp(&due, &now, <))
			return;
	}
	evtimer_add(observer->speak, &after);
}

/* Of a family is spoken only while the other one works. */
static void
add_family_votes(struct observer *observer, const struct target *target,
    const struct host *host, struct buf *out)
{
	for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++) {
		unsigned other = VOTE_FAMILY_COUNT - 1 - i;

		if (target->families[i].opinion != OPINION_DOWN ||
		    target->families[other].opinion != OPINION_UP)
			continue;
		vote_format_family(
		    out, observer->cell, host, (enum vote_family)i);
		buf_add_char(out, '\n');
	}
}

/* Silent ones are announced first, and voted down a moment later. */
static void
add_votes(
    struct observer *observer, const struct target *target, struct buf *out)
{
	const struct observed *observed = &target->observed;
	const struct host *host =
	    cell_host(observer->cell, target->kind, buf_slice(&target->name));
	bool down = observed->opinion == OPINION_DOWN;
	bool silent =
	    observed->opinion == OPINION_SUSPECT || (down && observed->silent);
	int64_t age_ms = clock_monotonic_ms() - observed->since_ms;

	if (!host)
		return;
	if (down && silent && age_ms < OBSERVER_LINGER_MS) {
		down = false;
		observer_speak_soon(observer, OBSERVER_LINGER_MS - age_ms + 1);
	}
	if (silent) {
		vote_format(out, observer->cell, host, VOTE_SILENT);
		buf_add_char(out, '\n');
	}
	if (down) {
		vote_format(out, observer->cell, host, VOTE_DOWN);
		buf_add_char(out, '\n');
	}
	add_family_votes(observer, target, host, out);
}

static bool
has_opinion(enum opinion opinion)
{
	return opinion == OPINION_UP || opinion == OPINION_DOWN;
}

/* Of the families, too, where the target has both. */
static bool
is_known(const struct target *target)
{
	const struct family *ipv4 = &target->families[VOTE_IPV4];
	const struct family *ipv6 = &target->families[VOTE_IPV6];

	return has_opinion(target->observed.opinion) &&
	       (ipv4->opinion == OPINION_COUNT ||
		   ipv6->opinion == OPINION_COUNT ||
		   (has_opinion(ipv4->opinion) && has_opinion(ipv6->opinion)));
}

/*
 * A new observer has no say before it has seen every host up or down, or had
 * the time to: until then its predecessor's votes stand.
 */
static bool
is_settled(struct observer *observer)
{
	const struct config_probe *probe = &observer->config->probe;
	int64_t grace_ms =
	    (probe->good + 2) * probe->interval + 2 * probe->timeout;

	for (struct target *target = observer->targets;
	     target && !observer->settled; target = target->next)
		if (!is_known(target) &&
		    clock_monotonic_ms() - observer->started_ms < grace_ms)
			return false;
	observer->settled = true;
	return true;
}

/* Our own entry; NULL when the cell does not know us. */
static const struct host *
find_self(struct observer *observer)
{
	const struct host *self =
	    observer->cell ? cell_host(observer->cell, HOST_PROXY,
				 slice_from(observer->config->directory.name))
			   : NULL;

	if (!self && observer->cell && !observer->told_why)
		log_why(observer->log, LOG_LEVEL_ERROR, "no_entry",
		    "there is no proxy of the name in directory { name }");
	observer->told_why = observer->cell && !self;
	return self;
}

void
observer_speak(struct observer *observer)
{
	struct buf message = buf_bounded(AUTH_MESSAGE_SIZE - 1);
	const struct host *self = find_self(observer);

	observer->spoke_ms = clock_monotonic_ms();
	if (!self || observer->auth_fd < 0 || !is_settled(observer))
		return;
	buf_add_slice(&message, record_value(self->record, CELL_DN));
	buf_add_char(&message, '\n');
	for (struct target *target = observer->targets; target;
	     target = target->next)
		add_votes(observer, target, &message);
	/* A full channel means that nobody reads; the next one tells all. */
	if (!message.failed)
		(void)send(observer->auth_fd, message.data, message.size,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_free(&message);
}

void
observer_on_speak(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	observer_speak(context);
}
