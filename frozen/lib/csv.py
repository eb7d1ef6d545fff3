# SPDX-License-Identifier: MIT
# CPython's csv: readers, writers, dialects. Not here: Sniffer.

QUOTE_MINIMAL = 0
QUOTE_ALL = 1
QUOTE_NONNUMERIC = 2
QUOTE_NONE = 3


class Error(Exception):
    pass


class Dialect:
    delimiter = ","
    quotechar = '"'
    doublequote = True
    escapechar = None
    lineterminator = "\r\n"
    quoting = QUOTE_MINIMAL
    skipinitialspace = False
    strict = False


class excel(Dialect):
    pass


class excel_tab(excel):
    delimiter = "\t"


class unix_dialect(Dialect):
    lineterminator = "\n"
    quoting = QUOTE_ALL


_PARAMETERS = ("delimiter", "quotechar", "doublequote", "escapechar", "lineterminator", "quoting", "skipinitialspace",
               "strict")  # fmt: skip
_dialects = {"excel": excel, "excel-tab": excel_tab, "unix": unix_dialect}
_limit = [131072]


def _dialect(base, changed):
    """A dialect by name, class or object, with what is changed of it."""
    if isinstance(base, str):
        base = get_dialect(base)
    made = Dialect()
    for name in _PARAMETERS:
        setattr(made, name, changed.pop(name) if name in changed else getattr(base, name, getattr(Dialect, name)))
    if changed:
        raise TypeError("%r is an invalid keyword argument for this function" % next(iter(changed)))
    for name in ("delimiter", "quotechar", "escapechar"):
        value = getattr(made, name)
        if value is None and name != "delimiter":
            continue
        if not isinstance(value, str) or len(value) != 1:
            raise TypeError('"%s" must be a 1-character string' % name)
    if made.quoting not in (0, 1, 2, 3):
        raise TypeError('bad "quoting" value')
    if made.quoting != QUOTE_NONE and made.quotechar is None:
        raise TypeError("quotechar must be set if quoting enabled")
    return made


def register_dialect(name, dialect=excel, **changed):
    if not isinstance(name, str):
        raise TypeError("dialect name must be a string")
    _dialects[name] = _dialect(dialect, changed)


def unregister_dialect(name):
    if name not in _dialects:
        raise Error("unknown dialect")
    del _dialects[name]


def get_dialect(name):
    if name not in _dialects:
        raise Error("unknown dialect")
    return _dialects[name]


def list_dialects():
    return list(_dialects)


def field_size_limit(new=None):
    old = _limit[0]
    if new is not None:
        _limit[0] = new
    return old


_START, _FIELD, _QUOTED, _AFTER_QUOTE, _ESCAPE, _QUOTED_ESCAPE = range(6)


class _Reader:
    def __init__(self, lines, dialect):
        self._lines = iter(lines)
        self.dialect = dialect
        self.line_num = 0

    def __iter__(self):
        return self

    def __next__(self):
        self._row = []
        self._begin()
        d = self.dialect
        while True:
            line = next(self._lines, None)
            if line is None:
                return self._at_end()
            if not isinstance(line, str):
                raise Error("iterator should return strings, not " + type(line).__name__)
            self.line_num += 1
            end = len(line)
            while end and line[end - 1] in "\r\n":
                end -= 1
            broken = line.find("\r", 0, end) >= 0 or line.find("\n", 0, end) >= 0
            at = 0 if broken else self._plain_start(line, end, d)
            for c in line[at:end]:
                if broken and c in "\r\n" and self._state in (_START, _FIELD, _AFTER_QUOTE):
                    raise Error("new-line character seen in unquoted field")
                self._take(c, d)
            if self._state in (_QUOTED, _QUOTED_ESCAPE):
                self._text.append(line[end:])  # the field goes on in the next line
                self._state = _QUOTED
                continue
            if self._state == _ESCAPE:
                self._text.append(line[end:] or "\n")
                self._state = _FIELD
                continue
            if end or self._row:
                self._end_field()
            return self._row

    def _plain_start(self, line, end, d):
        """Fields without anything special, at once: how much of the line was read."""
        if self._state != _START or self._row or end > _limit[0] or d.quoting == QUOTE_NONNUMERIC or d.skipinitialspace:
            return 0
        if (d.quotechar and d.quotechar in line) or (d.escapechar and d.escapechar in line):
            return 0
        at = line.rfind(d.delimiter, 0, end) + 1
        if at:
            self._row = line[: at - 1].split(d.delimiter)
        return at

    def _begin(self):
        self._state = _START
        self._text = []
        self._length = 0
        self._number = False

    def _at_end(self):
        """No more lines: what was begun is a row, unless the dialect is strict."""
        if self._text or self._row or self._state in (_QUOTED, _QUOTED_ESCAPE):
            if self.dialect.strict:
                raise Error("unexpected end of data")
            self._end_field()
            return self._row
        raise StopIteration

    def _end_field(self):
        text = "".join(self._text)
        self._row.append(float(text) if self._number and text else text)
        self._begin()

    def _add(self, c):
        self._length += 1
        if self._length > _limit[0]:
            raise Error("field larger than field limit (%d)" % _limit[0])
        self._text.append(c)

    def _take(self, c, d):  # noqa: PLR0912 -- a state a branch
        state = self._state
        if state == _START:
            if c == d.delimiter:
                self._end_field()
            elif c == d.quotechar and d.quoting != QUOTE_NONE:
                self._state = _QUOTED
            elif c == d.escapechar:
                self._state = _ESCAPE
            elif c != " " or not d.skipinitialspace:
                self._number = d.quoting == QUOTE_NONNUMERIC
                self._add(c)
                self._state = _FIELD
        elif state == _FIELD:
            if c == d.delimiter:
                self._end_field()
            elif c == d.escapechar:
                self._state = _ESCAPE
            else:
                self._add(c)
        elif state == _QUOTED:
            if c == d.escapechar:
                self._state = _QUOTED_ESCAPE
            elif c == d.quotechar and d.quoting != QUOTE_NONE:
                self._state = _AFTER_QUOTE if d.doublequote else _FIELD
            else:
                self._add(c)
        elif state == _AFTER_QUOTE:
            if c == d.quotechar and d.quoting != QUOTE_NONE:
                self._add(c)
                self._state = _QUOTED
            elif c == d.delimiter:
                self._end_field()
            elif d.strict:
                raise Error("'%s' expected after '%s'" % (d.delimiter, d.quotechar))
            else:
                self._add(c)
                self._state = _FIELD
        else:
            self._add(c)
            self._state = _FIELD if state == _ESCAPE else _QUOTED


def reader(csvfile, dialect="excel", **changed):
    return _Reader(csvfile, _dialect(dialect, changed))


class _Writer:
    def __init__(self, write, dialect):
        self._write = write
        self.dialect = dialect

    def writerow(self, row):
        if not hasattr(row, "__len__"):
            try:
                row = list(row)
            except TypeError:
                raise Error("iterable expected, not " + type(row).__name__)
        d = self.dialect
        text = d.delimiter.join([self._field(value, d, len(row) == 1) for value in row]) + d.lineterminator
        return self._write(text)

    def writerows(self, rows):
        for row in rows:
            self.writerow(row)

    def _field(self, value, d, alone):
        number = isinstance(value, (int, float, bool))
        text = "" if value is None else repr(value) if isinstance(value, float) else str(value)
        special = d.delimiter + (d.quotechar or "") + (d.escapechar or "") + "\r\n" + d.lineterminator
        quoted = d.quoting == QUOTE_ALL or (d.quoting == QUOTE_NONNUMERIC and not number)
        if any(c in special for c in text):
            text, needed = self._marked(text, special, d)
            quoted = quoted or needed
        if alone and not text and not quoted:
            if d.quoting == QUOTE_NONE:
                raise Error("single empty field record must be quoted")
            quoted = True
        return d.quotechar + text + d.quotechar if quoted else text

    def _marked(self, text, special, d):
        """With what is special escaped or doubled, and whether it has to be quoted."""
        out = []
        quoted = False
        for c in text:
            if c in special:
                if d.quoting != QUOTE_NONE and c == d.quotechar and d.doublequote:
                    out.append(c)
                    quoted = True
                elif d.quoting == QUOTE_NONE or c in (d.quotechar, d.escapechar):
                    if not d.escapechar:
                        raise Error("need to escape, but no escapechar set")
                    out.append(d.escapechar)
                else:
                    quoted = True
            out.append(c)
        return "".join(out), quoted


def writer(csvfile, dialect="excel", **changed):
    return _Writer(csvfile.write, _dialect(dialect, changed))


class DictReader:
    def __init__(self, f, fieldnames=None, restkey=None, restval=None, dialect="excel", *args, **kwds):
        self._fieldnames = None if fieldnames is None else list(fieldnames)
        self.restkey = restkey
        self.restval = restval
        self.reader = reader(f, dialect, *args, **kwds)
        self.line_num = 0

    def __iter__(self):
        return self

    @property
    def fieldnames(self):
        if self._fieldnames is None:
            self._fieldnames = next(self.reader, None)
        self.line_num = self.reader.line_num
        return self._fieldnames

    @fieldnames.setter
    def fieldnames(self, names):
        self._fieldnames = names

    def __next__(self):
        names = self.fieldnames or []
        row = next(self.reader)
        while not row:
            row = next(self.reader)
        self.line_num = self.reader.line_num
        found = dict(zip(names, row))
        if len(row) > len(names):
            found[self.restkey] = row[len(names) :]
        for name in names[len(row) :]:
            found[name] = self.restval
        return found


class DictWriter:
    def __init__(self, f, fieldnames, restval="", extrasaction="raise", dialect="excel", *args, **kwds):
        if extrasaction.lower() not in ("raise", "ignore"):
            raise ValueError("extrasaction (%s) must be 'raise' or 'ignore'" % extrasaction)
        self.fieldnames = fieldnames
        self.restval = restval
        self.extrasaction = extrasaction
        self.writer = writer(f, dialect, *args, **kwds)

    def writeheader(self):
        return self.writer.writerow(self.fieldnames)

    def _row(self, values):
        if self.extrasaction.lower() == "raise":
            wrong = [repr(key) for key in values if key not in self.fieldnames]
            if wrong:
                raise ValueError("dict contains fields not in fieldnames: " + ", ".join(wrong))
        return [values.get(name, self.restval) for name in self.fieldnames]

    def writerow(self, rowdict):
        return self.writer.writerow(self._row(rowdict))

    def writerows(self, rowdicts):
        for row in rowdicts:
            self.writerow(row)
