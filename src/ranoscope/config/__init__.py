"""Every setting of every stage: one pydantic tree, a class per stage, each field with its unit and reason."""

from ranoscope.config.base import Settings, overlay, parse_change, parse_settings
from ranoscope.config.data import (
    CohortSettings,
    DuplicatePolicy,
    FoldProtocol,
    FoldSettings,
    GridSettings,
    PairRule,
    PhantomSettings,
)
from ranoscope.config.explanation import (
    ExplanationSettings,
    KeptMaps,
    MethodName,
    MethodSettings,
    PerturbationSettings,
)
from ranoscope.config.learning import (
    AlexNetSettings,
    Arrangement,
    AugmentationSettings,
    ChangeAwareSettings,
    ChangePretraining,
    ClinicalSettings,
    DenseNetSettings,
    Labels,
    MedicalNetPretraining,
    MedNeXtSettings,
    MissingSequences,
    NetworkSettings,
    NoPretraining,
    OrganPretraining,
    PretrainingSettings,
    ResNetSettings,
    RotationPretraining,
    StackSettings,
    SwinSettings,
    Target,
    TrainingSettings,
    ViTSettings,
)
from ranoscope.config.recipe import (
    EvaluationSettings,
    Recipe,
    load_recipe,
    parse_recipe,
    recipes_folder,
)

__all__ = [
    "AlexNetSettings", "Arrangement", "AugmentationSettings", "ChangeAwareSettings", "ChangePretraining",
    "ClinicalSettings", "CohortSettings", "DenseNetSettings", "DuplicatePolicy", "EvaluationSettings",
    "ExplanationSettings", "FoldProtocol", "FoldSettings", "GridSettings", "KeptMaps", "Labels", "MedNeXtSettings",
    "MedicalNetPretraining", "MethodName", "MethodSettings", "MissingSequences", "NetworkSettings", "NoPretraining",
    "OrganPretraining", "PairRule", "PerturbationSettings", "PhantomSettings", "PretrainingSettings", "Recipe",
    "ResNetSettings", "RotationPretraining", "Settings", "StackSettings", "SwinSettings", "Target",
    "TrainingSettings", "ViTSettings", "load_recipe", "overlay", "parse_change", "parse_recipe", "parse_settings",
    "recipes_folder",
]  # fmt: skip
