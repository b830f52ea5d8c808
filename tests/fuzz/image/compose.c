/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images by the fuzzer's choice. */
#include "compose.h"

#include "make.h"
#include "places.h"
#include "shape.h"

#include <stdlib.h>

#define PIECES_MOST 64u

/* --- pokes --------------------------------------------------------------------------------------- */

enum poke_kind {
	POKE_POINTER, /* to a place, with flags */
	POKE_WORD,
	POKE_XOR,
	POKE_ADD,
	POKE_SHORT, /* 16 bits, such as refcounts */
	POKE_CLEAR, /* all of the cluster */
	POKE_COPY, /* a cluster onto another */
	POKE_SIZE, /* of the file */
	POKE_KINDS
};

static uint64_t word_at(const struct sparse *file, uint64_t off)
{
	struct be64 word;

	sparse_read(file, off, &word, sizeof(word));
	return be64_get(word);
}

static void put_word(struct sparse *file, uint64_t off, uint64_t value)
{
	struct be64 word = be64_make(value);

	if (off <= SPARSE_MAX - sizeof(word))
		sparse_write(file, off, &word, sizeof(word));
}

/* One of the places of a kind; the end of the file when there is none. */
static uint64_t choose(struct input *in, const struct places *places, const struct sparse *file)
{
	unsigned kind = input_byte(in) % PLACE_KINDS, nth = input_byte(in);

	if (!places->count[kind])
		return round_up(min_u64(file->size, SPARSE_MAX), places->geo.cluster_bytes);
	return places->at[kind][nth % places->count[kind]];
}

static uint64_t flags_of(uint8_t flags)
{
	uint64_t word = 0;

	if (flags & 1)
		word |= ENTRY_COPIED;
	if (flags & 2)
		word |= ENTRY_COMPRESSED;
	if (flags & 4)
		word |= ENTRY_ZERO;
	if (flags & 8)
		word |= SECTOR_SIZE;
	if (flags & 16)
		word |= UINT64_C(1) << 55;
	if (flags & 32)
		word |= UINT64_C(3) << 60;
	return word;
}

static void copy_cluster(struct sparse *file, uint64_t to, uint64_t from, uint64_t bytes)
{
	uint8_t sector[SECTOR_SIZE];

	for (uint64_t at = 0; at < bytes && to + at <= SPARSE_MAX - SECTOR_SIZE;
	     at += SECTOR_SIZE) {
		sparse_read(file, from + at, sector, SECTOR_SIZE);
		sparse_write(file, to + at, sector, SECTOR_SIZE);
	}
}

/* Place, byte in its cluster, and what is done there. */
static void poke_one(struct input *in, struct sparse *file)
{
	static struct places places;
	unsigned kind = input_byte(in) % POKE_KINDS;
	uint64_t place, at;

	places_find(&places, file);
	if (!places.valid)
		return;
	place = choose(in, &places, file);
	at = place + input_take(in, 2) % places.geo.cluster_bytes;
	if (place >= SPARSE_MAX - places.geo.cluster_bytes)
		return;
	switch (kind) {
	case POKE_POINTER: {
		uint64_t to = choose(in, &places, file);
		put_word(file, round_down(at, 8), to | flags_of(input_byte(in)));
		break;
	}
	case POKE_WORD:
		put_word(file, round_down(at, 8), input_take(in, 8));
		break;
	case POKE_XOR:
		put_word(file, round_down(at, 8),
			 word_at(file, round_down(at, 8)) ^ UINT64_C(1) << input_byte(in) % 64);
		break;
	case POKE_ADD:
		put_word(file, round_down(at, 8),
			 word_at(file, round_down(at, 8)) +
				 (uint64_t)(int64_t)(int8_t)input_byte(in));
		break;
	case POKE_SHORT: {
		struct be16 value = be16_make((uint16_t)input_take(in, 2));
		sparse_write(file, round_down(at, 2), &value, sizeof(value));
		break;
	}
	case POKE_CLEAR:
		sparse_punch(file, place, places.geo.cluster_bytes);
		break;
	case POKE_COPY:
		copy_cluster(file, place, choose(in, &places, file), places.geo.cluster_bytes);
		break;
	case POKE_SIZE:
		sparse_resize(file, input_byte(in) % 4 ? at : input_take(in, 8) >> 2);
		break;
	}
}

static void compose_shape(struct input *in, struct sim_host *host, struct model *model,
			  struct rng *rng)
{
	struct shape shape;
	unsigned pokes;

	rng->state = input_take(in, 4) * UINT64_C(0x9e3779b97f4a7c15);
	shape = shape_draw(rng);
	make_image(&shape, &host->disk, &host->data, &host->below, model, rng);
	host->device = shape.device;
	pokes = input_byte(in) % 16;
	for (unsigned i = 0; i < pokes; i++) {
		unsigned file = input_byte(in) % 8;

		poke_one(in, file > 0 && file <= host->below.layers ? &host->below.file[file - 1] :
								      &host->disk.visible);
	}
}

/* --- pieces -------------------------------------------------------------------------------------- */

static void compose_file(struct input *in, struct sparse *file)
{
	uint64_t size = input_take(in, 8) >> 2;
	unsigned pieces = input_byte(in) % PIECES_MOST;
	struct be32 magic = be32_make(QCOW2_MAGIC), version;

	for (unsigned i = 0; i < pieces; i++) {
		uint64_t off = input_take(in, 8) % SPARSE_MAX;
		uint64_t len = min_u64(min_u64(input_take(in, 2), in->left), SPARSE_MAX - off);

		sparse_write(file, off, in->at, len);
		in->at += len;
		in->left -= len;
	}
	if (size)
		sparse_resize(file, size);
	version = be32_make(2 + (*sparse_at(file, 7) & 1));
	sparse_write(file, 0, &magic, sizeof(magic));
	sparse_write(file, 4, &version, sizeof(version));
}

static void compose_pieces(struct input *in, struct sim_host *host)
{
	unsigned files = 1 + input_byte(in) % (MAX_LAYERS + 1);

	host->device = false;
	host->below.layers = files - 1;
	for (unsigned i = 0; i < MAX_LAYERS; i++) {
		sparse_reset(&host->below.file[i]);
		sparse_reset(&host->below.data[i]);
	}
	compose_file(in, &host->disk.visible);
	for (unsigned i = 0; i + 1 < files; i++)
		compose_file(in, &host->below.file[i]);
}

void compose(struct input *in, struct sim_host *host, struct model *model, struct rng *rng)
{
	disk_reset(&host->disk);
	disk_reset(&host->data);
	if (input_byte(in) & 1)
		compose_pieces(in, host);
	else
		compose_shape(in, host, model, rng);
	/* Where the host has room; files may say that they are longer. */
	host->disk.limit = host->data.limit = 64 * MIB;
	if (host->disk.visible.size < SPARSE_MAX)
		host->disk.limit = max_u64(host->disk.limit, host->disk.visible.size);
}
