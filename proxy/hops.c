#include "proxy/hops.h"

static void
take_octet(struct hops *hops, char c)
{
	static const char name[] = "received:";
	char lower = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;

	if (c == '\n') {
		hops->body = !hops->begun;
		hops->matched = 0;
		hops->other = hops->begun = hops->cr = false;
		return;
	}
	/* One that ends no line belongs to it. */
	hops->begun |= hops->cr || c != '\r';
	hops->other |= hops->cr;
	hops->cr = c == '\r';
	if (hops->other || hops->cr)
		return;
	hops->other = lower != name[hops->matched];
	if (!hops->other && ++hops->matched == sizeof(name) - 1) {
		hops->count++;
		hops->other = true;
	}
}

void
hops_watch(struct hops *hops, struct slice data)
{
	for (size_t i = 0; i < data.size && !hops->body; i++)
		take_octet(hops, data.data[i]);
}
