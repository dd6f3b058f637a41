"""The command `sitesynth`: what one does outside the pipeline, one module per noun."""
