/*
 * doctor: everything that has to be right for work to be dispatched, looked at from host,
 * with and without a daemon. A check is a function that says what it found; they stand in a
 * list here.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "ctl/doctor.h"
#include "ctl/leader_view.h"
#include "daemon/config.h"
#include "gateway/gateway_scan.h"
#include "util/fs.h"

/* In the order of the output; the configuration before what is in it. */
static void (*const doctor_checks[])(struct doctor *d) = {
	doctor_lease,  doctor_daemon,     doctor_gateways, doctor_config,   doctor_unit,
	doctor_sqlite, doctor_filesystem, doctor_hermes,   doctor_launcher, doctor_boards,
	doctor_tasks,  doctor_notify,     doctor_clock,
};

static void doctor_deinit(struct doctor *d)
{
	free(d->root);
	remedy_deinit(&d->remedy);
	free(d->config_dir);
	d->config = config_free(d->config);
	d->client = client_free(d->client);
	gateway_list_deinit(&d->gates);
	json_decref(d->checks);
}

/* Where a drop-in of the configuration belongs, by the rules of kanband.conf(5). */
static char *doctor_config_dir(const struct doctor *d)
{
	const char *xdg = ctl_env(d->ctl, "XDG_CONFIG_HOME"), *home = ctl_env(d->ctl, "HOME");

	if (d->config_file)
		return fs_path("%s.d", d->config_file);
	if (geteuid() != 0 && xdg && xdg[0] == '/')
		return fs_path("%s/kanband/kanband.conf.d", xdg);
	if (geteuid() != 0 && home)
		return fs_path("%s/.config/kanband/kanband.conf.d", home);
	return strdup(KANBAND_SYSCONFDIR "/kanband/kanband.conf.d");
}

static int doctor_begin(struct doctor *d)
{
	int r = ctl_root(d->ctl, &d->root);

	if (r == 0)
		r = leader_view(d->ctl, d->root, &d->leader);
	if (r != 0)
		return r;
	d->checks = json_array();
	d->config_dir = doctor_config_dir(d);
	/* a socket that was named and does not answer is a finding, not the end */
	if (!d->checks || !d->config_dir || remedy_init(&d->remedy, d->ctl, d->root) < 0 ||
	    client_find(d->ctl, d->root, &d->client) < 0 ||
	    gateway_scan(d->ctl->env, d->root, &d->gates) == -ENOMEM)
		return ctl_say(d->ctl, CTL_IO, "out of memory");
	return 0;
}

static int verb_doctor_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(doctor_deinit) struct doctor d = { .ctl = ctl };
	const struct ctl_arg options[] = {
		{ "config", CTL_ARG_TEXT, &d.config_file, "FILE",
		  "kanband.conf, where kanband is started with one", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = doctor_begin(&d);
	if (r != 0)
		return r;
	for (size_t i = 0; i < sizeof(doctor_checks) / sizeof(doctor_checks[0]); i++)
		doctor_checks[i](&d);
	return doctor_print(&d);
}

static const struct ctl_verb verb_doctor = {
	.name = "doctor",
	.args = "",
	.what = "check the whole installation, and name the remedies",
	.group = CTL_SETUP,
	.rank = 20,
	.run = verb_doctor_run,
};
CTL_VERB(verb_doctor);
