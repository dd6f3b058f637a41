"""The phantom consortium: hospitals, scanners and gliomas that are computed, with known truth."""
