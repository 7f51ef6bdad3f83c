"""Tumor models: `tumor` composes clones, drug effects and mechanisms; a model outside that frame is its own file."""
