"""Bar and pie charts of two to five coloured parts."""
import math

from PIL import Image, ImageDraw

import prints
from world import COLORS, Scene, Thing, jitter, usable_on


def bars_picture(r, w, h, world, bgname, bg):
    """Bars of different heights above a line. Without numbers the picture is nine and a little high; with an axis, or with
    their values on top, they have a scale of their own."""
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    n, kind = r.randint(2, 5), r.choices(("plain", "axis", "values"), (.7 * (1 - world.values) + .2, .3, world.values + .1))[0]
    if h * .085 < world.least_em * .7:
        kind = "plain"
    colors, values = r.sample(usable_on(bgname), n), r.sample(range(1, 10), n)
    ink = (20, 20, 20) if sum(bg) > 380 else (240, 240, 240)
    left, floor, top = w * .05, h * .92, h * .12
    if kind == "axis":
        left, floor, top = w * r.uniform(.12, .2), h * r.uniform(.86, .94), h * r.uniform(.05, .14)
    elif kind == "values":
        floor, top = h * r.uniform(.84, .94), h * r.uniform(.16, .24)
        if r.random() < .5:
            values = r.sample(range(5, 100, r.choice((5, 7, 9))), n)
    scale = {"plain": 9, "axis": 10, "values": max(values)}[kind]
    unit, step, share = (floor - top) / scale, w * .95 / n - left / n, r.uniform(.55, .92)
    f = prints.font(prints.some_font(r) if world.values else prints.font_files(False)[0], max(8, int(h * .085)))
    things = []
    for i, (color, value) in enumerate(zip(colors, values)):
        x0 = left + step * (i + (1 - share) / 2)
        box = (x0, floor - unit * value, x0 + step * share, floor)
        d.rectangle(box, fill=jitter(COLORS[color], r), outline=ink if world.values and r.random() < .1 else None)
        things.append(Thing("bar", color, i, box))
        if kind == "values":
            d.text(((box[0] + box[2]) / 2, box[1] - 1), str(value), font=f, fill=ink, anchor="mb")
    if kind == "axis":
        d.line([left, floor, left, top], fill=ink, width=max(1, h // 120))
        for tick in range(0, 11, r.choice((1, 2, 5))):
            y = floor - unit * tick
            d.line([left - w * .02, y, left, y], fill=ink, width=max(1, h // 120))
            d.text((left - w * .03, y), str(tick), font=prints.font(f.path, max(7, int(h * .07))), fill=ink, anchor="rm")
    d.line([left - w * .01, floor, w * .96, floor], fill=ink, width=max(1, h // 90))
    return img, Scene("bars", bgname, things=things, values=dict(zip(colors, values)))


def pie_picture(r, w, h, world, bgname, bg):
    """Slices whose shares differ by a twelfth of the pie or more, now and then with a hole in the middle."""
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    n = r.randint(2, 5)
    shares = r.choice({2: [(3, 9), (4, 8), (2, 10), (5, 7)], 3: [(2, 4, 6), (1, 4, 7), (3, 4, 5), (1, 3, 8)], 4: [(1, 2, 3, 6), (1, 2, 4, 5)], 5: [(1, 1.5, 2, 2.5, 5), (1, 2, 2.2, 2.8, 4)]}[n])
    shares = r.sample(shares, n)
    colors, size = r.sample(usable_on(bgname), n), min(w, h) * r.uniform(.36, .48)
    cx, cy, angle, things = w / 2, h / 2, r.uniform(0, 360), []
    edge = bg if r.random() < .2 else None
    for color, share in zip(colors, shares):
        box = (cx - size, cy - size, cx + size, cy + size)
        d.pieslice(box, angle, angle + 30 * share, fill=jitter(COLORS[color], r), outline=edge, width=max(1, int(size / 25)))
        # Near the rim: there may be a hole.
        middle = math.radians(angle + 15 * share)
        x, y = cx + .75 * size * math.cos(middle), cy + .75 * size * math.sin(middle)
        things.append(Thing("part", color, 4, (x, y, x, y)))
        angle += 30 * share
    if r.random() < .15:
        hole = size * r.uniform(.3, .55)
        d.ellipse((cx - hole, cy - hole, cx + hole, cy + hole), fill=bg)
    return img, Scene("pie", bgname, things=things, values=dict(zip(colors, shares)))
