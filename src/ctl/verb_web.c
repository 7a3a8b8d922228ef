/*
 * web: the page of the daemon in a browser, with the rights of who runs this.
 *
 * The address with the token is printed, and opened where there is a desktop. Not on a command
 * line, which everybody on the host may read: by a file that only its owner can.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/daemon_call.h"
#include "ctl/web_proxy.h"
#include "util/fs.h"

/* A file that leads a browser to @url; NULL: there is no place for one. */
static char *web_door(const struct ctl *ctl, const char *url)
{
	const char *runtime = ctl_env(ctl, "XDG_RUNTIME_DIR");
	CLEANUP(freep)
	char *path =
		runtime ? fs_path("%s/kanbanctl-web-%d.html", runtime, (int)getpid()) : NULL;
	CLEANUP(fs_closep) int fd = -1;

	if (path)
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return NULL;
	if (dprintf(fd,
		    "<!doctype html><meta charset=\"utf-8\"><title>kanband</title>"
		    "<meta http-equiv=\"refresh\" content=\"0; url=%s\"><a "
		    "href=\"%s\">kanband</a>\n",
		    url, url) < 0) {
		(void)unlink(path); /* of no use */
		return NULL;
	}
	return STEAL(path);
}

/* Have the desktop open @path. Whether it does is its affair: the address is printed too. */
static void web_open(const struct ctl *ctl, const char *path)
{
	char *argv[] = { (char *)"xdg-open", (char *)(uintptr_t)path, NULL };
	posix_spawn_file_actions_t files;
	pid_t pid;

	if (posix_spawn_file_actions_init(&files) != 0)
		return;
	/* its words are not ours */
	if (posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0) == 0 &&
	    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0) == 0)
		(void)posix_spawnp(&pid, argv[0], &files, NULL, argv, ctl->env);
	(void)posix_spawn_file_actions_destroy(&files); /* always 0 */
}

/* A descriptor that can be read when we are asked to end; children that end are reaped. */
static int web_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set); /* … none of these fails for signals that there are */
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)signal(SIGCHLD, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int web_serve(const struct ctl *ctl, struct web_proxy *proxy, bool open)
{
	bool desktop = ctl_env(ctl, "WAYLAND_DISPLAY") || ctl_env(ctl, "DISPLAY");
	CLEANUP(freep) char *door = NULL;
	CLEANUP(fs_closep) int stop = -1;
	int r;

	if (open && desktop) {
		door = web_door(ctl, web_proxy_url(proxy));
		if (door)
			web_open(ctl, door);
	}
	stop = web_signals();
	r = stop < 0 ? stop : web_proxy_run(proxy, stop);
	if (door)
		(void)unlink(door); /* it leads nowhere any more */
	return r < 0 ? ctl_say(ctl, CTL_IO, "%s", strerror(-r)) : CTL_OK;
}

static int verb_web_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	CLEANUP(web_proxy_freep) struct web_proxy *proxy = NULL;
	struct error e = ERROR_NULL;
	bool no_open = false;
	int64_t port = 0;
	const struct ctl_arg options[] = {
		{ "port", CTL_ARG_INT, &port, "N", "listen there (any that is free)", 0,
		  65535 },
		{ "no-open", CTL_ARG_FLAG, &no_open, NULL, "only print the address", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	int r;

	if (!daemon_call_open(&m, ctl, options, argc, argv, 0))
		return ctl->exit;
	r = web_proxy_new(&proxy, client_socket(m.client), (uint16_t)port, &e);
	if (r < 0)
		return ctl_fail(ctl, r, &e);
	if (ctl->json) {
		r = ctl_print_json(ctl, json_pack("{s:s}", "url", web_proxy_url(proxy)),
				   CTL_OK);
		if (r != CTL_OK)
			return r;
	} else {
		(void)fprintf(
			ctl->out,
			"%s\n"
			"works once, for the browser that opens it first; Ctrl-C ends it\n",
			web_proxy_url(proxy));
	}
	if (fflush(ctl->out) != 0)
		return ctl_say(ctl, CTL_IO, "cannot write: %s", strerror(errno));
	return web_serve(ctl, proxy, !no_open);
}

static const struct ctl_verb verb_web = {
	.name = "web",
	.args = "",
	.what = "open the daemon's page in a browser",
	.group = CTL_WATCH,
	.rank = 90,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_web_run,
};
CTL_VERB(verb_web);
