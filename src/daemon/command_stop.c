/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd stop: ask a daemon to stop, and wait until it has; or do it for a dead one. */
#include "client.h"
#include "commands.h"
#include "identity.h"
#include "ownership.h"
#include "privileges.h"
#include "remove.h"
#include "users.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum stop_status { STOP_OK, STOP_FAILED, STOP_USAGE };

struct stop_command {
	struct command_options common;
	bool force;
	bool json;
};

#define AT(field) offsetof(struct stop_command, field)

static const struct option_row rows[] = {
	{ "force", NULL,
	  "also when it is mounted or held: what is dirty is written first, but not if the\n"
	  "daemon is dead",
	  FLAG, AT(force), 0, 0, 0 },
	{ "json", NULL, "print the result as a JSON object", FLAG, AT(json), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "stop",
	.operand = "NAME|DEVICE",
	.least = 1,
	.most = 1,
	.about =
		"Stop a device, and wait until it is gone and its image closed. A device whose daemon\n"
		"was killed is removed; what it has left for the image is kept for the next one.\n",
	.ending =
		"Exit status: 0 stopped; 1 no such device, it is in use, or the stop went wrong;\n"
		"2 wrong command line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

/* --- devices without a daemon -------------------------------------------------------------------- */

static int check_dead(int32_t id, bool force, struct why *why)
{
	static struct users_disk disk;
	pid_t holder = ownership_holder(id);
	char users[256] = "";

	if (holder)
		return why_set(why, -EBUSY,
			       "/dev/ublkb%" PRId32 ": process %d serves it and has no control "
			       "socket; send SIGTERM to it",
			       id, (int)holder);
	if (!force && users_disk(&disk, id))
		users_describe(&disk, users, sizeof(users));
	if (users[0])
		return why_set(
			why, -EBUSY,
			"/dev/ublkb%" PRId32 ": its daemon is dead, but it is in use: %s; start "
			"the daemon again, or use --force, with which it loses what is not written",
			id, users);
	return 0;
}

static int remove_dead(const char *device, bool force, struct why *why)
{
	int32_t id;
	char end;
	int err;

	if (sscanf(device, "/dev/ublkb%" SCNd32 "%c", &id, &end) != 1)
		return why_set(why, -ENODEV, "%s: its daemon is gone, and with it its device",
			       device[0] ? device : "the name");
	err = check_dead(id, force, why);
	if (!err)
		err = device_remove(id, force, identity_is_mark, controller_confine, why);
	if (err)
		return err;
	ownership_clear_away();
	registry_clear_away();
	return 0;
}

/* --- the command --------------------------------------------------------------------------------- */

static int stop(const struct stop_command *command, struct registry_entry *entry, struct why *why)
{
	const char *which = command->common.operand[0];
	struct report report;
	int err = client_find(which, entry, why);

	if (err == -ENOENT && strchr(which, '/')) {
		/* Nobody's in the register, but perhaps a dead one of ours all the same. */
		*entry = (struct registry_entry){ 0 };
		snprintf(entry->device, sizeof(entry->device), "%.31s", which);
		return remove_dead(which, command->force, why);
	}
	if (err)
		return err;
	if (!entry->alive)
		return remove_dead(entry->device, command->force, why);
	err = client_ask(entry->name, command->force ? "stop force" : "stop", 0, &report, why);
	if (!err)
		report_free(&report);
	return err;
}

int command_stop(char **argv)
{
	struct stop_command command = { 0 };
	struct registry_entry entry;
	struct why why;
	int err, status;

	if (!command_parse(&usage, &command.common, argv, STOP_USAGE, &status))
		return status;
	err = stop(&command, &entry, &why);
	if (err)
		log_error("%s", why.text);
	if (!err && command.json)
		printf("{\n    \"name\": \"%s\",\n    \"device\": \"%s\",\n    \"stopped\": true\n}\n",
		       entry.name, entry.device);
	return command_end(err ? STOP_FAILED : STOP_OK, STOP_FAILED);
}
