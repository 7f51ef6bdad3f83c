"""Measurements in, parameters with honest uncertainty out: the room behind `adose calibrate`.

| to | call |
|---|---|
| calibrate a table and write its directory | `calibrate(file, kind, out)` |
| read and check a table | `read_table(path, kind)` |
| score a published parameter set | `audit_rates`, `audit_secretion`, or `calibrate(..., against=...)` |
| fit a model of your own to time series | `TimeSeriesModel`, `calibrate(..., model=...)` |
"""

from optimizer.calibrate.audit import audit_rates as audit_rates, audit_secretion as audit_secretion
from optimizer.calibrate.fit import Settings as Settings
from optimizer.calibrate.report import FitReport as FitReport
from optimizer.calibrate.run import calibrate as calibrate
from optimizer.calibrate.tables import KINDS as KINDS, Table as Table, read_table as read_table
from optimizer.calibrate.timeseries import TimeSeriesModel as TimeSeriesModel
from optimizer.files.faults import DataError as DataError, Fault as Fault
