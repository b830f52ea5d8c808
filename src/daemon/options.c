/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One table is the parser and the text of --help; the manual page is held against it. */
#include "options.h"
#include "commands.h"
#include "config.h"
#include "device.h"
#include "instance.h"
#include "key.h"
#include "name.h"
#include "rows.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define QUEUES_DEFAULT 4
#define DEPTH_DEFAULT 128
#define IO_TIMEOUT_DEFAULT 30
#define IO_TIMEOUT_MOST 86400
#define L2_CACHE_LEAST (64 * KIB)
#define L2_CACHE_MOST (64 * GIB)

#define AT(field) offsetof(struct options, field)

const char *options_folder = "/etc/qcow2-ublkd";

static const struct option_row rows[] = {
	{ "image", "PATH", "the qcow2 image: a file or a block device", TEXT, AT(image), 0, 0, 0 },
	{ "config", "FILE", "take options from FILE, one \"option = value\" per line", TEXT_OF_LINE,
	  AT(config), 0, 0, 0 },
	{ "instance", "NAME",
	  "what a unit NAME serves: as /etc/qcow2-ublkd/NAME.conf says, or else the image\n"
	  "whose path NAME is the escaped form of",
	  TEXT_OF_LINE, AT(instance), 0, 0, 0 },
	{ "queues", "N", "hardware queues, a thread each (default: one per CPU, at most 4)", NUMBER,
	  AT(queues), 1, DEVICE_QUEUES_MAX, 0 },
	{ "depth", "N", "requests per queue (default: 128)", NUMBER, AT(depth), 1, DEVICE_DEPTH_MAX,
	  0 },
	{ "device-id", "N", "make /dev/ublkbN (default: the lowest that is free)", NUMBER,
	  AT(device_id), 0, DEVICE_ID_MAX, 0 },
	{ "name", "NAME", "what commands call the device (default: as the image's file is called)",
	  TEXT, AT(name), 0, 0, 0 },
	{ "read-only", NULL, "refuse writes, and share the image with other readers", FLAG,
	  AT(read_only), 0, 0, 0 },
	{ "snapshot", "NAME|ID", "serve an internal snapshot of the image, read-only", TEXT,
	  AT(snapshot), 0, 0, 0 },
	{ "key-file", "FILE",
	  "the key of encrypted images: all bytes of FILE, or of standard input if it\n"
	  "is - (default: the credential " KEY_CREDENTIAL ", if there is one)",
	  TEXT, AT(key_file), 0, 0, 0 },
	{ "cache", "none|writeback", /* enum cache */
	  "bypass the host's page cache, where the file allows it, or use it\n(default: none)",
	  CHOICE, AT(cache), 0, 0, 0 },
	{ "backing-format", "raw|qcow2",
	  "what the image's own backing file is, if the image does not record its format\n"
	  "(default: refuse such images)",
	  WORD, AT(backing_format), 0, 0, 0 },
	{ "allow-path", "DIR",
	  "refuse backing and data files that are not below DIR; may be given more than\n"
	  "once (default: allow all)",
	  FOLDERS, AT(allow), 0, 0, 0 },
	{ "max-io", "SIZE", "largest read or write request (default: 1M, at most 32M)", SIZE,
	  AT(max_io), DEVICE_MAX_IO_LEAST, DEVICE_MAX_IO_MOST, 4 * KIB },
	{ "l2-cache", "SIZE",
	  "memory for mapping tables (default: as much as the image needs,\n"
	  "at most 32M)",
	  SIZE, AT(l2_cache), L2_CACHE_LEAST, L2_CACHE_MOST, 0 },
	{ "io-timeout", "SECONDS",
	  "report requests that wait for the storage for so long (default: 30; 0: none);\n"
	  "when some do, a stop by force does not wait for them",
	  NUMBER, AT(io_timeout), 0, IO_TIMEOUT_MOST, 0 },
	{ "run", "COMMAND", "run COMMAND in a shell, with $device set, and stop when it ends",
	  TEXT_OF_LINE, AT(run), 0, 0, 0 },
	{ "no-recovery", NULL,
	  "make a device that ends when this process is killed, instead of one that the\n"
	  "same command takes over",
	  FLAG, AT(no_recovery), 0, 0, 0 },
	{ "user", "NAME", "serve as user NAME, when the start as root is done", TEXT, AT(user), 0,
	  0, 0 },
	{ "lock-memory", NULL,
	  "keep all memory of this process in RAM: for a device that carries swap", FLAG,
	  AT(lock_memory), 0, 0, 0 },
	{ "force-stop", NULL,
	  "stop although the device is mounted or held; what is dirty is written first", FLAG,
	  AT(force_stop), 0, 0, 0 },
	{ "abandon", NULL,
	  "give up what a killed process has left for this image: writes that are only in\n"
	  "memory, which are LOST, and its device",
	  FLAG_OF_LINE, AT(abandon), 0, 0, 0 },
	{ "verbose", NULL, "say more", FLAG, AT(verbose), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG_OF_LINE, AT(help), 0, 0, 0 },
	{ "version", NULL, "print the version", FLAG_OF_LINE, AT(version), 0, 0, 0 },
};

static const struct option_rows table = { rows, ARRAY_SIZE(rows) };

/* --- the line ------------------------------------------------------------------------------------ */

static void set_defaults(struct options *options)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	*options = (struct options){
		.queues = cpus > 0 ? min_u64((uint64_t)cpus, QUEUES_DEFAULT) : 1,
		.depth = DEPTH_DEFAULT,
		.device_id = -1,
		.max_io = MIB,
		.io_timeout = IO_TIMEOUT_DEFAULT,
		.cache = CACHE_NONE,
	};
}

static int take_line(struct options *options, char **argv, struct why *why)
{
	for (argv++; *argv;) {
		int words;

		if (strncmp(*argv, "--", 2) != 0)
			return why_set(why, -EINVAL,
				       "%s: neither a command nor an option; the image is given by "
				       "--image",
				       *argv);
		words = rows_parse(&table, options, argv, why);
		if (words < 0)
			return words;
		argv += words;
	}
	return 0;
}

static int check(struct options *options, struct why *why)
{
	if (!options->image && !options->help && !options->version)
		return why_set(why, -EINVAL, "--image is missing");
	if (options->name && !name_valid(options->name))
		return why_set(why, -EINVAL,
			       "--name %s: must be up to %d letters, digits, dots, underscores and "
			       "hyphens, and begin with none of . and -",
			       options->name, NAME_LENGTH);
	options->read_only |= options->snapshot != NULL;
	/* The command ends with us, and another run of it is no continuation. */
	options->no_recovery |= options->run != NULL;
	return 0;
}

/* --- the unit's instance -------------------------------------------------------------------------- */

/* A file of that name comes before an image. */
static int find_instance(struct options *options, const char *instance, struct why *why)
{
	char image[PATH_MAX];

	if (name_valid(instance) &&
	    asprintf(&options->path, "%s/%s.conf", options_folder, instance) < 0)
		return why_set(why, -ENOMEM, "out of memory");
	if (options->path && access(options->path, F_OK) == 0) {
		options->config = options->path;
		options->name = instance;
		return 0;
	}
	free(options->path);
	options->path = NULL;
	if (!instance_path(image, instance))
		return why_set(why, -EINVAL, "--instance %s: stands for no path", instance);
	if (access(image, F_OK))
		return why_set(why, -errno, "--instance %s: there is neither %s/%s.conf nor %s",
			       instance, options_folder, instance, image);
	options->path = strdup(image);
	options->image = options->path;
	return options->path ? 0 : why_set(why, -ENOMEM, "out of memory");
}

int options_parse(struct options *options, char **argv, struct why *why)
{
	struct options line;
	int err;

	set_defaults(&line);
	err = take_line(&line, argv, why);
	set_defaults(options);
	if (!err && line.instance)
		err = find_instance(options, line.instance, why);
	if (!err && line.config)
		options->config = line.config;
	if (!err && options->config)
		err = config_read(&options->text, options->config, &table, options, why);
	/* Once more, as the line has the last word. */
	if (!err)
		err = take_line(options, argv, why);
	return err ? err : check(options, why);
}

/* --- the view ------------------------------------------------------------------------------------- */

static uint64_t text_hash(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return hash;
}

void options_view(const struct options *options, char view[static OPTIONS_VIEW_BYTES])
{
	if (options->snapshot)
		snprintf(view, OPTIONS_VIEW_BYTES, "snapshot %016" PRIx64,
			 text_hash(options->snapshot));
	else
		snprintf(view, OPTIONS_VIEW_BYTES, "%s",
			 options->read_only ? "read-only" : OPTIONS_VIEW_WRITABLE);
}

/* --- help ----------------------------------------------------------------------------------------- */

void options_help(void)
{
	printf("Usage: qcow2-ublkd --image PATH|--config FILE|--instance NAME [OPTION...]\n"
	       "       qcow2-ublkd COMMAND [OPTION...] [IMAGE|NAME|DEVICE]\n"
	       "Serve a qcow2 image as the block device /dev/ublkbN until SIGTERM or SIGINT.\n\n");
	rows_help(&table);
	commands_help();
	printf("\nSizes are in bytes, or with a suffix k, M or G.\n"
	       "Exit status: 0 stopped in order; 1 failed; 2 wrong command line; 75 left to the\n"
	       "next process; with --run, the command's own.\n");
}
