#include "answers.h"

#include <check.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "ctl.h"
#include "ctl/sse.h"
#include "suite.h"
#include "util/fs.h"

pid_t server;
char answers_socket[108];

const struct answer answers_leader = { "GET /v1/leader", "200 OK", JSON,
				       "{\"roots\":[{\"root\":\"ROOT\",\"held\":true,"
				       "\"pid\":7,\"kanband\":true,\"owner\":null}]}" };

void answers_setup(void)
{
	world_setup();
	(void)ok("init");
	(void)snprintf(answers_socket, sizeof(answers_socket), "%.90s/k.sock", world_root);
	server = 0;
}

void answers_teardown(void)
{
	if (server > 0) {
		ck_assert_int_eq(kill(server, SIGKILL), 0);
		ck_assert_int_eq(waitpid(server, NULL, 0), server);
	}
	world_teardown();
}

static void serve_one(int fd, const struct answer *answers)
{
	char in[65536], out[65536];
	size_t used = 0;
	int log;

	for (;;) {
		ssize_t n = read(fd, in + used, sizeof(in) - 1 - used);
		const char *body, *length;

		if (n <= 0)
			return;
		used += (size_t)n;
		in[used] = '\0';
		body = strstr(in, "\r\n\r\n");
		length = strstr(in, "Content-Length: ");
		if (!body || (length && strlen(body + 4) < strtoul(length + 16, NULL, 10)))
			continue;
		log = open(world_path("requests"), O_WRONLY | O_CREAT | O_APPEND, 0644);
		dprintf(log, "%.*s %s\n", (int)strcspn(in, "\r"), in, body + 4);
		close(log);
		for (; answers->path; answers++)
			if (strncmp(in, answers->path, strlen(answers->path)) == 0)
				break;
		if (!answers->path)
			return;
		if (answers->status && strcmp(answers->status, SLOW) == 0)
			(void)usleep(2500000); /* what is tested is that waiting is shown */
		if (answers->type)
			(void)snprintf(
				out, sizeof(out),
				"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
				"Connection: close\r\n\r\n%s",
				answers->status, answers->type, strlen(answers->body),
				answers->body);
		else /* as it stands */
			(void)snprintf(out, sizeof(out), "%s", answers->body);
		if (write(fd, out, strlen(out)) < 0)
			return;
		return;
	}
}

void answers_serve(const struct answer *answers, uid_t uid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", answers_socket);
	(void)unlink(answers_socket);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(answers_socket, 0777), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server > 0) {
		/* who listens is who called listen(2): wait for it */
		while (access(world_path("listening"), F_OK) != 0)
			ck_assert_int_eq(waitpid(server, NULL, WNOHANG), 0);
		ck_assert_int_eq(unlink(world_path("listening")), 0);
		close(fd);
		return;
	}
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	close(open(world_path("requests"), O_WRONLY | O_CREAT, 0666));
	(void)chmod(world_path("requests"), 0666);
	(void)chmod(world_root, 0777);
	if (setresuid(uid, uid, uid) < 0 || listen(fd, 64) < 0)
		_exit(1);
	close(open(world_path("listening"), O_WRONLY | O_CREAT, 0666));
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client < 0)
			_exit(1);
		serve_one(client, answers);
		close(client);
	}
}

char *answers_requests(void)
{
	static char *text;

	free(text);
	text = NULL;
	ck_assert_int_eq(fs_read_file(world_path("requests"), 1 << 20, &text, NULL), 0);
	return text;
}
