"""Replays of programs: the program itself runs again for some steps, with changes made from outside."""
