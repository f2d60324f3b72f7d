"""Bar and pie charts of two to five coloured parts."""
from PIL import Image, ImageDraw

import prints
from world import COLORS, Scene, Thing, jitter, usable_on


def bars_picture(r, w, h, world, bgname, bg):
    """Bars of different heights from 1 to 9 above a line, now and then with their value on top."""
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    n = r.randint(2, 5)
    colors, values = r.sample(usable_on(bgname), n), r.sample(range(1, 10), n)
    floor, unit, step = h * .92, h * .8 / 9, w * .9 / n
    ink = (20, 20, 20) if sum(bg) > 380 else (240, 240, 240)
    things = []
    for i, (color, value) in enumerate(zip(colors, values)):
        x0 = w * .05 + step * (i + .14)
        box = (x0, floor - unit * value, x0 + step * .72, floor)
        d.rectangle(box, fill=jitter(COLORS[color], r))
        things.append(Thing("bar", color, i, box))
        if world.values > r.random():
            f = prints.font(prints.font_files()[0], max(8, int(unit * 1.1)))
            d.text(((box[0] + box[2]) / 2, box[1] - 1), str(value), font=f, fill=ink, anchor="mb")
    d.line([w * .04, floor, w * .96, floor], fill=ink, width=max(1, h // 90))
    return img, Scene("bars", bgname, things=things, values=dict(zip(colors, values)))


def pie_picture(r, w, h, world, bgname, bg):
    """Slices whose shares differ by a twelfth of the pie or more."""
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    n = r.randint(2, 4)
    shares = r.choice({2: [(3, 9), (4, 8), (2, 10)], 3: [(2, 4, 6), (1, 4, 7), (3, 4, 5)], 4: [(1, 2, 3, 6), (1, 2, 4, 5)]}[n])
    shares = r.sample(shares, n)
    colors, size = r.sample(usable_on(bgname), n), min(w, h) * r.uniform(.36, .46)
    cx, cy, angle, things = w / 2, h / 2, r.uniform(0, 360), []
    for color, share in zip(colors, shares):
        box = (cx - size, cy - size, cx + size, cy + size)
        d.pieslice(box, angle, angle + 30 * share, fill=jitter(COLORS[color], r))
        angle += 30 * share
    things.append(Thing("circle", colors[shares.index(max(shares))], 4, box))
    return img, Scene("pie", bgname, things=things, values=dict(zip(colors, shares)))
