#include "proxy/front_sasl.h"

#include "lib/base64.h"

static bool
is_offered(const struct front *front, unsigned mechanism)
{
	return front->mechanisms & 1U << mechanism;
}

void
front_sasl_list(const struct front *front, const char *prefix, struct buf *out)
{
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if (!is_offered(front, i))
			continue;
		buf_add_string(out, prefix);
		buf_add_string(
		    out, sasl_mechanism_text((enum sasl_mechanism)i));
	}
}

static enum front_action
refuse(struct front *front, const char *why, struct buf *out)
{
	struct buf text = buf_bounded(256);
	enum front_action action;

	buf_printf(&text, "%s.", why);
	action = front_complain(
	    front, out, FRONT_FAULT_CREDENTIALS, buf_string(&text));
	buf_free(&text);
	return action;
}

static enum front_action
take(struct front *front, struct slice text, struct buf *out)
{
	struct buf response = buf_bounded(text.size);
	struct buf next = buf_bounded(64);
	enum front_action action = FRONT_MORE;
	const char *why = "";

	if (base64_decode(&response, text) < 0) {
		action = front_complain(front, out, FRONT_FAULT_RESPONSE,
		    "Response is not base64.");
		goto out;
	}
	switch (sasl_respond(&front->sasl, buf_slice(&response),
	    &front->credentials, &next, &why)) {
	case SASL_CHALLENGE:
		front_challenge(front, buf_slice(&next), out);
		break;
	case SASL_COMPLETE:
		action = FRONT_LOGIN;
		break;
	case SASL_RELAY:
		action = FRONT_RESPONSE;
		break;
	case SASL_FAILED:
		action = refuse(front, why, out);
		break;
	}
out:
	buf_wipe(&response);
	buf_free(&next);
	return action;
}

enum front_action
front_sasl_begin(struct front *front, struct slice name,
    const struct slice *initial, struct buf *out)
{
	struct buf first = buf_bounded(64);
	enum sasl_mechanism mechanism;

	if (sasl_mechanism_parse(name, &mechanism) < 0 ||
	    !is_offered(front, mechanism))
		return front_complain(front, out, FRONT_FAULT_MECHANISM,
		    "This mechanism is not spoken here.");
	sasl_start(&front->sasl, mechanism, &first);
	if (!initial)
		front_challenge(front, buf_slice(&first), out);
	buf_free(&first);
	if (!initial)
		return FRONT_MORE;
	return take(
	    front, slice_is(*initial, "=") ? slice_from("") : *initial, out);
}

enum front_action
front_sasl_begin_line(
    struct front *front, struct slice argument, struct buf *out)
{
	size_t space = slice_find(argument, ' ');
	struct slice initial = slice_from_offset(
	    argument, space == SIZE_MAX ? argument.size : space + 1);

	return front_sasl_begin(front, slice_first(argument, space),
	    space == SIZE_MAX ? NULL : &initial, out);
}

enum front_action
front_sasl_respond(struct front *front, struct slice text, struct buf *out)
{
	front->in_sasl = false;
	if (slice_is(text, "*"))
		return front_complain(front, out, FRONT_FAULT_CANCELLED,
		    "Authentication cancelled.");
	return take(front, text, out);
}
