# SPDX-License-Identifier: MIT
# First Python to run in every image: say hello to the VM's family, mount the disks and bring up the network, where the
# image has them.


def start():
    # The names are computed, so that freezing does not take this for an import: only an app that itself reaches the
    # network, the disks or its copies has the module, and its driver, in its image.
    for name in ("_vm", "_disks", "_board", "network"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        module._boot()


start()
del start  # the script's names are its own
