/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulator: lives by seed, in several processes, until one of them finds something. */
#include "crew.h"
#include "life.h"
#include "report.h"

#include "image.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef MUTANTS
#define HAS_MUTANTS true
#define MUTANT_NAME(name) [MUTANT_##name] = #name,
static const char *const mutant_names[] = { MUTANT_LIST(MUTANT_NAME) };

static bool plant(const char *name)
{
	for (unsigned i = MUTANT_NONE + 1; i < MUTANT_COUNT; i++)
		if (strcmp(name, mutant_names[i]) == 0)
			mutant_planted = (enum mutant)i;
	/* No bug: for the kill points, which only these builds have. */
	return mutant_planted != MUTANT_NONE || strcmp(name, "NONE") == 0;
}

/* Does a seed find something that is no mutant's doing? */
static bool fails_anyway(const struct crew_options *crew, uint64_t seed)
{
	struct crew_options one = *crew;
	struct finding finding;
	enum mutant planted = mutant_planted;

	one.first = seed;
	one.seeds = one.jobs = 1;
	one.quiet = true;
	mutant_planted = MUTANT_NONE;
	crew_run(&one, &finding);
	mutant_planted = planted;
	return finding.found;
}

/* The first seed that only the planted bug makes fail; false when the budget is used up before. */
static bool find_mutant(const struct crew_options *crew, struct finding *finding)
{
	struct crew_options left = *crew;
	uint64_t spent = 0;

	left.quiet = true;
	for (;;) {
		crew_run(&left, finding);
		spent += finding->milliseconds;
		finding->milliseconds = spent;
		if (!finding->found)
			return false;
		if (!fails_anyway(crew, finding->seed))
			return true;
		left.first = finding->seed + 1;
		if (left.seconds && spent >= left.seconds * 1000)
			return false;
	}
}

/* Plant one bug after the other; the number of those that were not found. */
static unsigned mutants(const struct crew_options *crew)
{
	unsigned survivors = 0;

	printf("%-22s %10s %8s  %s\n", "mutant", "seed", "ms", "found by");
	for (unsigned i = MUTANT_NONE + 1; i < MUTANT_COUNT; i++) {
		struct finding finding;
		bool found;

		mutant_planted = (enum mutant)i;
		found = find_mutant(crew, &finding);
		survivors += !found;
		if (found)
			printf("%-22s %10" PRIu64 " %8" PRIu64 "  %s\n", mutant_names[i],
			       finding.seed, finding.milliseconds, finding.message);
		else
			printf("%-22s %10s %8" PRIu64 "\n", mutant_names[i], "NOT FOUND",
			       finding.milliseconds);
		fflush(stdout);
	}
	return survivors;
}
#else
#define HAS_MUTANTS false

static bool plant(const char *name)
{
	(void)name;
	fprintf(stderr, "this build has no mutants; use the program of that name\n");
	return false;
}

static unsigned mutants(const struct crew_options *crew)
{
	(void)crew;
	return 1;
}
#endif

static const char usage[] =
	"usage: sim [OPTION...]\n"
	"  --seed N        run this seed, in this process\n"
	"  --first N       begin with this seed (1)\n"
	"  --seeds N       run so many seeds (2000, without --seconds)\n"
	"  --seconds N     run for so long\n"
	"  --jobs N        processes (as many as there are processors)\n"
	"  --keep-going    report every failing seed, not just the first\n"
	"  --mutant NAME   plant a bug (program `mutants`)\n"
	"  --qemu-check N  hold every Nth durable image against qemu-img check\n"
	"  --trace         print every event (with --seed)\n"
	"The program `mutants` is the same with planted bugs; without --seed and --mutant it plants\n"
	"one after the other, budgets are for each (60 seconds), and fails when one is not found.\n";

enum option_id {
	OPTION_SEED = 1,
	OPTION_FIRST,
	OPTION_SEEDS,
	OPTION_SECONDS,
	OPTION_JOBS,
	OPTION_KEEP_GOING,
	OPTION_MUTANT,
	OPTION_QEMU_CHECK,
	OPTION_TRACE,
};

static const struct option long_options[] = {
	{ "seed", required_argument, NULL, OPTION_SEED },
	{ "first", required_argument, NULL, OPTION_FIRST },
	{ "seeds", required_argument, NULL, OPTION_SEEDS },
	{ "seconds", required_argument, NULL, OPTION_SECONDS },
	{ "jobs", required_argument, NULL, OPTION_JOBS },
	{ "keep-going", no_argument, NULL, OPTION_KEEP_GOING },
	{ "mutant", required_argument, NULL, OPTION_MUTANT },
	{ "qemu-check", required_argument, NULL, OPTION_QEMU_CHECK },
	{ "trace", no_argument, NULL, OPTION_TRACE },
	{ 0 },
};

/* What the command line asks for. */
struct command {
	struct crew_options crew;
	uint64_t seed; /* 0: many */
};

static void parse_one(struct command *command, int option)
{
	uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;

	switch (option) {
	case OPTION_SEED:
		command->seed = number;
		break;
	case OPTION_FIRST:
		command->crew.first = number;
		break;
	case OPTION_SEEDS:
		command->crew.seeds = number;
		break;
	case OPTION_SECONDS:
		command->crew.seconds = number;
		break;
	case OPTION_JOBS:
		command->crew.jobs = (unsigned)number;
		break;
	case OPTION_KEEP_GOING:
		command->crew.keep_going = true;
		break;
	case OPTION_MUTANT:
		command->crew.mutant = optarg;
		if (!plant(optarg))
			exit(2);
		break;
	case OPTION_QEMU_CHECK:
		command->crew.qemu_check_every = (unsigned)number;
		break;
	case OPTION_TRACE:
		sim_trace = true;
		break;
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

static void parse(struct command *command, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		parse_one(command, option);
	if (optind < argc) {
		fputs(usage, stderr);
		exit(2);
	}
	if (HAS_MUTANTS && !command->crew.seeds && !command->crew.seconds)
		command->crew.seconds = 60;
	if (!command->crew.seeds)
		command->crew.seeds = command->crew.seconds ? UINT64_MAX : 2000;
}

static void run_one(const struct command *command)
{
	static struct tally tally;
	struct life_options options = { command->crew.qemu_check_every, &tally };

	lives_init(&options);
	lives_run(command->seed);
	printf("seed %" PRIu64 ": %" PRIu64 " lives, %" PRIu64 " crash states, %" PRIu64
	       " requests, %" PRIu64 " kills: nothing found\n",
	       command->seed, tally.lives, tally.cuts, tally.requests, tally.kills);
}

int main(int argc, char **argv)
{
	struct command command = { .crew = { .program = argv[0], .first = 1 } };
	struct finding finding;
	double seconds;

	/* A life may break its image a thousand times over; that is not news. */
	log_threshold = LOG_ERROR;
	parse(&command, argc, argv);
	if (command.seed) {
		run_one(&command);
		return 0;
	}
	if (HAS_MUTANTS && !command.crew.mutant)
		return mutants(&command.crew) ? 1 : 0;
	crew_run(&command.crew, &finding);
	seconds = (double)finding.milliseconds / 1000 + 0.001;
	printf("%" PRIu64 " seeds, %" PRIu64 " lives (%.0f/s), %" PRIu64
	       " crash states (%.0f/s), %" PRIu64 " kills (%.0f/s), %" PRIu64
	       " requests (%.0f/s), %" PRIu64 " asked of qemu-img, %.1f s\n",
	       finding.tally.seeds, finding.tally.lives, (double)finding.tally.lives / seconds,
	       finding.tally.cuts, (double)finding.tally.cuts / seconds, finding.tally.kills,
	       (double)finding.tally.kills / seconds, finding.tally.requests,
	       (double)finding.tally.requests / seconds, finding.tally.qemu_checks, seconds);
	return finding.found ? 1 : 0;
}
