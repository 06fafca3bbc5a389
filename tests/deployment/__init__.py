"""The pair of nodes booted for real: two systemd machines on a bridge, against the AWS double and the simulator. Needs root."""
