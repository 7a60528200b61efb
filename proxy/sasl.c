#include "proxy/sasl.h"

#include "lib/base64.h"

void
credentials_init(struct credentials *credentials)
{
	credentials->mechanism = SASL_PLAIN;
	credentials->authorise = buf_bounded(SASL_NAME_SIZE_MAX);
	credentials->user = buf_bounded(SASL_NAME_SIZE_MAX);
	credentials->password = buf_bounded(SASL_PASSWORD_SIZE_MAX);
	credentials->message = buf_bounded(SASL_MESSAGE_SIZE_MAX);
}

void
credentials_wipe(struct credentials *credentials)
{
	buf_wipe(&credentials->authorise);
	buf_wipe(&credentials->user);
	buf_wipe(&credentials->password);
	buf_wipe(&credentials->message);
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
	[SASL_SCRAM_SHA_1] = "SCRAM-SHA-1",
	[SASL_SCRAM_SHA_256] = "SCRAM-SHA-256",
	[SASL_OAUTHBEARER] = "OAUTHBEARER",
	[SASL_XOAUTH2] = "XOAUTH2",
	[SASL_EXTERNAL] = "EXTERNAL",
	[SASL_GSSAPI] = "GSSAPI",
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

bool
sasl_is_relayed(enum sasl_mechanism mechanism)
{
	return mechanism != SASL_PLAIN && mechanism != SASL_LOGIN &&
	       mechanism != SASL_EXTERNAL;
}

unsigned
sasl_relayed_mechanisms(void)
{
	unsigned mechanisms = 0;

	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++)
		if (i != SASL_GSSAPI && sasl_is_relayed((enum sasl_mechanism)i))
			mechanisms |= 1U << i;
	return mechanisms;
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

/* initial-response = *( UTF8-char-no-nul ), RFC 4422 appendix A.2 */
static enum sasl_result
respond_external(
    struct slice message, struct credentials *credentials, const char **why)
{
	buf_clear(&credentials->user);
	buf_clear(&credentials->password);
	if (set(&credentials->authorise, message, true))
		return SASL_COMPLETE;
	*why = "EXTERNAL has a too long name, or a NUL";
	return SASL_FAILED;
}

/* saslname = 1*(value-safe-char / "=2C" / "=3D"), RFC 5801 section 4 */
static bool
set_saslname(struct buf *field, struct slice name)
{
	struct buf value = buf_bounded(SASL_NAME_SIZE_MAX);
	bool is_good = true;

	for (size_t i = 0; i < name.size && is_good; i++) {
		struct slice escape =
		    slice_first(slice_from_offset(name, i), 3);

		if (name.data[i] != '=') {
			buf_add_char(&value, name.data[i]);
			continue;
		}
		is_good = slice_is_nocase(escape, "=2c") ||
			  slice_is_nocase(escape, "=3d");
		buf_add_char(
		    &value, slice_is_nocase(escape, "=2c") ? ',' : '=');
		i += 2;
	}
	is_good =
	    is_good && !value.failed && set(field, buf_slice(&value), false);
	buf_free(&value);
	return is_good;
}

/* What stands before the next comma, and the comma, off *rest. */
static bool
take_field(struct slice *rest, struct slice *field)
{
	size_t comma = slice_find(*rest, ',');

	if (comma == SIZE_MAX)
		return false;
	*field = slice_first(*rest, comma);
	*rest = slice_from_offset(*rest, comma + 1);
	return true;
}

/* gs2-header = ("n" / "y") "," ["a=" saslname] ",", RFC 5801 section 4 */
static bool
take_gs2_header(struct slice *rest, struct buf *authorise)
{
	struct slice binding, name;

	buf_clear(authorise);
	if (!take_field(rest, &binding) || !take_field(rest, &name) ||
	    !(slice_is(binding, "n") || slice_is(binding, "y")))
		return false;
	if (name.size == 0)
		return true;
	return slice_starts_nocase(name, "a=") &&
	       set_saslname(authorise, slice_from_offset(name, 2));
}

/* gs2-header "n=" saslname "," nonce ..., RFC 5802 section 7 */
static bool
read_scram(struct slice message, struct credentials *credentials)
{
	struct slice name;

	if (!take_gs2_header(&message, &credentials->authorise) ||
	    !take_field(&message, &name) || !slice_starts_nocase(name, "n=") ||
	    !slice_starts_nocase(message, "r="))
		return false;
	return set_saslname(&credentials->user, slice_from_offset(name, 2));
}

/* gs2-header kvsep ..., RFC 7628 section 3.1; the user is its authzid. */
static bool
read_oauthbearer(struct slice message, struct credentials *credentials)
{
	if (!take_gs2_header(&message, &credentials->user) ||
	    credentials->user.size == 0)
		return false;
	buf_clear(&credentials->authorise);
	return message.size > 0 && message.data[0] == '\1';
}

/* "user=" name ^A "auth=Bearer " token ^A ^A */
static bool
read_xoauth2(struct slice message, struct credentials *credentials)
{
	size_t end = slice_find(message, '\1');

	buf_clear(&credentials->authorise);
	return end != SIZE_MAX && slice_starts_nocase(message, "user=") &&
	       set(&credentials->user,
		   slice_from_offset(slice_first(message, end), 5), false);
}

/* The first message of a relayed mechanism, for what we need of it. */
static enum sasl_result
respond_first(enum sasl_mechanism mechanism, struct slice message,
    struct credentials *credentials, const char **why)
{
	bool is_good;

	if (mechanism == SASL_OAUTHBEARER)
		is_good = read_oauthbearer(message, credentials);
	else if (mechanism == SASL_XOAUTH2)
		is_good = read_xoauth2(message, credentials);
	else
		is_good = read_scram(message, credentials);
	if (!is_good || !set(&credentials->message, message, false)) {
		*why = "the first message is malformed or names no user";
		return SASL_FAILED;
	}
	buf_clear(&credentials->password);
	if (slice_equal(buf_slice(&credentials->authorise),
		buf_slice(&credentials->user)))
		buf_clear(&credentials->authorise);
	return SASL_COMPLETE;
}

static enum sasl_result
respond_relayed(struct sasl *sasl, struct slice message,
    struct credentials *credentials, const char **why)
{
	if (sasl->step++ == 0)
		return respond_first(
		    sasl->mechanism, message, credentials, why);
	if (set(&credentials->message, message, true))
		return SASL_RELAY;
	*why = "a message is too long or has a NUL";
	return SASL_FAILED;
}

/* Tokens: any octets; only the client's first one has to be something. */
static enum sasl_result
respond_gssapi(struct sasl *sasl, struct slice message,
    struct credentials *credentials, const char **why)
{
	bool first = sasl->step++ == 0;

	buf_clear(&credentials->message);
	if ((first && message.size == 0) ||
	    buf_add_slice(&credentials->message, message) < 0) {
		*why = "a token is empty or too long";
		return SASL_FAILED;
	}
	if (!first)
		return SASL_RELAY;
	buf_clear(&credentials->authorise);
	buf_clear(&credentials->user);
	buf_clear(&credentials->password);
	return SASL_COMPLETE;
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
	case SASL_SCRAM_SHA_1:
	case SASL_SCRAM_SHA_256:
	case SASL_OAUTHBEARER:
	case SASL_XOAUTH2:
		return respond_relayed(sasl, response, credentials, why);
	case SASL_EXTERNAL:
		return respond_external(response, credentials, why);
	case SASL_GSSAPI:
		return respond_gssapi(sasl, response, credentials, why);
	case SASL_MECHANISM_COUNT:
		break;
	}
	*why = "mechanism is not spoken here";
	return SASL_FAILED;
}

void
credentials_split_master(struct credentials *credentials, char separator)
{
	struct slice name = buf_slice(&credentials->user);
	size_t at = separator ? slice_find_last(name, separator) : SIZE_MAX;
	struct buf master = buf_bounded(SASL_NAME_SIZE_MAX);

	if (at == SIZE_MAX || at == 0 || at + 1 == name.size ||
	    credentials->authorise.size > 0)
		return;
	buf_add_slice(&master, slice_from_offset(name, at + 1));
	buf_add_slice(&credentials->authorise, slice_first(name, at));
	buf_free(&credentials->user);
	credentials->user = master;
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

	if (sasl_is_relayed(credentials->mechanism)) {
		base64_encode(out, buf_slice(&credentials->message));
		return;
	}
	if (master)
		buf_add_slice(&message, user);
	buf_add_char(&message, '\0');
	buf_add_slice(&message, master ? buf_slice(&credentials->user) : user);
	buf_add_char(&message, '\0');
	buf_add_slice(&message, buf_slice(&credentials->password));
	base64_encode(out, buf_slice(&message));
	buf_wipe(&message);
}
