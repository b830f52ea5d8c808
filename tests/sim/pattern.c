/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes that tell whose they are. */
#include "pattern.h"

#include <inttypes.h>
#include <stdio.h>

#define PATTERN_KEY UINT64_C(0xd1342543de82ef95)
#define PATTERN_KEY_INVERSE UINT64_C(0x572b5ee77a54e3bd)
#define PATTERN_STEP UINT64_C(0x2545f4914f6cdd1d)
#define PATTERN_WORDS (SECTOR_SIZE / sizeof(uint64_t))

void pattern_fill(uint8_t *bytes, uint64_t sector, version_t version)
{
	uint64_t word = (sector << 32 | version) * PATTERN_KEY;

	for (unsigned i = 0; i < PATTERN_WORDS; i++, word += PATTERN_STEP)
		memcpy(bytes + i * sizeof(word), &word, sizeof(word));
}

enum content pattern_content(const uint8_t *bytes, uint64_t *sector, version_t *version)
{
	uint64_t words[PATTERN_WORDS], step, different = 0;

	memcpy(words, bytes, sizeof(words));
	step = words[1] - words[0];
	for (unsigned i = 1; i < PATTERN_WORDS; i++)
		different |= (words[i] - words[i - 1]) ^ step;
	*version = 0;
	if (step == 0 && words[0] == 0 && !different)
		return CONTENT_ZEROS;
	if (step != PATTERN_STEP || different)
		return CONTENT_GARBAGE;
	*sector = words[0] * PATTERN_KEY_INVERSE >> 32;
	*version = (version_t)(words[0] * PATTERN_KEY_INVERSE);
	return CONTENT_PATTERN;
}

void pattern_describe(const uint8_t *bytes, char *text, size_t len)
{
	uint64_t sector = 0;
	version_t version;

	switch (pattern_content(bytes, &sector, &version)) {
	case CONTENT_ZEROS:
		snprintf(text, len, "zeros");
		break;
	case CONTENT_PATTERN:
		snprintf(text, len, "sector %" PRIu64 " version %u", sector, version);
		break;
	case CONTENT_GARBAGE:
		snprintf(text, len, "garbage %02x %02x %02x %02x", bytes[0], bytes[1], bytes[2],
			 bytes[3]);
		break;
	}
}
