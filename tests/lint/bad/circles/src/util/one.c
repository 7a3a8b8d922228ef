int two_next(int n);
int one_next(int n);
int one_next(int n)
{
	return n ? two_next(n - 1) : 0;
}
