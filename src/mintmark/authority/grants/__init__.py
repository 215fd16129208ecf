"""One file per grant. Each has a pure ``decide``: values and the time in, a ``Decision`` out. They do not know each other."""
