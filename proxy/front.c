#include "proxy/front.h"

#include "proxy/imap_front.h"
#include "proxy/pop3_front.h"
#include "proxy/sieve_front.h"
#include "proxy/smtp_front.h"

const struct front_protocol *
front_protocol(enum service_kind service)
{
	static const struct front_protocol
	    *const protocols[SERVICE_KIND_COUNT] = {
		    [SERVICE_IMAP] = &imap_front,
		    [SERVICE_POP3] = &pop3_front,
		    [SERVICE_SIEVE] = &sieve_front,
		    [SERVICE_SUBMISSION] = &smtp_front,
	    };

	return protocols[service];
}

int
front_open(struct front *front, const struct front_protocol *protocol,
    const struct front_settings *settings)
{
	*front = (struct front){ .protocol = protocol,
		.settings = settings,
		.mechanisms = 1U << SASL_PLAIN | 1U << SASL_LOGIN };
	credentials_init(&front->credentials);
	return protocol->open(front);
}

void
front_close(struct front *front)
{
	if (!front->protocol)
		return;
	front->protocol->close(front);
	credentials_wipe(&front->credentials);
	front->protocol = NULL;
}

bool
front_may_login(const struct front *front)
{
	return front->tls || front->plaintext;
}

bool
front_takes_passwords(const struct front *front)
{
	return front_may_login(front) && front->mechanisms & 1U << SASL_PLAIN;
}
