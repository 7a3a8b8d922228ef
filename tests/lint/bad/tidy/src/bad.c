int planted(int n);

int planted(int n)
{
	int *p = 0;

	if (n > 3)
		p = &n;
	return *p; /* not when n <= 3 */
}
