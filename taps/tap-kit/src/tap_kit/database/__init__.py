"""What taps of relational databases share: settings, which rows to read, and where the next run goes on.

A tap brings a `Database`: how its server is reached, what it says of its tables, how its SQL spells things.
"""
