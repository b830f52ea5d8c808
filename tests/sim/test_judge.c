/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who judges the judges: made images are sound, planted damage is seen, the disk forgets as it must. */
#include "cipher.h"
#include "disk.h"
#include "hostfile.h"
#include "judge.h"
#include "make.h"
#include "model.h"

#include "format.h"

#include <stdio.h>
#include <stdlib.h>

static struct disk disk;
static struct disk data;
static struct below below;
static struct model model;
static struct rng rng;
static struct shape shape;

static void check_that(bool ok, uint64_t seed, const char *what)
{
	char text[512];

	if (ok)
		return;
	shape_describe(&shape, text, sizeof(text));
	fprintf(stderr, "seed %lu: %s\n%s\n", (unsigned long)seed, what, text);
	exit(1);
}

/* --- contents ----------------------------------------------------------------------------------- */

static const char *content_wrong;

static void see_data(void *arg, bool snapshot, uint64_t guest, const struct sparse *file,
		     uint64_t host, uint64_t len)
{
	(void)arg;
	for (uint64_t at = 0; at < len && !content_wrong; at += SECTOR_SIZE) {
		uint8_t bytes[SECTOR_SIZE];
		uint64_t sector = (guest + at) / SECTOR_SIZE;

		sparse_read(file, host + at, bytes, sizeof(bytes));
		content_wrong = snapshot ? model_check_snapshot(&model, sector, bytes) :
					   model_check(&model, sector, bytes);
	}
}

static void see_zeros(void *arg, bool snapshot, uint64_t guest, uint64_t len)
{
	uint64_t bad;

	(void)arg;
	if (!content_wrong)
		content_wrong = model_check_zeros(&model, guest / SECTOR_SIZE, len / SECTOR_SIZE,
						  snapshot, &bad);
}

static void make(uint64_t seed)
{
	rng = (struct rng){ seed };
	shape = shape_draw(&rng);
	disk_reset(&disk);
	disk_reset(&data);
	make_image(&shape, &disk, &data, &below, &model, &rng);
}

static void test_made(uint64_t seed)
{
	struct judge_visitor visitor = { NULL, see_data, see_zeros, &below.content, NULL };
	struct verdict verdict;

	make(seed);
	content_wrong = NULL;
	verdict = judge(&disk.durable, shape.data_apart ? &data.durable : NULL, &visitor);
	check_that(!verdict.corruptions, seed, verdict.why);
	check_that(!verdict.leaks || shape.stuffed, seed, verdict.leak);
	check_that(!content_wrong, seed, content_wrong);
	if (seed % 10 == 0) {
		struct why first;
		int own = hostfile_own_check(&disk.durable, &first);

		check_that(own == 0 || (own == 3 && shape.stuffed), seed, first.text);
	}
	if (seed % 50 == 0 && !shape.encrypted) {
		int qemu =
			hostfile_qemu_check(&disk.durable, shape.data_apart ? &data.durable : NULL);

		check_that(qemu <= 0 || (qemu == 3 && shape.stuffed), seed, "qemu-img disagrees");
	}
}

/* --- planted damage ------------------------------------------------------------------------------- */

static uint64_t get_be64(uint64_t off)
{
	struct be64 word;

	sparse_read(&disk.visible, off, &word, sizeof(word));
	return be64_get(word);
}

static void put_be64(uint64_t off, uint64_t value)
{
	struct be64 word = be64_make(value);

	sparse_write(&disk.visible, off, &word, sizeof(word));
}

/* The place of a non-zero word in a table, or 0. */
static uint64_t find_word(uint64_t table, uint64_t entries)
{
	for (uint64_t i = 0; i < entries; i++)
		if (get_be64(table + i * 8))
			return table + i * 8;
	return 0;
}

/* The extension with the place of the LUKS header comes last. */
static uint64_t luks_key(void)
{
	uint64_t at = shape.version == 2 ? QCOW2_HEADER_V2_BYTES : QCOW2_HEADER_V3_BYTES;

	while (get_be64(at) != UINT64_C(0x0537be7700000010))
		at += 8;
	return sim_luks_key(&disk.visible, get_be64(at + 8));
}

static uint64_t entry_bytes(void)
{
	return shape.extended ? 16 : 8;
}

/* An L2 entry that has a host cluster of its own, or 0. */
static uint64_t find_mapping(void)
{
	uint64_t cluster_bytes = UINT64_C(1) << shape.cluster_bits;
	uint64_t l1 = get_be64(QCOW2_AT_L1 + 4);
	uint64_t in_l1 = find_word(l1, div_round_up(shape.clusters, shape_l2_entries(&shape)));
	uint64_t table, end;

	if (!in_l1)
		return 0;
	table = get_be64(in_l1) & ENTRY_HOST_MASK;
	end = table + cluster_bytes;
	for (uint64_t at = table; at < end; at += entry_bytes())
		if (get_be64(at) & ENTRY_COPIED && get_be64(at) & ENTRY_HOST_MASK)
			return at;
	return 0;
}

enum damage {
	DAMAGE_NO_REFCOUNT,
	DAMAGE_LEAK,
	DAMAGE_NO_COPIED,
	DAMAGE_TWICE,
	DAMAGE_MISALIGNED,
	DAMAGE_BEYOND,
	DAMAGE_INTO_L1,
	DAMAGE_RESERVED,
	DAMAGE_BOTH_BITS,
	DAMAGE_NO_CLUSTER,
	DAMAGE_COUNT,
};

static void set_refcount(uint64_t host, uint64_t value)
{
	uint64_t cluster = host >> shape.cluster_bits;
	unsigned block_bits = shape.cluster_bits + 3 - shape.refcount_order;
	uint64_t table = get_be64(QCOW2_AT_REFCOUNT_TABLE);
	uint64_t block = get_be64(table + (cluster >> block_bits) * 8);
	uint8_t bytes[1u << 16];

	sparse_read(&disk.visible, block, bytes, UINT64_C(1) << shape.cluster_bits);
	refcount_set(bytes, shape.refcount_order,
		     (uint32_t)(cluster & ((UINT64_C(1) << block_bits) - 1)), value);
	sparse_write(&disk.visible, block, bytes, UINT64_C(1) << shape.cluster_bits);
}

static void plant(enum damage damage, uint64_t at)
{
	uint64_t entry = get_be64(at);
	uint64_t host = entry & ENTRY_HOST_MASK;

	switch (damage) {
	case DAMAGE_NO_REFCOUNT:
		set_refcount(host, 0);
		break;
	case DAMAGE_LEAK:
		put_be64(at, 0);
		if (shape.extended)
			put_be64(at + 8, BITMAP_ALL_ZERO);
		break;
	case DAMAGE_NO_COPIED:
		put_be64(at, entry & ~ENTRY_COPIED);
		break;
	case DAMAGE_TWICE:
		put_be64(round_down(at, SECTOR_SIZE) +
				 (at % SECTOR_SIZE + entry_bytes()) % SECTOR_SIZE,
			 entry);
		break;
	case DAMAGE_MISALIGNED:
		put_be64(at, entry | 1u << shape.cluster_bits >> 1);
		break;
	case DAMAGE_BEYOND:
		put_be64(at, ENTRY_COPIED | round_up(disk.visible.size, 1u << shape.cluster_bits));
		break;
	case DAMAGE_INTO_L1:
		put_be64(at, ENTRY_COPIED | get_be64(QCOW2_AT_L1 + 4));
		break;
	case DAMAGE_RESERVED:
		put_be64(at, entry | 2);
		break;
	case DAMAGE_BOTH_BITS:
		put_be64(at + 8, UINT64_C(1) << 35 | 1 << 3);
		break;
	case DAMAGE_NO_CLUSTER:
		put_be64(at, 0);
		put_be64(at + 8, 1);
		break;
	case DAMAGE_COUNT:
		break;
	}
}

/* Is it none where data lies in a file of its own? */
static bool is_within(enum damage damage)
{
	return damage == DAMAGE_NO_REFCOUNT || damage == DAMAGE_LEAK || damage == DAMAGE_INTO_L1;
}

/* False when this image has no place for it. */
static bool test_damage(uint64_t seed, enum damage damage)
{
	const struct sparse *apart = NULL;
	struct verdict before, after;
	uint64_t at;

	make(seed);
	at = find_mapping();
	apart = shape.data_apart ? &data.visible : NULL;
	if (apart && is_within(damage))
		return false;
	if (!at || (damage == DAMAGE_MISALIGNED && shape.cluster_bits == 9))
		return false;
	if (!shape.extended && (damage == DAMAGE_BOTH_BITS || damage == DAMAGE_NO_CLUSTER))
		return false;
	before = judge(&disk.visible, apart, NULL);
	plant(damage, at);
	after = judge(&disk.visible, apart, NULL);
	if (damage == DAMAGE_LEAK)
		check_that(!after.corruptions && after.leaks > before.leaks, seed, "leak not seen");
	else
		check_that(after.corruptions, seed, "damage not seen");
	return true;
}

/* A sector of data that was not encrypted, or not for its place; false when there is no place for it. */
static bool test_plain(uint64_t seed, uint64_t sectors_off)
{
	struct judge_visitor visitor = { NULL, see_data, see_zeros, &below.content, NULL };
	struct sparse *file = &disk.visible;
	uint8_t bytes[SECTOR_SIZE];
	uint64_t at, host;

	make(seed);
	at = find_mapping();
	if (!shape.encrypted || shape.extended || shape.data_apart || !at ||
	    get_be64(at) & ENTRY_ZERO)
		return false;
	content_wrong = NULL;
	judge(file, NULL, &visitor);
	check_that(!content_wrong, seed, content_wrong);
	host = get_be64(at) & ENTRY_HOST_MASK;
	sparse_read(file, host, bytes, SECTOR_SIZE);
	sim_cipher(luks_key(), host / SECTOR_SIZE, bytes, bytes, SECTOR_SIZE);
	if (sectors_off)
		sim_cipher(luks_key(), host / SECTOR_SIZE + sectors_off, bytes, bytes, SECTOR_SIZE);
	sparse_write(file, host, bytes, SECTOR_SIZE);
	judge(file, NULL, &visitor);
	check_that(content_wrong, seed, "a sector that is not encrypted right is not seen");
	return true;
}

/* --- the disk ---------------------------------------------------------------------------------------- */

static struct hostop *write_byte(uint64_t off, int byte)
{
	uint8_t bytes[2 * SECTOR_SIZE];
	struct hostop *op;

	memset(bytes, byte, sizeof(bytes));
	op = hostop_make(HOSTOP_WRITE, off, sizeof(bytes), bytes);
	disk_do(&disk, op);
	return op;
}

static void cut_all_lost(void)
{
	disk_power_cut(&disk, (struct cut){ .special = UINT32_MAX }, &rng);
}

static void test_disk(void)
{
	uint64_t begun;

	disk_reset(&disk);
	disk_completed(&disk, write_byte(0, 1));
	struct hostop *late = write_byte(4096, 2);
	begun = disk_sync_begin(&disk);
	disk_completed(&disk, late);
	disk_completed(&disk, write_byte(8192, 3));
	disk_sync_end(&disk, begun, false, &rng);
	check_that(*sparse_at(&disk.visible, 8192) == 3, 0, "a write is not visible");
	cut_all_lost();
	check_that(*sparse_at(&disk.visible, 0) == 1, 0, "a synced write is lost");
	check_that(*sparse_at(&disk.visible, 4096) == 0, 0, "a sync covered a write in flight");
	check_that(*sparse_at(&disk.visible, 8192) == 0, 0, "a sync covered a later write");
	check_that(disk.visible.size == 1024, 0, "the size of an unsynced write stayed");

	late = write_byte(4096, 4);
	late->forced = true;
	disk_completed(&disk, late);
	disk_completed(&disk, write_byte(0, 5));
	cut_all_lost();
	check_that(*sparse_at(&disk.visible, 4096) == 4, 0, "a DSYNC write is lost");
	check_that(*sparse_at(&disk.visible, 0) == 1, 0, "an unsynced write has stayed");

	disk_completed(&disk, write_byte(0, 6));
	disk_peek_begin(&disk, (struct cut){ .keep_percent = 100, .special = UINT32_MAX }, &rng);
	check_that(*sparse_at(&disk.durable, 0) == 6, 0, "a peek does not see what is kept");
	disk_peek_end(&disk, disk.ops);
	check_that(*sparse_at(&disk.durable, 0) == 1, 0, "a peek has changed the disk");
}

/* LeakSanitizer does not look where the pages are listed. */
static void release(void)
{
	disk_reset(&disk);
	disk_reset(&data);
	below_reset(&below);
	model_reset(&model, 0);
}

int main(void)
{
	unsigned planted[DAMAGE_COUNT] = { 0 }, plain = 0;

	disk_init(&disk);
	disk_init(&data);
	below_init(&below);
	model_init(&model);
	test_disk();
	for (uint64_t seed = 1; seed <= 1000; seed++)
		test_made(seed);
	for (uint64_t seed = 1; seed <= 400; seed++)
		for (enum damage damage = 0; damage < DAMAGE_COUNT; damage++)
			planted[damage] += test_damage(seed, damage);
	for (uint64_t seed = 1; seed <= 400; seed++)
		plain += test_plain(seed, seed % 3);
	check_that(plain > 10, 0, "encryption was hardly ever tried");
	for (enum damage damage = 0; damage < DAMAGE_COUNT; damage++)
		check_that(planted[damage] > 0, 0, "a kind of damage was never tried");
	release();
	return 0;
}
