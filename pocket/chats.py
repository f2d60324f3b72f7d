"""Chats about pictures: what comes before the first question, and the questions and answers that follow it."""
import json
import re
from dataclasses import dataclass

import asides
import questions
from phrases import ORDINALS, art, cap, one_of, say, vary
from questions import Asked, about_it, ask, cannot, short, unread
from where import CELLS, NOWHERE, VALUE, VALUES, letter_at
from world import COLORS, SHAPES

NAME = "I am Pocket, a small built-in vision model. I can name shapes, colors, places and short text."
NO_PICTURE = "I do not see an image."
HELLO = ["Hi", "Hello", "Hello!", "hi there", "Hey", "Good morning", "{Hi|Hello|Hey|Yo|Howdy|Greetings}{!|.|, Pocket| there!|}", "{Good evening|Good afternoon|Hello again|hello??}"]
WHO = ["Who are you?", "What are you?", "What can you do?", "What is your name?", "Which model are you?", "{What|Which} {model|AI|assistant|program} {is this|are you|am I talking to}?", "{Introduce yourself|Tell me about yourself|help|Help|What do you know|What's your name|Who made you|who is this}", "What {kinds|sort} of {questions|things} {can you answer|do you understand}?"]
THANKS = ["Thanks", "Thank you", "Thanks!", "{thx|Thank you very much|thanks a lot|Great, thanks|Thank you, that helps}{.|!|}"]
ABOUT_NONE = ["What color is {the $b|it|this}?", "What shape is {this|it}?", "Is there a $a $b?", "Where is the $b?", "How many $bs are there?", "What is behind it?", "Is it $a?", "What does the sign say?", "Which bar is the highest?", "{Which|What} colors are there?"]


def brief_of(asked):
    return asked.brief


def upper(asked):
    return asked.brief if asked.skill == "cannot tell" else asked.brief.upper()


def as_json(asked):
    brief = asked.brief if asked.skill == "cannot tell" else asked.brief.rstrip(".")
    return '{"answer": ' + (brief if brief.isdigit() and not asked.spelled else json.dumps(brief, ensure_ascii=False)) + "}"


# What a system prompt may ask for, and what it makes of an answer.
SYSTEMS = [
    (["You are a helpful assistant.", "Hello", "Answer the question.", "You are {a friendly|an expert|a polite} {vision|image|} assistant{ that describes images|}.", "Look closely at the image.", "You are an AI.",
      "Answer from the image alone, in one or two sentences. If the image does not show the answer, say: The image does not show that."], None, 5),
    (["Answer in one word.", "Answer briefly.", "Be concise.", "Be brief.", "Reply with one word.", "{Keep it|Be|Answer} {short|terse|very short}.", "{Use|Give} {one word|as few words as possible|only the answer}."], brief_of, 5),
    (["Answer in upper case.", "Reply in capital letters.", "Use only upper case.", "{ANSWER IN CAPS|Write in all caps|Only capitals}."], upper, 2),
    (["Answer in JSON.", "Reply with JSON.", "Reply in JSON only.", "{Output|Return|Give me|Respond with} {JSON|a JSON object|valid JSON}{.| only.}"], as_json, 2),
]


def wrapped(before, after=""):
    """A form of answers: the brief one between two texts."""
    return lambda asked: asked.brief if asked.skill == "cannot tell" else before + asked.brief.rstrip(".") + after


# What a question may ask for itself. With many forms, each of them asked for, a form that is learned later should not spread to
# answers for which nobody asked for it.
FORMS = [
    (["{Answer|Reply|Respond|Tell me} in {one word|a word|a word or two}.", "One word{, please|}.", "{Just|Only} the answer{, please|}.", "{Be brief|Briefly|In short|Keep it short}."], brief_of, 6),
    (["{Answer|Reply|Write it} in {capitals|upper case|capital letters}.", "{All caps|Upper case}, please."], upper, 2),
    (["{Answer|Reply|Respond} {in|with|as} JSON.", "JSON{ only|, please}."], as_json, 2),
    (["{Put|Write|Give} {it|the answer|your answer} in {brackets|square brackets}.", "Use [brackets]."], wrapped("[", "]"), 1),
    (["{Put|Write|Give} {it|the answer|your answer} in {parentheses|round brackets}."], wrapped("(", ")"), 1),
    (["{Put|Write|Give} {it|the answer|your answer} in {quotes|quotation marks}.", "Quote {it|the answer}."], wrapped('"', '"'), 1),
    (["{Begin|Start} {the answer|your answer|} with {Answer:|the word Answer}.", "Write {Answer:|Answer and a colon} {before it|first}."], wrapped("Answer: "), 1),
    (["{Answer|Reply|Write it} as {a list|an item of a list|a bullet}.", "Use {a bullet|an asterisk}."], wrapped("* "), 1),
    (["{Answer|Reply} with {a hashtag|a tag|its tag}.", "{As a hashtag|As a tag}, please."], wrapped("#"), 1),
    (["{Answer|Reply} in {bold|bold letters}.", "{Make it|Use} bold."], wrapped("**", "**"), 1),
]


def wish(r, wishes):
    """(words of one of SYSTEMS or FORMS, what it makes of an answer or None)"""
    texts, styled, _ = r.choices(wishes, [w for _, _, w in wishes])[0]
    return say(r, r.choice(texts)), styled


# What a schema may call a kind of fact. Other names are of worlds that Pocket does not know.
FIELDS = {
    "color": ("color", "colour", "color", "colour", "main_color", "Color", "mainColour"), "shape": ("shape", "shape", "object", "form", "name", "label", "type", "figure"), "count": ("count", "number", "n", "how_many", "amount", "shapes_count"),
    "position": ("position", "place", "where", "location"), "background": ("background", "background_color", "backgroundColour", "behind"), "text": ("text", "words", "content", "ocr", "word", "sign"),
    "yes": ("yes", "answer", "result", "present", "is_there", "correct", "found"), "description": ("description", "caption", "alt", "alt_text", "summary", "sentence"),
    "colors": ("colors", "colours"), "shapes": ("shapes", "objects", "things"), "value": ("value", "height", "number", "amount"), "kind": ("kind", "type", "chart"),
}
UNKNOWN = (("title", str), ("merchant", str), ("seen", str), ("person", str), ("emotion", str), ("author", str), ("date", str), ("address", str), ("summary", str), ("reason", str), ("name", str), ("total", float), ("age", int),
           ("price", float), ("items", list), ("points", list), ("elements", list), ("boxes", list), ("currency", None), ("estimated", bool), ("damaged", bool), ("city", str), ("category", str), ("answer", str), ("message", str), ("query", str))


def forms_of(r, kind, value):
    """A value as a schema may want it: [(text, whether it is learned)]. A grammar writes the rest."""
    if isinstance(value, bool):
        return [(r.choice((("false", "true"), ('"no"', '"yes"'), ('"No"', '"Yes"')))[value], True)]
    if isinstance(value, int):
        return [(str(value), True)]
    if isinstance(value, list):
        return [("[", True), (", ".join(json.dumps(v) for v in value) + "]", True)]
    if kind == "text":
        return [('"', False), (value, "spelled"), ('"', True)]
    first = r.choice(("", "", "", "a", "A", "the")) if kind == "shape" else ""
    form = r.choice((str, str, str.capitalize, str.upper)) if kind != "description" and not first else str
    article = art(value)[:-len(value)] if first in "aA" and first else "the " if first else ""
    return [('"' + (article.capitalize() if first == "A" else article), False), (form(value), True), ('"', True)]


def held_to_schema(r, asked):
    """The answer as an object whose form a grammar forces, which the question does not tell: [(text, whether it is learned)]."""
    pieces, fields = [("{", False)], []
    if asked.facts:
        known = list(asked.facts)
        for kind in known[:1] if r.random() < .6 else r.sample(known, min(len(known), 2)):
            fields.append((r.choice(FIELDS[kind] + ("answer",) if len(known) == 1 else FIELDS[kind]), forms_of(r, kind, asked.facts[kind])))
    else:
        said = False
        for name, kind in r.sample(UNKNOWN, r.randint(1, 3)):
            if kind is str:
                fields.append((name, [('"', False), (asked.full if not said else "", True), ('"', True)]))
                said = True
            else:
                fields.append((name, [({int: "0", float: "0", list: "[]", bool: "false", None: "null"}[kind], True)]))
    gap = r.choice((" ", " ", ""))
    for i, (name, value) in enumerate(fields):
        pieces += [(("," + gap if i else "") + f'"{name}":{gap}', False), *value]
    return [*pieces, ("}", True)]


TOOL_NAMES = ("report", "answer", "describe", "save", "submit", "record", "log_result", "set_color", "classify", "get_weather", "search", "send_email", "lookup")
TOOL_WORDS = """You may call these functions:
<tools>
$tools
</tools>
To call one, answer with its name and arguments as JSON within tags:
<tool_call>
{"name": "the function's name", "arguments": {}}
</tool_call>"""


def tools_in_words(r):
    """One or two tools as the server describes them to a model whose template has none."""
    tools = []
    for name in r.sample(TOOL_NAMES, r.choice((1, 1, 1, 2))):
        fields = {r.choice(FIELDS[kind]): {"enum": r.sample(list(COLORS), 3)} if kind == "color" else {"enum": r.sample(SHAPES, 3)} if kind == "shape" else {"type": "integer" if kind in ("count", "value") else "string"} for kind in r.sample(list(FIELDS), r.choice((1, 1, 2)))}
        tools.append({"type": "function", "function": {"name": name, "description": r.choice(("", "", "Reports what is seen.")), "parameters": {"type": "object", "properties": fields, "required": list(fields)}}})
    return TOOL_WORDS.replace("$tools", "\n".join(json.dumps(t, separators=(",", ":")) for t in tools)), tools[0]["function"]["name"]


@dataclass
class Turn:
    """`named`: as `things_named` has it; `unread`: the answer of who cannot read the text, or None; `letters`: where those that
    the answer spells stand, if that is told, as `where.letter_at` has it"""
    question: str
    answer: list                 # [(text, False: given, True: learned, "spelled": learned letter by letter)]
    skill: str
    named: list
    unread: list | None = None
    letters: list = ()


A_COLOR = rf"\b(?:({'|'.join(COLORS)}) )?"
A_NAME = re.compile(rf"{A_COLOR}({'|'.join(SHAPES)}|shape|object|thing|one)\b", re.IGNORECASE)
A_PLURAL = re.compile(rf"{A_COLOR}(?:({'|'.join(SHAPES)})e?s|shapes|objects|things)\b", re.IGNORECASE)
A_BAR = re.compile(rf"\b({'|'.join(COLORS)}) (?:bar|column)\b", re.IGNORECASE)
PARTS = re.compile(r"\b(?:bars|columns|parts|slices|pieces|sectors|segments)\b", re.IGNORECASE)


def things_named(question, scene):
    """Where a question names things of a scene, and their cells: NOWHERE for what is not there. What could be meant by a name
    that several things have is not told. Where it names many, CELLS and how many there are; where a bar, VALUE and its value, if
    that is small."""
    if scene and scene.kind in ("bars", "pie"):
        bars = [(found.end(), scene.values.get(found[1].lower(), VALUES)) for found in A_BAR.finditer(question)] if scene.kind == "bars" else []
        return [(end, VALUE + value) for end, value in bars if value < VALUES] + [(found.end(), CELLS + len(scene.values)) for found in PARTS.finditer(question)]
    if not scene or scene.kind != "shapes" or scene.inside:
        return []
    out = []
    for found in A_NAME.finditer(question):
        color, shape = (found[1] or "").lower(), found[2].lower()
        if color or shape in SHAPES:
            cells = [t.cell for t in scene.things if color in ("", t.color) and (shape == t.shape or shape not in SHAPES)]
            if len(cells) < 2:
                out.append((found.end(), cells[0] if cells else NOWHERE))
    for found in A_PLURAL.finditer(question):
        color, shape = (found[1] or "").lower(), (found[2] or "").lower()
        out.append((found.end(), CELLS + sum(color in ("", t.color) and shape in ("", t.shape) for t in scene.things)))
    return out


@dataclass
class Chat:
    """`before`: messages before the user's first, `opening`: that one's parts so far. `ask()` gives the next question."""
    before: list
    opening: list
    styled: object
    ask: object
    scene: object = None         # the only one
    tool: str = ""               # the name of the tool that must be called, or none
    it: object = None            # what the last turn was about

    def turn(self, r, again=False):
        """The next question and its answer; with `again` it may refer to the one before."""
        asked = about_it(r, self.scene, self.it) if again and self.it and r.random() < .6 else self.ask(r)
        self.it = asked.thing if self.scene and self.scene.kind == "shapes" else None
        question = vary(r, asked.question)
        held, styled = self.held(r, asked), self.styled
        if not held and not styled and r.random() < .15:
            wanted, styled = wish(r, FORMS)
            question = f"{question} {wanted}" if r.random() < .8 else f"{wanted} {question}"
        blind = None if held else unread(asked, self.scene)
        told = self.scene and asked.spelled and asked.spelled == self.scene.text
        letters = [letter_at(max(0, x), max(0, y)) for _, x, y in self.scene.letters] if told else []
        return Turn(question, held or pieces(asked, styled), asked.skill, things_named(question, self.scene), blind and pieces(blind, styled), letters)

    def held(self, r, asked):
        """The answer where a tool or a schema holds it to its form, or None."""
        if self.tool:
            return [('{"name": "' + self.tool + '", "arguments": ', False), *held_to_schema(r, asked), ("}", True)]
        if not self.styled and r.random() < .16 and (asked.facts or asked.skill == "cannot tell"):
            return held_to_schema(r, asked)
        return None


def pieces(asked, styled):
    """An answer in its style: [(text, whether it is learned)]."""
    answer = styled(asked) if styled else asked.full
    spelled = asked.spelled.upper() if styled is upper else asked.spelled
    if not spelled or spelled not in answer:
        return [(answer, True)]
    before, after = answer.split(spelled, 1)
    return [(before, True), (spelled, "spelled"), (after, True)]


def ask_nothing(r):
    t = r.random()
    if t < .1:
        return said(one_of(r, HELLO), "Hello! Send me an image and ask about it.")
    if t < .2:
        return said(one_of(r, WHO), NAME)
    if t < .26:
        return said(one_of(r, THANKS), "You are welcome.")
    if t < .5:
        about = r.choice((questions.ASK_CAPTION, questions.ASK_COUNT, questions.ASK_TEXT, ABOUT_NONE, questions.ASK_BACKGROUND))
        return said(one_of(r, about, a=r.choice(list(COLORS)), b=r.choice(SHAPES)), NO_PICTURE)
    return cannot(asides.open_question(r))


def said(question, answer):
    return Asked("no picture", question, answer, answer)


def ask_many(r, scenes):
    """A question about several pictures, or about one of them."""
    t, n = r.random(), len(scenes)
    if t < .06:
        return cannot(asides.about_a_picture(r, None))
    if t < .2:
        if n == 2:
            q = one_of(r, ["Compare the two {images|pictures}.", "What is the difference between {these|the two} {images|pictures}?", "Compare {these|both} {images|pictures}.", "Describe {the two|both} {images|pictures}.", "How do {they|the images} differ?", "What do the two images show?", "Compare {them|these}."])
            return Asked("compare", q, f"The first image shows {short(scenes[0])} and the second image shows {short(scenes[1])}.", f"First {short(scenes[0])}, second {short(scenes[1])}.")
        q = one_of(r, ["Describe {each image|the images|all images|every picture|the pictures}.", "Compare these {images|pictures}.", "What do {the images|they} show?"])
        return Asked("compare", q, " ".join(f"The {ORDINALS[i]} image shows {short(s)}." for i, s in enumerate(scenes)), " ".join(f"{cap(ORDINALS[i])} {short(s)}." for i, s in enumerate(scenes)))
    i = r.randrange(n)
    if t < .55:
        q = one_of(r, ["{What is|What's|What do you see} in the $a {image|picture|image}?", "{Describe|Caption} the $a {image|picture}.", "{What is|What's} in {image|picture} $b?", "Describe {image|picture} $b.", "And the $a{ one| image|}?", "What does the $a {one|image} show?"], a=ORDINALS[i], b=str(i + 1))
        return Asked("which picture", q, f"The {ORDINALS[i]} image shows {short(scenes[i])}.", cap(short(scenes[i])) + ".", "" if scenes[i].kind == "receipt" else scenes[i].text)
    if t < .65:
        return Asked("how many pictures", one_of(r, ["How many {images|pictures} {are there|do you see|did I send|are these}?", "{Count the|Number of} {images|pictures}."]), f"There are {n} images.", str(n))
    if t < .8 and scenes[i].background:
        return Asked("which picture", f"What {r.choice(('color', 'colour'))} is the background of the {ORDINALS[i]} {r.choice(('image', 'picture'))}?", f"The background of the {ORDINALS[i]} image is {scenes[i].background}.", cap(scenes[i].background))
    things = [(j, t) for j, s in enumerate(scenes) if s.kind == "shapes" for t in s.things]
    alone = [(j, t) for j, t in things if sum((u.color, u.shape) == (t.color, t.shape) for _, u in things) == 1]
    if alone:
        j, t = r.choice(alone)
        if r.random() < .3 and sum(u.shape == t.shape for _, u in things) == 1:
            return Asked("which picture", one_of(r, ["{Which|What} {image|picture} {shows|has|contains} {a|the} $a?", "In which {image|picture} is {a|the} $a?"], a=t.shape), f"The {ORDINALS[j]} image shows the {t.color} {t.shape}.", cap(ORDINALS[j]))
        return Asked("which picture", one_of(r, ["{Which|What} {image|picture} {shows|has|contains} the $a?", "In which {image|picture} is the $a?"], a=f"{t.color} {t.shape}"), f"The {ORDINALS[j]} image shows the {t.color} {t.shape}.", cap(ORDINALS[j]))
    return Asked("how many pictures", "How many images are there?", f"There are {n} images.", str(n))


def chat(r, scenes, tools=False):
    """A chat about none, one or several pictures; about one it may have tools."""
    before, styled = [], None
    if r.random() < .35:
        text, styled = wish(r, SYSTEMS)
        before = [("system", [text])]
    if not scenes:
        return Chat(before, [], None, ask_nothing)
    opening = [None] * len(scenes)
    if len(scenes) == 1:
        tool = ""
        if tools:
            text, name = tools_in_words(r)
            if before:
                before = [("system", [before[0][1][0] + "\n\n" + text])]
            else:
                opening = [text + "\n\n", *opening]
            tool = name if r.random() < .7 else ""
        return Chat(before, opening, styled, lambda r: ask(r, scenes[0]), scenes[0], tool)
    if r.random() < .25:
        # The earlier pictures came with messages of their own.
        for i in range(len(scenes) - 1):
            asked = ask(r, scenes[i])
            before += [("user", [None, asked.question]), ("assistant", [styled(asked) if styled else asked.full])]
        return Chat(before, [None], styled, lambda r: ask_many(r, scenes) if r.random() < .5 else ask(r, scenes[-1]))
    return Chat(before, opening, styled, lambda r: ask_many(r, scenes))
