"""Tells the language half where it is: read at the picture tokens after its second layer, it must know the row, the column,
the number of the picture and how many things began so far. Counting, places and "the second image" rest on this, and
answers alone teach it slowly."""
import torch.nn as nn
import torch.nn.functional as F

from model import Config

CLASSES = (8, 9, 8, 10)                                     # rows, columns and the break after them, pictures, things so far


class Where(nn.Module):
    def __init__(self, width=Config.width):
        super().__init__()
        self.read = nn.Linear(width, sum(CLASSES))

    def loss(self, x, truth):
        """x [tokens, width], truth [tokens, 4]. Gives the loss and what share was right of each of the four."""
        logits = self.read(F.layer_norm(x.float(), x.shape[-1:])).split(CLASSES, 1)
        loss = sum(F.cross_entropy(z, y) for z, y in zip(logits, truth.unbind(1)))
        return loss, [(z.argmax(1) == y).float().mean().item() for z, y in zip(logits, truth.unbind(1))]
