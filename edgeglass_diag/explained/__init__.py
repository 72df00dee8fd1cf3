"""An explanation as its folder keeps it: read, put into words and curves for whatever shows it. No torch."""
