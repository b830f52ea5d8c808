/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest writes: every sector names itself and the version of its content. */
#ifndef PATTERN_H
#define PATTERN_H

#include "base.h"

/* Time in the model; a change is named by when it started. */
typedef uint32_t version_t;

enum content { CONTENT_ZEROS, CONTENT_PATTERN, CONTENT_GARBAGE };

void pattern_fill(uint8_t *bytes, uint64_t sector, version_t version);

/* Whose bytes are these?  *@version is 0 and *@sector untouched unless they are a pattern. */
enum content pattern_content(const uint8_t *bytes, uint64_t *sector, version_t *version);

/* The same for messages. */
void pattern_describe(const uint8_t *bytes, char *text, size_t len);

#endif
