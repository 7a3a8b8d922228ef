/*
 * What is changed is changed back in one place, terminal_restore(), which does only what a
 * signal handler may do. It is called at the end, before a stop (Ctrl-Z), and by the handlers
 * of signals that end a process. SIGKILL cannot be caught: `reset` helps then.
 */
#include "ctl/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define TERMINAL_ON  "\033[?1049h\033[?25l\033[?7l\033[H\033[2J"
#define TERMINAL_OFF "\033[?7h\033[?25h\033[0m\033[?1049l"

/* The one thing of the process that a signal handler must find. */
static struct {
	struct termios before, ours;
	volatile sig_atomic_t open, ended, resized;
} terminal;

/* Signals that ask us to end, and those that end us. */
static const int terminal_asks[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int terminal_fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

static void terminal_write(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* it is gone: nothing to restore there */
		text += n;
		len -= (size_t)n;
	}
}

static void terminal_restore(void)
{
	if (!terminal.open)
		return;
	terminal_write(TERMINAL_OFF, sizeof(TERMINAL_OFF) - 1);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
}

static void terminal_enter(void)
{
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal.ours);
	terminal_write(TERMINAL_ON, sizeof(TERMINAL_ON) - 1);
}

static void terminal_on_signal(int signal)
{
	int keep = errno;

	if (signal == SIGWINCH) {
		terminal.resized = 1;
	} else if (signal == SIGTSTP) {
		terminal_restore();
		(void)raise(SIGSTOP);
		terminal_enter(); /* we go on: SIGCONT */
		terminal.resized = 1;
	} else {
		terminal.ended = signal;
	}
	errno = keep;
}

static void terminal_on_fatal(int number)
{
	terminal_restore();
	(void)signal(number, SIG_DFL);
	(void)raise(number);
}

static int terminal_handle(const int *list, size_t n, void (*fn)(int))
{
	/* no SA_RESTART: a wait ends, and what the signal means is done at once */
	struct sigaction action = { .sa_handler = fn };

	(void)sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < n; i++)
		if (sigaction(list[i], &action, NULL) < 0)
			return -errno;
	return 0;
}

int terminal_open(void)
{
	static const int others[] = { SIGWINCH, SIGTSTP };
	int r;

	if (terminal.open)
		return -EBUSY;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return -ENOTTY;
	if (tcgetattr(STDIN_FILENO, &terminal.before) < 0)
		return -errno;
	terminal.ours = terminal.before;
	terminal.ours.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	terminal.ours.c_cc[VMIN] = 0;
	terminal.ours.c_cc[VTIME] = 0;
	terminal.ended = 0;
	terminal.open = 1;
	r = terminal_handle(terminal_asks, 4, terminal_on_signal);
	if (r == 0)
		r = terminal_handle(others, 2, terminal_on_signal);
	if (r == 0)
		r = terminal_handle(terminal_fatal, 5, terminal_on_fatal);
	if (r == 0)
		terminal_enter();
	else
		terminal.open = 0;
	return r;
}

void terminal_close(void)
{
	terminal_restore();
	terminal.open = 0;
	(void)terminal_handle(terminal_asks, 4, SIG_DFL);
	(void)terminal_handle(terminal_fatal, 5, SIG_DFL);
}

int terminal_key(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned char key;
	ssize_t n;

	if (poll(&p, 1, 0) <= 0)
		return 0;
	n = read(STDIN_FILENO, &key, 1);
	if (n == 1)
		return key;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	return -1; /* readable, and nothing there: the terminal is gone */
}

int terminal_ended(void)
{
	return terminal.ended;
}

bool terminal_resized(void)
{
	bool resized = terminal.resized;

	terminal.resized = 0;
	return resized;
}

void terminal_size(unsigned *columns, unsigned *rows)
{
	struct winsize size;

	*columns = 80;
	*rows = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	if (size.ws_col > 0)
		*columns = size.ws_col;
	if (size.ws_row > 0)
		*rows = size.ws_row;
}

void terminal_draw(const char *text, size_t len, unsigned rows)
{
	terminal_write("\033[H", 3);
	for (unsigned row = 0; row < rows && len > 0; row++) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		if (row > 0)
			terminal_write("\r\n", 2);
		terminal_write(text, n);
		terminal_write("\033[0m\033[K", 7);
		n += end ? 1 : 0;
		text += n;
		len -= n;
	}
	terminal_write("\033[J", 3);
}
