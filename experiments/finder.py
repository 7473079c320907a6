"""Train the network that finds digits in pictures, on pages drawn by code.

Each page is drawn when it is needed, and seen about four times, in different crops; no page returns
later. If training is interrupted, the same command resumes it, and it ends with the same weights.

    python -m experiments.finder [--pages 180000] [--report results/finder.csv]
"""

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch.nn import functional as F

from study import data, weights
from study.device import fast_precision
from study.drawing import pages
from study.drawing.sprites import Writers
from study.files import write_whole
from study.reading.finder import Finder, maps, normalised

ROOT = Path(__file__).parent.parent
SEED = 0
PAGES = 180_000  # crops of pages that are seen in all
PIXELS = 6 * 224 * 224  # of a batch
SIZES = 128, 192, 224, 256  # pixels: sides of the crops of a batch
RECENT = 256  # pages: what a batch does not draw, it takes from the last ones
NEW = 0.25  # of a batch: pages drawn for it
PEAK, LAST = 3e-3, 1e-5  # learning rates: after the warm-up, and at the end
WARM_UP = 100  # steps
WEIGHT_DECAY = 1e-3
MEMORY = 0.999  # of the moving average of the weights, which is what is kept
ROW = 5000  # crops between two rows of the history
NUM_VALID = 80  # pages that each row is measured on, by writers not used in training
SAVED = 120  # seconds between two checkpoints


class Training:
    """A training run that can be interrupted.

    Args:
        num_pages: how many crops it sees in all.
        checkpoint: the file that it resumes from, and keeps its state in.
    """

    def __init__(self, num_pages: int, checkpoint: Path):
        torch.manual_seed(SEED)
        self.num_pages, self.checkpoint = num_pages, checkpoint
        self.network = Finder().to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), PEAK, weight_decay=WEIGHT_DECAY
        )
        self.precision = fast_precision(torch.device("cpu"))
        self.step = self.seen = self.drawn = 0
        self.seconds, self.losses, self.history = 0.0, [], []
        self.writers, self.others = writers_of_training()
        self.recent: list[pages.Scene] = []
        if checkpoint.exists():
            self._restore(torch.load(checkpoint, weights_only=True))

    def run(self, until: float = math.inf) -> pd.DataFrame:
        """Train to the end, or until ``until`` crops have been seen.

        Returns:
            The history, one row every ``ROW`` crops: mean losses since the row before, what
            ``quality`` measures on pages by other writers, and minutes of processor time.
        """
        valid = [
            pages.draw(np.random.default_rng([SEED, 1, i]), self.others) for i in range(NUM_VALID)
        ]
        start, saved = time.process_time() - self.seconds, time.monotonic()
        while self.seen < min(self.num_pages, until):
            row = self.seen // ROW
            self._learn(*self._batch())
            self.seconds = time.process_time() - start
            if self.seen // ROW > row or self.seen >= self.num_pages:
                self._note(valid)
            if time.monotonic() - saved > SAVED:
                self._save()
                saved = time.monotonic()
        self._save()
        return pd.DataFrame(self.history)

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw some new pages; crop and distort them and some of the last ones."""
        rng = np.random.default_rng([SEED, 2, self.step])
        size = int(rng.choice(SIZES))
        count = round(PIXELS / size**2)
        new = [self._page(self.drawn + i) for i in range(max(1, round(NEW * count)))]
        self.drawn += len(new)
        self.recent = (self.recent + new)[-RECENT:]
        among = [
            *new,
            *(self.recent[i] for i in rng.integers(len(self.recent), size=count - len(new))),
        ]
        crops = [_cropped(rng, scene, size) for scene in among]
        inputs, targets = (torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True))
        return inputs.contiguous(memory_format=torch.channels_last), targets

    def _page(self, number: int) -> pages.Scene:
        return pages.draw(np.random.default_rng([SEED, 0, number]), self.writers)

    def _learn(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Take one step."""
        share = self.seen / self.num_pages
        rate = LAST + PEAK * min(1, (self.step + 1) / WARM_UP) * (1 + math.cos(math.pi * share)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.autocast("cpu", self.precision, enabled=self.precision != torch.float32):
            logits = self.network(inputs)
        losses = loss(logits.float(), targets)
        self.optimizer.zero_grad()
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        self.seen += len(inputs)
        self.losses.append(losses.tolist())
        memory = min(MEMORY, self.step / (self.step + 20))
        with torch.no_grad():
            both = self.average.state_dict().values(), self.network.state_dict().values()
            for kept, new in zip(*both, strict=True):
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - memory)
                else:
                    kept.copy_(new)

    def _note(self, valid: list[pages.Scene]) -> None:
        """Add a row to the history, and show it."""
        ink, core = np.mean(self.losses, axis=0)
        self.losses = []
        row = {"pages": self.seen, "loss_ink": ink, "loss_core": core}
        row |= quality(self.average, valid) | {"minutes": self.seconds / 60}
        self.history.append({name: round(float(value), 4) for name, value in row.items()})
        print(*(f"{name} {value:g}" for name, value in self.history[-1].items()), flush=True)

    def _save(self) -> None:
        parts = {"network": self.network, "average": self.average, "optimizer": self.optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        counts = {name: getattr(self, name) for name in ("step", "seen", "drawn", "seconds")}
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        part = self.checkpoint.with_suffix(".part")
        torch.save(state | counts | {"losses": self.losses, "history": self.history}, part)
        part.replace(self.checkpoint)

    def _restore(self, state: dict) -> None:
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state.pop(name))
        vars(self).update(state)
        first = max(0, self.drawn - RECENT)
        self.recent = [self._page(number) for number in range(first, self.drawn)]


def writers_of_training() -> tuple[Writers, Writers]:
    """Return who writes the pages to train on, and who writes those that measure the history."""
    train, people = data.load(ROOT / "data")[0], data.writers(ROOT / "data")[0]
    images, labels, names = train.images.numpy(), train.labels.numpy(), people["writer"].to_numpy()
    others = np.isin(names, np.unique(names)[::8])
    train, valid = (Writers(images[part], labels[part], names[part]) for part in (~others, others))
    return train, valid


def _cropped(
    rng: np.random.Generator, scene: pages.Scene, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Crop a page and change its tones; one in ten is turned by quarters."""
    top, left = (int(rng.integers(side - size + 1)) for side in scene.level.shape)
    part = slice(top, top + size), slice(left, left + size)
    level, truth = (
        scene.level[part].astype(np.float32),
        np.stack([scene.ink[part], scene.core[part]]),
    )
    if rng.random() < 0.3:
        level = 255 * (level / 255) ** rng.uniform(0.6, 1.7)
    if rng.random() < 0.1:
        level = level + rng.uniform(0, 5) * rng.standard_normal(level.shape, np.float32)
    if rng.random() < 0.1:
        turns = int(rng.integers(1, 4))
        level, truth = np.rot90(level, turns), np.rot90(truth, turns, (1, 2))
    return normalised(level).astype(np.float32), truth.astype(np.float32)


def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of each map, (2,): cross-entropy, and one minus the Dice coefficient.

    Dice (Milletari et al. 2016, https://arxiv.org/abs/1606.04797) counts a page with little ink as
    much as one with a lot.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    entropy = (entropy * (1 + 2 * targets)).mean((2, 3))
    found = logits.sigmoid()
    common = 2 * (found * targets).sum((2, 3)) + 20
    dice = 1 - common / (found.sum((2, 3)) + targets.sum((2, 3)) + 20)
    return (3 * entropy + 0.5 * dice).mean(0)


def quality(network: torch.nn.Module, scenes: list[pages.Scene]) -> dict[str, float]:
    """Measure how well maps agree with the truth of pages.

    Returns:
        overlap: intersection over union of the ink found and the true ink.
        found: share of the digits whose core was found alone.
        false: cores found where none is, per digit.
    """
    common = either = found = false = total = 0
    for scene in scenes:
        ink, core = maps(network, scene.level) > 0.5
        truth = scene.ink > 0.5
        common, either = common + (ink & truth).sum(), either + (ink | truth).sum()
        digits, total_here = ndimage.label(scene.core)
        pieces, count = ndimage.label(core)
        pairs = np.unique(np.stack([digits.ravel(), pieces.ravel()]), axis=1).T
        pairs = pairs[(pairs > 0).all(1)]
        once = [np.bincount(side, minlength=1)[side] == 1 for side in pairs.T]
        found, total = found + int(np.logical_and(*once).sum()), total + total_here
        false += count - len(np.unique(pairs[:, 1]))
    return {"overlap": common / max(either, 1), "found": found / total, "false": false / total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=PAGES, help="crops of pages to train on")
    parser.add_argument("--out", type=Path, default=ROOT / "models/finder.pt")
    parser.add_argument("--report", type=Path, help="CSV file for the history")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "runs/finder.checkpoint")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training = Training(arguments.pages, arguments.checkpoint)
    history = training.run()
    settings = {"pages": arguments.pages, "peak": PEAK, "precision": str(training.precision)}
    weights.save_model(
        arguments.out, training.average, hyperparameters=settings, seed=SEED, history=history
    )
    if arguments.report:
        write_whole(arguments.report, history.to_csv(index=False).encode())


if __name__ == "__main__":
    main()
