#include "proxy/admission.h"

#include <sys/socket.h>
#include <unistd.h>

#define KIND_ADDRESS 0
#define KIND_WAITING 1
#define KIND_USER    2 /* and the number of the service */

#define MEBIBYTE (1024UL * 1024)

static bool
take(struct relay *relay, const struct listener *listener, unsigned kind,
    struct slice whom, long max, uint64_t *held)
{
	struct limits *limits = &relay->settings->stats->limits;
	uint64_t key;

	if (max == 0)
		return true;
	key = limits_key(limits, kind, whom);
	switch (limits_take(
	    limits, relay->settings->slot_number, key, (uint32_t)max)) {
	case LIMITS_TAKEN:
		*held = key;
		return true;
	case LIMITS_REFUSED:
		return false;
	case LIMITS_UNCOUNTED:
		relay_count(relay, listener, STATS_UNCOUNTED, 1);
		return true;
	}
	return true;
}

static void
give_back(struct relay *relay, uint64_t *held)
{
	if (*held)
		limits_release(&relay->settings->stats->limits,
		    relay->settings->slot_number, *held);
	*held = 0;
}

/* Mail comes from hubs, which do not log in. */
static bool
is_delivery(const struct listener *listener)
{
	return listener->config->service == SERVICE_LMTP ||
	       listener->config->service == SERVICE_SMTP;
}

/* Logins that fill the memory do not keep mail out. */
static bool
is_out_of_memory(const struct relay *relay, const struct listener *listener)
{
	long max = relay->config->limits.login_memory;

	return max > 0 && !is_delivery(listener) &&
	       stats_total(relay->settings->stats, STATS_LOGIN_MEMORY) >
		   (uint64_t)max * MEBIBYTE;
}

/* NULL when it may come in; else why not, for the client. */
static const char *
count_address(struct relay *relay, const struct listener *listener,
    const union address *client, struct admission *held)
{
	const struct config_limits *limits = &relay->config->limits;
	uint8_t prefix[NETWORK_ADDRESS_SIZE];
	struct slice whom = slice_of(prefix, sizeof(prefix));

	if ((limits->address_sessions == 0 && limits->address_waiting == 0) ||
	    networks_contain(&limits->unlimited, client))
		return NULL;
	network_prefix(client, (unsigned)limits->address_bits_ipv4,
	    (unsigned)limits->address_bits_ipv6, prefix);
	if (!take(relay, listener, KIND_ADDRESS, whom, limits->address_sessions,
		&held->address)) {
		relay_count(relay, listener, STATS_LIMITED_ADDRESS, 1);
		return "Too many connections from your address.";
	}
	if (!take(relay, listener, KIND_WAITING, whom, limits->address_waiting,
		&held->waiting)) {
		relay_count(relay, listener, STATS_LIMITED_WAITING, 1);
		return is_delivery(listener)
			   ? "Too many connections from your address have sent no mail."
			   : "Too many connections from your address wait for a login.";
	}
	return NULL;
}

/* In the protocol's own words. */
static void
add_goodbye(struct relay *relay, const struct listener *listener,
    const char *text, struct buf *words)
{
	struct front front;

	if (is_delivery(listener)) {
		buf_printf(words, "421 4.3.2 %s\r\n", text);
	} else if (front_open(&front, front_protocol(listener->config->service),
		       &relay->front_settings) == 0) {
		front_goodbye(&front, text, words);
		front_close(&front);
	}
}

/* Who waits for TLS first would not hear the words. */
static void
turn_away(struct relay *relay, const struct listener *listener, int fd,
    const char *text)
{
	struct buf words = buf_bounded(1024);

	if (listener->config->tls == SERVICE_TLS_IMPLICIT)
		return;
	add_goodbye(relay, listener, text, &words);
	(void)send(fd, words.data, words.size, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(fd, SHUT_WR);
	buf_free(&words);
}

bool
admission_enter(struct relay *relay, const struct listener *listener, int fd,
    const union address *client, struct admission *held)
{
	const char *full = NULL;
	struct log_line line;
	char address[INET6_ADDRSTRLEN];

	*held = (struct admission){ 0 };
	if (is_out_of_memory(relay, listener)) {
		full = "Too many connections wait for a login.";
		relay_count(relay, listener, STATS_LIMITED_MEMORY, 1);
	}
	if (!full)
		full = count_address(relay, listener, client, held);
	if (!full)
		return true;
	admission_leave(relay, held);
	line = log_line(LOG_LEVEL_INFO, "connection_refused");
	address_text(client, address, sizeof(address));
	log_word(&line, "listener", listener->config->title);
	log_word(&line, "client", address);
	log_string(&line, "why", full);
	log_send(&relay->log, &line);
	turn_away(relay, listener, fd, full);
	close(fd);
	return false;
}

bool
admission_log_in(struct relay *relay, const struct listener *listener,
    struct slice user, struct admission *held)
{
	if (!take(relay, listener, KIND_USER + listener->config->service, user,
		relay->config->limits.user_sessions, &held->user)) {
		relay_count(relay, listener, STATS_LIMITED_USER, 1);
		return false;
	}
	admission_settle(relay, held);
	return true;
}

void
admission_settle(struct relay *relay, struct admission *held)
{
	give_back(relay, &held->waiting);
}

void
admission_leave(struct relay *relay, struct admission *held)
{
	give_back(relay, &held->address);
	give_back(relay, &held->waiting);
	give_back(relay, &held->user);
}
