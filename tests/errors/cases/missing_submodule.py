# floe build app.py
# exit: 125
# says: app.py:5: no module named 'asyncio.streams'
# hint: `asyncio` is there, but has no module of that name
import asyncio.streams
