"""Teaches the vision half alone, from labels that the generator knows, and goes on telling it while it learns to speak."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Config
from prints import CHARACTERS
from world import BACKGROUNDS, COLORS, SHAPES

COLOR_NAMES = list(COLORS)
KINDS_OF_LABELS = ("shape", "color", "centre", "left letter", "right letter")
CLASSES = (len(SHAPES) + 2, len(COLORS) + 1, 2, len(CHARACTERS) + 1, len(CHARACTERS) + 1)
NOT_ASKED = -100


class Sight(nn.Module):
    """Reads every picture token by itself: which shape, colour and letters cover its patch, if any, and what is behind all."""

    def __init__(self, width=Config.width):
        super().__init__()
        self.patch = nn.Linear(width, sum(CLASSES))
        self.background = nn.Linear(width, len(BACKGROUNDS) + 1)

    def loss(self, seen, labels, backgrounds):
        """seen [N, patches, width]; labels [N, patches, 5] (0: none, NOT_ASKED); backgrounds [N].
        Gives the loss and what share was right of shapes, colours, centres, letters and backgrounds."""
        seen = F.layer_norm(seen.float(), seen.shape[-1:])
        background = self.background(seen.mean(1))
        loss, right = .3 * F.cross_entropy(background, backgrounds), []
        weights = (1., 1., .6, .7, .7)
        for logits, y, weight in zip(self.patch(seen).flatten(0, 1).split(CLASSES, 1), labels.flatten(0, 1).unbind(1), weights):
            asked, full = y != NOT_ASKED, y > 0
            each = torch.where(full, 1., .3)[asked]
            loss = loss + weight * (F.cross_entropy(logits[asked], y[asked], reduction="none") * each).sum() / each.sum().clamp(min=1)
            right.append((logits.argmax(-1) == y)[full].float().mean().item() if full.any() else float("nan"))
        right.append((background.argmax(-1) == backgrounds).float().mean().item())
        return loss, right


def largest(boxes, w, h, least=1 / 12, inside=False):
    """Which box has the largest part of each patch, if that is `least` of the patch or more: [patches], -1 for none.
    With `inside` the second box lies on the first, so what it covers is its own."""
    rows, cols = h // 16, w // 16
    best, out = np.full((rows, cols), 256. * least), np.full((rows, cols), -1)
    y, x = np.arange(rows)[:, None] * 16, np.arange(cols)[None] * 16
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        area = np.clip(np.minimum(x + 16, x1) - np.maximum(x, x0), 0, 16) * np.clip(np.minimum(y + 16, y1) - np.maximum(y, y0), 0, 16)
        area = area * 8 if inside and i == 1 else area
        over = area > best
        best[over] = area[over]
        out[over] = i
    return out.reshape(-1)


def letter_at(letters, w, h, share):
    """Which letter covers the point at `share` of each patch's width, in the middle of its height."""
    rows, cols = h // 16, w // 16
    out = np.zeros((rows, cols), np.int64)
    y, x = np.arange(rows)[:, None] * 16 + 8, np.arange(cols)[None] * 16 + 16 * share
    for c, (x0, y0, x1, y1) in letters:
        out[(x >= x0) & (x < x1) & (y >= y0 - 3) & (y < y1 + 3)] = CHARACTERS.index(c) + 1
    return out.reshape(-1)


def labels_of(scene, w, h):
    """[patches, 5]: what is asked about each patch, and the background's number."""
    patches = (w // 16) * (h // 16)
    out = np.zeros((patches, len(CLASSES)), np.int64)
    if scene.kind == "photo":
        pass
    elif scene.kind in ("shapes", "bars"):
        which = largest([t.box for t in scene.things], w, h, inside=scene.inside)
        # A bar is the shape after the last.
        shape = [0] + [SHAPES.index(t.shape) + 1 if t.shape in SHAPES else len(SHAPES) + 1 for t in scene.things]
        color = [0] + [COLOR_NAMES.index(t.color) + 1 for t in scene.things]
        out[:, 0], out[:, 1] = np.array(shape)[which + 1], np.array(color)[which + 1]
        for x0, y0, x1, y1 in (t.box for t in scene.things):
            row, col = min(int((y0 + y1) / 32), h // 16 - 1), min(int((x0 + x1) / 32), w // 16 - 1)
            out[row * (w // 16) + col, 2] = 1
    elif scene.kind == "text":
        out[:, 3], out[:, 4] = letter_at(scene.letters, w, h, .25), letter_at(scene.letters, w, h, .75)
        out[:, 1] = np.where(out[:, 3] + out[:, 4] > 0, COLOR_NAMES.index(scene.text_color) + 1, 0)
    else:
        out[:] = NOT_ASKED
    background = len(BACKGROUNDS) if scene.kind == "photo" else BACKGROUNDS.index(scene.background)
    return out, background
