/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: what the program does instead of serving an image. */
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

/* --- what commands have in common ---------------------------------------------------------------- */

#define OPERANDS_MAX 64u

/* How a command is called. */
struct command_usage {
	const char *name;
	const char *operand; /* as --help calls it; NULL: the command takes none */
	unsigned least, most; /* operands */
	const char *about; /* paragraphs of --help, each with its newline */
	const char *ending; /* the last of them */
	struct option_rows rows;
};

/* First member of a command's own structure of options. */
struct command_options {
	const char *operand[OPERANDS_MAX];
	unsigned operands;
	bool help;
};

/*
 * Parse @argv by @usage into the structure that @options is the beginning of: true.  Else the
 * command ends with *@status: --help was asked for and is printed, or a message says what is
 * wrong and the status is @wrong.
 */
bool command_parse(const struct command_usage *usage, struct command_options *options, char **argv,
		   int wrong, int *status);

/*
 * Open the image @name and lock it against writers, or, @write, against everybody.  0, or -errno
 * with the sentence; on success @file->fd is the caller's to close.
 */
int command_open(struct check_file *file, const char *name, bool write, struct why *why);

/* The exit status when everything has been printed: @status, or @failed if it could not be. */
int command_end(int status, int failed);

int command_check(char **argv);
int command_info(char **argv);
int command_list(char **argv);
int command_resize(char **argv);
int command_status(char **argv);
int command_stop(char **argv);
int command_top(char **argv);
int command_upgrade(char **argv);

#endif
