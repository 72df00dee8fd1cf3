"""Words and tables of the commands, for the terminal."""
