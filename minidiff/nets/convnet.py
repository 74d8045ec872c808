"""A small convolutional classifier: it reads pictures, judges drawn ones and gives features to compare them by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..checkpoint import Stored


class ConvNet(Stored):
    """x (b c h w) in [-1, 1] -> logits (b, classes). Called on a batch by `forward`, it is its own objective.

    Three sizes of two convolutions each; the mean over places gives `features` (b, d). With several numbers of
    classes it answers as many questions: the logits of one stand after those of the other.
    """

    usual = "digits"

    def __init__(self, channels: int = 1, classes: int | Sequence[int] = 10, widths: Sequence[int] = (32, 64, 128)):
        super().__init__()
        self.questions = [classes] if isinstance(classes, int) else list(classes)
        self.config = {"class": "ConvNet", "channels": channels, "widths": list(widths)}
        self.config["classes"] = classes if isinstance(classes, int) else self.questions
        self.precision = torch.float32
        layers, c = [], channels
        for i, width in enumerate(widths):
            layers += [nn.Conv2d(c, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i < len(widths) - 1 else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            c = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(c, sum(self.questions))

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """What the last layer sees, float32."""
        with torch.autocast(x.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.body(x).float()

    def logits(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        return self.head(self.features(x))

    def answers(self, x: Float[Tensor, "b c h w"]) -> Int[Tensor, "b questions"]:
        """The class that it takes x for, one for each question."""
        return torch.stack([part.argmax(1) for part in self.logits(x).split(self.questions, dim=1)], dim=1)

    def forward(self, batch) -> Float[Tensor, ""]:
        """Cross-entropy of a `data.Batch`, summed over the questions, which the first columns of its labels answer."""
        labels = batch.labels.view(len(batch.x0), -1)
        logits = self.logits(batch.x0).split(self.questions, dim=1)
        return torch.stack([F.cross_entropy(part, labels[:, i]) for i, part in enumerate(logits)]).sum()
