"""Measure whether sharing generators can replace sharing data or federated learning.

The modules are the nouns of the study, from the table of a cohort to the comparison of strategies.
A name has one address: nothing is re-exported here. The version is in pyproject.toml.
"""
