/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order of things: look, repair, look again, and only then call the image clean. */
#include "copied.h"
#include "mapping.h"
#include "refcounts.h"
#include "snapshot_table.h"
#include "survey.h"

#include <errno.h>
#include <inttypes.h>

/* Look at the image as it is now.  What was fixed before stays fixed. */
static int look(struct check *check)
{
	*check->result = (struct check_result){
		.corruptions_fixed = check->result->corruptions_fixed,
		.leaks_fixed = check->result->leaks_fixed,
	};
	return survey(check);
}

/* Flags follow the refcounts where nothing else is wrong: a cluster that had leaked is single again. */
static int repair_leaks(struct check *check)
{
	const struct check_result *result = check->result;
	bool flags = result->corruptions == check->wrong_flags && !result->check_errors &&
		     result->corruptions + result->leaks;
	int err;

	if (check->rebuild || check->zero_refcounts)
		return why_set(check->why, -EUCLEAN,
			       "%s: the refcounts must be made anew; repair with --repair all",
			       check->file->name);
	err = result->leaks ? refcounts_fix(check, false) : 0;
	return err || !flags ? err : copied_fix(check);
}

/* Then release the old table and blocks, of which nobody has heard. */
static int rebuild(struct check *check)
{
	struct check_result before = *check->result, *now = check->result;
	int err = refcounts_rebuild(check);
	uint64_t end = check->refs.end_cluster;

	if (!err)
		err = look(check);
	if (err)
		return err;
	/* The old table may have lain behind all that is left. */
	check->refs.end_cluster = max_u64(check->refs.end_cluster, end);
	before.corruptions += before.check_errors;
	before.corruptions -= min_u64(before.corruptions, now->corruptions);
	now->corruptions_fixed += before.corruptions;
	err = refcounts_fix(check, true);
	now->leaks_fixed = before.leaks_fixed + (check->out_of_reach ? 0 : before.leaks);
	return err;
}

/*
 * What changes references comes first, and is followed by another look.  Raised refcounts are
 * durable before a COPIED flag may rely on them.
 */
static int repair_all(struct check *check)
{
	int err = 0;

	if (check->mendable) {
		err = mapping_mend(check);
		if (!err)
			err = look(check);
	}
	if (!err && check->bad_snapshots) {
		err = snapshot_table_rewrite(check);
		if (!err)
			err = look(check);
	}
	if (err ||
	    !(check->result->corruptions | check->result->leaks | check->result->check_errors))
		return err;
	if (check->rebuild || check->rebuild_all)
		err = rebuild(check);
	else
		err = refcounts_fix(check, true);
	return err ? err : copied_fix(check);
}

static int write_features(struct check *check, uint64_t at, uint64_t bits)
{
	struct be64 raw = be64_make(bits);
	int err = access_write(check->file, at, &raw, sizeof(raw), check->why);

	return err ? err : access_sync(check->file, check->why);
}

/* Others keep what we do not know in step with the image, which is about to change. */
static int clear_unknown_autoclear(struct check *check)
{
	uint64_t known = check->header.autoclear & (QCOW2_BITMAPS | QCOW2_DATA_FILE_RAW);
	int err;

	if (known == check->header.autoclear)
		return 0;
	err = write_features(check, QCOW2_AT_AUTOCLEAR, known);
	return err ? err : look(check);
}

static int clear_marks(struct check *check)
{
	uint64_t marks = QCOW2_DIRTY | QCOW2_CORRUPT;

	if (check->result->corruptions | check->result->check_errors ||
	    !(check->header.incompatible & marks))
		return 0;
	return write_features(check, QCOW2_AT_INCOMPATIBLE, check->header.incompatible & ~marks);
}

/*
 * A damaged entry does not lead any more to what it was for, which therefore counts as leaked: as long as
 * nobody frees that, somebody may find it.
 */
static int may_repair(struct check *check)
{
	if (!check->options->all_or_nothing)
		return 0;
	mapping_note_lasting(check);
	if (!check->result->lasting)
		return 0;
	return why_set(check->why, -EUCLEAN, "%s: %" PRIu64 " errors in it cannot be repaired",
		       check->file->name, check->result->lasting);
}

static int repair(struct check *check)
{
	const struct check_result *result = check->result;
	bool is_clean = !(result->corruptions | result->leaks | result->check_errors);
	uint64_t none = 0;
	int err = may_repair(check);

	if (!err)
		err = clear_unknown_autoclear(check);
	if (!err && check->options->repair == CHECK_REPAIR_ALL)
		err = repair_all(check);
	else if (!err)
		err = repair_leaks(check);
	if (!err && !is_clean)
		err = look(check);
	if (!err && check->out_of_reach && result->leaks)
		found(check, &none, 0,
		      "The leaks are left as they are: a table that cannot be read may refer to them");
	return err ? err : clear_marks(check);
}

int check_image(struct check_file *file, const struct check_options *options,
		struct check_result *result, struct why *why)
{
	struct check check = { .file = file, .options = options, .result = result, .why = why };
	int err;

	*result = (struct check_result){ 0 };
	err = options->repair == CHECK_ONLY ? 0 : access_settle(file, why);
	if (!err)
		err = survey(&check);
	if (!err && options->repair != CHECK_ONLY)
		err = repair(&check);
	survey_release(&check);
	return err;
}

enum check_status check_status(const struct check_result *result)
{
	if (result->check_errors)
		return CHECK_FAILED;
	if (result->corruptions)
		return CHECK_CORRUPT;
	return result->leaks ? CHECK_LEAKS : CHECK_CLEAN;
}
