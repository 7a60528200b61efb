#include "zones/autoconfig.h"

#include <stdio.h>
#include <string.h>

#define AUTOCONFIG_OWNER_SIZE 600
#define AUTOCONFIG_SERVERS    4 /* of one kind; programs try them in order */

/* What stands in the document, the better way in first (RFC 8314). */
static const struct kind {
	const char *word; /* of `srv` */
	const char *element, *type, *socket;
} kinds[] = {
	{ "imaps", "incomingServer", "imap", "SSL" },
	{ "imap", "incomingServer", "imap", "STARTTLS" },
	{ "pop3s", "incomingServer", "pop3", "SSL" },
	{ "pop3", "incomingServer", "pop3", "STARTTLS" },
	{ "submissions", "outgoingServer", "smtp", "SSL" },
	{ "submission", "outgoingServer", "smtp", "STARTTLS" },
};

static const char *const logins[] = {
	[CONFIG_LOGIN_ADDRESS] = "%EMAILADDRESS%",
	[CONFIG_LOGIN_LOCAL_PART] = "%EMAILLOCALPART%",
};

static void
add_escaped(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		switch (text.data[i]) {
		case '<':
			buf_add_string(out, "&lt;");
			break;
		case '>':
			buf_add_string(out, "&gt;");
			break;
		case '&':
			buf_add_string(out, "&amp;");
			break;
		case '"':
			buf_add_string(out, "&quot;");
			break;
		default:
			buf_add_char(out, text.data[i]);
		}
	}
}

static void
add_element(
    struct buf *out, const char *indent, const char *name, struct slice text)
{
	buf_printf(out, "%s<%s>", indent, name);
	add_escaped(out, text);
	buf_printf(out, "</%s>\n", name);
}

/* The first generic name whose proxies all offer the service; NULL: none. */
static const char *
generic_name(const struct config *config, enum service_kind kind)
{
	const struct config_name *names = config->names.items;

	for (size_t i = 0; i < config->names.count; i++)
		if (names[i].services == 0 || names[i].services & UINT32_C(1)
								      << kind)
			return names[i].title;
	return NULL;
}

static void
add_server(struct buf *out, const struct config_domain *domain,
    const struct kind *kind, struct slice host, unsigned port)
{
	buf_printf(out, "    <%s type=\"%s\">\n", kind->element, kind->type);
	add_element(out, "      ", "hostname", host);
	buf_printf(out, "      <port>%u</port>\n", port);
	add_element(out, "      ", "socketType", slice_from(kind->socket));
	add_element(
	    out, "      ", "authentication", slice_from("password-cleartext"));
	add_element(
	    out, "      ", "username", slice_from(logins[domain->login]));
	buf_printf(out, "    </%s>\n", kind->element);
}

/* What of an SRV record is of use here; RFC 2782. */
struct target {
	unsigned priority, port;
	const ldns_rdf *name; /* borrowed from the set */
};

/* Keeps the best ones, best first. */
static void
insert(struct target targets[static AUTOCONFIG_SERVERS], size_t *count,
    struct target target)
{
	size_t place = *count;

	if (place == AUTOCONFIG_SERVERS) {
		if (targets[place - 1].priority <= target.priority)
			return;
		place--;
	} else {
		(*count)++;
	}
	while (place > 0 && targets[place - 1].priority > target.priority) {
		targets[place] = targets[place - 1];
		place--;
	}
	targets[place] = target;
}

/* The RRset's targets, best first; "." is none. How many there are. */
static size_t
find_targets(const struct rrsets *set, const char *owner_text,
    struct target targets[static AUTOCONFIG_SERVERS])
{
	ldns_rdf *owner = ldns_dname_new_frm_str(owner_text);
	size_t count = 0;

	if (!owner)
		return 0;
	ldns_dname2canonical(owner);
	for (size_t i = 0; i < set->count; i++) {
		const ldns_rr *rr = set->rrs[i];
		struct target target;

		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SRV ||
		    ldns_dname_compare(ldns_rr_owner(rr), owner) != 0 ||
		    ldns_dname_label_count(ldns_rr_rdf(rr, 3)) == 0)
			continue;
		target.priority = ldns_rdf2native_int16(ldns_rr_rdf(rr, 0));
		target.port = ldns_rdf2native_int16(ldns_rr_rdf(rr, 2));
		target.name = ldns_rr_rdf(rr, 3);
		insert(targets, &count, target);
	}
	ldns_rdf_deep_free(owner);
	return count;
}

/* How many servers of the kind were added. */
static size_t
add_kind(struct buf *out, const struct config *config,
    const struct config_domain *domain, const struct rrsets *set,
    const struct kind *kind)
{
	struct target targets[AUTOCONFIG_SERVERS] = { 0 };
	const struct config_srv_row *row = config_srv_row(kind->word);
	const char *generic = generic_name(config, row->kind);
	char owner[AUTOCONFIG_OWNER_SIZE];
	size_t count;

	(void)snprintf(
	    owner, sizeof(owner), "%s.%s", row->prefixes[0], domain->title);
	count = find_targets(set, owner, targets);
	if (count > 0 && generic) {
		add_server(
		    out, domain, kind, slice_from(generic), targets[0].port);
		return 1;
	}
	for (size_t i = 0; i < count; i++) {
		char *name = ldns_rdf2str(targets[i].name);
		struct slice host = slice_from(name);

		/* The root's dot at the end is no part of a host's name. */
		add_server(out, domain, kind,
		    slice_first(host, host.size ? host.size - 1 : 0),
		    targets[i].port);
		LDNS_FREE(name);
	}
	return count;
}

int
autoconfig_document(struct buf *out, const struct config *config,
    const struct config_domain *domain, const struct rrsets *set)
{
	struct slice title = slice_from(domain->title);
	size_t incoming = 0;

	buf_add_string(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			    "<clientConfig version=\"1.1\">\n");
	buf_printf(out, "  <emailProvider id=\"%s\">\n", domain->title);
	add_element(out, "    ", "domain", title);
	add_element(out, "    ", "displayName", title);
	add_element(out, "    ", "displayShortName", title);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t count = add_kind(out, config, domain, set, &kinds[i]);

		if (strcmp(kinds[i].element, "incomingServer") == 0)
			incoming += count;
	}
	buf_add_string(out, "  </emailProvider>\n</clientConfig>\n");
	return incoming == 0 || out->failed ? -1 : 0;
}
