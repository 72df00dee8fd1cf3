"""The dashboard of edgeglass-diag."""
