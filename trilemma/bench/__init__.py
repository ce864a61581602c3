"""One run, start to end, in a process of its own: phases, windows, records."""
