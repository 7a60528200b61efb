#include "proxy/front_sasl.h"

#include "lib/base64.h"

static bool
is_offered(const struct front *front, unsigned mechanism)
{
	return front->mechanisms & 1U << mechanism;
}

int
front_sasl_find(const struct front *front, struct slice name,
    enum sasl_mechanism *mechanism)
{
	if (sasl_mechanism_parse(name, mechanism) < 0 ||
	    !is_offered(front, *mechanism))
		return -1;
	return 0;
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

static enum front_sasl
take(struct front *front, struct slice text, struct buf *challenge,
    const char **why)
{
	struct buf response = buf_bounded(text.size);
	struct buf next = buf_bounded(64);
	enum front_sasl result = FRONT_SASL_NOT_BASE64;

	front->in_sasl = false;
	if (base64_decode(&response, text) < 0)
		goto out;
	switch (sasl_respond(&front->sasl, buf_slice(&response),
	    &front->credentials, &next, why)) {
	case SASL_CHALLENGE:
		base64_encode(challenge, buf_slice(&next));
		front->in_sasl = true;
		result = FRONT_SASL_CHALLENGE;
		break;
	case SASL_COMPLETE:
		result = FRONT_SASL_LOGIN;
		break;
	case SASL_RELAY:
		result = FRONT_SASL_RESPONSE;
		break;
	case SASL_FAILED:
		result = FRONT_SASL_FAILED;
		break;
	}
out:
	buf_wipe(&response);
	buf_free(&next);
	return result;
}

enum front_sasl
front_sasl_begin(struct front *front, enum sasl_mechanism mechanism,
    const struct slice *initial, struct buf *challenge, const char **why)
{
	struct buf first = buf_bounded(64);

	sasl_start(&front->sasl, mechanism, &first);
	if (!initial)
		base64_encode(challenge, buf_slice(&first));
	buf_free(&first);
	front->in_sasl = true;
	if (!initial)
		return FRONT_SASL_CHALLENGE;
	return take(front, slice_is(*initial, "=") ? slice_from("") : *initial,
	    challenge, why);
}

enum front_sasl
front_sasl_respond(struct front *front, struct slice text,
    struct buf *challenge, const char **why)
{
	front->in_sasl = false;
	if (slice_is(text, "*"))
		return FRONT_SASL_CANCELLED;
	return take(front, text, challenge, why);
}

void
front_sasl_challenge(
    struct front *front, struct slice challenge, struct buf *out)
{
	front->in_sasl = true;
	base64_encode(out, challenge);
}
