#include "ctl/options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "lib/transition.h"

#define TRACE_TIME_MAX 86400 /* s */

enum kind {
	KIND_TEXT,
	KIND_SWITCH,
	KIND_NUMBER,
	KIND_SERVICE
};

struct row {
	const char *name;
	uint64_t bit;
	size_t offset; /* in struct ctl_options */
	enum kind kind;
	uint64_t max; /* of a number */
};

#define FIELD(field) offsetof(struct ctl_options, field)

static const struct row rows[OPTIONS_COUNT] = {
	{ "pool", OPTIONS_POOL, FIELD(pool), KIND_TEXT, 0 },
	{ "site", OPTIONS_SITE, FIELD(site), KIND_TEXT, 0 },
	{ "service", OPTIONS_SERVICE, 0, KIND_SERVICE, 0 },
	{ "weight", OPTIONS_WEIGHT, FIELD(weight), KIND_NUMBER,
	    TRANSITION_WEIGHT_MAX },
	{ "ramp", OPTIONS_RAMP, FIELD(ramp), KIND_NUMBER, TRANSITION_RAMP_MAX },
	{ "host", OPTIONS_HOST, FIELD(host), KIND_SWITCH, 0 },
	{ "wait", OPTIONS_WAIT, FIELD(wait), KIND_SWITCH, 0 },
	{ "once", OPTIONS_ONCE, FIELD(once), KIND_SWITCH, 0 },
	{ "suffix", OPTIONS_SUFFIX, FIELD(suffix), KIND_TEXT, 0 },
	{ "proxyd", OPTIONS_PROXYD, FIELD(proxyd), KIND_TEXT, 0 },
	{ "for", OPTIONS_FOR, FIELD(time), KIND_NUMBER, TRACE_TIME_MAX },
	{ "mail", OPTIONS_MAIL, FIELD(mail), KIND_TEXT, 0 },
	{ "name", OPTIONS_NAME, FIELD(name), KIND_TEXT, 0 },
	{ "group", OPTIONS_GROUP, FIELD(group), KIND_TEXT, 0 },
	{ "reason", OPTIONS_REASON, FIELD(reason), KIND_TEXT, 0 },
	{ "format", OPTIONS_FORMAT, FIELD(format), KIND_TEXT, 0 },
	{ "dry-run", OPTIONS_DRY_RUN, FIELD(dry_run), KIND_SWITCH, 0 },
	{ "realm", OPTIONS_REALM, FIELD(realm), KIND_TEXT, 0 },
	{ "domain", OPTIONS_DOMAIN, FIELD(domain), KIND_TEXT, 0 },
	{ "uri", OPTIONS_URI, FIELD(uri), KIND_TEXT, 0 },
	{ "admin", OPTIONS_ADMIN, FIELD(admin), KIND_TEXT, 0 },
	{ "mail-host", OPTIONS_MAIL_HOST, FIELD(mail_host), KIND_TEXT, 0 },
	{ "kdc-port", OPTIONS_KDC_PORT, FIELD(kdc_port), KIND_TEXT, 0 },
	{ "kpasswd-port", OPTIONS_KPASSWD_PORT, FIELD(kpasswd_port), KIND_TEXT,
	    0 },
	{ "user", OPTIONS_USER, FIELD(user), KIND_TEXT, 0 },
	{ "root", OPTIONS_ROOT, FIELD(root), KIND_TEXT, 0 },
	{ "prefix", OPTIONS_PREFIX, FIELD(prefix), KIND_TEXT, 0 },
	{ "generate", OPTIONS_GENERATE, FIELD(generate), KIND_SWITCH, 0 },
	{ "prepare", OPTIONS_PREPARE, FIELD(prepare), KIND_TEXT, 0 },
	{ "peers", OPTIONS_PEERS, FIELD(peers), KIND_SWITCH, 0 },
	{ "with-master-key", OPTIONS_WITH_MASTER_KEY, FIELD(with_master_key),
	    KIND_SWITCH, 0 },
	{ "keys-from", OPTIONS_KEYS_FROM, FIELD(keys_from), KIND_TEXT, 0 },
};

void
options_list(struct option *out)
{
	for (int i = 0; i < OPTIONS_COUNT; i++)
		out[i] = (struct option){ rows[i].name,
			rows[i].kind == KIND_SWITCH ? no_argument
						    : required_argument,
			NULL, OPTIONS_LETTER + i };
}

static int
take_number(const struct row *row, const char *value, int64_t *number)
{
	uint64_t taken;

	if (slice_to_uint(slice_from(value), row->max, &taken) == 0) {
		*number = (int64_t)taken;
		return EX_OK;
	}
	(void)fprintf(stderr,
	    "postcellctl: --%s \"%s\": a number of 0 to %llu\n", row->name,
	    value, (unsigned long long)row->max);
	return EX_USAGE;
}

static int
take_service(struct ctl_options *options, const char *value)
{
	if (options->service_count == CTL_SERVICES_MAX) {
		ctl_complain("--service", "too many of them");
		return EX_USAGE;
	}
	options->services[options->service_count++] = value;
	return EX_OK;
}

int
options_take(
    struct ctl_options *options, int letter, const char *value, uint64_t *set)
{
	const struct row *row = &rows[letter - OPTIONS_LETTER];
	char *field = (char *)options + row->offset;

	*set |= row->bit;
	switch (row->kind) {
	case KIND_TEXT:
		memcpy(field, &value, sizeof(value));
		break;
	case KIND_SWITCH:
		memcpy(field, &(bool){ true }, sizeof(bool));
		break;
	case KIND_NUMBER:
		return take_number(row, value, (int64_t *)(void *)field);
	case KIND_SERVICE:
		return take_service(options, value);
	}
	return EX_OK;
}

const char *
options_name(uint64_t set)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (set & rows[i].bit)
			return rows[i].name;
	return NULL;
}
