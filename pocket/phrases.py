"""Pieces of English, and the many ways to ask for the same."""
import re

ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
CHOICE = re.compile(r"\{([^{}]*)\}")

# A template has alternatives in braces, and `$a`, `$b` stand for what is asked about. A list has the ways of training; the
# ways that only the measurements use are in held_out.py.
IMAGE = "{image|picture|image|picture|photo|pic|drawing|figure|img}"
ASK_CAPTION = [
    f"{{Describe|Please describe|Describe briefly|Can you describe|Could you describe|Explain|Summarize}} {{this|the}} {IMAGE}.",
    f"{{What is|What's|What do you see|what is there|What can you see|What is shown|What is visible|What's shown}} {{in|on}} {{this|the}} {IMAGE}?",
    f"{{What does|What does}} {{this|the}} {IMAGE} {{show|depict|contain}}?", "What do you see?", "{What is this|What's this|What is that|What am I looking at|What is it}?",
    f"{{Tell me|tell me|Say}} {{about|what is in|what you see in}} {{this|the}} {IMAGE}.", f"Please describe the scene in {{this|the}} {IMAGE}.", "Describe the scene.",
    f"{{Caption|Write a caption for|Give a caption for|Give me a description of|Write a description of}} {{this|the}} {IMAGE}.", "{Describe this|Describe it|describe|Caption|caption please|Describe what you see}.",
    f"Describe {{this|the}} {IMAGE} in {{one|a single}} sentence.", f"{{Describe|Tell me}} {{the contents|the content}} of {{this|the}} {IMAGE}.", "What have we got here?", f"{IMAGE}?", "{what u see|wats this|what dis}?",
    "Describe this image in one sentence for a search index: the main things in it, their colours, and where they are. Start with the main thing.",
    "What shape is in the image, and what colour is it?", "What {shape|object} is {this|it} and what {color|colour} {is it|does it have}?",
]
ASK_TEXT = [
    f"{{What text is|What words are|What is written|What is printed|What's written|What text is present}} {{in|on}} {{this|the}} {IMAGE}?", "{Read|Please read|Read out|Transcribe|Extract|Give me|OCR} the {text|words|text}.",
    f"What does {{it|this|the text|the {IMAGE}|this {IMAGE}}} say?", f"OCR {{this|the}} {IMAGE}.", f"{{Read|Transcribe|Read the text in|Extract the text from|Copy the text of}} {{this|the}} {IMAGE}.", "{What does it say|What's it say|what does it read|Read it|read this|ocr|Read this please|text?|What is written here|What does this say}",
    "{Which|What} {word|words|text|letters} {is|are} {this|here|shown|there|it}?", "What is the text?", "Can you read {this|it|the text}?", "Tell me {what it says|what is written|the text}.", f"{{Is there text|Is there any text}} {{in|on}} {{this|the}} {IMAGE}, and what does it say?",
    "Write out all text in this image exactly as it is printed, line by line from the top. Do not correct, translate, explain or add anything. Write [?] for what you cannot read.",
]
ASK_SIGN = ["What does the sign {say|read}?", "{Read|Read me} the sign.", "What is {written|printed} on the sign?", "What sign is {this|it}?", "What's {on|written on} {the|this} sign?"]
ASK_NUMBER = ["{What|Which} number is {this|it|shown|in the image|written here}?", "{Read|Tell me} the number.", "What is the number?"]
ASK_PRICE = ["What is the price?", "{How much|How much does it cost|How much is it|What does it cost}?", "Read the price.", "What price is {shown|this|written here}?"]
ASK_BACKGROUND = [
    "{What color|What colour|Which color|which colour} is the background?", "{What is|What's|Tell me} the {background color|background colour|color of the background|colour of the background}?", "{What color is|What's} {behind|behind it|in the background}?",
    "Background {color|colour}?", f"{{What color is|What colour is}} the background of {{this|the}} {IMAGE}?", "What {color|colour} is it on?", "On {what|which} {color|colour} is it?", "Name the {color|colour} of the background.", "How is the background colored?",
]
ASK_COUNT = [
    f"How many {{shapes|objects|things|items|figures|shapes}} {{are there|are in {{the|this}} image|do you see|can you see|are shown|are on the picture|are visible|are here|r there}}?".replace("{the|this}", "the"), "Count the {shapes|objects|things|items}.",
    "{Count|Please count|Count all|Can you count} the {shapes|objects|things}.", "How many?", "{What is the number of|Number of|Tell me the number of|Give me the count of} {shapes|objects|things}.", f"How many {{shapes|objects|things}} does {{this|the}} {IMAGE} {{have|contain|show}}?", "{shape count|count}?",
]
DECLINE = "I only know shapes, colors, simple charts and short printed text: for this, `oriel pull smolvlm-500m` gets a real model."


def say(r, template, **names):
    """One way to say a template."""
    while True:
        found = CHOICE.search(template)
        if not found:
            break
        template = template[:found.start()] + r.choice(found[1].split("|")) + template[found.end():]
    for name, value in names.items():
        template = template.replace(f"${name}", value)
    return template


def one_of(r, templates, **names):
    return say(r, r.choice(templates), **names)


def typo(r, text):
    """A slip of one letter: two changed places, one left out, or one twice."""
    at = [i for i in range(1, len(text) - 2) if text[i].isalpha() and text[i + 1].isalpha()]
    if not at:
        return text
    i = r.choice(at)
    return text[:i] + r.choice((text[i + 1] + text[i], text[i + 1], text[i] * 2 + text[i + 1])) + text[i + 2:]


def vary(r, q):
    """The same question as somebody else types it."""
    t = r.random()
    if t < .14:
        q = q.lower()
    if t < .08 or .14 < t < .22:
        q = q.rstrip("?.")
    if .22 < t < .27:
        q = r.choice(("Please answer: ", "Hey, ", "Please: ", "Question: ", "Tell me: ", "Hi! ", "Look at this. ", "So, ")) + q
    if .27 < t < .3:
        q = q.rstrip("?.") + r.choice((" please?", ", please.", "??", "!", " ?", " in this image?", " here?"))
    if .3 < t < .32:
        q = q.upper()
    if .32 < t < .36:
        q = typo(r, q)
    if r.random() < .2:
        q = q.replace("color", "colour") if "color" in q else q.replace("colour", "color")
    return q


def art(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def noun(thing):
    return f"{thing.color} {thing.shape}"


def listing(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def cap(s):
    return s[0].upper() + s[1:]


def plural(n, word):
    return word if n == 1 else word + ("es" if word.endswith("s") else "s")


def there_are(n, word):
    if n == 0:
        return f"There are no {plural(0, word)}."
    return f"There {'is' if n == 1 else 'are'} {n} {plural(n, word)}."
