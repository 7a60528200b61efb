#include "replica/sync_value.h"

#include "replica/layout.h"

int
sync_value_request(struct berval **value, const struct csn_vector *cookie)
{
	struct buf text = buf_bounded(CSN_COOKIE_SIZE);
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	int result = -1;

	if (!ber)
		return -1;
	if (ber_printf(ber, "{e", (ber_int_t)LDAP_SYNC_REFRESH_AND_PERSIST) ==
	    -1)
		goto done;
	if (cookie && (csn_cookie_format(&text, cookie) != 0 ||
			  ber_printf(ber, "o", buf_string(&text),
			      (ber_len_t)text.size) == -1))
		goto done;
	if (ber_printf(ber, "}") != -1 && ber_flatten(ber, value) == 0)
		result = 0;
done:
	ber_free(ber, 1);
	buf_free(&text);
	return result;
}

/* NULL for an empty value too, on which liblber would read at no address. */
static BerElement *
open_value(struct berval *value)
{
	return value->bv_len > 0 ? ber_init(value) : NULL;
}

static int
read_cookie(BerElement *ber, struct csn_vector *cookie)
{
	struct berval text;

	if (ber_scanf(ber, "m", &text) == LBER_ERROR)
		return -1;
	csn_vector_clear(cookie);
	return csn_cookie_parse(slice_of(text.bv_val, text.bv_len), cookie);
}

/* One that may be missing. */
static int
read_cookie_if(
    BerElement *ber, ber_tag_t tag, bool *has_cookie, struct csn_vector *cookie)
{
	ber_len_t size;

	if (ber_peek_tag(ber, &size) != tag)
		return 0;
	*has_cookie = true;
	return read_cookie(ber, cookie);
}

/* A BOOLEAN that may be missing; *value then stays as it is. */
static int
read_switch_if(BerElement *ber, ber_tag_t tag, bool *value)
{
	ber_len_t size;
	ber_int_t number;

	if (ber_peek_tag(ber, &size) != tag)
		return 0;
	if (ber_scanf(ber, "b", &number) == LBER_ERROR)
		return -1;
	*value = number != 0;
	return 0;
}

/* Not the whole: a vector is large, and cleared by its count. */
void
sync_value_state_clear(struct sync_state *state)
{
	state->change = -1;
	state->id = slice_from("");
	state->has_cookie = false;
	csn_vector_clear(&state->cookie);
	state->ber = NULL;
}

int
sync_value_state(struct sync_state *state, struct berval *value)
{
	ber_int_t change;
	struct berval id;

	sync_value_state_clear(state);
	state->ber = open_value(value);
	if (!state->ber ||
	    ber_scanf(state->ber, "{em", &change, &id) == LBER_ERROR ||
	    id.bv_len != LAYOUT_ID_SIZE)
		return -1;
	state->change = (int)change;
	state->id = slice_of(id.bv_val, id.bv_len);
	return read_cookie_if(state->ber, LDAP_TAG_SYNC_COOKIE,
	    &state->has_cookie, &state->cookie);
}

void
sync_value_state_free(struct sync_state *state)
{
	ber_free(state->ber, 1);
	state->ber = NULL;
}

static int
read_phase_end(struct sync_info *info, BerElement *ber, bool present)
{
	info->kind = SYNC_PHASE_END;
	info->present = present;
	info->done = true;
	if (ber_scanf(ber, "{") == LBER_ERROR ||
	    read_cookie_if(ber, LDAP_TAG_SYNC_COOKIE, &info->has_cookie,
		&info->cookie) != 0)
		return -1;
	return read_switch_if(ber, LDAP_TAG_REFRESHDONE, &info->done);
}

static int
read_id_set(struct sync_info *info, BerElement *ber)
{
	info->kind = SYNC_ID_SET;
	if (ber_scanf(ber, "{") == LBER_ERROR ||
	    read_cookie_if(ber, LDAP_TAG_SYNC_COOKIE, &info->has_cookie,
		&info->cookie) != 0 ||
	    read_switch_if(ber, LDAP_TAG_REFRESHDELETES, &info->deletes) != 0)
		return -1;
	if (ber_scanf(ber, "[W]", &info->ids) != LBER_ERROR)
		return 0;
	/* liblber has freed what it had read, and leaves the pointer. */
	info->ids = NULL;
	return -1;
}

static int
read_info(struct sync_info *info, BerElement *ber)
{
	ber_len_t size;

	switch (ber_peek_tag(ber, &size)) {
	case LDAP_TAG_SYNC_NEW_COOKIE:
		info->kind = SYNC_NEW_COOKIE;
		info->has_cookie = true;
		return read_cookie(ber, &info->cookie);
	case LDAP_TAG_SYNC_REFRESH_DELETE:
		return read_phase_end(info, ber, false);
	case LDAP_TAG_SYNC_REFRESH_PRESENT:
		return read_phase_end(info, ber, true);
	case LDAP_TAG_SYNC_ID_SET:
		return read_id_set(info, ber);
	default:
		return -1;
	}
}

int
sync_value_info(struct sync_info *info, struct berval *value)
{
	BerElement *ber = open_value(value);
	int result = -1;

	*info = (struct sync_info){ .kind = SYNC_NEW_COOKIE };
	if (ber)
		result = read_info(info, ber);
	ber_free(ber, 1);
	return result;
}

void
sync_value_info_free(struct sync_info *info)
{
	ber_bvarray_free(info->ids);
	info->ids = NULL;
}
