"""Virtual patients: who they are, the best schedule of each, and the best single schedule for all."""
