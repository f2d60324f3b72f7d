"""Muon: momentum whose matrices are made orthogonal before each step (https://kellerjordan.github.io/posts/muon), scaled as in
https://arxiv.org/abs/2502.16982 so that AdamW's learning rates fit. Vectors, embeddings and heads go by AdamW beside it."""
import torch


def orthogonal(m, steps=5):
    """The nearest orthogonal matrices to m [n, rows, columns], roughly, by a quintic Newton-Schulz iteration in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = m.shape[1] > m.shape[2]
    x = (m.transpose(1, 2) if tall else m).bfloat16()
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        g = x @ x.transpose(1, 2)
        x = a * x + (b * g + c * (g @ g)) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, matrices, lr, team, momentum=.95, weight_decay=.05):
        self.team = team
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault((p.shape[0], p[0].numel()), []).append(p)
            # All matrices of one shape in one product: a small one by itself is mostly overhead.
            for (rows, columns), ps in alike.items():
                for p in ps:
                    s = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    s.lerp_(p.grad, 1 - group["momentum"])
                ahead = torch.stack([p.grad.lerp(self.state[p]["momentum"], group["momentum"]).view(rows, columns) for p in ps])
                for p, u in zip(ps, self.team.divided(orthogonal, ahead)):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(u.view_as(p), alpha=-group["lr"] * .2 * max(rows, columns) ** .5)
