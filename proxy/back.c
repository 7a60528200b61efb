#include "proxy/back.h"

#include "proxy/imap_back.h"
#include "proxy/pop3_back.h"
#include "proxy/sieve_back.h"

const struct back_protocol *
back_protocol(enum service_kind service)
{
	static const struct back_protocol
	    *const protocols[SERVICE_KIND_COUNT] = {
		    [SERVICE_IMAP] = &imap_back,
		    [SERVICE_POP3] = &pop3_back,
		    [SERVICE_SIEVE] = &sieve_back,
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
	};
}

void
back_close(struct back *back)
{
	buf_free(&back->untagged);
	buf_free(&back->reply);
	back->protocol = NULL;
}
