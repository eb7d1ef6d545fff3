# SPDX-License-Identifier: MIT
"""Topics and filters: what is one, which filters match, who has subscribed (MQTT 5, section 4.7)."""

from session import NO_LOCAL, SUB_ID_SHIFT

_MOST_LEVELS = 100


def is_topic(topic: bytes) -> bool:
    return bool(topic) and b"+" not in topic and b"#" not in topic and topic.count(b"/") < _MOST_LEVELS


def is_filter(text: bytes) -> bool:
    levels = text.split(b"/")
    if not text or len(levels) > _MOST_LEVELS:
        return False
    for index, level in enumerate(levels):
        if b"#" in level and (level != b"#" or index != len(levels) - 1):
            return False
        if b"+" in level and level != b"+":
            return False
    return True


def matches(levels: list, topic: bytes) -> bool:
    """Whether a filter, split into its levels, matches a topic."""
    if topic[:1] == b"$" and levels[0] in (b"+", b"#"):
        return False
    has = topic.split(b"/")
    for index, level in enumerate(levels):
        if level == b"#":
            return True
        if index >= len(has) or (level != b"+" and level != has[index]):
            return False
    return len(levels) == len(has)


def shared(text: bytes) -> tuple:
    """Group and filter of `$share/GROUP/FILTER`; None and the text of any other; None and b"" of one that is none."""
    if text[:7] != b"$share/":
        return None, text
    group, _, text = text[7:].partition(b"/")
    return (group, text) if group and b"+" not in group and b"#" not in group else (None, b"")


class Subscriptions:
    """A tree of levels. A node is a dict: level -> node, None -> {session: options}, and 0 -> {group: [[session,
    options]]} of shared ones. Options have the subscription's id above them (session.py)."""

    def __init__(self) -> None:
        self._root: dict = {}
        self.count = 0
        self.ids: dict = {}
        self.turns: list = []

    def add(self, text: bytes, session: object, options: int) -> bool:
        """True: it is new."""
        group, text = shared(text)
        node = self._root
        for level in text.split(b"/"):
            node = node.setdefault(level, {})
        if group is None:
            there = node.setdefault(None, {})
            new = session not in there
            there[session] = options
        else:
            members = node.setdefault(0, {}).setdefault(group, [])
            at = _place(members, session)
            new = at < 0
            if new:
                members.append([session, options])
            else:
                members[at][1] = options
        self.count += new
        return new

    def remove(self, text: bytes, session: object) -> bool:
        """False: there was none. Nodes that nobody needs go, too."""
        group, text = shared(text)
        levels = text.split(b"/")
        path = [self._root]
        for level in levels:
            node = path[-1].get(level)
            if node is None:
                return False
            path.append(node)
        if not _removed(path[-1], group, session):
            return False
        self.count -= 1
        for index in range(len(levels) - 1, -1, -1):
            if path[index + 1]:
                break
            del path[index][levels[index]]
        return True

    def find(self, topic: bytes) -> dict:
        """session -> options of all filters that match; of several the highest QoS counts. Until the next call `ids`
        has all ids of such sessions, and `turns` a [session, options] for each group of shared ones."""
        if self.ids:
            self.ids = {}
        if self.turns:
            self.turns = []
        found: dict = {}
        levels = topic.split(b"/")
        self._find(self._root, levels, 0, found, topic[:1] == b"$")
        return found

    def _find(self, node: dict, levels: list, index: int, found: dict, hidden: bool) -> None:
        if not hidden:
            under = node.get(b"#")
            if under is not None:
                self._merge(under, found)
        if index == len(levels):
            self._merge(node, found)
            return
        child = node.get(levels[index])
        if child is not None:
            self._find(child, levels, index + 1, found, False)
        if not hidden:
            child = node.get(b"+")
            if child is not None:
                self._find(child, levels, index + 1, found, False)

    def _merge(self, node: dict, found: dict) -> None:
        for session, options in node.get(None, {}).items():
            before = found.get(session)
            found[session] = options if before is None else self._both(session, before, options)
        if 0 in node:
            for members in node[0].values():
                self.turns.append(_next(members))

    def _both(self, session: object, before: int, options: int) -> int:
        """What of two filters counts: the higher QoS, and not to get one's own messages only where both say it."""
        ids = self.ids.setdefault(session, [])
        if not ids and before > 0xFF:
            ids.append(before >> SUB_ID_SHIFT)
        if options > 0xFF:
            ids.append(options >> SUB_ID_SHIFT)
        best = options if options & 3 > before & 3 else before
        best = best & 0xFF & (~NO_LOCAL | before & options)
        return best | ids[0] << SUB_ID_SHIFT if ids else best


def _next(members: list) -> list:
    """Whose turn it is: of those who are there, the one who has waited longest; else of all."""
    for member in members:
        if member[0].link is not None:
            break
    else:
        member = members[0]
    members.remove(member)
    members.append(member)
    return member


def _place(members: list, session: object) -> int:
    for index, member in enumerate(members):
        if member[0] is session:
            return index
    return -1


def _removed(node: dict, group: bytes | None, session: object) -> bool:
    if group is None:
        there = node.get(None, {})
        if session not in there:
            return False
        del there[session]
        if not there:
            del node[None]
        return True
    groups = node.get(0, {})
    members = groups.get(group, [])
    at = _place(members, session)
    if at < 0:
        return False
    members.pop(at)
    if not members:
        del groups[group]
    if not groups:
        del node[0]
    return True
