# SPDX-License-Identifier: MIT
"""Large dicts and sets: with how many keys one that is not there is compared, whatever that takes."""

_WINDOW = 20


class Probe:
    compared = 0

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return self.number

    def __eq__(self, other):
        Probe.compared += 1
        return False


def compared(table, count):
    """The mean of so many searches."""
    Probe.compared = 0
    for number in range(count):
        if Probe(number * 65536 // count) in table:
            print("found what is not there")
    return Probe.compared / count


def check_many(name, table, add):
    for number in range(70_000):
        add(str(number))
    print(name, len(table), "69999" in table, "70000" in table, compared(table, 200) < 200)


def check_full(name, table, add):
    """Larger than some size none becomes so full that a search goes far."""
    most = 0
    for number in range(2500):
        add(str(number))
        if number > 1100 and number % 25 == 0:
            most = max(most, compared(table, _WINDOW))
    print(name, most < 60)


def check_iteration():
    """A key that is there makes no table anew."""
    table = {str(number): 0 for number in range(896)}
    table.update(dict.fromkeys(range(3000), 0))
    for key in table:
        table[key] = 1
    print("iteration", sum(table.values()))


def check_no_memory():
    """A set that cannot grow stays as it is."""
    numbers = set()
    held = []
    size = 1 << 20
    for number in range(100_000):
        numbers.add(number)
    while size > 1 << 16:
        try:
            held.append(bytearray(size))
        except MemoryError:
            size >>= 1
    try:
        while True:
            numbers.add(number)
            number += 1
    except MemoryError:
        pass
    held.clear()
    print("no memory", len(numbers) == number, all(each in numbers for each in range(number)))


def run():
    table, members = {}, set()
    check_many("dict", table, lambda key: table.setdefault(key, 1))
    table.clear()
    check_many("set", members, members.add)
    members.clear()
    small, few = {}, set()
    check_full("filled dict", small, lambda key: small.setdefault(key, 1))
    check_full("filled set", few, few.add)
    check_iteration()
    check_no_memory()


run()
