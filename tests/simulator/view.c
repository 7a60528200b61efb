/* What an observer of a world knows at a moment, as the library's maps. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "lib/record.h"
#include "tests/simulator/world.h"

static const char *const pool_names[WORLD_POOLS] = { "disk", "tape" };

/* Position of a value; value_count when it is not there. */
static size_t
find_value(const struct server_entry *server, const char *text)
{
	size_t i = 0;

	while (i < server->value_count &&
	       strcmp(server->values[i].text, text) != 0)
		i++;
	return i;
}

static void
take_values(struct server_entry *server, const struct write *write)
{
	for (size_t i = 0; i < write->deleted_count; i++) {
		size_t at = find_value(server, write->deleted[i].text);

		if (at < server->value_count)
			server->values[at] =
			    server->values[--server->value_count];
	}
	for (size_t i = 0; i < write->server.value_count; i++) {
		const struct value *value = &write->server.values[i];

		if (find_value(server, value->text) < server->value_count)
			continue;
		assert(server->value_count < WORLD_VALUES);
		server->values[server->value_count++] = *value;
	}
}

static void
take_server(struct server_entry *server, const struct write *write)
{
	if (write->sets & SETS_EXISTS) {
		server->exists = write->server.exists;
		server->value_count = 0;
	}
	if (write->sets & SETS_POOL)
		server->pool = write->server.pool;
	if (write->sets & SETS_WISH) {
		server->wish = write->server.wish;
		server->weight = write->server.weight;
	}
	take_values(server, write);
	server->csn = write->server.csn;
}

static void
take_account(struct account_entry *account, const struct write *write)
{
	if (write->sets & SETS_PIN)
		account->pin = write->account.pin;
	if (write->sets & SETS_POOL)
		account->pool = write->account.pool;
	if (write->sets & SETS_GROUP)
		account->group = write->account.group;
	if (write->sets & SETS_MOVED)
		account->moved = write->account.moved;
}

static void
add_text(struct buf *record, uint8_t tag, const char *text)
{
	if (text[0] != '\0')
		record_add(record, tag, slice_from(text));
}

static void
add_server(struct cell *cell, unsigned index, const struct server_entry *server)
{
	struct buf record = buf_bounded(16384);
	char text[WORLD_TEXT];

	add_text(&record, CELL_KIND, "server");
	(void)snprintf(text, sizeof(text), "mbox%u", index + 1);
	add_text(&record, CELL_NAME, text);
	(void)snprintf(
	    text, sizeof(text), "imap://mbox%u.example.org", index + 1);
	add_text(&record, CELL_SERVICE, text);
	add_text(&record, CELL_CSN, server->csn.text);
	add_text(&record, CELL_POOL, pool_names[server->pool]);
	add_text(&record, CELL_STATE, host_state_text(server->wish));
	(void)snprintf(text, sizeof(text), "%u", server->weight);
	add_text(&record, CELL_WEIGHT, text);
	for (size_t i = 0; i < server->value_count; i++)
		add_text(&record, CELL_TRANSITION, server->values[i].text);
	cell_add(cell, buf_slice(&record));
	buf_free(&record);
}

static void
add_pool(struct cell *cell, unsigned index, uint32_t guard_ms)
{
	struct buf record = buf_bounded(1024);
	char text[WORLD_TEXT];

	add_text(&record, CELL_KIND, "pool");
	add_text(&record, CELL_NAME, pool_names[index]);
	if (index == 0)
		add_text(&record, CELL_DEFAULT, "TRUE");
	(void)snprintf(text, sizeof(text), "%u", guard_ms);
	add_text(&record, CELL_GUARD, text);
	cell_add(cell, buf_slice(&record));
	buf_free(&record);
}

static void
make_account(struct view *view, const struct world *world, unsigned index)
{
	const struct account_entry *entry = &view->account_entries[index];
	struct buf *record = &view->records[index];
	const char *why;
	int result;

	*record = buf_bounded(1024);
	record_add(
	    record, ACCOUNT_ID, slice_of(world->ids[index], ACCOUNT_ID_SIZE));
	add_text(record, ACCOUNT_UID, "user");
	add_text(record, ACCOUNT_PIN, entry->pin.text);
	add_text(record, ACCOUNT_POOL, entry->pool.text);
	add_text(record, ACCOUNT_GROUP, entry->group.text);
	add_text(record, ACCOUNT_MOVED, entry->moved.text);
	result = account_read(&view->accounts[index], buf_slice(record), &why);
	assert(result == 0);
	(void)result;
}

void
view_make(struct view *view, const struct world *world, unsigned observer,
    int64_t at_us)
{
	uint32_t guard_ms[WORLD_POOLS] = { 0 };

	memset(view->account_entries, 0, sizeof(view->account_entries));
	for (unsigned i = 0; i < WORLD_SERVERS; i++) {
		view->servers[i].exists = false;
		view->servers[i].value_count = 0;
	}
	for (size_t i = 0; i < world->write_count; i++) {
		const struct write *write = &world->writes[i];

		if (write->arrival_us[observer] > at_us)
			continue;
		if (write->target == TARGET_SERVER)
			take_server(&view->servers[write->index], write);
		else if (write->target == TARGET_ACCOUNT)
			take_account(
			    &view->account_entries[write->index], write);
		else
			guard_ms[write->index] = write->guard_ms;
	}
	view->cell = cell_new();
	assert(view->cell);
	for (unsigned i = 0; i < WORLD_POOLS; i++)
		add_pool(view->cell, i, guard_ms[i]);
	for (unsigned i = 0; i < WORLD_SERVERS; i++)
		if (view->servers[i].exists)
			add_server(view->cell, i, &view->servers[i]);
	cell_finish(view->cell);
	for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
		make_account(view, world, i);
}

void
view_free(struct view *view)
{
	cell_free(&view->cell);
	for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
		buf_free(&view->records[i]);
}
