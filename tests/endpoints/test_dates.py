"""Dates of progression and response, each derived by hand from the guideline's words."""

import numpy as np
import pytest

from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.endpoints.ca125_gcig import Ca125Gcig
from optimizer.endpoints.psa_pcwg3 import PsaPcwg3
from optimizer.endpoints.recist import Recist
from optimizer.endpoints.volume_factor import VolumeFactor

NO = np.nan  # a visit without a value
WEEKS8 = [0, 56, 112, 168, 224]
MONTHS = [0, 28, 56, 84, 112, 140, 168]

# Endpoint, days of visits, values, day of progression, last visit before it, first visit of an unconfirmed rise.
PROGRESSION = {
    # RECIST 1.1: at least 20 % and 5 mm above the smallest sum, the first included.
    "recist: 50 to 60 mm is 20 % and 10 mm": (Recist(), WEEKS8, [50, 60, 60, 60, 60], 56, 0, None),
    "recist: 59.9 mm is not yet 20 %": (Recist(), WEEKS8, [50, 59.9, 60, 70, 80], 112, 56, None),
    "recist: 20 to 24 mm is 20 % but 4 mm": (Recist(), WEEKS8, [20, 24, 24.9, 25, 30], 168, 112, None),
    "recist: 10 to 15 mm is 5 mm and 50 %": (Recist(), WEEKS8, [10, 14, 15, 16, 17], 112, 56, None),
    "recist: 100 to 105 mm is 5 mm but 5 %": (Recist(), WEEKS8, [100, 105, 110, 119, 120], 224, 168, None),
    "recist: nadir 30, so 36 mm though below the first 50": (Recist(), WEEKS8, [50, 30, 35, 36, 50], 168, 112, None),
    "recist: nadir moves on: 30, 28, then 33.6": (Recist(), WEEKS8, [50, 30, 28, 33.5, 33.6], 224, 168, None),
    "recist: gone, then 5 mm": (Recist(), WEEKS8, [40, 0, 4, 5, 9], 168, 112, None),
    "recist: gone, then 4 mm is never progression": (Recist(), WEEKS8, [40, 0, 4, 4, 4], None, 224, None),
    "recist: a missed scan moves the date on": (Recist(), WEEKS8, [50, NO, 61, 70, 80], 112, 0, None),
    "recist: no confirmation is asked for": (Recist(), WEEKS8, [50, 61, 45, 45, 45], 56, 0, None),
    "recist: confirmed after 28 days where asked": (
        Recist(confirm=28.0), WEEKS8, [50, 61, 45, 61, 61], 168, 112, None,
    ),
    "recist: the last scan alone, where confirmation is asked": (
        Recist(confirm=28.0), WEEKS8, [50, 45, 45, 45, 61], None, 168, 224,
    ),
    # PCWG3: at least 25 % and 2 ug/L above the nadir, confirmed 21 days or more later, not before day 84.
    "psa: 20 falls to 4; 6 is 2 and 50 % above": (PsaPcwg3(), MONTHS, [20, 10, 4, 4, 6, 7, 9], 112, 84, None),
    "psa: nadir 1: 2.9 is less than 2 above": (PsaPcwg3(), MONTHS, [20, 5, 1, 2, 2.9, 3, 4], 140, 112, None),
    "psa: nadir 40: 42 is 2 but 5 % above, 50 is 25 %": (
        PsaPcwg3(), MONTHS, [90, 60, 40, 42, 49, 50, 60], 140, 112, None,
    ),
    "psa: a rise of one visit is not confirmed": (PsaPcwg3(), MONTHS, [20, 8, 4, 7, 5, 5, 5], None, 168, None),
    "psa: unconfirmed, then a rise that is": (PsaPcwg3(), MONTHS, [20, 8, 4, 7, 5, 7, 8], 140, 112, None),
    "psa: a rise at the last visit waits": (PsaPcwg3(), MONTHS, [20, 8, 4, 4, 4, 4, 7], None, 140, 168),
    "psa: a missing confirming visit, the next one confirms": (
        PsaPcwg3(), MONTHS, [20, 8, 4, 7, NO, 8, 9], 84, 56, None,
    ),
    "psa: missing at both visits that could confirm": (PsaPcwg3(), MONTHS, [20, 8, 4, 4, 7, NO, NO], None, 84, 112),
    "psa: rises of the first 12 weeks are ignored": (PsaPcwg3(), MONTHS, [20, 26, 30, 18, 17, 16, 15], None, 168, None),
    "psa: nadir inside the ignored weeks counts": (PsaPcwg3(), MONTHS, [20, 4, 7, 8, 9, 10, 11], 84, 56, None),
    "psa: day 83 is ignored, day 84 is not": (PsaPcwg3(), [0, 28, 83, 84, 105], [20, 4, 7, 7, 7], 84, 83, None),
    "psa: without a decline the first value is the nadir": (
        PsaPcwg3(), MONTHS, [10, 11, 12, 12.4, 12.5, 14, 15], 112, 84, None,
    ),
    "psa: 20 days do not confirm, 21 do": (PsaPcwg3(), [0, 84, 100, 120, 121], [9, 4, 6, 6, 6], 100, 84, None),
    "psa: 20 days alone leave it open": (PsaPcwg3(), [0, 84, 100, 120], [9, 4, 6, 6], None, 84, 100),
    "psa: weekly, a fall between begins anew": (
        PsaPcwg3(), [84, 91, 98, 105, 112, 119, 126, 133], [4, 6, 6, 5, 6, 6, 6, 6], 112, 105, None,
    ),
    "psa: a lower nadir during the rise": (PsaPcwg3(), MONTHS, [20, 8, 6, 8, 5, 7, 7.5], 140, 112, None),
    # GCIG: twice the larger of 35 U/mL and the nadir, again 7 days or more later.
    "ca125: normalized, so 70": (Ca125Gcig(), MONTHS, [500, 100, 20, 30, 69, 70, 90], 140, 112, None),
    "ca125: normal from the start, so 70 too": (Ca125Gcig(), MONTHS, [20, 15, 12, 60, 75, 80, 90], 112, 84, None),
    "ca125: never normal, so twice the nadir 100": (
        Ca125Gcig(), MONTHS, [500, 200, 100, 150, 199, 200, 300], 140, 112, None,
    ),
    "ca125: doubling once is not confirmed": (Ca125Gcig(), MONTHS, [500, 100, 20, 80, 60, 60, 60], None, 168, None),
    "ca125: 6 days do not confirm, 8 do": (Ca125Gcig(), [0, 28, 34, 36], [20, 80, 80, 80], 28, 0, None),
    "ca125: a laboratory with the limit 23": (
        Ca125Gcig(upper_limit=23.0), MONTHS, [90, 20, 45, 46, 50, 60, 70], 84, 56, None,
    ),
    "ca125: twice 100 from the first visit on without decline": (
        Ca125Gcig(), MONTHS, [100, 150, 210, 250, 300, 400, 500], 56, 28, None,
    ),
    # Multiples of the first value.
    "volume: four times the first": (VolumeFactor(), [0, 7, 14, 21], [100, 250, 399, 400], 21, 14, None),
    "volume: doubling, unmoved by a nadir": (VolumeFactor(factor=2.0), [0, 7, 14], [100, 20, 201], 14, 7, None),
    "volume: never": (VolumeFactor(), [0, 7, 14, 21], [100, 200, 300, 399], None, 21, None),
    "cells: 1.2 times the first at visits": (
        BurdenFactor(every=28.0), [0, 28, 56], [1e8, 1.19e8, 1.2e8], 56, 28, None,
    ),
    "cells: confirmed a visit later": (
        BurdenFactor(every=28.0, confirm=28.0), MONTHS, [1, 1.3, 1.1, 1.3, 1.4, 1.5, 1.6], 84, 56, None,
    ),
    "cells: growth out of the range of numbers": (BurdenFactor(every=28.0), [0, 28, 56], [1, 1, np.inf], 56, 28, None),
    "no visit has a value": (Recist(), WEEKS8, [NO] * 5, None, None, None),
}  # fmt: skip

# Endpoint, days, values, day of response.
RESPONSE = {
    "recist: 30 % below the first": (Recist(), WEEKS8, [100, 71, 70, 60, 60], 112),
    "recist: never": (Recist(), WEEKS8, [100, 80, 71, 75, 80], None),
    "psa: half, confirmed 28 days later": (PsaPcwg3(), MONTHS, [20, 11, 10, 9, 9, 9, 9], 56),
    "psa: half for one visit": (PsaPcwg3(), MONTHS, [20, 11, 10, 12, 12, 12, 12], None),
    "ca125: half for 28 days": (Ca125Gcig(), MONTHS, [200, 120, 100, 90, 90, 90, 90], 56),
    "ca125: half for 27 days": (Ca125Gcig(), [0, 28, 55], [200, 100, 90], None),
    "cells: no response is defined": (BurdenFactor(every=28.0), MONTHS, [1, 0, 0, 0, 0, 0, 0], None),
}


@pytest.mark.parametrize("case", PROGRESSION)
def test_progression_by_hand(case):
    endpoint, days, values, *wanted = PROGRESSION[case]
    found = endpoint.assess(np.array(days, dtype=float), np.array(values, dtype=float))
    assert [found.day, found.after, found.unconfirmed] == wanted


@pytest.mark.parametrize("case", RESPONSE)
def test_response_by_hand(case):
    endpoint, days, values, wanted = RESPONSE[case]
    assert endpoint.assess(np.array(days, dtype=float), np.array(values, dtype=float)).response == wanted
