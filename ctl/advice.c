#include "ctl/advice.h"

#include <stddef.h>
#include <stdio.h>

#include "ctl/facts.h"
#include "lib/slice.h"

static const char *const services[] = {
	"What is left to do on this host, as root:",
	"",
	"1. slapd: in /etc/default/slapd set",
	"       SLAPD_CONF=${etc}/slapd.d",
	"       SLAPD_SERVICES=\"${listen_uri} ldapi:///\"",
	"       export KRB5_CONFIG=${etc}/slapd-krb5.conf",
	"   and: systemctl restart slapd",
	"2. Replicas, of the KDC and of everybody else:",
	"       systemctl enable --now postcell-replicad@kdc-replicad \\\\",
	"               postcell-replicad",
	"3. KDC and kpasswdd: in /etc/default/heimdal-kdc set",
	"       KDC_PARAMS=\"-c ${etc}/kdc.conf\"",
	"       KPASSWDD_PARAMS=\"-c ${etc}/kdc.conf\"",
	"   and: systemctl restart heimdal-kdc",
	"4. Clients of the realm: ${etc}/krb5.conf is their",
	"   /etc/krb5.conf, ${etc}/tls/ca.pem whom they trust.",
	"5. Try it:",
	"       KRB5_CONFIG=${etc}/krb5.conf kinit ${admin}@${realm}",
};

static const char *const first[] = {
	"       postcellctl -c ${etc}/postcellctl.conf account add anna",
	"6. Mail: postcellctl server add NAME --service imap://HOST ...,",
	"   and: systemctl enable --now postcell-proxyd",
	"7. A second provider and KDC, prepared here and made there:",
	"       postcellctl cell join --prepare NAME --uri ldap://HOST BUNDLE",
	"       postcellctl cell join BUNDLE",
	"8. Keep ${etc}/master.key and ${etc}/tls/ca.key",
	"   where no backup of the databases goes:",
	"       postcellctl cell backup DIR --with-master-key",
};

static const char *const kdc[] = {
	"What is left to do on this host, as root:",
	"",
	"1. Its replica:",
	"       systemctl enable --now postcell-replicad@kdc-replicad",
	"2. KDC and kpasswdd: in /etc/default/heimdal-kdc set",
	"       KDC_PARAMS=\"-c ${etc}/kdc.conf\"",
	"       KPASSWDD_PARAMS=\"-c ${etc}/kdc.conf\"",
	"   and: systemctl restart heimdal-kdc",
	"3. Remove the bundle: whoever has it has the realm's keys.",
};

static const char *const further[] = {
	"6. Remove the bundle: whoever has it has the realm's keys.",
};

static const char *const prepared[] = {
	"${bundle} holds all that ${new_name} needs, the realm's master key",
	"with it, so that whoever has the file has the realm: bring it there",
	"by scp, as root, and remove it here and there afterwards.",
	"",
	"On ${new_name}:",
	"       postcellctl cell join BUNDLE",
	"On each other provider, if there are more than this one:",
	"       postcellctl cell join --peers",
	"In krb5.conf of clients, beside the others:",
	"       kdc = ${new_host}:${new_kdc_port}",
	"       kpasswd_server = ${new_host}:${new_kpasswd_port}",
};

static void
print(const json_t *given, const char *const *lines, size_t count)
{
	json_t *facts = json_deep_copy(given);

	for (size_t i = 0; i < count; i++) {
		facts_fill(facts, "line", lines[i]);
		printf("%s\n", facts_get(facts, "line"));
	}
	json_decref(facts);
}

void
advice_first(const json_t *facts)
{
	print(facts, services, ARRAY_SIZE(services));
	print(facts, first, ARRAY_SIZE(first));
}

void
advice_further(const json_t *facts)
{
	print(facts, services, ARRAY_SIZE(services));
	print(facts, further, ARRAY_SIZE(further));
}

void
advice_kdc(const json_t *facts)
{
	print(facts, kdc, ARRAY_SIZE(kdc));
}

void
advice_restored(const json_t *facts)
{
	print(facts, services, ARRAY_SIZE(services));
}

void
advice_prepared(const json_t *facts)
{
	print(facts, prepared, ARRAY_SIZE(prepared));
}
