"""Pictures of shapes on a plain background, in the cells of a 3 x 3 grid."""
import math

from PIL import Image, ImageDraw

from world import COLORS, SHAPES, Scene, Thing, jitter, usable_on


def star(cx, cy, s):
    points = []
    for i in range(10):
        radius, a = (s * 1.1, s * .45)[i % 2], -math.pi / 2 + i * math.pi / 5
        points.append((cx + radius * math.cos(a), cy + radius * math.sin(a)))
    return points


def turned(points, cx, cy, quarters):
    for _ in range(quarters):
        points = [(cx - (y - cy), cy + (x - cx)) for x, y in points]
    return points


def draw_shape(d, shape, cx, cy, s, fill, bg, quarters=0):
    """`s` is half the height of most shapes, `quarters` turns those that look otherwise when turned on purpose."""
    if shape == "circle":
        d.ellipse([cx - s, cy - s, cx + s, cy + s], fill=fill)
    elif shape == "ring":
        d.ellipse([cx - s, cy - s, cx + s, cy + s], fill=fill)
        t = s * .55
        d.ellipse([cx - t, cy - t, cx + t, cy + t], fill=bg)
    elif shape == "moon":
        d.ellipse([cx - s, cy - s, cx + s, cy + s], fill=fill)
        d.ellipse([cx - s * .35, cy - s * .95, cx + s * 1.35, cy + s * .75], fill=bg)
    elif shape == "oval":
        a, b = (s * 1.1, s * .6) if quarters % 2 == 0 else (s * .6, s * 1.1)
        d.ellipse([cx - a, cy - b, cx + a, cy + b], fill=fill)
    elif shape == "rectangle":
        a, b = (s * 1.08, s * .54) if quarters % 2 == 0 else (s * .54, s * 1.08)
        d.rectangle([cx - a, cy - b, cx + a, cy + b], fill=fill)
    elif shape == "square":
        s *= .88
        d.rectangle([cx - s, cy - s, cx + s, cy + s], fill=fill)
    elif shape == "triangle":
        d.polygon([(cx, cy - s), (cx + s, cy + s * .8), (cx - s, cy + s * .8)], fill=fill)
    elif shape == "diamond":
        d.polygon([(cx, cy - s * 1.1), (cx + s * .75, cy), (cx, cy + s * 1.1), (cx - s * .75, cy)], fill=fill)
    elif shape == "star":
        d.polygon(star(cx, cy, s), fill=fill)
    elif shape == "cross":
        w = s * .35
        d.rectangle([cx - s, cy - w, cx + s, cy + w], fill=fill)
        d.rectangle([cx - w, cy - s, cx + w, cy + s], fill=fill)
    elif shape == "heart":
        d.ellipse([cx - s, cy - s * .85, cx + s * .08, cy + s * .23], fill=fill)
        d.ellipse([cx - s * .08, cy - s * .85, cx + s, cy + s * .23], fill=fill)
        d.polygon([(cx - s * .93, cy - s * .05), (cx + s * .93, cy - s * .05), (cx, cy + s)], fill=fill)
    elif shape == "arrow":
        points = [(cx - s, cy - s * .3), (cx + s * .1, cy - s * .3), (cx + s * .1, cy - s * .85), (cx + s * 1.05, cy),
                  (cx + s * .1, cy + s * .85), (cx + s * .1, cy + s * .3), (cx - s, cy + s * .3)]
        d.polygon(turned(points, cx, cy, quarters), fill=fill)


def shapes_picture(r, w, h, world, bgname, bg):
    """(picture of w x h, scene whose boxes are in its pixels)"""
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    if r.random() < world.nested:
        return img, nested(r, d, w, h, bgname, bg)
    n = 1 + r.choices(range(len(world.shapes)), world.shapes)[0]
    cells = sorted(r.sample(range(9), n))
    if n == 1 and r.random() < world.middle:
        cells = [4]
    colors, scene = usable_on(bgname), Scene("shapes", bgname)
    kinds, paints, t = SHAPES, colors, r.random() if n > 1 else 1
    if t < world.alike:
        kinds, paints = r.sample(SHAPES, 2), r.sample(colors, 3)
    elif t < world.alike + world.one_color:
        paints = [r.choice(colors)]
    if 2 <= n <= 5 and r.random() < world.sized:
        scene.odd, scene.odd_is_large = r.randrange(n), r.random() < .6
    unit = min(w, h) / 3
    for i, cell in enumerate(cells):
        if scene.odd is not None:
            s = unit * (r.uniform(.48, .55) if (i == scene.odd) == scene.odd_is_large else r.uniform(.28, .34))
        elif n == 1 and cell == 4 and r.random() < world.big:
            s = unit * r.uniform(.8, 1.25)
        else:
            s = unit * r.uniform(.34, .46)
        slack = unit * (.3 if s > unit * .6 else .12)
        cx = (cell % 3 + .5) * w / 3 + r.uniform(-slack, slack)
        cy = (cell // 3 + .5) * h / 3 + r.uniform(-slack, slack)
        put(r, d, scene, r.choice(kinds), r.choice(paints), cell, cx, cy, s, bg)
    return img, scene


def put(r, d, scene, shape, color, cell, cx, cy, s, behind):
    fill = jitter(COLORS[color], r)
    draw_shape(d, shape, cx, cy, s, fill, behind, r.randrange(4))
    scene.things.append(Thing(shape, color, cell, (cx - s, cy - s, cx + s, cy + s)))
    return fill


def nested(r, d, w, h, bgname, bg):
    """A shape inside a larger, solid one."""
    scene, s = Scene("shapes", bgname, inside=True), min(w, h) * r.uniform(.38, .44)
    colors = r.sample([c for c in usable_on(bgname) if c not in ("gray", "cyan")], 2)
    fill = put(r, d, scene, r.choice(["circle", "square"]), colors[0], 4, w / 2, h / 2, s, bg)
    put(r, d, scene, r.choice([x for x in SHAPES if x != scene.things[0].shape]), colors[1], 4, w / 2, h / 2, s * .5, fill)
    return scene
