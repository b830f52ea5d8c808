/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From header to header, as the engine goes when it opens a chain.  Tables are not looked at: they
 * change while somebody serves the image.
 */
#include "rehearse.h"
#include "handover_file.h"
#include "key.h"
#include "registry.h"
#include "user.h"

#include <errno.h>
#include <stdlib.h>

struct rehearsal {
	const struct options *options;
	struct backing backing;
	unsigned layers; /* so far */
	bool encrypted; /* one of them is */
	uint8_t *bytes; /* of a header */
};

/* Its name is empty where the header has none. */
static int take_name(const uint8_t *bytes, const struct header_range *range, char **name,
		     struct why *why)
{
	*name = strndup((const char *)bytes + range->off, range->len);
	return *name ? 0 : why_set(why, -ENOMEM, "out of memory");
}

static int read_header(struct rehearsal *rehearsal, struct host_file *file,
		       struct qcow2_header *header, struct why *why)
{
	int64_t got = file->read(file, rehearsal->bytes, QCOW2_HEADER_READ, 0);

	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the header: %s", file->name,
			       strerror((int)-got));
	return qcow2_header_decode(rehearsal->bytes, (size_t)got, file->name, header, why);
}

static int open_data(struct rehearsal *rehearsal, struct host_file *file,
		     const struct qcow2_header *header, struct why *why)
{
	struct host_file *data;
	char *name;
	int err = take_name(rehearsal->bytes, &header->data_file_name, &name, why);

	if (!err && header->incompatible & QCOW2_DATA_FILE && name[0])
		err = backing_open_data(&rehearsal->backing, file, name, &data, why);
	free(name);
	return err;
}

/* *@below: NULL when it has no header. */
static int open_named(struct rehearsal *rehearsal, struct host_file *file, const char *name,
		      const char *format, struct host_file **below, struct why *why)
{
	int err;

	if (rehearsal->layers == LIMIT_CHAIN)
		return why_set(why, -ENOTSUP, "%s: its chain is too long", file->name);
	if (!format[0] && file == &rehearsal->backing.top->host)
		format = rehearsal->options->backing_format;
	if (!format || !format[0])
		return why_set(why, -EINVAL,
			       "%s: does not record the format of its backing file %s", file->name,
			       name);
	err = backing_open(&rehearsal->backing, file, name, below, why);
	if (!err && strcmp(format, "qcow2") != 0)
		*below = NULL;
	return err;
}

/* *@below: NULL when there is nothing, or nothing that has a header. */
static int open_below(struct rehearsal *rehearsal, struct host_file *file,
		      const struct qcow2_header *header, struct host_file **below, struct why *why)
{
	char *name, *format = NULL;
	int err = take_name(rehearsal->bytes, &header->backing_name, &name, why);

	*below = NULL;
	if (!err)
		err = take_name(rehearsal->bytes, &header->backing_format, &format, why);
	if (!err && header->has_backing && name[0])
		err = open_named(rehearsal, file, name, format, below, why);
	free(format);
	free(name);
	return err;
}

static int open_chain(struct rehearsal *rehearsal, struct host_file *file, struct why *why)
{
	int err = 0;

	while (file && !err) {
		struct qcow2_header header;
		struct host_file *below = NULL;

		rehearsal->layers++;
		err = read_header(rehearsal, file, &header, why);
		if (!err)
			err = open_data(rehearsal, file, &header, why);
		if (!err)
			rehearsal->encrypted |= header.crypt_method == CRYPT_LUKS;
		if (!err)
			err = open_below(rehearsal, file, &header, &below, why);
		file = below;
	}
	return err;
}

static int open_files(struct rehearsal *rehearsal, struct why *why)
{
	const struct options *options = rehearsal->options;
	struct file_options how = { .read_only = true };
	struct file top;
	int err = file_open(&top, options->image, &how, why);

	if (err)
		return err;
	err = file_measure(&top, &how, why);
	backing_init(&rehearsal->backing, &top, &options->allow, false, false);
	rehearsal->backing.lacks_writes = handover_file_is_pending_for;
	if (!err)
		err = open_chain(rehearsal, &top.host, why);
	backing_close(&rehearsal->backing);
	file_close(&top);
	return err;
}

static int find_key(const struct options *options, bool needed, struct why *why)
{
	struct key key;
	int err = key_read(&key, options->key_file, why);

	if (!err && needed && !key.bytes)
		err = why_set(why, -ENOKEY, "%s: is encrypted; name its key with --key-file",
			      options->image);
	if (!err)
		key_forget(&key, false);
	return err;
}

int rehearse(const struct options *options, bool managed, struct why *why)
{
	struct rehearsal *rehearsal = calloc(1, sizeof(*rehearsal));
	uint8_t *bytes = malloc(QCOW2_HEADER_READ);
	bool needs_key = false;
	struct user user;
	int err;

	if (!rehearsal || !bytes) {
		err = why_set(why, -ENOMEM, "out of memory");
	} else {
		rehearsal->options = options;
		rehearsal->bytes = bytes;
		err = registry_folder_make(why);
		if (!err)
			err = open_files(rehearsal, why);
		needs_key = rehearsal->encrypted && !managed;
	}
	free(bytes);
	free(rehearsal);
	if (!err)
		err = find_key(options, needs_key, why);
	if (!err && options->user)
		err = user_find(&user, options->user, why);
	return err;
}
