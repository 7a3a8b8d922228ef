/*
 * What the tests of doctor share: a root with programs of its own, faults to be planted in it,
 * and doctor's findings, whose remedies are pasted into a shell. What was found and gone after
 * its remedy is remembered over the cases: at the end of a program everything that it has to
 * plant must be.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "ctl.h"
#include "ctl/doctor.h"
#include "suite.h"

extern char unit_path[320];    /* SYSTEMD_UNIT_PATH=…/units */
extern const char *config_arg; /* --config of doctor, or NULL */
extern char last_text[4096], last_remedy[8192], last_status[16]; /* of the last found */

/** doctor_setup(), doctor_teardown() - checked fixture: a root with a default board; programs
 * in bin/: kanbanctl, kanband (whose pid is in daemon.pid), systemctl, timedatectl, hermes */
void doctor_setup(void);
void doctor_teardown(void);

void plant(const char *name, const char *text);

/** use_config() - --config of doctor, a file below the root */
void use_config(const char *name);

/** program() - on the PATH of commands that are pasted */
void program(const char *name, const char *text);

/** own_mounts() - mounts made from here on are this case's; false: not possible, told */
bool own_mounts(const char *for_what);

/** owner() - the lease, held by this very process */
void owner(void);

/** with_child() - a child that runs @fn and then waits; returns when @fn is through */
void with_child(void (*fn)(void));
pid_t child_pid(void);
void child_ended(void); /* wait for it */

/** hold() - in a child: flock a file below the root */
void hold(const char *name);

/** doctor() - all that it says; the caller json_decref()s it */
json_t *doctor(void);
const char *member(const json_t *object, const char *key);

/** finds() - is there something about @about ("" for nothing) not well of @check? Its text,
 * remedy and status are kept. */
bool finds(const char *check, const char *about);

/** paste() - the remedy of the last finding, into a shell; paste_start(): and do not wait */
void paste(void);
void paste_text(const char *command); /* any other */
void paste_start(void);

/** gone() - what was pasted for is not found any more, or is another trouble now */
void gone(void);

/** gone_until() - the same, within a while */
void gone_until(int ms);

/** remedied() - found, with @word in the text; gone after what was printed is run */
void remedied(const char *check, const char *about, const char *word);

/** cannot() - the case of @id cannot be shown here: told */
void cannot(enum doctor_id id, const char *why);

/** doctor_suite() - of the cases, each of them a group. Afterwards, suite_missing() says which
 * of the findings whose planter is @program were not found and cleared */
Suite *doctor_suite(const char *program, const void *tests, size_t n);
