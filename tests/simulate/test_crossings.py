"""What is read between saved times is the same in every run, to the last bit."""

import numpy as np

from optimizer.simulate.crossings import first_above, peak


def test_a_crossing_has_the_same_bits_whatever_was_drawn_before():
    times = np.sort(np.random.default_rng(0).uniform(0.0, 6.0, 40))
    values = np.sin(times) + 0.1 * np.cos(7.3 * times)
    found = set()
    for seed in range(40):
        np.random.seed(seed)
        found.add((first_above(times, values, 0.4), peak(times, values)))
    assert len(found) == 1
