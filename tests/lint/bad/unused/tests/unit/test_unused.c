int unused_tested(int n);

int test(void)
{
	return unused_tested(1);
}
