int one_next(int n);
int three_next(int n);
int three_next(int n)
{
	return one_next(n);
}
