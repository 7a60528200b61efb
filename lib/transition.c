#include "lib/transition.h"

#include "lib/timestamp.h"

static const char *const state_texts[] = {
	[HOST_UP] = "up",
	[HOST_DRAIN] = "drain",
	[HOST_DOWN] = "down",
	[HOST_FAILED] = "failed",
};

const char *
host_state_text(enum host_state state)
{
	return state_texts[state];
}

int
host_state_parse(struct slice text, enum host_state *state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(state_texts); i++) {
		if (slice_is_nocase(text, state_texts[i])) {
			*state = (enum host_state)i;
			return 0;
		}
	}
	return -1;
}

/* Takes a field that ends at a space, or at the end if it is the last one. */
static int
next_field(struct slice *rest, bool last, struct slice *field)
{
	size_t space = slice_find(*rest, ' ');

	if ((space == SIZE_MAX) != last)
		return -1;
	*field = slice_first(*rest, space);
	*rest = space == SIZE_MAX ? slice_from("")
				  : slice_from_offset(*rest, space + 1);
	return 0;
}

int
transition_parse(
    struct slice text, struct transition *transition, const char **why)
{
	struct slice rest = text, time, ramp, state, weight;
	uint64_t ramp_number, weight_number;

	if (next_field(&rest, false, &time) < 0 ||
	    next_field(&rest, false, &ramp) < 0 ||
	    next_field(&rest, false, &state) < 0 ||
	    next_field(&rest, true, &weight) < 0) {
		*why = "transition is not TIME RAMP STATE WEIGHT";
		return -1;
	}
	if (timestamp_parse(time, &transition->time_us) < 0) {
		*why = "transition's time is not generalized time in UTC";
		return -1;
	}
	if (slice_to_uint(ramp, TRANSITION_RAMP_MAX, &ramp_number) < 0) {
		*why = "transition's ramp is not 0 to 86400 seconds";
		return -1;
	}
	if (host_state_parse(state, &transition->state) < 0) {
		*why = "transition's state is not up, drain, down or failed";
		return -1;
	}
	if (slice_to_uint(weight, TRANSITION_WEIGHT_MAX, &weight_number) < 0) {
		*why = "transition's weight is not 0 to 10000";
		return -1;
	}
	transition->ramp = (uint32_t)ramp_number;
	transition->weight = (uint32_t)weight_number;
	transition->text = text;
	return 0;
}

int
transition_format(struct buf *out, const struct transition *transition)
{
	if (timestamp_format(out, transition->time_us) < 0)
		return -1;
	return buf_printf(out, " %u %s %u", transition->ramp,
	    host_state_text(transition->state), transition->weight);
}

int
transition_compare(const struct transition *a, const struct transition *b)
{
	if (a->time_us != b->time_us)
		return a->time_us < b->time_us ? -1 : 1;
	return slice_compare(a->text, b->text);
}
