"""What the stacks are put together from: network, node, storage, queues, functions, alarms, dashboard."""
