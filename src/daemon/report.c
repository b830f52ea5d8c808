/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines `key value`: written, read, and put together as JSON. */
#include "report.h"
#include "json.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define INDENT 4

/* --- writing ------------------------------------------------------------------------------------- */

void report_text(FILE *out, const char *key, const char *value)
{
	fprintf(out, "%s ", key);
	json_string(out, value, strlen(value));
	fputc('\n', out);
}

void report_number(FILE *out, const char *key, uint64_t value)
{
	fprintf(out, "%s %" PRIu64 "\n", key, value);
}

void report_flag(FILE *out, const char *key, bool value)
{
	fprintf(out, "%s %s\n", key, value ? "true" : "false");
}

/* --- reading ------------------------------------------------------------------------------------- */

static bool parse_line(struct report *report, char *line)
{
	char *blank = strchr(line, ' ');

	if (!blank || blank == line || report->lines == REPORT_LINES_MAX)
		return false;
	*blank = '\0';
	report->line[report->lines++] = (struct report_line){ line, blank + 1 };
	return true;
}

int report_parse(struct report *report, char *text)
{
	size_t lines = 0;
	char *line = text, *end;

	*report = (struct report){ .text = text };
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	report->line = calloc(lines + 1, sizeof(*report->line));
	if (!report->line) {
		report_free(report);
		return -ENOMEM;
	}
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		if (!end || !parse_line(report, line)) {
			report_free(report);
			return -EPROTO;
		}
	}
	return 0;
}

void report_free(struct report *report)
{
	free(report->line);
	free(report->text);
	*report = (struct report){ 0 };
}

const char *report_find(const struct report *report, const char *key)
{
	for (size_t i = 0; i < report->lines; i++)
		if (strcmp(report->line[i].key, key) == 0)
			return report->line[i].value;
	return NULL;
}

uint64_t report_get(const struct report *report, const char *key)
{
	const char *value = report_find(report, key);

	return value && isdigit((unsigned char)value[0]) ? strtoull(value, NULL, 10) : 0;
}

bool report_is(const struct report *report, const char *key)
{
	const char *value = report_find(report, key);

	return value && strcmp(value, "true") == 0;
}

/* The byte that an escape stands for.  Our own writer makes no others than these. */
static char unescape(const char **at)
{
	unsigned code = 0;

	++*at;
	if (**at != 'u')
		return **at ? *(*at)++ : '?';
	if (sscanf(*at + 1, "%4x", &code) != 1 || strlen(*at) < 5) {
		*at += strlen(*at);
		return '?';
	}
	*at += 5;
	return code < 0x80 ? (char)code : '?';
}

char *report_get_text(const struct report *report, const char *key, char *text, size_t size)
{
	const char *at = report_find(report, key);
	size_t len = 0;

	if (at && *at == '"') {
		at++;
		while (*at && *at != '"' && len + 1 < size)
			text[len++] = *at == '\\' ? unescape(&at) : *at++;
	}
	text[len] = '\0';
	return text;
}

/* --- JSON ---------------------------------------------------------------------------------------- */

static size_t word_len(const char *key)
{
	return strcspn(key, ".");
}

static const char *next_word(const char *key)
{
	key += word_len(key);
	return *key ? key + 1 : NULL;
}

static bool in_list(const char *word)
{
	return isdigit((unsigned char)word[0]);
}

static void new_line(FILE *out, unsigned depth)
{
	fprintf(out, "\n%*s", (int)(depth * INDENT), "");
}

/* Are the first @words of both the same? */
static bool same_path(const char *a, const char *b, unsigned words)
{
	for (; words > 0; words--) {
		size_t len = word_len(a);

		if (len != word_len(b) || memcmp(a, b, len) != 0)
			return false;
		a = next_word(a);
		b = next_word(b);
		if (words > 1 && (!a || !b))
			return false;
	}
	return true;
}

static const char *nth_word(const char *key, unsigned n)
{
	while (key && n-- > 0)
		key = next_word(key);
	return key;
}

/*
 * Print lines from @i on as the members of one object or list, whose path are the first @depth
 * words of their keys; returns the first line that is none of them.
 */
static size_t print_members(const struct report *report, FILE *out, size_t i, unsigned depth,
			    unsigned indent)
{
	const char *path = i < report->lines ? report->line[i].key : "";
	bool list = i < report->lines && in_list(nth_word(path, depth));
	bool first = true;

	fputc(list ? '[' : '{', out);
	while (i < report->lines && same_path(report->line[i].key, path, depth)) {
		const char *word = nth_word(report->line[i].key, depth);

		if (!word)
			break;
		fputs(first ? "" : ",", out);
		first = false;
		new_line(out, indent + 1);
		if (!list)
			fprintf(out, "\"%.*s\": ", (int)word_len(word), word);
		if (next_word(word))
			i = print_members(report, out, i, depth + 1, indent + 1);
		else
			fputs(report->line[i++].value, out);
	}
	new_line(out, indent);
	fputc(list ? ']' : '}', out);
	return i;
}

void report_print_json(const struct report *report, FILE *out, unsigned indent)
{
	print_members(report, out, 0, 0, indent);
}
