#include "proxy/observe.h"

/* Timers are a little early or late. */
#define OBSERVE_TOLERANCE(interval) ((interval) / 10)

static const char *const opinion_texts[] = {
	[OPINION_UNKNOWN] = "unknown",
	[OPINION_UP] = "up",
	[OPINION_SUSPECT] = "suspect",
	[OPINION_DOWN] = "down",
};
_Static_assert(
    ARRAY_SIZE(opinion_texts) == OPINION_COUNT, "a text for each opinion");

const char *
opinion_text(enum opinion opinion)
{
	return opinion_texts[opinion];
}

static void
enter(struct observed *observed, enum opinion opinion, bool silent,
    int64_t now_ms)
{
	if (observed->opinion != opinion)
		observed->since_ms = now_ms;
	observed->was_up = observed->opinion == OPINION_UP;
	observed->opinion = opinion;
	observed->silent = silent;
	observed->good = 0;
}

static void
take_good(struct observed *observed, const struct observe_settings *settings,
    int64_t now_ms)
{
	switch (observed->opinion) {
	case OPINION_UP:
		return;
	case OPINION_SUSPECT:
		if (observed->was_up) {
			enter(observed, OPINION_UP, false, now_ms);
			return;
		}
		enter(observed, OPINION_UNKNOWN, false, now_ms);
		break;
	case OPINION_UNKNOWN:
	case OPINION_DOWN:
	case OPINION_COUNT:
		break;
	}
	if (++observed->good >= settings->good)
		enter(observed, OPINION_UP, false, now_ms);
}

static void
take_silent(struct observed *observed, const struct observe_settings *settings,
    int64_t now_ms)
{
	int64_t wait_ms =
	    settings->interval_ms - OBSERVE_TOLERANCE(settings->interval_ms);

	switch (observed->opinion) {
	case OPINION_UNKNOWN:
	case OPINION_UP:
		enter(observed, OPINION_SUSPECT, true, now_ms);
		return;
	case OPINION_SUSPECT:
		if (now_ms - observed->since_ms >= wait_ms)
			enter(observed, OPINION_DOWN, true, now_ms);
		return;
	case OPINION_DOWN:
	case OPINION_COUNT:
		enter(observed, OPINION_DOWN, true, now_ms);
		return;
	}
}

bool
observe_result(struct observed *observed,
    const struct observe_settings *settings, enum probe_result result,
    int64_t now_ms)
{
	struct observed before = *observed;

	switch (result) {
	case PROBE_GOOD:
		take_good(observed, settings, now_ms);
		break;
	case PROBE_REFUSED:
		enter(observed, OPINION_DOWN, false, now_ms);
		break;
	case PROBE_SILENT:
		take_silent(observed, settings, now_ms);
		break;
	case PROBE_NONE:
		break;
	}
	return before.opinion != observed->opinion ||
	       before.silent != observed->silent;
}

/* Those whose failure moves nobody. */
static bool
is_submission(enum service_kind kind)
{
	return kind == SERVICE_SUBMISSION || kind == SERVICE_SMTP;
}

bool
observe_counts(const struct host *host, enum service_kind kind)
{
	/* Those that change passwords take datagrams alone, and nobody asks
	 * them. */
	if (!host_service(host, kind) || kind == SERVICE_KPASSWD)
		return false;
	if (!is_submission(kind))
		return true;
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
		if (!is_submission((enum service_kind)i) &&
		    host_service(host, (enum service_kind)i))
			return false;
	return true;
}

/* The graver one: down, refused before silent, suspect, unknown, up. */
static unsigned
gravity(const struct observed *observed)
{
	switch (observed->opinion) {
	case OPINION_DOWN:
		return observed->silent ? 4 : 5;
	case OPINION_SUSPECT:
		return 3;
	case OPINION_UNKNOWN:
		return 2;
	case OPINION_UP:
	case OPINION_COUNT:
		break;
	}
	return 1;
}

struct observed
observe_host(const struct host *host, const struct observed *services)
{
	struct observed worst = { .opinion = OPINION_UNKNOWN };
	bool any = false;

	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		if (!observe_counts(host, (enum service_kind)i))
			continue;
		if (!any || gravity(&services[i]) > gravity(&worst) ||
		    (gravity(&services[i]) == gravity(&worst) &&
			services[i].since_ms < worst.since_ms))
			worst = services[i];
		any = true;
	}
	return worst;
}
