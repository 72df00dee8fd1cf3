"""Shipped recipes and their settings."""
