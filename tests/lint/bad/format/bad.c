int planted (void)
{
  return 0 ;
}
