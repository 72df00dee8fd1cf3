"""Reports of runs as one HTML file or as a notebook. Neither torch nor the command line is known here."""
