/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an image says about itself, between the one who reads it and those who print it. */
#ifndef CHECK_INFO_H
#define CHECK_INFO_H

#include "access.h"
#include "bitmaps.h"
#include "checker.h"
#include "format.h"
#include "snapshots.h"

#define LUKS_NAME_BYTES 32u

struct info {
	const struct check_file *file;
	uint8_t *bytes; /* the start of the file, as the ranges in the header count */
	uint64_t disk_bytes; /* that the host spends on the file */
	struct qcow2_header header;
	struct geometry g;
	struct bitmap_directory bitmaps;
	char luks_cipher[LUKS_NAME_BYTES + 1]; /* any bytes; "": not LUKS version 1 */
	char luks_mode[LUKS_NAME_BYTES + 1];
};

typedef void info_snapshot_fn(const struct snapshot_reader *reader, unsigned index, void *arg);
typedef void info_bitmap_fn(const struct bitmap_reader *reader, unsigned index, void *arg);

/* Read all entries and print each, unless @print is NULL.  0, or -errno with the sentence. */
int info_each_snapshot(const struct info *info, info_snapshot_fn *print, void *arg,
		       struct why *why);
int info_each_bitmap(const struct info *info, info_bitmap_fn *print, void *arg, struct why *why);

/* 0, or -errno with the sentence when a list has become unreadable in the meantime. */
int info_print_plain(const struct info *info, FILE *out, struct why *why);
int info_print_json(const struct info *info, FILE *out, struct why *why);

#endif
