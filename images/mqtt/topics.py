# SPDX-License-Identifier: MIT
"""Topics and filters: what is one, which filters match, who has subscribed (MQTT 5, section 4.7)."""

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


class Subscriptions:
    """A tree of levels. A node is a dict: level -> node, and None -> {session: options}."""

    def __init__(self) -> None:
        self._root: dict = {}
        self.count = 0

    def add(self, levels: list, session: object, options: int) -> bool:
        """True: it is new."""
        node = self._root
        for level in levels:
            node = node.setdefault(level, {})
        there = node.setdefault(None, {})
        new = session not in there
        there[session] = options
        self.count += new
        return new

    def remove(self, levels: list, session: object) -> bool:
        """False: there was none. Nodes that nobody needs go, too."""
        path = [self._root]
        for level in levels:
            node = path[-1].get(level)
            if node is None:
                return False
            path.append(node)
        there = path[-1].get(None)
        if there is None or session not in there:
            return False
        del there[session]
        self.count -= 1
        if not there:
            del path[-1][None]
        for index in range(len(levels) - 1, -1, -1):
            if path[index + 1]:
                break
            del path[index][levels[index]]
        return True

    def find(self, topic: bytes) -> dict:
        """session -> options of all filters that match; of several the highest QoS counts."""
        found: dict = {}
        levels = topic.split(b"/")
        self._find(self._root, levels, 0, found, topic[:1] == b"$")
        return found

    def _find(self, node: dict, levels: list, index: int, found: dict, hidden: bool) -> None:
        if not hidden:
            under = node.get(b"#")
            if under is not None:
                _merge(under, found)
        if index == len(levels):
            _merge(node, found)
            return
        child = node.get(levels[index])
        if child is not None:
            self._find(child, levels, index + 1, found, False)
        if not hidden:
            child = node.get(b"+")
            if child is not None:
                self._find(child, levels, index + 1, found, False)


def _merge(node: dict, found: dict) -> None:
    for session, options in node.get(None, {}).items():
        before = found.get(session)
        if before is None or options & 3 > before & 3:
            found[session] = options
