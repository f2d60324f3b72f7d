"""Questions about one picture, each with its full answer and its answer in a word or two."""
from dataclasses import dataclass

from phrases import art, cap, listing, noun, plural, there_are
from prints import DISTINCT
from world import COLORS, PLACES, SHAPES

ASK_CAPTION = ["Describe the image.", "What is in this image?", "Can you describe this image?", "Describe this image.", "What do you see?",
               "What is in the image?", "tell me about the image", "Please describe the scene in the image.", "What's in this image?",
               "Describe the scene.", "Caption this image."]
ASK_TEXT = ["What text is in the image?", "Read the text.", "What text is present in the image?", "What does it say?", "What does the text say?", "OCR this image."]
ASK_BACKGROUND = ["What color is the background?", "What is the background color?"]
ASK_COUNT = ["How many shapes are there?", "How many shapes are in the image?", "How many objects are there?", "Count the shapes."]
CANNOT_TELL = "I am a small built-in model and cannot tell what is in this image."


@dataclass
class Asked:
    skill: str
    question: str
    full: str
    brief: str
    spelled: str = ""            # printed text in the answer, which is learned letter by letter


def short(scene):
    """What a picture shows, without its background."""
    if scene.kind == "photo":
        return "something that I cannot tell"
    if scene.kind == "text":
        return f"the text {scene.text}"
    if scene.kind == "sign":
        return f"a {scene.things[0].color} sign that says {scene.text}"
    if scene.kind == "receipt":
        return f"a receipt of {len(scene.values)} goods"
    if scene.kind == "bars":
        return f"a chart of {len(scene.values)} bars"
    if scene.kind == "pie":
        return f"a pie chart of {len(scene.values)} parts"
    things = scene.things
    if scene.inside:
        return f"{art(noun(things[1]))} inside {art(noun(things[0]))}"
    if len(things) > 4:
        return f"{len(things)} shapes"
    return listing([art(noun(t)) for t in things])


def caption(scene):
    if scene.kind == "text":
        return f"the text {scene.text} in {scene.text_color} on a {scene.background} background"
    return f"{short(scene)} on a {scene.background} background"


def once(things, key):
    """Those that nothing else is like, by `key`."""
    return [t for t in things if sum(key(u) == key(t) for u in things) == 1]


def describe(r, scene):
    spelled = "" if scene.kind == "receipt" else scene.text
    return Asked("caption", r.choice(ASK_CAPTION), cap(caption(scene)) + ".", cap(short(scene)) + ".", spelled)


def background(r, scene):
    return Asked("background", r.choice(ASK_BACKGROUND), f"The background is {scene.background}.", cap(scene.background))


def color(r, scene):
    things = once(scene.things, lambda t: t.shape)
    if r.random() < .3:
        missing = r.choice([s for s in SHAPES if all(t.shape != s for t in scene.things)])
        return Asked("false premise", f"What color is the {missing}?", f"There is no {missing}.", f"No {missing}.")
    if things:
        t = r.choice(things)
        return Asked("colour", r.choice([f"What color is the {t.shape}?", f"What is the color of the {t.shape}?"]), f"The {t.shape} is {t.color}.", cap(t.color))


def shape(r, scene):
    things = once(scene.things, lambda t: t.color)
    if things:
        t = r.choice(things)
        forms = [f"What shape is {t.color}?", f"Which shape is {t.color}?", f"What is the {t.color} shape?"]
        if len(scene.things) == 1:
            forms += ["What shape is this?", "What shape is it?", "Which shape is in the image?"]
        return Asked("shape", r.choice(forms), f"The {t.color} shape is {art(t.shape)}.", cap(t.shape))


def count(r, scene):
    t = r.random()
    if t < .5:
        n = len(scene.things)
        return Asked("count", r.choice(ASK_COUNT), there_are(n, "shape"), str(n))
    if t < .75:
        s = r.choice(scene.things).shape if r.random() < .8 else r.choice(SHAPES)
        n = sum(u.shape == s for u in scene.things)
        return Asked("count of a kind", f"How many {plural(2, s)} are there?", there_are(n, s), str(n))
    c = r.choice(scene.things).color if r.random() < .8 else r.choice(list(COLORS))
    n = sum(u.color == c for u in scene.things)
    return Asked("count of a kind", f"How many {c} shapes are there?", there_are(n, f"{c} shape"), str(n))


def place(r, scene):
    if r.random() < .7:
        things = once(scene.things, noun)
        if things:
            t = r.choice(things)
            return Asked("place", f"Where is the {noun(t)}?", f"The {noun(t)} is at the {PLACES[t.cell]}.", cap(PLACES[t.cell]))
    cell = r.choice(scene.things).cell if r.random() < .7 else r.randrange(9)
    there = [t for t in scene.things if t.cell == cell]
    q = r.choice([f"What is at the {PLACES[cell]}?", f"What shape is at the {PLACES[cell]}?"])
    if not there:
        return Asked("place", q, f"There is nothing at the {PLACES[cell]}.", "Nothing")
    return Asked("place", q, f"{cap(art(noun(there[0])))} is at the {PLACES[cell]}.", cap(noun(there[0])))


def yes_no(r, scene):
    t = r.choice(scene.things)
    c, s = t.color, t.shape
    if r.random() < .55:
        others = [u for u in scene.things if u is not t]
        if r.random() < .5:
            c = r.choice(others).color if others and r.random() < .5 else r.choice(list(COLORS))
        else:
            s = r.choice(others).shape if others and r.random() < .5 else r.choice(SHAPES)
    what = r.choice([f"{c} {s}", s] if r.random() < .4 else [f"{c} {s}"])
    yes = any(noun(u) == what or u.shape == what for u in scene.things)
    q = r.choice([f"Is there {art(what)}?", f"Is there {art(what)} in the image?", f"Do you see {art(what)}?"])
    return Asked("yes/no", q, f"Yes, there is {art(what)}." if yes else f"No, there is no {what}.", "Yes" if yes else "No")


def relation(r, scene):
    if scene.inside:
        inner, outer = scene.things[1], scene.things[0]
        return Asked("relation", f"What is inside the {outer.shape}?", f"{cap(art(noun(inner)))} is inside the {outer.shape}.", cap(noun(inner)))
    things = once(scene.things, noun)
    if len(things) > 1:
        a, b = r.sample(things, 2)
        sides = [("left of", a.cell % 3 < b.cell % 3), ("right of", a.cell % 3 > b.cell % 3), ("above", a.cell // 3 < b.cell // 3), ("below", a.cell // 3 > b.cell // 3)]
        side, yes = r.choice(sides)
        return Asked("relation", f"Is the {noun(a)} {side} the {noun(b)}?", f"{'Yes' if yes else 'No'}, the {noun(a)} is {'' if yes else 'not '}{side} the {noun(b)}.", "Yes" if yes else "No")


def largest(r, scene):
    if scene.odd is not None:
        which, t = ("largest", scene.things[scene.odd]) if scene.odd_is_large else ("smallest", scene.things[scene.odd])
        return Asked("size", f"Which shape is the {which}?", f"The {noun(t)} is the {which}.", cap(noun(t)))


def read(r, scene):
    return Asked("text", r.choice(ASK_TEXT), f"The text says {scene.text}.", scene.text, scene.text)


def text_color(r, scene):
    return Asked("text colour", r.choice(["What color is the text?", "What is the color of the text?"]), f"The text is {scene.text_color}.", cap(scene.text_color))


def says(r, scene):
    yes = r.random() < .5
    text = scene.text if yes else "".join(r.choice(DISTINCT) for _ in scene.text)
    yes = text == scene.text
    return Asked("text yes/no", f"Does it say {text}?", f"{'Yes' if yes else 'No'}, it says {scene.text}.", "Yes" if yes else "No", scene.text)


def how_many_parts(r, scene):
    n, word = len(scene.values), "bar" if scene.kind == "bars" else "part"
    return Asked("chart", f"How many {word}s are there?", there_are(n, word), str(n))


def extreme_part(r, scene):
    word, most, least = ("bar", "highest", "lowest") if scene.kind == "bars" else ("part", "largest", "smallest")
    up = r.random() < .6
    c = (max if up else min)(scene.values, key=scene.values.get)
    return Asked("chart", f"Which {word} is the {most if up else least}?", f"The {c} {word} is the {most if up else least}.", cap(c))


def part_value(r, scene):
    if scene.kind == "bars":
        c = r.choice(list(scene.values))
        return Asked("chart value", f"What is the value of the {c} bar?", f"The value of the {c} bar is {scene.values[c]}.", str(scene.values[c]))


def sign_color(r, scene):
    return Asked("sign", "What color is the sign?", f"The sign is {scene.things[0].color}.", cap(scene.things[0].color))


def total(r, scene):
    return Asked("receipt", r.choice(["What is the total?", "How much is the total?"]), f"The total is {scene.text}.", scene.text, scene.text)


def price(r, scene):
    goods = r.choice(list(scene.values))
    return Asked("receipt", f"How much is the {goods.lower()}?", f"The {goods.lower()} is {scene.values[goods]}.", str(scene.values[goods]))


ABOUT = {
    "shapes": [(describe, 5), (color, 5), (shape, 4), (count, 5), (place, 7), (yes_no, 6), (relation, 3), (largest, 2), (background, 1)],
    "text": [(read, 6), (describe, 2), (text_color, 1), (says, .6), (background, 1)],
    "bars": [(extreme_part, 4), (part_value, 3), (how_many_parts, 2), (describe, 1), (background, .5)],
    "sign": [(read, 4), (sign_color, 2), (describe, 1), (background, .5)],
    "receipt": [(total, 4), (price, 3), (describe, 1)],
    "pie": [(extreme_part, 4), (how_many_parts, 2), (describe, 1), (background, .5)],
}


def ask(r, scene):
    """One question about one picture, of a kind that its scene allows."""
    if scene.kind == "photo":
        someone = r.choice(SHAPES)
        q = r.choice(ASK_CAPTION + ASK_CAPTION + ASK_TEXT + ASK_COUNT + ASK_BACKGROUND + [f"What color is the {someone}?", f"Is there {art(someone)}?", "What shape is this?", "Where was this photo taken?", "Who is this?"])
        return Asked("cannot tell", q, CANNOT_TELL, "I cannot tell.")
    makers, weights = zip(*ABOUT[scene.kind])
    while True:
        asked = r.choices(makers, weights)[0](r, scene)
        if asked:
            return asked
