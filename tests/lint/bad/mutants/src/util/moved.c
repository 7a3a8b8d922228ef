/* A line that a planted bug replaces was changed. */
int moved(int a)
{
	return a + 2;
}

int twice(int a)
{
	return a + 2;
}
