# SPDX-License-Identifier: MIT
"""Kinds of characters, and templates."""

ascii_lowercase = "abcdefghijklmnopqrstuvwxyz"
ascii_uppercase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ascii_letters = ascii_lowercase + ascii_uppercase
digits = "0123456789"
hexdigits = "0123456789abcdefABCDEF"
octdigits = "01234567"
punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
whitespace = " \t\n\r\v\f"
printable = digits + ascii_letters + punctuation + whitespace


def capwords(s, sep=None):
    return (" " if sep is None else sep).join([word[:1].upper() + word[1:].lower() for word in s.split(sep)])


class Template:
    delimiter = "$"

    def __init__(self, template):
        self.template = template

    def _parts(self):
        """Text, name and what stands there for a name, in turns; a name of None is a placeholder that is none."""
        rest = self.template
        while rest:
            text, mark, rest = rest.partition(self.delimiter)
            if not mark:
                yield text, "", ""
                return
            if rest.startswith(self.delimiter):
                yield text + self.delimiter, "", ""
                rest = rest[len(self.delimiter) :]
                continue
            braced = rest.startswith("{")
            name = _name(rest[1:] if braced else rest)
            end = len(name) + 2 * braced
            if not name or (braced and rest[end - 1 : end] != "}"):
                yield text, None, mark
                continue
            yield text, name, mark + rest[:end]
            rest = rest[end:]

    def _filled(self, args, keywords, safe):
        if len(args) > 1:
            raise TypeError("Too many positional arguments")
        values = dict(args[0]) if args else {}
        values.update(keywords)
        filled = []
        for text, name, source in self._parts():
            filled.append(text)
            if name is None and not safe:
                raise ValueError("Invalid placeholder in string")
            if name and (name in values or not safe):
                filled.append(str(values[name]))
            else:
                filled.append(source)
        return "".join(filled)

    def substitute(self, *args, **keywords):
        return self._filled(args, keywords, False)

    def safe_substitute(self, *args, **keywords):
        return self._filled(args, keywords, True)

    def is_valid(self):
        return all(name is not None for _, name, _ in self._parts())

    def get_identifiers(self):
        found = []
        for _, name, _ in self._parts():
            if name and name not in found:
                found.append(name)
        return found


def _name(text):
    """The identifier of ASCII letters that a text starts with."""
    for i, c in enumerate(text):
        if not (c == "_" or c in ascii_letters or (i and c in digits)):
            return text[:i]
    return text
