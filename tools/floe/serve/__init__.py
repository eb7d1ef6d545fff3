# SPDX-License-Identifier: MIT
"""VMs for connections: ports of this machine behind which a VM is started when somebody asks."""
