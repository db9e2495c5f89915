"""Documents and databases: what is kept, how it is found again, and where."""
