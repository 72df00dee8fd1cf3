"""The screen of edgeglass-diag: a Dash dashboard that reads run directories and never loads torch."""
