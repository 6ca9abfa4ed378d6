"""The weights a fold's training begins with."""

from __future__ import annotations

from pathlib import Path

from ranoscope.config import (
    ChangePretraining,
    MedicalNetPretraining,
    NoPretraining,
    OrganPretraining,
    Recipe,
)
from ranoscope.domain import Case
from ranoscope.errors import RecipeError, problem
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.networks import PairNetwork
from ranoscope.learning.plateau import Told
from ranoscope.learning.pretraining.change import (
    COMMAND,
    network_settings,
    pretrain_in_fold,
    read_outside_weights,
    require_outside_weights,
)
from ranoscope.learning.pretraining.files import read_record, read_weights, trunk_settings
from ranoscope.learning.pretraining.medicalnet import read_medicalnet
from ranoscope.learning.pretraining.rotations import pretrain_on_rotations
from ranoscope.learning.pretraining.transfer import LoadReport, transfer_network, transfer_trunk

ORGAN_COMMAND = "ranoscope pretrain organmnist"
ROTATION_COMMAND = "ranoscope pretrain rotations"


def require_fitting_pretraining(recipe: Recipe) -> None:
    """Say early what ``prepare_initial_weights`` would say late; weights are not opened.

    Raises:
        RecipeError: MedicalNet's weights for another network than its own.
        RunError: weights of OrganMNIST3D or of synthetic change that are not there, or of another network.
    """
    settings, network = recipe.pretraining, recipe.network.name
    if isinstance(settings, MedicalNetPretraining) and network != "resnet":
        do = "set network: {name: resnet}, or choose another pretraining"
        raise RecipeError(problem("the network resnet for MedicalNet's weights", network, f"recipe {recipe.name}", do))
    if isinstance(settings, OrganPretraining):
        read_record(settings.weights, trunk_settings(recipe), ORGAN_COMMAND)
    if isinstance(settings, ChangePretraining) and settings.weights is not None:
        require_outside_weights(recipe, settings.weights)


def prepare_initial_weights(
    recipe: Recipe,
    network: PairNetwork,
    store: StudyStore,
    training_cases: list[Case],
    folder: Path,
    seed: int,
    told: Told,
) -> LoadReport | None:
    """Put the weights that the recipe's pretraining made into a network; None where it asks for none.

    Rotations and synthetic change without ``weights`` are learnt here, unless they have been, from the studies of
    ``training_cases`` alone.

    Args:
        recipe: the experiment.
        network: what ``build_network`` made of it; changed in place.
        store: aligned studies.
        training_cases: of one fold.
        folder: the fold's, which keeps what was learnt.
        seed: of the fold.
        told: called with 0 and words while the fold learns.

    Raises:
        RecipeError: MedicalNet's weights for another network than its own.
        RunError: a file that is not there, damaged, of another network, or learnt from these cases' own studies; or a
            loss that became NaN.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    settings = recipe.pretraining
    if isinstance(settings, NoPretraining):
        return None
    require_fitting_pretraining(recipe)
    if isinstance(settings, MedicalNetPretraining):
        return transfer_trunk(read_medicalnet(settings.weights), network)
    if isinstance(settings, OrganPretraining):
        return transfer_trunk(read_weights(settings.weights, trunk_settings(recipe), ORGAN_COMMAND), network)
    if isinstance(settings, ChangePretraining):
        if settings.weights is not None:
            outside = read_outside_weights(recipe, settings.weights, store, training_cases)
            return transfer_network(outside, network)
        path = pretrain_in_fold(recipe, store, training_cases, folder, seed, told)
        return transfer_network(read_weights(path, network_settings(recipe), COMMAND), network)
    path = pretrain_on_rotations(recipe, store, training_cases, folder, seed, told)
    return transfer_trunk(read_weights(path, trunk_settings(recipe), ROTATION_COMMAND), network)
