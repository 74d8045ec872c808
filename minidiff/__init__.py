"""minidiff: how AI generates images, by building every part.

A Process turns data into noise. A Denoiser guesses the data back. A sampler walks from noise to data.
Guidance edits the guess on the way. Everything else only builds or trains these four.
"""

from .checkpoint import CheckpointError
from .data import batches, cifar10, mnist
from .denoiser import Denoiser
from .guidance import autoguidance, cfg, clipped, inpaint
from .nets.convnet import ConvNet
from .nets.dit import DiT
from .nets.mlp import MLP
from .nets.unet import UNet
from .painted import painted_digits
from .pipeline import TextToImage
from .process import DDPM, EDM, Cosine, Flow, Process
from .samplers import Step, ddim, dpmpp_2m, euler, heun, move
from .text import TextEncoder, Tokenizer, UnknownWord
from .train import train
from .vae import VAE

__version__ = "0.1.0"
__all__ = [
    "DDPM",
    "EDM",
    "MLP",
    "VAE",
    "CheckpointError",
    "ConvNet",
    "Cosine",
    "Denoiser",
    "DiT",
    "Flow",
    "Process",
    "Step",
    "TextEncoder",
    "TextToImage",
    "Tokenizer",
    "UNet",
    "UnknownWord",
    "autoguidance",
    "batches",
    "cfg",
    "cifar10",
    "clipped",
    "ddim",
    "dpmpp_2m",
    "euler",
    "heun",
    "inpaint",
    "mnist",
    "move",
    "painted_digits",
    "train",
]
