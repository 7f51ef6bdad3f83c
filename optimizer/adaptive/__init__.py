"""Measure, update the belief, plan again.

| to | call |
|---|---|
| say what is not known of a patient | `load_prior(scenario)` |
| believe, and learn from measurements | `Inference(scenario, prior, channels)`: `begin`, `update` |
| plan over a belief | `Planner(inference, Effort(...), rows)`: `init`, `step` |
"""

from optimizer.adaptive.belief import Belief as Belief
from optimizer.adaptive.belief import Inference as Inference
from optimizer.adaptive.planner import Effort as Effort
from optimizer.adaptive.planner import Measurement as Measurement
from optimizer.adaptive.planner import Plan as Plan
from optimizer.adaptive.planner import Planner as Planner
from optimizer.adaptive.prior import Prior as Prior
from optimizer.adaptive.prior import load_prior as load_prior
