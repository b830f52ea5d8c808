/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "backing.h"
#include "base.h"

enum cache { CACHE_NONE, CACHE_WRITEBACK };

struct options {
	const char *image;
	const char *backing_format; /* of files whose format is not recorded; NULL: refuse them */
	struct allow_paths allow;
	const char *key_file; /* of encrypted images; "-": standard input; NULL: none named */
	const char *snapshot; /* of the image, to be served read-only; NULL: none */
	const char *run; /* NULL: none */
	const char *name; /* of the device; NULL: after the image's file */
	uint64_t queues;
	uint64_t depth;
	int64_t device_id; /* -1: any */
	uint64_t max_io; /* bytes */
	uint64_t l2_cache; /* bytes; 0: as much as the image needs, within limits */
	enum cache cache;
	bool read_only;
	bool no_recovery; /* the device ends with its daemon */
	bool force_stop; /* stop although the device is in use */
	bool abandon; /* what a killed daemon has left */
	bool verbose;
	bool help;
	bool version;
};

/*
 * Defaults, then the command line, @argv as main() got it.  -EINVAL with the sentence in @why; --help and --version
 * make everything else optional.
 */
int options_parse(struct options *options, char **argv, struct why *why);

/* The text of --help, on standard output. */
void options_help(void);

#endif
