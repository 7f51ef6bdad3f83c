"""Mechanisms of resistance and toxicity: each adds its own states and acts on the clones. One a file."""
