/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of options: the daemon has one, and each command. */
#ifndef ROWS_H
#define ROWS_H

#include "backing.h"
#include "base.h"

enum kind {
	FLAG, /* bool */
	FLAG_OF_LINE, /* the same, on the command line only */
	TEXT, /* const char * */
	TEXT_OF_LINE,
	NUMBER, /* uint64_t or int64_t */
	SIZE, /* the same, with a suffix */
	CHOICE, /* unsigned or an enum: position among the words of the argument */
	WORD, /* const char *: one of the words of the argument */
	FOLDERS, /* struct allow_paths; may be given more than once */
};

struct option_row {
	const char *name;
	const char *argument; /* NULL: none */
	const char *help; /* lines after the first are indented by the printer */
	enum kind kind;
	size_t at; /* in the structure that is filled */
	uint64_t least, most; /* of a number or size */
	uint64_t multiple; /* of a size; 0: any */
};

struct option_rows {
	const struct option_row *row;
	size_t rows;
};

/*
 * Take the option at argv[0], --name, --name VALUE or --name=VALUE, into the structure @options:
 * the number of words, or -EINVAL with the sentence.
 */
int rows_parse(const struct option_rows *rows, void *options, char **argv, struct why *why);

/*
 * Set option @name, as a configuration file has it, to @value, which is yes or no for a flag, in
 * the structure @options.  Rows of the command line are no options here.  -EINVAL with the sentence.
 */
int rows_set(const struct option_rows *rows, void *options, const char *name, const char *value,
	     struct why *why);

/* A size as rows of that kind have it: digits, and k, M or G behind them. */
bool rows_size(const char *text, uint64_t *bytes);

/* The rows' part of --help, on standard output. */
void rows_help(const struct option_rows *rows);

#endif
