"""Words for facts: the one place where sentences about sites, coverage and findings are made."""
