"""Reports of runs as one HTML file or as a notebook. Neither torch nor the command line is known here."""

from edgeglass_diag.extras import check_extra

check_extra("report", "report")
