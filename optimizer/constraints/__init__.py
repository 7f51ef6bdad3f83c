"""Constraints: limits on doses hold exactly, limits on states are enforced by multipliers. One a file."""
