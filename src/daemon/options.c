/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One table is the parser and the text of --help; the manual page is held against it. */
#include "options.h"
#include "device.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define QUEUES_DEFAULT 4
#define DEPTH_DEFAULT 128
#define L2_CACHE_LEAST (64 * KIB)
#define L2_CACHE_MOST (64 * GIB)

enum kind { FLAG, TEXT, NUMBER, SIZE, CACHE, FORMAT, FOLDER };

struct option_row {
	const char *name;
	const char *argument; /* NULL: none */
	const char *help; /* lines after the first are indented by the printer */
	enum kind kind;
	size_t at; /* in struct options */
	uint64_t least, most; /* of a number or size */
	uint64_t multiple; /* of a size; 0: any */
};

#define AT(field) offsetof(struct options, field)

static const struct option_row rows[] = {
	{ "image", "PATH", "the qcow2 image: a file or a block device", TEXT, AT(image), 0, 0, 0 },
	{ "queues", "N", "hardware queues, a thread each (default: one per CPU, at most 4)", NUMBER,
	  AT(queues), 1, DEVICE_QUEUES_MAX, 0 },
	{ "depth", "N", "requests per queue (default: 128)", NUMBER, AT(depth), 1, DEVICE_DEPTH_MAX,
	  0 },
	{ "device-id", "N", "make /dev/ublkbN (default: the lowest that is free)", NUMBER,
	  AT(device_id), 0, DEVICE_ID_MAX, 0 },
	{ "read-only", NULL, "refuse writes, and share the image with other readers", FLAG,
	  AT(read_only), 0, 0, 0 },
	{ "cache", "none|writeback",
	  "bypass the host's page cache, where the file allows it, or use it\n(default: none)",
	  CACHE, AT(cache), 0, 0, 0 },
	{ "backing-format", "raw|qcow2",
	  "what backing files are whose format the image does not record\n"
	  "(default: refuse such images)",
	  FORMAT, AT(backing_format), 0, 0, 0 },
	{ "allow-path", "DIR",
	  "refuse backing and data files that are not below DIR; may be given more than\n"
	  "once (default: allow all)",
	  FOLDER, AT(allow), 0, 0, 0 },
	{ "max-io", "SIZE", "largest read or write request (default: 1M, at most 32M)", SIZE,
	  AT(max_io), DEVICE_MAX_IO_LEAST, DEVICE_MAX_IO_MOST, 4 * KIB },
	{ "l2-cache", "SIZE",
	  "memory for mapping tables (default: as much as the image needs,\n"
	  "at most 32M)",
	  SIZE, AT(l2_cache), L2_CACHE_LEAST, L2_CACHE_MOST, 0 },
	{ "run", "COMMAND", "run COMMAND in a shell, with $device set, and stop when it ends", TEXT,
	  AT(run), 0, 0, 0 },
	{ "verbose", NULL, "say more", FLAG, AT(verbose), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(help), 0, 0, 0 },
	{ "version", NULL, "print the version", FLAG, AT(version), 0, 0, 0 },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* --- values -------------------------------------------------------------------------------------- */

/* The factor of a suffix, or 0. */
static uint64_t suffix_factor(const char *suffix)
{
	if (suffix[0] == '\0')
		return 1;
	if (suffix[1] != '\0')
		return 0;
	switch (toupper((unsigned char)suffix[0])) {
	case 'K':
		return KIB;
	case 'M':
		return MIB;
	case 'G':
		return GIB;
	default:
		return 0;
	}
}

static bool parse_number(const char *text, bool suffixes, uint64_t *value)
{
	unsigned long long number;
	uint64_t factor;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	factor = suffixes ? suffix_factor(end) : *end == '\0';
	if (errno || factor == 0 || number > UINT64_MAX / factor)
		return false;
	*value = number * factor;
	return true;
}

static int parse_limited(const struct option_row *row, const char *text, uint64_t *value,
			 struct why *why)
{
	if (!parse_number(text, row->kind == SIZE, value))
		return why_set(why, -EINVAL, "--%s %s: not a %s", row->name, text,
			       row->kind == SIZE ? "size like 65536, 64k or 1M" : "number");
	if (*value < row->least || *value > row->most)
		return why_set(why, -EINVAL, "--%s %s: must be from %llu to %llu", row->name, text,
			       (unsigned long long)row->least, (unsigned long long)row->most);
	if (row->multiple && *value % row->multiple != 0)
		return why_set(why, -EINVAL, "--%s %s: must be a multiple of %llu", row->name, text,
			       (unsigned long long)row->multiple);
	return 0;
}

static int parse_cache(const char *text, enum cache *cache, struct why *why)
{
	if (strcmp(text, "none") == 0)
		*cache = CACHE_NONE;
	else if (strcmp(text, "writeback") == 0)
		*cache = CACHE_WRITEBACK;
	else
		return why_set(why, -EINVAL, "--cache %s: must be none or writeback", text);
	return 0;
}

static int parse_format(const char *text, const char **format, struct why *why)
{
	if (strcmp(text, "raw") != 0 && strcmp(text, "qcow2") != 0)
		return why_set(why, -EINVAL, "--backing-format %s: must be raw or qcow2", text);
	*format = text;
	return 0;
}

static int parse_folder(const char *text, struct allow_paths *allow, struct why *why)
{
	char resolved[PATH_MAX];

	if (allow->count == ALLOW_PATHS_MAX)
		return why_set(why, -EINVAL, "--allow-path: more than %d times", ALLOW_PATHS_MAX);
	if (!realpath(text, resolved))
		return why_set(why, -EINVAL, "--allow-path %s: %m", text);
	allow->path[allow->count++] = text;
	return 0;
}

static int parse_row(struct options *options, const struct option_row *row, const char *text,
		     struct why *why)
{
	void *field = (char *)options + row->at;

	switch (row->kind) {
	case FLAG:
		*(bool *)field = true;
		return 0;
	case TEXT:
		*(const char **)field = text;
		return 0;
	case NUMBER:
	case SIZE:
		return parse_limited(row, text, field, why);
	case CACHE:
		return parse_cache(text, field, why);
	case FORMAT:
		return parse_format(text, field, why);
	case FOLDER:
		return parse_folder(text, field, why);
	}
	return 0;
}

/* --- the line ------------------------------------------------------------------------------------ */

static void set_defaults(struct options *options)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	*options = (struct options){
		.queues = cpus > 0 ? min_u64((uint64_t)cpus, QUEUES_DEFAULT) : 1,
		.depth = DEPTH_DEFAULT,
		.device_id = -1,
		.max_io = MIB,
		.cache = CACHE_NONE,
	};
}

static const struct option_row *find_row(const char *name, size_t len)
{
	for (size_t r = 0; r < ROWS; r++)
		if (strlen(rows[r].name) == len && memcmp(rows[r].name, name, len) == 0)
			return &rows[r];
	return NULL;
}

/* One option at argv[0], --name, --name VALUE or --name=VALUE: the number of words, or -errno. */
static int parse_option(struct options *options, char **argv, struct why *why)
{
	const char *name = argv[0] + 2, *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_row *row = find_row(name, len);
	const char *value = equals ? equals + 1 : argv[1];
	int err;

	if (!row)
		return why_set(why, -EINVAL, "--%.*s: no such option", (int)len, name);
	if (!row->argument && equals)
		return why_set(why, -EINVAL, "--%s: takes no argument", row->name);
	if (row->argument && !value)
		return why_set(why, -EINVAL, "--%s: %s is missing", row->name, row->argument);
	err = parse_row(options, row, value, why);
	if (err)
		return err;
	return row->argument && !equals ? 2 : 1;
}

int options_parse(struct options *options, char **argv, struct why *why)
{
	set_defaults(options);
	for (argv++; *argv;) {
		int words;

		if (strncmp(*argv, "--", 2) != 0)
			return why_set(why, -EINVAL,
				       "%s: not an option; the image is given by --image", *argv);
		words = parse_option(options, argv, why);
		if (words < 0)
			return words;
		argv += words;
	}
	if (!options->image && !options->help && !options->version)
		return why_set(why, -EINVAL, "--image is missing");
	return 0;
}

void options_help(void)
{
	printf("Usage: qcow2-ublkd --image PATH [OPTION...]\n"
	       "Serve a qcow2 image as the block device /dev/ublkbN until SIGTERM or SIGINT.\n\n");
	for (size_t r = 0; r < ROWS; r++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", rows[r].name, rows[r].argument ? " " : "",
			 rows[r].argument ? rows[r].argument : "");
		if (strlen(left) > 22)
			printf("  %s\n%26s", left, "");
		else
			printf("  %-22s  ", left);
		for (const char *c = rows[r].help; *c; c++) {
			putchar(*c);
			if (*c == '\n')
				printf("%26s", "");
		}
		putchar('\n');
	}
	printf("\nSizes are in bytes, or with a suffix k, M or G.\n"
	       "Exit status: 0 stopped in order; 1 failed; 2 wrong command line; with --run, the\n"
	       "command's own.\n");
}
