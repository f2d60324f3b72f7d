"""Teaches the vision half alone, from labels that the generator knows, and goes on telling it while it learns to speak."""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Config
from prints import CHARACTERS, LONGEST
from world import BACKGROUNDS, COLORS, NOTHING_KNOWN, SHAPES

COLOR_NAMES = list(COLORS)
SLOTS = 4                                                   # of a patch, side by side: each may hold the middle of a letter
KINDS_OF_LABELS = ("shape", "color", "centre", *["letter"] * SLOTS, "nth letter")
CLASSES = (len(SHAPES) + 2, len(COLORS) + 1, 2, LONGEST + 2)
LETTERS_AT = slice(3, 3 + SLOTS)                            # of the kinds
LETTERS, READER = len(CHARACTERS) + 1, 96
WEIGHTS = (1., 1., .6, *[.6] * SLOTS, .5)
# Of what is not there, beside what is: most slots have no letter.
NOTHING = (.3, .3, .3, *[.1] * SLOTS, .3)
NOT_ASKED = -100


class Sight(nn.Module):
    """Reads every picture token by itself: which shape and colour cover its patch, if any, which letters stand in it, which
    of the text its first one is, and what is behind all. Letters in their order are the text: what CTC would learn to
    align is known here."""

    def __init__(self, width=Config.width):
        super().__init__()
        self.patch = nn.Linear(width, sum(CLASSES))
        # One reader for all slots: a letter looks alike in each.
        self.slots, self.letter = nn.Linear(width, SLOTS * READER), nn.Linear(READER, LETTERS)
        self.background = nn.Linear(width, len(BACKGROUNDS) + 1)

    def loss(self, seen, labels, backgrounds):
        """seen [N, patches, width]; labels [N, patches, kinds] (0: none, NOT_ASKED); backgrounds [N].
        Gives the loss and what it tells: the share that was right of each kind, of backgrounds, and of whole texts."""
        seen = F.layer_norm(seen.float(), seen.shape[-1:])
        background = self.background(seen.mean(1))
        asked = backgrounds != NOT_ASKED
        loss, right = .3 * F.cross_entropy(background[asked], backgrounds[asked]) if asked.any() else 0, {}
        *labelled, nth = self.patch(seen).split(CLASSES, 2)
        letters = self.letter(F.gelu(self.slots(seen).unflatten(2, (SLOTS, READER))))
        logits = *labelled, *letters.unbind(2), nth
        best = torch.stack([x.argmax(-1) for x in logits], 2)
        for kind, x, y, weight, nothing, said in zip(KINDS_OF_LABELS, logits, labels.unbind(2), WEIGHTS, NOTHING, best.unbind(2)):
            asked_for, full = y != NOT_ASKED, y > 0
            each = torch.where(full, 1., nothing)[asked_for]
            if len(each):
                loss = loss + weight * (F.cross_entropy(x[asked_for], y[asked_for], reduction="none") * each).sum() / each.sum().clamp(min=1)
            right.setdefault(kind, []).append((said == y)[full].float().mean().item() if full.any() else math.nan)
        told = {kind: sum(shares) / len(shares) for kind, shares in right.items()}
        told["background"] = (background.argmax(-1) == backgrounds)[asked].float().mean().item()
        texts = labels[..., LETTERS_AT].flatten(1)
        # A page of letters is no text to read.
        written = (texts > 0).any(1) & (labels[..., -1] != NOT_ASKED).all(1)
        told["read"] = (best[..., LETTERS_AT].flatten(1) == texts).all(1)[written].float().mean().item() if written.any() else math.nan
        return loss, told


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


def letters_at(letters, w, h):
    """[patches, slots + 1]: the letters whose middle is in each slot of a patch, and which of the text the first of them is.
    Of two in one slot the second has the next, if that is free. Blanks are nothing, but count."""
    rows, cols = h // 16, w // 16
    out, first = np.zeros((rows, cols * SLOTS), np.int64), np.zeros((rows, cols), np.int64)
    for n, (letter, x, y) in enumerate(letters):
        row, slot = int(y / 16), int(x * SLOTS / 16)
        if letter == " " or not (0 <= row < rows and 0 <= slot < cols * SLOTS):
            continue
        if out[row, slot] and slot + 1 < cols * SLOTS:
            slot += 1
        if not out[row, slot]:
            out[row, slot] = CHARACTERS.index(letter) + 1
        if not first[row, slot // SLOTS]:
            first[row, slot // SLOTS] = min(n, LONGEST) + 1
    return np.concatenate((out.reshape(rows * cols, SLOTS), first.reshape(-1, 1)), 1)


def labels_of(scene, w, h):
    """[patches, kinds]: what is asked about each patch, and the background's number."""
    patches = (w // 16) * (h // 16)
    out = np.zeros((patches, len(KINDS_OF_LABELS)), np.int64)
    if scene.kind in NOTHING_KNOWN:
        pass
    elif scene.kind in ("shapes", "bars"):
        which = largest([t.box for t in scene.things], w, h, inside=scene.inside)
        # A bar, as the part of a pie, is the shape after the last.
        shape = [0] + [SHAPES.index(t.shape) + 1 if t.shape in SHAPES else len(SHAPES) + 1 for t in scene.things]
        color = [0] + [COLOR_NAMES.index(t.color) + 1 for t in scene.things]
        out[:, 0], out[:, 1] = np.array(shape)[which + 1], np.array(color)[which + 1]
        for x0, y0, x1, y1 in (t.box for t in scene.things):
            row, col = min(int((y0 + y1) / 32), h // 16 - 1), min(int((x0 + x1) / 32), w // 16 - 1)
            out[row * (w // 16) + col, 2] = 1
    elif scene.kind == "pie":
        # Only where the parts are: a patch beside it may have two.
        out[:] = NOT_ASKED
        out[:, 2] = 0
        for t in scene.things:
            out[int(t.box[1] / 16) * (w // 16) + int(t.box[0] / 16), :3] = len(SHAPES) + 1, COLOR_NAMES.index(t.color) + 1, 1
    elif scene.kind in ("text", "page"):
        out[:, 3:] = letters_at(scene.letters, w, h)
        if scene.kind == "page":
            out[:, -1] = NOT_ASKED
        out[:, 1] = np.where(out[:, 3:-1].any(1), COLOR_NAMES.index(scene.text_color) + 1, 0) if scene.text_color else NOT_ASKED
    elif scene.kind == "sign":
        out[:] = NOT_ASKED
        out[:, 3:] = letters_at(scene.letters, w, h)
    else:
        out[:] = NOT_ASKED
    if scene.kind in NOTHING_KNOWN:
        return out, len(BACKGROUNDS)
    return out, BACKGROUNDS.index(scene.background) if scene.background in BACKGROUNDS else NOT_ASKED
