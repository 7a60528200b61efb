#include "ctl/limits.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "ctl/output.h"
#include "ctl/proxy.h"

#define TOP 10 /* addresses and users that are shown */

/* An address as it is counted: IPv4 or IPv6 with its first bits. */
static void
cut_address(const json_t *limits, const char *text, char *cut, socklen_t size)
{
	unsigned char octets[sizeof(struct in6_addr)];
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	size_t count = family == AF_INET6 ? 16 : 4;
	long long bits = output_number(limits,
	    family == AF_INET6 ? "address_bits_ipv6" : "address_bits_ipv4");

	if (inet_pton(family, text, octets) != 1) {
		(void)snprintf(cut, size, "%s", text);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		long long kept = bits - (long long)i * 8;

		if (kept <= 0)
			octets[i] = 0;
		else if (kept < 8)
			octets[i] &= (unsigned char)(0xff00U >> kept);
	}
	if (!inet_ntop(family, octets, cut, size))
		cut[0] = '\0';
}

/* Adds one to a member of the entry of that name, which is made. */
static void
count(json_t *counts, const char *name, const char *member, long long one)
{
	json_t *entry = json_object_get(counts, name);

	if (!entry) {
		entry = json_object();
		json_object_set_new(counts, name, entry);
	}
	json_object_set_new(
	    entry, member, json_integer(output_number(entry, member) + one));
}

static void
count_session(const json_t *limits, const json_t *session, json_t *addresses,
    json_t *users)
{
	const char *user = json_string_value(json_object_get(session, "user"));
	char address[INET6_ADDRSTRLEN], name[512];

	cut_address(
	    limits, output_member(session, "client"), address, sizeof(address));
	count(addresses, address, "sessions", 1);
	count(addresses, address, "waiting",
	    json_is_true(json_object_get(session, "waiting")));
	if (!user)
		return;
	(void)snprintf(name, sizeof(name), "%s %s", user,
	    output_member(session, "service"));
	count(users, name, "sessions", 1);
}

/* Takes the entry with the most sessions out and prints it. */
static void
print_most(json_t *counts, bool waiting)
{
	const char *most = NULL;
	long long highest = 0;
	const json_t *entry;

	for (void *at = json_object_iter(counts); at;
	     at = json_object_iter_next(counts, at)) {
		long long sessions =
		    output_number(json_object_iter_value(at), "sessions");

		if (sessions > highest) {
			most = json_object_iter_key(at);
			highest = sessions;
		}
	}
	if (!most)
		return;
	entry = json_object_get(counts, most);
	printf("%-40s %8lld", most, output_number(entry, "sessions"));
	if (waiting)
		printf(" %8lld", output_number(entry, "waiting"));
	putchar('\n');
	json_object_del(counts, most);
}

static void
print_limits(const json_t *answer)
{
	const json_t *row;
	size_t i;

	printf("%-40s %8s %8s\n", "LIMIT", "MAX", "REFUSED");
	json_array_foreach(json_object_get(answer, "limits"), i, row)
	{
		printf("%-40s ", output_member(row, "name"));
		if (output_number(row, "max") > 0)
			printf("%8lld", output_number(row, "max"));
		else
			printf("%8s", "-");
		printf(" %8lld\n", output_number(row, "refused"));
	}
	printf("memory before login: %lld KiB\n",
	    output_number(answer, "login_memory") / 1024);
}

int
ctl_limits(const struct ctl *ctl, int word_count, char **words)
{
	json_t *answer = proxy_ask(ctl, "limits");
	json_t *who = answer ? proxy_ask(ctl, "who") : NULL;
	json_t *addresses = json_object(), *users = json_object();
	const json_t *session;
	int code = EX_OK;
	size_t i;

	(void)word_count;
	(void)words;
	json_array_foreach(json_object_get(who, "sessions"), i, session)
	    count_session(answer, session, addresses, users);
	if (!answer || !who) {
		code = EX_UNAVAILABLE;
	} else if (ctl->json) {
		json_object_set(answer, "addresses", addresses);
		json_object_set(answer, "users", users);
		code = output_json(json_incref(answer));
	} else {
		print_limits(answer);
		printf("\n%-40s %8s %8s\n", "ADDRESS", "SESSIONS", "WAITING");
		for (i = 0; i < TOP; i++)
			print_most(addresses, true);
		printf("\n%-40s %8s\n", "USER AND SERVICE", "SESSIONS");
		for (i = 0; i < TOP; i++)
			print_most(users, false);
	}
	json_decref(addresses);
	json_decref(users);
	json_decref(who);
	json_decref(answer);
	return code;
}
