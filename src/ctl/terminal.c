/*
 * Ours are the signals that ask for an end or a stop, and those that end a process: ncurses has
 * its own for a new size. A crash gives the terminal back by what a signal handler
 * may do: the sequence that leaves the other screen, and the modes as they were. SIGKILL cannot
 * be caught: `reset` helps then.
 */
#include "ctl/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <curses.h>

#define TERMINAL_OFF   "\033[?1000l\033[?7h\033[?25h\033[0m\033[?1049l"
#define TERMINAL_ESC   27
#define TERMINAL_DELAY 25 /* ms that the rest of a key's sequence may take */

/* The one thing of the process that a signal handler must find. */
static struct {
	struct termios before;
	SCREEN *screen;
	unsigned click;
	bool colour;
	volatile sig_atomic_t open, ended, stop;
} terminal;

/* Signals that ask us to end, and those that end us. */
static const int terminal_asks[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int terminal_fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

static void terminal_on_signal(int number)
{
	if (number == SIGTSTP)
		terminal.stop = 1;
	else
		terminal.ended = number;
}

static void terminal_on_fatal(int number)
{
	if (terminal.open) {
		ssize_t n = write(STDOUT_FILENO, TERMINAL_OFF, sizeof(TERMINAL_OFF) - 1);

		(void)n; /* it is gone: nothing to restore there */
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
	}
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

static void terminal_colours(void)
{
	static const short pairs[][2] = { { TABLE_RED, COLOR_RED },
					  { TABLE_GREEN, COLOR_GREEN },
					  { TABLE_YELLOW, COLOR_YELLOW },
					  { TABLE_CYAN, COLOR_CYAN } };

	if (!terminal.colour || !has_colors() || start_color() == ERR)
		return;
	(void)use_default_colors(); /* where that is not known the background is black */
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		(void)init_pair(pairs[i][0], pairs[i][1], -1);
}

int terminal_open(bool colour)
{
	static const int stop[] = { SIGTSTP };
	int r;

	if (terminal.open)
		return -EBUSY;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return -ENOTTY;
	if (tcgetattr(STDIN_FILENO, &terminal.before) < 0)
		return -errno;
	terminal.ended = 0;
	terminal.colour = colour;
	/* before ncurses looks: what is handled it leaves alone */
	r = terminal_handle(terminal_asks, 4, terminal_on_signal);
	if (r == 0)
		r = terminal_handle(terminal_fatal, 5, terminal_on_fatal);
	if (r == 0)
		r = terminal_handle(stop, 1, terminal_on_signal);
	if (r < 0)
		return r;
	terminal.screen = newterm(NULL, stdout, stdin);
	if (!terminal.screen)
		return -ENODEV;
	terminal.open = 1;
	(void)set_escdelay(TERMINAL_DELAY);
	/* what a terminal cannot do, it does without */
	(void)cbreak();
	(void)noecho();
	(void)nodelay(stdscr, TRUE);
	(void)keypad(stdscr, TRUE);
	(void)curs_set(0);
	(void)mousemask(BUTTON1_PRESSED | BUTTON1_CLICKED | BUTTON4_PRESSED | BUTTON5_PRESSED,
			NULL);
	(void)mouseinterval(0);
	terminal_colours();
	return 0;
}

void terminal_close(void)
{
	if (!terminal.open)
		return;
	(void)endwin();
	terminal.open = 0;
	delscreen(terminal.screen);
	terminal.screen = NULL;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
	(void)terminal_handle(terminal_asks, 4, SIG_DFL);
	(void)terminal_handle(terminal_fatal, 5, SIG_DFL);
}

/* ---- keys ---------------------------------------------------------------------------- */

static int terminal_mouse(void)
{
	MEVENT event;

	if (getmouse(&event) != OK)
		return TERMINAL_NONE;
	if (event.bstate & BUTTON4_PRESSED)
		return TERMINAL_WHEEL_UP;
	if (event.bstate & BUTTON5_PRESSED)
		return TERMINAL_WHEEL_DOWN;
	terminal.click = event.y > 0 ? (unsigned)event.y : 0;
	return TERMINAL_CLICK;
}

/* Ctrl-Z: the screen is given back until we go on, also where nobody's shell looks after us. */
static void terminal_stop(void)
{
	terminal.stop = 0;
	(void)endwin();
	(void)raise(SIGSTOP);
	(void)wclear(curscr); /* everything is drawn anew */
	(void)wrefresh(stdscr);
}

/* Nothing came: is there nothing yet, or nobody any more */
static int terminal_nothing(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	if (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)))
		return TERMINAL_GONE;
	return TERMINAL_NONE;
}

int terminal_key(void)
{
	static const struct {
		int theirs, ours;
	} keys[] = {
		{ KEY_UP, TERMINAL_UP },
		{ KEY_DOWN, TERMINAL_DOWN },
		{ KEY_LEFT, TERMINAL_LEFT },
		{ KEY_RIGHT, TERMINAL_RIGHT },
		{ KEY_PPAGE, TERMINAL_PAGE_UP },
		{ KEY_NPAGE, TERMINAL_PAGE_DOWN },
		{ KEY_HOME, TERMINAL_HOME },
		{ KEY_END, TERMINAL_END },
		{ KEY_ENTER, TERMINAL_ENTER },
		{ '\n', TERMINAL_ENTER },
		{ '\r', TERMINAL_ENTER },
		{ '\t', TERMINAL_TAB },
		{ KEY_BACKSPACE, TERMINAL_ERASE },
		{ 127, TERMINAL_ERASE },
		{ 8, TERMINAL_ERASE },
		{ KEY_RESIZE, TERMINAL_RESIZED },
		{ TERMINAL_ESC, TERMINAL_ESCAPE },
	};
	int key;

	if (terminal.stop)
		terminal_stop();
	key = wgetch(stdscr);
	if (key == ERR)
		return terminal_nothing();
	if (key == KEY_MOUSE)
		return terminal_mouse();
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].theirs == key)
			return keys[i].ours;
	return key < 0x1000 && key > 0 ? key : TERMINAL_NONE;
}

unsigned terminal_click(void)
{
	return terminal.click;
}

int terminal_ended(void)
{
	return terminal.ended;
}

/* ---- the picture --------------------------------------------------------------------- */

void terminal_size(unsigned *columns, unsigned *rows)
{
	*columns = terminal.open && getmaxx(stdscr) > 0 ? (unsigned)getmaxx(stdscr) : 80;
	*rows = terminal.open && getmaxy(stdscr) > 0 ? (unsigned)getmaxy(stdscr) : 24;
}

void terminal_clear(void)
{
	(void)werase(stdscr);
}

void terminal_put(unsigned row, unsigned column, const char *text, size_t room,
		  enum table_colour colour, bool marked)
{
	attr_t attr = marked ? A_REVERSE : A_NORMAL;
	size_t used, n = screen_cut(text, room, &used);
	bool cut = text[n] && room > 2;

	if (cut)
		n = screen_cut(text, room - 1, &used);
	if (colour == TABLE_BOLD)
		attr |= A_BOLD;
	else if (colour == TABLE_DIM)
		attr |= A_DIM;
	/* what stands outside is not drawn */
	(void)wattr_set(stdscr, attr, terminal.colour && colour > TABLE_DIM ? (short)colour : 0,
			NULL);
	(void)mvwaddnstr(stdscr, (int)row, (int)column, text, (int)n);
	if (cut)
		(void)mvwaddstr(stdscr, (int)row, (int)(column + used), "…");
	(void)wattr_set(stdscr, A_NORMAL, 0, NULL);
}

void terminal_show(void)
{
	(void)wrefresh(stdscr);
}
