"""Measure how well the rules detect known faults, and how silent they are on healthy trainings."""
