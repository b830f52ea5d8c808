/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First fit among the clusters that nobody refers to. */
#include "space.h"

#include <errno.h>

int space_take(struct check *check, uint64_t clusters, uint64_t *first)
{
	uint64_t limit = check->uncounted_byte >> check->g.cluster_bits, run = 0;
	uint64_t cluster = max_u64(check->first_free, 1);

	for (; run < clusters && cluster < limit; cluster++)
		run = refs_count(&check->refs, cluster) ? 0 : run + 1;
	if (run < clusters)
		return why_set(check->why, -EFBIG,
			       "%s: no space for a table of %llu clusters: everything up to %#llx "
			       "is in use; make the file larger with truncate, and repair again",
			       check->file->name, (unsigned long long)clusters,
			       (unsigned long long)check->uncounted_byte);
	*first = cluster - clusters;
	/* What is skipped for lack of neighbours may do for somebody else. */
	if (clusters == 1)
		check->first_free = cluster;
	for (uint64_t i = 0; i < clusters; i++)
		if (refs_add_metadata(&check->refs, *first + i, 1))
			return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
	return 0;
}
