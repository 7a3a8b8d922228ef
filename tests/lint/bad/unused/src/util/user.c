/* Who uses the other. */
int unused_entry(int n);

static int user(void)
{
	return unused_entry(1);
}

int (*const user_run)(void) = user;
