/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulator: lives by seed, in several processes, until one of them finds something. */
#include "config.h"
#include "crew.h"
#include "life.h"
#include "mutants.h"
#include "report.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
	"usage: sim [OPTION...]\n"
	"  --seed N        run this seed, in this process\n"
	"  --first N       begin with this seed (1)\n"
	"  --seeds N       run so many seeds (2000, without --seconds)\n"
	"  --seconds N     run for so long\n"
	"  --aim NAME      only seeds that aim at this; again: and at this (config.h)\n"
	"  --jobs N        processes (as many as there are processors)\n"
	"  --keep-going    report every failing seed, not just the first\n"
	"  --mutant NAME   plant a bug, by its name or number (program `mutants`)\n"
	"  --spare         with --mutant: all that comes with the bug, but not the bug itself\n"
	"  --qemu-check N  hold every Nth durable image against qemu-img check and our own\n"
	"  --trace         print every event (with --seed)\n"
	"The program `mutants` is the same with planted bugs; without --seed and --mutant it plants\n"
	"one after the other, budgets are for each (60 seconds), and fails when one is not found.\n"
	"  --named            only those that have names, not each barrier\n"
	"  --barriers         only those that have none\n"
	"  --hinted           only those that the hints know a seed for\n"
	"  --missing          only those that they know none for\n"
	"  --every N          only every Nth\n"
	"  --hints FILE       try these seeds first: those that have found a mutant before\n"
	"  --save-hints FILE  write such a file, with what the hints say of those not tried\n"
	"  --exceptions FILE  those that nothing can find, with the reason of each: not tried\n";

enum option_id {
	OPTION_SEED = 1,
	OPTION_FIRST,
	OPTION_SEEDS,
	OPTION_SECONDS,
	OPTION_AIM,
	OPTION_JOBS,
	OPTION_KEEP_GOING,
	OPTION_MUTANT,
	OPTION_NAMED,
	OPTION_BARRIERS,
	OPTION_HINTED,
	OPTION_MISSING,
	OPTION_EVERY,
	OPTION_HINTS,
	OPTION_SAVE_HINTS,
	OPTION_EXCEPTIONS,
	OPTION_SPARE,
	OPTION_QEMU_CHECK,
	OPTION_TRACE,
};

static const struct option long_options[] = {
	{ "seed", required_argument, NULL, OPTION_SEED },
	{ "first", required_argument, NULL, OPTION_FIRST },
	{ "seeds", required_argument, NULL, OPTION_SEEDS },
	{ "seconds", required_argument, NULL, OPTION_SECONDS },
	{ "aim", required_argument, NULL, OPTION_AIM },
	{ "jobs", required_argument, NULL, OPTION_JOBS },
	{ "keep-going", no_argument, NULL, OPTION_KEEP_GOING },
	{ "mutant", required_argument, NULL, OPTION_MUTANT },
	{ "named", no_argument, NULL, OPTION_NAMED },
	{ "barriers", no_argument, NULL, OPTION_BARRIERS },
	{ "hinted", no_argument, NULL, OPTION_HINTED },
	{ "missing", no_argument, NULL, OPTION_MISSING },
	{ "every", required_argument, NULL, OPTION_EVERY },
	{ "hints", required_argument, NULL, OPTION_HINTS },
	{ "save-hints", required_argument, NULL, OPTION_SAVE_HINTS },
	{ "exceptions", required_argument, NULL, OPTION_EXCEPTIONS },
	{ "spare", no_argument, NULL, OPTION_SPARE },
	{ "qemu-check", required_argument, NULL, OPTION_QEMU_CHECK },
	{ "trace", no_argument, NULL, OPTION_TRACE },
	{ 0 },
};

/* What the command line asks for. */
struct command {
	struct crew_options crew;
	uint64_t seed; /* 0: many */
};

/* What is asked of the program `mutants`; false: something else is. */
static bool parse_mutants(struct crew_options *crew, int option)
{
	switch (option) {
	case OPTION_NAMED:
		crew->named = true;
		return true;
	case OPTION_BARRIERS:
		crew->barriers = true;
		return true;
	case OPTION_HINTED:
		crew->hinted = true;
		return true;
	case OPTION_MISSING:
		crew->missing = true;
		return true;
	case OPTION_EVERY:
		crew->every = (unsigned)strtoul(optarg, NULL, 0);
		return true;
	case OPTION_HINTS:
		crew->hints = optarg;
		return true;
	case OPTION_SAVE_HINTS:
		crew->save_hints = optarg;
		return true;
	case OPTION_EXCEPTIONS:
		crew->exceptions = optarg;
		return true;
	}
	return false;
}

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
	case OPTION_AIM:
		if (!config_aim(optarg))
			exit(2);
		command->crew.aims |= config_aim(optarg);
		break;
	case OPTION_JOBS:
		command->crew.jobs = (unsigned)number;
		break;
	case OPTION_KEEP_GOING:
		command->crew.keep_going = true;
		break;
	case OPTION_MUTANT:
		command->crew.mutant = optarg;
		if (!mutants_plant(optarg))
			exit(2);
		break;
	case OPTION_SPARE:
		mutants_spare();
		break;
	case OPTION_QEMU_CHECK:
		command->crew.qemu_check_every = (unsigned)number;
		break;
	case OPTION_TRACE:
		sim_trace = true;
		break;
	default:
		if (parse_mutants(&command->crew, option))
			return;
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
	if (mutants_are_there && !command->crew.seeds && !command->crew.seconds)
		command->crew.seconds = 60;
	if (!command->crew.seeds)
		command->crew.seeds = command->crew.seconds ? UINT64_MAX : 2000;
}

static void run_one(const struct command *command)
{
	static struct tally tally;
	struct life_options options = { .qemu_check_every = command->crew.qemu_check_every,
					.tally = &tally };

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
	if (mutants_are_there && !command.crew.mutant)
		return mutants_find_all(&command.crew) ? 1 : 0;
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
