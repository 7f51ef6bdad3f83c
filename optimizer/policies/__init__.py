"""Policies: what is given when. `schedule` ignores what it sees; the others decide by what they observe. One a file."""
