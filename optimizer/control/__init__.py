"""Model predictive control over a particle filter, trials of policies in closed loop, and policies that are trained.

| to | call |
|---|---|
| say what is not known of a patient | `load_prior(scenario)` |
| believe, and learn from measurements | `Inference(scenario, prior, channels)`: `begin`, `update` |
| plan over a belief | `RecedingHorizonController(inference, Effort(...), rows)`: `init`, `step` |
| see patients under any controller | `closed_loop(members, controller, assays, conduct)` |
| train a network and judge it on patients held out | `learn(scenario, TrainSettings(...))` |
| read what came of it | `body(learned)`, `document_of(learned)` |
| see its decisions as a table | `decide(learned.network, every)` |
"""

from optimizer.control.belief import Belief as Belief, Inference as Inference
from optimizer.control.closed_loop import Conduct as Conduct, Feedback as Feedback, closed_loop as closed_loop
from optimizer.control.decisions import decide as decide
from optimizer.control.plan_search import Effort as Effort
from optimizer.control.prior import Prior as Prior, load_prior as load_prior
from optimizer.control.receding_horizon import (
    Measurement as Measurement,
    Plan as Plan,
    RecedingHorizonController as RecedingHorizonController,
)
from optimizer.control.train_report import body as body, document_of as document_of
from optimizer.control.train_run import Learned as Learned, learn as learn
from optimizer.settings import TrainSettings as TrainSettings
