#include "root.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "board.h"
#include "board/board.h"
#include "recovery/repair.h"
#include "root/dispatch.h"
#include "root/hostfault.h"
#include "root/root.h"
#include "util/clock.h"

struct world w;

static void on_settings(void *arg, const char *root, const char *slug, struct settings *out)
{
	(void)arg, (void)root, (void)slug;
	*out = kit.set;
}

static const struct launcher *on_launcher(void *arg, const char *root)
{
	(void)arg, (void)root;
	return &w.launcher;
}

void on_changed(void *arg)
{
	(void)arg;
	w.visits++;
	if (w.on_changed)
		w.on_changed();
}

static void on_counted(void *arg)
{
	(void)arg;
	if (w.root)
		root_counted(w.root);
}

static void on_worker_ended(void *arg)
{
	(void)arg;
}

void on_stopped(void *arg)
{
	(void)arg;
	w.stopped = true;
}

void on_guard(uv_timer_t *timer)
{
	(void)timer;
	w.expired = true;
}

void kit_root_hermes(const char *script)
{
	char *path = kit_printf("%s/hermes", kit.dir);
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "#!/bin/sh\n%s\n", script);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	w.launcher.hermes = path;
}

void kit_root_setup(void)
{
	memset(&w, 0, sizeof(w));
	ck_assert_int_eq(uv_loop_init(&w.loop), 0);
	jobs_init(&w.jobs, &w.loop);
	ck_assert_int_eq(uv_timer_init(&w.loop, &w.guard), 0);
	w.launcher = (struct launcher){ .hermes = "hermes",
					.environ = environ,
					.log_backup_count = 1 };
	ck_assert_int_eq(launcher_init(&w.launcher), 0);
	kit_root_hermes("exit 3");
	w.env = (struct root_env){
		.loop = &w.loop,
		.jobs = &w.jobs,
		.caps = &kit.caps,
		.host = KIT_HOST,
		.claim_lock = KIT_LOCK,
		.who = { .host = KIT_HOST },
		.open_max = 16,
		.settings = on_settings,
		.launcher = on_launcher,
		.changed = on_changed,
		.counted = on_counted,
		.worker_ended = on_worker_ended,
	};
	kit.set.crash_grace_s = 0;
	kit.set.busy_timeout_ms = 20;
	kit.set.failure_limit = 1; /* a crash blocks: nothing runs in circles */
	ck_assert_int_eq(setenv("TMPDIR", "/tmp", 0), 0);
}

void kit_root_begin(void)
{
	char *profile = kit_printf("%s/profiles", kit.dir);

	ck_assert_int_eq(mkdir(profile, 0755), 0);
	ck_assert_int_eq(mkdir(kit_printf("%s/jimmy", profile), 0755), 0);
	ck_assert_int_eq(root_new(&w.root, &w.env, kit.dir), 0);
	ck_assert_int_eq(root_start(w.root), 0);
	UNTIL(w.root->role == ROOT_OWNER);
}

void kit_root_end(void)
{
	root_stop(w.root, on_stopped, NULL);
	UNTIL(w.stopped);
	w.root = root_free(w.root);
	launcher_deinit(&w.launcher);
	ck_assert_uint_eq(w.env.open_boards, 0);
	ck_assert_int_eq(kit.caps.turns.running, 0);
	UNTIL(w.jobs.count == 0);
	uv_close((uv_handle_t *)&w.guard, NULL);
	while (uv_run(&w.loop, UV_RUN_NOWAIT) > 0)
		;
	ck_assert_int_eq(uv_loop_close(&w.loop), 0);
	kit_loop_ended();
}

struct dispatch *kit_root_board(const char *slug)
{
	for (size_t i = 0; i < w.root->n_boards; i++)
		if (strcmp(w.root->boards[i]->board.place.slug, slug) == 0)
			return w.root->boards[i];
	return NULL;
}

bool kit_root_kinds_are(const char *task, const char *kinds)
{
	char *now;

	if (kit_root_board("default") && kit_root_board("default")->board.busy)
		return false;
	now = kit_kinds(task);
	return strcmp(now, kinds) == 0;
}

void kit_root_ready(const char *id)
{
	kit_task(id, "ready", "workspace_kind = 'scratch'");
}
