# SPDX-License-Identifier: MIT
"""CPython's textwrap."""

_SPACES = "\t\n\v\f\r "


def dedent(text):
    """Without the white space that all lines with something else have in common."""
    lines = text.split("\n")
    margin = None
    for line in lines:
        body = line.lstrip(" \t")
        if not body:
            continue
        indent = line[: len(line) - len(body)]
        if margin is None:
            margin = indent
        while not indent.startswith(margin):
            margin = margin[:-1]
    cut = len(margin or "")
    return "\n".join([line[cut:] if line.strip(" \t") else "" for line in lines])


def indent(text, prefix, predicate=None):
    lines = text.split("\n")
    for i, line in enumerate(lines):
        whole = line + "\n" if i + 1 < len(lines) else line
        if whole and (whole.strip() if predicate is None else predicate(whole)):
            lines[i] = prefix + line
    return "\n".join(lines)


def _is_letter(c):
    return c.isalpha() or c == "_"


def _is_word(c):
    return _is_letter(c) or c.isdigit()


def _joins(c):
    return _is_word(c) or c in "!\"'&.,?"


def _breaks_after(word, i):
    """Whether a line may end after the hyphen at i: two letters, or a letter on its own, are on both sides of it."""
    before, after = word[max(i - 3, 0) : i], word[i + 1 : i + 4]
    if len(before) < 2 or not after or not _is_letter(after[0]):
        return False
    after = after[2:] if after[1:2] == "-" else after[1:2]
    if not after or not _is_letter(after[0]):
        return False
    if _is_letter(before[-1]) and _is_letter(before[-2]):
        return True
    return len(before) == 3 and _is_letter(before[0]) and before[1] == "-" and _joins(before[2])


def _pieces(word):
    """A word in the pieces between which a line may end: after hyphens, and on both sides of a dash of several."""
    start = i = 0
    while i < len(word):
        if word[i] != "-":
            i += 1
            continue
        end = i
        while end < len(word) and word[end] == "-":
            end += 1
        ahead = word[end : end + 1]
        if end - i > 1 and i > start and _joins(word[i - 1]) and ahead and _is_word(ahead):
            yield word[start:i]
            yield word[i:end]
            start = end
        elif end - i == 1 and i > start and _breaks_after(word, i):
            yield word[start:end]
            start = end
        i = end
    if start < len(word):
        yield word[start:]


class TextWrapper:
    def __init__(
        self,
        width=70,
        initial_indent="",
        subsequent_indent="",
        expand_tabs=True,
        replace_whitespace=True,
        break_long_words=True,
        drop_whitespace=True,
        break_on_hyphens=True,
        tabsize=8,
        *,
        max_lines=None,
        placeholder=" [...]",
    ):
        self.width = width
        self.initial_indent = initial_indent
        self.subsequent_indent = subsequent_indent
        self.expand_tabs = expand_tabs
        self.replace_whitespace = replace_whitespace
        self.break_long_words = break_long_words
        self.drop_whitespace = drop_whitespace
        self.break_on_hyphens = break_on_hyphens
        self.tabsize = tabsize
        self.max_lines = max_lines
        self.placeholder = placeholder

    def _munged(self, text):
        if self.expand_tabs:
            column = 0
            done = []
            for c in text:
                if c == "\t":
                    c = " " * (self.tabsize - column % self.tabsize if self.tabsize else 0)
                column = 0 if c in ("\n", "\r") else column + len(c)
                done.append(c)
            text = "".join(done)
        if self.replace_whitespace:
            text = "".join([" " if c in _SPACES else c for c in text])
        return text

    def _chunks(self, text):
        """Words and the white space between them, in turns."""
        chunks = []
        at = 0
        while at < len(text):
            end = at
            space = text[at] in _SPACES
            while end < len(text) and (text[end] in _SPACES) == space:
                end += 1
            chunk = text[at:end]
            chunks += [chunk] if space or not self.break_on_hyphens else list(_pieces(chunk))
            at = end
        return chunks

    def _line(self, chunks, room):
        """Take from the end of chunks what fits into a line."""
        line = []
        used = 0
        if self.drop_whitespace and chunks and not chunks[-1].strip() and self._started:
            chunks.pop()
        while chunks and used + len(chunks[-1]) <= room:
            used += len(chunks[-1])
            line.append(chunks.pop())
        if chunks and len(chunks[-1]) > room:
            left = max(room - used, 0) if room >= 1 else 1
            if self.break_long_words:
                left = self._cut(chunks[-1], left) if room >= 1 else left
                line.append(chunks[-1][:left])
                chunks[-1] = chunks[-1][left:]
            elif not line:
                line.append(chunks.pop())
        if self.drop_whitespace and line and not line[-1].strip():
            line.pop()
        return [part for part in line if part]

    def _cut(self, chunk, left):
        """Where to break a word that is too long: behind a hyphen, if there is one."""
        if self.break_on_hyphens and len(chunk) > left:
            hyphen = chunk[:left].rfind("-")
            if hyphen > 0 and chunk[:hyphen].strip("-"):
                return hyphen + 1
        return left

    def wrap(self, text):
        if self.width <= 0:
            raise ValueError("invalid width {!r} (must be > 0)".format(self.width))
        if self.max_lines is not None:
            first = self.subsequent_indent if self.max_lines > 1 else self.initial_indent
            if len(first) + len(self.placeholder.lstrip()) > self.width:
                raise ValueError("placeholder too large for max width")
        chunks = self._chunks(self._munged(text))
        chunks.reverse()
        lines = []
        while chunks:
            self._started = bool(lines)
            indent = self.subsequent_indent if lines else self.initial_indent
            room = self.width - len(indent)
            line = self._line(chunks, room)
            if not line:
                continue
            rest = [chunk for chunk in chunks if chunk.strip()] if self.drop_whitespace else chunks
            if self.max_lines is not None and len(lines) + 1 >= self.max_lines and rest:
                return self._ended(lines, line, indent, room)
            lines.append(indent + "".join(line))
        return lines

    def _ended(self, lines, line, indent, room):
        """The last line that may be, with the placeholder."""
        while line:
            if line[-1].strip() and sum(map(len, line)) + len(self.placeholder) <= room:
                lines.append(indent + "".join(line) + self.placeholder)
                return lines
            line.pop()
        if lines and len(lines[-1].rstrip()) + len(self.placeholder) <= self.width:
            lines[-1] = lines[-1].rstrip() + self.placeholder
        else:
            lines.append(indent + self.placeholder.lstrip())
        return lines

    def fill(self, text):
        return "\n".join(self.wrap(text))


def wrap(text, width=70, **options):
    return TextWrapper(width, **options).wrap(text)


def fill(text, width=70, **options):
    return TextWrapper(width, **options).fill(text)


def shorten(text, width, **options):
    return TextWrapper(width, max_lines=1, **options).fill(" ".join(text.strip().split()))
