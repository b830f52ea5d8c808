/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of commands, and what they have in common. */
#include "commands.h"
#include "file.h"
#include "lock.h"

#include <errno.h>

static const struct command commands[] = {
	{ "check", "look for corruption and leaks, and repair them", command_check },
	{ "info", "tell what an image says about itself", command_info },
	{ "list", "list the devices of this machine", command_list },
	{ "resize", "make a disk larger or smaller while it is used", command_resize },
	{ "status", "tell what a device does", command_status },
	{ "stop", "stop a device", command_stop },
	{ "top", "show what devices do, again and again", command_top },
	{ "upgrade", "have this program go on with a device, under load", command_upgrade },
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

void commands_help(void)
{
	printf("\nCommands, each with its own --help:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-22s  %s\n", commands[i].name, commands[i].help);
}

static int parse(const struct command_usage *usage, struct command_options *options, char **argv,
		 struct why *why)
{
	while (*argv) {
		int words = 1;

		if (strncmp(*argv, "--", 2) == 0)
			words = rows_parse(&usage->rows, options, argv, why);
		else if (options->operands == usage->most)
			return why_set(why, -EINVAL, "%s: one argument too many", *argv);
		else
			options->operand[options->operands++] = *argv;
		if (words < 0)
			return words;
		argv += words;
	}
	if (options->operands < usage->least && !options->help)
		return why_set(why, -EINVAL, "%s is missing", usage->operand);
	return 0;
}

static void print_help(const struct command_usage *usage)
{
	bool optional = usage->least == 0, many = usage->most > 1;

	printf("Usage: qcow2-ublkd %s [OPTION...]", usage->name);
	if (usage->operand)
		printf(" %s%s%s%s", optional ? "[" : "", usage->operand, many ? "..." : "",
		       optional ? "]" : "");
	printf("\n%s\n", usage->about);
	rows_help(&usage->rows);
	printf("\n%s", usage->ending);
}

bool command_parse(const struct command_usage *usage, struct command_options *options, char **argv,
		   int wrong, int *status)
{
	struct why why;

	must(usage->most <= OPERANDS_MAX);
	*status = wrong;
	if (parse(usage, options, argv, &why)) {
		fprintf(stderr, "qcow2-ublkd %s: %s\nTry qcow2-ublkd %s --help\n", usage->name,
			why.text, usage->name);
		return false;
	}
	if (!options->help)
		return true;
	print_help(usage);
	*status = command_end(0, wrong);
	return false;
}

int command_open(struct check_file *file, const char *name, bool write, struct why *why)
{
	struct file_options options = { .read_only = !write };
	struct file found;
	int err = file_find(&found, name, &options, why);

	if (err)
		return err;
	err = file_open_found(&found, why);
	/* Else its sentence is for who serves it. */
	if (err == -ENOENT)
		return err;
	if (err)
		return why_set(why, err, "%s: %s", name, strerror(-err));
	err = file_claim(&found, LOCK_PATIENCE_MS, why);
	if (!err)
		err = lock_image(found.fd, name, !write, LOCK_PATIENCE_MS, why);
	if (err)
		file_close(&found);
	*file = (struct check_file){ .fd = found.fd, .name = name };
	return err;
}

int command_end(int status, int failed)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	log_error("standard output: %m");
	return failed;
}
