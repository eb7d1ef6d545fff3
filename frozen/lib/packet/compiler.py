# SPDX-License-Identifier: MIT
"""A rule set to a program: chains in order, each rule's conditions and actions, checks of the whole."""

from .conditions import PORTS, TCP, UDP, Conditions, text_of
from .layout import lay_out
from .program import BURST, DEPTH, HOOKS, NONE, SIZE, STEPS, Op, Program, Tables, pack_targets
from .rules import Action, Chain, Map, Rule, RuleError
from .values import address, number_range

REJECTS = ("port-unreachable", "host-unreachable", "net-unreachable", "admin-prohibited", "tcp-reset")
LAST = {"accept": Op.ACCEPT, "drop": Op.DROP, "masquerade": Op.MASQUERADE}
NAT = ("dnat", "snat", "masquerade")
ENDS = ("accept", "drop", "reject", "masquerade", "ret", "jump", "dnat", "snat")
# Where these may stand.
ONLY = {
    "dnat": ("prerouting",),
    "snat": ("postrouting",),
    "masquerade": ("postrouting",),
    "reject": ("input", "forward"),
    "out": ("forward", "postrouting"),
}


def targets_of(content):
    """What a Map's content is for the engine."""
    out = []
    for ports, to in content.items():
        lo, hi = number_range(ports, 65535, "port", {})
        to, port = to if isinstance(to, tuple) else (to, 0)
        out.append((lo, hi, nat_address(to), nat_port(port)))
    out.sort()
    for i in range(1, len(out)):
        if out[i][0] <= out[i - 1][1]:
            raise ValueError("port %d stands twice in a map" % out[i][0])
    return out


def nat_address(text):
    family, number = address(text)
    if family != 4:
        raise ValueError("%r: there is no address translation for IPv6" % text)
    return number


def nat_port(port):
    if not isinstance(port, int):
        raise ValueError("%r is no port; right: 1 to 65535" % (port,))
    return number_range(port, 65535, "port", {})[0]


class Compiler:
    def __init__(self, rule_set):
        self.tables = Tables()
        self.conditions = Conditions(self.tables, rule_set.cards)
        self.code = []
        self.counted = set()

    def limit(self, action):
        given = dict(action.args)
        units = [(word, ns) for word, ns in (("per_s", 1), ("per_min", 60), ("per_h", 3600)) if given[word] is not None]
        if len(units) != 1:
            raise ValueError("limit takes one of per_s, per_min and per_h")
        word, seconds = units[0]
        rate = given[word]
        burst = given["burst"]
        if not isinstance(rate, int) or not 1 <= rate <= 1000000000:
            raise ValueError("limit: %s is to be a whole number from 1" % word)
        if not isinstance(burst, int) or not 1 <= burst <= BURST:
            raise ValueError("limit: burst is to be 1 to %d" % BURST)
        return [Op.LIMIT, 0, 0, self.tables.add_limit(seconds * 1000000000 // rate, burst), 0, None]

    def nat(self, action, proto):
        """An instruction of dnat or snat."""
        to = action.args[0]
        port = action.args[1] if len(action.args) > 1 else 0
        if (isinstance(to, Map) or port) and not (proto and proto <= {TCP, UDP}):
            raise ValueError("%s with a port %s" % (action.word, PORTS))
        if not isinstance(to, Map):
            op = Op.DNAT if action.word == "dnat" else Op.SNAT
            return [op, 0, 0, self.tables.add_target(nat_address(to), nat_port(port)), 0, 0]
        if action.word != "dnat" or port:
            raise ValueError("a Map has its ports itself, and is for dnat alone")
        known = self.conditions.named.get(text_of(to.name, "name of a map"))
        if known is None:
            known = (to, "map", self.tables.add_map(targets_of(to), to.name), None)
            self.conditions.named[to.name] = known
            self.conditions.encodes.append((to, known[2], lambda: pack_targets(targets_of(to))))
        if known[0] is not to:
            raise ValueError("two sets or maps have the name %r" % to.name)
        return [Op.DNAT_MAP, 0, 0, known[2], 0, None]

    def reject(self, action, proto):
        kind = action.args[0] if action.args else REJECTS[0]
        if kind not in REJECTS:
            raise ValueError("%r is no way to reject; right: %s" % (kind, ", ".join(REJECTS)))
        if kind == "tcp-reset" and proto != {TCP}:
            raise ValueError("reject('tcp-reset') needs proto='tcp' in its rule")
        return [Op.REJECT, 0, 0, REJECTS.index(kind), 0, 0]

    def action(self, action, proto, policy, numbers):
        """An instruction. policy: what ret is; numbers: of chains by their names."""
        word = action.word
        if word == "limit":
            return self.limit(action)
        if word in ("dnat", "snat"):
            return self.nat(action, proto)
        if word == "reject":
            return self.reject(action, proto)
        op, number = policy, 0
        if word == "log":
            op, number = Op.LOG, self.tables.name(text_of(action.args[0], "text"))
        elif word == "count":
            op, number = Op.COUNT, text_of(action.args[0], "name of a counter")  # a number once all are known
            self.counted.add(number)
        elif word == "mark":
            op, number = Op.SET_MARK, number_range(action.args[0], 0xFFFFFFFF, "mark", {})[0]
        elif word == "jump":
            op, number = Op.CALL, numbers[chain_name(action)]
        elif word != "ret":
            op = LAST[word]
        return [op, 0, 0, number, 0, 0]

    def rule(self, rule, hooks, policy, numbers):
        """A rule's instructions, in which None is the next rule's place."""
        check_actions(rule)
        families = {}
        for word in rule.conditions:
            if word in ONLY:
                check_place(word, hooks)
        for action in rule.actions:
            if action.word in ONLY:
                check_place(action.word, hooks)
            if action.word in NAT:
                families[action.word] = 4
        code, proto = self.conditions.of(rule, families)
        for action in rule.actions:
            code.append(self.action(action, proto, policy, numbers))
        return code

    def chain(self, name, rules, hooks, policy, numbers):
        made = []
        for number, rule in enumerate(rules, 1):
            try:
                made.append(self.rule(rule, hooks, policy, numbers))
            except ValueError as e:
                raise RuleError(name, number, repr(rule), str(e))
        self.code += lay_out(made, len(self.code), self.tables)
        self.code.append((policy, 0, 0, 0, 0, 0))


def check_place(word, hooks):
    for hook in hooks:
        if hook not in ONLY[word]:
            raise ValueError("%s is for %s, and this is %s" % (word, " and ".join(ONLY[word]), hook))


def check_actions(rule):
    """That a rule is one, and its actions can stand as they do."""
    if not isinstance(rule, Rule):
        raise ValueError("is no rule; right is rule(...) >> accept")
    if not rule.actions:
        raise ValueError("it does nothing; right is rule(...) >> accept")
    for i, action in enumerate(rule.actions):
        if not isinstance(action, Action):
            raise ValueError("%r is no action; right are accept, drop, log('text')..." % (action,))
        if action.word in ENDS and i + 1 < len(rule.actions):
            raise ValueError("nothing can follow %r" % action)


def chain_name(action):
    to = action.args[0]
    to = to.name if isinstance(to, Chain) else to
    return to if isinstance(to, str) else repr(to)


def calls_of(name, rules):
    """(number, rule, name) of each jump."""
    out = []
    for number, rule in enumerate(rules, 1):
        for action in rule.actions if isinstance(rule, Rule) else ():
            if isinstance(action, Action) and action.word == "jump":
                out.append((number, rule, chain_name(action)))
    return out


def in_order(hooks, called):
    """Names of all chains, each before those that it jumps to, and {name: to which it jumps}. Raises where jumps go
    round, or nowhere."""
    done = []
    calls = {}

    def visit(name, rules, way):
        if len(way) >= DEPTH:
            raise RuleError(name, None, None, "jumps go deeper than %d chains" % DEPTH)
        found = calls_of(name, rules)
        calls[name] = [to for _, _, to in found]
        for number, rule, to in found:
            if to not in called:
                right = ", ".join(sorted(called)) or "there are none; put it into RuleSet(chains=...)"
                raise RuleError(name, number, repr(rule), "there is no chain %r; right: %s" % (to, right))
            if to in way or to == name:
                loop = (way + [name])[(way + [name]).index(to) :] + [to]
                raise RuleError(name, number, repr(rule), "jumps go round: %s" % " -> ".join(loop))
            if to not in done:
                visit(to, called[to], way + [name])
        done.append(name)

    for name in HOOKS:  # a dict has its own order in a VM
        if name in hooks:
            visit(name, hooks[name].rules, [])
    for name in sorted(called):
        if name not in done:
            visit(name, called[name], [])
    return done[::-1], calls


def chains_of(rule_set):
    """Chains of the hooks, and rules of the others, by names."""
    hooks = {}
    for hook, chain in rule_set.hooks:
        if chain is not None:
            hooks[hook] = chain if isinstance(chain, Chain) else Chain(hook, None, chain)
            policy = hooks[hook].policy
            if policy is not None and (not isinstance(policy, Action) or policy.word not in ("accept", "drop")):
                raise RuleError(hook, None, None, "its policy is to be accept or drop")
    given = rule_set.chains
    if not isinstance(given, dict):
        given = {chain.name: chain for chain in given}
    called = {}
    for name, chain in given.items():
        if name in HOOKS:
            raise RuleError(name, None, None, "is the name of a hook; give this chain another")
        if isinstance(chain, Chain) and chain.policy is not None:
            raise RuleError(name, None, None, "a chain that is jumped to has no policy: it goes back")
        called[name] = chain.rules if isinstance(chain, Chain) else list(chain)
    return hooks, called


def compile_rules(rule_set):
    """A program of a RuleSet."""
    hooks, called = chains_of(rule_set)
    order, calls = in_order(hooks, called)
    numbers = {name: i for i, name in enumerate(order)}
    reached = {name: [hook for hook in HOOKS if hook == name] for name in order}
    made = Compiler(rule_set)
    lengths = []
    for name in order:
        chain = hooks.get(name)
        rules = chain.rules if chain else called[name]
        policy = Op.RETURN
        if chain:
            policy = Op.DROP if chain.policy is not None and chain.policy.word == "drop" else Op.ACCEPT
        start = len(made.code)
        made.chain(name, rules, reached[name], policy, numbers)
        lengths.append((start, len(made.code)))
        for to in calls[name]:
            reached[to] = [hook for hook in HOOKS if hook in reached[to] or hook in reached[name]]
    counters = made.tables.order_counters(made.counted)
    for i, insn in enumerate(made.code):
        if insn[0] == Op.COUNT:
            made.code[i] = (Op.COUNT, 0, 0, counters[insn[3]], 0, 0)
    chains = [None] * len(order)
    for i in range(len(order) - 1, -1, -1):
        start, end = lengths[i]
        below = [chains[numbers[to]] for to in calls[order[i]]]
        steps = end - start + sum(chain[2] for chain in below)
        depth = 1 + max([chain[3] for chain in below] or [0])
        if depth > DEPTH:
            raise RuleError(order[i], None, None, "jumps go deeper than %d chains" % DEPTH)
        if steps > STEPS:
            raise RuleError(order[i], None, None, "one packet may need %d steps, %d at most" % (steps, STEPS))
        bits = sum(1 << HOOKS.index(hook) for hook in reached[order[i]])
        chains[i] = (start, end, steps, depth, bits)
    content = made.tables.pack([numbers.get(hook, NONE) for hook in HOOKS], chains, made.code)
    if len(content) > SIZE:
        raise RuleError(None, None, None, "its program has %d bytes, %d at most" % (len(content), SIZE))
    return Program(content, made.conditions.encodes)
