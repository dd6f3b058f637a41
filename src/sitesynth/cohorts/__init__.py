"""Cohorts: tables of scans, the checks they must pass, and how their patients are split."""
