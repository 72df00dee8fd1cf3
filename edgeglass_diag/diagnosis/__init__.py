"""What is said of a run in one answer: the verdict, what is proved and what guessed, and what to do next."""
