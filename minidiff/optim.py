"""The optimizer behind train(): Muon turns weight matrices, AdamW moves everything else."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class MuonAdamW:
    """Muon for weights of convolutions and linear layers, AdamW for embeddings, norms and biases; one `lr` for both.

    Muon makes each update of a matrix orthogonal (Jordan et al. 2024), here at the step size of AdamW (Loshchilov and
    Hutter 2019; Liu et al. 2025, eq. 4), and learns from far fewer images. Parameters are named, so that `state` can
    be saved by name.
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.99),
    ):
        tables = {id(p) for part in module.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
        self.params = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.matrices = {
            name: nn.Parameter(_matrix(p.detach(), p))  # shares the memory of p
            for name, p in self.params.items()
            if p.dim() in (2, 4) and id(p) not in tables
        }
        rest = [p for name, p in self.params.items() if name not in self.matrices]
        self.parts: list[torch.optim.Optimizer] = []
        if self.matrices:
            self.parts.append(Muon(self.matrices.values(), lr, weight_decay))
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr, betas=betas, weight_decay=weight_decay, fused=True))

    def step(self, lr: float) -> None:
        """One step with the gradients of the module's parameters, which are then dropped."""
        for name, matrix in self.matrices.items():
            p = self.params[name]
            matrix.grad = None if p.grad is None else _matrix(p.grad, p)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()
        for p in (*self.params.values(), *self.matrices.values()):
            p.grad = None

    def state(self) -> dict[str, Tensor]:
        """{"parameter/quantity": tensor}; matrices are stored in the order that they have here."""
        places = {name: self._place(name) for name in self.params}
        return {f"{name}/{k}": v for name, (part, p) in places.items() for k, v in part.state.get(p, {}).items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned. Raises KeyError where that does not fit these parameters."""
        entries: dict[str, dict[str, Tensor]] = {name: {} for name in self.params}
        for key, value in state.items():
            name, quantity = key.rsplit("/", 1)
            entries[name][quantity] = value
        for name, entry in entries.items():
            part, target = self._place(name)
            wanted = {"momentum_buffer"} if name in self.matrices else {"step", "exp_avg", "exp_avg_sq"}
            if entry and set(entry) != wanted:  # none at all where no gradient ever came
                raise KeyError(f"{name} has {sorted(entry)}, not {sorted(wanted)}")
            for quantity, value in entry.items():
                mine = torch.empty_like(value if quantity == "step" else target, device=target.device)
                part.state[target][quantity] = mine.copy_(value)

    def _place(self, name: str) -> tuple[torch.optim.Optimizer, Tensor]:
        return (self.parts[0], self.matrices[name]) if name in self.matrices else (self.parts[-1], self.params[name])


class Muon(torch.optim.Optimizer):
    """w <- (1 - lr weight_decay) w - 0.2 lr sqrt(max(rows, columns)) orthogonal(nesterov(g)), for matrices.

    As torch.optim.Muon does it with adjust_lr_fn="match_rms_adamw", but in float32. Its bfloat16 turns a
    difference of 1e-7 in a gradient into one of 1e-3 in a weight: two processes would not train what one does.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float, momentum: float = 0.95):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}  # turned together, which is faster
            for w in (w for w in group["params"] if w.grad is not None):
                state = self.state[w]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(w)
                m = state["momentum_buffer"].lerp_(w.grad, 1 - momentum)
                alike.setdefault(w.shape, []).append((w, w.grad.lerp(m, momentum)))
            for shape, pairs in alike.items():
                turned = orthogonal(torch.stack([g for _, g in pairs]))
                for (w, _), step in zip(pairs, turned, strict=True):
                    w.mul_(1 - lr * group["weight_decay"]).add_(step, alpha=-0.2 * lr * max(shape) ** 0.5)


def orthogonal(g: Tensor) -> Tensor:
    """About U V^T for each g = U S V^T of (n, rows, columns): singular values come near 1 (Jordan et al. 2024).

    Five Newton-Schulz steps x <- a x + (b x x^T + c (x x^T)^2) x from g / |g|.
    """
    x = g / g.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x.mT if g.shape[1] > g.shape[2] else x
    for _ in range(5):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.mT if g.shape[1] > g.shape[2] else x


def _matrix(t: Tensor, like: Tensor) -> Tensor:
    """A weight (out, in, h, w) as (out, everything else), in the order in which `like` lies in memory."""
    if t.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous():
        t = t.permute(0, 2, 3, 1)
    return t.flatten(1)
