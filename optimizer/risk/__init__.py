"""A patient's risk of resistance from features: trained, judged beside a clinical model, applied.

| to | call |
|---|---|
| read a table of features as PyRadiomics exports it | `read_features(path)` |
| train and judge | `train(features, settings)`, and `save(trained, out)` |
| probabilities of patients | `apply(model, path)` |
"""
