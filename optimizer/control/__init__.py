"""Control: what is given when, by what has been measured: model predictive control, rules, networks, trials.

| to | call |
|---|---|
| say what is not known of a patient | `load_prior(scenario)` |
| believe, and learn from measurements (a particle filter) | `Inference(scenario, prior, channels)`: `begin`, `update` |
| plan over a belief (receding horizon) | `RecedingHorizonController(inference, Effort(...), rows)`: `init`, `step` |
| train a network and judge it on patients held out | `learn(scenario, Settings(...))` |
| read what came of it | `body(learned)`, `document_of(learned)` |
| see its decisions as a table | `decide(learned.network, every)` |
"""

from optimizer.control.belief import Belief as Belief
from optimizer.control.belief import Inference as Inference
from optimizer.control.decisions import decide as decide
from optimizer.control.prior import Prior as Prior
from optimizer.control.prior import load_prior as load_prior
from optimizer.control.receding_horizon import Effort as Effort
from optimizer.control.receding_horizon import Measurement as Measurement
from optimizer.control.receding_horizon import Plan as Plan
from optimizer.control.receding_horizon import RecedingHorizonController as RecedingHorizonController
from optimizer.control.train_report import body as body
from optimizer.control.train_report import document_of as document_of
from optimizer.control.train_run import Learned as Learned
from optimizer.control.train_run import Settings as Settings
from optimizer.control.train_run import learn as learn
