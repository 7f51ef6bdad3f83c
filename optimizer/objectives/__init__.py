"""Objective terms, which add and scale: `1.0 * Burden() + 0.3 * Resistance()`. One a file."""
