/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulator's judge for real files: `judge_file IMAGE`, with the exit codes of qemu-img check. */
#include "hostfile.h"
#include "judge.h"

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct sparse file;
	struct verdict verdict;

	if (argc != 2) {
		fprintf(stderr, "usage: judge_file IMAGE\n");
		return 1;
	}
	sparse_init(&file);
	if (!hostfile_load(&file, argv[1]))
		return 1;
	verdict = judge(&file, NULL, NULL);
	printf("%" PRIu64 " corruptions %s\n%" PRIu64 " leaks %s\n", verdict.corruptions,
	       verdict.why, verdict.leaks, verdict.leak);
	return verdict.corruptions ? 2 : verdict.leaks ? 3 : 0;
}
