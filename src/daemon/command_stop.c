/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd stop: ask a daemon to stop, and wait until it has. */
#include "client.h"
#include "commands.h"

#include <errno.h>

enum stop_status { STOP_OK, STOP_FAILED, STOP_USAGE };

struct stop_command {
	struct command_options common;
	bool json;
};

#define AT(field) offsetof(struct stop_command, field)

static const struct option_row rows[] = {
	{ "json", NULL, "print the result as a JSON object", FLAG, AT(json), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "stop",
	.operand = "NAME|DEVICE",
	.least = 1,
	.most = 1,
	.about = "Stop a device as SIGTERM to its daemon does, and wait until it is gone and its\n"
		 "image closed.\n",
	.ending =
		"Exit status: 0 stopped; 1 no such device, or the stop went wrong; 2 wrong command\n"
		"line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

int command_stop(char **argv)
{
	struct stop_command command = { 0 };
	struct registry_entry entry;
	struct report report;
	struct why why;
	int err, status;

	if (!command_parse(&usage, &command.common, argv, STOP_USAGE, &status))
		return status;
	err = client_find(command.common.operand[0], &entry, &why);
	if (!err)
		err = client_ask(entry.name, "stop", 0, &report, &why);
	if (err)
		log_error("%s", why.text);
	else
		report_free(&report);
	if (!err && command.json)
		printf("{\n    \"name\": \"%s\",\n    \"device\": \"%s\",\n    \"stopped\": true\n}\n",
		       entry.name, entry.device);
	return command_end(err ? STOP_FAILED : STOP_OK, STOP_FAILED);
}
