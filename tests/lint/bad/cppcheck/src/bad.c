int planted(void);

int planted(void)
{
	int a[2] = { 0 };

	return a[2];
}
