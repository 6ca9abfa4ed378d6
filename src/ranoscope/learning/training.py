"""Lightning as every training here uses it: quiet, atomic, and resumed where it stopped."""

from __future__ import annotations

import logging
import pickle
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader

from ranoscope import runs
from ranoscope.config import Recipe
from ranoscope.learning.checkpoints import AtomicCheckpointIO, load_weights
from ranoscope.learning.data import Sample, SampleDataset, loader, uses_cuda
from ranoscope.learning.diary import Diary
from ranoscope.learning.history import part_history
from ranoscope.learning.module import ResponseModule, answer
from ranoscope.learning.networks import History, PairNetwork
from ranoscope.learning.plateau import Plateau, Told

_LAST = "last.ckpt"
Batches = DataLoader[Sample]


def train(
    module: ResponseModule,
    recipe: Recipe,
    diary: Diary,
    plateau: Plateau,
    loaders: Callable[[int], tuple[Batches, Batches]],
) -> PairNetwork:
    """Train to the end, from the restart file of the diary's folder if there is one.

    Args:
        module: what is trained.
        recipe: how, and where.
        diary: keeps losses and weights.
        plateau: ends the training, and tells of every epoch.
        loaders: given the number of processes, the training batches and those that choose the epoch.

    Returns:
        The network at the epoch that is kept, on the CPU, in evaluation mode.

    Raises:
        RunError: the loss became NaN or infinite.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    folder = diary.folder
    # Lightning runs checkpoint callbacks last: the restart file never knows an epoch whose kept weights are not there.
    last = ModelCheckpoint(dirpath=folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = _make_trainer(recipe, [diary, plateau, last], folder)
    with quiet(), _passing_on_ctrl_c():
        training, inner = loaders(trainer.world_size)
        restart = _restart_file(diary, plateau.told)
        trainer.fit(module, training, inner, ckpt_path=restart, weights_only=True)
    trainer.strategy.barrier()
    network = module.network.cpu()
    load_weights(diary.kept_weights(diary.history), network)
    return network.eval()


@torch.inference_mode()
def probabilities(network: PairNetwork, dataset: SampleDataset, recipe: Recipe) -> Tensor:
    """Class probabilities (sample, class) of a data set without a seed, in its order, float32."""
    device = torch.device("cuda" if uses_cuda(recipe) else "cpu")
    network = network.to(device).eval()
    answers = []
    for pairs, facts, _, *rest in loader(dataset, recipe):
        history = part_history(rest)[1]
        if history is not None:
            history = History(*(part.to(device, non_blocking=True) for part in history))
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.training.precision == "bf16-mixed"):
            logits = answer(network, pairs.to(device, non_blocking=True), facts.to(device, non_blocking=True), history)
        answers.append(logits.float().softmax(dim=1).cpu())
    network.cpu()
    return torch.cat(answers)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the first process of a multi-GPU run does so for all of them."""
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    with runs.exclusive(folder):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice about worker counts and existing folders, which ranoscope decides on its own."""
    with warnings.catch_warnings():
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=r".*(pin_memory|treespec).*")
        yield


def _restart_file(diary: Diary, told: Told) -> str | None:
    """The restart file, if there is one and it is whole; damaged ones are removed and the training starts afresh."""
    path = diary.folder / _LAST
    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if diary.kept_weights(state["callbacks"][Diary.__name__]["history"]).is_file():
            return str(path)
    except (EOFError, KeyError, OSError, RuntimeError, pickle.UnpicklingError):
        pass
    told(0, "its restart files were damaged; it starts afresh")
    shutil.rmtree(diary.folder)
    return None


def _make_trainer(recipe: Recipe, callbacks: list[Callback], folder: Path) -> L.Trainer:
    """Lightning's trainer as the recipe sets it; our own progress bar and records instead of Lightning's."""
    settings = recipe.training
    with quiet():
        return L.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=settings.precision,
            max_epochs=settings.epochs,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=1.0,
            benchmark=uses_cuda(recipe),
        )


@contextmanager
def _passing_on_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt where Lightning, having caught it, ends the program and leaves Ctrl+C without effect."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt from ended
        raise
