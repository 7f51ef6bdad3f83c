"""What is said of a model without a search: where held concentrations let clones grow; published numbers again."""
