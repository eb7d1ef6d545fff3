# SPDX-License-Identifier: MIT
"""Rules of a firewall or router, as a script writes them (docs/firewall.md). Nothing is judged here: compiler.py does
that once a rule set is whole, and then its errors can say which rule they are about."""

ORDER = ("family", "src", "dst", "proto", "sport", "dport", "in_", "out", "state", "icmp", "icmp_code", "flags", "mark",
         "vlan", "smac", "length", "ttl", "dscp", "fragment")  # fmt: skip


class RuleError(ValueError):
    """A rule that cannot be. chain, number (from 1) and text say which, problem what is wrong with it."""

    def __init__(self, chain, number, text, problem):
        where = "chain %r" % chain if chain else "rule set"
        if number:
            where += ", rule %d: %s" % (number, text)
        super().__init__("%s: %s" % (where, problem))
        self.chain = chain
        self.number = number
        self.text = text
        self.problem = problem


class not_:
    """Everything but a value: rule(src=not_("10.0.0.0/8"))."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return "not_(%r)" % (self.value,)


class _Named:
    def __init__(self, name, content):
        self.name = name
        self._content = content
        self._push = None

    def __iter__(self):
        return iter(self._content)

    def __len__(self):
        return len(self._content)

    def __contains__(self, item):
        return item in self._content

    def loaded(self, push):
        """Have push() called at each change: the engine's copy follows. It raises where the change cannot be."""
        self._push = push

    def _change(self, content):
        before = self._content
        self._content = content
        try:
            if self._push is not None:
                self._push()
        except Exception:
            self._content = before
            raise

    def __repr__(self):
        return "%s(%r)" % (type(self).__name__, self.name)


class Set(_Named):
    """A set of values by a name, which may be changed while rules with it are in use. family: of one that is empty."""

    def __init__(self, name, items=(), family=None):
        super().__init__(name, list(items))
        self.family = family

    def add(self, item):
        if item not in self._content:
            self._change(self._content + [item])

    def discard(self, item):
        self._change([each for each in self._content if each != item])

    def replace(self, items):
        self._change(list(items))


class Map(_Named):
    """Where dnat() sends packets, by destination port: Map("web", {80: "10.0.0.5", "8000-8010": ("10.0.0.6", 80)})."""

    def __init__(self, name, items=()):
        super().__init__(name, dict(items))

    def items(self):
        return self._content.items()

    def __setitem__(self, key, value):
        content = dict(self._content)
        content[key] = value
        self._change(content)

    def __delitem__(self, key):
        content = dict(self._content)
        del content[key]
        self._change(content)

    def replace(self, items):
        self._change(dict(items))


class Action:
    """One thing that a rule does. word: its name; args: what was given to it."""

    def __init__(self, word, *args):
        self.word = word
        self.args = args

    def __repr__(self):
        return self.word + ("(%s)" % ", ".join(repr(arg) for arg in self.args) if self.args else "")


class _Reject(Action):
    def __call__(self, kind="port-unreachable"):
        return Action("reject", kind)


accept = Action("accept")
drop = Action("drop")
reject = _Reject("reject")
masquerade = Action("masquerade")
ret = Action("ret")


def log(text):
    return Action("log", text)


def count(name):
    return Action("count", name)


def mark(number):
    return Action("mark", number)


def jump(chain):
    return Action("jump", chain)


def dnat(to, port=None):
    return Action("dnat", to) if port is None else Action("dnat", to, port)


def snat(to, port=None):
    return Action("snat", to) if port is None else Action("snat", to, port)


class _Limit(Action):
    def __repr__(self):
        return "limit(%s)" % ", ".join("%s=%r" % (k, v) for k, v in self.args if v is not None)


def limit(per_s=None, burst=5, per_min=None, per_h=None):
    """Go on with the rule for so many packets in a time, and for `burst` at once; for others the rule does not hold."""
    return _Limit("limit", ("per_s", per_s), ("per_min", per_min), ("per_h", per_h), ("burst", burst))


class Rule:
    """Conditions, which all must hold, and what is done then, in order."""

    def __init__(self, conditions, actions=()):
        self.conditions = conditions
        self.actions = actions

    def __rshift__(self, action):
        return Rule(self.conditions, self.actions + (action,))

    def __repr__(self):
        known = [word for word in ORDER if word in self.conditions]
        words = known + sorted(word for word in self.conditions if word not in ORDER)
        text = "rule(%s)" % ", ".join("%s=%r" % (word, self.conditions[word]) for word in words)
        return " >> ".join([text] + [repr(action) for action in self.actions])


def rule(**conditions):
    return Rule(conditions)


class Chain:
    """Rules in order. policy: accept or drop, for what comes to the end of a chain that is a hook's."""

    def __init__(self, name, policy=None, rules=()):
        self.name = name
        self.policy = policy
        self.rules = list(rules)


class RuleSet:
    """All rules of a machine. Of each hook a Chain or a list of rules; chains: those that are jumped to, by their
    names; cards: numbers of network cards by the names that rules use."""

    def __init__(self, prerouting=None, input=None, forward=None, postrouting=None, chains=None, cards=None):
        self.hooks = (("prerouting", prerouting), ("input", input), ("forward", forward), ("postrouting", postrouting))
        self.chains = chains or {}
        self.cards = cards or {}

    def compile(self):
        """A Program, or RuleError."""
        from .compiler import compile_rules

        return compile_rules(self)
