/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "backing.h"
#include "base.h"

enum cache { CACHE_NONE, CACHE_WRITEBACK };

struct options {
	const char *config; /* a configuration file; NULL: none */
	const char *instance; /* what a unit is for: see options_parse(); NULL: no unit */
	char *text; /* of the configuration file, which the options point into */
	char *path; /* of the image or file that the instance stands for */
	const char *image;
	const char *backing_format; /* of files whose format is not recorded; NULL: refuse them */
	struct allow_paths allow;
	const char *key_file; /* of encrypted images; "-": standard input; NULL: none named */
	const char *snapshot; /* of the image, to be served read-only; NULL: none */
	const char *run; /* NULL: none */
	const char *name; /* of the device; NULL: after the image's file */
	const char *user; /* to serve as; NULL: the caller */
	uint64_t queues;
	uint64_t depth;
	int64_t device_id; /* -1: any */
	uint64_t max_io; /* bytes */
	uint64_t io_timeout; /* seconds; 0: none */
	uint64_t l2_cache; /* bytes; 0: as much as the image needs, within limits */
	enum cache cache;
	bool read_only;
	bool no_recovery; /* the device ends with its daemon */
	bool lock_memory;
	bool force_stop; /* stop although the device is in use */
	bool abandon; /* what a killed daemon has left */
	bool verbose;
	bool help;
	bool version;
};

/*
 * Defaults, then the configuration file, then the command line, @argv as main() got it.  An
 * instance stands for the file of its name below options_folder, or else for the image at the
 * path that it is the escaped form of (systemd-escape --path).  -EINVAL or -errno with the
 * sentence in @why; --help and --version make everything else optional.
 */
int options_parse(struct options *options, char **argv, struct why *why);

#define OPTIONS_VIEW_BYTES 32
#define OPTIONS_VIEW_WRITABLE "image" /* no snapshot, and can be written */

/* How the image is to be shown, for identity_mark(): a device of another view is not taken over. */
void options_view(const struct options *options, char view[static OPTIONS_VIEW_BYTES]);

/* Where configuration files are looked for by name; "/etc/qcow2-ublkd", but for tests. */
extern const char *options_folder;

/* The text of --help, on standard output. */
void options_help(void);

#endif
