"""The name under which Dativo was known first: the same program."""
