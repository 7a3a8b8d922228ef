/*
 * What the files of the launcher `systemd` share.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "launch.h"
#include "launch/ending.h"
#include "launch/unit.h"

#define UNIT_NAME_SIZE 256 /* of a unit's name with its NUL */

/* Exit status of a unit whose worker was not wanted any more: none of the task's doing. */
#define UNIT_UNWANTED 253

#define UNIT_BUS_NAME    "org.freedesktop.systemd1"
#define UNIT_BUS_PATH    "/org/freedesktop/systemd1"
#define UNIT_BUS_MANAGER UNIT_BUS_NAME ".Manager"

struct sd_bus;
struct sd_bus_message;

/* unit_bus.c: one connection for one purpose. All calls of it block, bounded. */

/** unit_bus_open() - connect to the manager; @limit_us bounds each call. Return: 0 or -errno.
 */
MUST_CHECK int unit_bus_open(enum unit_manager manager, uint64_t limit_us, struct sd_bus **bus);
void unit_bus_close(struct sd_bus **bus);

/** unit_bus_call() - @method of the manager with one string, without looking at the answer
 * Return: 0 or -errno; -ENOENT there is no such unit. */
MUST_CHECK int unit_bus_call(struct sd_bus *bus, const char *method, const char *name);

/** unit_bus_kill() - SIGKILL for every process of the unit. Return: 0 or -errno. */
MUST_CHECK int unit_bus_kill(struct sd_bus *bus, const char *name);

/* What a unit is at. */
struct unit_state {
	char active[24];       /* ActiveState; "inactive" also for a unit that is not there */
	char sub[24];          /* SubState */
	char result[24];       /* Result, "success" while it runs */
	char description[512]; /* as it was given */
	uint32_t pid;          /* of its main process, also of one that has ended; 0 none yet */
	int32_t code, status;  /* how that ended: CLD_*, exit status or signal; 0 not yet */
	uint64_t begun_us, exited_us; /* from when to when, Unix microseconds */
};

/** unit_bus_state() - Return: 0; -ENOENT it is not loaded; other -errno. */
MUST_CHECK int unit_bus_state(struct sd_bus *bus, const char *name, struct unit_state *state);

/** unit_bus_process() - active, pid and code only, of a unit that is being started. Return: 0
 * or -errno. */
MUST_CHECK int unit_bus_process(struct sd_bus *bus, const char *name, struct unit_state *state);

/** unit_bus_list() - @fn for each loaded unit whose name fits. Return: 0 or -errno. */
MUST_CHECK int unit_bus_list(struct sd_bus *bus, const char *pattern,
			     void (*fn)(struct sd_bus *bus, const char *name, void *arg),
			     void *arg);

/** unit_bus_lost() - is @r of a connection that broke: what was asked for may have happened */
bool unit_bus_lost(int r);

/** unit_bus_send() - StartTransientUnit. Return: 0; -EEXIST a unit of that name is loaded;
 * other -errno (@e says what the manager said). */
MUST_CHECK int unit_bus_send(struct sd_bus *bus, struct sd_bus_message *call, struct error *e);

/* unit_name.c */

/** unit_name() - kanban-<board>-<task>-r<run>.service, escaped as systemd-escape does */
void unit_name(const struct launch_run *run, char out[UNIT_NAME_SIZE]);

/** unit_description() - says which run of which root it is; plain characters only */
void unit_description(const struct launch_run *run, char *out, size_t size);

/* unit_start.c */

/** unit_start_call() - the message that starts @order; @input is its standard input
 * Return: 0 or -errno. */
MUST_CHECK int unit_start_call(struct sd_bus *bus, const struct launch_order *order, int input,
			       struct sd_bus_message **call);

/* unit_input.c */
#define UNIT_INPUT_MAGIC UINT64_C(0x32726b57646e626b) /* "kbndWkr2" */

/* What stands first in the file. */
struct unit_input_head {
	uint64_t magic;
	uint64_t run;        /* proc_run_number(), or 0 */
	uint64_t argc, envc; /* strings of each */
	int64_t begun;       /* pid of the worker, from when it is sealed on */
};

/** unit_input_new() - a memory file that unit_worker_main() reads. Return: a descriptor of 3
 * or higher, or -errno. */
MUST_CHECK int unit_input_new(const struct launch_order *order);

/** unit_input_hold() - the worker may begin as long as what is returned is open; -errno */
MUST_CHECK int unit_input_hold(int input);

/** unit_input_begun() - the pid of the worker that began, 0 none yet */
pid_t unit_input_begun(int hold);

/** unit_input_take_back() - it is not to begin any more. Return: false when it has. */
MUST_CHECK bool unit_input_take_back(int hold);
