/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files that decode the header: where they are in the bytes, and whom to blame. */
#ifndef FORMAT_DECODER_H
#define FORMAT_DECODER_H

#include "format.h"

#include <errno.h>

struct header_decoder {
	const uint8_t *bytes;
	size_t len;
	const char *name; /* of the file, for messages */
	struct qcow2_header *header; /* decoded so far */
	struct why *why;
	bool to_repair; /* tables that can be made anew may be unusable */
	uint64_t backing_off;
	uint32_t backing_len;
};

/* Return -EINVAL with a sentence about the file; for what can only be damage. */
#define damaged(d, fmt, ...) \
	why_set((d)->why, -EINVAL, "%s: " fmt "; the header is damaged", (d)->name, ##__VA_ARGS__)

/*
 * Walk the header extensions and fill the header's ranges of them.  All other fields of the
 * header are decoded and checked.  0, or -EINVAL with the sentence.
 */
int header_extensions_decode(struct header_decoder *d);

/*
 * Describe the incompatible features in @bits for a human, by the names that the file itself has
 * for them where it has.  Needs no more than the layout of the header to be checked.
 */
void header_feature_names(const struct header_decoder *d, uint64_t bits, char *text, size_t size);

#endif
