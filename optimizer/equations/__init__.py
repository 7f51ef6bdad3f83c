"""Equations as text: the grammar, what a text means in numbers and in units, and readers of model files."""
