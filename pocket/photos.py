"""Pictures that stand for photographs: gradients, blobs of many sizes and grain. Pocket must say that it cannot tell."""
import numpy as np
from PIL import Image, ImageFilter

from world import Scene


def clouds(rng, w, h):
    """Smooth noise of several sizes: what skies, skin, walls and leaves look like from afar."""
    out = np.zeros((h, w, 3), np.float32)
    for cells, weight in ((2, 1.), (4, .7), (8, .5), (16, .35), (32, .2)):
        small = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
        if rng.random() < .6:
            small = np.repeat(small.mean(2, keepdims=True), 3, 2).astype(np.uint8)
        out += weight * np.asarray(Image.fromarray(small).resize((w, h), Image.BICUBIC), np.float32)
    return out / 2.75


def photo_picture(r, w, h, world, bgname, bg):
    rng = np.random.default_rng(r.getrandbits(48))
    size, (w, h) = (w, h), (max(16, w // 2), max(16, h // 2))
    t = r.random()
    if t < .15:
        a = rng.integers(0, 256, (h, w, 3)).astype(np.float32)
    else:
        a = clouds(rng, w, h)
        a = (a - a.mean()) * r.uniform(1., 2.6) + rng.uniform(70, 190, 3)
        if t < .6:
            horizon = int(h * r.uniform(.3, .7))
            a[horizon:] = a[horizon:] * r.uniform(.4, .8) + rng.uniform(-30, 50, 3)
        for _ in range(r.randrange(7)):
            x, y = rng.integers(0, w), rng.integers(0, h)
            sx, sy = w * r.uniform(.03, .25), h * r.uniform(.03, .35)
            gy, gx = np.mgrid[0:h, 0:w]
            blob = np.exp(-((gx - x) / sx) ** 2 - ((gy - y) / sy) ** 2)[..., None] if r.random() < .5 else ((abs(gx - x) < sx) & (abs(gy - y) < sy))[..., None]
            a = a * (1 - blob * .8) + blob * .8 * (rng.uniform(0, 256, 3) + (a - a.mean()) * .6)
        a += rng.normal(0, r.uniform(1, 14), a.shape)
    img = Image.fromarray(a.clip(0, 255).astype(np.uint8))
    img = img.resize(size, Image.BICUBIC)
    return (img.filter(ImageFilter.GaussianBlur(r.uniform(.3, 1.2))) if r.random() < .4 else img), Scene("photo", "")
