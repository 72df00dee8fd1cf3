"""Replays of programs: each runs again for some steps, under a plan of changes that are made from outside."""
