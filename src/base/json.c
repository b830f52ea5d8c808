/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Escaping. */
#include "json.h"

#include <stdint.h>

/* Length of the sequence that @lead begins, 0 if none does; *@code gets its bits of the code. */
static size_t sequence_len(uint8_t lead, uint32_t *code)
{
	if (lead < 0x80) {
		*code = lead;
		return 1;
	}
	if (lead >= 0xc2 && lead < 0xe0) {
		*code = lead & 0x1f;
		return 2;
	}
	if (lead >= 0xe0 && lead < 0xf0) {
		*code = lead & 0x0f;
		return 3;
	}
	if (lead >= 0xf0 && lead < 0xf5) {
		*code = lead & 0x07;
		return 4;
	}
	return 0;
}

/* Length of the character at @bytes, or 0 if it is not valid UTF-8 (RFC 3629). */
static size_t character_len(const uint8_t *bytes, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t code;
	size_t need = sequence_len(bytes[0], &code);

	if (need == 0 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (bytes[i] & 0x3f);
	}
	if (code < least[need] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return need;
}

void json_string(FILE *out, const void *bytes, size_t len)
{
	const uint8_t *at = bytes, *end = at + len;

	fputc('"', out);
	while (at < end) {
		size_t step = character_len(at, (size_t)(end - at));

		if (step == 0) {
			fputs("\\ufffd", out);
			step = 1;
		} else if (*at == '"' || *at == '\\') {
			fprintf(out, "\\%c", *at);
		} else if (*at < ' ' || *at == 0x7f) {
			fprintf(out, "\\u%04x", *at);
		} else {
			fwrite(at, 1, step, out);
		}
		at += step;
	}
	fputc('"', out);
}

void plain_string(FILE *out, const void *bytes, size_t len)
{
	const uint8_t *at = bytes, *end = at + len;

	while (at < end) {
		size_t step = character_len(at, (size_t)(end - at));
		/* The second half of the control characters hides in UTF-8's c2 80 to c2 9f. */
		int control = *at < ' ' || *at == 0x7f || (*at == 0xc2 && step && at[1] < 0xa0);

		if (step == 0 || control) {
			fprintf(out, "\\x%02x", *at);
			step = 1;
		} else {
			fwrite(at, 1, step, out);
		}
		at += step;
	}
}
