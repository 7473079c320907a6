"""A network that finds digits: for each pixel, whether it is a digit's ink, and a digit's core.

It is a small U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597). Most of its layers
work at a sixteenth of the resolution, where they are cheap and see far: up close, a circle around a
digit cannot be told from a 0. `experiments.finder` trains it.
"""

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from network import Network
from study.weights import ModelFileError, load_model

STRIDE = 16  # the network takes sides that are multiples of it
NEAR, FAR = 65, 129  # pixels: windows whose mean and contrast normalise each pixel
FAINT = 3  # grey levels: contrast below which noise is not raised to full contrast
MOST = 4  # standard deviations at which the network's input is clipped


class Finder(Network):
    """Compute two maps of a picture.

    Input: float (N, 2, height, width), as ``normalised`` makes it; height and width are multiples
    of ``STRIDE``. Output: logits (N, 2, height, width): is it the ink of a digit, and is it near
    the middle of one?

    Args:
        widths: number of maps at a half, a quarter, an eighth and a sixteenth of the resolution.
        dilations: of the depthwise convolutions at the lowest resolution, one after the other.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 128),
        dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8, 1, 2),
    ):
        super().__init__()
        a, b, c, d = widths
        self.down_2 = nn.Sequential(nn.PixelUnshuffle(2), _convolution(8, a), _convolution(a, a))
        self.down_4 = nn.Sequential(_convolution(a, b, stride=2), _convolution(b, b))
        self.down_8 = nn.Sequential(_convolution(b, c, stride=2), _convolution(c, c))
        self.down_16 = nn.Sequential(
            _convolution(c, d, stride=2), *(_Wide(d, dilation) for dilation in dilations)
        )
        self.up_8, self.up_4, self.up_2 = _Up(d, c), _Up(c, b), _Up(b, a)
        self.head = nn.Sequential(nn.Conv2d(a, 8, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = self.down_2(x)
        quarter = self.down_4(half)
        eighth = self.down_8(quarter)
        up = self.up_8(self.down_16(eighth), eighth)
        return self.head(self.up_2(self.up_4(up, quarter), half))


class _Wide(nn.Module):
    """A residual block that sees far: depthwise and dilated, then pointwise."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, dilation, dilation, channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


class _Up(nn.Module):
    """Double the resolution, and add the features that were there on the way down."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.fewer = nn.Conv2d(inputs, outputs, 1)
        self.convolution = _convolution(outputs, outputs)

    def forward(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        return self.convolution(F.interpolate(self.fewer(x), scale_factor=2) + before)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def normalised(level: np.ndarray) -> np.ndarray:
    """Return what the network sees of grey levels (height, width): float32 (2, height, width).

    The first map is the contrast with the surroundings, whatever the light; the second is that with
    the whole picture, since inside a thick stroke nothing nearby differs.
    """
    level = level.astype(np.float32)
    away = level - ndimage.uniform_filter(level, NEAR)
    contrast = np.sqrt(ndimage.uniform_filter(away * away, FAR).clip(0))
    whole = (level - level.mean()) / (level.std() + FAINT)
    return np.stack([away / (contrast + FAINT), whole]).clip(-MOST, MOST)


def maps(finder: nn.Module, level: np.ndarray) -> np.ndarray:
    """Return the probabilities of ink and core of each pixel, float32 (2, height, width).

    Args:
        finder: a ``Finder`` in eval mode.
        level: grey levels (height, width), in which digits are 10 to 200 pixels high.
    """
    height, width = level.shape
    seen = np.pad(normalised(level), ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE)))
    batch = torch.from_numpy(seen)[None].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return finder(batch).sigmoid()[0, :, :height, :width].numpy()


def load_finder(path: Path) -> Finder:
    """Return the finder in a weights file, in eval mode.

    Raises:
        ModelFileError: it cannot be loaded, or is another network.
    """
    finder = load_model(path)
    if not isinstance(finder, Finder):
        raise ModelFileError(f"{path} holds a {type(finder).__name__}, which finds no digits.")
    return finder.to(memory_format=torch.channels_last)
