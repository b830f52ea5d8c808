/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Check an image, repair it, and tell what is in it.  Plain blocking I/O; any one thread. */
#ifndef CHECKER_H
#define CHECKER_H

#include "base.h"

#include <stdio.h>

/* The image file.  The caller opens it, without O_DIRECT, locks it, and keeps it open. */
struct check_file {
	int fd; /* to repair: open for writing */
	const char *name; /* for messages */
};

enum check_repair {
	CHECK_ONLY, /* the file is not written to */
	CHECK_REPAIR_LEAKS, /* lower refcounts that are too high; COPIED flags, if else all is well */
	CHECK_REPAIR_ALL,
};

struct check_options {
	enum check_repair repair;
	/* For counters, and a quarter of it for the list of L2 tables; 0: LIMIT_CHECK_BYTES. */
	uint64_t memory_bytes;
	/* When something is found that no repair can put right, nothing is repaired: -EUCLEAN. */
	bool all_or_nothing;
	void *arg; /* of the callbacks */
	/* A finding or a repair, one line; NULL: nobody wants to know. */
	void (*finding)(void *arg, const char *text);
	/*
	 * @done of @all reads of L2 tables, before each of them; a repair looks more than once,
	 * each time from 0 on.  NULL: nobody wants to know.
	 */
	void (*progress)(void *arg, uint64_t done, uint64_t all);
	/* Asked again and again: true ends it with -ECANCELED.  NULL: never. */
	bool (*cancelled)(void *arg);
};

/* What was found; after a repair what is left.  Numbers of findings, unless a unit is named. */
struct check_result {
	uint64_t check_errors; /* refcounts that could not be determined */
	uint64_t corruptions;
	uint64_t lasting; /* what no repair puts right, by what is known without trying */
	uint64_t leaks; /* clusters */
	uint64_t corruptions_fixed;
	uint64_t leaks_fixed;
	uint64_t image_end_bytes; /* behind the last host cluster in use */
	uint64_t total_clusters; /* of the guest's disk, as are those below */
	uint64_t allocated_clusters;
	uint64_t fragmented_clusters; /* do not follow the cluster before them in the file */
	uint64_t compressed_clusters;
};

/*
 * Check the image, and repair it as far as the options say (specification: all of it).  A repair
 * that is interrupted at any time leaves the image no worse than it was; dirty and corrupt marks
 * go when nothing is left to repair.  Memory is proportional to the metadata that the file has,
 * and limited by the options.
 *
 * 0 and the result; or -errno and a sentence when the check could not be done: -EINVAL for a
 * header or a directory that cannot be understood, -EIO, -ENOMEM, -ECANCELED, and -EUCLEAN when
 * leaks cannot be repaired without the rest, or with all_or_nothing.  With an error the result is
 * partial; a repair that was cancelled is one that was interrupted.
 */
int check_image(struct check_file *file, const struct check_options *options,
		struct check_result *result, struct why *why);

/* The exit statuses of qemu-img check. */
enum check_status { CHECK_CLEAN, CHECK_FAILED, CHECK_CORRUPT, CHECK_LEAKS };

enum check_status check_status(const struct check_result *result);

/* The result for humans, or as one JSON object with the keys of qemu-img check. */
void check_print(const struct check_result *result, FILE *out);
void check_print_json(const struct check_result *result, const char *name, FILE *out);

/*
 * Print what the image says about itself, from its own file alone, for humans or as one JSON
 * object.  Nothing is printed on error: -errno and the sentence.
 */
int image_info_print(struct check_file *file, bool json, FILE *out, struct why *why);

#endif
