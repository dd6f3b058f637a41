"""The errors that a user's files, parameters or machines can cause.

    SitesynthError
    ├── SettingsError        params.yaml does not describe a study
    ├── MissingInputError    a file that a command reads is not there
    ├── CohortError          a cohort table or its scans break the data contract
    │   └── LeakageError     a patient would be at two sites, or in two splits
    ├── VolumeError          one image file cannot be read as what it claims to be
    ├── TrainingError        a model cannot be trained, or its training diverged
    ├── BundleError          a generator bundle cannot be trusted
    ├── ExtractorError       a feature extractor's weights are not what the study names
    ├── ReleaseRefusedError  a gate says no: nothing leaves the site, no alias moves
    └── RegistryError        the model registry does not hold what was asked for

A message states the rule, the value, the place and the next step. The command line prints it
without a traceback and ends with exit code 2.
"""

__all__ = [
    "BundleError",
    "CohortError",
    "ExtractorError",
    "LeakageError",
    "MissingInputError",
    "RegistryError",
    "ReleaseRefusedError",
    "SettingsError",
    "SitesynthError",
    "TrainingError",
    "VolumeError",
]


class SitesynthError(Exception):
    """Base of every error that is raised on purpose."""


class SettingsError(SitesynthError):
    """params.yaml has a missing, unknown, ill-typed or impossible value."""


class MissingInputError(SitesynthError):
    """A path that a command reads does not exist."""


class CohortError(SitesynthError):
    """A cohort table, or a scan it names, breaks the data contract."""


class LeakageError(CohortError):
    """A patient, or the same voxels, would be on both sides of a wall."""


class VolumeError(SitesynthError):
    """An image file is missing, damaged, or not the kind of image that was asked for."""


class TrainingError(SitesynthError):
    """A model cannot be trained on what it was given, or its loss is no longer a number."""


class BundleError(SitesynthError):
    """A generator bundle is incomplete, altered, or of a schema this version does not know."""


class ExtractorError(SitesynthError):
    """A network for features cannot be loaded from the file that a study names."""


class ReleaseRefusedError(SitesynthError):
    """A gate refused a generator or a classifier."""


class RegistryError(SitesynthError):
    """The registry does not hold the model, version or alias that was asked for."""
