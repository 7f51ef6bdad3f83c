"""Policies for tests of how a scenario names them."""
