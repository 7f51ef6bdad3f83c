"""Measure, update the belief, plan again."""
