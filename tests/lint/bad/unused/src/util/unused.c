/* What nobody uses, and what nobody else uses. */
int unused_tested(int n);
int unused_own(int n);
int unused_entry(int n);

int unused_tested(int n)
{
	return n > 0 ? unused_tested(n - 1) : 0;
}

int unused_own(int n)
{
	return n + 1;
}

int unused_entry(int n)
{
	return unused_own(n);
}
