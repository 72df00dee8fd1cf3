"""Callbacks for the frameworks in which people train: the record of ``edgeglass-diag run``, from inside."""
