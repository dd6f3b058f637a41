"""The knobs of a study, one class per section of params.yaml.

Nothing here computes, and nothing has a default: DVC tracks the values in params.yaml, so a value
that is not there is a value whose change reruns nothing.
"""

from sitesynth.settings.audits import (
    EncoderSettings,
    ExtractorSettings,
    PrivacySettings,
    QualitySettings,
)
from sitesynth.settings.classifiers import (
    ClassifierSettings,
    FederatedSettings,
    MixingSettings,
    SupplementationSettings,
)
from sitesynth.settings.cohorts import (
    CheckSettings,
    CohortSettings,
    LabelUnit,
    PhantomSettings,
    PhantomSiteSettings,
    SiteSettings,
    SplitSettings,
    StageSettings,
    TaskSettings,
)
from sitesynth.settings.evaluation import EvaluationSettings, RegistrySettings
from sitesynth.settings.fields import (
    FINDINGS,
    LABEL_SCORE,
    MASK_CHANNEL,
    PRESENCE,
    Names,
    Section,
)
from sitesynth.settings.files import check_settings, load_settings, settings_text
from sitesynth.settings.generators import (
    AdversarialSettings,
    AutoencoderSettings,
    ComputeSettings,
    ConvolutionSettings,
    CorrectionSettings,
    DiffusionSettings,
    FlowSize,
    GanSettings,
    GeneratorSettings,
    LatentsSettings,
    PrivateTraining,
    SamplingSettings,
)
from sitesynth.settings.preprocessing import (
    BiasFieldSettings,
    GridSettings,
    IntensitySettings,
    PreprocessSettings,
    RegistrationSettings,
    TemplateSettings,
)
from sitesynth.settings.study import (
    BASELINES,
    MIX_VARIANTS,
    OVERRIDABLE,
    PHANTOM_SEQUENCES,
    STAGED,
    Overrides,
    Settings,
)


__all__ = [
    "BASELINES",
    "FINDINGS",
    "LABEL_SCORE",
    "MASK_CHANNEL",
    "MIX_VARIANTS",
    "OVERRIDABLE",
    "PHANTOM_SEQUENCES",
    "PRESENCE",
    "STAGED",
    "AdversarialSettings",
    "AutoencoderSettings",
    "BiasFieldSettings",
    "CheckSettings",
    "ClassifierSettings",
    "CohortSettings",
    "ComputeSettings",
    "ConvolutionSettings",
    "CorrectionSettings",
    "DiffusionSettings",
    "EncoderSettings",
    "EvaluationSettings",
    "ExtractorSettings",
    "FederatedSettings",
    "FlowSize",
    "GanSettings",
    "GeneratorSettings",
    "GridSettings",
    "IntensitySettings",
    "LabelUnit",
    "LatentsSettings",
    "MixingSettings",
    "Names",
    "Overrides",
    "PhantomSettings",
    "PhantomSiteSettings",
    "PreprocessSettings",
    "PrivacySettings",
    "PrivateTraining",
    "QualitySettings",
    "RegistrationSettings",
    "RegistrySettings",
    "SamplingSettings",
    "Section",
    "Settings",
    "SiteSettings",
    "SplitSettings",
    "StageSettings",
    "SupplementationSettings",
    "TaskSettings",
    "TemplateSettings",
    "check_settings",
    "load_settings",
    "settings_text",
]
