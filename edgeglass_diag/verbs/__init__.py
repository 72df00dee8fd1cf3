"""The work behind each verb of the command line."""
