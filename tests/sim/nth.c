/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One failure at every place: each host I/O of each short history fails once, with each error that it
 * may have.  The requests end with that error or well, a failed sync is final, nothing else is, and
 * the image is sound at every later moment.
 */
#include "play.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_JOBS 64u

static const char *const kind_names[STRIKE_KINDS] = {
	[STRIKE_EIO] = "EIO",	  [STRIKE_ENOSPC] = "ENOSPC",	    [STRIKE_EAGAIN] = "EAGAIN",
	[STRIKE_EINTR] = "EINTR", [STRIKE_ECANCELED] = "ECANCELED", [STRIKE_SHORT] = "a short end",
};

static struct stage stage;
static struct play play;
static struct cuts cuts;

struct tally {
	_Atomic uint64_t histories;
	_Atomic uint64_t failures;
	_Atomic uint64_t states;
};

/* Every place at which this can go wrong. */
static void play_kind(struct tally *tally, uint64_t number, unsigned length, enum strike_kind kind)
{
	uint64_t nth = 1;

	do {
		play = (struct play){
			.history = history_decode(number, length),
			.strike = { .kind = kind, .nth = nth++ },
			.seed = 1,
		};
		play_history(&stage, &play, &cuts);
		tally->failures += play.struck;
	} while (play.struck);
}

static void play_share(struct tally *tally, unsigned length, uint64_t first, uint64_t step)
{
	uint64_t count = histories(length);

	stage_init(&stage);
	for (uint64_t number = first; number < count; number += step) {
		for (unsigned kind = STRIKE_NONE + 1; kind < STRIKE_KINDS; kind++)
			play_kind(tally, number, length, (enum strike_kind)kind);
		tally->histories++;
		tally->states = cuts.states;
	}
}

static int run(unsigned length, uint64_t every, unsigned jobs)
{
	struct tally *tally = mmap(NULL, MAX_JOBS * sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t played = 0, failures = 0, states = 0;
	int failed = 0, status;

	must(tally != MAP_FAILED);
	for (unsigned i = 0; i < jobs; i++) {
		fflush(stdout);
		if (fork() == 0) {
			play_share(&tally[i], length, i * every, jobs * every);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	for (unsigned i = 0; i < jobs; i++) {
		played += tally[i].histories;
		failures += tally[i].failures;
		states += tally[i].states;
	}
	printf("%" PRIu64 " of %" PRIu64 " histories of %u requests, %" PRIu64 " failures, %" PRIu64
	       " states of the disk\n",
	       played, histories(length), length, failures, states);
	return failed ? 1 : 0;
}

static void report(void)
{
	const struct strike *strike = &stage.host.strike;

	fprintf(stderr, "io %" PRIu64 " ends with %s", strike->nth, kind_names[strike->kind]);
	if (strike->struck)
		fprintf(stderr, " (%s at %#" PRIx64 ")", strike->name, strike->off);
	fprintf(stderr, "; ");
	history_print(&play.history);
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
		"usage: nth [--length N] [--every N] [--pieces N] [--jobs N]\n"
		"  --length N   requests of a history, 1 to %u (1)\n"
		"  --every N    every Nth history only (1)\n"
		"  --pieces N   power cuts at all subsets of up to so many unsynced sectors (0)\n"
		"  --jobs N     processes (as many as there are processors)\n",
		HISTORY_LENGTH);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "length", required_argument, NULL, 'l' },
		{ "every", required_argument, NULL, 'e' },
		{ "pieces", required_argument, NULL, 'p' },
		{ "jobs", required_argument, NULL, 'j' },
		{ 0 },
	};
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned length = 1, jobs = processors > 0 ? (unsigned)processors : 1;
	uint64_t every = 1;
	int option;

	/* What the engine says about failures is no news. */
	log_threshold = LOG_ERROR;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;

		if (option == 'l')
			length = (unsigned)number;
		else if (option == 'e')
			every = number;
		else if (option == 'p')
			cuts.limit = (unsigned)number;
		else if (option == 'j')
			jobs = (unsigned)number;
		else
			usage();
	}
	if (optind < argc || length < 1 || length > HISTORY_LENGTH || jobs < 1 || jobs > MAX_JOBS ||
	    !every || cuts.limit > CUTS_LIMIT_MOST)
		usage();
	stage_report = report;
	return run(length, every, jobs);
}
