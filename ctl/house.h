/*
 * house: what one host of a cell needs, made beside and put into place.
 *
 * Two folders come whole or not at all (ctl/stage.h): the host's configuration
 * with its secrets, and the databases of its slapd. They are filled by steps,
 * each of which says what it does and looks first whether it is to stop.
 */
#ifndef CTL_HOUSE_H
#define CTL_HOUSE_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "ctl/stage.h"
#include "ctl/tool.h"
#include "lib/buf.h"

struct house {
	const struct ctl *ctl;
	json_t *facts;  /* of the places where all is to be; borrowed */
	json_t *staged; /* owned: of where it is made */
	struct stage etc, data;
	struct stage spare[3]; /* folders that may be there already */
	struct buf work;       /* folder of what is needed meanwhile */
	bool is_run_new;       /* the folder of slapd's socket was not there */
	struct tool_server slapd;
	struct buf config; /* cn=config as LDIF; empty: it is made anew */
};

/* A step: EX_OK, or an exit status after a complaint. */
typedef int house_step(struct house *house, void *context);

struct house_step_row {
	const char *does; /* for people */
	house_step *run;
};

/*
 * Does the steps, one after the other, and cleans up: after a failure nothing
 * is left. Holds back signals from now on.
 */
int house_build(struct house *house, const struct house_step_row *steps,
    size_t count, void *context);

/* Can it be made at all? Tools, templates, users, vacancy. */
int house_check(const json_t *facts);
/* What it would make, for people. */
void house_preview(const json_t *facts);

/* Adds a template filled in with the facts. */
int house_fill(const json_t *facts, const char *name, struct buf *out);
/* The path of a file in a folder that the facts name. */
void house_path(
    const json_t *facts, const char *folder, const char *file, struct buf *out);
/* Writes a file to the folder that is to be `etc`. */
int house_write(
    struct house *house, const char *name, mode_t mode, struct slice content);

/* Writes what is to be known of the host later. */
int house_write_facts(struct house *house);
/* Makes the folders on the way to a file there. */
int house_make_way(struct house *house, const char *name);

/* Makes a password for each identity of this host, and its hash. */
void house_make_secrets(json_t *facts);
/* Sets sync_password, as which this host binds at others, from its file. */
int house_read_password(json_t *facts);
/* Copies the passwords from one object to another; EX_DATAERR when one is
 * missing, without a complaint.
 */
int house_take_secrets(json_t *to, const json_t *from);

/* Loads a file of entries as they are, contextCSN included. */
int house_load_file(struct house *house, const char *path);

/* The steps that all have in common. */
house_step house_open;        /* the folders */
house_step house_write_files; /* configuration, and secrets of daemons */
house_step house_start_slapd; /* one for us alone, on a socket */
house_step house_stop_slapd;
house_step house_put_in_place; /* owners, renaming, cn=config */

/* Adds what templates need and follows from the rest: DNs, paths, lists. */
void house_complete(json_t *facts);
/* Adds a file of the host's configuration, by its name there. */
int house_fill_file(const json_t *facts, const char *name, struct buf *out);
/* Has slapd write its configuration, from what is in place. */
int house_write_config(struct house *house);
/* Loads entries into the database that is made. */
int house_load(struct house *house, struct slice ldif);
/* The URI of the slapd that is started for us. */
const char *house_uri(const struct house *house);

#endif
