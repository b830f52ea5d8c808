/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of commands, and what they have in common. */
#include "commands.h"
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct command commands[] = {
	{ "check", "look for corruption and leaks, and repair them", command_check },
	{ "info", "tell what an image says about itself", command_info },
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

int command_parse(const struct option_rows *rows, struct command_options *options, char **argv,
		  struct why *why)
{
	while (*argv) {
		int words = 1;

		if (strncmp(*argv, "--", 2) == 0)
			words = rows_parse(rows, options, argv, why);
		else if (options->image)
			return why_set(why, -EINVAL, "%s: one image is enough", *argv);
		else
			options->image = *argv;
		if (words < 0)
			return words;
		argv += words;
	}
	return options->image || options->help ? 0 : why_set(why, -EINVAL, "IMAGE is missing");
}

void command_help(const char *name, const char *about, const struct option_rows *rows)
{
	printf("Usage: qcow2-ublkd %s [OPTION...] IMAGE\n%s\n", name, about);
	rows_help(rows);
}

/* Opening must not wait for the other end of a pipe. */
static int open_plain(const char *name, bool write, struct why *why)
{
	int fd = open(name, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat stat;

	if (fd < 0)
		return why_set(why, -errno, "%s: %m", name);
	if (fstat(fd, &stat) == 0 && (S_ISREG(stat.st_mode) || S_ISBLK(stat.st_mode)))
		return fd;
	close(fd);
	return why_set(why, -EINVAL, "%s: neither a regular file nor a block device", name);
}

int command_open(struct check_file *file, const char *name, bool write, struct why *why)
{
	int err;

	*file = (struct check_file){ .fd = open_plain(name, write, why), .name = name };
	if (file->fd < 0)
		return file->fd;
	err = lock_image(file->fd, name, !write, why);
	if (err)
		close(file->fd);
	return err;
}

int command_end(int status, int failed)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	log_error("standard output: %m");
	return failed;
}
