/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A copy of the file, checked. */
#include "soundness.h"

#include "checker.h"
#include "report.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char first[256]; /* finding */

static void on_finding(void *arg, const char *text)
{
	(void)arg;
	if (!first[0])
		snprintf(first, sizeof(first), "%s", text);
}

static bool fill(int fd, const struct sparse *file)
{
	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)file->size))
		return false;
	for (uint64_t i = 0; i < file->nused; i++) {
		uint64_t at = file->used[i] << PAGE_SHIFT;
		uint64_t len = at < file->size ? min_u64(PAGE_BYTES, file->size - at) : 0;

		if (len && pwrite(fd, sparse_at(file, at), len, (off_t)at) != (ssize_t)len)
			return false;
	}
	return true;
}

bool soundness_of(const struct sparse *file)
{
	static struct check_file copy = { .fd = -1, .name = "fuzz" };
	struct check_options options = { .finding = on_finding };
	struct check_result result;
	struct why why = { "" };

	first[0] = '\0';
	if (copy.fd < 0)
		copy.fd = memfd_create("fuzz", MFD_CLOEXEC);
	must(copy.fd >= 0);
	if (!fill(copy.fd, file))
		return false;
	if (check_image(&copy, &options, &result, &why)) {
		on_finding(NULL, why.text);
		return false;
	}
	return !result.corruptions && !result.check_errors;
}

void soundness_demand(const struct sparse *file)
{
	if (!soundness_of(file))
		sim_fail("a sound image is no longer sound: %s", first);
}
