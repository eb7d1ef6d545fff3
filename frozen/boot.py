# SPDX-License-Identifier: MIT
# First Python to run in every image: mount the disks and bring up the network, where the image has them.


def start(name):
    # The name is computed, so that freezing does not take this for an import: only an app that itself reaches the
    # network or the disks has the module, and its driver, in its image.
    try:
        module = __import__(name)
    except ImportError:
        return
    module._boot()


for name in ("_disks", "_board", "network"):
    start(name)
