#include "proxy/back.h"

#include "lib/base64.h"
#include "proxy/imap_back.h"
#include "proxy/pop3_back.h"
#include "proxy/sieve_back.h"
#include "proxy/smtp_back.h"

const struct back_protocol *
back_protocol(enum service_kind service)
{
	static const struct back_protocol
	    *const protocols[SERVICE_KIND_COUNT] = {
		    [SERVICE_IMAP] = &imap_back,
		    [SERVICE_POP3] = &pop3_back,
		    [SERVICE_SIEVE] = &sieve_back,
		    [SERVICE_SUBMISSION] = &smtp_back,
	    };

	return protocols[service];
}

void
back_open(struct back *back, const struct back_protocol *protocol,
    const struct back_client *client, const struct credentials *credentials,
    struct slice user, enum service_tls tls, size_t line_size)
{
	*back = (struct back){
		.protocol = protocol,
		.client = client,
		.credentials = credentials,
		.user = user,
		.tls = tls,
		.line_size = line_size,
		.secured = tls == SERVICE_TLS_IMPLICIT,
		.untagged = buf_bounded(line_size),
		.reply = buf_bounded(line_size),
		.challenge = buf_bounded(line_size),
	};
}

void
back_close(struct back *back)
{
	buf_free(&back->untagged);
	buf_free(&back->reply);
	buf_free(&back->challenge);
	back->protocol = NULL;
}

enum back_action
back_take_challenge(struct back *back, struct slice text)
{
	buf_clear(&back->challenge);
	if (!sasl_is_relayed(sasl_back_mechanism(back->credentials))) {
		back->why = "back end asks for more than it was promised";
		return BACK_BROKEN;
	}
	if (base64_decode(&back->challenge, text) < 0) {
		back->why = "back end's challenge is not base64";
		return BACK_BROKEN;
	}
	return BACK_CHALLENGE;
}

bool
back_hear(struct back *back, struct slice line)
{
	/* Short lines cost more than their octets. */
	back->heard += line.size + 2;
	return back->heard <= BACK_HEARD_MAX;
}

const char *
back_mechanism(const struct back *back)
{
	return sasl_mechanism_text(sasl_back_mechanism(back->credentials));
}
