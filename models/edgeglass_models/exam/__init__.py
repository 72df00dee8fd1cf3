"""Small trainings in the idioms of other people's libraries, and the data they learn from."""
