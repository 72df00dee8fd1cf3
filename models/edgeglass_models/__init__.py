"""Patients of edgeglass-diag: ordinary alignment models and an ordinary training loop."""
