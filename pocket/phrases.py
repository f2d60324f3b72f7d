"""Pieces of English."""
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]


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
