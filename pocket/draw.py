"""One picture of any kind, as the server's preprocessing would hand it to the model, and what is in it."""
import io
import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from charts import bars_picture, pie_picture
from others import other_picture
from papers import receipt_picture, sign_picture
from photos import photo_picture
from prints import text_picture
from shapes import shapes_picture
from world import BACKGROUNDS, COLORS, KINDS, Thing, jitter

PICTURES = {"shapes": shapes_picture, "text": text_picture, "bars": bars_picture, "pie": pie_picture, "photo": photo_picture,
            "sign": sign_picture, "receipt": receipt_picture, "other": other_picture}


# How many patches of 16 pixels the server makes of a picture, at least and at most. A small picture is enlarged, so that a
# line of 24 letters that fills it has a letter a patch: two in one patch are much harder to learn.
PATCHES = 64, 100


def picture(r, w, h, world, kind=None):
    """(picture of w x h pixels, scene whose boxes are in its pixels), as somebody would send it"""
    kind = kind or r.choices(KINDS, world.kinds)[0]
    background = r.choices(BACKGROUNDS, world.backgrounds)[0]
    paint = jitter(COLORS[background], r, 6)
    img, scene = PICTURES[kind](r, w, h, world, background, paint)
    return (rough(r, img, paint, turns=kind not in ("text", "sign")) if r.random() < world.rough else img), scene


def draw(r, w, h, world, kind=None):
    """The same as the model sees it: drawn in another size and scaled as the server does it (`fit`), now and then with a shape
    that leaves black bars, as a person's large picture would."""
    W, H = w, h
    if r.random() < .4:
        w, h = r.choice([(w - r.randint(1, 14), h), (w, h - r.randint(1, 14))])
    k = r.choice([.5, .7, 1, 1.3, 2, 3])
    img, scene = picture(r, round(w * k), round(h * k), replace(world, least_em=max(12., world.least_em * k)), kind)
    left, top = (W - w) // 2, (H - h) // 2

    def down(box):
        return tuple(v / k + (left, top)[i % 2] for i, v in enumerate(box))

    scene.things = [Thing(t.shape, t.color, t.cell, down(t.box)) for t in scene.things]
    scene.letters = [(c, *down(place)) for c, *place in scene.letters]
    return fit(img, W, H), scene


def rough(r, img, bg, turns=True):
    """What happens to pictures on their way: a small turn, blur, noise, jpeg."""
    if turns and r.random() < .4:
        img = img.rotate(r.uniform(-6, 6), Image.BILINEAR, fillcolor=bg)
    if r.random() < .4:
        img = img.filter(ImageFilter.GaussianBlur(r.uniform(.4, 1.6)))
    if r.random() < .4:
        noise = np.random.default_rng(r.getrandbits(48)).normal(0, r.uniform(2, 16), (img.height, img.width, 3))
        img = Image.fromarray((np.asarray(img, np.float32) + noise).clip(0, 255).astype(np.uint8))
    if r.random() < .5:
        data = io.BytesIO()
        if r.random() < .6:
            img.save(data, "JPEG", quality=r.randint(25, 90))
        else:
            img.save(data, "WEBP", quality=r.randint(55, 90))
        img = Image.open(data).convert("RGB")
    return img


def server_size(w, h, least=PATCHES[0], most=PATCHES[1], patch=16):
    """The size that the server scales a picture to: whole patches, `least` to `most` of them (src/encoders/preprocess/resize.ts, alignedSize)."""
    W, H = (max(patch, math.floor(v / patch + .5) * patch) for v in (w, h))
    if W * H > most * patch ** 2:
        by = math.sqrt(w * h / (most * patch ** 2))
        return tuple(max(patch, math.floor(v / by / patch) * patch) for v in (w, h))
    if W * H < least * patch ** 2:
        by = math.sqrt(least * patch ** 2 / (w * h))
        return tuple(math.ceil(v * by / patch) * patch for v in (w, h))
    return W, H


def fit(img, w, h):
    """The server's preprocessing for Pixtral-type models: bicubic, aspect kept, black bars around the middle."""
    scale = min(w / img.width, h / img.height)
    size = min(math.ceil(img.width * scale), w), min(math.ceil(img.height * scale), h)
    img = img.resize(size, Image.BICUBIC)
    if size == (w, h):
        return img
    out = Image.new("RGB", (w, h))
    out.paste(img, ((w - size[0]) // 2, (h - size[1]) // 2))
    return out
