"""Pictures that are not of Pocket's world: drawings, shapes without a name here, screens, diagrams, maps, handwriting, pages of
text, tables, other charts, patterns, photographs with text over them. Of each Pocket must say that it cannot tell."""
import functools
import math
import os

from PIL import Image, ImageDraw, ImageFont

import prints
from photos import photo_picture
from world import COLORS, Scene, jitter, usable_on

EMOJI = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
# Faces, plants, food, things, places, animals, vehicles: none that is a plain shape.
EMOJI_RANGES = ((0x1F32D, 0x1F37F), (0x1F380, 0x1F393), (0x1F3A0, 0x1F3C4), (0x1F3E0, 0x1F3EF), (0x1F400, 0x1F43E), (0x1F440, 0x1F488), (0x1F600, 0x1F64F), (0x1F680, 0x1F6A2), (0x1F950, 0x1F96B), (0x1F980, 0x1F9AE))
HANDS = ("truetype/breip/*.ttf", "opentype/dancingscript/*.otf", "truetype/ecolier-court/*.ttf", "truetype/isabella/*.ttf", "opentype/urw-base35/Z003*.otf")
LABELS = "Start End Yes No Input Output Data User Server Client Test Plan Done Open File Edit View Help Save Cancel OK Login Search Home Name Email Password Total North Lake River Mill Park Hill Station".split()


def points_of(cx, cy, size, n, angle=0., inner=1.):
    """A regular polygon, or with `inner` a star of other points than five."""
    count = n if inner == 1 else 2 * n
    return [(cx + size * (1 if i % 2 == 0 else inner) * math.cos(angle + i * 2 * math.pi / count), cy + size * (1 if i % 2 == 0 else inner) * math.sin(angle + i * 2 * math.pi / count)) for i in range(count)]


@functools.cache
def emoji(held_out):
    """The drawings for training, or those for measuring."""
    return [c for first, last in EMOJI_RANGES for c in range(first, last + 1) if (c % 7 == 0) == held_out]


@functools.lru_cache(500)
def emoji_picture(code):
    if not os.path.exists(EMOJI):
        raise SystemExit(f"{EMOJI} is missing: apt-get install fonts-noto-color-emoji")
    img = Image.new("RGBA", (136, 128))
    ImageDraw.Draw(img).text((0, 0), chr(code), font=prints.font(EMOJI, 109), embedded_color=True)
    return img


@functools.cache
def hands():
    return prints.found(HANDS)


def drawing(r, d, img, w, h, world, ink):
    """One to four coloured drawings."""
    for _ in range(r.choice((1, 1, 1, 2, 3, 4))):
        one = emoji_picture(r.choice(emoji(world.held_out)))
        size = max(12, int(min(w, h) * r.uniform(.3, .95)))
        one = one.resize((size, size), Image.BILINEAR)
        img.paste(one, (r.randint(-size // 8, max(0, w - size)), r.randint(-size // 8, max(0, h - size))), one)


def unknown_shapes(r, d, img, w, h, world, ink):
    """Shapes that have no name in Pocket's world."""
    for i in range(r.choice((1, 1, 2, 3))):
        s = min(w, h) * r.uniform(.18, .5)
        cx, cy, fill = r.uniform(s * .7, w - s * .7), r.uniform(s * .7, h - s * .7), jitter(COLORS[r.choice(usable_on("white"))], r)
        t = r.randrange(9)
        if t < 4:
            # Those that stand straight look most like a circle.
            n = r.choice((5, 6, 6, 7, 8, 8))
            d.polygon(points_of(cx, cy, s, n, r.choice((0, math.pi / 2, math.pi / n, r.uniform(0, 3)))), fill=fill)
        elif t == 4:
            d.polygon(points_of(cx, cy, s, r.choice((6, 8, 12)), r.uniform(0, 3), .6), fill=fill)
        elif t == 5:
            d.pieslice([cx - s, cy - s, cx + s, cy + s], (a := r.uniform(0, 360)), a + r.choice((60, 90, 180, 270)), fill=fill)
        elif t == 6:
            d.polygon([(cx - s, cy + s * .5), (cx - s * .5, cy - s * .5), (cx + s * r.choice((1, .5)), cy - s * .5), (cx + s * .6, cy + s * .5)], fill=fill)
        elif t == 7:
            d.line([(cx + s * k / 40 * math.cos(k / 4), cy + s * k / 40 * math.sin(k / 4)) for k in range(40)], fill=fill, width=max(2, int(s / 9)))
        else:
            for a, b in ((-.5, 0), (.1, -.35), (.55, .05), (0, .15)):
                d.ellipse([cx + s * (a - .5), cy + s * (b - .4), cx + s * (a + .5), cy + s * (b + .4)], fill=fill)


def sketch(r, d, img, w, h, world, ink):
    """Lines by hand: a house, a face, a person, a tree, or nothing in particular."""
    u, width = min(w, h) / 10, max(1, int(min(w, h) / r.choice((25, 40, 60))))
    x, y = w / 2 + r.uniform(-u, u), h / 2 + r.uniform(-u, u)
    fill = [jitter(COLORS[c], r) for c in r.sample(usable_on("white"), 3)] if r.random() < .5 else [None] * 3
    t = r.randrange(6)
    if t == 0:
        d.rectangle([x - 3 * u, y - u, x + 3 * u, y + 4 * u], outline=ink, fill=fill[0], width=width)
        d.polygon([(x - 3.6 * u, y - u), (x, y - 4 * u), (x + 3.6 * u, y - u)], outline=ink, fill=fill[1])
        d.rectangle([x - .7 * u, y + 1.5 * u, x + .7 * u, y + 4 * u], outline=ink, fill=fill[2], width=width)
    elif t == 1:
        d.ellipse([x - 3.5 * u, y - 3.5 * u, x + 3.5 * u, y + 3.5 * u], outline=ink, fill=fill[0], width=width)
        for side in (-1.3, 1.3):
            d.ellipse([x + (side - .4) * u, y - 1.6 * u, x + (side + .4) * u, y - .7 * u], fill=ink)
        d.arc([x - 2 * u, y - 1.5 * u, x + 2 * u, y + 2.2 * u], 20, 160, fill=ink, width=width)
    elif t == 2:
        d.ellipse([x - u, y - 4 * u, x + u, y - 2 * u], outline=ink, fill=fill[0], width=width)
        for line in ([x, y - 2 * u, x, y + u], [x - 2 * u, y - u, x + 2 * u, y - u], [x, y + u, x - 1.5 * u, y + 4 * u], [x, y + u, x + 1.5 * u, y + 4 * u]):
            d.line(line, fill=ink, width=width)
    elif t == 3:
        d.rectangle([x - .5 * u, y, x + .5 * u, y + 4 * u], fill=fill[0] or ink)
        for _ in range(4):
            a, b = r.uniform(-2, 2) * u, r.uniform(-3, 0) * u
            d.ellipse([x + a - 1.7 * u, y + b - 1.5 * u, x + a + 1.7 * u, y + b + 1.5 * u], outline=ink, fill=fill[1], width=width)
    elif t == 4:
        d.rounded_rectangle([x - 4 * u, y - u, x + 4 * u, y + 1.5 * u], u, outline=ink, fill=fill[0], width=width)
        d.polygon([(x - 2.4 * u, y - u), (x - 1.5 * u, y - 2.7 * u), (x + 1.5 * u, y - 2.7 * u), (x + 2.6 * u, y - u)], outline=ink, fill=fill[1])
        for side in (-2.2, 2.2):
            d.ellipse([x + (side - .9) * u, y + .7 * u, x + (side + .9) * u, y + 2.5 * u], fill=ink)
    else:
        for _ in range(r.randint(2, 6)):
            a, b = r.uniform(0, w), r.uniform(0, h)
            points = []
            for _ in range(r.randint(4, 14)):
                a, b = a + r.gauss(0, 2 * u), b + r.gauss(0, 2 * u)
                points.append((a, b))
            d.line(points, fill=ink, width=width, joint="curve")


def words_of(r, most):
    return " ".join(r.choice(prints.words()) for _ in range(r.randint(1, most)))


def screen(r, d, img, w, h, world, ink):
    """A window, a page or a form."""
    light = r.random() < .6
    page, text, accent = ((246, 247, 249), (40, 44, 52), jitter((40, 100, 220), r, 60)) if light else ((30, 32, 38), (220, 222, 228), jitter((80, 140, 240), r, 60))
    d.rectangle([0, 0, w, h], fill=page)
    f = prints.font(prints.some_font(r), max(7, int(h / r.uniform(10, 18))))
    bar = h * r.uniform(.08, .16)
    d.rectangle([0, 0, w, bar], fill=accent if r.random() < .5 else jitter((128, 130, 135), r, 40))
    d.text((w * .04, bar / 2), words_of(r, 2), font=f, fill=page, anchor="lm")
    if r.random() < .5:
        d.rectangle([0, bar, w * .22, h], fill=jitter(page, r, 12))
    y = bar + f.size * 1.2
    while y < h - f.size:
        x, t = w * r.choice((.06, .27)), r.random()
        if t < .2:
            d.rounded_rectangle([x, y - f.size * .3, x + w * r.uniform(.15, .35), y + f.size * 1.3], f.size * .3, fill=accent)
            d.text((x + w * .03, y + f.size * .5), r.choice(LABELS), font=f, fill=page, anchor="lm")
        elif t < .4:
            d.rectangle([x, y - f.size * .2, x + w * r.uniform(.3, .6), y + f.size * 1.2], outline=jitter((150, 150, 155), r))
        elif t < .5:
            d.rectangle([x, y, x + w * .3, y + h * .2], fill=jitter(COLORS[r.choice(list(COLORS))], r))
            y += h * .2
        else:
            d.text((x, y), words_of(r, 4), font=f, fill=text)
        y += f.size * r.uniform(1.4, 2.2)


def diagram(r, d, img, w, h, world, ink):
    """Boxes with words, and lines between them."""
    f = prints.font(prints.some_font(r), max(7, int(min(w, h) / 11)))
    places = r.sample([(a, b) for a in (.2, .5, .8) for b in (.17, .5, .83)], r.randint(3, 6))
    for (a, b), (c, e) in zip(places, places[1:]):
        d.line([w * a, h * b, w * c, h * e], fill=ink, width=max(1, int(w / 120)))
        d.polygon(points_of(w * (a + 2 * c) / 3, h * (b + 2 * e) / 3, min(w, h) / 30, 3, math.atan2(h * (e - b), w * (c - a))), fill=ink)
    for a, b in places:
        box, fill = [w * (a - .14), h * (b - .1), w * (a + .14), h * (b + .1)], r.choice([None, jitter(COLORS[r.choice(list(COLORS))], r, 30)])
        (d.ellipse if r.random() < .3 else d.rectangle)(box, outline=ink, fill=fill or (255, 255, 255))
        d.text((w * a, h * b), r.choice(LABELS), font=f, fill=ink, anchor="mm")


def chart_map(r, d, img, w, h, world, ink):
    """Land, water, roads and names."""
    d.rectangle([0, 0, w, h], fill=jitter(r.choice([(170, 211, 223), (242, 239, 233), (200, 220, 190)]), r))
    for _ in range(r.randint(2, 6)):
        cx, cy, s = r.uniform(0, w), r.uniform(0, h), min(w, h) * r.uniform(.2, .6)
        d.polygon([(cx + s * r.uniform(.5, 1) * math.cos(k / 2), cy + s * r.uniform(.5, 1) * math.sin(k / 2)) for k in range(12)], fill=jitter(r.choice([(205, 225, 180), (240, 230, 200), (160, 200, 220), (225, 210, 190)]), r), outline=ink if r.random() < .4 else None)
    for _ in range(r.randint(2, 7)):
        x, y, points = r.uniform(0, w), r.uniform(0, h), []
        for _ in range(6):
            points.append((x, y))
            x, y = x + r.gauss(0, w / 5), y + r.gauss(0, h / 5)
        d.line(points, fill=jitter(r.choice([(250, 200, 90), (255, 255, 255), (230, 110, 110), (120, 120, 120)]), r), width=max(1, int(w / r.choice((40, 80)))), joint="curve")
    f = prints.font(prints.some_font(r), max(7, int(min(w, h) / 13)))
    for _ in range(r.randint(1, 5)):
        d.text((r.uniform(0, w * .8), r.uniform(0, h * .9)), r.choice(LABELS), font=f, fill=ink)


def handwriting(r, d, img, w, h, world, ink):
    size = max(8, int(h / r.choice((2, 3, 4, 6))))
    f = prints.font(r.choice(hands()), size)
    y = h * r.uniform(.02, .15)
    while y < h * .8:
        d.text((w * .05 + r.uniform(-2, 2), y), words_of(r, 4), font=f, fill=ink)
        y += size * 1.2
    if r.random() < .4:
        img.paste(img.rotate(r.uniform(-8, 8), Image.BILINEAR, fillcolor=img.getpixel((0, 0))))


def long_text(r, d, img, w, h, world, ink):
    """A page: many lines, or a table, or code."""
    lines, t = r.randint(4, 12), r.random()
    f = prints.font(prints.some_font(r), max(6, int(h / (lines * 1.4))))
    for i in range(lines):
        y = h * (i + .3) / lines
        if t < .25:
            for k in range(4):
                d.text((w * (.03 + .25 * k), y), r.choice(LABELS) if i == 0 or k == 0 else str(r.randrange(1000)), font=f, fill=ink)
            d.line([0, y - 2, w, y - 2], fill=(150, 150, 150))
        elif t < .4:
            d.text((w * (.03 + .06 * r.randrange(4)), y), r.choice(["for i in range(n):", "return x", "if (a < b) {", "}", "let y = f(x)", "print(total)", "def run(self):", "# note"]), font=f, fill=jitter(r.choice([(30, 30, 30), (160, 30, 120), (30, 90, 180)]), r))
        else:
            d.text((w * .03, y), words_of(r, 9) + " " + words_of(r, 5), font=f, fill=ink)


def other_chart(r, d, img, w, h, world, ink):
    """Lines, points, or bars of one colour with axes: nothing that has a colour for each value."""
    x0, y0, x1, y1 = w * .12, h * .1, w * .95, h * .86
    d.line([x0, y0, x0, y1, x1, y1], fill=ink, width=max(1, int(w / 150)))
    for _ in range(r.randint(1, 3)):
        color, n = jitter(COLORS[r.choice(usable_on("white"))], r), r.randint(6, 20)
        points = [(x0 + (x1 - x0) * k / n, r.uniform(y0, y1)) for k in range(n + 1)]
        if r.random() < .65:
            d.line(points, fill=color, width=max(1, int(w / 90)))
        else:
            for x, y in points:
                d.ellipse([x - w / 70, y - w / 70, x + w / 70, y + w / 70], fill=color)
    f = prints.font(prints.font_files(False)[0], max(6, int(h / 18)))
    for k in range(4):
        d.text((x0 - 2, y1 - (y1 - y0) * k / 3), str(k * 10), font=f, fill=ink, anchor="rm")


def pattern(r, d, img, w, h, world, ink):
    """Stripes, checks, a code of squares, or a crowd of more than nine things."""
    t, n = r.randrange(4), r.randint(6, 21)
    a, b = (jitter(COLORS[c], r) for c in r.sample(list(COLORS), 2))
    step = max(w, h) / n
    if t == 3:
        for _ in range(r.randint(12, 50)):
            x, y, s = r.uniform(0, w), r.uniform(0, h), min(w, h) * r.uniform(.03, .07)
            (d.ellipse if n % 2 else d.rectangle)([x - s, y - s, x + s, y + s], fill=jitter(r.choice((a, b)), r))
        return
    for i in range(n + 1):
        for j in range(n + 1 if t else 1):
            if (i + j) % 2 == 0 if t < 2 else r.random() < .5:
                d.rectangle([i * step, j * step, (i + 1) * step, (j + 1) * step if t else h], fill=a if t < 2 else (0, 0, 0))


@functools.cache
def example(name):
    return Image.open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", name)).convert("RGB")


def documented(r, d, img, w, h, world, ink):
    """A picture of the documentation, with a little cut off: what is said of these, everybody sees."""
    one = example(r.choice(("chart.png", "receipt.png", "screenshot.png", "mug-sold.png", "mug-returned.png")))
    cut = [r.choice((0, r.uniform(0, .12))) * size for size in one.size * 2]
    img.paste(one.resize((w, h), Image.BILINEAR, (cut[0], cut[1], one.width - cut[2], one.height - cut[3])))


DRAWERS = ((drawing, 5), (documented, 1.5), (unknown_shapes, 7), (sketch, 3), (screen, 4), (diagram, 2.5), (chart_map, 2), (handwriting, 2), (long_text, 3), (other_chart, 2.5), (pattern, 1.5), (None, 3))


def other_picture(r, w, h, world, bgname, bg):
    draw_it, = r.choices([one for one, _ in DRAWERS], [weight for _, weight in DRAWERS])
    if draw_it is None:
        img, _ = photo_picture(r, w, h, world, bgname, bg)
        size = max(9, int(h / r.uniform(3, 8)))
        f = prints.font(prints.some_font(r), size)
        ImageDraw.Draw(img).text((w * r.uniform(.02, .3), h * r.uniform(.05, .75)), words_of(r, 3), font=f, fill=r.choice([(255, 255, 255), (0, 0, 0), (250, 220, 40)]), stroke_width=r.choice((0, 0, 1)), stroke_fill=(90, 90, 90))
        return img, Scene("other", "")
    dark = r.random() < .2
    paper = jitter((25, 25, 28) if dark else (250, 249, 247), r, 10)
    if draw_it in (drawing, unknown_shapes, pattern) and r.random() < .5:
        paper = bg
    img = Image.new("RGB", (w, h), paper)
    draw_it(r, ImageDraw.Draw(img), img, w, h, world, jitter((235, 235, 235) if dark else r.choice([(20, 20, 20), (20, 20, 20), (30, 40, 140)]), r, 15))
    return img, Scene("other", "")
