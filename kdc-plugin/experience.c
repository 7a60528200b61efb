#include "kdc-plugin/experience.h"

#include <stdbool.h>

#define EXPERIENCE_WORDS 4
#define PORT_KDC         88 /* where a line has none */
#define PORT_KPASSWD     464

static bool
experience_is_of(const struct experience_item *item, enum service_kind service,
    const struct endpoint *place)
{
	return item->service == service && endpoint_equal(&item->place, place);
}

void
experience_note(
    struct experience *experience, const struct experience_item *item)
{
	size_t at = 0;

	while (
	    at < experience->count && !experience_is_of(&experience->items[at],
					  item->service, &item->place))
		at++;
	if (at == experience->count && at < EXPERIENCE_MAX)
		experience->count++;
	if (at == EXPERIENCE_MAX) {
		at = 0;
		for (size_t i = 1; i < EXPERIENCE_MAX; i++)
			if (experience->items[i].time_s <
			    experience->items[at].time_s)
				at = i;
	}
	experience->items[at] = *item;
}

enum experience_word
experience_of(const struct experience *experience, enum service_kind service,
    const struct endpoint *place, int64_t now_s, int64_t keep_s)
{
	for (size_t i = 0; i < experience->count; i++) {
		const struct experience_item *item = &experience->items[i];

		if (experience_is_of(item, service, place))
			return item->time_s <= now_s &&
				       now_s - item->time_s <= keep_s
				   ? item->word
				   : EXPERIENCE_NONE;
	}
	return EXPERIENCE_NONE;
}

static bool
experience_parse(struct slice line, struct experience_item *item)
{
	struct slice words[EXPERIENCE_WORDS];
	size_t count = 0;
	uint64_t time_s;

	while (count < EXPERIENCE_WORDS &&
	       slice_next_word(&line, ' ', &words[count]))
		count++;
	item->service = count > 0 && slice_is(words[0], "kdc")
			    ? SERVICE_KERBEROS
			    : SERVICE_KPASSWD;
	if (count < EXPERIENCE_WORDS || slice_trim(line).size > 0 ||
	    endpoint_parse(&item->place, words[1],
		item->service == SERVICE_KERBEROS ? PORT_KDC : PORT_KPASSWD) !=
		0 ||
	    slice_to_uint(words[2], INT64_MAX, &time_s) != 0)
		return false;
	item->time_s = (int64_t)time_s;
	item->word = slice_is(words[3], "answered") ? EXPERIENCE_ANSWERED
						    : EXPERIENCE_SILENT;
	return (item->service == SERVICE_KERBEROS ||
		   slice_is(words[0], "kpasswd")) &&
	       (item->word == EXPERIENCE_ANSWERED ||
		   slice_is(words[3], "silent"));
}

void
experience_read(struct experience *experience, struct slice text)
{
	struct experience_item item;
	struct slice line;

	while (slice_next_word(&text, '\n', &line)) {
		bool newer = experience_parse(line, &item);

		for (size_t i = 0; newer && i < experience->count; i++)
			newer = !experience_is_of(&experience->items[i],
				    item.service, &item.place) ||
				experience->items[i].time_s < item.time_s;
		if (newer)
			experience_note(experience, &item);
	}
}

int
experience_write(struct buf *out, const struct experience *experience)
{
	for (size_t i = 0; i < experience->count; i++) {
		const struct experience_item *item = &experience->items[i];

		(void)buf_add_string(out,
		    item->service == SERVICE_KERBEROS ? "kdc " : "kpasswd ");
		(void)endpoint_format(out, &item->place);
		(void)buf_add_char(out, ' ');
		(void)buf_add_number(out, item->time_s);
		(void)buf_add_string(out, item->word == EXPERIENCE_ANSWERED
					      ? " answered\n"
					      : " silent\n");
	}
	return out->failed ? -1 : 0;
}
