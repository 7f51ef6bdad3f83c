"""Scenario files: text with units becomes checked numbers."""
