/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chain: which file lies below, and what is in it?  And which has the guest's bytes?
 *
 * The format of a file below is what the header above records, or, below the top, what the user says;
 * it is never guessed from the file's bytes, because in a raw file those are a guest's, who could make
 * it a qcow2 image that names any file of the host.  For the same reason what the user says is not
 * meant for what lies deeper, which others may have made.
 */
#include "chain.h"

#include "cache.h"
#include "node.h"
#include "unlock.h"

#include <errno.h>
#include <stdlib.h>

enum layer_format { LAYER_RAW, LAYER_QCOW2 };

static int no_format(const struct node *above, bool of_top, struct why *why)
{
	return why_set(why, -EINVAL,
		       "%s: does not record the format of its backing file %s; %srecord it with "
		       "qemu-img rebase -u -b %s -F raw or qcow2",
		       above->file->name, above->below_name,
		       of_top ? "say --backing-format raw or qcow2, or " : "", above->below_name);
}

static int format_below(const struct node *above, const char *given, enum layer_format *format,
			struct why *why)
{
	bool of_top = above == &above->image->top;
	const char *name = above->below_format;

	if (!name[0] && !(of_top && given))
		return no_format(above, of_top, why);
	if (!name[0])
		name = given;
	if (strcmp(name, "raw") == 0)
		*format = LAYER_RAW;
	else if (strcmp(name, "qcow2") == 0)
		*format = LAYER_QCOW2;
	else
		return why_set(why, -ENOTSUP,
			       "%s: its backing file %s has the format %s, which is not supported; "
			       "convert it to qcow2 with qemu-img convert",
			       above->file->name, above->below_name, name);
	return 0;
}

/* Up to where the guest's bytes of @above can come from the layer below it. */
static void set_backed(struct node *above)
{
	uint64_t cluster = above->geo.cluster_bytes;
	uint64_t end = min_u64(node_bytes(above->below), node_bytes(above));

	above->backed_bytes = round_up(end, cluster);
}

int chain_open_data(struct node *node, const struct image_options *options, struct why *why)
{
	const struct image_files *files = &options->files;

	if (!node->data_name)
		return 0;
	if (!files->open_data)
		return why_set(why, -ENOTSUP,
			       "%s: has an external data file, which cannot be opened here",
			       node->file->name);
	return files->open_data(files->arg, node->file, node->data_name, &node->data, why);
}

static int open_below(struct node *above, const struct image_options *options, struct why *why)
{
	const struct image_files *files = &options->files;
	struct image *image = above->image;
	enum layer_format format = LAYER_RAW;
	struct host_file *file;
	int err = format_below(above, files->backing_format, &format, why);

	if (err)
		return err;
	if (!files->open_below)
		return why_set(why, -ENOTSUP, "%s: has a backing file, which cannot be opened here",
			       above->file->name);
	err = files->open_below(files->arg, above->file, above->below_name, &file, why);
	if (err)
		return err;
	above->below = calloc(1, sizeof(*above->below));
	if (!above->below)
		return why_set(why, -ENOMEM, "%s: not enough memory", file->name);
	if (format == LAYER_RAW)
		node_open_raw(above->below, image, file);
	else
		err = node_open(above->below, image, file, true, NULL, why);
	if (!err)
		err = unlock_node(above->below, options, why);
	if (!err)
		err = chain_open_data(above->below, options, why);
	if (!err && format == LAYER_QCOW2 &&
	    cache_open(above->below,
		       cache_slices(&above->below->geo, options->l2_cache_bytes, false), 0, 0,
		       NULL))
		err = why_set(why, -ENOMEM, "%s: not enough memory", file->name);
	if (err)
		return err;
	image->encrypted |= above->below->cipher != NULL;
	set_backed(above);
	return 0;
}

int chain_open(struct image *image, const struct image_options *options, struct why *why)
{
	struct node *node = &image->top;

	for (unsigned layers = 1; node->below_name; layers++, node = node->below) {
		int err;

		if (layers == LIMIT_CHAIN)
			return why_set(why, -ENOTSUP,
				       "%s: its chain has more than %u files; shorten it with "
				       "qemu-img convert",
				       image->top.file->name, LIMIT_CHAIN);
		err = open_below(node, options, why);
		if (err)
			return err;
	}
	return 0;
}

void chain_close(struct image *image)
{
	struct node *node = image->top.below;

	while (node) {
		struct node *below = node->below;

		node_close(node);
		free(node);
		node = below;
	}
}

unsigned chain_layers(const struct image *image)
{
	unsigned layers = 1;

	for (const struct node *node = image->top.below; node; node = node->below)
		layers++;
	return layers;
}
