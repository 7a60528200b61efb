#include "proxy/sasl.h"

#include <stdbool.h>

#include "lib/base64.h"

void
credentials_init(struct credentials *credentials)
{
	credentials->mechanism = SASL_PLAIN;
	credentials->authorise = buf_bounded(SASL_NAME_SIZE_MAX);
	credentials->user = buf_bounded(SASL_NAME_SIZE_MAX);
	credentials->password = buf_bounded(SASL_PASSWORD_SIZE_MAX);
}

void
credentials_wipe(struct credentials *credentials)
{
	buf_wipe(&credentials->authorise);
	buf_wipe(&credentials->user);
	buf_wipe(&credentials->password);
}

struct slice
credentials_owner(const struct credentials *credentials)
{
	return buf_slice(credentials->authorise.size > 0
			     ? &credentials->authorise
			     : &credentials->user);
}

static const char *const mechanism_texts[] = {
	[SASL_PLAIN] = "PLAIN",
	[SASL_LOGIN] = "LOGIN",
};
_Static_assert(
    ARRAY_SIZE(mechanism_texts) == SASL_MECHANISM_COUNT, "a text for each");

const char *
sasl_mechanism_text(enum sasl_mechanism mechanism)
{
	return mechanism_texts[mechanism];
}

int
sasl_mechanism_parse(struct slice name, enum sasl_mechanism *mechanism)
{
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if (slice_is_nocase(name, mechanism_texts[i])) {
			*mechanism = (enum sasl_mechanism)i;
			return 0;
		}
	}
	return -1;
}

enum sasl_result
sasl_start(
    struct sasl *sasl, enum sasl_mechanism mechanism, struct buf *challenge)
{
	*sasl = (struct sasl){ mechanism, 0 };
	if (mechanism == SASL_LOGIN)
		buf_add_string(challenge, "Username:");
	return SASL_CHALLENGE;
}

/* An empty name would be nobody, and a NUL would end it early somewhere. */
static bool
set(struct buf *field, struct slice value, bool may_be_empty)
{
	buf_clear(field);
	if (slice_find(value, '\0') != SIZE_MAX ||
	    (value.size == 0 && !may_be_empty))
		return false;
	return buf_add_slice(field, value) == 0;
}

/* message = [authzid] NUL authcid NUL passwd, RFC 4616 section 2 */
static enum sasl_result
respond_plain(
    struct slice message, struct credentials *credentials, const char **why)
{
	size_t first = slice_find(message, '\0');
	struct slice rest = first == SIZE_MAX
				? slice_from("")
				: slice_from_offset(message, first + 1);
	size_t second = slice_find(rest, '\0');

	if (first == SIZE_MAX || second == SIZE_MAX) {
		*why = "PLAIN needs two NULs";
		return SASL_FAILED;
	}
	if (!set(&credentials->authorise, slice_first(message, first), true) ||
	    !set(&credentials->user, slice_first(rest, second), false) ||
	    !set(&credentials->password, slice_from_offset(rest, second + 1),
		false)) {
		*why =
		    "PLAIN has an empty or too long name or password, or a third NUL";
		return SASL_FAILED;
	}
	if (slice_equal(buf_slice(&credentials->authorise),
		buf_slice(&credentials->user)))
		buf_clear(&credentials->authorise);
	return SASL_COMPLETE;
}

static enum sasl_result
respond_login(struct sasl *sasl, struct slice response,
    struct credentials *credentials, struct buf *challenge, const char **why)
{
	struct buf *field =
	    sasl->step == 0 ? &credentials->user : &credentials->password;

	if (!set(field, response, false)) {
		*why =
		    "LOGIN has an empty or too long name or password, or a NUL";
		return SASL_FAILED;
	}
	if (sasl->step++ > 0)
		return SASL_COMPLETE;
	buf_clear(&credentials->authorise);
	buf_add_string(challenge, "Password:");
	return SASL_CHALLENGE;
}

enum sasl_result
sasl_respond(struct sasl *sasl, struct slice response,
    struct credentials *credentials, struct buf *challenge, const char **why)
{
	buf_clear(challenge);
	credentials->mechanism = sasl->mechanism;
	switch (sasl->mechanism) {
	case SASL_PLAIN:
		return respond_plain(response, credentials, why);
	case SASL_LOGIN:
		return respond_login(
		    sasl, response, credentials, challenge, why);
	case SASL_MECHANISM_COUNT:
		break;
	}
	*why = "mechanism is not spoken here";
	return SASL_FAILED;
}

enum sasl_mechanism
sasl_back_mechanism(const struct credentials *credentials)
{
	return credentials->mechanism == SASL_LOGIN ? SASL_PLAIN
						    : credentials->mechanism;
}

void
sasl_add_initial(
    struct buf *out, const struct credentials *credentials, struct slice user)
{
	struct buf message =
	    buf_bounded(2 * SASL_NAME_SIZE_MAX + SASL_PASSWORD_SIZE_MAX + 2);
	bool master = credentials->authorise.size > 0;

	if (master)
		buf_add_slice(&message, user);
	buf_add_char(&message, '\0');
	buf_add_slice(&message, master ? buf_slice(&credentials->user) : user);
	buf_add_char(&message, '\0');
	buf_add_slice(&message, buf_slice(&credentials->password));
	base64_encode(out, buf_slice(&message));
	buf_wipe(&message);
}
