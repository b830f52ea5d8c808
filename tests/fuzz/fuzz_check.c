/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile images for the whole checker: it looks, repairs, and looks again.  The input is the file,
 * with magic and version put right, and made small: see limit().  What a repair says is left must
 * be what the next look finds, and unless something is beyond repair, it leaves no leaks and a
 * second repair finds nothing to do.
 */
#include "checker.h"

#include "format.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, const char *text)
{
	(void)arg;
	must(text[0] != '\0');
}

static int run(struct check_file *file, enum check_repair repair, struct check_result *result)
{
	struct check_options options = { .repair = repair, .finding = ignore };
	struct why why = { "" };
	int err = check_image(file, &options, result, &why);

	must(err <= 0);
	must(!err || why.text[0] != '\0');
	return err;
}

/* In a header, be32; and how large an input may make them. */
#define CLUSTER_BITS_AT 20u
#define CLUSTER_BITS_MOST 17u
#define SNAPSHOTS_MOST 1023u

static uint32_t word_at(const uint8_t *data, size_t at)
{
	struct be32 word;

	memcpy(&word, data + at, sizeof(word));
	return be32_get(word);
}

static void put_word(int fd, size_t at, uint32_t value)
{
	struct be32 word = be32_make(value);

	must(pwrite(fd, &word, sizeof(word), (off_t)at) == sizeof(word));
}

/*
 * Repairs write new tables, a cluster each, and each snapshot is looked at and has its findings: what
 * only takes long, and no longer than it must, is no hang.  A repair of 8000, 16000, 32000 and
 * 64000 snapshots took 0.14, 0.29, 0.5 and 1.2 s, without sanitizers.
 */
static void limit(int fd, const uint8_t *data)
{
	uint32_t bits = word_at(data, CLUSTER_BITS_AT);

	put_word(fd, QCOW2_AT_SNAPSHOTS, word_at(data, QCOW2_AT_SNAPSHOTS) & SNAPSHOTS_MOST);
	if (bits > CLUSTER_BITS_MOST && bits <= LIMIT_CLUSTER_BITS_MAX)
		put_word(fd, CLUSTER_BITS_AT, bits - 9);
}

static void fill(int fd, const uint8_t *data, size_t size)
{
	struct be32 magic = be32_make(QCOW2_MAGIC), version = be32_make(data[7] & 1 ? 3 : 2);

	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, data, size, 0) == (ssize_t)size);
	must(pwrite(fd, &magic, sizeof(magic), 0) == sizeof(magic));
	must(pwrite(fd, &version, sizeof(version), 4) == sizeof(version));
	if (size >= QCOW2_AT_SNAPSHOTS + sizeof(struct be32))
		limit(fd, data);
}

/* Not to be called clean by the one, and damaged by the other. */
static void check_repair(struct check_file *file, enum check_repair repair)
{
	struct check_result repaired, again;

	if (run(file, repair, &repaired))
		return;
	/* What is corrupt beyond repair may read what the repair has written. */
	must(repaired.leaks == 0 || repaired.corruptions || repaired.check_errors);
	must(run(file, CHECK_ONLY, &again) == 0);
	must(again.corruptions == repaired.corruptions && again.leaks == repaired.leaks);
	must(again.check_errors == repaired.check_errors);
	must(run(file, repair, &again) == 0);
	must(again.leaks_fixed == 0 || again.corruptions || repaired.corruptions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct check_file file = { .fd = -1, .name = "fuzz" };
	static FILE *null;
	struct check_result result;
	struct why why;

	if (size < 8)
		return 0;
	if (!null) {
		null = fopen("/dev/null", "w");
		file.fd = memfd_create("fuzz", MFD_CLOEXEC);
		must(null && file.fd >= 0);
	}
	fill(file.fd, data, size);
	image_info_print(&file, data[6] & 1, null, &why);
	run(&file, CHECK_ONLY, &result);
	check_repair(&file, CHECK_REPAIR_LEAKS);
	check_repair(&file, CHECK_REPAIR_ALL);
	return 0;
}
