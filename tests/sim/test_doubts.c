/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does who chooses late see all that who looks at each state sees?  Readers of all kinds, on small
 * disks: what they read next depends on what they have read.
 */
#include "digest.h"
#include "doubts.h"

#include <stdio.h>
#include <stdlib.h>

#define CASES 20000u
#define MOST_PIECES 9u
#define MOST_SEEN 200000u
#define CLUSTER 1024u
#define SECTORS 16u

static struct disk image, data;
static struct rng rng;
static uint64_t number;

/* What a reader has found, in all states. */
struct seen {
	uint64_t of[MOST_SEEN];
	unsigned n;
};

static struct seen one_by_one, at_once;
static struct piece piece[MOST_PIECES];
static uint32_t image_pieces, pieces;

static void fail(const char *what)
{
	fprintf(stderr, "case %lu: %s\n", (unsigned long)number, what);
	exit(1);
}

static void note(struct seen *seen, uint64_t what)
{
	if (seen->n == MOST_SEEN)
		fail("too much is seen");
	seen->of[seen->n++] = what;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void sort(struct seen *seen)
{
	unsigned n = 0;

	qsort(seen->of, seen->n, sizeof(seen->of[0]), by_size);
	for (unsigned i = 0; i < seen->n; i++)
		if (i == 0 || seen->of[i] != seen->of[i - 1])
			seen->of[n++] = seen->of[i];
	seen->n = n;
}

static bool is_within(const struct seen *a, const struct seen *b)
{
	for (unsigned i = 0; i < a->n; i++)
		if (!bsearch(&a->of[i], b->of, b->n, sizeof(b->of[0]), by_size))
			return false;
	return true;
}

/* --- disks ------------------------------------------------------------------------------------------ */

static void check_digest(struct sparse *bytes)
{
	uint8_t sector[SECTOR_SIZE];
	uint64_t sum = 0;

	for (uint64_t i = 0; i < SECTORS; i++) {
		sparse_read(bytes, i * SECTOR_SIZE, sector, sizeof(sector));
		sum += digest_sector(i, sector);
	}
	if (sparse_digest(bytes) != sum)
		fail("the digest is not that of the bytes");
}

static void make_bytes(struct sparse *bytes, bool tiny)
{
	uint64_t sectors = rng_below(&rng, tiny ? 3 : SECTORS / 2);
	uint8_t sector[SECTOR_SIZE];

	for (uint64_t i = 0; i < sectors; i++) {
		memset(sector, (int)rng_below(&rng, tiny ? 2 : 3), sizeof(sector));
		if (rng_one_in(&rng, 3))
			sparse_resize(bytes, (i + 1) * SECTOR_SIZE);
		else
			sparse_write(bytes, i * SECTOR_SIZE, sector, sizeof(sector));
		/* Who has been asked once must not tell the same again. */
		if (rng_one_in(&rng, 4))
			sparse_digest(bytes);
	}
	check_digest(bytes);
}

static struct hostop *draw_op(bool tiny, bool truncates)
{
	static uint8_t bytes[4 * SECTOR_SIZE];
	enum hostop_kind kind = rng_one_in(&rng, 5)		 ? HOSTOP_PUNCH :
				truncates && rng_one_in(&rng, 5) ? HOSTOP_TRUNCATE :
								   HOSTOP_WRITE;
	uint64_t off = SECTOR_SIZE * rng_below(&rng, tiny ? 2 : SECTORS - 4);
	uint64_t len = SECTOR_SIZE * rng_range(&rng, 1, tiny ? 2 : 3);
	struct hostop *op;

	if (!tiny && rng_one_in(&rng, 8))
		off += rng_below(&rng, SECTOR_SIZE);
	if (!tiny && rng_one_in(&rng, 8))
		len -= rng_below(&rng, SECTOR_SIZE);
	memset(bytes, (int)rng_below(&rng, tiny ? 2 : 4), sizeof(bytes));
	op = hostop_make(kind, off, kind == HOSTOP_TRUNCATE ? 0 : len, bytes);
	op->forced = kind == HOSTOP_WRITE && rng_one_in(&rng, 6);
	op->spent = rng_one_in(&rng, 16);
	return op;
}

static void make(bool tiny)
{
	unsigned most = tiny ? 2 : MOST_PIECES;

	do {
		disk_reset(&image);
		disk_reset(&data);
		make_bytes(&image.durable, tiny);
		make_bytes(&data.durable, tiny);
		for (unsigned n = rng_range(&rng, 1, 4); n; n--)
			disk_append(&image, draw_op(tiny, true));
		for (unsigned n = rng_below(&rng, 2); n; n--)
			disk_append(&data, draw_op(tiny, false));
		image_pieces = disk_pieces(&image, piece, MOST_PIECES);
		pieces = image_pieces;
		if (pieces <= most)
			pieces += disk_pieces(&data, piece + pieces, MOST_PIECES - pieces);
	} while (pieces > most);
}

/* Does the image never grow?  Else more is seen at once, since its size and bytes survive apart. */
static bool stays_small(void)
{
	for (uint32_t i = 0; i < image_pieces; i++)
		if (piece[i].op->kind == HOSTOP_TRUNCATE ||
		    (piece[i].op->kind == HOSTOP_WRITE &&
		     piece[i].off + piece[i].len > image.durable.size))
			return false;
	return true;
}

/* --- readers ----------------------------------------------------------------------------------------- */

/* Is there something behind it?  As the judge looks for entries of a table. */
static uint64_t scan(const struct sparse *bytes, uint64_t off, uint64_t end)
{
	for (; off < end; off += 8) {
		sparse_ask(bytes, off, 8);
		if (*sparse_at(bytes, off))
			break;
	}
	return off;
}

static void see(struct seen *seen, const struct sparse *bytes, uint64_t sector)
{
	uint64_t what = sector << 1 | (bytes == &data.durable);
	const uint8_t *contents;
	uint32_t count = 0;
	uint8_t whole[SECTOR_SIZE];

	if (bytes->watch && doubts_known(bytes, sector, what))
		return;
	if (bytes->watch)
		count = doubts_contents(bytes, sector, &contents);
	for (uint32_t i = 0; i < count; i++)
		note(seen, digest_add(what, digest_bytes(contents + i * SECTOR_SIZE, SECTOR_SIZE)));
	if (count)
		return;
	/* Nothing is chosen by looking at one that is not in doubt any more. */
	sparse_read(bytes, sector * SECTOR_SIZE, whole, sizeof(whole));
	note(seen, digest_add(what, digest_bytes(whole, sizeof(whole))));
}

static void read_all(struct seen *seen, uint64_t reader)
{
	uint64_t found = digest_add(reader, div_round_up(image.durable.size, CLUSTER));

	for (unsigned step = 0; step < 5; step++) {
		struct rng own = { found };
		const struct sparse *bytes = rng_one_in(&own, 4) ? &data.durable : &image.durable;
		uint64_t off = 8 * rng_below(&own, SECTORS * SECTOR_SIZE / 8);
		uint8_t piece_read[64];

		switch (rng_below(&own, 4)) {
		case 0:
			see(seen, bytes, off / SECTOR_SIZE);
			break;
		case 1:
			found = digest_add(found, scan(bytes, off, off + 2 * SECTOR_SIZE));
			break;
		default:
			sparse_read(bytes, off, piece_read, sizeof(piece_read));
			found = digest_add(found, digest_bytes(piece_read, sizeof(piece_read)));
			break;
		}
		found = digest_add(found, step);
	}
	note(seen, found);
}

static void read_one_by_one(uint64_t reader)
{
	bool survives[MOST_PIECES];

	one_by_one.n = 0;
	for (unsigned subset = 0; subset < 1u << pieces; subset++) {
		for (uint32_t i = 0; i < pieces; i++)
			survives[i] = subset >> i & 1;
		disk_peek_pieces(&image, piece, image_pieces, survives);
		disk_peek_pieces(&data, piece + image_pieces, pieces - image_pieces,
				 survives + image_pieces);
		read_all(&one_by_one, reader);
		disk_peek_end(&data, data.ops);
		disk_peek_end(&image, image.ops);
	}
	sort(&one_by_one);
}

/* How many times it had to be read. */
static unsigned read_at_once(uint64_t reader, uint64_t *digest)
{
	const struct doubts_files files = {
		&image, &data, piece, image_pieces, pieces, CLUSTER,
	};
	unsigned times = 0;

	at_once.n = 0;
	if (!doubts_begin(&files))
		fail("so few pieces are too many");
	*digest = doubts_digest();
	do {
		read_all(&at_once, reader);
		times++;
	} while (doubts_next());
	doubts_end();
	sort(&at_once);
	return times;
}

/* --- what is held against what ------------------------------------------------------------------------- */

static void test_readers(void)
{
	uint64_t before[2] = { sparse_digest(&image.durable), sparse_digest(&data.durable) };
	uint64_t size = image.durable.size, digest;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t reader = rng_next(&rng);

		read_one_by_one(reader);
		read_at_once(reader, &digest);
		if (!is_within(&one_by_one, &at_once))
			fail("what is left of some pieces was not seen at once");
		if (stays_small() && !is_within(&at_once, &one_by_one))
			fail("what no pieces leave was seen");
	}
	if (before[0] != sparse_digest(&image.durable) ||
	    before[1] != sparse_digest(&data.durable) || image.durable.size != size)
		fail("the disks have changed");
}

/* What has one name shows all readers the same. */
static void test_digest(void)
{
	static struct {
		uint64_t digest, found[3];
	} named[1u << 16];
	static unsigned doubles;
	uint64_t digest, found[3];

	for (unsigned i = 0; i < 3; i++) {
		read_at_once(i + 1, &digest);
		found[i] = digest_bytes((const uint8_t *)at_once.of,
					at_once.n * sizeof(at_once.of[0]));
	}
	if (named[digest % ARRAY_SIZE(named)].digest == digest) {
		if (memcmp(named[digest % ARRAY_SIZE(named)].found, found, sizeof(found)) != 0)
			fail("two moments have one name, and are not the same");
		doubles++;
	}
	named[digest % ARRAY_SIZE(named)].digest = digest;
	memcpy(named[digest % ARRAY_SIZE(named)].found, found, sizeof(found));
	if (number == CASES && doubles < CASES / 10)
		fail("hardly any moments are the same");
}

int main(void)
{
	disk_init(&image);
	disk_init(&data);
	for (number = 1; number <= CASES; number++) {
		rng = (struct rng){ number };
		make(false);
		test_readers();
		make(true);
		test_digest();
	}
	disk_reset(&image);
	disk_reset(&data);
	return 0;
}
