"""Virtual populations: who the members are, the best schedule of each, and the best single schedule for all.

| to | call |
|---|---|
| draw or read patients | `load_patients(scenario, count, seed)` |
| put their numbers in the place of the scenario's | `build_ensemble(scenario, patients)` |
| see what given schedules come to in all of them | `evaluate(ensemble, schedules)` |
| find everybody's schedules, chunk by chunk | `run_chunks(scenario, Settings(...), out)` |
| read what came of it | `summary(cohort)`, `survival(days, horizon)` |
"""

from optimizer.ensemble.ensemble import Ensemble as Ensemble, build_ensemble as build_ensemble
from optimizer.ensemble.evaluate import evaluate as evaluate
from optimizer.ensemble.patients import Patients as Patients, load_patients as load_patients
from optimizer.ensemble.risk import Risk as Risk, risk_of as risk_of
from optimizer.ensemble.run import Cohort as Cohort, Settings as Settings, run_chunks as run_chunks
from optimizer.ensemble.summary import summary as summary
from optimizer.ensemble.survival import survival as survival
