# SPDX-License-Identifier: MIT
"""A stack as a picture: its VMs from left to right in the order in which they start, each on the networks it is in,
with its ports; SVG, from the file and from what is up of it. The same input gives the same picture."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from floe.compose import instances
from floe.compose import stack as stacks
from floe.compose.stackfile import Net, Ready, StackFile
from floe.detached import control
from floe.errors import FloeError
from floe.shown import shown
from floe.spec.ports import parse_forwards
from floe.store.stackfolder import Stack

_CHARACTER = 7.3  # width of one in the font below, and a little more: whoever draws may have another font
_LINE = 17
_PAD = 12
_GAP_X, _GAP_Y = 64, 24
_MARGIN = 24
_BOX_MIN, _TEXT_MAX = 150, 44  # pixels; characters of a line, the rest is cut
_NET_HEIGHT = 34
_COLOURS = ("#3b82c4", "#c2762d", "#4a9d5b", "#a05cc0", "#c04a5c", "#2f9d9d")  # of networks: seen on both grounds
_STYLE = """
svg { color: #1b1f24; font: 12px ui-monospace, monospace; } .ground { fill: #fff; }
text { fill: currentColor; white-space: pre; } .name { font-weight: bold; font-size: 13px; }
.vm { fill: #f4f6f8; stroke: #7a828a; } .up { fill: #dff3e2; stroke: #2e8540; }
.wait { fill: #fdf1d4; stroke: #a87400; } .down { fill: #fbe1e1; stroke: #b3261e; }
.net { fill: #fff; stroke-width: 2; } .wire { fill: none; stroke-width: 2; }
.after { fill: none; stroke: currentColor; stroke-dasharray: 5 4; } .arrow { fill: currentColor; }
@media (prefers-color-scheme: dark) {
svg { color: #e6e9ec; } .ground, .net { fill: #14181c; } .vm { fill: #22282e; stroke: #87909a; }
.up { fill: #143d1f; stroke: #5cbf73; } .wait { fill: #453508; stroke: #e0b040; }
.down { fill: #4b1917; stroke: #f28b82; } }
"""

# By VMs, those that are up of them: "up", "wait" or "down", and words for it.
States = Mapping[str, tuple[str, str]]
# By VMs, those that are up of them: by networks, the addresses of all replicas.
Addresses = Mapping[str, Mapping[str, Sequence[str]]]


def states(file: StackFile, stack: Stack) -> dict[str, tuple[str, str]]:
    """Of what is up of a stack."""
    found = {}
    for name, vm in file.vms.items():
        own = [f"{stack.name}.{label}" for label in instances.labels(name, vm)]
        there = [member for member in own if member in stack.vms]
        if there:
            how = [_state(stack, member) for member in there]
            up, wait = how.count("up"), how.count("wait")
            colour = "up" if up == len(own) else "wait" if up + wait == len(own) else "down"
            words = {"up": "up", "wait": "not ready yet", "down": "not up"}[colour]
            found[name] = (colour, words if len(own) == 1 else f"{up} of {len(own)} up")
    return found


def _state(stack: Stack, name: str) -> str:
    folder = stacks.found(name)
    try:
        status = control.status(folder) if folder is not None else None
    except FloeError:
        return "down"
    if status is not None and stacks.is_ready(stack.vms[name], status):
        return "up"
    return "wait" if status is not None and status.alive else "down"


def addresses(file: StackFile, stack: Stack) -> dict[str, dict[str, list[str]]]:
    """Of what is up of a stack."""
    found: dict[str, dict[str, list[str]]] = {}
    for network, own in stack.addresses.items():
        for member, address in own.items():
            if member in stack.vms:
                found.setdefault(stack.vms[member].vm, {}).setdefault(network, []).append(address)
    return {name: found[name] for name in file.vms if name in found}


def facts(file: StackFile, states: States) -> dict[str, object]:
    """What is on the picture, for a program."""
    vms = {}
    for name, vm in file.vms.items():
        words = {"app": vm.app, "memory": vm.memory or None, "replicas": vm.replicas, "ports": vm.ports}
        how = {"after": vm.after, "ready": _ready(vm.ready) or None, "restart": vm.restart, "profiles": vm.profiles}
        vms[name] = {**words, "networks": list(file.joined(vm)), **how, "state": states.get(name, (None, ""))[0]}
    networks = {
        name: {"subnet": net.subnet or None, "bridge": net.bridge or None} for name, net in file.networks.items()
    }
    return {"name": file.name or file.default_name, "vms": vms, "networks": networks}


@dataclass(frozen=True)
class _Box:
    """One [vm.NAME] on the picture. lines: below its name; the last ones are its cards, a network each."""

    name: str
    x: float
    y: float
    width: float
    lines: tuple[str, ...]
    cards: tuple[str, ...]
    state: str

    @property
    def height(self) -> float:
        return 2 * _PAD + _LINE * (1 + len(self.lines))

    def plug(self, network: str) -> float:
        """Where the card in that network is, from the top of the picture."""
        first = len(self.lines) - len(self.cards)
        return self.y + _PAD + 8 + (1 + first + self.cards.index(network)) * _LINE


def svg(file: StackFile, states: States, addresses: Addresses) -> str:
    """The picture. states and addresses: by names of [vm.NAME]; of what is not up they have nothing."""
    boxes = _placed(file, states, addresses)
    networks = list(file.networks)
    right = max(box.x + box.width for box in boxes.values())
    bottom = max(box.y + box.height for box in boxes.values()) + _GAP_Y
    width = max([right, *(_MARGIN + _text_width(_net_words(n, file.networks[n])) + 2 * _PAD for n in networks)])
    places = {name: bottom + 16 + number * (_NET_HEIGHT + 14) for number, name in enumerate(networks)}
    height = (bottom + 16 + len(networks) * (_NET_HEIGHT + 14)) if networks else bottom
    parts = [*_wires(file, boxes, places), *_arrows(file, boxes)]
    for number, name in enumerate(networks):
        parts += _network(name, file.networks[name], places[name], width, _COLOURS[number % len(_COLOURS)])
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(networks)}
    for box in boxes.values():
        parts += _drawn(box, colours)
    title = shown(file.name or file.default_name)
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + _MARGIN:.0f}" height="{height + _MARGIN:.0f}" '
            f'viewBox="0 0 {width + _MARGIN:.0f} {height + _MARGIN:.0f}" role="img">',
            f"<title>{_xml(title)}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path class="arrow" d="M0 0L8 4L0 8z"/></marker></defs>',
            f'<rect class="ground" width="{width + _MARGIN:.0f}" height="{height + _MARGIN:.0f}"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _placed(file: StackFile, states: States, addresses: Addresses) -> dict[str, _Box]:
    """In columns: each VM right of those that it comes after."""
    columns: list[list[str]] = []
    depths: dict[str, int] = {}
    for name in file.order():
        depth = depths[name] = max((depths[other] + 1 for other in file.vms[name].after), default=0)
        while len(columns) <= depth:
            columns.append([])
        columns[depth].append(name)
    boxes: dict[str, _Box] = {}
    x = float(_MARGIN + 2 * _PAD)
    for column in columns:
        told = {name: _lines(file, name, states) + _cards(file, name, addresses) for name in column}
        widest = max(_text_width(line) for name in column for line in (shown(name), *told[name]))
        width, y = max(_BOX_MIN, widest + 2 * _PAD), float(_MARGIN)
        for name in column:
            cards = tuple(file.joined(file.vms[name]))
            boxes[name] = _Box(name, x, y, width, told[name], cards, states.get(name, ("vm", ""))[0])
            y += boxes[name].height + _GAP_Y
        x += width + _GAP_X
    return {name: boxes[name] for name in file.vms}


def _cards(file: StackFile, name: str, addresses: Addresses) -> tuple[str, ...]:
    """A line for each network of a VM: its address there, as it is or as the file says."""
    up = addresses.get(name, {})
    joined = file.joined(file.vms[name])
    lines = (" ".join([network, *(up.get(network) or [fixed])]).rstrip() for network, fixed in joined.items())
    return tuple(_cut(shown(line)) for line in lines)


def _lines(file: StackFile, name: str, states: States) -> tuple[str, ...]:
    vm = file.vms[name]
    made = [f"app {vm.app}" + (f" ({vm.variant})" if vm.variant else ""), f"memory {vm.memory or 'of the image'}"]
    if vm.replicas is not None:
        made.append(f"{vm.replicas} replicas")
    for port in vm.ports:
        forwards = parse_forwards(port)
        first, last = forwards[0], forwards[-1]
        host, guest = str(first.host_port or "any"), str(first.guest_port)
        if last is not first:
            host, guest = f"{host}-{last.host_port}", f"{guest}-{last.guest_port}"
        open_to = "" if first.address == "127.0.0.1" else f"{first.address} "
        kind = "/udp" if first.protocol == "udp" else ", spread" if first.spread else ""
        made.append(f"port {open_to}{host} \u2192 {guest}{kind}")
    if ready := _ready(vm.ready):
        made.append(f"ready: {ready}")
    if vm.restart != "no":
        made.append(f"restart {vm.restart}")
    if vm.profiles:
        made.append(f"profile {', '.join(vm.profiles)}")
    if name in states:
        made.append(states[name][1])
    return tuple(_cut(shown(line)) for line in made)


def _ready(ready: Ready) -> str:
    if ready.port:
        return f"port {ready.port} answers"
    if ready.line:
        return f"says {ready.line}"
    return f"ends with {ready.exit}" if ready.exit is not None else ""


def _net_words(name: str, network: Net) -> str:
    what = [network.subnet] if network.subnet else ["addresses leased"]
    if network.bridge:
        what.append(f"bridge {network.bridge}")
    if network.gateway:
        what.append(f"gateway {network.gateway}")
    if network.dns or not network.bridge:
        what.append(f"names at {network.dns or ipaddress.IPv4Network(network.subnet)[1]}")
    return _cut(shown(f"network {name}  {', '.join(what)}"), 90)


def _cut(text: str, most: int = _TEXT_MAX) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _text_width(text: str) -> float:
    return sum(_CHARACTER * (2 if ord(c) >= 0x1100 else 1) for c in text)


def _xml(text: str) -> str:
    """Escaped; and without what XML 1.0 has no form for, like half a surrogate pair."""
    return escape(
        "".join(c if c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff" else "?" for c in text)
    )


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"' + (f' class="{style}"' if style else "") + f">{_xml(text)}</text>"


def _drawn(box: _Box, colours: Mapping[str, str]) -> Iterable[str]:
    name = _xml(shown(box.name))
    yield f"<g id={quoteattr('vm-' + name)}>"
    yield (
        f'<rect class="{box.state}" x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
        f'height="{box.height:.0f}" rx="6"/>'
    )
    yield _text(box.x + _PAD, box.y + _PAD + 12, shown(box.name), "name")
    for number, line in enumerate(box.lines, 1):
        yield _text(box.x + _PAD, box.y + _PAD + 12 + number * _LINE, line)
    for network in box.cards:
        yield f'<circle fill="{colours[network]}" cx="{box.x:.0f}" cy="{box.plug(network):.0f}" r="5"/>'
    yield "</g>"


def _network(name: str, network: Net, y: float, right: float, colour: str) -> Iterable[str]:
    yield (
        f'<rect class="net" stroke="{colour}" x="{_MARGIN}" y="{y:.0f}" width="{right - _MARGIN:.0f}" '
        f'height="{_NET_HEIGHT}" rx="17"/>'
    )
    yield _text(_MARGIN + _PAD + 4, y + 22, _net_words(name, network))


def _wires(file: StackFile, boxes: Mapping[str, _Box], places: Mapping[str, float]) -> Iterable[str]:
    """From the left of each box, where its cards are, down to its networks."""
    for number, (network, y) in enumerate(places.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for name, box in boxes.items():
            if network in file.joined(file.vms[name]):
                x = box.x - 7 - 6 * (number % 4)
                way = f"M{box.x:.0f} {box.plug(network):.0f}H{x:.0f}V{y + _NET_HEIGHT / 2:.0f}"
                yield f'<path class="wire" stroke="{colour}" d="{way}"/>'


def _arrows(file: StackFile, boxes: Mapping[str, _Box]) -> Iterable[str]:
    """From what is ready first to what comes after it."""
    for name, box in boxes.items():
        for other in file.vms[name].after:
            first = boxes[other]
            x, y, to = first.x + first.width, first.y + 20, box.y + 20
            middle = (x + box.x) / 2
            way = f"M{x:.0f} {y:.0f}C{middle:.0f} {y:.0f} {middle:.0f} {to:.0f} {box.x:.0f} {to:.0f}"
            if box.x - x > _GAP_X and any(x < other.x < box.x for other in boxes.values()):  # above what is between
                way = f"M{x:.0f} {y - 8:.0f}H{x + 16:.0f}V{_MARGIN / 2:.0f}H{box.x - 32:.0f}V{to - 8:.0f}H{box.x:.0f}"
            yield f'<path class="after" d="{way}" marker-end="url(#tip)"/>'
