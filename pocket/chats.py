"""Chats about pictures: what comes before the first question, and the questions and answers that follow it."""
from dataclasses import dataclass

import questions
from phrases import ORDINALS, cap
from questions import CANNOT_TELL, Asked, ask, short

NAME = "I am Pocket, a small built-in vision model. I can name shapes, colors, places and short text."
NO_PICTURE = "I do not see an image."
WITHOUT = [
    (["Hi", "Hello", "Hello!", "hi there", "Hey", "Good morning"], "Hello! Send me an image and ask about it."),
    (["Who are you?", "What are you?", "What can you do?", "What is your name?", "Which model are you?"], NAME),
    (questions.ASK_CAPTION + questions.ASK_COUNT + questions.ASK_TEXT + ["What color is the circle?", "What shape is this?", "Is there a red star?"], NO_PICTURE),
    (["Thanks", "Thank you", "Thanks!"], "You are welcome."),
    (["Write a poem.", "Tell me a joke.", "What is the capital of France?", "Write code for me.", "Translate this.", "What is two plus two?", "Who won?"],
     "I only answer questions about images."),
]


def brief_of(asked):
    return asked.brief


def upper(asked):
    return asked.brief.upper()


def as_json(asked):
    brief = asked.brief.rstrip(".")
    return '{"answer": ' + (brief if brief.isdigit() and not asked.spelled else f'"{brief}"') + "}"


# What a system prompt may ask for, and what it makes of an answer.
SYSTEMS = [
    (["You are a helpful assistant.", "Hello", "Answer the question."], None, 4),
    (["Answer in one word.", "Answer briefly.", "Be concise.", "Be brief.", "Reply with one word."], brief_of, 5),
    (["Answer in upper case.", "Reply in capital letters.", "Use only upper case."], upper, 2),
    (["Answer in JSON.", "Reply with JSON.", "Reply in JSON only."], as_json, 2),
]


def vary(r, q):
    t = r.random()
    if t < .12:
        return q.lower()
    if t < .2:
        return q.rstrip("?.")
    return "Please answer: " + q if t < .25 else q


@dataclass
class Chat:
    """`before`: messages before the user's first, `opening`: that one's parts so far. `ask()` gives the next question."""
    before: list
    opening: list
    styled: object
    ask: object

    def turn(self, r):
        """(question, answer, printed text in it, skill)"""
        asked = self.ask(r)
        answer = self.styled(asked) if self.styled else asked.full
        return vary(r, asked.question), answer, asked.spelled.upper() if self.styled is upper else asked.spelled, asked.skill


def system(r):
    texts, styled, _ = r.choices(SYSTEMS, [w for _, _, w in SYSTEMS])[0]
    return r.choice(texts), styled


def ask_nothing(r):
    qs, a = r.choices(WITHOUT, [1, 2, 4, 1, 2])[0]
    return Asked("no picture", r.choice(qs), a, a)


def ask_many(r, scenes):
    """A question about several pictures, or about one of them."""
    t, n = r.random(), len(scenes)
    if t < .2:
        if n == 2:
            q = r.choice(["Compare the two images.", "What is the difference between these images?", "Compare these images.", "Describe the two images."])
            return Asked("compare", q, f"The first image shows {short(scenes[0])} and the second image shows {short(scenes[1])}.", f"First {short(scenes[0])}, second {short(scenes[1])}.")
        q = r.choice(["Describe each image.", "Describe the images.", "Compare these images."])
        return Asked("compare", q, " ".join(f"The {ORDINALS[i]} image shows {short(s)}." for i, s in enumerate(scenes)), " ".join(f"{cap(ORDINALS[i])} {short(s)}." for i, s in enumerate(scenes)))
    i = r.randrange(n)
    if t < .55:
        q = r.choice([f"What is in the {ORDINALS[i]} image?", f"Describe the {ORDINALS[i]} image.", f"What is in image {i + 1}?"])
        return Asked("which picture", q, f"The {ORDINALS[i]} image shows {short(scenes[i])}.", cap(short(scenes[i])) + ".", "" if scenes[i].kind == "receipt" else scenes[i].text)
    if t < .65:
        return Asked("how many pictures", r.choice(["How many images are there?", "How many images do you see?"]), f"There are {n} images.", str(n))
    if t < .8 and scenes[i].kind != "photo":
        return Asked("which picture", f"What color is the background of the {ORDINALS[i]} image?", f"The background of the {ORDINALS[i]} image is {scenes[i].background}.", cap(scenes[i].background))
    things = [(j, t) for j, s in enumerate(scenes) if s.kind == "shapes" for t in s.things]
    alone = [(j, t) for j, t in things if sum((u.color, u.shape) == (t.color, t.shape) for _, u in things) == 1]
    if alone:
        j, t = r.choice(alone)
        return Asked("which picture", f"Which image shows the {t.color} {t.shape}?", f"The {ORDINALS[j]} image shows the {t.color} {t.shape}.", cap(ORDINALS[j]))
    return Asked("how many pictures", "How many images are there?", f"There are {n} images.", str(n))


def chat(r, scenes):
    """A chat about none, one or several pictures."""
    before, styled = [], None
    if r.random() < .35:
        text, styled = system(r)
        before = [("system", [text])]
    if not scenes:
        return Chat(before, [], None, ask_nothing)
    opening = [None] * len(scenes)
    if len(scenes) == 1:
        return Chat(before, opening, styled, lambda r: ask(r, scenes[0]))
    if r.random() < .25:
        # The earlier pictures came with messages of their own.
        for i in range(len(scenes) - 1):
            asked = ask(r, scenes[i])
            before += [("user", [None, asked.question]), ("assistant", [styled(asked) if styled else asked.full])]
        return Chat(before, [None], styled, lambda r: ask_many(r, scenes) if r.random() < .5 else ask(r, scenes[-1]))
    return Chat(before, opening, styled, lambda r: ask_many(r, scenes))
