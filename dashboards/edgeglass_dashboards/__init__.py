"""The screen of edgeglass-diag: a Dash dashboard that reads run directories and never loads torch."""

from edgeglass_diag.extras import check_extra

check_extra("dashboard", "the dashboard")
