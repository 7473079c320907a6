"""The convolutional networks, and the base class of every network.

Every network of this study takes float images (N, 1, 28, 28) with values in [0, 1] and returns
logits (N, 10), or (N, 11) if it was made with ``num_classes=11``: the eleventh stands for "no
digit". Normalisation happens inside the network, so notebooks, the page and a user's script all
pass it the same input.
"""

import inspect
import math
from typing import ClassVar, Self

import torch
from torch import nn
from torch.nn import functional as F

# Mean and standard deviation of all pixels of the training images, after division by 255.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # *values, **named


class Network(nn.Module):
    """Base class of every network: a subclass is known by its name and remembers its arguments.

    A weights file holds both, and ``weights.load_model`` builds the network again from them. A name
    is looked up among the subclasses that were imported, so that a file from a stranger cannot run
    code.

    Attributes:
        arguments: what ``__init__`` was called with, by name, defaults included.
    """

    known: ClassVar[dict[str, type["Network"]]] = {}

    def __init_subclass__(cls):
        super().__init_subclass__()
        other = Network.known.get(cls.__name__, cls).__module__
        if other not in (cls.__module__, "__main__"):  # reloaded, or tried in a notebook before
            raise TypeError(f"{other}.py has a network called {cls.__name__}: rename this one")
        Network.known[cls.__name__] = cls

    def __new__(cls, *values, **named) -> Self:
        model = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        bound = signature.bind_partial(model, *values, **named)
        variadic = [p.name for p in signature.parameters.values() if p.kind in VARIADIC]
        if any(bound.arguments.pop(name, None) for name in variadic):
            raise TypeError(f"{cls.__name__} must name every argument of __init__")
        bound.apply_defaults()
        model.arguments = {
            name: value
            for name, value in list(bound.arguments.items())[1:]  # the first is self
            if name not in variadic
        }
        return model


class Normalize(nn.Module):
    """First layer of every network: checks the input, then scales pixels to mean 0, deviation 1.

    Args:
        window: side of the square of a ``TopHat`` before the scaling; None for none.
    """

    def __init__(self, window: int | None = None):
        super().__init__()
        self.top_hat = nn.Identity() if window is None else TopHat(window)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``images`` normalised, in the same shape.

        Raises:
            ValueError: the shape is not (N, 1, 28, 28).
            TypeError: the values are not floating-point numbers.
        """
        if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
            raise ValueError(f"expected images (N, 1, 28, 28), got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise TypeError(
                f"expected floating-point images in [0, 1], got {images.dtype}; "
                "data.to_float turns uint8 images into them"
            )
        return (self.top_hat(images) - PIXEL_MEAN) / PIXEL_STD


class TopHat(nn.Module):
    """White top-hat filter: keep what is narrower than a window, and rescale to a maximum near 1.

    The filter subtracts from an image its opening, in which only structures at least as wide as the
    window survive (Serra 1982, "Image Analysis and Mathematical Morphology"). Strokes are narrower
    and stay; shadows, stains and tinted paper are wider and disappear.

    Args:
        window: side of the square, in pixels.

    Raises:
        ValueError: the side is not an odd number from 3 to 27.
    """

    def __init__(self, window: int):
        super().__init__()
        if window not in range(3, 28, 2):
            raise ValueError(f"window must be an odd number from 3 to 27, got {window!r}")
        self.window = window

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (N, 1, 28, 28) in [0, 1] from images of the same form."""
        eroded = -_maximum_filter(-images, self.window)
        ink = images - _maximum_filter(eroded, self.window)
        return ink / (ink.amax((2, 3), keepdim=True) + 1e-3)  # a blank image stays blank


def _maximum_filter(images: torch.Tensor, window: int) -> torch.Tensor:
    """Return the maximum over each square window, 30 times as fast as F.max_pool2d on a CPU."""
    margin = window // 2
    images = F.pad(images, (margin,) * 4, value=-math.inf)
    for dim in (2, 3):
        side = 1  # of the window so far; it is doubled until it is large enough
        while side < window:
            step = min(side, window - side)
            length = images.shape[dim] - step
            images = torch.maximum(images.narrow(dim, 0, length), images.narrow(dim, step, length))
            side += step
    return images


class CNN(Network):
    """Two blocks of convolution, batch normalisation, pooling and ReLU, then two linear layers.

    With the defaults it has 417 578 trainable parameters.

    Args:
        channels: feature maps of the first and of the second block.
        hidden_size: units of the first linear layer, whose outputs are the features that the last
            layer classifies.
        dropout: probability that one of those units is dropped in training.
        num_classes: number of logits; 11 for the ten digits and "no digit".
    """

    def __init__(
        self,
        channels: tuple[int, int] = (16, 32),
        hidden_size: int = 256,
        dropout: float = 0.2,
        num_classes: int = 10,
    ):
        super().__init__()
        self.features = nn.Sequential(
            Normalize(),
            _block(1, channels[0]),  # (N, 16, 14, 14)
            _block(channels[0], channels[1]),  # (N, 32, 7, 7)
            nn.Flatten(),  # (N, 1568)
            nn.Linear(channels[1] * 7 * 7, hidden_size),
            nn.Dropout(dropout),
            nn.ReLU(),  # (N, 256)
        )
        self.classifier = nn.Linear(hidden_size, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1]."""
        return self.classifier(self.features(images))


class DeepCNN(Network):
    """Six convolutions; the last one covers all that pooling has left of the image, 4x4 pixels.

    With the defaults it has 230 010 trainable parameters, about half as many as the CNN. Most of
    the CNN's are in its first linear layer; here the last convolution leaves a single pixel, so
    none is needed.

    Args:
        width: feature maps of the second convolution; the others have half, two or four times as
            many.
        dropout: probability that a value is dropped in training, before and after the last
            convolution.
        num_classes: number of logits; 11 for the ten digits and "no digit".
        window: side of the square of the ``TopHat`` that each image passes first; None for none.
    """

    def __init__(
        self,
        width: int = 32,
        dropout: float = 0.3,
        num_classes: int = 10,
        window: int | None = None,
    ):
        super().__init__()
        self.features = nn.Sequential(
            Normalize(window),
            *_convolution(1, width // 2),  # (N, 16, 26, 26)
            *_convolution(width // 2, width, pool=True),  # (N, 32, 12, 12)
            *_convolution(width, 2 * width),  # (N, 64, 10, 10)
            *_convolution(2 * width, 2 * width),  # (N, 64, 8, 8)
            *_convolution(2 * width, 2 * width, padding=1, pool=True),  # (N, 64, 4, 4)
            nn.Dropout(dropout),
            *_convolution(2 * width, 4 * width, kernel_size=4),  # (N, 128, 1, 1)
            nn.Dropout(dropout),
            nn.Flatten(),  # (N, 128)
        )
        self.classifier = nn.Linear(4 * width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1]."""
        return self.classifier(self.features(images))


class Ensemble(Network):
    """Several DeepCNNs, trained independently, whose probabilities are averaged.

    Args:
        size: number of networks.
        width, dropout, num_classes, window: arguments of each ``DeepCNN``.
    """

    def __init__(
        self,
        size: int = 5,
        width: int = 32,
        dropout: float = 0.3,
        num_classes: int = 10,
        window: int | None = None,
    ):
        super().__init__()
        member = {
            "width": width,
            "dropout": dropout,
            "num_classes": num_classes,
            "window": window,
        }
        self.members = nn.ModuleList(DeepCNN(**member) for _ in range(size))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the log of the members' mean probabilities, (N, num_classes), usable as logits."""
        log_probabilities = [member(images).log_softmax(1) for member in self.members]
        return torch.stack(log_probabilities).logsumexp(0) - math.log(len(self.members))


class SeparableCNN(Network):
    """A convolution, then separable ones: a 3x3 filter for each map, then a 1x1 mix of all maps.

    From m maps to n, that takes m * (9 + n) weights, and an ordinary convolution 9 * m * n (Howard
    et al. 2017, https://arxiv.org/abs/1704.04861). The last filters cover all that pooling has left
    of the image. With the defaults it has 24 090 trainable parameters.

    Args:
        width: feature maps up to the first pooling; after it there are twice as many.
        pooling: for each separable convolution, 1 if pooling follows, else 0.
        num_classes: number of logits; 11 for the ten digits and "no digit".
    """

    def __init__(
        self,
        width: int = 40,
        pooling: tuple[int, ...] = (0, 1, 0, 0, 1),
        num_classes: int = 10,
    ):
        super().__init__()
        layers, maps, side = [Normalize(), *_convolution(1, width)], width, 26
        for index, pool in enumerate(pooling):
            filters = nn.Conv2d(maps, maps, 3, groups=maps, bias=False)
            wider = 2 * width if any(pooling[:index]) else width
            layers += [filters, *_convolution(maps, wider, kernel_size=1, pool=pool)]
            maps, side = wider, (side - 2) // (2 if pool else 1)
        self.features = nn.Sequential(*layers, *_one_pixel(maps, side))
        self.classifier = nn.Linear(maps, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1]."""
        return self.classifier(self.features(images))


class RecursiveCNN(Network):
    """One convolution, applied again and again to what it has made of the image.

    Each application has a batch normalisation of its own, without which sharing the weights fails
    (Jastrzebski et al. 2018, https://arxiv.org/abs/1710.04773), and a shortcut around it (He et
    al. 2016, https://arxiv.org/abs/1512.03385). With the defaults it has 922 trainable parameters.

    Args:
        width: feature maps of every layer.
        pooling: for each application, 1 if pooling follows, else 0.
        num_classes: number of logits; 11 for the ten digits and "no digit".
    """

    def __init__(
        self,
        width: int = 8,
        pooling: tuple[int, ...] = (1, 0, 1, 0, 1),
        num_classes: int = 10,
    ):
        super().__init__()
        self.first = nn.Sequential(Normalize(), *_convolution(1, width, padding=1))
        self.convolution = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in pooling)
        self.last = nn.Sequential(*_one_pixel(width, side=28 // 2 ** sum(pooling)))
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1]."""
        maps = self.first(images)
        for norm, pool in zip(self.norms, self.arguments["pooling"], strict=True):
            maps = maps + norm(self.convolution(maps))
            maps = F.relu(F.max_pool2d(maps, 2) if pool else maps)
        return self.classifier(self.last(maps))


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int = 3, padding: int = 0, pool: bool = False
) -> list[nn.Module]:
    # No bias: batch normalisation would subtract it again.
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False),
        nn.BatchNorm2d(out_channels),
    ]
    return [*layers, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU()]


def _one_pixel(width: int, side: int) -> list[nn.Module]:
    # One filter for each map, over all of it: (N, width, side, side) -> (N, width).
    filters = nn.Conv2d(width, width, side, groups=width, bias=False)
    return [filters, nn.BatchNorm2d(width), nn.Flatten()]


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    # Pooling before ReLU gives the same maximum as after it, and ReLU then processes only a quarter
    # of the values. The convolution's bias changes nothing, since batch normalisation subtracts it;
    # the saved models have it.
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=5, padding=2),
        nn.BatchNorm2d(out_channels),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )
