/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of L2 tables, judged word by word. */
#include "entry.h"

#define L2_RESERVED UINT64_C(0x3f000000000001fe)

static struct entry judge_stream(const struct geometry *g, bool data_file, struct l2_word word)
{
	struct compressed_range range = l2_compressed_range(g, word.entry & ~ENTRY_COPIED);
	struct entry out = { .kind = ENTRY_STREAM, .host = range.off, .len = range.len };

	if (word.entry & ENTRY_COPIED)
		out.faults |= ENTRY_COPIED_STREAM;
	if (data_file)
		out.faults |= ENTRY_STREAM_OUTSIDE;
	else if (word.bitmap)
		out.faults |= ENTRY_STREAM_BITMAP;
	/* With a bitmap it can be read all the same, and so is not to be given to others. */
	if (out.faults & ENTRY_STREAM_OUTSIDE)
		out.len = 0;
	return out;
}

/* A place in the external data file may be at offset 0; COPIED says that it is one. */
static bool is_empty(bool data_file, uint64_t entry)
{
	return (entry & ENTRY_HOST_MASK) == 0 && !(data_file && (entry & ENTRY_COPIED));
}

struct entry entry_judge(const struct geometry *g, bool data_file, struct l2_word word)
{
	struct entry out = {
		.kind = ENTRY_CLUSTER,
		.copied = word.entry & ENTRY_COPIED,
		.host = { word.entry & ENTRY_HOST_MASK },
		.len = data_file ? 0 : g->cluster_bytes,
	};

	if (word.entry & ENTRY_COMPRESSED)
		return judge_stream(g, data_file, word);
	if (word.entry & L2_RESERVED)
		out.faults |= ENTRY_RESERVED_BITS;
	if (is_empty(data_file, word.entry)) {
		out.kind = ENTRY_EMPTY;
		out.len = 0;
		if (word.bitmap & BITMAP_ALL_DATA)
			out.faults |= ENTRY_BITS_WITHOUT_CLUSTER;
		return out;
	}
	if (word.bitmap >> SUBCLUSTERS & word.bitmap)
		out.faults |= ENTRY_BOTH_BITS;
	if (!is_aligned(out.host.byte, g->cluster_bytes))
		out.faults |= ENTRY_MISALIGNED;
	return out;
}

/* Is there data behind a misaligned entry that somebody might want to save by hand? */
static bool holds_data(const struct geometry *g, struct l2_word word)
{
	if (g->extended)
		return word.bitmap & BITMAP_ALL_DATA;
	return !(word.entry & ENTRY_ZERO);
}

bool entry_mend(const struct geometry *g, bool data_file, struct l2_word *word)
{
	unsigned faults = entry_judge(g, data_file, *word).faults;

	if (faults & ENTRY_COPIED_STREAM) {
		word->entry &= ~ENTRY_COPIED;
		return true;
	}
	if (!(faults & ENTRY_MISALIGNED) || holds_data(g, *word))
		return false;
	/* Subclusters that say nothing are the backing file's. */
	*word = g->extended ? (struct l2_word){ 0, word->bitmap & BITMAP_ALL_ZERO } :
			      (struct l2_word){ ENTRY_ZERO, 0 };
	return true;
}

const char *entry_fault_text(unsigned faults)
{
	static const char *const text[] = {
		"reserved bits are set",
		"not aligned to a cluster",
		"a compressed cluster must not be marked as copied",
		"a compressed cluster has subclusters",
		"a compressed cluster in an external data file",
		"a subcluster both holds data and is zero",
		"subclusters hold data, but there is no cluster",
	};

	return faults ? text[__builtin_ctz(faults)] : "";
}
