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

static const struct option_rows table = { rows, ARRAY_SIZE(rows) };

static int info(const struct info_command *command)
{
	struct check_file file;
	struct why why;
	int err = command_open(&file, command->common.image, false, &why);

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
	struct why why;

	if (command_parse(&table, &command.common, argv, &why)) {
		fprintf(stderr, "qcow2-ublkd info: %s\nTry qcow2-ublkd info --help\n", why.text);
		return INFO_USAGE;
	}
	if (!command.common.help)
		return info(&command);
	command_help("info", "Print what a qcow2 image says about itself; opens no other file.\n",
		     &table);
	printf("\nExit status: 0 printed; 1 the image cannot be read; 2 wrong command line.\n");
	return command_end(INFO_OK, INFO_FAILED);
}
