"""Virtual patients: who they are, the best schedule of each, and the best single schedule for all.

| to | call |
|---|---|
| draw or read patients | `load_patients(scenario, count, seed)` |
| put their numbers in the place of the scenario's | `build_crowd(scenario, patients)` |
| see what given schedules come to in all of them | `evaluate(crowd, schedules)` |
| find everybody's schedules, chunk by chunk | `run_chunks(scenario, Settings(...), out)` |
| read what came of it | `summary(cohort)`, `survival(days, horizon)` |
"""

from optimizer.cohort.crowd import Crowd as Crowd
from optimizer.cohort.crowd import build_crowd as build_crowd
from optimizer.cohort.evaluate import evaluate as evaluate
from optimizer.cohort.patients import Patients as Patients
from optimizer.cohort.patients import load_patients as load_patients
from optimizer.cohort.risk import Risk as Risk
from optimizer.cohort.risk import risk_of as risk_of
from optimizer.cohort.run import Cohort as Cohort
from optimizer.cohort.run import Settings as Settings
from optimizer.cohort.run import run_chunks as run_chunks
from optimizer.cohort.summary import summary as summary
from optimizer.cohort.summary import survival as survival
