"""Writes the questions that Pocket is measured by: `python3 held_out.py ../test/pocket/held-out-wide.json`.

Training seeds from the clock; this seed is fixed. The pictures are as people send them, not as the model sees them, so that
the server's own preprocessing is measured too. Their text is in fonts and of words that training never shows, their
drawings are others, and what is asked is worded in ways that are only here. A line is a picture (base64, or a file of the
repository) or a case: its skill, the chat (numbers stand for pictures), the right answer, and perhaps the schema or the
tool that the answer is held to.

held-out.json is older, of shapes mostly: an earlier version of this program made it, and it stays, so that its rows can
be compared over time.
"""
import base64
import io
import json
import random
import re
import sys
from dataclasses import replace

import asides
import chats
import questions as q
from draw import picture
from phrases import DECLINE, art, plural
from prints import LONGEST, words
from world import PLACES, World

SEED = 22
# How a question is worded here, by what its answer says. `\\1` is a word of the answer.
WORDED = {
    "caption": (r".*", ["So, what have I just sent you?", "In a few words: what is to be seen here?", "Could you tell me the contents of this?", "Put this picture into words.", "What would you call this?", "I'd like a short description, please."]),
    "colour": (r"The (\w+) is (\w+)\.", [r"So what colour would you say the \1 has?", r"I need to know the color of that \1.", r"The \1, what color is it?", r"what color was the \1 painted", r"Would you name the colour of the \1?", r"\1: color?"]),
    "shape": (r"The (\w+) shape is an? (\w+)\.", [r"The \1 thing, which shape is it?", r"I see something \1. What shape does it have?", r"What would you call the \1 shape?", r"Would you name the shape that is \1?", r"\1: which shape?"]),
    "count": (r".*", ["Altogether, how many shapes do we have?", "Please tell me how many objects there are in total.", "I count shapes. How many do you get?", "total number of shapes?", "how many of them are there in all"]),
    "count of a kind": (r"There (?:is|are) (?:no|\d) (.+)\.", [r"I'd like to know how many \1 there are.", r"In total, how many \1?", r"What count of \1 do you get?", r"How many \1 in all?", r"Would you count the \1 for me?"]),
    "place": (r"The (.+) is at the (.+)\.", [r"Whereabouts is the \1?", r"Could you tell me where the \1 is?", r"In which spot is the \1?", r"I can't find the \1. Where is it?", r"the \1 is where"]),
    "yes/no": (r"(?:Yes|No), there is (?:an? |no )(.+)\.", [r"I wonder if there is A_1.", r"Could there be A_1 in it?", r"Would I find A_1 here?", r"Is A_1 among them?", r"Has it got A_1?"]),
    "relation": (r"(?:Yes|No), the (.+) is (?:not )?(left of|right of|above|below) the (.+)\.", [r"Tell me if the \1 is \2 the \3.", r"Would you say that the \1 is \2 the \3?", r"The \1 is \2 the \3, isn't it?", r"True or not: the \1 is \2 the \3."]),
    "inside": (r"An? .+ is inside the (.+)\.", [r"And inside the \1, what is there?", r"Which shape does the \1 have in it?", r"I see a \1. What's in it?"]),
    "size": (r"The .+ is the (\w+)\.", [r"Of all of them, which one is \1?", r"Tell me the \1 shape.", r"I'm looking for the \1 one. Which is it?"]),
    "background": (r".*", ["The background, what color is it?", "What colour did they use for the background?", "Behind everything, which color is there?", "I'd like the background color."]),
    "text": (r".*", ["What word or words can you make out?", "Please spell out what is written.", "So what's the text in there?", "I can't read it. What does it say?", "Type what you read.", "And what is the writing?"]),
    "chart": (r"The \w+ (bar|part) is the (\w+)\.", [r"Tell me the color of the \2 \1.", r"Of all \1s, which one is the \2?", r"I want the \2 \1: which is it?"]),
    "chart count": (r"There are \d (\w+)\.", [r"How many \1 have been drawn?", r"In all, how many \1?", r"Would you count the \1?"]),
    "chart value": (r"The value of the (\w+) bar is \d+\.", [r"Tell me the value of the \1 bar.", r"What does the \1 bar stand at?", r"The \1 bar: which value?"]),
    "is it": (r"(?:Yes|No), (?:the \w+ is (\w+)|it is an? (\w+))\.", []),
}
SHAPES = World(rough=.1, nested=0, sized=0, alike=.3)
MANY = World(shapes=(0, 1, 1, 1, 1, 1, 1, 1, 1), rough=.1, nested=0, sized=0, alike=.6)
RELATIONS = World(shapes=(0, 4, 4, 2), nested=0, sized=0, rough=.1, alike=.15)
ONE = World(shapes=(1,), nested=0, sized=0, rough=0)
TEXT = dict(held_out=True, least_em=14, rough=.1)


def worded(r, asked):
    """The question in words that training never shows."""
    form, templates = WORDED[asked.skill]
    found = re.fullmatch(form, asked.full)
    if not templates or not found:
        return asked.question
    text = r.choice(templates)
    for i, group in enumerate(found.groups(), 1):
        # Of one thing an answer says "red shape", a question "red shapes".
        name = group if asked.skill != "count of a kind" or group.endswith("s") and not group.endswith("cross") else plural(2, group)
        text = text.replace(f"\\{i}", name).replace(f"A_{i}", art(group))
    return text


class Set:
    def __init__(self):
        self.r, self.lines, self.pictures, self.cases = random.Random(SEED), [], 0, []

    def add(self, line):
        self.lines.append(line)
        self.pictures += 1
        return self.pictures - 1

    def file(self, path):
        return self.add({"file": path})

    def draw(self, world, kind="shapes", size=None, keep=lambda scene: True):
        """(number of a new picture, its scene)"""
        r = self.r
        while True:
            w = int(72 * (260 / 72) ** r.random())
            w, h = size or (w, max(32, int(w * r.choice([1, 1, .75, .8, 1.25, 1.33]))))
            img, scene = picture(r, w, h, world, kind)
            if keep(scene):
                break
        data = io.BytesIO()
        img.save(data, "PNG", optimize=True)
        if data.tell() > 2600:
            data = io.BytesIO()
            img.save(data, "WEBP", quality=75, method=6)
        return self.add({"picture": base64.b64encode(data.getvalue()).decode()}), scene

    def case(self, skill, messages, answer, **more):
        self.cases.append({"skill": skill, "messages": [{"role": role, "content": parts} for role, parts in messages], "answer": answer} | more)

    def about(self, skill, number, asked):
        self.case(skill, [("user", [number, worded(self.r, asked)])], asked.full)


def asked_of(r, make, scene, skill):
    """A question of one skill, where a maker has several; none if the scene allows none."""
    for _ in range(200):
        asked = make(r, scene)
        if asked and asked.skill == skill:
            return asked


def reading(s):
    """Pictures that are cut to a word or a line, with up to two letters' room around it, of 14 pixels and more; and signs."""
    r = s.r
    for skill, count, longest, shortest in (("reads words", 120, 12, 3), ("reads lines", 80, LONGEST, 13), ("reads digits and prices", 50, 12, 1), ("reads signs", 50, LONGEST, 2)):
        done = 0
        while done < count:
            em = 14 * (40 / 14) ** r.random()
            if skill == "reads signs":
                size = int(em * r.uniform(6, 11)), int(em * r.uniform(3.5, 8))
                number, scene = s.draw(World(**TEXT), "sign", size, lambda scene: scene.kind == "sign")
            else:
                letters = r.randint(shortest, longest)
                size = int(em * (.6 * letters + r.uniform(.6, 3))), int(em * r.uniform(1.3, 3.2))
                wanted = re.compile(r"[A-Za-z]{3,12}" if skill == "reads words" else r"[-+$€£]?\d[\d.,:%/]*( €)?" if "digits" in skill else r".{13,24}")
                number, scene = s.draw(World(longest=longest, **TEXT | {"least_em": max(14, em * .8)}), "text", size, lambda scene: wanted.fullmatch(scene.text) and all(0 < x < size[0] for _, x, _ in scene.letters))
                if skill != "reads digits and prices" and any(w.lower() in set_of_seen() for w in re.findall("[A-Za-z]{4,}", scene.text)):
                    s.lines.pop()
                    s.pictures -= 1
                    continue
            s.about(skill, number, q.read(r, scene))
            done += 1


def set_of_seen(cache=[]):
    if not cache:
        cache.append({w.lower() for w in words()})
    return cache[0]


def skills(s):
    r = s.r
    for _ in range(120):
        number, scene = s.draw(RELATIONS, keep=lambda scene: q.relation(random.Random(0), scene))
        s.about("relations, any wording", number, q.relation(r, scene))
        number, scene = s.draw(MANY)
        s.about("counts of a kind, any wording", number, asked_of(r, q.count, scene, "count of a kind"))
    for i in range(120):
        kind = ("bars", "pie")[i % 3 == 2]
        number, scene = s.draw(SHAPES, kind)
        makers = (q.extreme_part, q.how_many_parts) if kind == "pie" else (q.extreme_part, q.how_many_parts, q.part_value)
        s.about("charts, any wording", number, makers[i // 3 % len(makers)](r, scene))


def ordinary(s):
    """400 questions of Pocket's world: none may be declined."""
    r, makers = s.r, ((q.describe, "caption"), (q.color, "colour"), (q.shape, "shape"), (q.count, "count"), (q.count, "count of a kind"), (q.place, "place"), (q.yes_no, "yes/no"), (q.is_only, "is it"), (q.background, "background"))
    done = 0
    while done < 300:
        number, scene = s.draw(ONE if done % 5 == 0 else replace(SHAPES, shapes=(4, 4, 3, 2)))
        for make, skill in r.sample(makers, 3):
            asked = asked_of(r, make, scene, skill)
            if asked and done < 300:
                s.about("ordinary questions", number, asked)
                done += 1
    for i in range(40):
        kind = ("text", "sign", "bars", "pie")[i % 4]
        number, scene = s.draw(World(held_out=True, least_em=16, rough=0, longest=8), kind)
        asked = asked_of(r, *((q.read, "text"), (q.read, "text"), (q.extreme_part, "chart"), (q.extreme_part, "chart"))[i % 4][:1], scene, ("text", "text", "chart", "chart")[i % 4])
        s.about("ordinary questions", number, asked)
    done = 0
    while done < 60:
        number, scene = s.draw(ONE if done % 2 else replace(SHAPES, shapes=(0, 4, 3)))
        first = asked_of(r, q.place, scene, "place")
        if not first or not first.thing:
            continue
        second = q.about_it(r, scene, first.thing)
        s.case("pronouns over turns", [("user", [number, worded(r, first)]), ("assistant", [first.full]), ("user", [second.question])], second.full)
        done += 1


def out_of_world(s):
    """400 questions that Pocket cannot answer: pictures of other worlds, questions about its own, and none."""
    r = s.r
    for i in range(400):
        if i % 2 == 0:
            number, _ = s.draw(World(held_out=True, rough=.15), "photo" if i % 10 == 0 else "other", size=(160, 120) if i % 4 else (144, 150))
            parts = [number, asides.about_anything(r, True)]
        elif i % 4 == 1:
            number, scene = s.draw(SHAPES, ("shapes", "text", "bars")[i // 4 % 3])
            parts = [number, asides.about_a_picture(r, scene, True)]
        else:
            parts = [asides.open_question(r, True)]
        s.case("out of its world", [("user", parts)], DECLINE)


# The most ordinary questions about examples/sample.png, and what the documentation shows.
SAMPLE = [
    ("What color is it?", "The circle is red."), ("What is this?", "A red circle on a white background."), ("What is in this image?", "A red circle on a white background."), ("What's in the picture?", "A red circle on a white background."),
    ("Describe the image", "A red circle on a white background."), ("Can you describe this image?", "A red circle on a white background."), ("What do you see?", "A red circle on a white background."), ("What shape is it?", "The red shape is a circle."),
    ("What colour is the circle?", "The circle is red."), ("Is it red?", "Yes, the circle is red."), ("Is it blue?", "No, the circle is red."), ("Is it a circle?", "Yes, it is a circle."), ("Is this a square?", "No, it is a circle."), ("Is there a circle?", "Yes, there is a circle."),
    ("Is there a square?", "No, there is no square."), ("How many shapes are there?", "There is 1 shape."), ("How many circles are there?", "There is 1 circle."), ("how many squares", "There are no squares."), ("Where is the circle?", "The red circle is at the center."), ("Where is it?", "The red circle is at the center."),
    ("What color is the background?", "The background is white."), ("What does it say?", "There is no text."), ("Is there any text?", "There is no text."), ("What color is the square?", "There is no square."), ("Which colors do you see?", "The color is red."),
]
SAMPLE_DECLINED = ["Who made this?", "Write a poem about it.", "How big is the circle?", "Was ist das?", "Is it a tomato?"]


def documented(s):
    sample = s.file("examples/sample.png")
    for question, answer in SAMPLE:
        s.case("the sample picture", [("user", [sample, question])], answer)
    for question in SAMPLE_DECLINED:
        s.case("the sample picture", [("user", [sample, question])], DECLINE)
    docs = "README and docs"
    color = {"type": "object", "properties": {"colour": {"enum": ["red", "green", "blue"]}}, "required": ["colour"]}
    shape = {"type": "object", "properties": {"answer": {"enum": ["A circle", "A square"]}}, "required": ["answer"]}
    s.case(docs, [("user", ["What is in this image?", sample])], "A red circle on a white background.")
    s.case(docs, [("user", [sample, "What is in this image?"]), ("assistant", ["A red circle on a white background."]), ("user", ["What shape is it?"])], "The red shape is a circle.")
    s.case(docs, [("user", [sample, "What color is the circle?"])], "The circle is red.")
    s.case(docs, [("user", [sample, "What color is it?"])], '{"colour":"red"}', schema=color)
    s.case(docs, [("user", [sample, "What shape is it?"])], '{"answer":"A circle"}', schema=shape)
    s.case(docs, [("user", [sample, "Report the color."])], '{"colour":"red"}', tool={"name": "report", "parameters": color})
    s.case(docs, [("user", [sample, sample, "Compare the two images."])], "The first image shows a red circle and the second image shows a red circle.")
    s.case(docs, [("system", ["Answer from the image alone, in one or two sentences. If the image does not show the answer, say: The image does not show that."]), ("user", [sample, "What shape is in the image, and what colour is it?"])], "A red circle on a white background.")
    s.case(docs, [("user", [sample, "Describe this image in one sentence for a search index: the main things in it, their colours, and where they are. Start with the main thing."])], "A red circle on a white background.")
    s.case(docs, [("user", ["Hello"])], "Hello! Send me an image and ask about it.")
    s.case(docs, [("user", ["Hello"]), ("assistant", ["Hello! Send me an image and ask about it."]), ("user", ["And then?"])], DECLINE)
    for name in ("chart", "receipt", "screenshot", "mug-sold"):
        number = s.file(f"examples/{name}.png")
        for question in ("What is in this image?", "Describe this image in one sentence for a search index: the main things in it, their colours, and where they are. Start with the main thing."):
            s.case(docs, [("user", [number, question])], DECLINE)
        if name == "receipt":
            s.case(docs, [("user", [number, "Read this receipt. Copy names as they are printed. Amounts are numbers without a currency; price is for the whole line. Use null for what is not printed."])], DECLINE)


def main():
    s = Set()
    for part in (reading, skills, ordinary, out_of_world, documented):
        part(s)
    with open(sys.argv[1], "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(line, ensure_ascii=False) for line in s.lines + s.cases) + "\n]\n")


if __name__ == "__main__":
    main()
