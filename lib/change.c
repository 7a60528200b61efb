#include "lib/change.h"

#include "lib/timestamp.h"

/* When the last account is reached, unless a newer value cuts the ramp. */
static int64_t
reached_all_us(const struct transition *value)
{
	return value->time_us + value->ramp * TIMESTAMP_SECOND;
}

/* How many values are older than the newest that reached all before `by_us`. */
static size_t
count_passed(const struct transition *values, size_t count, int64_t by_us)
{
	for (size_t i = count; i-- > 0;) {
		int64_t reached_us = reached_all_us(&values[i]);

		if (reached_us <= by_us &&
		    (i + 1 == count || reached_us <= values[i + 1].time_us))
			return i;
	}
	return 0;
}

static size_t
count_ahead(const struct transition *values, size_t count, int64_t after_us)
{
	size_t ahead = 0;

	while (ahead < count && values[count - 1 - ahead].time_us > after_us)
		ahead++;
	return ahead;
}

/* When the entry was last written, by its provider's clock; 0 for unknown. */
static int64_t
written_us(const struct host *host)
{
	struct slice rest = host->record;
	struct record_field field;
	int64_t time_us;

	while (record_next(&rest, &field)) {
		struct slice time =
		    slice_first(field.value, slice_find(field.value, '#'));

		if (field.tag == CELL_CSN &&
		    timestamp_parse(time, &time_us) == 0)
			return time_us;
	}
	return 0;
}

static bool
has_base_alone(const struct host *host)
{
	return host->transition_count == 1 && host->transitions[0].time_us == 0;
}

void
change_make(struct change *change, const struct host *host, uint32_t guard_ms,
    int64_t now_us, enum host_state state, uint32_t weight, uint32_t ramp)
{
	int64_t guard_us = (int64_t)1000 * guard_ms;
	size_t ahead = count_ahead(
	    host->transitions, host->transition_count, now_us + CHANGE_AHEAD);
	size_t count = host->transition_count - ahead;

	*change = (struct change){ .again_us = now_us + guard_us };
	if (host->transition_count == 0) {
		change->step = CHANGE_BASE;
		change->value.state = host->state;
		change->value.weight = host->weight;
		return;
	}
	if (has_base_alone(host) && written_us(host) + guard_us > now_us) {
		change->step = CHANGE_WAIT;
		change->again_us = written_us(host) + guard_us;
		return;
	}
	change->step = CHANGE_WRITE;
	change->value = (struct transition){ .time_us = now_us,
		.ramp = ramp,
		.state = state,
		.weight = weight };
	if (count > 0 && host->transitions[count - 1].time_us >= now_us)
		change->value.time_us =
		    host->transitions[count - 1].time_us + 1;
	change->passed =
	    count_passed(host->transitions, count, now_us - CHANGE_KEEP);
	change->ahead = ahead;
}

int64_t
change_move_time(const struct account *account, int64_t now_us)
{
	bool counts = account->moved && account->moved_us >= now_us &&
		      account->moved_us <= now_us + CHANGE_AHEAD;

	return counts ? account->moved_us + 1 : now_us;
}

bool
change_is_settled(const struct host *host, int64_t now_us)
{
	const struct transition *newest;

	if (host->transition_count == 0)
		return false;
	newest = &host->transitions[host->transition_count - 1];
	return newest->state == HOST_DOWN &&
	       reached_all_us(newest) + CHANGE_KEEP <= now_us;
}
