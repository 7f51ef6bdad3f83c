"""What the commands do once their options are read: from files to files, with an exit code."""
