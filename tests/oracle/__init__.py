"""Independent references for the tests: they share no code with the package `optimizer`, nor import it."""
