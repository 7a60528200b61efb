#include "lib/service.h"

#include "lib/name.h"

struct scheme {
	const char *name;
	enum service_kind kind;
	enum service_tls tls; /* without ?tls= */
	uint16_t port;        /* without :port */
};

static const struct scheme schemes[] = {
	{ "imap", SERVICE_IMAP, SERVICE_TLS_STARTTLS, 143 },
	{ "imaps", SERVICE_IMAP, SERVICE_TLS_IMPLICIT, 993 },
	{ "pop3", SERVICE_POP3, SERVICE_TLS_STARTTLS, 110 },
	{ "pop3s", SERVICE_POP3, SERVICE_TLS_IMPLICIT, 995 },
	{ "submission", SERVICE_SUBMISSION, SERVICE_TLS_STARTTLS, 587 },
	{ "submissions", SERVICE_SUBMISSION, SERVICE_TLS_IMPLICIT, 465 },
	{ "lmtp", SERVICE_LMTP, SERVICE_TLS_STARTTLS, 24 },
	{ "sieve", SERVICE_SIEVE, SERVICE_TLS_STARTTLS, 4190 },
	{ "smtp", SERVICE_SMTP, SERVICE_TLS_STARTTLS, 25 },
	{ "kerberos", SERVICE_KERBEROS, SERVICE_TLS_NONE, 88 },
	{ "kpasswd", SERVICE_KPASSWD, SERVICE_TLS_NONE, 464 },
	{ "ldap", SERVICE_LDAP, SERVICE_TLS_STARTTLS, 389 },
	{ "ldaps", SERVICE_LDAP, SERVICE_TLS_IMPLICIT, 636 },
	{ "dns", SERVICE_DNS, SERVICE_TLS_NONE, 53 },
};

static const char *const kind_texts[] = {
	[SERVICE_IMAP] = "imap",
	[SERVICE_POP3] = "pop3",
	[SERVICE_SUBMISSION] = "submission",
	[SERVICE_LMTP] = "lmtp",
	[SERVICE_SIEVE] = "sieve",
	[SERVICE_SMTP] = "smtp",
	[SERVICE_KERBEROS] = "kerberos",
	[SERVICE_KPASSWD] = "kpasswd",
	[SERVICE_LDAP] = "ldap",
	[SERVICE_DNS] = "dns",
};
_Static_assert(
    ARRAY_SIZE(kind_texts) == SERVICE_KIND_COUNT, "a text for each kind");

static const char *const tls_texts[] = {
	[SERVICE_TLS_NONE] = "none",
	[SERVICE_TLS_STARTTLS] = "starttls",
	[SERVICE_TLS_IMPLICIT] = "implicit",
};

const char *
service_kind_text(enum service_kind kind)
{
	return kind_texts[kind];
}

int
service_kind_parse(struct slice text, enum service_kind *kind)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		if (slice_is_nocase(text, kind_texts[i])) {
			*kind = (enum service_kind)i;
			return 0;
		}
	}
	return -1;
}

const char *
service_tls_text(enum service_tls tls)
{
	return tls_texts[tls];
}

int
service_tls_parse(struct slice text, enum service_tls *tls)
{
	for (unsigned i = 0; i < ARRAY_SIZE(tls_texts); i++) {
		if (slice_is_nocase(text, tls_texts[i])) {
			*tls = (enum service_tls)i;
			return 0;
		}
	}
	return -1;
}

static const struct scheme *
find_scheme(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (slice_is_nocase(name, schemes[i].name))
			return &schemes[i];
	return NULL;
}

static bool
is_ipv6(struct slice host)
{
	for (size_t i = 0; i < host.size; i++) {
		char c = host.data[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
			(c >= 'A' && c <= 'F') || c == ':' || c == '.'))
			return false;
	}
	return slice_find(host, ':') != SIZE_MAX;
}

/* host, host:port, [address] or [address]:port */
static int
parse_authority(struct slice text, struct service *service, const char **why)
{
	size_t end = slice_find(text, ':');
	bool bracketed = text.size > 0 && text.data[0] == '[';
	struct slice port;
	uint64_t number;

	if (bracketed) {
		end = slice_find(text, ']');
		service->host = slice_from_offset(slice_first(text, end), 1);
		port =
		    end == SIZE_MAX ? text : slice_from_offset(text, end + 1);
	} else {
		service->host = slice_first(text, end);
		port = end == SIZE_MAX ? slice_from("")
				       : slice_from_offset(text, end);
	}
	if (bracketed ? !is_ipv6(service->host)
		      : !name_is_host(service->host)) {
		*why =
		    "service URL needs a host name or [IPv6 address] after ://";
		return -1;
	}
	if (end != SIZE_MAX && !bracketed && port.size == 0)
		port = slice_from(":");
	if (port.size == 0)
		return 0;
	if (port.data[0] != ':' ||
	    slice_to_uint(slice_from_offset(port, 1), 65535, &number) < 0 ||
	    number == 0) {
		*why = "service URL has a port that is not 1 to 65535";
		return -1;
	}
	service->port = (uint16_t)number;
	return 0;
}

/* "tls=...&proxy=...", each at most once. */
static int
parse_query(struct slice query, struct service *service, const char **why)
{
	bool has_tls = false, has_proxy = false;

	while (query.size > 0) {
		size_t end = slice_find(query, '&');
		struct slice word = slice_first(query, end);
		bool good = false;

		if (!has_tls && slice_starts_nocase(word, "tls="))
			good = has_tls =
			    service_tls_parse(
				slice_from_offset(word, 4), &service->tls) == 0;
		else if (!has_proxy && slice_is_nocase(word, "proxy=v2"))
			good = has_proxy = service->proxy_header = true;
		if (!good || end == query.size - 1) {
			*why =
			    "service URL may have ?tls=none, ?tls=starttls or ?tls=implicit, and proxy=v2, nothing else";
			return -1;
		}
		query = end == SIZE_MAX ? slice_from("")
					: slice_from_offset(query, end + 1);
	}
	return 0;
}

int
service_parse(struct slice url, struct service *service, const char **why)
{
	size_t colon = slice_find(url, ':');
	const struct scheme *scheme = find_scheme(slice_first(url, colon));
	struct slice rest, query;
	size_t question;

	if (colon == SIZE_MAX || !scheme) {
		*why = "service URL has no known scheme";
		return -1;
	}
	rest = slice_from_offset(url, colon + 1);
	if (!slice_starts_nocase(rest, "//")) {
		*why = "service URL needs :// after its scheme";
		return -1;
	}
	rest = slice_from_offset(rest, 2);
	question = slice_find(rest, '?');
	/* An empty query is as wrong as any other word. */
	query = question == SIZE_MAX ? slice_from("")
		: question + 1 == rest.size
		    ? slice_from("&")
		    : slice_from_offset(rest, question + 1);
	*service = (struct service){
		.kind = scheme->kind, .tls = scheme->tls, .port = scheme->port
	};
	if (parse_query(query, service, why) < 0)
		return -1;
	rest = slice_first(rest, question);
	if (rest.size > 0 && rest.data[rest.size - 1] == '/')
		rest.size--;
	return parse_authority(rest, service, why);
}
