/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All short histories: every sequence of a few small requests, on images of many kinds, with a look
 * at every state that a power cut after each host I/O may leave.
 */
#include "mutants.h"
#include "play.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 64u

static struct stage stage;
static struct play play;
static struct cuts cuts = { .limit = 12, .reopen_every = 500 };
static struct memo memo;
static uint64_t number_played;

/* Shared between processes. */
struct totals {
	_Atomic uint64_t next; /* history to be dealt, in the order of playing */
	_Atomic uint64_t played;
	_Atomic uint64_t moments, known, wide, sampled;
	_Atomic uint64_t states, subsets, reopened;
	_Atomic unsigned kinds; /* of which all histories have been played */
	_Atomic bool failed;
	_Atomic uint64_t failures;
	_Atomic uint64_t played_of[]; /* by kind */
};

/* What the command line asks for, and what is done of it. */
struct campaign {
	unsigned length;
	unsigned jobs;
	uint64_t first; /* history, in the order of playing */
	uint64_t step; /* every so many-th */
	uint64_t number; /* of the only one; UINT64_MAX: all */
	unsigned image; /* only histories on this kind; history_kinds(): on all */
	uint64_t seconds; /* budget; 0: none */
	uint64_t seed; /* of images */
	bool plain; /* each state by itself */
	bool keep_going; /* each history by itself, whatever becomes of others */
	bool mutant; /* there is a bug, which is to be found */
	uint64_t started; /* milliseconds */
	struct totals *tally;
};

/* --- all of them ------------------------------------------------------------------------------------ */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Of one kind. */
static uint64_t count_one(const struct campaign *campaign)
{
	return histories(campaign->length) / history_kinds();
}

/* Of those asked for. */
static uint64_t count_all(const struct campaign *campaign)
{
	return campaign->image < history_kinds() ? count_one(campaign) :
						   histories(campaign->length);
}

/* Scattered, so that some are a fair sample of all: the count has no such prime factor. */
static uint64_t scatter(uint64_t nth, uint64_t count)
{
	return (uint64_t)((unsigned __int128)nth * 1000003 % count);
}

/* One kind after the other, when it is all of them.  A history's kind is its number's last digit. */
static uint64_t number_of(const struct campaign *campaign, uint64_t nth)
{
	uint64_t count = count_one(campaign), kind = nth / count;

	if (campaign->number != UINT64_MAX)
		return campaign->number;
	if (campaign->image < history_kinds())
		kind = campaign->image;
	else if (campaign->step > 1)
		return scatter(nth, count_all(campaign));
	return scatter(nth % count, count) * history_kinds() + kind;
}

static void note_played(struct campaign *campaign, unsigned kind)
{
	struct totals *tally = campaign->tally;

	tally->played++;
	tally->moments += cuts.moments;
	tally->known += cuts.known;
	tally->wide += cuts.wide;
	tally->sampled += cuts.sampled;
	tally->states += cuts.states;
	tally->subsets += cuts.subsets;
	tally->reopened += cuts.reopened;
	cuts.moments = cuts.known = cuts.wide = cuts.sampled = 0;
	cuts.states = cuts.subsets = cuts.reopened = 0;
	if (++tally->played_of[kind] == count_one(campaign)) {
		tally->kinds++;
		printf("kind %u is complete, %.1f s, %" PRIu64 " states\n", kind,
		       (double)(now_ms() - campaign->started) / 1000, tally->states);
		fflush(stdout);
	}
}

static void play_one(struct campaign *campaign)
{
	play = (struct play){ .seed = campaign->seed };
	play.history = history_decode(number_played, campaign->length);
	play_history(&stage, &play, &cuts);
	note_played(campaign, play.history.kind);
}

/* In a process of its own, which knows nothing of what others have looked at. */
static void play_alone(struct campaign *campaign)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		memo_init(&memo, 1u << 14);
		play_one(campaign);
		_exit(0);
	}
	must(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status) {
		campaign->tally->failures++;
		printf("failed: %" PRIu64 "\n", number_played);
		fflush(stdout);
	}
}

static void play_share(struct campaign *campaign)
{
	uint64_t until = campaign->started + campaign->seconds * 1000;
	uint64_t nth, count = campaign->number == UINT64_MAX ? count_all(campaign) : 1;

	stage_init(&stage);
	while ((nth = campaign->first + campaign->tally->next++ * campaign->step) < count) {
		if ((campaign->seconds && now_ms() >= until) || campaign->tally->failed)
			break;
		number_played = number_of(campaign, nth);
		if (campaign->keep_going)
			play_alone(campaign);
		else
			play_one(campaign);
	}
}

static void sum_up(const struct campaign *campaign)
{
	const struct totals *tally = campaign->tally;
	double seconds = (double)(now_ms() - campaign->started) / 1000 + 0.001;
	uint64_t looked = tally->moments - tally->known;

	printf("%" PRIu64 " of %" PRIu64
	       " histories of %u requests, %u of %u kinds complete, %.1f s\n",
	       tally->played, count_all(campaign), campaign->length, tally->kinds,
	       campaign->image < history_kinds() ? 1 : history_kinds(), seconds);
	printf("%" PRIu64 " moments, %" PRIu64 " the same as one before; of the other %" PRIu64
	       ", %" PRIu64 " with more than %u unsynced sectors, %" PRIu64
	       " by a sample, all others whole\n",
	       tally->moments, tally->known, looked, tally->wide, cuts.limit, tally->sampled);
	printf("%" PRIu64 " states of the disk looked at (%.0f/s), %" PRIu64
	       " of them opened and used; that covers %" PRIu64
	       " subsets of up to %u sectors, and the wider moments\n",
	       tally->states, (double)tally->states / seconds, tally->reopened, tally->subsets,
	       cuts.limit);
}

static int run(struct campaign *campaign)
{
	size_t bytes =
		sizeof(*campaign->tally) + history_kinds() * sizeof(campaign->tally->played_of[0]);
	int failed = 0, status;

	campaign->started = now_ms();
	campaign->tally =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(campaign->tally != MAP_FAILED);
	memo_init(&memo, 1u << 25);
	cuts.memo = campaign->plain ? NULL : &memo;
	for (unsigned i = 0; i < campaign->jobs; i++) {
		fflush(stdout);
		if (fork() == 0) {
			play_share(campaign);
			_exit(0);
		}
	}
	while (wait(&status) > 0) {
		failed |= status;
		campaign->tally->failed |= status != 0;
	}
	sum_up(campaign);
	if (campaign->tally->failures)
		printf("%" PRIu64 " histories failed\n", campaign->tally->failures);
	return (failed || campaign->tally->failures) == campaign->mutant ? 0 : 1;
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
		"usage: exhaustive [OPTION...]\n"
		"  --length N   requests of a history, 1 to %u (2)\n"
		"  --pieces N   all subsets of up to so many unsynced sectors, of more a sample, unless\n"
		"               that many looks show all (12)\n"
		"  --every N    every Nth history only, of all kinds (1: all, one kind after the other)\n"
		"  --first N    begin with the Nth (0)\n"
		"  --number N   only the one with this number, as in reports\n"
		"  --image N    on one kind of image only, of %u, from 0 on\n"
		"  --seconds N  end after so long\n"
		"  --reopen N   open every Nth state of the disk, use it, close it (500; 0: none)\n"
		"  --seed N     of the images' contents (1)\n"
		"  --plain      look at each state by itself, however many are the same\n"
		"  --keep-going each history by itself: name all that fail\n"
		"  --mutant M   with this bug, which is to be found; if the program has any\n"
		"  --jobs N     processes (as many as there are processors)\n",
		HISTORY_LENGTH, history_kinds());
	exit(2);
}

static void parse_one(struct campaign *campaign, int option, uint64_t number)
{
	switch (option) {
	case 'l':
		campaign->length = (unsigned)number;
		break;
	case 'p':
		cuts.limit = (unsigned)number;
		break;
	case 'e':
		campaign->step = number;
		break;
	case 'f':
		campaign->first = number;
		break;
	case 'i':
		campaign->image = (unsigned)number;
		break;
	case 's':
		campaign->seconds = number;
		break;
	case 'r':
		cuts.reopen_every = number;
		break;
	case 'S':
		campaign->seed = number;
		break;
	case 'n':
		campaign->number = number;
		break;
	case 'P':
		campaign->plain = true;
		break;
	case 'k':
		campaign->keep_going = true;
		break;
	case 'j':
		campaign->jobs = (unsigned)number;
		break;
	default:
		usage();
	}
}

static void parse(struct campaign *campaign, int argc, char **argv)
{
	static const struct option options[] = {
		{ "length", required_argument, NULL, 'l' },
		{ "pieces", required_argument, NULL, 'p' },
		{ "every", required_argument, NULL, 'e' },
		{ "first", required_argument, NULL, 'f' },
		{ "image", required_argument, NULL, 'i' },
		{ "seconds", required_argument, NULL, 's' },
		{ "reopen", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 'S' },
		{ "number", required_argument, NULL, 'n' },
		{ "plain", no_argument, NULL, 'P' },
		{ "keep-going", no_argument, NULL, 'k' },
		{ "mutant", required_argument, NULL, 'm' },
		{ "jobs", required_argument, NULL, 'j' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'm')
			parse_one(campaign, option, optarg ? strtoull(optarg, NULL, 0) : 0);
		else if (!mutants_plant(optarg))
			usage();
		else
			campaign->mutant = strcmp(optarg, "NONE") != 0;
	}
	if (optind < argc || campaign->length < 1 || campaign->length > HISTORY_LENGTH ||
	    campaign->jobs < 1 || campaign->jobs > MAX_JOBS || !campaign->step ||
	    cuts.limit > CUTS_LIMIT_MOST)
		usage();
}

static void report(void)
{
	history_print(&play.history);
	fprintf(stderr, "again: exhaustive --length %u --number %" PRIu64 " --seed %" PRIu64 "\n",
		play.history.length, number_played, play.seed);
}

int main(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct campaign campaign = {
		.length = 2,
		.jobs = processors > 0 ? (unsigned)processors : 1,
		.step = 1,
		.seed = 1,
		.image = history_kinds(),
		.number = UINT64_MAX,
	};

	stage_report = report;
	parse(&campaign, argc, argv);
	return run(&campaign);
}
