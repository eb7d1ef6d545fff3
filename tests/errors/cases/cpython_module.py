# floe build app.py
# exit: 125
# says: app.py:6: no module named 'threading'
# hint: CPython's `threading` is not in MicroPython; use asyncio
# CPython has it, MicroPython has not.
import threading
