int one_next(int n);
int three_next(int n);
int two_next(int n);
int two_next(int n)
{
	return three_next(n);
}
