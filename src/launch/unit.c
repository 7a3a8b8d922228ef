/*
 * The launcher `systemd`.
 *
 * Start: the message of unit_start.c for each worker of a batch, then each is waited for until
 * it says that it begins (unit_input.c). The name of a unit is that of its run, so a start
 * whose answer was lost (a bus or a manager that was started anew meanwhile) is simply asked
 * for again: the manager refuses a second unit of one name, and then the first is ours. A start
 * that is given up is taken back, so that a manager which comes to it later starts nothing; one
 * whose launcher died before it was recorded is found by its name (unit_find()).
 *
 * End: the loop sees the process end by its pidfd; how it ended is asked of the manager, which
 * is told a moment later, and keeps it. Whoever takes over asks the same, also for what ended
 * while nobody was there. When that is booked, the unit is collected: what is left in its group
 * is killed, and the manager forgets it.
 */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "launch/identity.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define UNIT_CALL_US  UINT64_C(10000000)      /* bound of one call */
#define UNIT_START_MS 15000                   /* of a start with all its tries */
#define UNIT_SWEEP_US (INT64_C(90) * 1000000) /* after its end a unit is nobody's */
#define UNIT_END_US   UINT64_C(2000000) /* bound of one question: a tick may wait for it */
#define UNIT_BEGUN_US UINT64_C(1000000) /* 126 or 127 within it: as WORKER_BEGUN_MS */
#define UNIT_ASK_MS   16   /* of waiting, before the manager is asked what keeps it */
#define UNIT_FIND_MS  5000 /* until a unit that is there is a worker, or over */
#define UNIT_END_MS   2000 /* so long it is waited for that the manager hears of an end */

/* Longer from time to time. */
static void unit_pause(unsigned *ms)
{
	(void)poll(NULL, 0, (int)*ms);
	*ms = *ms < 100 ? *ms * 2 : 100;
}

static bool unit_is_over(const struct unit_state *state)
{
	return state->code != 0 || strcmp(state->active, "failed") == 0;
}

/* Hold on to the process: by pidfd, and only if it is what the board would call its worker. */
static void unit_hold(const struct launcher *launcher, const struct launch_spec *spec,
		      pid_t pid, struct launch_result *result)
{
	const struct identity_claim claim = {
		.pid = pid, .task = spec->task, .run = spec->run, .db = spec->db_path
	};
	CLEANUP(fs_closep) int pidfd = spawn_pidfd(pid);
	char boot[PROC_STARTED_MAX];

	if (launcher->prepared)
		(void)snprintf(boot, sizeof(boot), "%s", launcher->prepared->boot);
	else
		proc_boot(boot);
	result->pid = pid;
	proc_started(boot, pid, result->started);
	/* gone already, or the number is somebody else's by now: the manager knows the end */
	if (pidfd >= 0 && identity_check(&claim) != IDENTITY_DEAD)
		result->pidfd = spawn_fd_steal(&pidfd);
}

/* What a manager that answers says of a worker that has not begun. Return: 0 it may yet;
 * -EAGAIN the connection broke; -errno (@e says why). */
static int unit_unbegun(sd_bus *bus, const char *name, struct error *e)
{
	struct unit_state state;
	int r = unit_bus_process(bus, name, &state);

	if (r < 0)
		(void)error_errno(e, r, "cannot ask the service manager");
	if (r < 0)
		return unit_bus_lost(r) ? -EAGAIN : r;
	if (unit_is_over(&state))
		return error_set(e, -EIO,
				 "the service manager could not set the worker up (status %d): "
				 "systemctl status %s says why",
				 (int)state.status, name);
	return 0;
}

/* Wait until the worker begins, at most until @end. Return: 0 and @pid; else as
 * unit_unbegun(). */
static int unit_await(sd_bus *bus, const char *name, int hold, uint64_t end, pid_t *pid,
		      struct error *e)
{
	unsigned pause = 1;

	while ((*pid = unit_input_begun(hold)) == 0) {
		int r = pause < UNIT_ASK_MS ? 0 : unit_unbegun(bus, name, e);

		if (r < 0)
			return (*pid = unit_input_begun(hold)) == 0 ? r : 0;
		if (clock_mono_ms() >= end)
			return error_set(e, -ETIMEDOUT,
					 "the service manager did not start the worker in %d s",
					 UNIT_START_MS / 1000);
		unit_pause(&pause);
	}
	return 0;
}

/* Is the unit of that name, which was there before, the one of our run? */
static bool unit_is_ours(sd_bus *bus, const char *name, const struct launch_run *run)
{
	struct unit_state state;
	char description[512];

	unit_description(run, description, sizeof(description));
	return unit_bus_state(bus, name, &state) == 0 &&
	       strcmp(state.description, description) == 0;
}

/* One try. Return: 0; -EAGAIN the connection broke; -errno (@e says why). */
static int unit_try(const struct launch_order *o, const struct launch_run *run, int input,
		    struct error *e)
{
	CLEANUP(unit_bus_close) sd_bus *bus = NULL;
	sd_bus_message *call = NULL;
	char name[UNIT_NAME_SIZE];
	int r = unit_bus_open(o->launcher->manager, UNIT_CALL_US, &bus);

	unit_name(run, name);
	if (r < 0) {
		(void)error_errno(e, r, "cannot reach the service manager");
		return -EAGAIN;
	}
	r = unit_start_call(bus, o, input, &call);
	if (r < 0)
		return error_errno(e, r, "cannot describe the worker to the service manager");
	r = unit_bus_send(bus, call, e);
	(void)sd_bus_message_unref(call);
	if (unit_bus_lost(r))
		return -EAGAIN;
	if (r == -EEXIST && !unit_is_ours(bus, name, run))
		return error_set(e, r, "there is a unit %s already, of another root", name);
	/* what it refuses is of its own settings and of ours, no task can help it */
	return r == 0 || r == -EEXIST ? 0 : -EHOSTDOWN;
}

static struct launch_run unit_run(const struct launch_spec *spec)
{
	return (struct launch_run){
		.root = spec->root, .board = spec->board, .task = spec->task, .run = spec->run
	};
}

/* A manager that is not to be reached, or refuses, is this host's fault: see
 * launch_host_fault(). */
static int unit_outcome(int r, struct error *e)
{
	if (r < 0)
		error_cause(e, r == -EAGAIN ? -ECONNREFUSED : r);
	return r < 0 ? LAUNCH_SPAWN_FAILED : 0;
}

static int unit_start(const struct launch_order *o, struct launch_result *result,
		      struct error *e)
{
	const struct launch_run run = unit_run(o->spec);
	CLEANUP(fs_closep) int input = unit_input_new(o);
	CLEANUP(fs_closep) int hold = input < 0 ? input : unit_input_hold(input);
	uint64_t end = clock_mono_ms() + UNIT_START_MS;
	unsigned pause = 5;
	int r;

	if (hold < 0)
		return unit_outcome(
			error_errno(e, hold,
				    "cannot describe the worker to the service manager"),
			e);
	while ((r = unit_try(o, &run, input, e)) == -EAGAIN && clock_mono_ms() < end)
		unit_pause(&pause);
	/* of a manager that did not answer: it may come to it later, or has already */
	if (r < 0 && !unit_input_take_back(hold))
		r = 0;
	result->pending = r == 0;
	if (r == 0)
		result->pidfd = spawn_fd_steal(&hold);
	return unit_outcome(r, e);
}

static int unit_finish(const struct launcher *launcher, const struct launch_spec *spec,
		       struct launch_result *result, struct error *e)
{
	const struct launch_run run = unit_run(spec);
	CLEANUP(fs_closep) int hold = spawn_fd_steal(&result->pidfd);
	uint64_t end = clock_mono_ms() + UNIT_START_MS;
	pid_t pid = unit_input_begun(hold);
	char name[UNIT_NAME_SIZE];
	unsigned pause = 5;
	int r = pid > 0 ? 0 : -EAGAIN;

	unit_name(&run, name);
	while (r == -EAGAIN && clock_mono_ms() < end) {
		CLEANUP(unit_bus_close) sd_bus *bus = NULL;

		r = unit_bus_open(launcher->manager, UNIT_CALL_US, &bus);
		if (r == 0) {
			r = unit_await(bus, name, hold, end, &pid, e);
		} else {
			(void)error_errno(e, r, "cannot reach the service manager");
			r = -EAGAIN;
			unit_pause(&pause);
		}
	}
	if (r < 0 && !unit_input_take_back(hold)) {
		pid = unit_input_begun(hold);
		r = 0;
	}
	if (r == 0)
		unit_hold(launcher, spec, pid, result);
	return unit_outcome(r, e);
}

/* Is that process the worker of the run, and no more what is to become it? */
static bool unit_has_begun(const struct launch_run *run, pid_t pid)
{
	const struct identity_claim claim = {
		.pid = pid, .task = run->task, .run = run->run, .db = run->db
	};

	return identity_check(&claim) == IDENTITY_OURS;
}

/* Questions about the unit of one run, until a time. */
struct unit_ask {
	sd_bus *bus;
	char name[UNIT_NAME_SIZE], description[512];
	uint64_t end;
	unsigned pause;
};

static int unit_ask_open(struct unit_ask *ask, const struct launcher *launcher,
			 const struct launch_run *run, uint64_t call_us, uint64_t ms)
{
	*ask = (struct unit_ask){ .end = clock_mono_ms() + ms, .pause = 1 };
	unit_name(run, ask->name);
	unit_description(run, ask->description, sizeof(ask->description));
	return unit_bus_open(launcher->manager, call_us, &ask->bus);
}

static void unit_ask_close(struct unit_ask *ask)
{
	unit_bus_close(&ask->bus);
}

/* Return: 0; 1 the manager has none of that run; -errno. */
static int unit_ask(struct unit_ask *ask, struct unit_state *state)
{
	int r = unit_bus_state(ask->bus, ask->name, state);

	return r == -ENOENT || (r == 0 && strcmp(state->description, ask->description) != 0)
		       ? 1
		       : r;
}

/* Return: false: it is time to give up. */
static bool unit_ask_again(struct unit_ask *ask)
{
	if (clock_mono_ms() >= ask->end)
		return false;
	unit_pause(&ask->pause);
	return true;
}

static int unit_find(const struct launcher *launcher, const struct launch_run *run, pid_t *pid)
{
	CLEANUP(unit_ask_close) struct unit_ask ask;
	int r = unit_ask_open(&ask, launcher, run, UNIT_END_US, UNIT_FIND_MS);

	while (r == 0) {
		struct unit_state state;

		r = unit_ask(&ask, &state);
		if (r != 0)
			return r;
		*pid = (pid_t)state.pid;
		/* also one that has ended: it is asked about next */
		if (*pid > 0 && (unit_is_over(&state) || unit_has_begun(run, *pid)))
			return 0;
		if (unit_is_over(&state))
			return 1;
		if (!unit_ask_again(&ask))
			return -ETIMEDOUT;
	}
	return r;
}

static void unit_told(const struct unit_state *state, struct ending *ending)
{
	static const struct {
		const char *result;
		enum ending_why why;
	} known[] = {
		{ "oom-kill", ENDING_OUT_OF_MEMORY },
		{ "timeout", ENDING_OVER_TIME },
		{ "watchdog", ENDING_WATCHDOG },
	};

	*ending = (struct ending){
		.kind = state->code == CLD_EXITED ? ENDING_EXITED : ENDING_SIGNALED,
		.value = state->status,
	};
	if (state->code == CLD_EXITED && state->status == UNIT_UNWANTED)
		ending->why = ENDING_BY_HOST;
	if (state->code == CLD_EXITED && (state->status == 126 || state->status == 127) &&
	    state->exited_us - state->begun_us < UNIT_BEGUN_US)
		ending->why = ENDING_UNBEGUN;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(state->result, known[i].result) == 0)
			ending->why = known[i].why;
}

static int unit_ended(const struct launcher *launcher, const struct launch_run *run,
		      struct ending *ending)
{
	CLEANUP(unit_ask_close) struct unit_ask ask;
	int r = unit_ask_open(&ask, launcher, run, UNIT_END_US, UNIT_END_MS);

	while (r == 0) {
		struct unit_state state;

		r = unit_ask(&ask, &state);
		if (r != 0)
			return r;
		if (run->pid > 0 && (pid_t)state.pid != run->pid)
			return 1;
		if (state.code != 0) {
			unit_told(&state, ending);
			/* none of what it left behind goes on */
			IGNORE(unit_bus_kill(ask.bus, ask.name));
			return 0;
		}
		/* it has much to do, and will hear of it */
		if (!unit_ask_again(&ask))
			return -EAGAIN;
	}
	return r;
}

/* What is left in its group has no worker any more; nothing left is as good. */
static void unit_forget(sd_bus *bus, const char *name)
{
	IGNORE(unit_bus_kill(bus, name));
	IGNORE(unit_bus_call(bus, "StopUnit", name));
	IGNORE(unit_bus_call(bus, "ResetFailedUnit", name));
}

static void unit_collect(const struct launcher *launcher, const struct launch_run *run)
{
	CLEANUP(unit_ask_close) struct unit_ask ask;
	struct unit_state state;

	if (unit_ask_open(&ask, launcher, run, UNIT_CALL_US, 0) != 0 ||
	    unit_ask(&ask, &state) != 0 || !unit_is_over(&state))
		return; /* it is asked for again when kanband starts */
	unit_forget(ask.bus, ask.name);
}

/* A unit that ended so long ago that its end was booked, or never will be. */
static void unit_sweep_one(sd_bus *bus, const char *name, void *arg)
{
	const char *on = arg;
	struct unit_state state;
	const char *found;

	if (unit_bus_state(bus, name, &state) < 0 || !unit_is_over(&state))
		return;
	found = strstr(state.description, " on ");
	if (found && strcmp(found, on) == 0 &&
	    clock_wall_us() - (int64_t)state.exited_us > UNIT_SWEEP_US)
		unit_forget(bus, name);
}

static void unit_sweep(const struct launcher *launcher, const char *root)
{
	const struct launch_run any = { .root = root, .board = "", .task = "" };
	CLEANUP(unit_bus_close) sd_bus *bus = NULL;
	char description[512];

	unit_description(&any, description, sizeof(description));
	if (unit_bus_open(launcher->manager, UNIT_CALL_US, &bus) == 0)
		IGNORE(unit_bus_list(bus, "kanban-*.service", unit_sweep_one,
				     strstr(description, " on ")));
}

const struct launch_type unit_type = {
	.start = unit_start,
	.finish = unit_finish,
	.find = unit_find,
	.ended = unit_ended,
	.collect = unit_collect,
	.sweep = unit_sweep,
};
