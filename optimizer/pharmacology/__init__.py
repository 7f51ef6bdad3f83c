"""From dose to concentration (PK), what a concentration does to a clone (effects) and what a drug is for (roles)."""
