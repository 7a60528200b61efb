#include "lib/cell.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/buf.h"
#include "lib/placement.h"
#include "lib/timestamp.h"

#define FAULTS_SIZE_MAX 65536
#define POOL_RAMP       60 /* s */

/* One entry's record as it came in; what all else borrows from. */
struct entry {
	char *data; /* owned */
	size_t size;
};

struct cell {
	struct entry *entries;
	size_t entry_count, entry_capacity;
	struct pool *pools;
	size_t pool_count;
	struct host *hosts;
	size_t host_count;
	struct buf faults;
};

struct cell *
cell_new(void)
{
	struct cell *cell = calloc(1, sizeof(*cell));

	if (cell)
		cell->faults = buf_bounded(FAULTS_SIZE_MAX);
	return cell;
}

void
cell_free(struct cell **cell)
{
	struct cell *old = *cell;

	*cell = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->pool_count; i++)
		free(old->pools[i].servers);
	for (size_t i = 0; i < old->host_count; i++) {
		free(old->hosts[i].services);
		free(old->hosts[i].transitions);
		free(old->hosts[i].votes);
	}
	for (size_t i = 0; i < old->entry_count; i++)
		free(old->entries[i].data);
	free(old->pools);
	free(old->hosts);
	free(old->entries);
	buf_free(&old->faults);
	free(old);
}

int
cell_add(struct cell *cell, struct slice record)
{
	char *copy;

	if (cell->entry_count == cell->entry_capacity) {
		size_t capacity =
		    cell->entry_capacity ? cell->entry_capacity * 2 : 16;
		struct entry *more =
		    reallocarray(cell->entries, capacity, sizeof(*more));

		if (!more)
			return -1;
		cell->entries = more;
		cell->entry_capacity = capacity;
	}
	copy = malloc(record.size ? record.size : 1);
	if (!copy)
		return -1;
	if (record.size > 0)
		memcpy(copy, record.data, record.size);
	cell->entries[cell->entry_count].data = copy;
	cell->entries[cell->entry_count].size = record.size;
	cell->entry_count++;
	return 0;
}

/* The smallest value of a tag; empty when there is none. */
static struct slice
value_of(struct slice record, enum cell_tag tag)
{
	struct slice found = slice_from("");
	struct record_field field;

	while (record_next(&record, &field))
		if (field.tag == tag &&
		    (found.size == 0 || slice_compare(field.value, found) < 0))
			found = field.value;
	return found;
}

static size_t
count_of(struct slice record, enum cell_tag tag)
{
	struct record_field field;
	size_t count = 0;

	while (record_next(&record, &field))
		count += field.tag == tag;
	return count;
}

static void
fault(struct cell *cell, struct slice record, const char *attribute,
    struct slice value, const char *why)
{
	struct slice name = value_of(record, CELL_NAME);

	buf_add_slice(&cell->faults, value_of(record, CELL_KIND));
	buf_add_char(&cell->faults, ' ');
	buf_add_quoted(
	    &cell->faults, name.size > 0 ? name : value_of(record, CELL_DN));
	buf_printf(&cell->faults, ": %s ", attribute);
	buf_add_quoted(&cell->faults, value);
	buf_printf(&cell->faults, ": %s\n", why);
}

/* A number of one attribute within bounds, or what stands when it is absent or
 * bad. */
static uint32_t
number_of(struct cell *cell, struct slice record, enum cell_tag tag,
    const char *attribute, uint32_t otherwise, uint32_t max)
{
	struct slice value = value_of(record, tag);
	uint64_t number;

	if (value.size == 0)
		return otherwise;
	if (slice_to_uint(value, max, &number) < 0) {
		fault(cell, record, attribute, value,
		    "not a number within bounds; the default holds");
		return otherwise;
	}
	return (uint32_t)number;
}

/* A bad wish takes the host out: who wrote it did not mean what was before. */
static enum host_state
state_of(struct cell *cell, struct slice record)
{
	struct slice value = value_of(record, CELL_STATE);
	enum host_state state = HOST_UP;

	if (value.size == 0)
		return HOST_UP;
	if (host_state_parse(value, &state) < 0 || state == HOST_FAILED) {
		fault(cell, record, "postcellState", value,
		    "not up, drain or down; counts as down");
		return HOST_DOWN;
	}
	return state;
}

static void
add_service(struct cell *cell, struct host *host, struct slice record,
    struct slice value)
{
	const char *why;

	if (service_parse(value, &host->services[host->service_count], &why) <
	    0)
		fault(cell, record, "postcellService", value, why);
	else
		host->service_count++;
}

static void
add_transition(struct cell *cell, struct host *host, struct slice record,
    struct slice value)
{
	const char *why;

	if (transition_parse(
		value, &host->transitions[host->transition_count], &why) < 0)
		fault(cell, record, "postcellTransition", value, why);
	else
		host->transition_count++;
}

static int
compare_transitions(const void *a, const void *b)
{
	return transition_compare(a, b);
}

static int
read_lists(struct cell *cell, struct host *host, struct slice record)
{
	struct slice rest = record;
	struct record_field field;

	host->services =
	    calloc(count_of(record, CELL_SERVICE) + 1, sizeof(*host->services));
	host->transitions = calloc(
	    count_of(record, CELL_TRANSITION) + 1, sizeof(*host->transitions));
	host->votes =
	    calloc(count_of(record, CELL_VOTE) + 1, sizeof(*host->votes));
	if (!host->services || !host->transitions || !host->votes)
		return -1;
	while (record_next(&rest, &field)) {
		if (field.tag == CELL_SERVICE)
			add_service(cell, host, record, field.value);
		else if (field.tag == CELL_TRANSITION)
			add_transition(cell, host, record, field.value);
		else if (field.tag == CELL_VOTE)
			host->votes[host->vote_count++] = field.value;
	}
	qsort(host->transitions, host->transition_count,
	    sizeof(*host->transitions), compare_transitions);
	return 0;
}

static int
read_host(struct cell *cell, enum host_kind kind, struct slice record)
{
	struct host *host = &cell->hosts[cell->host_count++];
	struct slice alive = value_of(record, CELL_ALIVE);

	host->record = record;
	host->kind = kind;
	host->name = value_of(record, CELL_NAME);
	host->pool = value_of(record, CELL_POOL);
	host->site = value_of(record, CELL_SITE);
	host->state = state_of(cell, record);
	host->weight = number_of(cell, record, CELL_WEIGHT, "postcellWeight",
	    TRANSITION_WEIGHT_DEFAULT, TRANSITION_WEIGHT_MAX);
	host->seed = placement_seed(host->name);
	if (alive.size > 0 && timestamp_parse(alive, &host->alive_us) < 0)
		fault(cell, record, "postcellAlive", alive,
		    "not generalized time in UTC");
	if (kind == HOST_SERVER && count_of(record, CELL_POOL) > 1)
		fault(cell, record, "postcellPoolName", host->pool,
		    "a server belongs to one pool; this one holds");
	return read_lists(cell, host, record);
}

/* A word of two that an attribute may have. */
static bool
choice_of(struct cell *cell, struct slice record, enum cell_tag tag,
    const char *attribute, const char *no, const char *yes, bool otherwise)
{
	struct slice value = value_of(record, tag);

	if (value.size == 0)
		return otherwise;
	if (slice_is_nocase(value, yes))
		return true;
	if (!slice_is_nocase(value, no)) {
		fault(cell, record, attribute, value,
		    "not one of its two words; the default holds");
		return otherwise;
	}
	return false;
}

static void
read_pool(struct cell *cell, struct slice record)
{
	struct pool *pool = &cell->pools[cell->pool_count++];

	pool->record = record;
	pool->name = value_of(record, CELL_NAME);
	pool->is_default = choice_of(cell, record, CELL_DEFAULT,
	    "postcellDefault", "FALSE", "TRUE", false);
	pool->ramp = number_of(cell, record, CELL_RAMP, "postcellRamp",
	    POOL_RAMP, TRANSITION_RAMP_MAX);
	pool->guard_ms = number_of(cell, record, CELL_GUARD, "postcellGuard",
	    POOL_GUARD, POOL_GUARD_MAX);
	pool->failback_auto = choice_of(cell, record, CELL_FAILBACK,
	    "postcellFailback", "manual", "auto", true);
	pool->max_down = number_of(
	    cell, record, CELL_MAX_DOWN, "postcellMaxDown", 0, UINT32_MAX);
	pool->affinity = choice_of(cell, record, CELL_AFFINITY,
	    "postcellAffinity", "none", "user", true);
}

static int
read_entry(struct cell *cell, struct slice record)
{
	struct slice kind = value_of(record, CELL_KIND), rest = record;
	struct record_field field;

	while (record_next(&rest, &field))
		;
	if (rest.size > 0) {
		fault(cell, record, "record", slice_from(""),
		    "malformed; the entry is left out");
		return 0;
	}
	if (value_of(record, CELL_NAME).size == 0) {
		fault(cell, record, "cn", slice_from(""),
		    "missing; the entry is left out");
		return 0;
	}
	if (slice_is(kind, "pool")) {
		read_pool(cell, record);
		return 0;
	}
	for (unsigned i = HOST_SERVER; i <= HOST_OTHER; i++)
		if (slice_is(kind, host_kind_text((enum host_kind)i)))
			return read_host(cell, (enum host_kind)i, record);
	fault(cell, record, "kind", kind, "unknown; the entry is left out");
	return 0;
}

static int
compare_pools(const void *a, const void *b)
{
	const struct pool *x = a, *y = b;
	int order = slice_compare(x->name, y->name);

	return order != 0 ? order : slice_compare(x->record, y->record);
}

static int
compare_hosts(const void *a, const void *b)
{
	const struct host *x = a, *y = b;
	int order;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	order = slice_compare(x->name, y->name);
	return order != 0 ? order : slice_compare(x->record, y->record);
}

static int
link_pool(struct cell *cell, struct pool *pool)
{
	pool->servers = calloc(cell->host_count + 1, sizeof(struct host *));
	if (!pool->servers)
		return -1;
	for (size_t i = 0; i < cell->host_count; i++) {
		const struct host *host = &cell->hosts[i];
		const struct pool *own = host->pool.size > 0
					     ? cell_pool(cell, host->pool)
					     : cell_default_pool(cell);

		if (host->kind == HOST_SERVER && own == pool)
			pool->servers[pool->server_count++] = host;
	}
	return 0;
}

static void
fault_of_map(
    struct cell *cell, const char *kind, struct slice name, const char *why)
{
	buf_printf(&cell->faults, "%s ", kind);
	buf_add_quoted(&cell->faults, name);
	buf_printf(&cell->faults, ": %s\n", why);
}

/* Two entries of one name: whoever looks one up could mean either. */
static void
check_names(struct cell *cell)
{
	for (size_t i = 1; i < cell->host_count; i++) {
		const struct host *host = &cell->hosts[i];

		if (host[-1].kind == host->kind &&
		    slice_equal(host[-1].name, host->name))
			fault_of_map(cell, host_kind_text(host->kind),
			    host->name, "two entries have this name");
	}
	for (size_t i = 1; i < cell->pool_count; i++)
		if (slice_equal(cell->pools[i - 1].name, cell->pools[i].name))
			fault_of_map(cell, "pool", cell->pools[i].name,
			    "two entries have this name");
}

static void
check_servers(struct cell *cell)
{
	bool has_default = cell_default_pool(cell) != NULL;

	for (size_t i = 0; i < cell->host_count; i++) {
		const struct host *host = &cell->hosts[i];

		if (host->kind != HOST_SERVER)
			continue;
		if (host->pool.size > 0 && !cell_pool(cell, host->pool))
			fault_of_map(cell, "server", host->name,
			    "its pool is not there");
		else if (host->pool.size == 0 && !has_default)
			fault_of_map(cell, "server", host->name,
			    "it names no pool and there is no default");
	}
}

static void
check_pools(struct cell *cell)
{
	size_t defaults = 0;

	for (size_t i = 0; i < cell->pool_count; i++) {
		defaults += cell->pools[i].is_default;
		if (cell->pools[i].server_count == 0)
			fault_of_map(cell, "pool", cell->pools[i].name,
			    "it has no server");
	}
	if (defaults > 1)
		buf_add_string(&cell->faults,
		    "several pools have postcellDefault: there is no default\n");
}

int
cell_finish(struct cell *cell)
{
	cell->pools = calloc(cell->entry_count + 1, sizeof(*cell->pools));
	cell->hosts = calloc(cell->entry_count + 1, sizeof(*cell->hosts));
	if (!cell->pools || !cell->hosts)
		return -1;
	for (size_t i = 0; i < cell->entry_count; i++)
		if (read_entry(cell, slice_of(cell->entries[i].data,
					 cell->entries[i].size)) < 0)
			return -1;
	qsort(
	    cell->pools, cell->pool_count, sizeof(*cell->pools), compare_pools);
	qsort(
	    cell->hosts, cell->host_count, sizeof(*cell->hosts), compare_hosts);
	for (size_t i = 0; i < cell->pool_count; i++)
		if (link_pool(cell, &cell->pools[i]) < 0)
			return -1;
	check_names(cell);
	check_servers(cell);
	check_pools(cell);
	return 0;
}

const struct pool *
cell_pool(const struct cell *cell, struct slice name)
{
	for (size_t i = 0; i < cell->pool_count; i++)
		if (slice_equal_nocase(cell->pools[i].name, name))
			return &cell->pools[i];
	return NULL;
}

const struct pool *
cell_default_pool(const struct cell *cell)
{
	const struct pool *found = NULL;

	for (size_t i = 0; i < cell->pool_count; i++) {
		if (!cell->pools[i].is_default)
			continue;
		if (found)
			return NULL;
		found = &cell->pools[i];
	}
	return !found && cell->pool_count == 1 ? &cell->pools[0] : found;
}

const struct pool *
cell_account_pool(const struct cell *cell, const struct account *account)
{
	return account->pool.size > 0 ? cell_pool(cell, account->pool)
				      : cell_default_pool(cell);
}

const struct host *
cell_host(const struct cell *cell, enum host_kind kind, struct slice name)
{
	for (size_t i = 0; i < cell->host_count; i++)
		if (cell->hosts[i].kind == kind &&
		    slice_equal_nocase(cell->hosts[i].name, name))
			return &cell->hosts[i];
	return NULL;
}

const struct host *
cell_hosts(const struct cell *cell, size_t *count)
{
	*count = cell->host_count;
	return cell->hosts;
}

const struct pool *
cell_pools(const struct cell *cell, size_t *count)
{
	*count = cell->pool_count;
	return cell->pools;
}

const struct service *
host_service(const struct host *host, enum service_kind kind)
{
	for (size_t i = 0; i < host->service_count; i++)
		if (host->services[i].kind == kind)
			return &host->services[i];
	return NULL;
}

const char *
host_kind_text(enum host_kind kind)
{
	static const char *const texts[] = {
		[HOST_SERVER] = "server",
		[HOST_PROXY] = "proxy",
		[HOST_OTHER] = "host",
	};

	return texts[kind];
}

struct slice
cell_faults(const struct cell *cell)
{
	return buf_slice(&cell->faults);
}

static void
digest_add(XXH3_state_t *digest, const void *data, size_t size)
{
	XXH3_64bits_update(digest, &size, sizeof(size));
	XXH3_64bits_update(digest, data, size);
}

static void
digest_server(XXH3_state_t *digest, const struct host *server)
{
	uint32_t numbers[2] = { (uint32_t)server->state, server->weight };

	digest_add(digest, server->name.data, server->name.size);
	digest_add(digest, numbers, sizeof(numbers));
	for (size_t i = 0; i < server->service_count; i++)
		digest_add(digest, server->services[i].host.data,
		    server->services[i].host.size);
	for (size_t i = 0; i < server->transition_count; i++)
		digest_add(digest, server->transitions[i].text.data,
		    server->transitions[i].text.size);
}

uint64_t
cell_digest(const struct cell *cell)
{
	XXH3_state_t digest;

	XXH3_64bits_reset(&digest);
	for (size_t i = 0; i < cell->pool_count; i++) {
		const struct pool *pool = &cell->pools[i];
		uint32_t numbers[3] = { pool->is_default, pool->guard_ms,
			pool->affinity };

		digest_add(&digest, pool->name.data, pool->name.size);
		digest_add(&digest, numbers, sizeof(numbers));
		for (size_t k = 0; k < pool->server_count; k++)
			digest_server(&digest, pool->servers[k]);
	}
	return XXH3_64bits_digest(&digest);
}
