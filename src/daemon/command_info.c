/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd info: what an image says about itself; opens no other file. */
#include "commands.h"

#include <unistd.h>

enum info_status { INFO_OK, INFO_FAILED, INFO_USAGE };

struct info_command {
	struct command_options common;
	bool json;
};

#define AT(field) offsetof(struct info_command, field)

static const struct option_row rows[] = {
	{ "json", NULL, "print one JSON object, with the keys of qemu-img info", FLAG, AT(json), 0,
	  0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "info",
	.operand = "IMAGE",
	.least = 1,
	.most = 1,
	.about = "Print what a qcow2 image says about itself; opens no other file.\n",
	.ending = "Exit status: 0 printed; 1 the image cannot be read; 2 wrong command line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

static int info(const struct info_command *command)
{
	struct check_file file;
	struct why why;
	int err = command_open(&file, command->common.operand[0], false, &why);

	if (!err) {
		err = image_info_print(&file, command->json, stdout, &why);
		close(file.fd);
	}
	if (err)
		log_error("%s", why.text);
	return command_end(err ? INFO_FAILED : INFO_OK, INFO_FAILED);
}

int command_info(char **argv)
{
	struct info_command command = { 0 };
	int status;

	if (!command_parse(&usage, &command.common, argv, INFO_USAGE, &status))
		return status;
	return info(&command);
}
