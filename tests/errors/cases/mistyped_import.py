# floe build app.py
# exit: 125
# says: app.py:5: no module named 'asyncoi'
# hint: did you mean `asyncio`?
import asyncoi
