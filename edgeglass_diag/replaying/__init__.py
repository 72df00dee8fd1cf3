"""Replays of programs: the program itself runs again for some steps, under a plan of changes from outside."""
