/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First fit among the clusters that nobody refers to. */
#include "space.h"

#include <errno.h>

int space_take(struct check *check, uint64_t clusters, uint64_t *first)
{
	uint64_t limit = LIMIT_HOST_OFFSET >> check->g.cluster_bits, run = 0, cluster = 1;

	for (; run < clusters && cluster < limit; cluster++)
		run = refs_count(&check->refs, cluster) ? 0 : run + 1;
	if (run < clusters)
		return why_set(check->why, -EFBIG, "%s: no space for a table of %llu clusters",
			       check->file->name, (unsigned long long)clusters);
	*first = cluster - clusters;
	for (uint64_t i = 0; i < clusters; i++)
		if (refs_add_metadata(&check->refs, *first + i, 1))
			return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
	return 0;
}
