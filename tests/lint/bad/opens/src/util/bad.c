int planted(void);

int planted(void)
{
	return 0; /* too late */
}
