"""Recording runs in MLflow: the only module, with `registry`, that imports it.

One experiment per study. One parent run per study, and below it one run per stage instance, named
as DVC names it (`train_autoencoder@alder`). A stage's newest finished run carries the tag
`current = true`, so that the filter `tags.current = "true"` shows what `dvc.lock` describes.
"""
