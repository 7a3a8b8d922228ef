int other_next(int n);
int other_next(int n)
{
	return n;
}
