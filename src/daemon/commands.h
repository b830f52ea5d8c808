/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: what the program does to an image instead of serving it. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "checker.h"
#include "rows.h"

struct command {
	const char *name;
	const char *help; /* one line */
	int (*run)(char **argv); /* @argv: behind the name; returns the exit status */
};

/* The command of that name, or NULL. */
const struct command *command_find(const char *name);

/* The list of commands for --help, on standard output. */
void commands_help(void);

/* --- for commands that take options and one image ----------------------------------------------- */

/* First member of a command's own structure of options. */
struct command_options {
	const char *image;
	bool help;
};

/*
 * Parse @argv by @rows into the structure that @options is the beginning of.  0, or -EINVAL with the sentence;
 * --help makes the image optional.
 */
int command_parse(const struct option_rows *rows, struct command_options *options, char **argv,
		  struct why *why);

/* Print usage, @about and the rows on standard output. */
void command_help(const char *name, const char *about, const struct option_rows *rows);

/*
 * Open the image @name and lock it against writers, or, @write, against everybody.  0, or -errno
 * with the sentence; on success @file->fd is the caller's to close.
 */
int command_open(struct check_file *file, const char *name, bool write, struct why *why);

/* The exit status when everything has been printed: @status, or @failed if it could not be. */
int command_end(int status, int failed);

int command_check(char **argv);
int command_info(char **argv);

#endif
