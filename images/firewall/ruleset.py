# SPDX-License-Identifier: MIT
"""Rules in Python beside those of the zones (docs/firewall.md). An image that is built on this one brings a file of its
own with the names that it needs; so does `floe swap NAME ruleset FILE`, and a file of a disk that RULES names."""

rules = None  # a RuleSet in place of all others, those of [[forward]] and [nat] among them
# Each before the zones' rules, and behind those for flows that are known; prerouting behind those of [sources].
prerouting: list = []
input: list = []
forward: list = []
postrouting: list = []
chains: dict = {}
