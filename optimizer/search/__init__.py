"""Search: restarts, steps, convergence test, exact limits, audit."""
