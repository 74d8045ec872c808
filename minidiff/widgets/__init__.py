"""Widgets for the lessons: what a learner drags, plays and types into. The library never imports them.

A player computes its frames once and is scrubbed in the page, also where no kernel runs: `StepScrubber`,
`NoiseSlider`, `SamplerRace`, `GuidanceExplorer`, `WordHeat`, and `scrub` for any function.
A live widget asks the kernel: `Playground`, `TrainingBoard`, `PaintMask`, `LatentMap`, `ScheduleDesigner`.
"""

from .latent import LatentMap
from .paint import PaintMask
from .player import Player
from .playground import Playground
from .schedule import ScheduleDesigner
from .scrubbers import GuidanceExplorer, NoiseSlider, SamplerRace, StepScrubber, WordHeat, scrub
from .training import TrainingBoard

__all__ = [
    "GuidanceExplorer",
    "LatentMap",
    "NoiseSlider",
    "PaintMask",
    "Player",
    "Playground",
    "SamplerRace",
    "ScheduleDesigner",
    "StepScrubber",
    "TrainingBoard",
    "WordHeat",
    "scrub",
]
