"""Networks that dose: trained by the gradient through the closed loop over virtual patients.

| to | call |
|---|---|
| train one and judge it on patients held out | `learn(scenario, Settings(...))` |
| read what came of it | `body(learned)`, `document_of(learned)` |
| see its decisions as a table | `decide(learned.network, every)` |
"""

from optimizer.learn.decisions import decide as decide
from optimizer.learn.report import body as body
from optimizer.learn.report import document_of as document_of
from optimizer.learn.run import Learned as Learned
from optimizer.learn.run import Settings as Settings
from optimizer.learn.run import learn as learn
